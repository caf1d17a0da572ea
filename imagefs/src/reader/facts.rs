//! What an image says about a file.

use std::os::fd::BorrowedFd;

/// Number of an inode of one image; 0 is the root directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ino(pub(crate) u32);

impl Ino {
    /// The root directory.
    pub const ROOT: Ino = Ino(0);

    /// The number, below [`Image::inode_count`](super::Image::inode_count).
    pub fn index(self) -> u32 {
        self.0
    }
}

/// Type of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Directory.
    Directory,
    /// Regular file.
    Regular,
    /// Symbolic link.
    Symlink,
}

/// How the bytes of a regular file are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Class {
    /// No regular file, or an empty one.
    None = 0,
    /// In the metadata, up to 64 bytes.
    Inline = 1,
    /// Page-aligned as it is: can be mapped.
    Raw = 2,
    /// As it is, without alignment: already compressed content.
    PackedRaw = 3,
    /// One zstd frame without a dictionary: can be sent as `Content-Encoding: zstd`.
    Frame = 4,
    /// A slice of a block that small files share.
    Packed = 5,
    /// Several zstd frames of equal plain size: random access to large files.
    Blocks = 6,
    /// Data parts with holes between them.
    Sparse = 7,
}

impl Class {
    /// All classes in the order of their numbers.
    pub const ALL: [Class; 8] = [
        Class::None,
        Class::Inline,
        Class::Raw,
        Class::PackedRaw,
        Class::Frame,
        Class::Packed,
        Class::Blocks,
        Class::Sparse,
    ];

    /// Name as options and listings write it.
    pub fn name(self) -> &'static str {
        match self {
            Class::None => "none",
            Class::Inline => "inline",
            Class::Raw => "raw",
            Class::PackedRaw => "packed-raw",
            Class::Frame => "zframe",
            Class::Packed => "packed",
            Class::Blocks => "zblocks",
            Class::Sparse => "sparse",
        }
    }
}

/// What `stat(2)` would tell, and the storage class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The inode.
    pub ino: Ino,
    /// Type of the file.
    pub kind: Kind,
    /// Permission bits, at most `0o1777`.
    pub mode: u32,
    /// Number of links; for a directory 2 and one for each directory in it.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes; of a symlink its target's length, of a directory 0.
    pub size: u64,
    /// Modification time, seconds since 1970.
    pub mtime: i64,
    /// Its nanoseconds.
    pub mtime_ns: u32,
    /// Storage class.
    pub class: Class,
}

/// A name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirEntry<'a> {
    /// The name, 1 to 255 bytes without `/` and NUL.
    pub name: &'a [u8],
    /// What it names.
    pub ino: Ino,
    /// Type of that.
    pub kind: Kind,
}

/// Where a raw file lies in the image's file, page-aligned and followed by zeros up to the end of its last page: ready
/// for `mmap(2)`.
#[derive(Clone, Copy, Debug)]
pub struct Extent<'a> {
    /// The image's file.
    pub fd: BorrowedFd<'a>,
    /// Offset, a multiple of 4096.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
}
