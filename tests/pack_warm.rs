//! `zapp pack --warm`: the snapshot in an image, when it is used, and that nothing but time depends on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;

use rustix::process::{Pid, Signal, kill_process};

use crate::serve::Server;
use crate::serve_php::copy;
use crate::support::{Run, Scratch, args, command, wait_for, zapp};

const SITE: &str = "tests/sites/warm";
const PAGES: [&str; 3] = ["/", "/?name=x", "/other.php"];

fn site() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(SITE)
}

/// The site packed with its snapshot, once.
fn warm() -> &'static Path {
    static IMAGE: OnceLock<(Scratch, PathBuf)> = OnceLock::new();
    let (_, image) = IMAGE.get_or_init(|| {
        let scratch = Scratch::new();
        let image = scratch.path("warm.zapp");
        zapp(args!["pack", "-q", "--warm", site(), "-o", image]).ok();
        (scratch, image)
    });
    image
}

/// The answers of a server, and where its snapshot was from.
fn served(image: &Path, options: &[&str]) -> (Vec<(u16, String)>, String, String) {
    let server = Server::start(image, options);
    let answers = PAGES.iter().map(|page| {
        let reply = server.get(page);
        (reply.status, reply.body)
    });
    let answers = answers.collect();
    let log = server.log();
    let (_, from) = log.split_once("snapshot=").expect("the worker is ready");
    let from = from.split_whitespace().next().unwrap_or_default();
    (answers, from.to_owned(), log)
}

#[test]
fn image_with_a_snapshot_answers_as_one_without() {
    let scratch = Scratch::new();
    let cold = scratch.path("cold.zapp");
    zapp(args!["pack", "-q", site(), "-o", cold]).ok();
    let (want, from, _) = served(&cold, &[]);
    assert_eq!(from, "warm-up");
    let (got, from, log) = served(warm(), &[]);
    assert_eq!(from, "image", "{log}");
    assert_eq!(got, want);
    assert_eq!(want[0].1, "warmed.php is cached, files: none, name: ");
    // Without snapshots it is left alone.
    let (fresh, from, _) = served(warm(), &["--snapshot", "none"]);
    assert_eq!(from, "none");
    assert_eq!(fresh[1].1, "warmed.php is not cached, files: none, name: x");
}

#[test]
fn random_numbers_of_two_servers_differ() {
    let random = || Server::start(warm(), &[]).get("/random.php").body;
    let (one, other) = (random(), random());
    for (one, other) in one.split(' ').zip(other.split(' ')) {
        assert!(one.len() > 5 && one != other, "{one} {other}");
    }
}

#[test]
fn snapshot_of_other_files_or_settings_is_not_used() {
    let (want, ..) = served(warm(), &[]);
    let (got, from, log) = served(warm(), &["--memory", "128M"]);
    assert_eq!((from.as_str(), &got), ("warm-up", &want));
    assert!(log.contains("other limits of memory"), "{log}");

    let scratch = Scratch::new();
    let tree = scratch.path("tree");
    zapp(args!["extract", warm(), "-C", tree]).ok();
    let repacked = |name: &str| {
        let image = scratch.path(name);
        zapp(args!["pack", "-q", tree, "-o", image]).ok();
        image
    };
    // The same tree is served from the same snapshot; a changed page is served as it is now.
    assert_eq!(served(&repacked("same.zapp"), &[]).1, "image");
    fs::write(tree.join("other.php"), "<?php echo 'changed';").unwrap();
    let (got, from, log) = served(&repacked("changed.zapp"), &[]);
    assert_eq!((from.as_str(), got[2].1.as_str()), ("warm-up", "changed"));
    assert!(log.contains("other files or settings"), "{log}");
}

#[test]
fn damaged_snapshot_costs_only_time() {
    let (want, ..) = served(warm(), &[]);
    let scratch = Scratch::new();
    let tree = scratch.path("tree");
    zapp(args!["extract", warm(), "-C", tree]).ok();
    let snapshot = tree.join(".zapp/snapshot");
    let whole = fs::read(&snapshot).unwrap();
    let time = fs::metadata(&snapshot).unwrap().modified().unwrap();
    let half = &whole[..whole.len() / 2];
    let flipped: Vec<u8> = whole
        .iter()
        .enumerate()
        .map(|(at, byte)| byte ^ u8::from(at == 5000))
        .collect();
    for (name, bytes, reason) in [
        ("short", &whole[..10], "too short"),
        ("half", half, "unpacking"),
        ("flipped", &flipped, "unpacking"),
        ("other", &[&[0; 32], &whole[32..]].concat(), "other files"),
        ("empty", &[], ""),
    ] {
        fs::write(&snapshot, bytes).unwrap();
        let file = fs::File::options().append(true).open(&snapshot).unwrap();
        file.set_modified(time).unwrap();
        let image = scratch.path(name);
        zapp(args!["pack", "-q", tree, "-o", image]).ok();
        let (got, from, log) = served(&image, &[]);
        assert_eq!((from.as_str(), got), ("warm-up", want.clone()), "{name}");
        assert!(log.contains(reason), "{name}: {log}");
    }
}

#[test]
fn what_cannot_be_warmed_is_an_error_and_leaves_nothing() {
    let scratch = Scratch::new();
    let image = scratch.path("site.zapp");
    let refused = |site: &Path, reason: &str| {
        zapp(args!["pack", "-q", "--warm", site, "-o", image])
            .code(2)
            .says(reason);
        assert!(!image.exists());
    };
    let files = scratch.dir("files");
    fs::write(files.join("index.html"), "page").unwrap();
    refused(&files, "no program to warm up");
    let none = scratch.path("none");
    copy(&site(), &none);
    fs::write(
        none.join("zapp.toml"),
        "schema = 1\n[warmup]\nsnapshot = \"none\"\n",
    )
    .unwrap();
    refused(&none, "started anew for every request");
    let broken = scratch.path("broken");
    copy(&site(), &broken);
    fs::create_dir_all(broken.join(".zapp")).unwrap();
    fs::write(broken.join(".zapp/php"), "no program").unwrap();
    refused(&broken, "program refused");
}

#[test]
fn settings_of_the_server_do_not_reach_warm_up() {
    let scratch = Scratch::new();
    let files = scratch.dir("files");
    fs::write(files.join("index.html"), "page").unwrap();
    let image = scratch.path("site.zapp");
    let run = command(args!["pack", "-q", "--warm", files, "-o", image])
        .env("ZAPP_LISTEN", "nowhere")
        .env("ZAPP_MEMORY", "much")
        .output()
        .unwrap();
    // What stops it is what it always was: there is nothing to run in plain files.
    Run::from(run).code(2).says("no program to warm up");
}

#[test]
fn interrupted_warm_up_ends_the_program_and_leaves_nothing() {
    let scratch = Scratch::new();
    let (site, folder) = (scratch.path("site"), scratch.dir("tmp"));
    copy(&self::site(), &site);
    fs::write(site.join("index.php"), "<?php for (;;);").unwrap();
    let image = scratch.path("site.zapp");
    let mut child = command(args!["pack", "-q", "--warm", site, "-o", image])
        .env("TMPDIR", &folder)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let worker = format!("/proc/{0}/task/{0}/children", child.id());
    let running = || fs::read_to_string(&worker).is_ok_and(|pids| !pids.is_empty());
    wait_for("the warm-up", running);
    let worker: i32 = fs::read_to_string(&worker).unwrap().trim().parse().unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!Path::new(&format!("/proc/{worker}")).exists());
    assert!(!image.exists());
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}
