//! Every call with every class of bad pointer and bad size: the guest gets an error or ends, the host
//! goes on.

use crate::images::SIZE;
use crate::support::{AREA, Script, snapshot};
use sandbox::{Limits, MemoryTree, Mounts, Outcome, Snapshot};
use std::sync::Arc;
use std::time::Duration;

/// Null, unmapped, call table, text, read-only data, last bytes of mappings, wrap, 4 GiB, garbage.
const POINTERS: [u64; 16] = [
    0,
    1,
    0xEFFF,
    0xF000,
    0xFFFF,
    0x1FFFF,
    0x20000,
    0x21000,
    AREA,
    AREA + 0xFFFF,
    0xFFFE_FFFF,
    0xFFFF_0000,
    0xFFFF_FFFF,
    0x1_0000_0000,
    0xDEAD_BEEF_0003_1000,
    u64::MAX,
];

const SIZES: [u64; 12] = [
    0,
    1,
    8,
    4096,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 32,
    (1 << 63) - 1,
    1 << 63,
    u64::MAX - 4095,
    u64::MAX,
];

fn calls() -> Snapshot {
    let tree = MemoryTree::new().file("f", "0123456789").directory("d");
    let limits = Limits {
        memory_bytes: 32 << 20,
        stack_bytes: 1 << 20,
        scratch_bytes: 4 << 20,
        output_bytes: 64 << 20,
        wall: Some(Duration::from_secs(20)),
        ..Limits::default()
    };
    snapshot("calls", &limits, &Mounts::new().mount("/", Arc::new(tree)))
}

/// Calls that end the guest, sleep, or wait; they have tests of their own.
fn is_special(number: i64) -> bool {
    matches!(
        number,
        libc::SYS_exit
            | libc::SYS_exit_group
            | libc::SYS_kill
            | libc::SYS_tkill
            | libc::SYS_tgkill
            | libc::SYS_nanosleep
            | libc::SYS_clock_nanosleep
            | libc::SYS_poll
            | libc::SYS_select
            | libc::SYS_pselect6
            | libc::SYS_futex
            | 0x7A00
            | 0x7A02
            | 0x7A03
            | 0x7A05
    )
}

fn numbers() -> impl Iterator<Item = i64> {
    (0..460)
        .chain(0x7A00..0x7A08)
        .chain([-1, i64::MIN, 1 << 32])
        .filter(|number| !is_special(*number))
}

/// Opens a tree file as 3, a scratch file as 4 and a directory as 5.
fn opened() -> Script {
    Script::new()
        .path(AREA, "/f")
        .call(libc::SYS_open, [AREA, 0])
        .path(AREA, "/tmp/s")
        .call(libc::SYS_open, [AREA, 0o102, 0o600])
        .path(AREA, "/d")
        .call(libc::SYS_open, [AREA, 0])
}

/// The guest came to its end, or one of the calls overwrote what it needs to go on; never the host.
fn is_contained(outcome: &Outcome) -> bool {
    !matches!(
        outcome,
        Outcome::HostBug { .. }
            | Outcome::Limit {
                limit: sandbox::LimitKind::Wall
            }
    )
}

#[test]
fn every_call_survives_every_pointer_in_every_place() {
    let snapshot = calls();
    for number in numbers() {
        let mut script = opened();
        for pointer in POINTERS {
            for place in 0..5 {
                let mut arguments = [3, 8, 8, 8, 0, 0];
                arguments[place] = pointer;
                script = script.call(number, arguments);
            }
            script = script.call(number, [pointer; 6]);
        }
        let played = script.try_play(&snapshot);
        let outcome = &played.finished.report.outcome;
        assert!(is_contained(outcome), "call {number}: {outcome:?}");
    }
}

#[test]
fn every_call_survives_pointers_into_a_mapped_file() {
    // The pages of an image are shared and read-only; the last one ends behind the file's bytes.
    let snapshot = crate::images::image();
    let map = Script::new()
        .path(AREA, "/raw.bin")
        .call(libc::SYS_open, [AREA, 0])
        .call(libc::SYS_mmap, [0, SIZE as u64, 1, 1, 3, 0]);
    let window = map.play(&snapshot).results[2].cast_unsigned();
    let size = SIZE as u64;
    let end = window + size.next_multiple_of(4096);
    for number in numbers() {
        // What a call does to the window must not show in the next one's.
        let mut script = map.clone();
        for pointer in [window, window + size - 1, end - 1, end] {
            for place in 0..5 {
                let mut arguments = [3, 8, 8, 8, 0, 0];
                arguments[place] = pointer;
                script = script.call(number, arguments);
            }
            script = script.call(number, [pointer; 6]);
        }
        let played = script.try_play(&snapshot);
        let outcome = &played.finished.report.outcome;
        assert!(is_contained(outcome), "call {number}: {outcome:?}");
    }
    let again = map.peek(window, size).play(&snapshot);
    assert!(
        again.shown[3] == crate::images::content(),
        "the image is as it was"
    );
}

/// Calls that end, sleep, wait or jump, each in an instance of its own.
#[test]
fn calls_that_may_not_return_survive_every_argument() {
    let limits = Limits {
        memory_bytes: 16 << 20,
        stack_bytes: 1 << 20,
        wall: Some(Duration::from_millis(20)),
        ..Limits::default()
    };
    let snapshot = snapshot("calls", &limits, &Mounts::new());
    let special = (0..460).chain(0x7A00..0x7A08).filter(|n| is_special(*n));
    for number in special {
        for value in POINTERS.into_iter().chain(SIZES) {
            for place in 0..3 {
                let mut arguments = [AREA, AREA + 64, 8, AREA + 128, 0, 0];
                arguments[place] = value;
                let played = Script::new()
                    .call(number, arguments)
                    .call(libc::SYS_getpid, [])
                    .try_play(&snapshot);
                let outcome = &played.finished.report.outcome;
                let bug = matches!(outcome, Outcome::HostBug { .. });
                assert!(!bug, "call {number} with {value:#x}: {outcome:?}");
            }
        }
    }
    assert_eq!(crate::support::sandbox().poisoned_slots(), 0);
}

#[test]
fn accept_into_bad_memory_is_an_error_when_the_request_comes() {
    let snapshot = calls();
    for pointer in POINTERS {
        let waiting = Script::new()
            .call(0x7A00, [pointer, 4096])
            .instance(&snapshot)
            .run_to_accept()
            .expect("it waits before anything is written");
        let finished = waiting.serve(&sandbox::Request::default().variable("A", "b"));
        let result = i64::from_le_bytes(finished.stdout[..8].try_into().expect("eight bytes"));
        let fits = [AREA, 0xDEAD_BEEF_0003_1000].contains(&pointer);
        let wanted = if fits {
            result.max(0)
        } else {
            -i64::from(libc::EFAULT)
        };
        assert_eq!(result, wanted, "{pointer:#x}");
        assert_eq!(finished.report.outcome, Outcome::Exited { status: 0 });
    }
}

#[test]
fn every_call_survives_every_size_in_every_place() {
    let snapshot = calls();
    for number in numbers() {
        for fd in [0, 3, 4, 5] {
            let mut script = opened();
            for size in SIZES {
                for place in 0..4 {
                    let mut arguments = [fd, AREA + 0x8000, 16, 0, 0, 0];
                    arguments[place] = size;
                    script = script.call(number, arguments);
                }
            }
            let played = script.try_play(&snapshot);
            let outcome = &played.finished.report.outcome;
            assert!(is_contained(outcome), "call {number} on {fd}: {outcome:?}");
        }
    }
}

#[test]
fn random_calls_with_random_arguments_are_contained() {
    let snapshot = calls();
    let mut seed = 0x2026_1123_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let numbers: Vec<i64> = numbers()
        .filter(|number| *number < 0x200 || *number > 0x7000)
        .collect();
    let pick =
        |values: &[u64], draw: u64| values[usize::try_from(draw % values.len() as u64).unwrap()];
    for round in 0..150 {
        let mut script = opened();
        for _ in 0..60 {
            let number = numbers[usize::try_from(random() % numbers.len() as u64).unwrap()];
            let arguments = [0; 6].map(|_: u64| match random() % 5 {
                0 => pick(&POINTERS, random()),
                1 => pick(&SIZES, random()),
                2 => random() % 8,
                3 => AREA + random() % 0x10000,
                _ => random(),
            });
            script = script.call(number, arguments);
        }
        let played = script.try_play(&snapshot);
        let outcome = &played.finished.report.outcome;
        assert!(is_contained(outcome), "round {round}: {outcome:?}");
    }
    assert_eq!(crate::support::sandbox().poisoned_slots(), 0);
}

#[test]
fn reads_and_writes_give_efault_for_bad_memory() {
    let snapshot = calls();
    let fault = -i64::from(libc::EFAULT);
    for bad in [
        0,
        1,
        0xEFFF,
        0xF000,
        0x20000,
        0x21000,
        0xFFFF_0000,
        0xFFFF_FFFF,
        1 << 32,
    ] {
        let played = opened()
            .call(libc::SYS_read, [3, bad, 5])
            .call(libc::SYS_fstat, [3, bad])
            .call(libc::SYS_getcwd, [bad, 100])
            .call(libc::SYS_clock_gettime, [0, bad])
            .call(libc::SYS_getrandom, [bad, 16, 0])
            .call(libc::SYS_uname, [bad])
            .play(&snapshot);
        assert_eq!(played.results[6..], [fault; 6], "{bad:#x}");
    }
    for bad in [0, 1, 0xEFFF, 0xFFFF_0000, 0xFFFF_FFFF, 1 << 32] {
        let played = opened()
            .call(libc::SYS_write, [4, bad, 5])
            .call(libc::SYS_open, [bad, 0])
            .call(libc::SYS_writev, [4, bad, 1])
            .call(0x7A01, [bad, 16])
            .play(&snapshot);
        assert_eq!(played.results[6..], [fault; 4], "{bad:#x}");
    }
}

#[test]
fn strings_and_buffers_end_at_the_edge_of_memory() {
    let snapshot = calls();
    let end = 0xFFFF_0000;
    let played = opened()
        .path(end - 3, "/f")
        .call(libc::SYS_open, [end - 3, 0])
        .poke(end - 2, "/f")
        .call(libc::SYS_open, [end - 2, 0])
        .call(libc::SYS_read, [3, end - 10, 10])
        .call(libc::SYS_lseek, [3, 0, 0])
        .call(libc::SYS_read, [3, end - 9, 10])
        .play(&snapshot);
    let fault = -i64::from(libc::EFAULT);
    assert_eq!(played.results[6..], [3, 6, 2, fault, 10, 0, fault]);
}

#[test]
fn unknown_calls_are_counted() {
    let played = Script::new()
        .call(libc::SYS_socket, [2, 1, 0])
        .call(libc::SYS_socket, [2, 1, 0])
        .call(libc::SYS_fork, [])
        .call(libc::SYS_execve, [AREA, 0, 0])
        .call(libc::SYS_ptrace, [0])
        .play(&calls());
    assert!(
        played
            .results
            .iter()
            .all(|result| *result == -i64::from(libc::ENOSYS))
    );
    let unknown = &played.finished.report.usage.unknown_traps;
    assert_eq!(unknown[&libc::SYS_socket.cast_unsigned()], 2);
    assert_eq!(unknown.len(), 4);
}

#[test]
fn long_calls_end_when_the_limit_says_so() {
    let tree = MemoryTree::new().file("f", vec![1; 8 << 20]);
    let limits = Limits {
        wall: Some(Duration::from_millis(30)),
        ..Limits::default()
    };
    let snapshot = snapshot("calls", &limits, &Mounts::new().mount("/", Arc::new(tree)));
    let zeroes = Script::new()
        .path(AREA, "/dev/zero")
        .call(libc::SYS_open, [AREA, 0]);
    let scripts = [
        zeroes
            .clone()
            .call(libc::SYS_mmap, [0, 256 << 20, 3, 0x22, u64::MAX, 0]),
        Script::new()
            .poke(AREA, 3600_u128.to_le_bytes())
            .call(libc::SYS_nanosleep, [AREA, 0]),
        Script::new().call(libc::SYS_poll, [AREA, 0, 3_600_000]),
        Script::new().call(libc::SYS_select, [0, 0, 0, 0, 0]),
    ];
    for (index, script) in scripts.iter().enumerate().skip(1) {
        let start = std::time::Instant::now();
        let report = script.try_play(&snapshot).finished.report;
        let limit = sandbox::LimitKind::Wall;
        assert_eq!(report.outcome, Outcome::Limit { limit }, "{index}");
        assert!(
            start.elapsed() < Duration::from_secs(2),
            "{index}: {:?}",
            start.elapsed()
        );
    }
    assert!(scripts[0].try_play(&snapshot).results.len() >= 2);
}

#[test]
fn largest_calls_stop_between_units() {
    // Under a limit of 10 ms. The best of five tries counts: the watchdog is one thread among others.
    const LEN: u64 = 512 << 20;
    let tree = MemoryTree::new().file("f", vec![1; 64 << 20]);
    let limits = Limits {
        memory_bytes: 1 << 30,
        scratch_bytes: 1 << 30,
        output_bytes: 1 << 40,
        wall: Some(Duration::from_millis(10)),
        ..Limits::default()
    };
    let mounts = Mounts::new().mount("/", Arc::new(tree));
    let map = Script::new().call(libc::SYS_mmap, [0, LEN, 3, 0x22, u64::MAX, 0]);
    // Where it goes is found out without the limit, which a busy machine may exceed at once.
    let patient = Limits {
        wall: None,
        ..limits.clone()
    };
    let patient = snapshot("calls", &patient, &mounts);
    let at = map.play(&patient).results[0].cast_unsigned();
    let snapshot = snapshot("calls", &limits, &mounts);
    let open = |script: Script, path: &str, flags| {
        script
            .path(AREA, path)
            .call(libc::SYS_open, [AREA, flags, 0o600])
    };
    let mapped = || map.clone();
    let scripts = [
        mapped().call(libc::SYS_getrandom, [at, LEN, 0]),
        open(mapped(), "/dev/zero", 0).call(libc::SYS_read, [3, at, LEN]),
        open(mapped(), "/dev/urandom", 0).call(libc::SYS_pread64, [3, at, LEN, 0]),
        open(mapped(), "/tmp/s", 0o102).call(libc::SYS_write, [3, at, LEN]),
        mapped().call(libc::SYS_write, [1, at, LEN]),
        open(mapped(), "/f", 0).call(libc::SYS_mmap, [0, 64 << 20, 3, 2, 3, 0]),
        mapped().call(libc::SYS_munmap, [at, LEN]),
        mapped().call(libc::SYS_mmap, [at, LEN, 3, 0x32, u64::MAX, 0]),
        mapped().call(libc::SYS_mremap, [at, LEN / 2, LEN / 2 - 4096, 0]),
    ];
    for (index, script) in scripts.iter().enumerate() {
        let used = (0..5).map(|_| script.try_play(&snapshot).finished.report.usage.cpu_ns);
        let best = used.min().expect("five");
        assert!(best < 25_000_000, "call {index} took {best} ns");
    }
}
