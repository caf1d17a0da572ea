//! Names and values as Apache keeps them: in order, names in any case.

/// A list of names and values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table(Vec<(Vec<u8>, Vec<u8>)>);

impl Table {
    /// The first value of a name.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        let mut all = self.0.iter();
        all.find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_slice())
    }

    /// Whether a name has a value.
    pub fn contains(&self, name: &[u8]) -> bool {
        self.get(name).is_some()
    }

    /// Replaces all values of a name by one.
    pub fn set(&mut self, name: &[u8], value: &[u8]) {
        let mut at = None;
        let mut index = 0;
        self.0.retain(|(known, _)| {
            let same = known.eq_ignore_ascii_case(name);
            let keep = !same || at.is_none();
            if same && at.is_none() {
                at = Some(index);
            }
            index += usize::from(keep);
            keep
        });
        match at {
            Some(at) => self.0[at].1 = value.to_vec(),
            None => self.add(name, value),
        }
    }

    /// Adds a value beside those that are there.
    pub fn add(&mut self, name: &[u8], value: &[u8]) {
        self.0.push((name.to_vec(), value.to_vec()));
    }

    /// Adds to the value that is there, behind a comma.
    pub fn merge(&mut self, name: &[u8], value: &[u8]) {
        let mut all = self.0.iter_mut();
        match all.find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((_, old)) => {
                old.extend_from_slice(b", ");
                old.extend_from_slice(value);
            }
            None => self.add(name, value),
        }
    }

    /// Removes all values of a name.
    pub fn unset(&mut self, name: &[u8]) {
        self.0
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    }

    /// All names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Replaces each value of a name by what a function makes of it.
    pub(crate) fn edit<E>(
        &mut self,
        name: &[u8],
        mut change: impl FnMut(&[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<(), E> {
        for (known, value) in &mut self.0 {
            if known.eq_ignore_ascii_case(name) {
                *value = change(value)?;
            }
        }
        Ok(())
    }
}

impl<N: Into<Vec<u8>>, V: Into<Vec<u8>>> FromIterator<(N, V)> for Table {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Table {
        Table(
            pairs
                .into_iter()
                .map(|(n, v)| (n.into(), v.into()))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_keep_their_place() {
        let mut table: Table = [("A", "1"), ("B", "2"), ("a", "3")].into_iter().collect();
        table.set(b"a", b"4");
        assert_eq!(table, [("A", "4"), ("B", "2")].into_iter().collect());
        table.merge(b"b", b"5");
        table.merge(b"C", b"6");
        assert_eq!(table.get(b"b"), Some(&b"2, 5"[..]));
        table.unset(b"c");
        assert!(!table.contains(b"C") && table.len() == 2);
    }
}
