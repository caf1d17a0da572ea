//! Soundness by execution: what the verifier accepts is run on the processor itself, one
//! from random register states, in a process that has nothing else mapped.
//!
//! Claims that are checked: memory is touched only in the slot (all else is unmapped, and the
//! address of a fault is looked at); the next instruction is a verified one, or faults; `%r14`, gs
//! and the flags of the host keep their values; the return stack changes only by call and ret.
//!
//! One sequence in thirty-two, and each that may loop, is executed instruction by instruction, with
//! the claims checked after each. The others run at once, the rest of the page being int3: where
//! they stop tells where they went. (Single steps cost a virtual machine ten times as much.)
//!
//! `VERIFIER_SEQUENCES=n` says how many accepted sequences to run.

mod engine;
mod generate;
mod watch;

use verifier::Policy;

use crate::random::Random;
use engine::Engine;
use generate::Generator;
use watch::Watch;

/// Accepted sequences in an ordinary test run.
const SEQUENCES: u64 = 20_000;

/// Instructions that one sequence may execute.
const STEPS: u32 = 16;

#[test]
fn accepted_code_stays_in_its_slot() {
    let wanted = std::env::var("VERIFIER_SEQUENCES").map_or(SEQUENCES, |n| {
        n.parse().expect("VERIFIER_SEQUENCES is a number")
    });
    let seed =
        std::env::var("VERIFIER_SEED").map_or(1, |n| n.parse().expect("VERIFIER_SEED is a number"));
    let Some(mut engine) = Engine::start() else {
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
            let state = engine.random_state(&mut random, bundle.offset);
            let end = if random.below(32) == 0 || !watch.ends(bundle.offset) {
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
