//! Reading an image straight from its map.
//!
//! [`Image::open`] checks all metadata in one linear pass ([`check`]); from then on every index in it is known to be in
//! range and lookups need no error paths. File contents are checked block by block, each once, at first touch
//! ([`data`]). An image is hostile until then: every case ends in an [`Error`], never in a panic, an endless loop, or an
//! allocation that its real size does not justify.

mod cache;
mod check;
mod data;
mod facts;
mod path;
mod walk;

use std::borrow::Cow;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use zerocopy::FromBytes;

pub(crate) use check::seal;
pub use facts::{Class, DirEntry, Extent, Ino, Kind, Stat};
pub use path::ResolveError;
pub use walk::Walk;

use crate::error::Error;
use crate::format::{
    Attr, Block, Content, Dirent, Inode, NONE, SectionKind, Segment, Slot, Superblock, Xattr,
};
use crate::sys::Map;
use data::BlockStore;

/// Where the tables lie in the file: byte offset and number of rows, checked against the file's length.
#[derive(Clone, Copy, Debug, Default)]
struct Table {
    off: usize,
    rows: usize,
}

/// Offsets of all tables.
#[derive(Clone, Copy, Debug, Default)]
struct Tables {
    attrs: Table,
    inodes: Table,
    dirents: Table,
    strings: Table,
    pathidx: Table,
    contents: Table,
    blocks: Table,
    segments: Table,
    xattrs: Table,
    buildinfo: Table,
    /// Where the data area ends.
    data_end: u64,
}

#[derive(Debug)]
struct Inner {
    map: Map,
    file: File,
    superblock: Superblock,
    tables: Tables,
    /// Directory inodes are those below this number.
    dir_count: u32,
    /// Subdirectories of each directory, for link counts.
    subdirs: Vec<u32>,
    blocks: BlockStore,
}

/// An open image. Clones share one map, one record of verified blocks and one cache.
#[derive(Clone, Debug)]
pub struct Image(Arc<Inner>);

/// What packing was told that readers need, in BUILDINFO; an image of another tool may not have it.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Given {
    given_mtime: Option<i64>,
    at: Option<String>,
}

impl Image {
    /// Maps an image file and checks all its metadata.
    ///
    /// The file must not be changed while it is open; where that cannot be promised, use [`Image::ingest`].
    ///
    /// # Errors
    /// The file cannot be opened or mapped, is no image, or breaks a rule of the format.
    pub fn open(path: impl AsRef<Path>) -> Result<Image, Error> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|e| Error::io("open", path, e))?;
        Image::from_file(file)
    }

    /// Copies an image into a sealed memfd, which nobody can change, and opens that.
    ///
    /// # Errors
    /// As [`Image::open`]; memory for the copy cannot be had.
    pub fn ingest(path: impl AsRef<Path>) -> Result<Image, Error> {
        use rustix::fs::{MemfdFlags, SealFlags};
        let path = path.as_ref();
        let mut source = File::open(path).map_err(|e| Error::io("open", path, e))?;
        let fd = rustix::fs::memfd_create(
            "zapp-image",
            MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING,
        )
        .map_err(|e| Error::io("memfd_create", path, e))?;
        let mut copy = File::from(fd);
        std::io::copy(&mut source, &mut copy).map_err(|e| Error::io("copy", path, e))?;
        let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&copy, seals).map_err(|e| Error::io("seal", path, e))?;
        Image::from_file(copy)
    }

    /// Opens an image that is already an open file. See [`Image::open`].
    ///
    /// # Errors
    /// As [`Image::open`].
    pub fn from_file(file: File) -> Result<Image, Error> {
        let len = file
            .metadata()
            .map_err(|e| Error::io("stat", "image", e))?
            .len();
        if len < crate::format::DATA_START {
            return Err(Error::NotAnImage("it is too short"));
        }
        let map = Map::new(&file).map_err(|e| Error::io("mmap", "image", e))?;
        let checked = check::metadata(&map)?;
        let blocks = BlockStore::new(checked.tables.blocks.rows);
        Ok(Image(Arc::new(Inner {
            map,
            file,
            superblock: checked.superblock,
            tables: checked.tables,
            dir_count: checked.dir_count,
            subdirs: checked.subdirs,
            blocks,
        })))
    }

    /// Identity of the bytes of this image.
    pub fn image_id(&self) -> [u8; 32] {
        self.0.superblock.image_id
    }

    /// Identity of the tree, however it is stored.
    pub fn tree_id(&self) -> [u8; 32] {
        self.0.superblock.tree_id
    }

    /// The tree's identity computed anew from the metadata; equal to [`Image::tree_id`] in a sound image.
    pub fn compute_tree_id(&self) -> [u8; 32] {
        crate::tree_id::of_image(self)
    }

    /// Length of the file in bytes.
    pub fn image_len(&self) -> u64 {
        self.0.superblock.image_len.get()
    }

    /// Sum of the sizes of all regular files, hard links counted once.
    pub fn total_size(&self) -> u64 {
        self.0.superblock.total_size.get()
    }

    /// JSON with the tool versions and options of the writer.
    pub fn build_info(&self) -> &[u8] {
        let t = self.0.tables.buildinfo;
        &self.0.map[t.off..t.off + t.rows]
    }

    /// The time that packing gave to files instead of their own, if it did: of a file that has it, it says nothing.
    pub fn given_mtime(&self) -> Option<i64> {
        self.given().given_mtime
    }

    /// The path at which programs are to see the tree, if packing was told one.
    pub fn at(&self) -> Option<String> {
        self.given().at
    }

    fn given(&self) -> Given {
        serde_json::from_slice(self.build_info()).unwrap_or_default()
    }

    /// The file the image is mapped from.
    pub fn file(&self) -> &File {
        &self.0.file
    }

    /// Number of inodes; their numbers are below it.
    pub fn inode_count(&self) -> u32 {
        u32::try_from(self.inodes().len()).expect("checked at open")
    }

    /// The inode of a number below [`Image::inode_count`].
    pub fn inode_at(&self, index: u32) -> Option<Ino> {
        (index < self.inode_count()).then_some(Ino(index))
    }

    /// Number of directories; directory inodes come first.
    pub fn dir_count(&self) -> u32 {
        self.0.dir_count
    }

    /// The root directory.
    pub fn root(&self) -> Ino {
        Ino::ROOT
    }

    /// What `stat(2)` would tell.
    pub fn stat(&self, ino: Ino) -> Stat {
        let inode = self.inode(ino);
        let attr = self.attrs()[inode.attr.get() as usize];
        let mode = u32::from(attr.mode.get());
        let kind = self.kind(ino);
        let (nlink, size, class) = match kind {
            Kind::Directory => (self.0.subdirs[ino.0 as usize] + 2, 0, Class::None),
            Kind::Symlink => (inode.extra.get(), u64::from(inode.count.get()), Class::None),
            Kind::Regular => {
                let content = self.content(ino).expect("regular files have a content");
                (
                    inode.count.get(),
                    content.size.get(),
                    Class::ALL[usize::from(content.class)],
                )
            }
        };
        Stat {
            ino,
            kind,
            mode: mode & 0o7777,
            nlink,
            uid: attr.uid.get(),
            gid: attr.gid.get(),
            size,
            mtime: attr.mtime.get(),
            mtime_ns: attr.mtime_ns.get(),
            class,
        }
    }

    /// Type of a file.
    pub fn kind(&self, ino: Ino) -> Kind {
        if ino.0 < self.0.dir_count {
            return Kind::Directory;
        }
        match self.attrs()[self.inode(ino).attr.get() as usize].mode.get() & 0o170_000 {
            0o120_000 => Kind::Symlink,
            _ => Kind::Regular,
        }
    }

    /// Number of entries of a directory, without `.` and `..`; 0 for other files.
    pub fn dir_len(&self, dir: Ino) -> u32 {
        if dir.0 < self.0.dir_count {
            self.inode(dir).count.get()
        } else {
            0
        }
    }

    /// An entry of a directory by its position in byte order.
    pub fn dir_entry(&self, dir: Ino, index: u32) -> Option<DirEntry<'_>> {
        if index >= self.dir_len(dir) {
            return None;
        }
        let dirent = &self.dirents()[(self.inode(dir).data.get() + index) as usize];
        Some(self.entry_of(dirent))
    }

    /// All entries of a directory in byte order.
    pub fn read_dir(&self, dir: Ino) -> impl ExactSizeIterator<Item = DirEntry<'_>> {
        let first = if dir.0 < self.0.dir_count {
            self.inode(dir).data.get() as usize
        } else {
            0
        };
        self.dirents()[first..first + self.dir_len(dir) as usize]
            .iter()
            .map(|d| self.entry_of(d))
    }

    /// Target of a symlink.
    pub fn read_link(&self, ino: Ino) -> Option<&[u8]> {
        let inode = self.inode(ino);
        (self.kind(ino) == Kind::Symlink).then(|| self.string(inode.data.get(), inode.count.get()))
    }

    /// BLAKE3 of the plain bytes of a regular file.
    pub fn content_hash(&self, ino: Ino) -> Option<[u8; 32]> {
        self.content(ino).map(|c| c.hash)
    }

    /// Which stored content a regular file has; files with equal bytes share one.
    pub fn content_index(&self, ino: Ino) -> Option<u32> {
        (self.kind(ino) == Kind::Regular).then(|| self.inode(ino).data.get())
    }

    /// Extended attributes in byte order of their names.
    pub fn xattrs(&self, ino: Ino) -> impl Iterator<Item = (&[u8], &[u8])> {
        let attr = self.attrs()[self.inode(ino).attr.get() as usize];
        let first = attr.xattr_first.get();
        let range = if first == NONE {
            0..0
        } else {
            first as usize..(first + attr.xattr_count.get()) as usize
        };
        self.xattr_rows()[range].iter().map(|x| {
            let name = self.string(x.off.get(), x.name_len.get());
            (
                name,
                self.string(x.off.get() + x.name_len.get(), x.value_len.get()),
            )
        })
    }

    /// Reads from a regular file at an offset; 0 bytes at and after its end. Each stored block is checked at its first
    /// touch, exactly once.
    ///
    /// # Errors
    /// Not a regular file; a stored block is damaged.
    pub fn read_at(&self, ino: Ino, offset: u64, buf: &mut [u8]) -> Result<usize, Error> {
        let content = self
            .content(ino)
            .ok_or(Error::WrongKind("not a regular file"))?;
        data::read_at(self, content, offset, buf)
    }

    /// A whole regular file: borrowed from the map where it is stored as it is, else decoded (up to 256 MiB; larger
    /// files are read in parts).
    ///
    /// # Errors
    /// As [`Image::read_at`]; the file is too large to be decoded at once.
    pub fn bytes(&self, ino: Ino) -> Result<Cow<'_, [u8]>, Error> {
        let content = self
            .content(ino)
            .ok_or(Error::WrongKind("not a regular file"))?;
        data::bytes(self, content)
    }

    /// The stored zstd frame of a file of class [`Class::Frame`], its hash checked; `None` for other files. What the
    /// frame decodes to has not been looked at.
    ///
    /// # Errors
    /// The stored bytes are damaged.
    pub fn frame(&self, ino: Ino) -> Result<Option<&[u8]>, Error> {
        match self.content(ino) {
            Some(content) if content.class == Class::Frame as u8 => {
                self.stored(content.first.get()).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Where a file of class [`Class::Raw`] lies, all its hashes checked; `None` for other files.
    ///
    /// # Errors
    /// A stored block is damaged, or the rest of the last page is not zero.
    pub fn extent(&self, ino: Ino) -> Result<Option<Extent<'_>>, Error> {
        let Some(content) = self.content(ino).filter(|c| c.class == Class::Raw as u8) else {
            return Ok(None);
        };
        let offset = data::raw_extent(self, content)?;
        Ok(Some(Extent {
            fd: self.0.file.as_fd(),
            offset,
            len: content.size.get(),
        }))
    }

    fn entry_of(&self, dirent: &Dirent) -> DirEntry<'_> {
        let ino = Ino(dirent.inode.get());
        DirEntry {
            name: self.name(dirent),
            ino,
            kind: self.kind(ino),
        }
    }

    fn name(&self, dirent: &Dirent) -> &[u8] {
        self.string(dirent.name_off.get(), u32::from(dirent.name_len.get()))
    }

    fn string(&self, off: u32, len: u32) -> &[u8] {
        let t = self.0.tables.strings;
        &self.0.map[t.off + off as usize..t.off + off as usize + len as usize]
    }

    fn inode(&self, ino: Ino) -> &Inode {
        &self.inodes()[ino.0 as usize]
    }

    pub(crate) fn content(&self, ino: Ino) -> Option<&Content> {
        self.content_index(ino)
            .map(|c| &self.contents()[c as usize])
    }

    fn table<T: FromBytes + zerocopy::KnownLayout + zerocopy::Immutable>(&self, t: Table) -> &[T] {
        let bytes = &self.0.map[t.off..t.off + t.rows * size_of::<T>()];
        <[T]>::ref_from_bytes(bytes)
            .expect("rows have alignment 1 and the length is a multiple of theirs")
    }

    fn attrs(&self) -> &[Attr] {
        self.table(self.0.tables.attrs)
    }

    fn inodes(&self) -> &[Inode] {
        self.table(self.0.tables.inodes)
    }

    fn dirents(&self) -> &[Dirent] {
        self.table(self.0.tables.dirents)
    }

    fn slots(&self) -> &[Slot] {
        self.table(self.0.tables.pathidx)
    }

    pub(crate) fn contents(&self) -> &[Content] {
        self.table(self.0.tables.contents)
    }

    pub(crate) fn block_rows(&self) -> &[Block] {
        self.table(self.0.tables.blocks)
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        self.table(self.0.tables.segments)
    }

    fn xattr_rows(&self) -> &[Xattr] {
        self.table(self.0.tables.xattrs)
    }

    /// Metadata sections with their offset and length.
    pub fn sections(&self) -> Vec<(&'static str, u64, u64)> {
        check::sections(&self.0.map, &self.0.superblock)
            .map(|rows| {
                rows.iter()
                    .zip(SectionKind::ALL)
                    .map(|(s, k)| (k.name(), s.off.get(), s.len.get()))
                    .collect()
            })
            .unwrap_or_default()
    }
}
