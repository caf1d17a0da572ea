//! What an instance is given, and how it is made of that.

use super::Instance;
use crate::address::GuestAddr;
use crate::channel::{Channels, Input, Live, Output, Reader, Tap, Writer};
use crate::error::Error;
use crate::ledger::Room;
use crate::outside::{Outside, Recording, Source};
use crate::report::Usage;
use crate::request::{Exchange, Request};
use crate::snapshot::{Snapshot, Start};
use crate::start;
use crate::sys::entry;
use crate::sys::gate::GatePage;
use crate::sys::registers::Registers;
use crate::trace::Tracer;
use crate::tree::Tree;
use crate::tree::delta::Delta;
use crate::watchdog::{Canceller, Run};
use std::io::Write;
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
    live: Option<Box<dyn Live>>,
    request: Option<Request>,
    tracer: Option<Tracer>,
    bound: Vec<(Vec<u8>, Arc<dyn Tree>)>,
    delta: Option<&'a Delta>,
    source: Source,
    records_reads: bool,
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
            live: None,
            request: None,
            tracer: None,
            bound: Vec::new(),
            delta: None,
            source: Source::default(),
            records_reads: false,
        }
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

    /// Has what the guest flushes (`fsync` of standard output, behind `respond`) taken while it runs; what is left comes with
    /// the rest. Only when standard output is buffered.
    pub fn live(mut self, live: Box<dyn Live>) -> Self {
        self.live = Some(live);
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
                tap: self.live.map(|live| Tap {
                    live,
                    has_begun: false,
                }),
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
