//! Why an archive is refused.

/// An archive that cannot be read, or not without guessing. Offsets count decompressed bytes; names are escaped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TarError {
    /// A system call failed.
    #[error("{op}: {source}")]
    Io {
        /// What was being done.
        op: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The first block is no tar header.
    #[error("not a tar archive ({0})")]
    NotTar(&'static str),
    /// The archive ends in the middle, or without its end marker.
    #[error("archive is cut short at byte {at}")]
    Truncated {
        /// Where it ends.
        at: u64,
    },
    /// A header block is damaged.
    #[error("bad header at byte {at}: {what}")]
    Header {
        /// Where the header begins.
        at: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// An extended header is damaged or says what no reader should follow.
    #[error("bad extended header at byte {at}: {what}")]
    Pax {
        /// Where the header begins.
        at: u64,
        /// What is wrong with it.
        what: String,
    },
    /// A name that leads out of the archive, or nowhere.
    #[error("{path}: {what} (at byte {at})")]
    Path {
        /// Where the member's header begins.
        at: u64,
        /// The name.
        path: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A hard link that cannot be made.
    #[error("{path}: hard link to {target}: {what} (at byte {at})")]
    Link {
        /// Where the member's header begins.
        at: u64,
        /// The name of the link.
        path: String,
        /// The name it refers to.
        target: String,
        /// Why not.
        what: &'static str,
    },
    /// A size that is negative, too large, or means different things to different programs.
    #[error("{path}: {what} (at byte {at})")]
    Size {
        /// Where the member's header begins.
        at: u64,
        /// The name.
        path: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A map of a sparse file that contradicts itself.
    #[error("{path}: sparse file map: {what} (at byte {at})")]
    Sparse {
        /// Where the member's header begins.
        at: u64,
        /// The name.
        path: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A kind of member or archive that is not supported.
    #[error("{path}: {what} (at byte {at})")]
    Unsupported {
        /// Where the member's header begins.
        at: u64,
        /// The name.
        path: String,
        /// What it is.
        what: String,
    },
    /// More than the caller allows.
    #[error("{what} is over the limit of {max}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        max: u64,
    },
    /// The tree does not take this member.
    #[error("{source} (at byte {at})")]
    Tree {
        /// Where the member's header begins.
        at: u64,
        /// Why not.
        source: Box<crate::error::Error>,
    },
    /// A pattern to exclude by does not parse.
    #[error(transparent)]
    Pattern(Box<crate::error::Error>),
    /// A `.zappignore` file of the archive cannot be followed.
    #[error(transparent)]
    IgnoreFile(Box<crate::error::Error>),
    /// The image to be written out could not be read.
    #[error(transparent)]
    Image(#[from] Box<crate::error::Error>),
}
