//! The interpreter in an image: whether a site needs one, and where it is put.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use imagefs::tree::{Meta, Node, NodeId, Source, Tree};
use server::{MANIFEST_PATH, Manifest, PROGRAM_PATH};

/// Whether a site has PHP to run and no program that would: neither one that its manifest names nor one where
/// [`add`] puts it. `source` is the directory it was scanned from; an archive's manifest is not looked at.
pub(crate) fn is_missing(tree: &Tree, source: Option<&Path>) -> anyhow::Result<bool> {
    if find(tree, PROGRAM_PATH).is_some() {
        return Ok(false);
    }
    let manifest = match (source, find(tree, MANIFEST_PATH)) {
        (Some(source), Some(_)) => {
            let path = source.join(MANIFEST_PATH);
            let text =
                std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            Some(Manifest::parse(&text)?)
        }
        _ => None,
    };
    let Some(manifest) = manifest else {
        return Ok(find(tree, "index.php").is_some());
    };
    let has_scripts = manifest
        .scripts()
        .any(|script| find(tree, &script).is_some());
    Ok(manifest.entry().is_none() && has_scripts)
}

/// Puts PHP where the manifest expects it, without copying it; PHP that is there makes way.
pub(crate) fn add(tree: &mut Tree, php: &Path) -> anyhow::Result<()> {
    let file = File::open(php).with_context(|| php.display().to_string())?;
    put(tree, PROGRAM_PATH, &Arc::new(file))
}

/// Puts a file as it is now into a directory of the tree's root, without copying it; what is there makes way.
pub(crate) fn put(tree: &mut Tree, path: &str, file: &Arc<File>) -> anyhow::Result<()> {
    let size = file.metadata()?.size();
    let source = Source::Stored {
        file: Arc::clone(file),
        offset: 0,
        data: None,
    };
    let (dir, name) = path
        .trim_start_matches('/')
        .split_once('/')
        .expect("a file in a directory");
    let dir = match tree.child(0, dir.as_bytes()) {
        Some(dir) => dir,
        None => {
            let node = Node::Dir {
                meta: Meta::default(),
                entries: Default::default(),
                parent: 0,
                depth: 0,
            };
            tree.add(0, dir.as_bytes(), node)?
        }
    };
    tree.unlink(dir, name.as_bytes());
    let meta = Meta::default();
    let file = Node::File { meta, size, source };
    tree.add(dir, name.as_bytes(), file)?;
    Ok(())
}

/// The node of a path; `.`, empty components and symlinks are not looked through.
fn find(tree: &Tree, path: &str) -> Option<NodeId> {
    let components = path.split('/').filter(|component| !component.is_empty());
    components
        .into_iter()
        .try_fold(0, |dir, component| tree.child(dir, component.as_bytes()))
}
