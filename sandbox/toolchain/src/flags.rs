//! Which condition flags are live at a label.
//!
//! GCC may keep flags across a table jump (`cmp …; jmp *.L4(,%rdx,8); … .L7: jnb …`). The mask in front of a sandboxed
//! indirect jump changes them, so such a label must be found, or the program is silently wrong.

use crate::parse::{Insn, Kind};
use crate::unit::Unit;

const CF: u8 = 1;
const ZF: u8 = 2;
const SF: u8 = 4;
const OF: u8 = 8;
const PF: u8 = 16;
const ALL: u8 = 31;

/// Flags an instruction reads, and flags it surely defines.
struct Effect {
    reads: u8,
    writes: u8,
}

/// Flags a condition suffix (`e`, `nb`, …) looks at; `None` when it is no condition.
pub(crate) fn condition(suffix: &str) -> Option<u8> {
    Some(match suffix {
        "o" | "no" => OF,
        "b" | "c" | "nae" | "ae" | "nb" | "nc" => CF,
        "e" | "z" | "ne" | "nz" => ZF,
        "be" | "na" | "a" | "nbe" => CF | ZF,
        "s" | "ns" => SF,
        "p" | "pe" | "np" | "po" => PF,
        "l" | "nge" | "ge" | "nl" => SF | OF,
        "le" | "ng" | "g" | "nle" => ZF | SF | OF,
        _ => return None,
    })
}

/// True for `je`, `jnb`, …: conditional jumps on flags.
pub(crate) fn is_conditional_jump(mnemonic: &str) -> bool {
    mnemonic
        .strip_prefix('j')
        .is_some_and(|suffix| condition(suffix).is_some())
}

/// The condition of `set<cc>` and `cmov<cc>[wlq]`.
fn consumer_condition(mnemonic: &str) -> Option<u8> {
    if let Some(suffix) = mnemonic
        .strip_prefix("set")
        .or_else(|| mnemonic.strip_prefix('j'))
    {
        return condition(suffix).or_else(|| condition(suffix.strip_suffix('b')?));
    }
    let suffix = mnemonic.strip_prefix("cmov")?;
    condition(suffix).or_else(|| condition(suffix.strip_suffix(['w', 'l', 'q'])?))
}

/// Instructions that define every flag (or leave those they do not define undefined, which compilers never read).
const DEFINERS: [&str; 24] = [
    "add", "sub", "cmp", "test", "and", "or", "xor", "neg", "imul", "mul", "div", "idiv", "sal",
    "shl", "sar", "shr", "shld", "shrd", "xadd", "cmpxchg", "bsf", "bsr", "popcnt", "sahf",
];
const VECTOR_DEFINERS: [&str; 14] = [
    "comiss",
    "comisd",
    "ucomiss",
    "ucomisd",
    "ptest",
    "fcomi",
    "fcomip",
    "fucomi",
    "fucomip",
    "pcmpistri",
    "pcmpistrm",
    "pcmpestri",
    "pcmpestrm",
    "fcompi",
];

fn effect(insn: &Insn<'_>) -> Effect {
    let name = insn.mnemonic;
    if let Some(reads) = consumer_condition(name) {
        return Effect { reads, writes: 0 };
    }
    let stem = name.strip_suffix(['b', 'w', 'l', 'q']).unwrap_or(name);
    let either = |list: &[&str]| list.contains(&name) || list.contains(&stem);
    if either(&["adc", "sbb"]) {
        Effect {
            reads: CF,
            writes: ALL,
        }
    } else if either(&["inc", "dec"]) {
        Effect {
            reads: 0,
            writes: ALL & !CF,
        }
    } else if either(&["rcl", "rcr", "cmc"]) {
        Effect {
            reads: CF,
            writes: CF,
        }
    } else if either(&["stc", "clc", "bt", "bts", "btr", "btc"]) {
        Effect {
            reads: 0,
            writes: CF,
        }
    } else if name == "lahf" || name.starts_with("pushf") {
        Effect {
            reads: ALL,
            writes: 0,
        }
    } else if name.starts_with("fcmov") {
        Effect {
            reads: CF | ZF | PF,
            writes: 0,
        }
    } else if either(&DEFINERS) || VECTOR_DEFINERS.contains(&name) {
        Effect {
            reads: 0,
            writes: ALL,
        }
    } else {
        Effect {
            reads: 0,
            writes: 0,
        }
    }
}

/// True if some flag may be read after `start` before it is defined again.
pub(crate) fn live_from(unit: &Unit<'_>, start: usize) -> bool {
    let mut pending = vec![(start, ALL)];
    // Flags still looked for at each label passed, so that loops end.
    let mut seen: Vec<(usize, u8)> = Vec::new();
    while let Some((mut at, mut wanted)) = pending.pop() {
        loop {
            match &unit.items[at].kind {
                Kind::Label(_) => {
                    match seen.iter_mut().find(|(label, _)| *label == at) {
                        Some((_, mask)) if *mask & wanted == wanted => break,
                        Some((_, mask)) => *mask |= wanted,
                        None => seen.push((at, wanted)),
                    };
                }
                Kind::Insn(insn) => {
                    let effect = effect(insn);
                    if effect.reads & wanted != 0 {
                        return true;
                    }
                    wanted &= !effect.writes;
                    if wanted == 0 || ends(insn.mnemonic) {
                        break;
                    }
                    if insn.mnemonic.starts_with('j') {
                        let target = insn
                            .last()
                            .and_then(|target| unit.resolve(at, target.trim_end_matches("@PLT")));
                        if let Some(target) = target {
                            pending.push((target, wanted));
                        }
                        if matches!(insn.mnemonic, "jmp" | "jmpq") {
                            break;
                        }
                    }
                }
                _ => {}
            }
            match unit.next(at) {
                Some(next) => at = next,
                None => break,
            }
        }
    }
    false
}

/// Calls, returns and traps leave no flag that the code behind them reads.
fn ends(mnemonic: &str) -> bool {
    matches!(
        mnemonic,
        "call" | "callq" | "ret" | "retq" | "ud2" | "hlt" | "syscall"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(text: &str) -> bool {
        let unit = Unit::new(crate::parse::parse(text).expect("well formed"));
        let start = unit.resolve(0, "here").expect("label exists");
        live_from(&unit, start)
    }

    #[test]
    fn a_reader_before_a_definer_is_live() {
        assert!(live(".text\nhere: movl %eax,%edx\njnb other\nother: ret\n"));
        assert!(live(".text\nhere: jmp far\nret\nfar: setb %al\nret\n"));
        assert!(live(".text\nhere: incl %eax\nadcl $0,%edx\nret\n"));
        assert!(live(".text\nhere: bt $3,%eax\nje here\nret\n"));
    }

    #[test]
    fn a_definer_before_every_reader_is_dead() {
        assert!(!live(".text\nhere: cmpl $1,%eax\njnb other\nother: ret\n"));
        assert!(!live(".text\nhere: bt $3,%eax\njc here\nret\n"));
        assert!(!live(".text\nhere: call f\nje here\n"));
        assert!(!live(".text\nhere: movl %eax,%edx\njmp here\n"));
    }
}
