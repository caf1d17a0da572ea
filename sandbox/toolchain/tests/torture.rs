//! GCC's own execution tests (`gcc.c-torture/execute`, from Debian's source package), each against its native twin.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use toolchain::guest::source::{Pin, fetch};
use toolchain::guest::{cache_folder, cached};

use crate::twin::{Verdict, compare, in_parallel};

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
    let jobs: Vec<(&PathBuf, &str)> = (0..LEVELS.len())
        .flat_map(|level| {
            let chosen = move |index: usize| {
                crate::full() || index % SAMPLE == level * SAMPLE / LEVELS.len()
            };
            sources
                .iter()
                .enumerate()
                .filter(move |(index, _)| chosen(*index))
                .map(move |(_, path)| (path, LEVELS[level]))
        })
        .collect();
    let work = tempfile::tempdir().expect("a temporary folder");
    let verdicts = in_parallel(jobs.len(), |index| {
        let (source, level) = jobs[index];
        let text = String::from_utf8_lossy(&std::fs::read(source).expect("a source")).into_owned();
        let mut options = vec![level, "-w"];
        options.extend(stated_options(&text));
        compare(source, &options, work.path())
    });
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let mut surprises = Vec::new();
    for ((source, level), verdict) in jobs.iter().zip(&verdicts) {
        let name = source.file_stem().unwrap_or_default().to_string_lossy();
        let expected = is_exception(&name, level);
        let (kind, alike) = match verdict {
            Verdict::Same => ("same", true),
            Verdict::NoTwin => ("no native twin", true),
            Verdict::Refused(_) => ("refused", false),
            Verdict::Differs(_) => ("differs", false),
        };
        *counts
            .entry(if alike || !expected {
                kind
            } else {
                "exception"
            })
            .or_default() += 1;
        if !alike && !expected {
            surprises.push(format!("{name} {level}: {verdict:?}"));
        }
    }
    println!("{} runs: {counts:?}", jobs.len());
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}

fn is_exception(name: &str, level: &str) -> bool {
    EXCEPTIONS.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some(name)
            && words
                .next()
                .is_some_and(|levels| levels == "*" || levels.contains(level))
    })
}

/// Options a test asks for, when it asks for them on this kind of machine.
fn stated_options(text: &str) -> Vec<&str> {
    let asks = |line: &&str| line.contains("dg-options") || line.contains("dg-additional-options");
    let here = |line: &str| {
        !line.contains("target")
            || line.contains("x86_64")
            || line.contains("i?86")
            || line.contains("*-*-*")
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
fn exceptions_have_reasons() {
    for line in EXCEPTIONS
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let words = line.split_whitespace().count();
        assert!(words >= 4, "NAME LEVELS REASON expected: {line}");
    }
}
