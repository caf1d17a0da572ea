//! What the sandbox costs: SQLite's speedtest1 and a Lua program, for the sandbox and natively from the same sources with
//! the same options and libc source, alternating in one run.
//!
//! ```text
//! cargo bench -p toolchain --bench speed [-- ROUNDS]
//! ```
//!
//! Two native twins stand beside the guest: one with musl's own memcpy and memset (`rep movsq`), and one with the guest
//! libc's, so that nothing but the sandbox differs. Each figure is a ratio of processor time, the median of the ratios of
//! the rounds: on a busy machine neighbours slow both down. Loading and verifying the guest is not part of it.

#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/project.rs"]
mod project;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/twin.rs"]
mod twin;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use project::{LUA54, Memory, Project, SQLITE};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use sandbox::{Config, HostTree, Instance, Limits, Mounts, Outcome, Output, Sandbox};

const ROUNDS: usize = 9;

/// A program and how it is run.
struct Load {
    name: &'static str,
    project: &'static Project,
    program: &'static str,
    args: &'static [&'static str],
}

const LOADS: [Load; 3] = [
    Load {
        name: "SQLite speedtest1",
        project: &SQLITE,
        program: "speedtest1",
        args: &["--memdb", "--size", "40"],
    },
    Load {
        name: "SQLite speedtest1, files",
        project: &SQLITE,
        program: "speedtest1",
        args: &["--size", "15", "/tmp/zapp-speed.db"],
    },
    Load {
        name: "Lua 5.4, mixed program",
        project: &LUA54,
        program: "lua",
        args: &["mixed.lua"],
    },
];

fn main() {
    let words = std::env::args().skip(1);
    let rounds = words.filter_map(|word| word.parse().ok()).next();
    let rounds: usize = rounds.unwrap_or(ROUNDS);
    println!(
        "processor time, median of {rounds} rounds; ratio to native musl, and to native with the guest's memcpy"
    );
    for load in &LOADS {
        measure(load, rounds);
    }
}

fn measure(load: &Load, rounds: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches");
    let guest = load.project.guest().join(load.program);
    let natives =
        [Memory::Musl, Memory::Guest].map(|memory| load.project.native(memory).join(load.program));
    let sandbox = Sandbox::new(Config::default()).expect("a sandbox");
    let bytes = std::fs::read(&guest).expect("the guest was built");
    let program = sandbox.load(&bytes).expect("it is confined");
    let tree = HostTree::open(&folder).expect("the folder is there");
    let mounts = Mounts::new().mount("/", Arc::new(tree));
    let snapshot = sandbox
        .start(&program, &Limits::default(), &mounts)
        .expect("it starts");
    let run = |which: usize| match which {
        0 => {
            let arguments = ["program"].iter().chain(load.args).copied();
            let instance = Instance::builder(&snapshot)
                .args(arguments)
                .stdout(Output::Discard)
                .build()
                .expect("a slot");
            let report = instance.run().report;
            assert_eq!(report.outcome, Outcome::Exited { status: 0 });
            Duration::from_nanos(report.usage.cpu_ns)
        }
        which => native(&natives[which - 1], &folder, load.args),
    };
    let mut times: [Vec<f64>; 3] = Default::default();
    for round in 0..rounds {
        // Each goes first as often as the others.
        for turn in 0..3 {
            let which = (round + turn) % 3;
            times[which].push(run(which).as_secs_f64());
        }
    }
    let ratio = |other: usize| {
        median(
            times[0]
                .iter()
                .zip(&times[other])
                .map(|(guest, native)| guest / native)
                .collect(),
        )
    };
    let [guest_time, musl, same] = times.each_ref().map(|times| median(times.clone()) * 1e3);
    println!(
        "{:26} guest {guest_time:7.0} ms  native {musl:7.0} ms ({:.3})  same memcpy {same:7.0} ms ({:.3})",
        load.name,
        ratio(1),
        ratio(2)
    );
    let [guest_text, native_text] = [&guest, &natives[1]].map(|program| text_size(program));
    println!(
        "{:26} guest {guest_text:7} B   native {native_text:7} B  ({:.3})",
        "  text",
        guest_text / native_text
    );
}

/// Processor time of a native program. It is asked for between the end of the process and the moment it is forgotten.
fn native(program: &Path, folder: &Path, args: &[&str]) -> Duration {
    let _left_over = std::fs::remove_file("/tmp/zapp-speed.db");
    let mut child = Command::new(program)
        .args(args)
        .current_dir(folder)
        .stdout(Stdio::null())
        .spawn()
        .expect("the native program starts");
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(pid.expect("a process")), options).expect("the child is ours");
    let path = format!("/proc/{}/schedstat", child.id());
    let text = std::fs::read_to_string(path).expect("the process is still known");
    assert!(child.wait().expect("the child is ours").success());
    let _left_over = std::fs::remove_file("/tmp/zapp-speed.db");
    let nanoseconds = text
        .split(' ')
        .next()
        .and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.expect("a number"))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Bytes of machine code, by `size -A`.
fn text_size(program: &Path) -> f64 {
    let output = Command::new("size")
        .arg("-A")
        .arg(program)
        .output()
        .expect("size runs");
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = output.lines().find(|line| line.starts_with(".text"));
    line.and_then(|line| line.split_whitespace().nth(1))
        .and_then(|number| number.parse().ok())
        .expect("a text section")
}
