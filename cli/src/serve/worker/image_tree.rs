//! An image as the tree of files a guest sees.

use std::borrow::Cow;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use imagefs::Image;
use sandbox::{Entry, Extent, Kind, Metadata, Tree};

const EIO: i32 = 5;

/// An ingested image.
#[derive(Debug)]
pub(super) struct ImageTree {
    image: Image,
    /// The image's file, as the runtime wants to own what it maps.
    file: Option<Arc<OwnedFd>>,
}

impl ImageTree {
    pub(super) fn new(image: &Image) -> ImageTree {
        let file = image
            .file()
            .try_clone()
            .ok()
            .map(|file| Arc::new(file.into()));
        ImageTree {
            image: image.clone(),
            file,
        }
    }

    fn ino(&self, node: u32) -> Option<imagefs::Ino> {
        self.image.inode_at(node)
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
        self.image
            .child(self.ino(directory)?, name)
            .map(imagefs::Ino::index)
    }

    fn parent(&self, directory: u32) -> u32 {
        self.ino(directory)
            .map_or(0, |ino| self.image.parent(ino).index())
    }

    fn metadata(&self, node: u32) -> Metadata {
        let ino = self.ino(node).unwrap_or_else(|| self.image.root());
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
                .saturating_add(i64::from(stat.mtime_ns)),
        }
    }

    fn entry(&self, directory: u32, index: u32) -> Option<Entry<'_>> {
        let entry = self.image.dir_entry(self.ino(directory)?, index)?;
        Some(Entry {
            name: Cow::Borrowed(entry.name),
            node: entry.ino.index(),
            kind: kind(entry.kind),
        })
    }

    fn read_link(&self, node: u32) -> Option<Cow<'_, [u8]>> {
        self.image.read_link(self.ino(node)?).map(Cow::Borrowed)
    }

    fn read_at(&self, node: u32, offset: u64, buffer: &mut [u8]) -> Result<usize, i32> {
        let ino = self.ino(node).ok_or(EIO)?;
        self.image.read_at(ino, offset, buffer).map_err(|_| EIO)
    }

    fn extent(&self, node: u32) -> Option<Extent> {
        let extent = self.image.extent(self.ino(node)?).ok()??;
        Some(Extent {
            file: Arc::clone(self.file.as_ref()?),
            offset: extent.offset,
            len: extent.len,
        })
    }
}
