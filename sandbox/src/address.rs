//! Places and stretches of a slot, as types that carry what is known of them.
//!
//! | type | what is known |
//! |---|---|
//! | [`Claimed`] | nothing: a pointer as a guest handed it over |
//! | [`GuestAddr`] | it is an offset in a slot, which the host has computed |
//! | [`PageAligned`] | it is whole pages: a length, an offset in a slot or in a file |
//! | [`PageRange`] | it is pages of a slot: at least one, and all inside its 4 GiB |
//!
//! Whatever changes mappings takes a [`PageRange`], so that there is nothing left to check and nothing to fail. What
//! copies bytes takes a [`Claimed`] pointer, whoever names it: only the copy itself proves that there is memory.

use crate::sys::linux::PAGE;
use serde::{Deserialize, Serialize};

const PAGE_U64: u64 = PAGE as u64;
const PAGE_U32: u32 = 4096;
const _: () = assert!(PAGE_U32 as usize == PAGE);

/// Pages of a slot.
const SLOT_PAGES: u32 = 1 << 20;

/// A length in bytes that fits memory here and now.
pub(crate) const fn size(value: u64) -> usize {
    // Compiles where the two are of one size, which is where slots of 4 GiB exist.
    usize::from_le_bytes(value.to_le_bytes())
}

/// The low half of a register.
pub(crate) const fn low(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// A pointer that a guest claims to be one. That there is memory, and of which kind, is not proved: the copy routines
/// of [`crate::sys::guest::Region`] turn it into bytes, or into a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claimed(u32);

impl Claimed {
    /// The pointer in a register, whose high half is ignored.
    pub(crate) const fn in_register(value: u64) -> Claimed {
        Claimed(low(value))
    }

    pub(crate) const fn is_null(self) -> bool {
        self.0 == 0
    }

    /// The offset it names.
    pub(crate) const fn offset(self) -> usize {
        self.0 as usize
    }

    /// The pointer so many bytes further, unless that is past the slot's end.
    pub(crate) fn plus(self, bytes: u64) -> Option<Claimed> {
        let at = u64::from(self.0).checked_add(bytes)?;
        u32::try_from(at).ok().map(Claimed)
    }
}

impl From<GuestAddr> for Claimed {
    fn from(address: GuestAddr) -> Claimed {
        Claimed(address.0)
    }
}

/// An offset in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct GuestAddr(u32);

impl GuestAddr {
    pub(crate) const fn new(offset: u32) -> GuestAddr {
        GuestAddr(offset)
    }

    /// The offset, when it lies in a slot.
    pub(crate) fn checked(offset: u64) -> Option<GuestAddr> {
        u32::try_from(offset).ok().map(GuestAddr)
    }

    pub(crate) const fn get(self) -> u32 {
        self.0
    }

    /// The distance from the slot's base.
    pub(crate) const fn offset(self) -> usize {
        self.0 as usize
    }
}

impl From<GuestAddr> for u64 {
    fn from(address: GuestAddr) -> u64 {
        address.0.into()
    }
}

/// A number of bytes that is a multiple of the page size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct PageAligned(u64);

impl PageAligned {
    pub(crate) const ZERO: PageAligned = PageAligned(0);
    /// One page.
    pub(crate) const PAGE: PageAligned = PageAligned(PAGE_U64);

    /// The number, when it is a multiple of the page size.
    pub(crate) fn new(bytes: u64) -> Option<PageAligned> {
        bytes.is_multiple_of(PAGE_U64).then_some(PageAligned(bytes))
    }

    /// The next multiple, unless there is none.
    pub(crate) fn up(bytes: u64) -> Option<PageAligned> {
        bytes.checked_next_multiple_of(PAGE_U64).map(PageAligned)
    }

    /// The multiple at or below.
    pub(crate) const fn down(bytes: u64) -> PageAligned {
        PageAligned(bytes / PAGE_U64 * PAGE_U64)
    }

    /// So many pages.
    pub(crate) fn of_pages(pages: u32) -> PageAligned {
        PageAligned(u64::from(pages) * PAGE_U64)
    }

    pub(crate) const fn get(self) -> u64 {
        self.0
    }

    /// The same number, for memory here and now.
    pub(crate) const fn size(self) -> usize {
        size(self.0)
    }

    /// How many pages that is.
    pub(crate) const fn pages(self) -> usize {
        size(self.0 / PAGE_U64)
    }

    pub(crate) fn checked_add(self, other: PageAligned) -> Option<PageAligned> {
        self.0.checked_add(other.0).map(PageAligned)
    }

    pub(crate) fn checked_sub(self, other: PageAligned) -> Option<PageAligned> {
        self.0.checked_sub(other.0).map(PageAligned)
    }
}

/// Pages of a slot, one at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageRange {
    /// Number of the first page.
    first: u32,
    count: u32,
}

impl PageRange {
    /// All pages of a slot.
    pub(crate) const SLOT: PageRange = PageRange {
        first: 0,
        count: SLOT_PAGES,
    };

    /// The pages of `[start, start + len)`, which a constant names.
    pub(crate) const fn constant(start: u32, len: u32) -> PageRange {
        assert!(start.is_multiple_of(PAGE_U32) && len.is_multiple_of(PAGE_U32) && len > 0);
        let (first, count) = (start / PAGE_U32, len / PAGE_U32);
        assert!(first + count <= SLOT_PAGES);
        PageRange { first, count }
    }

    /// The page that holds this byte.
    pub(crate) const fn holding(address: GuestAddr) -> PageRange {
        PageRange {
            first: address.0 / PAGE_U32,
            count: 1,
        }
    }

    /// The pages from `start` to `end`, if there are any and they lie in a slot.
    pub(crate) fn new(start: PageAligned, end: PageAligned) -> Option<PageRange> {
        let first = u32::try_from(start.0 / PAGE_U64).ok()?;
        let end = u32::try_from(end.0 / PAGE_U64).ok()?;
        let count = end.checked_sub(first)?;
        (count > 0 && end <= SLOT_PAGES).then_some(PageRange { first, count })
    }

    /// The same, of numbers of which nothing is known.
    pub(crate) fn checked(start: u64, end: u64) -> Option<PageRange> {
        PageRange::new(PageAligned::new(start)?, PageAligned::new(end)?)
    }

    /// So many bytes from `start` on.
    pub(crate) fn at(start: PageAligned, len: PageAligned) -> Option<PageRange> {
        PageRange::new(start, start.checked_add(len)?)
    }

    /// Where it begins.
    pub(crate) fn start(self) -> PageAligned {
        PageAligned::of_pages(self.first)
    }

    /// One past its last byte.
    pub(crate) fn end(self) -> PageAligned {
        PageAligned::of_pages(self.first + self.count)
    }

    pub(crate) fn len(self) -> PageAligned {
        PageAligned::of_pages(self.count)
    }

    /// Its length, for memory here and now.
    pub(crate) fn size(self) -> usize {
        self.len().size()
    }

    /// Its first byte.
    pub(crate) const fn address(self) -> GuestAddr {
        GuestAddr(self.first * PAGE_U32)
    }

    /// How many pages there are.
    pub(crate) const fn count(self) -> u32 {
        self.count
    }

    /// Number of the first page, counted from the slot's base.
    pub(crate) const fn first(self) -> u32 {
        self.first
    }

    /// The first byte of each page.
    pub(crate) fn pages(self) -> impl DoubleEndedIterator<Item = GuestAddr> {
        (self.first..self.first + self.count).map(|page| GuestAddr(page * PAGE_U32))
    }

    /// Whether this byte lies in it.
    pub(crate) fn contains(self, offset: u64) -> bool {
        (self.start().0..self.end().0).contains(&offset)
    }

    /// Whether all of `other` lies in it.
    pub(crate) fn covers(self, other: PageRange) -> bool {
        self.first <= other.first && other.first + other.count <= self.first + self.count
    }

    /// Whether they have a page in common.
    pub(crate) fn overlaps(self, other: PageRange) -> bool {
        self.first < other.first + other.count && other.first < self.first + self.count
    }

    /// The pages that they have in common, if there are any.
    pub(crate) fn intersection(self, other: PageRange) -> Option<PageRange> {
        self.from(other.start())?.until(other.end())
    }

    /// The pages from this to the next range, both included; `next` does not begin before.
    pub(crate) fn through(self, next: PageRange) -> PageRange {
        let end = (self.first + self.count).max(next.first + next.count);
        PageRange {
            first: self.first,
            count: end - self.first,
        }
    }

    /// The part from `start` on, if there is any.
    pub(crate) fn from(self, start: PageAligned) -> Option<PageRange> {
        PageRange::new(self.start().max(start), self.end())
    }

    /// The part before `end`, if there is any.
    pub(crate) fn until(self, end: PageAligned) -> Option<PageRange> {
        PageRange::new(self.start(), self.end().min(end))
    }

    /// Appends it to a list in order, as one with the last when they touch or overlap.
    pub(crate) fn append_to(self, list: &mut Vec<PageRange>) {
        match list.last_mut() {
            Some(last) if self.first <= last.first + last.count => *last = last.through(self),
            _ => list.push(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> Option<PageRange> {
        PageRange::checked(start * PAGE_U64, end * PAGE_U64)
    }

    #[test]
    fn only_pages_of_a_slot_make_a_range() {
        let pages = u64::from(SLOT_PAGES);
        assert!(range(0, pages).is_some() && range(pages - 1, pages).is_some());
        for (start, end) in [
            (0, 0),
            (2, 1),
            (0, pages + 1),
            (pages, pages + 1),
            (1 << 32, (1 << 32) + 1),
        ] {
            assert_eq!(range(start, end), None, "{start} to {end}");
        }
        for (start, end) in [
            (1, PAGE_U64),
            (0, 1),
            (0, PAGE_U64 + 8),
            (0, u64::MAX),
            (u64::MAX - 4095, 0),
        ] {
            assert_eq!(PageRange::checked(start, end), None, "{start} to {end}");
        }
        let all = range(0, pages).expect("all of a slot");
        assert_eq!((all.size(), all.end().get()), (1 << 32, 1 << 32));
        let last = range(pages - 1, pages).expect("its last page");
        assert_eq!(last.address(), GuestAddr(0xFFFF_F000));
        assert_eq!(PageAligned::up(u64::MAX), None);
    }

    #[test]
    fn ranges_agree_with_sets_of_pages() {
        let pages = |range: PageRange| -> Vec<u64> {
            range.pages().map(|at| u64::from(at) / PAGE_U64).collect()
        };
        for (a, b, c, d) in (0..6 * 6 * 6 * 6).map(|n| (n % 6, n / 6 % 6, n / 36 % 6, n / 216)) {
            let (Some(one), Some(two)) = (range(a, b), range(c, d)) else {
                continue;
            };
            let (set, other) = (pages(one), pages(two));
            assert_eq!(set, (a..b).collect::<Vec<_>>());
            assert_eq!(one.covers(two), other.iter().all(|page| set.contains(page)));
            assert_eq!(
                one.overlaps(two),
                other.iter().any(|page| set.contains(page))
            );
            let from: Vec<u64> = set.iter().copied().filter(|page| *page >= c).collect();
            assert_eq!(one.from(two.start()).map(pages).unwrap_or_default(), from);
            let until: Vec<u64> = set.iter().copied().filter(|page| *page < c).collect();
            assert_eq!(one.until(two.start()).map(pages).unwrap_or_default(), until);
            let common: Vec<u64> = set.iter().copied().filter(|p| other.contains(p)).collect();
            assert_eq!(one.intersection(two).map(pages).unwrap_or_default(), common);
            if a <= c {
                let mut list = vec![one];
                two.append_to(&mut list);
                let mut both: Vec<u64> = set.iter().chain(&other).copied().collect();
                both.sort_unstable();
                both.dedup();
                let listed: Vec<u64> = list.iter().flat_map(|range| pages(*range)).collect();
                assert_eq!(listed, both);
                assert_eq!(list.len(), if c <= b { 1 } else { 2 });
            }
        }
    }

    #[test]
    fn claimed_pointers_stay_in_32_bits() {
        let pointer = Claimed::in_register(0xABCD_0000_FFFF_FFF0);
        assert_eq!(pointer.offset(), 0xFFFF_FFF0);
        assert_eq!(pointer.plus(15).map(Claimed::offset), Some(0xFFFF_FFFF));
        assert_eq!(pointer.plus(16), None);
        assert_eq!(pointer.plus(u64::MAX), None);
        assert!(Claimed::in_register(1 << 32).is_null());
    }
}
