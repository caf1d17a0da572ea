//! Open, walk and read: no panic, no hang, no read outside the file, no memory beyond what the bytes justify.
//!
//! Hashes are made right again after each change, so that the checks behind them are reached. An input that begins with
//! the magic is an image; any other is a list of changes (four bytes of offset, one of value) to a sound image with every
//! class of content.
#![no_main]

use std::io::Write;
use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;

use imagefs::rehash::rehash;
use imagefs::scan::{ScanOptions, scan};
use imagefs::writer::{PackOptions, pack};
use imagefs::{Class, Image, Kind};
use libfuzzer_sys::fuzz_target;

static SOUND: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let dir = std::env::temp_dir().join(format!("zapp-fuzz-image-{}", std::process::id()));
    let source = dir.join("source");
    std::fs::create_dir_all(source.join("a/b")).expect("a scratch directory");
    let text: Vec<u8> = (0..200_000u32).flat_map(|i| i.to_string().into_bytes()).take(700_000).collect();
    for i in 0..6 {
        let at = i * 50_000;
        std::fs::write(source.join(format!("a/b/{i}.txt")), &text[at..at + 60_000]).expect("written");
    }
    std::fs::write(source.join("a/large"), &text).expect("written");
    std::fs::write(source.join("x.css"), &text[..5000]).expect("written");
    std::fs::write(source.join("program"), [b"\x7fELF".as_slice(), &text[..5000]].concat()).expect("written");
    std::fs::write(source.join("tiny"), b"tiny").expect("written");
    std::os::unix::fs::symlink("a/b", source.join("link")).expect("linked");
    std::fs::File::create(source.join("sparse")).and_then(|f| f.set_len(1 << 20)).expect("written");
    let out = dir.join("x.zapp");
    let classes = vec![("*.css".to_owned(), Class::Frame), ("large".to_owned(), Class::Blocks)];
    let options = PackOptions { classes, jobs: 1, ..PackOptions::default() };
    let tree = scan(&source, &ScanOptions::default()).expect("scans").tree;
    pack(tree, &options, &out, &|_| (), &AtomicBool::new(false)).expect("packs");
    let image = std::fs::read(out).expect("was written");
    drop(std::fs::remove_dir_all(dir));
    image
});

fuzz_target!(|input: &[u8]| {
    let mut image = if input.starts_with(b"\x89IMFS") {
        input.to_vec()
    } else {
        let mut image = SOUND.clone();
        for change in input.chunks_exact(5) {
            let at = u32::from_le_bytes([change[0], change[1], change[2], change[3]]) as usize % image.len();
            image[at] = change[4];
        }
        image
    };
    rehash(&mut image);
    let mut file = tempfile();
    file.write_all(&image).expect("memory");
    if let Ok(image) = Image::from_file(file) {
        walk(&image);
    }
});

fn tempfile() -> std::fs::File {
    let fd = rustix::fs::memfd_create("image", rustix::fs::MemfdFlags::CLOEXEC).expect("memory");
    fd.into()
}

fn walk(image: &Image) {
    let mut buf = vec![0; 64 << 10];
    image.compute_tree_id();
    for ino in (0..image.inode_count()).filter_map(|i| image.inode_at(i)) {
        image.stat(ino);
        image.xattrs(ino).count();
        match image.kind(ino) {
            Kind::Directory => {
                for entry in image.read_dir(ino) {
                    assert_eq!(image.child(ino, entry.name), Some(entry.ino));
                    let _ = image.resolve(ino, entry.name, true);
                }
            }
            Kind::Symlink => {
                let _ = image.resolve(image.root(), image.read_link(ino).unwrap_or_default(), true);
            }
            Kind::Regular => {
                // A few places of each file: sizes are up to the forger.
                let size = image.stat(ino).size;
                for at in [0, size / 2, size.saturating_sub(100), size] {
                    let _ = image.read_at(ino, at, &mut buf);
                }
                let _ = image.extent(ino);
                let _ = image.frame(ino);
            }
        }
    }
}
