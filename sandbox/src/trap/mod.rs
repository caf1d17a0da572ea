//! Calls from guest to host, by Linux number and convention.
//!
//! Guest memory is touched only through [`crate::sys::guest::Region`]; each datum is fetched once.
//! No trap waits for a peer or works long without looking at the cancel word.

mod attribute;
mod clock;
mod file;
mod jump;
mod memory;
mod path;
mod process;
mod ready;
mod request;
mod stat;
mod stream;
pub(crate) mod transfer;

use crate::abi::{Answer, Arguments, Errno, Stop, errno};
use crate::address::{Claimed, size};
use crate::budget::Mappings;
use crate::channel::Channels;
use crate::fiber::Fiber;
use crate::layout::Layout;
use crate::ledger::Room;
use crate::limits::{LimitKind, Limits};
use crate::outside::Outside;
use crate::report::{Outcome, Usage};
use crate::request::Exchange;
use crate::snapshot::Snapshot;
use crate::state::State;
use crate::sys::entry::{Control, Flow, TrapHandler};
use crate::sys::guest::{Fault, Region};
use crate::sys::registers::Registers;
use crate::sys::speculation::clamp;
use crate::sys::stack::ReturnStack;
use crate::trace::Tracer;
use crate::tree::trees::Trees;

/// One past the numbers of Linux calls that are looked at.
const LINUX_END: u64 = 512;

/// One instance while it runs.
#[derive(Debug)]
pub(crate) struct Running<'a> {
    pub(crate) region: &'a Region,
    pub(crate) stack: &'a ReturnStack,
    /// Return stacks of fibers, by number minus one.
    pub(crate) fibers: &'a mut Vec<Option<Fiber>>,
    /// Shares of the process's mappings, one for each window.
    pub(crate) window_shares: &'a mut Vec<Mappings>,
    pub(crate) control: &'a Control,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) layout: &'a Layout,
    pub(crate) trees: &'a Trees,
    pub(crate) limits: &'a Limits,
    pub(crate) outside: &'a mut Outside,
    pub(crate) state: &'a mut State,
    pub(crate) channels: &'a mut Channels,
    pub(crate) usage: &'a mut Usage,
    pub(crate) exchange: &'a mut Exchange,
    pub(crate) tracer: &'a mut Option<Tracer>,
    /// Host memory that traps move data through.
    pub(crate) buffer: &'a mut Vec<u8>,
    /// CPU time of the thread when this run started.
    pub(crate) cpu_start_ns: u64,
    /// Set when the guest has left from inside a trap.
    pub(crate) left: Option<HandlerLeft>,
}

/// Why a trap handler did not resume the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HandlerLeft {
    /// The instance has ended.
    Ended(Outcome),
    /// The guest waits in `accept`.
    Accept,
}

impl TrapHandler for Running<'_> {
    #[inline]
    fn trap(&mut self, registers: &mut Registers) -> Flow {
        self.usage.traps += 1;
        if self.limits.traps.is_some_and(|max| self.usage.traps > max) {
            let limit = LimitKind::Traps;
            self.left = Some(HandlerLeft::Ended(Outcome::Limit { limit }));
            return Flow::Leave;
        }
        let [a, b, c, d, e, f] = registers.arguments();
        let arguments = Arguments { a, b, c, d, e, f };
        let number = registers.rax;
        let answer = self.dispatch(number, arguments, registers);
        if self.tracer.is_some() {
            self.trace(number, arguments, &answer);
        }
        registers.rax = match answer {
            Ok(value) => value,
            Err(Stop::Error(errno)) => {
                self.usage.full_traps += u64::from(errno.0 == libc::ENOSPC);
                errno.result()
            }
            Err(Stop::End(outcome)) => {
                self.left = Some(HandlerLeft::Ended(outcome));
                return Flow::Leave;
            }
            Err(Stop::Accept) => {
                self.left = Some(HandlerLeft::Accept);
                return Flow::Leave;
            }
            // The check on the way back into the guest sees the cancel word again.
            Err(Stop::Cancelled) => Errno(libc::EINTR).result(),
        };
        Flow::Resume
    }
}

impl Running<'_> {
    /// The table of calls, in three parts that the compiler makes one.
    #[inline(always)]
    fn dispatch(&mut self, number: u64, arguments: Arguments, registers: &mut Registers) -> Answer {
        // Linux's numbers, then our own; a mispredicted check finds number 0 or `accept`.
        let own = number.wrapping_sub(process::OWN_START);
        let call = if number < LINUX_END {
            clamp(size(number), size(LINUX_END))
        } else if own < process::OWN_LEN {
            let own = clamp(size(own), size(process::OWN_LEN));
            size(process::OWN_START) + own
        } else {
            return self.unknown(number);
        };
        let call = (call as u64).cast_signed();
        match call {
            libc::SYS_read => self.read(arguments),
            libc::SYS_write => self.write(arguments),
            libc::SYS_readv => self.readv(arguments),
            libc::SYS_writev => self.writev(arguments),
            libc::SYS_pread64 => self.pread(arguments),
            libc::SYS_pwrite64 => self.pwrite(arguments),
            libc::SYS_open => self.open(arguments),
            libc::SYS_openat => self.openat(arguments),
            libc::SYS_creat => self.creat(arguments),
            libc::SYS_close => self.close(arguments),
            libc::SYS_lseek => self.lseek(arguments),
            libc::SYS_ftruncate => self.ftruncate(arguments),
            libc::SYS_truncate => self.truncate(arguments),
            libc::SYS_fsync | libc::SYS_fdatasync => self.fsync(arguments),
            libc::SYS_fadvise64 => self.flock(arguments),
            libc::SYS_dup => self.dup(arguments),
            libc::SYS_dup2 => self.dup2(arguments),
            libc::SYS_dup3 => self.dup3(arguments),
            libc::SYS_fcntl => self.fcntl(arguments),
            libc::SYS_flock => self.flock(arguments),
            libc::SYS_ioctl => self.ioctl(arguments),
            libc::SYS_stat => self.stat(arguments),
            libc::SYS_lstat => self.lstat(arguments),
            libc::SYS_fstat => self.fstat(arguments),
            libc::SYS_newfstatat => self.newfstatat(arguments),
            libc::SYS_statx => self.statx(arguments),
            libc::SYS_statfs | libc::SYS_fstatfs => self.statfs(arguments, call),
            _ => self.dispatch_more(call, arguments, registers),
        }
    }

    #[inline(always)]
    fn dispatch_more(
        &mut self,
        call: i64,
        arguments: Arguments,
        registers: &mut Registers,
    ) -> Answer {
        match call {
            libc::SYS_access => self.access(arguments),
            libc::SYS_faccessat | libc::SYS_faccessat2 => self.faccessat(arguments),
            libc::SYS_readlink => self.readlink(arguments),
            libc::SYS_readlinkat => self.readlinkat(arguments),
            libc::SYS_getdents64 => self.getdents(arguments),
            libc::SYS_getcwd => self.getcwd(arguments),
            libc::SYS_chdir => self.chdir(arguments),
            libc::SYS_fchdir => self.fchdir(arguments),
            libc::SYS_mkdir => self.mkdir(arguments),
            libc::SYS_mkdirat => self.mkdirat(arguments),
            libc::SYS_rmdir => self.rmdir(arguments),
            libc::SYS_unlink => self.unlink(arguments),
            libc::SYS_unlinkat => self.unlinkat(arguments),
            libc::SYS_rename => self.rename(arguments),
            libc::SYS_renameat | libc::SYS_renameat2 => self.renameat(arguments),
            libc::SYS_symlink => self.symlink(arguments),
            libc::SYS_symlinkat => self.symlinkat(arguments),
            libc::SYS_link => self.link(arguments),
            libc::SYS_linkat => self.linkat(arguments),
            libc::SYS_chown => self.chown(arguments),
            libc::SYS_lchown => self.lchown(arguments),
            libc::SYS_fchown => self.fchown(arguments),
            libc::SYS_fchownat => self.fchownat(arguments),
            libc::SYS_chmod => self.chmod(arguments),
            libc::SYS_fchmod => self.fchmod(arguments),
            libc::SYS_fchmodat => self.fchmodat(arguments),
            libc::SYS_utimensat => self.utimensat(arguments),
            libc::SYS_umask => self.umask(arguments),
            libc::SYS_mmap => self.mmap(arguments),
            libc::SYS_munmap => self.munmap(arguments),
            libc::SYS_mremap => self.mremap(arguments),
            libc::SYS_mprotect => self.mprotect(arguments),
            libc::SYS_madvise => self.madvise(arguments),
            libc::SYS_brk => self.brk(arguments),
            libc::SYS_clock_gettime => self.clock_gettime(arguments),
            libc::SYS_clock_getres => self.clock_getres(arguments),
            libc::SYS_gettimeofday => self.gettimeofday(arguments),
            libc::SYS_time => self.time(arguments),
            libc::SYS_nanosleep => self.nanosleep(arguments),
            libc::SYS_clock_nanosleep => self.clock_nanosleep(arguments),
            libc::SYS_getrandom => self.getrandom(arguments),
            _ => self.dispatch_process(call, arguments, registers),
        }
    }

    #[cold]
    fn unknown(&mut self, number: u64) -> Answer {
        // A guest may try every number there is; the report keeps the first ones.
        if self.usage.unknown_traps.len() < 64 || self.usage.unknown_traps.contains_key(&number) {
            *self.usage.unknown_traps.entry(number).or_default() += 1;
        }
        errno(libc::ENOSYS)
    }

    #[cold]
    fn trace(&mut self, number: u64, arguments: Arguments, answer: &Answer) {
        let shown = match answer {
            Ok(value) => Ok(*value),
            Err(Stop::Error(errno)) => Err(errno.0),
            Err(_) => Ok(0),
        };
        if let Some(tracer) = self.tracer {
            tracer.line(self.region, number, arguments, shown);
        }
    }

    /// Looks at the cancel word; long work does so between units.
    pub(crate) fn poll(&self) -> Result<(), Stop> {
        if self.control.is_cancelled() {
            Err(Stop::Cancelled)
        } else {
            Ok(())
        }
    }

    /// Real time, as files carry it.
    pub(crate) fn now_ns(&mut self) -> i64 {
        i64::try_from(self.outside.real_ns()).unwrap_or(i64::MAX)
    }

    pub(crate) fn room(&mut self) -> Room {
        Room::of(self.limits, self.now_ns())
    }

    /// Copies several words to the guest.
    pub(crate) fn words_out<const N: usize>(
        &self,
        start: Claimed,
        words: [u64; N],
    ) -> Result<(), Fault> {
        let mut bytes = [[0; 8]; N];
        for (target, word) in bytes.iter_mut().zip(words) {
            *target = word.to_le_bytes();
        }
        self.region.copy_out(start, bytes.as_flattened())
    }
}
