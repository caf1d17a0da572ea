//! The processor as an engine: a traced child that has one slot and one return stack mapped, and
//! nothing else, not even the C library it was forked from.
#![expect(
    unsafe_code,
    reason = "tracing a process is a conversation in raw system calls"
)]

use std::ptr;

use crate::random::Random;

use super::generate::{BASE, PAGE};
use super::shared::Shared;

/// Where the slot is.
pub(super) const BASE_ADDRESS: u64 = 0x2A5_0000_0000;
/// The return stack: two pages, between unmapped ones.
pub(super) const STACK: u64 = 0x3C7_1234_5000;
/// Its length.
pub(super) const STACK_LEN: u64 = 0x2000;
/// What the usable entry of the call table holds: nothing is mapped there.
pub(super) const GATE: u64 = 0x3D8_0000_1000;
/// What the first entry of the return stack holds: nothing is mapped there.
pub(super) const EXIT: u64 = 0x3D8_0000_2000;

/// Registers of the child.
pub(super) type State = libc::user_regs_struct;

/// Data that sequences like to point at, filled with random bytes and never reset.
const DATA_OFFSET: u64 = 0x200_0000;
const DATA: u64 = BASE_ADDRESS + DATA_OFFSET;
const DATA_LEN: u64 = 0x1_0000;

/// Sequences after which the memory that they touched is given back.
const TIDY: u64 = 8192;

/// Why the child stopped.
pub(super) enum Stop {
    /// After one instruction.
    Stepped(State),
    /// Instead of one.
    Fault {
        signal: i32,
        code: i32,
        address: u64,
    },
}

/// The traced child.
pub(super) struct Engine {
    child: libc::pid_t,
    text: Shared,
    stack: Shared,
    proto: State,
    /// The only bundle that is not int3.
    lone: Option<usize>,
    tidied: u64,
}

impl Engine {
    /// Forks the child and strips it; nothing if tracing is not allowed here.
    pub(super) fn start(text_len: usize) -> Option<Engine> {
        assert!(
            (text_len as u64) < DATA_OFFSET / 2,
            "the text would meet the data"
        );
        let text = Shared::new(text_len);
        let mut table = Shared::new(PAGE);
        table.write(0, &GATE.to_le_bytes());
        let stack = Shared::new(usize::try_from(STACK_LEN).expect("small"));
        // SAFETY: the child only makes system calls until it stops itself.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "fork failed");
        if child == 0 {
            // SAFETY: as above.
            unsafe { become_guest(&text, table.fd, stack.fd) }
        }
        let mut engine = Engine {
            child,
            text,
            stack,
            proto: zeroed_state(),
            lone: None,
            tidied: 0,
        };
        let Ok(Stop::Fault {
            signal: libc::SIGSTOP,
            ..
        }) = engine.wait()
        else {
            return None;
        };
        engine.proto = engine.get();
        engine.strip();
        engine.fill_data();
        engine.pin();
        Some(engine)
    }

    /// Both processes on one processor: they never run at the same time.
    fn pin(&self) {
        // SAFETY: plain system calls on a set that is made here.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            let here = usize::try_from(libc::sched_getcpu()).unwrap_or(0);
            libc::CPU_SET(here, &mut set);
            libc::sched_setaffinity(self.child, size_of::<libc::cpu_set_t>(), &set);
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set);
        }
    }

    /// Puts code where the child executes it.
    pub(super) fn load(&mut self, text: &[u8]) {
        self.text.write(0, text);
        self.lone = None;
    }

    /// Fills the text with int3 but for one bundle of `text`.
    pub(super) fn load_bundle(&mut self, text: &[u8], offset: usize) {
        match self.lone {
            Some(last) => self.text.write(last, &[0xCC; 32]),
            None => self.text.write(0, &vec![0xCC; self.text.len]),
        }
        self.text.write(offset, &text[offset..offset + 32]);
        self.lone = Some(offset);
    }

    /// Unmaps everything but the slot and the return stack.
    fn strip(&mut self) {
        self.unregister_rseq();
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", self.child))
            .expect("the child's maps can be read");
        let ours = BASE_ADDRESS..BASE_ADDRESS + (1 << 32);
        for line in maps.lines() {
            let range = line.split(' ').next().expect("at least one part");
            let (start, end) = range.split_once('-').expect("a range");
            let [start, end] =
                [start, end].map(|a| u64::from_str_radix(a, 16).expect("an address"));
            if ours.contains(&start) || start == STACK || line.ends_with("[vsyscall]") {
                continue;
            }
            assert_eq!(
                self.call(libc::SYS_munmap, [start, end - start, 0, 0]),
                0,
                "{line}"
            );
        }
        let left = std::fs::read_to_string(format!("/proc/{}/maps", self.child))
            .expect("the child's maps can be read");
        let foreign = left
            .lines()
            .filter(|l| !l.starts_with("2a5") && !l.starts_with("3c7"));
        assert!(
            foreign.into_iter().all(|l| l.ends_with("[vsyscall]")),
            "still mapped:\n{left}"
        );
    }

    /// The kernel writes to the C library's rseq area whenever the child resumes, until told not to.
    fn unregister_rseq(&mut self) {
        const PTRACE_GET_RSEQ_CONFIGURATION: libc::c_uint = 0x420F;
        let mut area = [0_u64; 3];
        // SAFETY: the kernel writes at most 24 bytes to `area`.
        let size = unsafe {
            libc::ptrace(
                PTRACE_GET_RSEQ_CONFIGURATION,
                self.child,
                24_usize,
                area.as_mut_ptr(),
            )
        };
        if size > 0 && area[0] != 0 {
            let (len, signature) = (area[1] & 0xFFFF_FFFF, area[1] >> 32);
            let unregister = self.call(libc::SYS_rseq, [area[0], len, 1, signature]);
            assert_eq!(unregister, 0, "rseq could not be unregistered");
        }
    }

    /// Makes the child do one system call, by two bytes put in its text for the moment.
    fn call(&mut self, number: libc::c_long, arguments: [u64; 4]) -> u64 {
        self.text.write(0, &[0x0F, 0x05, 0xCC]);
        self.lone = None;
        let mut state = self.proto;
        state.rip = BASE_ADDRESS + u64::from(BASE);
        state.rax = u64::try_from(number).expect("positive");
        state.orig_rax = u64::MAX;
        [state.rdi, state.rsi, state.rdx, state.r10] = arguments;
        self.set(&state);
        match self.step() {
            Stop::Stepped(state) => state.rax,
            // A step over a system call is told apart from one over anything else.
            Stop::Fault {
                signal: libc::SIGTRAP,
                code: libc::TRAP_BRKPT,
                ..
            } => self.get().rax,
            Stop::Fault { signal, .. } => panic!("a system call of the child ended in {signal}"),
        }
    }

    fn fill_data(&mut self) {
        let mut random = Random::new(7);
        let bytes: Vec<u8> = (0..DATA_LEN).map(|_| random.byte()).collect();
        let local = libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        };
        let remote = libc::iovec {
            iov_base: ptr::without_provenance_mut(usize::try_from(DATA).expect("64 bits")),
            iov_len: bytes.len(),
        };
        // SAFETY: the local part is a live vector, the remote part is memory of the child.
        let written = unsafe { libc::process_vm_writev(self.child, &local, 1, &remote, 1, 0) };
        assert_eq!(
            written,
            isize::try_from(bytes.len()).expect("small"),
            "the data was not written"
        );
    }

    /// Gives back the pages that sequences have touched, from time to time.
    pub(super) fn tidy(&mut self, sequences: u64) {
        if sequences - self.tidied < TIDY {
            return;
        }
        self.tidied = sequences;
        let start = DATA + DATA_LEN;
        let len = BASE_ADDRESS + (1 << 32) - 0x1_0000 - start;
        let advice = u64::try_from(libc::MADV_DONTNEED).expect("positive");
        assert_eq!(
            self.call(libc::SYS_madvise, [start, len, advice, 0]),
            0,
            "madvise failed"
        );
    }

    /// Registers to start the sequence at `offset` with: pointers into the slot, out of it, to the
    /// return stack, and numbers.
    pub(super) fn random_state(&mut self, random: &mut Random, offset: usize) -> State {
        let len = self.text.len;
        let mut value = || -> u64 {
            let any = random.number();
            match random.below(10) {
                0 => any,
                1 => any & 0xFFFF_FFFF,
                2 => any & 0xFF,
                3 => BASE_ADDRESS + (any & 0xFFFF_FFFF),
                4 => STACK + any % STACK_LEN,
                5 => 0xFFFF_FF00 | any & 0xFF,
                6 => (any & 0xF).wrapping_neg(),
                7 => u64::from(BASE) + any % len as u64,
                _ => DATA_OFFSET + any % (DATA_LEN - 64),
            }
        };
        let mut state = self.proto;
        for register in [
            &mut state.rax,
            &mut state.rbx,
            &mut state.rcx,
            &mut state.rdx,
            &mut state.rsi,
            &mut state.rdi,
            &mut state.rbp,
            &mut state.r8,
            &mut state.r9,
            &mut state.r10,
            &mut state.r11,
            &mut state.r12,
            &mut state.r13,
            &mut state.r15,
        ] {
            *register = value();
        }
        state.fs_base = 0x7F00_0000_0000;
        state.gs_base = BASE_ADDRESS;
        state.r14 = BASE_ADDRESS;
        state.rip = BASE_ADDRESS + u64::from(BASE) + offset as u64;
        state.eflags = 0x202 | random.number() & 0x8D5;
        state.orig_rax = u64::MAX;
        // What earlier calls would have left above rsp: verified places, and the host's exit stub.
        // Sometimes rsp is at the bottom, where a call faults; sometimes at the last entry.
        let words = self.stack.len / 8;
        let first = match random.below(64) {
            0 => random.below(2),
            1..8 => words - 1,
            _ => words - 1 - random.below(32),
        };
        for word in first..words {
            let bundle = random.below(len / 32) as u64 * 32;
            let entry = if random.below(4) == 0 || word == words - 1 {
                EXIT
            } else {
                BASE_ADDRESS + u64::from(BASE) + bundle
            };
            self.stack.write(word * 8, &entry.to_le_bytes());
        }
        state.rsp = STACK + 8 * first as u64;
        if random.below(32) == 0 {
            self.random_vectors(random);
        }
        state
    }

    /// Fills x87 and vector registers; the control words stay those of a guest.
    fn random_vectors(&mut self, random: &mut Random) {
        // SAFETY: the kernel fills and reads a structure of the right size.
        unsafe {
            let mut vectors: libc::user_fpregs_struct = std::mem::zeroed();
            libc::ptrace(
                libc::PTRACE_GETFPREGS,
                self.child,
                0_usize,
                &raw mut vectors,
            );
            assert_eq!(
                vectors.mxcsr & 0xFFC0,
                0x1F80,
                "a sequence changed MXCSR's controls"
            );
            assert_eq!(
                vectors.cwd, 0x37F,
                "a sequence changed the x87 control word"
            );
            for word in &mut vectors.xmm_space {
                *word = u32::try_from(random.number() >> 32).expect("32 bits");
            }
            libc::ptrace(
                libc::PTRACE_SETFPREGS,
                self.child,
                0_usize,
                &raw const vectors,
            );
        }
    }

    /// The words of the return stack.
    pub(super) fn stack_window(&self) -> Vec<u64> {
        (0..self.stack.len)
            .step_by(8)
            .map(|at| self.stack.word(at))
            .collect()
    }

    /// The word at an address of the return stack.
    pub(super) fn stack_word(&self, address: u64) -> u64 {
        self.stack
            .word(usize::try_from(address - STACK).expect("on the return stack"))
    }

    /// Executes one instruction.
    pub(super) fn step(&mut self) -> Stop {
        // SAFETY: the child is stopped and traced by this thread.
        unsafe { libc::ptrace(libc::PTRACE_SINGLESTEP, self.child, 0_usize, 0_usize) };
        self.wait()
            .unwrap_or_else(|status| panic!("the child ended: {status:#x}"))
    }

    /// Executes until something stops the child, and tells the registers then.
    pub(super) fn run(&mut self) -> (Stop, State) {
        // SAFETY: the child is stopped and traced by this thread.
        unsafe { libc::ptrace(libc::PTRACE_CONT, self.child, 0_usize, 0_usize) };
        let stop = self
            .wait()
            .unwrap_or_else(|status| panic!("the child ended: {status:#x}"));
        (stop, self.get())
    }

    pub(super) fn set(&mut self, state: &State) {
        // SAFETY: the child is stopped; the structure is the kernel's own.
        let set = unsafe {
            libc::ptrace(
                libc::PTRACE_SETREGS,
                self.child,
                0_usize,
                ptr::from_ref(state),
            )
        };
        assert_eq!(set, 0, "registers were not taken");
    }

    fn get(&self) -> State {
        let mut state = zeroed_state();
        // SAFETY: as above.
        unsafe { libc::ptrace(libc::PTRACE_GETREGS, self.child, 0_usize, &raw mut state) };
        state
    }

    /// Waits until the child stops; an error is the status with which it ended.
    fn wait(&self) -> Result<Stop, i32> {
        let mut status = 0;
        // SAFETY: `status` is written by the kernel.
        unsafe { libc::waitpid(self.child, &mut status, 0) };
        if !libc::WIFSTOPPED(status) {
            return Err(status);
        }
        // SAFETY: the kernel fills the structure; the address is set for the signals asked about.
        let (code, address) = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            libc::ptrace(libc::PTRACE_GETSIGINFO, self.child, 0_usize, &raw mut info);
            (info.si_code, info.si_addr().addr() as u64)
        };
        let signal = libc::WSTOPSIG(status);
        // A completed step is TRAP_TRACE; int3 is SI_KERNEL.
        if signal == libc::SIGTRAP && code == 2 {
            return Ok(Stop::Stepped(self.get()));
        }
        Ok(Stop::Fault {
            signal,
            code,
            address,
        })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // SAFETY: kills and reaps the child that `start` made.
        unsafe {
            libc::kill(self.child, libc::SIGKILL);
            libc::waitpid(self.child, ptr::null_mut(), 0);
        }
    }
}

fn zeroed_state() -> State {
    // SAFETY: a structure of integers.
    unsafe { std::mem::zeroed() }
}

/// In the child: maps the slot and the return stack, asks to be traced, stops. Never returns.
unsafe fn become_guest(text: &Shared, table: i32, stack: i32) -> ! {
    let map = |address: u64, len: u64, access: i32, flags: i32, fd: i32| {
        let at = ptr::without_provenance_mut(usize::try_from(address).unwrap_or(0));
        let len = usize::try_from(len).unwrap_or(0);
        // SAFETY: the addresses are free in a fresh child; nothing there is in use.
        let mapped = unsafe { libc::mmap(at, len, access, flags | libc::MAP_FIXED, fd, 0) };
        if mapped == libc::MAP_FAILED {
            // SAFETY: ends the child without running anything of the parent's.
            unsafe { libc::_exit(2) };
        }
    };
    let (r, rw) = (libc::PROT_READ, libc::PROT_READ | libc::PROT_WRITE);
    let anonymous = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    map(
        BASE_ADDRESS + 0x1_0000,
        (1 << 32) - 0x2_0000,
        rw,
        anonymous,
        -1,
    );
    map(
        BASE_ADDRESS + 0xF000,
        PAGE as u64,
        r,
        libc::MAP_SHARED,
        table,
    );
    map(
        BASE_ADDRESS + u64::from(BASE),
        text.len as u64,
        r | libc::PROT_EXEC,
        libc::MAP_SHARED,
        text.fd,
    );
    map(STACK, STACK_LEN, rw, libc::MAP_SHARED, stack);
    // SAFETY: plain system calls.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if libc::ptrace(libc::PTRACE_TRACEME, 0, 0_usize, 0_usize) != 0 {
            libc::_exit(1);
        }
        libc::raise(libc::SIGSTOP);
        libc::_exit(3)
    }
}
