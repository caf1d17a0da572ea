//! One assembly file as a graph: which statement follows which in its section, what each label is used for, and the
//! stack depth that the compiler's own call-frame directives state.

use std::collections::HashMap;

use crate::parse::{Item, Kind, is_symbol_byte};

/// What a label is used for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LabelUse {
    /// Control can arrive from outside this file or by a call: the stack is as at a function's first instruction.
    pub(crate) entry: bool,
    /// Its address is used as a value, so an indirect jump or call may arrive.
    pub(crate) address_taken: bool,
    /// A direct jump of this file arrives.
    pub(crate) jumped_to: bool,
}

impl LabelUse {
    /// False for labels that only debug information names: control never arrives there but by falling through.
    pub(crate) fn is_active(self) -> bool {
        self.entry || self.address_taken || self.jumped_to
    }
}

/// A parsed file with everything the rewriter asks about its control flow.
#[derive(Debug)]
pub(crate) struct Unit<'a> {
    pub(crate) items: Vec<Item<'a>>,
    /// Whether each statement lies in an executable section.
    in_code: Vec<bool>,
    next: Vec<u32>,
    /// Stack depth by call-frame directives in front of each statement.
    frame_depth: Vec<Option<i32>>,
    labels: HashMap<&'a str, usize>,
    numeric: HashMap<&'a str, Vec<usize>>,
    uses: HashMap<usize, LabelUse>,
    /// Code labels named by each data label: jump tables.
    tables: HashMap<&'a str, Vec<usize>>,
    /// Symbols declared weak and not defined here: they may be missing from the program.
    weak: HashMap<&'a str, bool>,
}

const NONE: u32 = u32::MAX;

impl<'a> Unit<'a> {
    pub(crate) fn new(items: Vec<Item<'a>>) -> Unit<'a> {
        let count = items.len();
        let mut unit = Unit {
            items,
            in_code: vec![false; count],
            next: vec![NONE; count],
            frame_depth: vec![None; count],
            labels: HashMap::new(),
            numeric: HashMap::new(),
            uses: HashMap::new(),
            tables: HashMap::new(),
            weak: HashMap::new(),
        };
        let debug = unit.follow_sections();
        unit.follow_frames();
        unit.find_uses(&debug);
        unit
    }

    pub(crate) fn is_code(&self, at: usize) -> bool {
        self.in_code[at]
    }

    /// The statement behind `at` in the same section.
    pub(crate) fn next(&self, at: usize) -> Option<usize> {
        let next = self.next[at];
        (next != NONE).then(|| usize::try_from(next).expect("an index fits"))
    }

    /// The label a jump at `at` means; `None` when it is not of this file.
    pub(crate) fn resolve(&self, at: usize, target: &str) -> Option<usize> {
        let target = target.strip_suffix("@PLT").unwrap_or(target);
        if let Some(&label) = self.labels.get(target) {
            return Some(label);
        }
        let digits = target.strip_suffix(['b', 'f'])?;
        let places = self.numeric.get(digits)?;
        let after = places.partition_point(|&place| place <= at);
        if target.ends_with('f') {
            places.get(after).copied()
        } else {
            places[..after].last().copied()
        }
    }

    pub(crate) fn label_use(&self, at: usize) -> LabelUse {
        self.uses.get(&at).copied().unwrap_or_default()
    }

    /// Code labels listed under a data label, in order, when there are any.
    pub(crate) fn table(&self, label: &str) -> Option<&[usize]> {
        self.tables.get(label).map(Vec::as_slice)
    }

    /// Stack depth that the compiler states in front of statement `at`.
    pub(crate) fn stated_depth(&self, at: usize) -> Option<i32> {
        self.frame_depth[at]
    }

    pub(crate) fn is_missing_weak(&self, symbol: &str) -> bool {
        self.weak.contains_key(symbol) && !self.labels.contains_key(symbol)
    }

    /// Links each statement to its follower in the same section. Returns which statements lie in debug sections.
    fn follow_sections(&mut self) -> Vec<bool> {
        let mut sections = Sections::new();
        let mut debug = vec![false; self.items.len()];
        let mut last: HashMap<&str, usize> = HashMap::new();
        for (at, in_debug) in debug.iter_mut().enumerate() {
            if let Kind::Directive { name, args } = self.items[at].kind {
                sections.directive(name, args);
            }
            let section = sections.current;
            self.in_code[at] = sections.is_code(section);
            *in_debug = section.starts_with(".debug") || section.starts_with(".eh_frame");
            if let Some(previous) = last.insert(section, at) {
                self.next[previous] = u32::try_from(at).unwrap_or(NONE);
            }
            if let Kind::Label(name) = self.items[at].kind {
                if name.bytes().all(|byte| byte.is_ascii_digit()) {
                    self.numeric.entry(name).or_default().push(at);
                } else {
                    self.labels.insert(name, at);
                }
            }
        }
        debug
    }

    /// Reads the call-frame directives: while the frame address is rsp + n, the depth is n - 8.
    fn follow_frames(&mut self) {
        let mut current: Option<i32> = None;
        let mut remembered = Vec::new();
        for at in 0..self.items.len() {
            self.frame_depth[at] = current;
            let Kind::Directive { name, args } = self.items[at].kind else {
                continue;
            };
            let mut numbers = args
                .split(',')
                .map(|part| part.trim().trim_start_matches('%'));
            match name {
                ".cfi_startproc" => current = Some(8),
                ".cfi_endproc" => current = None,
                ".cfi_remember_state" => remembered.push(current),
                ".cfi_restore_state" => current = remembered.pop().flatten(),
                ".cfi_def_cfa_offset" => {
                    current = current.and(numbers.next()).and_then(|n| n.parse().ok());
                }
                ".cfi_adjust_cfa_offset" => {
                    let change: Option<i32> = numbers.next().and_then(|n| n.parse().ok());
                    current = current.zip(change).map(|(depth, change)| depth + change);
                }
                ".cfi_def_cfa" => {
                    let by_stack = matches!(numbers.next(), Some("7" | "rsp"));
                    let offset = numbers.next().and_then(|n| n.parse().ok());
                    current = if by_stack { offset } else { None };
                }
                ".cfi_def_cfa_register" => current = None,
                // A frame described by an expression is not on rsp; one that saves a register is no change.
                ".cfi_escape" if args.trim_start().starts_with("0xf,") => current = None,
                _ => {}
            }
        }
        // Directives that belong to an instruction may stand between it and its label.
        let mut behind = None;
        for at in (0..self.items.len()).rev() {
            match self.items[at].kind {
                Kind::Insn(_) => behind = self.frame_depth[at].map(|offset| offset - 8),
                Kind::Directive {
                    name: ".cfi_startproc" | ".cfi_endproc",
                    ..
                } => behind = None,
                _ => {}
            }
            self.frame_depth[at] = behind;
        }
    }

    fn find_uses(&mut self, debug: &[bool]) {
        let mut table: Option<&'a str> = None;
        for (at, &in_debug) in debug.iter().enumerate() {
            match self.items[at].kind.clone() {
                Kind::Label(name) => table = (!self.in_code[at]).then_some(name).or(table),
                Kind::Assign { value, .. } => self.take_addresses(value, None),
                Kind::Directive { name, args } if !in_debug => {
                    self.use_directive(name, args, table)
                }
                Kind::Insn(insn) => {
                    let branch =
                        insn.mnemonic.starts_with('j') || insn.mnemonic.starts_with("call");
                    for operand in insn.operands() {
                        if branch && !operand.starts_with('*') {
                            self.use_branch(at, insn.mnemonic, operand);
                        } else if !operand.starts_with('%') || operand.contains(':') {
                            self.take_operand(at, operand);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn use_branch(&mut self, at: usize, mnemonic: &str, target: &str) {
        if let Some(label) = self.resolve(at, target) {
            let entry = self.uses.entry(label).or_default();
            entry.jumped_to = true;
            entry.entry |= mnemonic.starts_with("call");
        }
    }

    fn use_directive(&mut self, name: &'a str, args: &'a str, table: Option<&'a str>) {
        match name {
            ".globl" | ".global" | ".weak" => {
                for symbol in args.split(',').map(str::trim) {
                    self.mark(symbol, |label| {
                        label.entry = true;
                        label.address_taken = true;
                    });
                    if name == ".weak" {
                        self.weak.insert(symbol, true);
                    }
                }
            }
            ".type" => {
                let symbol = args.split(',').next().unwrap_or_default().trim();
                let function = args.contains("function") || args.contains("STT_FUNC");
                // The cold half of a function is typed as a function but is entered by jumps of its hot half.
                if function && !is_cold(symbol) {
                    self.mark(symbol, |label| label.entry = true);
                }
            }
            ".set" | ".equ" => {
                let value = args.split_once(',').map_or("", |(_, value)| value);
                self.take_addresses(value, None);
                let target = value.trim();
                self.mark(target, |label| label.entry = true);
            }
            ".quad" | ".8byte" | ".long" | ".4byte" | ".int" | ".dc.a" | ".dc.l" => {
                self.take_addresses(args, table);
            }
            _ => {}
        }
    }

    /// Addresses in an operand of an instruction that is not a direct branch.
    fn take_operand(&mut self, at: usize, operand: &'a str) {
        for symbol in symbols(operand) {
            if symbol.as_bytes()[0].is_ascii_digit() {
                if let Some(label) = self.resolve(at, symbol) {
                    self.uses.entry(label).or_default().address_taken = true;
                }
            } else {
                self.mark(symbol, |label| label.address_taken = true);
            }
        }
    }

    fn take_addresses(&mut self, expression: &'a str, table: Option<&'a str>) {
        for symbol in symbols(expression) {
            let Some(&label) = self.labels.get(symbol) else {
                continue;
            };
            self.uses.entry(label).or_default().address_taken = true;
            if let Some(table) = table
                && self.in_code[label]
            {
                self.tables.entry(table).or_default().push(label);
            }
        }
    }

    fn mark(&mut self, symbol: &str, change: impl FnOnce(&mut LabelUse)) {
        if let Some(&label) = self.labels.get(symbol) {
            change(self.uses.entry(label).or_default());
        }
    }
}

/// True for `f.cold` and `f.cold.3`.
pub(crate) fn is_cold(symbol: &str) -> bool {
    symbol.ends_with(".cold") || symbol.contains(".cold.")
}

/// Symbols and numbers named in an expression; registers are left out.
fn symbols(expression: &str) -> impl Iterator<Item = &str> {
    expression
        .split(|c: char| !c.is_ascii() || !is_symbol_byte(u8::try_from(c).unwrap_or(b' ')))
        .filter_map(move |word| {
            let word = word.trim_start_matches('$');
            let word = word.split('@').next().unwrap_or(word);
            let offset = word.as_ptr() as usize - expression.as_ptr() as usize;
            let register = offset > 0 && expression.as_bytes()[offset - 1] == b'%';
            (!word.is_empty() && word != "." && !register).then_some(word)
        })
}

/// The section statements go to, as `.section`, `.text`, `.previous` and their kin change it.
struct Sections<'a> {
    current: &'a str,
    previous: &'a str,
    stack: Vec<(&'a str, &'a str)>,
    executable: HashMap<&'a str, bool>,
}

impl<'a> Sections<'a> {
    fn new() -> Self {
        Sections {
            current: ".text",
            previous: ".text",
            stack: Vec::new(),
            executable: HashMap::new(),
        }
    }

    fn directive(&mut self, name: &'a str, args: &'a str) {
        match name {
            ".text" | ".data" | ".bss" => self.enter(name, ""),
            ".section" | ".pushsection" => {
                if name == ".pushsection" {
                    self.stack.push((self.current, self.previous));
                }
                let (section, flags) = args.split_once(',').unwrap_or((args, ""));
                self.enter(section.trim().trim_matches('"'), flags);
            }
            ".previous" => std::mem::swap(&mut self.current, &mut self.previous),
            ".popsection" => {
                if let Some((current, previous)) = self.stack.pop() {
                    (self.current, self.previous) = (current, previous);
                }
            }
            _ => {}
        }
    }

    fn enter(&mut self, section: &'a str, flags: &str) {
        self.previous = std::mem::replace(&mut self.current, section);
        let flags = flags.split(',').next().unwrap_or_default();
        if flags.contains('"') {
            self.executable.insert(section, flags.contains('x'));
        }
    }

    fn is_code(&self, section: &str) -> bool {
        let by_name = [".text", ".init", ".fini"].iter().any(|name| {
            section
                .strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        });
        self.executable.get(section).copied().unwrap_or(by_name)
            && section != ".init_array"
            && section != ".fini_array"
    }
}
