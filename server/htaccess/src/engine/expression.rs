//! What expressions mean for a request.

use std::net::IpAddr;

use super::Engine;
use crate::expression::{Condition, Function, Test, Word};
use crate::glob;
use crate::hit::Hit;
use crate::limits::{EXPANSION_BYTES_MAX, Exhausted};
use crate::pattern::Groups;
use crate::text::number;
use crate::variable::{Variable, canonical_header};

impl Engine<'_> {
    /// Whether a condition holds. `groups` is what `$0` to `$9` mean, and what the last expression with groups matched.
    pub(crate) fn holds(
        &mut self,
        condition: &Condition,
        hit: &mut Hit,
        groups: &mut Option<Groups>,
    ) -> Result<bool, Exhausted> {
        self.budget.spend(8)?;
        Ok(match condition {
            Condition::Constant(value) => *value,
            Condition::Not(inner) => !self.holds(inner, hit, groups)?,
            Condition::And(a, b) => self.holds(a, hit, groups)? && self.holds(b, hit, groups)?,
            Condition::Or(a, b) => self.holds(a, hit, groups)? || self.holds(b, hit, groups)?,
            Condition::Compare(comparison, a, b) => {
                let (a, b) = (self.word(a, hit, groups)?, self.word(b, hit, groups)?);
                let order = match comparison.numbers {
                    true => number(&a).cmp(&number(&b)),
                    false => a.cmp(&b),
                };
                comparison.less && order.is_lt()
                    || comparison.equal && order.is_eq()
                    || comparison.greater && order.is_gt()
            }
            Condition::In(word, list) => {
                let word = self.word(word, hit, groups)?;
                for other in list {
                    if self.word(other, hit, groups)? == word {
                        return Ok(true);
                    }
                }
                false
            }
            Condition::Matches {
                word,
                pattern,
                negative,
            } => {
                let word = self.word(word, hit, groups)?;
                // Groups of an earlier expression are kept unless this one has its own.
                let matched = if pattern.has_groups() {
                    *groups = pattern.find(&word, &mut self.budget)?;
                    groups.is_some()
                } else {
                    pattern.is_match(&word, &mut self.budget)?
                };
                matched != *negative
            }
            Condition::Is(test, word) => {
                let word = self.word(word, hit, groups)?;
                self.test(*test, &word, hit)?
            }
            Condition::Glob(name, pattern, style) => {
                let name = self.word(name, hit, groups)?;
                let pattern = self.word(pattern, hit, groups)?;
                self.budget
                    .spend(name.len().saturating_mul(pattern.len()))?;
                glob::matches(&pattern, &name, *style)
            }
            Condition::Within(word, subnet) => {
                let word = self.word(word, hit, groups)?;
                let address = std::str::from_utf8(&word).ok();
                address
                    .and_then(|text| text.parse::<IpAddr>().ok())
                    .is_some_and(|address| subnet.contains(address))
            }
            Condition::RemoteWithin(subnet) => subnet.contains(self.request.remote),
        })
    }

    /// A text with its variables filled in.
    pub(crate) fn word(
        &mut self,
        word: &Word,
        hit: &mut Hit,
        groups: &Option<Groups>,
    ) -> Result<Vec<u8>, Exhausted> {
        let text = match word {
            Word::Text(text) => text.clone(),
            Word::Variable(variable) => {
                if let Variable::Header(name) = variable {
                    hit.varies_by(&canonical_header(name.as_bytes()));
                }
                self.variable(*variable, hit)
            }
            Word::Group(group) => match groups {
                Some(groups) => groups.get(*group).to_vec(),
                None => Vec::new(),
            },
            Word::Call(function, argument) => {
                let argument = self.word(argument, hit, groups)?;
                self.call(*function, argument, hit)
            }
            Word::Join(words) => {
                let mut text = Vec::new();
                for word in words {
                    text.extend(self.word(word, hit, groups)?);
                    if text.len() > EXPANSION_BYTES_MAX {
                        return Err(Exhausted::Expansion);
                    }
                }
                text
            }
        };
        self.budget.spend(1 + text.len())?;
        Ok(text)
    }

    /// A text that is evaluated for itself.
    pub(crate) fn text(&mut self, word: &Word, hit: &mut Hit) -> Result<Vec<u8>, Exhausted> {
        self.word(word, hit, &None)
    }

    fn call(&mut self, function: Function, argument: Vec<u8>, hit: &mut Hit) -> Vec<u8> {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;
        match function {
            Function::RequestHeader => {
                hit.varies_by(&argument);
                self.request_header(&argument, hit)
            }
            Function::RequestHeaderOnly => self.request_header(&argument, hit),
            Function::ResponseHeader => hit.response_header(&argument),
            Function::Env => hit.env.get(&argument).unwrap_or_default().to_vec(),
            // The server's own environment is nobody's business, and notes are not kept.
            Function::ProcessEnv | Function::Note => Vec::new(),
            Function::Lower => argument.to_ascii_lowercase(),
            Function::Upper => argument.to_ascii_uppercase(),
            Function::Escape => crate::uri::escape_path(&argument),
            Function::Unescape => {
                crate::uri::unescape_keeping_slashes(&argument).unwrap_or_default()
            }
            Function::Base64 => STANDARD.encode(&argument).into_bytes(),
            Function::Unbase64 => STANDARD.decode(&argument).unwrap_or_default(),
            Function::Sha1 => crate::password::sha1_hex(&argument),
            Function::Md5 => crate::password::md5_hex(&argument),
            Function::FileSize => {
                let size = self
                    .stat(&argument)
                    .filter(|s| s.is_file())
                    .map_or(0, |s| s.size);
                size.to_string().into_bytes()
            }
            // `.htaccess` files of Apache may not read files either.
            Function::FileText => Vec::new(),
        }
    }

    fn test(&mut self, test: Test, word: &[u8], hit: &mut Hit) -> Result<bool, Exhausted> {
        Ok(match test {
            Test::Empty => word.is_empty(),
            Test::NotEmpty => !word.is_empty(),
            Test::True => {
                let is_false = |text: &&[u8]| word.eq_ignore_ascii_case(text);
                ![&b""[..], b"0", b"off", b"no", b"false"]
                    .iter()
                    .any(is_false)
            }
            Test::Directory => self.stat(word).is_some_and(|s| s.is_directory()),
            Test::Exists => self.stat(word).is_some(),
            Test::File => self.stat(word).is_some_and(|s| s.is_file()),
            Test::NotEmptyFile => self.stat(word).is_some_and(|s| s.is_file() && s.size > 0),
            Test::Symlink => self.is_symlink(word),
            Test::Executable => self.stat(word).is_some_and(|s| s.executable),
            Test::FileAllowed => self.is_file_allowed(word, hit)?,
            Test::UrlAllowed => self.is_url_allowed(word, hit)?,
        })
    }
}
