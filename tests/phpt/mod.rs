//! PHP's own tests: whatever passes with PHP as an ordinary process passes with PHP as a guest of the sandbox.
//!
//! Both are built from the same sources with the same options and libc. The driver does what `run-tests.php` does, without
//! a process for each start of the guest. Tests that pass natively and cannot pass in the guest stand in `exceptions`,
//! one a line with its reason; a line that is not needed is as much a failure as one that is missing.
//!
//! A sample runs in every `cargo test`; `ZAPP_TEST_FULL=1` runs all of [`FOLDERS`] and leaves the outcome of each test in
//! `target/tmp/phpt.txt`. `ZAPP_PHPT=TEXT,TEXT...` runs the tests with one of the texts in their path, and shows
//! what failed. `ZAPP_PHPT_OPCACHE=1` turns opcache on for all of them, as it is for sites.

mod case;
mod expect;
mod guest;
mod native;
mod plan;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use crate::php;
use crate::support::{Scratch, args, full, zapp};
use case::{Broken, Case};
use guest::Guest;
use native::Native;
use verdict::{Php, Runner, Verdict};

/// Longest that one script may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where tests are taken from: all that concerns what is built in.
const FOLDERS: &[&str] = &[
    "Zend",
    "ext/ctype",
    "ext/date",
    "ext/dom",
    "ext/fileinfo",
    "ext/filter",
    "ext/hash",
    "ext/iconv",
    "ext/json",
    "ext/libxml",
    "ext/mbstring",
    "ext/opcache",
    "ext/pcre",
    "ext/pdo_sqlite",
    "ext/random",
    "ext/reflection",
    "ext/session",
    "ext/simplexml",
    "ext/spl",
    "ext/sqlite3",
    "ext/standard",
    "ext/tokenizer",
    "ext/xml",
    "ext/xmlreader",
    "ext/xmlwriter",
    "ext/zlib",
    "tests",
];

/// One test in so many belongs to the sample; a prime, so that the many series of numbered variants are cut across.
const SAMPLE: usize = 41;

#[test]
fn what_passes_natively_passes_in_the_guest() {
    let scratch = Scratch::new();
    let root = scratch.dir("php");
    let unpack = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/phpt/unpack");
    let unpacked = Command::new(unpack).arg(&root).status();
    assert!(unpacked.expect("the script starts").success());

    let native = Native {
        program: php::native(),
        root: root.clone(),
    };
    let mut cases = cases(&root, &native);
    let filter = std::env::var("ZAPP_PHPT").ok();
    if let Some(text) = &filter {
        cases.retain(|(name, _)| text.split(',').any(|part| name.contains(part)));
    } else if !full() {
        cases = cases.into_iter().step_by(SAMPLE).collect();
    }
    for case in cases.iter().filter_map(|(_, case)| case.as_ref().ok()) {
        case.write_scripts(&root).expect("the tree is ours");
    }
    // PHP looks for itself, and asks whether it may be run.
    let program = root.join("sapi/cli/php");
    fs::create_dir_all(root.join("sapi/cli")).expect("the tree is ours");
    fs::copy(php::guest(), &program).expect("the tree is ours");
    let image = scratch.path("php.zapp");
    zapp(args!["pack", "--sqlite", "raw", root, "-o", image]).ok();

    let guest = Guest::new(&program, &image, &root);
    let (native, guest) = runners(native, guest, &root, program);
    let outcomes = run_all(&cases, &native, &guest);
    let report = report(&outcomes);
    fs::write(
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("phpt.txt"),
        &report,
    )
    .expect("the target directory is writable");
    let passed = |kind: fn(&Outcome) -> Option<&Verdict>| {
        let verdicts = outcomes.values().filter_map(kind);
        verdicts.filter(|v| **v == Verdict::Pass).count()
    };
    let (natively, in_guest) = (passed(|o| Some(&o.native)), passed(|o| o.guest.as_ref()));
    eprintln!(
        "{} tests: {natively} pass natively, {in_guest} of them in the guest",
        outcomes.len()
    );
    if filter.is_some() {
        eprint!("{report}");
    }
    let wrong = judge(&outcomes, &exceptions());
    assert!(wrong.is_empty(), "{wrong}");
    assert!(filter.is_some() || natively * 10 > outcomes.len() * 8);
}

/// How one test ended.
#[derive(Debug)]
struct Outcome {
    native: Verdict,
    /// Only run when the native build passes.
    guest: Option<Verdict>,
}

/// Every test of [`FOLDERS`] by name.
fn cases(root: &Path, native: &Native) -> Vec<(String, Result<Case, Broken>)> {
    let mut names = BTreeSet::new();
    for folder in FOLDERS {
        find(root, Path::new(folder), &mut names);
    }
    let mut cases = Vec::new();
    for name in names {
        match Case::read(root, &name) {
            Ok(case) if case.has("REDIRECTTEST") => {
                cases.extend(redirected(root, &case, native));
            }
            other => cases.push((name, other)),
        }
    }
    cases
}

fn find(root: &Path, folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(root.join(folder)).expect("the folder was unpacked") {
        let entry = entry.expect("it can be read");
        let path = folder.join(entry.file_name());
        if entry.file_type().expect("it has a type").is_dir() {
            find(root, &path, names);
        } else if path.extension().is_some_and(|e| e == "phpt") {
            names.insert(path.into_os_string().into_string().expect("ASCII"));
        }
    }
}

/// The tests of another folder that a test asks for, with its environment.
fn redirected(root: &Path, by: &Case, native: &Native) -> Vec<(String, Result<Case, Broken>)> {
    // The code means the source tree by __DIR__, because run-tests.php evaluates it.
    let code = by.text("REDIRECTTEST").replace("__DIR__", "getcwd()");
    let code = format!("echo json_encode((function () {{ {code} }})());");
    let said: serde_json::Value = serde_json::from_str(&native.evaluate(&code)).expect("JSON");
    let folder = Path::new(said["TESTS"].as_str().expect("a folder"));
    let folder = folder.strip_prefix(root).expect("a folder of the tree");
    let mut environment = format!("REDIR_TEST_DIR={{ROOT}}/{}/\n", folder.display());
    for (name, value) in said["ENV"].as_object().expect("variables") {
        let value = value.as_str().expect("text");
        writeln!(environment, "{name}={value}").expect("memory");
    }
    let mut names = BTreeSet::new();
    find(root, folder, &mut names);
    let read = |name: String| match Case::read(root, &name) {
        Ok(case) => {
            let case = case.redirected(by, &environment);
            (case.name.clone(), Ok(case))
        }
        Err(broken) => (format!("{}:{name}", by.name), Err(broken)),
    };
    names.into_iter().map(read).collect()
}

/// Both kinds of PHP, which must have the same extensions.
fn runners(native: Native, guest: Guest, root: &Path, program: PathBuf) -> (Runner, Runner) {
    let code = "echo implode(\"\\n\", array_map('strtolower', get_loaded_extensions()));";
    let list = |text: &str| -> Vec<String> {
        let mut names: Vec<String> = text.lines().map(str::to_owned).collect();
        if names.iter().any(|name| name == "zend opcache") {
            names.push("opcache".to_owned());
        }
        names
    };
    let extensions = list(&native.evaluate(code));
    let of_guest = guest.run(&plan::Start::evaluate(code));
    assert_eq!(list(&String::from_utf8_lossy(&of_guest)), extensions);
    let runner = |php, program: PathBuf| Runner {
        php,
        root: root.to_owned(),
        program: program.to_string_lossy().into_owned(),
        opcache: std::env::var_os("ZAPP_PHPT_OPCACHE").is_some_and(|v| v == "1"),
        extensions: extensions.clone(),
        skips: Mutex::default(),
    };
    let native_program = native.program.clone();
    (
        runner(Php::Native(native), native_program),
        runner(Php::Guest(guest), program),
    )
}

/// Runs every case, in parallel but for those that say they are in each other's way.
fn run_all(
    cases: &[(String, Result<Case, Broken>)],
    native: &Runner,
    guest: &Runner,
) -> BTreeMap<String, Outcome> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(BTreeMap::new());
    let (conflicts, world) = (Mutex::new(()), RwLock::new(()));
    let worker = || {
        while let Some((name, case)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let outcome = match case {
                Ok(case) => {
                    // Guests cannot be in each other's way.
                    let alone = case.has("CONFLICTS").then(|| lock(&conflicts));
                    let verdict = if case.text("CONFLICTS").contains("all") {
                        let _world = world.write().unwrap_or_else(PoisonError::into_inner);
                        native.judge(case)
                    } else {
                        let _world = world.read().unwrap_or_else(PoisonError::into_inner);
                        native.judge(case)
                    };
                    drop(alone);
                    let guest = (verdict == Verdict::Pass).then(|| guest.judge(case));
                    Outcome {
                        native: verdict,
                        guest,
                    }
                }
                Err(Broken(why)) => Outcome {
                    native: Verdict::Broken(why.clone()),
                    guest: None,
                },
            };
            let mut outcomes = lock(&outcomes);
            outcomes.insert(name.clone(), outcome);
            if outcomes.len() % 500 == 0 {
                eprintln!("{} of {} tests", outcomes.len(), cases.len());
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(worker);
        }
    });
    outcomes
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One line a test, and below it what a guest printed that failed.
fn report(outcomes: &BTreeMap<String, Outcome>) -> String {
    let mut report = String::new();
    for (name, outcome) in outcomes {
        let guest = outcome.guest.as_ref().map_or("-", Verdict::word);
        writeln!(report, "{} {guest} {name}", outcome.native.word()).expect("memory");
        let bad = outcome.guest.as_ref().unwrap_or(&outcome.native);
        if let Verdict::Fail(text) | Verdict::Broken(text) | Verdict::Skip(text) = bad {
            for line in text.lines() {
                writeln!(report, "    {line}").expect("memory");
            }
        }
    }
    report
}

/// Tests that pass natively and not in the guest, with the reason.
fn exceptions() -> BTreeMap<String, String> {
    let lines = include_str!("exceptions").lines();
    lines
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            let (name, reason) = line.split_once(' ').expect("a name and a reason");
            (name.to_owned(), reason.to_owned())
        })
        .collect()
}

/// What is wrong with the list of exceptions, in either direction.
fn judge(outcomes: &BTreeMap<String, Outcome>, listed: &BTreeMap<String, String>) -> String {
    let mut wrong = String::new();
    for (name, outcome) in outcomes {
        let says = match (&outcome.guest, listed.contains_key(name)) {
            (Some(Verdict::Pass), true) => "passes and is listed",
            (None, true) => "does not pass natively and is listed",
            (Some(Verdict::Pass) | None, false) | (Some(_), true) => continue,
            (Some(_), false) => "does not pass in the guest and is not listed",
        };
        writeln!(wrong, "{name}: {says}").expect("memory");
        if let Some(Verdict::Fail(text) | Verdict::Skip(text)) = &outcome.guest {
            for line in text.lines().take(20) {
                writeln!(wrong, "    {line}").expect("memory");
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_wrong_in_both_directions() {
        let outcome = |native, guest| Outcome { native, guest };
        let failed = || Verdict::Fail("output".to_owned());
        let outcomes = BTreeMap::from([
            (
                "good".to_owned(),
                outcome(Verdict::Pass, Some(Verdict::Pass)),
            ),
            ("listed".to_owned(), outcome(Verdict::Pass, Some(failed()))),
            (
                "better".to_owned(),
                outcome(Verdict::Pass, Some(Verdict::Pass)),
            ),
            ("worse".to_owned(), outcome(Verdict::Pass, Some(failed()))),
            ("broken".to_owned(), outcome(failed(), None)),
            ("foreign".to_owned(), outcome(failed(), None)),
        ]);
        let listed = ["listed", "better", "foreign"];
        let listed = listed.map(|name| (name.to_owned(), "reason".to_owned()));
        let wrong = judge(&outcomes, &BTreeMap::from(listed));
        let complaints: Vec<&str> = wrong.lines().filter(|l| !l.starts_with(' ')).collect();
        assert_eq!(
            complaints,
            [
                "better: passes and is listed",
                "foreign: does not pass natively and is listed",
                "worse: does not pass in the guest and is not listed",
            ]
        );
    }

    #[test]
    fn every_exception_has_a_reason_and_a_folder() {
        for (name, reason) in exceptions() {
            assert!(reason.len() > 10, "{name}: {reason}");
            assert!(
                FOLDERS.iter().any(|f| name.starts_with(&format!("{f}/"))),
                "{name}"
            );
        }
    }
}
