//! What `zapp check` says of damaged images, and what readers do with them.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::support::{Mount, Scratch, args, no_fuse, noise, skip, text, zapp};

/// An image with files of several classes.
fn image(scratch: &Scratch) -> PathBuf {
    let source = scratch.dir("source");
    fs::write(source.join("photo.jpg"), noise(1, 300_000)).unwrap();
    fs::write(source.join("movie.mp4"), noise(2, 3 << 20)).unwrap();
    fs::write(source.join("page.html"), text(3, 50_000)).unwrap();
    fs::write(source.join("copy.jpg"), noise(1, 300_000)).unwrap();
    let image = scratch.path("image.zapp");
    zapp(args!["pack", "-q", source, "-o", image]).ok();
    image
}

/// Where in an image some bytes are.
fn find(image: &Path, bytes: &[u8]) -> u64 {
    let all = fs::read(image).unwrap();
    let at = all
        .windows(bytes.len())
        .position(|w| w == bytes)
        .expect("they are stored as they are");
    at.try_into().unwrap()
}

fn flip(image: &Path, at: u64) {
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(image)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

#[test]
fn damaged_contents_are_named_all_of_them() {
    let scratch = Scratch::new();
    let image = image(&scratch);
    zapp(args!["check", image]).ok();
    zapp(args!["check", "--deep", image]).ok();
    let photo = find(&image, &noise(1, 300_000)[1000..1100]);
    let movie = find(&image, &noise(2, 3 << 20)[(2 << 20) + 5..(2 << 20) + 105]);
    flip(&image, photo);
    flip(&image, movie);
    for deep in [&[][..], &["--deep"]] {
        let run = zapp(
            ["check"]
                .iter()
                .chain(deep)
                .map(AsRef::as_ref)
                .chain([image.as_os_str()]),
        )
        .code(1);
        let out = run.text();
        assert!(out.contains("damaged in 2 places"), "{out}");
        assert!(
            out.contains("photo.jpg") && out.contains("copy.jpg") && out.contains("movie.mp4"),
            "{out}"
        );
        assert!(!out.contains("page.html"), "{out}");
    }
    let report = &zapp(args!["check", "--json", image]).code(1).json()[0];
    assert_eq!(report["sound"], false);
    assert_eq!(report["faults"].as_array().unwrap().len(), 2);
    assert!(report["faults"][0]["offset"].as_u64().unwrap() <= photo.max(movie));
    // What is sound can still be read; what is not says so.
    zapp(args!["cat", image, "page.html"]).ok();
    zapp(args!["cat", image, "photo.jpg"])
        .code(1)
        .says("photo.jpg");
    let target = scratch.path("target");
    let run = zapp(args!["extract", "-q", image, "-C", target]).code(1);
    assert!(
        run.stderr.contains("zapp: photo.jpg: image is damaged"),
        "{}",
        run.stderr
    );
    assert!(target.join("page.html").exists() && !target.join("movie.mp4").exists());
}

/// The byte after each metadata section that does not end where the next one begins, from the section table.
fn paddings(image: &[u8]) -> Vec<usize> {
    let number = |at: usize| {
        usize::try_from(u64::from_le_bytes(image[at..at + 8].try_into().unwrap())).unwrap()
    };
    let table = number(40);
    let ends = (0..10).map(|row| number(table + 64 * row + 8) + number(table + 64 * row + 16));
    let found: Vec<usize> = ends.filter(|end| end % 64 != 0).collect();
    assert!(!found.is_empty());
    found
}

#[test]
fn damaged_metadata_is_found_at_open() {
    let scratch = Scratch::new();
    let image = image(&scratch);
    let whole = fs::read(&image).unwrap();
    let len = whole.len();
    // The last but one lies in the data or in the padding after it, which only check looks at.
    for at in [0, 9, 40, 70, 200, 300, len - 1, len - 5000] {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        let broken = scratch.path("broken.zapp");
        fs::write(&broken, &bytes).unwrap();
        let run = zapp(args!["check", broken]).code(1);
        assert!(!run.stdout.is_empty(), "byte {at}");
        if at != len - 5000 {
            let code = zapp(args!["ls", broken]).code.unwrap();
            assert!(code == 1 || code == 2, "byte {at}: {code}");
        }
    }
    // Padding between sections belongs to no hash, and yet it must not change.
    for padding in paddings(&whole) {
        let mut bytes = whole.clone();
        bytes[padding] ^= 1;
        let broken = scratch.path("padding.zapp");
        fs::write(&broken, &bytes).unwrap();
        let run = zapp(args!["check", broken]).code(1);
        assert!(
            run.text().contains("belong to nothing"),
            "byte {padding}: {}",
            run.text()
        );
    }
    for len in [0, 1, 255, 4095, 4096, len / 2, len - 1] {
        let broken = scratch.path("cut.zapp");
        fs::write(&broken, &whole[..len]).unwrap();
        zapp(args!["check", broken]).code(1);
    }
}

#[test]
fn a_damaged_file_is_an_error_on_the_mount_and_others_are_not() {
    if let Some(reason) = no_fuse() {
        skip!("{reason}");
    }
    let scratch = Scratch::new();
    let image = image(&scratch);
    flip(&image, find(&image, &noise(1, 300_000)[1000..1100]));
    let mount = Mount::new(&image, scratch.path("mount"));
    let error = fs::read(mount.point.join("photo.jpg")).unwrap_err();
    assert_eq!(
        error.raw_os_error(),
        Some(rustix::io::Errno::IO.raw_os_error())
    );
    assert_eq!(
        fs::read(mount.point.join("page.html")).unwrap(),
        text(3, 50_000)
    );
    assert_eq!(
        fs::read(mount.point.join("movie.mp4")).unwrap(),
        noise(2, 3 << 20)
    );
}
