//! Two bits for each byte of a text: whether an instruction starts there, and whether a direct
//! branch goes there. Their size is fixed by the text, however many branches it has.

/// Starts and branch targets met so far.
pub(crate) struct Starts {
    marked: Vec<u64>,
    expected: Vec<u64>,
}

impl Starts {
    /// No starts, no targets, for a text of `len` bytes.
    pub(crate) fn new(len: usize) -> Starts {
        let words = len.div_ceil(64);
        Starts {
            marked: vec![0; words],
            expected: vec![0; words],
        }
    }

    /// An instruction or macro starts at `position`.
    pub(crate) fn mark(&mut self, position: usize) {
        self.marked[position / 64] |= 1 << (position % 64);
    }

    /// A branch goes to `position`.
    pub(crate) fn expect(&mut self, position: usize) {
        self.expected[position / 64] |= 1 << (position % 64);
    }

    /// Adds what was met in another part of the same text.
    pub(crate) fn join(&mut self, other: &Starts) {
        for (mine, theirs) in [
            (&mut self.marked, &other.marked),
            (&mut self.expected, &other.expected),
        ] {
            for (word, more) in mine.iter_mut().zip(theirs) {
                *word |= more;
            }
        }
    }

    /// Whether an instruction or macro starts at `position`.
    pub(crate) fn is_marked(&self, position: usize) -> bool {
        self.marked[position / 64] & 1 << (position % 64) != 0
    }

    /// The first branch target at which nothing starts.
    pub(crate) fn first_missed(&self) -> Option<usize> {
        let words = self.expected.iter().zip(&self.marked);
        let (word, missed) = words
            .map(|(expected, marked)| expected & !marked)
            .enumerate()
            .find(|(_, missed)| *missed != 0)?;
        Some(word * 64 + missed.trailing_zeros() as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::Starts;

    #[test]
    fn target_is_missed_until_marked() {
        let mut starts = Starts::new(130);
        assert_eq!(starts.first_missed(), None);
        starts.expect(129);
        starts.expect(64);
        assert_eq!(starts.first_missed(), Some(64));
        starts.mark(64);
        assert!(starts.is_marked(64) && !starts.is_marked(63));
        assert_eq!(starts.first_missed(), Some(129));
        starts.mark(129);
        assert_eq!(starts.first_missed(), None);
    }
}
