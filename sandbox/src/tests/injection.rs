//! Every system call of clone, run, reset and freeze fails once: the slot is given up and unmapped, the
//! error is typed, neighbours go on, and the next instance finds nothing (review §6 row 5).

use super::mappings::image_mounts;
use super::support::{AREA, Script, guest};
use crate::proof;
use crate::sys::inject;
use crate::{Config, Error, Instance, Limits, Mounts, Outcome, Request, Sandbox, Snapshot};
use std::sync::atomic::{AtomicBool, Ordering};

const PAGE: u64 = 4096;
/// Pages of the mapping that a guest soils, every second one, so that a reset has many ranges.
const PAGES: u64 = 16;

fn limits() -> Limits {
    Limits {
        memory_bytes: 16 << 20,
        stack_bytes: 1 << 20,
        return_stack_bytes: 64 << 10,
        ..Limits::default()
    }
}

/// Where the first anonymous mapping of `calls` lies.
fn first(snapshot: &Snapshot) -> u64 {
    let map = Script::new().call(libc::SYS_mmap, [0, PAGE, 3, 0x22, u64::MAX, 0]);
    map.play(snapshot).results[0].cast_unsigned()
}

/// Soils every second page of a mapping and opens three windows.
fn soil(at: u64) -> Script {
    let mut script = Script::new()
        .path(AREA, "/raw.bin")
        .call(libc::SYS_open, [AREA, 0])
        .call(libc::SYS_mmap, [0, PAGES * PAGE, 3, 0x22, u64::MAX, 0]);
    for page in (0..PAGES).step_by(2) {
        script = script.poke(at + page * PAGE, [0xA5; 8]);
    }
    for _ in 0..3 {
        script = script.call(libc::SYS_mmap, [0, PAGE, 1, 1, 3, 0]);
    }
    script
}

/// True when something readable of the 4 GiB at `base` is still mapped.
fn is_mapped(base: usize) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("procfs");
    maps.lines().any(|line| {
        let start = line.split('-').next().unwrap_or_default();
        let start = usize::from_str_radix(start, 16).unwrap_or(0);
        (base..base + (1 << 32)).contains(&start)
    })
}

/// A neighbour that must never notice anything.
fn neighbours_go_on(sandbox: &Sandbox, stop: &AtomicBool) -> u64 {
    let program = sandbox.load(&guest("hello")).expect("verified");
    let snapshot = sandbox
        .start(&program, &limits(), &Mounts::new())
        .expect("fits");
    let mut served = 0;
    while !stop.load(Ordering::Relaxed) {
        let finished = Instance::builder(&snapshot)
            .arg("hello")
            .build()
            .expect("room")
            .run();
        assert_eq!(finished.stdout, b"hello\n");
        assert!(finished.poisoned.is_none());
        served += 1;
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    served
}

/// What became of one round.
#[derive(Debug, Default)]
struct Tally {
    refused: u32,
    poisoned: u32,
    told: u32,
}

/// One life with its call number `fail` failing; answers false when there was no such call.
fn one_life(snapshot: &Snapshot, script: &Script, fail: u32, tally: &mut Tally) -> bool {
    let sandbox = snapshot.sandbox();
    let before = sandbox.poisoned_slots();
    inject::arm(fail);
    let built = script.try_instance(snapshot);
    let base = built
        .as_ref()
        .ok()
        .map(|instance| instance.slot().region.base());
    let finished = built.map(Instance::run);
    let failed = inject::disarm();
    match finished {
        Err(error) => {
            assert!(
                matches!(error, Error::System { .. }),
                "call {fail}: {error}"
            );
            tally.refused += 1;
        }
        Ok(finished) => match finished.poisoned {
            Some(error) => {
                assert!(
                    matches!(error, Error::System { .. }),
                    "call {fail}: {error}"
                );
                assert_eq!(sandbox.poisoned_slots(), before + 1);
                assert!(!is_mapped(base.expect("it was built")), "call {fail}");
                tally.poisoned += 1;
            }
            // The guest was told, or the thread could not be prepared; the slot is clean.
            None => {
                let outcome = &finished.report.outcome;
                let fine = matches!(outcome, Outcome::Exited { .. } | Outcome::HostBug { .. });
                assert!(fine, "call {fail}: {outcome:?}");
                tally.told += u32::from(failed);
            }
        },
    }
    failed
}

#[test]
fn every_call_that_fails_costs_its_slot_and_nothing_else() {
    let sandbox = Sandbox::new(Config::default()).expect("this process can host guests");
    let program = sandbox.load(&guest("calls")).expect("verified");
    let mounts = image_mounts();
    let start = || sandbox.start(&program, &limits(), &mounts).expect("fits");
    let at = first(&start());
    // It closes one of its windows itself and leaves two to the reset.
    let opened = soil(at).play(&start()).results;
    let window = opened.last().expect("three windows").cast_unsigned();
    let soil = soil(at).call(libc::SYS_munmap, [window, PAGE]);
    let look = Script::new()
        .call(libc::SYS_mmap, [0, PAGES * PAGE, 3, 0x22, u64::MAX, 0])
        .peek(at, PAGES * PAGE);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let neighbour = scope.spawn(|| neighbours_go_on(&sandbox, &stop));
        let mut tally = Tally::default();
        // Three ways to get a slot: a new one, a new one with a hot set, a kept one.
        for kind in 0..3 {
            let mut fail = 0;
            loop {
                let snapshot = start();
                if kind == 1 {
                    let (_, pages) = soil.instance(&snapshot).run_warming();
                    snapshot.keep_hot(&[pages]);
                    // The kept slot is taken, so that the next is a new one.
                    std::mem::forget(soil.instance(&snapshot));
                }
                if kind == 2 {
                    soil.play(&snapshot);
                }
                if !one_life(&snapshot, &soil, fail, &mut tally) {
                    break;
                }
                let next = look.instance(&snapshot);
                proof::check_mappings(next.slot(), snapshot.contents())
                    .expect("nothing is left mapped");
                drop(next);
                let shown = &look.play(&snapshot).shown[1];
                let hot = kind == 1;
                assert!(hot || shown.iter().all(|byte| *byte == 0), "call {fail}");
                fail += 1;
            }
        }
        stop.store(true, Ordering::Relaxed);
        println!("{tally:?}");
        assert!(
            tally.refused > 20 && tally.poisoned > 20 && tally.told > 2,
            "{tally:?}"
        );
        assert!(neighbour.join().expect("no panic") > 10);
    });
}

#[test]
fn every_call_that_fails_while_freezing_is_an_error() {
    let sandbox = Sandbox::new(Config::default()).expect("this process can host guests");
    let program = sandbox.load(&guest("server")).expect("verified");
    let start = sandbox
        .start(&program, &limits(), &Mounts::new())
        .expect("fits");
    let build = || {
        Instance::builder(&start)
            .arg("server")
            .build()
            .expect("room")
    };
    let waiting = build().run_to_accept().expect("it accepts");
    let mut fail = 0;
    let frozen = loop {
        inject::arm(fail);
        let frozen = waiting.freeze(false);
        let failed = inject::disarm();
        match frozen {
            Err(error) => assert!(matches!(error, Error::System { .. }), "{fail}: {error}"),
            Ok(frozen) => {
                assert!(!failed);
                break frozen;
            }
        }
        fail += 1;
    };
    assert!(fail >= 4, "a scan, and making, sealing and mapping a file");
    let served = Instance::builder(&frozen)
        .request(Request::default())
        .build()
        .expect("room")
        .run();
    assert_eq!(served.report.outcome, Outcome::Exited { status: 0 });
}

#[test]
fn every_call_that_fails_while_loading_is_an_error() {
    let sandbox = Sandbox::new(Config::default()).expect("this process can host guests");
    let mut fail = 0;
    loop {
        inject::arm(fail);
        let loaded = sandbox.load(&guest("server"));
        let failed = inject::disarm();
        match loaded {
            Err(error) => assert!(matches!(error, Error::System { .. }), "{fail}: {error}"),
            Ok(_) => {
                assert!(!failed && fail >= 3);
                break;
            }
        }
        fail += 1;
    }
}
