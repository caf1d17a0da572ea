//! String instructions: their addresses are implicit, so they get a macro or become loops.

use super::Writer;
use crate::error::Reason;
use crate::parse::{Insn, Repeat};

/// Truncates %rdi and adds the base; the verifier knows the exact bytes.
const TARGET: [&str; 2] = ["movl %edi,%edi", "leaq (%r14,%rdi),%rdi"];
const SOURCE: [&str; 2] = ["movl %esi,%esi", "leaq (%r14,%rsi),%rsi"];

impl Writer<'_, '_> {
    /// Writes a string instruction; false if it is none.
    pub(super) fn string(&mut self, insn: &Insn<'_>) -> Result<bool, Reason> {
        let implicit = insn.operands().is_empty()
            || insn
                .operands()
                .iter()
                .any(|operand| matches!(*operand, "(%rdi)" | "%es:(%rdi)"))
                && insn.mnemonic.starts_with("stos");
        let Some((stem, size)) = split_size(insn.mnemonic).filter(|_| implicit) else {
            return Ok(false);
        };
        let (letter, bytes, scratch) = size;
        match (stem, insn.repeat) {
            ("stos" | "movs", Repeat::WhileNotEqual) => {
                return Err(Reason::Refused("repne with a store"));
            }
            ("stos" | "movs", Repeat::None) if letter == 'w' => self.store_two(stem == "movs"),
            ("stos" | "movs", _) if letter == 'w' => {
                return Err(Reason::Refused("a repeated string operation on 2 bytes"));
            }
            ("stos", repeat) => self.store(&format!("stos{letter}"), repeat, false),
            ("movs", repeat) => self.store(&format!("movs{letter}"), repeat, true),
            ("lods", Repeat::None) => {
                let register = match letter {
                    'b' => "%al",
                    'w' => "%ax",
                    'l' => "%eax",
                    _ => "%rax",
                };
                self.line(format_args!("mov{letter} %gs:(%esi),{register}"));
                self.line(format_args!("leal {bytes}(%rsi),%esi"));
            }
            ("cmps" | "scas", repeat) => {
                self.compare(stem == "cmps", letter, bytes, scratch, repeat)
            }
            _ => return Err(Reason::Refused("a repeated load")),
        }
        Ok(true)
    }

    fn store(&mut self, operation: &str, repeat: Repeat, moves: bool) {
        let operation = if repeat == Repeat::None {
            operation.to_owned()
        } else {
            format!("rep {operation}")
        };
        let mut lines = TARGET.to_vec();
        if moves {
            lines.extend(SOURCE);
        }
        lines.push(&operation);
        self.bundled(&lines);
        // Back to region offsets.
        self.line("movl %edi,%edi");
        if moves {
            self.line("movl %esi,%esi");
        }
    }

    /// `movsw` and `stosw`, which have no macro, as plain moves. They leave the flags alone, too.
    fn store_two(&mut self, moves: bool) {
        if moves {
            self.line("movw %gs:(%esi),%r11w");
            self.line("leal 2(%rsi),%esi");
        }
        let register = if moves { "%r11w" } else { "%ax" };
        self.line(format_args!("movw {register},%gs:(%edi)"));
        self.line("leal 2(%rdi),%edi");
    }

    /// `cmps` and `scas`, alone or repeated, as a loop. A count of zero leaves "equal" in the flags, which is what
    /// compilers set before them.
    fn compare(&mut self, two: bool, letter: char, bytes: u32, scratch: &str, repeat: Repeat) {
        let register = match (two, letter) {
            (true, _) => scratch,
            (_, 'b') => "%al",
            (_, 'w') => "%ax",
            (_, 'l') => "%eax",
            _ => "%rax",
        };
        let (again, done) = (self.fresh_label(), self.fresh_label());
        if repeat != Repeat::None {
            self.line("testq %rcx,%rcx");
            self.line(format_args!("je {done}"));
            self.line(format_args!("{again}:"));
        }
        if two {
            self.line(format_args!("mov{letter} %gs:(%esi),{scratch}"));
            self.line(format_args!("leal {bytes}(%rsi),%esi"));
        }
        self.line(format_args!("cmp{letter} %gs:(%edi),{register}"));
        self.line(format_args!("leal {bytes}(%rdi),%edi"));
        if repeat == Repeat::None {
            return;
        }
        self.line("leaq -1(%rcx),%rcx");
        let stop = if repeat == Repeat::WhileEqual {
            "jne"
        } else {
            "je"
        };
        self.line(format_args!("{stop} {done}"));
        self.line("testq %rcx,%rcx");
        self.line(format_args!("jne {again}"));
        if repeat == Repeat::WhileNotEqual {
            // The count ran out on a difference: its flags once more.
            self.line(format_args!("cmp{letter} %gs:-{bytes}(%edi),{register}"));
        }
        self.line(format_args!("{done}:"));
    }
}

/// Splits `movsq` into (`movs`, size); the size is a letter, its bytes, and a scratch register of that width.
fn split_size(mnemonic: &str) -> Option<(&str, (char, u32, &'static str))> {
    let (stem, size) = mnemonic.split_at_checked(4)?;
    if !["movs", "stos", "lods", "cmps", "scas"].contains(&stem) {
        return None;
    }
    Some((
        stem,
        match size {
            "b" => ('b', 1, "%r11b"),
            "w" => ('w', 2, "%r11w"),
            "l" => ('l', 4, "%r11d"),
            "q" => ('q', 8, "%r11"),
            _ => return None,
        },
    ))
}
