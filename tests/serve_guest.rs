//! `zapp serve` with a guest: limits, lost workers, and isolation between requests.
//!
//! The guest is `guests/answer.c`, compiled by the program under test. Where the guest compiler's own needs are not met
//! (gcc, the guest libc in the cache), the tests say so and do nothing.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

use crate::serve::{Reply, Server, exchange};
use crate::support::{Scratch, args, skip, zapp};

const MANIFEST: &str = r#"
schema = 1
[site]
front_controller = "/index.php"
[limits]
wall = "2s"
cpu = "1s"
output = "4M"
memory = "64M"
body = "64K"
[warmup]
urls = ["/", "/again"]
compile = false
"#;

/// The image with the guest, made once; the reason when it cannot be.
pub(crate) fn image() -> Result<PathBuf, String> {
    static IMAGE: OnceLock<Result<(Scratch, PathBuf), String>> = OnceLock::new();
    let made = IMAGE.get_or_init(|| {
        let scratch = Scratch::new();
        let site = scratch.dir("site");
        fs::create_dir_all(site.join(".zapp")).unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/guests/answer.c");
        let compiled = zapp(args!["cc", "-O2", source, "-o", site.join(".zapp/php")]);
        if compiled.code != Some(0) {
            return Err(compiled.stderr);
        }
        fs::write(site.join("index.php"), "<?php").unwrap();
        fs::write(site.join("hello.txt"), "hello").unwrap();
        fs::write(site.join("zapp.toml"), MANIFEST).unwrap();
        let image = scratch.path("guest.zapp");
        zapp(args!["pack", site, "-o", image]).ok();
        Ok((scratch, image))
    });
    made.as_ref()
        .map(|(_, image)| image.clone())
        .map_err(Clone::clone)
}

macro_rules! server {
    ($($option:expr),*) => {
        match image() {
            Ok(image) => Server::start(&image, &[$($option),*]),
            Err(reason) => skip!("no guest compiler: {reason}"),
        }
    };
}

#[test]
fn every_request_starts_from_the_same_snapshot() {
    let server = server!("--server-timing");
    // Two warm-up requests, then this one; none of the requests before it left a trace.
    for _ in 0..50 {
        let reply = server.get("/x?y=1");
        assert_eq!(
            (reply.status, reply.body.as_str()),
            (200, "GET /x?y=1 served 3")
        );
        assert!(
            reply
                .header("server-timing")
                .is_some_and(|timing| timing.contains("cpu;dur="))
        );
        assert!(
            reply
                .header("x-zapp-report")
                .is_some_and(|report| report.contains("\"traps\":"))
        );
    }
    assert_eq!(server.get("/hello.txt").body, "hello");
    assert_eq!(
        server
            .request("POST", "/body", "Content-Length: 5\r\n", "12345")
            .body,
        "12345"
    );
    let chunked = server.request(
        "POST",
        "/body",
        "Transfer-Encoding: chunked\r\n",
        "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    );
    assert_eq!(chunked.body, "abcde");
    assert_eq!(server.get("/large").body.len(), 1_000_000);
    let head = server.request("HEAD", "/large", "", "");
    assert_eq!(
        (head.header("content-length"), head.body.as_str()),
        (Some("1000000"), "")
    );
}

#[test]
fn hostile_requests_get_their_status_and_harm_nobody() {
    let server = server!("-n", "4");
    for (path, status) in [
        ("/loop", 504),
        ("/bomb", 500),
        ("/flood", 500),
        ("/deep", 500),
        ("/silent", 502),
        ("/fault", 500),
        ("/error", 500),
    ] {
        std::thread::scope(|scope| {
            let hostile = scope.spawn(|| server.get(path).status);
            for _ in 0..5 {
                let reply = server.get("/neighbour");
                assert_eq!(
                    (reply.status, reply.body.as_str()),
                    (200, "GET /neighbour served 3"),
                    "beside {path}"
                );
            }
            assert_eq!(hostile.join().unwrap(), status, "{path}");
        });
    }
    let large = format!("Content-Length: {}\r\n", 65 << 10);
    assert_eq!(server.request("POST", "/body", &large, "").status, 413);
    let chunks = format!(
        "{}0\r\n\r\n",
        format!("1000\r\n{}\r\n", "x".repeat(4096)).repeat(20)
    );
    assert_eq!(
        server
            .request("POST", "/body", "Transfer-Encoding: chunked\r\n", &chunks)
            .status,
        413
    );
    let metrics = exchange(server.admin, b"GET /metrics HTTP/1.0\r\n\r\n");
    assert!(
        metrics.contains("zapp_worker_restarts_total{site=\"guest\"} 0"),
        "{metrics}"
    );
}

#[test]
fn expect_is_answered_before_the_body() {
    let server = server!();
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let head = "POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"ok").unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert_eq!(Reply::parse(&rest).body, "ok");
}

#[test]
fn a_full_queue_is_answered_503() {
    let server = server!("-n", "1", "--queue", "1", "--queue-timeout", "200ms");
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| server.get("/loop")))
            .collect();
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .map(|reply| {
                assert!(reply.status != 503 || reply.header("retry-after").is_some());
                reply.status
            })
            .collect()
    });
    assert!(
        statuses.contains(&504) && statuses.contains(&503),
        "{statuses:?}"
    );
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn a_killed_worker_loses_only_its_requests() {
    let server = server!();
    let worker = server.worker().expect("a worker");
    std::thread::scope(|scope| {
        let lost = scope.spawn(|| server.get("/loop").status);
        std::thread::sleep(Duration::from_millis(300));
        kill_process(worker, Signal::KILL).unwrap();
        assert_eq!(lost.join().unwrap(), 502);
    });
    let reply = server.get("/");
    assert_eq!((reply.status, reply.body.as_str()), (200, "GET / served 3"));
    assert_ne!(server.worker(), Some(worker));
}

#[test]
fn a_worker_that_outgrows_its_bound_goes_alone() {
    let scratch = Scratch::new();
    let other = scratch.path("other.zapp");
    let image = match image() {
        Ok(image) => image,
        Err(reason) => skip!("no guest compiler: {reason}"),
    };
    fs::copy(&image, &other).unwrap();
    let hosts = [
        format!("guest.example={}", image.display()),
        format!("other.example={}", other.display()),
    ];
    let options = [
        "--worker-memory",
        "40M",
        "--host",
        &hosts[0],
        "--host",
        &hosts[1],
    ];
    let server = Server::start(&image, &options);
    let ask = |host: &str, path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        Reply::parse(&server.raw(request.as_bytes()))
    };
    // 48 MiB are within the limit of an instance.
    assert_eq!(ask("guest.example", "/hold").status, 502);
    let said = server.says("error [guest] worker ended: it had");
    assert!(said.contains("MiB of memory, and may have 40"), "{said}");
    assert_eq!(ask("other.example", "/").status, 200);
    assert_eq!(ask("guest.example", "/").status, 200);
    assert!(!said.contains("[other] worker ended"), "{said}");
    let metrics = server.metrics();
    for (site, restarts) in [("guest", 1), ("other", 0)] {
        let line = format!("zapp_worker_restarts_total{{site=\"{site}\"}} {restarts}\n");
        assert!(metrics.contains(&line), "{metrics}");
    }
}

#[test]
fn the_worker_is_confined() {
    let server = server!();
    let worker = server.worker().expect("a worker").as_raw_nonzero();
    let status = fs::read_to_string(format!("/proc/{worker}/status")).unwrap();
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    assert!(status.contains("Seccomp:\t2"), "{status}");
    for task in fs::read_dir(format!("/proc/{worker}/task")).unwrap() {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        assert!(
            // The front's, and four of its own.
            status.contains("Seccomp_filters:\t5"),
            "a thread without all filters: {status}"
        );
    }
}

#[test]
fn running_requests_end_before_the_server_does() {
    let server = server!();
    let address = server.address;
    let running = std::thread::spawn(move || {
        exchange(
            address,
            b"GET /loop HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        )
    });
    std::thread::sleep(Duration::from_millis(300));
    let since = Instant::now();
    assert!(server.stop().success());
    assert!(since.elapsed() < Duration::from_secs(20));
    assert_eq!(
        Reply::parse(&running.join().unwrap()).status,
        504,
        "the loop ran into its own limit"
    );
}
