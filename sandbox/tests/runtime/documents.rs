//! `docs/isolation.md` names tests; a name that leads nowhere is a promise that nothing holds.

use std::path::Path;

/// The text of all sources below `directory`.
fn sources(directory: &Path, text: &mut String) {
    for entry in std::fs::read_dir(directory).expect("a directory of the project") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default();
        if path.is_dir() && name != "target" && name != "build" {
            sources(&path, text);
        } else if path
            .extension()
            .is_some_and(|ending| ending == "rs" || ending == "s")
        {
            text.push_str(&std::fs::read_to_string(&path).unwrap_or_default());
        }
    }
}

// The table of what is kept is a promise in each of its cells.
#[test]
fn everything_kept_has_a_bound_a_payer_and_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let document = std::fs::read_to_string(root.join("docs/isolation.md")).expect("the document");
    let table = document
        .split("## What is kept because of a guest")
        .nth(1)
        .and_then(|rest| rest.split("\n## ").next())
        .expect("the chapter");
    let rows: Vec<&str> = table
        .lines()
        .filter(|line| line.starts_with("| "))
        .collect();
    assert!(rows.len() > 10, "{} rows", rows.len());
    for row in &rows[1..] {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 4, "{row}");
        assert!(cells.iter().all(|cell| !cell.is_empty()), "{row}");
        assert!(cells[3].starts_with('`'), "no test: {row}");
    }
}

#[test]
fn every_test_that_the_isolation_document_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let document = std::fs::read_to_string(root.join("docs/isolation.md")).expect("the document");
    let mut text = String::new();
    for part in ["sandbox", "imagefs", "server", "cli/src", "tests"] {
        sources(&root.join(part), &mut text);
    }
    let mut names = 0;
    for name in document.split('`').skip(1).step_by(2) {
        let is_name = |name: &str| {
            name.matches('_').count() > 1
                && name
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit())
        };
        // A name cut short stands for several, or for one in the same row.
        if !is_name(name) {
            continue;
        }
        names += 1;
        let known =
            text.contains(&format!("fn {name}(")) || text.contains(&format!("case {name}\n"));
        assert!(
            known,
            "docs/isolation.md names {name}, which is neither a test nor a case"
        );
    }
    assert!(names > 80, "only {names} names were found");
}
