//! Matching by trying one way after the other, for expressions that look around, back, or refuse to give back.
//!
//! Every instruction is a step of the request's budget, and the stack of ways not yet tried is bounded: an expression that
//! would take exponential time ends the request with an error. The crate `regex` cannot match these expressions at all,
//! and engines that can count their own way; here one budget holds for everything a request does.

use super::tree::{Greed, Node, Place, Set};
use crate::limits::{Budget, Exhausted};

/// Ways not yet tried, and values to restore: 24 bytes each.
const STACK_MAX: usize = 100_000;

/// One instruction.
#[derive(Clone, Debug)]
enum Step {
    Byte(u8),
    Set(Set),
    Place(Place),
    /// Try the first, later perhaps the second.
    Split(usize, usize),
    Jump(usize),
    /// Remember where we are.
    Save(usize),
    Back {
        group: u32,
        any_case: bool,
    },
    /// The instructions up to `end` must match here, or `width` bytes before; or must not.
    Look {
        width: Option<usize>,
        negative: bool,
        end: usize,
    },
    /// The instructions up to `end` match, and are not tried in another way.
    Atomic {
        end: usize,
    },
    /// Leaves a loop whose last round took nothing.
    Progress {
        slot: usize,
        out: usize,
    },
    Accept,
}

/// A compiled expression.
#[derive(Clone, Debug)]
pub(super) struct Program {
    steps: Vec<Step>,
    slots: usize,
    anchored: bool,
}

const UNSET: usize = usize::MAX;

impl Program {
    /// Compiles a tree. `None` when something looks behind by a number of bytes that varies.
    pub(super) fn new(node: &Node, groups: u32) -> Option<Program> {
        let groups = usize::try_from(groups).ok()?;
        let mut program = Program {
            steps: Vec::new(),
            slots: 2 * (groups + 1),
            anchored: starts_at_start(node),
        };
        program.emit(node)?;
        program.steps.push(Step::Accept);
        Some(program)
    }

    fn emit(&mut self, node: &Node) -> Option<()> {
        match node {
            Node::Empty => {}
            Node::Byte(byte) => self.steps.push(Step::Byte(*byte)),
            Node::Set(set) => self.steps.push(Step::Set(*set)),
            Node::Place(place) => self.steps.push(Step::Place(*place)),
            Node::Back { group, any_case } => self.steps.push(Step::Back {
                group: *group,
                any_case: *any_case,
            }),
            Node::Group(group, node) => {
                let slot = 2 * usize::try_from(*group).ok()?;
                self.steps.push(Step::Save(slot));
                self.emit(node)?;
                self.steps.push(Step::Save(slot + 1));
            }
            Node::Sequence(nodes) => nodes.iter().try_for_each(|node| self.emit(node))?,
            Node::Choice(nodes) => self.emit_choice(nodes)?,
            Node::Repeat {
                node,
                min,
                max,
                greed: Greed::Possessive,
            } => self.emit_atomic(&Node::Repeat {
                node: node.clone(),
                min: *min,
                max: *max,
                greed: Greed::Greedy,
            })?,
            Node::Repeat {
                node,
                min,
                max,
                greed,
            } => self.emit_repeat(node, *min, *max, *greed)?,
            Node::Atomic(node) => self.emit_atomic(node)?,
            Node::Look {
                behind,
                negative,
                node,
            } => self.emit_look(*behind, *negative, node)?,
        }
        Some(())
    }

    fn emit_choice(&mut self, nodes: &[Node]) -> Option<()> {
        let mut jumps = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            let split = self.steps.len();
            let is_last = index + 1 == nodes.len();
            if !is_last {
                self.steps.push(Step::Split(split + 1, UNSET));
            }
            self.emit(node)?;
            if !is_last {
                jumps.push(self.steps.len());
                self.steps.push(Step::Jump(UNSET));
                let next = self.steps.len();
                self.steps[split] = Step::Split(split + 1, next);
            }
        }
        let end = self.steps.len();
        for jump in jumps {
            self.steps[jump] = Step::Jump(end);
        }
        Some(())
    }

    fn emit_repeat(&mut self, node: &Node, min: u32, max: Option<u32>, greed: Greed) -> Option<()> {
        for _ in 0..min {
            self.emit(node)?;
        }
        let Some(max) = max else {
            return self.emit_loop(node, greed);
        };
        let mut splits = Vec::new();
        for _ in min..max {
            splits.push(self.steps.len());
            self.steps.push(Step::Jump(UNSET));
            self.emit(node)?;
        }
        let end = self.steps.len();
        for split in splits {
            self.steps[split] = split_by(greed, split + 1, end);
        }
        Some(())
    }

    fn emit_loop(&mut self, node: &Node, greed: Greed) -> Option<()> {
        let split = self.steps.len();
        self.steps.push(Step::Jump(UNSET));
        let slot = self.slots;
        self.slots += 1;
        self.steps.push(Step::Save(slot));
        self.emit(node)?;
        let progress = self.steps.len();
        self.steps.push(Step::Progress { slot, out: UNSET });
        self.steps.push(Step::Jump(split));
        let out = self.steps.len();
        self.steps[progress] = Step::Progress { slot, out };
        self.steps[split] = split_by(greed, split + 1, out);
        Some(())
    }

    fn emit_atomic(&mut self, node: &Node) -> Option<()> {
        let start = self.steps.len();
        self.steps.push(Step::Atomic { end: UNSET });
        self.emit(node)?;
        self.steps.push(Step::Accept);
        let end = self.steps.len();
        self.steps[start] = Step::Atomic { end };
        Some(())
    }

    fn emit_look(&mut self, behind: bool, negative: bool, node: &Node) -> Option<()> {
        if behind
            && let Node::Choice(nodes) = node
            && !negative
        {
            // Alternatives may differ in width from each other.
            let looks: Vec<Node> = nodes
                .iter()
                .map(|node| Node::Look {
                    behind,
                    negative,
                    node: Box::new(node.clone()),
                })
                .collect();
            return self.emit_choice(&looks);
        }
        if behind && let Node::Choice(nodes) = node {
            return nodes
                .iter()
                .try_for_each(|node| self.emit_look(behind, negative, node));
        }
        let width = match behind {
            true => Some(node.width()?),
            false => None,
        };
        let start = self.steps.len();
        self.steps.push(Step::Accept);
        self.emit(node)?;
        self.steps.push(Step::Accept);
        let end = self.steps.len();
        self.steps[start] = Step::Look {
            width,
            negative,
            end,
        };
        Some(())
    }

    /// The first match: start and end of the whole and of each group.
    pub(super) fn find(
        &self,
        subject: &[u8],
        budget: &mut Budget,
    ) -> Result<Option<Vec<usize>>, Exhausted> {
        let last = if self.anchored { 0 } else { subject.len() };
        let mut run = Run {
            program: self,
            subject,
            budget,
            slots: vec![UNSET; self.slots],
            stack: Vec::new(),
        };
        for start in 0..=last {
            run.budget.spend(1 + self.slots)?;
            run.slots.fill(UNSET);
            run.stack.clear();
            if let Some(end) = run.from(0, start)? {
                run.slots[0] = start;
                run.slots[1] = end;
                return Ok(Some(run.slots));
            }
        }
        Ok(None)
    }
}

fn split_by(greed: Greed, inside: usize, out: usize) -> Step {
    match greed {
        Greed::Lazy => Step::Split(out, inside),
        Greed::Greedy | Greed::Possessive => Step::Split(inside, out),
    }
}

fn starts_at_start(node: &Node) -> bool {
    match node {
        Node::Place(Place::Start) => true,
        Node::Group(_, node) => starts_at_start(node),
        Node::Sequence(nodes) => nodes.first().is_some_and(starts_at_start),
        _ => false,
    }
}

/// A way not yet tried, or a value that was overwritten on the present one.
#[derive(Clone, Copy, Debug)]
enum Left {
    Way { step: usize, at: usize },
    Value { slot: usize, old: usize },
}

struct Run<'a> {
    program: &'a Program,
    subject: &'a [u8],
    budget: &'a mut Budget,
    slots: Vec<usize>,
    stack: Vec<Left>,
}

impl Run<'_> {
    fn push(&mut self, left: Left) -> Result<(), Exhausted> {
        if self.stack.len() >= STACK_MAX {
            return Err(Exhausted::Steps);
        }
        self.stack.push(left);
        Ok(())
    }

    fn set(&mut self, slot: usize, value: usize) -> Result<(), Exhausted> {
        let old = std::mem::replace(&mut self.slots[slot], value);
        self.push(Left::Value { slot, old })
    }

    /// Undoes down to a height of the stack, or to a way above it, which it gives.
    fn back_to(&mut self, height: usize) -> Option<(usize, usize)> {
        while self.stack.len() > height {
            match self.stack.pop().expect("it is higher") {
                Left::Value { slot, old } => self.slots[slot] = old,
                Left::Way { step, at } => return Some((step, at)),
            }
        }
        None
    }

    /// Runs up to the next `Accept`. On success the ways that are left stay on the stack.
    fn from(&mut self, mut step: usize, mut at: usize) -> Result<Option<usize>, Exhausted> {
        let height = self.stack.len();
        loop {
            self.budget.spend(1)?;
            let next = match &self.program.steps[step] {
                Step::Accept => return Ok(Some(at)),
                Step::Byte(byte) => {
                    (self.subject.get(at) == Some(byte)).then_some((step + 1, at + 1))
                }
                Step::Set(set) => {
                    let fits = self.subject.get(at).is_some_and(|&b| set.contains(b));
                    fits.then_some((step + 1, at + 1))
                }
                Step::Place(place) => is_at(*place, self.subject, at).then_some((step + 1, at)),
                Step::Jump(target) => Some((*target, at)),
                Step::Split(first, second) => {
                    self.push(Left::Way { step: *second, at })?;
                    Some((*first, at))
                }
                Step::Save(slot) => {
                    self.set(*slot, at)?;
                    Some((step + 1, at))
                }
                Step::Progress { slot, out } => Some((
                    if self.slots[*slot] == at {
                        *out
                    } else {
                        step + 1
                    },
                    at,
                )),
                Step::Back { group, any_case } => self
                    .back_reference(*group, *any_case, at)?
                    .map(|end| (step + 1, end)),
                Step::Atomic { end } => self.atomic(step + 1, at)?.map(|stop| (*end, stop)),
                Step::Look {
                    width,
                    negative,
                    end,
                } => {
                    let matched = match width {
                        None => self.atomic(step + 1, at)?.is_some(),
                        Some(width) => match at.checked_sub(*width) {
                            Some(start) => self.atomic(step + 1, start)? == Some(at),
                            None => false,
                        },
                    };
                    (matched != *negative).then_some((*end, at))
                }
            };
            match next.or_else(|| self.back_to(height)) {
                Some(place) => (step, at) = place,
                None => return Ok(None),
            }
        }
    }

    /// Runs up to the next `Accept` and drops the ways that are left, but not the values to restore.
    fn atomic(&mut self, step: usize, at: usize) -> Result<Option<usize>, Exhausted> {
        let height = self.stack.len();
        let end = self.from(step, at)?;
        self.budget.spend(self.stack.len() - height)?;
        let mut kept = height;
        for index in height..self.stack.len() {
            if matches!(self.stack[index], Left::Value { .. }) {
                self.stack[kept] = self.stack[index];
                kept += 1;
            }
        }
        self.stack.truncate(kept);
        Ok(end)
    }

    fn back_reference(
        &mut self,
        group: u32,
        any_case: bool,
        at: usize,
    ) -> Result<Option<usize>, Exhausted> {
        let slot = usize::try_from(group)
            .unwrap_or(usize::MAX)
            .saturating_mul(2);
        let (Some(&start), Some(&end)) = (self.slots.get(slot), self.slots.get(slot + 1)) else {
            return Ok(None);
        };
        if start == UNSET || end == UNSET || end < start {
            return Ok(None);
        }
        let wanted = &self.subject[start..end];
        self.budget.spend(wanted.len())?;
        let found = self.subject.get(at..at + wanted.len());
        let same = found.is_some_and(|found| match any_case {
            true => found.eq_ignore_ascii_case(wanted),
            false => found == wanted,
        });
        Ok(same.then_some(at + wanted.len()))
    }
}

fn is_at(place: Place, subject: &[u8], at: usize) -> bool {
    let is_word = |at: Option<usize>| {
        let byte = at.and_then(|at| subject.get(at));
        byte.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_')
    };
    match place {
        Place::Start => at == 0,
        Place::End => at == subject.len(),
        Place::SoftEnd => at == subject.len() || &subject[at..] == b"\n",
        Place::LineStart => at == 0 || subject[at - 1] == b'\n',
        Place::LineEnd => at == subject.len() || subject[at] == b'\n',
        Place::WordEdge => is_word(at.checked_sub(1)) != is_word(Some(at)),
        Place::NoWordEdge => is_word(at.checked_sub(1)) == is_word(Some(at)),
    }
}
