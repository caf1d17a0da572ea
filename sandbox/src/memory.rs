//! Which parts of the heap a guest has asked for: the break, anonymous mappings, and read-only windows
//! on files. Bookkeeping only; the memory itself is mapped as one piece (review F9).

use crate::contents::Window;
use crate::layout::{Layout, WINDOW_OPENINGS_MAX, WINDOWS_MAX};
use crate::sys::linux::PAGE;

const PAGE_U64: u64 = PAGE as u64;

/// The memory of one instance, as plain data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Memory {
    /// The program break.
    pub(crate) brk: u64,
    /// One bit a page of `[break_max, heap_end)`, set when the page is mapped.
    taken: Vec<u64>,
    /// No page below this index is free.
    first_free: u64,
    pub(crate) windows: Vec<OpenWindow>,
    /// Windows opened so far.
    openings: u32,
}

/// A window on a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenWindow {
    pub(crate) start: u64,
    /// Offsets taken, as the guest asked.
    pub(crate) len: u64,
    /// Bytes that exist in the file, in whole pages.
    pub(crate) shown: u64,
    pub(crate) node: crate::tree::Node,
    pub(crate) window: Window,
}

impl Memory {
    pub(crate) fn new(layout: &Layout) -> Memory {
        Memory {
            brk: layout.heap_start,
            taken: Vec::new(),
            first_free: 0,
            windows: Vec::new(),
            openings: 0,
        }
    }

    /// The break and the pages taken, one bit each, for a file; there are no windows.
    pub(crate) fn to_store(&self) -> (u64, Vec<u64>) {
        (self.brk, self.taken.clone())
    }

    /// What a file says, when it lies inside the heap.
    pub(crate) fn from_store(layout: &Layout, brk: u64, taken: Vec<u64>) -> Option<Memory> {
        let total = (layout.heap_end - layout.break_max) / PAGE_U64;
        let free_beyond = match taken.last() {
            None => true,
            Some(last) => {
                let beyond = (taken.len() as u64 * 64).saturating_sub(total);
                beyond < 64 && u64::from(last.leading_zeros()) >= beyond
            }
        };
        let is_sound = free_beyond && (layout.heap_start..=layout.break_max).contains(&brk);
        is_sound.then(|| Memory {
            brk,
            taken,
            ..Memory::new(layout)
        })
    }

    /// Takes `len` bytes (whole pages), at `at` if that is free there; answers the offset.
    pub(crate) fn map(&mut self, layout: &Layout, len: u64, at: Option<u64>) -> Option<u64> {
        let pages = len / PAGE_U64;
        let total = (layout.heap_end - layout.break_max) / PAGE_U64;
        if pages == 0 || pages > total {
            return None;
        }
        let wanted = at
            .filter(|at| at.is_multiple_of(PAGE_U64) && *at >= layout.break_max)
            .map(|at| (at - layout.break_max) / PAGE_U64)
            .filter(|start| start + pages <= total && self.is_free(*start, pages));
        let start = wanted.or_else(|| self.find(pages, total))?;
        self.set(start, pages, true);
        Some(layout.break_max + start * PAGE_U64)
    }

    /// Takes exactly `[at, at + len)`, whatever is there; false when it lies outside.
    pub(crate) fn map_fixed(&mut self, layout: &Layout, at: u64, len: u64) -> bool {
        let inside = at.is_multiple_of(PAGE_U64)
            && at >= layout.break_max
            && at
                .checked_add(len)
                .is_some_and(|end| end <= layout.heap_end);
        if inside {
            self.set((at - layout.break_max) / PAGE_U64, len / PAGE_U64, true);
        }
        inside
    }

    /// Gives back the pages of `[at, at + len)`, which lies in the heap above the break.
    pub(crate) fn unmap(&mut self, layout: &Layout, at: u64, len: u64) {
        self.set((at - layout.break_max) / PAGE_U64, len / PAGE_U64, false);
    }

    /// True when all of `[at, at + len)` is mapped.
    pub(crate) fn is_mapped(&self, layout: &Layout, at: u64, len: u64) -> bool {
        let start = (at - layout.break_max) / PAGE_U64;
        (start..start + len / PAGE_U64).all(|page| self.bit(page))
    }

    /// True when none of the pages from `at` on are mapped, and they exist.
    pub(crate) fn is_free_at(&self, layout: &Layout, at: u64, len: u64) -> bool {
        at.checked_add(len)
            .is_some_and(|end| end <= layout.heap_end)
            && self.is_free((at - layout.break_max) / PAGE_U64, len / PAGE_U64)
    }

    /// Where a window of `len` bytes fits, with a page without access after it.
    pub(crate) fn find_window(&self, layout: &Layout, len: u64) -> Option<u64> {
        if self.windows.len() >= WINDOWS_MAX || self.openings >= WINDOW_OPENINGS_MAX {
            return None;
        }
        let mut at = layout.maps_start;
        // The windows are kept in order.
        for window in &self.windows {
            if window.start - at > len {
                break;
            }
            at = window.start + window.len + PAGE_U64;
        }
        at.checked_add(len)?
            .checked_add(PAGE_U64)
            .filter(|end| *end <= layout.maps_end)?;
        Some(at)
    }

    /// Remembers a window.
    pub(crate) fn add_window(&mut self, window: OpenWindow) {
        let index = self
            .windows
            .partition_point(|other| other.start < window.start);
        self.windows.insert(index, window);
        self.openings += 1;
    }

    fn bit(&self, page: u64) -> bool {
        let word = usize::try_from(page / 64).expect("bounded by the heap");
        self.taken
            .get(word)
            .is_some_and(|word| word >> (page % 64) & 1 == 1)
    }

    fn is_free(&self, start: u64, pages: u64) -> bool {
        (start..start + pages).all(|page| !self.bit(page))
    }

    /// First fit.
    fn find(&self, pages: u64, total: u64) -> Option<u64> {
        let mut start = self.first_free;
        let mut page = start;
        while page < total {
            let word = usize::try_from(page / 64).expect("bounded by the heap");
            match self.taken.get(word) {
                // Beyond the last word everything is free.
                None => return (start + pages <= total).then_some(start),
                Some(&u64::MAX) => {
                    page = (page / 64 + 1) * 64;
                    start = page;
                }
                Some(_) if self.bit(page) => {
                    page += 1;
                    start = page;
                }
                Some(_) => page += 1,
            }
            if page - start >= pages {
                return Some(start);
            }
        }
        None
    }

    fn set(&mut self, start: u64, pages: u64, taken: bool) {
        let end = start + pages;
        let words = usize::try_from(end.div_ceil(64)).expect("bounded by the heap");
        if words > self.taken.len() {
            if !taken && start / 64 >= self.taken.len() as u64 {
                return;
            }
            self.taken.resize(words, 0);
        }
        for page in start..end {
            let word = &mut self.taken[usize::try_from(page / 64).expect("bounded by the heap")];
            let bit = 1 << (page % 64);
            *word = if taken { *word | bit } else { *word & !bit };
        }
        if !taken {
            self.first_free = self.first_free.min(start);
        } else if start <= self.first_free && self.first_free < end {
            self.first_free = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn layout() -> Layout {
        Layout::new(0x30_0000, 0, &Limits::default()).expect("fits")
    }

    #[test]
    fn mappings_never_overlap_and_free_pages_are_found_again() {
        let layout = layout();
        let mut memory = Memory::new(&layout);
        let mut live: Vec<(u64, u64)> = Vec::new();
        let mut seed = 7_u64;
        for _ in 0..20_000 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(99);
            let draw = seed >> 33;
            if draw.is_multiple_of(3) && !live.is_empty() {
                let (at, len) = live.swap_remove(usize::try_from(draw).unwrap() % live.len());
                memory.unmap(&layout, at, len);
            } else if live.len() < 200 {
                let len = (draw % 40 + 1) * PAGE_U64;
                let at = memory.map(&layout, len, None).expect("room");
                assert!(at >= layout.break_max && at + len <= layout.heap_end);
                for (other, other_len) in &live {
                    assert!(at + len <= *other || other + other_len <= at, "overlap");
                }
                live.push((at, len));
            }
        }
        for (at, len) in live {
            assert!(memory.is_mapped(&layout, at, len));
            memory.unmap(&layout, at, len);
        }
        assert_eq!(memory.map(&layout, PAGE_U64, None), Some(layout.break_max));
    }

    #[test]
    fn full_heap_refuses() {
        let layout = layout();
        let mut memory = Memory::new(&layout);
        let all = layout.heap_end - layout.break_max;
        assert_eq!(memory.map(&layout, all + PAGE_U64, None), None);
        assert_eq!(memory.map(&layout, all, None), Some(layout.break_max));
        assert_eq!(memory.map(&layout, PAGE_U64, None), None);
    }
}
