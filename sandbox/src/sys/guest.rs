//! A region: the 4 GiB of address space one instance owns, and the only ways to touch it.
//!
//! ```text
//!  B-64K      B        B+0xF000   B+0x10000                      B+4G-64K    B+4G     B+4G+64K
//!   | no access | no access | table | mappings of the snapshot ...  | no access | no access |
//! ```
//! Ranges of pages lie inside by their type; host code never holds a reference into a region. Guest
//! bytes are reached only through the copy routines below, which take a claimed pointer and return `Fault` instead of
//! crashing when the memory is not there (the signal handler moves `%rip` to the routine's fix-up).

use super::inject;
use super::linux::{self, HUGE_PAGE, Mapping, Protection};
use super::speculation::barrier;
use crate::address::{Claimed, PageAligned, PageRange, size};
use std::arch::global_asm;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Size and alignment of a region.
pub(crate) const REGION: usize = 1 << 32;
/// Bytes without access outside both ends: more than the widest access of a guest instruction.
const EDGE: usize = 0x1_0000;
/// Region bases are drawn from this range, in units of 4 GiB. It keeps clear of the program, its
/// heap (0x55.., 0x56..) and the stacks and libraries (0x7f..), which grow on their own.
const RANDOM_BASES: Range<usize> = 0x100..0x5000;

/// Guest memory that cannot be accessed: becomes EFAULT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault;

/// One reserved 4 GiB region.
#[derive(Debug)]
pub(crate) struct Region {
    #[expect(dead_code, reason = "unmapped with the region")]
    reservation: Mapping,
    base: usize,
}

/// What is placed at a range of a region.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source<'a> {
    /// Zeroes, private to the region, readable and writable.
    Zero,
    /// A sealed file, private copy-on-write, readable and writable.
    CopyOnWrite(BorrowedFd<'a>, PageAligned),
    /// A file that cannot change, shared and read-only.
    ReadOnly(BorrowedFd<'a>, PageAligned),
    /// Sealed and verified text, shared, readable and executable.
    Text(BorrowedFd<'a>, PageAligned),
    /// Nothing: every access faults.
    Nothing,
}

impl Region {
    /// Reserves a region at a random base.
    pub(crate) fn reserve() -> io::Result<Region> {
        let span = RANDOM_BASES.len();
        for _ in 0..256 {
            let draw = size(linux::random_word() >> 16);
            let base = (RANDOM_BASES.start + draw % span) * REGION;
            match Mapping::reserve_at(base - EDGE, REGION + 2 * EDGE) {
                Ok(reservation) => return Ok(Region { reservation, base }),
                Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::from_raw_os_error(libc::ENOMEM))
    }

    /// The region's first address, a multiple of 4 GiB.
    pub(crate) fn base(&self) -> usize {
        self.base
    }

    /// Places `source` at these pages, replacing what was there.
    pub(crate) fn place(&self, range: PageRange, source: Source<'_>) -> io::Result<()> {
        let private = libc::MAP_PRIVATE | libc::MAP_NORESERVE;
        let anonymous = private | libc::MAP_ANONYMOUS;
        let (protection, flags, fd, offset) = match source {
            Source::Zero => (Protection::ReadWrite, anonymous, -1, PageAligned::ZERO),
            Source::Nothing => (Protection::None, anonymous, -1, PageAligned::ZERO),
            Source::CopyOnWrite(fd, at) => (Protection::ReadWrite, private, fd.as_raw_fd(), at),
            Source::ReadOnly(fd, at) => (Protection::Read, libc::MAP_SHARED, fd.as_raw_fd(), at),
            Source::Text(fd, at) => (
                Protection::ReadExecute,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                at,
            ),
        };
        let offset = libc::off_t::try_from(offset.get())
            .map_err(|_| io::Error::from_raw_os_error(libc::EOVERFLOW))?;
        inject::chance()?;
        // SAFETY: the range lies inside this region's own reservation, into which no Rust
        // reference points, so replacing its mapping is invisible to safe code.
        let at = unsafe {
            libc::mmap(
                self.pointer(range),
                range.size(),
                protection.bits(),
                flags | libc::MAP_FIXED,
                fd,
                offset,
            )
        };
        if at == libc::MAP_FAILED {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }

    /// Marks the whole region: no huge pages, not inherited by fork, not in core dumps (review E6).
    pub(crate) fn advise_all(&self) -> io::Result<()> {
        self.mark(PageRange::SLOT)
    }

    /// Marks a range in the same way: what is placed later is like the rest, and what is taken away
    /// becomes one mapping with its neighbours again.
    pub(crate) fn mark(&self, range: PageRange) -> io::Result<()> {
        for advice in [
            libc::MADV_NOHUGEPAGE,
            libc::MADV_DONTFORK,
            libc::MADV_DONTDUMP,
        ] {
            match self.advise(range, advice) {
                // A kernel built without huge pages does not know the first one.
                Err(error)
                    if advice == libc::MADV_NOHUGEPAGE
                        && error.raw_os_error() == Some(libc::EINVAL) => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Maps a range of a shared file with huge pages where the kernel can: a large program then needs few entries of
    /// the processor's address cache. Only for text, which is never private, so that no reset ever looks at it.
    pub(crate) fn use_huge_pages(&self, range: PageRange) {
        // A region's base is a multiple of every page size.
        let huge = HUGE_PAGE as u64;
        let first = range.start().get().next_multiple_of(huge);
        let end = range.end().get() / huge * huge;
        if let Some(inner) = PageRange::checked(first, end) {
            // A kernel that will not is as correct, and slower: old, built without huge pages, short of memory.
            let _ = self
                .advise(range, libc::MADV_HUGEPAGE)
                .and_then(|()| self.advise(inner, libc::MADV_COLLAPSE));
        }
    }

    /// Drops the private pages of a range: it reads as the mapping's source again.
    pub(crate) fn discard(&self, range: PageRange) -> io::Result<()> {
        self.advise(range, libc::MADV_DONTNEED)
    }

    fn advise(&self, range: PageRange, advice: libc::c_int) -> io::Result<()> {
        inject::chance()?;
        // SAFETY: the range lies inside this region, which holds no Rust objects.
        linux::check(unsafe { libc::madvise(self.pointer(range), range.size(), advice) })
    }

    /// Tries to make a range writable and says whether the kernel allowed it; used to prove that
    /// text and read-only data cannot be changed (review §6 row 7).
    pub(crate) fn can_become_writable(&self, range: PageRange) -> bool {
        let writable = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the range lies inside this region, which holds no Rust objects.
        let result = unsafe { libc::mprotect(self.pointer(range), range.size(), writable) };
        result == 0
    }

    /// The first byte of a range, as the kernel wants it.
    fn pointer(&self, range: PageRange) -> *mut libc::c_void {
        std::ptr::with_exposed_provenance_mut(self.base + range.address().offset())
    }

    /// Copies guest bytes at `start` into `target`.
    pub(crate) fn copy_in(&self, start: Claimed, target: &mut [u8]) -> Result<(), Fault> {
        let address = self.range(start, target.len())?;
        // SAFETY: the source is guest memory reached by the fault-fixed routine; the target is a
        // live slice of the same length; the two cannot overlap, as no slice lies in a region.
        let fault = unsafe {
            zapp_copy(
                target.as_mut_ptr().expose_provenance(),
                address,
                target.len(),
            )
        };
        if fault == 0 { Ok(()) } else { Err(Fault) }
    }

    /// Copies `source` to the guest at `start`.
    pub(crate) fn copy_out(&self, start: Claimed, source: &[u8]) -> Result<(), Fault> {
        let address = self.range(start, source.len())?;
        // SAFETY: as in `copy_in`, in the other direction; a read-only or missing page faults
        // inside the routine and is reported.
        let fault =
            unsafe { zapp_copy(address, source.as_ptr().expose_provenance(), source.len()) };
        if fault == 0 { Ok(()) } else { Err(Fault) }
    }

    /// Copies between two guest ranges that do not overlap.
    pub(crate) fn copy_within(&self, from: Claimed, to: Claimed, len: usize) -> Result<(), Fault> {
        let (source, target) = (self.range(from, len)?, self.range(to, len)?);
        // SAFETY: both ranges are guest memory, touched only by the fault-fixed routine.
        let fault = unsafe { zapp_copy(target, source, len) };
        if fault == 0 { Ok(()) } else { Err(Fault) }
    }

    /// Writes zeroes to a guest range.
    pub(crate) fn zero(&self, start: Claimed, len: usize) -> Result<(), Fault> {
        let address = self.range(start, len)?;
        // SAFETY: guest memory, touched only by the fault-fixed routine.
        let fault = unsafe { zapp_zero(address, len) };
        if fault == 0 { Ok(()) } else { Err(Fault) }
    }

    /// Copies a NUL-terminated guest string into `target`, without touching the page after the NUL;
    /// answers its length without the NUL, or `None` when `target` is too short.
    pub(crate) fn string_in(
        &self,
        start: Claimed,
        target: &mut [u8],
    ) -> Result<Option<usize>, Fault> {
        let room = REGION - start.offset();
        let limit = target.len().min(room);
        let address = self.range(start, limit)?;
        // SAFETY: `limit` bytes of the target are writable; the source is read byte by byte with
        // fault fix-up.
        let len = unsafe { zapp_string(target.as_mut_ptr().expose_provenance(), address, limit) };
        match usize::try_from(len) {
            Ok(len) if len < limit => Ok(Some(len)),
            Ok(_) if limit < target.len() => Err(Fault),
            Ok(_) => Ok(None),
            Err(_) => Err(Fault),
        }
    }

    /// Address of a range a guest named: it may not wrap past the region's end (review E7).
    fn range(&self, start: Claimed, len: usize) -> Result<usize, Fault> {
        match start.offset().checked_add(len) {
            Some(end) if end <= REGION => {
                barrier();
                Ok(self.base + start.offset())
            }
            _ => Err(Fault),
        }
    }
}

/// The addresses of the copy routines, and of the first instruction of each.
#[cfg(test)]
pub(super) fn copy_code() -> (Range<usize>, [usize; 3]) {
    let entries = [
        zapp_copy as *const () as usize,
        zapp_zero as *const () as usize,
        zapp_string as *const () as usize,
    ];
    // The fix-up is two instructions of together eight bytes.
    let start = (&raw const zapp_copy_begin).addr();
    (start..copy_fixup() + 8, entries)
}

/// True when `rip` lies in one of the copy routines, where a fault means "guest pointer was bad".
pub(super) fn is_copy_routine(rip: usize) -> bool {
    let start = &raw const zapp_copy_begin;
    let end = &raw const zapp_copy_end;
    (start.addr()..end.addr()).contains(&rip)
}

/// Where the signal handler continues after a fault in a copy routine.
pub(super) fn copy_fixup() -> usize {
    (&raw const zapp_copy_fault).addr()
}

unsafe extern "C" {
    static zapp_copy_begin: u8;
    static zapp_copy_end: u8;
    static zapp_copy_fault: u8;
    /// Copies `len` bytes; 0 when done, 1 after a fault.
    fn zapp_copy(target: usize, source: usize, len: usize) -> u64;
    /// Zeroes `len` bytes; 0 when done, 1 after a fault.
    fn zapp_zero(target: usize, len: usize) -> u64;
    /// Copies up to and including a NUL; the length before it, `len` when there is none, or -1.
    fn zapp_string(target: usize, source: usize, len: usize) -> i64;
}

// Short copies avoid `rep movsb`, whose start-up costs more than the copy. The string routine reads
// one byte at a time because a wider load could touch the page after the terminator.
global_asm!(
    ".pushsection .text.zapp_copy,\"ax\",@progbits",
    ".p2align 4",
    ".globl zapp_copy_begin, zapp_copy_end, zapp_copy_fault, zapp_copy, zapp_zero, zapp_string",
    ".hidden zapp_copy_begin",
    ".hidden zapp_copy_end",
    ".hidden zapp_copy_fault",
    ".hidden zapp_copy",
    ".hidden zapp_zero",
    ".hidden zapp_string",
    "zapp_copy_begin:",
    "zapp_copy:",
    "movq %rdx, %rcx",
    "cmpq $512, %rdx",
    "jae 4f",
    "1: cmpq $8, %rcx",
    "jb 2f",
    "movq (%rsi), %rax",
    "movq %rax, (%rdi)",
    "addq $8, %rsi",
    "addq $8, %rdi",
    "subq $8, %rcx",
    "jmp 1b",
    "2: testq %rcx, %rcx",
    "jz 3f",
    "movb (%rsi), %al",
    "movb %al, (%rdi)",
    "incq %rsi",
    "incq %rdi",
    "decq %rcx",
    "jmp 2b",
    "4: rep movsb",
    "3: xorl %eax, %eax",
    "ret",
    "zapp_zero:",
    "movq %rsi, %rcx",
    "xorl %eax, %eax",
    "rep stosb",
    "ret",
    "zapp_string:",
    "xorl %ecx, %ecx",
    "5: cmpq %rdx, %rcx",
    "jae 6f",
    "movb (%rsi,%rcx), %al",
    "movb %al, (%rdi,%rcx)",
    "testb %al, %al",
    "jz 6f",
    "incq %rcx",
    "jmp 5b",
    "6: movq %rcx, %rax",
    "ret",
    "zapp_copy_end:",
    "zapp_copy_fault:",
    "movq $-1, %rax",
    "ret",
    ".popsection",
    options(att_syntax)
);
