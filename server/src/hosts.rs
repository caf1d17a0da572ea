//! Which place a host name means.

use std::collections::HashMap;

use crate::site::path::Host;

/// A place, by its number.
type Number = usize;

/// A host name that two images ask for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("two images ask for the host {host}: give it to one with --host")]
pub(crate) struct Taken {
    host: String,
}

/// Host names and the places they mean: those from the command line first, then those that manifests ask for. A name has one
/// owner: an image is trusted with nothing, so none may take what another has.
#[derive(Debug)]
pub(crate) struct HostTable {
    given: HashMap<String, Number>,
    wished: HashMap<String, Number>,
    /// Where all other names lead, when there is one place and nobody has named any.
    others: Option<Number>,
}

impl HostTable {
    /// A table of names from the command line, and what each place's manifest asks for. What the command line gives away is
    /// nobody's to ask for.
    pub(crate) fn new<'a>(
        given: HashMap<String, Number>,
        wishes: impl IntoIterator<Item = &'a [Host]>,
    ) -> Result<HostTable, Taken> {
        let mut wished = HashMap::new();
        let mut places = 0;
        for (number, names) in wishes.into_iter().enumerate() {
            for host in names.iter().map(Host::name) {
                let is_given = given.contains_key(host);
                let owner = *wished.entry(host.to_owned()).or_insert(number);
                if owner != number && !is_given {
                    let host = host.to_owned();
                    return Err(Taken { host });
                }
            }
            places += 1;
        }
        let others = (places == 1 && given.is_empty() && wished.is_empty()).then_some(0);
        Ok(HostTable {
            given,
            wished,
            others,
        })
    }

    /// Whether a place may have an image that asks for these names.
    pub(crate) fn admits(&self, place: Number, names: &[Host]) -> Result<(), Taken> {
        for host in names.iter().map(Host::name) {
            let owner = self.wished.get(host).filter(|owner| **owner != place);
            if owner.is_some() && !self.given.contains_key(host) {
                let host = host.to_owned();
                return Err(Taken { host });
            }
        }
        Ok(())
    }

    /// The same names from the command line beside what manifests ask for now.
    pub(crate) fn renewed<'a>(
        &self,
        wishes: impl IntoIterator<Item = &'a [Host]>,
    ) -> Result<HostTable, Taken> {
        HostTable::new(self.given.clone(), wishes)
    }

    /// The place that a request means; one without a host means the first.
    pub(crate) fn place(&self, host: Option<&Host>) -> Option<Number> {
        let Some(host) = host else {
            return Some(0);
        };
        let named = self.given.get(host.name());
        named
            .or_else(|| self.wished.get(host.name()))
            .copied()
            .or(self.others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(names: &[&str]) -> Vec<Host> {
        names
            .iter()
            .map(|name| Host::parse(name).unwrap())
            .collect()
    }

    fn table(given: &[(&str, usize)], wishes: &[&[&str]]) -> HostTable {
        let given = given
            .iter()
            .map(|(name, place)| ((*name).to_owned(), *place))
            .collect();
        let wishes: Vec<Vec<Host>> = wishes.iter().map(|names| hosts(names)).collect();
        HostTable::new(given, wishes.iter().map(Vec::as_slice)).unwrap()
    }

    fn place(table: &HostTable, name: &str) -> Option<usize> {
        table.place(Some(&Host::parse(name).unwrap()))
    }

    #[test]
    fn the_command_line_comes_before_manifests() {
        let table = table(&[("a", 1)], &[&["a", "B.example:81"], &["a", "c"]]);
        assert_eq!(place(&table, "A"), Some(1));
        assert_eq!(place(&table, "b.example:80"), Some(0));
        assert_eq!(place(&table, "c"), Some(1));
        assert_eq!(place(&table, "d"), None);
        assert_eq!(table.place(None), Some(0));
    }

    #[test]
    fn the_only_place_answers_to_every_name_until_somebody_names_one() {
        assert_eq!(place(&table(&[], &[&[]]), "x"), Some(0));
        assert_eq!(place(&table(&[], &[&["a"]]), "x"), None);
        assert_eq!(place(&table(&[("a", 0)], &[&[]]), "x"), None);
        assert_eq!(place(&table(&[], &[&[], &[]]), "x"), None);
    }

    // case limits-10-host-takeover
    #[test]
    fn a_name_has_one_owner() {
        let wishes = [hosts(&["evil", "Bank:80"]), hosts(&["bank"])];
        let both = HostTable::new(HashMap::new(), wishes.iter().map(Vec::as_slice));
        let host = "bank".to_owned();
        assert_eq!(both.unwrap_err(), Taken { host: host.clone() });
        let apart = table(&[("given", 1)], &[&["evil", "evil"], &["bank"]]);
        assert_eq!(
            apart.admits(0, &hosts(&["evil", "bank"])),
            Err(Taken { host })
        );
        assert_eq!(apart.admits(1, &hosts(&["bank", "new"])), Ok(()), "its own");
        assert_eq!(
            apart.admits(0, &hosts(&["given"])),
            Ok(()),
            "it gets nothing by it"
        );
    }

    #[test]
    fn names_of_a_new_image_take_the_place_of_the_old_ones() {
        let old = table(&[("a", 1)], &[&["b"], &[]]);
        let wishes = [hosts(&["c"]), hosts(&[])];
        let new = old.renewed(wishes.iter().map(Vec::as_slice)).unwrap();
        assert_eq!(place(&new, "a"), Some(1));
        assert_eq!(place(&new, "b"), None);
        assert_eq!(place(&new, "c"), Some(0));
    }
}
