//! The text cases: each request is answered as it stands beside it.

use std::fs;
use std::path::Path;

use crate::case::{self, Case};
use crate::site::{Memory, answer, rules};

#[test]
fn requests_are_answered_as_the_cases_say() {
    if std::env::var_os("ZAPP_BLESS").is_some() {
        bless();
    }
    let mut wrong = Vec::new();
    for case in case::all() {
        assert!(!case.requests.is_empty(), "{}: no requests", case.name);
        for (asked, found) in case.requests.iter().zip(answers(&case)) {
            if found != asked.expected {
                wrong.push(format!(
                    "{}\n{} {}\n  expected\n    {}\n  found\n    {}",
                    case.name,
                    asked.method,
                    asked.target,
                    asked.expected.join("\n    "),
                    found.join("\n    "),
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn answers(case: &Case) -> Vec<Vec<String>> {
    let memory = Memory::of(case);
    let rules = rules(case, &memory);
    let all = case.requests.iter();
    all.map(|asked| answer(&rules, &memory, asked)).collect()
}

/// Writes what comes out into the cases, to be looked at, and compared with Apache, before it is kept.
fn bless() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    for entry in fs::read_dir(directory).expect("the cases are there") {
        let path = entry.expect("a readable entry").path();
        let text = fs::read_to_string(&path).expect("a readable file");
        let mut found = case::parse(&text)
            .iter()
            .flat_map(answers)
            .collect::<Vec<_>>()
            .into_iter();
        let mut out = String::new();
        let mut in_requests = false;
        for line in text.lines() {
            if line.starts_with("### ") || line.starts_with("--- ") {
                in_requests = matches!(line, "--- requests" | "--- ours");
            }
            if in_requests && line.starts_with("  ") {
                continue;
            }
            out.push_str(line);
            out.push('\n');
            if in_requests && !line.is_empty() && !line.starts_with("---") {
                for answer in found.next().expect("one for each request") {
                    out.push_str(&format!("  {answer}\n"));
                }
            }
        }
        fs::write(&path, out).expect("a writable file");
    }
}
