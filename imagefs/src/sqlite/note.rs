//! What happened to a database on its way into the image, for the user to read.

use serde::{Deserialize, Serialize};

use super::sidecar::SidecarKind;

/// Why a database was copied page by page and not rewritten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum WhyCopied {
    /// The caller asked for it.
    Asked,
    /// It is larger than [`super::Options::vacuum_bytes_max`].
    Large,
    /// Its schema uses something its own program defines: SQLite's message.
    Undefined(String),
    /// It keeps bytes for an extension at the end of each page; a rewrite would empty them.
    ReservedBytes(u8),
    /// The rewrite gave this table other rowids or other rows.
    Differs(String),
}

/// One thing the user may want to know. [`Note::is_warning`] tells which ones deserve a line on the terminal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Note {
    /// Committed transactions came out of the write-ahead log.
    WalApplied {
        /// Length of the log file.
        bytes: u64,
        /// Valid frames in it.
        frames: u64,
    },
    /// An unfinished transaction was rolled back from its journal.
    JournalRolledBack {
        /// Length of the journal.
        bytes: u64,
    },
    /// A leftover without effect was left behind.
    SidecarStale {
        /// Which one.
        kind: SidecarKind,
        /// Its length.
        bytes: u64,
    },
    /// A file has a sidecar's name but not its content; it is left out all the same.
    SidecarForeign {
        /// Which one.
        kind: SidecarKind,
        /// Its length.
        bytes: u64,
    },
    /// Taken raw although this sidecar holds data: committed rows may be missing, or uncommitted ones present.
    SidecarLost {
        /// Which one.
        kind: SidecarKind,
        /// Its length.
        bytes: u64,
    },
    /// Taken raw in WAL mode: programs cannot open it on read-only media unless they say `immutable=1`.
    WalModeKept,
    /// Another process has the database open, without writing. The state at this moment was taken.
    OpenElsewhere,
    /// The file system knows no locks, so a live writer shows only by its changes.
    LocksUnavailable,
    /// Bytes after the last whole page belong to no page; the rewrite left them out.
    TrailingBytes {
        /// How many.
        bytes: u64,
    },
    /// Not rewritten. Deleted rows may survive in its free pages.
    Copied(WhyCopied),
    /// Checked with `quick_check`: index contents were not compared with their tables.
    QuickChecked,
    /// Rows break constraints of the schema; they are kept as they are.
    RulesBroken {
        /// The first finding, in SQLite's words.
        first: String,
        /// How many findings.
        count: usize,
    },
    /// These tables could only be read through, not checked, or not even that (second list).
    Unchecked {
        /// Read row by row, indexes not checked.
        scanned: Vec<String>,
        /// Not readable without the program's own definitions.
        unread: Vec<String>,
    },
}

impl Note {
    /// Whether the user should act, or at least know without asking.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        match self {
            Note::WalApplied { .. }
            | Note::JournalRolledBack { .. }
            | Note::SidecarStale { .. } => false,
            Note::Copied(why) => !matches!(why, WhyCopied::Asked | WhyCopied::Large),
            Note::QuickChecked => false,
            _ => true,
        }
    }
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Note::WalApplied { bytes, frames } => {
                write!(
                    f,
                    "write-ahead log of {bytes} bytes applied ({frames} frames)"
                )
            }
            Note::JournalRolledBack { bytes } => {
                write!(
                    f,
                    "unfinished transaction rolled back (journal of {bytes} bytes)"
                )
            }
            Note::SidecarStale { kind, bytes } => {
                write!(f, "{kind} of {bytes} bytes had no effect, left out")
            }
            Note::SidecarForeign { kind, bytes } => {
                write!(
                    f,
                    "{kind} of {bytes} bytes is not SQLite's, but its name is: left out"
                )
            }
            Note::SidecarLost { kind, bytes } => {
                write!(
                    f,
                    "taken raw, and {kind} of {bytes} bytes left out: rows may be missing or uncommitted"
                )
            }
            Note::WalModeKept => {
                f.write_str("taken raw in WAL mode: opens on read-only media only with immutable=1")
            }
            Note::OpenElsewhere => {
                f.write_str("another process has it open; its state at this moment was taken")
            }
            Note::LocksUnavailable => {
                f.write_str("the file system has no locks; a live writer may go unnoticed")
            }
            Note::TrailingBytes { bytes } => {
                write!(f, "{bytes} bytes after the last page left out")
            }
            Note::Copied(why) => write!(f, "copied, not rewritten: {why}"),
            Note::QuickChecked => f.write_str("checked without comparing indexes with tables"),
            Note::RulesBroken { first, count } => {
                write!(
                    f,
                    "{count} rows break constraints of the schema, kept as they are ({first})"
                )
            }
            Note::Unchecked { scanned, unread } => {
                write!(f, "needs definitions of its own program;")?;
                if !scanned.is_empty() {
                    write!(f, " read but not checked: {}", scanned.join(", "))?;
                }
                if !unread.is_empty() {
                    write!(f, " not readable here: {}", unread.join(", "))?;
                }
                Ok(())
            }
        }
    }
}

impl std::fmt::Display for WhyCopied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            WhyCopied::Asked => f.write_str("as asked"),
            WhyCopied::Large => f.write_str("too large to rewrite by default"),
            WhyCopied::Undefined(what) => {
                write!(f, "its schema uses what only its program defines ({what})")
            }
            WhyCopied::ReservedBytes(n) => {
                write!(f, "{n} bytes of each page belong to an extension")
            }
            WhyCopied::Differs(table) => {
                write!(f, "a rewrite would change rowids of table {table}")
            }
        }
    }
}
