//! Soundness by execution: what the verifier accepts is run on the processor itself, one
//! from random register states, in a process that has nothing else mapped.
//!
//! Claims that are checked: memory is touched only in the slot (all else is unmapped, and the
//! address of a fault is looked at); the next instruction is a verified one, or faults; `%r14`, gs
//! and the flags of the host keep their values; the return stack changes only by call and ret.
//!
//! One sequence in thirty-two, and each that may loop, is executed instruction by instruction, with
//! the claims checked after each. The others run at once, the rest of the page being int3: where
//! they stop tells where they went.
//!
//! `VERIFIER_SEQUENCES=n` says how many accepted sequences to run. `VERIFIER_GUEST=file` takes a
//! real guest program for single-byte mutations, `VERIFIER_MUTATIONS=n` says how many, and
//! `VERIFIER_MUTATIONS=all` gives every byte every other value.

mod edges;
mod engine;
mod generate;
mod shared;
mod watch;

use verifier::{Policy, Program, Rule, verify};

use crate::random::Random;
use engine::Engine;
use generate::Generator;
use watch::Watch;

/// Accepted sequences in an ordinary test run.
const SEQUENCES: u64 = 20_000;

/// Of the sequences that may loop, one in so many is run: single steps cost ten times as much.
const LOOPS: usize = 4;

/// Instructions that one sequence may execute.
const STEPS: u32 = 16;

#[test]
fn accepted_code_stays_in_its_slot() {
    let wanted = std::env::var("VERIFIER_SEQUENCES").map_or(SEQUENCES, |n| {
        n.parse().expect("VERIFIER_SEQUENCES is a number")
    });
    let seed =
        std::env::var("VERIFIER_SEED").map_or(1, |n| n.parse().expect("VERIFIER_SEED is a number"));
    let Some(mut engine) = Engine::start(generate::PAGE) else {
        println!("skipped: this process may not trace a child");
        return;
    };
    let mut random = Random::new(seed);
    let mut generator = Generator::new(&mut random);
    let (mut sequences, mut mutated, mut stepped, mut steps) = (0, 0, 0, 0);
    let mut ends = std::collections::BTreeMap::new();
    while sequences < wanted {
        let page = generator.page(&mut random, &Policy::DEFAULT);
        let watch = Watch::new(&page.text);
        for bundle in &page.bundles {
            let loops = !watch.ends(bundle.offset);
            if loops && random.below(LOOPS) != 0 {
                continue;
            }
            let state = engine.random_state(&mut random, bundle.offset);
            let end = if loops || random.below(32) == 0 {
                engine.load(&page.text);
                let (taken, end) = watch.run(&mut engine, state, STEPS);
                stepped += 1;
                steps += u64::from(taken);
                end
            } else {
                watch.run_at_once(&mut engine, state, bundle.offset)
            };
            let end = end.unwrap_or_else(|escape| {
                panic!(
                    "seed {seed}, sequence {sequences}: {escape}\nbundle at {:#x}: {:02x?}",
                    bundle.offset,
                    &page.text[bundle.offset..bundle.offset + 32]
                )
            });
            *ends.entry(end).or_insert(0_u64) += 1;
            mutated += u64::from(bundle.mutated);
            sequences += 1;
        }
        engine.tidy(sequences);
    }
    println!(
        "{sequences} sequences, {mutated} of them mutated, {stepped} in {steps} single steps: \
         no escape; ends {ends:?}"
    );
    // Otherwise the states or the generator exercise nothing.
    assert!(
        steps > stepped * 3,
        "sequences end too early to show anything"
    );
}

/// The text of a real guest, or of none in particular.
fn subject(random: &mut Random) -> Vec<u8> {
    let Some(file) = std::env::var_os("VERIFIER_GUEST") else {
        return Generator::new(random).page(random, &Policy::DEFAULT).text;
    };
    let file = std::fs::read(file).expect("VERIFIER_GUEST can be read");
    let program = Program::parse(&file).expect("VERIFIER_GUEST is a guest program");
    assert_eq!(
        program.text().address,
        generate::BASE,
        "text stands where the engine puts it"
    );
    program.text().bytes.to_vec()
}

/// Which mutations to try: a number of random ones, or every byte with every other value.
fn mutations(random: &mut Random, len: usize) -> Box<dyn Iterator<Item = (usize, u8)> + '_> {
    let wanted = std::env::var("VERIFIER_MUTATIONS").unwrap_or_else(|_| "20000".to_owned());
    if wanted == "all" {
        return Box::new((0..len).flat_map(|at| (1..=255).map(move |shift| (at, shift))));
    }
    let wanted = wanted
        .parse()
        .expect("VERIFIER_MUTATIONS is a number, or all");
    Box::new((0..wanted).map(move |_: u64| (random.below(len), 1 + random.byte() % 255)))
}

/// Whether a text with one bundle exchanged is accepted. A bundle that breaks a rule by itself does so
/// in any text, because nothing crosses its ends: the rest is looked at only for the two rules that
/// need it.
fn is_accepted(text: &[u8], bundle: usize) -> bool {
    let policy = Policy::DEFAULT;
    match verify(&text[bundle..bundle + 32], generate::BASE, &policy, &[]) {
        Err(r) if !matches!(r.rule, Rule::BranchTarget | Rule::LastCall) => false,
        _ => verify(text, generate::BASE, &policy, &[]).is_ok(),
    }
}

#[test]
fn single_byte_mutations_are_refused_or_confined() {
    let mut random = Random::new(9);
    let text = subject(&mut random);
    verify(&text, generate::BASE, &Policy::DEFAULT, &[]).expect("the subject is accepted");
    let Some(mut engine) = Engine::start(text.len()) else {
        println!("skipped: this process may not trace a child");
        return;
    };
    let mut watch = Watch::new(&text);
    let mut mutant = text.clone();
    let (mut tried, mut refused, mut runs) = (0_u64, 0_u64, 0_u64);
    let mut choice = Random::new(10);
    for (at, shift) in mutations(&mut choice, text.len()) {
        tried += 1;
        let bundle = at / 32 * 32;
        let place = bundle..bundle + 32;
        mutant[at] = text[at].wrapping_add(shift);
        if is_accepted(&mutant, bundle) {
            watch.replace(bundle, &mutant[place.clone()]);
            for _ in 0..4 {
                let state = engine.random_state(&mut random, bundle);
                let end = if watch.ends(bundle) {
                    watch.run_at_once(&mut engine, state, bundle)
                } else {
                    engine.load(&mutant);
                    watch.run(&mut engine, state, STEPS).1
                };
                if let Err(escape) = end {
                    panic!("byte {at:#x} := {:#x}: {escape}", mutant[at]);
                }
                runs += 1;
            }
            watch.replace(bundle, &text[place]);
        } else {
            refused += 1;
        }
        engine.tidy(tried);
        mutant[at] = text[at];
    }
    println!(
        "{tried} mutations of {} bytes: {refused} refused, the others confined in {runs} runs",
        text.len()
    );
    assert!(refused > 0 && runs > 0, "mutation shows nothing");
}
