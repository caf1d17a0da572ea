//! An instance: one run of a guest, from a snapshot to a report.

use crate::channel::{Channels, Input, Output, Reader, Writer};
use crate::error::Error;
use crate::layout::offset;
use crate::limits::LimitKind;
use crate::report::{Outcome, REPORT_VERSION, Report, Usage};
use crate::runtime::Admission;
use crate::slot::Slot;
use crate::snapshot::{Snapshot, Start};
use crate::start;
use crate::state::State;
use crate::sys::entry::{self, FaultRecord, GatePage, Left, Registers};
use crate::sys::linux::{self, Clock};
use crate::sys::thread;
use crate::trap::Running;
use crate::watchdog::{Canceller, Reason, Run};
use std::sync::Arc;

/// Collects what an instance is given.
#[derive(Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct Builder<'a> {
    snapshot: &'a Snapshot,
    arguments: Vec<Vec<u8>>,
    environment: Vec<Vec<u8>>,
    stdin: Input,
    stdout: Output,
    stderr: Output,
}

/// A guest in its slot.
#[derive(Debug)]
pub struct Instance {
    snapshot: Snapshot,
    slot: Option<Slot>,
    registers: Registers,
    state: State,
    channels: Channels,
    usage: Usage,
    generation: u64,
    run: Arc<Run>,
    #[expect(
        dead_code,
        reason = "gives its share of the budget back when the instance is gone"
    )]
    admission: Admission,
}

/// What is left of an instance.
#[derive(Debug)]
pub struct Finished {
    /// How it ended and what it consumed.
    pub report: Report,
    /// What it wrote to stdout, when that was buffered.
    pub stdout: Vec<u8>,
    /// What it wrote to stderr, when that was buffered.
    pub stderr: Vec<u8>,
}

impl<'a> Builder<'a> {
    /// Adds one argument; the first is the program's name. Only for instances that start at `main`.
    pub fn arg(mut self, argument: impl Into<Vec<u8>>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds several arguments.
    pub fn args<T: Into<Vec<u8>>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Adds `NAME=value` to the environment.
    pub fn env(mut self, variable: impl Into<Vec<u8>>) -> Self {
        self.environment.push(variable.into());
        self
    }

    /// Sets where standard input comes from; empty if not set.
    pub fn stdin(mut self, input: Input) -> Self {
        self.stdin = input;
        self
    }

    /// Sets where standard output goes; a buffer if not set.
    pub fn stdout(mut self, output: Output) -> Self {
        self.stdout = output;
        self
    }

    /// Sets where standard error goes; a buffer if not set.
    pub fn stderr(mut self, output: Output) -> Self {
        self.stderr = output;
        self
    }

    /// Takes a slot and makes the instance, ready to run.
    ///
    /// # Errors
    /// [`Error::Busy`] when the budget is used up; otherwise what the system refused.
    pub fn build(self) -> Result<Instance, Error> {
        let snapshot = self.snapshot;
        let admission = snapshot.sandbox().admit(snapshot.committed_bytes())?;
        let slot = snapshot.take_slot()?;
        let gate = GatePage::get().map_err(Error::system("making the gate page"))?;
        let base = slot.region.base();
        let registers = match snapshot.start() {
            Start::Entry => {
                let block = start::block(snapshot, &self.arguments, &self.environment)?;
                slot.region
                    .copy_out(offset(block.start), &block.bytes)
                    .expect("the stack is mapped");
                let entry = usize::try_from(snapshot.program().entry()).expect("u32 fits usize");
                let rsp = slot.stack.fill(&[base + entry, gate.exit_stub()]);
                Registers {
                    rbx: block.start,
                    rdi: block.start,
                    ..Registers::fresh(base, rsp)
                }
            }
            Start::Accept(frozen) => {
                let place = |entry: &u32| base + usize::try_from(*entry).expect("u32 fits usize");
                let mut entries: Vec<usize> = frozen.returns.iter().map(place).collect();
                entries.push(gate.exit_stub());
                let rsp = slot.stack.fill(&entries);
                Registers {
                    rsp: rsp as u64,
                    base: base as u64,
                    ..frozen.registers
                }
            }
        };
        Ok(Instance {
            snapshot: snapshot.clone(),
            slot: Some(slot),
            registers,
            state: snapshot.state().clone(),
            channels: Channels {
                stdin: Reader::new(self.stdin),
                stdout: Writer::new(self.stdout),
                stderr: Writer::new(self.stderr),
            },
            usage: Usage::default(),
            generation: entry::next_generation(),
            run: Arc::default(),
            admission,
        })
    }
}

impl Instance {
    /// Starts to describe an instance of `snapshot`.
    pub fn builder(snapshot: &Snapshot) -> Builder<'_> {
        Builder {
            snapshot,
            arguments: Vec::new(),
            environment: Vec::new(),
            stdin: Input::default(),
            stdout: Output::default(),
            stderr: Output::default(),
        }
    }

    /// A handle with which another thread can end this instance.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        Canceller {
            run: Arc::clone(&self.run),
            generation: self.generation,
        }
    }

    /// Runs the guest to its end on the calling thread.
    #[must_use]
    pub fn run(mut self) -> Finished {
        let outcome = self.resume();
        self.finish(outcome)
    }

    /// Lets the guest run until something ends or suspends it.
    fn resume(&mut self) -> Outcome {
        let prepared = match thread::prepare() {
            Ok(prepared) => prepared,
            Err(error) => {
                return Outcome::HostBug {
                    what: format!("signal stack: {error}"),
                };
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
        let deadline = |limit: Option<std::time::Duration>, now: u64, used: u64| {
            limit.map_or(0, |limit| {
                let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
                now.saturating_add(limit.saturating_sub(used)).max(1)
            })
        };
        let watched = self.snapshot.sandbox().watchdog().watch(
            &self.run,
            self.generation,
            prepared.tid(),
            deadline(limits.wall, wall, self.usage.wall_ns),
            deadline(limits.cpu, cpu, self.usage.cpu_ns),
        );
        let mut running = Running {
            region: &slot.region,
            stack: &slot.stack,
            control: &self.run.control,
            snapshot: &self.snapshot,
            limits,
            state: &mut self.state,
            channels: &mut self.channels,
            usage: &mut self.usage,
            ended: None,
        };
        let left = entry::enter(
            &slot.region,
            &mut self.registers,
            &self.run.control,
            &mut running,
        );
        let ended = running.ended.take();
        drop(watched);
        self.usage.wall_ns += linux::clock(Clock::Monotonic).saturating_sub(wall);
        self.usage.cpu_ns += linux::clock(Clock::ThreadCpu).saturating_sub(cpu);
        match left {
            Left::Handler => ended.unwrap_or(Outcome::Cancelled),
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
        }
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
        let below_stack = layout.maps_end..layout.stack_start;
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
        let mut slot = self.slot.take().expect("finished once");
        let trusted = !matches!(outcome, Outcome::HostBug { .. });
        match slot.reset(&self.snapshot, self.snapshot.sandbox().pagemap()) {
            Ok(pages) => {
                self.usage.private_bytes = pages * linux::PAGE as u64;
                if trusted {
                    self.snapshot.keep_slot(slot);
                }
            }
            Err(_) => self.snapshot.sandbox().count_poisoned(),
        }
        let usage = std::mem::take(&mut self.usage);
        let Channels { stdout, stderr, .. } = self.channels;
        Finished {
            report: Report {
                version: REPORT_VERSION,
                outcome,
                usage,
            },
            stdout: stdout.into_bytes(),
            stderr: stderr.into_bytes(),
        }
    }
}
