//! Which pages every clean slot holds privately from its start, so that an instance need not fault for each.

use std::ops::Range;

/// Pages of a slot that an instance has written, in order.
#[derive(Debug, Default)]
pub struct WrittenPages(pub(crate) Vec<Range<u64>>);

/// The pages that at least `share` of the runs wrote, in order; a share of 0 is 1.
pub(crate) fn written_by(runs: &[WrittenPages], share: usize) -> Vec<Range<u64>> {
    let mut edges: Vec<(u64, i64)> = runs
        .iter()
        .flat_map(|run| &run.0)
        .flat_map(|range| [(range.start, 1), (range.end, -1)])
        .collect();
    edges.sort_unstable();
    let share = i64::try_from(share).unwrap_or(i64::MAX).max(1);
    let (mut depth, mut start) = (0, 0);
    let mut pages: Vec<Range<u64>> = Vec::new();
    for (at, step) in edges {
        let before = depth;
        depth += step;
        if before < share && depth >= share {
            start = at;
        } else if before >= share && depth < share && at > start {
            // An end sorts before a start at the same place.
            match pages.last_mut() {
                Some(last) if last.end == start => last.end = at,
                _ => pages.push(start..at),
            }
        }
    }
    pages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_says_how_many_runs_must_have_written_a_page() {
        let runs = [
            vec![0..4, 6..8],
            vec![2..4, 4..6],
            vec![3..5, 7..9, 20..21],
        ]
        .map(WrittenPages);
        let pages = |share| -> Vec<u64> {
            let ranges = written_by(&runs, share);
            assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
            ranges.into_iter().flatten().collect()
        };
        for share in 0..5 {
            let counted = (0..30).filter(|page| {
                let writers = runs
                    .iter()
                    .filter(|run| run.0.iter().any(|range| range.contains(page)));
                writers.count() >= share.max(1)
            });
            assert_eq!(pages(share), counted.collect::<Vec<u64>>(), "{share}");
        }
    }
}
