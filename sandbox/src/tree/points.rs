//! Where trees are mounted in one view.

use super::Node;

/// The mount points of a view. Those that lie in a tree which each instance brings along are found
/// anew for each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Points(Vec<Point>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Point {
    tree: u8,
    directory: Node,
    name: Vec<u8>,
}

impl Points {
    /// Adds a point; a later one of the same name hides the earlier.
    pub(super) fn add(&mut self, tree: u8, directory: Node, name: &[u8]) {
        let name = name.to_vec();
        let after = self.0.partition_point(|point| point.tree < tree);
        self.0.insert(
            after,
            Point {
                tree,
                directory,
                name,
            },
        );
    }

    /// The directory that holds a tree's point, if it has one.
    pub(super) fn directory(&self, tree: u8) -> Option<Node> {
        let point = self.0.iter().find(|point| point.tree == tree);
        point.map(|point| point.directory)
    }

    /// The tree at a name.
    pub(super) fn tree(&self, directory: Node, name: &[u8]) -> Option<u8> {
        let is_it = |point: &&Point| point.directory == directory && point.name == name;
        self.0.iter().rev().find(is_it).map(|point| point.tree)
    }

    /// The trees and their names in a directory.
    pub(super) fn within(&self, directory: Node) -> impl Iterator<Item = (&[u8], u8)> {
        let here = self
            .0
            .iter()
            .filter(move |point| point.directory == directory);
        let is_seen = move |point: &&Point| self.tree(directory, &point.name) == Some(point.tree);
        here.filter(is_seen)
            .map(|point| (point.name.as_slice(), point.tree))
    }

    /// Forgets the points in directories that `is_gone` names.
    pub(super) fn forget(&mut self, is_gone: impl Fn(Node) -> bool) {
        self.0.retain(|point| !is_gone(point.directory));
    }
}
