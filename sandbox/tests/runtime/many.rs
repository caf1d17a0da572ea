//! Many instances, one after the other and at once; bad ones beside good ones; kicks at any moment.
//!
//! `ZAPP_TEST_INSTANCES` sets how many run in a row (10,000 by default), `ZAPP_TEST_KILLS` how many are
//! killed (1,200 by default).

use crate::support::{AREA, Script, sandbox, snapshot};
use sandbox::{Instance, LimitKind, Limits, Mounts, Outcome, Request};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

fn small() -> Limits {
    Limits {
        memory_bytes: 16 << 20,
        stack_bytes: 1 << 20,
        scratch_bytes: 0,
        ..Limits::default()
    }
}

fn count(path: &str) -> usize {
    std::fs::read_dir(path).map_or(0, Iterator::count)
}

/// Resident anonymous memory of this process in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status
        .lines()
        .find(|line| line.starts_with("RssAnon"))
        .expect("a known field");
    line.split_ascii_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok())
        .expect("a number")
}

#[test]
fn instances_in_a_row_leak_nothing() {
    let instances: u64 = std::env::var("ZAPP_TEST_INSTANCES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(10_000);
    let snapshot = snapshot("hello", &small(), &Mounts::new());
    let run = || {
        let finished = Instance::builder(&snapshot)
            .arg("hello")
            .build()
            .expect("room")
            .run();
        assert_eq!(finished.stdout, b"hello\n");
    };
    (0..100).for_each(|_| run());
    let before = resident();
    for _ in 0..instances {
        run();
    }
    // Other tests run at the same time; a leak of one page an instance would be far above this.
    let grown = resident().saturating_sub(before);
    assert!(
        grown < 200_000.max(instances * 2),
        "{grown} KiB more after {instances} instances"
    );
    assert!(count("/proc/self/fd") < 500);
}

#[test]
fn a_thousand_instances_wait_at_once() {
    let snapshot = snapshot("server", &small(), &Mounts::new());
    let waiting: Vec<_> = (0..1_000)
        .map(|_| {
            let instance = Instance::builder(&snapshot)
                .arg("server")
                .build()
                .expect("room");
            instance.run_to_accept().expect("it accepts")
        })
        .collect();
    assert!(sandbox().live_instances() >= 1_000);
    let mut answers = 0;
    for instance in waiting {
        let finished = instance.serve(&Request::default());
        answers += u64::from(
            finished
                .response
                .is_some_and(|response| response.status == 200),
        );
    }
    assert_eq!(answers, 1_000);
}

#[test]
fn bad_neighbours_die_alone() {
    let limits = Limits {
        wall: Some(Duration::from_millis(40)),
        output_bytes: 100_000,
        ..small()
    };
    let bad = snapshot("faults", &limits, &Mounts::new());
    let good = snapshot("hello", &small(), &Mounts::new());
    let stop = AtomicBool::new(false);
    let served = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let finished = Instance::builder(&good)
                        .arg("hello")
                        .build()
                        .expect("room")
                        .run();
                    assert_eq!(finished.stdout, b"hello\n");
                    assert_eq!(finished.report.outcome, Outcome::Exited { status: 7 });
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let bad = &bad;
        let worst: Vec<_> = ["n", "d", "s", "r", "t", "o", "b", "m", "c", "j", "k"]
            .map(|kind| {
                scope.spawn(move || {
                    for _ in 0..10 {
                        let build = Instance::builder(bad).args(["faults", kind]).build();
                        let outcome = build.expect("room").run().report.outcome;
                        let expected = match kind {
                            "s" | "m" | "k" => {
                                outcome
                                    == Outcome::Limit {
                                        limit: LimitKind::Wall,
                                    }
                            }
                            "o" => matches!(outcome, Outcome::Limit { .. }),
                            "r" => matches!(outcome, Outcome::Limit { .. }),
                            _ => matches!(outcome, Outcome::Fault { .. } | Outcome::Limit { .. }),
                        };
                        assert!(expected, "{kind}: {outcome:?}");
                    }
                })
            })
            .into();
        for thread in worst {
            thread.join().expect("no panic");
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(served.load(Ordering::Relaxed) > 100);
}

#[test]
fn memory_bombs_die_alone() {
    // Fifty guests that ask for all the memory they may have and touch it all, at once; beside them one
    // that answers (review F11).
    const BLOCK: u64 = 4 << 20;
    let bomb = snapshot("calls", &small(), &Mounts::new());
    let good = snapshot("hello", &small(), &Mounts::new());
    let map = Script::new().call(libc::SYS_mmap, [0, BLOCK, 3, 0x22, u64::MAX, 0]);
    let at = map.play(&bomb).results[0].cast_unsigned();
    let mut script = Script::new()
        .path(AREA, "/dev/zero")
        .call(libc::SYS_open, [AREA, 0]);
    for block in 0..8 {
        script = script
            .call(libc::SYS_mmap, [0, BLOCK, 3, 0x22, u64::MAX, 0])
            .call(libc::SYS_read, [3, at + block * BLOCK, BLOCK]);
    }
    std::thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let played = script.try_play(&bomb);
                    let full = -i64::from(libc::ENOMEM);
                    assert!(played.results.contains(&full), "{:?}", played.results);
                    let private = played.finished.report.usage.private_bytes;
                    assert!(
                        (2 * BLOCK..=small().memory_bytes).contains(&private),
                        "{private}"
                    );
                    assert!(played.finished.poisoned.is_none());
                }
            });
        }
        for _ in 0..200 {
            let finished = Instance::builder(&good)
                .arg("hello")
                .build()
                .expect("room")
                .run();
            assert_eq!(finished.stdout, b"hello\n");
        }
    });
}

#[test]
fn kicks_at_any_moment_lose_nothing_and_hit_nobody_else() {
    // Guests that spin, call, and copy are cancelled after random times, from none to some hundred
    // microseconds: in guest code, in the border code, in trap handlers, before and after.
    let snapshot = snapshot("faults", &small(), &Mounts::new());
    let rounds = std::env::var("ZAPP_TEST_KILLS").map_or(300, |n| {
        n.parse::<u64>().expect("ZAPP_TEST_KILLS is a number") / 4
    });
    let kills = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (snapshot, kills) = (&snapshot, &kills);
            scope.spawn(move || {
                let mut seed = thread + 1;
                for round in 0..rounds {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let kind = ["s", "k", "m"][usize::try_from(round % 3).unwrap()];
                    let instance = Instance::builder(snapshot)
                        .args(["faults", kind])
                        .build()
                        .expect("room");
                    let canceller = instance.canceller();
                    let pause = Duration::from_nanos((seed >> 33) % 300_000);
                    let killer = std::thread::spawn(move || {
                        std::thread::sleep(pause);
                        canceller.cancel();
                        canceller
                    });
                    let outcome = instance.run().report.outcome;
                    assert_eq!(outcome, Outcome::Cancelled, "{kind} in round {round}");
                    let late = killer.join().expect("no panic");
                    // A stale cancel: the next instance on this thread must not notice.
                    let next = Instance::builder(snapshot)
                        .args(["faults", "q"])
                        .build()
                        .expect("room");
                    late.cancel();
                    assert_eq!(next.run().report.outcome, Outcome::Exited { status: 0 });
                    kills.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(kills.load(Ordering::Relaxed), 4 * rounds);
}

#[test]
#[allow(
    unsafe_code,
    reason = "installs a handler and sends signals, as other libraries do"
)]
fn signals_of_the_process_find_guests_on_a_safe_stack() {
    // A handler of somebody else's, and our own kick with nothing cancelled, at any instruction: the
    // guest goes on as if nothing had happened.
    static SEEN: AtomicU64 = AtomicU64::new(0);
    extern "C" fn count_signal(_: libc::c_int) {
        SEEN.fetch_add(1, Ordering::Relaxed);
    }
    let handler: extern "C" fn(libc::c_int) = count_signal;
    // SAFETY: the handler only adds to an atomic; it runs on the alternate stack.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = libc::SA_ONSTACK | libc::SA_RESTART;
        libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut());
    }
    let snapshot = snapshot("faults", &small(), &Mounts::new());
    let instance = Instance::builder(&snapshot)
        .args(["faults", "m"])
        .build()
        .expect("room");
    let canceller = instance.canceller();
    let (sender, receiver) = std::sync::mpsc::channel();
    let runner = std::thread::spawn(move || {
        // SAFETY: no arguments.
        sender
            .send(unsafe { libc::gettid() })
            .expect("the other side waits");
        instance.run()
    });
    let target = receiver.recv().expect("the other side sends");
    for _ in 0..300 {
        // SAFETY: tgkill has no memory arguments.
        unsafe {
            libc::syscall(libc::SYS_tgkill, libc::getpid(), target, libc::SIGURG);
            libc::syscall(libc::SYS_tgkill, libc::getpid(), target, libc::SIGUSR1);
        }
        std::thread::sleep(Duration::from_micros(50));
    }
    canceller.cancel();
    let finished = runner.join().expect("no panic");
    assert_eq!(finished.report.outcome, Outcome::Cancelled);
    // It is blocked while a guest runs, and delivered once when the guest has ended.
    assert!(SEEN.load(Ordering::Relaxed) > 0);
}
