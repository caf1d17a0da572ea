//! What can go wrong while packing or reading an image.

use std::path::PathBuf;

/// Errors of this crate. Paths inside images are shown with lossy UTF-8; control characters are escaped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file is no image at all.
    #[error("not an image: {0}")]
    NotAnImage(&'static str),
    /// The image is of a version or has a feature this reader does not know.
    #[error("unsupported image: {0}")]
    Unsupported(String),
    /// A field of the image contradicts the format.
    #[error("image is damaged: {what} at offset {offset}")]
    Corrupt {
        /// Which rule was broken, with the values.
        what: String,
        /// Where in the file.
        offset: u64,
    },
    /// A stored block does not have the hash the image says it has, or does not decode.
    #[error("image is damaged: block {block} at offset {offset}: {what}")]
    BadBlock {
        /// Row of the BLOCKS table.
        block: u32,
        /// Where its stored bytes lie in the file.
        offset: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The call does not fit the kind of file (reading a directory, listing a file).
    #[error("{0}")]
    WrongKind(&'static str),
    /// Something in the source cannot be packed.
    #[error("{path}: {what}")]
    Source {
        /// Path in the source.
        path: String,
        /// Why it cannot be packed.
        what: String,
    },
    /// A file of the source changed while it was packed.
    #[error("{path}: changed while it was packed")]
    Changed {
        /// Path in the source.
        path: String,
    },
    /// A limit of the format was passed.
    #[error("{what} is over the limit of {max}")]
    Limit {
        /// What is too large, with its value.
        what: String,
        /// The largest allowed value.
        max: u64,
    },
    /// A database could not be prepared.
    #[error(transparent)]
    Sqlite(#[from] crate::sqlite::SqliteError),
    /// The caller asked to stop (Ctrl-C).
    #[error("interrupted")]
    Interrupted,
    /// The system said no.
    #[error("{call} {path}: {source}")]
    Io {
        /// What was tried.
        call: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
}

impl Error {
    /// Wraps a system error with the call and the path it happened on.
    pub fn io(
        call: &'static str,
        path: impl Into<PathBuf>,
        source: impl Into<std::io::Error>,
    ) -> Self {
        Error::Io {
            call,
            path: path.into(),
            source: source.into(),
        }
    }

    pub(crate) fn corrupt(offset: u64, what: impl Into<String>) -> Self {
        Error::Corrupt {
            what: what.into(),
            offset,
        }
    }

    pub(crate) fn source(path: &[u8], what: impl Into<String>) -> Self {
        Error::Source {
            path: printable(path),
            what: what.into(),
        }
    }
}

impl From<std::io::Error> for Error {
    /// For calls without a path, such as those for memory.
    fn from(source: std::io::Error) -> Self {
        Error::Io {
            call: "mmap",
            path: "memory".into(),
            source,
        }
    }
}

/// A path or name as it may be shown on a terminal or in a log: lossy UTF-8 with control characters escaped.
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for c in String::from_utf8_lossy(bytes).chars() {
        if c.is_control() {
            text.extend(c.escape_default());
        } else {
            text.push(c);
        }
    }
    text
}
