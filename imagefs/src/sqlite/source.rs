//! The database where it lies: opened for reading only, held by a shared lock while it is copied, and looked at again
//! afterwards.
//!
//! The shared lock is the one every SQLite reader takes, so a writer in rollback mode waits as it would for any reader. In
//! WAL mode the lock does not stop writers; there the second look does: same identity, size and times, same bytes.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, openat};

use super::error::{BusyReason, SqliteError, Step};
use super::header::{HEADER_LEN, Header};
use super::note::Note;
use super::sidecar::{Content, SidecarKind, Sidecars, classify, read_up_to};
use super::stage::{DATABASE, JOURNAL, Stage, WAL};
use super::sys::{self, Wanted};
use super::{Options, Prepared};

/// A database by directory and name, so that the directories above cannot be swapped while it is read.
#[derive(Debug)]
pub struct Source {
    dir: OwnedFd,
    name: OsString,
    path: PathBuf,
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

    pub(super) fn open_parts(&self) -> Result<OpenParts<'_>, SqliteError> {
        let mut main = self.open_part(&self.name)?.ok_or_else(|| {
            io_error(&self.path, "open", io::Error::from(io::ErrorKind::NotFound))
        })?;
        let header = main.header()?;
        let mut sides = [const { None }; 3];
        for kind in SidecarKind::ALL {
            sides[kind as usize] = self.open_part(&kind.name_for(&self.name))?;
        }
        Ok(OpenParts {
            source: self,
            header,
            main,
            sides,
        })
    }

    /// Opens a regular file of the directory. Never blocks on a FIFO, never follows a link, never writes.
    fn open_part(&self, name: &OsStr) -> Result<Option<Part>, SqliteError> {
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
struct Part {
    file: File,
    path: PathBuf,
    before: Metadata,
}

impl Part {
    fn header(&mut self) -> Result<Header, SqliteError> {
        let mut head = [0; HEADER_LEN];
        let got = read_up_to(&mut self.file, &mut head)
            .map_err(|error| io_error(&self.path, "read", error))?;
        self.rewind()?;
        Header::parse(&head[..got]).ok_or_else(|| SqliteError::NotADatabase {
            path: self.path.clone(),
        })
    }

    fn rewind(&mut self) -> Result<(), SqliteError> {
        self.file
            .rewind()
            .map_err(|error| io_error(&self.path, "seek", error))
    }

    fn lock_test(
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

/// The database and its sidecars, open for reading.
pub(super) struct OpenParts<'a> {
    source: &'a Source,
    header: Header,
    main: Part,
    sides: [Option<Part>; 3],
}

impl OpenParts<'_> {
    pub(super) fn sidecars(&self) -> Sidecars {
        let mut found = Sidecars::default();
        for kind in SidecarKind::ALL {
            if let Some(part) = &self.sides[kind as usize] {
                found.set(kind, part.before.len());
            }
        }
        found
    }

    /// The file as it is, with a warning for everything that this loses.
    pub(super) fn into_raw(mut self) -> Result<Prepared, SqliteError> {
        let mut notes = Vec::new();
        for (kind, bytes) in self.sidecars().nonempty() {
            let part = self.sides[kind as usize]
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
        if self.header.is_wal() {
            notes.push(Note::WalModeKept);
        }
        Ok(Prepared {
            len: self.main.before.len(),
            file: self.main.file,
            page_size: self.header.page_size,
            vacuumed: false,
            notes,
        })
    }

    /// Copies everything into the staging directory, sure that it is one consistent state.
    pub(super) fn copy_into(
        mut self,
        stage: &Stage,
        options: &Options,
    ) -> Result<Vec<Note>, SqliteError> {
        options.say(Step::Copy);
        let mut notes = self.hold()?;
        stage.fill(DATABASE, &mut self.main.file)?;
        for (kind, name) in [(SidecarKind::Wal, WAL), (SidecarKind::Journal, JOURNAL)] {
            if let Some(part) = &mut self.sides[kind as usize] {
                stage.fill(name, &mut part.file)?;
            }
        }
        self.refuse_writers()?;
        self.look_again(stage)?;
        notes.extend(stage.settle_sidecars(&self.sidecars())?);
        Ok(notes)
    }

    /// Takes the reader's lock, after making sure that nobody writes.
    fn hold(&self) -> Result<Vec<Note>, SqliteError> {
        let mut notes = Vec::new();
        match sys::lock_shared(&self.main.file, sys::SHARED) {
            Ok(true) => {}
            Ok(false) => {
                let holder = self.main.lock_test(sys::SHARED, Wanted::Read)?;
                return Err(self.in_use(BusyReason::WriteLock(holder.and_then(|h| h.0))));
            }
            Err(error) if sys::means_no_locks(&error) => notes.push(Note::LocksUnavailable),
            Err(error) => return Err(io_error(&self.main.path, "lock", error)),
        }
        self.refuse_writers()?;
        let shm = self.sides[SidecarKind::Shm as usize].as_ref();
        let connected = match shm {
            Some(shm) => shm.lock_test(sys::WAL_CONNECTED, Wanted::Write)?,
            None => None,
        };
        if connected.is_some() || self.main.lock_test(sys::SHARED, Wanted::Write)?.is_some() {
            notes.push(Note::OpenElsewhere);
        }
        Ok(notes)
    }

    fn refuse_writers(&self) -> Result<(), SqliteError> {
        if let Some(holder) = self.main.lock_test(sys::WRITERS, Wanted::Read)? {
            return Err(self.in_use(BusyReason::WriteLock(holder.0)));
        }
        if let Some(shm) = &self.sides[SidecarKind::Shm as usize]
            && let Some(holder) = shm.lock_test(sys::WAL_WORK, Wanted::Read)?
        {
            return Err(self.in_use(BusyReason::WalLock(holder.0)));
        }
        Ok(())
    }

    /// Compares every file with its copy, and the directory with what it was.
    ///
    /// The bytes are read again because times are too coarse to show two writes within one clock tick. That also covers
    /// the change counter of the database and the salts of the log.
    fn look_again(&mut self, stage: &Stage) -> Result<(), SqliteError> {
        let mut changed = differs(&mut self.main, stage, DATABASE)?;
        for (kind, name) in [(SidecarKind::Wal, WAL), (SidecarKind::Journal, JOURNAL)] {
            if let (None, Some(part)) = (&changed, &mut self.sides[kind as usize]) {
                changed = differs(part, stage, name)?;
            }
        }
        if changed.is_none() {
            changed = self.moved()?;
        }
        match changed {
            Some(path) => Err(self.in_use(BusyReason::Changed(path))),
            None => Ok(()),
        }
    }

    /// The first file whose directory entry is no longer the file that was opened, or has other times or size.
    fn moved(&self) -> Result<Option<PathBuf>, SqliteError> {
        let names = SidecarKind::ALL.map(|kind| {
            (
                kind.name_for(&self.source.name),
                self.sides[kind as usize].as_ref(),
            )
        });
        let all = std::iter::once((self.source.name.clone(), Some(&self.main))).chain(names);
        for (name, before) in all {
            let now = self.source.open_part(&name)?;
            // The index of the log is rewritten by mere readers, so only its coming and going counts.
            let is_index = name == SidecarKind::Shm.name_for(&self.source.name);
            let same = match (before, &now) {
                (None, None) => true,
                (Some(before), Some(now)) => {
                    is_index || identity(&before.before) == identity(&now.before)
                }
                _ => false,
            };
            if !same {
                return Ok(Some(self.source.path.with_file_name(name)));
            }
        }
        Ok(None)
    }

    fn in_use(&self, reason: BusyReason) -> SqliteError {
        SqliteError::InUse {
            path: self.source.path.clone(),
            reason,
        }
    }
}

/// What must stay the same while a file is copied. The change time catches a writer that resets the modification time.
fn identity(stat: &Metadata) -> [i64; 7] {
    [
        stat.dev().cast_signed(),
        stat.ino().cast_signed(),
        stat.size().cast_signed(),
        stat.mtime(),
        stat.mtime_nsec(),
        stat.ctime(),
        stat.ctime_nsec(),
    ]
}

/// The path of `part` when its bytes are no longer those of its copy.
fn differs(part: &mut Part, stage: &Stage, name: &str) -> Result<Option<PathBuf>, SqliteError> {
    part.rewind()?;
    let same = same_bytes(&mut part.file, &mut stage.open(name)?)
        .map_err(|error| io_error(&part.path, "read again", error))?;
    Ok((!same).then(|| part.path.clone()))
}

fn same_bytes(a: &mut impl Read, b: &mut impl Read) -> io::Result<bool> {
    let mut buffers = (vec![0; 1 << 18], vec![0; 1 << 18]);
    loop {
        let got = (
            read_up_to(a, &mut buffers.0)?,
            read_up_to(b, &mut buffers.1)?,
        );
        if got.0 != got.1 || buffers.0[..got.0] != buffers.1[..got.1] {
            return Ok(false);
        }
        if got.0 == 0 {
            return Ok(true);
        }
    }
}

fn io_error(path: &Path, op: &'static str, source: io::Error) -> SqliteError {
    SqliteError::Io {
        path: path.to_owned(),
        op,
        source,
    }
}
