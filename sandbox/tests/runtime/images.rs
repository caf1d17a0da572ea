//! A guest with an image as its file system: raw files are mapped where they lie.

use crate::support::{AREA, Script, directory, snapshot};
use imagefs::scan::ScanOptions;
use imagefs::writer::PackOptions;
use imagefs::{Class, Image};
use sandbox::{ImageTree, Limits, Mounts, Snapshot, Tree};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Bytes of the file `/raw.bin`.
pub(crate) const SIZE: usize = 40_000;

/// What is in it.
pub(crate) fn content() -> Vec<u8> {
    (0..SIZE)
        .map(|index| u8::try_from(index % 251).unwrap())
        .collect()
}

/// What starts instances of `calls` that see an image.
pub(crate) fn image() -> Snapshot {
    image_with_file().0
}

/// The same, with the image's file, which is not needed any more.
fn image_with_file() -> (Snapshot, tempfile::TempDir, PathBuf) {
    let (tree, keep, target) = tree_with_file();
    let mounts = Mounts::new().mount("/", Arc::new(tree));
    let snapshot = snapshot("calls", &Limits::default(), &mounts);
    (snapshot, keep, target)
}

/// The image as a tree.
pub(crate) fn tree() -> Arc<dyn Tree> {
    Arc::new(tree_with_file().0)
}

fn tree_with_file() -> (ImageTree, tempfile::TempDir, PathBuf) {
    let (keep, path) = directory();
    let target = path.join("test.zapp");
    std::fs::create_dir(path.join("site")).unwrap();
    std::fs::write(path.join("site/raw.bin"), content()).unwrap();
    std::fs::write(path.join("site/text.php"), "<?php echo 1;\n".repeat(500)).unwrap();
    let scanned = imagefs::scan::scan(&path.join("site"), &ScanOptions::default()).expect("a tree");
    let raw = ("raw.bin".to_owned(), Class::Raw);
    let options = PackOptions {
        classes: vec![raw],
        ..PackOptions::default()
    };
    let stop = AtomicBool::new(false);
    imagefs::writer::pack(scanned.tree, &options, &target, &|_| {}, &stop).expect("an image");
    let image = Image::ingest(&target).expect("an image");
    let tree = ImageTree::new(image).expect("a descriptor");
    (tree, keep, target)
}

fn errno(number: i32) -> i64 {
    -i64::from(number)
}

#[test]
fn files_of_an_image_are_read_and_listed() {
    let played = Script::new()
        .path(AREA, "/text.php")
        .call(libc::SYS_open, [AREA, 0])
        .call(libc::SYS_pread64, [3, AREA + 0x100, 14, 14 * 400])
        .peek(AREA + 0x100, 14)
        .path(AREA, "/raw.bin")
        .call(libc::SYS_open, [AREA, 0])
        .call(libc::SYS_pread64, [4, AREA + 0x100, 100, SIZE as u64 - 50])
        .peek(AREA + 0x100, 50)
        .play(&image());
    assert_eq!(played.results[1..3], [3, 14]);
    assert_eq!(played.shown[3], b"<?php echo 1;\n");
    assert_eq!(played.results[6], 50);
    assert_eq!(played.shown[7], content()[SIZE - 50..]);
}

#[test]
fn raw_file_is_mapped_without_a_copy_and_read_only() {
    let snapshot = image();
    let open = Script::new()
        .path(AREA, "/raw.bin")
        .call(libc::SYS_open, [AREA, 0]);
    let map = open
        .clone()
        .call(libc::SYS_mmap, [0, SIZE as u64, 1, 1, 3, 0]);
    let at = map.play(&snapshot).results[2].cast_unsigned();
    let write = u64::from(libc::O_RDWR.cast_unsigned());
    let played = map
        .peek(at, SIZE as u64)
        .call(libc::SYS_getcwd, [at, 100])
        .call(libc::SYS_open, [AREA, write])
        .call(libc::SYS_mprotect, [at, 4096, 3])
        .call(libc::SYS_getcwd, [at, 100])
        .call(libc::SYS_munmap, [at + 4096, 4096])
        .call(libc::SYS_munmap, [at, SIZE as u64])
        .call(libc::SYS_read, [0, at, 0])
        .call(libc::SYS_write, [1, at, 1])
        .call(libc::SYS_open, [AREA, write])
        .call(libc::SYS_mmap, [0, SIZE as u64, 1, 1, 3, 0])
        .play(&snapshot);
    assert!(played.shown[3] == content());
    assert_eq!(
        played.results[4],
        errno(libc::EFAULT),
        "a trap cannot write to it either"
    );
    assert_eq!(
        played.results[5],
        errno(libc::ETXTBSY),
        "mapped files are not written"
    );
    assert_eq!(played.results[7], errno(libc::EFAULT));
    assert_eq!(played.results[8..10], [errno(libc::EINVAL), 0]);
    assert_eq!(played.results[11], errno(libc::EFAULT), "unmapped");
    assert_eq!(
        played.results[12..],
        [4, errno(libc::ENODEV)],
        "written files are not mapped"
    );
}

#[test]
fn at_most_64_windows_are_open_and_none_survives() {
    let snapshot = image();
    let mut script = Script::new()
        .path(AREA, "/raw.bin")
        .call(libc::SYS_open, [AREA, 0]);
    for _ in 0..70 {
        script = script.call(libc::SYS_mmap, [0, 4096, 1, 1, 3, 4096]);
    }
    let maps = || {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines()
            .filter(|line| line.contains("zapp-image"))
            .count()
    };
    for _ in 0..3 {
        let played = script.play(&snapshot);
        let mut places: Vec<i64> = played.results[2..].to_vec();
        assert!(
            places.iter().all(|place| *place > 0),
            "beyond 64 it is a copy"
        );
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 70);
    }
    // Other tests run beside this one and map their own images.
    assert!(maps() < 64, "{} windows are still open", maps());
}

#[test]
fn image_file_may_change_vanish_or_shrink_under_running_guests() {
    // What guests see is a sealed copy; the file has had its day (review F4).
    let (snapshot, _keep, file) = image_with_file();
    let look = Script::new()
        .path(AREA, "/raw.bin")
        .call(libc::SYS_open, [AREA, 0])
        .call(libc::SYS_mmap, [0, SIZE as u64, 1, 1, 3, 0])
        .call(libc::SYS_pread64, [3, AREA + 0x100, 100, 777])
        .peek(AREA + 0x100, 100)
        .path(AREA, "/text.php")
        .call(libc::SYS_open, [AREA, 0])
        .call(libc::SYS_read, [4, AREA + 0x100, 14]);
    let window = look.play(&snapshot).results[2].cast_unsigned();
    let look = look.peek(AREA + 0x100, 14).peek(window, SIZE as u64);
    let changes: [&dyn Fn(); 4] = [
        &|| (),
        &|| std::fs::write(&file, vec![0xEE; 100_000]).expect("overwritten"),
        &|| std::fs::write(&file, b"").expect("truncated"),
        &|| std::fs::remove_file(&file).expect("removed"),
    ];
    for change in changes {
        change();
        let shown = look.play(&snapshot).shown;
        assert!(shown[4] == content()[777..877]);
        assert_eq!(shown[8], b"<?php echo 1;\n");
        assert!(shown[9] == content());
    }
}

#[test]
fn opening_windows_for_ever_ends_in_copies() {
    // Each window changes the mappings of the process, which all its threads wait for (review F10).
    let snapshot = image();
    let open = Script::new()
        .path(AREA, "/raw.bin")
        .call(libc::SYS_open, [AREA, 0])
        .call(libc::SYS_mmap, [0, 4096, 1, 1, 3, 0]);
    let window = open.play(&snapshot).results[2].cast_unsigned();
    let mut script = open.call(libc::SYS_munmap, [window, 4096]);
    for _ in 0..4_200 {
        script = script
            .call(libc::SYS_mmap, [0, 4096, 1, 1, 3, 0])
            .call(libc::SYS_munmap, [window, 4096]);
    }
    let played = script.play(&snapshot);
    let places: Vec<i64> = played.results[4..].iter().step_by(2).copied().collect();
    let windows = places.iter().filter(|at| **at == window.cast_signed());
    assert_eq!(windows.count(), 4_095);
    assert!(places.iter().all(|at| *at > 0), "the others are copies");
}
