//! Everything that needs `unsafe`: system calls, guest memory, entry and exit, signals.
//!
//! The modules here expose safe types whose methods check their arguments; the rest of the crate
//! forbids nothing but needs no `unsafe` of its own. A port to another kernel edits this folder.
#![allow(
    unsafe_code,
    reason = "the one folder of this crate that talks to the kernel and the CPU"
)]

pub(crate) mod entry;
pub(crate) mod gate;
pub(crate) mod guest;
pub(crate) mod inject;
pub(crate) mod linux;
pub(crate) mod memfd;
pub(crate) mod pagemap;
pub(crate) mod process;
pub(crate) mod registers;
pub(crate) mod signal;
pub(crate) mod speculation;
pub(crate) mod stack;
pub(crate) mod thread;

#[cfg(test)]
mod tests;
