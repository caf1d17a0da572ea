//! Choosing the files that serve as dictionary for all others.
//!
//! A site repeats itself across files: minified and plain scripts, right-to-left style sheets, vendored libraries. One
//! frame a file loses that; one solid stream loses random access. Here the files that say most of what is repeated are
//! stored in one block of at most 8 MiB, and that block is the zstd dictionary of every other block.
//!
//! Choice: each file is seen as the set of its sampled 24-byte substrings (by a rolling hash, so the same text is
//! sampled wherever it stands). A substring is worth the number of other files that have it; files are taken greedily by
//! worth for each byte, each substring counted once.

use std::collections::BinaryHeap;

/// Length of the substrings that are compared. 12 to 48 were tried on WordPress: within half a percent.
const GRAM: usize = 24;
/// Samples over the whole tree are kept below about this many, to bound memory (8 bytes each, sorted once).
const SAMPLES_MAX: u64 = 4 << 20;
/// Sampling is never denser than one in 2⁶ positions.
const SAMPLE_SHIFT_MIN: u32 = 6;
/// Largest dictionary. 2, 4, 8, 16 MiB gave 9.05, 8.77, 8.38, 8.25 MB on WordPress's 49 MB of text.
pub(super) const DICTIONARY_MAX: u64 = 16 << 20;
/// The dictionary is at most this part of the text it serves.
const DICTIONARY_SHARE: u64 = 3;
/// With less text than this a dictionary is not worth its reading.
const TEXT_MIN: u64 = 512 << 10;
/// Multiplier of the rolling hash: odd, from the golden ratio.
const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

/// Takes samples of one tree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sampler {
    shift: u32,
}

impl Sampler {
    /// For a tree with about `bytes` of text.
    pub(super) fn new(bytes: u64) -> Sampler {
        let mut shift = SAMPLE_SHIFT_MIN;
        while bytes >> shift > SAMPLES_MAX {
            shift += 1;
        }
        Sampler { shift }
    }

    /// The sampled substrings of a file, sorted, each once.
    pub(super) fn grams(self, bytes: &[u8]) -> Vec<u32> {
        let mut found = Vec::with_capacity(bytes.len() >> self.shift);
        let mut oldest = 1u64;
        for _ in 1..GRAM {
            oldest = oldest.wrapping_mul(MULTIPLIER);
        }
        let mut hash = 0u64;
        for (at, &byte) in bytes.iter().enumerate() {
            if at >= GRAM {
                hash = hash.wrapping_sub((u64::from(bytes[at - GRAM]) + 1).wrapping_mul(oldest));
            }
            hash = hash
                .wrapping_mul(MULTIPLIER)
                .wrapping_add(u64::from(byte) + 1);
            if at + 1 >= GRAM {
                let mixed = (hash ^ (hash >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                if mixed >> (64 - self.shift) == 0 {
                    found.push(u32::try_from((mixed >> 20) & 0xFFFF_FFFF).expect("masked"));
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// A file that may enter the dictionary.
pub(super) struct Candidate {
    /// Size in bytes.
    pub(super) size: u64,
    /// Its samples.
    pub(super) grams: Vec<u32>,
}

/// Picks files for the dictionary of a tree with `text` bytes of compressible files. Returns indices in ascending order;
/// empty when a dictionary is not worth while.
pub(super) fn choose(candidates: &[Candidate], text: u64) -> Vec<usize> {
    if text < TEXT_MIN {
        return Vec::new();
    }
    let budget = DICTIONARY_MAX.min(text / DICTIONARY_SHARE);
    // (substring, file) pairs sorted by substring: runs are the files that share one.
    let mut pairs: Vec<(u32, u32)> = Vec::new();
    for (file, candidate) in candidates.iter().enumerate() {
        let file = u32::try_from(file).expect("fewer than 2^32 files");
        pairs.extend(candidate.grams.iter().map(|&gram| (gram, file)));
    }
    pairs.sort_unstable();
    let mut worth = vec![0u64; candidates.len()];
    let runs = || {
        pairs
            .chunk_by(|a, b| a.0 == b.0)
            .filter(|run| run.len() > 1)
    };
    for run in runs() {
        for &(_, file) in run {
            worth[file as usize] += run.len() as u64 - 1;
        }
    }
    let score = |worth: u64, size: u64| worth.saturating_mul(100_000) / (size + 200);
    let mut heap: BinaryHeap<(u64, std::cmp::Reverse<usize>)> = candidates
        .iter()
        .enumerate()
        .map(|(file, c)| (score(worth[file], c.size), std::cmp::Reverse(file)))
        .collect();
    let mut taken = Vec::new();
    let mut used = 0;
    let mut covered = vec![false; pairs.len()];
    while let Some((old, std::cmp::Reverse(file))) = heap.pop() {
        let size = candidates[file].size;
        let now = score(worth[file], size);
        if now < old {
            // Something taken since covers part of it.
            heap.push((now, std::cmp::Reverse(file)));
            continue;
        }
        if now == 0 {
            break;
        }
        if used + size > budget {
            continue;
        }
        used += size;
        taken.push(file);
        for &gram in &candidates[file].grams {
            let start = pairs.partition_point(|p| p.0 < gram);
            if std::mem::replace(&mut covered[start], true) {
                continue;
            }
            let run = pairs[start..].iter().take_while(|p| p.0 == gram);
            let others = run.clone().count() as u64 - 1;
            for &(_, other) in run {
                worth[other as usize] = worth[other as usize].saturating_sub(others);
            }
        }
    }
    taken.sort_unstable();
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(seed: u64, len: usize) -> Vec<u8> {
        let mut x = seed;
        let mut next = || {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            b'a' + u8::try_from((x >> 33) % 26).expect("below 26")
        };
        (0..len).map(|_| next()).collect()
    }

    fn candidate(bytes: &[u8]) -> Candidate {
        Candidate {
            size: bytes.len() as u64,
            grams: Sampler::new(1 << 20).grams(bytes),
        }
    }

    #[test]
    fn the_same_text_is_sampled_wherever_it_stands() {
        let shared = text(1, 10_000);
        let shifted = [text(2, 777), shared.clone()].concat();
        let sampler = Sampler::new(1 << 20);
        let of_shared = sampler.grams(&shared);
        assert!(of_shared.len() > 50);
        let of_shifted = sampler.grams(&shifted);
        assert!(
            of_shared
                .iter()
                .all(|gram| of_shifted.binary_search(gram).is_ok())
        );
    }

    #[test]
    fn files_that_others_repeat_are_chosen_once() {
        let shared = text(1, 20_000);
        let files = [text(2, 20_000), shared.clone(), shared, text(3, 20_000)];
        let candidates: Vec<Candidate> = files.iter().map(|f| candidate(f)).collect();
        assert_eq!(choose(&candidates, 1 << 20), [1]);
    }

    #[test]
    fn a_file_that_is_covered_already_does_not_end_the_choice() {
        // The twin of the most repeated text loses all its worth once that is taken; the other pair must still follow.
        let (most, other) = (text(1, 20_000), text(2, 30_000));
        let files = [most.clone(), most.clone(), most, other.clone(), other];
        let candidates: Vec<Candidate> = files.iter().map(|f| candidate(f)).collect();
        assert_eq!(choose(&candidates, 1 << 20), [0, 3]);
    }

    #[test]
    fn little_text_gets_no_dictionary() {
        let shared = text(1, 20_000);
        let candidates = [candidate(&shared), candidate(&shared)];
        assert_eq!(choose(&candidates, 40_000), [0usize; 0]);
    }
}
