//! Fills texts of rules in.

use crate::engine::Engine;
use crate::hit::Hit;
use crate::limits::{EXPANSION_BYTES_MAX, Exhausted};
use crate::pattern::Groups;
use crate::rewrite::template::{Escaping, Piece, Template, Value};
use crate::variable::{Variable, canonical_header};

/// What a substitution became.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Expanded {
    pub(super) text: Vec<u8>,
    /// The `?` that would start the query came from the request.
    pub(super) foreign_query: bool,
}

/// What texts refer to.
#[derive(Clone, Debug, Default)]
pub(super) struct Context {
    pub(super) rule: Option<Groups>,
    pub(super) condition: Option<Groups>,
    /// What the rule is matched against.
    pub(super) uri: Vec<u8>,
    /// The rules' directory, `/` last.
    pub(super) directory: Vec<u8>,
    pub(super) base: Option<Vec<u8>>,
    /// Request headers that conditions asked for.
    pub(super) vary: Vec<Vec<u8>>,
}

impl Engine<'_> {
    /// Fills a text in. `last_query` says that the last `?` starts the query, not the first.
    pub(super) fn expand(
        &mut self,
        template: &Template,
        hit: &mut Hit,
        context: &mut Context,
        escaping: Option<&Escaping>,
        last_query: bool,
    ) -> Result<Expanded, Exhausted> {
        let mut out = Expanded::default();
        let mut query = None;
        for piece in &template.0 {
            let start = out.text.len();
            let foreign = match piece {
                Piece::Text(text) => {
                    out.text.extend_from_slice(text);
                    false
                }
                Piece::Escaped(byte) => {
                    out.text.push(*byte);
                    continue;
                }
                Piece::Rule(group) => {
                    let text = context.rule.as_ref().map_or(&b""[..], |g| g.get(*group));
                    escape_group(text, escaping, &mut out.text);
                    true
                }
                Piece::Condition(group) => {
                    let groups = context.condition.as_ref();
                    let text = groups.map_or(&b""[..], |g| g.get(*group));
                    escape_group(text, escaping, &mut out.text);
                    true
                }
                Piece::Value(value) => {
                    out.text.extend(self.value(value, hit, context)?);
                    true
                }
                Piece::Map(default) => {
                    let default = self.expand(default, hit, context, escaping, false)?;
                    out.text.extend(default.text);
                    true
                }
            };
            if (query.is_none() || last_query) && out.text[start..].contains(&b'?') {
                query = Some(foreign);
            }
            self.budget.spend(1 + out.text.len() - start)?;
            if out.text.len() > EXPANSION_BYTES_MAX {
                return Err(Exhausted::Expansion);
            }
        }
        out.foreign_query = query == Some(true);
        Ok(out)
    }

    fn value(
        &mut self,
        value: &Value,
        hit: &mut Hit,
        context: &mut Context,
    ) -> Result<Vec<u8>, Exhausted> {
        Ok(match value {
            Value::Unknown => Vec::new(),
            Value::Env(name) => hit.env.get(name).unwrap_or_default().to_vec(),
            Value::Header(name) => self.rewrite_header(name, hit, context),
            Value::Variable(Variable::Header(name)) => {
                self.rewrite_header(name.as_bytes(), hit, context)
            }
            Value::Variable(variable) => self.variable(*variable, hit),
            Value::LookAhead(value) => {
                let url = match context.uri.first() {
                    Some(b'/') => context.uri.clone(),
                    _ => {
                        let base = context.base.as_ref().unwrap_or(&context.directory);
                        [base.as_slice(), &context.uri].concat()
                    }
                };
                match self.look_ahead(&url, hit)? {
                    Some(mut ahead) => self.value(value, &mut ahead, context)?,
                    None => Vec::new(),
                }
            }
        })
    }

    fn rewrite_header(&self, name: &[u8], hit: &Hit, context: &mut Context) -> Vec<u8> {
        let value = self.request_header_opt(name, hit);
        // Who answers by a header says so in `Vary`; `Host` is part of what is asked for.
        if value.is_some() && !name.eq_ignore_ascii_case(b"host") {
            context.vary.push(canonical_header(name));
        }
        value.unwrap_or_default()
    }
}

fn escape_group(text: &[u8], escaping: Option<&Escaping>, out: &mut Vec<u8>) {
    let Some(escaping) = escaping.filter(|e| e.groups) else {
        out.extend_from_slice(text);
        return;
    };
    for &byte in text {
        let listed =
            |list: &Option<Vec<u8>>| list.as_ref().is_some_and(|list| list.contains(&byte));
        let by_default = match escaping.controls {
            true => byte <= b' ' || byte == 0x7f,
            false => escaping.only.is_none(),
        };
        let stays = !(by_default || listed(&escaping.only)) || listed(&escaping.not);
        if stays || byte.is_ascii_alphanumeric() || byte == b'_' {
            out.push(byte);
        } else if byte == b' ' && !escaping.no_plus {
            out.push(b'+');
        } else {
            out.extend_from_slice(format!("%{byte:02x}").as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_escaped_as_asked() {
        let escape = |escaping: &Escaping, text: &str| {
            let mut out = Vec::new();
            escape_group(text.as_bytes(), Some(escaping), &mut out);
            String::from_utf8(out).unwrap()
        };
        let all = Escaping {
            groups: true,
            ..Escaping::default()
        };
        assert_eq!(escape(&all, "a b&c/d_1"), "a+b%26c%2fd_1");
        let no_plus = Escaping {
            no_plus: true,
            ..all.clone()
        };
        assert_eq!(escape(&no_plus, "a b"), "a%20b");
        let some = Escaping {
            only: Some(b"&?".to_vec()),
            ..all.clone()
        };
        assert_eq!(escape(&some, "a b&c?/"), "a b%26c%3f/");
        let not = Escaping {
            not: Some(b"/".to_vec()),
            ..all.clone()
        };
        assert_eq!(escape(&not, "a/b&"), "a/b%26");
        let controls = Escaping {
            controls: true,
            ..all
        };
        assert_eq!(escape(&controls, "a b&\x01"), "a+b&%01");
    }
}
