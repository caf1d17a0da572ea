//! Stock GCC assembly in, sandboxed assembly out.
//!
//! What comes out obeys the verifier's rules if the assembler keeps instructions inside bundles, which the directives at
//! the top of the output tell it. Nothing here is trusted: a mistake breaks the guest, never the confinement.
//!
//! One pass over the statements, with the stack depth at each label known beforehand ([`crate::depth`]):
//! - memory operands become `%gs:disp(%e..)`, stack operands relative to the data stack pointer `%rbx`;
//! - pushes, pops and frame set-up become moves, `%rbx` moves only where a call, a return or a label needs it;
//! - indirect jumps and calls go through a mask; labels they may reach start a bundle.

mod branch;
mod plain;
mod stack;
mod string;

use std::collections::HashMap;
use std::fmt::Write as _;

use crate::depth::{Flow, Mode, State, after, follow};
use crate::error::{Reason, RewriteError};
use crate::flags::live_from;
use crate::parse::{Insn, Item, Kind, parse, without_block_comments};
use crate::unit::Unit;

/// First line of every output; a file that starts with it is assembled as it is.
pub const MARK: &str = "# sandboxed assembly";

/// Names what the compiler makes of a source: a hash of the rewriter and the driver, taken when they were compiled.
/// Libraries built by another one are built again.
pub const VERSION: &str = env!("ZAPP_REWRITER");

/// Start of the output: gas keeps instructions and locked groups inside 32-byte bundles.
const HEAD: &str = ".bundle_align_mode 5\n";

/// Rewrites one assembly file.
pub fn rewrite(text: &str) -> Result<String, RewriteError> {
    if text.starts_with(MARK) {
        return Ok(text.to_owned());
    }
    let cleaned = without_block_comments(text);
    let text = cleaned.as_deref().unwrap_or(text);
    let unit = Unit::new(parse(text)?);
    let place = |at: usize, reason| locate(&unit, at, reason);
    let flow = follow(&unit).map_err(|(at, reason)| place(at, reason))?;
    let mut writer = Writer::new(&unit, &flow, text.len() * 2);
    for at in 0..unit.items.len() {
        writer.item(at).map_err(|reason| place(at, reason))?;
    }
    Ok(writer.out)
}

/// Adds the source file and line that the text states in front of a statement.
fn locate(unit: &Unit<'_>, at: usize, reason: Reason) -> RewriteError {
    let item = &unit.items[at];
    let text = match &item.kind {
        Kind::Insn(insn) => format!("{} {}", insn.mnemonic, insn.operands().join(", ")),
        Kind::Label(name) => format!("{name}:"),
        Kind::Directive { name, args } => format!("{name} {args}"),
        Kind::Assign { symbol, value } => format!("{symbol} = {value}"),
        Kind::Marker { .. } => String::new(),
    };
    let mut error = RewriteError::at(item.line, text.trim(), reason);
    error.source = source_line(&unit.items[..=at]);
    error
}

/// The last `# line "file"` or `.loc` in front of a statement.
fn source_line(items: &[Item<'_>]) -> Option<(String, u32)> {
    let (mut number, mut line) = ("", 0);
    let statement = items.last()?.line;
    for item in items.iter().rev() {
        match &item.kind {
            // A marker names the line that follows it; the ones after that count on.
            Kind::Marker { line, file } => {
                let further = statement.saturating_sub(item.line.saturating_add(1));
                return Some(((*file).to_owned(), line.saturating_add(further)));
            }
            Kind::Directive { name: ".loc", args } => {
                let mut words = args.split_whitespace();
                number = words.next()?;
                line = words.next()?.parse().ok()?;
                break;
            }
            _ => {}
        }
    }
    items.iter().find_map(|item| match &item.kind {
        Kind::Directive {
            name: ".file",
            args,
        } => {
            let file = args.strip_prefix(number).filter(|_| !number.is_empty())?;
            Some((file.rsplit('"').nth(1)?.to_owned(), line))
        }
        _ => None,
    })
}

/// What is known at the current end of one section's output.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    state: State,
    mode: Mode,
    /// P - V here.
    above: i64,
    /// Control can arrive by falling through.
    reachable: bool,
    /// The instruction before was a call: it may be one that never returns.
    behind_call: bool,
}

const UNREACHED: Cursor = Cursor {
    state: State {
        depth: Some(0),
        frame: None,
    },
    mode: Mode::Plain,
    above: 8,
    reachable: false,
    behind_call: false,
};

struct Writer<'u, 'a> {
    unit: &'u Unit<'a>,
    flow: &'u Flow<'a>,
    out: String,
    cursor: Cursor,
    /// Cursors of statements that follow elsewhere in the text, by the statement they belong in front of.
    waiting: HashMap<usize, Cursor>,
    /// Labels made up so far.
    labels: usize,
}

impl<'u, 'a> Writer<'u, 'a> {
    fn new(unit: &'u Unit<'a>, flow: &'u Flow<'a>, capacity: usize) -> Self {
        let mut out = String::with_capacity(capacity);
        out.push_str(MARK);
        out.push('\n');
        out.push_str(HEAD);
        Writer {
            unit,
            flow,
            out,
            cursor: UNREACHED,
            waiting: HashMap::new(),
            labels: 0,
        }
    }

    /// One line of output.
    fn line(&mut self, text: impl std::fmt::Display) {
        writeln!(self.out, "\t{text}").expect("a String takes any text");
    }

    /// Instructions that must share a bundle.
    fn bundled(&mut self, lines: &[&str]) {
        self.line(".bundle_lock");
        for line in lines {
            self.line(line);
        }
        self.line(".bundle_unlock");
    }

    fn fresh_label(&mut self) -> String {
        self.labels += 1;
        format!(".Lsandbox{}", self.labels)
    }

    fn item(&mut self, at: usize) -> Result<(), Reason> {
        let code = self.unit.is_code(at);
        if code {
            self.cursor = self.waiting.remove(&at).unwrap_or(UNREACHED);
        }
        match &self.unit.items[at].kind {
            Kind::Label(name) => {
                if code {
                    self.code_label(at)?;
                }
                writeln!(self.out, "{name}:").expect("a String takes any text");
            }
            Kind::Directive { name, args } => self.directive(name, args)?,
            Kind::Assign { symbol, value } => self.line(format_args!("{symbol} = {value}")),
            Kind::Marker { .. } => {}
            Kind::Insn(insn) if !code => {
                return Err(if insn.mnemonic.starts_with('.') {
                    Reason::Syntax("directive expected")
                } else {
                    Reason::Refused("an instruction in a section that is not executable")
                });
            }
            Kind::Insn(insn) => {
                if self.cursor.reachable {
                    self.instruction(at, insn)?;
                }
            }
        }
        if code && let Some(next) = self.unit.next(at) {
            self.waiting.insert(next, self.cursor);
        }
        Ok(())
    }

    fn directive(&mut self, name: &str, args: &str) -> Result<(), Reason> {
        match name {
            // They describe a stack that is no more; nothing unwinds in a guest.
            _ if name.starts_with(".cfi_") => {}
            ".intel_syntax" => return Err(Reason::Syntax("Intel syntax")),
            ".macro" | ".rept" | ".irp" | ".irpc" | ".altmacro" | ".include" | ".incbin" => {
                return Err(Reason::Syntax("assembler macros"));
            }
            ".section" if args.starts_with(".note.GNU-stack") && args.contains('x') => {
                return Err(Reason::Refused("an executable stack (nested functions)"));
            }
            // The compiler's count of line-table views does not survive padding.
            ".loc" => {
                let end = args.find(" view ").unwrap_or(args.len());
                self.line(format_args!("{name} {}", &args[..end]));
            }
            _ => self.line(format_args!("{name} {args}")),
        }
        Ok(())
    }

    /// A label in code: brings P to where every jump to the label has it, and starts a bundle if its address is taken.
    fn code_label(&mut self, at: usize) -> Result<(), Reason> {
        let usage = self.unit.label_use(at);
        if !usage.is_active() {
            return Ok(());
        }
        let reached = self.flow.at(at);
        if usage.address_taken {
            if !usage.entry && reached.is_some() && live_from(self.unit, at) {
                return Err(Reason::FlagsLive(self.label_name(at).to_owned()));
            }
            if self.cursor.reachable {
                self.settle(at, reached)?;
            }
            self.line(".p2align 5");
        } else if self.cursor.reachable {
            self.settle(at, reached)?;
        }
        let Some((state, mode)) = reached else {
            self.line("ud2");
            self.cursor = UNREACHED;
            return Ok(());
        };
        let stated = self.unit.stated_depth(at).filter(|_| !usage.entry);
        if let (Some(stated), Some(depth)) = (stated, state.depth)
            && stated != depth
        {
            let text = format!("{depth} bytes by data flow, {stated} by the compiler's directives");
            return Err(Reason::StackDepth(text));
        }
        let above = if usage.entry { 8 } else { mode.above(state) };
        self.cursor = Cursor {
            state,
            mode,
            above,
            reachable: true,
            behind_call: false,
        };
        Ok(())
    }

    /// Control falls through into a label.
    fn settle(&mut self, at: usize, reached: Option<(State, Mode)>) -> Result<(), Reason> {
        let Some((state, mode)) = reached else {
            return Ok(());
        };
        if !self.unit.label_use(at).entry {
            self.raise(mode.above(state));
            return Ok(());
        }
        match self.cursor.state.depth {
            // A call that never returns ends the function before.
            _ if self.cursor.behind_call => {
                self.line("ud2");
                Ok(())
            }
            None | Some(0) => {
                self.raise(8);
                Ok(())
            }
            Some(depth) => Err(Reason::StackDepth(format!(
                "runs into a function with {depth} bytes on the stack"
            ))),
        }
    }

    fn label_name(&self, at: usize) -> &'a str {
        match self.unit.items[at].kind {
            Kind::Label(name) => name,
            _ => "",
        }
    }

    fn instruction(&mut self, at: usize, insn: &Insn<'a>) -> Result<(), Reason> {
        self.return_address(insn)?;
        let next = after(insn, self.cursor.state)?;
        let name = insn.mnemonic;
        self.cursor.behind_call = false;
        if name.starts_with('j') || name.starts_with("call") || name.starts_with("ret") {
            self.branch(at, insn)?;
        } else if !self.stack(at, insn, next)? && !self.string(insn)? {
            self.plain(at, insn)?;
        }
        if matches!(name, "ud2" | "hlt") {
            self.cursor.reachable = false;
        }
        self.cursor.state = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
