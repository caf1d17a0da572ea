//! What an instance has made of names: those it gave, and those it took away.

use super::Node;
use std::collections::{BTreeMap, HashMap};

/// Names by directory.
#[derive(Debug, Clone, Default)]
pub(super) struct Named {
    of: HashMap<Node, BTreeMap<Vec<u8>, Own>>,
    made: u64,
}

/// One name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Own {
    /// Nothing when the name has been removed.
    pub(super) node: Option<Node>,
    /// How many names had been made before this one.
    pub(super) made_before: u64,
}

/// The order in which names were made is history: two instances with the same files are the same.
impl PartialEq for Named {
    fn eq(&self, other: &Named) -> bool {
        self.of == other.of
    }
}

impl Eq for Named {}

impl PartialEq for Own {
    fn eq(&self, other: &Own) -> bool {
        self.node == other.node
    }
}

impl Eq for Own {}

impl Named {
    pub(super) fn get(&self, directory: Node, name: &[u8]) -> Option<Own> {
        self.of.get(&directory)?.get(name).copied()
    }

    /// Those in one directory.
    pub(super) fn within(&self, directory: Node) -> Option<&BTreeMap<Vec<u8>, Own>> {
        self.of.get(&directory)
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = (Node, &BTreeMap<Vec<u8>, Own>)> {
        self.of.iter().map(|(at, names)| (*at, names))
    }

    /// How many have been made, those included that are forgotten.
    pub(super) fn made(&self) -> u64 {
        self.made
    }

    /// Makes a name lead to `node`, or to nothing; true when it is a new one.
    pub(super) fn set(&mut self, directory: Node, name: &[u8], node: Option<Node>) -> bool {
        let names = self.of.entry(directory).or_default();
        if let Some(own) = names.get_mut(name) {
            own.node = node;
            return false;
        }
        let made_before = self.made;
        names.insert(name.to_vec(), Own { node, made_before });
        self.made += 1;
        true
    }

    /// Forgets a name; true when there was one.
    pub(super) fn forget(&mut self, directory: Node, name: &[u8]) -> bool {
        let Some(names) = self.of.get_mut(&directory) else {
            return false;
        };
        let was_there = names.remove(name).is_some();
        if names.is_empty() {
            self.of.remove(&directory);
        }
        was_there
    }
}
