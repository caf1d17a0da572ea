//! All other instructions: memory operands change form, a few instructions are replaced, a few have no place here.

use super::Writer;
use crate::error::Reason;
use crate::flags::live_from;
use crate::operand::{Gpr, Mem, R11, RSP, THREAD_POINTER, number, sandboxed};
use crate::parse::{Insn, Repeat};

/// The x87 control word that the host keeps: round to nearest, 64 bits of precision, every exception masked.
const CONTROL_WORD: &str = "$0x37F";

/// The call-table entry all traps go through.
const TRAP: &str = "call *0xF000(%r14)";

impl<'a> Writer<'_, 'a> {
    pub(super) fn plain(&mut self, at: usize, insn: &Insn<'a>) -> Result<(), Reason> {
        let operands = insn.operands();
        if insn.mnemonic == "fldcw" {
            return self.control_word(at, operands);
        }
        if let Some(what) = refused(insn.mnemonic) {
            return Err(Reason::Refused(what));
        }
        // GCC writes `rep bsf` for tzcnt where the result is the same on processors that ignore the prefix.
        let scan = matches!(insn.mnemonic, "bsf" | "bsfw" | "bsfl" | "bsfq")
            && insn.repeat == Repeat::WhileEqual;
        if insn.repeat != Repeat::None && insn.mnemonic != "nop" && !scan {
            return Err(Reason::Refused("a repeat prefix on this instruction"));
        }
        match insn.mnemonic {
            "syscall" => self.line(TRAP),
            // `rep nop` is how old assemblers wrote `pause`.
            "nop" if insn.repeat != Repeat::None => self.line("pause"),
            "nop" if operands.is_empty() => self.line("nop"),
            name if name.starts_with("nop") || matches!(name, "endbr64" | "endbr32" | "cld") => {}
            // A locked `or` of nothing is how compilers write a memory barrier; one thread needs none.
            "or" | "orl" | "orq"
                if operands.len() == 2
                    && operands[0] == "$0"
                    && operands[1].ends_with("(%rsp)") => {}
            name if name.starts_with("lea") => self.lea(insn)?,
            name if name.starts_with("xchg") => self.exchange(insn)?,
            name if name.starts_with("movabs") && !operands[0].starts_with('$') => {
                return Err(Reason::Refused("a 64-bit absolute address"));
            }
            name if is_bit_test(name)
                && operands.len() == 2
                && Gpr::parse(operands[1]).is_none()
                && !operands[0].starts_with('$') =>
            {
                return Err(Reason::Refused(
                    "a bit test with the bit number in a register on memory",
                ));
            }
            name if scan => self.ordinary(&format!("rep {name}"), operands)?,
            name => {
                if !self.linker_constant(insn)? {
                    self.ordinary(cached_form(name, operands), operands)?;
                }
            }
        }
        Ok(())
    }

    /// `fldcw` of the word that holds anyway does nothing; of any other one it would change what the host keeps, and stops
    /// the program. Portable code (gnulib's `fpucw.h`) makes sure of the default around arithmetic with long doubles.
    fn control_word(&mut self, at: usize, operands: &[&str]) -> Result<(), Reason> {
        let [word] = operands else {
            return Err(Reason::Syntax("fldcw has one operand"));
        };
        if self
            .unit
            .next(at)
            .is_some_and(|next| live_from(self.unit, next))
        {
            return Err(Reason::Refused("condition flags kept across fldcw"));
        }
        let same = self.fresh_label();
        let word = self.memory(word)?;
        self.line(format_args!("cmpw {CONTROL_WORD},{word}"));
        self.line(format_args!("je {same}"));
        self.line("ud2");
        self.line(format_args!("{same}:"));
        Ok(())
    }

    /// An instruction that only needs its memory operand in another form.
    fn ordinary(&mut self, name: &str, operands: &[&str]) -> Result<(), Reason> {
        let mut text = String::with_capacity(64);
        text.push_str(name);
        for (index, operand) in operands.iter().enumerate() {
            text.push(if index == 0 { ' ' } else { ',' });
            let register = operand.starts_with('%') && !operand.contains(':');
            if register || operand.starts_with('$') {
                text.push_str(operand);
            } else {
                text.push_str(&self.memory(operand)?);
            }
        }
        self.line(text);
        Ok(())
    }

    fn memory(&mut self, operand: &str) -> Result<String, Reason> {
        let mem = Mem::parse(operand)?;
        if mem.segment.is_none() && may_be_negative(mem.disp) && !mem.base_is(RSP) && !mem.is_rip()
        {
            // The linker takes 32-bit displacements as unsigned where addresses are; `lea` takes them signed.
            let registers = operand[mem.disp.len()..].trim();
            self.line(format_args!("leaq {}{registers},%r11", mem.disp));
            return Ok("%gs:(%r11d)".to_owned());
        }
        let symbol = mem.disp.split(['+', '-']).next().unwrap_or_default();
        if mem.is_rip() && self.unit.is_missing_weak(symbol) {
            // It may be missing, and then lies outside the region for %rip.
            return Ok(format!("%gs:{}", mem.disp));
        }
        sandboxed(&mem, self.cursor.above)
    }

    /// Values that the linker knows, so that no table entry has to be read: `%fs:0`, `x@gottpoff`, `f@GOTPCREL`.
    fn linker_constant(&mut self, insn: &Insn<'_>) -> Result<bool, Reason> {
        let [source, target] = insn.operands() else {
            return Ok(false);
        };
        let Some(gpr) = Gpr::parse(target).filter(|gpr| gpr.bits == 64) else {
            return Ok(false);
        };
        let moves = matches!(insn.mnemonic, "mov" | "movq");
        let low = Gpr::named(gpr.number, 32);
        if *source == "%fs:0" || *source == "%fs:0x0" {
            if moves {
                self.line(format_args!("movl ${THREAD_POINTER},{low}"));
            } else {
                self.line(format_args!("{} ${THREAD_POINTER},{target}", insn.mnemonic));
            }
            return Ok(true);
        }
        let Some(place) = source.strip_suffix("(%rip)") else {
            return Ok(false);
        };
        let lower = place.to_ascii_lowercase();
        if let Some(length) = lower.strip_suffix("@gottpoff").map(str::len) {
            self.line(format_args!(
                "{} ${}@tpoff,{target}",
                insn.mnemonic,
                &place[..length]
            ));
        } else if let Some(length) = lower
            .strip_suffix("@gotpcrel")
            .map(str::len)
            .filter(|_| moves)
        {
            self.line(format_args!("movl ${},{low}", &place[..length]));
        } else if place.contains("@tls") || place.contains("@dtp") {
            return Err(Reason::Refused(
                "a thread-local access model of shared objects",
            ));
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// `xchg` with memory locks the bus; guests have one thread, so three moves do.
    fn exchange(&mut self, insn: &Insn<'_>) -> Result<(), Reason> {
        let [first, second] = insn.operands() else {
            return Err(Reason::Syntax("xchg has two operands"));
        };
        let (register, memory) = match (Gpr::parse(first), Gpr::parse(second)) {
            (Some(_), Some(_)) => {
                self.line(format_args!("{} {first},{second}", insn.mnemonic));
                return Ok(());
            }
            (Some(gpr), None) => (gpr, second),
            (None, Some(gpr)) => (gpr, first),
            (None, None) => return Err(Reason::Syntax("xchg has a register")),
        };
        if register.high {
            return Err(Reason::Refused("xchg of a high byte with memory"));
        }
        let memory = self.memory(memory)?;
        let (name, scratch) = (
            Gpr::named(register.number, register.bits),
            Gpr::named(R11, register.bits),
        );
        self.line(format_args!("mov {memory},{scratch}"));
        self.line(format_args!("mov {name},{memory}"));
        self.line(format_args!("mov {scratch},{name}"));
        Ok(())
    }
}

/// Stores and loads that go past the cache have cached twins with the same result; so has a prefetch for writing.
fn cached_form<'a>(name: &'a str, operands: &[&str]) -> &'a str {
    match name {
        "movnti"
            if operands
                .first()
                .and_then(|name| Gpr::parse(name))
                .is_some_and(|gpr| gpr.bits == 64) =>
        {
            "movq"
        }
        "movnti" | "movntil" => "movl",
        "movntiq" => "movq",
        "movntdq" | "movntdqa" => "movdqa",
        "movntps" => "movaps",
        "movntpd" => "movapd",
        "prefetchw" | "prefetch" | "prefetchwt1" => "prefetcht0",
        _ => name,
    }
}

/// True for a symbol minus so much that the sum may lie below zero: data starts above 0x20000.
fn may_be_negative(disp: &str) -> bool {
    let symbolic = disp.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '.'));
    let less = disp.rsplit_once('-').and_then(|(_, tail)| number(tail));
    symbolic && less.is_some_and(|less| less > 0x1_0000)
}

fn is_bit_test(name: &str) -> bool {
    let stem = name.strip_suffix(['w', 'l', 'q']).unwrap_or(name);
    ["bt", "bts", "btr", "btc"].contains(&stem)
}

/// Instructions the verifier refuses in every form, so that the error names the source line and not an address.
fn refused(name: &str) -> Option<&'static str> {
    Some(match name {
        "cpuid" | "xgetbv" => "asking for the processor's features (cpuid)",
        "rdtsc" | "rdtscp" | "rdpmc" => "reading the time stamp counter",
        "rdrand" | "rdseed" => "the processor's random numbers (use getrandom)",
        "ldmxcsr" | "fldenv" | "fnstenv" | "fstenv" | "frstor" | "fnsave" | "fsave" => {
            "changing the floating-point control state"
        }
        "fxsave" | "fxrstor" | "fxsave64" | "fxrstor64" | "emms" | "femms" => {
            "saving or clearing x87 state"
        }
        "std" => "descending string operations (std)",
        "pushf" | "pushfq" | "popf" | "popfq" | "enter" | "enterq" => {
            "flags or frames on the stack"
        }
        "int" | "sysenter" | "iret" | "iretq" | "into" | "in" | "out" | "cli" | "sti" => {
            "a privileged instruction"
        }
        "clflush" | "clflushopt" | "clwb" | "monitor" | "mwait" => "control of caches",
        "xlat" | "xlatb" | "maskmovdqu" | "maskmovq" => "an implicit memory operand",
        _ if name.starts_with("loop") => "a loop instruction",
        _ if name.starts_with("xsave")
            || name.starts_with("xrstor")
            || name.starts_with("xbegin") =>
        {
            "extended state or transactions"
        }
        _ if name.starts_with("rdfs")
            || name.starts_with("rdgs")
            || name.starts_with("wrfs")
            || name.starts_with("wrgs") =>
        {
            "segment bases"
        }
        _ if name.starts_with('v') && !name.starts_with("ver") => "AVX",
        _ => return None,
    })
}
