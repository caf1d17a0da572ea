//! Files as a guest sees them: a tree that cannot change, scratch, private copies, devices.

use crate::support::{AREA, Script, snapshot};
use sandbox::{Limits, MemoryTree, Mounts, Snapshot};
use std::sync::Arc;

const CWD: u64 = (libc::AT_FDCWD as i64).cast_unsigned();

pub(crate) fn tree() -> MemoryTree {
    MemoryTree::new()
        .file("etc/motd", "welcome\n")
        .file(
            "data/big",
            (0..300_000_u32)
                .flat_map(u32::to_le_bytes)
                .collect::<Vec<u8>>(),
        )
        .link("etc/link", "motd")
        .link("etc/up", "../data/../etc/motd")
        .link("etc/absolute", "/etc/motd")
        .link("etc/out", "../../../../../etc/motd")
        .link("etc/loop", "loop")
        .link("etc/dangling", "nothing")
        .link("dir", "etc")
        .directory("empty")
}

pub(crate) fn calls() -> Snapshot {
    let mounts = Mounts::new().mount("/", Arc::new(tree()));
    snapshot("calls", &Limits::default(), &mounts)
}

fn errno(number: i32) -> i64 {
    -i64::from(number)
}

#[test]
fn file_is_opened_read_and_closed() {
    let played = Script::new()
        .path(AREA, "/etc/motd")
        .call(libc::SYS_open, [AREA, 0])
        .call(libc::SYS_read, [3, AREA + 0x100, 5])
        .call(libc::SYS_read, [3, AREA + 0x105, 100])
        .call(libc::SYS_read, [3, AREA + 0x200, 100])
        .peek(AREA + 0x100, 8)
        .call(libc::SYS_lseek, [3, 2, 0])
        .call(libc::SYS_pread64, [3, AREA + 0x300, 3, 3])
        .peek(AREA + 0x300, 3)
        .call(libc::SYS_close, [3])
        .call(libc::SYS_close, [3])
        .play(&calls());
    assert_eq!(played.results[1..5], [3, 5, 3, 0]);
    assert_eq!(played.shown[5], b"welcome\n");
    assert_eq!(played.results[6..8], [2, 3]);
    assert_eq!(played.shown[8], b"com");
    assert_eq!(played.results[9..], [0, errno(libc::EBADF)]);
    assert_eq!(played.finished.report.usage.files_opened, 1);
}

#[test]
fn large_file_is_read_in_one_call() {
    let len = 4 * 300_000_u64;
    let played = Script::new()
        .path(AREA, "/data/big")
        .call(libc::SYS_open, [AREA, 0])
        .call(libc::SYS_mmap, [0, len, 3, 0x22, u64::MAX, 0])
        .play(&calls());
    let at = played.results[2].cast_unsigned();
    let played = Script::new()
        .path(AREA, "/data/big")
        .call(libc::SYS_open, [AREA, 0])
        .call(libc::SYS_mmap, [0, len, 3, 0x22, u64::MAX, 0])
        .call(libc::SYS_read, [3, at, len + 5])
        .peek(at, len)
        .play(&calls());
    assert_eq!(played.results[3], len.cast_signed());
    let want: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    assert!(played.shown[4] == want);
}

#[test]
fn scratch_files_live_and_vanish() {
    let create = u64::from((libc::O_CREAT | libc::O_RDWR | libc::O_EXCL).cast_unsigned());
    let script = Script::new()
        .path(AREA, "/tmp/a")
        .call(libc::SYS_open, [AREA, create, 0o600])
        .poke(AREA + 0x100, "hello")
        .call(libc::SYS_write, [3, AREA + 0x100, 5])
        .call(libc::SYS_pwrite64, [3, AREA + 0x100, 5, 10_000])
        .call(libc::SYS_lseek, [3, 0, 2])
        .call(libc::SYS_pread64, [3, AREA + 0x200, 10, 9_998])
        .peek(AREA + 0x200, 7)
        .call(libc::SYS_open, [AREA, create, 0o600])
        .call(libc::SYS_ftruncate, [3, 3])
        .call(libc::SYS_lseek, [3, 0, 2])
        .path(AREA + 0x300, "/tmp/b")
        .call(libc::SYS_rename, [AREA, AREA + 0x300])
        .call(libc::SYS_access, [AREA, 0])
        .call(libc::SYS_access, [AREA + 0x300, 0])
        .call(libc::SYS_unlink, [AREA + 0x300])
        .call(libc::SYS_pread64, [3, AREA + 0x200, 10, 0])
        .call(libc::SYS_close, [3]);
    let snapshot = calls();
    for _ in 0..3 {
        let played = script.play(&snapshot);
        assert_eq!(played.results[1], 3);
        assert_eq!(played.results[3..7], [5, 5, 10_005, 7]);
        assert_eq!(played.shown[7], b"\0\0hello");
        assert_eq!(played.results[8], errno(libc::EEXIST));
        assert_eq!(played.results[9..11], [0, 3]);
        assert_eq!(played.results[12..15], [0, errno(libc::ENOENT), 0]);
        // The file without a name can still be read.
        assert_eq!(played.results[15..], [0, 3, 0]);
        assert!(played.finished.report.usage.scratch_bytes > 8_192);
    }
}

#[test]
fn tree_files_are_written_privately() {
    let snapshot = calls();
    let write = u64::from(libc::O_RDWR.cast_unsigned());
    let played = Script::new()
        .path(AREA, "/etc/motd")
        .call(libc::SYS_open, [AREA, 0])
        .call(libc::SYS_open, [AREA, write])
        .poke(AREA + 0x100, "WEL")
        .call(libc::SYS_pwrite64, [4, AREA + 0x100, 3, 0])
        .call(libc::SYS_pread64, [3, AREA + 0x200, 100, 0])
        .peek(AREA + 0x200, 8)
        // A file that has been written cannot be mapped.
        .call(libc::SYS_mmap, [0, 8, 1, 2, 3, 0])
        .play(&snapshot);
    assert_eq!(played.shown[6], b"WELcome\n");
    assert_eq!(played.results[7], errno(libc::ENODEV));
    assert_eq!(played.finished.report.usage.discarded_bytes, 3);
    let played = Script::new()
        .path(AREA, "/etc/motd")
        .call(libc::SYS_open, [AREA, 0])
        .call(libc::SYS_read, [3, AREA + 0x200, 100])
        .peek(AREA + 0x200, 8)
        .play(&snapshot);
    assert_eq!(
        played.shown[3], b"welcome\n",
        "the next instance sees the tree's file"
    );
}

#[test]
fn what_was_to_stay_is_counted_as_discarded() {
    let snapshot = calls();
    let create = u64::from((libc::O_CREAT | libc::O_RDWR).cast_unsigned());
    let written = |path: &str, then: &str| {
        let script = Script::new()
            .path(AREA, path)
            .call(libc::SYS_open, [AREA, create, 0o644])
            .poke(AREA + 0x100, "hello")
            .call(libc::SYS_write, [3, AREA + 0x100, 5]);
        let script = match then {
            "" => script,
            "unlink" => script.call(libc::SYS_unlink, [AREA]),
            target => script
                .path(AREA + 0x300, target)
                .call(libc::SYS_rename, [AREA, AREA + 0x300]),
        };
        script.play(&snapshot).finished.report.usage.discarded_bytes
    };
    assert_eq!(written("/etc/upload", ""), 5);
    assert_eq!(written("/tmp/upload", ""), 0);
    assert_eq!(written("/tmp/upload", "/etc/upload"), 5);
    assert_eq!(written("/etc/journal", "unlink"), 0);
    assert_eq!(written("/etc/upload", "/tmp/upload"), 0);
}

#[test]
fn stat_says_what_linux_says() {
    let played = Script::new()
        .path(AREA, "/etc/motd")
        .call(libc::SYS_stat, [AREA, AREA + 0x200])
        .peek(AREA + 0x200, 144)
        .path(AREA, "/etc/link")
        .call(libc::SYS_lstat, [AREA, AREA + 0x200])
        .peek(AREA + 0x200, 144)
        .call(libc::SYS_newfstatat, [CWD, AREA, AREA + 0x200, 0])
        .peek(AREA + 0x200, 144)
        .call(libc::SYS_statx, [CWD, AREA, 0, 0x7FF, AREA + 0x200])
        .peek(AREA + 0x200, 256)
        .call(libc::SYS_fstat, [1, AREA + 0x200])
        .peek(AREA + 0x200, 144)
        .play(&calls());
    let field = |step: usize, at: usize| {
        u64::from_le_bytes(played.shown[step][at..at + 8].try_into().unwrap())
    };
    let mode = |step: usize| field(step, 24) & 0xFFFF_FFFF;
    assert_eq!(mode(2), u64::from(libc::S_IFREG | 0o644));
    assert_eq!(field(2, 48), 8);
    assert_eq!(mode(5), u64::from(libc::S_IFLNK | 0o777));
    assert_eq!(
        field(7, 8),
        field(2, 8),
        "following the link leads to the same inode"
    );
    assert_eq!(field(9, 40), 8, "stx_size");
    assert_eq!(
        field(9, 24) >> 32 & 0xFFFF,
        u64::from(libc::S_IFREG | 0o644),
        "stx_mode"
    );
    assert_eq!(mode(11) & u64::from(libc::S_IFMT), u64::from(libc::S_IFIFO));
}

#[test]
fn scratch_limit_is_kept() {
    let limits = Limits {
        scratch_bytes: 100_000,
        files: 20,
        ..Limits::default()
    };
    let snapshot = snapshot("calls", &limits, &Mounts::new());
    let create = 0o102;
    let mut script = Script::new()
        .path(AREA, "/tmp/a")
        .call(libc::SYS_open, [AREA, create, 0o600]);
    for _ in 0..3 {
        script = script.call(libc::SYS_write, [3, AREA, 0xC000]);
    }
    // A hole costs nothing, however far away its end is.
    script = script
        .call(libc::SYS_ftruncate, [3, 1 << 39])
        .call(libc::SYS_ftruncate, [3, 1 << 41]);
    script = script.call(libc::SYS_pwrite64, [3, AREA, 1, i64::MAX.cast_unsigned()]);
    let played = script.play(&snapshot);
    assert_eq!(played.results[2], 0xC000);
    // The second write stops where the limit is, as on a full disk.
    assert!(
        played.results[3] == 0xC000 || played.results[3] > 0,
        "{:?}",
        played.results
    );
    assert_eq!(played.results[4], errno(libc::ENOSPC));
    assert_eq!(played.results[5..7], [0, errno(libc::EFBIG)]);
    assert_eq!(played.results[7], errno(libc::EFBIG));
    assert!(played.finished.report.usage.scratch_bytes <= 100_000);
}

#[test]
fn own_files_can_be_removed_when_scratch_is_full() {
    let tree = MemoryTree::new().file("/page", b"page".to_vec());
    let mounts = Mounts::new().mount("/", Arc::new(tree));
    let mut refused = 0;
    // One of these limits is reached exactly by two pages and what names them.
    for records in 0..8 {
        let limits = Limits {
            scratch_bytes: 2 * 4096 + records * 512,
            ..Limits::default()
        };
        let played = Script::new()
            .path(AREA, "/tmp/a")
            .path(AREA + 100, "/page")
            .call(libc::SYS_open, [AREA, 0o102, 0o600])
            .call(libc::SYS_write, [3, AREA, 0x2000])
            .call(libc::SYS_unlink, [AREA + 100])
            .call(libc::SYS_unlink, [AREA])
            .play(&snapshot("calls", &limits, &mounts));
        if played.results[2] == 3 {
            refused += u32::from(played.results[4] == errno(libc::ENOSPC));
            assert_eq!(played.results[5], 0, "{records} records");
        }
    }
    assert!(refused > 0, "no limit was reached exactly");
}

#[test]
fn number_of_files_is_limited() {
    let limits = Limits {
        files: 16,
        ..Limits::default()
    };
    let snapshot = snapshot("calls", &limits, &Mounts::new());
    let mut script = Script::new();
    for index in 0..40 {
        script = script
            .path(AREA, &format!("/tmp/{index}"))
            .call(libc::SYS_open, [AREA, 0o102, 0o600]);
    }
    let played = script.play(&snapshot);
    let opened = played
        .results
        .iter()
        .skip(1)
        .step_by(2)
        .filter(|result| **result >= 3)
        .count();
    assert_eq!(opened, 13, "three descriptors are the standard streams");
    assert_eq!(*played.results.last().unwrap(), errno(libc::EMFILE));
}

#[test]
fn descriptors_are_duplicated_and_share_their_offset() {
    let played = Script::new()
        .path(AREA, "/etc/motd")
        .call(libc::SYS_open, [AREA, 0])
        .call(libc::SYS_dup, [3])
        .call(libc::SYS_read, [3, AREA + 0x100, 3])
        .call(libc::SYS_read, [4, AREA + 0x100, 3])
        .peek(AREA + 0x100, 3)
        .call(libc::SYS_dup2, [3, 10])
        .call(libc::SYS_dup2, [3, 3])
        .call(libc::SYS_dup3, [3, 3, 0])
        .call(libc::SYS_dup2, [3, 5_000])
        .call(libc::SYS_fcntl, [3, 0, 20])
        .call(libc::SYS_fcntl, [10, 3])
        .call(libc::SYS_close, [3])
        .call(libc::SYS_lseek, [10, 0, 1])
        .play(&calls());
    assert_eq!(played.results[1..5], [3, 4, 3, 3]);
    assert_eq!(played.shown[5], b"com");
    assert_eq!(
        played.results[6..],
        [10, 3, errno(libc::EINVAL), errno(libc::EBADF), 20, 0, 0, 6]
    );
}
