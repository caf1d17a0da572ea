//! What the host remembers of a guest's jumps: where each `setjmp` was made, and which fibers there are.
//!
//! The traps that make and use these records are in [`crate::trap`].

use crate::address::GuestAddr;
use serde::{Deserialize, Serialize};

/// Live records of all stacks together at most, some 100 KiB; beyond it the guest has gone mad.
const RECORDS_MAX: usize = 4096;

/// Records and fibers of one instance, as plain data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Jumps {
    next_record: u32,
    /// Which fiber runs; 0 is the program's own stack.
    current: usize,
    /// Index 0 is the program's own stack.
    stacks: Vec<Track>,
    /// Records of all of them.
    count: usize,
}

/// What is known of one return stack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Track {
    /// Outermost first: depths grow.
    records: Vec<Record>,
    /// Depth in bytes at which the fiber was suspended.
    suspended: Option<usize>,
    /// Where a fiber that has not run yet will have its data stack.
    data_stack: Option<GuestAddr>,
}

/// Where a `longjmp` can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    id: u32,
    /// Bytes on the stack once `setjmp` has returned.
    pub(crate) depth: usize,
    /// Where its caller goes on.
    pub(crate) target: GuestAddr,
}

/// A stack that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Resumed {
    /// Depth in bytes at which it was suspended.
    pub(crate) depth: usize,
    /// The data stack of a fiber that has not run yet.
    pub(crate) data_stack: Option<GuestAddr>,
}

/// Records of an instance without fibers, as they lie in a file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredJumps {
    next_record: u32,
    records: Vec<Record>,
}

impl Jumps {
    /// The number of the stack that is in use; 0 is the program's own.
    pub(crate) fn current(&self) -> usize {
        self.current
    }

    /// The records of the current stack, without those of frames that have returned.
    fn live_records(&mut self, depth: usize) -> &mut Vec<Record> {
        if self.stacks.len() <= self.current {
            self.stacks.resize(self.current + 1, Track::default());
        }
        let records = &mut self.stacks[self.current].records;
        while records.last().is_some_and(|record| record.depth > depth) {
            records.pop();
            self.count -= 1;
        }
        records
    }

    /// The number of a record of the current stack, made unless there is the same; nothing when there are too many.
    pub(crate) fn record(&mut self, depth: usize, target: GuestAddr) -> Option<u32> {
        let records = self.live_records(depth);
        let mut same = records
            .iter()
            .rev()
            .take_while(|record| record.depth == depth);
        if let Some(known) = same.find(|record| record.target == target) {
            return Some(known.id);
        }
        if self.count >= RECORDS_MAX {
            return None;
        }
        let id = self.next_record.wrapping_add(1).max(1);
        self.next_record = id;
        self.count += 1;
        self.live_records(depth).push(Record { id, depth, target });
        Some(id)
    }

    /// A record of the current stack whose frame has not returned at `depth`.
    pub(crate) fn find(&mut self, depth: usize, id: u32) -> Option<Record> {
        let records = self.live_records(depth);
        records.iter().rev().find(|record| record.id == id).copied()
    }

    /// Remembers a new fiber that is to begin at `resumed`.
    pub(crate) fn add_fiber(&mut self, fiber: usize, resumed: Resumed) {
        let len = self.stacks.len().max(fiber + 1);
        self.stacks.resize(len, Track::default());
        self.stacks[fiber] = Track {
            records: Vec::new(),
            suspended: Some(resumed.depth),
            data_stack: resumed.data_stack,
        };
    }

    /// Suspends the current stack at `depth` and goes on with another; nothing happens when that is not suspended.
    pub(crate) fn switch(&mut self, fiber: usize, depth: usize) -> Option<Resumed> {
        self.live_records(depth);
        let track = self.stacks.get_mut(fiber)?;
        let resumed = Resumed {
            depth: track.suspended.take()?,
            data_stack: track.data_stack.take(),
        };
        self.stacks[self.current].suspended = Some(depth);
        self.current = fiber;
        Some(resumed)
    }

    /// Forgets a fiber that is not the current one.
    pub(crate) fn remove_fiber(&mut self, fiber: usize) {
        self.count -= std::mem::take(&mut self.stacks[fiber]).records.len();
        while self.stacks.len() > self.current + 1 && self.stacks.last() == Some(&Track::default())
        {
            self.stacks.pop();
        }
    }

    /// True when fibers exist, whose stacks a snapshot cannot carry.
    pub(crate) fn has_fibers(&self) -> bool {
        self.stacks.len() > 1
    }

    /// What a file keeps of an instance whose return stack has `depth` bytes; it has no fibers.
    pub(crate) fn to_store(&self, depth: usize) -> StoredJumps {
        let live = |record: &&Record| record.depth <= depth;
        StoredJumps {
            next_record: self.next_record,
            records: self
                .stacks
                .first()
                .map(|track| track.records.iter().filter(live).copied().collect())
                .unwrap_or_default(),
        }
    }

    /// What a file says, when each record is one that `setjmp` could have made with `depth` bytes on the return stack.
    pub(crate) fn from_store(
        stored: StoredJumps,
        depth: usize,
        follows_call: impl Fn(GuestAddr) -> bool,
    ) -> Option<Jumps> {
        let StoredJumps {
            next_record,
            records,
        } = stored;
        let is_sound = records.len() <= RECORDS_MAX
            && records.is_sorted_by_key(|record| record.depth)
            && records.iter().all(|record| {
                let place = record.depth.is_multiple_of(8) && (8..=depth).contains(&record.depth);
                place && record.id != 0 && follows_call(record.target)
            });
        is_sound.then(|| Jumps {
            next_record,
            current: 0,
            count: records.len(),
            stacks: vec![Track {
                records,
                ..Track::default()
            }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // case limits-05-fiber-records: each of 1,024 stacks had 65,536 records.
    #[test]
    fn records_of_all_stacks_have_one_bound() {
        let mut jumps = Jumps::default();
        let target = GuestAddr::new(0x20000);
        let fill = |jumps: &mut Jumps, to: usize| {
            (1..=to)
                .take_while(|at| jumps.record(at * 8, target).is_some())
                .count()
        };
        assert_eq!(fill(&mut jumps, 1000), 1000);
        for fiber in 1..=2 {
            let data_stack = Some(GuestAddr::new(0x30000));
            jumps.add_fiber(
                fiber,
                Resumed {
                    depth: 8,
                    data_stack,
                },
            );
        }
        jumps.switch(1, 8000).unwrap();
        assert_eq!(fill(&mut jumps, 1 << 16), RECORDS_MAX - 1000);
        jumps.switch(2, 1 << 16).unwrap();
        assert_eq!(fill(&mut jumps, 1 << 16), 0);
        jumps.remove_fiber(1);
        assert_eq!(fill(&mut jumps, 1 << 16), RECORDS_MAX - 1000);
        // Frames that have returned give their records back.
        assert!(jumps.record(8, target).is_some());
        assert_eq!(jumps.count, 1001);
    }
}
