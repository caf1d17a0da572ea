//! The tree a writer packs: names, metadata and where the bytes of each file are to be found.
//!
//! A tree comes from a directory ([`crate::scan`]) or a tar archive ([`crate::tar`]). It lives in memory without the
//! file contents, so its size follows the number of files, not their length.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::error::Error;
use crate::format::{DEPTH_MAX, FILE_SIZE_MAX, NAME_MAX, PATH_MAX, SYMLINK_MAX, XATTR_VALUE_MAX};

/// Index of a node; 0 is the root directory.
pub type NodeId = u32;

/// Extended attributes, name to value.
pub type Xattrs = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// Owner, permissions and times of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits, at most `0o1777`: set-id bits never enter an image.
    pub perm: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, seconds since 1970.
    pub mtime: i64,
    /// Its nanoseconds, below 10⁹.
    pub mtime_ns: u32,
    /// `user.*` attributes; most files have none.
    pub xattrs: Option<Box<Xattrs>>,
}

impl Default for Meta {
    fn default() -> Self {
        Meta {
            perm: 0o755,
            uid: 0,
            gid: 0,
            mtime: crate::format::DEFAULT_MTIME,
            mtime_ns: 0,
            xattrs: None,
        }
    }
}

/// Where a regular file's bytes are.
#[derive(Clone, Debug)]
pub enum Source {
    /// In the scanned directory, below its root; opened again when it is read, and compared with what the scan saw.
    Disk(DiskFile),
    /// In an open file (a spooled tar member, a prepared database), from an offset.
    Stored {
        /// The open file; read with positioned reads only.
        file: Arc<File>,
        /// Where the stored bytes begin.
        offset: u64,
        /// Data ranges of a sparse file in plain offsets, in order; their bytes are stored back to back. `None`: the
        /// file is not sparse.
        data: Option<Arc<[Range<u64>]>>,
    },
    /// In memory.
    Bytes(Arc<[u8]>),
}

/// What the scan saw of a file on disk; a difference when it is read means that it changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskFile {
    /// Device and inode number.
    pub id: (u64, u64),
    /// Modification time in nanoseconds since 1970.
    pub mtime_ns: i128,
    /// Status change time in nanoseconds since 1970.
    pub ctime_ns: i128,
    /// Whether the file occupies fewer blocks than its size.
    pub sparse: bool,
}

/// Called for each name of a tree with its full path.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], NodeId, &Node) -> Result<(), Error>;

/// What a node is.
#[derive(Clone, Debug)]
pub enum Node {
    /// Directory: entries in byte order.
    Dir {
        /// Owner, permissions, times.
        meta: Meta,
        /// Names and nodes.
        entries: BTreeMap<Box<[u8]>, NodeId>,
        /// The directory this one is in; the root's is 0.
        parent: NodeId,
        /// Number of directories above; the root's is 0.
        depth: u32,
    },
    /// Regular file; several names may lead to it.
    File {
        /// Owner, permissions, times.
        meta: Meta,
        /// Size in bytes.
        size: u64,
        /// Where the bytes are.
        source: Source,
    },
    /// Symbolic link.
    Symlink {
        /// Owner, permissions, times.
        meta: Meta,
        /// Target, 1 to 4095 bytes, no NUL.
        target: Box<[u8]>,
    },
}

impl Node {
    /// Owner, permissions, times.
    pub fn meta(&self) -> &Meta {
        match self {
            Node::Dir { meta, .. } | Node::File { meta, .. } | Node::Symlink { meta, .. } => meta,
        }
    }

    /// The same, to change them.
    pub fn meta_mut(&mut self) -> &mut Meta {
        match self {
            Node::Dir { meta, .. } | Node::File { meta, .. } | Node::Symlink { meta, .. } => meta,
        }
    }
}

/// A whole tree.
#[derive(Clone, Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    /// Directory below which files of [`Source::Disk`] are opened.
    root: Option<Arc<OwnedFd>>,
}

impl Tree {
    /// A tree of an empty root directory.
    pub fn new(meta: Meta) -> Tree {
        Tree {
            nodes: vec![Node::Dir {
                meta,
                entries: BTreeMap::new(),
                parent: 0,
                depth: 0,
            }],
            root: None,
        }
    }

    /// Sets the directory below which files of [`Source::Disk`] are opened.
    #[must_use]
    pub fn with_root(mut self, root: Arc<OwnedFd>) -> Tree {
        self.root = Some(root);
        self
    }

    /// The directory below which files of [`Source::Disk`] are opened.
    pub fn root(&self) -> Option<&OwnedFd> {
        self.root.as_deref()
    }

    /// The node of an index that this tree gave out.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    /// The same, to change it.
    pub fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id as usize]
    }

    /// Number of nodes, the unreachable ones included.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// A tree always has a root.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The node named `name` in `dir`, when `dir` is a directory.
    pub fn child(&self, dir: NodeId, name: &[u8]) -> Option<NodeId> {
        match self.node(dir) {
            Node::Dir { entries, .. } => entries.get(name).copied(),
            _ => None,
        }
    }

    /// Adds a directory, file or symlink under a name.
    ///
    /// # Errors
    /// A name that is empty, `.`, `..`, longer than 255 bytes or has `/` or NUL; one that is taken; nesting, size,
    /// target or attributes over the format's limits.
    pub fn add(&mut self, dir: NodeId, name: &[u8], mut node: Node) -> Result<NodeId, Error> {
        check_node(name, &node)?;
        if let Node::Dir { parent, depth, .. } = &mut node {
            *parent = dir;
            *depth = self.depth(dir) + 1;
            if *depth > DEPTH_MAX {
                return Err(Error::Limit {
                    what: "depth of directories".into(),
                    max: DEPTH_MAX.into(),
                });
            }
        }
        let id = NodeId::try_from(self.nodes.len())
            .ok()
            .filter(|&id| id < NodeId::MAX)
            .ok_or(Error::Limit {
                what: "number of files".into(),
                max: u64::from(NodeId::MAX),
            })?;
        self.link(dir, name, id)?;
        self.nodes.push(node);
        Ok(id)
    }

    /// Gives a file or symlink one more name (a hard link). `id` may also be the node that [`Tree::add`] is about to
    /// push.
    ///
    /// # Errors
    /// As [`Tree::add`]; a directory cannot have a second name.
    pub fn link(&mut self, dir: NodeId, name: &[u8], id: NodeId) -> Result<(), Error> {
        check_name(name)?;
        if matches!(self.nodes.get(id as usize), Some(Node::Dir { .. })) {
            return Err(Error::source(name, "a directory cannot be hard-linked"));
        }
        match self.node_mut(dir) {
            Node::Dir { entries, .. } => {
                if entries.contains_key(name) {
                    return Err(Error::source(name, "the name is there twice"));
                }
                entries.insert(name.into(), id);
                Ok(())
            }
            _ => Err(Error::source(name, "its parent is not a directory")),
        }
    }

    /// Takes a name out of a directory. The node stays in the table; without another name it will not be packed.
    pub fn unlink(&mut self, dir: NodeId, name: &[u8]) -> Option<NodeId> {
        match self.node_mut(dir) {
            Node::Dir { entries, .. } => entries.remove(name),
            _ => None,
        }
    }

    /// A directory's depth; 0 for the root.
    pub fn depth(&self, dir: NodeId) -> u32 {
        match self.node(dir) {
            Node::Dir { depth, .. } => *depth,
            _ => 0,
        }
    }

    /// Visits every name below the root depth-first in byte order, with its full path.
    ///
    /// # Errors
    /// The first error of `visit`; a path longer than the format allows.
    pub fn walk(&self, visit: Visit<'_>) -> Result<(), Error> {
        let mut path = Vec::new();
        let mut stack = vec![self.entries(0)];
        let mut lengths = vec![0];
        while let Some(entries) = stack.last_mut() {
            let Some((name, &id)) = entries.next() else {
                stack.pop();
                path.truncate(lengths.pop().expect("one length for each level"));
                continue;
            };
            let before = path.len();
            if before > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            if path.len() > PATH_MAX {
                return Err(Error::Limit {
                    what: format!("length of the path {}", crate::printable(&path)),
                    max: PATH_MAX as u64,
                });
            }
            let node = self.node(id);
            visit(&path, id, node)?;
            if matches!(node, Node::Dir { .. }) {
                stack.push(self.entries(id));
                lengths.push(before);
            } else {
                path.truncate(before);
            }
        }
        Ok(())
    }

    /// Names of a directory in byte order; nothing for other nodes.
    pub fn entries(&self, dir: NodeId) -> std::collections::btree_map::Iter<'_, Box<[u8]>, NodeId> {
        static EMPTY: BTreeMap<Box<[u8]>, NodeId> = BTreeMap::new();
        match self.node(dir) {
            Node::Dir { entries, .. } => entries.iter(),
            _ => EMPTY.iter(),
        }
    }
}

/// Refuses names no Linux file system has.
pub(crate) fn check_name(name: &[u8]) -> Result<(), Error> {
    let what = match name {
        b"" => "an empty name",
        b"." | b".." => "a name that means a directory",
        _ if name.len() > NAME_MAX => "a name longer than 255 bytes",
        _ if name.contains(&b'/') => "a name with a slash",
        _ if name.contains(&0) => "a name with a NUL",
        _ => return Ok(()),
    };
    Err(Error::source(name, what))
}

/// Refuses what the format cannot hold.
fn check_node(name: &[u8], node: &Node) -> Result<(), Error> {
    match node {
        Node::File { size, .. } if *size > FILE_SIZE_MAX => {
            return Err(Error::source(
                name,
                format!("a size of {size} bytes, more than {FILE_SIZE_MAX}"),
            ));
        }
        Node::Symlink { target, .. }
            if target.is_empty() || target.len() > SYMLINK_MAX || target.contains(&0) =>
        {
            return Err(Error::source(
                name,
                "a symlink target that is empty, has a NUL or is longer than 4095 bytes",
            ));
        }
        _ => {}
    }
    for (key, value) in node.meta().xattrs.iter().flat_map(|set| set.iter()) {
        if key.is_empty()
            || key.len() > NAME_MAX
            || key.contains(&0)
            || value.len() > XATTR_VALUE_MAX
        {
            return Err(Error::source(
                name,
                "an extended attribute over the limits of Linux",
            ));
        }
    }
    if node.meta().perm > 0o1777 || node.meta().mtime_ns >= 1_000_000_000 {
        return Err(Error::source(
            name,
            "permission bits or a time that cannot be stored",
        ));
    }
    Ok(())
}
