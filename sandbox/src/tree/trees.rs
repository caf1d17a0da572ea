//! The trees that one instance sees: every look at one passes here.

use super::mounts::Mounts;
use super::reads::{ReadSet, Reads, What};
use super::{Entry, Extent, Kind, Metadata, Node, Tree};
use crate::lock::lock;
use std::borrow::Cow;
use std::sync::{Arc, Mutex};

/// The trees of one instance, by number; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Trees {
    list: Arc<[Option<Arc<dyn Tree>>]>,
    /// What was read, when somebody wants to know.
    reads: Option<Arc<Mutex<Reads>>>,
}

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
        Trees {
            list: list.into_iter().collect(),
            reads: None,
        }
    }

    /// The same trees, of which everything that is read from now on is noted.
    pub(crate) fn recording(&self) -> Trees {
        Trees {
            list: Arc::clone(&self.list),
            reads: Some(Arc::default()),
        }
    }

    /// What was read, if that was to be noted.
    pub(crate) fn reads(&self, mounts: &Mounts) -> Option<ReadSet> {
        let reads = lock(self.reads.as_ref()?);
        Some(reads.set(mounts.paths().map(|(_, path)| path)))
    }

    #[inline]
    fn note(&self, how: impl FnOnce(&mut Reads)) {
        if let Some(reads) = &self.reads {
            how(&mut lock(reads));
        }
    }

    /// Whether there is a tree with this number, and not only room for one.
    pub(super) fn is_bound(&self, tree: u8) -> bool {
        self.list[usize::from(tree)].is_some()
    }

    fn tree(&self, tree: u8) -> &dyn Tree {
        self.list[usize::from(tree)].as_deref().unwrap_or(&Empty)
    }

    /// Its root, which may be a file.
    pub(crate) fn root(&self, tree: u8) -> Node {
        Node::Base(tree, self.tree(tree).root())
    }

    pub(crate) fn child(&self, tree: u8, directory: u32, name: &[u8]) -> Option<u32> {
        let found = self.tree(tree).child(directory, name);
        self.note(|reads| reads.name((tree, directory), name, found));
        found
    }

    /// Follows from the names that led to the directory.
    pub(crate) fn parent(&self, tree: u8, directory: u32) -> u32 {
        self.tree(tree).parent(directory)
    }

    /// Follows from the names that led to the node, too.
    pub(crate) fn name_of(&self, tree: u8, node: u32) -> Option<(u32, Vec<u8>)> {
        self.tree(tree).name_of(node)
    }

    /// A node is one kind of thing for ever.
    pub(crate) fn kind(&self, tree: u8, node: u32) -> Kind {
        self.tree(tree).kind(node)
    }

    pub(crate) fn metadata(&self, tree: u8, node: u32) -> Metadata {
        self.note(|reads| reads.note((tree, node), What::Facts));
        self.tree(tree).metadata(node)
    }

    /// The length alone.
    pub(crate) fn size(&self, tree: u8, node: u32) -> u64 {
        self.note(|reads| reads.note((tree, node), What::Size));
        self.tree(tree).metadata(node).size
    }

    pub(crate) fn entry(&self, tree: u8, directory: u32, index: u32) -> Option<Entry<'_>> {
        if index == 0 {
            self.note(|reads| reads.note((tree, directory), What::Listing));
        }
        self.tree(tree).entry(directory, index)
    }

    pub(crate) fn read_link(&self, tree: u8, node: u32) -> Option<Cow<'_, [u8]>> {
        self.note(|reads| reads.note((tree, node), What::Link));
        self.tree(tree).read_link(node)
    }

    pub(crate) fn read_at(
        &self,
        tree: u8,
        node: u32,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<usize, i32> {
        let result = self.tree(tree).read_at(node, offset, buffer);
        self.note(|reads| {
            let count = *result.as_ref().unwrap_or(&0);
            reads.bytes((tree, node), offset, count as u64);
            // Whoever gets less than he asked for learns where the end is.
            if count < buffer.len() {
                reads.note((tree, node), What::Size);
            }
        });
        result
    }

    pub(crate) fn extent(&self, tree: u8, node: u32) -> Option<Extent> {
        self.tree(tree).extent(node)
    }

    /// Notes that a guest can read these bytes without asking, and sees where they end.
    pub(crate) fn mapped(&self, tree: u8, node: u32, offset: u64, len: u64) {
        self.note(|reads| {
            reads.bytes((tree, node), offset, len);
            reads.note((tree, node), What::Size);
        });
    }
}
