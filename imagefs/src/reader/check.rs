//! The linear pass over all metadata at open.
//!
//! After it, these hold and the rest of the reader relies on them: every index and range points into its table; the
//! directories form a tree (numbered breadth-first, each named exactly once, by its parent); entries are strictly
//! sorted; link counts are true; every path is in the path index and the index holds nothing else; blocks lie in the
//! data area in ascending order without overlap; slices lie in their blocks. It costs time and memory proportional to
//! the metadata and touches no file contents.

use zerocopy::{FromBytes, IntoBytes};

use super::{Class, Table, Tables};
use crate::error::Error;
use crate::format::{
    Attr, BLOCK_ULEN_MAX, Block, CODEC_RAW, CODEC_ZSTD, Content, DATA_START, DEPTH_MAX, Dirent,
    FILE_SIZE_MAX, INLINE_MAX, Inode, MAGIC, NONE, PAGE, PATH_MAX, PROBE_MAX, RAW_BLOCK,
    SECTION_ALIGN, SECTION_COUNT, SUPERBLOCK_LEN, SYMLINK_MAX, Section, SectionKind, Segment, Slot,
    Superblock, VERSION_MAJOR, XATTR_VALUE_MAX, Xattr,
};
use crate::{index, tree};

/// What the pass found out.
pub(super) struct Checked {
    pub(super) superblock: Superblock,
    pub(super) tables: Tables,
    pub(super) dir_count: u32,
    pub(super) subdirs: Vec<u32>,
}

/// Context string of the `image_id` hash (BLAKE3 key derivation).
const IMAGE_ID_CONTEXT: &str = "zapp imagefs 1 image id";

/// `image_id`: BLAKE3, keyed by its purpose, of the superblock with `image_id` and `crc` zero and the section table,
/// which holds the hash of every metadata section; BLOCKS among them holds the hash of every stored block.
fn image_id(superblock: &Superblock, sections: &[Section]) -> [u8; 32] {
    let mut zeroed = *superblock;
    zeroed.image_id = [0; 32];
    zeroed.crc = 0.into();
    let mut hasher = blake3::Hasher::new_derive_key(IMAGE_ID_CONTEXT);
    hasher.update(zeroed.as_bytes());
    hasher.update(sections.as_bytes());
    *hasher.finalize().as_bytes()
}

/// Sets `image_id` and `crc` of a finished superblock.
pub(crate) fn seal(superblock: &mut Superblock, sections: &[Section]) {
    superblock.image_id = image_id(superblock, sections);
    superblock.crc = superblock_crc(superblock).into();
}

/// CRC-32C of a superblock's bytes before the `crc` field.
fn superblock_crc(superblock: &Superblock) -> u32 {
    crc32c::crc32c(&superblock.as_bytes()[..SUPERBLOCK_LEN - 4])
}

/// Checks everything but file contents.
pub(super) fn metadata(map: &[u8]) -> Result<Checked, Error> {
    let superblock = superblock(map)?;
    let rows = sections(map, &superblock)?;
    if image_id(&superblock, rows) != superblock.image_id {
        return Err(Error::corrupt(
            64,
            "image id does not match the superblock and section table",
        ));
    }
    let tables = tables(map, &superblock, rows)?;
    let check = Tree::new(map, &tables, &superblock);
    // Hashing the sections and walking them are independent; both are needed before anything is believed.
    let (hashes, tree) = rayon::join(
        || {
            rows.iter()
                .zip(SectionKind::ALL)
                .try_for_each(|(row, kind)| section_hash(map, row, kind))
        },
        || check.all(),
    );
    hashes?;
    let (dir_count, subdirs) = tree?;
    Ok(Checked {
        superblock,
        tables,
        dir_count,
        subdirs,
    })
}

fn superblock(map: &[u8]) -> Result<Superblock, Error> {
    let (sb, _) =
        Superblock::read_from_prefix(map).map_err(|_| Error::NotAnImage("it is too short"))?;
    if sb.magic != MAGIC {
        if sb.magic.starts_with(b"\x89IMFS") {
            return Err(Error::NotAnImage(
                "its magic is mangled, as by a transfer in text mode",
            ));
        }
        return Err(Error::NotAnImage("the magic is missing"));
    }
    if superblock_crc(&sb) != sb.crc.get() {
        return Err(Error::corrupt(252, "checksum of the superblock"));
    }
    if sb.major.get() != VERSION_MAJOR {
        return Err(Error::Unsupported(format!(
            "major version {}",
            sb.major.get()
        )));
    }
    if sb.incompat.get() != 0 {
        return Err(Error::Unsupported(format!(
            "features {:#x}",
            sb.incompat.get()
        )));
    }
    if sb.header_len.get() as usize != SUPERBLOCK_LEN || sb.reserved != [0; 116] {
        return Err(Error::corrupt(
            12,
            "header length or reserved bytes of the superblock",
        ));
    }
    if sb.image_len.get() != map.len() as u64 || !sb.image_len.get().is_multiple_of(PAGE) {
        return Err(Error::corrupt(
            32,
            format!(
                "the superblock says {} bytes, the file has {}",
                sb.image_len.get(),
                map.len()
            ),
        ));
    }
    if sb.probe_max.get() > PROBE_MAX {
        return Err(Error::corrupt(
            52,
            format!("probe length {} over {PROBE_MAX}", sb.probe_max.get()),
        ));
    }
    if map[SUPERBLOCK_LEN..usize::try_from(DATA_START).expect("4096")]
        .iter()
        .any(|&b| b != 0)
    {
        return Err(Error::corrupt(
            256,
            "reserved bytes before the data area are not zero",
        ));
    }
    Ok(sb)
}

/// The section table, as a slice of the map.
pub(super) fn sections<'a>(map: &'a [u8], sb: &Superblock) -> Result<&'a [Section], Error> {
    if sb.sections_n.get() as usize != SECTION_COUNT {
        return Err(Error::corrupt(
            48,
            format!(
                "{} sections instead of {SECTION_COUNT}",
                sb.sections_n.get()
            ),
        ));
    }
    let start = usize::try_from(sb.sections_off.get()).unwrap_or(usize::MAX);
    let end = start
        .checked_add(SECTION_COUNT * size_of::<Section>())
        .filter(|&end| end <= map.len());
    let (Some(end), true) = (end, sb.sections_off.get().is_multiple_of(SECTION_ALIGN)) else {
        return Err(Error::corrupt(40, format!("section table at {start}")));
    };
    if map.len() - end >= usize::try_from(PAGE).expect("4096") || map[end..].iter().any(|&b| b != 0)
    {
        return Err(Error::corrupt(end as u64, "bytes after the section table"));
    }
    <[Section]>::ref_from_bytes(&map[start..end]).map_err(|_| Error::corrupt(40, "section table"))
}

/// Row size and largest row count of a section.
fn row_size(kind: SectionKind) -> usize {
    match kind {
        SectionKind::Attrs => size_of::<Attr>(),
        SectionKind::Inodes => size_of::<Inode>(),
        SectionKind::Dirents => size_of::<Dirent>(),
        SectionKind::PathIdx => size_of::<Slot>(),
        SectionKind::Contents => size_of::<Content>(),
        SectionKind::Blocks => size_of::<Block>(),
        SectionKind::Segments => size_of::<Segment>(),
        SectionKind::Xattrs => size_of::<Xattr>(),
        SectionKind::Strings | SectionKind::BuildInfo => 1,
    }
}

fn tables(map: &[u8], sb: &Superblock, rows: &[Section]) -> Result<Tables, Error> {
    let mut tables = Tables::default();
    let mut at = None;
    for (row, kind) in rows.iter().zip(SectionKind::ALL) {
        let place = sb.sections_off.get();
        let (off, len) = (row.off.get(), row.len.get());
        let bad = |what: &str| {
            Err(Error::corrupt(
                place,
                format!("section {}: {what} ({off}+{len})", kind.name()),
            ))
        };
        if row.kind.get() != kind as u32 || row.flags.get() != 0 || row.reserved.get() != 0 {
            return bad("kind, flags or reserved");
        }
        let end = off
            .checked_add(len)
            .filter(|&end| end <= sb.sections_off.get());
        let Some(end) = end else { return bad("range") };
        let start = *at.get_or_insert(off);
        if !off.is_multiple_of(SECTION_ALIGN)
            || off < DATA_START
            || off < start
            || off - start >= SECTION_ALIGN
        {
            return bad("position");
        }
        at = Some(end);
        let size = row_size(kind) as u64;
        let count = len / size;
        if !len.is_multiple_of(size) || count >= u64::from(NONE) {
            return bad("length");
        }
        let table = Table {
            off: usize::try_from(off).expect("inside the map"),
            rows: usize::try_from(count).expect("inside the map"),
        };
        *match kind {
            SectionKind::Attrs => &mut tables.attrs,
            SectionKind::Inodes => &mut tables.inodes,
            SectionKind::Dirents => &mut tables.dirents,
            SectionKind::Strings => &mut tables.strings,
            SectionKind::PathIdx => &mut tables.pathidx,
            SectionKind::Contents => &mut tables.contents,
            SectionKind::Blocks => &mut tables.blocks,
            SectionKind::Segments => &mut tables.segments,
            SectionKind::Xattrs => &mut tables.xattrs,
            SectionKind::BuildInfo => &mut tables.buildinfo,
        } = table;
    }
    let end = at.expect("there are sections");
    if sb.sections_off.get() - end >= SECTION_ALIGN {
        return Err(Error::corrupt(end, "a gap before the section table"));
    }
    debug_assert!(map.len() as u64 >= end);
    tables.data_end = rows[0].off.get();
    Ok(tables)
}

fn section_hash(map: &[u8], row: &Section, kind: SectionKind) -> Result<(), Error> {
    let start = usize::try_from(row.off.get()).expect("checked by tables()");
    let len = usize::try_from(row.len.get()).expect("checked by tables()");
    let hash = blake3::Hasher::new()
        .update_rayon(&map[start..start + len])
        .finalize();
    if *hash.as_bytes() != row.hash {
        return Err(Error::corrupt(
            row.off.get(),
            format!("hash of section {}", kind.name()),
        ));
    }
    Ok(())
}

/// Rows that no content has used yet: contents that own blocks or segments own them alone and in ascending order,
/// which keeps the pass linear.
#[derive(Default)]
struct Floor {
    block: u32,
    segment: u32,
}

impl Floor {
    fn take(&mut self, content: &Content, class: Class) -> bool {
        let next = match class {
            Class::Raw | Class::PackedRaw | Class::Frame | Class::Blocks => &mut self.block,
            Class::Sparse => &mut self.segment,
            Class::None | Class::Inline | Class::Packed => return true,
        };
        let (first, count) = (content.first.get(), content.count.get());
        let free = first >= *next;
        *next = first.saturating_add(count);
        free
    }
}

/// The walk over the tables.
struct Tree<'a> {
    attrs: &'a [Attr],
    inodes: &'a [Inode],
    dirents: &'a [Dirent],
    strings: &'a [u8],
    slots: &'a [Slot],
    contents: &'a [Content],
    blocks: &'a [Block],
    segments: &'a [Segment],
    xattrs: &'a [Xattr],
    tables: &'a Tables,
    superblock: &'a Superblock,
}

impl<'a> Tree<'a> {
    fn new(map: &'a [u8], tables: &'a Tables, superblock: &'a Superblock) -> Self {
        fn rows<T: FromBytes + zerocopy::KnownLayout + zerocopy::Immutable>(
            map: &[u8],
            t: Table,
        ) -> &[T] {
            <[T]>::ref_from_bytes(&map[t.off..t.off + t.rows * size_of::<T>()])
                .expect("length is a multiple of the row size, alignment is 1")
        }
        Tree {
            attrs: rows(map, tables.attrs),
            inodes: rows(map, tables.inodes),
            dirents: rows(map, tables.dirents),
            strings: rows(map, tables.strings),
            slots: rows(map, tables.pathidx),
            contents: rows(map, tables.contents),
            blocks: rows(map, tables.blocks),
            segments: rows(map, tables.segments),
            xattrs: rows(map, tables.xattrs),
            tables,
            superblock,
        }
    }

    fn all(&self) -> Result<(u32, Vec<u32>), Error> {
        self.attrs_and_xattrs()?;
        self.blocks()?;
        self.contents()?;
        let dir_count = self.inodes()?;
        let (hashes, subdirs) = self.dirents(dir_count)?;
        self.path_index(&hashes)?;
        Ok((dir_count, subdirs))
    }

    /// Error at a row of a table.
    fn bad(&self, table: Table, size: usize, row: usize, what: impl std::fmt::Display) -> Error {
        Error::corrupt((table.off + row * size) as u64, what.to_string())
    }

    fn string(&self, off: u32, len: usize) -> Option<&'a [u8]> {
        self.strings.get(off as usize..)?.get(..len)
    }

    fn attrs_and_xattrs(&self) -> Result<(), Error> {
        // Sets follow each other without gaps, which also keeps this loop linear.
        let mut next = 0;
        for (row, attr) in self.attrs.iter().enumerate() {
            let bad = |what| {
                self.bad(
                    self.tables.attrs,
                    size_of::<Attr>(),
                    row,
                    format!("attributes {row}: {what}"),
                )
            };
            if !matches!(
                attr.mode.get() & 0o170_000,
                0o040_000 | 0o100_000 | 0o120_000
            ) || attr.mode.get() & 0o6000 != 0
            {
                return Err(bad("mode"));
            }
            if attr.reserved.get() != 0 || attr.mtime_ns.get() >= 1_000_000_000 {
                return Err(bad("time or reserved bytes"));
            }
            let (first, count) = (attr.xattr_first.get(), attr.xattr_count.get());
            if first == NONE {
                if count != 0 {
                    return Err(bad("extended attributes"));
                }
                continue;
            }
            let end = first.saturating_add(count) as usize;
            let set = self.xattrs.get(first as usize..end);
            let Some(set) = set.filter(|set| !set.is_empty() && first as usize == next) else {
                return Err(bad("range of extended attributes"));
            };
            next = end;
            if set.iter().any(|x| self.xattr(x).is_none())
                || !set.is_sorted_by(|a, b| self.xattr(a) < self.xattr(b))
            {
                return Err(bad(
                    "extended attributes unsorted, too long, or out of range",
                ));
            }
        }
        if next != self.xattrs.len() {
            return Err(self.bad(
                self.tables.xattrs,
                size_of::<Xattr>(),
                next,
                "an extended attribute without a file",
            ));
        }
        Ok(())
    }

    /// An attribute's name, when its row is sound.
    fn xattr(&self, x: &Xattr) -> Option<&'a [u8]> {
        let (name_len, value_len) = (x.name_len.get() as usize, x.value_len.get() as usize);
        if name_len == 0 || name_len > 255 || value_len > XATTR_VALUE_MAX {
            return None;
        }
        let both = self.string(x.off.get(), name_len + value_len)?;
        let name = &both[..name_len];
        (!name.contains(&0)).then_some(name)
    }

    fn blocks(&self) -> Result<(), Error> {
        let mut at = DATA_START;
        for (row, block) in self.blocks.iter().enumerate() {
            let bad = |what| {
                self.bad(
                    self.tables.blocks,
                    size_of::<Block>(),
                    row,
                    format!("block {row}: {what}"),
                )
            };
            let (off, clen, ulen) = (block.off.get(), block.clen.get(), block.ulen.get());
            let end = off
                .checked_add(clen.into())
                .filter(|&end| end <= self.tables.data_end);
            let Some(end) = end.filter(|_| clen > 0 && ulen > 0 && off >= at && off - at < PAGE)
            else {
                return Err(bad("position"));
            };
            at = end;
            match block.codec.get() {
                CODEC_RAW if clen == ulen && ulen <= RAW_BLOCK && block.dict.get() == NONE => {}
                CODEC_ZSTD if ulen <= BLOCK_ULEN_MAX => {}
                _ => return Err(bad("codec or length")),
            }
            let dict = block.dict.get();
            if dict != NONE {
                let sound = (dict as usize) < row && {
                    let of = &self.blocks[dict as usize];
                    of.dict.get() == NONE && of.codec.get() == CODEC_ZSTD
                };
                if !sound {
                    return Err(bad("dictionary"));
                }
            }
        }
        if self.tables.data_end - at >= PAGE + SECTION_ALIGN {
            return Err(Error::corrupt(at, "a gap after the last block"));
        }
        Ok(())
    }

    fn contents(&self) -> Result<(), Error> {
        let mut floor = Floor::default();
        for (row, content) in self.contents.iter().enumerate() {
            let class = Class::ALL.get(usize::from(content.class));
            let sound = content.reserved == [0; 3]
                && content.size.get() <= FILE_SIZE_MAX
                && class.is_some_and(|&class| {
                    floor.take(content, class) && self.content(row, content, class)
                });
            if !sound {
                return Err(self.bad(
                    self.tables.contents,
                    size_of::<Content>(),
                    row,
                    format!("content {row}: class, size, blocks or slice"),
                ));
            }
        }
        Ok(())
    }

    /// Whether a content's rows fit its class and size.
    fn content(&self, row: usize, content: &Content, class: Class) -> bool {
        let (size, first, count) = (
            content.size.get(),
            content.first.get() as usize,
            content.count.get() as usize,
        );
        if class != Class::Packed && content.slice_off.get() != 0 {
            return false;
        }
        let blocks = || self.blocks.get(first..first.checked_add(count)?);
        let codec = |codec: u32| move |b: &Block| b.codec.get() == codec;
        match class {
            Class::None => size == 0 && first == 0 && count == 0,
            Class::Inline => {
                size > 0 && size <= INLINE_MAX as u64 && count == 0 && {
                    let len = usize::try_from(size).expect("at most 64");
                    self.string(content.first.get(), len).is_some()
                }
            }
            Class::Raw | Class::PackedRaw => blocks().is_some_and(|blocks| {
                let aligned = class == Class::PackedRaw
                    || blocks
                        .first()
                        .is_some_and(|b| b.off.get().is_multiple_of(PAGE));
                // A raw file must lie in one piece; a packed one does because blocks are written back to back.
                let adjacent = blocks
                    .windows(2)
                    .all(|w| w[0].off.get() + u64::from(w[0].clen.get()) == w[1].off.get());
                aligned
                    && adjacent
                    && blocks.iter().all(codec(CODEC_RAW))
                    && equal_blocks(blocks, size)
                    && blocks
                        .first()
                        .is_none_or(|b| count == 1 || b.ulen.get() == RAW_BLOCK)
            }),
            Class::Frame => blocks().is_some_and(|blocks| {
                count == 1
                    && blocks.iter().all(codec(CODEC_ZSTD))
                    && u64::from(blocks[0].ulen.get()) == size
                    && blocks[0].dict.get() == NONE
            }),
            Class::Packed => blocks().is_some_and(|blocks| {
                count == 1
                    && size > 0
                    && u64::from(content.slice_off.get()) + size <= u64::from(blocks[0].ulen.get())
            }),
            Class::Blocks => {
                blocks().is_some_and(|blocks| !blocks.is_empty() && equal_blocks(blocks, size))
            }
            Class::Sparse => self
                .segments
                .get(first..first.saturating_add(count))
                .is_some_and(|segments| {
                    let mut at = 0;
                    segments.iter().all(|segment| {
                        let Some(part) = self.contents.get(segment.content.get() as usize) else {
                            return false;
                        };
                        let start = segment.offset.get();
                        let end = start.checked_add(part.size.get());
                        // Parts come before the files that use them and are never sparse themselves.
                        let sound = (segment.content.get() as usize) < row
                            && part.class != Class::Sparse as u8
                            && part.size.get() > 0
                            && segment.reserved.get() == 0
                            && start >= at
                            && end.is_some_and(|end| end <= size);
                        at = end.unwrap_or(u64::MAX);
                        sound
                    })
                }),
        }
    }

    /// Types, ranges and numbering of inodes. Returns the number of directories.
    fn inodes(&self) -> Result<u32, Error> {
        let bad = |row: usize, what| {
            self.bad(
                self.tables.inodes,
                size_of::<Inode>(),
                row,
                format!("inode {row}: {what}"),
            )
        };
        let mut dirs = 0;
        let mut entries = 0u64;
        for (row, inode) in self.inodes.iter().enumerate() {
            let Some(attr) = self.attrs.get(inode.attr.get() as usize) else {
                return Err(bad(row, "attributes"));
            };
            let (data, count) = (inode.data.get(), inode.count.get());
            match attr.mode.get() & 0o170_000 {
                0o040_000 => {
                    if dirs != row {
                        return Err(bad(row, "a directory after other files"));
                    }
                    dirs += 1;
                    if u64::from(data) != entries {
                        return Err(bad(row, "entries overlap or leave a gap"));
                    }
                    entries += u64::from(count);
                }
                0o100_000 => {
                    if data as usize >= self.contents.len() || count == 0 || inode.extra.get() != 0
                    {
                        return Err(bad(row, "content or link count"));
                    }
                }
                _ => {
                    let target = self.string(data, count as usize);
                    let sound = target.is_some_and(|t| {
                        !t.is_empty() && t.len() <= SYMLINK_MAX && !t.contains(&0)
                    });
                    if !sound || inode.extra.get() == 0 {
                        return Err(bad(row, "symlink target or link count"));
                    }
                }
            }
        }
        if dirs == 0 {
            return Err(bad(0, "the root is not a directory"));
        }
        if entries != self.dirents.len() as u64 {
            return Err(bad(dirs - 1, "directory entries outside every directory"));
        }
        Ok(u32::try_from(dirs).expect("fewer than 2^32 rows"))
    }

    /// Names, order, parents, numbering, link counts and total size. Returns the path hash of each dirent and the
    /// number of subdirectories of each directory.
    fn dirents(&self, dir_count: u32) -> Result<(Vec<u64>, Vec<u32>), Error> {
        let bad = |row: usize, what| {
            self.bad(
                self.tables.dirents,
                size_of::<Dirent>(),
                row,
                format!("directory entry {row}: {what}"),
            )
        };
        let dirs = dir_count as usize;
        let mut hashes = Vec::with_capacity(self.dirents.len());
        let mut subdirs = vec![0u32; dirs];
        // Of each directory: hash and length of its path, and depth.
        let mut dir_path = vec![(self.superblock.hash_seed.get(), 0usize, 0u32); dirs];
        let mut links = vec![0u32; self.inodes.len() - dirs];
        let mut next_dir = 1;
        let mut next_file = dirs;
        let mut total = 0u64;
        for dir in 0..dirs {
            let (dir_hash, dir_len, depth) = dir_path[dir];
            let first = self.inodes[dir].data.get() as usize;
            let mut before: Option<&[u8]> = None;
            for row in first..first + self.inodes[dir].count.get() as usize {
                let dirent = &self.dirents[row];
                let name = self.string(dirent.name_off.get(), usize::from(dirent.name_len.get()));
                let Some(name) = name.filter(|name| tree::check_name(name).is_ok()) else {
                    return Err(bad(row, "name"));
                };
                if before.is_some_and(|before| before >= name) {
                    return Err(bad(row, "names are not strictly sorted"));
                }
                before = Some(name);
                if dirent.parent.get() as usize != dir || dirent.reserved.get() != 0 {
                    return Err(bad(row, "parent or reserved bytes"));
                }
                let path_len = dir_len + usize::from(dir_len > 0) + name.len();
                if path_len > PATH_MAX {
                    return Err(bad(row, "path too long"));
                }
                let hash = index::extend(dir_hash, name);
                hashes.push(hash);
                let ino = dirent.inode.get() as usize;
                if ino < dirs {
                    // Breadth-first numbering: the next unseen directory, which excludes cycles and second names.
                    if ino != next_dir || self.inodes[ino].extra.get() as usize != row {
                        return Err(bad(row, "directory out of order"));
                    }
                    if depth + 1 > DEPTH_MAX {
                        return Err(bad(row, "nested too deep"));
                    }
                    dir_path[ino] = (hash, path_len, depth + 1);
                    subdirs[dir] += 1;
                    next_dir += 1;
                } else {
                    if ino == next_file && ino < self.inodes.len() {
                        next_file += 1;
                        total = total.saturating_add(self.file_size(ino));
                    } else if ino >= next_file {
                        return Err(bad(row, "inode out of order or out of range"));
                    }
                    links[ino - dirs] += 1;
                }
            }
        }
        if next_dir != dirs || next_file != self.inodes.len() {
            return Err(bad(0, "an inode without a name"));
        }
        for (row, &count) in links.iter().enumerate() {
            let inode = &self.inodes[dirs + row];
            let regular = self.attrs[inode.attr.get() as usize].mode.get() & 0o170_000 == 0o100_000;
            if count
                != if regular {
                    inode.count.get()
                } else {
                    inode.extra.get()
                }
            {
                return Err(self.bad(
                    self.tables.inodes,
                    size_of::<Inode>(),
                    dirs + row,
                    "link count",
                ));
            }
        }
        if total != self.superblock.total_size.get() {
            return Err(Error::corrupt(128, "total size"));
        }
        Ok((hashes, subdirs))
    }

    fn file_size(&self, ino: usize) -> u64 {
        let inode = &self.inodes[ino];
        match self.attrs[inode.attr.get() as usize].mode.get() & 0o170_000 {
            0o100_000 => self.contents[inode.data.get() as usize].size.get(),
            _ => 0,
        }
    }

    /// The index holds each dirent exactly once, with its tag, within `probe_max` slots of its home and without an
    /// empty slot in between: so every lookup of an existing path ends at it, and every other lookup ends.
    fn path_index(&self, hashes: &[u64]) -> Result<(), Error> {
        let bad = |row: usize, what| {
            self.bad(
                self.tables.pathidx,
                size_of::<Slot>(),
                row,
                format!("path index slot {row}: {what}"),
            )
        };
        let n = self.slots.len();
        if n != index::slots(hashes.len()) {
            return Err(bad(0, "wrong number of slots"));
        }
        let mut seen = vec![false; hashes.len()];
        let mut found = 0;
        // Length of the run of used slots that ends before the current one, wrapping around the end of the table.
        let mut run = self
            .slots
            .iter()
            .rev()
            .take_while(|s| s.dirent.get() != NONE)
            .count();
        if run == n {
            return Err(bad(0, "no empty slot"));
        }
        for (row, slot) in self.slots.iter().enumerate() {
            let dirent = slot.dirent.get();
            if dirent == NONE {
                if slot.tag.get() != 0 {
                    return Err(bad(row, "tag of an empty slot"));
                }
                run = 0;
                continue;
            }
            let Some(&hash) = hashes.get(dirent as usize) else {
                return Err(bad(row, "entry out of range"));
            };
            let distance = row.wrapping_sub(index::home(hash, n)) & (n - 1);
            if slot.tag.get() != index::tag(hash)
                || distance > run
                || distance > self.superblock.probe_max.get() as usize
            {
                return Err(bad(row, "entry in the wrong place"));
            }
            if std::mem::replace(&mut seen[dirent as usize], true) {
                return Err(bad(row, "entry twice"));
            }
            found += 1;
            run += 1;
        }
        if found != hashes.len() {
            return Err(bad(0, "an entry is missing"));
        }
        Ok(())
    }
}

/// Whether blocks have equal plain sizes but for a smaller last one, and add up to `size`.
fn equal_blocks(blocks: &[Block], size: u64) -> bool {
    let Some((last, before)) = blocks.split_last() else {
        return size == 0;
    };
    let each = blocks[0].ulen.get();
    before.iter().all(|b| b.ulen.get() == each)
        && last.ulen.get() <= each
        && u64::from(each) * before.len() as u64 + u64::from(last.ulen.get()) == size
}
