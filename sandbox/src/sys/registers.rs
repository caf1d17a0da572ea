//! The registers of a guest, as the assembly of the border saves and loads them.

/// The registers of a guest at a trap boundary. `%r14` is the base, `%rcx` and `%r11` are always zero,
/// the return address lies on the return stack at `rsp`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub(crate) struct Registers {
    pub(crate) rax: u64,
    pub(crate) rbx: u64,
    pub(crate) rbp: u64,
    pub(crate) rdi: u64,
    pub(crate) rsi: u64,
    pub(crate) rdx: u64,
    pub(crate) r8: u64,
    pub(crate) r9: u64,
    pub(crate) r10: u64,
    pub(crate) r12: u64,
    pub(crate) r13: u64,
    pub(crate) r15: u64,
    /// Host address inside the instance's return stack.
    pub(crate) rsp: u64,
    /// The region's base: what `%r14` and `%gs` hold.
    pub(crate) base: u64,
    /// Only the sticky exception bits ever differ from the default. Loaded at entry and stored when
    /// the guest leaves; traps do not touch it, because trap handlers do no floating-point arithmetic
    /// and reading it costs more than the rest of a trap.
    pub(crate) mxcsr: u64,
    /// Keeps the vectors 16-byte aligned.
    pub(crate) reserved: u64,
    pub(crate) xmm: [u128; 16],
}

/// SSE control word of a fresh process: all exceptions masked, round to nearest.
pub(crate) const MXCSR_DEFAULT: u64 = 0x1F80;

impl Registers {
    /// The six arguments of a trap. Each is read on its own: the processor cannot forward two stores
    /// of the trap entry to one wider load, and waits.
    #[inline]
    pub(crate) fn arguments(&self) -> [u64; 6] {
        [
            &self.rdi, &self.rsi, &self.rdx, &self.r10, &self.r8, &self.r9,
        ]
        .map(|field| {
            // SAFETY: a plain read of a live field.
            unsafe { std::ptr::read_volatile(field) }
        })
    }

    /// The registers a guest can set to anything: the general ones, then the vectors.
    pub(crate) fn of_guest(&self) -> ([u64; 12], [u128; 16]) {
        let general = [
            self.rax, self.rbx, self.rbp, self.rdi, self.rsi, self.rdx, self.r8, self.r9, self.r10,
            self.r12, self.r13, self.r15,
        ];
        (general, self.xmm)
    }

    /// Registers with these of the guest's; base and stack pointer are the slot's to set.
    pub(crate) fn with_guest(general: [u64; 12], xmm: [u128; 16]) -> Registers {
        let [rax, rbx, rbp, rdi, rsi, rdx, r8, r9, r10, r12, r13, r15] = general;
        Registers {
            rax,
            rbx,
            rbp,
            rdi,
            rsi,
            rdx,
            r8,
            r9,
            r10,
            r12,
            r13,
            r15,
            xmm,
            ..Registers::fresh(0, 0)
        }
    }

    /// Everything zero but the base and the return stack pointer.
    pub(crate) fn fresh(base: usize, rsp: usize) -> Registers {
        Registers {
            rsp: rsp as u64,
            base: base as u64,
            mxcsr: MXCSR_DEFAULT,
            ..Registers::default()
        }
    }
}
