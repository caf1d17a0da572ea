//! Proves x86-64 machine code confined: a pure function from bytes and a policy to a verdict.
//!
//! A guest runs in a slot, 4 GiB of address space whose base is in `%r14` and in gs. A text that
//! [`verify`] accepts can read and write only its slot, execute only the instructions that were
//! verified, and leave only through the call table, whatever its registers and memory hold. The
//! text is read as data: nothing is executed, no system call is made (but for the threads of [`verify_on`]), no state
//! is kept.
//!
//! How the proof goes. Claim: at every step, the next instruction is a verified one or faults,
//! `%r14` and gs are the base, rsp lies on the return stack or faults, the direction flag is clear.
//!
//! - [`verify`] reads the text as one sequence of instructions and macros, none crossing a bundle
//!   boundary ([`Rule::Bundle`]): so each bundle start is an instruction start outside macros.
//! - Each ordinary instruction is on the allow-list and has one reading ([`Rule::AllowList`],
//!   [`Rule::Prefix`], [`Rule::Encoding`]), writes neither `%r14` ([`Rule::BaseRegister`]) nor rsp
//!   ([`Rule::ReturnStack`]), and touches memory only in its slot ([`Rule::Memory`]).
//! - Control goes on to the next instruction; or by a direct branch to a marked start
//!   ([`Rule::BranchTarget`]); or by the macro to a bundle start ([`Rule::Indirect`]); or through
//!   the call table to the host ([`Rule::Trap`]); or by `ret` to where a verified call pushed it:
//!   the return stack is in host memory that no guest operand reaches, so only calls write to it,
//!   and what follows a call is a start inside the text ([`Rule::LastCall`]).
//!
//! What the host owes: the slot's layout of [`policy`], the text mapped exactly as verified and
//! nothing else executable, entry at a verified [`Rule::Entry`], the state above at entry, and a
//! processor with the policy's [`policy::Features`].
//!
//! Not here: files, mapping, running. [`elf`] only reads the bytes of a program.

#![forbid(unsafe_code)]

mod allow;
mod decode;
pub mod elf;
mod macros;
pub mod policy;
mod rejection;
mod rules;
mod starts;
mod walk;

use std::num::NonZeroUsize;
use std::ops::Range;
use std::thread::Builder;

pub use elf::{ElfError, Program, ProgramError, verify_program};
pub use policy::{Bundle, Features, Policy};
use policy::{SLOT_END, TEXT_MAX, ZONE};
pub use rejection::{Rejection, Rule};
use starts::Starts;
use walk::{Walk, refuse};

/// Proof that a text is confined, made only by [`verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    text: [u8; 32],
    len: u64,
    base: u32,
    policy: Policy,
    entries: Vec<u32>,
    instructions: u64,
}

impl Verdict {
    /// The [`verdict_key`] of what was verified.
    #[must_use]
    pub fn key(&self) -> [u8; 32] {
        key(&self.text, self.len, self.base, &self.policy, &self.entries)
    }

    /// BLAKE3 of the text that was verified.
    #[must_use]
    pub fn text_hash(&self) -> [u8; 32] {
        self.text
    }

    /// How many instructions the text has, a macro counted as one.
    #[must_use]
    pub fn instructions(&self) -> u64 {
        self.instructions
    }
}

/// Names what a verdict holds for: the bytes, where they stand, the entry points, the policy and
/// the version of this verifier. A verdict may be remembered under it in memory; on disk only with
/// a MAC, because who writes such a record decides what runs.
#[must_use]
pub fn verdict_key(text: &[u8], base: u32, policy: &Policy, entries: &[u32]) -> [u8; 32] {
    key(
        blake3::hash(text).as_bytes(),
        text.len() as u64,
        base,
        policy,
        entries,
    )
}

fn key(text: &[u8; 32], len: u64, base: u32, policy: &Policy, entries: &[u32]) -> [u8; 32] {
    let mut hash = blake3::Hasher::new_derive_key("zapp verifier verdict");
    hash.update(&policy.id());
    hash.update(&base.to_le_bytes());
    hash.update(&len.to_le_bytes());
    hash.update(text);
    for entry in entries {
        hash.update(&entry.to_le_bytes());
    }
    hash.finalize().into()
}

/// Proves `text`, mapped at slot offset `base`, confined when entered at `entries` or at any bundle
/// start of it.
///
/// # Errors
///
/// The first rule found broken. Nothing of a refused text may run.
pub fn verify(
    text: &[u8],
    base: u32,
    policy: &Policy,
    entries: &[u32],
) -> Result<Verdict, Rejection> {
    verify_on(NonZeroUsize::MIN, text, base, policy, entries)
}

/// Does what [`verify`] does, with the same result, on up to `threads` threads.
///
/// # Errors
///
/// Those of [`verify`].
pub fn verify_on(
    threads: NonZeroUsize,
    text: &[u8],
    base: u32,
    policy: &Policy,
    entries: &[u32],
) -> Result<Verdict, Rejection> {
    let bundle = policy.bundle().size();
    let end = whole_bundles(text, base, bundle)?;
    for &entry in entries {
        if !entry.is_multiple_of(bundle) || entry < base || u64::from(entry) >= end {
            return Err(refuse(
                Rule::Entry,
                entry.into(),
                &[],
                "entry point".to_owned(),
            ));
        }
    }
    let walk = Walk { text, base, policy };
    let read = |part: Range<usize>| {
        let mut starts = Starts::new(text.len());
        let instructions = walk.instructions(part, &mut starts)?;
        Ok::<_, Rejection>((starts, instructions))
    };
    let mut parts = parts(text.len(), threads);
    let first = parts.next().expect("a text is not empty");
    let (starts, instructions) = std::thread::scope(|scope| {
        let others: Vec<_> = parts
            .map(|part| {
                let again = part.clone();
                let spawned = Builder::new().spawn_scoped(scope, move || read(part));
                (again, spawned)
            })
            .collect();
        // In the order of the text, so that the refusal is the one that a single thread would have met.
        let (mut starts, mut instructions) = read(first)?;
        for (part, spawned) in others {
            let (met, count) = match spawned {
                Ok(thread) => thread.join().expect("reading a text does not panic")?,
                // No thread to be had: it takes longer.
                Err(_) => read(part)?,
            };
            starts.join(&met);
            instructions += count;
        }
        Ok::<_, Rejection>((starts, instructions))
    })?;
    walk.branch_targets(&starts)?;
    Ok(Verdict {
        text: blake3::hash(text).into(),
        len: text.len() as u64,
        base,
        policy: *policy,
        entries: entries.to_vec(),
        instructions,
    })
}

/// Cuts a text of `len` bytes into parts for `threads` threads, at bundle starts of every policy.
fn parts(len: usize, threads: NonZeroUsize) -> impl Iterator<Item = Range<usize>> {
    /// Below this a thread costs more than it saves.
    const PART_MIN: usize = 1 << 19;
    let part = len
        .div_ceil(threads.get())
        .max(PART_MIN)
        .next_multiple_of(64);
    (0..len)
        .step_by(part)
        .map(move |start| start..len.min(start + part))
}

/// Whether slot offset `address` follows a call of `text`, which [`verify`] has accepted for `base` and `policy`: the
/// addresses that a return stack of such a guest can hold.
#[must_use]
pub fn follows_call(text: &[u8], base: u32, policy: &Policy, address: u32) -> bool {
    let position = address
        .checked_sub(base)
        .and_then(|position| usize::try_from(position).ok());
    position.is_some_and(|position| Walk { text, base, policy }.follows_call(position))
}

/// *Text is whole bundles, inside the slot and at most 256 MiB.* Returns the slot offset of its end.
fn whole_bundles(text: &[u8], base: u32, bundle: u32) -> Result<u64, Rejection> {
    let end = u64::from(base).saturating_add(text.len() as u64);
    let wrong = if text.is_empty() {
        "empty text"
    } else if text.len() as u64 > u64::from(TEXT_MAX) {
        "text too long"
    } else if !base.is_multiple_of(bundle) || !text.len().is_multiple_of(bundle as usize) {
        "text is not whole bundles"
    } else if base < ZONE || end > SLOT_END {
        "text is outside the slot"
    } else {
        return Ok(end);
    };
    Err(refuse(Rule::Text, base.into(), &[], wrong.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{Policy, Rejection, Rule, Verdict, follows_call, parts, verify, verify_on};
    use std::num::NonZeroUsize;

    const BASE: u32 = 0x2_0000;

    /// One bundle: the bytes, then int3.
    fn one_bundle(bytes: &[u8]) -> Result<Verdict, Rejection> {
        let mut text = [0xCC; 32];
        text[..bytes.len()].copy_from_slice(bytes);
        verify(&text, BASE, &Policy::DEFAULT, &[BASE])
    }

    fn refused(bytes: &[u8]) -> Rule {
        one_bundle(bytes).expect_err("a rule is broken").rule
    }

    #[test]
    fn confined_operand_is_accepted_and_its_bare_twin_refused() {
        one_bundle(&[0x65, 0x67, 0x8B, 0x03]).expect("movl %gs:(%ebx), %eax");
        assert_eq!(refused(&[0x8B, 0x03]), Rule::Memory);
    }

    #[test]
    fn rejection_names_rule_address_bytes_and_text() {
        let rejection = one_bundle(&[0x90, 0x54]).expect_err("push is refused");
        assert_eq!(rejection.rule, Rule::ReturnStack);
        assert_eq!(rejection.address, u64::from(BASE) + 1);
        assert_eq!(rejection.bytes, [0x54]);
        assert_eq!(rejection.text, "push %rsp");
    }

    #[test]
    fn branch_into_macro_is_blamed_on_the_branch() {
        // 1: andl $-32, %eax; addq %r14, %rax; jmp *%rax; then a jump to the addq.
        let code = [0x83, 0xE0, 0xE0, 0x4C, 0x01, 0xF0, 0xFF, 0xE0, 0xEB, 0xF9];
        let rejection = one_bundle(&code).expect_err("the target is interior");
        assert_eq!(
            (rejection.rule, rejection.address),
            (Rule::BranchTarget, 0x2_0008)
        );
        one_bundle(&[&code[..9], &[0xF6]].concat()).expect("the macro's start is a target");
    }

    /// A text of several parts, with `bytes` written over it at an offset.
    fn parted(changes: &[(usize, &[u8])]) -> Vec<u8> {
        let mut text = vec![0xCC; 3 << 20];
        for (at, bytes) in changes {
            text[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        text
    }

    #[test]
    fn parts_on_several_threads_have_the_verdict_of_one() {
        let far = |to: usize, from: usize| {
            let distance = i32::try_from(to).unwrap() - i32::try_from(from + 5).unwrap();
            [&[0xE9][..], &distance.to_le_bytes()].concat()
        };
        let (forth, back) = (far(0x2F_0001, 0x20), far(0x40, 0x2F_0040));
        let into_immediate = far(0x41, 0x2F_0040);
        let immediate: &[u8] = &[0xB8, 1, 2, 3, 4];
        type Case<'a> = (&'a str, Vec<(usize, &'a [u8])>);
        let cases: [Case<'_>; 6] = [
            (
                "jumps between parts",
                vec![(0x20, &forth), (0x2F_0040, &back)],
            ),
            (
                "a jump into an instruction of another part",
                vec![(0x40, immediate), (0x2F_0040, &into_immediate)],
            ),
            (
                "a call at the end of a part",
                vec![((1 << 20) - 5, &[0xE8, 0, 0, 0, 0])],
            ),
            (
                "a call at the end of the text",
                vec![((3 << 20) - 5, &[0xE8, 0, 0, 0, 0])],
            ),
            (
                "a crossing at the end of a part",
                vec![((1 << 20) - 3, immediate)],
            ),
            (
                "two refusals, the first counts",
                vec![(0x2F_0000, &[0x54]), (0x1F_0000, &[0x50])],
            ),
        ];
        for (name, changes) in cases {
            let text = parted(&changes);
            let entries = [BASE];
            let one = verify(&text, BASE, &Policy::DEFAULT, &entries);
            for threads in 2..=5 {
                let threads = NonZeroUsize::new(threads).unwrap();
                let many = verify_on(threads, &text, BASE, &Policy::DEFAULT, &entries);
                assert_eq!(many, one, "{name}, {threads} threads");
            }
        }
        let parts: Vec<_> = parts(3 << 20, NonZeroUsize::new(3).unwrap()).collect();
        assert_eq!(parts, [0..1 << 20, 1 << 20..2 << 20, 2 << 20..3 << 20]);
    }

    #[test]
    fn only_what_follows_a_call_is_a_return_address() {
        let mut text = [0xCC; 96];
        // A call; a masked call; a call of the host; an immediate that looks like a call; a call up to the bundle's end.
        text[..5].copy_from_slice(&[0xE8, 0, 0, 0, 0]);
        text[5..13].copy_from_slice(&[0x83, 0xE0, 0xE0, 0x4C, 0x01, 0xF0, 0xFF, 0xD0]);
        text[13..20].copy_from_slice(&[0x41, 0xFF, 0x96, 0x00, 0xF0, 0x00, 0x00]);
        text[20..25].copy_from_slice(&[0xB8, 0xE8, 0, 0, 0]);
        text[59..64].copy_from_slice(&[0xE8, 0, 0, 0, 0]);
        verify(&text, BASE, &Policy::DEFAULT, &[BASE]).expect("accepted");
        let follows: Vec<u32> = (0..200)
            .filter(|at| follows_call(&text, BASE, &Policy::DEFAULT, BASE + at))
            .collect();
        assert_eq!(follows, [5, 13, 20, 64]);
        assert!(!follows_call(&text, BASE, &Policy::DEFAULT, 5));
    }

    #[test]
    fn same_input_same_key_and_any_change_another() {
        let key = |text: &[u8], base, policy: &Policy| {
            verify(text, base, policy, &[base])
                .expect("int3 is accepted")
                .key()
        };
        let text = [0xCC; 64];
        let first = key(&text, BASE, &Policy::DEFAULT);
        assert_eq!(first, key(&text, BASE, &Policy::DEFAULT));
        assert_ne!(first, key(&text, BASE + 64, &Policy::DEFAULT));
        assert_ne!(first, key(&text[..32], BASE, &Policy::DEFAULT));
        let other = Policy::new(super::Bundle::B64, 1, Policy::DEFAULT.features()).expect("valid");
        assert_ne!(first, key(&text, BASE, &other));
    }
}
