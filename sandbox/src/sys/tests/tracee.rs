//! A thread of a child process under this thread's control, one instruction at a time.

use crate::sys::signal::KICK;
use std::io;

/// Registers of the thread.
pub(super) type Registers = libc::user_regs_struct;

/// `PTRACE_SETSIGMASK` of linux/ptrace.h.
const SET_SIGNAL_MASK: libc::c_uint = 0x420B;

/// A traced thread, stopped between calls.
#[derive(Debug)]
pub(super) struct Tracee {
    pub(super) tid: libc::pid_t,
}

impl Tracee {
    /// Waits until it stops and answers the signal that stopped it; none when it has ended.
    pub(super) fn wait(&self) -> Option<i32> {
        let mut status = 0;
        // SAFETY: `status` is written by the kernel.
        let waited = unsafe { libc::waitpid(self.tid, &raw mut status, libc::__WALL) };
        (waited == self.tid && libc::WIFSTOPPED(status)).then(|| libc::WSTOPSIG(status))
    }

    fn request(&self, request: libc::c_uint, address: u64, data: u64) -> io::Result<()> {
        // SAFETY: the thread is stopped; requests with memory of ours have their own callers.
        match unsafe { libc::ptrace(request, self.tid, address, data) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    /// Executes one instruction, or takes `signal` first; answers what stopped it then.
    pub(super) fn step(&self, signal: i32) -> i32 {
        let signal = u64::try_from(signal).expect("signals are positive");
        self.request(libc::PTRACE_SINGLESTEP, 0, signal)
            .expect("a stopped thread can be stepped");
        self.wait().expect("it stops after a step")
    }

    /// Runs until something stops it.
    pub(super) fn go_on(&self, signal: i32) -> Option<i32> {
        let signal = u64::try_from(signal).expect("signals are positive");
        self.request(libc::PTRACE_CONT, 0, signal)
            .expect("a stopped thread can go on");
        self.wait()
    }

    pub(super) fn registers(&self) -> Registers {
        // SAFETY: a structure of integers, which the kernel fills.
        unsafe {
            let mut registers: Registers = std::mem::zeroed();
            let got = libc::ptrace(libc::PTRACE_GETREGS, self.tid, 0_usize, &raw mut registers);
            assert_eq!(got, 0, "registers can be read");
            registers
        }
    }

    pub(super) fn set_registers(&self, registers: &Registers) {
        // SAFETY: the structure is the kernel's own and live.
        let set = unsafe {
            libc::ptrace(
                libc::PTRACE_SETREGS,
                self.tid,
                0_usize,
                std::ptr::from_ref(registers),
            )
        };
        assert_eq!(set, 0, "registers can be written");
    }

    /// Vector and x87 registers, as words.
    pub(super) fn vectors(&self) -> [u64; 64] {
        let mut words = [0; 64];
        assert_eq!(size_of_val(&words), size_of::<libc::user_fpregs_struct>());
        // SAFETY: the array has the size of what the kernel writes.
        let got = unsafe {
            libc::ptrace(
                libc::PTRACE_GETFPREGS,
                self.tid,
                0_usize,
                words.as_mut_ptr(),
            )
        };
        assert_eq!(got, 0, "vector registers can be read");
        words
    }

    /// Reads a word of its memory.
    pub(super) fn peek(&self, address: u64) -> u64 {
        // SAFETY: errno is the thread's own.
        unsafe { *libc::__errno_location() = 0 };
        // SAFETY: reads the child's memory, none of ours.
        let word = unsafe { libc::ptrace(libc::PTRACE_PEEKDATA, self.tid, address, 0_usize) };
        // SAFETY: as above.
        assert_eq!(unsafe { *libc::__errno_location() }, 0, "{address:#x}");
        word.cast_unsigned()
    }

    /// Writes a word of its memory, whatever its protection.
    pub(super) fn poke(&self, address: u64, word: u64) {
        self.request(libc::PTRACE_POKEDATA, address, word)
            .expect("memory of the child can be written");
    }

    /// Lets `signal` through to it although it has blocked all others.
    pub(super) fn unblock(&self, signal: i32) {
        const GET_SIGNAL_MASK: libc::c_uint = 0x420A;
        let mut mask = 0_u64;
        let at = std::ptr::from_mut(&mut mask).expose_provenance() as u64;
        self.request(GET_SIGNAL_MASK, 8, at).expect("a mask");
        let mask = mask & !(1 << (signal - 1));
        let at = std::ptr::from_ref(&mask).expose_provenance() as u64;
        self.request(SET_SIGNAL_MASK, 8, at).expect("a mask");
    }

    /// Runs until one of `places` is reached, whose instruction is not yet executed, or until
    /// another signal stops it. Answers that signal.
    pub(super) fn run_to(&self, places: &[u64], signal: i32) -> Option<i32> {
        let before: Vec<u64> = places.iter().map(|at| self.peek(*at)).collect();
        for (at, word) in places.iter().zip(&before) {
            self.poke(*at, word & !0xFF | 0xCC);
        }
        let mut stopped = self.go_on(signal);
        while stopped == Some(KICK) {
            stopped = self.go_on(KICK);
        }
        if stopped.is_some() {
            for (at, word) in places.iter().zip(&before).rev() {
                self.poke(*at, *word);
            }
            let mut registers = self.registers();
            if stopped == Some(libc::SIGTRAP) && places.contains(&(registers.rip - 1)) {
                registers.rip -= 1;
                self.set_registers(&registers);
                return None;
            }
        }
        stopped
    }
}
