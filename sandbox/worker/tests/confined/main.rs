//! A child under the real filters of a worker tries every system call there is. Alone in its binary: the child is this
//! binary once more.

mod sys;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use sys::call;

/// One past the numbers of Linux 6.18, and some more.
const NUMBERS: i64 = 480;
/// The other set of numbers that a 64-bit kernel may know.
const X32: i64 = 0x4000_0000;
const EPERM: i64 = -1;
const ENOSYS: i64 = -38;
const SIGSYS: i32 = 31;

/// What a worker may call, whatever the arguments. Written down a second time, so that an addition is made twice.
const ALLOWED: &[i64] = &[
    0, 1, 3, 5, 7, 8, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 24, 25, 28, 35, 39, 44, 45, 60, 72,
    77, 131, 158, 186, 202, 204, 218, 228, 229, 230, 231, 271, 273, 318, 319, 324, 334,
];
/// What it may call with some arguments: mmap, mprotect, clone, prctl, tgkill, openat, prlimit64.
const WITH_ARGUMENTS: &[i64] = &[9, 10, 56, 157, 234, 257, 302];
/// What ends it: execve, ptrace, execveat.
const FATAL: &[i64] = &[59, 101, 322];
/// uretprobe and uprobe, which are no calls: whoever comes from elsewhere than the kernel's own code gets SIGILL.
const PROBES: &[i64] = &[335, 336];
const CLONE3: i64 = 435;

/// Where some bytes are.
fn address(bytes: &[u8]) -> u64 {
    bytes.as_ptr().expose_provenance() as u64
}

/// Where the kernel may write some bytes.
fn address_mut(bytes: &mut [u8]) -> u64 {
    bytes.as_mut_ptr().expose_provenance() as u64
}

const WHAT: &str = "ZAPP_TEST_CONFINED";

/// Runs `test` in a child that is confined first. What it prints comes back.
fn confined(name: &str, what: &str) -> Output {
    Command::new(std::env::current_exe().expect("a test has a file"))
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(WHAT, what)
        .output()
        .expect("this binary runs")
}

/// In the child: what it is to do, when it has been confined.
fn task() -> Option<String> {
    let what = std::env::var(WHAT).ok()?;
    worker::confine_for_a_test().expect("it can be confined");
    // The harness has begun a line.
    println!();
    Some(what)
}

fn numbers(output: &Output) -> BTreeMap<String, i64> {
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    let results = text.lines().filter_map(|line| line.strip_prefix("call "));
    results
        .map(|line| {
            let (name, result) = line.rsplit_once(' ').expect("a name and a number");
            (name.to_owned(), result.parse().expect("a number"))
        })
        .collect()
}

// case limits-11-worker-confinement
#[test]
fn every_call_that_is_not_on_the_list_is_refused() {
    let is_left_out = |number: &i64| {
        [ALLOWED, WITH_ARGUMENTS, FATAL, PROBES]
            .iter()
            .any(|list| list.contains(number))
    };
    if task().is_some() {
        for number in (0..NUMBERS).filter(|number| !is_left_out(number)) {
            println!("call {number} {}", call(number, [0; 6]));
        }
        // None of the other set, not even what is allowed in this one; execve and ptrace are others there.
        for number in [0, 1, 9, 41, 56, 257, 520, 521, 545] {
            println!("call x32-{number} {}", call(X32 | number, [0; 6]));
        }
        std::process::exit(0);
    }
    let output = confined("every_call_that_is_not_on_the_list_is_refused", "all");
    let results = numbers(&output);
    let tried = (0..NUMBERS).filter(|number| !is_left_out(number)).count() + 9;
    assert_eq!(results.len(), tried, "{output:?}");
    for (number, result) in &results {
        let want = if *number == CLONE3.to_string() {
            ENOSYS
        } else {
            EPERM
        };
        assert_eq!(*result, want, "call {number}");
    }
}

#[test]
fn calls_that_start_or_look_into_programs_end_the_process() {
    if let Some(what) = task() {
        call(what.parse().expect("a number"), [0; 6]);
        std::process::exit(0);
    }
    for number in FATAL {
        let name = "calls_that_start_or_look_into_programs_end_the_process";
        let output = confined(name, &number.to_string());
        assert_eq!(
            output.status.signal(),
            Some(SIGSYS),
            "call {number}: {output:?}"
        );
    }
}

#[test]
fn arguments_of_allowed_calls_are_looked_at() {
    const AT_FDCWD: u64 = (-100_i64).cast_unsigned();
    if task().is_some() {
        let page = 4096;
        let (read, write, execute, private_anonymous) = (1, 2, 4, 0x22);
        let no_file = u64::MAX;
        let map = |protection| call(9, [0, page, protection, private_anonymous, no_file, 0]);
        let plain = map(read | write).cast_unsigned();
        let tell = |name: &str, result: i64| println!("call {name} {result}");
        tell("mmap-wx", map(read | write | execute));
        tell(
            "mprotect-x",
            call(10, [plain, page, read | execute, 0, 0, 0]),
        );
        tell(
            "mprotect-wx",
            call(10, [plain, page, read | write | execute, 0, 0, 0]),
        );
        tell("mprotect-r", call(10, [plain, page, read, 0, 0, 0]));
        // fork, as glibc makes it; a thread needs CLONE_THREAD.
        tell("clone-process", call(56, [17, 0, 0, 0, 0, 0]));
        tell("clone-vfork", call(56, [0x4100, 0, 0, 0, 0, 0]));
        for (name, option) in [
            ("pdeathsig", 1),
            ("dumpable", 4),
            ("no-new-privs", 38),
            ("seccomp", 22),
            ("mdwe", 65),
            ("spec", 53),
        ] {
            tell(&format!("prctl-{name}"), call(157, [option, 0, 0, 0, 0, 0]));
        }
        tell("tgkill-other", call(234, [1, 1, 0, 0, 0, 0]));
        let mut room = [0_u8; 16];
        tell(
            "prlimit-read",
            call(302, [0, 7, 0, address_mut(&mut room), 0, 0]),
        );
        tell(
            "prlimit-set",
            call(302, [0, 7, address(&[1_u8; 16]), 0, 0, 0]),
        );
        let open = |path: &[u8], flags: u64| call(257, [AT_FDCWD, address(path), flags, 0, 0, 0]);
        for (name, flags) in [
            ("write", 1),
            ("both", 2),
            ("create", 0o100),
            ("truncate", 0o1000),
            ("unnamed", 0o20_200_000),
        ] {
            tell(&format!("open-{name}"), open(b"/proc/self/maps\0", flags));
        }
        tell("open-passwd", open(b"/etc/passwd\0", 0));
        tell("open-directory", open(b"/\0", 0));
        tell("open-environment", open(b"/proc/1/environ\0", 0));
        tell("open-own", open(b"/proc/self/maps\0", 0).min(0));
        tell("cwd", i64::from(std::env::current_dir().is_ok()));
        std::process::exit(0);
    }
    let output = confined("arguments_of_allowed_calls_are_looked_at", "all");
    let results = numbers(&output);
    let (allowed, not_found_out) = (["mprotect-r", "open-own", "prlimit-read"], 0);
    const EACCES: i64 = -13;
    for (name, result) in &results {
        let want = match name.as_str() {
            "cwd" => not_found_out,
            name if allowed.contains(&name) => 0,
            // Landlock says so.
            "open-passwd" | "open-directory" | "open-environment" => EACCES,
            _ => EPERM,
        };
        assert_eq!(*result, want, "{name}");
    }
    assert_eq!(results.len(), 25, "{results:?}");
}

#[test]
fn the_process_has_no_capabilities_and_stands_in_the_root() {
    if task().is_some() {
        println!(
            "{}",
            std::fs::read_to_string("/proc/thread-self/status").expect("its own")
        );
        std::process::exit(0);
    }
    let name = "the_process_has_no_capabilities_and_stands_in_the_root";
    let output = confined(name, "all");
    let status = String::from_utf8_lossy(&output.stdout);
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert!(
            status.contains(&format!("{set}:\t0000000000000000")),
            "{status}"
        );
    }
}
