//! What the verifier accepts and the slot must catch: accesses and branches at its edges.

use verifier::{Policy, verify};

use super::engine::{BASE_ADDRESS, Engine, STACK, STACK_LEN, State};
use super::generate::{BASE, PAGE};
use super::watch::{End, Watch};
use crate::assemble::assemble;
use crate::random::Random;

/// A fragment of assembly, how it ends, and the state to start it from.
type Case = (&'static str, End, fn(&mut State));

/// Where the engine keeps data that guests may read and write.
const DATA: u64 = 0x200_0000;

/// Runs each fragment, accepted by the verifier, from a state that `prepare` makes, and compares
/// how it ends. Most end in a fault of their own doing; none may escape.
fn ends(cases: &[Case]) {
    let Some(mut engine) = Engine::start(PAGE) else {
        println!("skipped: this process may not trace a child");
        return;
    };
    let sources: Vec<String> = cases
        .iter()
        .map(|(source, ..)| (*source).to_owned())
        .collect();
    let mut random = Random::new(3);
    for ((source, expected, prepare), mut text) in cases.iter().zip(assemble(&sources)) {
        text.resize(PAGE, 0xCC);
        verify(&text, BASE, &Policy::DEFAULT, &[BASE]).expect(source);
        let mut state = engine.random_state(&mut random, 0);
        state.rsp = STACK + STACK_LEN - 8;
        prepare(&mut state);
        engine.load(&text);
        let (_, end) = Watch::new(&text).run(&mut engine, state, 40);
        assert_eq!(end.as_ref(), Ok(expected), "{source}");
    }
}

#[test]
fn indirect_branches_out_of_the_text_fault() {
    const JUMP: &str = "andl $-32, %eax; addq %r14, %rax; jmp *%rax";
    const CALL: &str = "andl $-32, %eax; addq %r14, %rax; call *%rax; hlt";
    ends(&[
        (JUMP, End::NotExecutable, |s| s.rax = DATA),
        (JUMP, End::NotExecutable, |s| s.rax = 0),
        (JUMP, End::NotExecutable, |s| s.rax = 0xFFFF_FFFF),
        (JUMP, End::NotExecutable, |s| s.rax = 0xF000),
        (JUMP, End::NotExecutable, |s| {
            s.rax = 0x1234_5678_0000_0000 + DATA + 31
        }),
        (JUMP, End::NotExecutable, |s| s.rax = STACK),
        (CALL, End::NotExecutable, |s| s.rax = u64::MAX),
        (JUMP, End::Fault, |s| s.rax = u64::from(BASE) + 32),
        (CALL, End::Fault, |s| s.rax = u64::from(BASE) + 0xFE0),
    ]);
}

#[test]
fn falling_off_the_end_of_the_text_faults() {
    ends(&[
        (
            "jmp 1f; .fill 4059, 1, 0xCC; 1: .fill 32, 1, 0x90",
            End::NotExecutable,
            |_| {},
        ),
        (
            "jmp 1f; .fill 4059, 1, 0xCC; 1: .fill 31, 1, 0x90; hlt",
            End::Fault,
            |_| {},
        ),
    ]);
}

#[test]
fn accesses_across_the_upper_end_fault() {
    ends(&[
        ("movb %gs:(%eax), %cl", End::Fault, |s| s.rax = 0xFFFF_FFFF),
        ("movw %gs:(%eax), %cx", End::Fault, |s| s.rax = 0xFFFF_FFFF),
        ("movl %gs:(%eax), %ecx", End::Fault, |s| s.rax = 0xFFFF_FFFF),
        ("movq %gs:(%eax), %rcx", End::Fault, |s| s.rax = 0xFFFF_FFFF),
        ("movq %rcx, %gs:(%eax)", End::Fault, |s| s.rax = 0xFFFF_FFF8),
        ("movups %gs:(%eax), %xmm0", End::Fault, |s| {
            s.rax = 0xFFFF_FFFF
        }),
        ("fldt %gs:(%eax)", End::Fault, |s| s.rax = 0xFFFF_FFFF),
        ("movl %gs:(%eax), %ecx", End::Fault, |s| s.rax = 0),
        ("movl %ecx, %gs:(%eax)", End::Fault, |s| s.rax = 0xF000),
        ("movb $1, %gs:0x20000", End::Fault, |_| {}),
    ]);
}

/// The sum of base, index and displacement wraps at 2^32 and stays in the slot.
#[test]
fn addresses_wrap_inside_the_slot() {
    ends(&[
        (
            "movl %gs:0x7FFFFFF8(%eax,%ecx,8), %edx; hlt",
            End::Fault,
            |s| {
                s.rcx = 0xFFFF_FFFF;
                s.rax = 0xFFFF_FFFF_8000_0000 + 0x10 + DATA;
            },
        ),
        (
            "movq %rdx, %gs:-8(%eax); call *0xF000(%r14); hlt",
            End::Trap,
            |s| s.rax = DATA + 8,
        ),
        (
            "movq %rdx, %gs:(%eax); call *0xF000(%r14); hlt",
            End::Trap,
            |s| {
                s.rax = 0xDEAD_BEEF_0000_0000 + DATA;
            },
        ),
    ]);
}

#[test]
fn return_stack_ends_in_faults() {
    ends(&[
        ("1: call 1b; hlt", End::Fault, |s| s.rsp = STACK),
        ("1: call 1b; hlt", End::Fault, |s| s.rsp = STACK + 8 * 5),
        ("ret", End::Exit, |s| s.rsp = STACK + STACK_LEN - 8),
        ("ret", End::Fault, |s| s.rsp = STACK + STACK_LEN),
        ("call 1f; hlt; 1: ret", End::Fault, |_| {}),
    ]);
}

#[test]
fn string_macros_stay_in_the_slot() {
    const STORE: &str =
        "movl %edi, %edi; leaq (%r14,%rdi), %rdi; rep stosq; call *0xF000(%r14); hlt";
    const COPY: &str = "movl %edi, %edi; leaq (%r14,%rdi), %rdi; movl %esi, %esi; \
                        leaq (%r14,%rsi), %rsi; movsq; call *0xF000(%r14); hlt";
    ends(&[
        (STORE, End::Trap, |s| {
            s.rdi = 0xABCD_0000_0000_0000 + DATA;
            s.rcx = 3;
        }),
        (STORE, End::Fault, |s| {
            s.rdi = 0xFFFE_FFF0;
            s.rcx = u64::MAX;
        }),
        (COPY, End::Trap, |s| {
            s.rdi = DATA;
            s.rsi = BASE_ADDRESS + DATA + 64;
        }),
        (COPY, End::Fault, |s| {
            s.rdi = DATA;
            s.rsi = 0xFFFF_FFFF;
        }),
    ]);
}

#[test]
fn faults_of_their_own_making_end_the_guest() {
    ends(&[
        ("divl %ecx", End::Fault, |s| s.rcx = 0),
        ("hlt", End::Fault, |_| {}),
        ("ud2", End::Fault, |_| {}),
        ("int3", End::Fault, |_| {}),
        ("cmpxchg16b %gs:(%eax)", End::Fault, |s| s.rax = DATA + 8),
        ("movaps %gs:(%eax), %xmm0", End::Fault, |s| s.rax = DATA + 1),
    ]);
}
