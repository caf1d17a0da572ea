//! One line a trap, like strace, for `zapp run --trace`.

use crate::abi::{Arguments, pointer};
use crate::sys::guest::Region;
use std::fmt;
use std::io::Write;

/// Writes a line for each trap.
pub(crate) struct Tracer {
    target: Box<dyn Write + Send>,
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tracer")
    }
}

/// Longest string shown.
const SHOWN_MAX: usize = 80;

impl Tracer {
    pub(crate) fn new(target: Box<dyn Write + Send>) -> Tracer {
        Tracer { target }
    }

    /// Writes one line; an output that fails is not the guest's concern.
    pub(crate) fn line(
        &mut self,
        region: &Region,
        number: u64,
        arguments: Arguments,
        answer: Result<u64, i32>,
    ) {
        let (name, path) = describe(number);
        let words = [arguments.a, arguments.b, arguments.c, arguments.d];
        let mut text = String::new();
        for (index, word) in words.into_iter().enumerate() {
            if index > 0 {
                text.push_str(", ");
            }
            if path == Some(index) {
                text.push_str(&string(region, word));
            } else {
                text.push_str(&format!("{word:#x}"));
            }
        }
        let answer = match answer {
            Ok(value) => format!("{value:#x}"),
            Err(errno) => {
                let text = std::io::Error::from_raw_os_error(errno).to_string();
                let text = text.split(" (os error").next().unwrap_or_default();
                format!("-{errno} ({text})")
            }
        };
        let call = if name.is_empty() {
            format!("call_{number:#x}")
        } else {
            name.to_owned()
        };
        let _ = writeln!(self.target, "{call}({text}) = {answer}");
    }
}

/// A guest string, escaped: nothing a guest says reaches a terminal raw.
fn string(region: &Region, start: u64) -> String {
    let mut bytes = [0; SHOWN_MAX];
    match region.string_in(pointer(start), &mut bytes) {
        Ok(Some(len)) => format!("\"{}\"", bytes[..len].escape_ascii()),
        Ok(None) => format!("\"{}\"...", bytes.escape_ascii()),
        Err(_) => format!("{start:#x}"),
    }
}

/// Name of a call, and which argument is a path.
fn describe(number: u64) -> (&'static str, Option<usize>) {
    const NAMES: [(i64, &str, Option<usize>); 67] = [
        (libc::SYS_read, "read", None),
        (libc::SYS_write, "write", None),
        (libc::SYS_open, "open", Some(0)),
        (libc::SYS_close, "close", None),
        (libc::SYS_stat, "stat", Some(0)),
        (libc::SYS_fstat, "fstat", None),
        (libc::SYS_lstat, "lstat", Some(0)),
        (libc::SYS_poll, "poll", None),
        (libc::SYS_lseek, "lseek", None),
        (libc::SYS_mmap, "mmap", None),
        (libc::SYS_mprotect, "mprotect", None),
        (libc::SYS_munmap, "munmap", None),
        (libc::SYS_brk, "brk", None),
        (libc::SYS_rt_sigaction, "rt_sigaction", None),
        (libc::SYS_rt_sigprocmask, "rt_sigprocmask", None),
        (libc::SYS_ioctl, "ioctl", None),
        (libc::SYS_pread64, "pread64", None),
        (libc::SYS_pwrite64, "pwrite64", None),
        (libc::SYS_readv, "readv", None),
        (libc::SYS_writev, "writev", None),
        (libc::SYS_access, "access", Some(0)),
        (libc::SYS_sched_yield, "sched_yield", None),
        (libc::SYS_mremap, "mremap", None),
        (libc::SYS_madvise, "madvise", None),
        (libc::SYS_dup, "dup", None),
        (libc::SYS_dup2, "dup2", None),
        (libc::SYS_nanosleep, "nanosleep", None),
        (libc::SYS_getpid, "getpid", None),
        (libc::SYS_exit, "exit", None),
        (libc::SYS_kill, "kill", None),
        (libc::SYS_uname, "uname", None),
        (libc::SYS_fcntl, "fcntl", None),
        (libc::SYS_ftruncate, "ftruncate", None),
        (libc::SYS_getcwd, "getcwd", None),
        (libc::SYS_chdir, "chdir", Some(0)),
        (libc::SYS_rename, "rename", Some(0)),
        (libc::SYS_mkdir, "mkdir", Some(0)),
        (libc::SYS_rmdir, "rmdir", Some(0)),
        (libc::SYS_creat, "creat", Some(0)),
        (libc::SYS_unlink, "unlink", Some(0)),
        (libc::SYS_symlink, "symlink", Some(1)),
        (libc::SYS_link, "link", Some(0)),
        (libc::SYS_chown, "chown", Some(0)),
        (libc::SYS_select, "select", None),
        (libc::SYS_utimensat, "utimensat", Some(1)),
        (libc::SYS_readlink, "readlink", Some(0)),
        (libc::SYS_chmod, "chmod", Some(0)),
        (libc::SYS_gettimeofday, "gettimeofday", None),
        (libc::SYS_getuid, "getuid", None),
        (libc::SYS_gettid, "gettid", None),
        (libc::SYS_futex, "futex", None),
        (libc::SYS_getdents64, "getdents64", None),
        (libc::SYS_set_tid_address, "set_tid_address", None),
        (libc::SYS_clock_gettime, "clock_gettime", None),
        (libc::SYS_exit_group, "exit_group", None),
        (libc::SYS_openat, "openat", Some(1)),
        (libc::SYS_newfstatat, "newfstatat", Some(1)),
        (libc::SYS_unlinkat, "unlinkat", Some(1)),
        (libc::SYS_statx, "statx", Some(1)),
        (libc::SYS_getrandom, "getrandom", None),
        (0x7A00, "accept_request", None),
        (0x7A01, "respond", None),
        (0x7A02, "setjmp_record", None),
        (0x7A03, "longjmp_to", None),
        (0x7A04, "fiber_new", None),
        (0x7A05, "fiber_switch", None),
        (0x7A06, "fiber_free", None),
    ];
    NAMES
        .iter()
        .find(|(known, ..)| known.cast_unsigned() == number)
        .map_or(("", None), |(_, name, path)| (name, *path))
}
