//! How a guest calls the host: Linux's numbers and conventions, as values.
//!
//! Nothing here knows what a call does. Files and trees speak in [`Errno`] too, so that what they
//! refuse is what the guest is told.

use crate::address::{Claimed, low};
use crate::report::Outcome;
use crate::sys::guest::Fault;

/// A Linux error number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) i32);

impl Errno {
    /// The number as a trap returns it.
    pub(crate) fn result(self) -> u64 {
        i64::from(-self.0).cast_unsigned()
    }
}

/// Why a trap does not simply answer a number.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The guest is told an error.
    Error(Errno),
    /// The instance ends.
    End(Outcome),
    /// The instance waits in `accept` until there is a request, or for ever.
    Accept,
    /// The cancel word names this instance.
    Cancelled,
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Stop {
        Stop::Error(errno)
    }
}

impl From<Fault> for Stop {
    fn from(_: Fault) -> Stop {
        Stop::Error(Errno(libc::EFAULT))
    }
}

/// What a trap answers.
pub(crate) type Answer = Result<u64, Stop>;

/// An error of the guest's, as an answer.
pub(crate) fn errno(number: i32) -> Answer {
    Err(Stop::Error(Errno(number)))
}

/// The six arguments of a trap.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arguments {
    pub(crate) a: u64,
    pub(crate) b: u64,
    pub(crate) c: u64,
    pub(crate) d: u64,
    pub(crate) e: u64,
    pub(crate) f: u64,
}

/// A pointer as a guest handed it over.
pub(crate) fn pointer(value: u64) -> Claimed {
    Claimed::in_register(value)
}

/// The rights in a mode; who asks for more gets none of it.
pub(crate) fn rights(mode: u64) -> u32 {
    low(mode) & 0o777
}

/// The low half as the signed number it is to Linux.
pub(crate) fn int(value: u64) -> i32 {
    low(value).cast_signed()
}
