//! Exit codes, closed pipes, and what goes to stdout and stderr.

use std::fs;
use std::io::Read;
use std::process::Stdio;

use crate::support::{Scratch, args, command, zapp};

/// A small image of three files.
fn image(scratch: &Scratch) -> std::path::PathBuf {
    let source = scratch.dir("source");
    fs::create_dir(source.join("sub")).unwrap();
    fs::write(source.join("a.txt"), "hello\n").unwrap();
    fs::write(source.join("sub/b.txt"), "world\n".repeat(10_000)).unwrap();
    fs::write(source.join("sub/c\x1b[2J.txt"), "x").unwrap();
    let image = scratch.path("image.zapp");
    zapp(args!["pack", "-q", source, "-o", image]).ok();
    image
}

#[test]
fn what_is_found_is_success_and_what_is_not_is_one() {
    let scratch = Scratch::new();
    let image = image(&scratch);
    assert_eq!(zapp(args!["ls", image]).ok().text(), "a.txt\nsub\n");
    assert_eq!(
        zapp(args!["ls", "-R", image, "/sub/"])
            .ok()
            .text()
            .lines()
            .next(),
        Some("sub/b.txt")
    );
    assert_eq!(
        zapp(args!["cat", image, "a.txt", "/a.txt"]).ok().text(),
        "hello\nhello\n"
    );
    zapp(args!["ls", image, "nothing"])
        .code(1)
        .says("nothing: no such file");
    zapp(args!["ls", image, "a.txt/x"])
        .code(1)
        .says("not a directory");
    let run = zapp(args!["cat", image, "nothing", "a.txt"]).code(1);
    assert_eq!(run.text(), "hello\n", "the others are still written");
    zapp(args!["cat", image, "sub"])
        .code(2)
        .says("is a directory");
    zapp(args!["tree", image, "nothing"]).code(1);
    zapp(args!["extract", image, "-C", scratch.path("none"), "*.php"])
        .code(1)
        .says("nothing matches");
    zapp(args!["diff", image, image]).ok();
}

#[test]
fn failure_and_wrong_usage_are_two() {
    let scratch = Scratch::new();
    let image = image(&scratch);
    zapp(args!["ls"]).code(2);
    zapp(args!["frobnicate"]).code(2);
    zapp(args!["ls", "--frobnicate", image]).code(2);
    zapp(args!["ls", scratch.path("missing.zapp")])
        .code(2)
        .says("missing.zapp");
    zapp(args!["ls", "/etc/passwd"])
        .code(2)
        .says("not an image");
    zapp(args![
        "pack",
        scratch.path("missing"),
        "-o",
        scratch.path("x.zapp")
    ])
    .code(2)
    .says("missing");
    zapp(args!["pack", scratch.path("source"), "-o", image])
        .code(2)
        .says("--force");
    zapp(args![
        "pack",
        scratch.path("source"),
        "-o",
        scratch.path("x"),
        "--class",
        "*=best"
    ])
    .code(2)
    .says("zblocks");
    zapp(args![
        "pack",
        scratch.path("source"),
        "-o",
        scratch.path("x"),
        "--level",
        "20"
    ])
    .code(2);
    zapp(args!["pack", "--tar", "-"]).code(2).says("-o");
    zapp(args![
        "extract",
        image,
        "-C",
        scratch.path("no/such/parent")
    ])
    .code(2);
    zapp(args!["extract", image, "-C", scratch.path("x"), "[z"])
        .code(2)
        .says("glob");
    zapp(args!["tar", image, "-o", scratch.path("no/such/parent")]).code(2);
    zapp(args!["diff", image, scratch.path("missing.zapp")]).code(2);
    assert!(!scratch.path("x").exists(), "wrong usage writes nothing");
}

#[test]
fn help_and_version_are_data_and_tell_the_exit_codes() {
    for sub in [
        "pack", "ls", "tree", "cat", "info", "check", "extract", "tar", "diff",
    ] {
        let run = zapp([sub, "--help"]).ok();
        assert!(run.text().contains("Exit codes: 0 done"), "{sub}");
        assert!(run.stderr.is_empty());
    }
    for sub in ["run", "php", "wp"] {
        let run = zapp([sub, "--help"]).ok();
        assert!(
            run.text().contains("126 the program or image was refused"),
            "{sub}"
        );
    }
    assert!(zapp(["--version"]).ok().text().starts_with("zapp "));
}

#[test]
fn a_closed_pipe_is_success() {
    let scratch = Scratch::new();
    let image = image(&scratch);
    for line in [
        vec!["cat", "{}", "sub/b.txt"],
        vec!["tar", "{}"],
        vec!["ls", "-lR", "{}"],
    ] {
        let args = line.iter().map(|a| {
            if *a == "{}" {
                image.as_os_str()
            } else {
                a.as_ref()
            }
        });
        let mut child = command(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let mut stderr = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut stderr)
            .unwrap();
        assert_eq!(
            (child.wait().unwrap().code(), stderr.as_str()),
            (Some(0), ""),
            "{line:?}"
        );
    }
}

#[test]
fn json_is_one_document_or_one_object_a_line() {
    let scratch = Scratch::new();
    let image = image(&scratch);
    let names = zapp(args!["ls", "-R", "--json", image]).ok().json();
    assert_eq!(names.len(), 4);
    assert_eq!(names[0]["path"], "a.txt");
    assert_eq!(names[0]["size"], 6);
    assert_eq!(names[0]["blake3"].as_str().unwrap().len(), 64);
    let info = &zapp(args!["info", "--json", image]).ok().json()[0];
    assert_eq!(info["files"], 3);
    assert_eq!(info["directories"], 2);
    assert!(info["build"]["zstd"].is_string());
    let check = &zapp(args!["check", "--deep", "--json", image]).ok().json()[0];
    assert_eq!(check["sound"], true);
    assert_eq!(check["tree_id"], info["tree_id"]);
    let plan = zapp(args!["pack", "-n", "--json", scratch.path("source")])
        .ok()
        .json();
    assert_eq!(plan.len(), 3);
    let again = scratch.path("again.zapp");
    let packed = &zapp(args!["pack", "--json", scratch.path("source"), "-o", again])
        .ok()
        .json()[0];
    assert_eq!(packed["image_id"], info["image_id"]);
}

#[test]
fn two_images_differ_by_content_not_by_storage() {
    let scratch = Scratch::new();
    let image = image(&scratch);
    let source = scratch.path("source");
    let stored_otherwise = scratch.path("raw.zapp");
    zapp(args![
        "pack",
        "-q",
        source,
        "-o",
        stored_otherwise,
        "--class",
        "*=raw",
        "--level",
        "1"
    ])
    .ok();
    assert_eq!(zapp(args!["diff", image, stored_otherwise]).ok().text(), "");
    fs::write(source.join("a.txt"), "HELLO\n").unwrap();
    fs::remove_file(source.join("sub/b.txt")).unwrap();
    fs::create_dir(source.join("new")).unwrap();
    fs::write(source.join("new/file"), "").unwrap();
    let changed = scratch.path("changed.zapp");
    zapp(args!["pack", "-q", source, "-o", changed]).ok();
    let run = zapp(args!["diff", image, changed]).code(1);
    assert_eq!(
        run.text(),
        "M a.txt (content)\n+ new\n+ new/file\n- sub/b.txt\n"
    );
    let objects = zapp(args!["diff", "--json", image, changed]).code(1).json();
    assert_eq!(objects[0]["differs"][0], "content");
    assert_eq!(zapp(args!["diff", "-q", image, changed]).code(1).text(), "");
}
