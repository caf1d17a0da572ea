//! What the workspace is made of: licenses, where crates come from, versions beside each other, a reason for each.
//!
//! The part of `cargo deny` that needs no network, over `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Licenses under which code may be part of the program.
const LICENSES: [&str; 9] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

/// Crates of which more than one version is compiled, and why.
const SEVERAL: [(&str, &str); 1] = [(
    "syn",
    "the derives of zerocopy, num_enum and enumflags2 have not moved to version 3 yet; only compiled, never linked",
)];

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate lies in the workspace")
}

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(root())
        .output()
        .expect("cargo starts");
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{messages}");
    let mut document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let Value::Array(packages) = document["packages"].take() else {
        panic!("no packages");
    };
    packages
}

/// Whether a license expression can be met with what is allowed: some side of each `OR`, every side of each `AND`.
fn allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    let expression = expression.trim();
    // The only grouping that occurs: a group of `OR` beside an `AND`.
    expression.split(" AND ").all(|part| {
        part.trim_matches(['(', ')', ' '])
            .split(" OR ")
            .any(|license| LICENSES.contains(&license.trim()))
    })
}

#[test]
fn every_license_is_an_allowed_one() {
    for (expression, verdict) in [
        ("MIT", true),
        ("Unlicense/MIT", true),
        ("(MIT OR GPL-3.0) AND Unicode-3.0", true),
        ("GPL-3.0", false),
        ("MIT AND GPL-3.0", false),
    ] {
        assert_eq!(allowed(expression), verdict, "{expression}");
    }
    for package in packages() {
        let license = package["license"].as_str().unwrap_or("none");
        assert!(allowed(license), "{}: {license}", package["name"]);
    }
}

#[test]
fn every_crate_is_ours_or_from_crates_io() {
    for package in packages() {
        let source = &package["source"];
        let ours = package["manifest_path"]
            .as_str()
            .is_some_and(|path| Path::new(path).starts_with(root()));
        assert!(
            (source.is_null() && ours) || source == CRATES_IO,
            "{}: {source}",
            package["name"]
        );
    }
}

#[test]
fn several_versions_of_a_crate_have_a_reason() {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in packages() {
        let text = |field: &str| package[field].as_str().expect("a text").to_owned();
        versions
            .entry(text("name"))
            .or_default()
            .insert(text("version"));
    }
    let several: Vec<&str> = versions
        .iter()
        .filter(|(_, versions)| versions.len() > 1)
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(several, SEVERAL.map(|(name, _)| name));
}

/// A comment above it says what it is for.
#[test]
fn every_dependency_has_a_reason() {
    let text = std::fs::read_to_string(root().join("Cargo.toml")).expect("the manifest");
    let (_, table) = text
        .split_once("[workspace.dependencies]\n")
        .expect("the table of dependencies");
    let table = table.split("\n[").next().expect("a first part");
    let mut reason = false;
    for line in table.lines().filter(|line| !line.is_empty()) {
        if line.starts_with('#') {
            reason = true;
            continue;
        }
        let name = line.split([' ', '=']).next().expect("a first word");
        assert!(reason || line.contains("path = "), "{name} has no reason");
        reason = false;
    }
}
