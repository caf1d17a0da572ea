//! What the host keeps because of a guest: all of it is bounded, and what is charged comes back.
//!
//! Memory is measured in a process of its own, where no other test runs.

use crate::files::calls;
use crate::support::{AREA, Script, directory, snapshot};
use sandbox::{HostTree, Limits, MemoryTree, Mounts};
use std::process::Command;
use std::sync::Arc;

const FIBER_NEW: i64 = 0x7A04;
const FIBER_FREE: i64 = 0x7A06;
/// The guests' text begins here, with a bundle.
const TEXT: u64 = 0x20000;

fn errno(number: i32) -> i64 {
    -i64::from(number)
}

/// Runs `test`, whose name is given, in a process of its own.
fn alone(name: &str, test: impl FnOnce()) {
    const ALONE: &str = "ZAPP_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return test();
    }
    let output = Command::new(std::env::current_exe().expect("a test has a file"))
        .args(["--exact", name, "--nocapture"])
        .env(ALONE, "1")
        .output()
        .expect("this binary runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let died = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{died}");
    assert!(said.contains("1 passed"), "{name} is no test: {said}");
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.unwrap().parse::<u64>().unwrap() << 10
}

fn cpu() -> std::time::Duration {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    let nanos = stat.split_whitespace().next().unwrap().parse().unwrap();
    std::time::Duration::from_nanos(nanos)
}

// case limits-06-directory-listings: a copy of the directory was kept for each descriptor.
#[test]
fn reading_directories_keeps_nothing_of_them() {
    alone("kept::reading_directories_keeps_nothing_of_them", || {
        let mut tree = MemoryTree::new();
        for number in 0..100_000 {
            tree = tree.file(&format!("up/file-with-a-longer-name-{number}"), "");
        }
        let limits = Limits {
            files: 256,
            ..Limits::default()
        };
        let snapshot = snapshot("calls", &limits, &Mounts::new().mount("/", Arc::new(tree)));
        let mut script = Script::new().path(AREA, "/up");
        for fd in 3..200 {
            script = script
                .call(libc::SYS_open, [AREA, 0])
                .call(libc::SYS_getdents64, [fd, AREA + 0x100, 4096]);
        }
        // Once for what is made once.
        drop(Script::new().path(AREA, "/up").play(&snapshot));
        let (before, began) = (resident_bytes(), cpu());
        let played = script.play(&snapshot);
        let (grown, took) = (resident_bytes().saturating_sub(before), cpu() - began);
        assert!(played.results[1..].iter().all(|result| *result > 0));
        // Listings of 100,000 names each took 1.4 GB.
        assert!(grown < 16 << 20, "{grown} bytes");
        assert!(took < std::time::Duration::from_secs(2), "{took:?}");
    });
}

#[test]
fn a_directory_is_read_to_its_end_in_small_pieces() {
    let mut tree = MemoryTree::new();
    for number in 0..300 {
        tree = tree.file(&format!("up/{number}"), "");
    }
    let mounts = Mounts::new().mount("/", Arc::new(tree));
    let mut script = Script::new()
        .path(AREA, "/up")
        .call(libc::SYS_open, [AREA, 0]);
    for _ in 0..40 {
        script = script
            .call(libc::SYS_getdents64, [3, AREA + 0x100, 256])
            .peek(AREA + 0x100, 256);
    }
    let played = script.play(&snapshot("calls", &Limits::default(), &mounts));
    let names = names_of(&played);
    assert_eq!(names.len(), 302);
    let distinct: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), 302);
    assert_eq!(played.results.iter().rev().nth(1), Some(&0), "the end");
}

// The listings of a host directory are made anew when others were read in between.
#[test]
fn host_directories_can_be_read_by_turns() {
    let (_keep, path) = directory();
    for at in 0..12 {
        let below = path.join(format!("d{at}"));
        std::fs::create_dir(&below).unwrap();
        for number in 0..30 {
            std::fs::write(below.join(format!("{number}")), "").unwrap();
        }
    }
    let mounts = Mounts::new().mount("/", Arc::new(HostTree::open(&path).unwrap()));
    let mut script = Script::new();
    for at in 0..12 {
        script = script
            .path(AREA, &format!("/d{at}"))
            .call(libc::SYS_open, [AREA, 0]);
    }
    for _ in 0..12 {
        for fd in 3..15 {
            script = script
                .call(libc::SYS_getdents64, [fd, AREA + 0x100, 120])
                .peek(AREA + 0x100, 120);
        }
    }
    let played = script.play(&snapshot("calls", &Limits::default(), &mounts));
    assert_eq!(names_of(&played).len(), 12 * 32);
}

/// All names in the entries that were shown after a call that answered so many bytes.
fn names_of(played: &crate::support::Played) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    for (at, shown) in played.shown.iter().enumerate() {
        if shown.is_empty() {
            continue;
        }
        let len = usize::try_from(played.results[at - 1]).unwrap();
        let mut rest = &shown[..len];
        while !rest.is_empty() {
            let len = usize::from(u16::from_le_bytes([rest[16], rest[17]]));
            let name = rest[19..len].split(|byte| *byte == 0).next().unwrap();
            names.push(name.to_vec());
            rest = &rest[len..];
        }
    }
    names
}

// case limits-05-fiber-records: 1,024 stacks of 64 KiB counted nowhere.
#[test]
fn fibers_are_charged_and_given_back() {
    let limits = Limits {
        scratch_bytes: 256 << 10,
        ..Limits::default()
    };
    let snapshot = snapshot("calls", &limits, &Mounts::new());
    let new = |script: Script| script.call(FIBER_NEW, [TEXT, AREA + 0x800]);
    let mut script = Script::new();
    for _ in 0..5 {
        script = new(script);
    }
    script = new(script.call(FIBER_FREE, [2]))
        .path(AREA, "/tmp/full")
        .call(
            libc::SYS_open,
            [
                AREA,
                u64::from((libc::O_CREAT | libc::O_RDWR).cast_unsigned()),
                0o600,
            ],
        );
    let played = script.play(&snapshot);
    let full = errno(libc::ENOMEM);
    assert_eq!(played.results[..7], [1, 2, 3, 4, full, 0, 2]);
    // What fibers take is not there for files.
    assert_eq!(played.results[8], errno(libc::ENOSPC));
    assert_eq!(played.finished.report.usage.scratch_bytes, 256 << 10);
}

// The mappings of stacks count as those of windows do.
#[test]
fn fibers_take_mappings_of_the_share_of_the_process() {
    alone(
        "kept::fibers_take_mappings_of_the_share_of_the_process",
        || {
            let snapshot = snapshot("calls", &Limits::default(), &Mounts::new());
            let mut script = Script::new();
            for _ in 0..1024 {
                script = script.call(FIBER_NEW, [TEXT, AREA + 0x800]);
            }
            let most: Vec<_> = (0..16)
                .filter_map(|_| script.try_instance(&snapshot).ok())
                .map(|instance| std::thread::spawn(|| instance.run()))
                .collect();
            for instance in most {
                drop(instance.join().unwrap());
            }
            // All shares came back: another one gets all its fibers.
            let played = script.play(&snapshot);
            assert_eq!(played.results[1023], 1024);
        },
    );
}

// case limits-07-scratch-accounting, a: the books went below nothing.
#[test]
fn what_was_there_at_the_start_can_be_removed() {
    let create = u64::from((libc::O_CREAT | libc::O_RDWR).cast_unsigned());
    let played = Script::new()
        .path(AREA, "/tmp")
        .call(libc::SYS_rmdir, [AREA])
        .path(AREA, "/x")
        .call(libc::SYS_open, [AREA, create, 0o600])
        .call(libc::SYS_write, [3, AREA, 1])
        .path(AREA, "/tmp")
        .call(libc::SYS_mkdir, [AREA, 0o777])
        .play(&calls());
    assert_eq!(played.results[1], 0);
    assert_eq!(played.results[3..5], [3, 1]);
    assert_eq!(played.results[6], 0);
    let used = played.finished.report.usage.scratch_bytes;
    assert!((4096..16_384).contains(&used), "{used}");
}

// case limits-07-scratch-accounting, b: the way up from a mounted tree led to a directory that was gone.
#[test]
fn directories_above_a_mounted_tree_stay() {
    let mounts = Mounts::new()
        .mount("/", Arc::new(MemoryTree::new()))
        .mount("/a/b", Arc::new(MemoryTree::new().file("f", "x")));
    let played = Script::new()
        .path(AREA, "/a/b")
        .path(AREA + 0x10, "/a/b/f")
        .path(AREA + 0x20, "/a")
        .path(AREA + 0x30, "..")
        .path(AREA + 0x40, "/c")
        .call(libc::SYS_open, [AREA, 0])
        .call(libc::SYS_unlink, [AREA + 0x10])
        .call(libc::SYS_rmdir, [AREA])
        .call(libc::SYS_rmdir, [AREA + 0x20])
        .call(libc::SYS_rename, [AREA, AREA + 0x40])
        .call(libc::SYS_openat, [3, AREA + 0x30, 0])
        .play(&snapshot("calls", &Limits::default(), &mounts));
    assert_eq!(
        played.results[5..],
        [
            3,
            0,
            errno(libc::EBUSY),
            errno(libc::ENOTEMPTY),
            errno(libc::EBUSY),
            4
        ]
    );
}

// case limits-07-scratch-accounting, c: copies and changed facts of a tree's files counted without a limit.
#[test]
fn changes_of_many_files_of_a_tree_end_at_the_limit() {
    let mut tree = MemoryTree::new();
    for number in 0..2000 {
        tree = tree.file(&format!("d/{number}"), "text");
    }
    let limits = Limits {
        scratch_bytes: 1 << 20,
        files: 1 << 20,
        ..Limits::default()
    };
    let snapshot = snapshot("calls", &limits, &Mounts::new().mount("/", Arc::new(tree)));
    let truncate = u64::from((libc::O_WRONLY | libc::O_TRUNC).cast_unsigned());
    let mut script = Script::new();
    for number in 0..1100 {
        script = script
            .path(AREA, &format!("/d/{number}"))
            .call(libc::SYS_open, [AREA, truncate])
            .call(libc::SYS_close, [3]);
    }
    let played = script.play(&snapshot);
    let opened: Vec<i64> = played.results.iter().skip(1).step_by(3).copied().collect();
    // A copy and facts for each, of 512 bytes.
    assert_eq!(opened.iter().filter(|result| **result == 3).count(), 1024);
    assert!(
        opened[1024..]
            .iter()
            .all(|result| *result == errno(libc::ENOSPC))
    );
    assert_eq!(played.finished.report.usage.scratch_bytes, 1 << 20);
}
