//! What one instance has made of the files it sees, and nothing of what lies underneath. Plain data, so
//! that a snapshot can carry it.

use super::inodes::{Content, Inode, Inodes};
use super::named::{Named, Own};
use super::node::Node;
use super::scratch::ScratchFile;
use crate::abi::Errno;
use crate::ledger::{Leave, Ledger, Room};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

/// The changes of one instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Overlay {
    /// Names made or removed (`None`) in a directory.
    names: Named,
    inodes: Inodes,
    /// Private copies of tree files.
    copies: HashMap<Node, ScratchFile>,
    /// Facts of tree files that the instance has changed.
    altered: HashMap<Node, Altered>,
    pub(super) ledger: Ledger,
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
        Some(self.names.get(directory, name)?.node)
    }

    /// Everything it has made of the names in a directory.
    pub(super) fn names(&self, directory: Node) -> Option<&BTreeMap<Vec<u8>, Own>> {
        self.names.within(directory)
    }

    /// The same as [`Overlay::name`], and when it was made.
    pub(super) fn own(&self, directory: Node, name: &[u8]) -> Option<Own> {
        self.names.get(directory, name)
    }

    /// How many names have been made up to now.
    pub(super) fn names_made(&self) -> u64 {
        self.names.made()
    }

    /// Everything it has made of names.
    pub(super) fn all_names(&self) -> impl Iterator<Item = (Node, &BTreeMap<Vec<u8>, Own>)> {
        self.names.all()
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
        let directories = self.names.all().map(|(directory, _)| directory);
        let named =
            (self.names.all()).flat_map(|(_, names)| names.values().filter_map(|own| own.node));
        directories
            .chain(named)
            .chain(self.touched_files())
            .chain(self.inodes.parents())
    }

    /// Makes a name lead to `node`, or to nothing.
    pub(super) fn set_name(
        &mut self,
        leave: Leave,
        directory: Node,
        name: &[u8],
        node: Option<Node>,
    ) {
        if !self.names.set(directory, name, node) {
            self.ledger.strike(leave);
        }
    }

    /// Forgets what was made of a name.
    pub(super) fn forget_name(&mut self, directory: Node, name: &[u8]) {
        if self.names.forget(directory, name) {
            self.ledger.remove_record();
        }
    }

    /// The private copy of a tree's file.
    pub(super) fn copy(&self, node: Node) -> Option<&ScratchFile> {
        self.copies.get(&node)
    }

    /// The private copy of a tree's file of `size` bytes, made now if there is none.
    pub(super) fn copy_mut(
        &mut self,
        node: Node,
        size: u64,
        room: &Room,
    ) -> Result<&mut ScratchFile, Errno> {
        match self.copies.entry(node) {
            Entry::Occupied(copy) => Ok(copy.into_mut()),
            Entry::Vacant(place) => {
                let _kept = self.ledger.enter(room)?;
                Ok(place.insert(ScratchFile::over(size)))
            }
        }
    }

    /// What is changed about a tree's file.
    pub(super) fn altered(&self, node: Node) -> Option<&Altered> {
        self.altered.get(&node)
    }

    /// The same, to be changed.
    pub(super) fn altered_mut(&mut self, node: Node, room: &Room) -> Result<&mut Altered, Errno> {
        match self.altered.entry(node) {
            Entry::Occupied(altered) => Ok(altered.into_mut()),
            Entry::Vacant(place) => {
                let _kept = self.ledger.enter(room)?;
                Ok(place.insert(Altered::default()))
            }
        }
    }

    /// Remembers that a tree's directory has lost its name.
    pub(super) fn set_removed(&mut self, leave: Leave, node: Node) {
        match self.altered.entry(node) {
            Entry::Occupied(mut altered) => {
                altered.get_mut().is_removed = true;
                self.ledger.strike(leave);
            }
            Entry::Vacant(place) => {
                place.insert(Altered {
                    is_removed: true,
                    ..Altered::default()
                });
            }
        }
    }

    pub(super) fn inode(&self, number: u32) -> Option<&Inode> {
        self.inodes.get(number)
    }

    pub(super) fn inode_mut(&mut self, number: u32) -> &mut Inode {
        self.inodes.get_mut(number)
    }

    /// Adds an inode, which is to get one name.
    pub(super) fn add_inode(
        &mut self,
        leave: Leave,
        content: Content,
        mode: u32,
        modified_ns: i64,
    ) -> Node {
        let _kept = leave;
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
            self.ledger.replace(inode.content.bytes(), 0);
            self.ledger.remove_record();
            debug_assert!(
                self.names.within(Node::Scratch(number)).is_none(),
                "only an empty directory loses its name"
            );
        }
    }
}

#[cfg(test)]
impl super::view::View {
    /// Records and bytes of content, counted anew.
    pub(crate) fn count_what_is_kept(&self) -> (u64, u64) {
        let Overlay {
            names,
            inodes,
            copies,
            altered,
            ..
        } = &self.overlay;
        let names: usize = names.all().map(|(_, names)| names.len()).sum();
        let numbers: Vec<u32> = inodes.numbers().collect();
        let records = names + numbers.len() + copies.len() + altered.len();
        let own = numbers.iter().filter_map(|number| inodes.get(*number));
        let bytes = own.map(|inode| inode.content.bytes()).sum::<u64>()
            + copies.values().map(ScratchFile::bytes).sum::<u64>();
        (records as u64, bytes)
    }
}
