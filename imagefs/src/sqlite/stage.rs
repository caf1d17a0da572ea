//! The private directory in which SQLite may write.
//!
//! Names in it are fixed, so that no byte of the source's name reaches SQLite or a URI. The database and its sidecars keep
//! their relation: `db`, `db-wal`, `db-journal`.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::error::{SqliteError, Step, printable};
use super::header::{HEADER_LEN, Header};
use super::note::Note;
use super::sidecar::{Content, SidecarKind, Sidecars, classify, read_up_to, super_journal};

pub(super) const DATABASE: &str = "db";
pub(super) const WAL: &str = "db-wal";
pub(super) const JOURNAL: &str = "db-journal";
/// What `VACUUM INTO` writes.
pub(super) const REWRITTEN: &str = "out";

/// The staging directory of one database. Removed when dropped.
#[derive(Debug)]
pub(super) struct Stage {
    /// Removes the directory. `None` in a process that only borrows it.
    _dir: Option<TempDir>,
    /// Without symbolic links, because SQLite is told to follow none.
    root: PathBuf,
    /// The source's path, for messages.
    source: PathBuf,
}

impl Stage {
    pub(super) fn create(parent: &Path, source: &Path) -> Result<Stage, SqliteError> {
        let at = |error| SqliteError::Io {
            path: parent.to_owned(),
            op: "make staging directory",
            source: error,
        };
        let parent = parent.canonicalize().map_err(at)?;
        let dir = tempfile::Builder::new()
            .prefix(".sqlite-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&parent)
            .map_err(at)?;
        Ok(Stage {
            root: dir.path().to_owned(),
            _dir: Some(dir),
            source: source.to_owned(),
        })
    }

    /// A staging directory that another process made, and will remove.
    pub(super) fn borrow(root: &Path) -> Stage {
        Stage {
            root: root.to_owned(),
            _dir: None,
            source: root.join(DATABASE),
        }
    }

    /// Where it is.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The source's path, for messages.
    pub(super) fn source(&self) -> &Path {
        &self.source
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Writes a new file and returns its length.
    pub(super) fn fill(
        &self,
        name: &str,
        from: &mut (impl Read + ?Sized),
    ) -> Result<u64, SqliteError> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.path(name))
            .map_err(|error| self.io_error("copy", error))?;
        io::copy(from, &mut file).map_err(|error| self.io_error("copy", error))
    }

    /// Opens a file for reading. What a worker process left there is no more trusted than the database was.
    pub(super) fn open(&self, name: &str) -> Result<File, SqliteError> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(self.path(name))
            .map_err(|error| self.io_error("open copy", error))?;
        match file.metadata() {
            Ok(stat) if stat.is_file() => Ok(file),
            Ok(_) => Err(SqliteError::NotAFile {
                path: self.path(name),
            }),
            Err(error) => Err(self.io_error("stat copy", error)),
        }
    }

    /// The header of a file that must be a database.
    pub(super) fn header(&self, name: &str) -> Result<Header, SqliteError> {
        let mut head = [0; HEADER_LEN];
        let got = read_up_to(&mut self.open(name)?, &mut head)
            .map_err(|error| self.io_error("read copy", error))?;
        Header::parse(&head[..got]).ok_or_else(|| SqliteError::NotADatabase {
            path: self.source.clone(),
        })
    }

    /// The file that will be packed, its header and its length: rollback mode, whole pages, and nothing beside it.
    pub(super) fn result(&self, vacuumed: bool) -> Result<(File, Header, u64), SqliteError> {
        let wrong = |detail: String| {
            Err(SqliteError::Wrong {
                path: self.source.clone(),
                detail,
            })
        };
        let (name, expected): (_, &[&str]) = match vacuumed {
            true => (REWRITTEN, &[DATABASE, REWRITTEN]),
            false => (DATABASE, &[DATABASE]),
        };
        let left = self.names()?;
        if left != expected {
            return wrong(format!("sidecars were left: {left:?}"));
        }
        let header = self.header(name)?;
        let file = self.open(name)?;
        let len = file
            .metadata()
            .map_err(|error| self.io_error("stat copy", error))?
            .len();
        if header.write_version != 1 || header.read_version != 1 {
            return wrong("header still says WAL".to_owned());
        }
        if len == 0 || !len.is_multiple_of(u64::from(header.page_size)) {
            return wrong(format!(
                "{len} bytes are no whole pages of {}",
                header.page_size
            ));
        }
        Ok((file, header, len))
    }

    /// Removes the copied sidecars that carry nothing, and refuses what one file cannot resolve.
    ///
    /// The super-journal must be met before SQLite sees the journal: SQLite would look for, and may delete, the file it names.
    pub(super) fn settle_sidecars(&self, found: &Sidecars) -> Result<Vec<Note>, SqliteError> {
        let mut notes = Vec::new();
        for (kind, name) in [(SidecarKind::Wal, WAL), (SidecarKind::Journal, JOURNAL)] {
            let Some(bytes) = found.bytes(kind) else {
                continue;
            };
            let mut file = self.open(name)?;
            let content =
                classify(kind, &mut file).map_err(|error| self.io_error("read copy", error))?;
            match content {
                Content::Live if kind == SidecarKind::Journal => {
                    let named = super_journal(&mut file)
                        .map_err(|error| self.io_error("read copy", error))?;
                    if let Some(named) = named {
                        let name = printable(&String::from_utf8_lossy(&named));
                        return Err(SqliteError::SuperJournal {
                            path: self.source.clone(),
                            name,
                        });
                    }
                }
                Content::Live => {}
                Content::Stale | Content::Foreign => {
                    self.remove(name)?;
                    if content == Content::Foreign {
                        notes.push(Note::SidecarForeign { kind, bytes });
                    } else if bytes > 0 {
                        notes.push(Note::SidecarStale { kind, bytes });
                    }
                }
            }
        }
        Ok(notes)
    }

    /// Length of a file, or `None` when it does not exist.
    pub(super) fn len_of(&self, name: &str) -> Option<u64> {
        std::fs::metadata(self.path(name))
            .ok()
            .map(|stat| stat.len())
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), SqliteError> {
        std::fs::remove_file(self.path(name)).map_err(|error| self.io_error("remove copy", error))
    }

    /// Removes everything, so that it can be filled anew.
    pub(super) fn clear(&self) -> Result<(), SqliteError> {
        self.names()?.iter().try_for_each(|name| self.remove(name))
    }

    /// Everything in the directory, for the check that SQLite left nothing behind.
    pub(super) fn names(&self) -> Result<Vec<String>, SqliteError> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.root).map_err(|error| self.io_error("list", error))? {
            let entry = entry.map_err(|error| self.io_error("list", error))?;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    pub(super) fn io_error(&self, op: &'static str, source: io::Error) -> SqliteError {
        if source.kind() == io::ErrorKind::StorageFull
            || source.kind() == io::ErrorKind::QuotaExceeded
        {
            return SqliteError::NoSpace {
                path: self.source.clone(),
                step: Step::Copy,
            };
        }
        SqliteError::Io {
            path: self.source.clone(),
            op,
            source,
        }
    }
}
