//! What a slot is filled with: spans of sealed files and of zeroes, and which pages of it every clean slot holds
//! privately. The same for every slot of a snapshot, and never changed but for the hot set, which is fixed once.

use crate::address::{GuestAddr, PageAligned, PageRange, size};
use crate::hot::{self, WrittenPages};
use crate::sys::memfd::SealedFile;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

/// A run of pages of a slot and where they come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) range: PageRange,
    pub(crate) backing: Backing,
}

/// Where the pages of a span come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Backing {
    /// The program's verified text.
    Text(Part),
    /// Read-only data of the program.
    ReadOnly(Part),
    /// Writable data of the program.
    Data(Part),
    /// Writable memory as it was when the snapshot was frozen.
    Frozen(Part),
    /// Part of an image file, read-only.
    Window(Window),
    /// Zeroes.
    Zero,
}

impl Backing {
    /// Whether a guest can write there, and so have pages of its own.
    pub(crate) fn is_writable(&self) -> bool {
        match self {
            Backing::Data(_) | Backing::Frozen(_) | Backing::Zero => true,
            Backing::Text(_) | Backing::ReadOnly(_) | Backing::Window(_) => false,
        }
    }

    /// The sealed bytes, where the kernel maps such.
    fn part(&self) -> Option<&Part> {
        match self {
            Backing::Text(part)
            | Backing::ReadOnly(part)
            | Backing::Data(part)
            | Backing::Frozen(part) => Some(part),
            Backing::Window(_) | Backing::Zero => None,
        }
    }
}

/// The bytes of a sealed file from an offset on.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) file: Arc<SealedFile>,
    /// Where they begin.
    pub(crate) start: PageAligned,
}

impl PartialEq for Part {
    fn eq(&self, other: &Part) -> bool {
        Arc::ptr_eq(&self.file, &other.file) && self.start == other.start
    }
}

impl Eq for Part {}

/// A part of a file that cannot change.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    pub(crate) file: Arc<OwnedFd>,
    pub(crate) offset: PageAligned,
}

impl PartialEq for Window {
    fn eq(&self, other: &Window) -> bool {
        Arc::ptr_eq(&self.file, &other.file) && self.offset == other.offset
    }
}

impl Eq for Window {}

/// The spans of a slot, in order, and what follows from them.
#[derive(Debug)]
pub(crate) struct Contents {
    spans: Vec<Span>,
    writable: Vec<PageRange>,
    hot: OnceLock<Hot>,
    return_stack: PageAligned,
}

#[derive(Debug, Default)]
struct Hot {
    ranges: Vec<PageRange>,
    pages: u64,
}

impl Contents {
    /// What slots with these spans hold; each also has a return stack of such a length.
    pub(crate) fn new(spans: Vec<Span>, return_stack: PageAligned) -> Contents {
        Contents {
            writable: writable_ranges(&spans),
            spans,
            hot: OnceLock::new(),
            return_stack,
        }
    }

    pub(crate) fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Where private pages can be, as few ranges.
    pub(crate) fn writable(&self) -> &[PageRange] {
        &self.writable
    }

    /// Length of the return stack.
    pub(crate) fn return_stack(&self) -> PageAligned {
        self.return_stack
    }

    /// Every sealed file that a span shows.
    pub(crate) fn files(&self) -> impl Iterator<Item = &SealedFile> {
        let parts = self.spans.iter().filter_map(|span| span.backing.part());
        parts.map(|part| &*part.file)
    }

    /// Pages that every clean slot holds privately.
    pub(crate) fn hot(&self) -> &[PageRange] {
        self.hot.get().map_or(&[], |hot| &hot.ranges)
    }

    pub(crate) fn hot_pages(&self) -> u64 {
        self.hot.get().map_or(0, |hot| hot.pages)
    }

    /// Fixes the hot set, once: what any of the runs wrote.
    pub(crate) fn keep_hot(&self, runs: &[WrittenPages]) {
        self.fix_hot(hot::bounded(hot::written_by(runs)));
    }

    /// Fixes the hot set, once.
    pub(crate) fn fix_hot(&self, ranges: Vec<PageRange>) {
        let pages = hot::pages(&ranges);
        debug_assert!(pages <= hot::PAGES_MAX, "whoever fixes the set bounds it");
        // A second call loses: the set is recorded once.
        let _ = self.hot.set(Hot { ranges, pages });
    }

    /// The bytes of a slot from `at`, and how many of them, at most `len`; no bytes means zeroes, or that no span is
    /// there.
    pub(crate) fn bytes(&self, at: GuestAddr, len: u64) -> (Option<&[u8]>, u64) {
        let index = self
            .spans
            .partition_point(|span| span.range.address() <= at);
        let at = u64::from(at);
        let span = self.spans[..index].last();
        let Some(span) = span.filter(|span| span.range.contains(at)) else {
            return (None, len);
        };
        let len = len.min(span.range.end().get() - at);
        let bytes = span.backing.part().map(|part| {
            let start = size(part.start.get() + at - span.range.start().get());
            &part.file.bytes()[start..start + size(len)]
        });
        (bytes, len)
    }

    /// Mappings one slot takes: its spans, the call table, the return stack, and every stretch without
    /// access between them.
    pub(crate) fn mappings(&self) -> u64 {
        let pairs = self.spans.windows(2);
        let gaps = pairs.filter(|pair| pair[0].range.end() != pair[1].range.start());
        (self.spans.len() + gaps.count() + 2 + 1 + 3) as u64
    }
}

/// Writable spans as ranges; those a page table apart are one, as each costs a call.
fn writable_ranges(spans: &[Span]) -> Vec<PageRange> {
    const NEAR: u64 = 2 << 20;
    let mut ranges: Vec<PageRange> = Vec::new();
    for span in spans.iter().filter(|span| span.backing.is_writable()) {
        let start = span.range.start().get();
        match ranges.last_mut() {
            Some(last) if start - last.end().get() <= NEAR => *last = last.through(span.range),
            _ => ranges.push(span.range),
        }
    }
    ranges
}
