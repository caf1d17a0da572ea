//! Sealed memory files: the only things that are ever mapped into a slot besides zeroes.
//!
//! The order matters (review E2, F18): write through the descriptor, seal against writing, growing,
//! shrinking and further seals, and only then read back what is to be trusted.

use super::inject;
use super::linux::{self, HUGE_PAGE, Mapping, PAGE};
use crate::address::{GuestAddr, PageAligned, size};
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// A memory file that nobody, this process included, can change any more.
#[derive(Debug)]
pub(crate) struct SealedFile {
    file: File,
    /// Where in the file the bytes begin.
    start: usize,
    len: usize,
    view: Mapping,
}

const SEALS: libc::c_int =
    libc::F_SEAL_WRITE | libc::F_SEAL_GROW | libc::F_SEAL_SHRINK | libc::F_SEAL_SEAL;

impl SealedFile {
    /// Seals `bytes`, padded to whole pages with `padding`; `executable` allows an R+X mapping.
    pub(crate) fn new(
        name: &CStr,
        bytes: &[u8],
        padding: u8,
        executable: bool,
    ) -> io::Result<SealedFile> {
        SealedFile::placed(name, bytes, padding, executable, 0)
    }

    /// Seals a program's text for the address `address`: file offset and address agree in all bits below
    /// [`HUGE_PAGE`], or the kernel could not map it with huge pages.
    pub(crate) fn text(bytes: &[u8], address: u32) -> io::Result<SealedFile> {
        let start = GuestAddr::new(address).offset() % HUGE_PAGE;
        SealedFile::placed(c"zapp-text", bytes, 0xCC, true, start)
    }

    fn placed(
        name: &CStr,
        bytes: &[u8],
        padding: u8,
        executable: bool,
        start: usize,
    ) -> io::Result<SealedFile> {
        inject::chance()?;
        let file = File::from(create(name, executable)?);
        inject::chance()?;
        let len = bytes.len().next_multiple_of(PAGE).max(PAGE);
        file.write_all_at(&vec![padding; start], 0)?;
        file.write_all_at(bytes, start as u64)?;
        file.write_all_at(
            &vec![padding; len - bytes.len()],
            (start + bytes.len()) as u64,
        )?;
        inject::chance()?;
        // SAFETY: F_ADD_SEALS takes an integer; no memory is involved.
        linux::check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, SEALS) })?;
        let view = Mapping::shared_read(file.as_fd(), start + len)?;
        Ok(SealedFile {
            file,
            start,
            len,
            view,
        })
    }

    /// Where in the file the bytes begin.
    pub(crate) fn start(&self) -> PageAligned {
        PageAligned::down(self.start as u64)
    }

    /// Length in bytes, a multiple of the page size.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The sealed bytes. They cannot change, so a shared reference to them is sound.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the view covers `start` and `len` bytes for as long as `self` lives, and the seals
        // keep every page present in the file and unchanged.
        unsafe { std::slice::from_raw_parts(self.view.pointer(self.start).cast(), self.len) }
    }

    /// True when all four seals are in place and no page of the file is a hole (review §6 row 6).
    pub(crate) fn is_sealed_and_dense(&self) -> bool {
        // SAFETY: F_GET_SEALS takes no argument.
        let seals = unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_GET_SEALS) };
        // SAFETY: lseek takes no memory.
        let hole = unsafe { libc::lseek(self.file.as_raw_fd(), 0, libc::SEEK_HOLE) };
        seals & SEALS == SEALS
            && usize::try_from(hole).is_ok_and(|hole| hole == self.start + self.len)
    }
}

impl AsFd for SealedFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn create(name: &CStr, executable: bool) -> io::Result<OwnedFd> {
    let base = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    let exec = if executable {
        libc::MFD_EXEC
    } else {
        libc::MFD_NOEXEC_SEAL
    };
    // SAFETY: `name` is a NUL-terminated string that outlives the call.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), base | exec) };
    if fd < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) {
        // Kernels before 6.3 do not know the two flags and leave the file executable.
        // SAFETY: as above.
        return linux::owned(unsafe { libc::memfd_create(name.as_ptr(), base) });
    }
    linux::owned(fd)
}

/// Maps one sealed page executable at a random address far from everything else.
pub(crate) fn map_gate_page(file: &SealedFile) -> io::Result<Mapping> {
    for _ in 0..64 {
        // Pages of [0x0100_0000_0000, 0x5000_0000_0000): see `guest::RANDOM_BASES`.
        let page = 0x1000_0000 + linux::random_word() % 0x4_F000_0000;
        let address = size(page) * PAGE;
        match Mapping::shared_execute(file.as_fd(), address) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
            other => return other,
        }
    }
    Err(io::Error::from_raw_os_error(libc::ENOMEM))
}
