//! Calls from guest to host, by Linux number and convention.
//!
//! Guest memory is touched only through [`crate::sys::guest::Region`]; each datum is fetched once.
//! No trap waits for a peer or works long without looking at the cancel word.

mod file;

use crate::channel::Channels;
use crate::limits::{LimitKind, Limits};
use crate::report::{Outcome, Usage};
use crate::snapshot::Snapshot;
use crate::state::State;
use crate::sys::entry::{Control, Flow, Registers, TrapHandler};
use crate::sys::guest::{Fault, Region};
use crate::sys::stack::ReturnStack;

/// A Linux error number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) i32);

impl Errno {
    /// The number as a trap returns it.
    fn result(self) -> u64 {
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

/// A pointer as a guest handed it over: nothing is known about it. The high half is ignored.
pub(crate) fn pointer(value: u64) -> u32 {
    u32::try_from(value & 0xFFFF_FFFF).expect("masked to 32 bits")
}

/// The low half as the signed number it is to Linux.
pub(crate) fn int(value: u64) -> i32 {
    pointer(value).cast_signed()
}

/// One instance while it runs.
#[derive(Debug)]
pub(crate) struct Running<'a> {
    pub(crate) region: &'a Region,
    pub(crate) stack: &'a ReturnStack,
    pub(crate) control: &'a Control,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) limits: &'a Limits,
    pub(crate) state: &'a mut State,
    pub(crate) channels: &'a mut Channels,
    pub(crate) usage: &'a mut Usage,
    /// Set when the instance has ended from inside a trap.
    pub(crate) ended: Option<Outcome>,
}

impl TrapHandler for Running<'_> {
    fn trap(&mut self, registers: &mut Registers) -> Flow {
        self.usage.traps += 1;
        if self.limits.traps.is_some_and(|max| self.usage.traps > max) {
            self.ended = Some(Outcome::Limit {
                limit: LimitKind::Traps,
            });
            return Flow::Leave;
        }
        let arguments = Arguments {
            a: registers.rdi,
            b: registers.rsi,
            c: registers.rdx,
            d: registers.r10,
            e: registers.r8,
            f: registers.r9,
        };
        match self.dispatch(registers.rax, arguments) {
            Ok(value) => registers.rax = value,
            Err(Stop::Error(errno)) => registers.rax = errno.result(),
            Err(Stop::End(outcome)) => {
                self.ended = Some(outcome);
                return Flow::Leave;
            }
            // The check on the way back into the guest sees the cancel word again.
            Err(Stop::Cancelled) => registers.rax = Errno(libc::EINTR).result(),
        }
        Flow::Resume
    }
}

impl Running<'_> {
    fn dispatch(&mut self, number: u64, arguments: Arguments) -> Answer {
        match i64::try_from(number).unwrap_or(-1) {
            libc::SYS_write => self.write(arguments),
            libc::SYS_writev => self.writev(arguments),
            libc::SYS_exit | libc::SYS_exit_group => {
                let status = u8::try_from(arguments.a & 0xFF).expect("masked to eight bits");
                Err(Stop::End(Outcome::Exited { status }))
            }
            _ => {
                *self.usage.unknown_traps.entry(number).or_default() += 1;
                Err(Errno(libc::ENOSYS).into())
            }
        }
    }

    /// Looks at the cancel word; long work does so between units.
    pub(crate) fn poll(&self) -> Result<(), Stop> {
        if self.control.is_cancelled() {
            Err(Stop::Cancelled)
        } else {
            Ok(())
        }
    }
}
