//! Return stacks: host memory, outside every region, that holds nothing but return addresses.
//!
//! ```text
//!   no access | ... grows down ...        | return address ... | exit stub | no access
//! ```
//! Only the guest's `call` and `ret` touch it while the guest runs; the guest cannot name it. Each
//! entry is `base + offset` of an instruction after a verified call, except the first, which is the
//! host's exit stub. That is why a stack can be moved to another region: rebase every entry.

use super::inject;
use super::linux::{Mapping, PAGE, Protection};
use crate::address::PageAligned;
use std::io;

/// One guarded return stack.
#[derive(Debug)]
pub(crate) struct ReturnStack {
    mapping: Mapping,
    size: usize,
}

impl ReturnStack {
    /// Maps a stack of `len` bytes, a page at least, with a page without access on both sides.
    pub(crate) fn new(len: PageAligned) -> io::Result<ReturnStack> {
        let size = len.max(PageAligned::PAGE).size();
        let mapping = Mapping::reserve(size + 2 * PAGE)?;
        mapping.protect(PAGE, size, Protection::ReadWrite)?;
        // Nothing of the host's signal machinery may look like a guest address (review E5 c).
        assert!(
            mapping.address() >= 1 << 32,
            "host memory lies above the first 4 GiB"
        );
        Ok(ReturnStack { mapping, size })
    }

    /// One past the highest entry.
    pub(crate) fn top(&self) -> usize {
        self.mapping.address() + PAGE + self.size
    }

    /// True when `address` is in the page below the stack, where an overflow faults.
    pub(crate) fn is_overflow(&self, address: usize) -> bool {
        (self.mapping.address()..self.mapping.address() + PAGE).contains(&address)
    }

    /// Writes `entries` so that the last one is the highest; answers the new stack pointer.
    pub(crate) fn fill(&self, entries: &[usize]) -> usize {
        let bytes = entries.len() * 8;
        assert!(
            bytes <= self.size,
            "a frozen return stack fits the one it came from"
        );
        let start = self.size - bytes;
        for (index, entry) in entries.iter().enumerate() {
            // SAFETY: the eight bytes lie inside the writable part, aligned, and no guest runs on
            // this stack while its owner holds it here.
            unsafe { self.slot(start + index * 8).write(*entry) };
        }
        self.top() - bytes
    }

    /// The entries from `rsp` to the top; `None` when `rsp` is not an aligned address of this stack.
    pub(crate) fn entries(&self, rsp: usize) -> Option<Vec<usize>> {
        let depth = self.top().checked_sub(rsp)?;
        if depth > self.size || !depth.is_multiple_of(8) {
            return None;
        }
        let start = self.size - depth;
        // SAFETY: each slot lies inside the readable part, aligned; no guest is running on it.
        Some(
            (0..depth / 8)
                .map(|index| unsafe { self.slot(start + index * 8).read() })
                .collect(),
        )
    }

    /// The entry at `rsp + 8 * index`, or `None` outside the stack.
    pub(crate) fn entry(&self, rsp: usize, index: usize) -> Option<usize> {
        let at = rsp.checked_add(index * 8)?;
        let bottom = self.mapping.address() + PAGE;
        if at < bottom || at + 8 > self.top() || !at.is_multiple_of(8) {
            return None;
        }
        // SAFETY: checked just above to lie inside the readable part.
        Some(unsafe { self.slot(at - bottom).read() })
    }

    /// Overwrites the entry at `rsp`, which must be one of this stack.
    pub(crate) fn set_entry(&self, rsp: usize, value: usize) {
        let bottom = self.mapping.address() + PAGE;
        assert!(rsp >= bottom && rsp + 8 <= self.top() && rsp.is_multiple_of(8));
        // SAFETY: checked just above to lie inside the writable part.
        unsafe { self.slot(rsp - bottom).write(value) };
    }

    /// Gives back every page but the highest, so that depth does not show in the next run's timing.
    ///
    /// Calls fill a stack without gaps, so the lowest entry of the highest page tells whether any
    /// other page was reached; asking the kernel each time would cost more than a short run's traps.
    pub(crate) fn reset(&self) -> io::Result<()> {
        // SAFETY: the entry lies inside the stack, aligned; no guest runs on it.
        let lowest = unsafe { self.slot(self.size - PAGE).read() };
        if self.size == PAGE || lowest == 0 {
            return Ok(());
        }
        inject::chance()?;
        // SAFETY: the range is this stack's own; it holds no Rust objects.
        super::linux::check(unsafe {
            libc::madvise(
                self.mapping.pointer(PAGE),
                self.size - PAGE,
                libc::MADV_DONTNEED,
            )
        })?;
        // SAFETY: as for the read above.
        unsafe { self.slot(self.size - PAGE).write(0) };
        Ok(())
    }

    fn slot(&self, offset: usize) -> *mut usize {
        self.mapping.pointer(PAGE + offset).cast()
    }
}
