//! Makes a modified image consistent again: recomputes every hash and checksum, so that tests and fuzzers reach the
//! checks behind them. Not part of the interface.

use zerocopy::{FromBytes, IntoBytes};

use crate::format::{Block, SECTION_COUNT, Section, SectionKind, Superblock};
use crate::reader::seal;

/// Recomputes block hashes, section hashes, `image_id` and the checksum, as far as the ranges in the bytes allow.
/// Returns `false` when the superblock or the section table cannot be found.
pub fn rehash(image: &mut [u8]) -> bool {
    let Ok((mut superblock, _)) = Superblock::read_from_prefix(&image[..]) else {
        return false;
    };
    let Ok(table) = usize::try_from(superblock.sections_off.get()) else {
        return false;
    };
    let Some(end) = table
        .checked_add(SECTION_COUNT * size_of::<Section>())
        .filter(|&end| end <= image.len())
    else {
        return false;
    };
    let Ok(rows) = <[Section]>::ref_from_bytes(&image[table..end]) else {
        return false;
    };
    let mut rows = rows.to_vec();
    if let Some(range) = range(image, &rows[SectionKind::Blocks as usize - 1]) {
        rehash_blocks(image, range);
    }
    for row in &mut rows {
        if let Some(range) = range(image, row) {
            row.hash = *blake3::hash(&image[range]).as_bytes();
        }
    }
    image[table..end].copy_from_slice(rows.as_bytes());
    seal(&mut superblock, &rows);
    image[..size_of::<Superblock>()].copy_from_slice(superblock.as_bytes());
    true
}

fn range(image: &[u8], row: &Section) -> Option<std::ops::Range<usize>> {
    let start = usize::try_from(row.off.get()).ok()?;
    let end = start.checked_add(usize::try_from(row.len.get()).ok()?)?;
    (end <= image.len()).then_some(start..end)
}

fn rehash_blocks(image: &mut [u8], table: std::ops::Range<usize>) {
    let len = table.len() - table.len() % size_of::<Block>();
    let Ok(rows) = <[Block]>::ref_from_bytes(&image[table.start..table.start + len]) else {
        return;
    };
    let mut rows = rows.to_vec();
    for row in &mut rows {
        let start = usize::try_from(row.off.get()).unwrap_or(usize::MAX);
        let stored = start
            .checked_add(row.clen.get() as usize)
            .and_then(|end| image.get(start..end));
        if let Some(stored) = stored {
            row.hash = *blake3::hash(stored).as_bytes();
        }
    }
    image[table.start..table.start + len].copy_from_slice(rows.as_bytes());
}
