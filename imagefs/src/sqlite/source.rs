//! The database where it lies, and its sidecars: opened for reading only.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::{self, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, openat};

use super::Prepared;
use super::error::SqliteError;
use super::header::{HEADER_LEN, Header};
use super::note::Note;
use super::sidecar::{Content, SidecarKind, Sidecars, classify, read_up_to};
use super::sys::{self, Wanted};

/// A database by directory and name, so that the directories above cannot be swapped while it is read.
#[derive(Debug)]
pub struct Source {
    dir: OwnedFd,
    pub(super) name: OsString,
    pub(super) path: PathBuf,
}

impl Source {
    /// The database `name` in the open directory `dir`. `path` is used in messages only.
    #[must_use]
    pub fn new(dir: OwnedFd, name: OsString, path: PathBuf) -> Source {
        Source { dir, name, path }
    }

    /// The database at `path`. Its last component is not followed when it is a symbolic link.
    ///
    /// # Errors
    /// When the directory cannot be opened or `path` ends in no name.
    pub fn open(path: &Path) -> Result<Source, SqliteError> {
        let name = path.file_name().ok_or_else(|| SqliteError::NotAFile {
            path: path.to_owned(),
        })?;
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat(rustix::fs::CWD, parent, flags, Mode::empty())
            .map_err(|errno| io_error(parent, "open directory", errno.into()))?;
        Ok(Source::new(dir, name.to_owned(), path.to_owned()))
    }

    /// The path used in messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The database file.
    pub(super) fn open_main(&self) -> Result<Part, SqliteError> {
        let gone = || io_error(&self.path, "open", io::ErrorKind::NotFound.into());
        self.open_part(&self.name)?.ok_or_else(gone)
    }

    /// The sidecars, by kind. The index of the log comes first: its log is there as long as it is.
    pub(super) fn open_sides(&self) -> Result<Sides, SqliteError> {
        let mut sides = Sides::default();
        for kind in [SidecarKind::Shm, SidecarKind::Wal, SidecarKind::Journal] {
            sides.0[kind as usize] = self.open_part(&kind.name_for(&self.name))?;
        }
        Ok(sides)
    }

    /// The database as it is, with a warning for everything that this loses.
    pub(super) fn raw(&self) -> Result<Prepared, SqliteError> {
        let mut main = self.open_main()?;
        let header = main.header()?;
        let mut sides = self.open_sides()?;
        let mut notes = Vec::new();
        for (kind, bytes) in sides.sizes().nonempty() {
            let part = sides.0[kind as usize]
                .as_mut()
                .expect("listed because it exists");
            let content = classify(kind, &mut part.file)
                .map_err(|error| io_error(&part.path, "read", error))?;
            notes.push(match content {
                Content::Live => Note::SidecarLost { kind, bytes },
                Content::Stale => Note::SidecarStale { kind, bytes },
                Content::Foreign => Note::SidecarForeign { kind, bytes },
            });
        }
        if header.is_wal() {
            notes.push(Note::WalModeKept);
        }
        Ok(Prepared {
            len: main.before.len(),
            file: main.file,
            page_size: header.page_size,
            vacuumed: false,
            notes,
        })
    }

    /// Opens a regular file of the directory. Never blocks on a FIFO, never follows a link, never writes.
    pub(super) fn open_part(&self, name: &OsStr) -> Result<Option<Part>, SqliteError> {
        let path = self.path.with_file_name(name);
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match openat(self.dir.as_fd(), name, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::NXIO) => {
                return Err(SqliteError::NotAFile { path });
            }
            Err(errno) => return Err(io_error(&path, "open", errno.into())),
        };
        let before = file
            .metadata()
            .map_err(|error| io_error(&path, "stat", error))?;
        if !before.is_file() {
            return Err(SqliteError::NotAFile { path });
        }
        Ok(Some(Part { file, path, before }))
    }
}

/// One file of the database, as it was when it was opened.
pub(super) struct Part {
    pub(super) file: File,
    pub(super) path: PathBuf,
    pub(super) before: Metadata,
}

impl Part {
    pub(super) fn header(&mut self) -> Result<Header, SqliteError> {
        let mut head = [0; HEADER_LEN];
        let got = read_up_to(&mut self.file, &mut head)
            .map_err(|error| io_error(&self.path, "read", error))?;
        self.rewind()?;
        Header::parse(&head[..got]).ok_or_else(|| SqliteError::NotADatabase {
            path: self.path.clone(),
        })
    }

    pub(super) fn rewind(&mut self) -> Result<(), SqliteError> {
        self.file
            .rewind()
            .map_err(|error| io_error(&self.path, "seek", error))
    }

    pub(super) fn lock_test(
        &self,
        range: sys::LockRange,
        wanted: Wanted,
    ) -> Result<Option<sys::Holder>, SqliteError> {
        match sys::conflicting(&self.file, range, wanted) {
            Err(error) if sys::means_no_locks(&error) => Ok(None),
            other => other.map_err(|error| io_error(&self.path, "test lock", error)),
        }
    }
}

/// The sidecars that exist, by kind.
#[derive(Default)]
pub(super) struct Sides(pub(super) [Option<Part>; 3]);

impl Sides {
    pub(super) fn part(&self, kind: SidecarKind) -> Option<&Part> {
        self.0[kind as usize].as_ref()
    }

    pub(super) fn sizes(&self) -> Sidecars {
        let mut found = Sidecars::default();
        for kind in SidecarKind::ALL {
            if let Some(part) = self.part(kind) {
                found.set(kind, part.before.len());
            }
        }
        found
    }
}

pub(super) fn io_error(path: &Path, op: &'static str, source: io::Error) -> SqliteError {
    SqliteError::Io {
        path: path.to_owned(),
        op,
        source,
    }
}
