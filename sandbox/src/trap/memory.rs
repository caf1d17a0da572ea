//! Memory: the break, anonymous mappings, and read-only windows on files of an image.
//!
//! No trap makes memory executable, and no trap changes the host's mappings except to open and close
//! a window, of which an instance has at most 64.

use super::Running;
use super::transfer::UNIT;
use crate::abi::{Answer, Arguments, Errno, Stop, errno, int};
use crate::address::{GuestAddr, PageAligned, PageRange, size};
use crate::contents::Window;
use crate::memory::{Memory, OpenWindow};
use crate::slot::close_window;
use crate::sys::guest::Source;
use crate::tree::{Kind, Node};
use std::os::fd::AsFd;

/// From this size on, zeroing gives pages back instead of writing to them.
const DISCARD_PAGES_MIN: u32 = 16;

/// Longest stretch zeroed or copied between two looks at `cancel`.
const STEP: u64 = 1 << 20;

/// Rounds a claimed length up to pages; `None` when there is no such memory in a slot.
fn length(len: u64) -> Option<PageAligned> {
    let len = Some(len).filter(|len| *len <= u32::MAX.into());
    len.and_then(PageAligned::up)
}

/// The claimed pages from `start` on, `len` rounded up, or the error for a start that is none; an empty range and one
/// that leaves the slot are the error given.
fn pages(start: u64, len: u64, error: i32) -> Result<PageRange, Errno> {
    let start = PageAligned::new(start).ok_or(Errno(libc::EINVAL))?;
    let range = length(len).and_then(|len| PageRange::at(start, len));
    range.ok_or(Errno(error))
}

impl Running<'_> {
    #[inline(never)]
    pub(super) fn brk(&mut self, arguments: Arguments) -> Answer {
        let wanted = arguments.a;
        let memory = &mut self.state.memory;
        let old = memory.brk;
        if !Memory::is_break(self.layout, wanted) {
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
        let len = length(len)
            .filter(|len| *len > PageAligned::ZERO)
            .ok_or(Errno(libc::EINVAL))?;
        if protection & libc::PROT_EXEC != 0 {
            return errno(libc::EACCES);
        }
        let fixed = flags & (libc::MAP_FIXED | libc::MAP_FIXED_NOREPLACE);
        let place = PageAligned::new(at).filter(|at| at.get() <= u32::MAX.into());
        if fixed != 0 && place.is_none() {
            return errno(libc::EINVAL);
        }
        if flags & libc::MAP_ANONYMOUS != 0 {
            return self.map_anonymous(place, len, fixed);
        }
        let file_offset = PageAligned::new(file_offset)
            .filter(|at| fixed == 0 && i64::try_from(at.get()).is_ok())
            .ok_or(Errno(libc::EINVAL))?;
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

    fn map_anonymous(&mut self, at: Option<PageAligned>, len: PageAligned, fixed: i32) -> Answer {
        let memory = &mut self.state.memory;
        if fixed == 0 {
            let range = memory.map(self.layout, len, at);
            return Ok(range.ok_or(Errno(libc::ENOMEM))?.start().get());
        }
        let range = at
            .and_then(|at| PageRange::at(at, len))
            .filter(|range| self.layout.mappings.covers(*range))
            .ok_or(Errno(libc::ENOMEM))?;
        if fixed & libc::MAP_FIXED_NOREPLACE != 0 && !memory.is_free_at(self.layout, range) {
            return errno(libc::EEXIST);
        }
        memory.map_fixed(self.layout, range);
        self.zero_pages(range)?;
        Ok(range.start().get())
    }

    /// Maps a file's bytes where they are, when the tree stores them so.
    fn open_window(
        &mut self,
        node: Node,
        len: PageAligned,
        file_offset: PageAligned,
    ) -> Result<Option<u64>, Stop> {
        let Node::Base(tree, number) = node else {
            return Ok(None);
        };
        let Some(extent) = self.trees.extent(tree, number) else {
            return Ok(None);
        };
        let rest = extent.len.checked_sub(file_offset.get());
        let rest = rest.filter(|rest| *rest > 0).and_then(PageAligned::up);
        let offset = PageAligned::new(extent.offset).and_then(|at| at.checked_add(file_offset));
        let (Some(rest), Some(offset)) = (rest, offset) else {
            return Ok(None);
        };
        let Some(range) = self.state.memory.find_window(self.layout, len) else {
            return Ok(None);
        };
        let Some(shown) = PageRange::at(range.start(), len.min(rest)) else {
            return Ok(None);
        };
        // Two mappings: the window and what it splits off; a copy will do when there are no more.
        let budget = self.snapshot.sandbox().budget();
        let Some(share) = self.outside.mappings(|| budget.take_mappings(2).ok()) else {
            return Ok(None);
        };
        let window = Window {
            file: extent.file,
            offset,
        };
        let source = Source::ReadOnly(window.file.as_fd(), window.offset);
        self.region
            .place(shown, source)
            .map_err(|_| Errno(libc::ENOMEM))?;
        // From here on reset has to close it, whatever else fails.
        self.window_shares.push(share);
        self.state.memory.add_window(OpenWindow {
            range,
            shown,
            node,
            window,
        });
        self.trees
            .mapped(tree, number, file_offset.get(), shown.len().get());
        Ok(Some(range.start().get()))
    }

    /// Maps a private copy of a file's bytes.
    fn map_copy(&mut self, node: Node, len: PageAligned, file_offset: PageAligned) -> Answer {
        let range = self
            .state
            .memory
            .map(self.layout, len, None)
            .ok_or(Errno(libc::ENOMEM))?;
        let start = range.start().get();
        let mut done = 0;
        while done < len.get() {
            self.poll()?;
            let unit = self.buffer.len().min(UNIT).min(size(len.get() - done));
            let part = &mut self.buffer[..unit];
            let read = self
                .state
                .view
                .read_at(self.trees, node, file_offset.get() + done, part);
            let count = match read {
                Ok(count) => count,
                Err(error) => {
                    self.unmap_heap(range)?;
                    return Err(error.into());
                }
            };
            if count == 0 {
                break;
            }
            let place = GuestAddr::checked(start + done).ok_or(Errno(libc::EFAULT))?;
            self.region.copy_out(place.into(), &part[..count])?;
            done += count as u64;
        }
        Ok(start)
    }

    #[inline(never)]
    pub(super) fn munmap(&mut self, arguments: Arguments) -> Answer {
        let range = pages(arguments.a, arguments.b, libc::EINVAL)?;
        if self.layout.mappings.covers(range) {
            self.unmap_heap(range)?;
            return Ok(0);
        }
        if range.start() < self.layout.windows_start || range.end() > self.layout.windows_end {
            return errno(libc::EINVAL);
        }
        self.close_windows(range)
    }

    fn unmap_heap(&mut self, range: PageRange) -> Result<(), Stop> {
        self.state.memory.unmap(self.layout, range);
        self.zero_pages(range)
    }

    /// Closes the windows that lie in a range; a part of one cannot be closed.
    fn close_windows(&mut self, range: PageRange) -> Answer {
        let windows = &mut self.state.memory.windows;
        let cut = |window: &OpenWindow| window.range.overlaps(range) && !range.covers(window.range);
        if windows.iter().any(cut) {
            return errno(libc::EINVAL);
        }
        // A window is forgotten only when it is gone: what is open at the end, reset must close.
        let mut at = 0;
        while let Some(window) = windows.get(at) {
            if !range.covers(window.range) {
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
        let flags = int(arguments.d);
        if arguments.b == 0 || arguments.c == 0 || flags & !libc::MREMAP_MAYMOVE != 0 {
            return errno(libc::EINVAL);
        }
        let old = pages(arguments.a, arguments.b, libc::EFAULT)?;
        let new_len = length(arguments.c).ok_or(Errno(libc::ENOMEM))?;
        if !self.state.memory.is_mapped(self.layout, old) {
            return errno(libc::EFAULT);
        }
        let start = old.start().get();
        let new_end = old.start().checked_add(new_len);
        let new_end = new_end.ok_or(Errno(libc::ENOMEM))?;
        if new_len <= old.len() {
            if let Some(rest) = old.from(new_end) {
                self.unmap_heap(rest)?;
            }
            return Ok(start);
        }
        let memory = &mut self.state.memory;
        let more = PageRange::new(old.end(), new_end);
        if let Some(more) = more.filter(|more| memory.is_free_at(self.layout, *more)) {
            memory.map_fixed(self.layout, more);
            return Ok(start);
        }
        if flags & libc::MREMAP_MAYMOVE == 0 {
            return errno(libc::ENOMEM);
        }
        let target = memory
            .map(self.layout, new_len, None)
            .ok_or(Errno(libc::ENOMEM))?;
        self.copy_pages(old, target)?;
        self.unmap_heap(old)?;
        Ok(target.start().get())
    }

    /// Copies all of `from` to the start of `to`.
    fn copy_pages(&mut self, from: PageRange, to: PageRange) -> Result<(), Stop> {
        let mut done = 0;
        while done < from.len().get() {
            self.poll()?;
            let step = STEP.min(from.len().get() - done);
            let at = |range: PageRange| {
                GuestAddr::checked(range.start().get() + done).ok_or(Errno(libc::EFAULT))
            };
            self.region
                .copy_within(at(from)?.into(), at(to)?.into(), size(step))?;
            done += step;
        }
        Ok(())
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
        let end = PageAligned::up(len)
            .and_then(|len| start.checked_add(len.get()))
            .ok_or(Errno(libc::ENOMEM))?;
        if PageAligned::new(start).is_none() {
            return errno(libc::EINVAL);
        }
        if int(protection) & libc::PROT_EXEC != 0 {
            return errno(libc::EACCES);
        }
        if end > self.layout.stack.end().get() {
            errno(libc::ENOMEM)
        } else {
            Ok(0)
        }
    }

    #[inline(never)]
    pub(super) fn madvise(&mut self, arguments: Arguments) -> Answer {
        if PageAligned::new(arguments.a).is_none() {
            return errno(libc::EINVAL);
        }
        if arguments.b == 0 {
            return Ok(0);
        }
        let range = pages(arguments.a, arguments.b, libc::EINVAL)?;
        if int(arguments.c) == libc::MADV_DONTNEED {
            // Only here does advice change what a program reads.
            if !self.layout.heap.covers(range) {
                return errno(libc::EINVAL);
            }
            self.zero_pages(range)?;
        }
        Ok(0)
    }

    fn zero_pages(&mut self, range: PageRange) -> Result<(), Stop> {
        self.zero(range.start().get(), range.len().get())
    }

    /// Makes a stretch of the heap read as zeroes. Pages that are zero in the snapshot are given back
    /// when there are many; others are written, because giving them back would bring the snapshot's
    /// bytes.
    fn zero(&mut self, start: u64, len: u64) -> Result<(), Stop> {
        let mut done = 0;
        while done < len {
            self.poll()?;
            let at = GuestAddr::checked(start + done).ok_or(Errno(libc::EFAULT))?;
            let (bytes, part) = self.snapshot.contents().bytes(at, len - done);
            let start = PageAligned::new(at.into()).filter(|_| bytes.is_none());
            let whole = start.and_then(|start| PageRange::at(start, PageAligned::down(part)));
            match whole.filter(|whole| whole.count() >= DISCARD_PAGES_MIN) {
                Some(whole) => {
                    self.region
                        .discard(whole)
                        .map_err(|_| Errno(libc::ENOMEM))?;
                    done += whole.len().get();
                }
                None => {
                    let step = part.min(STEP);
                    self.region.zero(at.into(), size(step))?;
                    done += step;
                }
            }
        }
        Ok(())
    }
}
