//! What one instance has made of the files it sees, and nothing of what lies underneath. Plain data, so
//! that a snapshot can carry it.

use super::account::Account;
use super::inodes::{Content, Inode, Inodes};
use super::node::Node;
use super::scratch::ScratchFile;
use std::collections::{BTreeMap, HashMap};

/// The changes of one instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Overlay {
    /// Names made or removed (`None`) in a directory.
    names: HashMap<Node, BTreeMap<Vec<u8>, Option<Node>>>,
    inodes: Inodes,
    /// Private copies of tree files.
    copies: HashMap<Node, ScratchFile>,
    /// Facts of tree files that the instance has changed.
    altered: HashMap<Node, Altered>,
    pub(super) account: Account,
}

/// What an instance sees of a tree's file in place of what the tree says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Altered {
    pub(super) mode: Option<u32>,
    pub(super) modified_ns: Option<i64>,
    /// A directory that has lost its name.
    pub(super) is_removed: bool,
}

impl Overlay {
    /// What the instance has made of a name: something, nothing, or it has left it alone.
    pub(super) fn name(&self, directory: Node, name: &[u8]) -> Option<Option<Node>> {
        self.names.get(&directory)?.get(name).copied()
    }

    /// Everything it has made of the names in a directory.
    pub(super) fn names(&self, directory: Node) -> Option<&BTreeMap<Vec<u8>, Option<Node>>> {
        self.names.get(&directory)
    }

    /// Everything it has made of names.
    pub(super) fn all_names(
        &self,
    ) -> impl Iterator<Item = (Node, &BTreeMap<Vec<u8>, Option<Node>>)> {
        self.names.iter().map(|(at, names)| (*at, names))
    }

    /// The files of trees that have copies or other facts.
    pub(super) fn touched_files(&self) -> impl Iterator<Item = Node> {
        self.copies.keys().chain(self.altered.keys()).copied()
    }

    /// The numbers of the instance's own inodes.
    pub(super) fn inode_numbers(&self) -> impl Iterator<Item = u32> {
        self.inodes.numbers()
    }

    /// Every node that is mentioned, some more than once.
    pub(super) fn nodes(&self) -> impl Iterator<Item = Node> {
        let directories = self.names.keys().copied();
        let named = self
            .names
            .values()
            .flat_map(|names| names.values().copied().flatten());
        directories
            .chain(named)
            .chain(self.touched_files())
            .chain(self.inodes.parents())
    }

    /// Makes a name lead to `node`, or to nothing.
    pub(super) fn set_name(&mut self, directory: Node, name: &[u8], node: Option<Node>) {
        let names = self.names.entry(directory).or_default();
        if names.insert(name.to_vec(), node).is_none() {
            self.account.add_record();
        }
    }

    /// Forgets what was made of a name.
    pub(super) fn forget_name(&mut self, directory: Node, name: &[u8]) {
        let Some(names) = self.names.get_mut(&directory) else {
            return;
        };
        if names.remove(name).is_some() {
            self.account.remove_record();
        }
        if names.is_empty() {
            self.names.remove(&directory);
        }
    }

    /// The private copy of a tree's file.
    pub(super) fn copy(&self, node: Node) -> Option<&ScratchFile> {
        self.copies.get(&node)
    }

    /// The private copy of a tree's file of `size` bytes, made now if there is none.
    pub(super) fn copy_mut(&mut self, node: Node, size: u64) -> &mut ScratchFile {
        let account = &mut self.account;
        self.copies.entry(node).or_insert_with(|| {
            account.add_record();
            ScratchFile::over(size)
        })
    }

    /// What is changed about a tree's file.
    pub(super) fn altered(&self, node: Node) -> Option<&Altered> {
        self.altered.get(&node)
    }

    /// The same, to be changed.
    pub(super) fn altered_mut(&mut self, node: Node) -> &mut Altered {
        let account = &mut self.account;
        self.altered.entry(node).or_insert_with(|| {
            account.add_record();
            Altered::default()
        })
    }

    pub(super) fn inode(&self, number: u32) -> Option<&Inode> {
        self.inodes.get(number)
    }

    pub(super) fn inode_mut(&mut self, number: u32) -> &mut Inode {
        self.inodes.get_mut(number)
    }

    /// Adds an inode, which is to get one name.
    pub(super) fn add_inode(&mut self, content: Content, mode: u32, modified_ns: i64) -> Node {
        self.account.add_record();
        Node::Scratch(self.inodes.add(content, mode, modified_ns))
    }

    /// Counts an open description of a scratch file.
    pub(super) fn opened(&mut self, node: Node) {
        if let Node::Scratch(number) = node {
            self.inodes.get_mut(number).open += 1;
        }
    }

    /// Counts one fewer, and frees a file that has no name left.
    pub(super) fn closed(&mut self, node: Node) {
        if let Node::Scratch(number) = node {
            self.inodes.get_mut(number).open -= 1;
            self.free_if_unused(number);
        }
    }

    /// Counts one name more.
    pub(super) fn linked(&mut self, node: Node) {
        if let Node::Scratch(number) = node {
            self.inodes.get_mut(number).links += 1;
        }
    }

    /// Counts one name fewer, and frees a file that nobody has open.
    pub(super) fn unlinked(&mut self, node: Node) {
        if let Node::Scratch(number) = node {
            let inode = self.inodes.get_mut(number);
            inode.links = inode.links.saturating_sub(1);
            self.free_if_unused(number);
        }
    }

    fn free_if_unused(&mut self, number: u32) {
        if let Some(inode) = self.inodes.take_unused(number) {
            self.account.replace(inode.content.bytes(), 0);
            self.account.remove_record();
            self.names.remove(&Node::Scratch(number));
        }
    }
}
