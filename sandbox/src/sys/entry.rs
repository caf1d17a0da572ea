//! The border between host and guest: entering, trapping, leaving.
//!
//! The protocol (kept word for word by the assembly below):
//!
//! * *enter / resume*: `mode = GUEST`, **then** `if cancel == generation` leave, then load the guest's
//!   registers and `ret` to the address on top of its return stack. Store-then-check is what makes a
//!   kick impossible to lose: before the store it finds the check ahead, after it the handler acts.
//! * *trap*: the guest's `call` through the table lands in the gate page, which jumps to the address
//!   in this thread's control block. Switch to the host stack, `mode = HOST`, save the registers,
//!   call the handler. It returns "resume" or "leave".
//! * *leave*: `mode = HOST`, host stack, clean control state, return to the caller of `zapp_enter`. No
//!   Rust frame lies between, so nothing is skipped when a signal handler redirects here.
//!
//! The control block is thread-local storage defined in assembly (local-exec), so that neither the
//! gate nor a signal handler ever calls into the dynamic linker (review F31).

use super::guest::Region;
use super::registers::{MXCSR_DEFAULT, Registers};
use std::arch::{asm, global_asm};
use std::mem::offset_of;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// What the assembly shares with a thread's run: registers, then the way back into Rust.
#[repr(C)]
struct Frame {
    registers: Registers,
    handler: extern "C" fn(*mut Frame) -> u64,
    context: *mut (),
    panicked: bool,
}

/// What other threads may read and write about a running instance.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Control {
    /// Number of the instance that runs now, never reused; 0 when none does.
    pub(crate) generation: AtomicU64,
    /// The generation to be killed. Equal to `generation` = die at the next chance.
    pub(crate) cancel: AtomicU64,
    /// Why, as a number of the caller's.
    pub(crate) reason: AtomicU32,
}

impl Control {
    /// True when the current instance is to die; handlers poll this between units of work.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed) == self.generation.load(Ordering::Relaxed)
    }
}

/// Whether a trap handler wants the guest to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Resume the guest with the registers as they are now.
    Resume,
    /// Do not resume; `enter` returns `Left::Handler`.
    Leave,
}

/// Rust's side of a trap.
pub(crate) trait TrapHandler {
    /// Handles the trap whose registers are given; `registers.rax` becomes the result.
    fn trap(&mut self, registers: &mut Registers) -> Flow;
}

/// A synchronous fault of the guest, as the kernel reported it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub(crate) struct FaultRecord {
    pub(crate) signal: u64,
    pub(crate) address: u64,
    pub(crate) rip: u64,
    /// rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8 to r15.
    pub(crate) registers: [u64; 16],
}

/// Why a guest stopped running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// The trap handler asked for it.
    Handler,
    /// The trap handler panicked: a bug of the host.
    Panicked,
    /// `Control::cancel` named this generation.
    Cancelled,
    /// A fault in guest code.
    Fault(FaultRecord),
    /// A reserved entry of the call table was used.
    ReservedTrap,
    /// The guest returned from its outermost function.
    Returned,
}

const LEFT_HANDLER: u64 = 0;
const LEFT_CANCELLED: u64 = 1;
pub(super) const LEFT_FAULT: u64 = 2;
const LEFT_RESERVED: u64 = 3;
const LEFT_RETURNED: u64 = 4;

pub(super) const MODE_GUEST: u64 = 1;

/// The thread's control block, at the symbol `zapp_tcb` of thread-local storage.
#[repr(C)]
pub(super) struct Tcb {
    pub(super) mode: u64,
    pub(super) host_rsp: u64,
    frame: *mut Frame,
    pub(super) control: *const Control,
    pub(super) gate: usize,
    pub(super) kill: usize,
    pub(super) exit: usize,
    pub(super) left: u64,
    pub(super) base: u64,
    pub(super) fault: FaultRecord,
}

/// This thread's control block.
#[inline]
pub(super) fn tcb() -> *mut Tcb {
    let address: *mut Tcb;
    // SAFETY: computes the address of a thread-local symbol; reads only the thread pointer's
    // self-reference, which the x86-64 TLS ABI puts at %fs:0.
    unsafe {
        asm!(
            "movq %fs:0, {0}",
            "leaq zapp_tcb@tpoff({0}), {0}",
            out(reg) address,
            options(att_syntax, pure, readonly, nostack, preserves_flags)
        );
    }
    address
}

/// Runs a guest in `region` with `registers` until something ends it.
///
/// The guest's code is whatever verified text was placed in the region; `region` only ever gets
/// executable pages from a verified program (see `program`), so entering it is safe.
pub(crate) fn enter<H: TrapHandler>(
    region: &Region,
    registers: &mut Registers,
    control: &Control,
    handler: &mut H,
) -> Left {
    let tcb = tcb();
    assert_eq!(
        registers.base,
        region.base() as u64,
        "the registers belong to this region"
    );
    assert_eq!(
        registers.mxcsr & !0x3F,
        MXCSR_DEFAULT,
        "only sticky bits may differ"
    );
    let mut frame = Frame {
        registers: *registers,
        handler: trampoline::<H>,
        context: (&raw mut *handler).cast(),
        panicked: false,
    };
    // SAFETY: the control block is this thread's own; only this thread and its signal handlers
    // touch it, and the handlers only after `mode` says guest.
    unsafe {
        assert!(
            (*tcb).frame.is_null(),
            "a guest is already running on this thread"
        );
        (*tcb).frame = &raw mut frame;
        (*tcb).control = control;
        (*tcb).gate = (&raw const zapp_gate).addr();
        (*tcb).kill = (&raw const zapp_kill).addr();
        (*tcb).exit = (&raw const zapp_exit).addr();
        (*tcb).left = LEFT_HANDLER;
        (*tcb).base = registers.base;
    }
    set_gs_base(region.base());
    // SAFETY: the frame outlives the call; `rsp` is a valid entry of a return stack whose top
    // address is verified text, and signal handlers are installed (`signal::install`).
    unsafe { zapp_enter(&raw mut frame) };
    // SAFETY: as above; the guest no longer runs.
    let left = unsafe {
        (*tcb).frame = std::ptr::null_mut();
        (*tcb).control = std::ptr::null();
        match (*tcb).left {
            LEFT_HANDLER if frame.panicked => Left::Panicked,
            LEFT_HANDLER => Left::Handler,
            LEFT_CANCELLED => Left::Cancelled,
            LEFT_FAULT => Left::Fault((*tcb).fault),
            LEFT_RESERVED => Left::ReservedTrap,
            _ => Left::Returned,
        }
    };
    *registers = frame.registers;
    left
}

extern "C" fn trampoline<H: TrapHandler>(frame: *mut Frame) -> u64 {
    // SAFETY: called by the gate with the frame `enter` made; the handler and the registers are
    // borrowed by `enter` for the whole run and used by nobody else while a trap is handled.
    let (handler, registers) =
        unsafe { (&mut *(*frame).context.cast::<H>(), &mut (*frame).registers) };
    match catch_unwind(AssertUnwindSafe(|| handler.trap(registers))) {
        Ok(Flow::Resume) => 0,
        Ok(Flow::Leave) => 1,
        Err(_) => {
            // SAFETY: the frame is live; see above.
            unsafe { (*frame).panicked = true };
            1
        }
    }
}

fn set_gs_base(base: usize) {
    static FAST: OnceLock<bool> = OnceLock::new();
    // AT_HWCAP2 bit 1: the kernel allows FSGSBASE instructions (arch/x86 elf.h).
    // SAFETY: getauxval has no memory arguments.
    if *FAST.get_or_init(|| unsafe { libc::getauxval(libc::AT_HWCAP2) } & 2 != 0) {
        // SAFETY: host code does not use %gs, so its base is free for the guest.
        unsafe { asm!("wrgsbase {}", in(reg) base, options(nomem, nostack, preserves_flags)) };
    } else {
        set_gs_base_by_call(base);
    }
}

/// For kernels before 5.9, or with the instructions turned off (review F28).
pub(super) fn set_gs_base_by_call(base: usize) {
    const ARCH_SET_GS: libc::c_int = 0x1001;
    // SAFETY: host code does not use %gs; this call only sets its base.
    let result = unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_SET_GS, base) };
    assert_eq!(result, 0, "arch_prctl(ARCH_SET_GS)");
}

/// A number for the next instance; numbers are never reused, so a late kick hits nobody else.
pub(crate) fn next_generation() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Where the control block lies, seen from the thread pointer.
pub(super) fn tcb_offset() -> i64 {
    let offset: i64;
    // SAFETY: loads a link-time constant.
    unsafe {
        asm!("movq $zapp_tcb@tpoff, {}", out(reg) offset,
            options(att_syntax, pure, nomem, nostack, preserves_flags));
    }
    offset
}

/// The addresses of the entry, exit and gate code.
pub(super) fn border() -> Range<usize> {
    (&raw const zapp_border_begin).addr()..(&raw const zapp_border_end).addr()
}

/// True when `rip` is in the entry, exit and gate code.
pub(super) fn is_border_code(rip: usize) -> bool {
    border().contains(&rip)
}

/// Where a signal handler sends a guest that must stop; `fault` keeps the record already stored.
pub(super) fn leave_address(tcb: *mut Tcb, fault: bool) -> usize {
    // SAFETY: called by the handler on the thread that owns the block.
    unsafe { (*tcb).left = if fault { LEFT_FAULT } else { LEFT_CANCELLED } };
    (&raw const zapp_leave).addr()
}

/// Tells the assembly whether upper vector halves exist and must be cleared.
pub(super) fn detect_vectors() {
    let avx = std::arch::is_x86_feature_detected!("avx");
    // SAFETY: a single byte, always written with the same value, before any guest is entered.
    unsafe { (&raw mut zapp_has_avx).write_volatile(u8::from(avx)) };
}

unsafe extern "C" {
    static zapp_gate: u8;
    static zapp_kill: u8;
    static zapp_exit: u8;
    static zapp_leave: u8;
    static zapp_border_begin: u8;
    static zapp_border_end: u8;
    static mut zapp_has_avx: u8;
    fn zapp_enter(frame: *mut Frame);
}

global_asm!(
    ".pushsection .tbss.zapp_tcb,\"awT\",@nobits",
    ".p2align 6",
    ".globl zapp_tcb",
    ".hidden zapp_tcb",
    ".type zapp_tcb, @object",
    ".size zapp_tcb, {tcb_size}",
    "zapp_tcb: .skip {tcb_size}",
    ".popsection",
    ".pushsection .data.zapp_has_avx,\"aw\",@progbits",
    ".globl zapp_has_avx",
    ".hidden zapp_has_avx",
    "zapp_has_avx: .byte 0",
    ".popsection",
    ".pushsection .text.zapp_border,\"ax\",@progbits",
    ".globl zapp_enter, zapp_gate, zapp_kill, zapp_exit, zapp_leave",
    ".globl zapp_border_begin, zapp_border_end",
    ".hidden zapp_enter",
    ".hidden zapp_gate",
    ".hidden zapp_kill",
    ".hidden zapp_exit",
    ".hidden zapp_leave",
    ".hidden zapp_border_begin",
    ".hidden zapp_border_end",
    ".p2align 6",
    "zapp_border_begin:",
    // ---- enter: rdi = frame -------------------------------------------------------------------
    "zapp_enter:",
    "pushq %rbp",
    "pushq %rbx",
    "pushq %r12",
    "pushq %r13",
    "pushq %r14",
    "pushq %r15",
    "subq $24, %rsp",
    "stmxcsr 8(%rsp)",
    "fnstcw 12(%rsp)",
    "movq %rsp, %fs:zapp_tcb@tpoff+{host_rsp}",
    // Fill the return-stack predictor with addresses that lead nowhere (review F7), and start with
    // an empty x87 stack and the guest's own exception flags.
    "fninit",
    "ldmxcsr {mxcsr}(%rdi)",
    "movl $32, %ecx",
    "1: call 2f",
    "3: pause",
    "lfence",
    "jmp 3b",
    "2: addq $8, %rsp",
    "decl %ecx",
    "jnz 1b",
    // ---- resume: rdi = frame ------------------------------------------------------------------
    "zapp_resume:",
    "movq $1, %fs:zapp_tcb@tpoff+{mode}",
    "movq %fs:zapp_tcb@tpoff+{control}, %rcx",
    "movq {generation}(%rcx), %rdx",
    "cmpq {cancel}(%rcx), %rdx",
    "je zapp_cancelled",
    "cmpb $0, zapp_has_avx(%rip)",
    "je 4f",
    "vzeroupper",
    "4:",
    "movaps {xmm}+0(%rdi), %xmm0",
    "movaps {xmm}+16(%rdi), %xmm1",
    "movaps {xmm}+32(%rdi), %xmm2",
    "movaps {xmm}+48(%rdi), %xmm3",
    "movaps {xmm}+64(%rdi), %xmm4",
    "movaps {xmm}+80(%rdi), %xmm5",
    "movaps {xmm}+96(%rdi), %xmm6",
    "movaps {xmm}+112(%rdi), %xmm7",
    "movaps {xmm}+128(%rdi), %xmm8",
    "movaps {xmm}+144(%rdi), %xmm9",
    "movaps {xmm}+160(%rdi), %xmm10",
    "movaps {xmm}+176(%rdi), %xmm11",
    "movaps {xmm}+192(%rdi), %xmm12",
    "movaps {xmm}+208(%rdi), %xmm13",
    "movaps {xmm}+224(%rdi), %xmm14",
    "movaps {xmm}+240(%rdi), %xmm15",
    "movq {rax}(%rdi), %rax",
    "movq {rbx}(%rdi), %rbx",
    "movq {rbp}(%rdi), %rbp",
    "movq {rsi}(%rdi), %rsi",
    "movq {rdx}(%rdi), %rdx",
    "movq {r8}(%rdi), %r8",
    "movq {r9}(%rdi), %r9",
    "movq {r10}(%rdi), %r10",
    "movq {r12}(%rdi), %r12",
    "movq {r13}(%rdi), %r13",
    "movq {base}(%rdi), %r14",
    "movq {r15}(%rdi), %r15",
    "movq {rsp}(%rdi), %rsp",
    "movq {rdi}(%rdi), %rdi",
    "xorl %ecx, %ecx",
    "xorl %r11d, %r11d",
    "ret",
    // ---- trap: on the return stack, reached through the gate page -----------------------------
    ".p2align 5",
    "zapp_gate:",
    "movq %rsp, %r11",
    "movq %fs:zapp_tcb@tpoff+{host_rsp}, %rsp",
    "movq $0, %fs:zapp_tcb@tpoff+{mode}",
    "cld",
    "movq %fs:zapp_tcb@tpoff+{frame}, %rcx",
    "movq %rax, {rax}(%rcx)",
    "movq %rbx, {rbx}(%rcx)",
    "movq %rbp, {rbp}(%rcx)",
    "movq %rdi, {rdi}(%rcx)",
    "movq %rsi, {rsi}(%rcx)",
    "movq %rdx, {rdx}(%rcx)",
    "movq %r8, {r8}(%rcx)",
    "movq %r9, {r9}(%rcx)",
    "movq %r10, {r10}(%rcx)",
    "movq %r12, {r12}(%rcx)",
    "movq %r13, {r13}(%rcx)",
    "movq %r15, {r15}(%rcx)",
    "movq %r11, {rsp}(%rcx)",
    "movaps %xmm0, {xmm}+0(%rcx)",
    "movaps %xmm1, {xmm}+16(%rcx)",
    "movaps %xmm2, {xmm}+32(%rcx)",
    "movaps %xmm3, {xmm}+48(%rcx)",
    "movaps %xmm4, {xmm}+64(%rcx)",
    "movaps %xmm5, {xmm}+80(%rcx)",
    "movaps %xmm6, {xmm}+96(%rcx)",
    "movaps %xmm7, {xmm}+112(%rcx)",
    "movaps %xmm8, {xmm}+128(%rcx)",
    "movaps %xmm9, {xmm}+144(%rcx)",
    "movaps %xmm10, {xmm}+160(%rcx)",
    "movaps %xmm11, {xmm}+176(%rcx)",
    "movaps %xmm12, {xmm}+192(%rcx)",
    "movaps %xmm13, {xmm}+208(%rcx)",
    "movaps %xmm14, {xmm}+224(%rcx)",
    "movaps %xmm15, {xmm}+240(%rcx)",
    "movq %rcx, %rdi",
    "call *{handler}(%rcx)",
    "movq %fs:zapp_tcb@tpoff+{frame}, %rdi",
    "testl %eax, %eax",
    "jz zapp_resume",
    "jmp zapp_leave",
    // ---- the other two stubs and the way out --------------------------------------------------
    "zapp_kill:",
    "movq ${left_reserved}, %fs:zapp_tcb@tpoff+{left}",
    "jmp zapp_leave",
    "zapp_exit:",
    "movq ${left_returned}, %fs:zapp_tcb@tpoff+{left}",
    "jmp zapp_leave",
    "zapp_cancelled:",
    "movq ${left_cancelled}, %fs:zapp_tcb@tpoff+{left}",
    "zapp_leave:",
    "movq $0, %fs:zapp_tcb@tpoff+{mode}",
    "movq %fs:zapp_tcb@tpoff+{host_rsp}, %rsp",
    "cld",
    "movq %fs:zapp_tcb@tpoff+{frame}, %rdi",
    "stmxcsr {mxcsr}(%rdi)",
    "fninit",
    "fldcw 12(%rsp)",
    "ldmxcsr 8(%rsp)",
    "sfence",
    "cmpb $0, zapp_has_avx(%rip)",
    "je 6f",
    "vzeroupper",
    "6: addq $24, %rsp",
    "popq %r15",
    "popq %r14",
    "popq %r13",
    "popq %r12",
    "popq %rbx",
    "popq %rbp",
    "ret",
    "zapp_border_end:",
    ".popsection",
    tcb_size = const size_of::<Tcb>(),
    mode = const offset_of!(Tcb, mode),
    host_rsp = const offset_of!(Tcb, host_rsp),
    frame = const offset_of!(Tcb, frame),
    control = const offset_of!(Tcb, control),
    left = const offset_of!(Tcb, left),
    generation = const offset_of!(Control, generation),
    cancel = const offset_of!(Control, cancel),
    handler = const offset_of!(Frame, handler),
    rax = const offset_of!(Registers, rax),
    rbx = const offset_of!(Registers, rbx),
    rbp = const offset_of!(Registers, rbp),
    rdi = const offset_of!(Registers, rdi),
    rsi = const offset_of!(Registers, rsi),
    rdx = const offset_of!(Registers, rdx),
    r8 = const offset_of!(Registers, r8),
    r9 = const offset_of!(Registers, r9),
    r10 = const offset_of!(Registers, r10),
    r12 = const offset_of!(Registers, r12),
    r13 = const offset_of!(Registers, r13),
    r15 = const offset_of!(Registers, r15),
    rsp = const offset_of!(Registers, rsp),
    base = const offset_of!(Registers, base),
    mxcsr = const offset_of!(Registers, mxcsr),
    xmm = const offset_of!(Registers, xmm),
    left_reserved = const LEFT_RESERVED,
    left_returned = const LEFT_RETURNED,
    left_cancelled = const LEFT_CANCELLED,
    options(att_syntax)
);

const _: () = assert!(MODE_GUEST == 1);
