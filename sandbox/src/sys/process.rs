//! What a process asks of the kernel for itself, once, before it hosts guests.

use super::linux::check;
use std::io;

/// Makes the kernel refuse memory that is writable and executable, and memory that becomes executable after it was not.
/// The text of guests is mapped executable from sealed files, which stays allowed. It cannot be taken back.
///
/// # Errors
/// What the kernel said; kernels before 6.3 have no such call.
pub fn refuse_new_code() -> io::Result<()> {
    let flags = libc::c_ulong::from(libc::PR_MDWE_REFUSE_EXEC_GAIN);
    let none: libc::c_ulong = 0;
    // SAFETY: the call takes numbers alone, and only takes rights away.
    check(unsafe { libc::prctl(libc::PR_SET_MDWE, flags, none, none, none) })
}

/// Keeps every descriptor but standard input, output and error from programs that are started from now on, those too
/// that this process was started with and has no use for.
///
/// # Errors
/// What the kernel said; kernels before 5.11 have no such call.
pub fn close_on_exec() -> io::Result<()> {
    let flags = libc::CLOSE_RANGE_CLOEXEC.cast_signed();
    // SAFETY: no descriptor is closed in this process.
    check(unsafe { libc::close_range(3, libc::c_uint::MAX, flags) })
}
