//! Every opcode of one, two and three bytes under every pair of prefixes.
//!
//! What the verifier accepts must have one reading: the second decoder must agree with iced on
//! length and meaning. And the verifier must agree with its slow twin on what it accepts.
//!
//! Operand bytes are sampled. `VERIFIER_ENUMERATE=full` takes all ModRM and REX bytes.

use std::collections::BTreeMap;
use std::sync::Mutex;

use iced_x86::{Decoder, DecoderOptions, Instruction};
use verifier::{Policy, verify};

use crate::naive;
use crate::random::Random;
use crate::second;

const BASE: u32 = 0x2_0000;
const PREFIXES: [u8; 11] = [
    0x65, 0x67, 0x66, 0xF2, 0xF3, 0xF0, 0x2E, 0x36, 0x3E, 0x26, 0x64,
];

/// No prefix, one, each pair in both orders, and the pair of a confined operand with a third.
fn prefix_sets() -> Vec<Vec<u8>> {
    let mut sets = vec![vec![]];
    for a in PREFIXES {
        sets.push(vec![a]);
        sets.extend(PREFIXES.map(|b| vec![a, b]));
        sets.extend([
            vec![0x65, 0x67, a],
            vec![a, 0x65, 0x67],
            vec![0x67, a, 0x65],
        ]);
    }
    sets.push(vec![0x66, 0xF2, 0x65, 0x67]);
    sets
}

/// One, two and three bytes: the first of the VEX, EVEX and XOP spaces are among the first.
fn opcodes() -> Vec<Vec<u8>> {
    let mut opcodes: Vec<Vec<u8>> = (0..=255).map(|a| vec![a]).collect();
    opcodes.extend((0..=255).map(|a| vec![0x0F, a]));
    opcodes.extend((0..=255).map(|a| vec![0x0F, 0x38, a]));
    opcodes.extend((0..=255).map(|a| vec![0x0F, 0x3A, a]));
    opcodes
}

/// ModRM bytes that cover each mode with each reg field, and SIB and absolute forms.
fn sampled_modrm(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for reg in 0..8_u8 {
        let any = random.byte() & 7;
        for (mode, rm) in [
            (3, any),
            (3, 4),
            (3, 6),
            (0, any),
            (0, 4),
            (0, 5),
            (1, any),
            (2, 4),
        ] {
            bytes.push(mode << 6 | reg << 3 | rm);
        }
    }
    bytes
}

#[derive(Default)]
struct Totals {
    tried: u64,
    decoded: u64,
    accepted: u64,
    twins: u64,
    encodings: Vec<Vec<u8>>,
    differences: BTreeMap<String, String>,
}

impl Totals {
    fn add(&mut self, other: Totals) {
        self.tried += other.tried;
        self.decoded += other.decoded;
        self.accepted += other.accepted;
        self.twins += other.twins;
        self.encodings.extend(other.encodings);
        self.differences.extend(other.differences);
    }
}

/// Tries one encoding: the head of `bytes`, whatever follows.
fn try_one(bytes: &[u8; 15], full_twin: bool, totals: &mut Totals) {
    totals.tried += 1;
    let mut instruction = Instruction::default();
    Decoder::with_ip(64, bytes, u64::from(BASE), DecoderOptions::NONE).decode_out(&mut instruction);
    if instruction.is_invalid() {
        return;
    }
    totals.decoded += 1;
    let len = instruction.len();
    let mut text = [0xCC; 32];
    text[..len].copy_from_slice(&bytes[..len]);
    let accepted = verify(&text, BASE, &Policy::DEFAULT, &[]).is_ok();
    let differs = |what: String, totals: &mut Totals| {
        totals
            .differences
            .entry(format!("{:?}: {what}", instruction.code()))
            .or_insert_with(|| format!("{:02x?} {instruction}", &bytes[..len]));
    };
    if accepted {
        totals.accepted += 1;
        totals.encodings.push(bytes[..len].to_vec());
    }
    if accepted || full_twin {
        totals.twins += 1;
        let twin = naive::verify(&text, BASE, &Policy::DEFAULT, None).is_ok();
        if twin != accepted {
            differs(format!("verifier {accepted}, twin {twin}"), totals);
        }
    }
}

/// All encodings under one set of prefixes.
fn try_prefixes(prefixes: &[u8], full: bool, random: &mut Random) -> Totals {
    let mut totals = Totals::default();
    // Some instruction may have these prefixes: look closer.
    let plausible = prefixes
        .iter()
        .all(|p| [0x65, 0x67, 0x66, 0xF2, 0xF3].contains(p))
        && (1..prefixes.len()).all(|i| !prefixes[..i].contains(&prefixes[i]));
    for opcode in opcodes() {
        let rexes: Vec<Option<u8>> = if full || plausible {
            std::iter::once(None)
                .chain((0x40..=0x4F).map(Some))
                .collect()
        } else {
            vec![None, Some(0x40 + random.byte() % 16)]
        };
        for rex in rexes {
            let modrms = if full {
                (0..=255).collect()
            } else {
                sampled_modrm(random)
            };
            for modrm in modrms {
                let mut bytes = [0; 15];
                // Operand bytes: zeros, so that branches and addresses are near, or anything.
                if random.byte() & 1 == 0 {
                    bytes.fill_with(|| random.byte());
                }
                let head = prefixes
                    .iter()
                    .chain(rex.iter())
                    .chain(&opcode)
                    .chain([&modrm]);
                for (at, byte) in head.enumerate() {
                    bytes[at] = *byte;
                }
                let sampled = random.byte() & if full { 15 } else { 63 } == 0;
                try_one(&bytes, sampled, &mut totals);
            }
        }
    }
    totals
}

#[test]
fn accepted_encodings_have_one_reading() {
    let full = std::env::var_os("VERIFIER_ENUMERATE").is_some_and(|v| v == "full");
    let sets = prefix_sets();
    let totals = Mutex::new(Totals::default());
    let queue = Mutex::new(sets.iter().enumerate());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("no thread panics with it").next();
                    let Some((number, prefixes)) = next else {
                        return;
                    };
                    let mut random = Random::new(number as u64);
                    let mut found = try_prefixes(prefixes, full, &mut random);
                    found
                        .differences
                        .extend(second::differences(&found.encodings));
                    found.encodings.clear();
                    totals.lock().expect("no thread panics with it").add(found);
                }
            });
        }
    });
    let totals = totals.into_inner().expect("no thread panics with it");
    println!(
        "{} encodings, {} decoded, {} accepted and read alike twice, {} compared with the twin",
        totals.tried, totals.decoded, totals.accepted, totals.twins
    );
    assert!(
        totals.accepted > 100_000,
        "the enumeration reaches too little"
    );
    let shown: Vec<String> = totals
        .differences
        .iter()
        .take(60)
        .map(|(what, which)| format!("{which}\n   {what}"))
        .collect();
    assert!(
        shown.is_empty(),
        "{} differences\n{}",
        totals.differences.len(),
        shown.join("\n")
    );
}
