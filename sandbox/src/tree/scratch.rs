//! An instance's own files: sparse, in pages, perhaps over a file of a tree.
//!
//! Pages are shared with the snapshot until they are written, so that cloning scratch costs a
//! reference count a page.

use crate::sys::linux::PAGE;
use std::collections::BTreeMap;
use std::sync::Arc;

const PAGE_U64: u64 = PAGE as u64;

/// Where in its page a byte of a file lies.
fn within_page(position: u64) -> usize {
    usize::try_from(position % PAGE_U64).expect("below a page")
}

/// Largest file: offsets stay far from the edge of what arithmetic and `off_t` can hold.
pub(crate) const FILE_SIZE_MAX: u64 = 1 << 40;

/// A regular file of an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ScratchFile {
    size: u64,
    /// How many bytes of the file it was copied from still show through where no page is.
    base_len: u64,
    pages: BTreeMap<u64, Arc<[u8; PAGE]>>,
}

impl ScratchFile {
    /// A private copy of a file of `len` bytes, sharing all of them.
    pub(crate) fn over(len: u64) -> ScratchFile {
        ScratchFile {
            size: len,
            base_len: len,
            pages: BTreeMap::new(),
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Memory the pages take.
    pub(crate) fn bytes(&self) -> u64 {
        self.pages.len() as u64 * PAGE_U64
    }

    /// Reads from `offset`, at most `buffer`; `base` reads the file underneath.
    pub(crate) fn read_at(
        &self,
        offset: u64,
        buffer: &mut [u8],
        mut base: impl FnMut(u64, &mut [u8]) -> Result<usize, i32>,
    ) -> Result<usize, i32> {
        let rest = self.size.saturating_sub(offset);
        let len = buffer
            .len()
            .min(usize::try_from(rest).unwrap_or(usize::MAX));
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let into = within_page(at);
            let count = (PAGE - into).min(len - done);
            let part = &mut buffer[done..done + count];
            match self.pages.get(&(at / PAGE_U64)) {
                Some(page) => part.copy_from_slice(&page[into..into + count]),
                None => read_base(self.base_len, at, part, &mut base)?,
            }
            done += count;
        }
        Ok(done)
    }

    /// Writes `bytes` at `offset`. The caller has checked that new pages are within the limit.
    pub(crate) fn write_at(
        &mut self,
        offset: u64,
        bytes: &[u8],
        mut base: impl FnMut(u64, &mut [u8]) -> Result<usize, i32>,
    ) -> Result<(), i32> {
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let into = within_page(at);
            let count = (PAGE - into).min(bytes.len() - done);
            let index = at / PAGE_U64;
            if !self.pages.contains_key(&index) {
                let mut page = [0; PAGE];
                if count < PAGE {
                    read_base(self.base_len, index * PAGE_U64, &mut page, &mut base)?;
                }
                self.pages.insert(index, Arc::new(page));
            }
            let page = self.pages.get_mut(&index).expect("just inserted");
            Arc::make_mut(page)[into..into + count].copy_from_slice(&bytes[done..done + count]);
            done += count;
        }
        self.size = self.size.max(offset + bytes.len() as u64);
        Ok(())
    }

    /// How many new pages writing `len` bytes at `offset` takes.
    pub(crate) fn new_pages(&self, offset: u64, len: u64) -> u64 {
        if len == 0 {
            return 0;
        }
        let (first, last) = (offset / PAGE_U64, (offset + len - 1) / PAGE_U64);
        let there = self.pages.range(first..=last).count() as u64;
        last - first + 1 - there
    }

    /// Makes the file `size` bytes long; bytes beyond the old end read as zeroes.
    pub(crate) fn truncate(&mut self, size: u64) {
        if size < self.size {
            self.pages.split_off(&size.div_ceil(PAGE_U64));
            self.base_len = self.base_len.min(size);
            let into = within_page(size);
            if into > 0
                && let Some(page) = self.pages.get_mut(&(size / PAGE_U64))
            {
                Arc::make_mut(page)[into..].fill(0);
            }
        }
        self.size = size;
    }
}

/// What makes one file of another: how much of it stays, and the pages that differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patch {
    /// So many of the first bytes stay as they were where no page is given.
    pub kept: u64,
    /// Length of the file.
    pub size: u64,
    /// Pages by number; bytes beyond `kept` that lie in none are zeroes, a hole.
    pub pages: BTreeMap<u64, Arc<[u8; PAGE]>>,
}

impl ScratchFile {
    /// What makes this file of an earlier state, or of the file underneath; nothing when it is the same.
    pub(crate) fn since(&self, start: Option<&ScratchFile>) -> Option<Patch> {
        let Some(start) = start else {
            let kept = self.base_len.min(self.size);
            return Some(Patch {
                kept,
                ..self.whole()
            });
        };
        if self == start {
            return None;
        }
        let is_new = |(at, page): &(&u64, &Arc<[u8; PAGE]>)| {
            !(start.pages.get(*at)).is_some_and(|earlier| Arc::ptr_eq(earlier, page))
        };
        let new = self.pages.iter().filter(is_new);
        // Only cutting a file takes pages away, or hides more of what lies underneath.
        let lost = start.pages.keys().find(|at| !self.pages.contains_key(at));
        let mut kept = lost.map_or(start.size, |at| at * PAGE_U64);
        if self.base_len < start.base_len {
            kept = kept.min(self.base_len);
        }
        Some(Patch {
            kept: kept.min(self.size),
            size: self.size,
            pages: new.map(|(at, page)| (*at, Arc::clone(page))).collect(),
        })
    }

    /// The file as a patch of nothing.
    pub(crate) fn whole(&self) -> Patch {
        Patch {
            kept: 0,
            size: self.size,
            pages: self.pages.clone(),
        }
    }

    /// Applies a patch, whose pages lie before its end.
    pub(crate) fn patch(&mut self, patch: &Patch) {
        if patch.kept < self.size {
            self.truncate(patch.kept);
        }
        self.truncate(patch.size);
        for (at, page) in &patch.pages {
            self.pages.insert(*at, Arc::clone(page));
        }
        // What lies behind the end shows when the file grows: it is zero, whatever the page says.
        let into = within_page(patch.size);
        if into > 0
            && let Some(page) = self.pages.get_mut(&(patch.size / PAGE_U64))
            && page[into..].iter().any(|byte| *byte != 0)
        {
            Arc::make_mut(page)[into..].fill(0);
        }
    }
}

/// Fills `part` with the file underneath as far as `base_len`, then zeroes.
fn read_base(
    base_len: u64,
    at: u64,
    part: &mut [u8],
    base: &mut impl FnMut(u64, &mut [u8]) -> Result<usize, i32>,
) -> Result<(), i32> {
    let shown = usize::try_from(base_len.saturating_sub(at))
        .unwrap_or(usize::MAX)
        .min(part.len());
    let mut done = 0;
    while done < shown {
        let count = base(at + done as u64, &mut part[done..shown])?;
        if count == 0 {
            break;
        }
        done += count;
    }
    part[done..].fill(0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_base(_: u64, _: &mut [u8]) -> Result<usize, i32> {
        panic!("nothing lies underneath")
    }

    #[test]
    fn file_agrees_with_a_plain_vector() {
        let original: Vec<u8> = (0..10_000_u32).map(|i| i.to_le_bytes()[0]).collect();
        let base = |offset: u64, buffer: &mut [u8]| {
            let rest = &original[usize::try_from(offset).unwrap()..];
            // Short answers on purpose.
            let count = rest.len().min(buffer.len()).min(700);
            buffer[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        };
        let mut file = ScratchFile::over(original.len() as u64);
        let mut twin = original.clone();
        let mut seed = 1_u64;
        let mut random = move |max: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % max
        };
        for round in 0..2_000_u32 {
            let at = random(20_000);
            let len = usize::try_from(random(9_000)).unwrap();
            let from = usize::try_from(at).unwrap();
            match random(3) {
                0 => {
                    let bytes = vec![round.to_le_bytes()[0] | 1; len];
                    let before = file.bytes();
                    let grow = file.new_pages(at, len as u64);
                    file.write_at(at, &bytes, base).unwrap();
                    assert_eq!(file.bytes(), before + grow * PAGE_U64);
                    twin.resize(twin.len().max(from + len), 0);
                    twin[from..from + len].copy_from_slice(&bytes);
                }
                1 => {
                    file.truncate(at);
                    twin.resize(from, 0);
                }
                _ => {
                    let mut got = vec![0xEE; len];
                    let count = file.read_at(at, &mut got, base).unwrap();
                    let want = &twin[from.min(twin.len())..(from + len).min(twin.len())];
                    assert_eq!(&got[..count], want, "round {round}");
                }
            }
            assert_eq!(file.size(), twin.len() as u64);
        }
    }

    #[test]
    fn shrinking_and_growing_shows_zeroes() {
        let mut file = ScratchFile::default();
        file.write_at(0, &[7; 100], no_base).unwrap();
        file.truncate(10);
        file.truncate(100);
        let mut got = [1; 100];
        assert_eq!(file.read_at(0, &mut got, no_base), Ok(100));
        assert_eq!(&got[..10], &[7; 10]);
        assert_eq!(&got[10..], &[0; 90]);
    }
}
