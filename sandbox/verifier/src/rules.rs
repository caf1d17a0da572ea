//! What one ordinary instruction must satisfy: a function a rule.
//!
//! The order is that of blame: a refusal names the most telling rule that is broken.

use iced_x86::{FlowControl, Instruction, Mnemonic, OpKind, Register};

use crate::allow::{self, Facts, LEA, LISTED, LZCNT, OUT0, OUT1, P65, P67, REGS, TZCNT};
use crate::decode::{self, Head, Operands};
use crate::policy::{Policy, SLOT_END, ZONE};
use crate::rejection::Rule;

/// Bytes that one instruction may touch from its operand's address; none accepted touches more.
const ACCESS_MAX: u64 = 64;

/// Holds one decoded instruction, `bytes` long, to every rule that can be decided from itself.
/// Returns the facts about it.
pub(crate) fn ordinary(
    instruction: &Instruction,
    bytes: &[u8],
    policy: &Policy,
) -> Result<Facts, Rule> {
    let facts = listed(instruction, policy)?;
    let head = Head::of(bytes);
    let operands = operands(instruction, facts)?;
    let demanded = if operands.memory() {
        memory(instruction, &head, facts)?
    } else {
        0
    };
    decode::prefixes(&head, facts, demanded)?;
    decode::encoding(bytes, &head, operands, facts)?;
    Ok(facts)
}

/// *Only instructions on the allow-list.*
fn listed(instruction: &Instruction, policy: &Policy) -> Result<Facts, Rule> {
    let facts = allow::facts(instruction.code());
    let features = policy.features();
    let missing =
        (facts & TZCNT != 0 && !features.tzcnt) || (facts & LZCNT != 0 && !features.lzcnt);
    if facts & LISTED == 0 || missing {
        return Err(blame(instruction));
    }
    Ok(facts)
}

/// Which rule an instruction that is not listed offends most. The answer changes no verdict.
#[cold]
fn blame(instruction: &Instruction) -> Rule {
    match instruction.flow_control() {
        FlowControl::IndirectBranch | FlowControl::IndirectCall => {
            let table = instruction.op_kind(0) == OpKind::Memory
                && instruction.memory_base() == Register::R14
                && instruction.memory_index() == Register::None;
            return if table { Rule::Trap } else { Rule::Indirect };
        }
        FlowControl::Return => return Rule::ReturnStack,
        _ => {}
    }
    // The same mnemonic as scalar moves and compares: these are the string forms.
    let string = matches!(
        instruction.op_kind(0),
        OpKind::MemoryESEDI | OpKind::MemoryESRDI | OpKind::MemorySegESI | OpKind::MemorySegRSI
    ) || matches!(
        instruction.op_kind(1),
        OpKind::MemoryESEDI | OpKind::MemoryESRDI | OpKind::MemorySegESI | OpKind::MemorySegRSI
    );
    if string && instruction.is_string_instruction() {
        return Rule::String;
    }
    if instruction.is_stack_instruction() || instruction.mnemonic() == Mnemonic::Enter {
        return Rule::ReturnStack;
    }
    Rule::AllowList
}

/// What a register means to the rules: a set of the bits below, zero for what no accepted
/// instruction has (segments, control, MMX, wide vectors).
type Class = u8;

/// A general, vector or x87 register.
const KNOWN: Class = 1;
/// rsp and its parts.
const STACK: Class = 2;
/// r14 and its parts.
const BASE: Class = 4;
/// Numbered 8 to 15: named with the help of a REX bit.
const HIGH: Class = 8;
/// spl, bpl, sil, dil: there only with a REX byte.
const LOW_BYTE: Class = 16;
/// Of 32 bits, so that an address made of it is below 2^32.
const BITS_32: Class = 32;

/// The class of each iced register.
static CLASSES: [Class; 256] = classes();

const fn classes() -> [Class; 256] {
    let mut classes = [0; 256];
    let ranges = [
        (Register::AL, Register::R15L, KNOWN),
        (Register::AX, Register::R15W, KNOWN),
        (Register::EAX, Register::R15D, KNOWN | BITS_32),
        (Register::RAX, Register::R15, KNOWN),
        (Register::XMM0, Register::XMM15, KNOWN),
        (Register::ST0, Register::ST7, KNOWN),
        (Register::R8L, Register::R15L, HIGH),
        (Register::R8W, Register::R15W, HIGH),
        (Register::R8D, Register::R15D, HIGH),
        (Register::R8, Register::R15, HIGH),
        (Register::XMM8, Register::XMM15, HIGH),
        (Register::SPL, Register::DIL, LOW_BYTE),
        (Register::SPL, Register::SPL, STACK),
        (Register::SP, Register::SP, STACK),
        (Register::ESP, Register::ESP, STACK),
        (Register::RSP, Register::RSP, STACK),
        (Register::R14L, Register::R14L, BASE),
        (Register::R14W, Register::R14W, BASE),
        (Register::R14D, Register::R14D, BASE),
        (Register::R14, Register::R14, BASE),
    ];
    let mut range = 0;
    while range < ranges.len() {
        let (first, last, class) = ranges[range];
        let mut register = first as usize;
        while register <= last as usize {
            classes[register] |= class;
            register += 1;
        }
        range += 1;
    }
    classes
}

fn class(register: Register) -> Class {
    CLASSES.get(register as usize).copied().unwrap_or(0)
}

/// *Nothing names rsp; nothing writes to r14.* Operand kinds and register classes that no listed
/// instruction has are refused too, should a Code ever gain them.
fn operands(instruction: &Instruction, facts: Facts) -> Result<Operands, Rule> {
    let mut operands = Operands::default();
    for i in 0..instruction.op_count() {
        match instruction.op_kind(i) {
            OpKind::Register => {
                let class = class(instruction.op_register(i));
                if class & STACK != 0 {
                    return Err(Rule::ReturnStack);
                }
                let written = match i {
                    0 => facts & OUT0 != 0,
                    1 => facts & OUT1 != 0,
                    _ => false,
                };
                if class & BASE != 0 && written {
                    return Err(Rule::BaseRegister);
                }
                if class & KNOWN == 0 {
                    return Err(Rule::AllowList);
                }
                operands.name(class & HIGH != 0, class & LOW_BYTE != 0);
            }
            OpKind::Memory => operands.set_memory(),
            OpKind::NearBranch64
            | OpKind::Immediate8
            | OpKind::Immediate16
            | OpKind::Immediate32
            | OpKind::Immediate64
            | OpKind::Immediate8to16
            | OpKind::Immediate8to32
            | OpKind::Immediate8to64
            | OpKind::Immediate32to64 => {}
            _ => return Err(Rule::AllowList),
        }
    }
    if operands.memory() {
        operands.name(class(instruction.memory_base()) & HIGH != 0, false);
        operands.name(class(instruction.memory_index()) & HIGH != 0, false);
    }
    Ok(operands)
}

/// *Memory only in the forms that cannot leave the slot.* Returns the prefixes the form demands.
///
/// ```asm
///     %gs:disp(%eB,%eI,s)     # 65 67: any base, index, displacement; the sum wraps at 2^32
///     %gs:disp                # 65, 0 <= disp <= 0x7FFFFFFF
///     disp(%rip)              # target in [64 KiB, 2^32 - 64 KiB)
///     lea any address         # 67 or nothing: no access
/// ```
///
/// No form has rsp as a part, and gs is the base of the slot: a sum below 2^32 stays in it, but
/// for the width of the access, which the unmapped start of the next slot catches.
fn memory(instruction: &Instruction, head: &Head, facts: Facts) -> Result<Facts, Rule> {
    let (base, index) = (instruction.memory_base(), instruction.memory_index());
    if (class(base) | class(index)) & STACK != 0 {
        return Err(Rule::ReturnStack);
    }
    if facts & REGS != 0 {
        return Err(Rule::Memory);
    }
    if facts & LEA != 0 {
        return address(base, index, head);
    }
    if base == Register::RIP {
        let target = instruction.memory_displacement64();
        let plain = instruction.segment_prefix() == Register::None;
        let inside = plain && target >= u64::from(ZONE) && target <= SLOT_END - ACCESS_MAX;
        return if inside { Ok(0) } else { Err(Rule::Memory) };
    }
    if instruction.segment_prefix() != Register::GS {
        return Err(Rule::Memory);
    }
    if head.has(P67) {
        let part = |r| r == Register::None || class(r) & BITS_32 != 0;
        return if part(base) && part(index) {
            Ok(P65 | P67)
        } else {
            Err(Rule::Memory)
        };
    }
    let absolute = base == Register::None && index == Register::None;
    if absolute && instruction.memory_displacement64() <= 0x7FFF_FFFF {
        return Ok(P65);
    }
    Err(Rule::Memory)
}

/// The address of a lea, which is not accessed: any but one relative to eip, whose encoding is
/// a trap for decoders and which no compiler writes.
fn address(base: Register, index: Register, head: &Head) -> Result<Facts, Rule> {
    let part = |r| r == Register::None || class(r) & KNOWN != 0;
    let relative = base == Register::RIP && !head.has(P67);
    if relative || (part(base) && part(index)) {
        return Ok(if head.has(P67) { P67 } else { 0 });
    }
    Err(Rule::Memory)
}
