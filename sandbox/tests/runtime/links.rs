//! Links that a guest makes, and facts about files that it changes for itself; waiting for files.

use crate::support::{AREA, Script, snapshot};
use sandbox::{Limits, MemoryTree, Mounts, Snapshot};
use std::sync::Arc;

const CWD: u64 = (libc::AT_FDCWD as i64).cast_unsigned();
const NAME: u64 = AREA + 0x400;
const STAT: u64 = AREA + 0x200;

fn calls() -> Snapshot {
    let tree = MemoryTree::new()
        .file("etc/motd", "welcome\n")
        .link("etc/link", "motd")
        .directory("d");
    let mounts = Mounts::new().mount("/", Arc::new(tree));
    snapshot("calls", &Limits::default(), &mounts)
}

fn errno(number: i32) -> i64 {
    -i64::from(number)
}

/// Reads the first eight bytes of a file.
fn read(script: Script, path: &str, fd: u64) -> Script {
    script
        .path(AREA, path)
        .call(libc::SYS_open, [AREA, 0])
        .call(libc::SYS_read, [fd, AREA + 0x100, 8])
        .peek(AREA + 0x100, 8)
}

fn two_paths(script: Script, call: i64, first: &str, second: &str) -> Script {
    script
        .path(AREA, first)
        .path(NAME, second)
        .call(call, [AREA, NAME])
}

#[test]
fn symbolic_links_are_made_followed_and_read() {
    let symlink = |script, target, path| two_paths(script, libc::SYS_symlink, target, path);
    let mut script = symlink(Script::new(), "/etc/link", "/d/new");
    script = read(script, "/d/new", 3);
    script = script
        .path(AREA, "/d/new")
        .call(libc::SYS_readlink, [AREA, AREA + 0x100, 64])
        .peek(AREA + 0x100, 9)
        .call(libc::SYS_lstat, [AREA, STAT])
        .peek(STAT, 56);
    let played = script.play(&calls());
    assert_eq!(played.results[2..3], [0]);
    assert_eq!(played.results[4..6], [3, 8]);
    assert_eq!(played.shown[6], b"welcome\n");
    assert_eq!(played.results[8], 9);
    assert_eq!(played.shown[9], b"/etc/link");
    let stat = &played.shown[11];
    assert_eq!(stat[24..28], (libc::S_IFLNK | 0o777).to_le_bytes());
    assert_eq!(
        stat[48..56],
        9_u64.to_le_bytes(),
        "its size is its target's"
    );
}

#[test]
fn symbolic_links_end_where_linux_says() {
    let symlink = |script, target, path| two_paths(script, libc::SYS_symlink, target, path);
    let create = |script: Script, path: &str| {
        script
            .path(AREA, path)
            .call(libc::SYS_open, [AREA, 0o102, 0o600])
    };
    let mut script = symlink(Script::new(), "loop", "/tmp/loop");
    script = script.call(libc::SYS_open, [NAME, 0]); // 3
    script = symlink(script, "made", "/tmp/dangling");
    script = script.call(libc::SYS_open, [NAME, 0]); // 7
    script = create(script, "/tmp/dangling"); // 9
    script = script
        .path(AREA, "/tmp/made")
        .call(libc::SYS_access, [AREA, 0]); // 11
    script = symlink(script, "x", "/etc/motd"); // 14
    script = symlink(script, "", "/tmp/empty"); // 17
    script = symlink(script, "x", "/tmp/none/x"); // 20
    script = symlink(script, "x", "/tmp/slash/"); // 23
    script = script
        .path(AREA, "/tmp/loop")
        .call(libc::SYS_unlink, [AREA])
        .call(libc::SYS_readlink, [AREA, AREA + 0x100, 64]);
    let played = script.play(&calls());
    let results = &played.results;
    assert_eq!(results[2..4], [0, errno(libc::ELOOP)]);
    assert_eq!(results[6..8], [0, errno(libc::ENOENT)]);
    assert_eq!(results[9], 3, "a file is made where the link points");
    assert_eq!(results[11], 0);
    assert_eq!(results[14], errno(libc::EEXIST));
    assert_eq!(results[17], errno(libc::ENOENT));
    assert_eq!(results[20], errno(libc::ENOENT));
    assert_eq!(results[23], errno(libc::ENOENT));
    assert_eq!(results[25..], [0, errno(libc::ENOENT)]);
}

#[test]
fn links_of_links_cost_scratch() {
    let limits = Limits {
        scratch_bytes: 20_000,
        ..Limits::default()
    };
    let long = "x".repeat(4000);
    let mut script = Script::new().path(AREA + 0x1000, &long);
    for number in 0..6 {
        script = script
            .path(AREA, &format!("/tmp/{number}"))
            .call(libc::SYS_symlink, [AREA + 0x1000, AREA]);
    }
    script = script.path(AREA, "/tmp/0").call(libc::SYS_unlink, [AREA]);
    script = script
        .path(AREA, "/tmp/again")
        .call(libc::SYS_symlink, [AREA + 0x1000, AREA]);
    let played = script.play(&snapshot("calls", &limits, &Mounts::new()));
    let made = |at: usize| played.results[at];
    assert_eq!([made(2), made(4), made(6)], [0; 3]);
    assert_eq!([made(8), made(10), made(12)], [errno(libc::ENOSPC); 3]);
    assert_eq!(
        [made(14), made(16)],
        [0; 2],
        "a removed link gives its bytes back"
    );
}

#[test]
fn hard_links_share_a_file_until_the_last_is_gone() {
    let link = |script, old, new| two_paths(script, libc::SYS_link, old, new);
    let mut script = Script::new()
        .path(AREA, "/tmp/a")
        .call(libc::SYS_open, [AREA, 0o102, 0o600])
        .poke(AREA + 0x300, "together")
        .call(libc::SYS_write, [3, AREA + 0x300, 8]);
    script = link(script, "/tmp/a", "/d/b"); // 6
    script = script
        .call(libc::SYS_stat, [NAME, STAT])
        .peek(STAT, 24)
        .call(libc::SYS_unlink, [AREA]);
    script = read(script, "/d/b", 4); // 11, 12, 13
    script = link(script, "/etc/motd", "/tmp/news"); // 16
    script = read(script, "/tmp/news", 5); // 18, 19, 20
    script = link(script, "/d", "/tmp/directory"); // 23
    script = link(script, "/dev/null", "/tmp/null"); // 26
    script = link(script, "/tmp/nothing", "/tmp/c"); // 29
    script = link(script, "/etc/motd", "/d/b"); // 32
    let played = script.play(&calls());
    let results = &played.results;
    assert_eq!(results[6..8], [0, 0]);
    assert_eq!(played.shown[8][16..24], 2_u64.to_le_bytes(), "st_nlink");
    assert_eq!((results[9], results[12]), (0, 8));
    assert_eq!(played.shown[13], b"together");
    assert_eq!((results[16], results[19]), (0, 8));
    assert_eq!(played.shown[20], b"welcome\n");
    assert_eq!(results[23], errno(libc::EPERM));
    assert_eq!(results[26], errno(libc::EPERM));
    assert_eq!(results[29], errno(libc::ENOENT));
    assert_eq!(results[32], errno(libc::EEXIST));
}

#[test]
fn facts_of_tree_files_change_for_the_instance_alone() {
    let snapshot = calls();
    let times: Vec<u8> = [1_i64, 0, 86_400, 7]
        .into_iter()
        .flat_map(i64::to_le_bytes)
        .collect();
    let look = |script: Script| script.call(libc::SYS_stat, [AREA, STAT]).peek(STAT, 104);
    let played = look(
        Script::new()
            .path(AREA, "/etc/motd")
            .poke(NAME, &times)
            .call(libc::SYS_utimensat, [CWD, AREA, NAME, 0])
            .call(libc::SYS_chmod, [AREA, 0o7751])
            .call(libc::SYS_chown, [AREA, 0, u64::MAX])
            .call(libc::SYS_chown, [AREA, 1000, 0]),
    )
    .play(&snapshot);
    assert_eq!(played.results[2..5], [0, 0, 0]);
    assert_eq!(played.results[5], errno(libc::EPERM));
    let stat = &played.shown[7];
    assert_eq!(stat[24..28], (libc::S_IFREG | 0o7751).to_le_bytes());
    assert_eq!(stat[88..104], times[16..32]);

    let fresh = look(Script::new().path(AREA, "/etc/motd")).play(&snapshot);
    let stat = &fresh.shown[2];
    assert_eq!(stat[24..28], (libc::S_IFREG | 0o644).to_le_bytes());
    assert_ne!(stat[88..104], times[16..32]);
    let written = look(
        Script::new()
            .path(AREA, "/etc/motd")
            .call(libc::SYS_truncate, [AREA, 3]),
    )
    .play(&snapshot);
    assert!(
        written.shown[3][88..96] > stat[88..96],
        "it was just written"
    );
}

#[test]
fn select_finds_every_file_ready_and_otherwise_sleeps() {
    let played = Script::new()
        .path(AREA, "/etc/motd")
        .call(libc::SYS_open, [AREA, 0])
        .poke(
            NAME,
            [0b1001_u64.to_le_bytes(), 0b10_u64.to_le_bytes()].as_flattened(),
        )
        .call(libc::SYS_select, [4, NAME, NAME + 8, 0, 0])
        .call(libc::SYS_select, [4, 0, 0, NAME, NAME + 0x80])
        .peek(NAME, 16)
        .poke(NAME, [1_u64 << 9; 1].map(u64::to_le_bytes).as_flattened())
        .call(libc::SYS_select, [9, NAME, 0, 0, NAME + 0x80])
        .call(libc::SYS_select, [10, NAME, 0, 0, NAME + 0x80])
        .call(libc::SYS_select, [1025, NAME, 0, 0, NAME + 0x80])
        .call(libc::SYS_select, [1, 0, 0, 0, 0xFFFF_F000])
        .call(libc::SYS_fsync, [3])
        .call(libc::SYS_fsync, [1])
        .play(&calls());
    let results = &played.results;
    assert_eq!(results[3], 3);
    assert_eq!(results[4], 0, "nothing is exceptional");
    assert_eq!(played.shown[5][..8], [0; 8]);
    assert_eq!(results[7], 0, "descriptor 9 lies beyond the set");
    assert_eq!(
        results[8..11],
        [errno(libc::EBADF), errno(libc::EINVAL), errno(libc::EFAULT)]
    );
    assert_eq!(results[11..], [0, errno(libc::EINVAL)]);
}
