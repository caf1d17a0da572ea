//! Thin checked wrappers over the system calls the runtime needs, and owned mappings.

use super::inject;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The page size of x86-64; slots, snapshots and traps are all built on it.
pub(crate) const PAGE: usize = 4096;

/// The smallest huge page of x86-64, what one entry of a page directory can map.
pub(crate) const HUGE_PAGE: usize = 2 << 20;

/// What a mapping may be used for. Write and execute never come together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protection {
    /// No access at all.
    None,
    /// Read only.
    Read,
    /// Read and write.
    ReadWrite,
    /// Read and execute; only sealed, verified text gets it.
    ReadExecute,
}

impl Protection {
    pub(super) fn bits(self) -> libc::c_int {
        match self {
            Protection::None => libc::PROT_NONE,
            Protection::Read => libc::PROT_READ,
            Protection::ReadWrite => libc::PROT_READ | libc::PROT_WRITE,
            Protection::ReadExecute => libc::PROT_READ | libc::PROT_EXEC,
        }
    }
}

/// An owned range of host address space, unmapped when dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    address: usize,
    len: usize,
}

impl Mapping {
    /// Reserves `len` bytes without access, wherever the kernel puts them.
    pub(crate) fn reserve(len: usize) -> io::Result<Mapping> {
        Mapping::map(0, len, Protection::None, libc::MAP_NORESERVE, None)
    }

    /// Reserves `len` bytes without access at exactly `address`, or fails when anything is there.
    pub(crate) fn reserve_at(address: usize, len: usize) -> io::Result<Mapping> {
        let flags = libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE;
        let mapping = Mapping::map(address, len, Protection::None, flags, None)?;
        // A kernel older than 4.17 ignores the flag and maps elsewhere.
        if mapping.address == address {
            Ok(mapping)
        } else {
            Err(io::Error::from_raw_os_error(libc::EEXIST))
        }
    }

    /// Maps `fd` shared and read-only for the host's own use.
    pub(crate) fn shared_read(fd: BorrowedFd<'_>, len: usize) -> io::Result<Mapping> {
        Mapping::map(0, len, Protection::Read, 0, Some(fd.as_raw_fd()))
    }

    /// Maps `fd` shared, read and execute, at a random place: the gate page.
    pub(crate) fn shared_execute(fd: BorrowedFd<'_>, address: usize) -> io::Result<Mapping> {
        let flags = libc::MAP_FIXED_NOREPLACE;
        Mapping::map(
            address,
            PAGE,
            Protection::ReadExecute,
            flags,
            Some(fd.as_raw_fd()),
        )
    }

    fn map(
        address: usize,
        len: usize,
        protection: Protection,
        flags: libc::c_int,
        fd: Option<RawFd>,
    ) -> io::Result<Mapping> {
        inject::chance()?;
        let kind = match fd {
            Some(_) => libc::MAP_SHARED,
            None => libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        };
        // SAFETY: without MAP_FIXED the kernel never replaces an existing mapping, so no memory
        // that Rust knows of changes.
        let start = unsafe {
            libc::mmap(
                std::ptr::without_provenance_mut(address),
                len,
                protection.bits(),
                kind | flags,
                fd.unwrap_or(-1),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Mapping {
            address: start.addr(),
            len,
        })
    }

    pub(crate) fn address(&self) -> usize {
        self.address
    }

    /// Changes the protection of a page-aligned part of the mapping; never to executable.
    pub(crate) fn protect(
        &self,
        offset: usize,
        len: usize,
        protection: Protection,
    ) -> io::Result<()> {
        assert!(offset.checked_add(len).is_some_and(|end| end <= self.len));
        assert!(
            protection != Protection::ReadExecute,
            "only sealed files are executable"
        );
        inject::chance()?;
        // SAFETY: the range lies inside this mapping, which no Rust reference points into.
        let result = unsafe { libc::mprotect(self.pointer(offset), len, protection.bits()) };
        check(result)
    }

    /// Address of the byte at `offset` as a pointer with exposed provenance.
    pub(super) fn pointer(&self, offset: usize) -> *mut libc::c_void {
        std::ptr::with_exposed_provenance_mut(self.address + offset)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by this value and nothing refers to it any more.
        let result = unsafe { libc::munmap(self.pointer(0), self.len) };
        debug_assert_eq!(result, 0, "munmap of an owned mapping");
    }
}

/// Turns the result of a call that answers 0 or -1 into a `Result`.
pub(super) fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Takes ownership of a descriptor a system call has just returned.
pub(super) fn owned(fd: libc::c_int) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given this descriptor to us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Fills `bytes` from the kernel's random generator.
pub(crate) fn random(bytes: &mut [u8]) {
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = &mut bytes[filled..];
        // SAFETY: the pointer and length describe one live, writable slice.
        let got = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        if let Ok(got) = usize::try_from(got) {
            filled += got;
        } else {
            let error = io::Error::last_os_error();
            assert_eq!(
                error.kind(),
                io::ErrorKind::Interrupted,
                "getrandom: {error}"
            );
        }
    }
}

/// A random 64-bit word.
pub(crate) fn random_word() -> u64 {
    let mut bytes = [0; 8];
    random(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// Which clock to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    /// Time of day since 1970.
    Real,
    /// Time since some fixed moment; never goes back.
    Monotonic,
    /// CPU time of the calling thread.
    ThreadCpu,
}

/// Reads a clock in nanoseconds.
pub(crate) fn clock(clock: Clock) -> u64 {
    clock_by_id(match clock {
        Clock::Real => libc::CLOCK_REALTIME,
        Clock::Monotonic => libc::CLOCK_MONOTONIC,
        Clock::ThreadCpu => libc::CLOCK_THREAD_CPUTIME_ID,
    })
    .expect("the kernel has the three clocks")
}

/// CPU time of thread `tid` of this process in nanoseconds; `None` when the thread is gone.
pub(crate) fn thread_cpu(tid: i32) -> Option<u64> {
    // The encoding of pthread_getcpuclockid(3): ~tid << 3 | per-thread | scheduler clock.
    clock_by_id((!tid << 3) | 6)
}

/// Sleeps for at most `nanos`; a signal ends it early.
pub(crate) fn sleep(nanos: u64) {
    let time = libc::timespec {
        tv_sec: i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX),
        tv_nsec: (nanos % 1_000_000_000).cast_signed(),
    };
    // SAFETY: `time` is live and the rest is not asked for.
    unsafe { libc::nanosleep(&raw const time, std::ptr::null_mut()) };
}

fn clock_by_id(id: libc::clockid_t) -> Option<u64> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a live, writable timespec.
    if unsafe { libc::clock_gettime(id, &raw mut time) } != 0 {
        return None;
    }
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Some(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

/// Waits until `fd` can be read (or written) or `milliseconds` have passed; true when ready.
pub(crate) fn wait_ready(fd: BorrowedFd<'_>, write: bool, milliseconds: i32) -> io::Result<bool> {
    let events = if write { libc::POLLOUT } else { libc::POLLIN };
    let mut poll = libc::pollfd {
        fd: fd.as_raw_fd(),
        events,
        revents: 0,
    };
    // SAFETY: `poll` is one live pollfd and the count says one.
    let ready = unsafe { libc::poll(&raw mut poll, 1, milliseconds) };
    if ready < 0 {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::Interrupted {
            Ok(false)
        } else {
            Err(error)
        };
    }
    Ok(ready > 0)
}

/// `read(2)` into a host buffer.
pub(crate) fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: pointer and length describe one live, writable slice.
    let got = unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
    usize::try_from(got).map_err(|_| io::Error::last_os_error())
}

/// `write(2)` from a host buffer.
pub(crate) fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: pointer and length describe one live slice.
    let put = unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
    usize::try_from(put).map_err(|_| io::Error::last_os_error())
}

/// Sends `signal` to thread `tid` of this process. A thread that is gone is no error.
pub(crate) fn signal_thread(tid: i32, signal: i32) {
    // SAFETY: tgkill has no memory arguments; the group is our own.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, signal) };
}

/// Opens `path` below `root`: the kernel refuses links and anything that leads outside.
pub(crate) fn open_beneath(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: libc::c_int,
) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    let name = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: open_how is plain data for which all zeroes is valid.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = u64::from((flags | libc::O_CLOEXEC).cast_unsigned());
    how.resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_MAGICLINKS;
    // SAFETY: the name is NUL-terminated, `how` is live and its size is given.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            root.as_raw_fd(),
            name.as_ptr(),
            &raw const how,
            size_of::<libc::open_how>(),
        )
    };
    owned(libc::c_int::try_from(fd).unwrap_or(-1))
}

/// Where the symbolic link opened as `link` points.
pub(crate) fn read_link(link: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    let mut target = vec![0; 4096];
    // SAFETY: the empty name means the link itself; the buffer is live and its size is given.
    let len = unsafe {
        libc::readlinkat(
            link.as_raw_fd(),
            c"".as_ptr(),
            target.as_mut_ptr().cast(),
            target.len(),
        )
    };
    target.truncate(usize::try_from(len).map_err(|_| io::Error::last_os_error())?);
    Ok(target)
}

/// True when `fd` is a regular file.
pub(crate) fn is_regular_file(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: stat is plain data for which all zeroes is valid; the call fills it.
    unsafe {
        let mut facts: libc::stat = std::mem::zeroed();
        libc::fstat(fd.as_raw_fd(), &raw mut facts) == 0
            && facts.st_mode & libc::S_IFMT == libc::S_IFREG
    }
}
