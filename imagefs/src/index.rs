//! Hash of the path index, shared by writer and reader.
//!
//! The hash of a path is folded over its components, `h(parent/name) = xxh3(name, seed = h(parent))`, so that checking
//! a whole index costs one hash of a name for each entry.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Hash of the name `name` in a directory whose path hashes to `parent`; the root hashes to the image's seed.
pub(crate) fn extend(parent: u64, name: &[u8]) -> u64 {
    xxh3_64_with_seed(name, parent)
}

/// Slots of an index of `entries` names: a power of two, at most seven eighths full.
pub(crate) fn slots(entries: usize) -> usize {
    (entries + entries / 7 + 1).next_power_of_two()
}

/// The slot where the search for a hash begins, among `slots`.
#[expect(
    clippy::cast_possible_truncation,
    reason = "masked below the table size"
)]
pub(crate) fn home(hash: u64, slots: usize) -> usize {
    hash as usize & (slots - 1)
}

/// What a slot keeps of a hash.
pub(crate) fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}
