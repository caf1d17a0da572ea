//! Everything that one instance can leave behind is looked for by the next: all registers, flags,
//! vectors, x87 registers, every kind of memory, files (review §6 row 13).

use crate::support::{sandbox, snapshot};
use sandbox::{Instance, Limits, Mounts, Outcome, Request, Snapshot};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Registers, then marks, thread area, stack, mapped memory, and what `open` said.
const REGISTERS: usize = 448;
const MEMORY: usize = 0x10000 + 0x10000 + 0x8000 + 0x10_0000;
/// Where flags, MXCSR and x87 registers stand among the registers.
const FLAGS: std::ops::Range<usize> = 112..117;
const MXCSR: std::ops::Range<usize> = 120..124;
const X87: usize = 384;

fn start() -> Snapshot {
    let limits = Limits {
        memory_bytes: 32 << 20,
        stack_bytes: 1 << 20,
        ..Limits::default()
    };
    snapshot("residue", &limits, &Mounts::new())
}

fn frozen() -> Snapshot {
    let instance = Instance::builder(&start())
        .args(["residue", "accept"])
        .build();
    let waiting = instance.expect("room").run_to_accept().expect("it accepts");
    waiting.freeze(false).expect("it can be frozen")
}

/// Runs one instance, looks at what it found, and answers the registers it found.
fn look(snapshot: &Snapshot, waits: bool) -> Vec<u8> {
    let builder = Instance::builder(snapshot);
    let builder = if waits {
        builder.request(Request::default())
    } else {
        builder.arg("residue")
    };
    let finished = builder.build().expect("room").run();
    assert_eq!(finished.report.outcome, Outcome::Exited { status: 0 });
    assert!(finished.poisoned.is_none());
    let (registers, rest) = finished.stdout.split_at(REGISTERS);
    let (memory, opened) = rest.split_at(MEMORY);
    assert!(memory.iter().all(|byte| *byte == 0), "memory");
    let opened = i64::from_le_bytes(opened.try_into().expect("eight bytes"));
    assert_eq!(opened, -i64::from(libc::ENOENT), "a file");
    registers.to_vec()
}

/// Nothing but what the runtime promises.
fn check_registers(registers: &[u8], waits: bool) {
    let words: Vec<u64> = registers
        .chunks_exact(8)
        .map(|bytes| u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
        .collect();
    let flags = &registers[FLAGS];
    assert_eq!(registers[MXCSR], 0x1F80_u32.to_le_bytes(), "MXCSR");
    for word in &words[X87 / 8..] {
        assert_eq!(*word, 0xFFF8_0000_0000_0000, "an x87 register");
    }
    for (number, word) in words.iter().enumerate().take(X87 / 8) {
        // rdi points to the start block, rsi is the size of the request's buffer; the rest is zero.
        let own = match number {
            5 if !waits => continue,
            4 if waits => 4096,
            14 | 15 => continue,
            _ => 0,
        };
        assert_eq!(*word, own, "word {number}, flags {flags:?}");
    }
}

fn rounds(snapshot: &Snapshot, waits: bool, rounds: usize) {
    let first = look(snapshot, waits);
    check_registers(&first, waits);
    for round in 1..rounds {
        assert_eq!(look(snapshot, waits), first, "round {round}");
    }
}

#[test]
fn nothing_is_left_for_the_next_fresh_start() {
    rounds(&start(), false, 20);
    assert_eq!(sandbox().poisoned_slots(), 0);
}

#[test]
fn nothing_is_left_for_the_next_clone() {
    rounds(&frozen(), true, 20);
    assert_eq!(sandbox().poisoned_slots(), 0);
}

#[test]
fn nothing_is_left_on_a_thread_that_ran_another_program() {
    // Registers belong to the thread: what one program leaves there, another must not find.
    let (start, frozen) = (start(), frozen());
    let other = snapshot("server", &Limits::default(), &Mounts::new());
    for _ in 0..5 {
        check_registers(&look(&start, false), false);
        let served = Instance::builder(&other)
            .arg("server")
            .request(Request::default());
        let served = served.build().expect("room").run();
        assert_eq!(served.report.outcome, Outcome::Exited { status: 0 });
        check_registers(&look(&frozen, true), true);
    }
}

#[test]
fn nothing_is_left_while_the_kernel_moves_pages() {
    let compact = "/proc/sys/vm/compact_memory";
    if std::fs::write(compact, "1").is_err() {
        println!("skipped: {compact} needs root");
        return;
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = std::fs::write(compact, "1");
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        rounds(&frozen(), true, 20);
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(sandbox().poisoned_slots(), 0);
}
