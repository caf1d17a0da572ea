//! Why a database could not be prepared. Each variant is one documented end of [`super::prepare`].

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::sidecar::SidecarKind;

/// A step of the preparation, for messages and progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Step {
    /// Copying the source into the staging directory.
    Copy,
    /// First read: WAL recovery or journal rollback.
    Recover,
    /// Moving WAL frames into the database.
    Checkpoint,
    /// Setting `journal_mode=DELETE` in the header.
    JournalMode,
    /// `integrity_check` or `quick_check`.
    Check,
    /// `VACUUM INTO`.
    Vacuum,
    /// Reopening the result read-only and comparing every row.
    Compare,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Step::Copy => "copy",
            Step::Recover => "recover",
            Step::Checkpoint => "checkpoint",
            Step::JournalMode => "journal mode",
            Step::Check => "check",
            Step::Vacuum => "vacuum",
            Step::Compare => "compare",
        })
    }
}

/// How it showed that somebody else is using the database.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BusyReason {
    /// A write lock on the database file; the process that holds it, where the system tells.
    WriteLock(Option<u32>),
    /// A checkpoint lock on the `-shm` file.
    WalLock(Option<u32>),
    /// This file changed, appeared or vanished while it was copied.
    Changed(PathBuf),
}

impl std::fmt::Display for BusyReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pid = |pid: &Option<u32>| pid.map_or(String::new(), |p| format!(" by process {p}"));
        match self {
            BusyReason::WriteLock(p) => write!(f, "locked for writing{}", pid(p)),
            BusyReason::WalLock(p) => write!(f, "its write-ahead log is locked{}", pid(p)),
            BusyReason::Changed(path) => {
                write!(f, "{} changed while it was copied", path.display())
            }
        }
    }
}

/// Why a database could not be prepared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqliteError {
    /// A system call failed.
    #[error("{}: {op}: {source}", path.display())]
    Io {
        /// The file concerned.
        path: PathBuf,
        /// What was being done.
        op: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The path is not a regular file.
    #[error("{}: not a regular file", path.display())]
    NotAFile {
        /// The file concerned.
        path: PathBuf,
    },
    /// The file does not begin like a database; `detect` would have said so.
    #[error("{}: not a SQLite database", path.display())]
    NotADatabase {
        /// The file concerned.
        path: PathBuf,
    },
    /// Another process kept the database from being read all the time.
    #[error("{}: database in use, for {waited:?}: {reason}; stop its writer or pack a backup of it", path.display())]
    InUse {
        /// The database.
        path: PathBuf,
        /// How it showed last.
        reason: BusyReason,
        /// How long it was waited for.
        waited: Duration,
    },
    /// [`super::Mode::Refuse`] met a sidecar with content.
    #[error("{}: {kind} sidecar holds {bytes} bytes, and leftovers are refused", path.display())]
    SidecarPresent {
        /// The database.
        path: PathBuf,
        /// Which sidecar.
        kind: SidecarKind,
        /// Its length.
        bytes: u64,
    },
    /// The hot journal belongs to a transaction over several databases.
    #[error("{}: its journal belongs to a transaction over several databases (super-journal {name:?}); open it once \
             with the program that wrote it", path.display())]
    SuperJournal {
        /// The database.
        path: PathBuf,
        /// The name the journal records.
        name: String,
    },
    /// SQLite found the database damaged.
    #[error("{}: damaged database ({step}): {detail}", path.display())]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// The step that found it.
        step: Step,
        /// SQLite's words, the first few lines.
        detail: String,
    },
    /// The work took longer than [`super::Options::timeout`].
    #[error("{}: {step} not done after {after:?}", path.display())]
    Timeout {
        /// The database.
        path: PathBuf,
        /// The step that was interrupted.
        step: Step,
        /// The limit.
        after: Duration,
    },
    /// SQLite wanted more memory than [`super::Options::heap_bytes_max`], or a value larger than it can hold.
    #[error("{}: {step} needs more than SQLite's limits allow: {detail}", path.display())]
    Limit {
        /// The database.
        path: PathBuf,
        /// The step that hit the limit.
        step: Step,
        /// Which one.
        detail: String,
    },
    /// The file system of the staging directory is full.
    #[error("{}: no room in the staging directory ({step})", path.display())]
    NoSpace {
        /// The database.
        path: PathBuf,
        /// The step that ran out.
        step: Step,
    },
    /// The result is not what it must be. Our error or SQLite's, never the user's: nothing is kept.
    #[error("{}: prepared database is wrong: {detail}", path.display())]
    Wrong {
        /// The database.
        path: PathBuf,
        /// What differs.
        detail: String,
    },
    /// The process that was to do SQLite's part failed to.
    #[error("{}: worker: {source}", path.display())]
    Worker {
        /// The database.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// SQLite failed in some other way.
    #[error("{}: {step}: {source}", path.display())]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// The step that failed.
        step: Step,
        /// SQLite's error.
        source: rusqlite::Error,
    },
}

/// Text from a database, safe for a terminal and of bounded length.
pub(super) fn printable(text: &str) -> String {
    const SHOWN_MAX: usize = 300;
    let mut shown: String = text
        .chars()
        .take(SHOWN_MAX)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(SHOWN_MAX).is_some() {
        shown.push('…');
    }
    shown
}
