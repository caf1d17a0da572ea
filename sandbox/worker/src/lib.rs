//! The worker: one confined process that runs the guests of one image, and the link to it.
//!
//! ```text
//!  embedder                                     │  the same binary, confined
//!  link ── spawn ── hello ══ socket pair ══ wire ══ process ── confine
//!    │                                          │      └ serve ── guest ── load, stored / warm, bootstrap ── sandbox
//!    └ news                                     │
//! ```
//!
//! It is the trust domain: a guest that got out of its slot would find itself in a process that has no network and no
//! files but the image, and may die at any time. The embedder starts another ([`Link`]) and says so to whoever asked.
//! Nothing here knows HTTP: a request is a list of variables and a body, an answer a status, headers and a body.
//!
//! The worker is started as the embedding binary once more, so that binary calls [`intercept`] first.

#![forbid(unsafe_code)]

mod answer;
mod backend;
mod bootstrap;
mod calls;
mod confine;
mod guest;
mod hello;
mod line;
mod link;
mod load;
mod memory;
mod named;
mod owed;
mod process;
mod said;
mod serve;
mod setup;
mod snapshot;
mod spawn;
mod stored;
mod stranger;
mod stream;
mod variables;
mod warm;
mod warmed;
mod wire;

#[cfg(test)]
mod fake;

pub use answer::{Answer, Cost, Ending};
pub use calls::{Argument, Calls, exception};
#[doc(hidden)]
pub use confine::confine_for_a_test;
pub use link::{Link, News, NoAnswer};
pub use process::intercept;
pub use setup::{Bootstrap, BootstrapKind, Pairs, RequestLimits, Setup};
pub use snapshot::{SnapshotError, make_snapshot};
pub use stored::{SNAPSHOT_PATH, fits};
pub use stream::{Beginning, Piece, Reply, Stream};
