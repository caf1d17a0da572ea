//! The interpreter in an image: whether a site needs one, and where it is put.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use imagefs::tree::{Meta, Node, Source, Tree};
use server::{Look, Manifest, PROGRAM_PATH};

use crate::in_tree::InTree;

/// Whether a site has PHP to run and no program that would: neither one that its manifest names nor one where
/// [`add`] puts it.
pub(crate) fn is_missing(site: &InTree<'_>) -> anyhow::Result<bool> {
    let is_there = |path: &str| site.kind(path.trim_start_matches('/')).is_some();
    if is_there(PROGRAM_PATH) {
        return Ok(false);
    }
    let manifest = Manifest::of(site)?;
    let has_scripts = manifest.scripts().any(|script| is_there(&script));
    Ok(manifest.entry().is_none() && has_scripts)
}

/// Puts PHP where the manifest expects it, without copying it; PHP that is there makes way.
pub(crate) fn add(tree: &mut Tree, php: &Path) -> anyhow::Result<()> {
    let file = File::open(php).with_context(|| php.display().to_string())?;
    put(tree, PROGRAM_PATH, &Arc::new(file))
}

/// Puts a file as it is now into a directory of the tree's root, without copying it; what is there makes way. Its time is that
/// of the root, so that the image depends on the site alone.
pub(crate) fn put(tree: &mut Tree, path: &str, file: &Arc<File>) -> anyhow::Result<()> {
    let size = file.metadata()?.size();
    let root = tree.node(0).meta();
    let meta = Meta {
        mtime: root.mtime,
        mtime_ns: root.mtime_ns,
        ..Meta::default()
    };
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
                meta: meta.clone(),
                entries: Default::default(),
                parent: 0,
                depth: 0,
            };
            tree.add(0, dir.as_bytes(), node)?
        }
    };
    tree.unlink(dir, name.as_bytes());
    let file = Node::File { meta, size, source };
    tree.add(dir, name.as_bytes(), file)?;
    Ok(())
}
