//! A worker that cannot be told what to do leaves nothing behind. Alone in its binary, because it looks at all children of
//! the process.

use std::fs::File;
use std::sync::atomic::AtomicBool;

use imagefs::Image;
use imagefs::scan::{ScanOptions, scan};
use imagefs::writer::{PackOptions, pack};
use rustix::io::Errno;
use rustix::process::{WaitOptions, wait};
use worker::{Setup, SnapshotError, make_snapshot};

#[test]
fn a_worker_that_cannot_be_told_is_waited_for() {
    let folder = tempfile::tempdir().expect("a directory");
    let (tree, path) = (folder.path().join("tree"), folder.path().join("image"));
    std::fs::create_dir(&tree).expect("a directory");
    let tree = scan(&tree, &ScanOptions::default()).expect("a tree").tree;
    let stop = AtomicBool::new(false);
    pack(tree, &PackOptions::default(), &path, &|_| (), &stop).expect("an image");
    let image = Image::ingest(&path).expect("an image");
    // This binary is no worker: started as one it ends at once, without reading what no socket buffer holds.
    let setup = Setup {
        at: "/".to_owned(),
        arguments: vec!["x".repeat(64 << 20)],
        ..Setup::default()
    };
    let store = File::create(folder.path().join("store")).expect("a file");
    let made = make_snapshot(&image, &setup, &store, &stop);
    assert!(
        matches!(made, Err(SnapshotError::Process { .. })),
        "{made:?}"
    );
    assert_eq!(wait(WaitOptions::NOHANG).map(|_| ()), Err(Errno::CHILD));
}
