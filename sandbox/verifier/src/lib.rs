//! Proves x86-64 machine code confined: a pure function from bytes and a policy to a verdict.
//!
//! A guest runs in a slot, 4 GiB of address space whose base is in `%r14` and in gs. A text that
//! [`verify`] accepts can read and write only its slot, execute only the instructions that were
//! verified, and leave only through the call table, whatever its registers and memory hold. The
//! text is read as data: nothing is executed, no system call is made, no state is kept.
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

use iced_x86::{Decoder, DecoderOptions, Instruction};

use allow::BRANCH;
pub use elf::{ElfError, Program, ProgramError, verify_program};
pub use policy::{Bundle, Features, Policy};
use policy::{SLOT_END, TEXT_MAX, ZONE};
pub use rejection::{Rejection, Rule};
use starts::Starts;

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
    let mut starts = Starts::new(text.len());
    let instructions = walk.instructions(&mut starts)?;
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

/// A text under verification.
#[derive(Clone, Copy)]
struct Walk<'a> {
    text: &'a [u8],
    base: u32,
    policy: &'a Policy,
}

impl<'a> Walk<'a> {
    /// Consumes one whole macro, one no-operation or one ordinary instruction at a time until
    /// exactly the end, marking where each starts. What lies inside a macro is never marked.
    fn instructions(self, starts: &mut Starts) -> Result<u64, Rejection> {
        let bundle = self.policy.bundle().size() as usize;
        let mut decoder = self.decoder(0);
        let mut instruction = Instruction::default();
        let mut position = 0;
        let mut count = 0;
        while position < self.text.len() {
            let rest = &self.text[position..];
            let room = bundle - position % bundle;
            // A macro that does not fit its bundle is no macro: its parts stand for themselves.
            let found = macros::at(&rest[..room.min(rest.len())], self.policy);
            let len = if let Some(found) = found {
                if found.call && found.len == rest.len() {
                    return Err(self.reject(Rule::LastCall, position));
                }
                found.len
            } else if let Some(len) = macros::nop(rest) {
                len
            } else {
                if decoder.position() != position {
                    self.seek(&mut decoder, position);
                }
                decoder.decode_out(&mut instruction);
                self.ordinary(&instruction, position, starts)?
            };
            if len > room {
                return Err(self.reject(Rule::Bundle, position));
            }
            starts.mark(position);
            position += len;
            count += 1;
        }
        Ok(count)
    }

    /// Checks the ordinary instruction at `position` and returns its length.
    fn ordinary(
        self,
        instruction: &Instruction,
        position: usize,
        starts: &mut Starts,
    ) -> Result<usize, Rejection> {
        if instruction.is_invalid() {
            return Err(self.reject(Rule::Decode, position));
        }
        let len = instruction.len();
        let rest = &self.text[position..];
        let facts = rules::ordinary(instruction, &rest[..len], self.policy)
            .map_err(|rule| self.reject(rule, position))?;
        if facts & BRANCH != 0 {
            let target = self
                .offset(instruction.near_branch64())
                .ok_or_else(|| self.reject(Rule::BranchTarget, position))?;
            starts.expect(target);
            if instruction.is_call_near() && len == rest.len() {
                return Err(self.reject(Rule::LastCall, position));
            }
        }
        Ok(len)
    }

    /// *Direct branches go to starts of verified instructions.* Only when all starts are known can
    /// the targets be compared with them; the branch to blame is then searched for.
    fn branch_targets(self, starts: &Starts) -> Result<(), Rejection> {
        let Some(missed) = starts.first_missed() else {
            return Ok(());
        };
        let branch = (0..self.text.len()).find(|&position| {
            if !starts.is_marked(position) {
                return false;
            }
            let instruction = self.decoder(position).decode();
            allow::facts(instruction.code()) & BRANCH != 0
                && self.offset(instruction.near_branch64()) == Some(missed)
        });
        Err(self.reject(Rule::BranchTarget, branch.unwrap_or(missed)))
    }

    /// The index into the text of a slot offset, if it is inside.
    fn offset(self, address: u64) -> Option<usize> {
        let offset = usize::try_from(address.checked_sub(self.base.into())?).ok()?;
        (offset < self.text.len()).then_some(offset)
    }

    /// The slot offset of an index into the text.
    fn address(self, position: usize) -> u64 {
        u64::from(self.base) + position as u64
    }

    fn decoder(self, position: usize) -> Decoder<'a> {
        let mut decoder = Decoder::with_ip(64, self.text, 0, DecoderOptions::NONE);
        self.seek(&mut decoder, position);
        decoder
    }

    fn seek(self, decoder: &mut Decoder<'_>, position: usize) {
        decoder
            .set_position(position)
            .expect("the position is inside the text");
        decoder.set_ip(self.address(position));
    }

    #[cold]
    fn reject(self, rule: Rule, position: usize) -> Rejection {
        let instruction = self.decoder(position).decode();
        let rest = &self.text[position..];
        let (len, text) = rejection::describe(&instruction, rest, self.policy);
        refuse(rule, self.address(position), &rest[..len], text)
    }
}

fn refuse(rule: Rule, address: u64, bytes: &[u8], text: String) -> Rejection {
    Rejection {
        rule,
        address,
        bytes: bytes.to_vec(),
        text,
    }
}

#[cfg(test)]
mod tests {
    use super::{Policy, Rejection, Rule, Verdict, verify};

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
