//! Where a text stands in its slot, and where in a text something stands, changes no rule: texts at both ends of the slot,
//! and something wrong in each part of a long text. Case `limits-12-untested-bound`: bounds that could be dropped
//! without a failing test.

use std::num::NonZeroUsize;

use verifier::policy::{SLOT_END, ZONE};
use verifier::{Policy, Rule, verify, verify_on};

use crate::naive;
use crate::random::Random;

/// Bytes that an accepted instruction may touch from its address.
const ACCESS_MAX: u64 = 64;
/// The highest place of a text of one bundle.
const LAST_BUNDLE: u32 = 0xFFFE_FFE0;

/// The length of the instruction that [`load`] writes.
const LOAD_LEN: i64 = 6;

/// `movl disp(%rip), %eax`, filled up to a bundle.
fn load(disp: i32) -> [u8; 32] {
    let mut text = [0xCC; 32];
    text[..2].copy_from_slice(&[0x8B, 0x05]);
    text[2..6].copy_from_slice(&disp.to_le_bytes());
    text
}

/// The verdict on [`load`] from `base`; the slow twin must have the same.
fn verdict(base: u32, disp: i32) -> Result<(), Rule> {
    let text = load(disp);
    let ours = verify(&text, base, &Policy::DEFAULT, &[base]).map(|_| ());
    let twin = naive::verify(&text, base, &Policy::DEFAULT, None);
    assert_eq!(
        ours.as_ref().map_err(|refused| refused.address).err(),
        twin.err().map(|(_, address)| address),
        "base {base:#x}, displacement {disp:#x}"
    );
    ours.map_err(|refused| refused.rule)
}

/// The displacement that leads to `target`, if there is one.
fn displacement(base: u32, target: i64) -> Option<i32> {
    i32::try_from(target - i64::from(base) - LOAD_LEN).ok()
}

#[test]
fn targets_relative_to_rip_end_with_the_slot() {
    let first = i64::from(ZONE);
    let last = i64::try_from(SLOT_END - ACCESS_MAX).unwrap();
    let mut probed = [0; 2];
    for base in [
        ZONE,
        0x1000_0000,
        0x7FFF_0000,
        0x8000_0000,
        0xE000_0000,
        0xEFFF_0000,
        0xFFFE_0000,
        LAST_BUNDLE,
    ] {
        for target in [
            -1,
            0,
            first - 1,
            first,
            first + 1,
            last - 1,
            last,
            last + 1,
            (1 << 32) - 1,
            1 << 32,
            (1 << 32) + 0x5FFF_FFFF,
        ] {
            let Some(disp) = displacement(base, target) else {
                continue;
            };
            let expected = if (first..=last).contains(&target) {
                probed[0] += 1;
                Ok(())
            } else {
                probed[1] += 1;
                Err(Rule::Memory)
            };
            assert_eq!(verdict(base, disp), expected, "{base:#x} to {target:#x}");
        }
    }
    assert!(probed.iter().all(|count| *count >= 20), "{probed:?}");
}

#[test]
fn twin_agrees_wherever_a_text_stands() {
    let mut random = Random::new(3);
    let mut accepted = 0;
    let edges = [0, i64::from(ZONE), 0xFFFF_0000, 1 << 32];
    const ROUNDS: u32 = 20_000;
    for _ in 0..ROUNDS {
        let bundles = usize::try_from((LAST_BUNDLE - ZONE) / 32).unwrap();
        let base = ZONE + 32 * u32::try_from(random.below(bundles + 1)).unwrap();
        // Anywhere, or near an edge of the slot.
        let anywhere = i32::from_le_bytes([0; 4].map(|_: u8| random.byte()));
        let near = edges[random.below(edges.len())] + i64::try_from(random.below(256)).unwrap();
        let disp = match random.below(3) {
            0 => Some(anywhere),
            _ => displacement(base, near - 128),
        };
        accepted += u32::from(verdict(base, disp.unwrap_or(anywhere)).is_ok());
    }
    assert!(
        (ROUNDS / 10..ROUNDS * 9 / 10).contains(&accepted),
        "one-sided: {accepted} accepted"
    );
}

/// `jmp` from one index of a text to another.
fn jump(from: usize, to: usize) -> [u8; 5] {
    let distance = i32::try_from(to).unwrap() - i32::try_from(from + 5).unwrap();
    let [a, b, c, d] = distance.to_le_bytes();
    [0xE9, a, b, c, d]
}

#[test]
fn branches_are_held_to_starts_in_every_part_of_a_text() {
    /// The least that a thread of its own reads.
    const PART: usize = 1 << 19;
    const PARTS: usize = 6;
    const BASE: u32 = 0x2_0000;
    let mut text = vec![0xCC; PARTS * PART];
    // An immediate whose inside is no start.
    let immediate = |part: usize| part * PART + 0x8000;
    for part in 0..PARTS {
        text[immediate(part)..][..5].copy_from_slice(&[0xB8, 1, 2, 3, 4]);
    }
    let pairs = (0..PARTS).flat_map(|from| (0..PARTS).map(move |to| (from, to)));
    for (from, to) in pairs {
        let at = from * PART + 0x4000;
        let threads = NonZeroUsize::new(if from == to { 1 } else { PARTS }).unwrap();
        for (into, expected) in [(0, None), (1, Some(Rule::BranchTarget))] {
            text[at..at + 5].copy_from_slice(&jump(at, immediate(to) + into));
            let refused = verify_on(threads, &text, BASE, &Policy::DEFAULT, &[]).err();
            let named = refused.map(|refused| (refused.rule, refused.address));
            let blamed = expected.map(|rule| (rule, u64::from(BASE) + at as u64));
            assert_eq!(named, blamed, "part {from} to {to} + {into}");
        }
        text[at..at + 5].fill(0xCC);
    }
}

#[test]
fn branches_stay_in_the_text_wherever_it_stands() {
    for base in [ZONE, 0x7FFF_FFE0, 0x8000_0000, LAST_BUNDLE - 32] {
        for (from, to, is_inside) in [
            (0, 0, true),
            (0, 63, true),
            (32, 0, true),
            (0, 64, false),
            (0, -1, false),
            (32, 64, false),
            (32, -32, false),
        ] {
            let mut text = [0xCC_u8; 64];
            let distance: i32 = to - (i32::try_from(from).unwrap() + 5);
            text[from] = 0xE9;
            text[from + 1..from + 5].copy_from_slice(&distance.to_le_bytes());
            let verdict = verify(&text, base, &Policy::DEFAULT, &[base]).map_err(|r| r.rule);
            let expected = if is_inside {
                Ok(())
            } else {
                Err(Rule::BranchTarget)
            };
            assert_eq!(verdict.map(|_| ()), expected, "{base:#x}: {from} to {to}");
        }
    }
}
