//! A tree comes out of an image as it went in: by the mount, by extraction, and by GNU tar.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{
    Mount, Scratch, args, command, full, have, is_root, metadata, no_fuse, odd_tree, run,
    same_contents, same_trees, skip, wordpress, zapp,
};

/// Length of the sparse file in the odd tree.
const SPARSE: u64 = 5 << 30;

/// Packs with databases as they are: a prepared one differs from its source by design.
fn pack(source: &Path, image: &Path) {
    zapp(args![
        "pack",
        "-q",
        "--sqlite",
        "raw",
        "--skip-special",
        "--php",
        "never",
        source,
        "-o",
        image
    ])
    .ok();
}

/// Image to GNU tar to directory.
fn through_gnu_tar(image: &Path, target: &Path) {
    fs::create_dir_all(target).unwrap();
    let mut ours = command(args!["tar", image])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let tar = Command::new("tar")
        .args([
            "--extract",
            "--preserve-permissions",
            "--xattrs",
            "--sparse",
            "--directory",
        ])
        .arg(target)
        .stdin(ours.stdout.take().unwrap())
        .output()
        .unwrap();
    assert!(ours.wait().unwrap().success());
    assert!(
        tar.status.success(),
        "{}",
        String::from_utf8_lossy(&tar.stderr)
    );
}

#[test]
fn an_odd_tree_survives_the_mount() {
    if let Some(reason) = no_fuse() {
        skip!("{reason}");
    }
    let scratch = Scratch::new();
    let (source, image) = (scratch.path("source"), scratch.path("image.zapp"));
    odd_tree(&source, SPARSE);
    pack(&source, &image);
    let mount = Mount::new(&image, scratch.path("mount"));
    // diff(1) would read five gigabytes of zeros; the sparse file is compared part by part.
    fs::rename(source.join("sparse"), scratch.path("sparse")).unwrap();
    let mut ours = metadata(&mount.point);
    let sparse = mount.point.join("sparse");
    ours.remove(Path::new("sparse"))
        .expect("it is in the mount");
    assert_eq!(metadata(&source), ours);
    same_sparse(&scratch.path("sparse"), &sparse);
    let run = run(
        "diff",
        &[
            "-r".as_ref(),
            "--no-dereference".as_ref(),
            "--exclude=sparse".as_ref(),
            source.as_ref(),
            mount.point.as_ref(),
        ],
    );
    assert_eq!(
        run.code,
        Some(0),
        "{}{}",
        String::from_utf8_lossy(&run.stdout),
        run.stderr
    );
}

/// Compares two sparse files where either has data, and requires the holes to be holes.
fn same_sparse(a: &Path, b: &Path) {
    use std::os::unix::fs::FileExt;
    let (a, b) = (fs::File::open(a).unwrap(), fs::File::open(b).unwrap());
    assert_eq!(a.metadata().unwrap().len(), b.metadata().unwrap().len());
    assert!(
        b.metadata().unwrap().blocks() < 2048,
        "holes are not counted as space"
    );
    let mut at = 0;
    let mut parts = 0;
    while let Ok(data) = rustix::fs::seek(&a, rustix::fs::SeekFrom::Data(at)) {
        let end = rustix::fs::seek(&a, rustix::fs::SeekFrom::Hole(data)).unwrap();
        let mut left = vec![0; usize::try_from(end - data).unwrap()];
        let mut right = left.clone();
        a.read_exact_at(&mut left, data).unwrap();
        b.read_exact_at(&mut right, data).unwrap();
        assert!(left == right, "data at {data} differs");
        at = end;
        parts += 1;
    }
    assert!(parts >= 3, "the source has {parts} parts");
    // The other way round, the image may find smaller parts, but none where the source has a hole.
    let first_hole = rustix::fs::seek(&b, rustix::fs::SeekFrom::Hole(0)).unwrap();
    assert!(
        first_hole < 1 << 20,
        "the first hole begins at {first_hole}"
    );
    let next = rustix::fs::seek(&b, rustix::fs::SeekFrom::Data(first_hole)).unwrap();
    assert!(next > 1 << 30, "the next data begins at {next}");
}

#[test]
fn an_odd_tree_survives_extraction() {
    let scratch = Scratch::new();
    let (source, image) = (scratch.path("source"), scratch.path("image.zapp"));
    odd_tree(&source, SPARSE);
    pack(&source, &image);
    let target = scratch.path("target");
    zapp(args!["extract", "-q", image, "-C", target]).ok();
    same_sparse(&source.join("sparse"), &target.join("sparse"));
    for tree in [&source, &target] {
        fs::remove_file(tree.join("sparse")).unwrap();
    }
    same_trees(&source, &target);
    // Directories get their times last.
    for name in ["names", "big.js", "dangling"] {
        let time = |tree: &Path| {
            let metadata = tree.join(name).symlink_metadata().unwrap();
            (metadata.mtime(), metadata.mtime_nsec())
        };
        assert_eq!(time(&target), time(&source), "{name}");
    }
    // Once more over what is there: the same again, and nothing left over.
    zapp(args!["extract", "-q", image, "-C", target]).ok();
    fs::remove_file(target.join("sparse")).unwrap();
    same_trees(&source, &target);
}

#[test]
fn an_odd_tree_survives_gnu_tar() {
    let scratch = Scratch::new();
    let (source, image) = (scratch.path("source"), scratch.path("image.zapp"));
    odd_tree(&source, SPARSE);
    pack(&source, &image);
    let target = scratch.path("target");
    through_gnu_tar(&image, &target);
    same_sparse(&source.join("sparse"), &target.join("sparse"));
    // The archive back into an image: the same tree, whatever way it took.
    let again = scratch.path("again.zapp");
    let tar = scratch.path("image.tar");
    zapp(args!["tar", image, "-o", tar]).ok();
    zapp(args![
        "pack", "-q", "--sqlite", "raw", "--tar", tar, "-o", again
    ])
    .ok();
    zapp(args!["diff", image, again]).ok();
    for tree in [&source, &target] {
        fs::remove_file(tree.join("sparse")).unwrap();
    }
    if is_root() {
        same_trees(&source, &target);
    } else {
        same_contents(&source, &target);
    }
}

#[test]
fn a_packed_mount_is_the_same_tree() {
    if let Some(reason) = no_fuse() {
        skip!("{reason}");
    }
    let scratch = Scratch::new();
    let (source, image) = (scratch.path("source"), scratch.path("image.zapp"));
    odd_tree(&source, 1 << 20);
    pack(&source, &image);
    let mount = Mount::new(&image, scratch.path("mount"));
    let again = scratch.path("again.zapp");
    pack(&mount.point, &again);
    zapp(args!["diff", image, again]).ok();
    assert_eq!(
        fs::read(&image).unwrap(),
        fs::read(&again).unwrap(),
        "identical bytes, too"
    );
}

/// All three ways for a tree that is somewhere on this machine.
fn three_ways(source: &Path) {
    let scratch = Scratch::new();
    let image = scratch.path("image.zapp");
    pack(source, &image);
    if no_fuse().is_none() {
        let mount = Mount::new(&image, scratch.path("mount"));
        same_contents(source, &mount.point);
    }
    let target = scratch.path("target");
    zapp(args!["extract", "-q", image, "-C", target]).ok();
    same_contents(source, &target);
    fs::remove_dir_all(&target).unwrap();
    through_gnu_tar(&image, &target);
    same_contents(source, &target);
    zapp(args!["check", "-q", "--deep", image]).ok();
}

#[test]
fn wordpress_survives_all_three_ways() {
    match wordpress() {
        Some(site) => three_ways(&site),
        None => skip!("build it with fixtures/wordpress/build"),
    }
}

/// `/usr/share`, or the part of it that the time of an ordinary run allows.
#[test]
fn usr_share_survives_all_three_ways() {
    let share = Path::new("/usr/share");
    if full() {
        return three_ways(share);
    }
    let part = ["perl", "zoneinfo", "mime"]
        .map(|name| share.join(name))
        .into_iter()
        .find(|p| p.is_dir());
    match part {
        Some(part) => three_ways(&part),
        None => skip!("nothing to sample in /usr/share"),
    }
}

#[test]
fn only_what_globs_select_is_extracted() {
    let scratch = Scratch::new();
    let (source, image) = (scratch.path("source"), scratch.path("image.zapp"));
    odd_tree(&source, 1 << 20);
    pack(&source, &image);
    let target = scratch.path("target");
    zapp(args![
        "extract",
        "-q",
        image,
        "-C",
        target,
        "hard-link",
        "/dir-755",
        "text-*.txt"
    ])
    .ok();
    assert!(target.join("d0/hard-link").is_file(), "a name at any depth");
    assert!(
        target.join("dir-755/file").is_file(),
        "a directory with what is in it"
    );
    assert!(target.join("text-0.txt").is_file());
    assert!(!target.join("names").exists() && !target.join("d0/d1").exists());
    let links = target.join("d0/hard-link").metadata().unwrap().nlink();
    assert_eq!(
        links, 2,
        "linked to text-4096.txt, the only other name selected"
    );
}

#[test]
fn tar_is_readable_by_others() {
    if !have("bsdtar") {
        skip!("no bsdtar");
    }
    let scratch = Scratch::new();
    let (source, image) = (scratch.path("source"), scratch.path("image.zapp"));
    odd_tree(&source, 1 << 20);
    pack(&source, &image);
    let tar = scratch.path("image.tar");
    zapp(args!["tar", image, "-o", tar]).ok();
    run("bsdtar", &["-tf".as_ref(), tar.as_ref()]).ok();
}
