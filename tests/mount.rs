//! The mounted view: what programs see, how it ends, and what is said when it cannot begin.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{
    Mount, Scratch, ZAPP, args, command, have, is_root, no_fuse, noise, odd_tree, program_for_all,
    run, skip, text, wait_for, zapp,
};

fn image(scratch: &Scratch, name: &str) -> PathBuf {
    let source = scratch.dir("source");
    fs::create_dir_all(source.join("dir")).unwrap();
    fs::write(source.join("a.txt"), text(1, 100_000)).unwrap();
    fs::write(source.join("dir/b.bin"), noise(2, 3 << 20)).unwrap();
    let image = scratch.path(name);
    zapp(args!["pack", "-qf", source, "-o", image]).ok();
    image
}

/// Whether something is mounted at a directory.
fn is_mounted(point: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let point = point.to_str().unwrap().replace(' ', "\\040");
    mounts
        .lines()
        .any(|line| line.split(' ').nth(1) == Some(&point))
}

/// A mount that stays in the foreground.
fn foreground(image: &Path, point: &Path) -> Child {
    fs::create_dir_all(point).unwrap();
    let child = command(args!["mount", "-f", image, point])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for("the mount", || is_mounted(point));
    child
}

#[test]
fn the_view_is_read_only_and_complete() {
    if let Some(reason) = no_fuse() {
        skip!("{reason}");
    }
    let scratch = Scratch::new();
    let image = image(&scratch, "image, with = odd\\name.zapp");
    let mount = Mount::new(&image, scratch.path("mount point"));
    let file = mount.point.join("a.txt");
    let options = fs::read_to_string("/proc/self/mounts").unwrap();
    let line = options
        .lines()
        .find(|l| l.contains("mount\\040point"))
        .unwrap();
    for option in ["fuse.zapp", "ro,", "nosuid", "nodev", "default_permissions"] {
        assert!(line.contains(option), "{option}: {line}");
    }
    let error = File::options().write(true).open(&file).unwrap_err();
    assert_eq!(
        error.raw_os_error(),
        Some(rustix::io::Errno::ROFS.raw_os_error())
    );
    assert!(fs::remove_file(&file).is_err() && File::create(mount.point.join("new")).is_err());
    assert!(!mount.point.join("nothing").exists() && !mount.point.join("nothing").exists());
    let stat = rustix::fs::statvfs(&mount.point).unwrap();
    assert_eq!((stat.f_bfree, stat.f_files, stat.f_namemax), (0, 4, 255));
    assert!(stat.f_blocks * stat.f_frsize >= 3 << 20);
    assert_eq!(mount.point.metadata().unwrap().nlink(), 3);
}

#[test]
fn class_and_hash_can_be_asked_for_by_name() {
    if let Some(reason) = no_fuse() {
        skip!("{reason}");
    }
    let scratch = Scratch::new();
    let source = scratch.path("source");
    odd_tree(&source, 1 << 20);
    let image = scratch.path("image.zapp");
    zapp(args!["pack", "-q", source, "-o", image]).ok();
    let mount = Mount::new(&image, scratch.path("mount"));
    let file = mount.point.join("text-65.txt");
    let mut value = [0; 100];
    let len = rustix::fs::getxattr(&file, "user.zapp.blake3", &mut value[..]).unwrap();
    let listed = zapp(args!["ls", "--json", image, "text-65.txt"])
        .ok()
        .json()
        .remove(0);
    assert_eq!(
        std::str::from_utf8(&value[..len]).unwrap(),
        listed["blake3"].as_str().unwrap()
    );
    let len = rustix::fs::getxattr(&file, "user.zapp.class", &mut value[..]).unwrap();
    assert_eq!(
        std::str::from_utf8(&value[..len]).unwrap(),
        listed["class"].as_str().unwrap()
    );
    assert!(
        rustix::fs::getxattr(&file, "user.zapp.class", &mut value[..2]).is_err(),
        "ERANGE"
    );
    assert!(rustix::fs::getxattr(&file, "user.none", &mut value[..]).is_err());
    assert!(rustix::fs::getxattr(&mount.point, "user.zapp.blake3", &mut value[..]).is_err());
}

#[test]
fn many_threads_read_the_same_bytes() {
    if let Some(reason) = no_fuse() {
        skip!("{reason}");
    }
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    for i in 0..200 {
        fs::write(source.join(format!("{i}.php")), text(i, 20_000)).unwrap();
    }
    fs::write(source.join("big.js"), text(999, 20 << 20)).unwrap();
    let image = scratch.path("image.zapp");
    zapp(args!["pack", "-q", source, "-o", image]).ok();
    let mount = Mount::new(&image, scratch.path("mount"));
    std::thread::scope(|scope| {
        for start in 0..8 {
            let point = &mount.point;
            scope.spawn(move || {
                for i in (0..200).map(|i| (i * 7 + start * 25) % 200) {
                    assert!(fs::read(point.join(format!("{i}.php"))).unwrap() == text(i, 20_000));
                }
                assert!(fs::read(point.join("big.js")).unwrap() == text(999, 20 << 20));
            });
        }
    });
}

#[test]
fn a_directory_of_many_names_is_listed_whole() {
    if let Some(reason) = no_fuse() {
        skip!("{reason}");
    }
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    for i in 0..5000 {
        File::create(source.join(format!("file-with-a-rather-long-name-{i:05}"))).unwrap();
    }
    let image = scratch.path("image.zapp");
    zapp(args!["pack", "-q", source, "-o", image]).ok();
    let mount = Mount::new(&image, scratch.path("mount"));
    for _ in 0..2 {
        let mut names: Vec<_> = fs::read_dir(&mount.point)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 5000);
    }
}

#[test]
fn signals_unmount() {
    if let Some(reason) = no_fuse() {
        skip!("{reason}");
    }
    let scratch = Scratch::new();
    let image = image(&scratch, "image.zapp");
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let point = scratch.path("mount");
        let mut child = foreground(&image, &point);
        assert!(point.join("a.txt").exists());
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
        assert!(!is_mounted(&point));
        fs::remove_dir(&point).unwrap();
    }
}

#[test]
fn a_busy_mount_is_not_torn_from_its_users() {
    if let Some(reason) = no_fuse() {
        skip!("{reason}");
    }
    let scratch = Scratch::new();
    let image = image(&scratch, "image.zapp");
    let point = scratch.path("mount");
    let mut child = foreground(&image, &point);
    let mut file = File::open(point.join("dir/b.bin")).unwrap();
    zapp(args!["umount", point]).code(2).says("in use");
    assert!(is_mounted(&point));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    wait_for("the mount to go out of sight", || !is_mounted(&point));
    assert!(child.try_wait().unwrap().is_none(), "it still serves");
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    assert!(
        bytes == noise(2, 3 << 20),
        "and the open file can be read to its end"
    );
    drop(file);
    assert_eq!(
        child.wait().unwrap().code(),
        Some(0),
        "it ends with its last user"
    );
}

#[test]
fn a_dead_mount_is_named_and_can_be_taken_away() {
    if let Some(reason) = no_fuse() {
        skip!("{reason}");
    }
    let scratch = Scratch::new();
    let image = image(&scratch, "image.zapp");
    let point = scratch.path("mount");
    let mut child = foreground(&image, &point);
    child.kill().unwrap();
    child.wait().unwrap();
    zapp(args!["mount", image, point])
        .code(2)
        .says("zapp umount");
    zapp(args!["umount", point]).ok();
    drop(Mount::new(&image, point));
}

#[test]
fn wrong_mounts_say_why() {
    if let Some(reason) = no_fuse() {
        skip!("{reason}");
    }
    let scratch = Scratch::new();
    let image = image(&scratch, "image.zapp");
    zapp(args!["mount", image, scratch.path("missing")])
        .code(2)
        .says("missing");
    zapp(args!["mount", image, image])
        .code(2)
        .says("not a directory");
    zapp(args![
        "mount",
        scratch.path("missing"),
        scratch.dir("mount")
    ])
    .code(2)
    .says("missing");
    zapp(args!["mount", "-o", "rw", image, scratch.dir("mount")])
        .code(2)
        .says("rw");
    zapp(args!["umount", scratch.dir("mount")])
        .code(1)
        .says("not a mount point");
    zapp(args!["umount", "/proc"])
        .code(2)
        .says("not one of ours");
}

/// In a mount name space of its own the device is hidden, so that this shows what a machine without FUSE says.
#[test]
fn without_the_device_the_message_says_what_to_do() {
    if !is_root() || !have("unshare") {
        skip!("hiding /dev/fuse needs root and unshare");
    }
    let scratch = Scratch::new();
    let image = image(&scratch, "image.zapp");
    let point = scratch.dir("mount");
    let script = "mount -t tmpfs tmpfs /dev && mknod -m 666 /dev/null c 1 3 &&
        exec \"$0\" mount \"$1\" \"$2\"";
    let run = run(
        "unshare",
        &[
            "--mount".as_ref(),
            "sh".as_ref(),
            "-c".as_ref(),
            script.as_ref(),
            ZAPP.as_ref(),
            image.as_ref(),
            point.as_ref(),
        ],
    );
    if run.stderr.contains("unshare failed") {
        skip!("{}", run.stderr);
    }
    run.code(2).says("modprobe fuse");
}

/// Runs the program as nobody, with the device reachable as on an ordinary machine.
fn as_nobody(args: &[std::ffi::OsString]) -> Command {
    let mut command = Command::new(&args[0]);
    command
        .args(&args[1..])
        .current_dir("/")
        .uid(65534)
        .gid(65534)
        .stdin(Stdio::null());
    command
}

#[test]
fn others_may_look_only_when_they_are_let_in() {
    if no_fuse().is_some() || !is_root() {
        skip!("changing the user needs root, mounting /dev/fuse");
    }
    let scratch = Scratch::new();
    scratch.open_to_all();
    let image = image(&scratch, "image.zapp");
    let point = scratch.dir("mount");
    let file = point.join("a.txt");
    zapp(args!["mount", image, point]).ok();
    let output = as_nobody(&args!["/bin/cat", file]).output().unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
    zapp(args!["umount", point]).ok();
    zapp(args!["mount", "-o", "ro,allow_other", image, point]).ok();
    let output = as_nobody(&args!["/bin/cat", file]).output().unwrap();
    assert!(output.stdout == text(1, 100_000));
    zapp(args!["umount", point]).ok();
}

#[test]
fn others_than_root_mount_with_the_helper_and_hear_when_it_is_missing() {
    if no_fuse().is_some() || !is_root() {
        skip!("changing the user needs root, mounting /dev/fuse");
    }
    let scratch = Scratch::new();
    let program = program_for_all(&scratch);
    let image = image(&scratch, "image, with = odd\\name.zapp");
    let point = scratch.dir("mount");
    std::os::unix::fs::chown(&point, Some(65534), Some(65534)).unwrap();
    let line = args![program, "mount", image, point];
    let refused: crate::support::Run = as_nobody(&line)
        .env("FUSERMOUNT_PATH", "/nonexistent/fusermount3")
        .output()
        .unwrap()
        .into();
    refused.code(2).says("install the package fuse3");
    if !have("fusermount3") || !have("unshare") || !have("setpriv") {
        skip!("fusermount3, unshare or setpriv is missing");
    }
    // As on an ordinary machine, everybody may open the device here.
    let script = "set -e
        mount -t tmpfs tmpfs /dev
        mknod -m 666 /dev/null c 1 3
        mknod -m 666 /dev/fuse c 10 229
        as_user() { setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"; }
        as_user \"$0\" mount \"$1\" \"$2\"
        as_user cat \"$2/a.txt\"
        as_user \"$0\" umount \"$2\"
        ! as_user \"$0\" umount \"$2\"";
    let run = run(
        "unshare",
        &[
            "--mount".as_ref(),
            "sh".as_ref(),
            "-c".as_ref(),
            script.as_ref(),
            program.as_ref(),
            image.as_ref(),
            point.as_ref(),
        ],
    );
    if run.stderr.contains("unshare failed") {
        skip!("{}", run.stderr);
    }
    assert!(run.stdout == text(1, 100_000), "{}", run.stderr);
    run.ok().says("not a mount point");
}
