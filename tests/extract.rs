//! Extraction never writes outside its directory, whatever is in the way, and says what it could not do.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Scratch, args, full, is_root, run, skip, text, zapp};

/// An image of `a/b/file`, `a/link -> b` and `top`.
fn image(scratch: &Scratch) -> std::path::PathBuf {
    let source = scratch.dir("source");
    fs::create_dir_all(source.join("a/b")).unwrap();
    fs::write(source.join("a/b/file"), "new").unwrap();
    fs::write(source.join("top"), "new").unwrap();
    symlink("b", source.join("a/link")).unwrap();
    let image = scratch.path("image.zapp");
    zapp(args!["pack", "-q", source, "-o", image]).ok();
    image
}

/// A directory that must stay as it is.
fn outside(scratch: &Scratch) -> std::path::PathBuf {
    let outside = scratch.dir("outside");
    fs::create_dir(outside.join("b")).unwrap();
    fs::write(outside.join("top"), "old").unwrap();
    fs::write(outside.join("b/file"), "old").unwrap();
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o700)).unwrap();
    outside
}

#[track_caller]
fn untouched(outside: &Path) {
    assert_eq!(fs::read(outside.join("top")).unwrap(), b"old");
    assert_eq!(fs::read(outside.join("b/file")).unwrap(), b"old");
    assert_eq!(outside.metadata().unwrap().mode() & 0o777, 0o700);
    assert_eq!(fs::read_dir(outside).unwrap().count(), 2, "nothing new");
    assert_eq!(
        fs::read_dir(outside.join("b")).unwrap().count(),
        1,
        "nothing new"
    );
}

#[test]
fn symlinks_in_the_way_are_not_followed_at_any_level() {
    let scratch = Scratch::new();
    let (image, outside) = (image(&scratch), outside(&scratch));
    let target = scratch.dir("target");
    // In place of a directory of the first level: that directory fails, the rest is extracted.
    symlink(&outside, target.join("a")).unwrap();
    zapp(args!["extract", "-q", image, "-C", target])
        .code(2)
        .says("zapp: a: make directory");
    untouched(&outside);
    assert_eq!(fs::read(target.join("top")).unwrap(), b"new");
    // In place of a directory of the second level.
    fs::remove_file(target.join("a")).unwrap();
    fs::create_dir(target.join("a")).unwrap();
    symlink(outside.join("b"), target.join("a/b")).unwrap();
    zapp(args!["extract", "-q", image, "-C", target])
        .code(2)
        .says("zapp: a/b: make directory");
    untouched(&outside);
    // In place of a file: the link is replaced, not written through.
    fs::remove_file(target.join("top")).unwrap();
    symlink(outside.join("top"), target.join("top")).unwrap();
    zapp(args!["extract", "-q", image, "-C", target, "top"]).ok();
    untouched(&outside);
    assert!(target.join("top").symlink_metadata().unwrap().is_file());
    // In place of a symlink, and a dangling one in place of a file.
    fs::remove_file(target.join("a/b")).unwrap();
    fs::remove_file(target.join("top")).unwrap();
    fs::remove_file(target.join("a/link")).unwrap();
    symlink(&outside, target.join("a/link")).unwrap();
    symlink(outside.join("fresh"), target.join("top")).unwrap();
    zapp(args!["extract", "-q", image, "-C", target]).ok();
    untouched(&outside);
    assert_eq!(
        fs::read_link(target.join("a/link")).unwrap(),
        Path::new("b")
    );
}

#[test]
fn other_things_in_the_way_fail_by_name() {
    let scratch = Scratch::new();
    let image = image(&scratch);
    let target = scratch.dir("target");
    fs::create_dir(target.join("top")).unwrap();
    fs::write(target.join("a"), "a file").unwrap();
    let run = zapp(args!["extract", "-q", image, "-C", target]).code(2);
    assert!(
        run.stderr.contains("zapp: top: rename") && run.stderr.contains("zapp: a: make directory")
    );
    let left: Vec<_> = fs::read_dir(&target)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 2, "no temporary file is left: {left:?}");
}

#[test]
fn a_destination_keeps_its_own_permissions() {
    let scratch = Scratch::new();
    let image = image(&scratch);
    let target = scratch.dir("target");
    fs::set_permissions(&target, fs::Permissions::from_mode(0o1777)).unwrap();
    zapp(args!["extract", "-q", image, "-C", target]).ok();
    assert_eq!(target.metadata().unwrap().mode() & 0o7777, 0o1777);
    // The destination itself may be a symlink: the user named it.
    let link = scratch.path("link");
    symlink(&target, &link).unwrap();
    zapp(args!["extract", "-q", image, "-C", link]).ok();
    assert!(link.is_symlink());
}

/// Another process swaps a directory for a symlink and back as fast as it can, while extraction runs again and again.
#[test]
fn swapping_directories_for_symlinks_does_not_lead_out() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    for name in ["a", "a/b"] {
        fs::create_dir(source.join(name)).unwrap();
        for i in 0..20 {
            fs::write(source.join(name).join(format!("file{i}")), "new").unwrap();
        }
    }
    let image = scratch.path("image.zapp");
    zapp(args!["pack", "-q", source, "-o", image]).ok();
    let outside = scratch.dir("outside");
    let target = scratch.dir("target");
    fs::create_dir(target.join("a")).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let swapper = std::thread::spawn({
        let (stop, target, outside) = (Arc::clone(&stop), target.clone(), outside.clone());
        move || {
            let (a, parked, link) = (target.join("a"), target.join("parked"), target.join("link"));
            let mut swaps = 0;
            while !stop.load(Ordering::Relaxed) {
                let _ = symlink(&outside, &link);
                if fs::rename(&a, &parked).is_ok() {
                    let _ = fs::rename(&link, &a);
                    swaps += 1;
                    let _ = fs::remove_file(&a);
                    let _ = fs::rename(&parked, &a);
                }
            }
            swaps
        }
    });
    let end = Instant::now() + Duration::from_secs(if full() { 60 } else { 3 });
    let mut rounds = 0;
    while Instant::now() < end {
        let run = zapp(args!["extract", "-q", image, "-C", target]);
        assert!(matches!(run.code, Some(0 | 2)), "{run:?}");
        rounds += 1;
    }
    stop.store(true, Ordering::Relaxed);
    let swaps = swapper.join().unwrap();
    assert!(swaps > 0 && rounds > 0, "{swaps} swaps in {rounds} rounds");
    assert_eq!(
        fs::read_dir(&outside).unwrap().count(),
        0,
        "something was written outside"
    );
}

#[test]
fn a_full_disk_is_said_and_leaves_no_half_file() {
    if !is_root() {
        skip!("mounting a small file system needs root");
    }
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    fs::write(source.join("1-small"), "fits").unwrap();
    fs::write(source.join("2-large"), text(1, 4 << 20)).unwrap();
    let image = scratch.path("image.zapp");
    zapp(args!["pack", "-q", source, "-o", image]).ok();
    let small = SmallDisk::new(&scratch, "1m");
    let run = zapp(args!["extract", "-q", image, "-C", small.0]).code(2);
    assert!(
        run.stderr.contains("2-large") && run.stderr.contains("No space left"),
        "{}",
        run.stderr
    );
    let left: Vec<_> = fs::read_dir(&small.0)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(left, ["1-small"], "no half file");
}

/// A file system of a given size, unmounted at the end.
pub(crate) struct SmallDisk(pub(crate) std::path::PathBuf);

impl SmallDisk {
    pub(crate) fn new(scratch: &Scratch, size: &str) -> SmallDisk {
        let point = scratch.dir("small-disk");
        let options = format!("size={size}");
        run(
            "mount",
            &["-t", "tmpfs", "-o", &options, "tmpfs"]
                .map(AsRef::as_ref)
                .into_iter()
                .chain([point.as_os_str()])
                .collect::<Vec<_>>(),
        )
        .ok();
        SmallDisk(point)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run("umount", &[self.0.as_ref()]);
    }
}
