//! One instance's view: the mounted trees, and over them what the instance has made, changed and
//! removed. Plain data, so that a snapshot can carry it and a reset can be checked against it.
//!
//! A file of a tree that is opened for writing gets a private copy that shares the unwritten pages;
//! it keeps its identity, so every name and every open descriptor sees the same bytes. New files may
//! appear in any directory. Everything counts against the scratch limit. Here stands what is seen; the
//! module `write` has what changes it.

use super::inodes::{Content, Inode};
use super::overlay::Overlay;
use super::{Device, Kind, Metadata, Mounts, Node};
use crate::abi::Errno;
use crate::error::Error;
use std::borrow::Cow;

/// The files of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    root: Node,
    /// The directory each tree is mounted in.
    mount_parents: Vec<Node>,
    pub(super) overlay: Overlay,
}

impl View {
    /// The view at the start of a program: the trees, `/dev`, and an empty `/tmp`.
    pub(crate) fn new(mounts: &Mounts) -> Result<View, Error> {
        let nowhere = Node::Scratch(0);
        let mut view = View {
            root: nowhere,
            mount_parents: vec![nowhere; mounts.count()?],
            overlay: Overlay::default(),
        };
        view.root = match mounts.paths().find(|(_, path)| *path == b"/") {
            Some((tree, _)) => {
                let root = Node::Base(tree, mounts.tree(tree).root());
                view.mount_parents[usize::from(tree)] = root;
                root
            }
            // The first inode is number 0: it is its own parent.
            None => view.new_directory(nowhere, 0o755, 0),
        };
        let root = view.root;
        for name in [&b"dev"[..], b"tmp"] {
            let directory = view.new_directory(root, 0o777, 0);
            view.overlay.set_name(root, name, Some(directory));
            if name == b"dev" {
                for (name, device) in Device::ALL {
                    let device = Some(Node::Device(device));
                    view.overlay.set_name(directory, name, device);
                }
            }
        }
        for (tree, path) in mounts.paths().filter(|(_, path)| *path != b"/") {
            view.mount(mounts, tree, path)?;
        }
        view.overlay.account.start();
        Ok(view)
    }

    fn mount(&mut self, mounts: &Mounts, tree: u8, path: &[u8]) -> Result<(), Error> {
        let bad = |reason| Error::GuestPath {
            path: path.escape_ascii().to_string(),
            reason,
        };
        let names: Vec<&[u8]> = path
            .split(|byte| *byte == b'/')
            .filter(|n| !n.is_empty())
            .collect();
        let Some((last, directories)) = names.split_last() else {
            return Err(bad("the root is mounted once"));
        };
        if path[0] != b'/' || names.iter().any(|name| matches!(*name, b"." | b"..")) {
            return Err(bad("mount points are absolute and plain"));
        }
        let mut at = self.root;
        for name in directories {
            at = match self.lookup(mounts, at, name) {
                Some(node) if self.kind(mounts, node) == Kind::Directory => node,
                Some(_) => return Err(bad("a file is in the way")),
                None => {
                    let made = self.new_directory(at, 0o755, 0);
                    self.overlay.set_name(at, name, Some(made));
                    made
                }
            };
        }
        let root = Node::Base(tree, mounts.tree(tree).root());
        self.overlay.set_name(at, last, Some(root));
        self.mount_parents[usize::from(tree)] = at;
        Ok(())
    }

    pub(crate) fn root(&self) -> Node {
        self.root
    }

    /// What `name` is in `directory`.
    pub(crate) fn lookup(&self, mounts: &Mounts, directory: Node, name: &[u8]) -> Option<Node> {
        if let Some(node) = self.overlay.name(directory, name) {
            return node;
        }
        match directory {
            Node::Base(tree, number) => mounts
                .tree(tree)
                .child(number, name)
                .map(|child| Node::Base(tree, child)),
            _ => None,
        }
    }

    /// Whether a tree has this name, whatever the instance has made of it.
    pub(crate) fn tree_has(&self, mounts: &Mounts, directory: Node, name: &[u8]) -> bool {
        match directory {
            Node::Base(tree, number) => mounts.tree(tree).child(number, name).is_some(),
            _ => false,
        }
    }

    /// The directory above `directory`.
    pub(crate) fn parent(&self, mounts: &Mounts, directory: Node) -> Node {
        match directory {
            Node::Base(tree, number) if number == mounts.tree(tree).root() => {
                self.mount_parents[usize::from(tree)]
            }
            Node::Base(tree, number) => Node::Base(tree, mounts.tree(tree).parent(number)),
            Node::Scratch(number) => match self.content(number) {
                Some(Content::Directory { parent }) => *parent,
                _ => self.root,
            },
            Node::Device(_) => self.root,
        }
    }

    /// What a node is.
    pub(crate) fn kind(&self, mounts: &Mounts, node: Node) -> Kind {
        match node {
            Node::Base(tree, number) => mounts.tree(tree).kind(number),
            Node::Scratch(number) => {
                (self.overlay.inode(number)).map_or(Kind::Regular, Inode::kind)
            }
            Node::Device(_) => Kind::Device,
        }
    }

    /// Facts about a node.
    pub(crate) fn metadata(&self, mounts: &Mounts, node: Node) -> Metadata {
        match node {
            Node::Base(tree, number) => {
                let mut facts = mounts.tree(tree).metadata(number);
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

    /// Where a symbolic link points.
    pub(crate) fn read_link<'a>(&'a self, mounts: &'a Mounts, node: Node) -> Option<Cow<'a, [u8]>> {
        match node {
            Node::Base(tree, number) => mounts.tree(tree).read_link(number),
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
        mounts: &Mounts,
        node: Node,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<usize, Errno> {
        let result = match node {
            Node::Base(tree, number) => {
                let base = |at: u64, part: &mut [u8]| mounts.tree(tree).read_at(number, at, part);
                match self.overlay.copy(node) {
                    Some(copy) => copy.read_at(offset, buffer, base),
                    None => mounts.tree(tree).read_at(number, offset, buffer),
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
    pub(crate) fn is_below(&self, mounts: &Mounts, mut directory: Node, above: Node) -> bool {
        while directory != above {
            if directory == self.root {
                return false;
            }
            directory = self.parent(mounts, directory);
        }
        true
    }

    /// True when the node's bytes may differ from the tree's: it must not be mapped (review F17).
    pub(crate) fn is_copied(&self, node: Node) -> bool {
        !matches!(node, Node::Base(..)) || self.overlay.copy(node).is_some()
    }

    /// True when `directory` shows nothing.
    pub(crate) fn is_empty(&self, mounts: &Mounts, directory: Node) -> bool {
        let mut found = false;
        self.list(mounts, directory, |_, _, _| found = true);
        !found
    }

    /// Calls `each` with name, node and kind of everything in `directory`.
    pub(crate) fn list(
        &self,
        mounts: &Mounts,
        directory: Node,
        mut each: impl FnMut(&[u8], Node, Kind),
    ) {
        let changed = self.overlay.names(directory);
        if let Node::Base(tree, number) = directory {
            for index in 0.. {
                let Some(entry) = mounts.tree(tree).entry(number, index) else {
                    break;
                };
                if changed.is_none_or(|changed| !changed.contains_key(&*entry.name)) {
                    each(&entry.name, Node::Base(tree, entry.node), entry.kind);
                }
            }
        }
        for (name, node) in changed.into_iter().flatten() {
            if let Some(node) = node {
                each(name, *node, self.kind(mounts, *node));
            }
        }
    }

    /// The absolute path of a directory.
    pub(crate) fn path_of(&self, mounts: &Mounts, directory: Node) -> Result<Vec<u8>, Errno> {
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut at = directory;
        while at != self.root {
            let parent = self.parent(mounts, at);
            let mut found = None;
            self.list(mounts, parent, |name, node, _| {
                if node == at {
                    found = Some(name.to_vec());
                }
            });
            names.push(found.ok_or(Errno(libc::ENOENT))?);
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

    /// Bytes that count against the scratch limit.
    pub(crate) fn bytes(&self) -> u64 {
        self.overlay.account.bytes()
    }

    /// The most there ever were.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.overlay.account.peak_bytes()
    }

    /// Bytes of files that the instance made in directories of a tree, where a program means them to stay.
    pub(crate) fn made_in_trees(&self) -> u64 {
        let in_trees = (self.overlay.all_names()).filter(|(at, _)| self.is_in_tree(*at));
        let nodes = in_trees.flat_map(|(_, names)| names.values().flatten());
        nodes
            .map(|node| match node {
                Node::Scratch(number) => match self.content(*number) {
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
