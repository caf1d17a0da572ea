//! Runs one sequence, step by step or at once, and says whether it kept to what the verifier promises.

use std::collections::BTreeMap;

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, OpKind, Register};

use super::engine::{BASE_ADDRESS, EXIT, Engine, GATE, STACK, STACK_LEN, State, Stop};
use super::generate::BASE;

/// How a sequence may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    Steps,
    Trap,
    Exit,
    Fault,
    NotExecutable,
    Left,
}

/// Direction, alignment check, nested task, I/O privilege: none of them is the guest's.
const HOST_FLAGS: u64 = 1 << 10 | 1 << 18 | 1 << 14 | 3 << 12;

/// What may be executed in a text: each instruction, and for those inside macros the one before.
pub(super) struct Watch {
    text: Vec<u8>,
    before: BTreeMap<usize, Option<usize>>,
}

impl Watch {
    /// Reads an accepted text on its own: instruction after instruction, and a macro wherever the
    /// last part of one is found.
    pub(super) fn new(text: &[u8]) -> Watch {
        let mut watch = Watch {
            text: text.to_vec(),
            before: BTreeMap::new(),
        };
        for offset in (0..text.len()).step_by(32) {
            watch.read_bundle(offset);
        }
        watch
    }

    /// Puts another bundle at `offset`; nothing crosses its ends, so the rest stays as it is.
    pub(super) fn replace(&mut self, offset: usize, bundle: &[u8]) {
        self.text[offset..offset + 32].copy_from_slice(bundle);
        self.read_bundle(offset);
    }

    fn read_bundle(&mut self, offset: usize) {
        let inside: Vec<usize> = self
            .before
            .range(offset..offset + 32)
            .map(|(&at, _)| at)
            .collect();
        for at in inside {
            self.before.remove(&at);
        }
        let mut order = Vec::new();
        let bundle = &self.text[offset..offset + 32];
        let mut decoder = Decoder::with_ip(64, bundle, 0, DecoderOptions::NONE);
        while decoder.can_decode() {
            let position = offset + decoder.position();
            let instruction = decoder.decode();
            assert!(!instruction.is_invalid(), "an accepted text decodes");
            self.before.insert(position, None);
            order.push(position);
            // Parts in front of the last one that belong to the macro.
            let parts = match instruction.flow_control() {
                FlowControl::IndirectBranch => 2,
                FlowControl::IndirectCall if instruction.op0_kind() == OpKind::Register => 2,
                _ if instruction.is_string_instruction() => match instruction.op1_kind() {
                    OpKind::MemorySegRSI => 4,
                    _ if instruction.op0_kind() == OpKind::MemoryESRDI => 2,
                    _ => 0,
                },
                _ => 0,
            };
            for part in order.len() - parts..order.len() {
                self.before.insert(order[part], Some(order[part - 1]));
            }
        }
    }

    /// Runs from `state` for at most `steps` instructions.
    pub(super) fn run(
        &self,
        engine: &mut Engine,
        state: State,
        steps: u32,
    ) -> (u32, Result<End, String>) {
        let mut model = engine.stack_window();
        let mut old = state;
        engine.set(&old);
        for step in 0..steps {
            match engine.step() {
                Stop::Stepped(new) => match self.check(engine, &old, &new, &mut model) {
                    Ok(None) => old = new,
                    Ok(Some(end)) => {
                        return (step + 1, self.stack_unchanged(engine, &model).map(|()| end));
                    }
                    Err(escape) => return (step, Err(escape)),
                },
                Stop::Fault {
                    signal,
                    code,
                    address,
                } => {
                    let end = self.fault(&old, signal, code, address);
                    let end = end.and_then(|e| self.stack_unchanged(engine, &model).map(|()| e));
                    return (step + 1, end);
                }
            }
        }
        (
            steps,
            self.stack_unchanged(engine, &model).map(|()| End::Steps),
        )
    }

    /// Whether the bundle at `offset` ends by itself: no branch can go back into it, and no string
    /// operation repeats. (Returns empty the return stack.)
    pub(super) fn ends(&self, offset: usize) -> bool {
        self.before.range(offset..offset + 32).all(|(&at, _)| {
            let instruction = self.instruction(BASE_ADDRESS + u64::from(BASE) + at as u64);
            let instruction = instruction.expect("an instruction starts there");
            let back = instruction.op0_kind() == OpKind::NearBranch64
                && self
                    .offset(instruction.near_branch64())
                    .is_some_and(|to| to / 32 == offset / 32);
            let anywhere = instruction.flow_control() == FlowControl::IndirectBranch;
            !back && !anywhere && !instruction.has_rep_prefix()
        })
    }

    /// Runs the bundle at `offset`, everything else of the page being int3, until it leaves or
    /// faults. Where it stopped tells where it went.
    pub(super) fn run_at_once(
        &self,
        engine: &mut Engine,
        state: State,
        offset: usize,
    ) -> Result<End, String> {
        engine.load_bundle(&self.text, offset);
        let before = engine.stack_window();
        engine.set(&state);
        let (stop, new) = engine.run();
        let Stop::Fault {
            signal,
            code,
            address,
        } = stop
        else {
            return Err("stopped after one step without being asked to".to_owned());
        };
        let escape = |what: &str| {
            Err(format!(
                "{what}: signal {signal}, code {code:#x}, address {address:#x}\nbefore {state:x?}\nafter {new:x?}"
            ))
        };
        if let Some(what) = unlike(&state, &new) {
            return escape(what);
        }
        // What calls and returns may leave on the return stack: nothing but return points.
        let after = engine.stack_window();
        let start = |at: u64| self.offset(at).and_then(|at| self.before.get(&at)) == Some(&None);
        if before
            .iter()
            .zip(&after)
            .any(|(old, new)| old != new && !start(*new))
        {
            return escape("the return stack holds what no call put there");
        }
        let on_stack = (STACK..=STACK + STACK_LEN).contains(&new.rsp) && new.rsp % 8 == 0;
        if !on_stack {
            return escape("rsp left the return stack");
        }
        match signal {
            libc::SIGTRAP if code == libc::SI_KERNEL => {
                let at = self.offset(new.rip - 1);
                let verified = at.and_then(|at| self.before.get(&at)) == Some(&None);
                let own = at.is_some_and(|at| at / 32 == offset / 32);
                match (verified, own) {
                    (true, true) if at.is_some_and(|at| self.text[at] == 0xCC) => Ok(End::Fault),
                    (true, false) => Ok(End::Left),
                    _ => escape("went to the middle of something"),
                }
            }
            libc::SIGSEGV if new.rip == address && address == GATE => {
                let back = engine.stack_word(new.rsp);
                if start(back) {
                    Ok(End::Trap)
                } else {
                    escape("a trap with no way back")
                }
            }
            libc::SIGSEGV if new.rip == address && address == EXIT => Ok(End::Exit),
            libc::SIGSEGV if new.rip == address && in_slot(address) && address % 32 == 0 => {
                Ok(End::NotExecutable)
            }
            _ => self.fault(&new, signal, code, address),
        }
    }

    /// Index into the text of an address, if it is there.
    fn offset(&self, rip: u64) -> Option<usize> {
        let offset = usize::try_from(rip.checked_sub(BASE_ADDRESS + u64::from(BASE))?).ok()?;
        (offset < self.text.len()).then_some(offset)
    }

    fn instruction(&self, rip: u64) -> Option<Instruction> {
        let at = self.offset(rip)?;
        self.before.get(&at)?;
        Some(Decoder::with_ip(64, &self.text[at..], rip, DecoderOptions::NONE).decode())
    }

    /// One completed instruction.
    fn check(
        &self,
        engine: &Engine,
        old: &State,
        new: &State,
        model: &mut [u64],
    ) -> Result<Option<End>, String> {
        let escape = |what: &str| Err(format!("{what}\nbefore {old:x?}\nafter {new:x?}"));
        if let Some(what) = unlike(old, new) {
            return escape(what);
        }
        let Some(instruction) = self.instruction(old.rip) else {
            return escape("executed what was not verified");
        };
        match new.rsp.wrapping_sub(old.rsp).cast_signed() {
            0 => {}
            -8 => {
                let back = old.rip + instruction.len() as u64;
                let pushed = engine.stack_word(new.rsp);
                let known = self.offset(back).and_then(|at| self.before.get(&at)) == Some(&None);
                if pushed != back || !known {
                    return escape("the return stack holds what no call put there");
                }
                model[word_index(new.rsp)] = back;
            }
            8 => {
                if new.rip != model[word_index(old.rsp)] {
                    return escape("returned to where no call came from");
                }
            }
            _ => return escape("rsp moved by more than a word"),
        }
        if new.rip == GATE {
            return Ok(Some(End::Trap));
        }
        if new.rip == EXIT {
            return Ok(Some(End::Exit));
        }
        match self.offset(new.rip) {
            Some(at) => match self.before.get(&at) {
                Some(None) => Ok(None),
                // A string operation repeats itself; otherwise a macro is entered from its start.
                Some(Some(before))
                    if self.offset(old.rip) == Some(*before) || old.rip == new.rip =>
                {
                    Ok(None)
                }
                _ => escape("went to the middle of something"),
            },
            // It will fault there, if it is a bundle of the slot: the next step shows it.
            None if in_slot(new.rip) && new.rip.is_multiple_of(32) => Ok(None),
            None => escape("left the slot"),
        }
    }

    /// An instruction that did not complete.
    fn fault(&self, old: &State, signal: i32, code: i32, address: u64) -> Result<End, String> {
        let escape = |what: &str| {
            Err(format!(
                "{what}: signal {signal}, code {code:#x}, address {address:#x}\nin {old:x?}"
            ))
        };
        let Some(instruction) = self.instruction(old.rip) else {
            // Control went to a bundle of the slot that is not text.
            let fetch = signal == libc::SIGSEGV && address == old.rip && in_slot(old.rip);
            return if fetch {
                Ok(End::NotExecutable)
            } else {
                escape("executed outside the text")
            };
        };
        let bytes = &self.text[self.offset(old.rip).expect("in the text")..][..instruction.len()];
        match signal {
            libc::SIGTRAP if bytes == [0xCC] => Ok(End::Fault),
            libc::SIGILL if bytes == [0x0F, 0x0B] => Ok(End::Fault),
            libc::SIGFPE => Ok(End::Fault),
            libc::SIGSEGV if bytes == [0xF4] => Ok(End::Fault),
            // A general protection fault has no address: only misaligned vectors have a reason.
            libc::SIGSEGV if code == libc::SI_KERNEL => {
                let aligned = instruction.memory_size().size() == 16
                    && effective(&instruction, old).is_some_and(|a| in_slot(a) && a % 16 != 0);
                if aligned {
                    Ok(End::Fault)
                } else {
                    escape("general protection")
                }
            }
            libc::SIGSEGV
                if in_slot(address)
                    || (BASE_ADDRESS + (1 << 32)..BASE_ADDRESS + (1 << 32) + 64)
                        .contains(&address) =>
            {
                Ok(End::Fault)
            }
            // Calls and returns at the ends of the return stack.
            libc::SIGSEGV
                if instruction.is_stack_instruction()
                    && (STACK - 8..=STACK + STACK_LEN).contains(&address) =>
            {
                Ok(End::Fault)
            }
            _ => escape("touched memory outside the slot"),
        }
    }

    fn stack_unchanged(&self, engine: &Engine, model: &[u64]) -> Result<(), String> {
        if engine.stack_window() == model {
            Ok(())
        } else {
            Err("the return stack was written to".to_owned())
        }
    }
}

/// What a guest must never change, and did.
fn unlike(old: &State, new: &State) -> Option<&'static str> {
    if new.r14 != BASE_ADDRESS || new.gs_base != BASE_ADDRESS || new.fs_base != old.fs_base {
        return Some("a base changed");
    }
    let segments = |s: &State| [s.cs, s.ss, s.ds, s.es, s.fs, s.gs];
    if segments(old) != segments(new) {
        return Some("a segment register changed");
    }
    if (new.eflags ^ old.eflags) & HOST_FLAGS != 0 {
        return Some("a flag of the host changed");
    }
    None
}

/// Linear address of the memory operand.
fn effective(instruction: &Instruction, state: &State) -> Option<u64> {
    instruction.virtual_address(
        (0..instruction.op_count()).find(|&i| instruction.op_kind(i) == OpKind::Memory)?,
        0,
        |register, _, _| {
            if register == Register::GS {
                return Some(state.gs_base);
            }
            if !register.is_gpr() {
                return Some(0);
            }
            let all = [
                state.rax, state.rcx, state.rdx, state.rbx, state.rsp, state.rbp, state.rsi,
                state.rdi, state.r8, state.r9, state.r10, state.r11, state.r12, state.r13,
                state.r14, state.r15,
            ];
            let value = all[register.full_register().number()];
            Some(if register.is_gpr32() {
                value & 0xFFFF_FFFF
            } else {
                value
            })
        },
    )
}

fn in_slot(address: u64) -> bool {
    (BASE_ADDRESS..BASE_ADDRESS + (1 << 32)).contains(&address)
}

fn word_index(rsp: u64) -> usize {
    usize::try_from((rsp - STACK) / 8).expect("rsp is on the return stack")
}
