//! An instance: one run of a guest, from a snapshot to a report.

use crate::address::GuestAddr;
use crate::budget::{Admission, Mappings};
use crate::channel::{Channels, Input, Output, Reader, Writer};
use crate::error::Error;
use crate::fiber::Fiber;
use crate::freeze;
use crate::hot::WrittenPages;
use crate::ledger::Room;
use crate::limits::LimitKind;
use crate::outside::{Outside, Recording, Source};
use crate::proof;
use crate::report::{Outcome, REPORT_VERSION, Report, Usage};
use crate::request::{Exchange, Request, Response};
use crate::slot::Slot;
use crate::snapshot::{Snapshot, Start};
use crate::start;
use crate::state::{FileChanges, State};
use crate::sys::entry::{self, FaultRecord, GatePage, Left, Registers};
use crate::sys::linux::{self, Clock};
use crate::sys::thread;
use crate::trace::Tracer;
use crate::trap::file::UNIT;
use crate::trap::{HandlerLeft, Running};
use crate::tree::Tree;
use crate::tree::delta::Delta;
use crate::tree::difference::Difference;
use crate::tree::reads::ReadSet;
use crate::tree::trees::Trees;
use crate::tree::view::View;
use crate::watchdog::{Canceller, Reason, Run};
use std::cell::Cell;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

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
    request: Option<Request>,
    tracer: Option<Tracer>,
    bound: Vec<(Vec<u8>, Arc<dyn Tree>)>,
    delta: Option<&'a Delta>,
    source: Source,
    records_reads: bool,
}

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

/// What is left of an instance.
#[derive(Debug)]
pub struct Finished {
    /// How it ended and what it consumed.
    pub report: Report,
    /// What it handed to `respond`.
    pub response: Option<Response>,
    /// What it wrote to stdout, when that was buffered.
    pub stdout: Vec<u8>,
    /// What it wrote to stderr, when that was buffered.
    pub stderr: Vec<u8>,
    files: FilesLeft,
    /// What it was told from outside, when that was to be recorded and was not too much.
    pub recording: Option<Recording>,
    /// Why its slot could not be brought back to the snapshot's state and was given up, if so.
    pub poisoned: Option<Error>,
}

/// The files of an instance at its end, and what it began with.
#[derive(Debug)]
struct FilesLeft {
    snapshot: Snapshot,
    trees: Trees,
    view: View,
}

impl Finished {
    /// What the instance read of its trees, if [`Builder::record_reads`] asked for it.
    #[must_use]
    pub fn reads(&self) -> Option<ReadSet> {
        self.files.trees.reads(self.files.snapshot.mounts())
    }

    /// What the instance changed of the files it saw, against its snapshot.
    #[must_use]
    pub fn delta(&self) -> Delta {
        let FilesLeft {
            snapshot,
            trees,
            view,
        } = &self.files;
        Difference::new(&snapshot.state().view, view, snapshot.mounts(), trees).delta()
    }
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

    /// Sets the request that the guest's next `accept` answers.
    pub fn request(mut self, request: Request) -> Self {
        self.request = Some(request);
        self
    }

    /// Brings along the tree for a path that the mounts have left open ([`Mounts::late_bound`](crate::Mounts)); its
    /// root may be a file.
    pub fn bind(mut self, path: impl Into<Vec<u8>>, tree: Arc<dyn Tree>) -> Self {
        self.bound.push((path.into(), tree));
        self
    }

    /// Begins with the changes of another instance, as if this one had made them. The files are looked for by
    /// their paths.
    pub fn apply(mut self, delta: &'a Delta) -> Self {
        self.delta = Some(delta);
        self
    }

    /// Notes what the guest reads of its trees, for [`Finished::reads`].
    pub fn record_reads(mut self) -> Self {
        self.records_reads = true;
        self
    }

    /// Writes one line a trap to `target`.
    pub fn trace(mut self, target: Box<dyn Write + Send>) -> Self {
        self.tracer = Some(Tracer::new(target));
        self
    }

    /// Records what the guest is told from outside: times, random bytes, its input, how its outputs take what it
    /// writes. When that is more than `bytes_max`, there is no recording.
    pub fn record(mut self, bytes_max: usize) -> Self {
        self.source = Source::recorded(bytes_max);
        self
    }

    /// Tells the guest from a recording whatever it asks of the world outside, standard input included. It must start
    /// from the same snapshot, with the same arguments, files and requests; it ends with [`Outcome::Diverged`] when it
    /// asks for anything but what was recorded.
    pub fn replay(mut self, recording: Recording) -> Self {
        self.source = Source::replayed(recording);
        self
    }

    /// Takes a slot and makes the instance, ready to run.
    ///
    /// # Errors
    /// [`Error::Busy`] when the budget is used up; [`Error::GuestPath`] when a tree cannot be bound where it should;
    /// otherwise what the system refused.
    pub fn build(self) -> Result<Instance, Error> {
        let snapshot = self.snapshot;
        let admission = snapshot
            .sandbox()
            .budget()
            .admit(snapshot.committed_bytes())?;
        let mounts = snapshot.mounts();
        let trees = mounts.bind(snapshot.trees(), self.bound)?;
        let mut state = snapshot.state().clone();
        if mounts.has_late() {
            let starts = *snapshot.start() == Start::Entry;
            let path = mounts.start_path().filter(|_| starts);
            state.bind(mounts, &trees, path)?;
        }
        if let Some(delta) = self.delta {
            state
                .view
                .apply(&trees, delta, &Room::of(snapshot.limits(), 0))?;
        }
        let trees = if self.records_reads {
            trees.recording()
        } else {
            trees
        };
        let slot = snapshot.take_slot()?;
        let gate = GatePage::get().map_err(Error::system("making the gate page"))?;
        let base = slot.region.base();
        let run: Arc<Run> = Arc::default();
        let generation = entry::next_generation();
        let world = snapshot.sandbox().world();
        let mut outside = Outside::new(world, snapshot.state().clocks, self.source, || Canceller {
            run: Arc::clone(&run),
            generation,
        });
        let registers = match snapshot.start() {
            Start::Entry => {
                let block =
                    start::block(snapshot, &mut outside, &self.arguments, &self.environment)?;
                slot.region
                    .copy_out(block.start.into(), &block.bytes)
                    .expect("the stack is mapped");
                let entry = base + snapshot.program().entry().offset();
                let rsp = slot.stack.fill(&[entry, gate.exit_stub()]);
                Registers {
                    rbx: block.start.into(),
                    rdi: block.start.into(),
                    ..Registers::fresh(base, rsp)
                }
            }
            Start::Accept(frozen) => {
                let place = |entry: &GuestAddr| base + entry.offset();
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
        let mut instance = Instance {
            snapshot: snapshot.clone(),
            slot: Some(slot),
            registers,
            outside,
            state,
            trees,
            channels: Channels {
                stdin: Reader::new(self.stdin),
                stdout: Writer::new(self.stdout),
                stderr: Writer::new(self.stderr),
            },
            usage: Usage::default(),
            exchange: Exchange::default(),
            tracer: self.tracer,
            fibers: Vec::new(),
            window_shares: Vec::new(),
            can_run: true,
            generation,
            run,
            admission,
        };
        match (snapshot.start(), self.request) {
            (Start::Entry, request) => instance.exchange.request = request,
            (Start::Accept(_), Some(request)) => instance.deliver(&request),
            (Start::Accept(_), None) => instance.can_run = false,
        }
        Ok(instance)
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
            request: None,
            tracer: None,
            bound: Vec::new(),
            delta: None,
            source: Source::default(),
            records_reads: false,
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

    /// Runs the guest until it waits in `accept`.
    ///
    /// # Errors
    /// What is left of it when it ended before that.
    pub fn run_to_accept(mut self) -> Result<Waiting, Box<Finished>> {
        match self.resume() {
            HandlerLeft::Accept => Ok(Waiting { instance: self }),
            HandlerLeft::Ended(outcome) => Err(Box::new(self.finish(outcome))),
        }
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

#[cfg(test)]
impl Waiting {
    /// The slot it waits in.
    pub(crate) fn slot(&self) -> &Slot {
        self.instance.slot()
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

/// An instance that waits in `accept`, at rest: it can be moved to another thread, frozen, or given
/// its request.
#[derive(Debug)]
pub struct Waiting {
    instance: Instance,
}

impl Waiting {
    /// Takes a snapshot: every instance of it starts where this one waits, with fresh random bytes
    /// in its request. `reseeds` is the caller's word that the guest renews after `accept` whatever
    /// it has derived from random bytes before.
    ///
    /// # Errors
    /// [`Error::CannotFreeze`] when the guest holds what a snapshot cannot carry; [`Error::BoundInUse`] when it holds on to a
    /// tree that was bound for it alone.
    pub fn freeze(&self, reseeds: bool) -> Result<Snapshot, Error> {
        let Instance {
            snapshot,
            slot,
            registers,
            state,
            ..
        } = &self.instance;
        let slot = slot
            .as_ref()
            .expect("an instance has its slot until it is finished");
        freeze::freeze(snapshot, slot, registers, state, reseeds)
    }

    /// What the instance has read of its trees, if [`Builder::record_reads`] asked for it: also what a snapshot of it
    /// depends on, together with what the snapshot it came from does.
    #[must_use]
    pub fn reads(&self) -> Option<ReadSet> {
        self.instance.trees.reads(self.instance.snapshot.mounts())
    }

    /// What the instance has changed of the files it sees, against its snapshot.
    #[must_use]
    pub fn delta(&self) -> Delta {
        let Instance {
            snapshot,
            state,
            trees,
            ..
        } = &self.instance;
        Difference::new(
            &snapshot.state().view,
            &state.view,
            snapshot.mounts(),
            trees,
        )
        .delta()
    }

    /// What the guest has made of its files up to now.
    #[must_use]
    pub fn file_changes(&self) -> FileChanges {
        self.instance.state.file_changes()
    }

    /// Takes back everything that the guest has done to files since `earlier`, which is of this instance. False, and
    /// nothing happens, when it has a file of its own open or stands in a directory of its own.
    pub fn take_back_files(&mut self, earlier: &FileChanges) -> bool {
        self.instance.state.take_back_files(earlier)
    }

    /// Takes what the guest has answered to the request before the one it waits for: the response, and what it wrote to
    /// standard output, when that is buffered.
    pub fn take_answer(&mut self) -> (Option<Response>, Vec<u8>) {
        let [stdout, _] = self.instance.channels.take_output();
        (self.instance.exchange.response.take(), stdout)
    }

    /// Gives the guest its request and runs it until it waits again. Its limits and what it uses count from here.
    ///
    /// # Errors
    /// What is left of it when it ended before that.
    pub fn serve_next(mut self, request: &Request) -> Result<Waiting, Box<Finished>> {
        self.instance.exchange.response = None;
        self.instance.usage = Usage::default();
        self.instance.outside.go_on_from(self.instance.state.clocks);
        self.instance.deliver(request);
        self.instance.run_to_accept()
    }

    /// Whether the guest has answered the request before the one it waits for.
    #[must_use]
    pub fn has_answered(&self) -> bool {
        self.instance.exchange.response.is_some()
    }

    /// Gives the guest its request and runs it to its end.
    #[must_use]
    pub fn serve(mut self, request: &Request) -> Finished {
        self.instance.deliver(request);
        self.instance.run()
    }

    /// Ends it without a request.
    #[must_use]
    pub fn finish(self) -> Finished {
        self.instance.run()
    }
}
