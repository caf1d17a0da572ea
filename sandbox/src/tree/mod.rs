//! What a guest sees as files: trees that cannot change (an image, a host directory, a tree in
//! memory), and over them a view with scratch files, private copies, and devices.
//!
//! A tree gives each file and directory a number. It is never written: a guest's changes live in its
//! own [`view::View`] and vanish with it.

mod apply;
mod bytes;
pub(crate) mod delta;
pub(crate) mod difference;
pub(crate) mod host;
pub(crate) mod image;
mod inodes;
pub(crate) mod listing;
pub(crate) mod memory;
mod mounts;
mod named;
mod node;
mod overlay;
mod points;
pub(crate) mod process;
pub(crate) mod reads;
pub(crate) mod scratch;
pub(crate) mod trees;
pub(crate) mod view;
pub(crate) mod walk;
mod write;

pub use mounts::Mounts;
pub(crate) use node::{Device, Node};
use std::borrow::Cow;
use std::fmt::Debug;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// What a node of a tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    Regular,
    /// A symbolic link.
    Symlink,
    /// A device or a stream; only the runtime makes these.
    Device,
}

/// What a tree says about a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// What it is.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// Number of names.
    pub links: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length in bytes.
    pub size: u64,
    /// Modification time, nanoseconds since 1970.
    pub modified_ns: i64,
}

impl Metadata {
    /// Of what is not there.
    pub(crate) fn none() -> Metadata {
        let kind = Kind::Regular;
        Metadata {
            kind,
            mode: 0,
            links: 0,
            uid: 0,
            gid: 0,
            size: 0,
            modified_ns: 0,
        }
    }
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The name.
    pub name: Cow<'a, [u8]>,
    /// Number of what it names.
    pub node: u32,
    /// What that is.
    pub kind: Kind,
}

/// A part of a host file whose bytes are a whole file of the tree, and will stay so.
#[derive(Debug, Clone)]
pub struct Extent {
    /// A file that cannot change: sealed, or vouched for by the operator.
    pub file: Arc<OwnedFd>,
    /// Where the bytes start, a multiple of the page size.
    pub offset: u64,
    /// How many there are; zeroes follow to the end of the page.
    pub len: u64,
}

/// A tree of files that does not change while guests use it.
///
/// Methods get numbers that the tree gave out before; they must answer any other number with nothing
/// or an error, never with a panic.
pub trait Tree: Debug + Send + Sync {
    /// The root: a directory, or one file.
    fn root(&self) -> u32;
    /// What `name` is in `directory`; never called for `.` and `..`.
    fn child(&self, directory: u32, name: &[u8]) -> Option<u32>;
    /// The directory that holds `directory`; the root's is the root.
    fn parent(&self, directory: u32) -> u32;
    /// Facts about a node.
    fn metadata(&self, node: u32) -> Metadata;
    /// What a node is; a tree that can say so without all other facts should.
    fn kind(&self, node: u32) -> Kind {
        self.metadata(node).kind
    }
    /// The entry at `index`, in an order that does not change; nothing past the last.
    fn entry(&self, directory: u32, index: u32) -> Option<Entry<'_>>;
    /// Where a symbolic link points.
    fn read_link(&self, node: u32) -> Option<Cow<'_, [u8]>>;
    /// One name of a node, and the directory that has it, for whoever wants a path. A tree that knows should say
    /// so; else all of it is looked through.
    fn name_of(&self, node: u32) -> Option<(u32, Vec<u8>)> {
        let mut directories = vec![self.root()];
        let mut seen = std::collections::HashSet::from([self.root()]);
        while let Some(directory) = directories.pop() {
            let entries = (0..).map_while(|index| self.entry(directory, index));
            for entry in entries {
                if entry.node == node {
                    return Some((directory, entry.name.into_owned()));
                }
                if entry.kind == Kind::Directory && seen.insert(entry.node) {
                    directories.push(entry.node);
                }
            }
        }
        None
    }
    /// Reads at most `buffer` from `offset`; 0 at the end. The error is a Linux error number.
    fn read_at(&self, node: u32, offset: u64, buffer: &mut [u8]) -> Result<usize, i32>;
    /// The file as part of a host file that may be mapped, when it is stored so.
    fn extent(&self, _node: u32) -> Option<Extent> {
        None
    }
}
