//! The instruction sequences that are accepted only whole, inside one bundle, and never entered in
//! the middle. Each is matched by its bytes, so what it does is what its comment says.

use crate::policy::{CALL_TABLE, Policy};

/// A complete macro at the head of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Match {
    /// Its length in bytes.
    pub(crate) len: usize,
    /// Whether it ends in a call.
    pub(crate) call: bool,
}

/// The macro that `bytes` start with, if they do.
pub(crate) fn at(bytes: &[u8], policy: &Policy) -> Option<Match> {
    match bytes.first()? {
        0x83 => indirect(bytes, policy),
        0x41 => indirect(bytes, policy).or_else(|| trap(bytes, policy)),
        0x89 => string(bytes),
        _ => None,
    }
}

/// The no-operation that `bytes` start with: its length. Only these byte strings are accepted, the
/// multi-byte forms that the vendors' optimisation manuals recommend, so that nothing hides in a
/// no-operation's operand or prefixes.
pub(crate) fn nop(bytes: &[u8]) -> Option<usize> {
    const NOPS: [&[u8]; 11] = [
        &[0x90],
        &[0x66, 0x90],
        &[0x0F, 0x1F, 0x00],
        &[0x0F, 0x1F, 0x40, 0],
        &[0x0F, 0x1F, 0x44, 0, 0],
        &[0x66, 0x0F, 0x1F, 0x44, 0, 0],
        &[0x0F, 0x1F, 0x80, 0, 0, 0, 0],
        &[0x0F, 0x1F, 0x84, 0, 0, 0, 0, 0],
        &[0x66, 0x0F, 0x1F, 0x84, 0, 0, 0, 0, 0],
        &[0x66, 0x2E, 0x0F, 0x1F, 0x84, 0, 0, 0, 0, 0],
        &[0x66, 0x66, 0x2E, 0x0F, 0x1F, 0x84, 0, 0, 0, 0, 0],
    ];
    // What most instructions fail at once; the list decides.
    if !matches!(
        bytes,
        [0x90, ..] | [0x0F, 0x1F, ..] | [0x66, 0x90 | 0x0F | 0x2E | 0x66, ..]
    ) {
        return None;
    }
    NOPS.iter()
        .find(|nop| bytes.starts_with(nop))
        .map(|nop| nop.len())
}

/// Indirect jump or call through one register, neither rsp nor r14:
///
/// ```asm
///     andl $-32, %eX          # [41] 83 E0+x E0   (the bundle size of the policy)
///     addq %r14, %rX          # 4C|4D 01 F0+x
///     jmp  *%rX               # [41] FF E0+x
///     call *%rX               # [41] FF D0+x
/// ```
///
/// The first clears the upper half of rX and makes it a multiple of the bundle size, the second
/// adds the base: the target is a bundle start of this slot, whatever rX was.
fn indirect(bytes: &[u8], policy: &Policy) -> Option<Match> {
    let (high, bytes_and) = match bytes {
        [0x41, rest @ ..] => (1, rest),
        _ => (0, bytes),
    };
    let [0x83, and, mask, rex_add, 0x01, add, rest @ ..] = bytes_and else {
        return None;
    };
    let x = and & 7;
    let is_rsp_or_r14 = (high == 0 && x == 4) || (high == 1 && x == 6);
    if is_rsp_or_r14
        || *and != 0xE0 | x
        || *mask != policy.bundle().mask_byte()
        || *rex_add != 0x4C | high
        || *add != 0xF0 | x
    {
        return None;
    }
    let branch = match (high, rest) {
        (1, [0x41, 0xFF, branch, ..]) | (0, [0xFF, branch, ..]) => *branch,
        _ => return None,
    };
    let call = branch == 0xD0 | x;
    if !call && branch != 0xE0 | x {
        return None;
    }
    Some(Match {
        len: if high == 1 { 10 } else { 8 },
        call,
    })
}

/// Call of the host through a usable entry of the call table:
///
/// ```asm
///     call *0xF000+8*k(%r14)  # 41 FF 96 disp32, k below the policy's number of traps
/// ```
fn trap(bytes: &[u8], policy: &Policy) -> Option<Match> {
    let [0x41, 0xFF, 0x96, d0, d1, d2, d3, ..] = *bytes else {
        return None;
    };
    let offset = u32::from_le_bytes([d0, d1, d2, d3]).checked_sub(CALL_TABLE)?;
    if offset % 8 != 0 || offset / 8 >= policy.traps() {
        return None;
    }
    Some(Match { len: 7, call: true })
}

/// String store and copy, upwards because nothing can set the direction flag:
///
/// ```asm
///     movl %edi, %edi         # 89 FF
///     leaq (%r14,%rdi), %rdi  # 49 8D 3C 3E
///     [rep] stos{b,l,q}       # [F3] AA | AB | 48 AB
/// ```
/// ```asm
///     movl %edi, %edi         # 89 FF
///     leaq (%r14,%rdi), %rdi  # 49 8D 3C 3E
///     movl %esi, %esi         # 89 F6
///     leaq (%r14,%rsi), %rsi  # 49 8D 34 36
///     [rep] movs{b,l,q}       # [F3] A4 | A5 | 48 A5
/// ```
///
/// Both pointers start inside the slot and rise by at most eight bytes a step, so they meet the
/// unmapped end of the slot before they leave it.
fn string(bytes: &[u8]) -> Option<Match> {
    const DESTINATION: &[u8] = &[0x89, 0xFF, 0x49, 0x8D, 0x3C, 0x3E];
    const SOURCE: &[u8] = &[0x89, 0xF6, 0x49, 0x8D, 0x34, 0x36];
    let rest = bytes.strip_prefix(DESTINATION)?;
    let (before, tail, byte, wide) = match rest.strip_prefix(SOURCE) {
        Some(tail) => (12, tail, 0xA4, 0xA5),
        None => (6, rest, 0xAA, 0xAB),
    };
    let (rep, tail) = match tail {
        [0xF3, tail @ ..] => (1, tail),
        _ => (0, tail),
    };
    let operation = match tail {
        [op, ..] if *op == byte || *op == wide => 1,
        [0x48, op, ..] if *op == wide => 2,
        _ => return None,
    };
    Some(Match {
        len: before + rep + operation,
        call: false,
    })
}
