//! A snapshot: everything a new instance starts from. Memory as spans of sealed files and zeroes,
//! registers and return stack as offsets, and the host-side state as plain data.
//!
//! The first snapshot of a program is its start; a frozen one is an instance that waited in `accept`.
//! Both are cloned, run and reset by the same code. Nothing in a snapshot depends on the base of the
//! slot it was taken in.

use crate::error::Error;
use crate::hot::{WrittenPages, written_by};
use crate::layout::{Layout, THREAD_AREA, THREAD_AREA_LEN, offset, size};
use crate::limits::Limits;
use crate::program::{Content, Program};
use crate::runtime::Sandbox;
use crate::slot::Slot;
use crate::state::State;
use crate::sys::entry::Registers;
use crate::sys::linux::PAGE;
use crate::sys::memfd::SealedFile;
use crate::tree::Mounts;
use std::fmt;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, OnceLock};

/// A run of pages of a slot and where they come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) len: usize,
    pub(crate) backing: Backing,
}

/// Where the pages of a span come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Backing {
    /// The program's sealed text.
    Text,
    /// Read-only data of the program, at this offset of its file.
    ReadOnly(u64),
    /// Writable data of the program.
    Data(u64),
    /// Writable memory as it was when the snapshot was frozen.
    Frozen(u64),
    /// Part of an image file, read-only.
    Window(Window),
    /// Zeroes.
    Zero,
}

/// A part of a file that cannot change.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    pub(crate) file: Arc<OwnedFd>,
    pub(crate) offset: u64,
}

impl PartialEq for Window {
    fn eq(&self, other: &Window) -> bool {
        Arc::ptr_eq(&self.file, &other.file) && self.offset == other.offset
    }
}

impl Eq for Window {}

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
    /// Return addresses as offsets, from the innermost outwards, without the exit stub.
    pub(crate) returns: Vec<u32>,
}

/// What instances start from; cheap to clone.
#[derive(Clone)]
pub struct Snapshot(Arc<Inner>);

struct Inner {
    sandbox: Sandbox,
    program: Program,
    limits: Limits,
    mounts: Mounts,
    layout: Layout,
    writable: Vec<Range<u64>>,
    spans: Vec<Span>,
    frozen: Option<SealedFile>,
    start: Start,
    state: State,
    hot: OnceLock<Hot>,
    /// Clean slots bound to this snapshot.
    free: Mutex<Vec<Slot>>,
}

#[derive(Debug, Default)]
struct Hot {
    ranges: Vec<Range<u64>>,
    pages: u64,
}

/// Writable spans as ranges; those a page table apart are one, as each costs a call.
fn writable_ranges(spans: &[Span]) -> Vec<Range<u64>> {
    const NEAR: u64 = 2 << 20;
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for span in spans {
        if !matches!(
            span.backing,
            Backing::Data(_) | Backing::Frozen(_) | Backing::Zero
        ) {
            continue;
        }
        let start = u64::from(span.start);
        let end = start + span.len as u64;
        match ranges.last_mut() {
            Some(last) if start - last.end <= NEAR => last.end = end,
            _ => ranges.push(start..end),
        }
    }
    ranges
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
        let layout = Layout::new(program.end(), writable, limits).ok_or(Error::DoesNotFit {
            writable,
            limit: limits.memory_bytes,
        })?;
        let zero = |start: u64, end: u64| Span {
            start: offset(start),
            len: size(end - start),
            backing: Backing::Zero,
        };
        let mut spans = vec![zero(
            THREAD_AREA.into(),
            u64::from(THREAD_AREA) + THREAD_AREA_LEN as u64,
        )];
        for piece in program.pieces() {
            let backing = match piece.content {
                Content::Text => Backing::Text,
                Content::ReadOnly(at) => Backing::ReadOnly(at),
                Content::Writable(at) => Backing::Data(at),
                Content::Zero => Backing::Zero,
            };
            spans.push(Span {
                start: piece.start,
                len: piece.len,
                backing,
            });
        }
        spans.push(zero(layout.heap_start, layout.heap_end));
        spans.push(zero(layout.stack_start, layout.stack_end));
        Ok(Snapshot(Arc::new(Inner {
            sandbox: sandbox.clone(),
            program: program.clone(),
            limits: limits.clone(),
            mounts: mounts.clone(),
            state: State::new(&layout, mounts)?,
            layout,
            writable: writable_ranges(&spans),
            spans,
            frozen: None,
            start: Start::Entry,
            hot: OnceLock::new(),
            free: Mutex::default(),
        })))
    }

    /// A snapshot of an instance of this one that waits in `accept`.
    pub(crate) fn freeze(
        &self,
        spans: Vec<Span>,
        memory: Option<SealedFile>,
        frozen: Frozen,
        state: State,
    ) -> Snapshot {
        Snapshot(Arc::new(Inner {
            sandbox: self.0.sandbox.clone(),
            program: self.0.program.clone(),
            limits: self.0.limits.clone(),
            mounts: self.0.mounts.clone(),
            layout: self.0.layout,
            writable: writable_ranges(&spans),
            spans,
            frozen: memory,
            start: Start::Accept(Box::new(frozen)),
            state,
            hot: OnceLock::new(),
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

    pub(crate) fn layout(&self) -> &Layout {
        &self.0.layout
    }

    pub(crate) fn spans(&self) -> &[Span] {
        &self.0.spans
    }

    /// Where private pages can be, as few ranges.
    pub(crate) fn writable(&self) -> &[Range<u64>] {
        &self.0.writable
    }

    pub(crate) fn frozen(&self) -> Option<&SealedFile> {
        self.0.frozen.as_ref()
    }

    pub(crate) fn start(&self) -> &Start {
        &self.0.start
    }

    pub(crate) fn state(&self) -> &State {
        &self.0.state
    }

    /// Pages that every clean slot holds privately.
    pub(crate) fn hot(&self) -> &[Range<u64>] {
        self.0.hot.get().map_or(&[], |hot| &hot.ranges)
    }

    pub(crate) fn hot_pages(&self) -> u64 {
        self.0.hot.get().map_or(0, |hot| hot.pages)
    }

    /// Fixes the hot set, once: pages that these runs wrote, which every later instance has from its start instead of a
    /// fault each. They show in the timing of all later instances, so the runs must not depend on anybody's data.
    pub fn keep_hot(&self, runs: &[WrittenPages]) {
        self.fix_hot(written_by(runs));
    }

    /// Fixes the hot set, once.
    pub(crate) fn fix_hot(&self, ranges: Vec<Range<u64>>) {
        let pages = ranges
            .iter()
            .map(|range| (range.end - range.start) / PAGE as u64)
            .sum();
        // A second call loses: the set is recorded once.
        let _ = self.0.hot.set(Hot { ranges, pages });
    }

    /// The snapshot's bytes from `at`, and how many of them, up to `end`; no bytes means zeroes.
    /// `at` lies in a writable span.
    pub(crate) fn content(&self, at: u64, end: u64) -> (Option<&[u8]>, u64) {
        let index = self
            .0
            .spans
            .partition_point(|span| u64::from(span.start) <= at);
        let span = &self.0.spans[index.checked_sub(1).expect("in a span")];
        let into = at - u64::from(span.start);
        let len = (end - at).min(span.len as u64 - into);
        let bytes = |file: &'_ SealedFile, start: u64| -> Range<usize> {
            let start = size(start + into);
            assert!(start + size(len) <= file.len());
            start..start + size(len)
        };
        match &span.backing {
            Backing::Zero => (None, len),
            Backing::Data(start) | Backing::ReadOnly(start) => {
                let file = self.0.program.data().expect("a span of data implies data");
                (Some(&file.bytes()[bytes(file, *start)]), len)
            }
            Backing::Frozen(start) => {
                let file = self
                    .0
                    .frozen
                    .as_ref()
                    .expect("a frozen span implies a file");
                (Some(&file.bytes()[bytes(file, *start)]), len)
            }
            Backing::Text => {
                let file = self.0.program.text();
                (Some(&file.bytes()[bytes(file, 0)]), len)
            }
            Backing::Window(_) => (None, len),
        }
    }

    /// A clean slot, kept or new.
    pub(crate) fn take_slot(&self) -> Result<Slot, Error> {
        let kept = self.lock_free().pop();
        match kept {
            Some(slot) if slot.is_current(self) => Ok(slot),
            Some(mut slot) => {
                slot.reset(self)
                    .inspect_err(|_| self.sandbox().count_poisoned())?;
                Ok(slot)
            }
            None => Slot::bind(self),
        }
    }

    /// Takes back a slot that has been reset.
    pub(crate) fn keep_slot(&self, slot: Slot) {
        let mut free = self.lock_free();
        if free.len() < FREE_SLOTS_MAX {
            free.push(slot);
        }
    }

    fn lock_free(&self) -> std::sync::MutexGuard<'_, Vec<Slot>> {
        self.0.free.lock().expect("no panic while held")
    }

    /// Bytes a guest of this snapshot may write at most, which admission counts.
    pub(crate) fn committed_bytes(&self) -> u64 {
        let limits = &self.0.limits;
        limits.memory_bytes + limits.return_stack_bytes + limits.scratch_bytes.min(1 << 30)
    }

    /// Mappings one slot of this snapshot takes: its spans, the call table, the return stack, and
    /// every stretch without access between them.
    pub(crate) fn mappings(&self) -> u64 {
        let spans = &self.0.spans;
        let gaps = spans.windows(2).filter(|pair| {
            u64::from(pair[0].start) + pair[0].len as u64 != u64::from(pair[1].start)
        });
        (spans.len() + gaps.count() + 2 + 1 + 3) as u64
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("program", &self.0.program)
            .field("spans", &self.0.spans.len())
            .field("hot_pages", &self.hot_pages())
            .finish_non_exhaustive()
    }
}
