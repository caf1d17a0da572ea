//! Assembly text (AT&T, as GCC and people write it) to a list of statements that borrow from the text.
//!
//! Nothing is interpreted here beyond the shape of a statement: comments vanish, `;` separates, labels stand alone,
//! prefixes such as `lock` and `rep` join the instruction they belong to, also when they stand on a line of their own.

use crate::error::{Reason, RewriteError};

/// One statement and the line of the assembly text it stands on.
#[derive(Debug, Clone)]
pub(crate) struct Item<'a> {
    pub(crate) line: u32,
    pub(crate) kind: Kind<'a>,
}

/// What a statement is.
#[derive(Debug, Clone)]
pub(crate) enum Kind<'a> {
    Label(&'a str),
    /// `name` with its dot, and the rest of the statement untouched.
    Directive {
        name: &'a str,
        args: &'a str,
    },
    /// `symbol = expression`.
    Assign {
        symbol: &'a str,
        value: &'a str,
    },
    Insn(Insn<'a>),
    /// `# 12 "file.c"`: GCC's mark in front of inline assembly.
    Marker {
        line: u32,
        file: &'a str,
    },
}

/// Repetition prefix of an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    None,
    /// `rep`, `repe`, `repz`: byte F3.
    WhileEqual,
    /// `repne`, `repnz`: byte F2.
    WhileNotEqual,
}

/// Operands an instruction can have.
const OPERANDS_MAX: usize = 5;

/// One instruction: prefixes, mnemonic, operands as written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Insn<'a> {
    pub(crate) repeat: Repeat,
    pub(crate) mnemonic: &'a str,
    operands: [&'a str; OPERANDS_MAX],
    count: usize,
}

impl<'a> Insn<'a> {
    pub(crate) fn operands(&self) -> &[&'a str] {
        &self.operands[..self.count]
    }
    pub(crate) fn last(&self) -> Option<&'a str> {
        self.operands().last().copied()
    }
}

/// Blanks out `/* … */` outside strings, keeping line numbers. Returns `None` when there is nothing to blank.
pub(crate) fn without_block_comments(text: &str) -> Option<String> {
    if !text.contains("/*") {
        return None;
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let (mut at, mut quoted, mut comment) = (0, false, false);
    while at < bytes.len() {
        let byte = bytes[at];
        let pair = bytes.get(at + 1).copied();
        if comment {
            if byte == b'*' && pair == Some(b'/') {
                comment = false;
                out.extend_from_slice(b"  ");
                at += 2;
                continue;
            }
            out.push(if byte == b'\n' { b'\n' } else { b' ' });
        } else if quoted && byte == b'\\' && pair.is_some() {
            out.extend_from_slice(&bytes[at..at + 2]);
            at += 2;
            continue;
        } else if !quoted && byte == b'/' && pair == Some(b'*') {
            comment = true;
            out.extend_from_slice(b"  ");
            at += 2;
            continue;
        } else {
            quoted ^= byte == b'"';
            out.push(byte);
        }
        at += 1;
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}

/// Splits a whole file into statements.
pub(crate) fn parse(text: &str) -> Result<Vec<Item<'_>>, RewriteError> {
    let mut parser = Parser {
        items: Vec::with_capacity(text.len() / 16),
        repeat: Repeat::None,
    };
    for (index, line) in text.lines().enumerate() {
        let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
        let trimmed = line.trim_start();
        if let Some(rest) = trimmed.strip_prefix('#') {
            if let Some(marker) = marker(rest) {
                parser.items.push(Item {
                    line: number,
                    kind: marker,
                });
            }
            continue;
        }
        // A slash at the start of a line is a comment to gas on this target.
        if trimmed.is_empty() || trimmed.starts_with('/') {
            continue;
        }
        parser.line(number, trimmed)?;
    }
    Ok(parser.items)
}

/// `# 12 "file.c" 1` or `# 12 "file.c"`; any other comment is `None`.
fn marker(rest: &str) -> Option<Kind<'_>> {
    let (number, tail) = rest.trim_start().split_once(' ')?;
    let line = number.parse().ok()?;
    let file = tail.trim_start().strip_prefix('"')?.split('"').next()?;
    Some(Kind::Marker { line, file })
}

struct Parser<'a> {
    items: Vec<Item<'a>>,
    /// A `rep` that stood alone and waits for its instruction.
    repeat: Repeat,
}

impl<'a> Parser<'a> {
    /// Splits one line at `;`, and ends it at a comment, with regard to strings and character constants.
    fn line(&mut self, number: u32, line: &'a str) -> Result<(), RewriteError> {
        let bytes = line.as_bytes();
        let (mut start, mut at, mut quoted) = (0, 0, false);
        while at < bytes.len() {
            match bytes[at] {
                b'\\' if quoted => at += 1,
                b'"' => quoted = !quoted,
                b'\'' if !quoted => at += 1,
                b'#' if !quoted => break,
                b';' if !quoted => {
                    self.statement(number, &line[start..at])?;
                    start = at + 1;
                }
                _ => {}
            }
            at += 1;
        }
        self.statement(number, &line[start..at.min(bytes.len())])
    }

    fn statement(&mut self, number: u32, text: &'a str) -> Result<(), RewriteError> {
        let mut text = text.trim();
        while let Some((label, rest)) = split_label(text) {
            self.items.push(Item {
                line: number,
                kind: Kind::Label(label),
            });
            text = rest.trim_start();
        }
        if text.is_empty() {
            return Ok(());
        }
        let kind = if let Some((symbol, value)) = split_assignment(text) {
            Kind::Assign { symbol, value }
        } else if text.starts_with('.') {
            let (name, args) = split_word(text);
            Kind::Directive { name, args }
        } else {
            match self
                .instruction(text)
                .map_err(|reason| RewriteError::at(number, text, reason))?
            {
                Some(insn) => Kind::Insn(insn),
                None => return Ok(()),
            }
        };
        self.items.push(Item { line: number, kind });
        Ok(())
    }

    /// An instruction with its prefixes, or `None` when the statement is a prefix alone.
    fn instruction(&mut self, mut text: &'a str) -> Result<Option<Insn<'a>>, Reason> {
        loop {
            let (word, rest) = split_word(text);
            match word {
                // One thread runs in a region and nobody else writes its memory, so a locked operation is an ordinary one.
                "lock" | "notrack" | "bnd" => {}
                "rep" | "repe" | "repz" => self.repeat = Repeat::WhileEqual,
                "repne" | "repnz" => self.repeat = Repeat::WhileNotEqual,
                "data16" | "data32" | "addr32" | "rex64" | "rex.W" | "cs" | "ds" | "ss" | "es"
                | "fs" | "gs" => {
                    return Err(Reason::Refused("a bare prefix"));
                }
                _ => {
                    let repeat = std::mem::replace(&mut self.repeat, Repeat::None);
                    return operands(word, rest, repeat).map(Some);
                }
            }
            if rest.is_empty() {
                return Ok(None);
            }
            text = rest;
        }
    }
}

fn operands<'a>(mnemonic: &'a str, rest: &'a str, repeat: Repeat) -> Result<Insn<'a>, Reason> {
    let mut insn = Insn {
        repeat,
        mnemonic,
        operands: [""; OPERANDS_MAX],
        count: 0,
    };
    let mut push = |text: &'a str| {
        let slot = insn
            .operands
            .get_mut(insn.count)
            .ok_or(Reason::Syntax("too many operands"))?;
        *slot = text.trim();
        insn.count += 1;
        Ok(())
    };
    let (mut depth, mut start) = (0_i32, 0);
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b',' if depth == 0 => {
                push(&rest[start..at])?;
                start = at + 1;
            }
            _ => {}
        }
    }
    if !rest[start..].trim().is_empty() {
        push(&rest[start..])?;
    }
    Ok(insn)
}

/// True for characters a symbol may contain.
pub(crate) fn is_symbol_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'$' | b'@') || byte >= 0x80
}

fn split_label(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().position(|byte| !is_symbol_byte(byte))?;
    let rest = text[end..].trim_start();
    (end > 0 && rest.starts_with(':')).then(|| (&text[..end], &rest[1..]))
}

fn split_assignment(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().position(|byte| !is_symbol_byte(byte))?;
    let rest = text[end..].trim_start();
    (end > 0 && rest.starts_with('='))
        .then(|| (&text[..end], rest[1..].trim_start_matches('=').trim()))
}

fn split_word(text: &str) -> (&str, &str) {
    match text.find(|c: char| c.is_ascii_whitespace()) {
        Some(end) => (&text[..end], text[end..].trim_start()),
        None => (text, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes(text: &str) -> Vec<String> {
        parse(text)
            .expect("the text is well formed")
            .iter()
            .map(|item| match &item.kind {
                Kind::Label(name) => format!("{name}:"),
                Kind::Directive { name, args } => format!("{name}<{args}>"),
                Kind::Assign { symbol, value } => format!("{symbol}={value}"),
                Kind::Insn(insn) => {
                    format!("{:?} {} {:?}", insn.repeat, insn.mnemonic, insn.operands())
                }
                Kind::Marker { line, file } => format!("#{line} {file}"),
            })
            .collect()
    }

    #[test]
    fn statements_labels_and_prefixes_are_told_apart() {
        let text = "1: lock ; cmpxchg %edx, (%rdi) # comment\n# 7 \"a.c\" 1\n\trep\n\tmovsq\n.set a , b\nx = 4\n";
        assert_eq!(
            shapes(text),
            [
                "1:",
                "None cmpxchg [\"%edx\", \"(%rdi)\"]",
                "#7 a.c",
                "WhileEqual movsq []",
                ".set<a , b>",
                "x=4"
            ]
        );
    }

    #[test]
    fn strings_keep_their_comment_signs() {
        let text = "\t.string \"a;b#c/*d*/\\\"\" ; nop\n";
        assert!(without_block_comments(text).is_some_and(|kept| kept == text));
        assert_eq!(shapes(text), [".string<\"a;b#c/*d*/\\\"\">", "None nop []"]);
    }

    #[test]
    fn operands_split_outside_parentheses_only() {
        assert_eq!(
            shapes("mov %rax,(-1-2)(%rdi,%rdx)"),
            ["None mov [\"%rax\", \"(-1-2)(%rdi,%rdx)\"]"]
        );
    }
}
