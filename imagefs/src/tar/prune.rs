//! What the user's patterns and the archive's own ignore files leave out of it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use globset::GlobSet;

use super::error::TarError;
use super::note::Note;
use crate::error::{Error, printable};
use crate::ignore_file::{IGNORE_FILE, Ignores};
use crate::tree::{Node, NodeId, Source, Tree};

/// A directory still to be looked through.
struct Pending {
    node: NodeId,
    path: Vec<u8>,
    /// Ignore files from the root down to the parent.
    ignores: Option<Arc<Ignores>>,
}

/// Takes out of `tree`, whose bodies are all readable, what `excludes` match and, with `ignore_files`, what the ignore
/// files in it name, as [`scan`](crate::scan::scan) does in a directory.
///
/// # Errors
/// [`TarError::IgnoreFile`].
pub(super) fn prune(
    tree: &mut Tree,
    excludes: &GlobSet,
    ignore_files: bool,
) -> Result<Vec<Note>, TarError> {
    let mut notes = Vec::new();
    let mut pending = vec![Pending {
        node: 0,
        path: Vec::new(),
        ignores: None,
    }];
    while let Some(directory) = pending.pop() {
        let ignores = if ignore_files {
            ignores(tree, &directory)
                .map_err(Box::new)
                .map_err(TarError::IgnoreFile)?
        } else {
            None
        };
        let entries: Vec<_> = tree
            .entries(directory.node)
            .map(|(name, &node)| (name.clone(), node))
            .collect();
        for (name, node) in entries {
            let mut path = directory.path.clone();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(&name);
            let is_dir = matches!(tree.node(node), Node::Dir { .. });
            let note: fn(String) -> Note = if excludes.is_match(OsStr::from_bytes(&path)) {
                |path| Note::Excluded { path }
            } else if ignores
                .as_deref()
                .is_some_and(|ignores| ignores.ignores(&path, is_dir))
            {
                |path| Note::Ignored { path }
            } else {
                if is_dir {
                    pending.push(Pending {
                        node,
                        path,
                        ignores: ignores.clone(),
                    });
                }
                continue;
            };
            tree.unlink(directory.node, &name);
            notes.push(note(printable(&path)));
        }
    }
    Ok(notes)
}

/// The ignore files in force in a directory.
fn ignores(tree: &Tree, directory: &Pending) -> Result<Option<Arc<Ignores>>, Error> {
    let node = tree.child(directory.node, IGNORE_FILE.as_bytes());
    let Some(Node::File { size, source, .. }) = node.map(|node| tree.node(node)) else {
        return Ok(directory.ignores.clone());
    };
    let above = directory.ignores.clone();
    let read = |file: &mut dyn Read| Ignores::read(&directory.path, file, above);
    let ignores = match source {
        Source::Bytes(bytes) => read(&mut &bytes[..])?,
        Source::Stored { data: Some(_), .. } | Source::Disk(_) => {
            let what = format!("{IGNORE_FILE} is sparse and cannot be read");
            return Err(Error::source(&directory.path, what));
        }
        Source::Stored { file, offset, .. } => read(&mut Body {
            file,
            range: *offset..offset.saturating_add(*size),
        })?,
    };
    Ok(Some(ignores))
}

/// A body in the spool file.
struct Body<'a> {
    file: &'a File,
    range: std::ops::Range<u64>,
}

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.range.end - self.range.start).unwrap_or(usize::MAX);
        let len = buffer.len().min(left);
        let read = self.file.read_at(&mut buffer[..len], self.range.start)?;
        self.range.start += read as u64;
        Ok(read)
    }
}
