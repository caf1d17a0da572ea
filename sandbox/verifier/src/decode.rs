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

use crate::allow::{Facts, P65, P66, P67, PF2, PF3, PREFIXES, REG0, WIDE};
use crate::rejection::Rule;

/// A legacy prefix that no accepted instruction has: lock, and the segments other than gs.
const FOREIGN: Facts = 1 << 14;

/// The byte is a REX prefix.
const REX: Facts = 1 << 15;

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

impl Head {
    /// Reads prefixes and REX. `bytes` are those of an instruction that iced has decoded.
    pub(crate) fn of(bytes: &[u8]) -> Head {
        let mut head = Head {
            prefixes: 0,
            repeated: false,
            rex: 0,
            rex_misplaced: false,
            opcode: 0,
        };
        for &byte in bytes {
            let before = BEFORE_OPCODE[usize::from(byte)];
            if before == 0 {
                break;
            }
            head.opcode += 1;
            if before == REX {
                head.rex = byte;
                let next = bytes.get(head.opcode).copied().unwrap_or(0);
                head.rex_misplaced = BEFORE_OPCODE[usize::from(next)] != 0;
                break;
            }
            head.repeated |= head.prefixes & before != 0;
            head.prefixes |= before;
        }
        head
    }

    /// Whether this prefix was met.
    pub(crate) fn has(&self, prefix: Facts) -> bool {
        self.prefixes & prefix != 0
    }
}

/// What the rules found among an instruction's operands that its encoding must account for.
/// One word, because it is handed on for every instruction.
#[derive(Clone, Copy, Default)]
pub(crate) struct Operands(u32);

impl Operands {
    const MEMORY: u32 = 1 << 16;
    const LOW_BYTE: u32 = 1 << 17;

    /// One more register numbered 8 to 15 is named, if `high`; it is spl, bpl, sil or dil, if
    /// `low_byte`.
    pub(crate) fn name(&mut self, high: bool, low_byte: bool) {
        self.0 += u32::from(high);
        self.0 |= if low_byte { Operands::LOW_BYTE } else { 0 };
    }

    /// One operand is in memory, or is an address.
    pub(crate) fn set_memory(&mut self) {
        self.0 |= Operands::MEMORY;
    }

    pub(crate) fn memory(self) -> bool {
        self.0 & Operands::MEMORY != 0
    }

    fn low_byte(self) -> bool {
        self.0 & Operands::LOW_BYTE != 0
    }

    /// How many registers numbered 8 to 15 are named.
    fn high(self) -> u32 {
        self.0 & 0xFF
    }
}

/// What each byte is in front of an opcode: a legacy prefix, [`REX`], or zero for no prefix.
static BEFORE_OPCODE: [Facts; 256] = {
    let mut table = [0; 256];
    table[0x65] = P65;
    table[0x67] = P67;
    table[0x66] = P66;
    table[0xF3] = PF3;
    table[0xF2] = PF2;
    let foreign = [0xF0, 0x26, 0x2E, 0x36, 0x3E, 0x64];
    let mut i = 0;
    while i < foreign.len() {
        table[foreign[i]] = FOREIGN;
        i += 1;
    }
    let mut rex = 0x40;
    while rex <= 0x4F {
        table[rex] = REX;
        rex += 1;
    }
    table
};

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
    bytes: &[u8],
    head: &Head,
    operands: Operands,
    facts: Facts,
) -> Result<(), Rule> {
    if head.rex != 0 {
        let wide = head.rex & 8 != 0;
        let unused = (head.rex & 7).count_ones() != operands.high();
        let empty = head.rex == 0x40 && !operands.low_byte();
        if head.rex_misplaced || wide != (facts & WIDE != 0) || unused || empty {
            return Err(Rule::Encoding);
        }
    }
    if !operands.memory() && facts & REG0 == 0 {
        return Ok(());
    }
    let at = modrm_index(bytes, head.opcode);
    let [modrm, sib] = [at, at + 1].map(|i| bytes.get(i).copied().unwrap_or(0));
    if facts & REG0 != 0 && modrm & 0x38 != 0 {
        return Err(Rule::Encoding);
    }
    if operands.memory() && modrm & 7 == 4 {
        let index = sib >> 3 & 7 | (head.rex & 2) << 2;
        let disp32_alone = modrm & 0xC0 == 0 && sib & 7 == 5;
        // Without an index, SIB serves a base that ModRM cannot name, or no base at all.
        if index == 4 && (sib & 0xC0 != 0 || sib & 7 != 4 && !disp32_alone) {
            return Err(Rule::Encoding);
        }
    }
    Ok(())
}

/// Index of the ModRM byte behind an opcode of the maps that the allow-list uses.
fn modrm_index(bytes: &[u8], opcode: usize) -> usize {
    match (bytes.get(opcode), bytes.get(opcode + 1)) {
        (Some(0x0F), Some(0x38 | 0x3A)) => opcode + 3,
        (Some(0x0F), _) => opcode + 2,
        _ => opcode + 1,
    }
}
