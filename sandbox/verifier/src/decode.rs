//! From bytes to one instruction whose encoding has exactly one reading.
//!
//! iced-x86 says what an instruction means; this module says that nothing in its bytes is
//! superfluous. A decoder drops duplicate prefixes, prefixes before REX, REX bits that select
//! nothing, ignored fields and needless SIB bytes, and processors of different vendors drop them
//! differently. Refusing all of them gives what re-encoding gives: the bytes are the only ones
//! that mean this instruction in this form, up to the order of legacy prefixes.
//!
//! ```text
//! [65|67|66|F2|F3 …] [REX] opcode: xx | 0F xx | 0F 38 xx | 0F 3A xx  [ModRM [SIB]] [disp] [imm]
//! ```
//!
//! Only these opcode maps occur: the allow-list has no VEX, EVEX, XOP or 3DNow instruction.

use iced_x86::{Instruction, OpKind, Register};

use crate::allow::{Facts, P65, P66, P67, PF2, PF3, PREFIXES, REG0, WIDE};
use crate::rejection::Rule;

/// A legacy prefix that no accepted instruction has: lock, and the segments other than gs.
const FOREIGN: Facts = 1 << 14;

/// Bytes before opcode and operands.
pub(crate) struct Head {
    /// The prefixes met, as the bits of [`Facts`].
    prefixes: Facts,
    /// One of them came twice.
    repeated: bool,
    /// The REX byte, or zero.
    rex: u8,
    /// Another prefix follows REX, so the processor ignores it.
    rex_misplaced: bool,
    /// Index of the first opcode byte.
    opcode: usize,
}

/// Reads prefixes and REX. `bytes` are those of an instruction that iced has decoded.
pub(crate) fn head(bytes: &[u8]) -> Head {
    let mut head = Head {
        prefixes: 0,
        repeated: false,
        rex: 0,
        rex_misplaced: false,
        opcode: 0,
    };
    for &byte in bytes {
        let prefix = legacy_prefix(byte);
        if prefix == 0 {
            if is_rex(byte) {
                head.rex = byte;
                head.opcode += 1;
                let next = bytes.get(head.opcode).copied().unwrap_or(0);
                head.rex_misplaced = legacy_prefix(next) != 0 || is_rex(next);
            }
            break;
        }
        head.repeated |= head.prefixes & prefix != 0;
        head.prefixes |= prefix;
        head.opcode += 1;
    }
    head
}

/// The bit of a legacy prefix byte, or zero.
fn legacy_prefix(byte: u8) -> Facts {
    match byte {
        0x65 => P65,
        0x67 => P67,
        0x66 => P66,
        0xF3 => PF3,
        0xF2 => PF2,
        0xF0 | 0x26 | 0x2E | 0x36 | 0x3E | 0x64 => FOREIGN,
        _ => 0,
    }
}

fn is_rex(byte: u8) -> bool {
    byte & 0xF0 == 0x40
}

/// *Exactly the prefixes that the instruction needs, each once.* `memory` are those that the form
/// of its memory operand demands.
pub(crate) fn prefixes(head: &Head, facts: Facts, memory: Facts) -> Result<(), Rule> {
    if head.prefixes != (facts & PREFIXES) | memory || head.repeated {
        return Err(Rule::Prefix);
    }
    Ok(())
}

/// *No REX bit, SIB byte or ModRM field that means nothing.*
///
/// REX.W is set exactly for the Codes that need it. Each of R, X and B adds eight to the number of
/// one register; so there are as many of them as registers numbered eight and up, or one of them
/// selects nothing. A REX without any bit is there only to turn ah, ch, dh, bh into spl, bpl, sil,
/// dil.
pub(crate) fn encoding(
    instruction: &Instruction,
    bytes: &[u8],
    head: &Head,
    facts: Facts,
) -> Result<(), Rule> {
    let memory = (0..instruction.op_count()).any(|i| instruction.op_kind(i) == OpKind::Memory);
    if head.rex != 0 {
        if head.rex_misplaced {
            return Err(Rule::Encoding);
        }
        if (head.rex & 8 != 0) != (facts & WIDE != 0) {
            return Err(Rule::Encoding);
        }
        if (head.rex & 7).count_ones() != high_registers(instruction, memory) {
            return Err(Rule::Encoding);
        }
        if head.rex == 0x40 && !names_low_byte_register(instruction) {
            return Err(Rule::Encoding);
        }
    }
    if memory || facts & REG0 != 0 {
        let at = modrm_index(bytes, head.opcode);
        let [modrm, sib] = [bytes.get(at), bytes.get(at + 1)].map(|b| b.copied().unwrap_or(0));
        if facts & REG0 != 0 && modrm & 0x38 != 0 {
            return Err(Rule::Encoding);
        }
        if memory && modrm & 0xC7 != 0x05 && modrm & 7 == 4 {
            let index = sib >> 3 & 7 | (head.rex & 2) << 2;
            let disp32_alone = modrm & 0xC0 == 0 && sib & 7 == 5;
            // Without an index, SIB serves a base that ModRM cannot name, or no base at all.
            if index == 4 && (sib & 0xC0 != 0 || sib & 7 != 4 && !disp32_alone) {
                return Err(Rule::Encoding);
            }
        }
    }
    Ok(())
}

/// How many of the registers that the instruction's encoding names are numbered 8 to 15.
fn high_registers(instruction: &Instruction, memory: bool) -> u32 {
    let mut count = 0;
    for i in 0..instruction.op_count() {
        if instruction.op_kind(i) == OpKind::Register {
            count += u32::from(is_high(instruction.op_register(i)));
        }
    }
    if memory {
        count += u32::from(is_high(instruction.memory_base()));
        count += u32::from(is_high(instruction.memory_index()));
    }
    count
}

/// General and vector registers 8 to 15; instruction pointer, x87 and no register are not.
fn is_high(register: Register) -> bool {
    let number = register as u32;
    let within = |first: Register, last: Register| (first as u32..=last as u32).contains(&number);
    within(Register::R8L, Register::R15L)
        || within(Register::R8W, Register::R15W)
        || within(Register::R8D, Register::R15D)
        || within(Register::R8, Register::R15)
        || within(Register::XMM8, Register::XMM15)
}

/// Whether an operand is one of spl, bpl, sil, dil, which exist only with a REX byte.
fn names_low_byte_register(instruction: &Instruction) -> bool {
    (0..instruction.op_count()).any(|i| {
        instruction.op_kind(i) == OpKind::Register
            && matches!(
                instruction.op_register(i),
                Register::SPL | Register::BPL | Register::SIL | Register::DIL
            )
    })
}

/// Index of the ModRM byte behind an opcode of the maps that the allow-list uses.
fn modrm_index(bytes: &[u8], opcode: usize) -> usize {
    match (bytes.get(opcode), bytes.get(opcode + 1)) {
        (Some(0x0F), Some(0x38 | 0x3A)) => opcode + 3,
        (Some(0x0F), _) => opcode + 2,
        _ => opcode + 1,
    }
}
