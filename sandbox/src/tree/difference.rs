//! From two states of one view to a delta.

use super::Node;
use super::delta::{ChangedContent, ChangedName, ChangedNode, Delta, Origin};
use super::inodes::{Content, Inode};
use super::mounts::Mounts;
use super::trees::Trees;
use super::view::View;
use super::walk::PATH_MAX;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A directory, a name in it, what that led to, and what it leads to.
type NewName = (Node, Vec<u8>, Option<Node>, Option<Node>);

/// What lies between two states of the files of one instance.
pub(crate) struct Difference<'a> {
    start: &'a View,
    end: &'a View,
    mounts: &'a Mounts,
    trees: &'a Trees,
}

impl<'a> Difference<'a> {
    pub(crate) fn new(
        start: &'a View,
        end: &'a View,
        mounts: &'a Mounts,
        trees: &'a Trees,
    ) -> Self {
        Difference {
            start,
            end,
            mounts,
            trees,
        }
    }

    /// The difference as a delta.
    pub(crate) fn delta(&self) -> Delta {
        let names = self.names();
        let mut nodes: BTreeSet<Node> = self.changed_nodes().collect();
        for (directory, _, was, is) in &names {
            nodes.insert(*directory);
            nodes.extend(was.iter().chain(is));
        }
        let starts = Paths::new(self.start, self);
        let ends = Paths::new(self.end, self);
        let mut changed: Vec<(ChangedNode, Node)> = nodes
            .into_iter()
            .map(|node| (self.node(node, &starts, &ends), node))
            .collect();
        changed.sort_by(|(a, _), (b, _)| a.origin.cmp(&b.origin));
        let index: HashMap<Node, u32> = (0..).zip(&changed).map(|(at, (_, n))| (*n, at)).collect();
        let mut names: Vec<ChangedName> = names
            .into_iter()
            .map(|(directory, name, was, is)| ChangedName {
                directory: index[&directory],
                name,
                was: was.map(|node| index[&node]),
                is: is.map(|node| index[&node]),
            })
            .collect();
        names.sort_by(|a, b| (a.directory, &a.name).cmp(&(b.directory, &b.name)));
        let nodes = changed.into_iter().map(|(node, _)| node).collect();
        Delta { nodes, names }
    }

    /// Every name that leads somewhere else now.
    fn names(&self) -> Vec<NewName> {
        let mut asked: BTreeMap<Node, BTreeSet<&[u8]>> = BTreeMap::new();
        for view in [self.start, self.end] {
            for (directory, names) in view.overlay.all_names() {
                let asked = asked.entry(directory).or_default();
                asked.extend(names.keys().map(Vec::as_slice));
            }
        }
        let mut changed = Vec::new();
        for (directory, names) in asked {
            for name in names {
                let was = self.start.lookup(self.trees, directory, name);
                let is = self.end.lookup(self.trees, directory, name);
                if was != is {
                    changed.push((directory, name.to_vec(), was, is));
                }
            }
        }
        changed
    }

    /// What was there at the start and has other facts or contents now.
    fn changed_nodes(&self) -> impl Iterator<Item = Node> {
        let of_trees = self.end.overlay.touched_files();
        let own = self.start.overlay.inode_numbers().map(Node::Scratch);
        let is_changed = |node: &Node| {
            let (mode, modified_ns) = self.facts(*node);
            mode.is_some() || modified_ns.is_some() || self.content(*node).is_some()
        };
        of_trees.chain(own).filter(is_changed)
    }

    fn node(&self, node: Node, starts: &Paths<'_>, ends: &Paths<'_>) -> ChangedNode {
        let (mode, modified_ns) = self.facts(node);
        let is_new = self.is_new(node);
        let path = if is_new {
            ends.of(node)
        } else {
            starts.of(node)
        };
        let view = if is_new { self.end } else { self.start };
        ChangedNode {
            origin: match node {
                Node::Base(tree, inode) => Origin::Tree {
                    mount: self.mounts.path(tree).to_vec(),
                    inode,
                },
                Node::Scratch(inode) if is_new => Origin::New { inode },
                Node::Scratch(inode) => Origin::Snapshot { inode },
                // Devices keep their names.
                Node::Device(_) => Origin::Snapshot { inode: u32::MAX },
            },
            path: path.unwrap_or_default(),
            kind: view.kind(self.trees, node),
            mode,
            modified_ns,
            content: self.content(node),
        }
    }

    fn is_new(&self, node: Node) -> bool {
        matches!(node, Node::Scratch(number) if self.start.overlay.inode(number).is_none())
    }

    /// Permissions and time, where they have changed.
    fn facts(&self, node: Node) -> (Option<u32>, Option<i64>) {
        let changed = |was: Option<(u32, i64)>, is: Option<(u32, i64)>| match (was, is) {
            (Some(was), Some(is)) => (
                (was.0 != is.0).then_some(is.0),
                (was.1 != is.1).then_some(is.1),
            ),
            (None, Some(is)) => (Some(is.0), Some(is.1)),
            (_, None) => (None, None),
        };
        match node {
            Node::Scratch(number) => {
                let facts = |inode: &Inode| (inode.mode, inode.modified_ns);
                let of = |view: &View| view.overlay.inode(number).map(facts);
                changed(of(self.start), of(self.end))
            }
            _ => {
                let of = |view: &View| {
                    let altered = view.overlay.altered(node).copied().unwrap_or_default();
                    (altered.mode, altered.modified_ns)
                };
                let (was, is) = (of(self.start), of(self.end));
                (
                    is.0.filter(|_| was.0 != is.0),
                    is.1.filter(|_| was.1 != is.1),
                )
            }
        }
    }

    fn content(&self, node: Node) -> Option<ChangedContent> {
        let patch = match node {
            Node::Base(..) => {
                let (was, is) = (self.start.overlay.copy(node), self.end.overlay.copy(node)?);
                is.since(was)
            }
            Node::Scratch(number) => {
                let was = self.start.overlay.inode(number).map(|inode| &inode.content);
                match (was, &self.end.overlay.inode(number)?.content) {
                    (Some(Content::Regular(was)), Content::Regular(is)) => is.since(Some(was)),
                    (None, Content::Regular(is)) => Some(is.whole()),
                    (None, Content::Symlink { target }) => {
                        return Some(ChangedContent::Target(target.clone()));
                    }
                    _ => None,
                }
            }
            Node::Device(_) => None,
        };
        patch.map(ChangedContent::Pages)
    }
}

/// Where the nodes of a view are.
struct Paths<'a> {
    named: HashMap<Node, (Node, &'a [u8])>,
    view: &'a View,
    mounts: &'a Mounts,
    trees: &'a Trees,
}

impl<'a> Paths<'a> {
    fn new(view: &'a View, of: &Difference<'a>) -> Paths<'a> {
        let mut named = HashMap::new();
        for (directory, names) in view.overlay.all_names() {
            for (name, own) in names {
                if let Some(node) = own.node {
                    named.insert(node, (directory, name.as_slice()));
                }
            }
        }
        Paths {
            named,
            view,
            mounts: of.mounts,
            trees: of.trees,
        }
    }

    /// One path of a node, unless it has none.
    fn of(&self, node: Node) -> Option<Vec<u8>> {
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut at = node;
        let mut len = 0;
        while at != self.view.root() {
            let (directory, name) = match (self.named.get(&at), at) {
                (Some((directory, name)), _) => (*directory, name.to_vec()),
                (None, Node::Base(tree, _)) if at == self.trees.root(tree) => {
                    let mount = super::mounts::names(self.mounts.path(tree));
                    names.extend(
                        mount
                            .map(<[u8]>::to_vec)
                            .collect::<Vec<_>>()
                            .into_iter()
                            .rev(),
                    );
                    break;
                }
                (None, Node::Base(tree, number)) => {
                    let (directory, name) = self.trees.name_of(tree, number)?;
                    (Node::Base(tree, directory), name)
                }
                (None, _) => return None,
            };
            len += name.len() + 1;
            if len > PATH_MAX {
                return None;
            }
            names.push(name);
            at = directory;
        }
        let mut path = Vec::with_capacity(len + 1);
        for name in names.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        if path.is_empty() {
            path.push(b'/');
        }
        Some(path)
    }
}
