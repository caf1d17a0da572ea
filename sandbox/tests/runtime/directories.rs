//! Paths, directories and the current one, as a guest sees them.

use crate::files::{calls, tree};
use crate::support::{AREA, Script, guest, sandbox, snapshot};
use sandbox::{HostTree, Limits, Mounts};
use std::sync::Arc;

fn errno(number: i32) -> i64 {
    -i64::from(number)
}

#[test]
fn program_starts_where_the_mounts_say() {
    let at = |path: &str| {
        Mounts::new()
            .mount("/", Arc::new(tree()))
            .working_directory(path)
    };
    for (path, cwd) in [
        ("/etc", "/etc\0"),
        ("dir/../data/", "/data\0"),
        ("/", "/\0"),
    ] {
        let played = Script::new()
            .call(libc::SYS_getcwd, [AREA + 0x100, 100])
            .path(AREA, "motd")
            .call(libc::SYS_open, [AREA, 0])
            .peek(AREA + 0x100, cwd.len() as u64)
            .play(&snapshot("calls", &Limits::default(), &at(path)));
        assert_eq!(played.shown[3], cwd.as_bytes(), "{path}");
        let found = if path == "/etc" {
            3
        } else {
            errno(libc::ENOENT)
        };
        assert_eq!(played.results[2], found, "{path}");
    }
    let program = sandbox().load(&guest("calls")).unwrap();
    for path in ["/nothing", "/etc/motd", ""] {
        let refused = sandbox().start(&program, &Limits::default(), &at(path));
        assert!(
            matches!(refused, Err(sandbox::Error::GuestPath { .. })),
            "{path}: {refused:?}"
        );
    }
}

#[test]
fn paths_lead_where_linux_leads_them() {
    for (path, flags, want) in [
        ("/etc/motd", 0, 3),
        ("etc/motd", 0, 3),
        ("./etc/../etc//motd", 0, 3),
        ("/../../etc/motd", 0, 3),
        ("/etc/link", 0, 3),
        ("/etc/up", 0, 3),
        ("/etc/absolute", 0, 3),
        ("/etc/out", 0, 3),
        ("/dir/motd", 0, 3),
        ("/dir/", libc::O_DIRECTORY, 3),
        ("/", 0, 3),
        ("/etc/link", libc::O_NOFOLLOW, errno(libc::ELOOP)),
        ("/etc/loop", 0, errno(libc::ELOOP)),
        ("/etc/dangling", 0, errno(libc::ENOENT)),
        ("/etc/motd/", 0, errno(libc::ENOTDIR)),
        ("/etc/motd/x", 0, errno(libc::ENOTDIR)),
        ("/etc/nothing", 0, errno(libc::ENOENT)),
        ("/nothing/motd", 0, errno(libc::ENOENT)),
        ("", 0, errno(libc::ENOENT)),
        ("/etc/motd", libc::O_DIRECTORY, errno(libc::ENOTDIR)),
        ("/etc", libc::O_RDWR, errno(libc::EISDIR)),
        ("/dev/null", libc::O_RDWR, 3),
        ("/tmp", 0, 3),
    ] {
        let played = Script::new()
            .path(AREA, path)
            .call(libc::SYS_open, [AREA, u64::from(flags.cast_unsigned())])
            .play(&calls());
        assert_eq!(played.results[1], want, "{path:?} with {flags:#x}");
    }
}

#[test]
fn too_long_names_and_paths_are_refused() {
    for (path, want) in [
        ("a".repeat(255), errno(libc::ENOENT)),
        ("a".repeat(256), errno(libc::ENAMETOOLONG)),
        ("/".repeat(4095), 3),
        ("/".repeat(4096), errno(libc::ENAMETOOLONG)),
        (
            ["a/", "../"].concat().repeat(1000),
            errno(libc::ENAMETOOLONG),
        ),
    ] {
        let played = Script::new()
            .path(AREA, &path)
            .call(libc::SYS_open, [AREA, 0])
            .play(&calls());
        assert_eq!(played.results[1], want, "{} bytes", path.len());
    }
}

#[test]
fn names_of_the_tree_can_be_removed_privately() {
    let played = Script::new()
        .path(AREA, "/etc/motd")
        .path(AREA + 0x100, "/etc/new")
        .call(libc::SYS_rename, [AREA, AREA + 0x100])
        .call(libc::SYS_access, [AREA, 0])
        .call(libc::SYS_open, [AREA + 0x100, 0])
        .call(libc::SYS_read, [3, AREA + 0x200, 100])
        .path(AREA, "/empty")
        .call(libc::SYS_rmdir, [AREA])
        .call(libc::SYS_access, [AREA, 0])
        .path(AREA, "/etc")
        .call(libc::SYS_rmdir, [AREA])
        .call(libc::SYS_unlink, [AREA])
        .play(&calls());
    let results = &played.results;
    assert_eq!(results[2..6], [0, errno(libc::ENOENT), 3, 8]);
    assert_eq!(results[7..9], [0, errno(libc::ENOENT)]);
    assert_eq!(results[10..], [errno(libc::ENOTEMPTY), errno(libc::EISDIR)]);
}

#[test]
fn directories_are_made_listed_and_left() {
    let played = Script::new()
        .path(AREA, "/tmp/d")
        .call(libc::SYS_mkdir, [AREA, 0o755])
        .call(libc::SYS_chdir, [AREA])
        .call(libc::SYS_getcwd, [AREA + 0x100, 100])
        .peek(AREA + 0x100, 7)
        .path(AREA, "../d/x")
        .call(libc::SYS_open, [AREA, 0o101, 0o644])
        .path(AREA, ".")
        .call(libc::SYS_open, [AREA, 0])
        .call(libc::SYS_getdents64, [4, AREA + 0x200, 1000])
        .peek(AREA + 0x200, 72)
        .call(libc::SYS_getdents64, [4, AREA + 0x200, 1000])
        .call(libc::SYS_getdents64, [4, AREA + 0x200, 10])
        .path(AREA, "/tmp/d/y")
        .path(AREA + 0x100, "/tmp/d")
        .call(libc::SYS_rename, [AREA + 0x100, AREA])
        .play(&calls());
    assert_eq!(played.results[1..4], [0, 0, 7]);
    assert_eq!(played.shown[4], b"/tmp/d\0");
    assert_eq!(played.results[9], 72);
    let listing = &played.shown[10];
    let name = |at: usize| &listing[at + 19..at + 24];
    assert_eq!(
        (name(0), name(24), name(48)),
        (&b".\0\0\0\0"[..], &b"..\0\0\0"[..], &b"x\0\0\0\0"[..])
    );
    assert_eq!(
        (listing[18], listing[48 + 18]),
        (libc::DT_DIR, libc::DT_REG)
    );
    assert_eq!(played.results[11..13], [0, 0]);
    assert_eq!(
        *played.results.last().unwrap(),
        errno(libc::EINVAL),
        "not below itself"
    );
}

#[test]
fn tree_directory_is_listed_in_pieces() {
    let mut script = Script::new()
        .path(AREA, "/etc")
        .call(libc::SYS_open, [AREA, 0]);
    for _ in 0..12 {
        script = script
            .call(libc::SYS_getdents64, [3, AREA + 0x100, 40])
            .peek(AREA + 0x100, 40);
    }
    let played = script.play(&calls());
    let mut names = Vec::new();
    for step in (2..)
        .step_by(2)
        .take_while(|step| played.results[*step] > 0)
    {
        let name = &played.shown[step + 1][19..];
        let len = name.iter().position(|byte| *byte == 0).unwrap();
        names.push(String::from_utf8(name[..len].to_vec()).unwrap());
    }
    let want = [
        ".", "..", "absolute", "dangling", "link", "loop", "motd", "out", "up",
    ];
    assert_eq!(names, want);
}

#[test]
fn host_directory_is_shown_and_not_left() {
    let (_keep, path) = crate::support::directory();
    std::fs::create_dir(path.join("sub")).unwrap();
    std::fs::write(path.join("sub/file"), "from the host").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", path.join("passwd")).unwrap();
    std::os::unix::fs::symlink("sub/file", path.join("good")).unwrap();
    std::os::unix::fs::symlink("/", path.join("rootlink")).unwrap();
    let mounts = Mounts::new().mount("/host", Arc::new(HostTree::open(&path).unwrap()));
    let snapshot = snapshot("calls", &Limits::default(), &mounts);
    let open = |path: &str| {
        Script::new()
            .path(AREA, path)
            .call(libc::SYS_open, [AREA, 0])
            .call(libc::SYS_read, [3, AREA + 0x100, 100])
            .peek(AREA + 0x100, 13)
            .play(&snapshot)
    };
    for good in ["/host/sub/file", "/host/good"] {
        let played = open(good);
        assert_eq!(played.results[1..3], [3, 13], "{good}");
        assert_eq!(played.shown[3], b"from the host");
    }
    for bad in [
        "/host/passwd",
        "/host/rootlink/etc/passwd",
        "/host/../../etc/passwd",
        "/etc/passwd",
    ] {
        assert_eq!(open(bad).results[1], errno(libc::ENOENT), "{bad}");
    }
    let played = Script::new()
        .path(AREA, "/host")
        .call(libc::SYS_open, [AREA, 0])
        .call(libc::SYS_getdents64, [3, AREA + 0x100, 4000])
        .peek(AREA + 0x100, 200)
        .play(&snapshot);
    assert_eq!(
        played.results[2],
        4 * 24 + 2 * 32,
        "six names, two of them longer"
    );
}

#[test]
fn current_directory_is_known_by_its_present_name() {
    let played = Script::new()
        .path(AREA, "/tmp/a")
        .path(AREA + 0x100, "/tmp/a/in")
        .path(AREA + 0x200, "/tmp/b")
        .path(AREA + 0x300, "/tmp/a")
        .path(AREA + 0x400, "/etc/moved")
        .call(libc::SYS_mkdir, [AREA, 0o755])
        .call(libc::SYS_mkdir, [AREA + 0x100, 0o755])
        .call(libc::SYS_chdir, [AREA + 0x100])
        .call(libc::SYS_rename, [AREA, AREA + 0x200])
        // Another directory now has the old name.
        .call(libc::SYS_mkdir, [AREA + 0x300, 0o755])
        .call(libc::SYS_getcwd, [AREA + 0x500, 100])
        .peek(AREA + 0x500, 10)
        .path(AREA, "..")
        .call(libc::SYS_chdir, [AREA])
        .call(libc::SYS_rename, [AREA + 0x200, AREA + 0x400])
        .call(libc::SYS_getcwd, [AREA + 0x500, 100])
        .peek(AREA + 0x500, 11)
        .play(&calls());
    assert_eq!(played.results[5..11], [0, 0, 0, 0, 0, 10]);
    assert_eq!(played.shown[11], b"/tmp/b/in\0");
    assert_eq!(played.shown[16], b"/etc/moved\0");
}

#[test]
fn removed_directory_has_no_path_and_takes_no_names() {
    for path in ["/tmp/d", "/empty"] {
        let played = Script::new()
            .path(AREA, path)
            .path(AREA + 0x100, "new")
            .call(libc::SYS_mkdir, [AREA, 0o755])
            .call(libc::SYS_chdir, [AREA])
            .call(libc::SYS_rmdir, [AREA])
            .call(libc::SYS_getcwd, [AREA + 0x500, 100])
            .call(libc::SYS_open, [AREA + 0x100, 0o101, 0o644])
            // A new directory of that name is another one.
            .call(libc::SYS_mkdir, [AREA, 0o755])
            .call(libc::SYS_getcwd, [AREA + 0x500, 100])
            .call(libc::SYS_mkdir, [AREA + 0x100, 0o755])
            .call(libc::SYS_chdir, [AREA])
            .call(libc::SYS_getcwd, [AREA + 0x500, 100])
            .play(&calls());
        let gone = errno(libc::ENOENT);
        assert_eq!(played.results[3..8], [0, 0, gone, gone, 0], "{path}");
        assert_eq!(played.results[8..11], [gone, gone, 0], "{path}");
        let len = i64::try_from(path.len()).unwrap() + 1;
        assert_eq!(played.results[11], len, "{path}");
    }
}

#[test]
fn trees_beyond_the_most_there_can_be_are_refused() {
    let program = sandbox().load(&guest("calls")).unwrap();
    let tree: Arc<dyn sandbox::Tree> = Arc::new(tree());
    let many = |count: u32| {
        let mounts = (0..count).fold(Mounts::new(), |mounts, number| {
            mounts.mount(format!("/many/{number}"), Arc::clone(&tree))
        });
        sandbox().start(&program, &Limits::default(), &mounts)
    };
    let last = Script::new()
        .path(AREA, "/many/255/etc/motd")
        .call(libc::SYS_open, [AREA, 0])
        .play(&many(256).expect("each has a number"));
    assert_eq!(last.results[1], 3);
    let refused = many(257);
    assert!(
        matches!(refused, Err(sandbox::Error::TooManyTrees { max: 256 })),
        "{refused:?}"
    );
}
