//! What an instance has changed, apart from it: to be looked at, sent and applied elsewhere.
//!
//! A delta is two lists. *Nodes* are the files, directories and links that have changed, that are new, or that
//! gained or lost a name, each with where it came from. *Names* say what a name in a directory led to at the
//! start and what it leads to now. So a rename is one node with two names, a hard link one node with one name more,
//! and nothing depends on the order in which things happened.

use super::Kind;
use super::scratch::Patch;
use std::collections::BTreeMap;

/// What an instance has changed since it began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delta {
    pub(super) nodes: Vec<ChangedNode>,
    pub(super) names: Vec<ChangedName>,
}

/// Where a node of a delta comes from: with its number, what it is for as long as it lives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A tree has it.
    Tree {
        /// Where the tree is mounted.
        mount: Vec<u8>,
        /// Its number there.
        inode: u32,
    },
    /// The snapshot had it beside the trees, as `/tmp`.
    Snapshot {
        /// Its number among those.
        inode: u32,
    },
    /// The instance made it.
    New {
        /// A number of its own.
        inode: u32,
    },
}

/// A file, directory or link that has changed, is new, or has gained or lost a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedNode {
    /// Where it comes from.
    pub origin: Origin,
    /// Where it was at the start; of what is new, where it is now.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Its permissions, if they have changed.
    pub mode: Option<u32>,
    /// When it was modified, if that has changed.
    pub modified_ns: Option<i64>,
    /// What is in it, if that has changed.
    pub content: Option<ChangedContent>,
}

/// What has changed in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangedContent {
    /// Of a regular file: its new length and pages.
    Pages(Patch),
    /// Of a new link: where it points.
    Target(Vec<u8>),
}

/// What a name led to and what it leads to, as indices into the nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedName {
    /// The directory that has the name.
    pub directory: u32,
    /// The name.
    pub name: Vec<u8>,
    /// What it led to at the start.
    pub was: Option<u32>,
    /// What it leads to now.
    pub is: Option<u32>,
}

/// One change, for whoever reads a delta from one end to the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change<'a> {
    /// A name for something new.
    Created(Vec<u8>, &'a ChangedNode),
    /// One more name for something that has others.
    Linked(Vec<u8>, &'a ChangedNode),
    /// Another name instead of the first.
    Renamed(Vec<u8>, Vec<u8>, &'a ChangedNode),
    /// A name that is gone.
    Removed(Vec<u8>, &'a ChangedNode),
    /// Contents, permissions or time of something that was there.
    Altered(&'a ChangedNode),
}

impl Delta {
    /// True when nothing has changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The nodes, by origin.
    #[must_use]
    pub fn nodes(&self) -> &[ChangedNode] {
        &self.nodes
    }

    /// The names, by directory and name.
    #[must_use]
    pub fn names(&self) -> &[ChangedName] {
        &self.names
    }

    /// The node with this index.
    fn node(&self, index: u32) -> Option<&ChangedNode> {
        self.nodes.get(usize::try_from(index).ok()?)
    }

    /// Every change with its paths: removed names, new ones, then files that were there.
    #[must_use]
    pub fn changes(&self) -> Vec<Change<'_>> {
        // What lost a name and has not been found under another yet.
        let mut lost: BTreeMap<u32, Vec<Vec<u8>>> = BTreeMap::new();
        for name in &self.names {
            if let Some(node) = name.was {
                lost.entry(node).or_default().push(self.path(name));
            }
        }
        let mut named = Vec::new();
        for name in &self.names {
            let Some((index, node)) = name.is.and_then(|is| Some((is, self.node(is)?))) else {
                continue;
            };
            let path = self.path(name);
            let from = lost.get_mut(&index).and_then(Vec::pop);
            named.push(match (from, &node.origin) {
                (Some(from), _) => Change::Renamed(from, path, node),
                (None, Origin::New { .. }) => Change::Created(path, node),
                (None, _) => Change::Linked(path, node),
            });
        }
        let gone = lost.into_iter().flat_map(|(index, paths)| {
            let node = self.node(index);
            let removed = move |path| Some(Change::Removed(path, node?));
            paths.into_iter().filter_map(removed)
        });
        let is_altered = |node: &&ChangedNode| {
            let is_new = matches!(node.origin, Origin::New { .. });
            let facts = node.mode.is_some() || node.modified_ns.is_some();
            !is_new && (facts || node.content.is_some())
        };
        let altered = self.nodes.iter().filter(is_altered).map(Change::Altered);
        gone.chain(named).chain(altered).collect()
    }

    /// The path of a name: below where its directory was at the start, or is when it is new.
    fn path(&self, name: &ChangedName) -> Vec<u8> {
        let directory = self.node(name.directory);
        let directory = directory.map_or(&b""[..], |node| &node.path);
        let directory = directory.strip_suffix(b"/").unwrap_or(directory);
        [directory, b"/", &name.name].concat()
    }
}
