//! What libc asks at start and end: identity, limits, signals that never come.

use super::Running;
use crate::abi::{Answer, Arguments, Errno, Stop, errno, int, pointer};
use crate::address::low;
use crate::report::Outcome;
use crate::sys::registers::Registers;

/// The first number of our own calls, and how many there are.
pub(super) const OWN_START: u64 = 0x7A00;
pub(super) const OWN_LEN: u64 = 7;

/// Numbers of our own calls.
const ACCEPT: i64 = 0x7A00;
const RESPOND: i64 = 0x7A01;
const SETJMP_RECORD: i64 = 0x7A02;
const LONGJMP_TO: i64 = 0x7A03;
const FIBER_NEW: i64 = 0x7A04;
const FIBER_SWITCH: i64 = 0x7A05;
const FIBER_FREE: i64 = 0x7A06;

/// The one process a guest can see is itself.
const PID: u64 = 1;

impl Running<'_> {
    #[inline(always)]
    pub(super) fn dispatch_process(
        &mut self,
        call: i64,
        arguments: Arguments,
        registers: &mut Registers,
    ) -> Answer {
        match call {
            ACCEPT => self.accept(arguments),
            RESPOND => self.respond(arguments),
            SETJMP_RECORD => self.setjmp_record(registers),
            LONGJMP_TO => self.longjmp_to(arguments, registers),
            FIBER_NEW => self.fiber_new(arguments),
            FIBER_SWITCH => self.fiber_switch(arguments, registers),
            FIBER_FREE => self.fiber_free(arguments),
            libc::SYS_exit | libc::SYS_exit_group => {
                let [status, ..] = arguments.a.to_le_bytes();
                Err(Stop::End(Outcome::Exited { status }))
            }
            libc::SYS_getpid
            | libc::SYS_gettid
            | libc::SYS_getpgrp
            | libc::SYS_getpgid
            | libc::SYS_getsid
            | libc::SYS_set_tid_address => Ok(PID),
            libc::SYS_getppid
            | libc::SYS_getuid
            | libc::SYS_geteuid
            | libc::SYS_getgid
            | libc::SYS_getegid
            | libc::SYS_sched_yield
            | libc::SYS_set_robust_list
            | libc::SYS_alarm
            | libc::SYS_setitimer => Ok(0),
            libc::SYS_rt_sigaction => self.sigaction(arguments),
            libc::SYS_rt_sigprocmask => self.clear_old(arguments.c, 8),
            libc::SYS_sigaltstack => self.clear_old(arguments.b, 24),
            libc::SYS_getitimer => self.clear_old(arguments.b, 32),
            libc::SYS_kill => self.kill(arguments.b),
            libc::SYS_tkill => self.kill(arguments.b),
            libc::SYS_tgkill => self.kill(arguments.c),
            libc::SYS_arch_prctl => arch_prctl(arguments),
            libc::SYS_prctl if int(arguments.a) == libc::PR_SET_NAME => Ok(0),
            libc::SYS_prctl => errno(libc::EINVAL),
            libc::SYS_futex => self.futex(arguments),
            libc::SYS_uname => self.uname(arguments),
            libc::SYS_getrlimit => self.rlimit_out(arguments.a, arguments.b),
            libc::SYS_prlimit64 => self.prlimit(arguments),
            libc::SYS_setrlimit => Ok(0),
            libc::SYS_getrusage => self.getrusage(arguments),
            libc::SYS_times => self.times(arguments),
            libc::SYS_sysinfo => self.sysinfo(arguments),
            libc::SYS_sched_getaffinity => self.affinity(arguments),
            libc::SYS_poll => self.poll_files(arguments),
            libc::SYS_select => self.select(arguments),
            libc::SYS_pselect6 => self.pselect(arguments),
            _ => self.unknown(call.cast_unsigned()),
        }
    }

    /// Calls that only want to know the old value: there never was one.
    fn clear_old(&mut self, target: u64, len: usize) -> Answer {
        if !pointer(target).is_null() {
            self.region.copy_out(pointer(target), &[0; 32][..len])?;
        }
        Ok(0)
    }

    /// No handler is ever called; but whoever ignores `SIGPIPE`, or would handle it, is told of a broken pipe by the
    /// write alone.
    fn sigaction(&mut self, arguments: Arguments) -> Answer {
        const DEFAULT: u32 = 0;
        let action = pointer(arguments.b);
        if int(arguments.a) == libc::SIGPIPE && !action.is_null() {
            // The handler is the first word of the kernel's `struct sigaction`.
            let mut handler = [0; 4];
            self.region.copy_in(action, &mut handler)?;
            self.state.survives_broken_pipes = u32::from_le_bytes(handler) != DEFAULT;
        }
        self.clear_old(arguments.c, 32)
    }

    /// A signal to itself, which is what `abort` and `raise` send, ends the guest.
    fn kill(&mut self, signal: u64) -> Answer {
        match int(signal) {
            0 | libc::SIGCHLD | libc::SIGURG | libc::SIGWINCH | libc::SIGCONT => Ok(0),
            signal @ 1..=64 => Err(Stop::End(Outcome::Raised {
                signal: signal.unsigned_abs(),
            })),
            _ => errno(libc::EINVAL),
        }
    }

    fn futex(&mut self, arguments: Arguments) -> Answer {
        const WAIT: i32 = libc::FUTEX_WAIT;
        const WAIT_BITSET: i32 = libc::FUTEX_WAIT_BITSET;
        const COMMAND: i32 = !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME);
        let mut word = [0; 4];
        self.region.copy_in(pointer(arguments.a), &mut word)?;
        match int(arguments.b) & COMMAND {
            libc::FUTEX_WAKE | libc::FUTEX_WAKE_BITSET => Ok(0),
            WAIT | WAIT_BITSET if u32::from_le_bytes(word) != low(arguments.c) => {
                errno(libc::EAGAIN)
            }
            // Nobody else can ever wake it.
            WAIT if !pointer(arguments.d).is_null() => {
                let pause = self.timespec_in(pointer(arguments.d))?;
                self.sleep(pause)?;
                errno(libc::ETIMEDOUT)
            }
            WAIT | WAIT_BITSET => Err(Stop::End(Outcome::Misuse {
                what: "waits for itself for ever".to_owned(),
            })),
            _ => errno(libc::ENOSYS),
        }
    }

    fn uname(&mut self, arguments: Arguments) -> Answer {
        let mut names = [[0; 65]; 6];
        let texts = ["Linux", "zapp", "6.1.0", "#1", "x86_64", "(none)"];
        for (name, text) in names.iter_mut().zip(texts) {
            name[..text.len()].copy_from_slice(text.as_bytes());
        }
        self.region
            .copy_out(pointer(arguments.a), names.as_flattened())?;
        Ok(0)
    }

    fn rlimit_out(&mut self, resource: u64, target: u64) -> Answer {
        let value = match u32::try_from(resource).map_err(|_| Errno(libc::EINVAL))? {
            libc::RLIMIT_STACK => self.limits.stack_bytes,
            libc::RLIMIT_NOFILE => self.limits.files.into(),
            libc::RLIMIT_AS | libc::RLIMIT_DATA => self.limits.memory_bytes,
            libc::RLIMIT_CORE => 0,
            0..16 => u64::MAX,
            _ => return errno(libc::EINVAL),
        };
        self.words_out(pointer(target), [value, value])?;
        Ok(0)
    }

    fn prlimit(&mut self, arguments: Arguments) -> Answer {
        if !pointer(arguments.d).is_null() {
            return self.rlimit_out(arguments.b, arguments.d);
        }
        Ok(0)
    }

    fn getrusage(&mut self, arguments: Arguments) -> Answer {
        let micros = self.cpu_ns() / 1_000;
        let mut words = [0; 18];
        words[0] = micros / 1_000_000;
        words[1] = micros % 1_000_000;
        self.words_out(pointer(arguments.b), words)?;
        Ok(0)
    }

    fn times(&mut self, arguments: Arguments) -> Answer {
        const TICK_NS: u64 = 10_000_000;
        let user = self.cpu_ns() / TICK_NS;
        if !pointer(arguments.a).is_null() {
            self.words_out(pointer(arguments.a), [user, 0, 0, 0])?;
        }
        Ok(self.outside.monotonic_ns(&mut self.state.clocks) / TICK_NS)
    }

    fn sysinfo(&mut self, arguments: Arguments) -> Answer {
        let mut words = [0; 14];
        words[4] = self.limits.memory_bytes;
        words[5] = self.limits.memory_bytes;
        words[10] = 1;
        // The last word but one holds the size of a memory unit in its low half.
        words[13] = 1;
        self.words_out(pointer(arguments.a), words)?;
        Ok(0)
    }

    fn affinity(&mut self, arguments: Arguments) -> Answer {
        if arguments.b < 8 {
            return errno(libc::EINVAL);
        }
        self.words_out(pointer(arguments.c), [1])?;
        Ok(8)
    }
}

/// The thread pointer is where it always is; nothing else can be set.
fn arch_prctl(arguments: Arguments) -> Answer {
    const ARCH_SET_FS: i32 = 0x1002;
    if int(arguments.a) == ARCH_SET_FS && low(arguments.b) == verifier::elf::THREAD_POINTER {
        Ok(0)
    } else {
        errno(libc::EINVAL)
    }
}
