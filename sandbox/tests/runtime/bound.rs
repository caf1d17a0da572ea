//! Trees that each instance brings along: clones of one snapshot see their own and nothing of another's.

use crate::images::{self, SIZE, content};
use crate::support::{AREA, Script, guest, sandbox, snapshot};
use sandbox::{
    Error, Finished, Hold, Input, Instance, Limits, MemoryTree, Mounts, Outcome, Request, Snapshot,
    Tree, Waiting,
};
use std::sync::Arc;

const ACCEPT: i64 = 0x7A00;
const REQUEST: u64 = AREA + 0x8000;
const STAT: u64 = AREA + 0x4000;

fn object(name: &str) -> Arc<dyn Tree> {
    let tree = MemoryTree::new()
        .file("name", name.as_bytes().to_vec())
        .file(&format!("only/{name}"), name.as_bytes().to_vec())
        .directory("deep/down");
    Arc::new(tree)
}

fn image() -> Arc<dyn Tree> {
    let tree = MemoryTree::new()
        .file("etc/motd", "welcome\n")
        .file("data/name", "the image's own")
        .file("data/hidden", "hidden");
    Arc::new(tree)
}

/// `/data` hides a directory of the image, `/one/two/three` has none there.
fn start() -> Snapshot {
    let mounts = Mounts::new()
        .mount("/", image())
        .late_bound("/data")
        .late_bound("/one/two/three");
    snapshot("calls", &Limits::default(), &mounts)
}

type Bound<'a> = &'a [(&'a str, Arc<dyn Tree>)];

fn build(snapshot: &Snapshot, bound: Bound<'_>, script: &Script) -> Result<Instance, Error> {
    let builder = Instance::builder(snapshot)
        .stdin(Input::Bytes(script.input().to_vec()))
        .request(Request::default());
    bound
        .iter()
        .fold(builder, |builder, (path, tree)| {
            builder.bind(*path, Arc::clone(tree))
        })
        .build()
}

/// Runs the first script to `accept` with these trees.
fn waiting(start: &Snapshot, bound: Bound<'_>, script: &Script) -> Waiting {
    let script = script.clone().call(ACCEPT, [REQUEST, 4096]);
    let builder = Instance::builder(start)
        .arg("calls")
        .stdin(Input::Bytes(script.input().to_vec()));
    let builder = bound.iter().fold(builder, |builder, (path, tree)| {
        builder.bind(*path, Arc::clone(tree))
    });
    let built = builder.build().expect("room");
    built.run_to_accept().expect("it accepts")
}

fn run(snapshot: &Snapshot, bound: Bound<'_>, script: &Script) -> Finished {
    let finished = build(snapshot, bound, script).expect("room").run();
    assert_eq!(finished.report.outcome, Outcome::Exited { status: 0 });
    assert!(finished.poisoned.is_none());
    finished
}

/// Opens, reads, lists and asks for facts; the descriptor is 3 and closed again.
fn look(path: &str) -> Script {
    Script::new()
        .path(AREA, path)
        // A clone has the memory of the warm-up, and with it what was read then.
        .poke(AREA + 0x100, [0; 0x400])
        .call(libc::SYS_open, [AREA, 0])
        .call(libc::SYS_read, [3, AREA + 0x100, 100])
        .call(libc::SYS_getdents64, [3, AREA + 0x200, 1000])
        .call(libc::SYS_fstat, [3, STAT])
        .call(libc::SYS_close, [3])
        .peek(AREA + 0x100, 8)
        .peek(AREA + 0x200, 200)
        .peek(STAT, 144)
}

fn shows(finished: &Finished, text: &str) -> bool {
    finished
        .stdout
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}

#[test]
fn clones_see_the_tree_that_was_bound_for_them() {
    let start = start();
    let before = [look("/data/name"), look("/data/only"), look("/data")];
    let before = before.iter().fold(Script::new(), Script::then);
    let frozen = waiting(&start, &[("/data", object("first"))], &before)
        .freeze(false)
        .expect("everything is closed");
    for name in ["second", "third"] {
        for path in ["/data/name", "/data/only", "//data/./only/../only"] {
            let seen = run(&frozen, &[("/data", object(name))], &look(path));
            assert!(shows(&seen, name), "{path} of {name}");
        }
        let listed = run(&frozen, &[("/data", object(name))], &look("/data"));
        assert!(shows(&listed, "only") && !shows(&listed, "hidden"));
        let gone = run(
            &frozen,
            &[("/data", object(name))],
            &look("/data/only/first"),
        );
        assert!(!shows(&gone, "first"), "nothing of the tree of the warm-up");
    }
    let empty = run(&frozen, &[], &look("/data"));
    assert!(!shows(&empty, "only") && !shows(&empty, "name"));
}

#[test]
fn two_trees_are_bound_side_by_side_and_in_nested_places() {
    let bound = [
        ("/data", object("first")),
        ("/one/two/three", object("second")),
    ];
    let script = look("/data/name").then(&look("/one/two/three/name"));
    let seen = run(&start(), &bound, &script);
    assert!(shows(&seen, "first") && shows(&seen, "second"));

    // One tree inside another that is also brought along, the same place once fixed.
    let late = Mounts::new().late_bound("/a").late_bound("/a/deep/down/in");
    let fixed = Mounts::new()
        .late_bound("/a")
        .mount("/a/deep/down/in", object("second"));
    let cases: [(&Mounts, Bound<'_>); 2] = [
        (
            &late,
            &[
                ("/a/", object("first")),
                ("/a/deep/down/in", object("second")),
            ],
        ),
        (&fixed, &[("/a", object("first"))]),
    ];
    for (mounts, bound) in cases {
        let start = snapshot("calls", &Limits::default(), mounts);
        let frozen = waiting(&start, bound, &look("/a/deep/down/in/name"))
            .freeze(false)
            .expect("everything is closed");
        for snapshot in [&start, &frozen] {
            let script = look("/a/name").then(&look("/a/deep/down/in/name"));
            let seen = run(snapshot, bound, &script);
            assert!(shows(&seen, "first") && shows(&seen, "second"));
            let nothing = run(snapshot, &[], &script);
            assert!(!shows(&nothing, "first") && !shows(&nothing, "second"));
        }
    }
    let start = snapshot("calls", &Limits::default(), &late);
    let lacks: Arc<dyn Tree> = Arc::new(MemoryTree::new());
    let refused = build(
        &start,
        &[("/a", lacks), ("/a/deep/down/in", object("x"))],
        &look("/"),
    );
    assert!(
        matches!(refused, Err(Error::GuestPath { .. })),
        "{refused:?}"
    );
}

#[test]
fn what_holds_a_bound_tree_cannot_be_frozen() {
    let start = start();
    let open = |path: &str, flags: u64| {
        Script::new()
            .path(AREA, path)
            .call(libc::SYS_open, [AREA, flags, 0o600])
    };
    let close = Script::new().call(libc::SYS_close, [3]);
    let change = |path: &str| Script::new().path(AREA, path).call(libc::SYS_chdir, [AREA]);
    let name = "/data/name";
    let two = |call: i64, from: &str, to: &str| {
        Script::new()
            .path(AREA, from)
            .path(AREA + 0x100, to)
            .call(call, [AREA, AREA + 0x100])
    };
    let cases: [(Script, Option<Hold>); 13] = [
        (open(name, 0), Some(Hold::OpenFile)),
        (open("/data", 0), Some(Hold::OpenFile)),
        (open(name, 0).then(&close), None),
        (change("/data"), Some(Hold::WorkingDirectory)),
        (change("/data/deep"), Some(Hold::WorkingDirectory)),
        (change("/data").then(&change("/")), None),
        (open(name, 1).then(&close), None),
        (open(name, 0o1001).then(&close), Some(Hold::Change)),
        (open("/data/new", 0o101).then(&close), Some(Hold::Change)),
        (two(libc::SYS_rename, name, "/tmp/x"), Some(Hold::Change)),
        (two(libc::SYS_link, name, "/tmp/x"), Some(Hold::Change)),
        (open("/tmp/new", 0o101), None),
        (open("/etc/motd", 0), None),
    ];
    for (number, (script, hold)) in cases.into_iter().enumerate() {
        let frozen = waiting(&start, &[("/data", object("first"))], &script).freeze(false);
        match (frozen, hold) {
            (Ok(_), None) => {}
            (Err(Error::BoundInUse { path, by }), Some(hold)) => {
                assert_eq!((path.as_str(), by), ("/data", hold), "case {number}");
            }
            (other, _) => panic!("case {number}: {other:?}"),
        }
    }
}

#[test]
fn raw_file_of_a_bound_image_is_mapped_where_it_lies() {
    let start = start();
    let map = Script::new()
        .path(AREA, "/data/raw.bin")
        .call(libc::SYS_open, [AREA, 0])
        .call(libc::SYS_mmap, [0, SIZE as u64, 1, 1, 3, 0])
        .call(libc::SYS_close, [3]);
    let probe = build(&start, &[("/data", images::tree())], &map)
        .expect("room")
        .run();
    let at = u64::from_le_bytes(probe.stdout[16..24].try_into().unwrap());
    let bound = [("/data", images::tree())];
    let held = waiting(&start, &bound, &map).freeze(false);
    assert!(
        matches!(
            held,
            Err(Error::BoundInUse {
                by: Hold::Mapping,
                ..
            })
        ),
        "{held:?}"
    );
    let unmap = Script::new().call(libc::SYS_munmap, [at, SIZE as u64]);
    let frozen = waiting(&start, &bound, &map.clone().then(&unmap))
        .freeze(false)
        .expect("it is mapped no more");
    let other = [("/data", object("other"))];
    for _ in 0..3 {
        let seen = run(&frozen, &bound, &map.clone().peek(at, SIZE as u64));
        assert!(seen.stdout.windows(SIZE).any(|part| part == content()));
        // Where the window was, the next clone has nothing.
        let seen = run(
            &frozen,
            &other,
            &Script::new().call(libc::SYS_write, [1, at, 8]),
        );
        assert_eq!(seen.stdout[8..], (-i64::from(libc::EFAULT)).to_le_bytes());
    }
    assert_eq!(sandbox().poisoned_slots(), 0);
}

#[test]
fn stored_snapshot_is_taken_up_with_other_trees() {
    let warm = waiting(&start(), &[("/data", object("first"))], &look("/data/name"));
    let mut bytes = Vec::new();
    let frozen = warm.freeze(false).expect("everything is closed");
    frozen.store(&mut bytes).expect("it can be stored");
    let restored = start().restore(&bytes).expect("it is sound");
    let seen = run(
        &restored,
        &[("/data", object("second"))],
        &look("/data/name"),
    );
    assert!(shows(&seen, "second"));

    // A file cannot claim to stand in a tree that nobody has bound yet.
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let root = "\"working_directory\":[47]";
    assert!(text.contains(root));
    let at = bytes
        .windows(root.len())
        .position(|part| part == root.as_bytes());
    let mut changed = bytes.clone();
    let claim = b"\"working_directory\":[47,100,97,116,97]";
    changed.splice(at.unwrap()..at.unwrap() + root.len(), claim.iter().copied());
    let len = u32::from_le_bytes(bytes[12..16].try_into().unwrap());
    let longer = len + u32::try_from(claim.len() - root.len()).unwrap();
    changed[12..16].copy_from_slice(&longer.to_le_bytes());
    // The zeroes behind the head make room for it.
    let end = 16 + usize::try_from(longer).unwrap();
    changed.drain(end..end + claim.len() - root.len());
    match start().restore(&changed) {
        Err(Error::Stored { reason }) => assert_eq!(reason, "its working directory is none"),
        other => panic!("{other:?}"),
    }
}

/// One file and nothing else.
#[derive(Debug)]
struct OneFile(&'static str);

impl Tree for OneFile {
    fn root(&self) -> u32 {
        0
    }

    fn child(&self, _: u32, _: &[u8]) -> Option<u32> {
        None
    }

    fn parent(&self, _: u32) -> u32 {
        0
    }

    fn metadata(&self, _: u32) -> sandbox::Metadata {
        let kind = sandbox::Kind::Regular;
        let (mode, links, uid, gid) = (0o644, 1, 0, 0);
        let (size, modified_ns) = (self.0.len() as u64, 0);
        sandbox::Metadata {
            kind,
            mode,
            links,
            uid,
            gid,
            size,
            modified_ns,
        }
    }

    fn entry(&self, _: u32, _: u32) -> Option<sandbox::Entry<'_>> {
        None
    }

    fn read_link(&self, _: u32) -> Option<std::borrow::Cow<'_, [u8]>> {
        None
    }

    fn read_at(&self, _: u32, offset: u64, buffer: &mut [u8]) -> Result<usize, i32> {
        let rest = self.0.as_bytes().get(usize::try_from(offset).unwrap()..);
        let rest = rest.unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

#[test]
fn one_file_can_be_bound_and_stays_where_it_is() {
    let start = start();
    for text in ["first object", "another"] {
        let script = look("/data").then(
            &Script::new()
                .path(AREA, "/data")
                .path(AREA + 0x100, "/tmp/x")
                .call(libc::SYS_unlink, [AREA])
                .call(libc::SYS_rename, [AREA, AREA + 0x100])
                .call(libc::SYS_mkdir, [AREA + 0x100, 0o755])
                .call(libc::SYS_rename, [AREA + 0x100, AREA]),
        );
        let seen = run(&start, &[("/data", Arc::new(OneFile(text)))], &script);
        assert!(shows(&seen, &text[..7]));
        let results = seen.stdout[seen.stdout.len() - 32..].chunks_exact(8);
        let results: Vec<i64> = results
            .map(|word| i64::from_le_bytes(word.try_into().unwrap()))
            .collect();
        let busy = -i64::from(libc::EBUSY);
        assert_eq!(results, [busy, busy, 0, busy]);
    }
}

#[test]
fn trees_are_bound_only_where_room_was_left() {
    let start = start();
    for bound in [
        vec![("/etc", object("x"))],
        vec![("/", object("x"))],
        vec![("/data/only", object("x"))],
        vec![("/data", object("x")), ("/data", object("y"))],
    ] {
        let refused = build(&start, &bound, &look("/"));
        assert!(
            matches!(refused, Err(Error::GuestPath { .. })),
            "{refused:?}"
        );
    }
    let program = sandbox().load(&guest("calls")).unwrap();
    let mounts = Mounts::new().late_bound("/");
    let refused = sandbox().start(&program, &Limits::default(), &mounts);
    assert!(
        matches!(refused, Err(Error::GuestPath { .. })),
        "{refused:?}"
    );

    // A program can start in the tree that is brought along, if it has the directory.
    let mounts = Mounts::new()
        .late_bound("/data")
        .working_directory("/data/only");
    let start = snapshot("calls", &Limits::default(), &mounts);
    let seen = run(&start, &[("/data", object("first"))], &look("first"));
    assert!(shows(&seen, "first"));
    let refused = build(&start, &[], &look("/"));
    assert!(
        matches!(refused, Err(Error::GuestPath { .. })),
        "{refused:?}"
    );
}
