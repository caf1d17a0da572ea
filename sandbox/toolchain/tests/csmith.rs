//! Random programs of csmith against their native twins: numbered seeds, so that a difference can be made again.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use toolchain::cc::{ensure_tools, run};

use crate::twin::{Verdict, compare, in_parallel};

/// First seed; the sample takes the first few.
const SEED: u64 = 20_261_123;
const FULL: usize = 1000;
const SAMPLE: usize = 8;

const HEADER: &str = "/usr/include/csmith/csmith.h";

/// Random programs end within a second or never.
const ENDLESS: Duration = Duration::from_secs(5);

const LEVELS: [&str; 4] = ["-O0", "-O1", "-O2", "-O3"];

#[test]
fn random_programs_behave_like_their_native_twins() {
    if !Path::new(HEADER).is_file() || !runs() {
        if !crate::full() {
            println!("skipped: csmith is installed with ZAPP_TEST_FULL=1");
            return;
        }
        ensure_tools(&["csmith"]).expect("csmith can be installed");
        // Its programs include a header that another package has.
        let mut apt = Command::new("apt-get");
        run(apt.args(["install", "-y", "-qq", "libcsmith-dev"])).expect("its headers, too");
    }
    let work = tempfile::tempdir().expect("a temporary folder");
    let indices: Vec<usize> = match crate::part() {
        Some((part, of)) => (0..FULL).filter(|index| index / 4 % of == part).collect(),
        None => (0..SAMPLE).collect(),
    };
    let count = indices.len();
    let verdicts = in_parallel(count, |index| {
        let index = indices[index];
        let seed = SEED + u64::try_from(index).expect("small");
        // Each in a folder of its own: csmith keeps a file about the platform where it runs.
        let folder = work.path().join(seed.to_string());
        std::fs::create_dir(&folder).expect("a new folder");
        let source = folder.join(format!("{seed}.c"));
        generate(seed, &source);
        let level = LEVELS[index % LEVELS.len()];
        let verdict = compare(
            &source,
            &[level, "-w", "-I/usr/include/csmith"],
            &folder,
            ENDLESS,
        );
        std::fs::remove_dir_all(&folder).expect("the folder is there");
        (seed, level, verdict)
    });
    let same = verdicts
        .iter()
        .filter(|(_, _, verdict)| *verdict == Verdict::Same)
        .count();
    let endless = verdicts
        .iter()
        .filter(|(_, _, verdict)| *verdict == Verdict::NoTwin)
        .count();
    println!("{count} programs: {same} the same, {endless} that do not end natively");
    let surprises: Vec<String> = verdicts
        .iter()
        .filter(|(_, _, verdict)| !matches!(verdict, Verdict::Same | Verdict::NoTwin))
        .map(|(seed, level, verdict)| format!("seed {seed} {level}: {verdict:?}"))
        .collect();
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
    assert!(same * 2 > count, "most random programs end");
}

fn runs() -> bool {
    let mut probe = Command::new("csmith");
    probe.arg("--version").current_dir(std::env::temp_dir());
    probe.output().is_ok()
}

fn generate(seed: u64, source: &Path) {
    let status = Command::new("csmith")
        .args(["--seed", &seed.to_string(), "--output"])
        .arg(source)
        .current_dir(source.parent().expect("a file in a folder"))
        .status()
        .expect("csmith runs");
    assert!(status.success(), "csmith with seed {seed}");
}
