//! Variables that depend on the request: `SetEnvIf` and its kin.

use super::Engine;
use crate::hit::Hit;
use crate::limits::{EXPANSION_BYTES_MAX, Exhausted};
use crate::module::environment::{Attribute, Match, Test};

impl Engine<'_> {
    /// Sets the variables that depend on the request.
    pub(super) fn set_conditional(&mut self, hit: &mut Hit) -> Result<(), Exhausted> {
        let Some(conditional) = hit.section.conditional.clone() else {
            return Ok(());
        };
        for entry in &conditional.entries {
            let mut groups = None;
            let holds = match &entry.test {
                Test::Expression(condition) => self.holds(condition, hit, &mut groups)?,
                Test::Attribute(attribute, test) => {
                    let value = self.attribute(attribute, hit)?;
                    match test {
                        Match::Text(text, any_case) => {
                            self.budget.spend(value.len() + text.len())?;
                            contains(&value, text, *any_case)
                        }
                        Match::Pattern(pattern) => {
                            groups = pattern.find(&value, &mut self.budget)?;
                            groups.is_some()
                        }
                    }
                }
            };
            if !holds {
                continue;
            }
            for (name, value) in &entry.variables {
                self.budget.spend(hit.env.len() + value.len())?;
                if value.starts_with(b"!") {
                    hit.env.unset(name);
                    continue;
                }
                match &groups {
                    Some(groups) => {
                        let value = groups.substitute(value);
                        if value.len() > EXPANSION_BYTES_MAX {
                            return Err(Exhausted::Expansion);
                        }
                        hit.env.set(name, &value);
                    }
                    None => hit.env.set(name, value),
                }
            }
        }
        Ok(())
    }

    fn attribute(&mut self, attribute: &Attribute, hit: &Hit) -> Result<Vec<u8>, Exhausted> {
        Ok(match attribute {
            Attribute::RemoteAddr => self.request.remote.to_canonical().to_string().into_bytes(),
            Attribute::ServerAddr => self.request.server.to_canonical().to_string().into_bytes(),
            Attribute::Uri => hit.uri.clone(),
            Attribute::Method => hit.method_name.clone(),
            Attribute::Protocol => self.request.protocol.as_bytes().to_vec(),
            Attribute::Header(name) => self
                .request_header_opt(name, hit)
                .or_else(|| hit.env.get(name).map(<[u8]>::to_vec))
                .unwrap_or_default(),
            Attribute::Headers(pattern) => {
                let mut found = Vec::new();
                let headers = hit.headers.clone();
                let headers = headers.as_deref().unwrap_or(self.request.headers);
                for (name, value) in headers.iter() {
                    if pattern.is_match(name, &mut self.budget)? {
                        found = value.to_vec();
                    }
                }
                found
            }
        })
    }
}

fn contains(value: &[u8], text: &[u8], any_case: bool) -> bool {
    if text.is_empty() {
        return true;
    }
    value.windows(text.len()).any(|part| match any_case {
        true => part.eq_ignore_ascii_case(text),
        false => part == text,
    })
}
