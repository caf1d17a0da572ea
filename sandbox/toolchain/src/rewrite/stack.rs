//! Instructions that change or read the stack pointer.

use super::Writer;
use crate::depth::{StackOp, State, stack_op};
use crate::error::Reason;
use crate::flags::live_from;
use crate::operand::{Gpr, Mem, RSP, displaced, number, sandboxed};
use crate::parse::{Insn, Kind};

impl<'a> Writer<'_, 'a> {
    /// Moves P to `above` bytes over V; no flag changes.
    pub(super) fn raise(&mut self, above: i64) {
        let by = above - self.cursor.above;
        if by != 0 {
            self.line(format_args!("leal {by}(%rbx),%ebx"));
            self.cursor.above = above;
        }
    }

    /// Refuses instructions that touch the place of the return address, which holds none here.
    pub(super) fn return_address(&self, insn: &Insn<'_>) -> Result<(), Reason> {
        let State { depth, frame } = self.cursor.state;
        let barrier = insn.mnemonic.starts_with("or") && insn.operands().first() == Some(&"$0");
        if barrier || insn.mnemonic.starts_with("lea") || insn.mnemonic.starts_with("nop") {
            return Ok(());
        }
        for operand in insn
            .operands()
            .iter()
            .filter(|text| text.ends_with(')') && !text.starts_with("%st"))
        {
            let mem = Mem::parse(operand.trim_start_matches('*'))?;
            let below = match mem.base {
                Some("%rsp") => depth,
                Some("%rbp") => frame,
                _ => None,
            };
            if let (Some(below), Some(disp), None) = (below, number(mem.disp), mem.index)
                && (0..8).contains(&(disp - i64::from(below)))
            {
                return Err(Reason::ReturnAddress);
            }
        }
        Ok(())
    }

    /// Writes an instruction that has to do with the stack pointer; false if it has nothing to do with it.
    pub(super) fn stack(
        &mut self,
        at: usize,
        insn: &Insn<'a>,
        next: State,
    ) -> Result<bool, Reason> {
        match stack_op(insn)? {
            StackOp::None => return self.read_stack_pointer(insn),
            StackOp::Push => self.push(insn)?,
            StackOp::Pop => self.pop(insn)?,
            StackOp::Adjust(by) => {
                if !insn.mnemonic.starts_with("lea") && self.flags_used(at) {
                    return Err(Reason::StackDepth(
                        "flags of stack arithmetic are used".into(),
                    ));
                }
                self.cursor.above -= by;
            }
            StackOp::Set { register, disp } => self.set(at, register, disp, next)?,
            StackOp::Leave => self.leave(),
            StackOp::Compute => self.compute(at, insn)?,
        }
        Ok(true)
    }

    fn flags_used(&self, at: usize) -> bool {
        self.unit
            .next(at)
            .is_some_and(|next| live_from(self.unit, next))
    }

    fn push(&mut self, insn: &Insn<'_>) -> Result<(), Reason> {
        let [source] = insn.operands() else {
            return Err(Reason::Syntax("push has one operand"));
        };
        let slot = self.cursor.above + 8;
        let value = if source.starts_with('$') {
            (*source).to_owned()
        } else if let Some(gpr) = Gpr::parse(source) {
            if gpr.bits != 64 {
                return Err(Reason::Refused("a push of 2 bytes"));
            }
            if gpr.number == RSP {
                self.line(format_args!("leal {}(%rbx),%r11d", -self.cursor.above));
                "%r11".to_owned()
            } else {
                (*source).to_owned()
            }
        } else {
            let mem = sandboxed(&Mem::parse(source)?, self.cursor.above)?;
            self.line(format_args!("movq {mem},%r11"));
            "%r11".to_owned()
        };
        self.line(format_args!("movq {value},%gs:-{slot}(%ebx)"));
        self.cursor.above = slot;
        Ok(())
    }

    fn pop(&mut self, insn: &Insn<'_>) -> Result<(), Reason> {
        let [target] = insn.operands() else {
            return Err(Reason::Syntax("pop has one operand"));
        };
        let source = format!("%gs:{}(%ebx)", displaced("", -self.cursor.above));
        self.cursor.above -= 8;
        match Gpr::parse(target) {
            Some(gpr) if gpr.bits == 64 && gpr.number != RSP => {
                self.line(format_args!("movq {source},{target}"))
            }
            Some(_) => {
                return Err(Reason::Refused(
                    "a pop of 2 bytes or into the stack pointer",
                ));
            }
            None => {
                let mem = sandboxed(&Mem::parse(target)?, self.cursor.above)?;
                self.line(format_args!("movq {source},%r11"));
                self.line(format_args!("movq %r11,{mem}"));
            }
        }
        Ok(())
    }

    /// V = register + displacement.
    fn set(&mut self, at: usize, register: &str, disp: i64, next: State) -> Result<(), Reason> {
        let gpr = Gpr::parse(register).ok_or(Reason::Syntax("register expected"))?;
        if let (Some(before), Some(after)) = (self.cursor.state.depth, next.depth) {
            self.cursor.above -= i64::from(before - after);
            return Ok(());
        }
        self.refuse_jump_behind(at)?;
        // With a known frame P can go straight to where `ret` wants it.
        let above = next.depth.map_or(0, |depth| i64::from(depth) + 8);
        match disp + above {
            0 => self.line(format_args!("movl {},%ebx", Gpr::named(gpr.number, 32))),
            disp => self.line(format_args!(
                "leal {disp}({}),%ebx",
                Gpr::named(gpr.number, 64)
            )),
        }
        self.cursor.above = above;
        Ok(())
    }

    fn leave(&mut self) {
        let State { depth, frame } = self.cursor.state;
        if let (Some(depth), Some(frame)) = (depth, frame) {
            let above = self.cursor.above - i64::from(depth - frame);
            self.line(format_args!(
                "movq %gs:{}(%ebx),%rbp",
                displaced("", -above)
            ));
            self.cursor.above = above - 8;
        } else {
            self.line("leal 16(%rbp),%ebx");
            self.line("movq %gs:-16(%ebx),%rbp");
            self.cursor.above = 8;
        }
    }

    /// V changes by an amount only known at run time: P follows at once.
    fn compute(&mut self, at: usize, insn: &Insn<'_>) -> Result<(), Reason> {
        let source = insn.operands()[0];
        let stem = insn.mnemonic.strip_suffix('q').unwrap_or(insn.mnemonic);
        self.raise(0);
        if stem == "lea" {
            let mem = Mem::parse(source)?;
            let base = mem.base.map_or(Ok(String::new()), |base| {
                crate::operand::address_register(base, 64)
            })?;
            let index = mem.index.unwrap_or_default();
            self.line(format_args!(
                "leal {}({base},{index},{}),%ebx",
                mem.disp, mem.scale
            ));
            return Ok(());
        }
        let value = if source.starts_with('$') {
            source.to_owned()
        } else if let Some(gpr) = Gpr::parse(source) {
            Gpr::named(gpr.number, 32)
        } else {
            self.refuse_jump_behind(at)?;
            sandboxed(&Mem::parse(source)?, 0)?
        };
        self.line(format_args!("{stem}l {value},%ebx"));
        Ok(())
    }

    /// A new stack pointer and then a jump through a register is a jump out of the function: the host's return stack
    /// would not know. `longjmp` of the libc tells it.
    fn refuse_jump_behind(&self, at: usize) -> Result<(), Reason> {
        let mut next = self.unit.next(at);
        while let Some(place) = next {
            match &self.unit.items[place].kind {
                Kind::Insn(insn) if insn.mnemonic.starts_with("jmp") => {
                    return match insn.last() {
                        Some(target) if target.starts_with('*') => Err(Reason::Refused(
                            "a jump out of the function (__builtin_longjmp, non-local goto)",
                        )),
                        _ => Ok(()),
                    };
                }
                Kind::Insn(insn) if insn.mnemonic.starts_with("mov") => {}
                Kind::Insn(_) => return Ok(()),
                _ => {}
            }
            next = self.unit.next(place);
        }
        Ok(())
    }

    /// Instructions that read the stack pointer as a plain register.
    fn read_stack_pointer(&mut self, insn: &Insn<'a>) -> Result<bool, Reason> {
        let operands = insn.operands();
        let reads = |operand: &&str| Gpr::parse(operand).is_some_and(|gpr| gpr.number == RSP);
        if !operands.iter().any(reads) {
            return Ok(false);
        }
        let above = self.cursor.above;
        if let ("mov" | "movq" | "movl", [_, target]) = (insn.mnemonic, operands)
            && let Some(gpr) = Gpr::parse(target)
        {
            if gpr.number == RSP {
                return Ok(true);
            }
            let name = Gpr::named(gpr.number, 32);
            match above {
                0 => self.line(format_args!("movl %ebx,{name}")),
                _ => self.line(format_args!("leal {}(%rbx),{name}", -above)),
            }
            return Ok(true);
        }
        let stand_in = if above == 0 {
            crate::operand::RBX
        } else {
            self.line(format_args!("leal {}(%rbx),%r11d", -above));
            crate::operand::R11
        };
        let mut text = Vec::with_capacity(operands.len());
        for operand in operands {
            text.push(match Gpr::parse(operand) {
                Some(gpr) if gpr.number == RSP => Gpr::named(stand_in, gpr.bits),
                Some(_) => (*operand).to_owned(),
                None if operand.starts_with(['$', '%']) => (*operand).to_owned(),
                None => sandboxed(&Mem::parse(operand)?, above)?,
            });
        }
        self.line(format_args!("{} {}", insn.mnemonic, text.join(",")));
        Ok(true)
    }

    /// `lea` of any address: a region offset, computed from 64-bit registers.
    pub(super) fn lea(&mut self, insn: &Insn<'_>) -> Result<(), Reason> {
        let [source, target] = insn.operands() else {
            return Err(Reason::Syntax("lea has two operands"));
        };
        let mem = Mem::parse(source)?;
        if mem.segment.is_some() {
            return Err(Reason::Refused("a segment register"));
        }
        if mem.is_rip() {
            // The low half of base + offset is the offset.
            let gpr = Gpr::parse(target).ok_or(Reason::Syntax("register expected"))?;
            self.line(format_args!(
                "leal {}(%rip),{}",
                mem.disp,
                Gpr::named(gpr.number, 32)
            ));
            return Ok(());
        }
        if !mem.base_is(RSP) {
            self.line(format_args!("{} {source},{target}", insn.mnemonic));
            return Ok(());
        }
        let disp = displaced(mem.disp, -self.cursor.above);
        let gpr = Gpr::parse(target).ok_or(Reason::Syntax("register expected"))?;
        match mem.index {
            // A short form for the common case; V is far from the region's edges, so the sum does not wrap.
            None if number(mem.disp).is_some_and(|disp| disp.abs() < 1 << 20) => {
                self.line(format_args!(
                    "leal {disp}(%rbx),{}",
                    Gpr::named(gpr.number, gpr.bits.min(32))
                ));
            }
            None => self.line(format_args!("{} {disp}(%rbx),{target}", insn.mnemonic)),
            Some(index) => {
                self.line(format_args!(
                    "{} {disp}(%rbx,{index},{}),{target}",
                    insn.mnemonic, mem.scale
                ));
            }
        }
        Ok(())
    }
}
