//! Cases as text: `tests/cases/*.s`.
//!
//! ```text
//! # case NAME                     starts a case
//! # refused RULE at OFFSET        the assembly that follows is one text, refused there
//! # each refused RULE             each line that follows is a text, refused at its first byte
//! # accepted                      the assembly that follows is one text, accepted
//! # each accepted                 each line that follows is a text, accepted
//! ```
//!
//! A case has what is refused and the nearest thing that is accepted. Texts stand at offset
//! 0x20000 and are filled up with int3 to whole bundles.

use std::collections::BTreeSet;
use std::path::Path;

use verifier::{Policy, Rule, verify};

use crate::assemble::assemble;
use crate::naive;

const BASE: u32 = 0x2_0000;

#[derive(Clone, Debug, PartialEq)]
enum Expected {
    Accepted,
    Refused { rule: Rule, offset: u64 },
}

#[derive(Debug)]
struct Case {
    name: String,
    expected: Expected,
    source: String,
    text: Vec<u8>,
}

fn rule(name: &str) -> Rule {
    *Rule::ALL
        .iter()
        .find(|r| r.name() == name)
        .unwrap_or_else(|| panic!("no rule {name}"))
}

/// Reads one file of cases.
fn parse(file: &Path) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let (mut name, mut expected, mut each) = (String::new(), None, false);
    let content = std::fs::read_to_string(file).expect("a readable file of cases");
    for (number, line) in content.lines().enumerate() {
        let Some(directive) = line.strip_prefix("# ") else {
            let code = line.split('#').next().expect("at least one part").trim();
            if code.is_empty() {
                continue;
            }
            let expected = expected
                .clone()
                .unwrap_or_else(|| panic!("{}:{number}: no case", file.display()));
            if each {
                let source = code.to_owned() + "\n";
                cases.push(Case {
                    name: name.clone(),
                    expected,
                    source,
                    text: Vec::new(),
                });
            } else {
                let case = cases.last_mut().expect("the directive pushed one");
                case.source.push_str(code);
                case.source.push('\n');
            }
            continue;
        };
        let words: Vec<&str> = directive.split_whitespace().collect();
        let verdict = match words.as_slice() {
            ["case", case] => {
                name = (*case).to_owned();
                expected = None;
                continue;
            }
            ["accepted"] | ["each", "accepted"] => Expected::Accepted,
            ["refused", name, "at", offset] => {
                let offset = u64::from_str_radix(offset.trim_start_matches("0x"), 16);
                Expected::Refused {
                    rule: rule(name),
                    offset: offset.expect("a hex offset"),
                }
            }
            ["each", "refused", name] => Expected::Refused {
                rule: rule(name),
                offset: 0,
            },
            // Anything else is prose about the cases that follow.
            _ => continue,
        };
        each = words[0] == "each";
        expected = Some(verdict.clone());
        if !each {
            let source = String::new();
            cases.push(Case {
                name: name.clone(),
                expected: verdict,
                source,
                text: Vec::new(),
            });
        }
    }
    cases
}

/// All cases, assembled.
fn cases() -> Vec<Case> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .expect("the directory of cases")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let mut cases: Vec<Case> = files.iter().flat_map(|file| parse(file)).collect();
    let sources: Vec<String> = cases.iter().map(|c| c.source.clone()).collect();
    for (case, mut text) in cases.iter_mut().zip(assemble(&sources)) {
        assert!(!text.is_empty(), "{}: no code", case.name);
        text.resize(text.len().next_multiple_of(32), 0xCC);
        case.text = text;
    }
    cases
}

fn outcome(text: &[u8]) -> Expected {
    match verify(text, BASE, &Policy::DEFAULT, &[BASE]) {
        Ok(_) => Expected::Accepted,
        Err(r) => Expected::Refused {
            rule: r.rule,
            offset: r.address - u64::from(BASE),
        },
    }
}

#[test]
fn every_case_has_its_verdict_rule_and_address() {
    let mut wrong = Vec::new();
    for case in cases() {
        let actual = outcome(&case.text);
        if actual != case.expected {
            wrong.push(format!(
                "{}: expected {:?}, got {actual:?}\n{}{:02x?}\n",
                case.name, case.expected, case.source, case.text
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn every_case_has_an_accepted_twin() {
    let cases = cases();
    let names: BTreeSet<&str> = cases.iter().map(|c| c.name.as_str()).collect();
    for name in &names {
        let of_case = || cases.iter().filter(|c| c.name == *name);
        assert!(
            of_case().any(|c| c.expected == Expected::Accepted),
            "{name}: nothing accepted"
        );
        assert!(
            of_case().any(|c| c.expected != Expected::Accepted),
            "{name}: nothing refused"
        );
    }
    println!("{} cases, {} texts", names.len(), cases.len());
}

#[test]
fn slow_twin_agrees_on_every_case() {
    let mut wrong = Vec::new();
    for case in cases() {
        let twin = naive::verify(&case.text, BASE, &Policy::DEFAULT, None);
        // What two rules refuse may be blamed on either, but not at two places.
        let same = match (&twin, &case.expected) {
            (Ok(()), Expected::Accepted) => true,
            (Err((_, at)), Expected::Refused { offset, .. }) => *at == u64::from(BASE) + offset,
            _ => false,
        };
        if !same {
            wrong.push(format!(
                "{}: twin says {twin:x?}\n{}",
                case.name, case.source
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Text and entry are about arguments, not code; their own tests stand below.
#[test]
fn every_rule_has_a_case_that_it_alone_refuses() {
    let cases = cases();
    for rule in Rule::ALL {
        if matches!(rule, Rule::Text | Rule::Entry) {
            continue;
        }
        let alone = cases.iter().any(|case| {
            matches!(case.expected, Expected::Refused { rule: r, .. } if r == rule)
                && naive::verify(&case.text, BASE, &Policy::DEFAULT, Some(rule)).is_ok()
        });
        assert!(alone, "no case is refused by {rule} alone");
    }
}

#[test]
fn text_is_whole_bundles_inside_the_slot() {
    let verdict = |len: usize, base: u32| {
        verify(&vec![0xCC; len], base, &Policy::DEFAULT, &[]).map_err(|r| r.rule)
    };
    assert!(verdict(32, BASE).is_ok());
    for (len, base) in [
        (0, BASE),
        (31, BASE),
        (33, BASE),
        (32, BASE + 16),
        (32, 0xFFE0),
    ] {
        assert_eq!(
            verdict(len, base),
            Err(Rule::Text),
            "{len} bytes at {base:#x}"
        );
    }
    assert!(verdict(32, 0x1_0000).is_ok());
    assert!(verdict(32, 0xFFFE_FFE0).is_ok());
    assert_eq!(verdict(64, 0xFFFE_FFE0), Err(Rule::Text));
    assert_eq!(verdict(32, 0xFFFF_FFE0), Err(Rule::Text));
    assert_eq!(verdict((256 << 20) + 32, BASE), Err(Rule::Text));
}

#[test]
fn entry_is_a_bundle_start_in_the_text() {
    let verdict = |entry: u32| {
        verify(&[0xCC; 64], BASE, &Policy::DEFAULT, &[BASE, entry]).map_err(|r| (r.rule, r.address))
    };
    assert!(verdict(BASE + 32).is_ok());
    for entry in [BASE + 1, BASE + 16, BASE - 32, BASE + 64, 0, u32::MAX] {
        assert_eq!(verdict(entry).err(), Some((Rule::Entry, entry.into())));
    }
}
