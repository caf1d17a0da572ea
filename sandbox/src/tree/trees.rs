//! The trees that one instance sees: every look at one passes here.

use super::{Entry, Extent, Kind, Metadata, Node, Tree};
use std::borrow::Cow;
use std::sync::Arc;

/// The trees of one instance, by number; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Trees(Arc<[Option<Arc<dyn Tree>>]>);

/// What is seen where nothing is bound.
#[derive(Debug)]
struct Empty;

impl Tree for Empty {
    fn root(&self) -> u32 {
        0
    }

    fn child(&self, _directory: u32, _name: &[u8]) -> Option<u32> {
        None
    }

    fn parent(&self, _directory: u32) -> u32 {
        0
    }

    fn metadata(&self, _node: u32) -> Metadata {
        Metadata {
            kind: Kind::Directory,
            mode: 0o755,
            links: 1,
            ..Metadata::none()
        }
    }

    fn entry(&self, _directory: u32, _index: u32) -> Option<Entry<'_>> {
        None
    }

    fn read_link(&self, _node: u32) -> Option<Cow<'_, [u8]>> {
        None
    }

    fn read_at(&self, _node: u32, _offset: u64, _buffer: &mut [u8]) -> Result<usize, i32> {
        Err(libc::EISDIR)
    }
}

impl Trees {
    pub(super) fn new(list: impl IntoIterator<Item = Option<Arc<dyn Tree>>>) -> Trees {
        Trees(list.into_iter().collect())
    }

    /// Whether there is a tree with this number, and not only room for one.
    pub(super) fn is_bound(&self, tree: u8) -> bool {
        self.0[usize::from(tree)].is_some()
    }

    fn tree(&self, tree: u8) -> &dyn Tree {
        self.0[usize::from(tree)].as_deref().unwrap_or(&Empty)
    }

    /// Its root, which may be a file.
    pub(crate) fn root(&self, tree: u8) -> Node {
        Node::Base(tree, self.tree(tree).root())
    }

    pub(crate) fn child(&self, tree: u8, directory: u32, name: &[u8]) -> Option<u32> {
        self.tree(tree).child(directory, name)
    }

    pub(crate) fn parent(&self, tree: u8, directory: u32) -> u32 {
        self.tree(tree).parent(directory)
    }

    pub(crate) fn metadata(&self, tree: u8, node: u32) -> Metadata {
        self.tree(tree).metadata(node)
    }

    pub(crate) fn kind(&self, tree: u8, node: u32) -> Kind {
        self.tree(tree).kind(node)
    }

    pub(crate) fn entry(&self, tree: u8, directory: u32, index: u32) -> Option<Entry<'_>> {
        self.tree(tree).entry(directory, index)
    }

    pub(crate) fn read_link(&self, tree: u8, node: u32) -> Option<Cow<'_, [u8]>> {
        self.tree(tree).read_link(node)
    }

    pub(crate) fn read_at(
        &self,
        tree: u8,
        node: u32,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<usize, i32> {
        self.tree(tree).read_at(node, offset, buffer)
    }

    pub(crate) fn name_of(&self, tree: u8, node: u32) -> Option<(u32, Vec<u8>)> {
        self.tree(tree).name_of(node)
    }

    pub(crate) fn extent(&self, tree: u8, node: u32) -> Option<Extent> {
        self.tree(tree).extent(node)
    }
}
