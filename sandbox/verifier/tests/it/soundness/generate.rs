//! Pages of random code that the verifier accepts.
//!
//! A page is 128 bundles of instructions drawn from a pool of random accepted encodings, macros,
//! traps, returns and branches. Some bundles are then mutated; what the verifier refuses of that is
//! put back, so what remains are the mutations it let through.

use iced_x86::{Decoder, DecoderOptions, OpKind};
use verifier::{Policy, Rule, verify};

use crate::random::Random;

pub(super) const BASE: u32 = 0x2_0000;
pub(super) const PAGE: usize = 4096;
const BUNDLE: usize = 32;
const POOL: usize = 20_000;

/// A bundle to start a sequence at.
pub(super) struct Bundle {
    pub(super) offset: usize,
    pub(super) mutated: bool,
}

/// Accepted code.
pub(super) struct Page {
    pub(super) text: Vec<u8>,
    pub(super) bundles: Vec<Bundle>,
}

/// Makes pages.
pub(super) struct Generator {
    pool: Vec<Vec<u8>>,
}

impl Generator {
    pub(super) fn new(random: &mut Random) -> Generator {
        let pool = (0..POOL).map(|_| accepted_encoding(random)).collect();
        Generator { pool }
    }

    /// The next page; a part of the pool is renewed each time.
    pub(super) fn page(&mut self, random: &mut Random, policy: &Policy) -> Page {
        for _ in 0..32 {
            let old = random.below(POOL);
            self.pool[old] = accepted_encoding(random);
        }
        let clean: Vec<u8> = (0..PAGE / BUNDLE)
            .flat_map(|_| self.bundle(random))
            .collect();
        let mut text = clean.clone();
        let mut mutated = [false; PAGE / BUNDLE];
        for (number, mutated) in mutated.iter_mut().enumerate() {
            let place = number * BUNDLE..(number + 1) * BUNDLE;
            for _ in 0..3 {
                mutate(&mut text[place.clone()], random);
                // What only the rest of the page can decide is decided below.
                *mutated = match verify(&text[place.clone()], BASE, policy, &[]) {
                    Ok(_) => true,
                    Err(r) => matches!(r.rule, Rule::BranchTarget | Rule::LastCall),
                };
                if *mutated {
                    break;
                }
                text[place.clone()].copy_from_slice(&clean[place.clone()]);
            }
        }
        // Take back what is refused: first to the unmutated bundle, then to nothing but faults.
        let mut take_back = |number: usize, text: &mut Vec<u8>| {
            let place = number * BUNDLE..(number + 1) * BUNDLE;
            if std::mem::take(&mut mutated[number]) {
                text[place.clone()].copy_from_slice(&clean[place]);
            } else {
                text[place].fill(0xCC);
            }
        };
        // Most of that are branches to nowhere, which are found faster than by the verifier.
        loop {
            let strays = strays(&text);
            if strays.is_empty() {
                break;
            }
            for number in strays {
                take_back(number, &mut text);
            }
        }
        while let Err(rejection) = verify(&text, BASE, policy, &[]) {
            let at = usize::try_from(rejection.address).expect("in the page") - BASE as usize;
            take_back(at / BUNDLE, &mut text);
        }
        let bundles = (0..PAGE / BUNDLE)
            .filter(|n| text[n * BUNDLE] != 0xCC)
            .map(|n| Bundle {
                offset: n * BUNDLE,
                mutated: mutated[n]
                    && text[n * BUNDLE..][..BUNDLE] != clean[n * BUNDLE..][..BUNDLE],
            })
            .collect();
        Page { text, bundles }
    }

    /// One bundle of instructions and macros; branches go to bundle starts.
    fn bundle(&self, random: &mut Random) -> Vec<u8> {
        let mut bytes: Vec<u8> = Vec::new();
        loop {
            let next = match random.below(24) {
                0 => indirect(random),
                1 => string(random),
                2 => vec![0x41, 0xFF, 0x96, 0x00, 0xF0, 0x00, 0x00],
                3 => vec![0xC3],
                4 | 5 => branch(random, bytes.len()),
                6 | 7 => confined_move(random),
                _ => self.pool[random.below(POOL)].clone(),
            };
            if bytes.len() + next.len() > BUNDLE {
                break;
            }
            bytes.extend(next);
        }
        bytes.resize(BUNDLE, 0x90);
        bytes
    }
}

/// The bundles with a direct branch to where no instruction starts. Only a hint: parts of macros count
/// as instructions here.
fn strays(text: &[u8]) -> Vec<usize> {
    let mut starts = vec![false; text.len()];
    let mut branches = Vec::new();
    let mut decoder = Decoder::new(64, text, DecoderOptions::NONE);
    while decoder.can_decode() {
        let at = decoder.position();
        starts[at] = true;
        let instruction = decoder.decode();
        if instruction.op0_kind() == OpKind::NearBranch64 {
            branches.push((at, instruction.near_branch64()));
        }
    }
    let is_start =
        |target: u64| usize::try_from(target).is_ok_and(|target| starts.get(target) == Some(&true));
    let mut strays: Vec<usize> = branches
        .into_iter()
        .filter(|(_, target)| !is_start(*target))
        .map(|(at, _)| at / BUNDLE)
        .collect();
    strays.dedup();
    strays
}

/// A random encoding that the verifier accepts by itself.
fn accepted_encoding(random: &mut Random) -> Vec<u8> {
    const PREFIXES: [&[u8]; 12] = [
        &[],
        &[],
        &[0x66],
        &[0xF2],
        &[0xF3],
        &[0x65, 0x67],
        &[0x65, 0x67],
        &[0x65, 0x67, 0x66],
        &[0x65, 0x67, 0xF2],
        &[0x65, 0x67, 0xF3],
        &[0x65],
        &[0x67],
    ];
    loop {
        let mut bytes = PREFIXES[random.below(PREFIXES.len())].to_vec();
        if random.below(2) == 0 {
            bytes.push(0x40 | random.byte() & 15);
        }
        match random.below(6) {
            0 | 1 => bytes.push(0x0F),
            2 => bytes.extend([0x0F, 0x38]),
            3 => bytes.extend([0x0F, 0x3A]),
            _ => {}
        }
        while bytes.len() < 15 {
            bytes.push(random.byte());
        }
        let instruction =
            Decoder::with_ip(64, &bytes, u64::from(BASE), DecoderOptions::NONE).decode();
        if instruction.is_invalid() {
            continue;
        }
        bytes.truncate(instruction.len());
        // Faults and branches have their own share.
        if matches!(
            bytes[0],
            0xCC | 0xF4 | 0x70..=0x7F | 0xE8 | 0xE9 | 0xEB | 0xC3
        ) {
            continue;
        }
        let mut text = [0xCC; BUNDLE];
        text[..bytes.len()].copy_from_slice(&bytes);
        if verify(&text, BASE, &Policy::DEFAULT, &[]).is_ok() {
            return bytes;
        }
    }
}

fn indirect(random: &mut Random) -> Vec<u8> {
    let (x, high) = loop {
        let (x, high) = (random.byte() & 7, random.byte() & 1);
        if (x, high) != (4, 0) && (x, high) != (6, 1) {
            break (x, high);
        }
    };
    let branch = if random.below(2) == 0 { 0xD0 } else { 0xE0 };
    let mut bytes = vec![
        0x83,
        0xE0 | x,
        0xE0,
        0x4C | high,
        0x01,
        0xF0 | x,
        0xFF,
        branch | x,
    ];
    if high == 1 {
        bytes.insert(6, 0x41);
        bytes.insert(0, 0x41);
    }
    bytes
}

fn string(random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![0x89, 0xFF, 0x49, 0x8D, 0x3C, 0x3E];
    let copy = random.below(2) == 0;
    if copy {
        bytes.extend([0x89, 0xF6, 0x49, 0x8D, 0x34, 0x36]);
    }
    if random.below(2) == 0 {
        bytes.push(0xF3);
    }
    let byte = if copy { 0xA4 } else { 0xAA };
    match random.below(3) {
        0 => bytes.push(byte),
        1 => bytes.push(byte + 1),
        _ => bytes.extend([0x48, byte + 1]),
    }
    bytes
}

/// A jump, conditional jump or call, to a bundle of the same page. `at` is the place in the bundle;
/// which bundle it will be is not known, so the distance is a multiple of the bundle size that most
/// bundles can take.
fn branch(random: &mut Random, at: usize) -> Vec<u8> {
    let bundles = i32::try_from(random.below(32)).expect("small") - 16;
    let mut bytes = match random.below(3) {
        0 => vec![0xE8],
        1 => vec![0xE9],
        _ => vec![0x0F, 0x80 | random.byte() & 15],
    };
    let end = i32::try_from(at + bytes.len() + 4).expect("small");
    bytes.extend((bundles * 32 - end).to_le_bytes());
    bytes
}

/// A load or store in a confined form, with any registers.
fn confined_move(random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![0x65, 0x67, 0x40 | random.byte() & 15];
    bytes.push([0x89, 0x8B, 0x01, 0x31, 0x8D][random.below(5)]);
    let mode = [0x00, 0x40, 0x80][random.below(3)];
    bytes.extend([mode | random.byte() & 0x3F, random.byte()]);
    bytes.extend(random.number().to_le_bytes());
    let instruction = Decoder::with_ip(64, &bytes, u64::from(BASE), DecoderOptions::NONE).decode();
    bytes.truncate(instruction.len().max(1));
    bytes
}

/// Changes a few bits or bytes, or exchanges two places.
fn mutate(bytes: &mut [u8], random: &mut Random) {
    for _ in 0..=random.below(8) / 6 {
        let at = random.below(bytes.len());
        match random.below(4) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.byte(),
            2 => bytes[at] = bytes[at].wrapping_add(1),
            _ => bytes.swap(at, random.below(32)),
        }
    }
}
