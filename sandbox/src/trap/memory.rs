//! Memory: the break, anonymous mappings, and read-only windows on files of an image.
//!
//! No trap makes memory executable, and no trap changes the host's mappings except to open and close
//! a window, of which an instance has at most 64.

use super::Running;
use super::file::UNIT;
use crate::abi::{Answer, Arguments, Errno, Stop, errno, int, pointer};
use crate::contents::Window;
use crate::layout::{offset, size};
use crate::memory::OpenWindow;
use crate::slot::close_window;
use crate::sys::guest::Source;
use crate::sys::linux::PAGE;
use crate::tree::{Kind, Node};
use std::os::fd::AsFd;

const PAGE_U64: u64 = PAGE as u64;

/// From this size on, zeroing gives pages back instead of writing to them.
const DISCARD_MIN: u64 = 16 * PAGE_U64;

/// Longest stretch zeroed or copied between two looks at `cancel`.
const STEP: u64 = 1 << 20;

/// Rounds a claimed length up to pages; `None` when there is no such memory in a slot.
fn pages(len: u64) -> Option<u64> {
    (len <= u64::from(u32::MAX)).then(|| len.next_multiple_of(PAGE_U64))
}

impl Running<'_> {
    #[inline(never)]
    pub(super) fn brk(&mut self, arguments: Arguments) -> Answer {
        let wanted = arguments.a;
        let memory = &mut self.state.memory;
        let old = memory.brk;
        if !(self.layout.heap_start..=self.layout.break_max).contains(&wanted) {
            return Ok(old);
        }
        memory.brk = wanted;
        if wanted < old {
            self.zero(wanted, old - wanted)?;
        }
        Ok(wanted)
    }

    #[inline(never)]
    pub(super) fn mmap(&mut self, arguments: Arguments) -> Answer {
        let Arguments {
            a: at,
            b: len,
            c: protection,
            d: flags,
            e: fd,
            f: file_offset,
        } = arguments;
        let (protection, flags) = (int(protection), int(flags));
        let len = pages(len)
            .filter(|len| *len > 0)
            .ok_or(Errno(libc::EINVAL))?;
        if protection & libc::PROT_EXEC != 0 {
            return errno(libc::EACCES);
        }
        let fixed = flags & (libc::MAP_FIXED | libc::MAP_FIXED_NOREPLACE);
        if fixed != 0 && (at > u64::from(u32::MAX) || !at.is_multiple_of(PAGE_U64)) {
            return errno(libc::EINVAL);
        }
        if flags & libc::MAP_ANONYMOUS != 0 {
            return self.map_anonymous(at, len, fixed);
        }
        if fixed != 0
            || !file_offset.is_multiple_of(PAGE_U64)
            || i64::try_from(file_offset).is_err()
        {
            return errno(libc::EINVAL);
        }
        let file = self.state.files.get(int(fd))?;
        let node = file.node;
        if !file.can_read() {
            return errno(libc::EACCES);
        }
        if self.state.view.kind(self.trees, node) != Kind::Regular {
            return errno(libc::ENODEV);
        }
        // A file that is or may be written would have to stay equal to its mapping (review F17).
        let writable = protection & libc::PROT_WRITE != 0;
        let shared = flags & libc::MAP_TYPE != libc::MAP_PRIVATE;
        if self.state.view.is_copied(node)
            || self.state.files.is_open_for_writing(node)
            || (shared && writable)
        {
            return errno(libc::ENODEV);
        }
        if !writable && let Some(start) = self.open_window(node, len, file_offset)? {
            return Ok(start);
        }
        self.map_copy(node, len, file_offset)
    }

    fn map_anonymous(&mut self, at: u64, len: u64, fixed: i32) -> Answer {
        let memory = &mut self.state.memory;
        if fixed == 0 {
            return Ok(memory
                .map(self.layout, len, Some(at))
                .ok_or(Errno(libc::ENOMEM))?);
        }
        if at < self.layout.break_max || at.saturating_add(len) > self.layout.heap_end {
            return errno(libc::ENOMEM);
        }
        if fixed & libc::MAP_FIXED_NOREPLACE != 0 && !memory.is_free_at(self.layout, at, len) {
            return errno(libc::EEXIST);
        }
        memory.map_fixed(self.layout, at, len);
        self.zero(at, len)?;
        Ok(at)
    }

    /// Maps a file's bytes where they are, when the tree stores them so.
    fn open_window(&mut self, node: Node, len: u64, file_offset: u64) -> Result<Option<u64>, Stop> {
        let Node::Base(tree, number) = node else {
            return Ok(None);
        };
        let Some(extent) = self.trees.extent(tree, number) else {
            return Ok(None);
        };
        let Some(rest) = extent.len.checked_sub(file_offset).filter(|rest| *rest > 0) else {
            return Ok(None);
        };
        let shown = len.min(rest.next_multiple_of(PAGE_U64));
        let Some(start) = self.state.memory.find_window(self.layout, len) else {
            return Ok(None);
        };
        // Two mappings: the window and what it splits off; a copy will do when there are no more.
        let budget = self.snapshot.sandbox().budget();
        let Some(share) = self.outside.window(|| budget.take_mappings(2).ok()) else {
            return Ok(None);
        };
        let window = Window {
            file: extent.file,
            offset: extent.offset + file_offset,
        };
        let source = Source::ReadOnly(window.file.as_fd(), window.offset);
        self.region
            .place(offset(start), size(shown), source)
            .map_err(|_| Errno(libc::ENOMEM))?;
        // From here on reset has to close it, whatever else fails.
        self.window_shares.push(share);
        self.state.memory.add_window(OpenWindow {
            start,
            len,
            shown,
            node,
            window,
        });
        Ok(Some(start))
    }

    /// Maps a private copy of a file's bytes.
    fn map_copy(&mut self, node: Node, len: u64, file_offset: u64) -> Answer {
        let start = self
            .state
            .memory
            .map(self.layout, len, None)
            .ok_or(Errno(libc::ENOMEM))?;
        let mut done = 0;
        while done < len {
            self.poll()?;
            let unit = self.buffer.len().min(UNIT).min(size(len - done));
            let part = &mut self.buffer[..unit];
            let read = self
                .state
                .view
                .read_at(self.trees, node, file_offset + done, part);
            let count = match read {
                Ok(count) => count,
                Err(error) => {
                    self.unmap_heap(start, len)?;
                    return Err(error.into());
                }
            };
            if count == 0 {
                break;
            }
            self.region.copy_out(offset(start + done), &part[..count])?;
            done += count as u64;
        }
        Ok(start)
    }

    #[inline(never)]
    pub(super) fn munmap(&mut self, arguments: Arguments) -> Answer {
        let start = arguments.a;
        let len = pages(arguments.b)
            .filter(|len| *len > 0)
            .ok_or(Errno(libc::EINVAL))?;
        let end = start.checked_add(len).ok_or(Errno(libc::EINVAL))?;
        if !start.is_multiple_of(PAGE_U64) {
            return errno(libc::EINVAL);
        }
        if start >= self.layout.break_max && end <= self.layout.heap_end {
            self.unmap_heap(start, len)?;
            return Ok(0);
        }
        if start < self.layout.maps_start || end > self.layout.maps_end {
            return errno(libc::EINVAL);
        }
        self.close_windows(start, end)
    }

    fn unmap_heap(&mut self, start: u64, len: u64) -> Result<(), Stop> {
        self.state.memory.unmap(self.layout, start, len);
        self.zero(start, len)
    }

    /// Closes the windows that lie in a range; a part of one cannot be closed.
    fn close_windows(&mut self, start: u64, end: u64) -> Answer {
        let windows = &mut self.state.memory.windows;
        let cut = |window: &OpenWindow| {
            let window_end = window.start + window.len;
            let overlaps = window.start < end && start < window_end;
            overlaps && (window.start < start || end < window_end)
        };
        if windows.iter().any(cut) {
            return errno(libc::EINVAL);
        }
        // A window is forgotten only when it is gone: what is open at the end, reset must close.
        let mut at = 0;
        while let Some(window) = windows.get(at) {
            if window.start < start || window.start >= end {
                at += 1;
                continue;
            }
            close_window(self.region, window).map_err(|_| Errno(libc::ENOMEM))?;
            windows.remove(at);
            self.window_shares.pop();
        }
        Ok(0)
    }

    /// True when a window on `node` is open.
    pub(super) fn is_windowed(&self, node: Node) -> bool {
        self.state
            .memory
            .windows
            .iter()
            .any(|window| window.node == node)
    }

    #[inline(never)]
    pub(super) fn mremap(&mut self, arguments: Arguments) -> Answer {
        let start = arguments.a;
        let (old, new) = (pages(arguments.b), pages(arguments.c));
        let (Some(old), Some(new)) = (old, new) else {
            return errno(libc::ENOMEM);
        };
        let end = start.checked_add(old).ok_or(Errno(libc::EINVAL))?;
        let flags = int(arguments.d);
        if !start.is_multiple_of(PAGE_U64)
            || old == 0
            || new == 0
            || flags & !libc::MREMAP_MAYMOVE != 0
        {
            return errno(libc::EINVAL);
        }
        if start < self.layout.break_max
            || end > self.layout.heap_end
            || !self.state.memory.is_mapped(self.layout, start, old)
        {
            return errno(libc::EFAULT);
        }
        if new <= old {
            if new < old {
                self.unmap_heap(start + new, old - new)?;
            }
            return Ok(start);
        }
        if self.state.memory.is_free_at(self.layout, end, new - old) {
            self.state.memory.map_fixed(self.layout, end, new - old);
            return Ok(start);
        }
        if flags & libc::MREMAP_MAYMOVE == 0 {
            return errno(libc::ENOMEM);
        }
        let target = self
            .state
            .memory
            .map(self.layout, new, None)
            .ok_or(Errno(libc::ENOMEM))?;
        let mut done = 0;
        while done < old {
            self.poll()?;
            let step = STEP.min(old - done);
            self.region
                .copy_within(offset(start + done), offset(target + done), size(step))?;
            done += step;
        }
        self.unmap_heap(start, old)?;
        Ok(target)
    }

    /// Protection is kept as the runtime set it: a guest may narrow it in its own books only.
    #[inline(never)]
    pub(super) fn mprotect(&mut self, arguments: Arguments) -> Answer {
        let Arguments {
            a: start,
            b: len,
            c: protection,
            ..
        } = arguments;
        let end = pages(len)
            .and_then(|len| start.checked_add(len))
            .ok_or(Errno(libc::ENOMEM))?;
        if !start.is_multiple_of(PAGE_U64) {
            return errno(libc::EINVAL);
        }
        if int(protection) & libc::PROT_EXEC != 0 {
            return errno(libc::EACCES);
        }
        if end > self.layout.stack_end {
            errno(libc::ENOMEM)
        } else {
            Ok(0)
        }
    }

    #[inline(never)]
    pub(super) fn madvise(&mut self, arguments: Arguments) -> Answer {
        let Arguments {
            a: start,
            b: len,
            c: advice,
            ..
        } = arguments;
        let len = pages(len).ok_or(Errno(libc::EINVAL))?;
        let end = start.checked_add(len).ok_or(Errno(libc::EINVAL))?;
        if !start.is_multiple_of(PAGE_U64) {
            return errno(libc::EINVAL);
        }
        if int(advice) == libc::MADV_DONTNEED {
            // Only here does advice change what a program reads.
            if start < self.layout.heap_start || end > self.layout.heap_end {
                return errno(libc::EINVAL);
            }
            self.zero(start, len)?;
        }
        Ok(0)
    }

    /// Makes a range of the heap read as zeroes. Pages that are zero in the snapshot are given back
    /// when there are many; others are written, because giving them back would bring the snapshot's
    /// bytes.
    fn zero(&mut self, start: u64, len: u64) -> Result<(), Stop> {
        let end = start + len;
        let mut at = start;
        while at < end {
            self.poll()?;
            let (bytes, part) = self.snapshot.contents().bytes(at, end);
            let aligned = at.is_multiple_of(PAGE_U64);
            let whole = part / PAGE_U64 * PAGE_U64;
            if bytes.is_none() && aligned && whole >= DISCARD_MIN {
                self.region
                    .discard(offset(at), size(whole))
                    .map_err(|_| Errno(libc::ENOMEM))?;
                at += whole;
            } else {
                let step = part.min(STEP);
                self.region.zero(pointer(at), size(step))?;
                at += step;
            }
        }
        Ok(())
    }
}
