//! SQLite databases made fit for read-only media.
//!
//! An unprepared database breaks inside a read-only image, and two of the ways are silent: a WAL-mode file cannot be
//! opened at all, `immutable=1` on a file with an un-checkpointed WAL loses rows, and on a file with a hot journal it shows
//! rows that were never committed. [`prepare`] therefore resolves every leftover on a private copy and hands back one file
//! that any program can open:
//!
//! ```text
//! source (read only, its readers' locks)  staging directory (0700, private)
//!   X  ────────────── copy ───────────▶  db          recover ─▶ checkpoint ─▶ journal_mode=DELETE
//!   X-wal ─────────── copy ───────────▶  db-wal        │
//!   X-journal ─────── copy ───────────▶  db-journal    ▼
//!   X-shm (looked at for locks only)              integrity_check ─▶ VACUUM INTO out ─▶ reopen immutable, compare
//! ```
//!
//! Promises:
//! - the source is opened for reading only, and nothing is created beside it;
//! - the same input gives the same bytes (for one SQLite version, see [`version`]);
//! - sidecar files never enter the image; what was done with each is a [`Note`];
//! - every failure is a [`SqliteError`] that names the path and the reason.
//!
//! How each case ends:
//!
//! | found | result |
//! |---|---|
//! | no magic (also: encrypted), zero length | an ordinary file, [`detect`] says no |
//! | clean, any journal mode | rewritten by `VACUUM INTO`, rollback mode, no note |
//! | WAL with committed frames | applied, [`Note::WalApplied`] |
//! | hot journal | rolled back, [`Note::JournalRolledBack`] |
//! | stale or foreign file with a sidecar's name | left out, [`Note::SidecarStale`], [`Note::SidecarForeign`] |
//! | journal of a transaction over several databases | [`SqliteError::SuperJournal`] |
//! | open elsewhere, being written | its last committed state, [`Note::OpenElsewhere`] |
//! | locked against readers, or changed by what takes no locks, for [`Options::patience`] | [`SqliteError::InUse`] |
//! | damaged | [`SqliteError::Corrupt`] |
//! | rows against CHECK, NOT NULL or STRICT | kept, [`Note::RulesBroken`] |
//! | application-defined collation, function, tokenizer | copied, checked as far as possible, [`Note::Copied`], [`Note::Unchecked`] |
//! | virtual table without its module | rewritten; its own tables are ordinary ones |
//! | tables without INTEGER PRIMARY KEY | `VACUUM INTO` keeps their rowids; compared, and copied if it ever should not |
//! | bytes reserved in each page (checksums) | copied, [`WhyCopied::ReservedBytes`] |
//! | bytes after the last page | left out, [`Note::TrailingBytes`] |
//! | over [`Options::vacuum_bytes_max`] | copied and checked quickly, [`WhyCopied::Large`], [`Note::QuickChecked`] |
//! | endless or oversized work in the schema | [`SqliteError::Timeout`], [`SqliteError::Limit`] |
//!
//! Left out: a transaction that spans several databases (a super-journal) is refused, because one file cannot be resolved
//! without the others.

mod check;
mod content;
mod error;
mod header;
mod job;
mod live;
mod note;
mod sidecar;
mod source;
mod stage;
mod sys;
mod work;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use self::error::{BusyReason, SqliteError, Step};
pub use self::header::{HEADER_LEN, Header};
pub use self::job::{Runner, run_job};
pub use self::note::{Note, WhyCopied};
pub use self::sidecar::{SidecarKind, Sidecars};
pub use self::source::Source;

/// What to do with a database found while packing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Resolve sidecars, check, rewrite compactly, compare.
    #[default]
    Prepare,
    /// Take the file as it is, and say loudly what that loses.
    Raw,
    /// As [`Mode::Prepare`], but a non-empty sidecar is an error.
    Refuse,
}

/// Whether the database is rewritten by `VACUUM INTO`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Vacuum {
    /// Rewrite unless the database is too large or something in it forbids that; then copy and say so.
    #[default]
    Auto,
    /// Copy the recovered pages. For programs that depend on the physical layout; deleted rows may survive in free pages.
    Never,
}

/// Called when a step begins.
pub type Progress = Arc<dyn Fn(Step) + Send + Sync>;

/// How a database is prepared. [`Options::default`] is what `zapp pack` uses.
#[derive(Clone)]
pub struct Options {
    /// What to do with the database.
    pub mode: Mode,
    /// Whether to rewrite it.
    pub vacuum: Vacuum,
    /// Databases above this many bytes are copied, not rewritten, and get `quick_check` unless `deep`.
    pub vacuum_bytes_max: u64,
    /// Run the full `integrity_check` whatever the size.
    pub deep: bool,
    /// How long a database is waited for that its writer locks against readers.
    pub patience: Duration,
    /// SQLite's work on one database ends with an error after this time.
    pub timeout: Duration,
    /// Upper limit of SQLite's heap. It holds for the whole process and can only be lowered once set.
    pub heap_bytes_max: u64,
    /// Told about each step that happens in this process.
    pub progress: Option<Progress>,
    /// Has SQLite's part done elsewhere, so that a hostile database meets a confined process. `None`: in this process.
    pub runner: Option<Runner>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            mode: Mode::Prepare,
            vacuum: Vacuum::Auto,
            vacuum_bytes_max: 1 << 30,
            deep: false,
            patience: Duration::from_secs(10),
            timeout: Duration::from_secs(600),
            heap_bytes_max: 1 << 30,
            progress: None,
            runner: None,
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("mode", &self.mode)
            .field("vacuum", &self.vacuum)
            .field("vacuum_bytes_max", &self.vacuum_bytes_max)
            .field("deep", &self.deep)
            .field("timeout", &self.timeout)
            .field("heap_bytes_max", &self.heap_bytes_max)
            .finish_non_exhaustive()
    }
}

/// A database that read-only media can hold.
#[derive(Debug)]
pub struct Prepared {
    /// The prepared bytes, positioned at the start. An unlinked private file, or the source itself in [`Mode::Raw`].
    pub file: File,
    /// Length of the file in bytes.
    pub len: u64,
    /// Page size in bytes; the storage class aligns to at least this.
    pub page_size: u32,
    /// Rewritten by `VACUUM INTO`; otherwise a note says why not.
    pub vacuumed: bool,
    /// What happened, in the order it happened.
    pub notes: Vec<Note>,
}

/// The bytes of a database and its sidecars, when they are not files: members of a tar archive.
#[expect(missing_debug_implementations, reason = "readers have nothing to show")]
pub struct Parts<'a> {
    /// The database file.
    pub database: &'a mut dyn Read,
    /// `X-wal`, when there is one.
    pub wal: Option<&'a mut dyn Read>,
    /// `X-journal`, when there is one.
    pub journal: Option<&'a mut dyn Read>,
}

/// Whether a file of `len` bytes that begins with `head` is a SQLite database. Goes by content, never by name.
///
/// Give at least [`HEADER_LEN`] bytes when the file has them. An encrypted database has no magic and is an ordinary file; so
/// is an empty file, although SQLite would accept it.
#[must_use]
pub fn detect(head: &[u8], len: u64) -> bool {
    Header::parse(head).is_some() && len >= u64::try_from(HEADER_LEN).expect("a small constant")
}

/// The SQLite that prepares: part of what makes an image reproducible.
#[must_use]
pub fn version() -> &'static str {
    rusqlite::version()
}

/// Prepares the database at `path` with default options. See [`prepare_source`].
///
/// # Errors
/// See [`SqliteError`].
pub fn prepare(path: &Path, mode: Mode, staging: &Path) -> Result<Prepared, SqliteError> {
    let options = Options {
        mode,
        ..Options::default()
    };
    prepare_source(&Source::open(path)?, &options, staging)
}

/// Prepares a database in a directory the caller holds open, so that no part of the path can be swapped meanwhile.
///
/// `staging` is an existing directory with room for two copies; a private directory is made in it and removed again.
///
/// # Errors
/// See [`SqliteError`].
pub fn prepare_source(
    source: &Source,
    options: &Options,
    staging: &Path,
) -> Result<Prepared, SqliteError> {
    if options.mode == Mode::Raw {
        return source.raw();
    }
    if options.mode == Mode::Refuse {
        let found = source.open_sides()?.sizes();
        found.refuse_nonempty(source.path())?;
    }
    let stage = stage::Stage::create(staging, source.path())?;
    let notes = live::copy(source, &stage, options)?;
    finish(&stage, options, notes)
}

/// Prepares a database whose bytes come from elsewhere; `name` is used in messages only. There is no live writer to look for.
///
/// [`Mode::Raw`] does not apply: bytes that are taken as they are need no help from here.
///
/// # Errors
/// See [`SqliteError`].
pub fn prepare_parts(
    name: &Path,
    parts: Parts<'_>,
    options: &Options,
    staging: &Path,
) -> Result<Prepared, SqliteError> {
    let stage = stage::Stage::create(staging, name)?;
    options.say(Step::Copy);
    stage.fill(stage::DATABASE, parts.database)?;
    let mut sidecars = Sidecars::default();
    if let Some(wal) = parts.wal {
        sidecars.set(SidecarKind::Wal, stage.fill(stage::WAL, wal)?);
    }
    if let Some(journal) = parts.journal {
        sidecars.set(SidecarKind::Journal, stage.fill(stage::JOURNAL, journal)?);
    }
    if options.mode == Mode::Refuse {
        sidecars.refuse_nonempty(name)?;
    }
    let notes = stage.settle_sidecars(&sidecars)?;
    finish(&stage, options, notes)
}

/// SQLite's part, here or elsewhere, and a last look at what came out.
fn finish(
    stage: &stage::Stage,
    options: &Options,
    mut notes: Vec<Note>,
) -> Result<Prepared, SqliteError> {
    let outcome = match &options.runner {
        None => work::run(stage, options)?,
        Some(runner) => job::run_elsewhere(stage, options, runner)?,
    };
    notes.extend(outcome.notes);
    let (file, header, len) = stage.result(outcome.vacuumed)?;
    Ok(Prepared {
        file,
        len,
        page_size: header.page_size,
        vacuumed: outcome.vacuumed,
        notes,
    })
}

impl Options {
    /// Tells whoever listens that `step` begins.
    fn say(&self, step: Step) {
        if let Some(progress) = &self.progress {
            progress(step);
        }
    }
}
