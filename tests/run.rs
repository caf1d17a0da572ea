//! `zapp run`: what passes through, how it ends, and what it makes of hostile programs, images and arguments.
//!
//! The guests are those of the sandbox's tests, assembled by GNU `as`; no guest compiler is needed.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Run, Scratch, args, command, zapp};

/// Where the guest `calls` has memory of its own.
const AREA: u64 = 0x31000;

fn assemble(scratch: &Scratch, name: &str) -> PathBuf {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sandbox/tests/guests");
    let (object, program) = (scratch.path(format!("{name}.o")), scratch.path(name));
    let run = |command: &mut Command| assert!(command.status().expect("binutils").success());
    run(Command::new("as")
        .arg("-I")
        .arg(&sources)
        .arg("-o")
        .arg(&object)
        .arg(sources.join(name).with_extension("s")));
    run(Command::new("ld")
        .args([
            "-static",
            "-z",
            "noexecstack",
            "--no-warn-rwx-segments",
            "-T",
        ])
        .arg(sources.join("guest.ld"))
        .arg("-o")
        .arg(&program)
        .arg(object));
    program
}

/// Runs with bytes on standard input.
fn fed(args: impl IntoIterator<Item = std::ffi::OsString>, input: &[u8]) -> Run {
    let mut child = command(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // The guest may end before it has read everything.
    let _ = child.stdin.take().expect("a pipe").write_all(input);
    child.wait_with_output().expect("it ends").into()
}

/// Calls for the guest `calls`, 56 bytes each.
fn record(number: i64, arguments: &[u64]) -> Vec<u8> {
    let word = |index: usize| arguments.get(index).copied().unwrap_or(0);
    let words = (0..6).flat_map(|index| word(index).to_le_bytes());
    number.to_le_bytes().into_iter().chain(words).collect()
}

/// Opens `path` and writes up to 64 bytes of it to stdout.
fn show(path: &str) -> Vec<u8> {
    let path = [path.as_bytes(), b"\0"].concat();
    [
        record(0, &[0, AREA, path.len() as u64]),
        path,
        record(2, &[AREA, 0]),
        record(0, &[3, AREA + 0x100, 64]),
        record(1, &[1, AREA + 0x100, 64]),
    ]
    .concat()
}

#[test]
fn arguments_environment_and_status_pass_through() {
    let scratch = Scratch::new();
    let words = assemble(&scratch, "words");
    let run = zapp(args!["run", "-e", "A=b c", words, "--stats"]).ok();
    assert_eq!(run.text(), "--stats A=b c");
    let hello = assemble(&scratch, "hello");
    assert_eq!(zapp(args!["run", hello]).code(7).text(), "hello\n");
    zapp(args!["run", "-e", "novalue", hello])
        .code(125)
        .says("not NAME=VALUE");
}

#[test]
fn stats_are_json_and_trace_is_a_line_a_call() {
    let scratch = Scratch::new();
    let hello = assemble(&scratch, "hello");
    let run = zapp(args!["run", "--stats", "--trace", hello]).code(7);
    let lines: Vec<&str> = run.stderr.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(
        lines[0].starts_with("write(0x1, ") && lines[0].ends_with(" = 0x6"),
        "{}",
        lines[0]
    );
    assert!(lines[1].starts_with("exit_group(0x7"), "{}", lines[1]);
    let report: serde_json::Value = serde_json::from_str(lines[2]).expect("JSON");
    assert_eq!(report["version"], 1);
    assert_eq!(report["outcome"]["status"], 7);
    assert_eq!(report["usage"]["traps"], 2);
    // A failed call by its name, a path as text; control characters never reach the terminal.
    let calls = assemble(&scratch, "calls");
    let run = fed(args!["run", "--trace", calls], &show("/no\x1b[31m")).ok();
    let line = run
        .stderr
        .lines()
        .find(|line| line.starts_with("open("))
        .expect("a line");
    assert!(line.contains("\"/no\\x1b[31m\""), "{line}");
    assert!(line.ends_with("= -2 (No such file or directory)"), "{line}");
}

#[test]
fn directories_are_shown_where_they_are_named() {
    let scratch = Scratch::new();
    let calls = assemble(&scratch, "calls");
    let shown = scratch.dir("shown");
    fs::write(shown.join("f"), "from the host").unwrap();
    let content = |run: &Run| run.stdout.windows(13).any(|part| part == b"from the host");
    let mut at = shown.clone().into_os_string();
    at.push("::/data");
    let run = fed(args!["run", "--dir", at, calls], &show("/data/f")).ok();
    assert!(content(&run));
    for path in ["/f", "/data/../f", "/etc/passwd", "/data/../../etc/passwd"] {
        let run = fed(args!["run", "--dir", at, calls], &show(path)).ok();
        assert!(
            !content(&run) && !run.stdout.windows(4).any(|w| w == b"root"),
            "{path}"
        );
    }
    let run = fed(args!["run", "--dir", shown, calls], &show("/f")).ok();
    assert!(content(&run), "the root when no place is named");
    assert!(!run.stderr.contains("gone"), "{}", run.stderr);
    // What is written there seems to be, and is not: like `sed -i` would.
    let input = [
        record(0, &[0, AREA, 3]),
        b"/f\0".to_vec(),
        record(2, &[AREA, 2]),
        record(1, &[3, AREA, 2]),
    ];
    let run = fed(args!["run", "--dir", shown, calls], &input.concat()).ok();
    let told = "zapp: 2 bytes were written and are gone";
    assert!(run.stderr.starts_with(told), "{}", run.stderr);
    let kept = fs::read(shown.join("f")).unwrap();
    assert_eq!(kept, b"from the host");
    zapp(args!["run", "--dir", "/nowhere", calls]).code(127);
    zapp(args!["run", "--dir", "/etc::relative", calls]).code(125);
}

#[test]
fn every_end_has_its_code() {
    let scratch = Scratch::new();
    let faults = assemble(&scratch, "faults");
    let cases: [(&[&str], &str, i32, &str); 9] = [
        (&[], "n", 139, "\"kind\":\"fault\""),
        (&[], "d", 136, "\"kind\":\"fault\""),
        (&[], "a", 134, "\"kind\":\"raised\""),
        (&[], "r", 139, "\"limit\":\"stack\""),
        (&["--timeout", "50ms"], "s", 124, "\"limit\":\"wall\""),
        (&["--cpu", "50ms"], "s", 137, "\"limit\":\"cpu\""),
        (&["--output-size", "64K"], "o", 137, "\"limit\":\"output\""),
        (&["--traps", "1000"], "k", 137, "\"limit\":\"traps\""),
        (&["--memory", "1"], "q", 125, "does not fit"),
    ];
    for (options, kind, code, words) in cases {
        let line = ["run"].iter().chain(options).map(std::ffi::OsString::from);
        let line = line.chain([faults.clone().into_os_string(), kind.into()]);
        let run: Run = command(line)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .output()
            .unwrap()
            .into();
        run.code(code).says(words);
    }
}

#[test]
fn what_is_no_program_is_refused_at_once() {
    let scratch = Scratch::new();
    let start = Instant::now();
    let pipe = scratch.path("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let empty = scratch.path("empty");
    fs::write(&empty, "").unwrap();
    for (target, code) in [
        (pipe, 126),
        (empty, 126),
        (PathBuf::from("/dev/zero"), 126),
        (PathBuf::from("/"), 126),
        (PathBuf::from("/etc/passwd"), 126),
        (PathBuf::from("/bin/true"), 126),
        (PathBuf::from("/nowhere/at/all"), 127),
    ] {
        zapp(args!["run", target]).code(code).says("zapp: ");
    }
    assert!(start.elapsed() < Duration::from_secs(20), "nothing waits");
}

/// Reproducible random numbers: xorshift.
fn random(seed: &mut u64) -> usize {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    usize::try_from(*seed >> 16).expect("64 bits")
}

#[test]
fn damaged_programs_and_images_end_with_a_code() {
    let scratch = Scratch::new();
    let hello = assemble(&scratch, "hello");
    let site = scratch.dir("site");
    fs::copy(&hello, site.join("hello")).unwrap();
    fs::write(site.join("index.php"), "<?php".repeat(50)).unwrap();
    let image = scratch.path("site.zapp");
    zapp(args!["pack", "--php", "never", site, "-o", image]).ok();
    zapp(args!["run", image]).code(7);
    let mut seed = 0x2026_1125;
    for original in [fs::read(&hello).unwrap(), fs::read(&image).unwrap()] {
        for _ in 0..60 {
            let mut bytes = original.clone();
            for _ in 0..=random(&mut seed) % 4 {
                let reach = [64, 512, 4096, bytes.len()][random(&mut seed) % 4].min(bytes.len());
                bytes[random(&mut seed) % reach] = random(&mut seed).to_le_bytes()[0];
            }
            if random(&mut seed).is_multiple_of(8) {
                bytes.truncate(random(&mut seed) % bytes.len());
            }
            let damaged = scratch.path("damaged");
            fs::write(&damaged, &bytes).unwrap();
            let run = zapp(args!["run", "--timeout", "2s", damaged]);
            assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
            let code = run.code.expect("no signal ends the host");
            let known =
                [0, 7, 124, 125, 126, 127, 137].contains(&code) || (129..=159).contains(&code);
            assert!(known, "{code}: {}", run.stderr);
        }
    }
}

#[test]
fn strange_options_are_errors() {
    let scratch = Scratch::new();
    let hello = assemble(&scratch, "hello");
    for (option, value) in [
        ("--timeout", "-1s"),
        ("--timeout", "99999999999999999999s"),
        ("--memory", "18446744073709551615G"),
        ("--memory", ""),
        ("--traps", "-1"),
        ("--open-files", "4294967296"),
    ] {
        zapp(args!["run", format!("{option}={value}"), hello]).code(2);
    }
    for (option, value, code) in [
        ("--memory", "17179869183G", 125),
        ("--tmp-size", "17179869183G", 7),
        ("--open-files", "4294967295", 7),
        ("--output-size", "17179869183G", 7),
        ("--timeout", "24h", 7),
        ("--traps", "18446744073709551615", 7),
    ] {
        let run = zapp(args!["run", format!("{option}={value}"), hello]).code(code);
        assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
    }
}
