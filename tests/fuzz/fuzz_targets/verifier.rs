//! Any bytes as machine code. Invariants:
//! - verification ends in a verdict or a refusal, without panic;
//! - the slow twin, which re-encodes every instruction, gives the same verdict;
//! - a refusal is about a place in the text, and shows the bytes that stand there;
//! - a text that was accepted stays accepted in front of more that is acceptable.
#![no_main]

#[path = "../../../sandbox/verifier/tests/it/naive.rs"]
mod naive;

use libfuzzer_sys::fuzz_target;
use verifier::{Bundle, Features, Policy, Rule, verify};

const BASE: u32 = 0x2_0000;

fuzz_target!(|input: &[u8]| {
    let Some((&choice, code)) = input.split_first() else {
        return;
    };
    let bundle = [Bundle::B32, Bundle::B16, Bundle::B64, Bundle::B32][usize::from(choice & 3)];
    let features = Features {
        tzcnt: choice & 4 == 0,
        lzcnt: choice & 8 != 0,
    };
    let policy = Policy::new(bundle, u32::from(choice >> 4), features).expect("few traps");
    let mut text = code.to_vec();
    let size = bundle.size() as usize;
    text.resize(code.len().max(1).next_multiple_of(size), 0xCC);
    let verdict = verify(&text, BASE, &policy, &[BASE]);
    let twin = naive::verify(&text, BASE, &policy, None);
    assert_eq!(
        verdict.is_ok(),
        twin.is_ok(),
        "{verdict:?}, but the twin {twin:?}"
    );
    match verdict {
        Ok(_) => {
            text.extend(vec![0x90; size]);
            verify(&text, BASE, &policy, &[BASE]).expect("no-operations follow");
        }
        Err(refusal) => {
            let at = usize::try_from(refusal.address - u64::from(BASE)).expect("in the text");
            assert!(text[at..].starts_with(&refusal.bytes) && !refusal.text.is_empty());
            let (_, place) = twin.expect_err("it refuses too");
            assert!(place == refusal.address || refusal.rule == Rule::BranchTarget);
        }
    }
});
