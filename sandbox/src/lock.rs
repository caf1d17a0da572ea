//! Locks of the host's own bookkeeping.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Locks, whatever has become of who held it before: whoever changes what lies behind one of our locks does so in one
/// step, so that it is whole even when its holder panicked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits to be woken, at most so long, with the lock given up meanwhile.
pub(crate) fn wait<'a, T>(
    wake: &Condvar,
    guard: MutexGuard<'a, T>,
    pause: Option<Duration>,
) -> MutexGuard<'a, T> {
    match pause {
        None => wake.wait(guard).unwrap_or_else(PoisonError::into_inner),
        Some(pause) => {
            let waited = wake.wait_timeout(guard, pause);
            waited.unwrap_or_else(PoisonError::into_inner).0
        }
    }
}
