//! The path index.

use super::{Strings, number};
use crate::error::Error;
use crate::format::{Dirent, Inode, NONE, PROBE_MAX, Slot};
use crate::index;

/// Tries seeds until no probe is longer than the format allows; the first one nearly always does.
pub(super) fn path_index(
    dirents: &[Dirent],
    inodes: &[Inode],
    strings: &Strings,
) -> Result<(Vec<Slot>, u32, u64), Error> {
    const SEEDS: u64 = 64;
    for seed in 0..SEEDS {
        let (slots, probe) = index_with(dirents, inodes, strings, seed);
        if probe <= PROBE_MAX {
            return Ok((slots, probe, seed));
        }
    }
    Err(Error::Limit {
        what: "length of a probe in the path index".into(),
        max: PROBE_MAX.into(),
    })
}

fn index_with(
    dirents: &[Dirent],
    inodes: &[Inode],
    strings: &Strings,
    seed: u64,
) -> (Vec<Slot>, u32) {
    let mut slots = vec![
        Slot {
            tag: 0.into(),
            dirent: NONE.into()
        };
        index::slots(dirents.len())
    ];
    let mask = slots.len() - 1;
    let mut hashes: Vec<u64> = Vec::with_capacity(dirents.len());
    let mut probe_max = 0;
    for (row, dirent) in dirents.iter().enumerate() {
        let parent = match dirent.parent.get() {
            0 => seed,
            dir => hashes[inodes[dir as usize].extra.get() as usize],
        };
        let name_off = dirent.name_off.get() as usize;
        let hash = index::extend(
            parent,
            &strings.bytes[name_off..name_off + usize::from(dirent.name_len.get())],
        );
        hashes.push(hash);
        let home = index::home(hash, slots.len());
        let mut probe = 0;
        while slots[(home + probe) & mask].dirent.get() != NONE {
            probe += 1;
        }
        slots[(home + probe) & mask] = Slot {
            tag: index::tag(hash).into(),
            dirent: number(row).into(),
        };
        probe_max = probe_max.max(number(probe));
    }
    (slots, probe_max)
}
