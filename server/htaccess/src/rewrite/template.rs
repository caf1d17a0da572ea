//! Texts with `%{VARIABLES}`, `$1` and `%1` in them, as conditions and substitutions have them.

use crate::variable::{Dialect, Variable};

/// Defaults within defaults of `${map:key|default}`, and `%{LA-U:…}` within each other.
const NESTING_MAX: usize = 8;

/// A text in pieces.
#[derive(Clone, Debug, Default)]
pub(crate) struct Template(pub(crate) Vec<Piece>);

/// A piece of a text.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Text(Vec<u8>),
    /// A byte behind `\`.
    Escaped(u8),
    /// `$1`: a group of the rule.
    Rule(usize),
    /// `%1`: a group of the last condition that matched.
    Condition(usize),
    Value(Value),
    /// `${map:key|default}`. Maps are defined in the server's configuration only, so every look-up fails.
    Map(Template),
}

/// What `%{…}` asks for.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Variable(Variable),
    Env(Vec<u8>),
    Header(Vec<u8>),
    /// `%{LA-U:…}`, `%{LA-F:…}`: what it would be in the end.
    LookAhead(Box<Value>),
    Unknown,
}

/// How groups are escaped by the flag `B` and its kin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Escaping {
    pub(crate) groups: bool,
    pub(crate) only: Option<Vec<u8>>,
    pub(crate) not: Option<Vec<u8>>,
    pub(crate) no_plus: bool,
    pub(crate) controls: bool,
}

impl Template {
    pub(crate) fn parse(text: &[u8]) -> Template {
        Template::parse_nested(text, 0)
    }

    fn parse_nested(text: &[u8], depth: usize) -> Template {
        let mut pieces = Vec::new();
        let mut literal = Vec::new();
        let mut at = 0;
        while let Some(&byte) = text.get(at) {
            let rest = &text[at + 1..];
            let (piece, used) = match (byte, rest) {
                (b'\\', [next, ..]) => (Some(Piece::Escaped(*next)), 2),
                (b'$', [digit @ b'0'..=b'9', ..]) => {
                    (Some(Piece::Rule(usize::from(digit - b'0'))), 2)
                }
                (b'%', [digit @ b'0'..=b'9', ..]) => {
                    (Some(Piece::Condition(usize::from(digit - b'0'))), 2)
                }
                (b'$' | b'%', [b'{', inner @ ..]) => match closing(inner, b'}') {
                    Some(end) if byte == b'%' => {
                        (Some(Piece::Value(Value::named(&inner[..end], 0))), end + 3)
                    }
                    Some(end) => match map(&inner[..end], depth) {
                        Some(piece) => (Some(piece), end + 3),
                        None => (None, 2),
                    },
                    None => (None, 2),
                },
                _ => (None, 1),
            };
            match piece {
                Some(piece) => {
                    if !literal.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut literal)));
                    }
                    pieces.push(piece);
                }
                None => literal.extend_from_slice(&text[at..at + used]),
            }
            at += used;
        }
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Template(pieces)
    }

    /// Whether it asks a map.
    pub(crate) fn has_map(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Map(_)))
    }

    /// The text without anything to fill in.
    pub(crate) fn starts_with(&self, text: &[u8]) -> bool {
        matches!(self.0.first(), Some(Piece::Text(first)) if first.starts_with(text))
    }
}

/// Where a brace that is open closes; braces within it are counted.
fn closing(text: &[u8], wanted: u8) -> Option<usize> {
    let mut depth = 1_usize;
    for (at, &byte) in text.iter().enumerate() {
        if byte == wanted && depth == 1 {
            return Some(at);
        }
        match byte {
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return None;
                }
            }
            b'{' => depth += 1,
            _ => {}
        }
    }
    None
}

fn map(inner: &[u8], depth: usize) -> Option<Piece> {
    let key = closing(inner, b':')?;
    let rest = &inner[key + 1..];
    let default = closing(rest, b'|').map_or(&b""[..], |at| &rest[at + 1..]);
    let default = match depth < NESTING_MAX {
        true => Template::parse_nested(default, depth + 1),
        false => Template::default(),
    };
    Some(Piece::Map(default))
}

impl Value {
    fn named(name: &[u8], depth: usize) -> Value {
        let after = |prefix: &str| {
            let head = name.get(..prefix.len())?;
            let rest = &name[prefix.len()..];
            (head.eq_ignore_ascii_case(prefix.as_bytes()) && !rest.is_empty()).then_some(rest)
        };
        if let Some(name) = after("ENV:") {
            return Value::Env(name.to_vec());
        }
        if let Some(name) = after("HTTP:") {
            return Value::Header(name.to_vec());
        }
        if let Some(name) = after("LA-U:").or_else(|| after("LA-F:")) {
            return match depth < NESTING_MAX {
                true => Value::LookAhead(Box::new(Value::named(name, depth + 1))),
                false => Value::Unknown,
            };
        }
        match Variable::named(name, Dialect::Rewrite) {
            Some(variable) => Value::Variable(variable),
            None => Value::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_close_where_they_open() {
        assert_eq!(closing(b"a}b", b'}'), Some(1));
        assert_eq!(closing(b"a{b}c}", b'}'), Some(5));
        assert_eq!(closing(b"a{b:c}d:e}", b':'), Some(7));
        assert_eq!(closing(b"abc", b'}'), None);
    }
}
