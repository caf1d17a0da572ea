//! Which pages every clean slot holds privately from its start, so that an instance need not fault for each.

use crate::address::PageRange;

/// Pages that every clean slot holds at most, 32 MiB: each slot keeps them resident, and each reset writes them again.
pub(crate) const PAGES_MAX: u64 = 8192;

/// Pages of a slot that an instance has written, in order.
#[derive(Debug, Default)]
pub struct WrittenPages(pub(crate) Vec<PageRange>);

/// The pages that any of the runs wrote, in order.
pub(crate) fn written_by(runs: &[WrittenPages]) -> Vec<PageRange> {
    let mut all: Vec<PageRange> = runs.iter().flat_map(|run| run.0.iter().copied()).collect();
    all.sort_unstable_by_key(|range| range.first());
    let mut pages = Vec::new();
    for range in all {
        range.append_to(&mut pages);
    }
    pages
}

/// Pages of all ranges together.
pub(crate) fn pages(ranges: &[PageRange]) -> u64 {
    ranges.iter().map(|range| u64::from(range.count())).sum()
}

/// As many ranges from the first on as may be hot.
pub(crate) fn bounded(mut ranges: Vec<PageRange>) -> Vec<PageRange> {
    let mut pages = 0;
    let within = ranges.iter().take_while(|range| {
        pages += u64::from(range.count());
        pages <= PAGES_MAX
    });
    ranges.truncate(within.count());
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::PageAligned;

    #[test]
    fn hot_pages_are_bounded() {
        let range = |start, count| {
            PageRange::new(
                PageAligned::of_pages(start),
                PageAligned::of_pages(start + count),
            )
        };
        let half = u32::try_from(PAGES_MAX / 2).unwrap();
        let ranges: Vec<PageRange> = [range(0, half), range(2 * half, half), range(4 * half, 1)]
            .into_iter()
            .flatten()
            .collect();
        assert_eq!(bounded(ranges.clone()), ranges[..2]);
        assert_eq!(pages(&ranges), PAGES_MAX + 1);
    }

    #[test]
    fn pages_of_all_runs_are_there_once() {
        let ranges = |pages: &[[u32; 2]]| -> Vec<PageRange> {
            let edge = PageAligned::of_pages;
            let range = |[start, end]: &[u32; 2]| PageRange::new(edge(*start), edge(*end));
            pages.iter().filter_map(range).collect()
        };
        let runs = [
            ranges(&[[0, 4], [6, 8], [30, 40]]),
            ranges(&[[2, 4], [4, 6], [31, 33]]),
            ranges(&[[3, 5], [10, 12], [20, 21]]),
        ]
        .map(WrittenPages);
        let all = ranges(&[[0, 8], [10, 12], [20, 21], [30, 40]]);
        assert_eq!((written_by(&runs), all.len()), (all, 4));
        assert_eq!(written_by(&[]), []);
    }
}
