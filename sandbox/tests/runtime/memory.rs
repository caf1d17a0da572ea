//! Memory calls: the break, anonymous mappings, and what must never be possible.

use crate::support::{AREA, Script, snapshot};
use sandbox::{Limits, MemoryTree, Mounts, Snapshot};
use std::sync::Arc;

const PAGE: u64 = 4096;
const ANONYMOUS: u64 = 0x22;
const NONE: u64 = u64::MAX;

fn calls() -> Snapshot {
    let tree = MemoryTree::new().file("f", "0123456789");
    let limits = Limits {
        memory_bytes: 64 << 20,
        stack_bytes: 1 << 20,
        ..Limits::default()
    };
    snapshot("calls", &limits, &Mounts::new().mount("/", Arc::new(tree)))
}

fn errno(number: i32) -> i64 {
    -i64::from(number)
}

/// Where the first anonymous mapping goes.
fn first(snapshot: &Snapshot) -> u64 {
    let played = Script::new()
        .call(libc::SYS_mmap, [0, PAGE, 3, ANONYMOUS, NONE, 0])
        .play(snapshot);
    played.results[0].cast_unsigned()
}

#[test]
fn mapped_memory_is_zero_also_after_it_was_used() {
    let snapshot = calls();
    let at = first(&snapshot);
    for len in [PAGE, 8 * PAGE, 16 * PAGE] {
        let played = Script::new()
            .call(libc::SYS_mmap, [0, len, 3, ANONYMOUS, NONE, 0])
            .poke(at, vec![0xA5; usize::try_from(len).unwrap()])
            .call(libc::SYS_munmap, [at, len])
            .call(libc::SYS_mmap, [0, len, 3, ANONYMOUS, NONE, 0])
            .peek(at, len)
            .play(&snapshot);
        assert_eq!(played.results[0], at.cast_signed());
        assert_eq!(
            played.results[3],
            at.cast_signed(),
            "the hole is found again"
        );
        assert!(played.shown[4].iter().all(|byte| *byte == 0), "{len}");
    }
}

#[test]
fn break_grows_shrinks_and_stays_in_its_place() {
    let snapshot = calls();
    let start = Script::new()
        .call(libc::SYS_brk, [0])
        .play(&snapshot)
        .results[0]
        .cast_unsigned();
    let played = Script::new()
        .call(libc::SYS_brk, [start + 5_000])
        .poke(start, vec![7; 5_000])
        .call(libc::SYS_brk, [start + 100])
        .call(libc::SYS_brk, [start + 5_000])
        .peek(start, 5_000)
        .call(libc::SYS_brk, [start - 1])
        .call(libc::SYS_brk, [1 << 31])
        .call(libc::SYS_brk, [u64::MAX])
        .play(&snapshot);
    let top = (start + 5_000).cast_signed();
    assert_eq!(played.results[0], top);
    assert_eq!(played.results[2..4], [(start + 100).cast_signed(), top]);
    assert!(played.shown[4][..100].iter().all(|byte| *byte == 7));
    assert!(played.shown[4][100..].iter().all(|byte| *byte == 0));
    assert_eq!(played.results[5..], [top, top, top]);
}

#[test]
fn nothing_becomes_executable() {
    let snapshot = calls();
    let at = first(&snapshot);
    for protection in [4, 5, 7] {
        let played = Script::new()
            .call(libc::SYS_mmap, [0, PAGE, protection, ANONYMOUS, NONE, 0])
            .call(libc::SYS_mprotect, [at, PAGE, protection])
            .call(libc::SYS_mprotect, [0x20000, PAGE, protection])
            .path(AREA, "/f")
            .call(libc::SYS_open, [AREA, 0])
            .call(libc::SYS_mmap, [0, PAGE, protection, 2, 3, 0])
            .play(&snapshot);
        for step in [0, 1, 2, 5] {
            assert_eq!(
                played.results[step],
                errno(libc::EACCES),
                "{protection} at {step}"
            );
        }
    }
}

#[test]
fn text_stays_as_it_is_whatever_is_asked() {
    let snapshot = calls();
    let played = Script::new()
        .peek(0x20000, 256)
        .call(libc::SYS_mprotect, [0x20000, PAGE, 3])
        .call(libc::SYS_munmap, [0x20000, PAGE])
        .call(
            libc::SYS_mmap,
            [0x20000, PAGE, 3, ANONYMOUS | 0x10, NONE, 0],
        )
        .call(libc::SYS_madvise, [0x20000, PAGE, 4])
        .call(libc::SYS_mremap, [0x20000, PAGE, 2 * PAGE, 1])
        .call(libc::SYS_getcwd, [0x20000, 100])
        .peek(0x20000, 256)
        .play(&snapshot);
    assert_eq!(
        played.results[2..7],
        [
            errno(libc::EINVAL),
            errno(libc::ENOMEM),
            errno(libc::EINVAL),
            errno(libc::EFAULT),
            errno(libc::EFAULT),
        ]
    );
    assert_eq!(played.shown[0], played.shown[7]);
}

#[test]
fn private_file_mapping_is_a_copy() {
    let snapshot = calls();
    let at = first(&snapshot);
    let played = Script::new()
        .path(AREA, "/f")
        .call(libc::SYS_open, [AREA, 0])
        .call(libc::SYS_mmap, [0, PAGE, 3, 2, 3, 0])
        .poke(at, "abc")
        .peek(at, 12)
        .call(libc::SYS_pread64, [3, AREA + 0x100, 10, 0])
        .peek(AREA + 0x100, 10)
        .call(libc::SYS_mmap, [0, PAGE, 3, 1, 3, 0])
        .call(libc::SYS_mmap, [0, PAGE, 1, 1, 3, 1])
        .call(libc::SYS_mmap, [0, PAGE, 1, 1, 77, 0])
        .play(&snapshot);
    assert_eq!(played.results[2], at.cast_signed());
    assert_eq!(played.shown[4], b"abc3456789\0\0");
    assert_eq!(played.shown[6], b"0123456789");
    let errors = [errno(libc::ENODEV), errno(libc::EINVAL), errno(libc::EBADF)];
    assert_eq!(played.results[7..], errors);
}

#[test]
fn remapped_memory_keeps_its_content() {
    let snapshot = calls();
    let at = first(&snapshot);
    let played = Script::new()
        .call(libc::SYS_mmap, [0, 2 * PAGE, 3, ANONYMOUS, NONE, 0])
        .call(libc::SYS_mmap, [0, PAGE, 3, ANONYMOUS, NONE, 0])
        .poke(at + PAGE, "kept")
        .call(libc::SYS_mremap, [at, 2 * PAGE, 4 * PAGE, 0])
        .call(libc::SYS_mremap, [at, 2 * PAGE, 4 * PAGE, 1])
        .peek(at + 4 * PAGE, 4)
        .call(libc::SYS_mremap, [at + 3 * PAGE, 4 * PAGE, PAGE, 1])
        .call(libc::SYS_mremap, [at + 3 * PAGE, PAGE, 3 * PAGE, 0])
        .peek(at + 4 * PAGE, 4)
        .play(&snapshot);
    assert_eq!(
        played.results[3],
        errno(libc::ENOMEM),
        "the next page is taken"
    );
    assert_eq!(played.results[4], (at + 3 * PAGE).cast_signed());
    assert_eq!(played.shown[5], b"kept");
    assert_eq!(
        played.results[6..8],
        [(at + 3 * PAGE).cast_signed(), (at + 3 * PAGE).cast_signed()]
    );
    assert_eq!(played.shown[8], b"\0\0\0\0", "what was given back is zero");
}

#[test]
fn holes_cost_the_host_no_mappings() {
    let snapshot = calls();
    let at = first(&snapshot);
    let maps = || {
        std::fs::read_to_string("/proc/self/maps")
            .unwrap()
            .lines()
            .count()
    };
    let before = maps();
    let mut script = Script::new().call(libc::SYS_mmap, [0, 8_000 * PAGE, 3, ANONYMOUS, NONE, 0]);
    for page in (0..8_000).step_by(2) {
        script = script.call(libc::SYS_munmap, [at + page * PAGE, PAGE]);
    }
    let played = script.play(&snapshot);
    assert!(played.results[1..].iter().all(|result| *result == 0));
    // The slot stays mapped for the next instance; its number of mappings does not depend on holes.
    assert!(
        maps() < before + 200,
        "{} mappings before, {} after",
        before,
        maps()
    );
}

#[test]
fn memory_limit_is_an_error_not_an_end() {
    let snapshot = calls();
    let played = Script::new()
        .call(libc::SYS_mmap, [0, 80 << 20, 3, ANONYMOUS, NONE, 0])
        .call(libc::SYS_mmap, [0, 1 << 40, 3, ANONYMOUS, NONE, 0])
        .call(libc::SYS_mmap, [0, u64::MAX, 3, ANONYMOUS, NONE, 0])
        .call(libc::SYS_mmap, [0, 0, 3, ANONYMOUS, NONE, 0])
        .play(&snapshot);
    let (memory, invalid) = (errno(libc::ENOMEM), errno(libc::EINVAL));
    assert_eq!(played.results, [memory, invalid, invalid, invalid]);
}
