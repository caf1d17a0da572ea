//! Byte layout of an image, and nothing else: structs, constants and field meanings.
//!
//! ```text
//! 0        Superblock (256 bytes)
//! 256      zero up to 4096: reserved, so that the same file can later also carry an EROFS superblock at 1024
//! 4096     data: raw extents (page-aligned), then packed raw and compressed blocks (no alignment)
//! ...      metadata sections, each 64-byte aligned: ATTRS INODES DIRENTS STRINGS PATHIDX CONTENTS BLOCKS SEGMENTS
//!          XATTRS BUILDINFO
//! ...      section table (64 bytes a section), then zero up to a multiple of 4096: end of file
//! ```
//!
//! All integers are little-endian, all structs have alignment 1, and nothing is deserialised: readers look at these
//! structs in the map. `docs/format.md` explains each field and why it is there.

use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First eight bytes of an image. The high bit, CR LF and Ctrl-Z show transfers that mangled the file (as in PNG).
pub const MAGIC: [u8; 8] = *b"\x89IMFS\r\n\x1a";
/// Readers refuse any other major version.
pub const VERSION_MAJOR: u16 = 2;
/// Minor versions only add what older readers may ignore.
pub const VERSION_MINOR: u16 = 0;
/// Size of [`Superblock`] in bytes.
pub const SUPERBLOCK_LEN: usize = 256;
/// First byte of the data area. Bytes between the superblock and here are zero.
pub const DATA_START: u64 = 4096;
/// Alignment of raw extents and of the whole file: the x86-64 page, so that an extent can be mapped.
pub const PAGE: u64 = 4096;
/// Alignment of metadata sections, a cache line.
pub const SECTION_ALIGN: u64 = 64;
/// Number of metadata sections; each kind stands exactly once, in the order of [`SectionKind`].
pub const SECTION_COUNT: usize = 10;
/// "No entry" in index fields.
pub const NONE: u32 = u32::MAX;

/// Longest file name in bytes (Linux `NAME_MAX`).
pub const NAME_MAX: usize = 255;
/// Longest full path in bytes without the leading slash (Linux `PATH_MAX` less the NUL).
pub const PATH_MAX: usize = 4095;
/// Longest symlink target in bytes; longer ones cannot be made on Linux.
pub const SYMLINK_MAX: usize = 4095;
/// Deepest directory nesting; the root has depth 0.
pub const DEPTH_MAX: u32 = 255;
/// Most slots a path-index probe may pass over.
pub const PROBE_MAX: u32 = 128;
/// Largest plain size of a block that files share or that is part of a file: what reading one byte may cost.
pub const BLOCK_ULEN_MAX: u32 = 4 << 20;
/// Largest plain size of a frame that is a file of its own.
pub const FRAME_ULEN_MAX: u32 = 16 << 20;
/// Blocks of raw and packed-raw files are cut at this size: the unit of first-touch hashing.
pub const RAW_BLOCK: u32 = 1 << 20;
/// Contents up to this size stay inline in STRINGS.
pub const INLINE_MAX: usize = 64;
/// Largest file size: keeps sums of offsets far from `i64::MAX`.
pub const FILE_SIZE_MAX: u64 = 1 << 56;
/// Largest xattr value on Linux (`XATTR_SIZE_MAX`).
pub const XATTR_VALUE_MAX: usize = 65536;
/// Largest zstd window of a frame: what HTTP clients must support is 8 MiB (RFC 9659).
pub const WINDOW_LOG_MAX: u32 = 23;
/// Time of what has none, such as a directory that an archive only implies: 1980-01-01. Never 0: PHP's opcache refuses to
/// cache files whose mtime is 0.
pub const DEFAULT_MTIME: i64 = 315_532_800;

/// Start of the file.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct Superblock {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`VERSION_MAJOR`].
    pub major: U16,
    /// [`VERSION_MINOR`].
    pub minor: U16,
    /// [`SUPERBLOCK_LEN`].
    pub header_len: U32,
    /// Features a reader must know to read at all.
    pub incompat: U64,
    /// Features a reader may ignore.
    pub compat: U64,
    /// Length of the file.
    pub image_len: U64,
    /// Offset of the section table.
    pub sections_off: U64,
    /// [`SECTION_COUNT`].
    pub sections_n: U32,
    /// Number of used slots a lookup may have to pass over in PATHIDX, at most [`PROBE_MAX`].
    pub probe_max: U32,
    /// BLAKE3 of this superblock (with `image_id` and `crc` zero) and the section table; see `docs/format.md`.
    pub image_id: [u8; 32],
    /// Merkle hash of names, modes, contents and links: the same for the same tree, however it is stored.
    pub tree_id: [u8; 32],
    /// Sum of the plain sizes of all regular files, hard links counted once.
    pub total_size: U64,
    /// Seed of the path-index hash.
    pub hash_seed: U64,
    /// Zero.
    pub reserved: [u8; 116],
    /// CRC-32C of the bytes before it: tells damage from forgery.
    pub crc: U32,
}

/// One row of the section table.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct Section {
    /// [`SectionKind`] as a number.
    pub kind: U32,
    /// Zero.
    pub flags: U32,
    /// Offset in the file, [`SECTION_ALIGN`]ed.
    pub off: U64,
    /// Length in bytes.
    pub len: U64,
    /// Zero.
    pub reserved: U64,
    /// BLAKE3 of the section's bytes.
    pub hash: [u8; 32],
}

/// The metadata sections, in file order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum SectionKind {
    /// [`Attr`] table.
    Attrs = 1,
    /// [`Inode`] table.
    Inodes,
    /// [`Dirent`] table.
    Dirents,
    /// Names, symlink targets, inline contents, xattr names and values.
    Strings,
    /// [`Slot`] table: full path to dirent.
    PathIdx,
    /// [`Content`] table.
    Contents,
    /// [`Block`] table.
    Blocks,
    /// [`Segment`] table: the data parts of sparse files.
    Segments,
    /// [`Xattr`] table.
    Xattrs,
    /// JSON: tool versions and options.
    BuildInfo,
}

impl SectionKind {
    /// All kinds in file order.
    pub const ALL: [SectionKind; SECTION_COUNT] = [
        Self::Attrs,
        Self::Inodes,
        Self::Dirents,
        Self::Strings,
        Self::PathIdx,
        Self::Contents,
        Self::Blocks,
        Self::Segments,
        Self::Xattrs,
        Self::BuildInfo,
    ];

    /// Name as printed by `zapp check`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Attrs => "attrs",
            Self::Inodes => "inodes",
            Self::Dirents => "dirents",
            Self::Strings => "strings",
            Self::PathIdx => "pathidx",
            Self::Contents => "contents",
            Self::Blocks => "blocks",
            Self::Segments => "segments",
            Self::Xattrs => "xattrs",
            Self::BuildInfo => "buildinfo",
        }
    }
}

/// What many inodes have in common; equal rows stand once, sorted by their bytes.
#[derive(
    FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug, PartialEq, Eq, Hash,
)]
#[repr(C)]
pub struct Attr {
    /// File type and permission bits as in `stat(2)`; set-id bits are never stored.
    pub mode: U16,
    /// Zero.
    pub reserved: U16,
    /// Owner.
    pub uid: U32,
    /// Group.
    pub gid: U32,
    /// Nanoseconds of the modification time, below 10⁹.
    pub mtime_ns: U32,
    /// Modification time, seconds since 1970.
    pub mtime: I64,
    /// First row of this set in XATTRS, or [`NONE`].
    pub xattr_first: U32,
    /// Number of rows of this set; sorted by name.
    pub xattr_count: U32,
}

/// A directory, regular file or symlink. Directories come first, breadth-first, so a child directory's number is
/// always larger than its parent's: cycles cannot be expressed. Inode 0 is the root.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct Inode {
    /// Row of ATTRS.
    pub attr: U32,
    /// Directory: first dirent. File: row of CONTENTS. Symlink: offset of its target in STRINGS.
    pub data: U32,
    /// Directory: number of dirents. File: number of links. Symlink: length of its target.
    pub count: U32,
    /// Directory: the parent directory (the root's is 0). Symlink: number of links. File: zero.
    pub extra: U32,
}

/// A name in a directory. The entries of one directory are adjacent, byte-sorted, and follow those of the directory
/// numbered before it without a gap.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct Dirent {
    /// Offset of the name in STRINGS.
    pub name_off: U32,
    /// Inode.
    pub inode: U32,
    /// The directory this entry belongs to.
    pub parent: U32,
    /// Length of the name.
    pub name_len: U16,
    /// Zero.
    pub reserved: U16,
}

/// A slot of the path index: open addressing with linear probing over a power of two of slots.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct Slot {
    /// High half of the path's hash.
    pub tag: U32,
    /// Dirent, or [`NONE`] for an empty slot.
    pub dirent: U32,
}

/// The bytes of one or more regular files (equal files share one row), sorted by position in the data area.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct Content {
    /// BLAKE3 of the plain bytes.
    pub hash: [u8; 32],
    /// Plain size in bytes.
    pub size: U64,
    /// First row of BLOCKS (or of SEGMENTS when sparse; offset in STRINGS when inline).
    pub first: U32,
    /// Number of rows there.
    pub count: U32,
    /// Slice: where the bytes start in the plain block.
    pub slice_off: U32,
    /// Storage class, a [`Class`](crate::Class) as a number.
    pub class: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

/// A stored block: a stretch of the file, hashed as stored, so that nothing unverified reaches the decompressor.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct Block {
    /// BLAKE3 of the stored bytes.
    pub hash: [u8; 32],
    /// Offset in the file.
    pub off: U64,
    /// Stored length.
    pub clen: U32,
    /// Plain length; equal to `clen` for blocks stored as they are.
    pub ulen: U32,
    /// 0: stored as is. 1: one zstd frame.
    pub codec: U32,
}

/// A data part of a sparse file; what lies between parts reads as zero.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct Segment {
    /// Offset in the file's plain bytes.
    pub offset: U64,
    /// The content that stands there (never itself sparse).
    pub content: U32,
    /// Zero.
    pub reserved: U32,
}

/// An extended attribute.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct Xattr {
    /// Offset of the name in STRINGS; the value follows it at once.
    pub off: U32,
    /// Length of the name (`user.…`).
    pub name_len: U32,
    /// Length of the value.
    pub value_len: U32,
}

/// Block codec: stored as is.
pub const CODEC_RAW: u32 = 0;
/// Block codec: one zstd frame with its content size, without a dictionary.
pub const CODEC_ZSTD: u32 = 1;
