//! The files, directories and links that an instance has made itself.

use super::scratch::ScratchFile;
use super::{Kind, Metadata, Node};

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

/// The inodes by number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Inodes {
    list: Vec<Option<Inode>>,
}

impl Inodes {
    pub(super) fn get(&self, number: u32) -> Option<&Inode> {
        self.list.get(index(number))?.as_ref()
    }

    pub(super) fn get_mut(&mut self, number: u32) -> &mut Inode {
        self.list[index(number)]
            .as_mut()
            .expect("a scratch node lives while a name or a descriptor leads to it")
    }

    /// Adds an inode with one name.
    pub(super) fn add(&mut self, content: Content, mode: u32, modified_ns: i64) -> u32 {
        let free = self.list.iter().position(Option::is_none);
        let index = free.unwrap_or(self.list.len());
        if index == self.list.len() {
            self.list.push(None);
        }
        self.list[index] = Some(Inode {
            content,
            mode: mode & MODE_BITS,
            links: 1,
            open: 0,
            modified_ns,
        });
        u32::try_from(index).expect("bounded by the limit on files")
    }

    /// The directories that hold the directories among them.
    pub(super) fn parents(&self) -> impl Iterator<Item = Node> {
        let inodes = self.list.iter().flatten();
        inodes.filter_map(|inode| match inode.content {
            Content::Directory { parent } => Some(parent),
            _ => None,
        })
    }

    /// Takes away an inode without a name and without a descriptor.
    pub(super) fn take_unused(&mut self, number: u32) -> Option<Inode> {
        self.list[index(number)].take_if(|inode| inode.links == 0 && inode.open == 0)
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).expect("u32 fits usize")
}
