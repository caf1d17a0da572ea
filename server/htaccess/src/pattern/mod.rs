//! Regular expressions of rules.
//!
//! Read as PCRE reads them ([`parse`]), and matched in linear time by the crate `regex` where the expression allows it;
//! those that look around or back by [`backtrack`]. Both are paid from the request's budget of steps.

mod backtrack;
mod class;
mod error;
mod parse;
mod tree;

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};

use crate::limits::{Budget, Exhausted, PATTERN_BYTES_MAX, PATTERN_SIZE_MAX};
use backtrack::Program;
pub(crate) use error::PatternError;

/// Groups that a substitution can name: `$0` to `$9`.
pub(crate) const GROUPS_MAX: usize = 10;

/// Where the groups of an expression matched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Groups {
    subject: Vec<u8>,
    ranges: [Option<(usize, usize)>; GROUPS_MAX],
}

impl Groups {
    /// What a group matched; empty when it took no part.
    pub(crate) fn get(&self, group: usize) -> &[u8] {
        match self.ranges.get(group) {
            Some(Some((start, end))) => &self.subject[*start..*end],
            _ => b"",
        }
    }

    /// Start and end of the whole match.
    pub(crate) fn whole(&self) -> (usize, usize) {
        self.ranges[0].unwrap_or_default()
    }

    /// Replaces `$0` to `$9` in a text; `\` takes the meaning from what follows it.
    pub(crate) fn substitute(&self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut at = 0;
        while let Some(&byte) = text.get(at) {
            at += 1;
            match (byte, text.get(at)) {
                (b'$', Some(digit @ b'0'..=b'9')) => {
                    out.extend_from_slice(self.get(usize::from(digit - b'0')));
                    at += 1;
                }
                (b'\\', Some(next)) => {
                    out.push(*next);
                    at += 1;
                }
                _ => out.push(byte),
            }
        }
        out
    }
}

#[derive(Clone)]
enum Engine {
    Linear(Regex),
    Backtracking(Program),
}

/// A compiled expression.
#[derive(Clone)]
pub(crate) struct Pattern {
    engine: Engine,
    size: usize,
    groups: u32,
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.engine {
            Engine::Linear(regex) => write!(f, "Pattern({regex})"),
            Engine::Backtracking(_) => write!(f, "Pattern(backtracking, {} units)", self.size),
        }
    }
}

impl Pattern {
    /// Compiles an expression.
    pub(crate) fn new(text: &[u8], any_case: bool) -> Result<Pattern, PatternError> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(PatternError::TooLarge("bytes"));
        }
        let (node, groups) = parse::parse(text, any_case)?;
        let size = node.size();
        if size > PATTERN_SIZE_MAX {
            return Err(PatternError::TooLarge("repetitions"));
        }
        let engine = if node.is_regular() {
            let mut regular = String::from("(?s-u)");
            node.write_regular(&mut regular);
            let regex = RegexBuilder::new(&regular)
                .unicode(false)
                .size_limit((64 << 10) + 512 * size)
                .dfa_size_limit((16 << 10) + 32 * size)
                .nest_limit(4096)
                .build();
            Engine::Linear(regex.map_err(|_| PatternError::TooLarge("compiled form"))?)
        } else {
            let width = PatternError::Unsupported("looking behind by a length that varies");
            Engine::Backtracking(Program::new(&node, groups).ok_or(width)?)
        };
        Ok(Pattern {
            engine,
            size,
            groups,
        })
    }

    /// Bytes and classes it consists of, repetitions written out.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Whether it has groups that are remembered.
    pub(crate) fn has_groups(&self) -> bool {
        self.groups > 0
    }

    /// Whether it matches somewhere.
    pub(crate) fn is_match(&self, subject: &[u8], budget: &mut Budget) -> Result<bool, Exhausted> {
        match &self.engine {
            Engine::Linear(regex) => {
                self.pay(subject, budget)?;
                Ok(regex.is_match(subject))
            }
            Engine::Backtracking(program) => Ok(program.find(subject, budget)?.is_some()),
        }
    }

    /// Where it matches first.
    pub(crate) fn find(
        &self,
        subject: &[u8],
        budget: &mut Budget,
    ) -> Result<Option<Groups>, Exhausted> {
        let mut ranges = [None; GROUPS_MAX];
        match &self.engine {
            Engine::Linear(regex) => {
                self.pay(subject, budget)?;
                // Most expressions of most rules do not match, which is found out without room for groups.
                if !regex.is_match(subject) {
                    return Ok(None);
                }
                if self.groups == 0 {
                    let found = regex.find(subject).expect("it matches");
                    ranges[0] = Some((found.start(), found.end()));
                } else {
                    let mut found = regex.capture_locations();
                    regex
                        .captures_read(&mut found, subject)
                        .expect("it matches");
                    for (group, range) in ranges.iter_mut().enumerate() {
                        *range = found.get(group);
                    }
                }
            }
            Engine::Backtracking(program) => {
                let Some(slots) = program.find(subject, budget)? else {
                    return Ok(None);
                };
                for (range, pair) in ranges
                    .iter_mut()
                    .take(usize::try_from(self.groups).unwrap_or(usize::MAX) + 1)
                    .zip(slots.chunks_exact(2))
                {
                    let set = pair[0] <= pair[1] && pair[1] != usize::MAX;
                    *range = set.then_some((pair[0], pair[1]));
                }
            }
        }
        Ok(Some(Groups {
            subject: subject.to_vec(),
            ranges,
        }))
    }

    /// The worst that the linear engine does is one step for each byte and each unit of the expression; a quarter of that
    /// keeps expressions of some kilobytes affordable, which it matches much faster as a rule.
    fn pay(&self, subject: &[u8], budget: &mut Budget) -> Result<(), Exhausted> {
        budget.spend(32 + subject.len().saturating_mul(1 + self.size / 4))
    }
}

#[cfg(test)]
mod tests;
