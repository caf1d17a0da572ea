//! Calls from a guest with arbitrary numbers and arguments.
//!
//! Invariants: the host neither panics nor faults, no slot is left in a state that differs from the
//! snapshot's (debug builds look at each reset), an instance ends within its limits.
//!
//! The input is a list of calls, 56 bytes each, which the guest `calls` of the runtime's tests makes;
//! it needs GNU `as` and `ld` at the start.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sandbox::{Config, Input, Instance, Limits, MemoryTree, Mounts, Outcome, Sandbox, Snapshot};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

fn assemble() -> Vec<u8> {
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sandbox/tests/guests");
    let target = std::env::temp_dir().join(format!("zapp-fuzz-{}", std::process::id()));
    std::fs::create_dir(&target).expect("a directory of our own");
    let run = |command: &mut Command| assert!(command.status().expect("binutils").success());
    run(Command::new("as").arg("-I").arg(&guests).arg("-o").arg(target.join("o")).arg(guests.join("calls.s")));
    run(Command::new("ld")
        .args(["-static", "-z", "noexecstack", "-T"])
        .arg(guests.join("guest.ld"))
        .arg("-o")
        .arg(target.join("elf"))
        .arg(target.join("o")));
    let elf = std::fs::read(target.join("elf")).expect("ld wrote it");
    std::fs::remove_dir_all(&target).expect("it is ours");
    elf
}

fn snapshot() -> &'static (Sandbox, Snapshot) {
    static MADE: OnceLock<(Sandbox, Snapshot)> = OnceLock::new();
    MADE.get_or_init(|| {
        let sandbox = Sandbox::new(Config::default()).expect("this process can host guests");
        let program = sandbox.load(&assemble()).expect("the guest is verified");
        let limits = Limits {
            memory_bytes: 16 << 20,
            stack_bytes: 1 << 20,
            scratch_bytes: 1 << 20,
            output_bytes: 4 << 20,
            files: 64,
            traps: Some(20_000),
            wall: Some(Duration::from_secs(2)),
            ..Limits::default()
        };
        let tree = MemoryTree::new().file("f", vec![7; 10_000]).link("l", "f").directory("d");
        let mounts = Mounts::new().mount("/", Arc::new(tree));
        let snapshot = sandbox.start(&program, &limits, &mounts).expect("it fits");
        (sandbox, snapshot)
    })
}

fuzz_target!(|data: &[u8]| {
    let (sandbox, snapshot) = snapshot();
    let instance = Instance::builder(snapshot).arg("calls").stdin(Input::Bytes(data.to_vec()));
    let report = instance.build().expect("there is room for one").run().report;
    assert!(!matches!(report.outcome, Outcome::HostBug { .. }), "{:?}", report.outcome);
    assert_eq!(sandbox.poisoned_slots(), 0);
});
