//! Reads a directory into a [`Tree`]: names and metadata only.
//!
//! Every name is opened below the root's descriptor without following symlinks, so a tree that is renamed under the
//! scan cannot lead out of it. Nothing is dropped silently: each thing left out or changed is a [`Note`].

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};

use crate::error::{Error, printable};
use crate::format::SYMLINK_MAX;
use crate::ignore_file::{IGNORE_FILE, Ignores};
use crate::sqlite::SidecarKind;
use crate::tree::{DiskFile, Meta, Node, NodeId, Source, Tree, Xattrs};

/// Modification times in the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MtimePolicy {
    /// As in the source, to the nanosecond.
    #[default]
    Keep,
    /// As in the source, but none later than this, in seconds since 1970.
    Clamp(i64),
    /// The same for all files, in seconds since 1970.
    Fixed(i64),
}

impl MtimePolicy {
    /// The time in the image of a file whose time in the source is this: seconds and nanoseconds.
    #[must_use]
    pub fn apply(self, source: (i64, u32)) -> (i64, u32) {
        match self {
            MtimePolicy::Keep => source,
            MtimePolicy::Clamp(latest) => source.min((latest, 0)),
            MtimePolicy::Fixed(mtime) => (mtime, 0),
        }
    }

    /// The time that files of the image may have which are not as old as it says.
    #[must_use]
    pub fn given(self) -> Option<i64> {
        match self {
            MtimePolicy::Keep => None,
            MtimePolicy::Clamp(mtime) | MtimePolicy::Fixed(mtime) => Some(mtime),
        }
    }
}

/// Owners in the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerPolicy {
    /// The same for all files: user and group.
    Fixed(u32, u32),
    /// As in the source.
    Keep,
}

impl Default for OwnerPolicy {
    /// root:root.
    fn default() -> Self {
        OwnerPolicy::Fixed(0, 0)
    }
}

/// What to take from a directory, and how.
#[derive(Clone, Debug, Default)]
pub struct ScanOptions {
    /// Globs of paths to leave out, relative to the root; a pattern without a slash matches names at any depth.
    pub excludes: Vec<String>,
    /// Do not read `.zappignore` files.
    pub no_ignore_file: bool,
    /// Modification times.
    pub mtime: MtimePolicy,
    /// Owners.
    pub owner: OwnerPolicy,
    /// Leave out devices, sockets and FIFOs with a note; otherwise they are an error.
    pub skip_special: bool,
}

/// Something the image has otherwise than the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Path in the source.
    pub path: Vec<u8>,
    /// What was left out or changed, as a clause: "excluded", "set-user-id bit dropped".
    pub what: String,
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", printable(&self.path), self.what)
    }
}

/// A scanned directory.
#[derive(Debug)]
pub struct Scanned {
    /// The tree; file contents are read later, below the same root descriptor.
    pub tree: Tree,
    /// What was left out or changed.
    pub notes: Vec<Note>,
}

/// Scans `root`.
///
/// # Errors
/// The root is no directory; a file cannot be examined; a device, socket or FIFO without `skip_special`; a name or
/// path over the limits of the format; a pattern that does not parse.
pub fn scan(root: &Path, options: &ScanOptions) -> Result<Scanned, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd =
        rustix::fs::open(root, flags, Mode::empty()).map_err(|e| Error::io("open", root, e))?;
    let fd = Arc::new(fd);
    let stat = rustix::fs::fstat(&*fd).map_err(|e| Error::io("stat", root, e))?;
    let mut scan = Scan {
        root,
        options,
        excludes: globs(&options.excludes)?,
        notes: Vec::new(),
        links: HashMap::new(),
        tree: Tree::new(Meta::default()).with_root(Arc::clone(&fd)),
    };
    let meta = scan.meta(fd.as_fd(), &stat, b"")?;
    *scan.tree.node_mut(0).meta_mut() = meta;
    scan.all()?;
    Ok(Scanned {
        tree: scan.tree,
        notes: scan.notes,
    })
}

/// Compiles globs of paths; patterns without a slash match at any depth.
pub(crate) fn globs(patterns: &[String]) -> Result<GlobSet, Error> {
    let bad = |pattern: &str, e: globset::Error| {
        Error::source(pattern.as_bytes(), format!("not a glob: {}", e.kind()))
    };
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let full = pattern.trim_start_matches('/');
        let full = if pattern.contains('/') {
            full.to_owned()
        } else {
            format!("**/{full}")
        };
        let glob = GlobBuilder::new(full.trim_end_matches('/'))
            .literal_separator(true)
            .build();
        set.add(glob.map_err(|e| bad(pattern, e))?);
    }
    set.build().map_err(|e| bad("", e))
}

struct Scan<'a> {
    root: &'a Path,
    options: &'a ScanOptions,
    excludes: GlobSet,
    notes: Vec<Note>,
    /// Nodes of files with several links, by device and inode number.
    links: HashMap<(u64, u64), NodeId>,
    tree: Tree,
}

/// A directory still to be read.
struct Pending {
    node: NodeId,
    path: Vec<u8>,
    /// Ignore files from the root down to the parent.
    ignores: Option<Arc<Ignores>>,
}

impl Scan<'_> {
    /// Reads directory after directory, without recursion.
    fn all(&mut self) -> Result<(), Error> {
        let mut pending = vec![Pending {
            node: 0,
            path: Vec::new(),
            ignores: None,
        }];
        while let Some(dir) = pending.pop() {
            let fd = self.open(&dir.path, OFlags::DIRECTORY)?;
            let ignores = self.ignores(&fd, &dir)?;
            let mut names = Vec::new();
            for entry in Dir::read_from(&fd).map_err(|e| self.io("readdir", &dir.path, e))? {
                let entry = entry.map_err(|e| self.io("readdir", &dir.path, e))?;
                let name = entry.file_name().to_bytes();
                if name != b"." && name != b".." {
                    names.push(name.to_vec());
                }
            }
            names.sort_unstable();
            for name in &names {
                let mut path = dir.path.clone();
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(name);
                let entry = self.entry(&fd, dir.node, name, &path, ignores.as_deref());
                let node = match entry {
                    // A program that is at work on its database makes and removes these.
                    Err(error) if is_gone(&error) && is_sidecar(name, &names) => None,
                    entry => entry?,
                };
                if let Some(node) = node {
                    pending.push(Pending {
                        node,
                        path,
                        ignores: ignores.clone(),
                    });
                }
            }
        }
        Ok(())
    }

    fn io(&self, call: &'static str, path: &[u8], e: rustix::io::Errno) -> Error {
        Error::io(call, self.root.join(std::ffi::OsStr::from_bytes(path)), e)
    }

    fn open(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Error> {
        self.tree
            .open_below_root(path, flags)
            .map_err(|e| Error::io("open", self.root.join(std::ffi::OsStr::from_bytes(path)), e))
    }

    fn note(&mut self, path: &[u8], what: impl Into<String>) {
        self.notes.push(Note {
            path: path.to_vec(),
            what: what.into(),
        });
    }

    /// Adds one name. Returns the node of a directory, whose entries are still to be read.
    fn entry(
        &mut self,
        dir: &OwnedFd,
        parent: NodeId,
        name: &[u8],
        path: &[u8],
        ignores: Option<&Ignores>,
    ) -> Result<Option<NodeId>, Error> {
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| self.io("stat", path, e))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if self.excludes.is_match(std::ffi::OsStr::from_bytes(path)) {
            self.note(path, "excluded");
            return Ok(None);
        }
        if ignores.is_some_and(|ignores| ignores.ignores(path, kind == FileType::Directory)) {
            self.note(path, "ignored by .zappignore");
            return Ok(None);
        }
        let id = (stat.st_dev, stat.st_ino);
        if let Some(&node) = self.links.get(&id).filter(|_| kind != FileType::Directory) {
            self.tree.link(parent, name, node)?;
            return Ok(None);
        }
        let node = match kind {
            FileType::Directory => {
                let fd = self.open(path, OFlags::DIRECTORY)?;
                let meta = self.meta(fd.as_fd(), &stat, path)?;
                Node::Dir {
                    meta,
                    entries: Default::default(),
                    parent,
                    depth: 0,
                }
            }
            FileType::RegularFile => self.file(&stat, path)?,
            FileType::Symlink => {
                let buffer = Vec::with_capacity(SYMLINK_MAX + 1);
                let target = rustix::fs::readlinkat(dir, name, buffer)
                    .map_err(|e| self.io("readlink", path, e))?;
                Node::Symlink {
                    meta: self.plain_meta(&stat, 0o777),
                    target: target.to_bytes().into(),
                }
            }
            special if self.options.skip_special => {
                self.note(path, format!("left out: {}", special_name(special)));
                return Ok(None);
            }
            special => {
                let what = format!(
                    "is {} and cannot be packed; exclude it, or pass --skip-special",
                    special_name(special)
                );
                return Err(Error::source(path, what));
            }
        };
        let added = self.tree.add(parent, name, node)?;
        if kind == FileType::Directory {
            return Ok(Some(added));
        }
        if stat.st_nlink > 1 {
            self.links.insert(id, added);
        }
        Ok(None)
    }

    fn file(&mut self, stat: &Stat, path: &[u8]) -> Result<Node, Error> {
        // Attributes are only asked of files that are readable; an unreadable one fails when it is packed.
        let meta = match self.tree.open_below_root(path, OFlags::NONBLOCK) {
            Ok(fd) => self.meta(fd.as_fd(), stat, path)?,
            Err(e) => return Err(self.io("open", path, e)),
        };
        let size =
            u64::try_from(stat.st_size).map_err(|_| Error::source(path, "has a negative size"))?;
        Ok(Node::File {
            meta,
            size,
            source: Source::Disk(disk_file(stat)),
        })
    }

    /// Metadata by the policies, with extended attributes.
    fn meta(&mut self, fd: BorrowedFd<'_>, stat: &Stat, path: &[u8]) -> Result<Meta, Error> {
        let mut perm = u16::try_from(stat.st_mode & 0o7777).expect("twelve bits");
        if perm & 0o6000 != 0 {
            perm &= 0o1777;
            self.note(path, "set-user-id or set-group-id bit dropped");
        }
        let mut meta = self.plain_meta(stat, perm);
        meta.xattrs = self.xattrs(fd, path)?;
        Ok(meta)
    }

    fn plain_meta(&self, stat: &Stat, perm: u16) -> Meta {
        let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
        let (mtime, mtime_ns) = self.options.mtime.apply((stat.st_mtime, nanoseconds));
        let (uid, gid) = match self.options.owner {
            OwnerPolicy::Fixed(uid, gid) => (uid, gid),
            OwnerPolicy::Keep => (stat.st_uid, stat.st_gid),
        };
        Meta {
            perm,
            uid,
            gid,
            mtime,
            mtime_ns,
            xattrs: None,
        }
    }

    /// The `user.*` attributes; others get a note.
    fn xattrs(&mut self, fd: BorrowedFd<'_>, path: &[u8]) -> Result<Option<Box<Xattrs>>, Error> {
        let names = match list_xattrs(fd) {
            Ok(names) => names,
            Err(rustix::io::Errno::NOTSUP) => return Ok(None),
            Err(e) => return Err(self.io("flistxattr", path, e)),
        };
        let mut set = Xattrs::new();
        for name in names.split(|&b| b == 0).filter(|name| !name.is_empty()) {
            if !name.starts_with(b"user.") {
                self.note(
                    path,
                    format!(
                        "extended attribute {} left out: only user.* is kept",
                        printable(name)
                    ),
                );
                continue;
            }
            // A value that changes size between two calls is read again with the largest buffer there is.
            let mut value = vec![0; crate::format::XATTR_VALUE_MAX];
            let len = rustix::fs::fgetxattr(fd, name, &mut value[..])
                .map_err(|e| self.io("fgetxattr", path, e))?;
            set.insert(name.into(), value[..len].into());
        }
        Ok((!set.is_empty()).then(|| Box::new(set)))
    }

    /// The ignore files in force in a directory.
    fn ignores(&mut self, fd: &OwnedFd, dir: &Pending) -> Result<Option<Arc<Ignores>>, Error> {
        if self.options.no_ignore_file {
            return Ok(None);
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(fd, IGNORE_FILE, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::LOOP) => {
                return Ok(dir.ignores.clone());
            }
            Err(e) => return Err(self.io("open", &dir.path, e)),
        };
        Ignores::read(&dir.path, file, dir.ignores.clone()).map(Some)
    }
}

fn is_gone(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
}

/// Whether SQLite would take a file of this name, among its neighbours, for what belongs to a database.
fn is_sidecar(name: &[u8], names: &[Vec<u8>]) -> bool {
    SidecarKind::database_of(name).is_some_and(|(_, database)| {
        let found = names.binary_search_by(|other| other.as_slice().cmp(database));
        found.is_ok()
    })
}

fn list_xattrs(fd: BorrowedFd<'_>) -> rustix::io::Result<Vec<u8>> {
    let mut names = vec![0; 1024];
    match rustix::fs::flistxattr(fd, &mut names[..]) {
        Err(rustix::io::Errno::RANGE) => names.resize(65536, 0), // XATTR_LIST_MAX
        other => return other.map(|len| names[..len].to_vec()),
    }
    rustix::fs::flistxattr(fd, &mut names[..]).map(|len| names[..len].to_vec())
}

/// What identifies the state of a file on disk.
pub(crate) fn disk_file(stat: &Stat) -> DiskFile {
    let ns = |seconds: i64, ns: u64| i128::from(seconds) * 1_000_000_000 + i128::from(ns);
    DiskFile {
        id: (stat.st_dev, stat.st_ino),
        mtime_ns: ns(stat.st_mtime, stat.st_mtime_nsec),
        ctime_ns: ns(stat.st_ctime, stat.st_ctime_nsec),
        sparse: stat.st_blocks.saturating_mul(512) < stat.st_size,
    }
}

fn special_name(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice => "a character device",
        FileType::BlockDevice => "a block device",
        _ => "of an unknown type",
    }
}

impl Tree {
    /// Opens a file below the scanned root, never leaving it and never following a symlink; nothing blocks on a FIFO.
    pub(crate) fn open_below_root(
        &self,
        path: &[u8],
        flags: OFlags,
    ) -> rustix::io::Result<OwnedFd> {
        let root = self.root().ok_or(rustix::io::Errno::BADF)?;
        let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let path = if path.is_empty() { b"." } else { path };
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)
    }
}
