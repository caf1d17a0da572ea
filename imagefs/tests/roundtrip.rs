//! A tree of every odd name, mode, link and size goes into an image and comes out the same.

use std::collections::BTreeMap;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use imagefs::scan::{MtimePolicy, OwnerPolicy, ScanOptions, scan};
use imagefs::writer::{PackOptions, PackReport, pack};
use imagefs::{Class, Error, Image, Kind};

/// Deterministic noise that does not compress.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        u8::try_from(x >> 56).unwrap()
    };
    (0..len).map(|_| next()).collect()
}

fn text(seed: u64, len: usize) -> Vec<u8> {
    noise(seed, len)
        .iter()
        .map(|b| b"etaoin shrdlu\n,.{}"[usize::from(b % 18)])
        .collect()
}

const SIZES: [usize; 12] = [
    0, 1, 64, 65, 4095, 4096, 4097, 131_071, 131_072, 131_073, 262_145, 1_500_000,
];

fn odd_tree(root: &Path) {
    for size in SIZES {
        std::fs::write(root.join(format!("text-{size}.txt")), text(7, size)).unwrap();
        std::fs::write(root.join(format!("noise-{size}.bin")), noise(8, size)).unwrap();
        let elf = [b"\x7fELF", &noise(9, size)[..]].concat();
        std::fs::write(root.join(format!("program-{size}")), elf).unwrap();
    }
    // One byte over what shares a block.
    std::fs::write(root.join("large.txt"), text(7, (4 << 20) + 1)).unwrap();
    let names: [&[u8]; 8] = [
        b" ",
        b"a\nb",
        b"\xff\xfe",
        b"-rf",
        b"quote\"'\\",
        "ümläut".as_bytes(),
        &[b'x'; 255],
        b"...",
    ];
    for name in names {
        std::fs::write(root.join(std::ffi::OsStr::from_bytes(name)), name).unwrap();
    }
    let deep: PathBuf = (0..100).map(|i| format!("d{i}")).collect();
    std::fs::create_dir_all(root.join(deep)).unwrap();
    for mode in [0o000, 0o400, 0o644, 0o755, 0o777, 0o1777] {
        let path = root.join(format!("mode-{mode:o}"));
        std::fs::write(&path, b"mode").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    std::fs::create_dir(root.join("empty")).unwrap();
    std::fs::hard_link(root.join("text-4096.txt"), root.join("empty-twin")).unwrap();
    std::fs::hard_link(root.join("text-4096.txt"), root.join("d0/link")).unwrap();
    symlink("text-1.txt", root.join("to-file")).unwrap();
    symlink("/d0/d1", root.join("absolute")).unwrap();
    symlink("../../../../..", root.join("d0/up")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    symlink("loop-b", root.join("loop-a")).unwrap();
    symlink("loop-a", root.join("loop-b")).unwrap();
    let sparse = std::fs::File::create(root.join("sparse")).unwrap();
    sparse.set_len(1 << 30).unwrap();
    sparse.write_all_at(&text(3, 5000), 12_345_678).unwrap();
    sparse
        .write_all_at(&noise(4, 5000), (1 << 30) - 5000)
        .unwrap();
    std::fs::File::create(root.join("hole"))
        .unwrap()
        .set_len(1 << 20)
        .unwrap();
    std::fs::write(root.join("zeros"), vec![0; 1 << 20]).unwrap();
    let _ = rustix::fs::setxattr(
        root.join("zeros"),
        "user.note",
        b"\0value",
        rustix::fs::XattrFlags::empty(),
    );
    let _ = rustix::fs::setxattr(
        root.join("d0"),
        "user.empty",
        b"",
        rustix::fs::XattrFlags::empty(),
    );
}

fn pack_dir(
    dir: &Path,
    out: &Path,
    scan_options: &ScanOptions,
    options: &PackOptions,
) -> Result<PackReport, Error> {
    let scanned = scan(dir, scan_options)?;
    pack(scanned.tree, options, out, &|_| (), &AtomicBool::new(false))
}

/// The odd tree packed with default options: its scratch directory, the source in it, and the image.
fn odd_image() -> (tempfile::TempDir, PathBuf, Image) {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    std::fs::create_dir(&source).unwrap();
    odd_tree(&source);
    let out = dir.path().join("x.zapp");
    pack_dir(
        &source,
        &out,
        &ScanOptions::default(),
        &PackOptions::default(),
    )
    .unwrap();
    let image = Image::open(&out).unwrap();
    (dir, source, image)
}

/// Everything that can be asked of a directory on disk, by path.
fn dump_disk(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut all = BTreeMap::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(dir) = pending.pop() {
        for entry in std::fs::read_dir(root.join(&dir)).unwrap() {
            let path = dir.join(entry.unwrap().file_name());
            let full = root.join(&path);
            let meta = full.symlink_metadata().unwrap();
            let what = if meta.is_dir() {
                pending.push(path.clone());
                "dir".to_owned()
            } else if meta.is_symlink() {
                format!("link {:?}", std::fs::read_link(&full).unwrap())
            } else {
                format!(
                    "file {} {} {:?}",
                    meta.nlink(),
                    meta.len(),
                    blake3::hash(&std::fs::read(&full).unwrap())
                )
            };
            let line = format!("{:o} {} {what}", meta.mode() & 0o7777, meta.mtime());
            all.insert(path.into_os_string().into_vec(), line);
        }
    }
    all
}

fn dump_image(image: &Image) -> BTreeMap<Vec<u8>, String> {
    let mut all = BTreeMap::new();
    let mut pending = vec![(image.root(), Vec::new())];
    while let Some((dir, path)) = pending.pop() {
        for entry in image.read_dir(dir) {
            let mut path: Vec<u8> = path.clone();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(entry.name);
            assert_eq!(
                image.lookup(&path),
                Some(entry.ino),
                "{}",
                imagefs::printable(&path)
            );
            assert_eq!(image.child(dir, entry.name), Some(entry.ino));
            let stat = image.stat(entry.ino);
            let what = match entry.kind {
                Kind::Directory => {
                    pending.push((entry.ino, path.clone()));
                    "dir".to_owned()
                }
                Kind::Symlink => {
                    let target = PathBuf::from(std::ffi::OsStr::from_bytes(
                        image.read_link(entry.ino).unwrap(),
                    ));
                    format!("link {target:?}")
                }
                Kind::Regular => {
                    let mut hasher = blake3::Hasher::new();
                    let mut buf = vec![0; 300_000];
                    let mut at = 0;
                    loop {
                        let n = image.read_at(entry.ino, at, &mut buf).unwrap();
                        if n == 0 {
                            break;
                        }
                        hasher.update(&buf[..n]);
                        at += n as u64;
                    }
                    format!("file {} {} {:?}", stat.nlink, stat.size, hasher.finalize())
                }
            };
            all.insert(path, format!("{:o} {} {what}", stat.mode, stat.mtime));
        }
    }
    all
}

#[test]
fn an_odd_tree_comes_out_as_it_went_in() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    std::fs::create_dir(&source).unwrap();
    odd_tree(&source);
    let out = dir.path().join("x.zapp");
    let keep = ScanOptions {
        mtime: MtimePolicy::Keep,
        owner: OwnerPolicy::Keep,
        ..ScanOptions::default()
    };
    let report = pack_dir(&source, &out, &keep, &PackOptions::default()).unwrap();
    let image = Image::open(&out).unwrap();
    assert_eq!(dump_disk(&source), dump_image(&image));
    assert_eq!(image.image_id(), report.image_id);
    assert_eq!(image.compute_tree_id(), report.tree_id);
    let class = |path: &str| image.stat(image.lookup(path.as_bytes()).unwrap()).class;
    assert_eq!(class("sparse"), Class::Sparse);
    assert_eq!(class("program-4096"), Class::Raw);
    assert_eq!(class("noise-131072.bin"), Class::PackedRaw);
    assert_eq!(class("large.txt"), Class::Blocks);
    assert_eq!(class("text-1500000.txt"), Class::Packed);
    assert_eq!(class("text-1.txt"), Class::Inline);
    let link = image.lookup(b"d0/link").unwrap();
    assert_eq!(image.lookup(b"text-4096.txt"), Some(link));
    let zeros = image.lookup(b"zeros").unwrap();
    let kept: Vec<_> = image.xattrs(zeros).collect();
    let on_disk = rustix::fs::getxattr(source.join("zeros"), "user.note", &mut [0; 16][..]).is_ok();
    assert_eq!(kept.len(), usize::from(on_disk));
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let mut images = Vec::new();
    for (name, jobs) in [("first", 1), ("second/below", 8)] {
        let source = dir.path().join(name);
        std::fs::create_dir_all(&source).unwrap();
        odd_tree(&source);
        let out = dir.path().join(format!("{jobs}.zapp"));
        let options = PackOptions {
            jobs,
            ..PackOptions::default()
        };
        // The copies are made one after the other.
        let times = ScanOptions {
            mtime: MtimePolicy::Fixed(1),
            ..ScanOptions::default()
        };
        pack_dir(&source, &out, &times, &options).unwrap();
        images.push(std::fs::read(out).unwrap());
    }
    assert!(images[0] == images[1]);
}

#[test]
fn symlinks_resolve_inside_the_image_only() {
    use imagefs::ResolveError::{Loop, NotADirectory, NotFound};
    let (_dir, _source, image) = odd_image();
    let root = image.root();
    let at = |path: &str| image.lookup(path.as_bytes()).unwrap();
    let resolve = |path: &str| image.resolve(root, path.as_bytes(), true);
    assert_eq!(resolve("to-file"), Ok(at("text-1.txt")));
    assert_eq!(image.resolve(root, b"to-file", false), Ok(at("to-file")));
    assert_eq!(resolve("absolute/d2"), Ok(at("d0/d1/d2")));
    assert_eq!(resolve("d0/up"), Ok(root));
    assert_eq!(resolve("/../../d0/./d1/.."), Ok(at("d0")));
    assert_eq!(resolve("dangling"), Err(NotFound));
    assert_eq!(resolve("loop-a"), Err(Loop));
    assert_eq!(resolve("text-1.txt/"), Err(NotADirectory));
    assert_eq!(resolve("to-file/x"), Err(NotADirectory));
    assert_eq!(resolve("absolute/"), Ok(at("d0/d1")));
    assert_eq!(image.resolve(at("d0"), b"d1", true), Ok(at("d0/d1")));
    assert_eq!(image.resolve(root, b"", true), Err(NotFound));
}

#[test]
fn raw_files_can_be_mapped_and_are_hashed_once() {
    let (_dir, source, image) = odd_image();
    assert_eq!(image.blocks_hashed(), 0);
    let program = image.lookup(b"program-1500000").unwrap();
    let extent = image.extent(program).unwrap().unwrap();
    assert_eq!(extent.offset % 4096, 0);
    assert_eq!(image.blocks_hashed(), 2);
    let mut mapped = vec![0; usize::try_from(extent.len).unwrap()];
    std::fs::File::from(extent.fd.try_clone_to_owned().unwrap())
        .read_exact_at(&mut mapped, extent.offset)
        .unwrap();
    assert!(mapped == std::fs::read(source.join("program-1500000")).unwrap());
    for _ in 0..3 {
        assert!(
            matches!(image.bytes(program).unwrap(), std::borrow::Cow::Borrowed(b) if b == mapped)
        );
    }
    assert_eq!(image.blocks_hashed(), 2);
    assert!(
        image
            .extent(image.lookup(b"text-4096.txt").unwrap())
            .unwrap()
            .is_none()
    );
}

#[test]
fn a_walk_visits_every_name_once_in_the_order_of_names() {
    let (_dir, source, image) = odd_image();
    let mut walk = image.walk(image.root());
    let mut paths: Vec<Vec<u8>> = Vec::new();
    while let Some(entry) = walk.next() {
        assert_eq!(image.lookup(walk.path()), Some(entry.ino));
        let parents = walk.path().iter().filter(|&&b| b == b'/').count();
        let above: Vec<_> = walk.above().collect();
        assert_eq!(above.len(), parents + 1);
        assert_eq!(
            above.last().and_then(|&dir| image.child(dir, entry.name)),
            Some(entry.ino)
        );
        paths.push(walk.path().to_vec());
    }
    assert!(walk.next().is_none(), "the end stays the end");
    // A directory comes before what is in it, and that at once after it: the order of lists of names.
    assert!(paths.is_sorted_by_key(|path| {
        path.split(|&b| b == b'/')
            .map(<[u8]>::to_vec)
            .collect::<Vec<_>>()
    }));
    paths.sort();
    assert!(paths.iter().eq(dump_disk(&source).keys()));
}

#[test]
fn a_walk_begins_anywhere_and_leaves_out_what_it_is_told() {
    let (_dir, _source, image) = odd_image();
    let mut walk = image.walk(image.lookup(b"d0/d1").unwrap());
    let mut paths = Vec::new();
    while walk.next().is_some() {
        paths.push(String::from_utf8(walk.path().to_vec()).unwrap());
        if walk.path().ends_with(b"d4") {
            walk.skip();
        }
    }
    assert_eq!(paths, ["d2", "d2/d3", "d2/d3/d4"]);
    let file = image.lookup(b"zeros").unwrap();
    assert!(image.walk(file).next().is_none(), "nothing is below a file");
}
