//! What a guest has read, when somebody asked for it to be noted.

use crate::images::{self, SIZE};
use crate::support::{AREA, Script, snapshot};
use sandbox::{Input, Instance, Limits, MemoryTree, Mounts, Read, ReadSet, Snapshot, Tree, What};
use std::sync::Arc;

const CWD: u64 = (libc::AT_FDCWD as i64).cast_unsigned();

fn tree() -> MemoryTree {
    MemoryTree::new()
        .file("etc/motd", vec![b'm'; 20_000])
        .file("etc/other", "other")
        .link("etc/link", "motd")
        .directory("empty")
        .directory("full/inner")
}

fn start() -> Snapshot {
    let mounts = Mounts::new().mount("/", Arc::new(tree()));
    snapshot("calls", &Limits::default(), &mounts)
}

fn inode(path: &str) -> u32 {
    let tree = tree();
    let names = path.split('/').filter(|name| !name.is_empty());
    names.fold(tree.root(), |at, name| {
        tree.child(at, name.as_bytes()).unwrap()
    })
}

/// What the script reads of the tree at `/`, in words.
fn reads_of(snapshot: &Snapshot, script: &Script) -> Vec<String> {
    let finished = Instance::builder(snapshot)
        .arg("calls")
        .stdin(Input::Bytes(script.input().to_vec()))
        .record_reads()
        .build()
        .expect("room")
        .run();
    let ReadSet::These(reads) = finished.reads().expect("it was asked for") else {
        panic!("it read very much");
    };
    let word = |read: &Read| {
        assert_eq!(&*read.mount, b"/");
        let at = read.inode;
        match &read.what {
            What::Name(name, found) => {
                format!("name {at} {} {found:?}", String::from_utf8_lossy(name))
            }
            What::Listing => format!("listing {at}"),
            What::Facts => format!("facts {at}"),
            What::Size => format!("size {at}"),
            What::Link => format!("link {at}"),
            What::Pages { first, end } => format!("pages {at} {first}..{end}"),
        }
    };
    reads.iter().map(word).collect()
}

fn check(script: Script, want: &[String]) {
    let mut want = want.to_vec();
    let mut got = reads_of(&start(), &script);
    want.sort();
    got.sort();
    assert_eq!(got, want);
}

fn name(directory: &str, name: &str) -> String {
    let found = tree().child(inode(directory), name.as_bytes());
    format!("name {} {name} {found:?}", inode(directory))
}

fn one(what: &str, path: &str) -> String {
    format!("{what} {}", inode(path))
}

fn open(path: &str, flags: u64) -> Script {
    Script::new()
        .path(AREA, path)
        .call(libc::SYS_open, [AREA, flags, 0o600])
}

#[test]
fn names_that_are_there_and_that_are_not_are_read() {
    check(
        open("/etc/motd", 0),
        &[name("/", "etc"), name("/etc", "motd")],
    );
    check(
        open("/etc/nothing", 0),
        &[name("/", "etc"), name("/etc", "nothing")],
    );
    check(open("/none/motd", 0), &[name("/", "none")]);
    let followed = [
        name("/", "etc"),
        name("/etc", "link"),
        one("link", "/etc/link"),
        name("/etc", "motd"),
    ];
    check(open("/etc/link", 0), &followed);
    // A file is made only where none is: it depends on that.
    check(
        open("/etc/new", 0o101),
        &[name("/", "etc"), name("/etc", "new")],
    );
}

#[test]
fn pages_that_are_read_are_in_it_and_no_others() {
    let names = [name("/", "etc"), name("/etc", "motd")];
    let with = |more: &[String]| [&names[..], more].concat();
    let read = open("/etc/motd", 0).call(libc::SYS_pread64, [3, AREA + 0x100, 100, 8000]);
    check(
        read.clone(),
        &with(&[format!("pages {} 1..2", inode("/etc/motd"))]),
    );
    let over = read.call(libc::SYS_pread64, [3, AREA + 0x100, 400, 8000]);
    check(over, &with(&[format!("pages {} 1..3", inode("/etc/motd"))]));
    let end = open("/etc/motd", 0).call(libc::SYS_pread64, [3, AREA + 0x100, 100, 19_950]);
    let last = format!("pages {} 4..5", inode("/etc/motd"));
    check(end, &with(&[last, one("size", "/etc/motd")]));
    let seek = open("/etc/motd", 0).call(libc::SYS_lseek, [3, 0, 2]);
    check(seek, &with(&[one("size", "/etc/motd")]));

    // A page written whole is not read, one written in part is; the copy has the file's length.
    let write = |at: u64, len: u64| {
        open("/etc/motd", 2).call(libc::SYS_pwrite64, [3, AREA + 0x1000, len, at])
    };
    check(write(4096, 8192), &with(&[one("size", "/etc/motd")]));
    let part = format!("pages {} 1..2", inode("/etc/motd"));
    check(write(5000, 10), &with(&[part, one("size", "/etc/motd")]));
    // What it has written itself it reads from itself.
    let own = write(4096, 8192).call(libc::SYS_pread64, [3, AREA + 0x4000, 8192, 4096]);
    check(own, &with(&[one("size", "/etc/motd")]));
}

#[test]
fn listings_and_facts_are_read() {
    let list = open("/etc", 0).call(libc::SYS_getdents64, [3, AREA + 0x100, 4000]);
    check(list, &[name("/", "etc"), one("listing", "/etc")]);
    let stat = Script::new()
        .path(AREA, "/etc/motd")
        .call(libc::SYS_newfstatat, [CWD, AREA, AREA + 0x200, 0]);
    check(
        stat,
        &[
            name("/", "etc"),
            name("/etc", "motd"),
            one("facts", "/etc/motd"),
        ],
    );
    // Going somewhere and asking where one is reads no more than the names on the way.
    let change = Script::new()
        .path(AREA, "/full/inner")
        .call(libc::SYS_chdir, [AREA])
        .call(libc::SYS_getcwd, [AREA + 0x200, 100]);
    check(change, &[name("/", "full"), name("/full", "inner")]);
}

#[test]
fn changes_of_names_depend_on_what_was_there() {
    let two = |call: i64, from: &str, to: &str| {
        Script::new()
            .path(AREA, from)
            .path(AREA + 0x100, to)
            .call(call, [AREA, AREA + 0x100])
    };
    let rename = two(libc::SYS_rename, "/etc/motd", "/empty/new");
    let names = [
        name("/", "etc"),
        name("/etc", "motd"),
        name("/", "empty"),
        name("/empty", "new"),
    ];
    check(rename, &names);
    let over = two(libc::SYS_rename, "/etc/motd", "/etc/other");
    check(
        over,
        &[
            name("/", "etc"),
            name("/etc", "motd"),
            name("/etc", "other"),
        ],
    );
    let remove = |call: i64, path: &str| Script::new().path(AREA, path).call(call, [AREA]);
    check(
        remove(libc::SYS_unlink, "/etc/motd"),
        &[name("/", "etc"), name("/etc", "motd")],
    );
    check(
        remove(libc::SYS_unlink, "/etc/none"),
        &[name("/", "etc"), name("/etc", "none")],
    );
    check(
        remove(libc::SYS_rmdir, "/empty"),
        &[name("/", "empty"), one("listing", "/empty")],
    );
}

#[test]
fn what_is_the_instances_own_is_not_read() {
    let own = open("/tmp/own", 0o102)
        .call(libc::SYS_write, [3, AREA, 100])
        .call(libc::SYS_pread64, [3, AREA + 0x100, 100, 0])
        .call(libc::SYS_fstat, [3, AREA + 0x200])
        .path(AREA + 0x400, "/tmp")
        .call(libc::SYS_open, [AREA + 0x400, 0])
        .call(libc::SYS_getdents64, [4, AREA + 0x500, 1000])
        .call(libc::SYS_unlink, [AREA]);
    check(own, &[]);
    let finished = open("/etc/motd", 0).play(&start()).finished;
    assert!(finished.reads().is_none(), "nobody asked");
}

#[test]
fn all_of_a_mapping_counts_as_read() {
    let map = |len: u64| open("/raw.bin", 0).call(libc::SYS_mmap, [0, len, 1, 1, 3, 4096]);
    let pages = SIZE.div_ceil(4096);
    let whole = reads_of(&images::image(), &map(SIZE as u64));
    let want = format!("1..{pages}");
    assert!(
        whole
            .iter()
            .any(|read| read.starts_with("pages") && read.ends_with(&want)),
        "{whole:?}"
    );
    let part = reads_of(&images::image(), &map(8192));
    assert!(
        part.iter()
            .any(|read| read.starts_with("pages") && read.ends_with("1..3")),
        "{part:?}"
    );
    assert_eq!(
        whole.iter().filter(|read| read.starts_with("size")).count(),
        1
    );
}
