//! An image as a tree. Files stored raw can be mapped where they are.

use super::{Entry, Extent, Kind, Metadata, Tree};
use crate::address;
use crate::sys::speculation::clamp;
use imagefs::{Image, Ino};
use std::borrow::Cow;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// An image shown to guests.
///
/// The image must be an ingested one: its file cannot change, because guests and traps read its bytes
/// where they lie.
pub struct ImageTree {
    image: Image,
    file: Arc<OwnedFd>,
}

impl ImageTree {
    /// Shows `image`.
    ///
    /// # Errors
    /// When the descriptor of its file cannot be duplicated.
    pub fn new(image: Image) -> io::Result<ImageTree> {
        let file = Arc::new(image.file().as_fd().try_clone_to_owned()?);
        Ok(ImageTree { image, file })
    }

    /// The image.
    #[must_use]
    pub fn image(&self) -> &Image {
        &self.image
    }

    fn ino(&self, node: u32) -> Option<Ino> {
        self.image.inode_at(node)
    }

    fn directory(&self, node: u32) -> Option<Ino> {
        self.ino(node)
            .filter(|ino| self.image.kind(*ino) == imagefs::Kind::Directory)
    }
}

impl fmt::Debug for ImageTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ImageTree")
    }
}

fn kind(kind: imagefs::Kind) -> Kind {
    match kind {
        imagefs::Kind::Directory => Kind::Directory,
        imagefs::Kind::Regular => Kind::Regular,
        imagefs::Kind::Symlink => Kind::Symlink,
    }
}

impl Tree for ImageTree {
    fn root(&self) -> u32 {
        self.image.root().index()
    }

    fn child(&self, directory: u32, name: &[u8]) -> Option<u32> {
        let directory = self.directory(directory)?;
        self.image.child(directory, name).map(Ino::index)
    }

    fn parent(&self, directory: u32) -> u32 {
        self.directory(directory)
            .map_or(self.root(), |ino| self.image.parent(ino).index())
    }

    fn metadata(&self, node: u32) -> Metadata {
        let Some(ino) = self.ino(node) else {
            return Metadata::none();
        };
        let stat = self.image.stat(ino);
        Metadata {
            kind: kind(stat.kind),
            mode: stat.mode,
            links: stat.nlink,
            uid: stat.uid,
            gid: stat.gid,
            size: stat.size,
            modified_ns: stat
                .mtime
                .saturating_mul(1_000_000_000)
                .saturating_add(stat.mtime_ns.into()),
        }
    }

    fn kind(&self, node: u32) -> Kind {
        self.ino(node)
            .map_or(Kind::Regular, |ino| kind(self.image.kind(ino)))
    }

    fn entry(&self, directory: u32, index: u32) -> Option<Entry<'_>> {
        let entry = self.image.dir_entry(self.directory(directory)?, index)?;
        Some(Entry {
            name: Cow::Borrowed(entry.name),
            node: entry.ino.index(),
            kind: kind(entry.kind),
        })
    }

    fn name_of(&self, node: u32) -> Option<(u32, Vec<u8>)> {
        if let Some(directory) = self.directory(node) {
            let name = self.image.dir_name(directory).to_vec();
            return Some((self.image.parent(directory).index(), name));
        }
        let directories = (0..self.image.dir_count()).filter_map(|index| self.directory(index));
        for directory in directories {
            let mut entries = self.image.read_dir(directory);
            if let Some(entry) = entries.find(|entry| entry.ino.index() == node) {
                return Some((directory.index(), entry.name.to_vec()));
            }
        }
        None
    }

    fn read_link(&self, node: u32) -> Option<Cow<'_, [u8]>> {
        let ino = self.ino(node)?;
        if self.image.kind(ino) != imagefs::Kind::Symlink {
            return None;
        }
        self.image.read_link(ino).map(Cow::Borrowed)
    }

    fn read_at(&self, node: u32, offset: u64, buffer: &mut [u8]) -> Result<usize, i32> {
        let ino = self.ino(node).ok_or(libc::ENOENT)?;
        match self.image.kind(ino) {
            imagefs::Kind::Regular => {}
            imagefs::Kind::Directory => return Err(libc::EISDIR),
            imagefs::Kind::Symlink => return Err(libc::EINVAL),
        }
        let size = self.image.stat(ino).size;
        if offset >= size {
            return Ok(0);
        }
        let offset = clamp(address::size(offset), address::size(size)) as u64;
        // What is wrong with the image is the operator's to know; a guest sees a broken disk.
        self.image
            .read_at(ino, offset, buffer)
            .map_err(|_| libc::EIO)
    }

    fn extent(&self, node: u32) -> Option<Extent> {
        let extent = self.image.extent(self.ino(node)?).ok()??;
        Some(Extent {
            file: Arc::clone(&self.file),
            offset: extent.offset,
            len: extent.len,
        })
    }
}
