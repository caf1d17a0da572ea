//! Replaces the SQLite databases of a tree by prepared copies, and drops their sidecar files.

use std::collections::HashMap;
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
use crate::sqlite::{self, Mode, SidecarKind};
use crate::tree::{Node, NodeId, Source, Tree};

/// A database found in the tree.
struct Database {
    node: NodeId,
    /// In the order of the tree; never empty. Its log lies beside the name that its writer knows it by.
    names: Vec<Name>,
    size: u64,
    source: Source,
}

/// One name of a database.
struct Name {
    dir: NodeId,
    name: Vec<u8>,
    path: Vec<u8>,
}

impl Name {
    /// The sidecar of this kind beside it.
    fn sidecar(&self, tree: &Tree, kind: SidecarKind) -> Option<NodeId> {
        let name = [&self.name, kind.suffix().as_bytes()].concat();
        tree.child(self.dir, &name)
            .filter(|&id| matches!(tree.node(id), Node::File { .. }))
    }

    /// Where that sidecar is, or would be.
    fn sidecar_path(&self, kind: SidecarKind) -> Vec<u8> {
        [&self.path, kind.suffix().as_bytes()].concat()
    }

    /// Whether a log with content lies beside it.
    fn has_log(&self, tree: &Tree) -> bool {
        [SidecarKind::Wal, SidecarKind::Journal].iter().any(|kind| {
            let log = self.sidecar(tree, *kind).map(|id| tree.node(id));
            matches!(log, Some(Node::File { size, .. }) if *size > 0)
        })
    }
}

impl Database {
    /// The name by which its log is found; the first one when there is no log.
    ///
    /// # Errors
    /// Two names have a log each: SQLite itself would read another database by each name.
    fn main_name(&self, tree: &Tree) -> Result<&Name, Error> {
        let mut logged = self.names.iter().filter(|name| name.has_log(tree));
        let main = logged.next().unwrap_or(&self.names[0]);
        match logged.next() {
            None => Ok(main),
            Some(other) => {
                let what = format!(
                    "is one file with {}, and each name has a log of its own: remove the log that no program uses",
                    printable(&other.path)
                );
                Err(Error::source(&main.path, what))
            }
        }
    }
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
    // Which of `found` a file is, if it is a database.
    let mut seen: HashMap<NodeId, Option<usize>> = HashMap::new();
    tree.walk(&mut |path, node, what| {
        let depth = path.iter().filter(|&&b| b == b'/').count();
        parents.truncate(depth + 1);
        let (size, source) = match what {
            Node::Dir { .. } => {
                parents.push(node);
                return Ok(());
            }
            Node::File { size, source, .. } if *size >= sqlite::HEADER_LEN as u64 => {
                (*size, source)
            }
            _ => return Ok(()),
        };
        let name = || Name {
            dir: parents[depth],
            name: path.rsplit(|&b| b == b'/').next().unwrap_or(path).to_vec(),
            path: path.to_vec(),
        };
        match seen.get(&node) {
            Some(Some(index)) => found[*index].names.push(name()),
            Some(None) => {}
            None => {
                work.check_stop()?;
                let is_database = match source {
                    Source::Disk(_) => is_database_on_disk(tree, path)?,
                    _ => is_database(&Opened::new(tree, path, size, source)?)?,
                };
                seen.insert(node, is_database.then_some(found.len()));
                if is_database {
                    found.push(Database {
                        node,
                        names: vec![name()],
                        size,
                        source: source.clone(),
                    });
                }
            }
        }
        Ok(())
    })?;
    Ok(found)
}

/// The same for a file that may be written, or gone, by now: a database is asked for its state later, and what is none and
/// has changed is met when it is read.
fn is_database_on_disk(tree: &Tree, path: &[u8]) -> Result<bool, Error> {
    let failed = |call, e: std::io::Error| Error::io(call, printable(path), e);
    let file = match tree.open_below_root(path, OFlags::empty()) {
        Ok(fd) => std::fs::File::from(fd),
        Err(rustix::io::Errno::NOENT) => return Ok(false),
        Err(e) => return Err(failed("open", e.into())),
    };
    let size = file.metadata().map_err(|e| failed("stat", e))?.len();
    let mut head = Vec::with_capacity(sqlite::HEADER_LEN);
    let read = file.take(sqlite::HEADER_LEN as u64).read_to_end(&mut head);
    read.map_err(|e| failed("read", e))?;
    Ok(sqlite::detect(&head, size))
}

fn is_database(file: &Opened) -> Result<bool, Error> {
    let mut head = [0; sqlite::HEADER_LEN];
    // A file that begins with a hole has no magic.
    let head_end = sqlite::HEADER_LEN as u64;
    let begins_with_data = file.data_ranges()?.is_none_or(|data| {
        data.first()
            .is_some_and(|r| r.start == 0 && r.end >= head_end)
    });
    if begins_with_data {
        file.read_exact_at(&mut head, 0)?;
    }
    Ok(sqlite::detect(&head, file.size()))
}

fn one(
    work: &Work<'_>,
    tree: &mut Tree,
    database: &Database,
    notes: &mut Vec<Note>,
) -> Result<(), Error> {
    let staging = std::env::temp_dir();
    let options = &work.options.sqlite;
    let main = database.main_name(tree)?;
    let shown = PathBuf::from(printable(&main.path));
    let prepared = match (&database.source, options.mode) {
        (Source::Disk(_), _) => {
            let parent = match main.path.iter().rposition(|&b| b == b'/') {
                Some(at) => &main.path[..at],
                None => b"",
            };
            let dir = tree
                .open_below_root(parent, OFlags::DIRECTORY)
                .map_err(|e| Error::io("open", printable(parent), e))?;
            let name = OsStr::from_bytes(&main.name).to_owned();
            Some(sqlite::prepare_source(
                &sqlite::Source::new(dir, name, shown),
                options,
                &staging,
            )?)
        }
        (_, Mode::Raw) => None,
        _ => Some(from_parts(tree, database, main, options, &staging, shown)?),
    };
    if let Some(prepared) = prepared {
        for note in &prepared.notes {
            notes.push(Note {
                path: main.path.clone(),
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
    for name in &database.names {
        for kind in SidecarKind::ALL {
            if name.sidecar(tree, kind).is_some() {
                tree.unlink(name.dir, &[&name.name, kind.suffix().as_bytes()].concat());
                notes.push(Note {
                    path: name.sidecar_path(kind),
                    what: "left out: it belongs to the database beside it".into(),
                });
            }
        }
    }
    Ok(())
}

/// A database whose bytes are members of an archive.
fn from_parts(
    tree: &Tree,
    database: &Database,
    name: &Name,
    options: &sqlite::Options,
    staging: &std::path::Path,
    shown: PathBuf,
) -> Result<sqlite::Prepared, Error> {
    let mut main = Reading::new(tree, &name.path, database.node)?;
    let sidecar = |kind| {
        name.sidecar(tree, kind)
            .map(|id| Reading::new(tree, &name.sidecar_path(kind), id))
            .transpose()
    };
    let (mut wal, mut journal) = (sidecar(SidecarKind::Wal)?, sidecar(SidecarKind::Journal)?);
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
