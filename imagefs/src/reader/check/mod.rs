//! The linear pass over all metadata at open.
//!
//! After it, these hold and the rest of the reader relies on them: every index and range points into its table; the
//! directories form a tree (numbered breadth-first, each named exactly once, by its parent); entries are strictly
//! sorted; link counts are true; every path is in the path index and the index holds nothing else; blocks lie in the
//! data area in ascending order without overlap; slices lie in their blocks. It costs time and memory proportional to
//! the metadata and touches no file contents.

use zerocopy::{FromBytes, IntoBytes};

mod contents;
mod names;

use super::{Table, Tables};
use crate::error::Error;
use crate::format::{
    Attr, Block, Content, DATA_START, Dirent, Inode, MAGIC, NONE, PAGE, PROBE_MAX, SECTION_ALIGN,
    SECTION_COUNT, SUPERBLOCK_LEN, Section, SectionKind, Segment, Slot, Superblock, VERSION_MAJOR,
    XATTR_VALUE_MAX, Xattr,
};

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
            "major version {}; this is for {VERSION_MAJOR}: pack it again",
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
}
