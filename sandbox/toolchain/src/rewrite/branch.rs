//! Calls, returns and jumps.

use super::Writer;
use crate::depth::Mode;
use crate::error::Reason;
use crate::flags::is_conditional_jump;
use crate::operand::{Gpr, Mem, RAX, RSP, sandboxed};
use crate::parse::Insn;

impl<'a> Writer<'_, 'a> {
    pub(super) fn branch(&mut self, at: usize, insn: &Insn<'a>) -> Result<(), Reason> {
        let name = insn.mnemonic;
        match (name, insn.operands()) {
            ("ret" | "retq", []) => self.ret(),
            ("ret" | "retq", _) => Err(Reason::Refused(
                "a return that takes arguments off the stack",
            )),
            ("call" | "callq", [target]) => self.call(target),
            ("jmp" | "jmpq", [target]) => match target.strip_prefix('*') {
                Some(place) => self.indirect_jump(at, place),
                None => {
                    self.direct_jump(at, "jmp", target)?;
                    self.cursor.reachable = false;
                    Ok(())
                }
            },
            (_, [target]) if is_conditional_jump(name) => self.direct_jump(at, name, target),
            _ => Err(Reason::Refused("this kind of branch")),
        }
    }

    fn ret(&mut self) -> Result<(), Reason> {
        if let Some(depth) = self.cursor.state.depth.filter(|&depth| depth != 0) {
            return Err(Reason::StackDepth(format!(
                "return with {depth} bytes on the stack"
            )));
        }
        self.raise(8);
        self.line("ret");
        self.cursor.reachable = false;
        Ok(())
    }

    fn call(&mut self, target: &str) -> Result<(), Reason> {
        self.raise(0);
        self.cursor.behind_call = true;
        let Some(place) = target.strip_prefix('*') else {
            let symbol = plain_symbol(target);
            if self.unit.is_missing_weak(symbol) {
                // A symbol that may be missing has address 0, which no direct branch may have as target.
                self.line(format_args!("movl ${symbol},%r11d"));
                self.masked("call", "%r11d", "%r11");
            } else {
                self.line(format_args!("call {symbol}"));
            }
            return Ok(());
        };
        if let Some(symbol) = got_symbol(place) {
            self.line(format_args!("call {symbol}"));
        } else if Gpr::parse(place).is_some_and(|gpr| gpr.number == RAX) {
            // %rax holds neither an argument nor anything the caller still needs.
            self.masked("call", "%eax", "%rax");
        } else {
            self.load_target(place)?;
            self.masked("call", "%r11d", "%r11");
        }
        Ok(())
    }

    /// Brings a code address into %r11d.
    fn load_target(&mut self, place: &str) -> Result<(), Reason> {
        let source = match Gpr::parse(place) {
            Some(gpr) if gpr.number == RSP => return Err(Reason::Refused("a jump to the stack")),
            Some(gpr) => Gpr::named(gpr.number, 32),
            None => sandboxed(&Mem::parse(place)?, self.cursor.above)?,
        };
        self.line(format_args!("movl {source},%r11d"));
        Ok(())
    }

    /// The only form of an indirect branch: the target becomes a bundle start of this slot.
    fn masked(&mut self, branch: &str, low: &str, full: &str) {
        let mask = format!("andl $-32,{low}");
        let base = format!("addq %r14,{full}");
        self.bundled(&[&mask, &base, &format!("{branch} *{full}")]);
    }

    fn direct_jump(&mut self, at: usize, name: &str, target: &str) -> Result<(), Reason> {
        if target == "." || target.starts_with(".+") || target.starts_with(".-") {
            return Err(Reason::Syntax("a jump by distance"));
        }
        let symbol = plain_symbol(target);
        if let Some(label) = self.unit.resolve(at, target)
            && !self.unit.label_use(label).entry
        {
            let above = self
                .flow
                .at(label)
                .map_or(8, |(state, mode)| mode.above(state));
            self.raise(above);
            self.line(format_args!("{name} {symbol}"));
            return Ok(());
        }
        self.leave_function()?;
        if !self.unit.is_missing_weak(symbol) {
            self.line(format_args!("{name} {symbol}"));
        } else if name == "jmp" {
            self.line(format_args!("movl ${symbol},%r11d"));
            self.masked("jmp", "%r11d", "%r11");
        } else {
            return Err(Reason::Refused("a conditional jump to a weak symbol"));
        }
        Ok(())
    }

    /// A tail call: the stack must be as at the entry.
    fn leave_function(&mut self) -> Result<(), Reason> {
        if let Some(depth) = self.cursor.state.depth.filter(|&depth| depth != 0) {
            return Err(Reason::StackDepth(format!(
                "jump to a function with {depth} bytes on the stack"
            )));
        }
        self.raise(8);
        Ok(())
    }

    fn indirect_jump(&mut self, at: usize, place: &str) -> Result<(), Reason> {
        let in_function = match Mem::parse(place)
            .ok()
            .and_then(|mem| self.unit.table(mem.disp))
        {
            Some(_) => true,
            None => !self.flow.goals(at).is_empty(),
        };
        let state = self.cursor.state;
        if in_function && self.cursor.mode == Mode::Close && state.depth == Some(0) {
            return Err(Reason::StackDepth(
                "a computed jump that may be a tail call".into(),
            ));
        }
        if in_function {
            self.raise(self.cursor.mode.above(state));
        } else if let Some(symbol) = got_symbol(place) {
            self.leave_function()?;
            self.line(format_args!("jmp {symbol}"));
            self.cursor.reachable = false;
            return Ok(());
        } else {
            self.leave_function()?;
        }
        self.load_target(place)?;
        self.masked("jmp", "%r11d", "%r11");
        self.cursor.reachable = false;
        Ok(())
    }
}

/// A branch target without the request to go through a procedure linkage table, which no static program has.
fn plain_symbol(target: &str) -> &str {
    target.strip_suffix("@PLT").unwrap_or(target)
}

/// `f` of `f@GOTPCREL(%rip)`.
fn got_symbol(place: &str) -> Option<&str> {
    place.strip_suffix("(%rip)")?.strip_suffix("@GOTPCREL")
}
