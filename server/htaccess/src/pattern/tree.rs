//! A regular expression as a tree over bytes.
//!
//! Case and the shorthand classes are resolved while it is read, so that both engines see bytes and sets of bytes only.

/// A set of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Set([u64; 4]);

impl Set {
    pub(super) fn of(bytes: impl IntoIterator<Item = u8>) -> Set {
        let mut set = Set::default();
        for byte in bytes {
            set.insert(byte);
        }
        set
    }

    pub(super) fn insert(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    pub(super) fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] & (1 << (byte & 63)) != 0
    }

    pub(super) fn union(&mut self, other: &Set) {
        for (word, more) in self.0.iter_mut().zip(other.0) {
            *word |= more;
        }
    }

    pub(super) fn inverted(mut self) -> Set {
        for word in &mut self.0 {
            *word = !*word;
        }
        self
    }

    /// With the other case of each letter, as in C's locale.
    pub(super) fn any_case(self) -> Set {
        let letters = (0..=u8::MAX).filter(|&b| self.contains(b));
        let both = letters.flat_map(|b| [b.to_ascii_lowercase(), b.to_ascii_uppercase()]);
        let mut set = self;
        set.union(&Set::of(both));
        set
    }

    /// The ranges it consists of.
    pub(super) fn ranges(&self) -> Vec<(u8, u8)> {
        let mut ranges: Vec<(u8, u8)> = Vec::new();
        for byte in (0..=u8::MAX).filter(|&b| self.contains(b)) {
            match ranges.last_mut() {
                Some((_, end)) if *end + 1 == byte => *end = byte,
                _ => ranges.push((byte, byte)),
            }
        }
        ranges
    }
}

/// How a repetition chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Greed {
    Greedy,
    Lazy,
    /// Takes all it can and gives nothing back.
    Possessive,
}

/// A place that is no byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Start,
    End,
    /// The end, or before a line feed that is the last byte.
    SoftEnd,
    LineStart,
    LineEnd,
    WordEdge,
    NoWordEdge,
}

/// A part of a regular expression.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Empty,
    Byte(u8),
    Set(Set),
    Place(Place),
    /// A group that is remembered, from 1.
    Group(u32, Box<Node>),
    Sequence(Vec<Node>),
    Choice(Vec<Node>),
    Repeat {
        node: Box<Node>,
        min: u32,
        max: Option<u32>,
        greed: Greed,
    },
    Look {
        behind: bool,
        negative: bool,
        node: Box<Node>,
    },
    Atomic(Box<Node>),
    /// What a group matched.
    Back {
        group: u32,
        any_case: bool,
    },
}

impl Node {
    /// Whether it can be matched in linear time: nothing looks around, back, or refuses to give back.
    pub(super) fn is_regular(&self) -> bool {
        match self {
            Node::Empty | Node::Byte(_) | Node::Set(_) => true,
            Node::Place(place) => *place != Place::SoftEnd,
            Node::Group(_, node) => node.is_regular(),
            Node::Sequence(nodes) | Node::Choice(nodes) => nodes.iter().all(Node::is_regular),
            Node::Repeat { node, greed, .. } => *greed != Greed::Possessive && node.is_regular(),
            Node::Look { .. } | Node::Atomic(_) | Node::Back { .. } => false,
        }
    }

    /// Bytes and sets with all repetitions written out.
    pub(super) fn size(&self) -> usize {
        match self {
            Node::Empty => 0,
            Node::Byte(_) | Node::Set(_) | Node::Place(_) | Node::Back { .. } => 1,
            Node::Group(_, node) | Node::Atomic(node) | Node::Look { node, .. } => {
                node.size().saturating_add(1)
            }
            Node::Sequence(nodes) | Node::Choice(nodes) => nodes
                .iter()
                .fold(1, |sum: usize, node| sum.saturating_add(node.size())),
            Node::Repeat { node, min, max, .. } => {
                let times = max.unwrap_or(min.saturating_add(1)).max(1);
                let times = usize::try_from(times).unwrap_or(usize::MAX);
                node.size().max(1).saturating_mul(times)
            }
        }
    }

    /// Number of bytes it always takes; `None` when that varies.
    pub(super) fn width(&self) -> Option<usize> {
        match self {
            Node::Empty | Node::Place(_) | Node::Look { .. } => Some(0),
            Node::Byte(_) | Node::Set(_) => Some(1),
            Node::Group(_, node) | Node::Atomic(node) => node.width(),
            Node::Sequence(nodes) => nodes.iter().map(Node::width).sum(),
            Node::Choice(nodes) => {
                let mut widths = nodes.iter().map(Node::width);
                let first = widths.next()??;
                widths.all(|w| w == Some(first)).then_some(first)
            }
            Node::Repeat { node, min, max, .. } => {
                let times = usize::try_from(*min).ok()?;
                (*max == Some(*min)).then(|| node.width()?.checked_mul(times))?
            }
            Node::Back { .. } => None,
        }
    }

    /// The same in the syntax of the crate `regex`; only when [`Node::is_regular`].
    pub(super) fn write_regular(&self, out: &mut String) {
        match self {
            Node::Empty => out.push_str("(?:)"),
            Node::Byte(byte) => write_byte(*byte, out),
            Node::Set(set) => write_set(set, out),
            Node::Place(place) => out.push_str(match place {
                Place::Start => r"\A",
                Place::End | Place::SoftEnd => r"\z",
                Place::LineStart => "(?m:^)",
                Place::LineEnd => "(?m:$)",
                Place::WordEdge => r"\b",
                Place::NoWordEdge => r"\B",
            }),
            Node::Group(_, node) => {
                out.push('(');
                node.write_regular(out);
                out.push(')');
            }
            Node::Sequence(nodes) => {
                out.push_str("(?:");
                nodes.iter().for_each(|node| node.write_regular(out));
                out.push(')');
            }
            Node::Choice(nodes) => {
                out.push_str("(?:");
                for (index, node) in nodes.iter().enumerate() {
                    if index > 0 {
                        out.push('|');
                    }
                    node.write_regular(out);
                }
                out.push(')');
            }
            Node::Repeat {
                node,
                min,
                max,
                greed,
            } => {
                out.push_str("(?:");
                node.write_regular(out);
                out.push(')');
                out.push_str(&match max {
                    Some(max) => format!("{{{min},{max}}}"),
                    None => format!("{{{min},}}"),
                });
                if *greed == Greed::Lazy {
                    out.push('?');
                }
            }
            Node::Look { .. } | Node::Atomic(_) | Node::Back { .. } => {
                unreachable!("is_regular() was asked")
            }
        }
    }
}

fn write_byte(byte: u8, out: &mut String) {
    if byte.is_ascii_alphanumeric() {
        out.push(char::from(byte));
    } else {
        out.push_str(&format!(r"\x{byte:02X}"));
    }
}

fn write_set(set: &Set, out: &mut String) {
    let ranges = set.ranges();
    if ranges.is_empty() {
        // A class that no byte is in.
        out.push_str(r"[^\x00-\xFF]");
        return;
    }
    out.push('[');
    for (first, last) in ranges {
        out.push_str(&format!(r"\x{first:02X}-\x{last:02X}"));
    }
    out.push(']');
}
