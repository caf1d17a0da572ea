//! GNU tar's four ways to write a sparse file, all read into one map.
//!
//! ```text
//! old   type S; 4 entries in the header, 21 in each extension block before the body
//! 0.0   PAX GNU.sparse.offset and .numbytes, repeated        0.1   PAX GNU.sparse.map=offset,bytes,...
//! 1.0   PAX GNU.sparse.major=1; decimal lines at the start of the body, padded to 512
//! ```
//! The body holds the data parts back to back.

use std::ops::Range;

use super::BLOCK;
use super::block::number;

/// Data parts of a file and its full size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Map {
    /// In order, not touching, none empty.
    pub(super) data: Vec<Range<u64>>,
    pub(super) size: u64,
}

/// Parts a map may have: an archive needs at least 4 bytes for each.
pub(super) const PARTS_MAX: usize = 4 << 20;

/// The `GNU.sparse.` keys of an extended header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SparseKeys {
    pub(super) major: Option<u64>,
    minor: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    size: Option<u64>,
    parts: Vec<(u64, u64)>,
    /// An offset of format 0.0 that waits for its length.
    offset: Option<u64>,
    count: Option<u64>,
}

impl SparseKeys {
    pub(super) fn is_empty(&self) -> bool {
        *self == SparseKeys::default()
    }

    /// Takes in one record, its key without the prefix.
    pub(super) fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let bad = || format!("GNU.sparse.{} has a bad value", key.escape_ascii());
        let value_number = || decimal(value).ok_or_else(bad);
        match key {
            b"major" => self.major = Some(value_number()?),
            b"minor" => self.minor = Some(value_number()?),
            b"name" => self.name = Some(value.to_vec()).filter(|name| !name.is_empty()),
            b"size" | b"realsize" => self.size = Some(value_number()?),
            b"numblocks" => self.count = Some(value_number()?),
            b"offset" => {
                if self.offset.replace(value_number()?).is_some() {
                    return Err("GNU.sparse.offset without its length".to_owned());
                }
            }
            b"numbytes" => {
                let offset = self
                    .offset
                    .take()
                    .ok_or("GNU.sparse.numbytes without its offset")?;
                self.parts.push((offset, value_number()?));
            }
            b"map" => {
                let numbers: Option<Vec<u64>> =
                    value.split(|&byte| byte == b',').map(decimal).collect();
                let numbers = numbers
                    .filter(|numbers| numbers.len() % 2 == 0)
                    .ok_or_else(bad)?;
                self.parts = numbers
                    .chunks_exact(2)
                    .map(|pair| (pair[0], pair[1]))
                    .collect();
            }
            _ => return Err(format!("GNU.sparse.{} is not known", key.escape_ascii())),
        }
        Ok(())
    }

    /// Whether the map lies at the start of the body.
    pub(super) fn map_in_body(&self) -> Result<bool, &'static str> {
        match (self.major, self.minor) {
            (None | Some(0), None | Some(0 | 1)) => Ok(false),
            (Some(1), Some(0)) => Ok(true),
            _ => Err("of an unknown version"),
        }
    }

    /// The map of formats 0.0 and 0.1, for a body of `stored` bytes.
    pub(super) fn into_map(self, stored: u64) -> Result<Map, &'static str> {
        if self.offset.is_some()
            || self
                .count
                .is_some_and(|count| count != self.parts.len() as u64)
        {
            return Err("does not have as many parts as it says");
        }
        Map::new(
            self.parts,
            self.size.ok_or("without the file's size")?,
            stored,
        )
    }

    /// The map of format 1.0 from its parts in the body.
    pub(super) fn with_parts(
        self,
        parts: Vec<(u64, u64)>,
        stored: u64,
    ) -> Result<Map, &'static str> {
        Map::new(parts, self.size.ok_or("without the file's size")?, stored)
    }
}

impl Map {
    /// Checks parts (offset, length) against the file's size and what the archive stores.
    pub(super) fn new(parts: Vec<(u64, u64)>, size: u64, stored: u64) -> Result<Map, &'static str> {
        let mut data: Vec<Range<u64>> = Vec::new();
        let (mut end, mut sum) = (0_u64, 0_u64);
        for (offset, len) in parts {
            if offset < end {
                return Err("parts overlap or are out of order");
            }
            end = offset
                .checked_add(len)
                .filter(|&end| end <= size)
                .ok_or("a part lies behind the end of the file")?;
            sum += len;
            match data.last_mut() {
                // GNU tar ends the map with an empty part; it carries nothing.
                _ if len == 0 => {}
                Some(last) if last.end == offset => last.end = end,
                _ => data.push(offset..end),
            }
        }
        if sum != stored {
            return Err("parts are not as long as the stored data");
        }
        Ok(Map { data, size })
    }
}

/// Entries of an old-format header or extension block; each is two numbers of 12 bytes, an unused one is all NUL.
pub(super) fn old_entries(entries: &[u8], parts: &mut Vec<(u64, u64)>) -> Result<(), &'static str> {
    let mut ended = false;
    for entry in entries.chunks_exact(24) {
        if entry.iter().all(|&byte| byte == 0) {
            ended = true;
            continue;
        }
        let pair = number(&entry[..12]).zip(number(&entry[12..]));
        let pair =
            pair.and_then(|(offset, len)| u64::try_from(offset).ok().zip(u64::try_from(len).ok()));
        match pair {
            Some(pair) if !ended => parts.push(pair),
            _ => return Err("an entry is no pair of numbers"),
        }
    }
    Ok(())
}

/// The map of the old format as far as it lies in the header; `true` when extension blocks follow.
pub(super) fn old_header(
    block: &[u8; BLOCK],
    parts: &mut Vec<(u64, u64)>,
) -> Result<(u64, bool), &'static str> {
    old_entries(&block[386..482], parts)?;
    let size = number(&block[483..495])
        .and_then(|size| u64::try_from(size).ok())
        .ok_or("without the file's size")?;
    Ok((size, block[482] != 0))
}

/// An extension block of the old format; `true` when another follows.
pub(super) fn old_extension(
    block: &[u8; BLOCK],
    parts: &mut Vec<(u64, u64)>,
) -> Result<bool, &'static str> {
    old_entries(&block[..504], parts)?;
    Ok(block[504] != 0)
}

/// Digits, nothing else.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_joined_and_empty_ones_dropped() {
        let map = Map::new(
            vec![(0, 512), (512, 512), (4096, 10), (9000, 0)],
            9000,
            1034,
        )
        .expect("valid");
        assert_eq!(map.data, [0..1024, 4096..4106]);
    }

    #[test]
    fn maps_that_contradict_themselves_are_refused() {
        for (parts, size, stored) in [
            (vec![(512, 512), (0, 512)], 4096, 1024),
            (vec![(0, 512), (511, 512)], 4096, 1024),
            (vec![(0, 4097)], 4096, 4097),
            (vec![(u64::MAX, 2)], u64::MAX, 2),
            (vec![(0, 512)], 4096, 511),
            (vec![(0, 512)], 4096, 513),
            (vec![(5000, 0)], 4096, 0),
        ] {
            assert!(
                Map::new(parts.clone(), size, stored).is_err(),
                "{parts:?} {size} {stored}"
            );
        }
    }
}
