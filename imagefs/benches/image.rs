//! Figures of `docs/numbers.md` about images, as ratios taken alternately in one run.
//!
//! `cargo bench -p imagefs --bench image -- [size|read|lookup|million]…`. Needs root for the kernel's squashfs, and
//! mksquashfs (Debian: squashfs-tools); says so and leaves a row out where one is missing. The program runs itself as
//! the fresh process of each measurement.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use imagefs::scan::{ScanOptions, scan};
use imagefs::writer::{LEVEL_DEFAULT, PackOptions, pack};
use imagefs::{Image, Ino, Kind};

/// Rounds of each alternating measurement; medians are printed.
const ROUNDS: usize = 5;

fn main() {
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with("--"))
        .collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["child-pack", source, out, level] => {
            child_pack(source, out, level.parse().expect("a level"))
        }
        ["child-read-image", image, order] => child_read_image(image, order),
        ["child-read-dir", dir, order] => child_read_dir(dir, order),
        ["child-million", image] => child_million(image),
        _ => {
            let all = words.is_empty();
            let wanted = |name: &str| all || words.contains(&name);
            let dir = tempfile::tempdir_in("/dev/shm")
                .or_else(|_| tempfile::tempdir())
                .expect("a scratch directory");
            if wanted("size") || wanted("read") || wanted("lookup") {
                let site = wordpress();
                let tree = dir.path().join("site");
                run(&format!("cp -a {} {}", site.display(), tree.display()));
                if wanted("size") {
                    size(&tree, dir.path());
                }
                if wanted("read") {
                    read(&tree, dir.path());
                }
                if wanted("lookup") {
                    lookup(&tree, dir.path());
                }
            }
            if wanted("million") {
                million(dir.path());
            }
        }
    }
}

/// The WordPress tree of `fixtures/wordpress/build`.
fn wordpress() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/wordpress/build");
    let output = Command::new(script)
        .output()
        .expect("fixtures/wordpress/build runs");
    let text = String::from_utf8(output.stdout).expect("a path");
    PathBuf::from(text.lines().last().expect("the path of the tree"))
}

fn run(command: &str) {
    let status = Command::new("bash")
        .arg("-c")
        .arg(command)
        .status()
        .expect("bash runs");
    assert!(status.success(), "{command}");
}

/// CPU seconds (user and system) of a shell command, `None` when it fails.
fn cpu(command: &str) -> Option<f64> {
    let script = format!("TIMEFORMAT='%U %S'; {{ time {command} >/dev/null 2>&1; }} 2>&1");
    let output = Command::new("bash")
        .arg("-c")
        .arg(script)
        .output()
        .expect("bash runs");
    if !output.status.success() {
        return None;
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut numbers = text
        .split_whitespace()
        .map(|n| n.parse::<f64>().expect("seconds"));
    Some(numbers.next()? + numbers.next()?)
}

fn myself(words: &str) -> String {
    format!(
        "{} {words}",
        std::env::current_exe().expect("its own path").display()
    )
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Size and CPU time of packing against mksquashfs at the same nominal level.
fn size(tree: &Path, dir: &Path) {
    println!(
        "| image of WordPress | zapp bytes | mksquashfs bytes | ratio | zapp CPU s | mksquashfs CPU s | ratio |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (name, ours, theirs, rounds) in [
        ("default", LEVEL_DEFAULT, 15, ROUNDS),
        ("level 19", 19, 19, 1),
    ] {
        let (zapp, squash) = (dir.join("x.zapp"), dir.join("x.squashfs"));
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            drop(std::fs::remove_file(&squash));
            a.push(
                cpu(&myself(&format!(
                    "child-pack {} {} {ours}",
                    tree.display(),
                    zapp.display()
                )))
                .expect("packs"),
            );
            let other = format!(
                "mksquashfs {} {} -comp zstd -Xcompression-level {theirs} -b 128K -no-progress -quiet",
                tree.display(),
                squash.display()
            );
            match cpu(&other) {
                Some(seconds) => b.push(seconds),
                None => return println!("mksquashfs is missing: apt-get install squashfs-tools"),
            }
        }
        let len = |path: &Path| std::fs::metadata(path).expect("was written").len();
        let (sa, sb, ca, cb) = (len(&zapp), len(&squash), median(a), median(b));
        #[expect(clippy::cast_precision_loss, reason = "sizes far below 2^52")]
        let ratio = sa as f64 / sb as f64;
        println!(
            "| {name} | {sa} | {sb} | {ratio:.3} | {ca:.2} | {cb:.2} | {:.2} |",
            ca / cb
        );
    }
}

/// Reading every file once in a fresh process, against a fresh mount of the kernel's squashfs.
fn read(tree: &Path, dir: &Path) {
    let (zapp, squash, mount) = (
        dir.join("r.zapp"),
        dir.join("r.squashfs"),
        dir.join("mount"),
    );
    run(&myself(&format!(
        "child-pack {} {} {LEVEL_DEFAULT}",
        tree.display(),
        zapp.display()
    )));
    std::fs::create_dir(&mount).expect("a mount point");
    run(&format!(
        "mksquashfs {} {} -comp zstd -Xcompression-level 15 -b 128K -no-progress -quiet",
        tree.display(),
        squash.display()
    ));
    println!("| reading WordPress, fresh process | zapp CPU s | squashfs CPU s | ratio |");
    println!("|---|---|---|---|");
    for order in ["sorted", "random"] {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            a.push(
                cpu(&myself(&format!(
                    "child-read-image {} {order}",
                    zapp.display()
                )))
                .expect("reads"),
            );
            let Some(()) = cpu(&format!(
                "mount -o loop,ro {} {}",
                squash.display(),
                mount.display()
            ))
            .map(|_| ()) else {
                return println!(
                    "no loop mounts here: squashfs left out (zapp {order}: {:.3} s)",
                    median(a)
                );
            };
            b.push(
                cpu(&myself(&format!(
                    "child-read-dir {} {order}",
                    mount.display()
                )))
                .expect("reads"),
            );
            run(&format!("umount {}", mount.display()));
        }
        let (a, b) = (median(a), median(b));
        println!("| {order} | {a:.3} | {b:.3} | {:.2} |", a / b);
    }
}

/// Looking up every path, against `stat` on tmpfs.
fn lookup(tree: &Path, dir: &Path) {
    let zapp = dir.join("l.zapp");
    run(&myself(&format!(
        "child-pack {} {} {LEVEL_DEFAULT}",
        tree.display(),
        zapp.display()
    )));
    let image = Image::open(&zapp).expect("opens");
    let paths = paths(&image);
    let full: Vec<PathBuf> = paths
        .iter()
        .map(|p| tree.join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(p)))
        .collect();
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..20 {
            for path in &paths {
                assert!(std::hint::black_box(image.lookup(std::hint::black_box(path))).is_some());
            }
        }
        a.push(per(start, paths.len() * 20));
        let start = Instant::now();
        for path in &full {
            std::hint::black_box(path.symlink_metadata().expect("is there"));
        }
        b.push(per(start, full.len()));
    }
    let (a, b) = (median(a), median(b));
    println!(
        "| lookup of {} paths | zapp ns | stat on tmpfs ns | ratio |\n|---|---|---|---|",
        paths.len()
    );
    println!("| | {a:.0} | {b:.0} | {:.3} |", a / b);
}

#[expect(clippy::cast_precision_loss, reason = "nanoseconds of a short run")]
fn per(start: Instant, n: usize) -> f64 {
    start.elapsed().as_nanos() as f64 / n as f64
}

/// All paths of an image in an order that has nothing to do with their place in it.
fn paths(image: &Image) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut walk = image.walk(image.root());
    while walk.next().is_some() {
        all.push(walk.path().to_vec());
    }
    all.sort_by_cached_key(|path| *blake3::hash(path).as_bytes());
    all
}

/// One million files: memory while packing, time to open, time of a lookup.
fn million(dir: &Path) {
    let tree = dir.join("million");
    for outer in 0..1000 {
        let sub = tree.join(format!("directory-{outer}"));
        std::fs::create_dir_all(&sub).expect("a directory");
        for inner in 0..1000 {
            std::fs::write(
                sub.join(format!("file-{inner}.txt")),
                format!("{outer} {inner} {}", outer * inner),
            )
            .expect("a file");
        }
    }
    let zapp = dir.join("m.zapp");
    let output = Command::new(std::env::current_exe().expect("its own path"))
        .args([
            "child-pack",
            &tree.display().to_string(),
            &zapp.display().to_string(),
            &LEVEL_DEFAULT.to_string(),
        ])
        .output()
        .expect("packs");
    print!(
        "1,000,000 files, packing: {}",
        String::from_utf8_lossy(&output.stdout)
    );
    for _ in 0..ROUNDS {
        run(&myself(&format!("child-million {}", zapp.display())));
    }
}

fn child_million(path: &str) {
    let start = Instant::now();
    let image = Image::open(path).expect("opens");
    let open = start.elapsed();
    let paths = paths(&image);
    let start = Instant::now();
    for path in &paths {
        assert!(std::hint::black_box(image.lookup(std::hint::black_box(path))).is_some());
    }
    println!(
        "1,000,000 files: open {:.1} ms, lookup {:.0} ns",
        open.as_secs_f64() * 1e3,
        per(start, paths.len())
    );
}

fn child_pack(source: &str, out: &str, level: i32) {
    let scanned = scan(Path::new(source), &ScanOptions::default()).expect("scans");
    let options = PackOptions {
        level,
        force: true,
        ..PackOptions::default()
    };
    let report = pack(
        scanned.tree,
        &options,
        Path::new(out),
        &|_| (),
        &AtomicBool::new(false),
    )
    .expect("packs");
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let peak = status
        .lines()
        .find(|l| l.starts_with("VmHWM"))
        .unwrap_or_default();
    println!(
        "{} files, {} bytes, metadata {}, {peak}",
        report.files, report.image_len, report.metadata
    );
    for class in &report.classes {
        println!(
            "  {:10} {:6} contents {:10} plain {:10} stored",
            class.class.name(),
            class.contents,
            class.plain,
            class.stored
        );
    }
}

fn child_read_image(path: &str, order: &str) {
    let image = Image::open(path).expect("opens");
    let mut files: Vec<Ino> = Vec::new();
    let mut walk = image.walk(image.root());
    while let Some(entry) = walk.next() {
        if entry.kind == Kind::Regular {
            files.push(entry.ino);
        }
    }
    if order == "random" {
        files.sort_by_cached_key(|ino| *blake3::hash(&ino.index().to_le_bytes()).as_bytes());
    }
    let mut buf = vec![0; 128 << 10];
    let mut total = 0;
    for ino in files {
        let mut at = 0;
        loop {
            let n = image.read_at(ino, at, &mut buf).expect("reads");
            if n == 0 {
                break;
            }
            at += n as u64;
        }
        total += at;
    }
    assert_eq!(total, image.total_size());
}

fn child_read_dir(dir: &str, order: &str) {
    let mut files = Vec::new();
    let mut pending = vec![PathBuf::from(dir)];
    while let Some(dir) = pending.pop() {
        for entry in std::fs::read_dir(dir).expect("lists") {
            let entry = entry.expect("lists");
            if entry.file_type().expect("has a type").is_dir() {
                pending.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    if order == "random" {
        files.sort_by_cached_key(|path| {
            *blake3::hash(path.as_os_str().as_encoded_bytes()).as_bytes()
        });
    }
    let mut buf = vec![0; 128 << 10];
    for path in files {
        let mut file = std::fs::File::open(path).expect("opens");
        while file.read(&mut buf).expect("reads") > 0 {}
    }
}
