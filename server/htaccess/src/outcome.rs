//! What may answer a request.

use crate::limits::Exhausted;
use crate::table::Table;

/// What answers a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A file, a script, a directory, or whatever else is done about a path.
    Serve(Target),
    /// An answer without a file: a refusal, a redirect.
    Answer(Answer),
}

/// What is to be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The path in the URL, decoded, as it was rewritten.
    pub uri: Vec<u8>,
    /// The path of the file, from the document root's own on; a directory's may end in `/`.
    pub file: Vec<u8>,
    /// What lies there.
    pub exists: Existing,
    /// What follows the file in the URL.
    pub path_info: Vec<u8>,
    /// The query.
    pub query: Option<Vec<u8>>,
    /// How it is run.
    pub handler: Handler,
    /// The status of the answer: 200, or the error that this is the page of.
    pub status: u16,
    /// Whether the method became GET, because this is the page of an error.
    pub as_get: bool,
    /// Whether a directory without an index may be listed.
    pub lists: bool,
    /// `AcceptPathInfo`, when a file says so.
    pub accept_path_info: Option<bool>,
    /// The largest body, when a file says so.
    pub body_max: Option<u64>,
}

/// What lies at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Nothing.
    Nothing,
    /// A regular file.
    File,
    /// A directory.
    Directory,
}

/// How a file is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handler {
    /// As its name says.
    ByName,
    /// By PHP, whatever its name.
    Php,
    /// Not at all: scripts have been switched off here. A script's source must not be sent instead.
    Never,
}

/// An answer without a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Where to, for a redirect.
    pub location: Option<Vec<u8>>,
    /// What `ErrorDocument` says in words.
    pub text: Option<Vec<u8>>,
    /// Why, when it is 500 for what the rules would have cost.
    pub exhausted: Option<Exhausted>,
}

/// An answer on its way.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: Table,
    /// When its file was changed, in seconds since 1970.
    pub modified: Option<i64>,
    /// Whether it is the server's own page for an error or a redirect.
    pub own_page: bool,
}

/// What the names of a file say about its type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediaType {
    /// The type in place of the server's own.
    pub name: Option<Vec<u8>>,
    /// The character set, by `AddCharset`.
    pub charset: Option<Vec<u8>>,
    /// `Content-Encoding`.
    pub encoding: Option<Vec<u8>>,
    /// `Content-Language`.
    pub language: Option<Vec<u8>>,
}

/// The statuses that Apache 2.4 knows.
pub(crate) fn is_known_status(status: u16) -> bool {
    matches!(
        status,
        100..=103
            | 200..=208
            | 226
            | 300..=305
            | 307..=308
            | 400..=417
            | 421..=426
            | 428..=429
            | 431
            | 451
            | 500..=508
            | 510..=511
    )
}
