//! What all instances of a sandbox may have together: memory by the sum of their limits, and mappings
//! of the process. Whoever takes a share has it until it is dropped.

use crate::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Mappings of a process when the kernel does not say (`vm.max_map_count`, its default).
const MAPPINGS_DEFAULT: u64 = 65_530;

/// The budget of one sandbox; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    memory_bytes: Counter,
    mappings: Counter,
    live: AtomicU64,
    poisoned: AtomicU64,
}

/// What is taken of something, and how much there is of it.
#[derive(Debug)]
struct Counter {
    taken: AtomicU64,
    max: u64,
}

impl Counter {
    fn new(max: u64) -> Counter {
        Counter {
            taken: AtomicU64::new(0),
            max,
        }
    }

    fn take(&self, amount: u64) -> bool {
        let add = |now: u64| now.checked_add(amount).filter(|sum| *sum <= self.max);
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .is_ok()
    }

    fn give_back(&self, amount: u64) {
        self.taken.fetch_sub(amount, Ordering::Relaxed);
    }
}

impl Budget {
    /// A budget of so much memory, and of half the mappings the kernel allows this process: the
    /// other half stays for the host itself (review F9).
    pub(crate) fn new(memory_bytes: u64) -> Budget {
        let mappings = std::fs::read_to_string("/proc/sys/vm/max_map_count")
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(MAPPINGS_DEFAULT);
        Budget(Arc::new(Inner {
            memory_bytes: Counter::new(memory_bytes),
            mappings: Counter::new(mappings / 2),
            live: AtomicU64::new(0),
            poisoned: AtomicU64::new(0),
        }))
    }

    /// Takes memory for one more instance (review F11).
    pub(crate) fn admit(&self, memory_bytes: u64) -> Result<Admission, Error> {
        if !self.0.memory_bytes.take(memory_bytes) {
            return Err(Error::Busy { what: "memory" });
        }
        self.0.live.fetch_add(1, Ordering::Relaxed);
        Ok(Admission {
            budget: self.clone(),
            memory_bytes,
        })
    }

    /// Takes `count` mappings.
    pub(crate) fn take_mappings(&self, count: u64) -> Result<Mappings, Error> {
        if !self.0.mappings.take(count) {
            return Err(Error::Busy {
                what: "memory mappings",
            });
        }
        Ok(Mappings {
            budget: self.clone(),
            count,
        })
    }

    /// All mappings that there are to be taken.
    pub(crate) fn mappings_max(&self) -> u64 {
        self.0.mappings.max
    }

    /// Instances that have been admitted and not ended.
    pub(crate) fn live_instances(&self) -> u64 {
        self.0.live.load(Ordering::Relaxed)
    }

    /// Counts a slot that was given up.
    pub(crate) fn count_poisoned(&self) {
        self.0.poisoned.fetch_add(1, Ordering::Relaxed);
    }

    /// Slots that were given up.
    pub(crate) fn poisoned_slots(&self) -> u64 {
        self.0.poisoned.load(Ordering::Relaxed)
    }
}

/// A live instance's share of the memory.
#[derive(Debug)]
pub(crate) struct Admission {
    budget: Budget,
    memory_bytes: u64,
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.budget.0.memory_bytes.give_back(self.memory_bytes);
        self.budget.0.live.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A share of the process's mappings.
#[derive(Debug)]
pub(crate) struct Mappings {
    budget: Budget,
    count: u64,
}

impl Drop for Mappings {
    fn drop(&mut self) {
        self.budget.0.mappings.give_back(self.count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_come_back_when_they_are_dropped() {
        let budget = Budget::new(100);
        let first = budget.admit(60).expect("room");
        assert!(matches!(
            budget.admit(41),
            Err(Error::Busy { what: "memory" })
        ));
        let second = budget.admit(40).expect("exactly the rest");
        assert_eq!(budget.live_instances(), 2);
        drop(first);
        assert!(budget.admit(u64::MAX).is_err(), "the sum does not wrap");
        assert!(budget.admit(60).is_ok());
        drop(second);
        assert_eq!(budget.live_instances(), 0);
        assert!(budget.take_mappings(u64::MAX).is_err());
        assert!(budget.take_mappings(10).is_ok());
    }
}
