//! How instances end: by themselves, by a fault, by a limit. Whatever one does, the next is fine.

use crate::support::{AREA, Script, sandbox, snapshot};
use sandbox::{Finished, Input, Instance, LimitKind, Limits, Mounts, Outcome, Output};
use std::time::{Duration, Instant};

fn faults(kind: &str, limits: &Limits) -> Finished {
    let snapshot = snapshot("faults", limits, &Mounts::new());
    Instance::builder(&snapshot)
        .args(["faults", kind])
        .build()
        .expect("room")
        .run()
}

#[test]
fn hello_is_written_and_its_status_passed_on() {
    let snapshot = snapshot("hello", &Limits::default(), &Mounts::new());
    let finished = Instance::builder(&snapshot)
        .arg("hello")
        .build()
        .expect("room")
        .run();
    assert_eq!(finished.stdout, b"hello\n");
    assert_eq!(finished.report.outcome, Outcome::Exited { status: 7 });
    assert_eq!(finished.report.exit_code(), 7);
    assert_eq!(finished.report.usage.traps, 2);
    let json: serde_json::Value = serde_json::from_str(&finished.report.to_json()).expect("JSON");
    assert_eq!(json["version"], 1);
    assert_eq!(json["outcome"]["kind"], "exited");
}

#[test]
fn second_load_of_a_program_verifies_nothing() {
    let elf = crate::support::guest("hello");
    sandbox().load(&elf).expect("verified");
    let before = sandbox().verified_programs();
    sandbox().load(&elf).expect("known");
    assert_eq!(sandbox().verified_programs(), before);
}

#[test]
fn program_with_a_forbidden_instruction_is_refused_by_its_rule() {
    let mut elf = crate::support::guest("hello").to_vec();
    let trap = [0x41, 0xFF, 0x96, 0x00, 0xF0, 0x00, 0x00];
    let at = elf
        .windows(7)
        .position(|bytes| bytes == trap)
        .expect("a trap");
    // syscall; then filled up with no-operations.
    elf[at..at + 7].copy_from_slice(&[0x0F, 0x05, 0x90, 0x90, 0x90, 0x90, 0x90]);
    let error = sandbox().load(&elf).expect_err("refused");
    let sandbox::Error::Refused(verifier::ProgramError::Rejected(rejection)) = error else {
        panic!("refused for another reason: {error}");
    };
    assert_eq!(rejection.rule, verifier::Rule::AllowList);
}

#[test]
fn faults_are_reported_with_signal_and_place() {
    for (kind, signal, address) in [
        ("n", libc::SIGSEGV, Some(8)),
        ("h", libc::SIGSEGV, None),
        ("d", libc::SIGFPE, None),
        ("b", libc::SIGTRAP, None),
        ("t", libc::SIGSEGV, Some(0x20000)),
        ("c", libc::SIGSEGV, Some(0xF000)),
        ("j", libc::SIGSEGV, Some(0x31000)),
    ] {
        let report = faults(kind, &Limits::default()).report;
        let Outcome::Fault {
            signal: got,
            instruction,
            address: at,
        } = report.outcome
        else {
            panic!("{kind}: {:?}", report.outcome);
        };
        assert_eq!(got, signal.cast_unsigned(), "{kind}");
        if kind == "j" {
            assert_eq!(
                instruction, 0x31000,
                "it stopped at the first byte that is no text"
            );
        } else {
            assert!(
                (0x20000..0x21000).contains(&instruction),
                "{kind}: {instruction:x}"
            );
        }
        if let Some(address) = address {
            assert_eq!(at, Some(address), "{kind}");
        }
        assert_eq!(
            report.exit_code(),
            128 + u8::try_from(signal).unwrap(),
            "{kind}"
        );
    }
}

#[test]
fn recursion_without_end_is_a_stack_limit() {
    let report = faults("r", &Limits::default()).report;
    assert_eq!(
        report.outcome,
        Outcome::Limit {
            limit: LimitKind::Stack
        }
    );
}

#[test]
fn return_from_the_outermost_function_ends_the_instance() {
    let report = faults("x", &Limits::default()).report;
    assert!(
        matches!(report.outcome, Outcome::Misuse { .. }),
        "{:?}",
        report.outcome
    );
}

#[test]
fn abort_ends_with_its_signal() {
    let report = faults("a", &Limits::default()).report;
    assert_eq!(report.outcome, Outcome::Raised { signal: 6 });
    assert_eq!(report.exit_code(), 134);
}

#[test]
fn wall_limit_ends_a_spinning_guest_in_time() {
    for kind in ["s", "m", "k"] {
        let limits = Limits {
            wall: Some(Duration::from_millis(50)),
            ..Limits::default()
        };
        let start = Instant::now();
        let report = faults(kind, &limits).report;
        assert_eq!(
            report.outcome,
            Outcome::Limit {
                limit: LimitKind::Wall
            },
            "{kind}"
        );
        assert_eq!(report.exit_code(), 124);
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{kind}: {:?}",
            start.elapsed()
        );
    }
}

#[test]
fn cpu_limit_ends_a_spinning_guest() {
    let limits = Limits {
        cpu: Some(Duration::from_millis(30)),
        ..Limits::default()
    };
    let report = faults("s", &limits).report;
    assert_eq!(
        report.outcome,
        Outcome::Limit {
            limit: LimitKind::Cpu
        }
    );
    assert!(report.usage.cpu_ns >= 30_000_000);
    assert_eq!(report.exit_code(), 137);
}

#[test]
fn output_limit_ends_a_guest_that_writes_for_ever() {
    let limits = Limits {
        output_bytes: 100_000,
        ..Limits::default()
    };
    let finished = faults("o", &limits);
    assert_eq!(
        finished.report.outcome,
        Outcome::Limit {
            limit: LimitKind::Output
        }
    );
    assert!(finished.stdout.len() <= 100_000);
    assert!(finished.stdout.len() > 90_000);
}

#[test]
fn trap_limit_ends_a_guest_that_only_calls() {
    let limits = Limits {
        traps: Some(1_000),
        ..Limits::default()
    };
    let report = faults("k", &limits).report;
    assert_eq!(
        report.outcome,
        Outcome::Limit {
            limit: LimitKind::Traps
        }
    );
    assert_eq!(report.usage.traps, 1_001);
}

#[test]
fn canceller_ends_one_instance_and_only_that() {
    let snapshot = snapshot("faults", &Limits::default(), &Mounts::new());
    let first = Instance::builder(&snapshot)
        .args(["faults", "s"])
        .build()
        .expect("room");
    let stop = first.canceller();
    let thread = std::thread::spawn(move || first.run().report);
    std::thread::sleep(Duration::from_millis(20));
    assert!(!thread.is_finished());
    stop.cancel();
    assert_eq!(thread.join().expect("no panic").outcome, Outcome::Cancelled);
    // A late cancel hits nobody.
    let next = Instance::builder(&snapshot)
        .args(["faults", "q"])
        .build()
        .expect("room");
    stop.cancel();
    assert_eq!(next.run().report.outcome, Outcome::Exited { status: 0 });
}

#[test]
fn instance_cancelled_before_it_starts_never_runs() {
    let snapshot = snapshot("hello", &Limits::default(), &Mounts::new());
    let instance = Instance::builder(&snapshot)
        .arg("hello")
        .build()
        .expect("room");
    instance.canceller().cancel();
    let finished = instance.run();
    assert_eq!(finished.report.outcome, Outcome::Cancelled);
    assert_eq!(finished.report.usage.traps, 0);
}

#[test]
fn limits_too_small_for_the_program_are_an_error() {
    let program = sandbox()
        .load(&crate::support::guest("hello"))
        .expect("verified");
    let limits = Limits {
        memory_bytes: 1 << 20,
        ..Limits::default()
    };
    let error = sandbox()
        .start(&program, &limits, &Mounts::new())
        .expect_err("too small");
    assert!(
        matches!(error, sandbox::Error::DoesNotFit { .. }),
        "{error}"
    );
}

#[test]
fn budget_admits_no_more_than_it_holds() {
    let config = sandbox::Config {
        memory_budget_bytes: 2 << 30,
        ..sandbox::Config::default()
    };
    let sandbox = sandbox::Sandbox::new(config).expect("this process can host guests");
    let program = sandbox
        .load(&crate::support::guest("hello"))
        .expect("verified");
    let limits = Limits {
        memory_bytes: 512 << 20,
        scratch_bytes: 0,
        ..Limits::default()
    };
    let snapshot = sandbox
        .start(&program, &limits, &Mounts::new())
        .expect("fits");
    let build = || Instance::builder(&snapshot).arg("hello").build();
    let held: Vec<_> = (0..3).map(|_| build().expect("room")).collect();
    let error = build().expect_err("no room");
    assert!(matches!(error, sandbox::Error::Busy { .. }), "{error}");
    drop(held);
    assert_eq!(sandbox.live_instances(), 0);
    assert_eq!(build().expect("room again").run().stdout, b"hello\n");
}

// case reported-no-sigpipe: a program that relies on the signal wrote for ever.
#[test]
fn a_broken_pipe_ends_the_guest_unless_it_said_otherwise() {
    let run = |script: &Script| {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let snapshot = snapshot("calls", &Limits::default(), &Mounts::new());
        Instance::builder(&snapshot)
            .arg("calls")
            .stdin(Input::Bytes(script.input().to_vec()))
            .stderr(Output::Host(writer.into()))
            .build()
            .expect("room")
            .run()
    };
    let write = Script::new().call(libc::SYS_write, [2, AREA, 1]);
    let finished = run(&write);
    assert_eq!(finished.report.outcome, Outcome::Raised { signal: 13 });
    assert_eq!(finished.report.exit_code(), 141);
    let (ignored, default) = (1_u64, 0_u64);
    let set = |action: u64| {
        Script::new()
            .poke(AREA, action.to_le_bytes())
            .call(libc::SYS_rt_sigaction, [13, AREA, 0, 8])
    };
    let finished = run(&set(ignored).then(&write));
    assert_eq!(finished.report.outcome, Outcome::Exited { status: 0 });
    let finished = run(&set(ignored).then(&set(default)).then(&write));
    assert_eq!(finished.report.outcome, Outcome::Raised { signal: 13 });
}
