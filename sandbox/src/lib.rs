//! Runs untrusted native code that cannot get out.
//!
//! A [`Program`] is an ELF file whose machine code the verifier has proved confined to a 4 GiB region
//! of this process. A [`Snapshot`] is what instances start from: the program's start, or a guest frozen
//! in `accept`. An [`Instance`] is one run: it takes a clean slot, runs on the calling thread, ends with
//! a [`Report`], and leaves a slot that nobody can tell from a fresh one.
//!
//! ```no_run
//! # fn main() -> Result<(), sandbox::Error> {
//! let sandbox = sandbox::Sandbox::new(sandbox::Config::default())?;
//! let program = sandbox.load(&std::fs::read("hello").unwrap())?;
//! let snapshot =
//!     sandbox.start(&program, &sandbox::Limits::default(), &sandbox::Mounts::new())?;
//! let finished = sandbox::Instance::builder(&snapshot).arg("hello").build()?.run();
//! println!("{}", finished.report.to_json());
//! # Ok(())
//! # }
//! ```
//!
//! What this crate does not do: isolate against branch predictors and other state of the processor
//! (run one process per trust domain), compile guests, or speak any network protocol.

mod abi;
mod address;
mod budget;
mod channel;
mod contents;
mod error;
mod fiber;
mod files;
mod freeze;
mod hot;
mod instance;
mod jumps;
mod layout;
mod ledger;
mod limits;
mod lock;
mod memory;
mod outside;
mod program;
mod proof;
mod report;
mod request;
mod runtime;
mod slot;
mod snapshot;
mod start;
mod state;
mod stored;
mod sys;
mod trace;
mod trap;
mod tree;
mod watchdog;

#[cfg(test)]
extern crate self as sandbox;
#[cfg(test)]
mod tests;

pub use channel::{Input, Live, Output};
pub use error::{Error, Hold, Unfreezable, Unstorable};
pub use hot::WrittenPages;
pub use instance::Instance;
pub use instance::builder::Builder;
pub use instance::finished::Finished;
pub use instance::waiting::Waiting;
pub use limits::{LimitKind, Limits};
pub use outside::Recording;
pub use program::Program;
pub use report::{Asked, Divergence, Outcome, REPORT_VERSION, Report, Usage};
pub use request::{Request, Response};
pub use runtime::{Config, Sandbox};
pub use snapshot::Snapshot;
pub use state::FileChanges;
pub use sys::process::{close_on_exec, refuse_new_code};
pub use tree::delta::{Change, ChangedContent, ChangedName, ChangedNode, Delta, Origin};
pub use tree::host::HostTree;
pub use tree::image::ImageTree;
pub use tree::memory::MemoryTree;
pub use tree::reads::{Read, ReadSet, What};
pub use tree::scratch::Patch;
pub use tree::{Entry, Extent, Kind, Metadata, Mounts, Tree};
pub use watchdog::Canceller;
