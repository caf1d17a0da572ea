//! What an instance has read of its trees, when somebody asked for it: names that it found and names that
//! it did not, listings, facts, links and pages. What it made itself is not in it: a name or a page of its own
//! never reaches a tree.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Most entries kept; with more, everything counts as read. A name is at most 255 bytes, so that a set takes
/// less than 32 MiB.
const ENTRIES_MAX: usize = 1 << 16;

const PAGE: u64 = 4096;

/// One thing that was read, of the tree at `mount`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Read {
    /// Where the tree is mounted.
    pub mount: Arc<[u8]>,
    /// The number of the file or directory in it.
    pub inode: u32,
    /// What was read of that.
    pub what: What,
}

/// What was read of a file or directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// What a name in it leads to; nothing when it was not there.
    Name(Vec<u8>, Option<u32>),
    /// All names in it.
    Listing,
    /// Its permissions, times, links and length.
    Facts,
    /// Its length.
    Size,
    /// Where it points.
    Link,
    /// These of its 4 KiB pages. All of what was mapped counts.
    Pages {
        /// The number of the first.
        first: u64,
        /// One past that of the last.
        end: u64,
    },
}

/// What an instance has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadSet {
    /// These, in order.
    These(Vec<Read>),
    /// More than is kept: it counts as having read everything.
    Everything,
}

/// A tree's number and a node's.
type Place = (u8, u32);

/// What has been read up to now.
#[derive(Debug, Default)]
pub(super) struct Reads {
    is_everything: bool,
    entries: usize,
    names: BTreeMap<Place, BTreeMap<Vec<u8>, Option<u32>>>,
    others: BTreeSet<(u8, u32, What)>,
    /// Starts and ends of stretches that neither touch nor overlap.
    pages: BTreeMap<Place, BTreeMap<u64, u64>>,
}

impl Reads {
    pub(super) fn name(&mut self, directory: Place, name: &[u8], found: Option<u32>) {
        if self.is_everything {
            return;
        }
        let names = self.names.entry(directory).or_default();
        if !names.contains_key(name) {
            names.insert(name.to_vec(), found);
            self.count();
        }
    }

    /// Notes anything but a name or a page.
    pub(super) fn note(&mut self, (tree, node): Place, what: What) {
        if !self.is_everything && self.others.insert((tree, node, what)) {
            self.count();
        }
    }

    /// Notes `len` bytes from `offset`.
    pub(super) fn bytes(&mut self, file: Place, offset: u64, len: u64) {
        if len == 0 || self.is_everything {
            return;
        }
        let mut start = offset / PAGE;
        let mut end = offset.saturating_add(len).div_ceil(PAGE);
        let stretches = self.pages.entry(file).or_default();
        let before = stretches.len();
        if let Some((first, last)) = stretches.range(..=start).next_back()
            && *last >= start
        {
            (start, end) = (*first, end.max(*last));
        }
        while let Some((next, last)) = stretches.range(start..=end).next() {
            let (next, last) = (*next, *last);
            end = end.max(last);
            stretches.remove(&next);
        }
        if let Entry::Vacant(place) = stretches.entry(start) {
            place.insert(end);
        }
        if stretches.len() > before {
            self.count();
        }
    }

    fn count(&mut self) {
        self.entries += 1;
        if self.entries > ENTRIES_MAX {
            *self = Reads {
                is_everything: true,
                ..Reads::default()
            };
        }
    }

    /// The set, with the paths of the trees by their numbers.
    pub(super) fn set<'a>(&self, paths: impl Iterator<Item = &'a [u8]>) -> ReadSet {
        if self.is_everything {
            return ReadSet::Everything;
        }
        let mounts: Vec<Arc<[u8]>> = paths.map(Arc::from).collect();
        let read = |(tree, inode): Place, what| Read {
            mount: Arc::clone(&mounts[usize::from(tree)]),
            inode,
            what,
        };
        let names = self.names.iter().flat_map(|(place, names)| {
            let name = |(name, found): (&Vec<u8>, &Option<u32>)| What::Name(name.clone(), *found);
            names.iter().map(move |entry| (*place, name(entry)))
        });
        let pages = self.pages.iter().flat_map(|(place, stretches)| {
            let pages = |(first, end): (&u64, &u64)| What::Pages {
                first: *first,
                end: *end,
            };
            stretches.iter().map(move |entry| (*place, pages(entry)))
        });
        let others = self.others.iter();
        let others = others.map(|(tree, node, what)| ((*tree, *node), what.clone()));
        let all = names.chain(pages).chain(others);
        let mut all: Vec<Read> = all.map(|(place, what)| read(place, what)).collect();
        all.sort();
        ReadSet::These(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(reads: &Reads) -> Vec<(u64, u64)> {
        let of = reads.pages.get(&(0, 1)).into_iter().flatten();
        of.map(|(start, end)| (*start, *end)).collect()
    }

    #[test]
    fn stretches_of_pages_are_joined() {
        let mut reads = Reads::default();
        let mut naive = BTreeSet::new();
        let mut seed = 5_u64;
        for _ in 0..2_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (at, len) = ((seed >> 33) % 1_000_000, (seed >> 13) % 9_000);
            reads.bytes((0, 1), at, len);
            if len > 0 {
                naive.extend(at / PAGE..(at + len).div_ceil(PAGE));
            }
            let got = pages(&reads);
            let all: BTreeSet<u64> = got.iter().flat_map(|(start, end)| *start..*end).collect();
            assert!(all == naive);
            assert!(got.windows(2).all(|pair| pair[0].1 < pair[1].0), "{got:?}");
        }
    }

    #[test]
    fn too_much_is_everything() {
        let mut reads = Reads::default();
        for number in 0..u32::try_from(ENTRIES_MAX).unwrap() {
            reads.name((0, 0), &number.to_le_bytes(), None);
        }
        let paths = || std::iter::once(&b"/"[..]);
        assert!(matches!(reads.set(paths()), ReadSet::These(all) if all.len() == ENTRIES_MAX));
        reads.name((0, 0), &[0; 4], None);
        assert!(
            matches!(reads.set(paths()), ReadSet::These(_)),
            "known already"
        );
        reads.note((0, 0), What::Facts);
        assert_eq!(reads.set(paths()), ReadSet::Everything);
        reads.name((0, 0), b"more", None);
        assert_eq!(reads.set(paths()), ReadSet::Everything);
    }
}
