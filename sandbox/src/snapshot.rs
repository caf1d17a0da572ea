//! A snapshot: everything a new instance starts from. Memory as spans of sealed files and zeroes,
//! registers and return stack as offsets, and the host-side state as plain data.
//!
//! The first snapshot of a program is its start; a frozen one is an instance that waited in `accept`.
//! Both are cloned, run and reset by the same code. Nothing in a snapshot depends on the base of the
//! slot it was taken in.

use crate::address::{GuestAddr, PageAligned};
use crate::contents::{Backing, Contents, Span};
use crate::error::Error;
use crate::hot::WrittenPages;
use crate::layout::{Layout, THREAD_AREA};
use crate::limits::Limits;
use crate::lock::lock;
use crate::program::Program;
use crate::runtime::Sandbox;
use crate::slot::Slot;
use crate::state::State;
use crate::sys::registers::Registers;
use crate::tree::Mounts;
use crate::tree::trees::Trees;
use std::fmt;
use std::sync::{Arc, Mutex};

/// Where a new instance begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Start {
    /// At the program's entry point.
    Entry,
    /// In an `accept` that is about to return.
    Accept(Box<Frozen>),
}

/// Registers and return stacks of an instance that waits in `accept`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frozen {
    pub(crate) registers: Registers,
    /// Return addresses, from the innermost outwards, without the exit stub.
    pub(crate) returns: Vec<GuestAddr>,
}

/// What instances start from; cheap to clone.
#[derive(Clone)]
pub struct Snapshot(Arc<Inner>);

struct Inner {
    sandbox: Sandbox,
    program: Program,
    limits: Limits,
    mounts: Mounts,
    /// The trees that all instances see.
    trees: Trees,
    layout: Layout,
    contents: Contents,
    start: Start,
    state: State,
    /// Clean slots bound to this snapshot.
    free: Mutex<Vec<Slot>>,
}

/// Clean slots kept for the next instances; more are unmapped.
const FREE_SLOTS_MAX: usize = 64;

impl Snapshot {
    /// The start of `program`: what `main` will see, before arguments and environment.
    pub(crate) fn of_program(
        sandbox: &Sandbox,
        program: &Program,
        limits: &Limits,
        mounts: &Mounts,
    ) -> Result<Snapshot, Error> {
        let writable = program.writable_bytes();
        let does_not_fit = || Error::DoesNotFit {
            writable,
            limit: limits.memory_bytes,
        };
        let layout = Layout::new(program.end(), writable, limits).ok_or_else(does_not_fit)?;
        let return_stack = PageAligned::up(limits.return_stack_bytes)
            .ok_or_else(does_not_fit)?
            .max(PageAligned::PAGE);
        let zero = |range| Span {
            range,
            backing: Backing::Zero,
        };
        let mut spans = vec![zero(THREAD_AREA)];
        spans.extend_from_slice(program.spans());
        spans.push(zero(layout.heap));
        spans.push(zero(layout.stack));
        let trees = mounts.trees()?;
        // Where each instance brings trees along, the directory it starts in may lie in one.
        let path = mounts.start_path().filter(|_| !mounts.has_late());
        let mut state = State::new(&layout, mounts, &trees, path)?;
        state.release(mounts)?;
        Ok(Snapshot(Arc::new(Inner {
            sandbox: sandbox.clone(),
            program: program.clone(),
            limits: limits.clone(),
            mounts: mounts.clone(),
            trees,
            state,
            layout,
            contents: Contents::new(spans, return_stack),
            start: Start::Entry,
            free: Mutex::default(),
        })))
    }

    /// A snapshot of an instance of this one that waits in `accept`.
    pub(crate) fn freeze(&self, spans: Vec<Span>, frozen: Frozen, state: State) -> Snapshot {
        Snapshot(Arc::new(Inner {
            sandbox: self.0.sandbox.clone(),
            program: self.0.program.clone(),
            limits: self.0.limits.clone(),
            mounts: self.0.mounts.clone(),
            trees: self.0.trees.clone(),
            layout: self.0.layout,
            contents: Contents::new(spans, self.contents().return_stack()),
            start: Start::Accept(Box::new(frozen)),
            state,
            free: Mutex::default(),
        }))
    }

    pub(crate) fn sandbox(&self) -> &Sandbox {
        &self.0.sandbox
    }

    /// The program whose instances these are.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.0.program
    }

    /// The limits of its instances.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    pub(crate) fn mounts(&self) -> &Mounts {
        &self.0.mounts
    }

    pub(crate) fn trees(&self) -> &Trees {
        &self.0.trees
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.0.layout
    }

    /// What its slots are filled with.
    pub(crate) fn contents(&self) -> &Contents {
        &self.0.contents
    }

    pub(crate) fn start(&self) -> &Start {
        &self.0.start
    }

    pub(crate) fn state(&self) -> &State {
        &self.0.state
    }

    /// How many instances of it the process's mappings would allow at once, if there were no others. A guest that
    /// wrote every other page of its memory needs a mapping for each.
    #[must_use]
    pub fn slots_at_once(&self) -> u64 {
        self.sandbox().budget().mappings_max() / self.contents().mappings()
    }

    /// Fixes the hot set, once: pages that these runs wrote, which every later instance has from its start instead of a
    /// fault each. They show in the timing of all later instances, so the runs must not depend on anybody's data.
    pub fn keep_hot(&self, runs: &[WrittenPages]) {
        self.0.contents.keep_hot(runs);
    }

    /// A clean slot, kept or new.
    pub(crate) fn take_slot(&self) -> Result<Slot, Error> {
        let (contents, sandbox) = (self.contents(), self.sandbox());
        let kept = lock(&self.0.free).pop();
        match kept {
            Some(slot) if slot.is_current(contents) => Ok(slot),
            Some(mut slot) => {
                slot.reset(contents)
                    .inspect_err(|_| sandbox.budget().count_poisoned())?;
                Ok(slot)
            }
            None => Slot::bind(contents, sandbox.budget(), sandbox.pagemap()),
        }
    }

    /// Takes back a slot that has been reset.
    pub(crate) fn keep_slot(&self, slot: Slot) {
        let mut free = lock(&self.0.free);
        if free.len() < FREE_SLOTS_MAX {
            free.push(slot);
        }
    }

    /// Bytes a guest of this snapshot may write at most, which admission counts.
    pub(crate) fn committed_bytes(&self) -> u64 {
        let limits = &self.0.limits;
        limits.memory_bytes + limits.return_stack_bytes + limits.scratch_bytes.min(1 << 30)
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("program", &self.0.program)
            .field("spans", &self.0.contents.spans().len())
            .field("hot_pages", &self.0.contents.hot_pages())
            .finish_non_exhaustive()
    }
}
