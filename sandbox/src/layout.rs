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

use crate::limits::Limits;
use crate::sys::linux::PAGE;
use serde::{Deserialize, Serialize};

/// Offset of the call table page.
pub(crate) const TABLE: u32 = 0xF000;
/// The zeroed pages that hold thread-local storage and the thread structure of libc.
pub(crate) const THREAD_AREA: u32 = 0x1_0000;
/// Length of the thread area.
pub(crate) const THREAD_AREA_LEN: usize = 0x1_0000;
/// One past the highest offset a guest mapping may use.
pub(crate) const GUEST_END: u64 = 0xFFFF_0000;
/// Space without access between heap, windows and stack.
const GAP: u64 = 0x1_0000;

/// The parts of a slot that depend on the program and its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Layout {
    /// First byte of the heap.
    pub(crate) heap_start: u64,
    /// Highest value of the program break; anonymous mappings start here.
    pub(crate) break_max: u64,
    /// One past the heap.
    pub(crate) heap_end: u64,
    /// First byte for windows on files.
    pub(crate) maps_start: u64,
    /// One past the windows.
    pub(crate) maps_end: u64,
    /// Lowest byte of the data stack.
    pub(crate) stack_start: u64,
    /// One past the highest byte of the data stack.
    pub(crate) stack_end: u64,
}

impl Layout {
    /// Fits heap and stack of the given limits around a program that ends at `program_end`, of which
    /// `writable` bytes are writable; `None` when it does not fit.
    pub(crate) fn new(program_end: u64, writable: u64, limits: &Limits) -> Option<Layout> {
        let page = PAGE as u64;
        let stack = limits.stack_bytes.next_multiple_of(page).max(page);
        let fixed = writable
            .checked_add(stack)?
            .checked_add(THREAD_AREA_LEN as u64)?;
        let heap = limits.memory_bytes.checked_sub(fixed)? / page * page;
        if heap < 16 * page {
            return None;
        }
        let heap_start = program_end.next_multiple_of(GAP).checked_add(GAP)?;
        let heap_end = heap_start.checked_add(heap)?;
        let stack_start = GUEST_END.checked_sub(stack)?;
        let maps_start = heap_end.next_multiple_of(GAP) + GAP;
        let maps_end = stack_start.checked_sub(GAP)? / GAP * GAP;
        if maps_start > maps_end {
            return None;
        }
        let break_max = heap_start + heap / 8 / page * page;
        Some(Layout {
            heap_start,
            break_max,
            heap_end,
            maps_start,
            maps_end,
            stack_start,
            stack_end: GUEST_END,
        })
    }
}

/// An offset that is known to be below 4 GiB.
pub(crate) fn offset(value: u64) -> u32 {
    u32::try_from(value).expect("offsets of a layout lie below 4 GiB")
}

/// A length in bytes that fits memory here and now.
pub(crate) fn size(value: u64) -> usize {
    usize::try_from(value).expect("u64 is usize on x86-64")
}

/// Windows on image files an instance may have at a time.
pub(crate) const WINDOWS_MAX: usize = 64;

/// Windows an instance may open in its life: each one changes the process's mappings, for which all of
/// its threads wait (review F10). Beyond that a mapping is a copy.
pub(crate) const WINDOW_OPENINGS_MAX: u32 = 4096;
