//! An instance: one run of a guest, from a snapshot to a report.

pub(crate) mod builder;
pub(crate) mod finished;
pub(crate) mod waiting;

use crate::budget::{Admission, Mappings};
use crate::channel::Channels;
use crate::error::Error;
use crate::fiber::Fiber;
use crate::hot::WrittenPages;
use crate::limits::LimitKind;
use crate::outside::Outside;
use crate::proof;
use crate::report::{Outcome, REPORT_VERSION, Report, Usage};
use crate::request::{Exchange, Request};
use crate::slot::Slot;
use crate::snapshot::Snapshot;
use crate::state::State;
use crate::sys::entry::{self, FaultRecord, Left};
use crate::sys::linux::{self, Clock};
use crate::sys::registers::Registers;
use crate::sys::thread;
use crate::trace::Tracer;
use crate::trap::transfer::UNIT;
use crate::trap::{HandlerLeft, Running};
use crate::tree::trees::Trees;
use crate::watchdog::{Canceller, Reason, Run};
use finished::{FilesLeft, Finished};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

/// A guest in its slot.
#[derive(Debug)]
pub struct Instance {
    snapshot: Snapshot,
    slot: Option<Slot>,
    registers: Registers,
    outside: Outside,
    state: State,
    trees: Trees,
    channels: Channels,
    usage: Usage,
    exchange: Exchange,
    tracer: Option<Tracer>,
    fibers: Vec<Option<Fiber>>,
    window_shares: Vec<Mappings>,
    /// False while the guest waits in `accept` and has no request.
    can_run: bool,
    generation: u64,
    run: Arc<Run>,
    #[expect(
        dead_code,
        reason = "gives its share of the budget back when the instance is gone"
    )]
    admission: Admission,
}

impl Instance {
    /// A handle with which another thread can end this instance.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        Canceller {
            run: Arc::clone(&self.run),
            generation: self.generation,
        }
    }

    /// Runs the guest to its end on the calling thread. A guest that waits in `accept` without a
    /// request has come to its end.
    #[must_use]
    pub fn run(mut self) -> Finished {
        let outcome = match self.resume() {
            HandlerLeft::Ended(outcome) => outcome,
            HandlerLeft::Accept => Outcome::Idle,
        };
        self.finish(outcome)
    }

    /// Runs the guest like [`Instance::run`], and says as well which pages it wrote, for [`Snapshot::keep_hot`].
    #[must_use]
    pub fn run_warming(mut self) -> (Finished, WrittenPages) {
        let outcome = match self.resume() {
            HandlerLeft::Ended(outcome) => outcome,
            HandlerLeft::Accept => Outcome::Idle,
        };
        let slot = self
            .slot
            .as_ref()
            .expect("an instance has its slot until it is finished");
        let mut private = Vec::new();
        if slot.scan(self.snapshot.contents(), &mut private).is_err() {
            // The reset that follows says so, too.
            private.clear();
        }
        (self.finish(outcome), WrittenPages(private))
    }

    /// Lets `accept` return with `request`.
    fn deliver(&mut self, request: &Request) {
        let slot = self
            .slot
            .as_ref()
            .expect("an instance has its slot until it is finished");
        let delivered = request.deliver(
            &mut self.outside,
            &slot.region,
            self.registers.rdi,
            self.registers.rsi,
        );
        self.registers.rax = match delivered {
            Ok(len) => len,
            Err(errno) => i64::from(-errno.0).cast_unsigned(),
        };
        self.can_run = true;
    }

    /// Lets the guest run until something ends or suspends it.
    fn resume(&mut self) -> HandlerLeft {
        if !self.can_run {
            return HandlerLeft::Accept;
        }
        let prepared = match thread::prepare() {
            Ok(prepared) => prepared,
            Err(error) => {
                let what = format!("this thread cannot run guests: {error}");
                return HandlerLeft::Ended(Outcome::HostBug { what });
            }
        };
        let slot = self
            .slot
            .as_ref()
            .expect("an instance has its slot until it is finished");
        let limits = self.snapshot.limits();
        let (wall, cpu) = (
            linux::clock(Clock::Monotonic),
            linux::clock(Clock::ThreadCpu),
        );
        let watched = self.snapshot.sandbox().watchdog().watch(
            &self.run,
            self.generation,
            prepared.tid(),
            deadline(limits.wall, wall, self.usage.wall_ns),
            deadline(limits.cpu, cpu, self.usage.cpu_ns),
        );
        let watched = match watched {
            Ok(watched) => watched,
            Err(error) => {
                let what = format!("nobody watches over this instance: {error}");
                return HandlerLeft::Ended(Outcome::HostBug { what });
            }
        };
        let mut buffer = BUFFER.take();
        buffer.resize(UNIT, 0);
        let mut running = Running {
            region: &slot.region,
            stack: &slot.stack,
            fibers: &mut self.fibers,
            window_shares: &mut self.window_shares,
            control: &self.run.control,
            snapshot: &self.snapshot,
            layout: self.snapshot.layout(),
            trees: &self.trees,
            limits,
            outside: &mut self.outside,
            state: &mut self.state,
            channels: &mut self.channels,
            usage: &mut self.usage,
            exchange: &mut self.exchange,
            tracer: &mut self.tracer,
            buffer: &mut buffer,
            cpu_start_ns: cpu,
            left: None,
        };
        let left = entry::enter(
            &slot.region,
            &mut self.registers,
            &self.run.control,
            &mut running,
        );
        let stopped = running.left.take();
        drop(watched);
        BUFFER.set(buffer);
        self.usage.wall_ns += linux::clock(Clock::Monotonic).saturating_sub(wall);
        self.usage.cpu_ns += linux::clock(Clock::ThreadCpu).saturating_sub(cpu);
        let outcome = match left {
            Left::Handler => match stopped {
                Some(HandlerLeft::Accept) => {
                    self.can_run = false;
                    return HandlerLeft::Accept;
                }
                Some(HandlerLeft::Ended(outcome)) => outcome,
                None => Outcome::HostBug {
                    what: "a trap left without a reason".to_owned(),
                },
            },
            Left::Panicked => Outcome::HostBug {
                what: "a trap panicked".to_owned(),
            },
            Left::Cancelled => self.cancelled(),
            Left::Fault(fault) => self.fault(&fault),
            Left::ReservedTrap => Outcome::Misuse {
                what: "reserved call table entry".to_owned(),
            },
            Left::Returned => Outcome::Misuse {
                what: "return from the outermost function".to_owned(),
            },
        };
        HandlerLeft::Ended(outcome)
    }

    fn cancelled(&self) -> Outcome {
        match Reason::of(&self.run.control) {
            Reason::Wall => Outcome::Limit {
                limit: LimitKind::Wall,
            },
            Reason::Cpu => Outcome::Limit {
                limit: LimitKind::Cpu,
            },
            Reason::Caller => Outcome::Cancelled,
            Reason::Diverged => self
                .outside
                .divergence()
                .map_or(Outcome::Cancelled, Outcome::Diverged),
        }
    }

    fn fault(&self, fault: &FaultRecord) -> Outcome {
        let slot = self
            .slot
            .as_ref()
            .expect("an instance has its slot until it is finished");
        let base = slot.region.base() as u64;
        let address = fault
            .address
            .checked_sub(base)
            .filter(|offset| *offset < 1 << 32);
        let overflow = usize::try_from(fault.address).is_ok_and(|at| slot.stack.is_overflow(at));
        let layout = self.snapshot.layout();
        let below_stack = layout.windows_end.get()..layout.stack.start().get();
        if overflow || address.is_some_and(|at| below_stack.contains(&at)) {
            return Outcome::Limit {
                limit: LimitKind::Stack,
            };
        }
        Outcome::Fault {
            signal: u32::try_from(fault.signal).unwrap_or(0),
            instruction: fault.rip.wrapping_sub(base),
            address,
        }
    }

    fn finish(mut self, outcome: Outcome) -> Finished {
        self.usage.scratch_bytes = self.state.view.ledger().peak_bytes();
        let made_before = self.snapshot.state().view.made_in_trees();
        self.usage.discarded_bytes += (self.state.view.made_in_trees()).saturating_sub(made_before);
        let host_bug = matches!(outcome, Outcome::HostBug { .. });
        let normal = matches!(outcome, Outcome::Exited { .. } | Outcome::Idle);
        let poisoned = match self.release(!host_bug, normal) {
            Ok(bytes) => {
                self.usage.private_bytes = bytes;
                None
            }
            Err(error) => Some(error),
        };
        let usage = std::mem::take(&mut self.usage);
        let recording = self.outside.take_recording();
        let response = self.exchange.response.take();
        let [stdout, stderr] = self.channels.take_output();
        let report = Report {
            version: REPORT_VERSION,
            outcome,
            usage,
        };
        let files = FilesLeft {
            snapshot: self.snapshot.clone(),
            trees: self.trees.clone(),
            view: self.state.view.take(),
        };
        Finished {
            files,
            report,
            response,
            stdout,
            stderr,
            recording,
            poisoned,
        }
    }

    /// Resets the slot and hands it on, or gives it up when it cannot be proved clean: then it is
    /// unmapped, and nobody gets it again. Answers how many bytes the instance had to itself.
    fn release(&mut self, trusted: bool, normal: bool) -> Result<u64, Error> {
        let Some(mut slot) = self.slot.take() else {
            return Ok(0);
        };
        let snapshot = &self.snapshot;
        let contents = snapshot.contents();
        let clean = slot
            .restore_windows(
                contents,
                &self.state.memory.windows,
                &snapshot.state().memory.windows,
            )
            .and_then(|()| slot.reset(contents))
            .and_then(|pages| {
                if proof::is_due(normal) {
                    proof::check(&slot, contents)?;
                }
                Ok(pages)
            });
        match clean {
            Ok(pages) => {
                if trusted {
                    snapshot.keep_slot(slot);
                }
                Ok(pages * linux::PAGE as u64)
            }
            Err(error) => {
                snapshot.sandbox().budget().count_poisoned();
                // The kernel may say no; but a slot that was reset and is not clean is a bug.
                debug_assert!(!matches!(error, Error::Unclean { .. }), "{error}");
                Err(error)
            }
        }
    }
}

#[cfg(test)]
impl Instance {
    /// Its slot, until it is finished.
    pub(crate) fn slot(&self) -> &Slot {
        self.slot.as_ref().expect("it is not finished")
    }

    /// Runs the guest and leaves everything as it was at its end.
    pub(crate) fn run_and_stay(&mut self) -> HandlerLeft {
        self.resume()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // Nobody is left to tell; the sandbox has counted it.
        let _ = self.release(true, true);
    }
}

thread_local! {
    /// Host memory that traps of this thread move data through.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// When a limit is reached, on the clock that shows `now`; 0 without a limit.
fn deadline(limit: Option<Duration>, now: u64, used: u64) -> u64 {
    limit.map_or(0, |limit| {
        let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        now.saturating_add(limit.saturating_sub(used)).max(1)
    })
}
