//! Jumps that `call` and `ret` alone cannot make: setjmp and longjmp, and fibers.
//!
//! The return stack is the host's, so the host keeps what a jump buffer would hold of it: where the
//! stack was and where to go on. A jump goes only to a live record of the same stack, at or above the
//! present depth, and always to the address after a verified call.

use super::Running;
use crate::abi::{Answer, Arguments, Errno, Stop, errno};
use crate::address::{GuestAddr, low, size};
use crate::fiber::Fiber;
use crate::jumps::Resumed;
use crate::ledger::Room;
use crate::report::Outcome;
use crate::sys::gate::GatePage;
use crate::sys::registers::Registers;
use crate::sys::stack::ReturnStack;

/// Fibers of one instance at most.
const FIBERS_MAX: usize = 1024;

/// Bundle size of the policy: indirect targets are multiples of it.
const BUNDLE: u32 = 32;

fn misuse(what: &str) -> Stop {
    Stop::End(Outcome::Misuse {
        what: what.to_owned(),
    })
}

impl Running<'_> {
    /// The stack that is in use.
    fn current_stack(&self) -> &ReturnStack {
        match self.state.jumps.current() {
            0 => self.stack,
            fiber => {
                let fiber = self.fibers[fiber - 1].as_ref();
                fiber.expect("the running fiber has its stack").stack()
            }
        }
    }

    fn depth(&self, registers: &Registers) -> Result<usize, Stop> {
        let rsp = size(registers.rsp);
        self.current_stack()
            .top()
            .checked_sub(rsp)
            .ok_or_else(|| misuse("return stack underflow"))
    }

    /// At the trap, `rsp` points to the return into `setjmp`, above it lies the return to its caller.
    pub(super) fn setjmp_record(&mut self, registers: &Registers) -> Answer {
        let depth = self.depth(registers)?;
        let rsp = size(registers.rsp);
        let target = self.current_stack().entry(rsp, 1);
        let base = self.region.base();
        let target = target.and_then(|target| target.checked_sub(base));
        let Some(target) = target.and_then(|target| GuestAddr::checked(target as u64)) else {
            return Err(misuse("setjmp without a caller"));
        };
        let Some(depth) = depth.checked_sub(16) else {
            return Err(misuse("setjmp without a caller"));
        };
        match self.state.jumps.record(depth, target) {
            Some(id) => Ok(id.into()),
            None => Err(misuse("too many setjmp records")),
        }
    }

    #[inline(never)]
    pub(super) fn longjmp_to(&mut self, arguments: Arguments, registers: &mut Registers) -> Answer {
        let depth = self.depth(registers)?;
        let id = low(arguments.a);
        // The call into the host is the highest entry; below it lies the frame that makes it.
        let found = self.state.jumps.find(depth.saturating_sub(8), id);
        let Some(record) = found else {
            return Err(misuse("longjmp to a function that has returned"));
        };
        // The resuming `ret` pops the target from just below the record's depth.
        let target = self.region.base() + record.target.offset();
        let stack = self.current_stack();
        let rsp = stack.top() - record.depth - 8;
        stack.set_entry(rsp, target);
        registers.rsp = rsp as u64;
        Ok(arguments.b)
    }

    #[inline(never)]
    pub(super) fn fiber_new(&mut self, arguments: Arguments) -> Answer {
        let entry = GuestAddr::new(low(arguments.a));
        let text = self.snapshot.program().text_range();
        if !entry.get().is_multiple_of(BUNDLE) || !text.contains(&entry.into()) {
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
        let gate = GatePage::get().map_err(|_| Errno(libc::ENOMEM))?;
        let room = Room::of(self.limits, 0);
        let budget = self.snapshot.sandbox().budget();
        let share = self.outside.mappings(|| Fiber::mappings(budget));
        let ledger = self.state.view.ledger_mut();
        let fiber = Fiber::new(share.ok_or(Errno(libc::ENOMEM))?, ledger, &room)?;
        let stack = fiber.stack();
        let start = self.region.base() + entry.offset();
        let rsp = stack.fill(&[start, gate.exit_stub()]);
        let begin = Resumed {
            depth: stack.top() - rsp,
            data_stack: Some(GuestAddr::new(low(arguments.b))),
        };
        if free == self.fibers.len() {
            self.fibers.push(None);
        }
        self.fibers[free] = Some(fiber);
        self.state.jumps.add_fiber(free + 1, begin);
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
        let resumed = self.state.jumps.switch(fiber, depth);
        let resumed = resumed.ok_or(Errno(libc::EINVAL))?;
        registers.rsp = (self.current_stack().top() - resumed.depth) as u64;
        if let Some(data_stack) = resumed.data_stack {
            registers.rbx = data_stack.into();
            registers.rdi = arguments.b;
        }
        Ok(arguments.b)
    }

    #[inline(never)]
    pub(super) fn fiber_free(&mut self, arguments: Arguments) -> Answer {
        let fiber = usize::try_from(arguments.a).map_err(|_| Errno(libc::EINVAL))?;
        if fiber == 0 || fiber == self.state.jumps.current() || fiber > self.fibers.len() {
            return errno(libc::EINVAL);
        }
        let Some(freed) = self.fibers[fiber - 1].take() else {
            return errno(libc::EINVAL);
        };
        freed.free(self.state.view.ledger_mut());
        self.state.jumps.remove_fiber(fiber);
        Ok(0)
    }
}
