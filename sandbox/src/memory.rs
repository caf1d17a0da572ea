//! Which parts of the heap a guest has asked for: the break, anonymous mappings, and read-only windows
//! on files. Bookkeeping only; the memory itself is mapped as one piece (review F9).

use crate::address::{PageAligned, PageRange};
use crate::contents::Window;
use crate::layout::{Layout, WINDOW_OPENINGS_MAX, WINDOWS_MAX};
use crate::tree::Node;
use std::ops::Range;

/// Pages that one word of a bit map stands for.
const WORD: usize = 64;

/// The memory of one instance, as plain data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Memory {
    /// The program break.
    pub(crate) brk: u64,
    /// One bit a page of the layout's mappings, set when the page is mapped.
    taken: Vec<u64>,
    /// No page below this index is free.
    first_free: usize,
    pub(crate) windows: Vec<OpenWindow>,
    /// Windows opened so far.
    openings: u32,
}

/// A window on a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenWindow {
    /// The pages taken, as the guest asked.
    pub(crate) range: PageRange,
    /// Those of them that exist in the file.
    pub(crate) shown: PageRange,
    pub(crate) node: Node,
    pub(crate) window: Window,
}

/// Indices of the bits of a range; nothing when it does not lie in the layout's mappings.
fn bits(layout: &Layout, range: PageRange) -> Option<Range<usize>> {
    let mappings = layout.mappings;
    let start = range.first().checked_sub(mappings.first())? as usize;
    mappings
        .covers(range)
        .then(|| start..start + range.count() as usize)
}

impl Memory {
    pub(crate) fn new(layout: &Layout) -> Memory {
        Memory {
            brk: layout.heap.start().get(),
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
        let total = layout.mappings.count() as usize;
        let free_beyond = match taken.last() {
            None => true,
            Some(last) => {
                let beyond = (taken.len() * WORD).saturating_sub(total);
                beyond < WORD && last.leading_zeros() as usize >= beyond
            }
        };
        let is_sound = free_beyond && Memory::is_break(layout, brk);
        is_sound.then(|| Memory {
            brk,
            taken,
            ..Memory::new(layout)
        })
    }

    /// Whether the break can be there.
    pub(crate) fn is_break(layout: &Layout, brk: u64) -> bool {
        (layout.heap.start().get()..=layout.break_max().get()).contains(&brk)
    }

    /// Takes `len`, at `at` if that is free there; answers where.
    pub(crate) fn map(
        &mut self,
        layout: &Layout,
        len: PageAligned,
        at: Option<PageAligned>,
    ) -> Option<PageRange> {
        let wanted = at
            .and_then(|at| PageRange::at(at, len))
            .filter(|range| self.is_free_at(layout, *range));
        let range = match wanted {
            Some(range) => range,
            None => self.find(layout, len)?,
        };
        self.map_fixed(layout, range).then_some(range)
    }

    /// Takes exactly these pages, whatever is there; false when they lie outside.
    pub(crate) fn map_fixed(&mut self, layout: &Layout, range: PageRange) -> bool {
        self.set(layout, range, true)
    }

    /// Gives pages back; those outside the layout's mappings are nobody's.
    pub(crate) fn unmap(&mut self, layout: &Layout, range: PageRange) {
        self.set(layout, range, false);
    }

    /// True when all of the range is mapped.
    pub(crate) fn is_mapped(&self, layout: &Layout, range: PageRange) -> bool {
        bits(layout, range).is_some_and(|mut bits| bits.all(|page| self.bit(page)))
    }

    /// True when none of its pages is mapped, and they exist.
    pub(crate) fn is_free_at(&self, layout: &Layout, range: PageRange) -> bool {
        bits(layout, range).is_some_and(|mut bits| !bits.any(|page| self.bit(page)))
    }

    /// Where a window of such a length fits, with a page without access after it.
    pub(crate) fn find_window(&self, layout: &Layout, len: PageAligned) -> Option<PageRange> {
        if self.windows.len() >= WINDOWS_MAX || self.openings >= WINDOW_OPENINGS_MAX {
            return None;
        }
        let mut at = layout.windows_start;
        // The windows are kept in order.
        for window in &self.windows {
            if window
                .range
                .start()
                .checked_sub(at)
                .is_some_and(|gap| gap > len)
            {
                break;
            }
            at = window.range.end().checked_add(PageAligned::PAGE)?;
        }
        let range = PageRange::at(at, len)?;
        let end = range.end().checked_add(PageAligned::PAGE)?;
        (end <= layout.windows_end).then_some(range)
    }

    /// Remembers a window.
    pub(crate) fn add_window(&mut self, window: OpenWindow) {
        let index = self
            .windows
            .partition_point(|other| other.range.first() < window.range.first());
        self.windows.insert(index, window);
        self.openings += 1;
    }

    fn bit(&self, page: usize) -> bool {
        self.taken
            .get(page / WORD)
            .is_some_and(|word| word >> (page % WORD) & 1 == 1)
    }

    /// First fit.
    fn find(&self, layout: &Layout, len: PageAligned) -> Option<PageRange> {
        let pages = len.pages();
        let total = layout.mappings.count() as usize;
        let mut start = self.first_free;
        let mut page = start;
        while page < total && page - start < pages {
            match self.taken.get(page / WORD) {
                // Beyond the last word everything is free.
                None => break,
                Some(&u64::MAX) => {
                    page = (page / WORD + 1) * WORD;
                    start = page;
                }
                Some(_) if self.bit(page) => {
                    page += 1;
                    start = page;
                }
                Some(_) => page += 1,
            }
        }
        let before = PageAligned::of_pages(u32::try_from(start).ok()?);
        let range = PageRange::at(layout.break_max().checked_add(before)?, len)?;
        layout.mappings.covers(range).then_some(range)
    }

    fn set(&mut self, layout: &Layout, range: PageRange, taken: bool) -> bool {
        let Some(bits) = bits(layout, range) else {
            return false;
        };
        let words = bits.end.div_ceil(WORD);
        if words > self.taken.len() && taken {
            self.taken.resize(words, 0);
        }
        for page in bits.clone() {
            // Beyond the last word everything is free.
            let Some(word) = self.taken.get_mut(page / WORD) else {
                break;
            };
            let bit = 1 << (page % WORD);
            *word = if taken { *word | bit } else { *word & !bit };
        }
        if !taken {
            self.first_free = self.first_free.min(bits.start);
        } else if bits.contains(&self.first_free) {
            self.first_free = bits.end;
        }
        true
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
        let mut live: Vec<PageRange> = Vec::new();
        let mut seed = 7_u64;
        for _ in 0..20_000 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(99);
            let draw = seed >> 33;
            if draw.is_multiple_of(3) && !live.is_empty() {
                let range = live.swap_remove(usize::try_from(draw).unwrap() % live.len());
                memory.unmap(&layout, range);
            } else if live.len() < 200 {
                let len = PageAligned::of_pages(u32::try_from(draw % 40).unwrap() + 1);
                let range = memory.map(&layout, len, None).expect("room");
                assert!(layout.mappings.covers(range) && range.len() == len);
                assert!(!live.iter().any(|other| other.overlaps(range)), "overlap");
                live.push(range);
            }
        }
        for range in live {
            assert!(memory.is_mapped(&layout, range));
            memory.unmap(&layout, range);
        }
        let first = memory.map(&layout, PageAligned::PAGE, None).expect("room");
        assert_eq!(first.start(), layout.break_max());
    }

    #[test]
    fn full_heap_refuses() {
        let layout = layout();
        let mut memory = Memory::new(&layout);
        let all = layout.mappings;
        let more = PageAligned::of_pages(all.count() + 1);
        assert_eq!(memory.map(&layout, more, None), None);
        assert_eq!(memory.map(&layout, all.len(), None), Some(all));
        assert_eq!(memory.map(&layout, PageAligned::PAGE, None), None);
    }
}
