//! GCC's own execution tests (`gcc.c-torture/execute`, from Debian's source package), each against its native twin.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use toolchain::guest::source::{Pin, fetch};
use toolchain::guest::{cache_folder, cached};

use crate::twin::{PATIENCE, Verdict, compare, in_parallel};

const SOURCE: Pin<'_> = Pin {
    package: "gcc-12",
    version: "12.2.0-14+deb12u1",
    file: "gcc-12_12.2.0.orig.tar.gz",
    sha256: "b8298be16aeeb96a889c6afed0a8e2241b47452e89cc81fe65ea849d5c740fcb",
};

/// The folder of the tests, in the cache.
const FOLDER: &str = "gcc-torture-12.2.0";

const LEVELS: [&str; 4] = ["-O0", "-O1", "-O2", "-O3"];

/// A sample takes one program in so many, a different one at each level.
const SAMPLE: usize = 67;

/// Programs that cannot behave alike: `NAME LEVELS REASON`.
const EXCEPTIONS: &str = include_str!("torture-exceptions");

#[test]
fn torture_programs_behave_like_their_native_twins() {
    if !crate::full() && !cache_folder().join(FOLDER).is_dir() {
        println!("skipped: the torture suite is fetched with ZAPP_TEST_FULL=1");
        return;
    }
    let folder = cached(FOLDER, unpack).expect("the suite can be fetched");
    let sources = sources(&folder);
    let chosen = |index: usize, level: usize| match crate::part() {
        Some((part, of)) => index % of == part,
        None => index % SAMPLE == level * SAMPLE / LEVELS.len(),
    };
    let jobs: Vec<(&PathBuf, &str)> = (0..sources.len())
        .flat_map(|index| (0..LEVELS.len()).map(move |level| (index, level)))
        .filter(|&(index, level)| chosen(index, level))
        .map(|(index, level)| (&sources[index], LEVELS[level]))
        .collect();
    let work = tempfile::tempdir().expect("a temporary folder");
    let verdicts = in_parallel(jobs.len(), |index| {
        let (source, level) = jobs[index];
        let text = String::from_utf8_lossy(&std::fs::read(source).expect("a source")).into_owned();
        let mut options = vec![level, "-w"];
        options.extend(stated_options(&text));
        compare(source, &options, work.path(), PATIENCE)
    });
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut surprises = Vec::new();
    for ((source, level), verdict) in jobs.iter().zip(&verdicts) {
        let name = source.file_stem().unwrap_or_default().to_string_lossy();
        let (kind, surprise) = judge(verdict, is_exception(&name, level));
        *counts.entry((level, kind)).or_default() += 1;
        if *verdict == Verdict::NoTwin {
            println!("no native twin: {name} {level}");
        }
        if surprise {
            surprises.push(format!("{name} {level}: {kind}: {verdict:?}"));
        }
    }
    println!("{} runs: {counts:?}", jobs.len());
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}

/// What a run counts as, and whether it is a surprise: one that differs and is no exception, or the other way round.
fn judge(verdict: &Verdict, exception: bool) -> (&'static str, bool) {
    match (verdict, exception) {
        (Verdict::Same, false) => ("same", false),
        (Verdict::NoTwin, false) => ("no native twin", false),
        (Verdict::Refused(_), false) => ("refused", true),
        (Verdict::Differs(_), false) => ("differs", true),
        (Verdict::Refused(_) | Verdict::Differs(_), true) => ("exception", false),
        (Verdict::Same | Verdict::NoTwin, true) => ("exception that behaves", true),
    }
}

/// The exceptions: name, levels, reason.
fn exceptions() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    EXCEPTIONS
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let mut words = line.splitn(3, ' ');
            let mut word = || words.next().unwrap_or_default();
            (word(), word(), word())
        })
}

fn is_exception(name: &str, level: &str) -> bool {
    exceptions()
        .any(|(named, levels, _)| named == name && (levels == "*" || levels.contains(level)))
}

/// Options a test asks for, when it asks for them on this kind of machine.
fn stated_options(text: &str) -> Vec<&str> {
    let asks = |line: &&str| line.contains("dg-options") || line.contains("dg-additional-options");
    // A pattern for another processor ends in `*-*-*`, too.
    let ours =
        |word: &str| word == "*-*-*" || word.starts_with("x86_64") || word.starts_with("i?86");
    let here = |line: &str| {
        !line.contains("target") || line.split_whitespace().any(ours) && !line.contains("ia32")
    };
    text.lines()
        .filter(asks)
        .filter(|line| here(line))
        .filter_map(|line| line.split('"').nth(1))
        .flat_map(str::split_whitespace)
        .collect()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for part in [folder.to_owned(), folder.join("ieee")] {
        let entries = std::fs::read_dir(&part).expect("the suite is in the cache");
        found.extend(
            entries
                .map(|entry| entry.expect("an entry").path())
                .filter(|path| path.extension().is_some_and(|e| e == "c")),
        );
    }
    found.sort();
    found
}

/// Takes the one folder out of the archive inside Debian's archive.
fn unpack(into: &Path) -> Result<(), toolchain::error::Error> {
    let archive = fetch(&SOURCE)?;
    let mut outer = Command::new("tar");
    outer
        .arg("xzOf")
        .arg(archive)
        .arg("gcc-12-12.2.0/gcc-12.2.0-dfsg.tar.xz")
        .stdout(Stdio::piped());
    let mut outer = outer.spawn().expect("tar runs");
    let mut inner = Command::new("tar");
    inner.args(["xJ", "--strip-components=5", "-C"]).arg(into);
    inner
        .arg("gcc-12.2.0/gcc/testsuite/gcc.c-torture/execute")
        .stdin(outer.stdout.take().expect("a pipe"));
    let unpacked = toolchain::cc::run(&mut inner);
    outer.wait().expect("tar ends");
    unpacked
}

#[test]
fn exceptions_have_reasons_and_programs() {
    let folder = cache_folder().join(FOLDER);
    let names: Vec<String> = if folder.is_dir() {
        let stem = |path: &PathBuf| path.file_stem().map(|stem| stem.to_string_lossy().into());
        sources(&folder).iter().filter_map(stem).collect()
    } else {
        Vec::new()
    };
    for (name, levels, reason) in exceptions() {
        assert!(
            reason.split_whitespace().count() >= 3,
            "{name}: NAME LEVELS REASON"
        );
        let level = |level: &str| LEVELS.contains(&level);
        assert!(levels == "*" || levels.split(',').all(level), "{name}");
        assert!(
            names.is_empty() || names.iter().any(|found| found == name),
            "{name} is no program"
        );
    }
}

#[test]
fn an_exception_that_behaves_is_a_surprise() {
    assert!(judge(&Verdict::Same, true).1);
    assert!(judge(&Verdict::Differs(String::new()), false).1);
    assert!(!judge(&Verdict::Refused(String::new()), true).1);
    assert!(!judge(&Verdict::Same, false).1);
}
