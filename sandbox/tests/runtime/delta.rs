//! What a guest has changed, sent on and given to another instance.

use crate::support::{AREA, Script, snapshot};
use sandbox::{Change, Delta, Error, Input, Instance, Limits, MemoryTree, Mounts, Snapshot};
use std::sync::Arc;

fn mounts(name: &str) -> Mounts {
    let image = MemoryTree::new()
        .file("etc/motd", "welcome\n")
        .file(&format!("etc/{name}"), vec![7; 9000]);
    Mounts::new()
        .mount("/", Arc::new(image))
        .late_bound("/data")
}

fn start(limits: &Limits) -> Snapshot {
    snapshot("calls", limits, &mounts("big"))
}

fn object() -> Arc<MemoryTree> {
    Arc::new(MemoryTree::new().file("name", "an object"))
}

/// Writes to a file of the image and of the bound tree, renames, removes and makes.
fn writes() -> Script {
    Script::new()
        .path(AREA, "/etc/big")
        .path(AREA + 0x100, "/data/name")
        .path(AREA + 0x200, "/data/new")
        .path(AREA + 0x300, "/tmp/own")
        .path(AREA + 0x400, "/etc/motd")
        .poke(AREA + 0x500, "CHANGED")
        .call(libc::SYS_open, [AREA, 1])
        .call(libc::SYS_pwrite64, [3, AREA + 0x500, 7, 5000])
        .call(libc::SYS_ftruncate, [3, 100_000])
        .call(libc::SYS_rename, [AREA + 0x100, AREA + 0x200])
        .call(libc::SYS_open, [AREA + 0x300, 0o101, 0o600])
        .call(libc::SYS_write, [4, AREA + 0x500, 7])
        .call(libc::SYS_unlink, [AREA + 0x400])
}

fn build(snapshot: &Snapshot, script: &Script, delta: Option<&Delta>) -> Result<Instance, Error> {
    let builder = Instance::builder(snapshot)
        .arg("calls")
        .bind("/data", object())
        .stdin(Input::Bytes(script.input().to_vec()));
    match delta {
        Some(delta) => builder.apply(delta).build(),
        None => builder.build(),
    }
}

#[test]
fn changes_of_one_instance_are_given_to_the_next() {
    let snapshot = start(&Limits::default());
    let first = build(&snapshot, &writes(), None).expect("room").run();
    let delta = first.delta();
    let pages: usize = delta.to_bytes().len() / 4096;
    assert_eq!(pages, 2, "one page of each file that was written");
    let paths = delta.changes().into_iter().map(|change| match change {
        Change::Created(path, _) | Change::Linked(path, _) | Change::Removed(path, _) => path,
        Change::Renamed(_, to, _) => to,
        Change::Altered(node) => node.path.clone(),
    });
    let mut paths: Vec<Vec<u8>> = paths.collect();
    paths.sort();
    let want = ["/data/new", "/etc/big", "/etc/motd", "/tmp/own"];
    assert_eq!(paths, want.map(|path| path.as_bytes().to_vec()));

    let sent = Delta::from_bytes(&delta.to_bytes()).expect("it is one");
    let look = Script::new()
        .path(AREA, "/etc/big")
        .path(AREA + 0x100, "/data/new")
        .path(AREA + 0x200, "/tmp/own")
        .path(AREA + 0x300, "/etc/motd")
        .call(libc::SYS_open, [AREA, 0])
        .call(libc::SYS_lseek, [3, 0, 2])
        .call(libc::SYS_pread64, [3, AREA + 0x400, 9, 4999])
        .peek(AREA + 0x400, 9)
        .call(libc::SYS_open, [AREA + 0x100, 0])
        .call(libc::SYS_read, [4, AREA + 0x400, 9])
        .peek(AREA + 0x400, 9)
        .call(libc::SYS_open, [AREA + 0x200, 0])
        .call(libc::SYS_read, [5, AREA + 0x400, 9])
        .peek(AREA + 0x400, 7)
        .call(libc::SYS_access, [AREA + 0x300, 0]);
    for delta in [&delta, &sent] {
        let second = build(&snapshot, &look, Some(delta)).expect("it fits").run();
        let shows = |text: &[u8]| second.stdout.windows(text.len()).any(|part| part == text);
        assert!(shows(b"\x07CHANGED\x07"));
        assert!(shows(b"an object"));
        assert!(shows(&100_000_u64.to_le_bytes()));
        assert!(
            second
                .stdout
                .ends_with(&(-i64::from(libc::ENOENT)).to_le_bytes())
        );
        // What it began with counts as its own.
        assert_eq!(second.delta().names().len(), delta.names().len());
    }
    // Another instance of the snapshot has seen nothing of it.
    let clean = build(&snapshot, &look, None).expect("room").run();
    assert!(clean.delta().is_empty());
    assert!(!clean.stdout.windows(7).any(|part| part == b"CHANGED"));
}

#[test]
fn delta_that_does_not_fit_is_an_error() {
    let delta = build(&start(&Limits::default()), &writes(), None).expect("room");
    let delta = delta.run().delta();
    let other = snapshot("calls", &Limits::default(), &mounts("other"));
    let refused = build(&other, &Script::new(), Some(&delta));
    assert!(
        matches!(refused, Err(Error::CannotApply { .. })),
        "{refused:?}"
    );
    let small = Limits {
        scratch_bytes: 4096,
        ..Limits::default()
    };
    let refused = build(&start(&small), &Script::new(), Some(&delta));
    assert!(
        matches!(refused, Err(Error::CannotApply { .. })),
        "{refused:?}"
    );
    build(&start(&Limits::default()), &Script::new(), Some(&delta)).expect("it fits here");
}
