//! `SetEnv`, `UnsetEnv`, and `SetEnvIf` with its kin.

use std::sync::Arc;

use crate::expression::{self, Condition};
use crate::pattern::Pattern;
use crate::table::Table;

/// Variables that a section sets or removes, whatever the request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fixed {
    set: Table,
    unset: Vec<Vec<u8>>,
}

impl Fixed {
    /// `SetEnv name [value]`.
    pub(crate) fn set(&mut self, name: &[u8], value: &[u8]) {
        self.set.set(name, value);
    }

    /// `UnsetEnv name…`: what sections above have set.
    pub(crate) fn unset(&mut self, name: &[u8]) {
        self.unset.push(name.to_vec());
        self.set.unset(name);
    }

    pub(crate) fn merged(&self, over: &Fixed) -> Fixed {
        let mut set = self.set.clone();
        for name in &over.unset {
            set.unset(name);
        }
        for (name, value) in over.set.iter() {
            set.set(name, value);
        }
        Fixed {
            set,
            unset: Vec::new(),
        }
    }

    /// Puts the variables into a request's environment, behind those of the same name that are there already.
    pub(crate) fn apply(&self, env: &mut Table) {
        for (name, value) in self.set.iter() {
            env.add(name, value);
        }
    }
}

/// Variables that a section sets depending on the request, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conditional {
    pub(crate) entries: Vec<Arc<Entry>>,
}

/// One directive.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) test: Test,
    pub(crate) variables: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What sets its variables.
#[derive(Clone, Debug)]
pub(crate) enum Test {
    Attribute(Attribute, Match),
    Expression(Condition),
}

/// What is looked at.
#[derive(Clone, Debug)]
pub(crate) enum Attribute {
    RemoteAddr,
    ServerAddr,
    Uri,
    Method,
    Protocol,
    /// A header, or else a variable set before.
    Header(Vec<u8>),
    /// Any header whose name matches.
    Headers(Pattern),
}

/// What the value must be like.
#[derive(Clone, Debug)]
pub(crate) enum Match {
    /// A text somewhere in the value; `$1` has no meaning then.
    Text(Vec<u8>, bool),
    Pattern(Pattern),
}

impl Conditional {
    /// `SetEnvIf attribute pattern name[=value]…`. Gives the sizes of its patterns.
    pub(crate) fn add(
        &mut self,
        attribute: &[u8],
        words: &[Vec<u8>],
        any_case: bool,
    ) -> Result<Vec<usize>, String> {
        let (pattern, variables) = words.split_first().ok_or("a pattern is missing")?;
        let mut sizes = Vec::new();
        let mut compile = |text: &[u8]| {
            let pattern = Pattern::new(text, any_case).map_err(|e| e.to_string())?;
            sizes.push(pattern.size());
            Ok::<_, String>(pattern)
        };
        let lower = attribute.to_ascii_lowercase();
        let is_name = |b: &u8| b.is_ascii_alphanumeric() || b"-_".contains(b);
        let attribute = match lower.as_slice() {
            b"remote_addr" | b"remote_host" => Attribute::RemoteAddr,
            b"server_addr" => Attribute::ServerAddr,
            b"request_uri" => Attribute::Uri,
            b"request_method" => Attribute::Method,
            b"request_protocol" => Attribute::Protocol,
            _ if attribute.iter().all(is_name) => Attribute::Header(attribute.to_vec()),
            _ => Attribute::Headers(compile(attribute)?),
        };
        let test = match plain(pattern) {
            Some(text) => Match::Text(text, any_case),
            None => Match::Pattern(compile(pattern)?),
        };
        let test = Test::Attribute(attribute, test);
        self.push(test, variables)?;
        Ok(sizes)
    }

    /// `SetEnvIfExpr expression name[=value]…`.
    pub(crate) fn add_expression(&mut self, words: &[Vec<u8>]) -> Result<Vec<usize>, String> {
        let (text, variables) = words.split_first().ok_or("an expression is missing")?;
        let condition = expression::condition(text).map_err(|e| e.to_string())?;
        let mut sizes = Vec::new();
        condition.patterns(&mut sizes);
        self.push(Test::Expression(condition), variables)?;
        Ok(sizes)
    }

    fn push(&mut self, test: Test, variables: &[Vec<u8>]) -> Result<(), String> {
        if variables.is_empty() {
            return Err("a variable is missing".to_owned());
        }
        let mut pairs = Table::default();
        for word in variables {
            let equals = word.iter().position(|&b| b == b'=');
            let (name, value) = match equals {
                Some(at) if at + 1 < word.len() => (&word[..at], &word[at + 1..]),
                Some(at) => (&word[..at], &b"1"[..]),
                None => (word.as_slice(), &b"1"[..]),
            };
            match name.strip_prefix(b"!") {
                Some(name) if equals.is_none() => pairs.set(name, b"!"),
                _ => pairs.set(name, value),
            }
        }
        let variables = pairs
            .iter()
            .map(|(n, v)| (n.to_vec(), v.to_vec()))
            .collect();
        self.entries.push(Arc::new(Entry { test, variables }));
        Ok(())
    }

    pub(crate) fn merged(&self, over: &Conditional) -> Conditional {
        Conditional {
            entries: [self.entries.clone(), over.entries.clone()].concat(),
        }
    }
}

/// The text that a pattern without any special character means.
fn plain(pattern: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let mut escaped = false;
    for &byte in pattern {
        let is_special = b"^.$|()[]*+?{}\\".contains(&byte);
        match (byte, escaped) {
            (b'\\', false) => {
                escaped = true;
                continue;
            }
            (_, true) if !is_special => return None,
            (_, false) if is_special => return None,
            _ => {}
        }
        escaped = false;
        text.push(byte);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_texts_are_told_from_patterns() {
        assert_eq!(plain(b"Mozilla").as_deref(), Some(&b"Mozilla"[..]));
        assert_eq!(plain(br"a\.b").as_deref(), Some(&b"a.b"[..]));
        assert_eq!(plain(b"^$"), None);
        assert_eq!(plain(br"\d"), None);
        assert_eq!(plain(b"a.b"), None);
    }
}
