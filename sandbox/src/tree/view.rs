//! One instance's view: the mounted trees, and over them what the instance has made, changed and
//! removed. Plain data, so that a snapshot can carry it and a reset can be checked against it.
//!
//! A file of a tree that is opened for writing gets a private copy that shares the unwritten pages;
//! it keeps its identity, so every name and every open descriptor sees the same bytes. New files may
//! appear in any directory. Everything counts against the scratch limit. Here stands what is seen; the
//! module `write` has what changes it.

use super::inodes::{Content, Inode};
use super::mounts::{Mounts, bad, names};
use super::overlay::Overlay;
use super::points::Points;
use super::trees::Trees;
use super::{Device, Kind, Metadata, Node};
use crate::abi::Errno;
use crate::error::Error;
use crate::ledger::Ledger;
use std::borrow::Cow;

/// The files of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    root: Node,
    points: Points,
    pub(super) overlay: Overlay,
}

impl View {
    /// The view at the start of a program: the trees, `/dev`, and an empty `/tmp`.
    pub(crate) fn new(mounts: &Mounts, trees: &Trees) -> Result<View, Error> {
        let mut view = View::nothing();
        view.root = match mounts.paths().find(|(_, path)| *path == b"/") {
            Some((tree, _)) => trees.root(tree),
            // The first inode is number 0: it is its own parent.
            None => view.given_directory(view.root, 0o755),
        };
        let root = view.root;
        for name in [&b"dev"[..], b"tmp"] {
            let directory = view.given_directory(root, 0o777);
            view.give_name(root, name, directory);
            if name == b"dev" {
                for (name, device) in Device::ALL {
                    view.give_name(directory, name, Node::Device(device));
                }
            }
        }
        view.attach(mounts, trees)?;
        Ok(view)
    }

    /// Takes the view away; what stays shows nothing.
    pub(crate) fn take(&mut self) -> View {
        std::mem::replace(self, View::nothing())
    }

    fn nothing() -> View {
        View {
            root: Node::Scratch(0),
            points: Points::default(),
            overlay: Overlay::default(),
        }
    }

    /// Finds the mount points that are not known yet: at the start all, later those inside trees that have
    /// just been bound.
    pub(crate) fn attach(&mut self, mounts: &Mounts, trees: &Trees) -> Result<(), Error> {
        let mut is_root_there = false;
        for (tree, path) in mounts.paths() {
            if path == b"/" && !std::mem::replace(&mut is_root_there, true) {
                continue;
            }
            if self.points.directory(tree).is_none() {
                self.attach_at(mounts, trees, tree, path)?;
            }
        }
        Ok(())
    }

    /// A directory that is there before the program starts.
    fn given_directory(&mut self, parent: Node, mode: u32) -> Node {
        let leave = self.overlay.ledger.give();
        self.new_directory(leave, parent, mode, 0)
    }

    fn give_name(&mut self, directory: Node, name: &[u8], node: Node) {
        let leave = self.overlay.ledger.give();
        self.overlay.set_name(leave, directory, name, Some(node));
    }

    fn attach_at(
        &mut self,
        mounts: &Mounts,
        trees: &Trees,
        tree: u8,
        path: &[u8],
    ) -> Result<(), Error> {
        let names: Vec<&[u8]> = names(path).collect();
        let Some((last, directories)) = names.split_last() else {
            return Err(bad(path, "the root is mounted once"));
        };
        if path[0] != b'/' || names.iter().any(|name| matches!(*name, b"." | b"..")) {
            return Err(bad(path, "mount points are absolute and plain"));
        }
        let mut at = self.root;
        for name in directories {
            at = match (self.lookup(trees, at, name), at) {
                (Some(node), _) if self.kind(trees, node) == Kind::Directory => node,
                (Some(_), _) => return Err(bad(path, "a file is in the way")),
                (None, Node::Base(above, _)) if mounts.is_late(above) => {
                    if trees.is_bound(above) && trees.is_bound(tree) {
                        return Err(bad(path, "the tree bound above it has no such directory"));
                    }
                    return Ok(());
                }
                (None, _) => {
                    let made = self.given_directory(at, 0o755);
                    self.give_name(at, name, made);
                    made
                }
            };
        }
        if self.kind(trees, at) != Kind::Directory {
            return Err(bad(path, "a file is in the way"));
        }
        self.points.add(tree, at, last);
        Ok(())
    }

    /// Makes the view one that does not depend on what was bound for its instance; answers the number of a
    /// tree whose names or files it has changed, if there is one.
    pub(crate) fn release(&mut self, mounts: &Mounts) -> Result<(), u8> {
        let late = |node: Node| match node {
            Node::Base(tree, _) if mounts.is_late(tree) => Some(tree),
            _ => None,
        };
        if let Some(tree) = self.overlay.nodes().find_map(late) {
            return Err(tree);
        }
        self.points.forget(|directory| late(directory).is_some());
        Ok(())
    }

    pub(crate) fn root(&self) -> Node {
        self.root
    }

    /// What `name` is in `directory`.
    pub(crate) fn lookup(&self, trees: &Trees, directory: Node, name: &[u8]) -> Option<Node> {
        if let Some(tree) = self.points.tree(directory, name) {
            return Some(trees.root(tree));
        }
        if let Some(node) = self.overlay.name(directory, name) {
            return node;
        }
        match directory {
            Node::Base(tree, number) => trees
                .child(tree, number, name)
                .map(|child| Node::Base(tree, child)),
            _ => None,
        }
    }

    /// Whether a tree is mounted at this name.
    pub(crate) fn is_mount_point(&self, directory: Node, name: &[u8]) -> bool {
        self.points.tree(directory, name).is_some()
    }

    /// Whether a tree has this name, whatever the instance has made of it.
    pub(crate) fn tree_has(&self, trees: &Trees, directory: Node, name: &[u8]) -> bool {
        match directory {
            Node::Base(tree, number) => trees.child(tree, number, name).is_some(),
            _ => false,
        }
    }

    /// The directory above `directory`.
    pub(crate) fn parent(&self, trees: &Trees, directory: Node) -> Node {
        match directory {
            Node::Base(tree, _) if directory == trees.root(tree) => {
                self.points.directory(tree).unwrap_or(self.root)
            }
            Node::Base(tree, number) => Node::Base(tree, trees.parent(tree, number)),
            Node::Scratch(number) => match self.content(number) {
                Some(Content::Directory { parent }) => *parent,
                _ => self.root,
            },
            Node::Device(_) => self.root,
        }
    }

    /// What a node is.
    pub(crate) fn kind(&self, trees: &Trees, node: Node) -> Kind {
        match node {
            Node::Base(tree, number) => trees.kind(tree, number),
            Node::Scratch(number) => {
                (self.overlay.inode(number)).map_or(Kind::Regular, Inode::kind)
            }
            Node::Device(_) => Kind::Device,
        }
    }

    /// Facts about a node.
    pub(crate) fn metadata(&self, trees: &Trees, node: Node) -> Metadata {
        match node {
            Node::Base(tree, number) => {
                let mut facts = trees.metadata(tree, number);
                if let Some(copy) = self.overlay.copy(node) {
                    facts.size = copy.size();
                }
                if let Some(altered) = self.overlay.altered(node) {
                    facts.mode = altered.mode.unwrap_or(facts.mode);
                    facts.modified_ns = altered.modified_ns.unwrap_or(facts.modified_ns);
                }
                facts
            }
            Node::Scratch(number) => {
                (self.overlay.inode(number)).map_or(Metadata::none(), Inode::metadata)
            }
            Node::Device(_) => Metadata {
                kind: Kind::Device,
                mode: 0o666,
                links: 1,
                ..Metadata::none()
            },
        }
    }

    /// The length of a file.
    pub(crate) fn size(&self, trees: &Trees, node: Node) -> u64 {
        match (node, self.overlay.copy(node)) {
            (_, Some(copy)) => copy.size(),
            (Node::Base(tree, number), None) => trees.size(tree, number),
            _ => self.metadata(trees, node).size,
        }
    }

    /// Where a symbolic link points.
    pub(crate) fn read_link<'a>(&'a self, trees: &'a Trees, node: Node) -> Option<Cow<'a, [u8]>> {
        match node {
            Node::Base(tree, number) => trees.read_link(tree, number),
            Node::Scratch(number) => match self.content(number)? {
                Content::Symlink { target } => Some(Cow::Borrowed(target)),
                _ => None,
            },
            Node::Device(_) => None,
        }
    }

    /// Reads a regular file.
    pub(crate) fn read_at(
        &self,
        trees: &Trees,
        node: Node,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<usize, Errno> {
        let result = match node {
            Node::Base(tree, number) => {
                let base = |at: u64, part: &mut [u8]| trees.read_at(tree, number, at, part);
                match self.overlay.copy(node) {
                    Some(copy) => copy.read_at(offset, buffer, base),
                    None => trees.read_at(tree, number, offset, buffer),
                }
            }
            Node::Scratch(number) => match self.content(number) {
                Some(Content::Regular(file)) => file.read_at(offset, buffer, |_, _| Ok(0)),
                _ => Err(libc::EISDIR),
            },
            Node::Device(_) => Err(libc::EINVAL),
        };
        result.map_err(Errno)
    }

    /// True when a directory has lost its name: nothing can be put into it.
    pub(crate) fn is_removed(&self, directory: Node) -> bool {
        match directory {
            Node::Base(..) => (self.overlay.altered(directory)).is_some_and(|is| is.is_removed),
            Node::Scratch(number) => self
                .overlay
                .inode(number)
                .is_none_or(|inode| inode.links == 0),
            Node::Device(_) => false,
        }
    }

    /// True when `directory` is `above` or lies below it.
    pub(crate) fn is_below(&self, trees: &Trees, mut directory: Node, above: Node) -> bool {
        while directory != above {
            if directory == self.root {
                return false;
            }
            directory = self.parent(trees, directory);
        }
        true
    }

    /// True when the node's bytes may differ from the tree's: it must not be mapped (review F17).
    pub(crate) fn is_copied(&self, node: Node) -> bool {
        !matches!(node, Node::Base(..)) || self.overlay.copy(node).is_some()
    }

    /// The name of a directory in the one above it.
    fn name_in(&self, trees: &Trees, parent: Node, directory: Node) -> Option<Vec<u8>> {
        let is_point = |(_, tree): &(&[u8], u8)| trees.root(*tree) == directory;
        if let Some((name, _)) = self.points.within(parent).find(is_point) {
            return Some(name.to_vec());
        }
        let own = self.overlay.names(parent).into_iter().flatten();
        if let Some((name, _)) = { own }.find(|(_, own)| own.node == Some(directory)) {
            return Some(name.clone());
        }
        let Node::Base(tree, number) = directory else {
            return None;
        };
        let (above, name) = trees.name_of(tree, number)?;
        let is_seen = Node::Base(tree, above) == parent
            && self.overlay.name(parent, &name).is_none()
            && !self.is_mount_point(parent, &name);
        is_seen.then_some(name)
    }

    /// The absolute path of a directory.
    pub(crate) fn path_of(&self, trees: &Trees, directory: Node) -> Result<Vec<u8>, Errno> {
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut at = directory;
        while at != self.root {
            let parent = self.parent(trees, at);
            let name = self.name_in(trees, parent, at);
            names.push(name.ok_or(Errno(libc::ENOENT))?);
            at = parent;
            if names.iter().map(Vec::len).sum::<usize>() > super::walk::PATH_MAX {
                return Err(Errno(libc::ENAMETOOLONG));
            }
        }
        let mut path = Vec::new();
        for name in names.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        if path.is_empty() {
            path.push(b'/');
        }
        Ok(path)
    }

    /// What the instance keeps.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.overlay.ledger
    }

    /// The same, to charge what it keeps beside its files.
    pub(crate) fn ledger_mut(&mut self) -> &mut Ledger {
        &mut self.overlay.ledger
    }

    /// Where trees are mounted.
    pub(super) fn points(&self) -> &Points {
        &self.points
    }

    /// Bytes of files that the instance made in directories of a tree, where a program means them to stay.
    pub(crate) fn made_in_trees(&self) -> u64 {
        let in_trees = (self.overlay.all_names()).filter(|(at, _)| self.is_in_tree(*at));
        let nodes = in_trees.flat_map(|(_, names)| names.values().filter_map(|own| own.node));
        nodes
            .map(|node| match node {
                Node::Scratch(number) => match self.content(number) {
                    Some(Content::Regular(file)) => file.bytes().min(file.size()),
                    _ => 0,
                },
                _ => 0,
            })
            .sum()
    }

    /// Whether a directory lies in a tree, or was made below one; `/tmp` and `/dev` do not count.
    fn is_in_tree(&self, mut directory: Node) -> bool {
        let is_own = |node| {
            [&b"tmp"[..], b"dev"]
                .iter()
                .any(|name| self.overlay.name(self.root, name) == Some(Some(node)))
        };
        loop {
            match directory {
                Node::Base(..) => return true,
                Node::Device(_) => return false,
                node if node == self.root || is_own(node) => return false,
                Node::Scratch(number) => match self.content(number) {
                    Some(Content::Directory { parent }) => directory = *parent,
                    _ => return false,
                },
            }
        }
    }

    fn content(&self, number: u32) -> Option<&Content> {
        self.overlay.inode(number).map(|inode| &inode.content)
    }
}
