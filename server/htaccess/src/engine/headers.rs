//! What `Header` and `RequestHeader` do.

use super::Engine;
use crate::hit::Hit;
use crate::limits::{EXPANSION_BYTES_MAX, Exhausted};
use crate::module::headers::{Action, Entry, Only, Piece, Value, Which};
use crate::pattern::Pattern;
use crate::table::Table;

impl Engine<'_> {
    /// Applies the directives for one kind of headers.
    pub(crate) fn change_headers(
        &mut self,
        which: Which,
        hit: &mut Hit,
        headers: &mut Table,
    ) -> Result<(), Exhausted> {
        let Some(rules) = hit.section.headers.clone() else {
            return Ok(());
        };
        for entry in rules.list(which) {
            self.budget.spend(8 + headers.len())?;
            let applies = match &entry.only {
                Only::Always => true,
                Only::Env(name) => hit.env.contains(name),
                Only::NoEnv(name) => !hit.env.contains(name),
                Only::Expression(condition) => self.holds(condition, hit, &mut None)?,
            };
            if applies {
                self.change_header(entry, hit, headers)?;
            }
        }
        Ok(())
    }

    fn change_header(
        &mut self,
        entry: &Entry,
        hit: &mut Hit,
        headers: &mut Table,
    ) -> Result<(), Exhausted> {
        let name = &entry.name;
        match entry.action {
            Action::Unset => headers.unset(name),
            Action::Echo => {
                let pattern = entry.pattern.as_ref().expect("echo has one");
                let all = hit.headers.clone();
                for (name, value) in all.as_deref().unwrap_or(self.request.headers).iter() {
                    if pattern.is_match(name, &mut self.budget)? {
                        headers.add(name, value);
                    }
                }
            }
            Action::Edit | Action::EditAll => {
                let value = self.header_value(&entry.value, hit)?;
                let pattern = entry.pattern.as_ref().expect("edit has one");
                let all = entry.action == Action::EditAll;
                headers.edit(name, |old| self.edited(old, pattern, &value, all))?;
            }
            Action::SetIfEmpty if headers.contains(name) => {}
            action => {
                let value = self.header_value(&entry.value, hit)?;
                match action {
                    Action::Add => headers.add(name, &value),
                    Action::Append => headers.merge(name, &value),
                    Action::Merge => {
                        let old = headers.get(name);
                        if !old.is_some_and(|old| has_token(old, &value)) {
                            headers.merge(name, &value);
                        }
                    }
                    _ => headers.set(name, &value),
                }
            }
        }
        Ok(())
    }

    fn header_value(&mut self, value: &Value, hit: &mut Hit) -> Result<Vec<u8>, Exhausted> {
        let pieces = match value {
            Value::Expression(word) => return self.text(word, hit),
            Value::Pieces(pieces) => pieces,
        };
        let mut out = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Env(name) => {
                    let value = hit.env.get(name).unwrap_or(b"(null)");
                    let breaks = |b: &u8| if matches!(b, b'\r' | b'\n') { b' ' } else { *b };
                    out.extend(value.iter().map(breaks));
                }
                Piece::Time => {
                    let micros = self.request.time.saturating_mul(1_000_000);
                    out.extend_from_slice(format!("t={micros}").as_bytes());
                }
                Piece::Zero(text) => out.extend_from_slice(text.as_bytes()),
            }
        }
        self.budget.spend(out.len())?;
        match out.len() > EXPANSION_BYTES_MAX {
            true => Err(Exhausted::Expansion),
            false => Ok(out),
        }
    }

    /// A value with the first match replaced, or all of them.
    fn edited(
        &mut self,
        old: &[u8],
        pattern: &Pattern,
        replacement: &[u8],
        all: bool,
    ) -> Result<Vec<u8>, Exhausted> {
        let mut out = Vec::new();
        let mut rest = old;
        while let Some(groups) = pattern.find(rest, &mut self.budget)? {
            let (start, end) = groups.whole();
            out.extend_from_slice(&rest[..start]);
            out.extend(groups.substitute(replacement));
            if out.len() > EXPANSION_BYTES_MAX {
                return Err(Exhausted::Expansion);
            }
            rest = &rest[end..];
            // An empty match would be found again and again.
            if !all || end == 0 {
                break;
            }
        }
        out.extend_from_slice(rest);
        Ok(out)
    }
}

/// Whether a list of tokens has one of them.
fn has_token(list: &[u8], token: &[u8]) -> bool {
    let mut quoted = false;
    let parts = list.split(|&b| {
        quoted ^= b == b'"';
        b == b',' && !quoted
    });
    let mut parts = parts.map(crate::text::trim);
    parts.any(|part| part == token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_whole() {
        assert!(has_token(b"a, b,c", b"b"));
        assert!(!has_token(b"ab, \"b,c\"", b"b"));
        assert!(has_token(b"\"x,y\", b", b"b"));
    }
}
