//! `Header` and `RequestHeader`.

use std::sync::Arc;

use crate::expression::{self, Condition, Word};
use crate::pattern::Pattern;
use crate::text::{Words, show};

/// Which headers are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Request,
    /// Those of an answer that is none of the server's own error pages.
    OnSuccess,
    /// Those that every answer gets.
    Always,
}

/// What is done about a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Add,
    Set,
    SetIfEmpty,
    Append,
    Merge,
    Unset,
    Echo,
    Edit,
    EditAll,
}

/// A piece of a value.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Text(Vec<u8>),
    Env(Vec<u8>),
    /// `%t`.
    Time,
    /// `%D`, `%l` and the like: nothing that is known before the answer.
    Zero(&'static str),
}

/// A value.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Pieces(Vec<Piece>),
    Expression(Word),
}

/// When a directive holds.
#[derive(Clone, Debug)]
pub(crate) enum Only {
    Always,
    Env(Vec<u8>),
    NoEnv(Vec<u8>),
    Expression(Condition),
}

/// One directive.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) action: Action,
    pub(crate) name: Vec<u8>,
    pub(crate) pattern: Option<Pattern>,
    pub(crate) value: Value,
    pub(crate) only: Only,
}

/// What a section says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Headers {
    request: Vec<Arc<Entry>>,
    success: Vec<Arc<Entry>>,
    always: Vec<Arc<Entry>>,
}

impl Headers {
    /// Reads `Header …` or `RequestHeader …`. Gives the sizes of its patterns.
    pub(crate) fn add(&mut self, line: &[u8], is_request: bool) -> Result<Vec<usize>, String> {
        let mut words = Words::new(line);
        let mut action = words.next().ok_or("an action is missing")?;
        let mut which = Which::OnSuccess;
        if is_request {
            which = Which::Request;
        } else if action.eq_ignore_ascii_case(b"always") {
            which = Which::Always;
            action = words.next().ok_or("an action is missing")?;
        } else if action.eq_ignore_ascii_case(b"onsuccess") {
            action = words.next().ok_or("an action is missing")?;
        }
        let name = words.next().ok_or("a header is missing")?;
        let (entry, sizes) = Entry::new(&action, &name, words.all(), is_request)?;
        let list = match which {
            Which::Request => &mut self.request,
            Which::OnSuccess => &mut self.success,
            Which::Always => &mut self.always,
        };
        list.push(Arc::new(entry));
        Ok(sizes)
    }

    pub(crate) fn merged(&self, over: &Headers) -> Headers {
        let joined = |base: &[Arc<Entry>], own: &[Arc<Entry>]| [base, own].concat();
        Headers {
            request: joined(&self.request, &over.request),
            success: joined(&self.success, &over.success),
            always: joined(&self.always, &over.always),
        }
    }

    /// Whether there is anything for a kind of headers.
    pub(crate) fn has(&self, which: Which) -> bool {
        !self.list(which).is_empty()
    }

    /// The directives for a kind of headers.
    pub(crate) fn list(&self, which: Which) -> &[Arc<Entry>] {
        match which {
            Which::Request => &self.request,
            Which::OnSuccess => &self.success,
            Which::Always => &self.always,
        }
    }
}

impl Entry {
    fn new(
        action: &[u8],
        name: &[u8],
        arguments: Vec<Vec<u8>>,
        is_request: bool,
    ) -> Result<(Entry, Vec<usize>), String> {
        let action = match action.to_ascii_lowercase().as_slice() {
            b"add" => Action::Add,
            b"set" => Action::Set,
            b"setifempty" => Action::SetIfEmpty,
            b"append" => Action::Append,
            b"merge" => Action::Merge,
            b"unset" => Action::Unset,
            b"echo" if !is_request => Action::Echo,
            b"edit" => Action::Edit,
            b"edit*" => Action::EditAll,
            _ => return Err(format!("unknown action {}", show(action))),
        };
        let mut sizes = Vec::new();
        let mut compile = |text: &[u8]| {
            let pattern = Pattern::new(text, false).map_err(|e| e.to_string())?;
            sizes.push(pattern.size());
            Ok::<_, String>(pattern)
        };
        let mut arguments = arguments.into_iter();
        let mut pattern = None;
        let value = match action {
            Action::Unset => Vec::new(),
            Action::Echo => {
                pattern = Some(compile(name)?);
                Vec::new()
            }
            Action::Edit | Action::EditAll => {
                let text = arguments.next().ok_or("a pattern is missing")?;
                pattern = Some(compile(&text)?);
                arguments.next().ok_or("a replacement is missing")?
            }
            _ => arguments.next().ok_or("a value is missing")?,
        };
        let only = match arguments.next() {
            None => Only::Always,
            Some(clause) => Only::parse(&clause, &mut sizes)?,
        };
        if arguments.next().is_some() {
            return Err("too many arguments".to_owned());
        }
        let name = name.split(|&b| b == b':').next().unwrap_or_default();
        if action != Action::Echo && !is_token(name) {
            return Err(format!("{} is no name of a header", show(name)));
        }
        let value = match value.strip_prefix(b"expr=") {
            Some(text) => Value::Expression(expression::text(text).map_err(|e| e.to_string())?),
            None => Value::Pieces(pieces(&value)?),
        };
        let entry = Entry {
            action,
            name: name.to_vec(),
            pattern,
            value,
            only,
        };
        Ok((entry, sizes))
    }
}

fn is_token(name: &[u8]) -> bool {
    let is_token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    !name.is_empty() && name.iter().all(is_token)
}

impl Only {
    fn parse(clause: &[u8], sizes: &mut Vec<usize>) -> Result<Only, String> {
        let lower = clause.to_ascii_lowercase();
        if lower == b"early" {
            return Err("early is for the server's configuration only".to_owned());
        }
        if lower.starts_with(b"env=") {
            let name = &clause[4..];
            return match name.strip_prefix(b"!") {
                Some(b"") => Err("a variable is missing".to_owned()),
                Some(name) => Ok(Only::NoEnv(name.to_vec())),
                None if name.is_empty() => Err("a variable is missing".to_owned()),
                None => Ok(Only::Env(name.to_vec())),
            };
        }
        if lower.starts_with(b"expr=") {
            let condition = expression::condition(&clause[5..]).map_err(|e| e.to_string())?;
            condition.patterns(sizes);
            return Ok(Only::Expression(condition));
        }
        Err(format!("unknown condition {}", show(clause)))
    }
}

/// Takes `%{NAME}e` and `\n` out of a value.
fn pieces(value: &[u8]) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut text = Vec::new();
    let mut at = 0;
    while let Some(&byte) = value.get(at) {
        at += 1;
        match (byte, value.get(at)) {
            (b'\\', Some(next @ (b'\\' | b'r' | b'n' | b't'))) => {
                text.push(match next {
                    b'r' => b'\r',
                    b'n' => b'\n',
                    b't' => b'\t',
                    other => *other,
                });
                at += 1;
            }
            (b'%', None) => text.push(b'%'),
            (b'%', Some(b'%')) => {
                text.push(b'%');
                at += 1;
            }
            (b'%', Some(_)) => {
                let mut argument = Vec::new();
                if value[at] == b'{' {
                    let rest = &value[at + 1..];
                    let end = rest.iter().position(|&b| b == b'}').unwrap_or(rest.len());
                    argument = rest[..end].to_vec();
                    at += end + 2;
                }
                let piece = match value.get(at) {
                    Some(b'e') => Piece::Env(argument),
                    Some(b's') => Piece::Text(b"(null)".to_vec()),
                    Some(b't') => Piece::Time,
                    Some(b'D') => Piece::Zero("D=0"),
                    Some(b'l') => Piece::Zero("l=0.00/0.00/0.00"),
                    Some(b'i') => Piece::Zero("i=0"),
                    Some(b'b') => Piece::Zero("b=0"),
                    other => {
                        let shown = other.map(|b| char::from(*b)).unwrap_or(' ');
                        return Err(format!("unknown format %{shown}"));
                    }
                };
                at += 1;
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                pieces.push(piece);
            }
            _ => text.push(byte),
        }
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_checked() {
        for (line, good) in [
            ("set X-A 1", true),
            ("always set X-A 1", true),
            ("onsuccess unset X-A", true),
            ("unset X-A env=foo", true),
            ("edit Set-Cookie ^(.*)$ $1;Secure", true),
            ("set X-A \"%{FOO}e\" env=!BAR", true),
            ("set X-A expr=%{REQUEST_URI}", true),
            ("set X-A 1 \"expr=%{REQUEST_URI} =~ /x/\"", true),
            ("set X-A", false),
            ("set X-A %q", false),
            ("set X-A 1 early", false),
            ("set \"X A\" 1", false),
            ("dance X-A 1", false),
            ("set X-A 1 env=", false),
            ("set X-A 1 env=a 2", false),
            ("edit X-A ( b", false),
        ] {
            let read = Headers::default().add(line.as_bytes(), false);
            assert_eq!(read.is_ok(), good, "{line}: {read:?}");
        }
        assert!(Headers::default().add(b"echo ^X", true).is_err());
    }
}
