//! The mappings of a slot: how many, and that they are for this process alone (review E6, F9).

use super::support::{AREA, Script, directory, snapshot};
use crate::snapshot::Start;
use crate::{ImageTree, Instance, Limits, Mounts, Request};
use imagefs::scan::ScanOptions;
use imagefs::writer::PackOptions;
use imagefs::{Class, Image};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// An image whose one file, of five pages, can be mapped.
pub(super) fn image_mounts() -> Mounts {
    let (_keep, path) = directory();
    let target = path.join("test.zapp");
    std::fs::create_dir(path.join("site")).expect("a directory");
    std::fs::write(path.join("site/raw.bin"), [7; 20_000]).expect("a file");
    let scanned = imagefs::scan::scan(&path.join("site"), &ScanOptions::default()).expect("a tree");
    let options = PackOptions {
        classes: vec![("raw.bin".to_owned(), Class::Raw)],
        ..PackOptions::default()
    };
    let stop = AtomicBool::new(false);
    imagefs::writer::pack(scanned.tree, &options, &target, &|_| {}, &stop).expect("an image");
    let image = Image::ingest(&target).expect("an image");
    Mounts::new().mount("/", Arc::new(ImageTree::new(image).expect("a tree")))
}

/// The parts of /proc/self/smaps that describe the slot at `base`: first line and flags of each.
fn slot_mappings(base: usize) -> Vec<(String, String)> {
    let maps = std::fs::read_to_string("/proc/self/smaps").expect("procfs");
    let mut found: Vec<(String, String)> = Vec::new();
    let mut inside = false;
    for line in maps.lines() {
        let first = line.split(['-', ' ']).next().unwrap_or_default();
        if let Some(flags) = line.strip_prefix("VmFlags: ") {
            if inside {
                found.last_mut().expect("a first line").1 = flags.to_owned();
            }
        } else if line.contains('-') && !line.contains("kB") && !first.ends_with(':') {
            let start = usize::from_str_radix(first, 16).unwrap_or(0);
            inside = (base..base + (1 << 32)).contains(&start);
            if inside {
                found.push((line.to_owned(), String::new()));
            }
        }
    }
    found
}

#[test]
fn windows_leave_nothing_behind_among_the_mappings() {
    let limits = Limits {
        memory_bytes: 16 << 20,
        stack_bytes: 1 << 20,
        ..Limits::default()
    };
    let snapshot = snapshot("calls", &limits, &image_mounts());
    let open = Script::new()
        .path(AREA, "/raw.bin")
        .call(libc::SYS_open, [AREA, 0]);
    let mut script = open.clone();
    for page in 0..60 {
        script = script.call(libc::SYS_mmap, [0, 4096 * (1 + page % 5), 1, 1, 3, 0]);
    }
    let fresh = Script::new().instance(&snapshot);
    let before = slot_mappings(fresh.slot().region.base());
    assert!(before.len() > 5, "{before:?}");
    drop(fresh);
    for round in 0..3 {
        let mut instance = script.instance(&snapshot);
        let _ = instance.run_and_stay();
        let base = instance.slot().region.base();
        assert!(
            slot_mappings(base).len() > before.len() + 50,
            "they were open"
        );
        drop(instance);
        let next = Script::new().instance(&snapshot);
        assert_eq!(next.slot().region.base(), base, "the slot is kept");
        assert_eq!(slot_mappings(base), before, "round {round}");
    }
}

#[test]
fn slots_are_not_inherited_and_not_dumped() {
    let snapshot = snapshot("calls", &Limits::default(), &image_mounts());
    let instance = Script::new().instance(&snapshot);
    for (line, flags) in slot_mappings(instance.slot().region.base()) {
        for flag in ["dc", "dd", "nh"] {
            let has = flags.split(' ').any(|word| word == flag);
            assert!(has, "{flag} is missing of {flags} in {line}");
        }
    }
}

#[test]
fn every_byte_is_the_snapshots_after_a_reset() {
    // Reading gives the slot pages that it did not have, so each round has a slot of its own.
    let limits = Limits {
        memory_bytes: 16 << 20,
        stack_bytes: 1 << 20,
        ..Limits::default()
    };
    let start = snapshot("server", &limits, &Mounts::new());
    let frozen = {
        let instance = Instance::builder(&start).arg("server").build();
        let waiting = instance.expect("room").run_to_accept().expect("it accepts");
        waiting.freeze(false).expect("it can be frozen")
    };
    for (snapshot, warm) in [(&start, false), (&frozen, false), (&frozen, true)] {
        let build = || {
            let builder = Instance::builder(snapshot).request(Request::default());
            let fresh = matches!(snapshot.start(), Start::Entry);
            let builder = if fresh {
                builder.arg("server")
            } else {
                builder
            };
            builder.build().expect("room")
        };
        if warm {
            let (_, pages) = build().run_warming();
            snapshot.keep_hot(&[pages]);
        }
        let finished = build().run();
        assert!(
            finished.report.usage.private_bytes > 1 << 20,
            "it wrote everywhere"
        );
        let slot = snapshot.take_slot().expect("the slot it had");
        for span in snapshot.contents().spans() {
            let start = span.range.address();
            let mut bytes = vec![0; span.range.size()];
            slot.region
                .copy_in(start.into(), &mut bytes)
                .expect("readable");
            let (wanted, len) = snapshot.contents().bytes(start, span.range.len().get());
            assert_eq!(len, span.range.len().get());
            let same = match wanted {
                Some(wanted) => bytes == wanted,
                None => bytes.iter().all(|byte| *byte == 0),
            };
            assert!(same, "the span at {start:x?}");
        }
    }
}
