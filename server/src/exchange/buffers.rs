//! Memory for bodies: what clients send is kept until an instance has it, and what instances answer until clients have
//! taken it. Slow clients must not make that grow without end, so all bodies share one budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The budget of all bodies.
#[derive(Clone, Debug)]
pub(crate) struct Buffers(Arc<Budget>);

#[derive(Debug)]
struct Budget {
    held: AtomicU64,
    max: u64,
}

/// The budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exhausted;

/// A part of the budget, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Buffers {
    pub(crate) fn new(max: u64) -> Buffers {
        Buffers(Arc::new(Budget {
            held: AtomicU64::new(0),
            max,
        }))
    }

    /// A part without bytes yet.
    pub(crate) fn hold(&self) -> Hold {
        Hold {
            budget: Arc::clone(&self.0),
            bytes: 0,
        }
    }

    /// Bytes that are held now.
    pub(crate) fn held(&self) -> u64 {
        self.0.held.load(Ordering::Relaxed)
    }
}

impl Hold {
    /// Takes more of the budget.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let bytes = bytes as u64;
        let before = self.budget.held.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        if before.saturating_add(bytes) > self.budget.max {
            return Err(Exhausted);
        }
        Ok(())
    }
}

impl Hold {
    /// Gives back all but so many bytes.
    pub(crate) fn shrink(&mut self, to: usize) {
        let excess = self.bytes.saturating_sub(to as u64);
        self.budget.held.fetch_sub(excess, Ordering::Relaxed);
        self.bytes -= excess;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_shared_and_given_back() {
        let buffers = Buffers::new(10);
        let (mut one, mut two) = (buffers.hold(), buffers.hold());
        assert_eq!(one.grow(6), Ok(()));
        assert_eq!(two.grow(4), Ok(()));
        assert_eq!(two.grow(1), Err(Exhausted));
        drop(two);
        assert_eq!(buffers.held(), 6);
        assert_eq!(one.grow(4), Ok(()));
        one.shrink(3);
        assert_eq!(buffers.held(), 3);
        one.shrink(5);
        assert_eq!(buffers.held(), 3);
        drop(one);
        assert_eq!(buffers.held(), 0);
    }
}
