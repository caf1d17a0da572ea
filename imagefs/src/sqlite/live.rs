//! A copy of a database that may be in use: held by the locks that SQLite's own readers take, and looked at again
//! afterwards. It is the state after the last commit, and writers wait no longer than for any reader.
//!
//! | mode | locks held while copying | so that |
//! |---|---|---|
//! | rollback | SHARED of the database | no writer can begin to change it; one that prepares a commit has RESERVED, and its journal is left out |
//! | WAL, with its index | SHARED, CHECKPOINT and one read mark | the database stands still, and the log only grows: what was committed is a prefix of it |
//! | WAL, nobody connected | SHARED | whoever comes meanwhile is noticed, cannot remove the log, and is met by the second row at the next attempt |
//!
//! What takes no locks, such as a copy over the file, is noticed: same identity, size and times, same bytes. Nothing is
//! created: in a directory that cannot be written, and on a file system that is read-only, all this is the same.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::Options;
use super::error::{BusyReason, SqliteError, Step};
use super::note::Note;
use super::sidecar::{SidecarKind, read_up_to};
use super::source::{Part, Sides, Source, io_error};
use super::stage::{DATABASE, JOURNAL, Stage, WAL};
use super::sys::{self, Wanted};

/// Between two attempts: a commit takes about as long.
const PAUSE: Duration = Duration::from_millis(2);

/// Copies the database and the sidecars that belong to it into the staging directory, as one consistent state.
pub(super) fn copy(
    source: &Source,
    stage: &Stage,
    options: &Options,
) -> Result<Vec<Note>, SqliteError> {
    let began = Instant::now();
    let mut held = None;
    loop {
        let busy = match attempt(source, &mut held, stage, options) {
            Err(Stopped::Busy(reason)) => reason,
            Err(Stopped::Failed(error)) => return Err(error),
            Ok(notes) => return Ok(notes),
        };
        if began.elapsed() >= options.patience {
            return Err(SqliteError::InUse {
                path: source.path.clone(),
                reason: busy,
                waited: options.patience,
            });
        }
        stage.clear()?;
        std::thread::sleep(PAUSE);
    }
}

/// Why an attempt came to nothing.
enum Stopped {
    /// The next one may do better.
    Busy(BusyReason),
    Failed(SqliteError),
}

impl From<SqliteError> for Stopped {
    fn from(error: SqliteError) -> Stopped {
        Stopped::Failed(error)
    }
}

/// The database file under its SHARED lock. It is kept from one attempt to the next, so that nobody who connects meanwhile
/// removes the log at its end.
struct Held {
    part: Part,
    /// Whether the file system has locks.
    locks: bool,
}

/// How the files of one attempt lie under the locks.
struct Attempt<'a> {
    source: &'a Source,
    held: &'a mut Held,
    sides: Sides,
    /// The log can only grow.
    log_is_held: bool,
    /// The journal is a writer's that has not committed.
    journal_is_alive: bool,
}

fn attempt(
    source: &Source,
    held: &mut Option<Held>,
    stage: &Stage,
    options: &Options,
) -> Result<Vec<Note>, Stopped> {
    let held = hold(source, held)?;
    let header = held.part.header()?;
    let sides = source.open_sides()?;
    let log = sides.part(SidecarKind::Wal);
    let has_log = header.is_wal() || log.is_some_and(|log| log.before.len() > 0);
    let log_is_held = has_log && held.locks && hold_log(&sides)?;
    let journal_is_alive = held.part.lock_test(sys::RESERVED, Wanted::Read)?.is_some();
    let mut attempt = Attempt {
        source,
        held,
        sides,
        log_is_held,
        journal_is_alive,
    };
    let mut notes = attempt.notes()?;
    options.say(Step::Copy);
    attempt.copy(stage)?;
    attempt.look_again(stage)?;
    let mut found = attempt.sides.sizes();
    if attempt.journal_is_alive {
        found.forget(SidecarKind::Journal);
    }
    notes.extend(stage.settle_sidecars(&found)?);
    Ok(notes)
}

/// Takes the reader's lock, by way of the byte that lets a waiting writer go first, or keeps the one there is.
fn hold<'h>(source: &Source, held: &'h mut Option<Held>) -> Result<&'h mut Held, Stopped> {
    let now = source.open_main()?;
    let kept = held.take().filter(|kept| {
        let inode = |stat: &Metadata| (stat.dev(), stat.ino());
        inode(&kept.part.before) == inode(&now.before)
    });
    let new = match kept {
        Some(mut kept) => {
            kept.part.before = now.before;
            kept.part.rewind()?;
            kept
        }
        None => {
            let locks = lock_shared(&now)?;
            // What it was before the lock does not count.
            let before = now.file.metadata();
            let before = before.map_err(|error| io_error(&now.path, "stat", error))?;
            Held {
                part: Part { before, ..now },
                locks,
            }
        }
    };
    Ok(held.insert(new))
}

/// Whether the SHARED lock was taken; `false` where there are no locks.
fn lock_shared(part: &Part) -> Result<bool, Stopped> {
    let in_the_way = |range| {
        let holder = part.lock_test(range, Wanted::Read)?;
        let reason = BusyReason::WriteLock(holder.and_then(|holder| holder.0));
        Err(Stopped::Busy(reason))
    };
    let failed = |error| io_error(&part.path, "lock", error);
    for range in [sys::PENDING, sys::SHARED] {
        match sys::lock_shared(&part.file, range) {
            Ok(true) => {}
            Ok(false) => return in_the_way(range),
            Err(error) if sys::means_no_locks(&error) => return Ok(false),
            Err(error) => return Err(failed(error).into()),
        }
    }
    sys::unlock(&part.file, sys::PENDING).map_err(failed)?;
    Ok(true)
}

/// Keeps the log from being moved into the database and from beginning anew; `false` when it has no index, so that nobody
/// is connected.
fn hold_log(sides: &Sides) -> Result<bool, Stopped> {
    let Some(index) = sides.part(SidecarKind::Shm) else {
        return Ok(false);
    };
    for range in [sys::WAL_CHECKPOINT, sys::WAL_READ] {
        let locked = sys::lock_shared(&index.file, range);
        if !locked.map_err(|error| io_error(&index.path, "lock", error))? {
            let holder = index.lock_test(range, Wanted::Read)?;
            let reason = BusyReason::WalLock(holder.and_then(|holder| holder.0));
            return Err(Stopped::Busy(reason));
        }
    }
    Ok(true)
}

impl Attempt<'_> {
    fn notes(&self) -> Result<Vec<Note>, SqliteError> {
        if !self.held.locks {
            return Ok(vec![Note::LocksUnavailable]);
        }
        let main = &self.held.part;
        let connected = match self.sides.part(SidecarKind::Shm) {
            Some(index) => {
                index
                    .lock_test(sys::WAL_CONNECTED, Wanted::Write)?
                    .is_some()
                    || index.lock_test(sys::WAL_WRITE, Wanted::Read)?.is_some()
            }
            None => false,
        };
        let is_open = connected
            || self.journal_is_alive
            || main.lock_test(sys::SHARED, Wanted::Write)?.is_some();
        Ok(is_open.then_some(Note::OpenElsewhere).into_iter().collect())
    }

    fn copy(&mut self, stage: &Stage) -> Result<(), SqliteError> {
        stage.fill(DATABASE, &mut self.held.part.file)?;
        for (kind, name) in [(SidecarKind::Wal, WAL), (SidecarKind::Journal, JOURNAL)] {
            if kind == SidecarKind::Journal && self.journal_is_alive {
                continue;
            }
            if let Some(part) = &mut self.sides.0[kind as usize] {
                // No further than it went at first: a busy log may have no end.
                stage.fill(name, &mut (&mut part.file).take(part.before.len()))?;
            }
        }
        Ok(())
    }

    /// Compares every file with its copy, and the directory with what it was.
    ///
    /// The bytes are read again because times are too coarse to show two writes within one clock tick. That also covers
    /// the change counter of the database and the salts of the log.
    fn look_again(&mut self, stage: &Stage) -> Result<(), Stopped> {
        let begun = self.held.part.lock_test(sys::RESERVED, Wanted::Read)?;
        if begun.is_some() && !self.journal_is_alive {
            // A writer came while the journal was looked at: it may be its own.
            self.journal_is_alive = true;
            if stage.len_of(JOURNAL).is_some() {
                stage.remove(JOURNAL)?;
            }
        }
        let mut changed = differs(&mut self.held.part, stage, DATABASE)?;
        for (kind, name) in [(SidecarKind::Wal, WAL), (SidecarKind::Journal, JOURNAL)] {
            if changed.is_some() || self.may_change(kind) {
                continue;
            }
            if let Some(part) = &mut self.sides.0[kind as usize] {
                changed = differs(part, stage, name)?;
            }
        }
        if changed.is_none() {
            changed = self.moved()?;
        }
        match changed {
            Some(path) => Err(Stopped::Busy(BusyReason::Changed(path))),
            None => Ok(()),
        }
    }

    /// Whether a sidecar may become another while its database is copied, and the copy is right all the same.
    fn may_change(&self, kind: SidecarKind) -> bool {
        match kind {
            SidecarKind::Wal => self.log_is_held,
            SidecarKind::Journal => self.journal_is_alive,
            // Rewritten by mere readers, so only its coming and going counts.
            SidecarKind::Shm => false,
        }
    }

    /// The first file whose directory entry is no longer the file that was opened, or has other times or size.
    fn moved(&self) -> Result<Option<PathBuf>, SqliteError> {
        let source = self.source;
        let is_same = |name: &OsStr, before: Option<&Part>, counts: bool| {
            let now = source.open_part(name)?;
            Ok::<bool, SqliteError>(match (before, &now) {
                (None, None) => true,
                (Some(before), Some(now)) => {
                    !counts || identity(&before.before) == identity(&now.before)
                }
                _ => false,
            })
        };
        if !is_same(&source.name, Some(&self.held.part), true)? {
            return Ok(Some(source.path.clone()));
        }
        for kind in SidecarKind::ALL {
            let name = kind.name_for(&source.name);
            let counts = kind != SidecarKind::Shm;
            if !self.may_change(kind) && !is_same(&name, self.sides.part(kind), counts)? {
                return Ok(Some(source.path.with_file_name(name)));
            }
        }
        Ok(None)
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
