//! System calls as numbers, to see whether the kernel is reached.

#![allow(
    unsafe_code,
    reason = "there is no safe wrapper for calls that nobody should make"
)]

/// Makes a call; answers its result, or the negative error number.
pub(crate) fn call(number: i64, [a, b, c, d, e, f]: [u64; 6]) -> i64 {
    // SAFETY: callers pass numbers that a filter refuses, null pointers, and ranges of memory that nobody uses.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    match result {
        -1 => -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)),
        result => result,
    }
}
