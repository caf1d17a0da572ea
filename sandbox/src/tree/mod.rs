//! What a guest sees as files: trees that cannot change (an image, a host directory, a tree in
//! memory), and over them a view with scratch files, private copies, and devices.
//!
//! A tree gives each file and directory a number. It is never written: a guest's changes live in its
//! own [`view::View`] and vanish with it.

pub(crate) mod host;
pub(crate) mod image;
pub(crate) mod memory;
pub(crate) mod scratch;
pub(crate) mod view;
pub(crate) mod walk;

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
    /// The root directory.
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
    /// Reads at most `buffer` from `offset`; 0 at the end. The error is a Linux error number.
    fn read_at(&self, node: u32, offset: u64, buffer: &mut [u8]) -> Result<usize, i32>;
    /// The file as part of a host file that may be mapped, when it is stored so.
    fn extent(&self, _node: u32) -> Option<Extent> {
        None
    }
}

/// The trees a guest sees, and where.
#[derive(Debug, Clone, Default)]
pub struct Mounts {
    trees: Vec<(Vec<u8>, Arc<dyn Tree>)>,
    working_directory: Option<Vec<u8>>,
}

impl Mounts {
    /// No trees: the guest sees only `/dev` and `/tmp`.
    #[must_use]
    pub fn new() -> Mounts {
        Mounts::default()
    }

    /// Shows `tree` at `path`; `/` is the root. A later tree hides what lies below its path.
    #[must_use]
    pub fn mount(mut self, path: impl Into<Vec<u8>>, tree: Arc<dyn Tree>) -> Mounts {
        self.trees.push((path.into(), tree));
        self
    }

    /// Where programs start; `/` when not set.
    #[must_use]
    pub fn working_directory(mut self, path: impl Into<Vec<u8>>) -> Mounts {
        self.working_directory = Some(path.into());
        self
    }

    /// Where programs start, if that was set.
    pub(crate) fn start_path(&self) -> Option<&[u8]> {
        self.working_directory.as_deref()
    }

    /// The tree with this index.
    pub(crate) fn tree(&self, index: u8) -> &dyn Tree {
        &*self.trees[usize::from(index)].1
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = (u8, &[u8])> {
        (0_u8..=u8::MAX).zip(self.trees.iter().map(|(path, _)| path.as_slice()))
    }

    pub(crate) fn len(&self) -> usize {
        self.trees.len()
    }
}

/// A node of what the guest sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Node {
    /// A node of a tree, by the tree's index and the node's number.
    Base(u8, u32),
    /// A scratch file or directory.
    Scratch(u32),
    /// A device.
    Device(Device),
}

/// What lies under `/dev`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Device {
    Null,
    Zero,
    Random,
    Stdin,
    Stdout,
    Stderr,
}

impl Device {
    pub(crate) const ALL: [(&'static [u8], Device); 7] = [
        (b"null", Device::Null),
        (b"zero", Device::Zero),
        (b"urandom", Device::Random),
        (b"random", Device::Random),
        (b"stdin", Device::Stdin),
        (b"stdout", Device::Stdout),
        (b"stderr", Device::Stderr),
    ];

    /// Its inode number.
    pub(crate) fn number(self) -> u64 {
        Device::ALL
            .iter()
            .position(|(_, device)| *device == self)
            .unwrap_or(0) as u64
            + 1
    }
}
