//! The record locks of SQLite's unix VFS, seen from outside (`os_unix.c`, "Posix Advisory Locking"; `fcntl(2)`).
//!
//! Open-file-description locks are used: they conflict with the classic ones other processes hold, and with those this
//! process holds itself, and closing another descriptor of the same file does not drop them.
#![allow(
    unsafe_code,
    reason = "fcntl record locks with a byte range have no safe wrapper"
)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// First lock byte of a database; 1 GiB into the file, where no page is ever stored.
const PENDING_BYTE: i64 = 0x4000_0000;

/// A byte range with a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LockRange {
    start: i64,
    len: i64,
}

/// PENDING: a writer that waits for the readers to leave; whoever wants to read passes by here.
pub(super) const PENDING: LockRange = LockRange {
    start: PENDING_BYTE,
    len: 1,
};
/// RESERVED: held by a writer from its first change to its commit. While it is, a journal beside the database is its own.
pub(super) const RESERVED: LockRange = LockRange {
    start: PENDING_BYTE + 1,
    len: 1,
};
/// SHARED: each reader holds a read lock here, a committing writer a write lock.
pub(super) const SHARED: LockRange = LockRange {
    start: PENDING_BYTE + 2,
    len: 510,
};
/// CHECKPOINT of the `-shm` file: while it is held by a reader, nothing moves from the log into the database (`wal.c`).
pub(super) const WAL_CHECKPOINT: LockRange = LockRange { start: 121, len: 1 };
/// The first read mark that keeps a writer from beginning the log anew.
pub(super) const WAL_READ: LockRange = LockRange { start: 124, len: 1 };
/// WRITE of the `-shm` file.
pub(super) const WAL_WRITE: LockRange = LockRange { start: 120, len: 1 };
/// Each connection of a WAL-mode database holds a read lock here.
pub(super) const WAL_CONNECTED: LockRange = LockRange { start: 128, len: 1 };

/// The kind of lock asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Conflicts with write locks only.
    Read,
    /// Conflicts with any lock.
    Write,
}

/// Somebody holds a conflicting lock; the process, where the kernel tells (not for open-file-description locks).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holder(pub(super) Option<u32>);

/// Who would stop us from taking this lock. Takes nothing.
pub(super) fn conflicting(
    file: &File,
    range: LockRange,
    wanted: Wanted,
) -> io::Result<Option<Holder>> {
    let mut lock = describe(range, wanted);
    fcntl_lock(file, libc::F_OFD_GETLK, &mut lock)?;
    if i32::from(lock.l_type) == libc::F_UNLCK {
        return Ok(None);
    }
    Ok(Some(Holder(
        u32::try_from(lock.l_pid).ok().filter(|&pid| pid > 0),
    )))
}

/// Takes a read lock until `file` is closed. `false` when a writer is in the way.
pub(super) fn lock_shared(file: &File, range: LockRange) -> io::Result<bool> {
    let mut lock = describe(range, Wanted::Read);
    match fcntl_lock(file, libc::F_OFD_SETLK, &mut lock) {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Gives a range back.
pub(super) fn unlock(file: &File, range: LockRange) -> io::Result<()> {
    let mut lock = describe(range, Wanted::Read);
    lock.l_type = i16::try_from(libc::F_UNLCK).expect("lock kinds are 0 to 2");
    fcntl_lock(file, libc::F_OFD_SETLK, &mut lock)
}

/// Whether this error says that the file system has no locks, rather than that something is wrong.
pub(super) fn means_no_locks(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOLCK | libc::EINVAL | libc::EOPNOTSUPP | libc::ENOSYS)
    )
}

fn describe(range: LockRange, wanted: Wanted) -> libc::flock {
    let kind = match wanted {
        Wanted::Read => libc::F_RDLCK,
        Wanted::Write => libc::F_WRLCK,
    };
    libc::flock {
        l_type: i16::try_from(kind).expect("lock kinds are 0 to 2"),
        l_whence: i16::try_from(libc::SEEK_SET).expect("SEEK_SET is 0"),
        l_start: range.start,
        l_len: range.len,
        // Must be 0 for open-file-description locks.
        l_pid: 0,
    }
}

fn fcntl_lock(file: &File, command: libc::c_int, lock: &mut libc::flock) -> io::Result<()> {
    // SAFETY: the descriptor is open for as long as `file` is borrowed, both commands take one pointer to a `flock`, and
    // `lock` is a valid one that nobody else sees meanwhile.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), command, std::ptr::from_mut(lock)) };
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
