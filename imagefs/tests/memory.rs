//! What a reader keeps in memory is bounded, whatever an image says. A program of its own, so that no other test's memory
//! counts.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use imagefs::deep::{CheckOptions, check};
use imagefs::scan::{ScanOptions, scan};
use imagefs::writer::{PackOptions, pack};
use imagefs::{Class, Image, Ino, Kind};

const MIB: usize = 1 << 20;
/// The bound of `docs/format.md`, and room for the decoders of some threads, their buffers and the allocator.
const BOUND: usize = (64 + 24) * MIB;

/// Resident memory now, and the most since the last [`reset`], in bytes.
fn resident(line: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with(line)).unwrap();
    let digits: String = line.chars().filter(char::is_ascii_digit).collect();
    digits.parse::<usize>().unwrap() * 1024
}

/// Forgets the most; see proc(5), `clear_refs`.
fn reset() {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}

/// Files of one byte repeated: 24 frames of 16 MiB and 60 blocks that are filled to 4 MiB, a few kilobytes each.
fn bombs(dir: &Path) -> Image {
    let source = dir.join("source");
    std::fs::create_dir(&source).unwrap();
    for i in 0..84_usize {
        let (name, len) = if i < 24 {
            (format!("{i}.css"), 16 * MIB)
        } else {
            (format!("{i}.txt"), 4 * MIB)
        };
        let mut bytes = vec![b'a'; len];
        bytes[..8].copy_from_slice(format!("{i:08}").as_bytes());
        std::fs::write(source.join(name), bytes).unwrap();
    }
    let out = dir.join("x.zapp");
    let options = PackOptions {
        level: 1,
        classes: vec![("*.css".to_owned(), Class::Frame)],
        ..PackOptions::default()
    };
    let tree = scan(&source, &ScanOptions::default()).unwrap().tree;
    pack(tree, &options, &out, &|_| (), &AtomicBool::new(false)).unwrap();
    std::fs::remove_dir_all(source).unwrap();
    assert!(std::fs::metadata(&out).unwrap().len() < 256 << 10);
    Image::open(&out).unwrap()
}

/// Reads some bytes of every file, as someone does who asks for as much to be decoded as can be.
fn touch(image: &Image, files: &[Ino]) {
    let mut buf = [0; 100];
    for &ino in files {
        assert_eq!(image.read_at(ino, 1 << 20, &mut buf).unwrap(), 100);
        assert!(buf.iter().all(|&b| b == b'a'));
    }
}

// case limits-01-dictionary-bomb
#[test]
fn a_small_image_cannot_fill_the_memory_of_its_readers() {
    let dir = tempfile::tempdir().unwrap();
    let image = bombs(dir.path());
    let mut files = Vec::new();
    let mut walk = image.walk(image.root());
    while let Some(entry) = walk.next() {
        if entry.kind == Kind::Regular {
            files.push(entry.ino);
        }
    }
    assert_eq!(files.len(), 84);
    let classes = files.iter().map(|&ino| image.stat(ino).class);
    assert_eq!(classes.filter(|&class| class == Class::Frame).count(), 24);
    reset();
    let before = resident("VmRSS");
    touch(&image, &files);
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let (image, mut files) = (&image, files.clone());
            scope.spawn(move || {
                files.rotate_left(thread * 14);
                touch(image, &files);
            });
        }
    });
    let grown = resident("VmHWM").saturating_sub(before);
    assert!(grown > 32 * MIB, "the measurement works: {grown}");
    assert!(grown <= BOUND, "serving and mounting: {grown}");
    // The other ways through an image.
    reset();
    imagefs::tar::write(&image, std::io::sink()).unwrap();
    let grown = resident("VmHWM").saturating_sub(before);
    assert!(grown <= BOUND, "tar: {grown}");
    reset();
    let options = CheckOptions {
        contents: true,
        progress: &|_| (),
        stop: &AtomicBool::new(false),
    };
    assert_eq!(check(&image, &options).unwrap().faults, []);
    let grown = resident("VmHWM").saturating_sub(before);
    assert!(grown <= BOUND, "check: {grown}");
}
