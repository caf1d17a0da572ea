//! What one ordinary instruction must satisfy: a function a rule.
//!
//! The order is that of blame: a refusal names the most telling rule that is broken.

use iced_x86::{FlowControl, Instruction, Mnemonic, OpKind, Register};

use crate::allow::{self, Facts, LEA, LISTED, LZCNT, OUT0, OUT1, P65, P67, REGS, TZCNT};
use crate::decode;
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
    registers(instruction, facts)?;
    let demanded = memory(instruction, bytes, facts)?;
    let head = decode::head(bytes);
    decode::prefixes(&head, facts, demanded)?;
    decode::encoding(instruction, bytes, &head, facts)?;
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

/// What an operand register means to the rules.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Free for the guest.
    Free,
    /// rsp and its parts.
    Stack,
    /// r14 and its parts.
    Base,
    /// Anything that no accepted instruction has: segments, control, MMX, wide vectors.
    Foreign,
}

/// The class of each iced register.
static CLASSES: [Class; 256] = classes();

const fn classes() -> [Class; 256] {
    let mut classes = [Class::Foreign; 256];
    let free = [
        (Register::AL, Register::R15L),
        (Register::AX, Register::R15W),
        (Register::EAX, Register::R15D),
        (Register::RAX, Register::R15),
        (Register::XMM0, Register::XMM15),
        (Register::ST0, Register::ST7),
    ];
    let mut range = 0;
    while range < free.len() {
        let mut register = free[range].0 as usize;
        while register <= free[range].1 as usize {
            classes[register] = Class::Free;
            register += 1;
        }
        range += 1;
    }
    let stack = [Register::SPL, Register::SP, Register::ESP, Register::RSP];
    let base = [
        Register::R14L,
        Register::R14W,
        Register::R14D,
        Register::R14,
    ];
    let mut width = 0;
    while width < 4 {
        classes[stack[width] as usize] = Class::Stack;
        classes[base[width] as usize] = Class::Base;
        width += 1;
    }
    classes
}

fn class(register: Register) -> Class {
    CLASSES
        .get(register as usize)
        .copied()
        .unwrap_or(Class::Foreign)
}

/// *Nothing names rsp; nothing writes to r14.* Operand kinds and register classes that no listed
/// instruction has are refused too, should a Code ever gain them.
fn registers(instruction: &Instruction, facts: Facts) -> Result<(), Rule> {
    for i in 0..instruction.op_count() {
        match instruction.op_kind(i) {
            OpKind::Register => match class(instruction.op_register(i)) {
                Class::Free => {}
                Class::Stack => return Err(Rule::ReturnStack),
                Class::Base => {
                    let written = match i {
                        0 => facts & OUT0 != 0,
                        1 => facts & OUT1 != 0,
                        _ => false,
                    };
                    if written {
                        return Err(Rule::BaseRegister);
                    }
                }
                Class::Foreign => return Err(Rule::AllowList),
            },
            OpKind::Memory
            | OpKind::NearBranch64
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
    Ok(())
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
fn memory(instruction: &Instruction, bytes: &[u8], facts: Facts) -> Result<Facts, Rule> {
    if !(0..instruction.op_count()).any(|i| instruction.op_kind(i) == OpKind::Memory) {
        return Ok(0);
    }
    let (base, index) = (instruction.memory_base(), instruction.memory_index());
    if class(base) == Class::Stack || class(index) == Class::Stack {
        return Err(Rule::ReturnStack);
    }
    if facts & REGS != 0 {
        return Err(Rule::Memory);
    }
    if facts & LEA != 0 {
        return address(base, index, bytes);
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
    if has_address_size_prefix(bytes) {
        let part = |r| r == Register::None || is_32_bit(r);
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
fn address(base: Register, index: Register, bytes: &[u8]) -> Result<Facts, Rule> {
    let part = |r| r == Register::None || class(r) != Class::Foreign;
    if base != Register::RIP && !(part(base) && part(index)) {
        return Err(Rule::Memory);
    }
    let narrow = has_address_size_prefix(bytes);
    if base == Register::RIP && narrow {
        return Err(Rule::Memory);
    }
    Ok(if narrow { P67 } else { 0 })
}

fn is_32_bit(register: Register) -> bool {
    (Register::EAX as u32..=Register::R15D as u32).contains(&(register as u32))
}

/// Whether prefix 67 is among the legacy prefixes.
fn has_address_size_prefix(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .take_while(|b| matches!(b, 0x65 | 0x67 | 0x66 | 0xF2 | 0xF3))
        .any(|&b| b == 0x67)
}
