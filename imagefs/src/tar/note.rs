//! What reading an archive left out or decided.

/// One thing the user may want to know. Names are escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// A later member of the same name took this one's place.
    Replaced {
        /// The name.
        path: String,
    },
    /// An exclude pattern took this name out.
    Excluded {
        /// The name.
        path: String,
    },
    /// A `.zappignore` file of the archive took this name out.
    Ignored {
        /// The name.
        path: String,
    },
    /// A device, FIFO or socket was skipped.
    SpecialSkipped {
        /// The name.
        path: String,
        /// What it is.
        what: &'static str,
    },
    /// Set-user-id or set-group-id bits were dropped.
    SetIdDropped {
        /// The name.
        path: String,
    },
    /// An attribute outside `user.*`, or an ACL, was dropped.
    AttributeDropped {
        /// The name of the file.
        path: String,
        /// The name of the attribute.
        name: String,
    },
    /// A hard link to itself says nothing.
    LinkToItself {
        /// The name.
        path: String,
    },
    /// A member that describes the archive, such as a volume label, was skipped.
    Skipped {
        /// The name.
        path: String,
        /// What it is.
        what: &'static str,
    },
    /// Something follows the end marker: perhaps a second archive. It was not read.
    AfterEnd {
        /// Where it begins.
        at: u64,
    },
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Note::Replaced { path } => write!(f, "{path}: there twice, the last one is taken"),
            Note::Excluded { path } => write!(f, "{path}: excluded"),
            Note::Ignored { path } => write!(f, "{path}: ignored by .zappignore"),
            Note::SpecialSkipped { path, what } => write!(f, "{path}: {what}, skipped"),
            Note::SetIdDropped { path } => write!(f, "{path}: set-id bits dropped"),
            Note::AttributeDropped { path, name } => write!(f, "{path}: attribute {name} dropped"),
            Note::LinkToItself { path } => write!(f, "{path}: hard link to itself, ignored"),
            Note::Skipped { path, what } => write!(f, "{path}: {what}, skipped"),
            Note::AfterEnd { at } => {
                write!(f, "data after the end of the archive at byte {at} not read")
            }
        }
    }
}
