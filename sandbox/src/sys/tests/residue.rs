//! Registers across the border: what a guest finds after a trap and at its start is its own or zero,
//! and what it leaves never reaches the host (review E4, F14, F15, F28).

use crate::address::{PageAligned, PageRange};
use crate::layout::TABLE;
use crate::sys::entry::{self, Control, Flow, Left, TrapHandler};
use crate::sys::gate::GatePage;
use crate::sys::guest::{Region, Source};
use crate::sys::memfd::SealedFile;
use crate::sys::registers::{MXCSR_DEFAULT, Registers};
use crate::sys::stack::ReturnStack;
use crate::sys::{signal, thread};
use std::arch::asm;
use std::os::fd::AsFd;

const TEXT: u32 = 0x2_0000;
const TRAP: [u8; 7] = [0x41, 0xFF, 0x96, 0x00, 0xF0, 0x00, 0x00];
/// movq %rcx, %r12; movq %r11, %r13: the two registers that a trap does not keep.
const KEEP: [u8; 6] = [0x49, 0x89, 0xCC, 0x4D, 0x89, 0xDD];
/// fldpi; fldpi; divss %xmm1, %xmm0: two values on the x87 stack, and sticky flags in MXCSR.
const SOIL: [u8; 8] = [0xD9, 0xEB, 0xD9, 0xEB, 0xF3, 0x0F, 0x5E, 0xC1];

/// Leaves something in every register that Rust code may change.
struct Clobber {
    seen: Vec<Registers>,
}

impl TrapHandler for Clobber {
    fn trap(&mut self, registers: &mut Registers) -> Flow {
        self.seen.push(*registers);
        clobber();
        if self.seen.len() == 3 {
            Flow::Leave
        } else {
            Flow::Resume
        }
    }
}

/// Fills the vectors and the registers that a function may change.
fn clobber() {
    const CANARY: u64 = 0xC0DE_C0DE_C0DE_C0DE;
    // SAFETY: only changes registers, all of which are named.
    unsafe {
        asm!(
            "movq {canary}, %xmm0",
            "punpcklqdq %xmm0, %xmm0",
            "movaps %xmm0, %xmm1", "movaps %xmm0, %xmm2", "movaps %xmm0, %xmm3",
            "movaps %xmm0, %xmm4", "movaps %xmm0, %xmm5", "movaps %xmm0, %xmm6",
            "movaps %xmm0, %xmm7", "movaps %xmm0, %xmm8", "movaps %xmm0, %xmm9",
            "movaps %xmm0, %xmm10", "movaps %xmm0, %xmm11", "movaps %xmm0, %xmm12",
            "movaps %xmm0, %xmm13", "movaps %xmm0, %xmm14", "movaps %xmm0, %xmm15",
            canary = in(reg) CANARY,
            inout("rax") CANARY => _, inout("rcx") CANARY => _, inout("rdx") CANARY => _,
            inout("rsi") CANARY => _, inout("rdi") CANARY => _, inout("r8") CANARY => _,
            inout("r9") CANARY => _, inout("r10") CANARY => _, inout("r11") CANARY => _,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _,
            out("xmm5") _, out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _,
            out("xmm10") _, out("xmm11") _, out("xmm12") _, out("xmm13") _, out("xmm14") _,
            out("xmm15") _,
            options(att_syntax, nomem, nostack)
        );
    }
}

/// A slot whose text is `code`, accepted by the verifier and filled up with int3.
struct Bare {
    region: Region,
    stack: ReturnStack,
    _text: SealedFile,
}

fn bare(code: &[u8]) -> Bare {
    let text = SealedFile::new(c"residue", code, 0xCC, true).expect("a sealed file");
    let policy = verifier::Policy::DEFAULT;
    verifier::verify(text.bytes(), TEXT, &policy, &[TEXT]).expect("the guest is accepted");
    bare_unverified(text)
}

/// A slot with any text.
fn bare_unverified(text: SealedFile) -> Bare {
    signal::install().expect("handlers");
    let gate = GatePage::get().expect("a gate page");
    let region = Region::reserve().expect("a region");
    let table = Source::ReadOnly(gate.table().as_fd(), PageAligned::ZERO);
    region.place(TABLE, table).expect("the call table");
    let start = u64::from(TEXT);
    let place = PageRange::checked(start, start + text.len() as u64).expect("pages");
    region
        .place(place, Source::Text(text.as_fd(), PageAligned::ZERO))
        .expect("the text");
    let stack = ReturnStack::new(PageAligned::PAGE).expect("a return stack");
    Bare {
        region,
        stack,
        _text: text,
    }
}

impl Bare {
    fn registers(&self) -> Registers {
        let gate = GatePage::get().expect("a gate page");
        let start = self.region.base() + usize::try_from(TEXT).expect("small");
        Registers::fresh(
            self.region.base(),
            self.stack.fill(&[start, gate.exit_stub()]),
        )
    }

    fn run(&self, registers: &mut Registers) -> (Left, Vec<Registers>) {
        let _prepared = thread::prepare().expect("a thread for guests");
        let control = Control::default();
        control.generation.store(
            entry::next_generation(),
            std::sync::atomic::Ordering::Release,
        );
        let mut handler = Clobber { seen: Vec::new() };
        clobber();
        let left = entry::enter(&self.region, registers, &control, &mut handler);
        (left, handler.seen)
    }
}

#[test]
fn guest_finds_its_own_registers_or_zeroes_after_every_trap() {
    let code = [&TRAP[..], &KEEP, &TRAP, &KEEP].concat();
    let code = [&code[..], &[0x90; 6], &TRAP, &[0xF4]].concat();
    let bare = bare(&code);
    let mut own = bare.registers();
    [own.rax, own.rbx, own.rbp, own.rdi] = [1, 2, 3, 4];
    [own.rsi, own.rdx, own.r8, own.r9] = [5, 6, 7, 8];
    [own.r10, own.r12, own.r13, own.r15] = [9, 10, 11, 12];
    for (number, vector) in own.xmm.iter_mut().enumerate() {
        *vector = 0x1111_2222_3333_4444_5555 + number as u128;
    }
    let start = own;
    let (left, seen) = bare.run(&mut own);
    assert_eq!((left, seen.len()), (Left::Handler, 3));
    let like = |other: &Registers| Registers {
        rsp: start.rsp,
        r12: start.r12,
        r13: start.r13,
        ..*other
    };
    for registers in &seen {
        assert_eq!(like(registers), start);
    }
    for registers in &seen[1..] {
        assert_eq!([registers.r12, registers.r13], [0, 0], "rcx and r11");
    }
}

#[test]
fn guest_starts_with_zeroes() {
    let bare = bare(&[&KEEP[..], &TRAP, &TRAP, &TRAP, &[0xF4]].concat());
    let mut registers = bare.registers();
    let (_, seen) = bare.run(&mut registers);
    let zero = Registers::fresh(bare.region.base(), 0);
    assert_eq!(
        Registers { rsp: 0, ..seen[0] },
        zero,
        "rcx and r11 are in r12 and r13"
    );
}

#[test]
fn host_gets_its_own_control_state_back() {
    let code = [&SOIL[..], &TRAP, &TRAP].concat();
    let code = [&code[..], &[0x90; 10], &TRAP, &[0xF4]].concat();
    let bare = bare(&code);
    let mut registers = bare.registers();
    registers.xmm[0] = u128::from(1.0_f32.to_bits());
    registers.xmm[1] = u128::from(3.0_f32.to_bits());
    let before = control_state();
    let _ = bare.run(&mut registers);
    assert_eq!(control_state(), before);
    assert_eq!(before.tags, 0xFFFF, "the x87 stack is empty");
    assert_eq!(
        registers.mxcsr,
        MXCSR_DEFAULT | 0x20,
        "inexact, for the guest alone"
    );
}

/// What of the processor's state a compiler relies on.
#[derive(Debug, PartialEq, Eq)]
struct ControlState {
    mxcsr: u32,
    control: u16,
    tags: u16,
    direction: bool,
}

fn control_state() -> ControlState {
    let mut mxcsr = 0_u32;
    let mut environment = [0_u32; 7];
    let flags: u64;
    // SAFETY: stores control state to live variables; the environment is loaded back at once.
    unsafe {
        asm!(
            "stmxcsr ({m})",
            "fnstenv ({e})",
            "fldenv ({e})",
            "pushfq",
            "popq {f}",
            m = in(reg) &raw mut mxcsr,
            e = in(reg) &raw mut environment,
            f = out(reg) flags,
            options(att_syntax)
        );
    }
    let low = |word: u32| u16::try_from(word & 0xFFFF).expect("masked");
    ControlState {
        mxcsr: mxcsr & !0x3F,
        control: low(environment[0]),
        tags: low(environment[2]),
        direction: flags & 0x400 != 0,
    }
}

#[test]
fn reserved_entries_of_the_call_table_end_the_guest() {
    // The verifier refuses such a call; the table holds all the same.
    for entry in [1_u32, 2, 255, 511] {
        let place = (0xF000 + 8 * entry).to_le_bytes();
        let code = [&[0x41, 0xFF, 0x96], &place[..], &[0xF4]].concat();
        let text = SealedFile::new(c"reserved", &code, 0xCC, true).expect("a sealed file");
        let policy = verifier::Policy::DEFAULT;
        verifier::verify(text.bytes(), TEXT, &policy, &[]).expect_err("reserved");
        let bare = bare_unverified(text);
        let (left, seen) = bare.run(&mut bare.registers());
        assert_eq!((left, seen.len()), (Left::ReservedTrap, 0), "entry {entry}");
    }
}

#[test]
fn gs_base_can_be_set_by_a_system_call() {
    const ARCH_GET_GS: libc::c_int = 0x1004;
    for base in [0x7A11_0000_0000_usize, 0] {
        entry::set_gs_base_by_call(base);
        let mut now = usize::MAX;
        // SAFETY: writes one word to the live variable.
        let got = unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_GET_GS, &raw mut now) };
        assert_eq!((got, now), (0, base));
    }
}
