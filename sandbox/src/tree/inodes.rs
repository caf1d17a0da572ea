//! The files, directories and links that an instance has made itself.

use super::scratch::ScratchFile;
use super::{Kind, Metadata, Node};
use std::collections::HashMap;

/// Permissions, and the three bits above them, which mean nothing to anybody here.
pub(super) const MODE_BITS: u32 = 0o7777;

/// A scratch file or directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inode {
    pub(super) content: Content,
    pub(super) mode: u32,
    pub(super) links: u32,
    /// Open descriptions; a file without a name lives until the last is closed.
    pub(super) open: u32,
    pub(super) modified_ns: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    Regular(ScratchFile),
    Directory { parent: Node },
    Symlink { target: Vec<u8> },
}

impl Content {
    /// Memory it takes.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Content::Regular(file) => file.bytes(),
            Content::Directory { .. } => 0,
            Content::Symlink { target } => target.len() as u64,
        }
    }
}

impl Inode {
    pub(super) fn kind(&self) -> Kind {
        match self.content {
            Content::Regular(_) => Kind::Regular,
            Content::Directory { .. } => Kind::Directory,
            Content::Symlink { .. } => Kind::Symlink,
        }
    }

    pub(super) fn metadata(&self) -> Metadata {
        let size = match &self.content {
            Content::Regular(file) => file.size(),
            Content::Directory { .. } => 0,
            Content::Symlink { target } => target.len() as u64,
        };
        Metadata {
            kind: self.kind(),
            mode: self.mode,
            links: self.links,
            uid: 0,
            gid: 0,
            size,
            modified_ns: self.modified_ns,
        }
    }
}

/// The inodes by number. A number is not given out again, so that it tells a file that was there at the
/// start from one that was made since.
#[derive(Debug, Clone, Default)]
pub(super) struct Inodes {
    list: HashMap<u32, Inode>,
    next: u32,
}

/// Files that came and went leave nothing but a gap in the numbers.
impl PartialEq for Inodes {
    fn eq(&self, other: &Inodes) -> bool {
        self.list == other.list
    }
}

impl Eq for Inodes {}

impl Inodes {
    pub(super) fn get(&self, number: u32) -> Option<&Inode> {
        self.list.get(&number)
    }

    pub(super) fn get_mut(&mut self, number: u32) -> &mut Inode {
        let inode = self.list.get_mut(&number);
        inode.expect("a scratch node lives while a name or a descriptor leads to it")
    }

    /// The numbers in use.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> {
        self.list.keys().copied()
    }

    /// Adds an inode with one name.
    pub(super) fn add(&mut self, content: Content, mode: u32, modified_ns: i64) -> u32 {
        // After 2^32 files the numbers begin again; far fewer can be there at once.
        while self.list.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let number = self.next;
        self.next = number.wrapping_add(1);
        let inode = Inode {
            content,
            mode: mode & MODE_BITS,
            links: 1,
            open: 0,
            modified_ns,
        };
        self.list.insert(number, inode);
        number
    }

    /// The directories that hold the directories among them.
    pub(super) fn parents(&self) -> impl Iterator<Item = Node> {
        self.list.values().filter_map(|inode| match inode.content {
            Content::Directory { parent } => Some(parent),
            _ => None,
        })
    }

    /// Takes away an inode without a name and without a descriptor.
    pub(super) fn take_unused(&mut self, number: u32) -> Option<Inode> {
        let inode = self.get(number)?;
        if inode.links > 0 || inode.open > 0 {
            return None;
        }
        self.list.remove(&number)
    }
}
