//! The verifier and its slow twin on random texts: the same verdict, blamed on the same place,
//! under every bundle size, number of traps and set of features.

use verifier::{Bundle, Features, Policy, verify};

use crate::naive;
use crate::random::Random;

const BASE: u32 = 0x2_0000;

/// Pieces of code, whole macros among them; a mutation away from each lies what is refused.
const PIECES: &[&[u8]] = &[
    &[0x90],
    &[0xCC],
    &[0xC3],
    &[0x0F, 0x1F, 0x40, 0x00],
    &[0x66, 0x2E, 0x0F, 0x1F, 0x84, 0, 0, 0, 0, 0],
    &[0x89, 0xD8],
    &[0x48, 0x89, 0xEE],
    &[0x65, 0x67, 0x8B, 0x43, 0x18],
    &[0x65, 0x67, 0x4A, 0x8B, 0x04, 0xE7],
    &[0x65, 0x8B, 0x04, 0x25, 0x00, 0xF0, 0x01, 0x00],
    &[0x48, 0x8B, 0x05, 0x00, 0x10, 0x00, 0x00],
    &[0x48, 0x8D, 0x7B, 0x20],
    &[0x41, 0x0F, 0xB6, 0xC9],
    &[0x40, 0x88, 0xEE],
    &[0x0F, 0x94, 0xC0],
    &[0xF3, 0x0F, 0xBC, 0xC3],
    &[0xF3, 0x0F, 0xBD, 0xC3],
    &[0x66, 0x0F, 0x6F, 0xC1],
    &[0xF2, 0x0F, 0x58, 0xC1],
    &[0xD9, 0xC9],
    &[0x0F, 0xBA, 0xE0, 0x07],
    &[0x87, 0xCA],
    &[0x74, 0x00],
    &[0xEB, 0xFE],
    &[0xE8, 0, 0, 0, 0],
    &[0x0F, 0x85, 0xE0, 0xFF, 0xFF, 0xFF],
    &[0x83, 0xE0, 0xE0, 0x4C, 0x01, 0xF0, 0xFF, 0xE0],
    &[0x83, 0xE1, 0xF0, 0x4C, 0x01, 0xF1, 0xFF, 0xD1],
    &[0x41, 0x83, 0xE3, 0xC0, 0x4D, 0x01, 0xF3, 0x41, 0xFF, 0xE3],
    &[0x41, 0x83, 0xE4, 0xE0, 0x4D, 0x01, 0xF4, 0x41, 0xFF, 0xD4],
    &[0x41, 0xFF, 0x96, 0x00, 0xF0, 0x00, 0x00],
    &[0x41, 0xFF, 0x96, 0x10, 0xF0, 0x00, 0x00],
    &[0x89, 0xFF, 0x49, 0x8D, 0x3C, 0x3E, 0xF3, 0x48, 0xAB],
    &[
        0x89, 0xFF, 0x49, 0x8D, 0x3C, 0x3E, 0x89, 0xF6, 0x49, 0x8D, 0x34, 0x36, 0xA4,
    ],
];

/// A text of whole bundles; most have a few bytes changed.
fn text(random: &mut Random, policy: &Policy) -> Vec<u8> {
    let bundle = policy.bundle().size() as usize;
    let mut text: Vec<u8> = Vec::new();
    let len = bundle * (1 + random.below(4));
    while text.len() < len {
        let piece = PIECES[random.below(PIECES.len())];
        // Mostly what this policy accepts by itself.
        let mut alone = vec![0x90; bundle];
        alone[..piece.len().min(bundle)].copy_from_slice(&piece[..piece.len().min(bundle)]);
        if verify(&alone, BASE, policy, &[]).is_err() && random.below(16) != 0 {
            continue;
        }
        let room = bundle - text.len() % bundle;
        // Now and then across the end of a bundle.
        if piece.len() > room && random.below(8) != 0 {
            text.extend(vec![0x90; room]);
        } else {
            text.extend(piece);
        }
    }
    text.truncate(len);
    for _ in 0..random.below(3) {
        let at = random.below(len);
        text[at] = match random.below(3) {
            0 => random.byte(),
            1 => text[at] ^ 1 << random.below(8),
            _ => text[(at + 1) % len],
        };
    }
    text
}

#[test]
fn verifier_and_twin_agree_on_random_texts() {
    let mut random = Random::new(2);
    let mut accepted = 0;
    for _ in 0..100_000 {
        let bundle = [Bundle::B16, Bundle::B32, Bundle::B64][random.below(3)];
        let features = Features {
            tzcnt: random.below(2) == 0,
            lzcnt: random.below(2) == 0,
        };
        let traps = [0, 1, 3][random.below(3)];
        let policy = Policy::new(bundle, traps, features).expect("few traps");
        let text = text(&mut random, &policy);
        let ours = verify(&text, BASE, &policy, &[BASE])
            .map(|_| ())
            .map_err(|r| r.address);
        let twin = naive::verify(&text, BASE, &policy, None).map_err(|(_, address)| address);
        assert_eq!(ours, twin, "{policy:?}\n{text:02x?}");
        accepted += u32::from(ours.is_ok());
    }
    assert!(
        (10_000..90_000).contains(&accepted),
        "one-sided texts: {accepted} accepted"
    );
}
