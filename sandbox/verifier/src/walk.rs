//! The one pass over a text: what stands where, and whether it may.

use std::ops::Range;

use iced_x86::{Decoder, DecoderOptions, Instruction};

use crate::allow::{self, BRANCH};
use crate::policy::Policy;
use crate::rejection::{self, Rejection, Rule};
use crate::starts::Starts;
use crate::{macros, rules};

/// A text under verification.
#[derive(Clone, Copy)]
pub(crate) struct Walk<'a> {
    pub(crate) text: &'a [u8],
    pub(crate) base: u32,
    pub(crate) policy: &'a Policy,
}

impl<'a> Walk<'a> {
    /// Consumes one whole macro, one no-operation or one ordinary instruction at a time, from the first position of
    /// `part` until exactly its end, marking where each starts. What lies inside a macro is never marked. Both ends
    /// are bundle starts, which nothing crosses, so that parts can be walked in any order.
    pub(crate) fn instructions(
        self,
        part: Range<usize>,
        starts: &mut Starts,
    ) -> Result<u64, Rejection> {
        let bundle = self.policy.bundle().size() as usize;
        let mut position = part.start;
        let mut decoder = self.decoder(position);
        let mut instruction = Instruction::default();
        let mut count = 0;
        while position < part.end {
            let rest = &self.text[position..];
            let room = bundle - position % bundle;
            // A macro that does not fit its bundle is no macro: its parts stand for themselves.
            let found = macros::at(&rest[..room.min(rest.len())], self.policy);
            let len = if let Some(found) = found {
                if found.call && found.len == rest.len() {
                    return Err(self.reject(Rule::LastCall, position));
                }
                found.len
            } else if let Some(len) = macros::nop(rest) {
                len
            } else {
                if decoder.position() != position {
                    self.seek(&mut decoder, position);
                }
                decoder.decode_out(&mut instruction);
                self.ordinary(&instruction, position, starts)?
            };
            if len > room {
                return Err(self.reject(Rule::Bundle, position));
            }
            starts.mark(position);
            position += len;
            count += 1;
        }
        Ok(count)
    }

    /// Whether a call ends at `position` of a text that has been accepted. Read from the last bundle start before it,
    /// which is an instruction start.
    pub(crate) fn follows_call(self, position: usize) -> bool {
        let bundle = self.policy.bundle().size() as usize;
        let Some(last) = position
            .checked_sub(1)
            .filter(|_| position < self.text.len())
        else {
            return false;
        };
        let mut at = last / bundle * bundle;
        let mut is_call = false;
        while at < position {
            let room = bundle - at % bundle;
            let len;
            (len, is_call) = match macros::at(&self.text[at..at + room], self.policy) {
                Some(found) => (found.len, found.call),
                None => {
                    let instruction = self.decoder(at).decode();
                    (instruction.len(), instruction.is_call_near())
                }
            };
            at += len;
        }
        at == position && is_call
    }

    /// Checks the ordinary instruction at `position` and returns its length.
    fn ordinary(
        self,
        instruction: &Instruction,
        position: usize,
        starts: &mut Starts,
    ) -> Result<usize, Rejection> {
        if instruction.is_invalid() {
            return Err(self.reject(Rule::Decode, position));
        }
        let len = instruction.len();
        let rest = &self.text[position..];
        let facts = rules::ordinary(instruction, &rest[..len], self.policy)
            .map_err(|rule| self.reject(rule, position))?;
        if facts & BRANCH != 0 {
            let target = self
                .offset(instruction.near_branch64())
                .ok_or_else(|| self.reject(Rule::BranchTarget, position))?;
            starts.expect(target);
            if instruction.is_call_near() && len == rest.len() {
                return Err(self.reject(Rule::LastCall, position));
            }
        }
        Ok(len)
    }

    /// *Direct branches go to starts of verified instructions.* Only when all starts are known can
    /// the targets be compared with them; the branch to blame is then searched for.
    pub(crate) fn branch_targets(self, starts: &Starts) -> Result<(), Rejection> {
        let Some(missed) = starts.first_missed() else {
            return Ok(());
        };
        let branch = (0..self.text.len()).find(|&position| {
            if !starts.is_marked(position) {
                return false;
            }
            let instruction = self.decoder(position).decode();
            allow::facts(instruction.code()) & BRANCH != 0
                && self.offset(instruction.near_branch64()) == Some(missed)
        });
        Err(self.reject(Rule::BranchTarget, branch.unwrap_or(missed)))
    }

    /// The index into the text of a slot offset, if it is inside.
    fn offset(self, address: u64) -> Option<usize> {
        let offset = usize::try_from(address.checked_sub(self.base.into())?).ok()?;
        (offset < self.text.len()).then_some(offset)
    }

    /// The slot offset of an index into the text.
    fn address(self, position: usize) -> u64 {
        u64::from(self.base) + position as u64
    }

    fn decoder(self, position: usize) -> Decoder<'a> {
        let mut decoder = Decoder::with_ip(64, self.text, 0, DecoderOptions::NONE);
        self.seek(&mut decoder, position);
        decoder
    }

    fn seek(self, decoder: &mut Decoder<'_>, position: usize) {
        decoder
            .set_position(position)
            .expect("the position is inside the text");
        decoder.set_ip(self.address(position));
    }

    #[cold]
    fn reject(self, rule: Rule, position: usize) -> Rejection {
        let instruction = self.decoder(position).decode();
        let rest = &self.text[position..];
        let (len, text) = rejection::describe(&instruction, rest, self.policy);
        refuse(rule, self.address(position), &rest[..len], text)
    }
}

pub(crate) fn refuse(rule: Rule, address: u64, bytes: &[u8], text: String) -> Rejection {
    Rejection {
        rule,
        address,
        bytes: bytes.to_vec(),
        text,
    }
}
