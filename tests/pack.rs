//! Packing is reproducible, leaves nothing half done, and drops nothing silently.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::extract::SmallDisk;
use crate::support::{
    Scratch, args, command, is_root, noise, odd_tree, program_for_all, run, skip, text, wait_for,
    zapp,
};

/// Names in a directory.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// A tree that takes seconds to pack, so that there is time to interfere.
fn slow_tree(root: &Path) {
    fs::create_dir_all(root).unwrap();
    for i in 0..48 {
        fs::write(root.join(format!("file{i}.js")), text(i, 1 << 20)).unwrap();
    }
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let scratch = Scratch::new();
    let source = scratch.path("source");
    odd_tree(&source, 1 << 20);
    let first = scratch.path("first.zapp");
    zapp(args!["pack", "-q", "-j1", source, "-o", first]).ok();
    let expected = fs::read(&first).unwrap();
    let other = scratch.path("other.zapp");
    let attempt = |what: &str, command: &mut Command| {
        let output = command.stderr(Stdio::piped()).output().unwrap();
        assert!(
            output.status.success(),
            "{what}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(
            fs::read(&other).unwrap() == expected,
            "{what} changes the bytes"
        );
        fs::remove_file(&other).unwrap();
    };
    let pack = |source: &Path| {
        command(args![
            "pack",
            "-q",
            source,
            "-o",
            scratch.path("other.zapp")
        ])
    };
    attempt("-j8", pack(&source).arg("-j8"));
    attempt("TZ", pack(&source).env("TZ", "Pacific/Kiritimati"));
    attempt("locale", pack(&source).env("LC_ALL", "tr_TR.UTF-8"));
    let mut with_umask = Command::new("sh");
    with_umask
        .args(["-c", "umask 077; exec \"$@\"", "sh"])
        .arg(crate::support::ZAPP);
    attempt(
        "umask",
        with_umask.args(args!["pack", "-q", source, "-o", other]),
    );
    attempt(
        "directory",
        command(["pack", "-q", ".", "-o", "../other.zapp"]).current_dir(&source),
    );
    // A copy made in another order has other inode numbers and another order of directory entries.
    let copy = scratch.path("copy");
    let tar = scratch.path("image.tar");
    zapp(args!["tar", first, "-o", tar]).ok();
    run(
        "sh",
        &[
            "-c".as_ref(),
            "mkdir \"$2\" && tar -xpf \"$1\" --xattrs --sparse -C \"$2\"".as_ref(),
            "sh".as_ref(),
            tar.as_ref(),
            copy.as_ref(),
        ],
    )
    .ok();
    attempt("copy", &mut pack(&copy));
    attempt(
        "tar",
        &mut command(args![
            "pack",
            "-q",
            "--tar",
            tar,
            "-o",
            scratch.path("other.zapp")
        ]),
    );
}

#[test]
fn checkouts_give_the_same_bytes_with_one_time_for_all() {
    let scratch = Scratch::new();
    let packed = |name: &str, options: &[&str]| {
        let (source, image) = (scratch.dir(name), scratch.path("image.zapp"));
        fs::create_dir(source.join("dir")).unwrap();
        fs::write(source.join("dir/file"), "content").unwrap();
        let mut command = command(args!["pack", "-qf", source, "-o", image]);
        assert!(command.args(options).status().unwrap().success());
        fs::read(image).unwrap()
    };
    let all = ["--mtime", "1000000000"];
    assert!(packed("1", &all) == packed("2", &all));
    assert!(packed("3", &[]) != packed("4", &[]), "each has its times");
}

#[test]
fn another_user_gives_the_same_bytes() {
    if !is_root() {
        skip!("changing the user needs root");
    }
    let scratch = Scratch::new();
    scratch.open_to_all();
    let source = scratch.dir("source");
    for i in 0..20 {
        fs::write(source.join(format!("file{i}")), text(i, 5000)).unwrap();
    }
    let ours = scratch.path("ours.zapp");
    zapp(args!["pack", "-q", source, "-o", ours]).ok();
    let theirs = scratch.dir("theirs");
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o777)).unwrap();
    let image = theirs.join("image.zapp");
    as_nobody(&args!["pack", "-q", source, "-o", image]).ok();
    assert!(fs::read(&ours).unwrap() == fs::read(&image).unwrap());
    assert_eq!(image.metadata().unwrap().uid(), 65534);
}

/// Runs a copy of the program that everybody can reach as the user nobody.
fn as_nobody(args: &[std::ffi::OsString]) -> crate::support::Run {
    let scratch = Scratch::new();
    let program = program_for_all(&scratch);
    let output = Command::new(program)
        .args(args)
        .current_dir("/")
        .uid(65534)
        .gid(65534)
        .output();
    output.unwrap().into()
}

#[test]
fn notes_tell_what_is_otherwise() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    fs::write(source.join("tool"), "x").unwrap();
    fs::set_permissions(source.join("tool"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::write(source.join("skip.log"), "x").unwrap();
    fs::write(source.join("ignored.tmp"), "x").unwrap();
    fs::write(source.join(".zappignore"), "*.tmp\n").unwrap();
    run("mkfifo", &[source.join("pipe").as_ref()]).ok();
    let image = scratch.path("image.zapp");
    zapp(args!["pack", "-q", source, "-o", image])
        .code(2)
        .says("pipe");
    assert!(!image.exists());
    let run = zapp(args![
        "pack",
        "-q",
        "--skip-special",
        "-x",
        "*.log",
        source,
        "-o",
        image
    ])
    .ok();
    for words in [
        "tool: set-user-id",
        "skip.log: excluded",
        "ignored.tmp: ignored",
        "pipe: left out",
    ] {
        assert!(run.stderr.contains(words), "{words}: {}", run.stderr);
    }
    assert!(run.stdout.is_empty());
    assert_eq!(zapp(args!["ls", image]).ok().text(), ".zappignore\ntool\n");
    assert!(
        zapp(args!["ls", "-l", image, "tool"])
            .ok()
            .text()
            .starts_with("-rwxr-xr-x")
    );
}

// case site-mtime-1980
#[test]
fn times_and_owners_are_what_options_say() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    fs::write(source.join("a"), "x").unwrap();
    let image = scratch.path("image.zapp");
    let stat = |extra: &[&str], epoch: Option<&str>| {
        let mut command = command(args!["pack", "-qf", source, "-o", image]);
        command.args(extra);
        if let Some(epoch) = epoch {
            command.env("SOURCE_DATE_EPOCH", epoch);
        }
        assert!(command.status().unwrap().success());
        let object = zapp(args!["ls", "--json", image, "a"])
            .ok()
            .json()
            .remove(0);
        (
            object["mtime"].as_i64().unwrap(),
            object["uid"].as_u64().unwrap(),
        )
    };
    let real = source.join("a").metadata().unwrap();
    assert_eq!(stat(&[], None), (real.mtime(), 0));
    assert_eq!(stat(&[], Some("1700000000")), (1_700_000_000, 0));
    assert_eq!(stat(&[], Some("9999999999")), (real.mtime(), 0), "older");
    assert_eq!(
        stat(&["--mtime", "5", "--owner", "33:34"], Some("1700000000")),
        (5, 33)
    );
    assert_eq!(
        stat(&["--mtime", "keep", "--owner", "keep"], None),
        (real.mtime(), real.uid().into())
    );
}

#[test]
fn a_killed_packer_leaves_no_half_image() {
    let scratch = Scratch::new();
    let source = scratch.path("source");
    slow_tree(&source);
    let target = scratch.dir("target");
    let image = target.join("image.zapp");
    let mut cut_short = 0;
    for millis in [50, 150, 400, 800] {
        let mut child = command(args![
            "pack", "-q", "--level", "19", "-j1", source, "-o", image
        ])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
        std::thread::sleep(Duration::from_millis(millis));
        child.kill().unwrap();
        if !child.wait().unwrap().success() {
            cut_short += 1;
            assert!(!image.exists(), "a half image after {millis} ms");
        }
        let _ = fs::remove_file(&image);
    }
    assert!(cut_short > 0, "it was always faster");
    assert_eq!(
        fs::read(source.join("file0.js")).unwrap(),
        text(0, 1 << 20),
        "the source is untouched"
    );
}

#[test]
fn ctrl_c_leaves_nothing_behind_and_keeps_the_old_image() {
    let scratch = Scratch::new();
    let source = scratch.path("source");
    slow_tree(&source);
    let target = scratch.dir("target");
    let image = target.join("image.zapp");
    fs::write(&image, "the old one").unwrap();
    let mut child = command(args![
        "pack", "-qf", "--level", "19", "-j1", source, "-o", image
    ])
    .stderr(Stdio::piped())
    .spawn()
    .unwrap();
    std::thread::sleep(Duration::from_millis(500));
    assert!(child.try_wait().unwrap().is_none(), "still packing");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let start = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(names(&target), ["image.zapp"]);
    assert_eq!(fs::read(&image).unwrap(), b"the old one");
}

#[test]
fn a_full_disk_is_an_error_and_leaves_nothing() {
    if !is_root() {
        skip!("mounting a small file system needs root");
    }
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    fs::write(source.join("large"), noise(1, 3 << 20)).unwrap();
    let small = SmallDisk::new(&scratch, "1m");
    zapp(args![
        "pack",
        "-q",
        source,
        "-o",
        small.0.join("image.zapp")
    ])
    .code(2)
    .says("No space left");
    assert_eq!(names(&small.0), [""; 0]);
}

#[test]
fn an_unreadable_file_is_an_error_that_names_it() {
    let scratch = Scratch::new();
    scratch.open_to_all();
    let source = scratch.dir("source");
    fs::write(source.join("secret"), "x").unwrap();
    fs::set_permissions(source.join("secret"), fs::Permissions::from_mode(0o000)).unwrap();
    let target = scratch.dir("target");
    fs::set_permissions(&target, fs::Permissions::from_mode(0o777)).unwrap();
    let line = args!["pack", "-q", source, "-o", target.join("image.zapp")];
    let run = if is_root() {
        as_nobody(&line)
    } else {
        zapp(line)
    };
    let run = run.code(2);
    assert!(
        run.stderr.contains("secret") && run.stderr.contains("ermission denied"),
        "{}",
        run.stderr
    );
    assert_eq!(names(&target), [""; 0]);
}

/// A writer grows a file again and again while it is packed: either the image has one of its states, or packing ends
/// with an error that names the file. Never a mixture.
#[test]
fn a_file_that_changes_while_it_is_packed_is_noticed() {
    let scratch = Scratch::new();
    let source = scratch.path("source");
    slow_tree(&source);
    let changing = source.join("a-changing.bin");
    fs::write(&changing, noise(0, 1 << 20)).unwrap();
    let target = scratch.dir("target");
    let image = target.join("image.zapp");
    let mut child = command(args![
        "pack", "-q", "--level", "19", "-j1", source, "-o", image
    ])
    .stderr(Stdio::piped())
    .spawn()
    .unwrap();
    let mut generation = 0;
    while child.try_wait().unwrap().is_none() {
        generation += 1;
        fs::write(&changing, noise(generation, 1 << 20)).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    let run = crate::support::Run::from(child.wait_with_output().unwrap()).code(2);
    assert!(run.stderr.contains("a-changing.bin"), "{}", run.stderr);
    assert_eq!(names(&target), [""; 0]);
}

#[test]
fn a_tree_that_is_renamed_under_the_packer_does_not_lead_out() {
    let scratch = Scratch::new();
    let outside = scratch.dir("outside");
    fs::write(outside.join("secret"), "secret").unwrap();
    let source = scratch.dir("source");
    let inner = source.join("inner");
    for i in 0..50 {
        fs::create_dir_all(inner.join(format!("d{i}"))).unwrap();
    }
    fs::write(inner.join("secret"), "public").unwrap();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let swapper = std::thread::spawn({
        let (stop, inner, outside) = (stop.clone(), inner.clone(), outside.clone());
        let parked = scratch.path("parked");
        move || {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                if fs::rename(&inner, &parked).is_ok() {
                    let _ = symlink(&outside, &inner);
                    let _ = fs::remove_file(&inner);
                    let _ = fs::rename(&parked, &inner);
                }
            }
        }
    });
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        let image = scratch.path("image.zapp");
        if zapp(args!["pack", "-qf", source, "-o", image]).code == Some(0) {
            let run = zapp(args!["cat", image, "inner/secret"]);
            assert_ne!(run.stdout, b"secret", "a file from outside is in the image");
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    swapper.join().unwrap();
}

#[test]
fn tar_comes_from_a_file_or_a_pipe() {
    let scratch = Scratch::new();
    let source = scratch.path("source");
    odd_tree(&source, 1 << 20);
    let image = scratch.path("image.zapp");
    zapp(args!["pack", "-q", source, "-o", image]).ok();
    let tar = scratch.path("source.tar.gz");
    run(
        "tar",
        &[
            "--create".as_ref(),
            "--gzip".as_ref(),
            "--format=pax".as_ref(),
            "--xattrs".as_ref(),
            "--sparse".as_ref(),
            "--file".as_ref(),
            tar.as_ref(),
            "-C".as_ref(),
            source.as_ref(),
            ".".as_ref(),
        ],
    )
    .ok();
    let from_pipe = scratch.path("pipe.zapp");
    let status = command(args!["pack", "-q", "--tar", "-", "-o", from_pipe])
        .stdin(fs::File::open(&tar).unwrap())
        .status()
        .unwrap();
    assert!(status.success());
    zapp(args!["diff", image, from_pipe]).ok();
    // The default name of the image goes by the archive's.
    let status = command(args!["pack", "-q", "--tar", tar])
        .current_dir(scratch.path(""))
        .status()
        .unwrap();
    assert!(status.success() && scratch.path("source.zapp").exists());
}

#[test]
fn progress_is_for_terminals_only() {
    let scratch = Scratch::new();
    let source: PathBuf = scratch.dir("source");
    fs::write(source.join("a"), "x").unwrap();
    let run = zapp(args!["pack", source, "-o", scratch.path("a.zapp")]).ok();
    assert_eq!(
        run.stderr.lines().count(),
        2,
        "the summary alone: {}",
        run.stderr
    );
    assert!(run.stdout.is_empty());
    wait_for("the image", || scratch.path("a.zapp").exists());
}

#[test]
fn an_image_is_named_as_its_source_was_called() {
    let scratch = Scratch::new();
    let source = scratch.dir("release-42");
    fs::write(source.join("a"), "a").unwrap();
    std::os::unix::fs::symlink("release-42", scratch.path("current")).unwrap();
    for (called, image) in [
        ("current", "current.zapp"),
        ("current/", "current.zapp"),
        ("release-42/.", "release-42.zapp"),
    ] {
        let packed = command(["pack", "-qf", called])
            .current_dir(scratch.path(""))
            .output()
            .unwrap();
        assert!(packed.status.success(), "{called}: {packed:?}");
        fs::remove_file(scratch.path(image)).unwrap();
    }
}
