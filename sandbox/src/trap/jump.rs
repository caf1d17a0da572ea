//! Jumps that `call` and `ret` alone cannot make: setjmp and longjmp, and fibers.
//!
//! The return stack is the host's, so the host keeps what a jump buffer would hold of it: where the
//! stack was and where to go on. A jump goes only to a live record of the same stack, at or above the
//! present depth, and always to the address after a verified call.

use super::Running;
use crate::abi::{Answer, Arguments, Errno, Stop, errno, pointer};
use crate::report::Outcome;
use crate::sys::entry::{GatePage, Registers};
use crate::sys::linux::PAGE;
use crate::sys::stack::ReturnStack;
use serde::{Deserialize, Serialize};

/// Live records of one stack at most; beyond it the guest has gone mad.
const RECORDS_MAX: usize = 1 << 16;

/// Fibers of one instance at most.
const FIBERS_MAX: usize = 1024;

/// Return stack of a fiber: 8,192 nested calls.
const FIBER_STACK: usize = 16 * PAGE;

/// Bundle size of the policy: indirect targets are multiples of it.
const BUNDLE: u32 = 32;

/// Records and fibers of one instance, as plain data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Jumps {
    next_record: u32,
    /// Which fiber runs; 0 is the program's own stack.
    current: usize,
    /// Index 0 is the program's own stack.
    stacks: Vec<Track>,
}

/// What is known of one return stack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Track {
    /// Outermost first: depths grow.
    records: Vec<Record>,
    /// Depth in bytes at which the fiber was suspended.
    suspended: Option<usize>,
    /// Where a fiber that has not run yet will have its data stack.
    data_stack: Option<u32>,
}

/// Where a `longjmp` can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    id: u32,
    /// Bytes on the stack once `setjmp` has returned.
    depth: usize,
    /// Where its caller goes on, as an offset.
    target: u32,
}

/// Records of an instance without fibers, as they lie in a file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredJumps {
    next_record: u32,
    records: Vec<Record>,
}

impl Jumps {
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
        follows_call: impl Fn(u32) -> bool,
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
            stacks: vec![Track {
                records,
                ..Track::default()
            }],
        })
    }
}

fn misuse(what: &str) -> Stop {
    Stop::End(Outcome::Misuse {
        what: what.to_owned(),
    })
}

impl Running<'_> {
    /// The stack that is in use.
    fn current_stack(&self) -> &ReturnStack {
        match self.state.jumps.current {
            0 => self.stack,
            fiber => self.fibers[fiber - 1]
                .as_ref()
                .expect("the running fiber has its stack"),
        }
    }

    fn depth(&self, registers: &Registers) -> Result<usize, Stop> {
        let rsp = usize::try_from(registers.rsp).expect("u64 is usize on x86-64");
        self.current_stack()
            .top()
            .checked_sub(rsp)
            .ok_or_else(|| misuse("return stack underflow"))
    }

    /// The records of the current stack, without those of frames that have returned.
    fn live_records(&mut self, depth: usize) -> &mut Vec<Record> {
        let jumps = &mut self.state.jumps;
        if jumps.stacks.len() <= jumps.current {
            jumps.stacks.resize(jumps.current + 1, Track::default());
        }
        let records = &mut jumps.stacks[jumps.current].records;
        while records.last().is_some_and(|record| record.depth > depth) {
            records.pop();
        }
        records
    }

    /// At the trap, `rsp` points to the return into `setjmp`, above it lies the return to its caller.
    pub(super) fn setjmp_record(&mut self, registers: &Registers) -> Answer {
        let depth = self.depth(registers)?;
        let rsp = usize::try_from(registers.rsp).expect("u64 is usize on x86-64");
        let target = self.current_stack().entry(rsp, 1);
        let base = self.region.base();
        let target = target.and_then(|target| target.checked_sub(base));
        let Some(target) = target.and_then(|target| u32::try_from(target).ok()) else {
            return Err(misuse("setjmp without a caller"));
        };
        let depth = depth.checked_sub(16).expect("two entries lie on the stack");
        let records = self.live_records(depth);
        let same = records
            .iter()
            .rev()
            .take_while(|record| record.depth == depth);
        if let Some(known) = same.into_iter().find(|record| record.target == target) {
            return Ok(known.id.into());
        }
        if records.len() >= RECORDS_MAX {
            return Err(misuse("too many setjmp records"));
        }
        let id = self.state.jumps.next_record.wrapping_add(1).max(1);
        self.state.jumps.next_record = id;
        self.live_records(depth).push(Record { id, depth, target });
        Ok(id.into())
    }

    #[inline(never)]
    pub(super) fn longjmp_to(&mut self, arguments: Arguments, registers: &mut Registers) -> Answer {
        let depth = self.depth(registers)?;
        let id = pointer(arguments.a);
        // The call into the host is the highest entry; below it lies the frame that makes it.
        let records = self.live_records(depth.saturating_sub(8));
        let found = records.iter().rev().find(|record| record.id == id).copied();
        let Some(record) = found else {
            return Err(misuse("longjmp to a function that has returned"));
        };
        // The resuming `ret` pops the target from just below the record's depth.
        let target = self.region.base() + usize::try_from(record.target).expect("u32 fits usize");
        let stack = self.current_stack();
        let rsp = stack.top() - record.depth - 8;
        stack.set_entry(rsp, target);
        registers.rsp = rsp as u64;
        Ok(arguments.b)
    }

    #[inline(never)]
    pub(super) fn fiber_new(&mut self, arguments: Arguments) -> Answer {
        let entry = pointer(arguments.a);
        let text = self.snapshot.program().text_range();
        if !entry.is_multiple_of(BUNDLE) || !text.contains(&entry.into()) {
            return errno(libc::EINVAL);
        }
        let free = self
            .fibers
            .iter()
            .position(Option::is_none)
            .unwrap_or(self.fibers.len());
        if free >= FIBERS_MAX {
            return errno(libc::ENOMEM);
        }
        let stack = ReturnStack::new(FIBER_STACK).map_err(|_| Errno(libc::ENOMEM))?;
        let gate = GatePage::get().map_err(|_| Errno(libc::ENOMEM))?;
        let start = self.region.base() + usize::try_from(entry).expect("u32 fits usize");
        let rsp = stack.fill(&[start, gate.exit_stub()]);
        let track = Track {
            records: Vec::new(),
            suspended: Some(stack.top() - rsp),
            data_stack: Some(pointer(arguments.b)),
        };
        if free == self.fibers.len() {
            self.fibers.push(None);
        }
        self.fibers[free] = Some(stack);
        let stacks = &mut self.state.jumps.stacks;
        stacks.resize(stacks.len().max(free + 2), Track::default());
        stacks[free + 1] = track;
        Ok(free as u64 + 1)
    }

    /// Suspends the running stack and goes on with another; `value` is what its switch answers, or
    /// the argument of a fiber that starts.
    pub(super) fn fiber_switch(
        &mut self,
        arguments: Arguments,
        registers: &mut Registers,
    ) -> Answer {
        let fiber = usize::try_from(arguments.a).map_err(|_| Errno(libc::EINVAL))?;
        let depth = self.depth(registers)?;
        self.live_records(depth);
        let current = self.state.jumps.current;
        let track = self
            .state
            .jumps
            .stacks
            .get_mut(fiber)
            .ok_or(Errno(libc::EINVAL))?;
        let suspended = track.suspended.take().ok_or(Errno(libc::EINVAL))?;
        let data_stack = track.data_stack.take();
        self.state.jumps.stacks[current].suspended = Some(depth);
        self.state.jumps.current = fiber;
        registers.rsp = (self.current_stack().top() - suspended) as u64;
        if let Some(data_stack) = data_stack {
            registers.rbx = data_stack.into();
            registers.rdi = arguments.b;
        }
        Ok(arguments.b)
    }

    #[inline(never)]
    pub(super) fn fiber_free(&mut self, arguments: Arguments) -> Answer {
        let fiber = usize::try_from(arguments.a).map_err(|_| Errno(libc::EINVAL))?;
        if fiber == 0 || fiber == self.state.jumps.current || fiber > self.fibers.len() {
            return errno(libc::EINVAL);
        }
        if self.fibers[fiber - 1].take().is_none() {
            return errno(libc::EINVAL);
        }
        let stacks = &mut self.state.jumps.stacks;
        stacks[fiber] = Track::default();
        while stacks.len() > 1
            && stacks.last() == Some(&Track::default())
            && stacks.len() > self.state.jumps.current + 1
        {
            stacks.pop();
        }
        Ok(0)
    }
}
