//! What a worker is told before it starts: what to run, within which limits, and how to warm it up.

use serde::{Deserialize, Serialize};

/// Names and values of a request or an answer.
pub type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// What a worker is told before it starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// Where programs see the image: an absolute path.
    pub at: String,
    /// Path of the program in the image.
    pub entry: String,
    /// Its arguments, its name first.
    pub arguments: Vec<String>,
    /// `NAME=VALUE`, each.
    pub environment: Vec<String>,
    /// What each request may use.
    pub limits: RequestLimits,
    /// Instances at once.
    pub concurrency: u32,
    /// Requests to answer before the snapshot; empty also when the program starts anew for every request.
    pub warmup: Vec<Pairs>,
    /// The request behind them that has the program compile all that they have not loaded. It is no page: nobody's answer is like it.
    pub compile: Option<Pairs>,
    /// Whether instances are clones of a warmed one.
    pub snapshot: bool,
    /// Snapshots behind the site's own bootstrap, beside the warmed one.
    pub bootstrap: Option<Bootstrap>,
}

/// How to make snapshots behind a site's own bootstrap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// Who freezes.
    pub kind: BootstrapKind,
    /// The request that freezes: the front page, from nobody.
    pub request: Pairs,
    /// Host names for which snapshots are made before anybody asks.
    pub hosts: Vec<String>,
}

/// Who calls `zapp_freeze()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BootstrapKind {
    /// The site itself.
    Call,
    /// Nobody: the guest knows where WordPress has ended its own.
    WordPress,
}

/// Limits of one request, already the smaller of the operator's and the image's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestLimits {
    /// Elapsed time.
    pub wall_ms: u64,
    /// CPU time.
    pub cpu_ms: u64,
    /// Writable memory of an instance.
    pub memory_bytes: u64,
    /// Bytes of an answer.
    pub output_bytes: u64,
    /// Bytes of a request's body.
    pub body_bytes: u64,
    /// Scratch files and changed files.
    pub scratch_bytes: u64,
    /// Open files.
    pub files: u32,
}
