//! Time and randomness. Clocks are rounded, so that they tell little about the machine.

use super::Running;
use crate::abi::{Answer, Arguments, Errno, Stop, errno, int, pointer};
use crate::address::{Claimed, low, size};
use crate::sys::linux::{self, Clock};

const SECOND: u64 = 1_000_000_000;

impl Running<'_> {
    fn clock(&mut self, id: i32) -> Result<u64, Errno> {
        match id {
            libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE => Ok(self.outside.real_ns()),
            libc::CLOCK_MONOTONIC
            | libc::CLOCK_MONOTONIC_RAW
            | libc::CLOCK_MONOTONIC_COARSE
            | libc::CLOCK_BOOTTIME => Ok(self.outside.monotonic_ns(&mut self.state.clocks)),
            libc::CLOCK_PROCESS_CPUTIME_ID | libc::CLOCK_THREAD_CPUTIME_ID => Ok(self.cpu_ns()),
            _ => Err(Errno(libc::EINVAL)),
        }
    }

    /// CPU time of the guest so far.
    pub(super) fn cpu_ns(&mut self) -> u64 {
        let (before, start) = (self.usage.cpu_ns, self.cpu_start_ns);
        let used = || before + linux::clock(Clock::ThreadCpu).saturating_sub(start);
        self.outside.cpu_ns(&mut self.state.clocks, used)
    }

    #[inline(never)]
    pub(super) fn clock_gettime(&mut self, arguments: Arguments) -> Answer {
        let now = self.clock(int(arguments.a))?;
        self.words_out(pointer(arguments.b), [now / SECOND, now % SECOND])?;
        Ok(0)
    }

    #[inline(never)]
    pub(super) fn clock_getres(&mut self, arguments: Arguments) -> Answer {
        self.clock(int(arguments.a))?;
        let granularity = self.outside.granularity_ns();
        if !pointer(arguments.b).is_null() {
            self.words_out(
                pointer(arguments.b),
                [granularity / SECOND, granularity % SECOND],
            )?;
        }
        Ok(0)
    }

    #[inline(never)]
    pub(super) fn gettimeofday(&mut self, arguments: Arguments) -> Answer {
        let now = self.clock(libc::CLOCK_REALTIME)?;
        if !pointer(arguments.a).is_null() {
            self.words_out(pointer(arguments.a), [now / SECOND, now % SECOND / 1_000])?;
        }
        if !pointer(arguments.b).is_null() {
            self.words_out(pointer(arguments.b), [0])?;
        }
        Ok(0)
    }

    #[inline(never)]
    pub(super) fn time(&mut self, arguments: Arguments) -> Answer {
        let seconds = self.clock(libc::CLOCK_REALTIME)? / SECOND;
        if !pointer(arguments.a).is_null() {
            self.words_out(pointer(arguments.a), [seconds])?;
        }
        Ok(seconds)
    }

    #[inline(never)]
    pub(super) fn nanosleep(&mut self, arguments: Arguments) -> Answer {
        let pause = self.timespec_in(pointer(arguments.a))?;
        self.sleep(pause)
    }

    #[inline(never)]
    pub(super) fn clock_nanosleep(&mut self, arguments: Arguments) -> Answer {
        let time = self.timespec_in(pointer(arguments.c))?;
        let now = self.clock(int(arguments.a))?;
        let absolute = int(arguments.b) & libc::TIMER_ABSTIME != 0;
        let pause = if absolute {
            time.saturating_sub(now)
        } else {
            time
        };
        self.sleep(pause)
    }

    /// A claimed `struct timespec`, in nanoseconds.
    pub(super) fn timespec_in(&self, start: Claimed) -> Result<u64, Stop> {
        let mut bytes = [[0; 8]; 2];
        self.region.copy_in(start, bytes.as_flattened_mut())?;
        let [seconds, nanos] = bytes.map(i64::from_le_bytes);
        match (u64::try_from(seconds), u64::try_from(nanos)) {
            (Ok(seconds), Ok(nanos)) if nanos < SECOND => {
                Ok(seconds.saturating_mul(SECOND).saturating_add(nanos))
            }
            _ => Err(Errno(libc::EINVAL).into()),
        }
    }

    /// Sleeps so many nanoseconds, in steps; limits apply meanwhile.
    pub(super) fn sleep(&mut self, nanos: u64) -> Answer {
        let pause = self.outside.pause(nanos);
        loop {
            self.poll()?;
            if !pause.step() {
                return Ok(0);
            }
        }
    }

    #[inline(never)]
    pub(super) fn getrandom(&mut self, arguments: Arguments) -> Answer {
        const KNOWN: u32 = libc::GRND_NONBLOCK | libc::GRND_RANDOM | libc::GRND_INSECURE;
        if low(arguments.c) & !KNOWN != 0 {
            return errno(libc::EINVAL);
        }
        let len = arguments.b.min(0x01FF_FFFF);
        let mut done = 0;
        self.state.has_read_random = true;
        while done < len {
            self.poll()?;
            let start = pointer(arguments.a).plus(done).ok_or(Errno(libc::EFAULT))?;
            let unit = size(len - done).min(4096);
            let part = &mut self.buffer[..unit];
            self.outside.random(part);
            let copied = self.region.copy_out(start, part);
            part.fill(0);
            copied?;
            done += unit as u64;
        }
        Ok(done)
    }
}
