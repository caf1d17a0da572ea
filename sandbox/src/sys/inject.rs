//! System calls that fail on demand, for tests.
//!
//! Each wrapper of a call that makes, changes or looks at a slot asks [`chance`] first. In a test a
//! thread can arm it: the call of that number is not made and fails as if the kernel were out of
//! memory. Outside of this crate's unit tests nothing is left of it.

#[cfg(not(test))]
use std::io;

/// Whether the call that follows is to be made.
#[cfg(not(test))]
#[inline(always)]
#[expect(clippy::unnecessary_wraps, reason = "the same shape as in tests")]
pub(super) fn chance() -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
pub(super) use armed::chance;
#[cfg(test)]
pub(crate) use armed::{arm, disarm};

#[cfg(test)]
mod armed {
    use std::cell::Cell;
    use std::io;

    thread_local! {
        /// Calls to let through before one fails; none when not armed.
        static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
        static FAILED: Cell<bool> = const { Cell::new(false) };
    }

    /// Lets `calls` calls of this thread through, then fails one.
    pub(crate) fn arm(calls: u32) {
        LEFT.set(Some(calls));
        FAILED.set(false);
    }

    /// Lets all calls through again; true when one has failed.
    pub(crate) fn disarm() -> bool {
        LEFT.set(None);
        FAILED.get()
    }

    pub(in crate::sys) fn chance() -> io::Result<()> {
        match LEFT.get() {
            None => Ok(()),
            Some(0) => {
                LEFT.set(None);
                FAILED.set(true);
                Err(io::Error::from_raw_os_error(libc::ENOMEM))
            }
            Some(left) => {
                LEFT.set(Some(left - 1));
                Ok(())
            }
        }
    }
}
