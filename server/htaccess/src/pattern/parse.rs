//! Reads the syntax of PCRE, as far as rules are written in it.
//!
//! The options are those of Apache 2.4: bytes, C's locale, `.` is any byte, `$` is the very end (`PCRE2_DOTALL`,
//! `PCRE2_DOLLAR_ENDONLY`). Recursion, conditions, Unicode properties and control verbs are not understood.

use super::class::{self, escaped_set};
use super::error::PatternError;
use super::tree::{Greed, Node, Place, Set};
use crate::limits::PATTERN_NESTING_MAX;

/// What `(?imsxU)` switches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub(super) any_case: bool,
    multi_line: bool,
    dot_all: bool,
    extended: bool,
    swap_greed: bool,
}

/// Reads an expression. Gives its tree and the number of its groups.
pub(super) fn parse(text: &[u8], any_case: bool) -> Result<(Node, u32), PatternError> {
    let mut parser = Parser {
        text,
        at: 0,
        groups: 0,
        depth: 0,
        names: Vec::new(),
        options: Options {
            any_case,
            multi_line: false,
            dot_all: true,
            extended: false,
            swap_greed: false,
        },
    };
    let node = parser.choice()?;
    if parser.at < text.len() {
        return Err(PatternError::Syntax("unmatched )"));
    }
    Ok((node, parser.groups))
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    groups: u32,
    depth: usize,
    names: Vec<(Vec<u8>, u32)>,
    options: Options,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self, expected: &[u8]) -> bool {
        let found = self.text[self.at..].starts_with(expected);
        if found {
            self.at += expected.len();
        }
        found
    }

    /// Alternatives up to `)` or the end.
    fn choice(&mut self) -> Result<Node, PatternError> {
        let outer = self.options;
        let mut choices = vec![self.sequence()?];
        while self.take(b"|") {
            choices.push(self.sequence()?);
        }
        self.options = outer;
        Ok(match choices.len() {
            1 => choices.pop().expect("there is one"),
            _ => Node::Choice(choices),
        })
    }

    fn sequence(&mut self) -> Result<Node, PatternError> {
        let mut nodes = Vec::new();
        loop {
            self.skip_comments();
            match self.peek() {
                None | Some(b'|' | b')') => break,
                Some(_) => {}
            }
            if let Some(node) = self.atom()? {
                let node = self.repeated(node)?;
                nodes.push(node);
            }
        }
        Ok(match nodes.len() {
            0 => Node::Empty,
            1 => nodes.pop().expect("there is one"),
            _ => Node::Sequence(nodes),
        })
    }

    /// White space and comments of `(?x)`.
    fn skip_comments(&mut self) {
        while self.options.extended {
            match self.peek() {
                Some(b) if crate::text::is_space(b) => self.at += 1,
                Some(b'#') => {
                    let rest = &self.text[self.at..];
                    self.at += rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
                }
                _ => break,
            }
        }
    }

    /// One thing that can be repeated; `None` for what only switches options.
    fn atom(&mut self) -> Result<Option<Node>, PatternError> {
        let byte = self.peek().expect("the caller looked");
        self.at += 1;
        let options = self.options;
        Ok(Some(match byte {
            b'.' if options.dot_all => Node::Set(Set::default().inverted()),
            b'.' => Node::Set(Set::of([b'\n']).inverted()),
            b'^' if options.multi_line => Node::Place(Place::LineStart),
            b'^' => Node::Place(Place::Start),
            b'$' if options.multi_line => Node::Place(Place::LineEnd),
            b'$' => Node::Place(Place::End),
            b'[' => {
                let (set, used) = class::parse(&self.text[self.at..], options.any_case)?;
                self.at += used;
                Node::Set(set)
            }
            b'(' => return self.group(),
            b'\\' => self.escape()?,
            b'*' | b'+' | b'?' => return Err(PatternError::Syntax("nothing to repeat")),
            _ => self.literal(byte),
        }))
    }

    fn literal(&self, byte: u8) -> Node {
        if self.options.any_case && byte.is_ascii_alphabetic() {
            Node::Set(Set::of([byte]).any_case())
        } else {
            Node::Byte(byte)
        }
    }

    /// With the quantifiers that follow it: `a{2}{3}` is a group of two, three times.
    fn repeated(&mut self, mut node: Node) -> Result<Node, PatternError> {
        let mut stacked = 0;
        self.skip_comments();
        while let Some((min, max)) = self.quantifier()? {
            let greed = if self.take(b"+") {
                Greed::Possessive
            } else if self.take(b"?") != self.options.swap_greed {
                Greed::Lazy
            } else {
                Greed::Greedy
            };
            stacked += 1;
            if stacked > PATTERN_NESTING_MAX {
                return Err(PatternError::TooLarge("quantifiers of one thing"));
            }
            node = Node::Repeat {
                node: Box::new(node),
                min,
                max,
                greed,
            };
            self.skip_comments();
        }
        Ok(node)
    }

    fn quantifier(&mut self) -> Result<Option<(u32, Option<u32>)>, PatternError> {
        let counts = match self.peek() {
            Some(b'*') => (0, None),
            Some(b'+') => (1, None),
            Some(b'?') => (0, Some(1)),
            Some(b'{') => return self.counts(),
            _ => return Ok(None),
        };
        self.at += 1;
        Ok(Some(counts))
    }

    /// `{n}`, `{n,}` or `{n,m}`; anything else after `{` stands for itself.
    fn counts(&mut self) -> Result<Option<(u32, Option<u32>)>, PatternError> {
        let rest = &self.text[self.at + 1..];
        let Some(end) = rest.iter().position(|&b| b == b'}') else {
            return Ok(None);
        };
        let inner = &rest[..end];
        let (first, second) = match inner.iter().position(|&b| b == b',') {
            Some(comma) => (&inner[..comma], Some(&inner[comma + 1..])),
            None => (inner, None),
        };
        let is_count = |text: &[u8]| text.iter().all(u8::is_ascii_digit);
        if first.is_empty() || !is_count(first) || !second.is_none_or(is_count) {
            return Ok(None);
        }
        let count = |text: &[u8]| {
            let value = crate::text::number(text);
            u32::try_from(value)
                .ok()
                .filter(|v| *v <= 65_535)
                .ok_or(PatternError::Syntax("number too big in {}"))
        };
        let min = count(first)?;
        let max = match second {
            None => Some(min),
            Some(b"") => None,
            Some(text) => Some(count(text)?),
        };
        if max.is_some_and(|max| max < min) {
            return Err(PatternError::Syntax("numbers out of order in {}"));
        }
        self.at += end + 2;
        Ok(Some((min, max)))
    }

    /// What stands after `(`.
    fn group(&mut self) -> Result<Option<Node>, PatternError> {
        if self.peek() == Some(b'*') {
            return Err(PatternError::Unsupported("a control verb"));
        }
        if !self.take(b"?") {
            return self.capture(None).map(Some);
        }
        for (sign, behind, negative) in [
            (&b"="[..], false, false),
            (b"!", false, true),
            (b"<=", true, false),
            (b"<!", true, true),
        ] {
            if self.take(sign) {
                let node = Box::new(self.body()?);
                let look = Node::Look {
                    behind,
                    negative,
                    node,
                };
                return Ok(Some(look));
            }
        }
        if self.take(b":") {
            return self.body().map(Some);
        }
        if self.take(b">") {
            return Ok(Some(Node::Atomic(Box::new(self.body()?))));
        }
        for (open, close) in [(&b"P<"[..], b'>'), (b"<", b'>'), (b"'", b'\'')] {
            if self.take(open) {
                let name = self.name(close)?;
                return self.capture(Some(name)).map(Some);
            }
        }
        if self.take(b"P=") {
            let name = self.name(b')')?;
            return self.named_back(&name).map(Some);
        }
        if self.take(b"#") {
            self.name(b')')?;
            return Ok(None);
        }
        self.switches()
    }

    fn name(&mut self, close: u8) -> Result<Vec<u8>, PatternError> {
        let rest = &self.text[self.at..];
        let end = rest.iter().position(|&b| b == close);
        let end = end.ok_or(PatternError::Syntax("unterminated name or comment"))?;
        self.at += end + 1;
        Ok(rest[..end].to_vec())
    }

    fn capture(&mut self, name: Option<Vec<u8>>) -> Result<Node, PatternError> {
        self.groups += 1;
        let group = self.groups;
        if let Some(name) = name {
            self.names.push((name, group));
        }
        Ok(Node::Group(group, Box::new(self.body()?)))
    }

    /// Up to and with the closing parenthesis.
    fn body(&mut self) -> Result<Node, PatternError> {
        self.depth += 1;
        if self.depth > PATTERN_NESTING_MAX {
            return Err(PatternError::TooLarge("groups within groups"));
        }
        let outer = self.options;
        let node = self.choice()?;
        self.options = outer;
        self.depth -= 1;
        if self.take(b")") {
            Ok(node)
        } else {
            Err(PatternError::Syntax("missing )"))
        }
    }

    /// `(?i)`, `(?i-s:…)`.
    fn switches(&mut self) -> Result<Option<Node>, PatternError> {
        let mut options = self.options;
        let mut on = true;
        loop {
            let byte = self.peek().ok_or(PatternError::Syntax("missing )"))?;
            self.at += 1;
            match byte {
                b'i' => options.any_case = on,
                b'm' => options.multi_line = on,
                b's' => options.dot_all = on,
                b'x' => options.extended = on,
                b'U' => options.swap_greed = on,
                b'J' => {}
                b'-' if on => on = false,
                b')' => {
                    // Holds to the end of the enclosing group, which `choice` restores.
                    self.options = options;
                    return Ok(None);
                }
                b':' => {
                    let outer = std::mem::replace(&mut self.options, options);
                    let node = self.body();
                    self.options = outer;
                    return node.map(Some);
                }
                b'R' | b'0'..=b'9' | b'&' | b'P' | b'(' | b'|' | b'C' | b'+' => {
                    return Err(PatternError::Unsupported(
                        "recursion, a condition or a reset",
                    ));
                }
                _ => return Err(PatternError::Syntax("unknown group after (?")),
            }
        }
    }

    fn named_back(&self, name: &[u8]) -> Result<Node, PatternError> {
        let found = self.names.iter().find(|(known, _)| known == name);
        let (_, group) = found.ok_or(PatternError::Syntax("reference to an unknown name"))?;
        Ok(self.back(*group))
    }

    fn back(&self, group: u32) -> Node {
        let any_case = self.options.any_case;
        Node::Back { group, any_case }
    }

    /// What stands after `\`, outside of a class.
    fn escape(&mut self) -> Result<Node, PatternError> {
        let rest = &self.text[self.at..];
        let &byte = rest.first().ok_or(PatternError::Syntax("\\ at the end"))?;
        let place = match byte {
            b'b' => Some(Place::WordEdge),
            b'B' => Some(Place::NoWordEdge),
            b'A' => Some(Place::Start),
            b'z' => Some(Place::End),
            b'Z' => Some(Place::SoftEnd),
            b'G' => Some(Place::Start),
            _ => None,
        };
        if let Some(place) = place {
            self.at += 1;
            return Ok(Node::Place(place));
        }
        if let Some(set) = escaped_set(byte) {
            self.at += 1;
            return Ok(Node::Set(set));
        }
        match byte {
            b'Q' => return Ok(self.quoted()),
            b'E' => {
                self.at += 1;
                return Ok(Node::Empty);
            }
            b'N' => {
                self.at += 1;
                return Ok(Node::Set(Set::of([b'\n']).inverted()));
            }
            b'R' => {
                self.at += 1;
                return Ok(line_break());
            }
            b'1'..=b'9' => {
                if let Some(node) = self.numbered_back() {
                    return Ok(node);
                }
            }
            b'g' | b'k' => return self.marked_back(),
            b'p' | b'P' | b'X' | b'K' | b'C' => {
                return Err(PatternError::Unsupported("\\p, \\X, \\K or \\C"));
            }
            _ => {}
        }
        let (byte, used) = class::escaped_byte(rest)?;
        self.at += used;
        Ok(self.literal(byte))
    }

    /// `\Q…\E`.
    fn quoted(&mut self) -> Node {
        let rest = &self.text[self.at + 1..];
        let end = rest.windows(2).position(|pair| pair == br"\E");
        let (inner, used) = end.map_or((rest, rest.len()), |end| (&rest[..end], end + 2));
        let nodes = inner.iter().map(|&byte| self.literal(byte)).collect();
        self.at += 1 + used;
        Node::Sequence(nodes)
    }

    /// `\1`; `None` where PCRE reads an octal number.
    fn numbered_back(&mut self) -> Option<Node> {
        let rest = &self.text[self.at..];
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        let value = crate::text::number(&rest[..digits]);
        // Groups that open later count too, but rules do not refer to them.
        let group = u32::try_from(value).ok()?;
        if digits > 1 && group > self.groups {
            return None;
        }
        self.at += digits;
        Some(self.back(group))
    }

    /// `\g1`, `\g{-1}`, `\k<name>`, `\k{name}`, `\k'name'`.
    fn marked_back(&mut self) -> Result<Node, PatternError> {
        let marked = self.text[self.at];
        self.at += 1;
        let name = match self.peek() {
            Some(b'{') => {
                self.at += 1;
                self.name(b'}')?
            }
            Some(b'<') if marked == b'k' => {
                self.at += 1;
                self.name(b'>')?
            }
            Some(b'\'') if marked == b'k' => {
                self.at += 1;
                self.name(b'\'')?
            }
            Some(b'0'..=b'9') if marked == b'g' => {
                let rest = &self.text[self.at..];
                let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
                self.at += digits;
                rest[..digits].to_vec()
            }
            _ => return Err(PatternError::Unsupported("a call of a group")),
        };
        let digits = name.strip_prefix(b"-").unwrap_or(&name);
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return self.named_back(&name);
        }
        let value = crate::text::number(&name);
        let group = if value < 0 {
            i64::from(self.groups) + 1 + value
        } else {
            value
        };
        match u32::try_from(group) {
            Ok(group) if group > 0 => Ok(self.back(group)),
            _ => Err(PatternError::Syntax("reference to an unknown group")),
        }
    }
}

/// `\R`, which gives nothing back.
fn line_break() -> Node {
    let pair = Node::Sequence(vec![Node::Byte(b'\r'), Node::Byte(b'\n')]);
    let single = Node::Set(Set::of([b'\n', 0x0b, 0x0c, b'\r', 0x85]));
    Node::Atomic(Box::new(Node::Choice(vec![pair, single])))
}
