//! What nothing determines reaches a guest through one seam: a run can be recorded and run again, and no clock of a
//! guest's ever goes back.

use crate::support::{AREA, Script, guest, snapshot};
use sandbox::{
    Asked, Builder, Config, Divergence, Finished, Input, Instance, Limits, MemoryTree, Mounts,
    Outcome, Output, Recording, Request, Sandbox, Snapshot, Usage,
};
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

const ACCEPT: i64 = 0x7A00;
/// Where `accept` puts the request, where scripts put times and random bytes.
const REQUEST: u64 = AREA + 0x8000;
const PLACE: u64 = AREA + 0x3000;

fn mounts() -> Mounts {
    let tree = MemoryTree::new().file("/site/page", b"page".to_vec());
    Mounts::new().mount("/", Arc::new(tree))
}

fn start() -> Snapshot {
    snapshot("calls", &Limits::default(), &mounts())
}

/// Asks for everything that is not determined, and shows it.
fn curious() -> Script {
    let mut script = Script::new();
    for clock in [
        libc::CLOCK_REALTIME,
        libc::CLOCK_MONOTONIC,
        libc::CLOCK_PROCESS_CPUTIME_ID,
        libc::CLOCK_REALTIME,
    ] {
        script = script
            .call(
                libc::SYS_clock_gettime,
                [u64::from(clock.unsigned_abs()), PLACE],
            )
            .peek(PLACE, 16);
    }
    script
        .call(libc::SYS_gettimeofday, [PLACE, 0])
        .peek(PLACE, 16)
        .call(libc::SYS_times, [PLACE])
        .peek(PLACE, 32)
        .call(libc::SYS_getrusage, [0, PLACE])
        .peek(PLACE, 144)
        .call(libc::SYS_getrandom, [PLACE, 5000])
        .peek(PLACE, 5000)
        .path(AREA, "/dev/urandom")
        .call(libc::SYS_open, [AREA, 0])
        .call(libc::SYS_read, [3, PLACE, 100])
        .peek(PLACE, 100)
        .poke(PLACE, [[0; 8], 30_000_000_u64.to_le_bytes()].as_flattened())
        .call(libc::SYS_nanosleep, [PLACE, 0])
        .path(AREA, "/site/new")
        .call(libc::SYS_open, [AREA, 0o102, 0o600])
        .call(libc::SYS_write, [4, AREA, 4])
        .call(libc::SYS_fstat, [4, PLACE])
        .peek(PLACE, 144)
        .call(libc::SYS_time, [0])
}

fn calls<'a>(snapshot: &'a Snapshot, input: &[u8]) -> Builder<'a> {
    Instance::builder(snapshot)
        .arg("calls")
        .stdin(Input::Bytes(input.to_vec()))
}

/// What two runs of the same must agree on.
fn determined(finished: &Finished) -> (&Outcome, Usage, &[u8], &[u8]) {
    let usage = Usage {
        wall_ns: 0,
        cpu_ns: 0,
        ..finished.report.usage.clone()
    };
    (
        &finished.report.outcome,
        usage,
        &finished.stdout,
        &finished.stderr,
    )
}

fn record(builder: Builder<'_>) -> (Finished, Recording) {
    let mut finished = builder.record(1 << 20).build().expect("room").run();
    let recording = finished.recording.take().expect("it is not too long");
    (finished, recording)
}

#[test]
fn recorded_run_is_the_same_when_it_runs_again() {
    let (start, script) = (start(), curious());
    let (first, recording) = record(calls(&start, script.input()));
    assert_eq!(first.report.outcome, Outcome::Exited { status: 0 });
    assert!(first.report.usage.traps > 60);
    let (other, _) = record(calls(&start, script.input()));
    assert_ne!(first.stdout, other.stdout, "the world is never the same");
    for input in [script.input(), b"not read by a replay"] {
        std::thread::sleep(Duration::from_millis(2));
        let builder = calls(&start, input).replay(recording.clone());
        let again = builder.build().expect("room").run();
        assert_eq!(determined(&again), determined(&first));
        assert!(again.recording.is_none());
        assert!(
            again.report.usage.wall_ns < 25_000_000,
            "a replay does not sleep"
        );
    }
    // The random bytes of the start block are outside, too, and may be carried elsewhere.
    let carried = serde_json::to_vec(&recording).expect("plain data");
    let carried: Recording = serde_json::from_slice(&carried).expect("plain data");
    let again = calls(&start, &[]).replay(carried).build();
    assert_eq!(determined(&again.expect("room").run()), determined(&first));
}

#[test]
fn start_block_has_the_recorded_random_bytes() {
    let start = start();
    // AT_RANDOM's bytes lie below the strings at the top of the stack: show the last kilobyte.
    let script = Script::new().peek(0xFFFF_0000 - 1024, 1024);
    let (first, recording) = record(calls(&start, script.input()));
    let (other, _) = record(calls(&start, script.input()));
    assert_ne!(first.stdout, other.stdout);
    let again = calls(&start, script.input()).replay(recording).build();
    assert_eq!(again.expect("room").run().stdout, first.stdout);
}

#[test]
fn request_is_numbered_and_seeded_as_recorded() {
    let waiting = Script::new()
        .call(ACCEPT, [REQUEST, 4096])
        .instance(&start())
        .run_to_accept()
        .expect("it accepts");
    let frozen = waiting.freeze(false).expect("it can be frozen");
    let script = Script::new()
        .peek(REQUEST, 120)
        .call(libc::SYS_getrandom, [PLACE, 32])
        .peek(PLACE, 32);
    let build = || calls(&frozen, script.input()).request(Request::default().variable("A", "b"));
    let (first, recording) = record(build());
    let (other, _) = record(build());
    assert_ne!(first.stdout, other.stdout);
    let again = build().replay(recording.clone()).build().expect("room");
    assert_eq!(determined(&again.run()), determined(&first));

    // A recording that has no request left to tell of ends the instance before it runs.
    let (_, short) = record(calls(&frozen, &[]));
    assert!(short.is_empty());
    let early = build().replay(short).build().expect("room").run();
    let divergence = Divergence {
        after: 0,
        asked: Asked::Random,
        recorded: None,
    };
    assert_eq!(early.report.outcome, Outcome::Diverged(divergence));
    assert_eq!(
        (early.report.usage.traps, early.report.exit_code()),
        (0, 125)
    );
}

#[test]
fn replay_that_asks_for_more_ends_the_instance() {
    let start = start();
    let look = Script::new().call(libc::SYS_clock_gettime, [1, PLACE]);
    let twice = look.clone().call(libc::SYS_clock_gettime, [1, PLACE]);
    let (first, recording) = record(calls(&start, look.input()));
    assert_eq!(first.report.outcome, Outcome::Exited { status: 0 });
    // The replay has its input from the recording; with another recording in front it asks for something else.
    let (_, longer) = record(calls(&start, twice.input()));
    assert!(longer.len() > recording.len());
    let cut: Recording = {
        let bytes = serde_json::to_value(&longer).expect("plain data");
        let bytes = bytes.as_array().expect("bytes")[..recording.len()].to_vec();
        serde_json::from_value(bytes.into()).expect("bytes")
    };
    let ended = calls(&start, &[]).replay(cut).build().expect("room").run();
    let Outcome::Diverged(divergence) = ended.report.outcome else {
        panic!("{:?}", ended.report.outcome);
    };
    assert!(divergence.after > 3, "{divergence:?}");
    assert!(
        ended.stdout.len() < 16,
        "nothing is shown beyond the recording"
    );
    assert!(ended.poisoned.is_none());
    assert!(
        ended.report.to_json().contains("\"kind\":\"diverged\""),
        "{}",
        ended.report.to_json()
    );
}

#[test]
fn recording_too_long_is_none() {
    let start = start();
    let builder = calls(&start, curious().input()).record(5000);
    let finished = builder.build().expect("room").run();
    assert_eq!(finished.report.outcome, Outcome::Exited { status: 0 });
    assert!(finished.recording.is_none());
}

#[test]
fn streams_of_the_host_are_recorded() {
    let start = start();
    let script = Script::new().call(libc::SYS_getpid, []).path(AREA, "x");
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(script.input()).expect("room");
    drop(writer);
    // What the guest writes to stderr goes nowhere: its reader is gone.
    let (gone, closed) = std::io::pipe().expect("a pipe");
    drop(gone);
    let full = File::options()
        .write(true)
        .open("/dev/full")
        .expect("it is there");
    for broken in [OwnedFd::from(closed), OwnedFd::from(full)] {
        // Whoever ignores SIGPIPE gets to see the error.
        let script = script
            .clone()
            .poke(AREA + 0x100, 1_u64.to_le_bytes())
            .call(libc::SYS_rt_sigaction, [13, AREA + 0x100, 0, 8])
            .call(libc::SYS_write, [2, AREA, 1]);
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        writer.write_all(script.input()).expect("room");
        drop(writer);
        let builder = calls(&start, &[])
            .stdin(Input::Host(reader.into()))
            .stderr(Output::Host(broken));
        let (first, recording) = record(builder);
        let again = calls(&start, &[]).replay(recording).build();
        let again = again.expect("room").run();
        assert_eq!(determined(&again), determined(&first));
        let result = i64::from_le_bytes(first.stdout[32..40].try_into().expect("eight bytes"));
        assert!(
            [libc::EPIPE, libc::ENOSPC]
                .map(|e| -i64::from(e))
                .contains(&result)
        );
    }
    let (first, recording) = record(calls(&start, &[]).stdin(Input::Host(reader.into())));
    let again = calls(&start, &[]).replay(recording).build();
    assert_eq!(again.expect("room").run().stdout, first.stdout);
}

/// Seconds and nanoseconds at the start of what a script showed.
fn time(shown: &[u8]) -> Duration {
    let word = |at: usize| u64::from_le_bytes(shown[at..at + 8].try_into().expect("eight bytes"));
    Duration::new(word(0), u32::try_from(word(8)).expect("below a second"))
}

/// Looks at a clock and shows it, and tells of both.
fn look(clock: i32) -> Script {
    Script::new()
        .call(
            libc::SYS_clock_gettime,
            [u64::from(clock.unsigned_abs()), PLACE],
        )
        .peek(PLACE, 16)
}

#[test]
fn clocks_of_a_stored_snapshot_never_go_back() {
    for clock in [libc::CLOCK_MONOTONIC, libc::CLOCK_PROCESS_CPUTIME_ID] {
        let old = Sandbox::new(Config::default()).expect("this process can host guests");
        let start = |sandbox: &Sandbox| {
            let program = sandbox.load(&guest("calls")).expect("verified");
            let start = sandbox.start(&program, &Limits::default(), &mounts());
            start.expect("it fits")
        };
        std::thread::sleep(Duration::from_millis(50));
        let before = start(&old);
        let mut waiting = calls(
            &before,
            &[look(clock), Script::new().call(ACCEPT, [REQUEST, 4096])]
                .map(|script| script.input().to_vec())
                .concat(),
        )
        .build()
        .expect("room")
        .run_to_accept()
        .expect("it accepts");
        let (_, [shown, _]) = waiting.take_answer();
        let earlier = time(&shown[8..]);
        let mut bytes = Vec::new();
        let frozen = waiting.freeze(false).expect("it can be frozen");
        frozen.store(&mut bytes).expect("it can be stored");

        // As in a process that has just begun.
        let new = Sandbox::new(Config::default()).expect("this process can host guests");
        let restored = start(&new).restore(&bytes).expect("it is sound");
        for snapshot in [&frozen, &restored] {
            let run = calls(snapshot, look(clock).input()).request(Request::default());
            let finished = run.build().expect("room").run();
            // `accept` has shown its result first.
            let later = time(&finished.stdout[16..]);
            assert!(later >= earlier, "{clock}: {later:?} after {earlier:?}");
            assert!(
                later < earlier + Duration::from_secs(5),
                "{clock}: {later:?}"
            );
        }
    }
}

#[test]
fn cpu_clock_goes_on_from_one_request_to_the_next() {
    let accept = Script::new().call(ACCEPT, [REQUEST, 4096]);
    let clock = || look(libc::CLOCK_PROCESS_CPUTIME_ID);
    let mut busy = Script::new();
    for _ in 0..50 {
        busy = busy.call(libc::SYS_getrandom, [PLACE, 16 << 10]);
    }
    let accept_again = accept.clone();
    let input = [busy, clock(), accept, clock(), accept_again, clock()].map(|s| s.input().to_vec());
    let start = start();
    let waiting = calls(&start, &input.concat()).build().expect("room");
    let waiting = waiting.run_to_accept().expect("it accepts");
    let mut waiting = waiting.serve_next(&Request::default()).expect("it accepts");
    let (_, [shown, _]) = waiting.take_answer();
    let finished = waiting.serve(&Request::default());
    let shown = &shown[50 * 8..];
    let (first, second) = (time(&shown[8..]), time(&shown[48..]));
    let third = time(&finished.stdout[16..]);
    assert!(
        first <= second && second <= third,
        "{first:?} {second:?} {third:?}"
    );
}
