//! Where things lie in a slot. All offsets are from the slot's base.
//!
//! ```text
//! 0x00000000  no access (a null pointer faults)
//! 0x0000F000  call table, read-only
//! 0x00010000  thread area, zeroed; thread pointer at 0x1F000
//! 0x00020000  segments of the program, text first
//! heap_start  break (grows up to break_max), then memory for anonymous mmap, up to heap_end
//! maps_start  read-only windows on image files, each with a gap after it, up to maps_end
//! stack_start data stack, grows down from stack_end; no access below it
//! 0xFFFF0000  no access
//! ```
//! Heap and stack are each one host mapping as large as the limit allows: what a guest does with
//! `brk`, `mmap` and `munmap` is bookkeeping and never costs the process a mapping (review F9).

use crate::address::{PageAligned, PageRange};
use crate::limits::Limits;
use serde::{Deserialize, Serialize};

/// The call table.
pub(crate) const TABLE: PageRange = PageRange::constant(0xF000, 0x1000);
/// The zeroed pages that hold thread-local storage and the thread structure of libc.
pub(crate) const THREAD_AREA: PageRange = PageRange::constant(0x1_0000, 0x1_0000);
/// Everything that a guest mapping may use.
pub(crate) const GUEST: PageRange = PageRange::constant(0x1_0000, 0xFFFE_0000);
/// Space without access between heap, windows and stack, of which each part's place is a multiple.
const GAP: u64 = 0x1_0000;
/// The least heap that is worth running with.
const HEAP_PAGES_MIN: u32 = 16;

/// The parts of a slot that depend on the program and its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Break and anonymous mappings.
    pub(crate) heap: PageRange,
    /// The upper part of the heap, above the highest break.
    pub(crate) mappings: PageRange,
    /// First byte for windows on files.
    pub(crate) windows_start: PageAligned,
    /// One past the windows.
    pub(crate) windows_end: PageAligned,
    /// The data stack.
    pub(crate) stack: PageRange,
}

/// The edges of a layout, by which a file names it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Edges {
    heap_start: u64,
    break_max: u64,
    heap_end: u64,
    maps_start: u64,
    maps_end: u64,
    stack_start: u64,
    stack_end: u64,
}

impl Layout {
    /// Fits heap and stack of the given limits around a program that ends at `program_end`, of which
    /// `writable` bytes are writable; `None` when it does not fit.
    pub(crate) fn new(program_end: u64, writable: u64, limits: &Limits) -> Option<Layout> {
        let whole = |bytes: u64| PageAligned::new(bytes.checked_next_multiple_of(GAP)?);
        let gap = PageAligned::down(GAP);
        let stack_len = PageAligned::up(limits.stack_bytes)?.max(PageAligned::PAGE);
        let fixed = writable
            .checked_add(stack_len.get())?
            .checked_add(THREAD_AREA.len().get())?;
        let heap_len = PageAligned::down(limits.memory_bytes.checked_sub(fixed)?);
        if heap_len < PageAligned::of_pages(HEAP_PAGES_MIN) {
            return None;
        }
        let heap_start = whole(program_end)?.checked_add(gap)?;
        let heap = PageRange::at(heap_start, heap_len)?;
        let stack = PageRange::new(GUEST.end().checked_sub(stack_len)?, GUEST.end())?;
        let windows_start = whole(heap.end().get())?.checked_add(gap)?;
        let windows_end = stack.start().checked_sub(gap)?.get() / GAP * GAP;
        let break_max = heap_start.checked_add(PageAligned::down(heap_len.get() / 8))?;
        let layout = Layout {
            heap,
            mappings: heap.from(break_max)?,
            windows_start,
            windows_end: PageAligned::down(windows_end),
            stack,
        };
        (layout.windows_start <= layout.windows_end).then_some(layout)
    }

    /// Highest value of the program break.
    pub(crate) fn break_max(&self) -> PageAligned {
        self.mappings.start()
    }

    /// What a file says of it.
    pub(crate) fn edges(&self) -> Edges {
        Edges {
            heap_start: self.heap.start().get(),
            break_max: self.break_max().get(),
            heap_end: self.heap.end().get(),
            maps_start: self.windows_start.get(),
            maps_end: self.windows_end.get(),
            stack_start: self.stack.start().get(),
            stack_end: self.stack.end().get(),
        }
    }
}

/// Windows on image files an instance may have at a time.
pub(crate) const WINDOWS_MAX: usize = 64;

/// Windows an instance may open in its life: each one changes the process's mappings, for which all of
/// its threads wait (review F10). Beyond that a mapping is a copy.
pub(crate) const WINDOW_OPENINGS_MAX: u32 = 4096;
