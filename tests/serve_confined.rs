//! What `zapp serve` keeps for itself of its own rights, and that what it has to do still works with them.
//!
//! That files, programs and hosts are out of reach is tried call by call in `server/tests/confined`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

use crate::serve::{Server, packed};
use crate::serve_guest;
use crate::support::{Scratch, args, is_root, skip, wait_for, zapp};

/// A field of a process's status (proc_pid_status(5)).
fn status(process: Pid, field: &str) -> String {
    let path = format!("/proc/{}/status", process.as_raw_nonzero());
    let text = fs::read_to_string(path).expect("it is alive");
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.expect(field).trim_start_matches(':').trim().to_owned()
}

// The front reads what every tenant wrote.
#[test]
fn the_front_is_confined_before_it_reads_an_image() {
    let scratch = Scratch::new();
    let server = Server::start(&packed(&scratch, &[("index.html", "front")]), &[]);
    for thread in fs::read_dir(format!("/proc/{}/task", server.pid().as_raw_nonzero())).unwrap() {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        assert!(status.contains("\nSeccomp:\t2\n"), "{status}");
        assert!(status.contains("\nNoNewPrivs:\t1\n"), "{status}");
        // Of root's rights those that open images of others: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH.
        let rights = if is_root() { "6" } else { "0" };
        let effective = format!("\nCapEff:\t{rights:0>16}\n");
        assert!(status.contains(&effective), "{status}");
    }
}

#[test]
fn an_image_is_swapped_by_a_link_that_is_set_anew() {
    let scratch = Scratch::new();
    let release = |number: &str| {
        let folder = scratch.dir(&format!("releases/{number}"));
        fs::rename(
            packed(&scratch, &[("index.html", number)]),
            folder.join("site.zapp"),
        )
        .unwrap();
    };
    let point_to = |target: &Path| {
        symlink(target, scratch.path("next")).unwrap();
        fs::rename(scratch.path("next"), scratch.path("current")).unwrap();
    };
    release("1");
    point_to(Path::new("releases/1"));
    let image = scratch.path("current/site.zapp");
    let server = Server::start(&image, &["--watch", "50ms"]);
    assert_eq!(server.get("/").body, "1");
    release("2");
    point_to(Path::new("releases/2"));
    wait_for("the second release", || server.get("/").body == "2");
    if server.log().contains("no landlock") {
        skip!("this kernel has no landlock");
    }
    // Nowhere near: whoever replaces the link may be somebody else.
    let elsewhere = Scratch::new();
    fs::copy(image, elsewhere.path("site.zapp")).unwrap();
    fs::rename(
        packed(&scratch, &[("index.html", "3")]),
        elsewhere.path("site.zapp"),
    )
    .unwrap();
    point_to(&elsewhere.path(""));
    let said = server.says("new image not used, the old one stays");
    assert!(said.contains("outside the folders of the images"), "{said}");
    assert_eq!(server.get("/").body, "2");
}

#[test]
fn a_port_is_refused_before_anything_is_started() {
    let scratch = Scratch::new();
    let server = Server::start(&packed(&scratch, &[("index.html", "front")]), &[]);
    let taken = server.address.to_string();
    zapp(args!["serve", scratch.path("site.zapp"), "--listen", taken])
        .code(2)
        .says("Address already in use");
}

#[test]
fn another_user_serves_what_root_has_opened() {
    if !is_root() {
        skip!("only root can become another user");
    }
    let scratch = Scratch::new();
    let image = match serve_guest::image() {
        Ok(image) => image,
        Err(reason) => skip!("no guest compiler: {reason}"),
    };
    scratch.open_to_all();
    let own = scratch.path("site.zapp");
    fs::copy(image, &own).unwrap();
    let (private, log) = (scratch.dir("private"), scratch.path("private/access.log"));
    fs::set_permissions(&private, fs::Permissions::from_mode(0o700)).unwrap();
    let log_path = log.to_str().unwrap();
    let server = Server::start(&own, &["--user", "65534:65533", "--access-log", log_path]);
    assert_eq!(server.get("/x").body, "GET /x served 3");
    let worker = server.worker().expect("it answered");
    for process in [server.pid(), worker] {
        assert_eq!(status(process, "Uid"), "65534\t65534\t65534\t65534");
        assert_eq!(status(process, "Gid"), "65533\t65533\t65533\t65533");
        assert_eq!(status(process, "Groups"), "");
        assert_eq!(status(process, "CapPrm"), "0000000000000000");
    }
    wait_for("a line", || {
        fs::read_to_string(&log).unwrap().contains("/x")
    });
    // The new user cannot open the log anew, so it goes on with the one there is.
    kill_process(server.pid(), Signal::HUP).unwrap();
    server.says("access.log");
    assert_eq!(server.get("/y").status, 200);
    wait_for("a line", || {
        fs::read_to_string(&log).unwrap().contains("/y")
    });
    zapp(args!["serve", own, "--user", "no-such-user"])
        .code(2)
        .says("no user `no-such-user` in /etc/passwd");
}
