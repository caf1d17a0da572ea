//! A directory of the host's as a tree, read-only: only for `zapp run --dir`, where the user says so.
//!
//! The kernel itself is asked to stay beneath the directory and to follow no link (openat2(2)). Unlike an image, the directory may change underneath; the guest then sees some
//! mixture, and nothing is ever mapped from it.

use super::{Entry, Kind, Metadata, Tree};
use crate::sys::linux;
use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

/// A host directory shown to a guest.
#[derive(Debug)]
pub struct HostTree {
    root: OwnedFd,
    nodes: Mutex<Nodes>,
}

#[derive(Debug, Default)]
struct Nodes {
    /// Path below the root and parent of each number given out.
    known: Vec<(PathBuf, u32)>,
    numbers: HashMap<PathBuf, u32>,
    /// The directories listed last, which may be read by turns; the latest at the end.
    listings: Vec<(u32, Vec<OsString>)>,
    /// The file read last stays open: programs read files in many small pieces.
    last: Option<(u32, File)>,
}

/// Listings kept at most, for whoever walks down a tree.
const LISTINGS_MAX: usize = 8;

/// Numbers given out at most: a bound on the memory a guest can make the host use.
const NODES_MAX: usize = 1 << 20;

impl HostTree {
    /// Opens the directory at `path`.
    ///
    /// # Errors
    /// When it is no directory or cannot be opened.
    pub fn open(path: impl AsRef<Path>) -> io::Result<HostTree> {
        let flags = libc::O_DIRECTORY | libc::O_PATH;
        let root = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(path)?;
        let nodes = Nodes {
            known: vec![(PathBuf::new(), 0)],
            numbers: HashMap::from([(PathBuf::new(), 0)]),
            listings: Vec::new(),
            last: None,
        };
        Ok(HostTree {
            root: root.into(),
            nodes: Mutex::new(nodes),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Nodes> {
        self.nodes
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn path(&self, node: u32) -> Option<PathBuf> {
        let nodes = self.lock();
        Some(nodes.known.get(usize::try_from(node).ok()?)?.0.clone())
    }

    fn number(&self, path: PathBuf, parent: u32) -> Option<u32> {
        let mut nodes = self.lock();
        if let Some(number) = nodes.numbers.get(&path) {
            return Some(*number);
        }
        if nodes.known.len() >= NODES_MAX {
            return None;
        }
        let number = u32::try_from(nodes.known.len()).ok()?;
        nodes.known.push((path.clone(), parent));
        nodes.numbers.insert(path, number);
        Some(number)
    }

    fn facts(&self, below: &Path) -> io::Result<fs::Metadata> {
        let flags = libc::O_PATH | libc::O_NOFOLLOW;
        File::from(linux::open_beneath(self.root.as_fd(), below, flags)?).metadata()
    }

    /// The names in a directory that are shown, sorted.
    /// A name of a directory. A listing starts at the first entry and goes on in the list made then.
    fn listed(&self, directory: u32, index: usize) -> Option<OsString> {
        let is_it = |(of, _): &(u32, _)| *of == directory;
        if index > 0 {
            let mut nodes = self.lock();
            if let Some(at) = nodes.listings.iter().position(is_it) {
                let last = nodes.listings.len() - 1;
                nodes.listings[at..].rotate_left(1);
                return nodes.listings[last].1.get(index).cloned();
            }
        }
        let names = self.names(directory)?;
        let name = names.get(index).cloned();
        let mut nodes = self.lock();
        nodes.listings.retain(|listing| !is_it(listing));
        if nodes.listings.len() >= LISTINGS_MAX {
            nodes.listings.remove(0);
        }
        nodes.listings.push((directory, names));
        name
    }

    fn names(&self, directory: u32) -> Option<Vec<OsString>> {
        let below = self.path(directory)?;
        let flags = libc::O_DIRECTORY | libc::O_RDONLY;
        let open = linux::open_beneath(self.root.as_fd(), &below, flags).ok()?;
        let mut names: Vec<_> = fs::read_dir(format!("/proc/self/fd/{}", open.as_raw_fd()))
            .ok()?
            .filter_map(Result::ok)
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind_of(kind).is_some()))
            .map(|entry| entry.file_name())
            .collect();
        names.sort_unstable();
        Some(names)
    }
}

fn kind_of(kind: fs::FileType) -> Option<Kind> {
    match kind {
        kind if kind.is_dir() => Some(Kind::Directory),
        kind if kind.is_file() => Some(Kind::Regular),
        kind if kind.is_symlink() => Some(Kind::Symlink),
        // Devices, sockets and pipes of the host are not shown.
        _ => None,
    }
}

impl Tree for HostTree {
    fn root(&self) -> u32 {
        0
    }

    fn child(&self, directory: u32, name: &[u8]) -> Option<u32> {
        let below = self
            .path(directory)?
            .join(std::ffi::OsStr::from_bytes(name));
        kind_of(self.facts(&below).ok()?.file_type())?;
        self.number(below, directory)
    }

    fn parent(&self, directory: u32) -> u32 {
        let nodes = self.lock();
        let index = usize::try_from(directory).unwrap_or(0);
        nodes.known.get(index).map_or(0, |(_, parent)| *parent)
    }

    fn metadata(&self, node: u32) -> Metadata {
        let facts = self.path(node).and_then(|below| self.facts(&below).ok());
        let Some(facts) = facts else {
            return Metadata::none();
        };
        Metadata {
            kind: kind_of(facts.file_type()).unwrap_or(Kind::Regular),
            mode: facts.mode() & 0o777,
            links: u32::try_from(facts.nlink()).unwrap_or(u32::MAX),
            uid: facts.uid(),
            gid: facts.gid(),
            size: facts.len(),
            modified_ns: facts.mtime().saturating_mul(1_000_000_000) + facts.mtime_nsec(),
        }
    }

    fn entry(&self, directory: u32, index: u32) -> Option<Entry<'_>> {
        let index = usize::try_from(index).ok()?;
        let name = self.listed(directory, index)?;
        let node = self.child(directory, name.as_bytes())?;
        let kind = self.metadata(node).kind;
        Some(Entry {
            name: Cow::Owned(name.into_vec()),
            node,
            kind,
        })
    }

    fn name_of(&self, node: u32) -> Option<(u32, Vec<u8>)> {
        let name = self.path(node)?.file_name()?.as_bytes().to_vec();
        Some((self.parent(node), name))
    }

    fn read_link(&self, node: u32) -> Option<Cow<'_, [u8]>> {
        let below = self.path(node)?;
        let flags = libc::O_PATH | libc::O_NOFOLLOW;
        let link = linux::open_beneath(self.root.as_fd(), &below, flags).ok()?;
        linux::read_link(link.as_fd()).ok().map(Cow::Owned)
    }

    fn read_at(&self, node: u32, offset: u64, buffer: &mut [u8]) -> Result<usize, i32> {
        let errno = |error: io::Error| error.raw_os_error().unwrap_or(libc::EIO);
        let below = self.path(node).ok_or(libc::ENOENT)?;
        let mut nodes = self.lock();
        if nodes
            .last
            .as_ref()
            .is_none_or(|(number, _)| *number != node)
        {
            let flags = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK;
            let open = linux::open_beneath(self.root.as_fd(), &below, flags).map_err(errno)?;
            let file = File::from(open);
            nodes.last = Some((node, file));
        }
        let (_, file) = nodes.last.as_ref().expect("just opened");
        file.read_at(buffer, offset).map_err(errno)
    }
}
