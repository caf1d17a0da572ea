//! Which pages every clean slot holds privately from its start, so that an instance need not fault for each.

use std::ops::Range;

/// Pages of a slot that an instance has written, in order.
#[derive(Debug, Default)]
pub struct WrittenPages(pub(crate) Vec<Range<u64>>);

/// The pages that any of the runs wrote, in order.
pub(crate) fn written_by(runs: &[WrittenPages]) -> Vec<Range<u64>> {
    let mut all: Vec<Range<u64>> = runs.iter().flat_map(|run| run.0.iter().cloned()).collect();
    all.sort_unstable_by_key(|range| range.start);
    let mut pages: Vec<Range<u64>> = Vec::new();
    for range in all {
        match pages.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => pages.push(range),
        }
    }
    pages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_all_runs_are_there_once() {
        let runs = [
            vec![0..4, 6..8, 30..40],
            vec![2..4, 4..6, 31..33],
            vec![3..5, 10..12, 20..21],
        ]
        .map(WrittenPages);
        assert_eq!(written_by(&runs), [0..8, 10..12, 20..21, 30..40]);
        assert_eq!(written_by(&[]), []);
    }
}
