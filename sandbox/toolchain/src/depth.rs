//! The stack depth through each function.
//!
//! GCC thinks of one stack: at a function's first instruction the stack pointer V stands at V0, the place of the return
//! address. In the sandbox return addresses live elsewhere and a *data stack pointer* P (`%rbx`) stands for V; how far it
//! stands above V is known at each instruction, so pushes and frame set-up need not move it:
//!
//! ```text
//! address   V0+8   first stack argument        P here at every function's first instruction and at `ret`
//!           V0     (return address, unused)
//!           V0-d   V after d bytes were pushed  P here at every call
//! ```
//!
//! This module finds d in front of each label, by data flow from function entries, checked against the compiler's
//! call-frame directives; and it decides where P has to stand at labels ([`Mode`]). A depth that differs between paths
//! becomes *dynamic*: then P follows V closely, as it does where the program itself computes with the stack pointer.

use std::collections::HashMap;

use crate::error::Reason;
use crate::operand::{Gpr, Mem, R11, R14, RBP, RBX, RSP, number};
use crate::parse::{Insn, Kind};
use crate::unit::{Unit, is_cold};

/// Largest frame of a function without calls that is left below P: beyond it, displacements grow from 1 to 4 bytes.
const LEAF_FRAME_MAX: i32 = 120;

/// What an instruction does to the stack pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StackOp<'a> {
    None,
    Push,
    Pop,
    /// V += n.
    Adjust(i64),
    /// V = register + displacement.
    Set {
        register: &'a str,
        disp: i64,
    },
    /// `leave`: V = %rbp, then pop %rbp.
    Leave,
    /// V changes by something only known when the program runs.
    Compute,
}

/// What is known in front of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    /// V0 - V, or `None` when only the running program knows.
    pub(crate) depth: Option<i32>,
    /// `%rbp` == V0 - frame, if it is a frame pointer.
    pub(crate) frame: Option<i32>,
}

const ENTRY: State = State {
    depth: Some(0),
    frame: None,
};

/// Where P stands at the labels of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// No calls: P stays where it was at the entry.
    Leaf,
    /// P as at the entry while nothing is pushed, else at V.
    Plain,
    /// Paths of depth zero and others meet: P at V everywhere.
    Close,
}

impl Mode {
    /// P - V at a label inside a function.
    pub(crate) fn above(self, state: State) -> i64 {
        match (self, state.depth) {
            (Mode::Leaf, Some(depth)) => i64::from(depth) + 8,
            (Mode::Plain, Some(0)) => 8,
            _ => 0,
        }
    }
}

/// Result of the data flow.
#[derive(Debug)]
pub(crate) struct Flow<'a> {
    owners: Vec<&'a str>,
    /// Labels of each function whose address is taken: where its jumps through registers may go.
    goals: HashMap<&'a str, Vec<usize>>,
    labels: HashMap<usize, (State, usize)>,
    functions: Vec<Function>,
}

#[derive(Debug, Clone, Copy)]
struct Function {
    joined_to: usize,
    calls: bool,
    computes: bool,
    meets_at_zero: bool,
    depth_max: i32,
}

impl Flow<'_> {
    /// State and mode at a label that control can reach.
    pub(crate) fn at(&self, label: usize) -> Option<(State, Mode)> {
        let &(state, function) = self.labels.get(&label)?;
        Some((state, self.mode(function)))
    }

    /// Labels a jump through a register at `at` may go to within its function.
    pub(crate) fn goals(&self, at: usize) -> &[usize] {
        self.goals.get(self.owners[at]).map_or(&[], Vec::as_slice)
    }

    fn root(&self, mut function: usize) -> usize {
        while self.functions[function].joined_to != function {
            function = self.functions[function].joined_to;
        }
        function
    }

    fn mode(&self, function: usize) -> Mode {
        let function = self.functions[self.root(function)];
        if function.meets_at_zero {
            Mode::Close
        } else if function.calls || function.computes || function.depth_max > LEAF_FRAME_MAX {
            Mode::Plain
        } else {
            Mode::Leaf
        }
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        if a != b {
            let other = self.functions[b];
            self.functions[b].joined_to = a;
            let kept = &mut self.functions[a];
            kept.calls |= other.calls;
            kept.computes |= other.computes;
            kept.meets_at_zero |= other.meets_at_zero;
            kept.depth_max = kept.depth_max.max(other.depth_max);
        }
    }
}

/// What an instruction does to V. Errors name what no sandboxed program can do.
pub(crate) fn stack_op<'a>(insn: &Insn<'a>) -> Result<StackOp<'a>, Reason> {
    let operands = insn.operands();
    match insn.mnemonic {
        "push" | "pushq" => return Ok(StackOp::Push),
        "pop" | "popq" => return Ok(StackOp::Pop),
        "leave" | "leaveq" => return Ok(StackOp::Leave),
        "cmp" | "cmpq" | "test" | "testq" | "call" | "callq" | "jmp" | "jmpq" => {
            return Ok(StackOp::None);
        }
        _ => {}
    }
    let Some(target) = insn
        .last()
        .and_then(Gpr::parse)
        .filter(|gpr| gpr.number == RSP)
    else {
        return Ok(StackOp::None);
    };
    let source = if operands.len() == 2 { operands[0] } else { "" };
    let stem = insn.mnemonic.strip_suffix('q').unwrap_or(insn.mnemonic);
    if target.bits != 64 {
        return Err(Reason::StackDepth(
            "part of the stack pointer is written".into(),
        ));
    }
    match stem {
        "add" | "sub" => match source.strip_prefix('$').and_then(number) {
            Some(n) => Ok(StackOp::Adjust(if stem == "add" { n } else { -n })),
            None => Ok(StackOp::Compute),
        },
        "and" | "or" => Ok(StackOp::Compute),
        "lea" => {
            let mem = Mem::parse(source)?;
            let disp =
                number(mem.disp).ok_or(Reason::StackDepth("symbolic displacement".into()))?;
            match (mem.base, mem.index) {
                (Some("%rsp"), None) => Ok(StackOp::Adjust(disp)),
                (Some(register), None) if register != "%rip" => Ok(StackOp::Set { register, disp }),
                _ => Ok(StackOp::Compute),
            }
        }
        "mov" => match Gpr::parse(source) {
            Some(gpr) if gpr.number != RSP => Ok(StackOp::Set {
                register: source,
                disp: 0,
            }),
            Some(_) => Ok(StackOp::None),
            None if source.starts_with('$') => {
                Err(Reason::StackDepth("a constant stack pointer".into()))
            }
            None => Ok(StackOp::Compute),
        },
        _ => Err(Reason::StackDepth(
            "an unusual write to the stack pointer".into(),
        )),
    }
}

/// True if the instruction writes general register `number` by name.
pub(crate) fn writes(insn: &Insn<'_>, number: usize) -> bool {
    let names = |operand: &&str| Gpr::parse(operand).is_some_and(|gpr| gpr.number == number);
    match insn.mnemonic.trim_end_matches(['b', 'w', 'l', 'q']) {
        "cmp" | "test" | "push" | "jmp" | "ca" | "bt" | "mu" | "idiv" | "div" => false,
        "xchg" | "xadd" => insn.operands().iter().any(&names),
        "imu" if insn.operands().len() == 1 => false,
        _ => insn.operands().last().is_some_and(names),
    }
}

/// The state behind an instruction.
pub(crate) fn after(insn: &Insn<'_>, before: State) -> Result<State, Reason> {
    if [RBX, R11, R14]
        .iter()
        .any(|&register| writes(insn, register))
    {
        return Err(Reason::ReservedRegister);
    }
    let mut state = before;
    let moved = |by: i64| {
        before
            .depth
            .map(|depth| i32::try_from(i64::from(depth) - by).unwrap_or(i32::MAX))
    };
    match stack_op(insn)? {
        StackOp::None => {}
        StackOp::Push => state.depth = moved(-8),
        StackOp::Pop => state.depth = moved(8),
        StackOp::Adjust(by) => state.depth = moved(by),
        StackOp::Set { register, disp } => {
            let frame = before.frame.filter(|_| register == "%rbp");
            state.depth =
                frame.map(|frame| i32::try_from(i64::from(frame) - disp).unwrap_or(i32::MAX));
        }
        StackOp::Leave => {
            state.depth = before.frame.map(|frame| frame - 8);
            state.frame = None;
        }
        StackOp::Compute => state.depth = None,
    }
    if state.depth.is_some_and(|depth| depth < 0) {
        return Err(Reason::ReturnAddress);
    }
    if writes(insn, RBP) {
        let copies = matches!(insn.mnemonic, "mov" | "movq") && insn.operands()[0] == "%rsp";
        state.frame = before.depth.filter(|_| copies);
    }
    Ok(state)
}

/// Follows every function of the file.
pub(crate) fn follow<'a>(unit: &Unit<'a>) -> Result<Flow<'a>, (usize, Reason)> {
    let owners = owners(unit);
    let mut goals: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, owner) in owners.iter().enumerate() {
        let usage = unit.label_use(at);
        if usage.address_taken && !usage.entry && unit.is_code(at) {
            goals.entry(owner).or_default().push(at);
        }
    }
    let mut walker = Walker {
        unit,
        flow: Flow {
            owners,
            goals,
            labels: HashMap::new(),
            functions: Vec::new(),
        },
        work: Vec::new(),
        unsure: Vec::new(),
    };
    for at in 0..unit.items.len() {
        if unit.is_code(at)
            && matches!(unit.items[at].kind, Kind::Label(_))
            && unit.label_use(at).entry
        {
            let id = walker.flow.functions.len();
            walker.flow.functions.push(Function {
                joined_to: id,
                calls: false,
                computes: false,
                meets_at_zero: false,
                depth_max: 0,
            });
            walker.flow.labels.insert(at, (ENTRY, id));
            walker.work.push(at);
        }
    }
    walker.run()?;
    Ok(walker.flow)
}

/// The function each statement belongs to by its place in the text: hot and cold half count as one.
fn owners<'a>(unit: &Unit<'a>) -> Vec<&'a str> {
    let mut current = "";
    let items = unit.items.iter().enumerate();
    items
        .map(|(at, item)| {
            if let Kind::Label(name) = item.kind
                && unit.is_code(at)
                && (unit.label_use(at).entry || is_cold(name))
            {
                current = name.find(".cold").map_or(name, |end| &name[..end]);
            }
            current
        })
        .collect()
}

struct Walker<'u, 'a> {
    unit: &'u Unit<'a>,
    flow: Flow<'a>,
    work: Vec<usize>,
    /// Jumps through a register at depth zero: tail calls, or jumps to labels of the function that nothing else reaches.
    unsure: Vec<(usize, State, usize)>,
}

impl<'a> Walker<'_, 'a> {
    fn run(&mut self) -> Result<(), (usize, Reason)> {
        loop {
            while let Some(label) = self.work.pop() {
                self.walk(label)?;
            }
            for (at, state, function) in std::mem::take(&mut self.unsure) {
                for label in self.flow.goals(at).to_vec() {
                    if !self.flow.labels.contains_key(&label) {
                        self.arrive(label, state, function, false);
                    }
                }
            }
            if self.work.is_empty() {
                return Ok(());
            }
        }
    }

    /// From a label along the text until control surely leaves.
    fn walk(&mut self, label: usize) -> Result<(), (usize, Reason)> {
        let Some(&(mut state, function)) = self.flow.labels.get(&label) else {
            return Ok(());
        };
        let (mut at, mut called) = (label, false);
        while let Some(next) = self.unit.next(at) {
            at = next;
            match &self.unit.items[at].kind {
                Kind::Label(_) if self.unit.label_use(at).is_active() => {
                    if !self.unit.label_use(at).entry {
                        self.arrive(at, state, function, called);
                    }
                    return Ok(());
                }
                Kind::Insn(insn) => {
                    let insn = *insn;
                    called = insn.mnemonic.starts_with("call");
                    let before = state;
                    state = after(&insn, before).map_err(|reason| (at, reason))?;
                    self.note(function, &insn, state);
                    if !self.branch(at, &insn, before, function) {
                        return Ok(());
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn note(&mut self, function: usize, insn: &Insn<'a>, state: State) {
        let root = self.flow.root(function);
        let function = &mut self.flow.functions[root];
        function.calls |= insn.mnemonic.starts_with("call");
        match state.depth {
            Some(depth) => function.depth_max = function.depth_max.max(depth),
            None => function.computes = true,
        }
    }

    /// Follows a branch; false when nothing runs behind the instruction.
    fn branch(&mut self, at: usize, insn: &Insn<'a>, state: State, function: usize) -> bool {
        let name = insn.mnemonic;
        if matches!(name, "ret" | "retq" | "ud2" | "hlt") {
            return false;
        }
        if !name.starts_with('j') {
            return true;
        }
        let target = insn.last().unwrap_or_default();
        if let Some(place) = target.strip_prefix('*') {
            let table = Mem::parse(place)
                .ok()
                .and_then(|mem| self.unit.table(mem.disp));
            if let Some(table) = table {
                for &label in table {
                    self.arrive(label, state, function, false);
                }
            } else if state.depth == Some(0) {
                self.unsure.push((at, state, function));
            } else {
                for label in self.flow.goals(at).to_vec() {
                    self.arrive(label, state, function, false);
                }
            }
            return false;
        }
        if let Some(label) = self.unit.resolve(at, target)
            && !self.unit.label_use(label).entry
        {
            self.arrive(label, state, function, false);
        }
        !matches!(name, "jmp" | "jmpq")
    }

    /// Control reaches `label` with `state`. Behind a call that never returns the state means nothing, and the
    /// compiler's own statement of the depth decides; so it does everywhere it is present.
    fn arrive(&mut self, label: usize, state: State, function: usize, behind_call: bool) {
        let stated = self.unit.stated_depth(label);
        let mut state = state;
        if behind_call && stated.is_some() {
            state.depth = stated;
        }
        let Some(&(old, owner)) = self.flow.labels.get(&label) else {
            self.flow.labels.insert(label, (state, function));
            self.work.push(label);
            return;
        };
        self.flow.join(owner, function);
        let merged = State {
            depth: if old.depth == state.depth {
                old.depth
            } else {
                None
            },
            frame: if old.frame == state.frame {
                old.frame
            } else {
                None
            },
        };
        if old.depth != state.depth {
            let root = self.flow.root(function);
            self.flow.functions[root].computes = true;
            self.flow.functions[root].meets_at_zero |=
                old.depth == Some(0) || state.depth == Some(0);
        }
        if merged != old {
            self.flow.labels.insert(label, (merged, owner));
            self.work.push(label);
        }
    }
}
