//! Replaces the SQLite databases of a tree by prepared copies, and drops their sidecar files.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::OFlags;

use super::open::Opened;
use super::{Phase, Work};
use crate::error::{Error, printable};
use crate::scan::Note;
use crate::sqlite::{self, Mode};
use crate::tree::{Node, NodeId, Source, Tree};

/// A database found in the tree.
struct Database {
    dir: NodeId,
    name: Vec<u8>,
    node: NodeId,
    path: Vec<u8>,
    size: u64,
    source: Source,
}

/// Prepares all databases of the tree.
///
/// # Errors
/// Those of [`sqlite::prepare_source`].
pub(super) fn prepare(
    work: &Work<'_>,
    tree: &mut Tree,
    notes: &mut Vec<Note>,
) -> Result<(), Error> {
    let found = find(work, tree)?;
    let total = found.iter().map(|db| db.size).sum();
    let mut done = 0;
    for database in found {
        work.check_stop()?;
        work.say(Phase::Databases, done, total, 0);
        done += database.size;
        one(work, tree, &database, notes)?;
    }
    Ok(())
}

/// Looks at the first bytes of every file that is large enough.
fn find(work: &Work<'_>, tree: &Tree) -> Result<Vec<Database>, Error> {
    let mut found: Vec<Database> = Vec::new();
    let mut parents = vec![0];
    let mut seen = std::collections::HashSet::new();
    tree.walk(&mut |path, node, what| {
        let depth = path.iter().filter(|&&b| b == b'/').count();
        parents.truncate(depth + 1);
        match what {
            Node::Dir { .. } => parents.push(node),
            Node::File { size, source, .. }
                if *size >= sqlite::HEADER_LEN as u64 && seen.insert(node) =>
            {
                work.check_stop()?;
                let opened = Opened::new(tree, path, *size, source)?;
                let mut head = [0; sqlite::HEADER_LEN];
                // A file that begins with a hole has no magic.
                let head_end = sqlite::HEADER_LEN as u64;
                let begins_with_data = opened.data_ranges()?.is_none_or(|data| {
                    data.first()
                        .is_some_and(|r| r.start == 0 && r.end >= head_end)
                });
                if begins_with_data {
                    opened.read_exact_at(&mut head, 0)?;
                }
                if sqlite::detect(&head, *size) {
                    let name = path.rsplit(|&b| b == b'/').next().unwrap_or(path).to_vec();
                    found.push(Database {
                        dir: parents[depth],
                        name,
                        node,
                        path: path.to_vec(),
                        size: *size,
                        source: source.clone(),
                    });
                }
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(found)
}

fn one(
    work: &Work<'_>,
    tree: &mut Tree,
    database: &Database,
    notes: &mut Vec<Note>,
) -> Result<(), Error> {
    let staging = std::env::temp_dir();
    let options = &work.options.sqlite;
    let shown = PathBuf::from(printable(&database.path));
    let prepared = match (&database.source, options.mode) {
        (Source::Disk(_), _) => {
            let parent = match database.path.iter().rposition(|&b| b == b'/') {
                Some(at) => &database.path[..at],
                None => b"",
            };
            let dir = tree
                .open_below_root(parent, OFlags::DIRECTORY)
                .map_err(|e| Error::io("open", printable(parent), e))?;
            let name = OsStr::from_bytes(&database.name).to_owned();
            Some(sqlite::prepare_source(
                &sqlite::Source::new(dir, name, shown),
                options,
                &staging,
            )?)
        }
        (_, Mode::Raw) => None,
        _ => Some(from_parts(tree, database, options, &staging, shown)?),
    };
    if let Some(prepared) = prepared {
        for note in &prepared.notes {
            notes.push(Note {
                path: database.path.clone(),
                what: note.to_string(),
            });
        }
        if options.mode != Mode::Raw
            && let Node::File { size, source, .. } = tree.node_mut(database.node)
        {
            *size = prepared.len;
            *source = Source::Stored {
                file: Arc::new(prepared.file),
                offset: 0,
                data: None,
            };
        }
    }
    for suffix in [&b"-wal"[..], b"-shm", b"-journal"] {
        let sidecar = [&database.name, suffix].concat();
        if matches!(
            tree.child(database.dir, &sidecar).map(|id| tree.node(id)),
            Some(Node::File { .. })
        ) {
            tree.unlink(database.dir, &sidecar);
            let path = [&database.path, suffix].concat();
            notes.push(Note {
                path,
                what: "left out: it belongs to the database beside it".into(),
            });
        }
    }
    Ok(())
}

/// A database whose bytes are members of an archive.
fn from_parts(
    tree: &Tree,
    database: &Database,
    options: &sqlite::Options,
    staging: &std::path::Path,
    shown: PathBuf,
) -> Result<sqlite::Prepared, Error> {
    let mut main = Reading::new(tree, &database.path, database.node)?;
    let sidecar = |suffix: &[u8]| {
        let name = [&database.name, suffix].concat();
        let path = [&database.path, suffix].concat();
        tree.child(database.dir, &name)
            .filter(|&id| matches!(tree.node(id), Node::File { .. }))
            .map(|id| Reading::new(tree, &path, id))
            .transpose()
    };
    let (mut wal, mut journal) = (sidecar(b"-wal")?, sidecar(b"-journal")?);
    let parts = sqlite::Parts {
        database: &mut main,
        wal: wal.as_mut().map(|r| r as &mut dyn Read),
        journal: journal.as_mut().map(|r| r as &mut dyn Read),
    };
    Ok(sqlite::prepare_parts(&shown, parts, options, staging)?)
}

/// A file of the tree as a byte stream.
struct Reading {
    opened: Opened,
    at: u64,
}

impl Reading {
    fn new(tree: &Tree, path: &[u8], node: NodeId) -> Result<Reading, Error> {
        let Node::File { size, source, .. } = tree.node(node) else {
            return Err(Error::source(path, "is not a regular file"));
        };
        Ok(Reading {
            opened: Opened::new(tree, path, *size, source)?,
            at: 0,
        })
    }
}

impl Read for Reading {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let left = self.opened.size() - self.at;
        let n = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
        self.opened
            .read_exact_at(&mut buf[..n], self.at)
            .map_err(std::io::Error::other)?;
        self.at += n as u64;
        Ok(n)
    }
}
