//! Why a text was refused: the rule, the place, the bytes and how they read.

use std::fmt;

use iced_x86::{Decoder, DecoderOptions, Formatter, GasFormatter, Instruction};

use crate::macros;
use crate::policy::Policy;

/// The rules, each named after what it protects. `docs/isolation.md` holds the proof they make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Rule {
    /// The text is a whole number of bundles, inside the slot, and not too long.
    Text,
    /// Every byte belongs to a complete instruction of x86-64.
    Decode,
    /// Only instructions on the allow-list.
    AllowList,
    /// Exactly the prefix bytes that the instruction and its operand need, each once.
    Prefix,
    /// No other encoding choice that means nothing: REX bits, SIB forms, ignored fields.
    Encoding,
    /// No instruction and no macro crosses a bundle boundary.
    Bundle,
    /// Direct branches go to starts of verified instructions, never inside a macro.
    BranchTarget,
    /// Nothing names the return stack pointer; only call and ret move it.
    ReturnStack,
    /// Nothing writes to r14, the base of the slot.
    BaseRegister,
    /// Memory is reached only in the forms that cannot leave the slot.
    Memory,
    /// Indirect branches only as the masked macro.
    Indirect,
    /// Calls through the call table only to its usable entries.
    Trap,
    /// String instructions only as the macros that confine their pointers.
    String,
    /// A call is never the last instruction of the text.
    LastCall,
    /// Entry points are bundle starts in the text.
    Entry,
}

impl Rule {
    /// All rules, in the order in which they are documented.
    pub const ALL: [Rule; 15] = [
        Rule::Text,
        Rule::Decode,
        Rule::AllowList,
        Rule::Prefix,
        Rule::Encoding,
        Rule::Bundle,
        Rule::BranchTarget,
        Rule::ReturnStack,
        Rule::BaseRegister,
        Rule::Memory,
        Rule::Indirect,
        Rule::Trap,
        Rule::String,
        Rule::LastCall,
        Rule::Entry,
    ];

    /// A name that stays the same between versions, for reports and tests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Rule::Text => "text",
            Rule::Decode => "decode",
            Rule::AllowList => "allow-list",
            Rule::Prefix => "prefix",
            Rule::Encoding => "encoding",
            Rule::Bundle => "bundle",
            Rule::BranchTarget => "branch-target",
            Rule::ReturnStack => "return-stack",
            Rule::BaseRegister => "base-register",
            Rule::Memory => "memory",
            Rule::Indirect => "indirect",
            Rule::Trap => "trap",
            Rule::String => "string",
            Rule::LastCall => "last-call",
            Rule::Entry => "entry",
        }
    }

    /// The rule in one sentence, for people whose program was refused.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Rule::Text => "text is whole bundles, inside the slot and at most 256 MiB",
            Rule::Decode => "every byte belongs to a complete x86-64 instruction",
            Rule::AllowList => "only instructions on the allow-list",
            Rule::Prefix => "exactly the prefixes that the instruction needs, each once",
            Rule::Encoding => "no REX bit, SIB byte or ModRM field that means nothing",
            Rule::Bundle => "no instruction or macro crosses a bundle boundary",
            Rule::BranchTarget => "direct branches go to starts of verified instructions",
            Rule::ReturnStack => "nothing names rsp; only call and ret move it",
            Rule::BaseRegister => "nothing writes to r14",
            Rule::Memory => {
                "memory only as %gs:disp(%e..,%e..), %gs:disp or disp(%rip) in the slot"
            }
            Rule::Indirect => "indirect branches only as and/add/jmp of one register in one bundle",
            Rule::Trap => "calls through the call table only to its usable entries",
            Rule::String => "string instructions only behind their pointer macros",
            Rule::LastCall => "a call is never the last instruction of the text",
            Rule::Entry => "entry points are bundle starts in the text",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A refusal: which rule, where, and what stands there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule} rule broken at {address:#x}: {text}: {}", rule.sentence())]
pub struct Rejection {
    /// The rule that does not hold.
    pub rule: Rule,
    /// Slot offset of the instruction.
    pub address: u64,
    /// The instruction's bytes; for something that is none, the bytes that were looked at.
    pub bytes: Vec<u8>,
    /// The instruction as GNU `as` writes it, or what is wrong where there is none.
    pub text: String,
}

/// How many bytes the instruction at the head of `bytes` has, and how it reads. A whole macro is
/// shown whole.
pub(crate) fn describe(
    instruction: &Instruction,
    bytes: &[u8],
    policy: &Policy,
) -> (usize, String) {
    if instruction.is_invalid() {
        return (bytes.len().min(15), "no complete instruction".to_owned());
    }
    let Some(found) = macros::at(bytes, policy) else {
        return (instruction.len(), format(instruction));
    };
    let bytes = &bytes[..found.len];
    let decoder = Decoder::with_ip(64, bytes, instruction.ip(), DecoderOptions::NONE);
    let texts: Vec<String> = decoder.into_iter().map(|i| format(&i)).collect();
    (found.len, texts.join("; "))
}

/// GNU assembler syntax.
fn format(instruction: &Instruction) -> String {
    let mut text = String::new();
    GasFormatter::new().format(instruction, &mut text);
    text
}
