//! `zapp guest`: what it builds, what it prints, and what an interruption leaves.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Run, Scratch, args, command, zapp};

/// A command with a cache of its own, in which nothing has been built; downloads are those of the real one.
fn in_empty_cache(scratch: &Scratch, words: &[&str]) -> Command {
    let cache = scratch.dir("cache");
    if let Some(downloads) = downloads() {
        let mine = scratch.dir("cache/downloads");
        for file in fs::read_dir(downloads).unwrap() {
            let file = file.unwrap();
            if file.file_name().to_string_lossy().contains("musl") {
                fs::copy(file.path(), mine.join(file.file_name())).unwrap();
            }
        }
    }
    let mut command = command(words);
    command
        .env("ZAPP_CACHE_DIR", cache)
        .env_remove("ZAPP_SYSROOT");
    command
}

/// The archives that are kept beside the libc.
pub(crate) fn downloads() -> Option<PathBuf> {
    let libc = zapp(args!["guest", "build", "libc"]).ok();
    let cache = Path::new(libc.text().trim()).parent()?.join("downloads");
    cache.is_dir().then_some(cache)
}

fn run(mut command: Command) -> Run {
    command.output().expect("the program starts").into()
}

#[test]
fn the_libc_is_built_once_and_its_path_is_the_last_line() {
    let built = zapp(args!["guest", "build", "libc"]).ok();
    assert_eq!(built.stderr, "", "quiet in a pipe");
    let path = PathBuf::from(built.text().lines().last().expect("a line"));
    assert!(path.join("lib/libc.a").is_file() && path.join("include/stdio.h").is_file());
    let again = zapp(args!["guest", "build", "--json", "libc"]).ok().json();
    assert_eq!(again[0]["path"], path.to_str().unwrap());
    assert_eq!(again[0]["kept"], true);
    let found = zapp(args!["guest", "path", "libc"]).ok();
    assert_eq!(found.text(), built.text());
    let listed = zapp(args!["guest", "list"]).ok();
    assert!(
        listed.text().starts_with("libc   built"),
        "{}",
        listed.text()
    );
}

#[test]
fn what_is_not_built_is_not_found() {
    let scratch = Scratch::new();
    for guest in ["libc", "php"] {
        let sought = run(in_empty_cache(&scratch, &["guest", "path", guest])).code(1);
        assert_eq!(sought.text(), "");
        sought.says(&format!("zapp guest build {guest}"));
    }
    let json = run(in_empty_cache(&scratch, &["guest", "list", "--json"]))
        .ok()
        .json();
    let names: Vec<_> = json.iter().map(|guest| &guest["guest"]).collect();
    assert_eq!(names, ["libc", "php"]);
    assert!(
        json.iter()
            .all(|guest| guest["built"] == false && guest["path"].is_null())
    );
    zapp(args!["guest", "build", "perl"])
        .code(2)
        .says("libc, php");
    zapp(args!["guest", "build"]).code(2);
    zapp(args!["guest"]).code(2);
}

#[test]
fn a_source_tree_that_is_gone_is_named() {
    let scratch = Scratch::new();
    for words in [
        ["guest", "build", "php"],
        ["guest", "path", "php"],
        ["demo", "--pack-only", "--wordpress"],
    ] {
        let mut command = command(words);
        command.env("ZAPP_SOURCE_DIR", scratch.path("gone"));
        run(command)
            .code(2)
            .says("needs the source tree of zapp")
            .says("gone");
    }
    // The recipe of the libc is part of the program.
    let mut command = command(["guest", "build", "libc"]);
    command.env("ZAPP_SOURCE_DIR", scratch.path("gone"));
    run(command).ok();
}

/// Programs whose working directory lies below a folder.
pub(crate) fn running_below(folder: &Path) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|process| {
            fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder))
        })
        .map(|process| fs::read_to_string(process.path().join("comm")).unwrap_or_default())
        .collect()
}

/// Waits until nothing runs below a folder: a compiler that was told to end may take a moment for it.
#[track_caller]
pub(crate) fn nothing_goes_on_below(folder: &Path) {
    let start = Instant::now();
    while !running_below(folder).is_empty() {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "left running: {:?}",
            running_below(folder)
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_interrupted_build_leaves_nothing_behind() {
    let scratch = Scratch::new();
    let mut command = in_empty_cache(&scratch, &["guest", "build", "libc"]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let cache = scratch.path("cache");
    let start = Instant::now();
    while running_below(&cache).is_empty() {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "the build does not begin"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let pid = child.id().to_string();
    let sent = Command::new("kill")
        .args(["-INT", &pid])
        .status()
        .expect("kill runs");
    assert!(sent.success());
    let ended: Run = child.wait_with_output().expect("it ends").into();
    let ended = ended.code(130).says("interrupted");
    assert_eq!(ended.text(), "");
    nothing_goes_on_below(&cache);
    let mut lines = ended.stderr.lines();
    assert_eq!(lines.next(), Some("zapp: guest libc"));
    assert_eq!(lines.next(), Some("zapp: guest libc: step 1 of 3: sources"));
    let left: Vec<_> = fs::read_dir(&cache)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "downloads" && name != "apt" && !name.ends_with(".lock"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}
