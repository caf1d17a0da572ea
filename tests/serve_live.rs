//! `zapp serve` and programs that flush what they have said while they run.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::serve::Server;
use crate::serve_guest::image;
use crate::support::{Scratch, args, skip, wait_for, zapp};

macro_rules! server {
    ($($option:expr),*) => {
        match image() {
            Ok(image) => Server::start(&image, &[$($option),*]),
            Err(reason) => skip!("no guest compiler: {reason}"),
        }
    };
}

fn asked(server: &Server, line: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let head = format!("{line}\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

/// Everything up to these words, and when they came.
fn until(stream: &mut TcpStream, words: &str) -> (String, Instant) {
    let mut text = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let count = stream.read(&mut piece).unwrap();
        text.extend_from_slice(&piece[..count]);
        let so_far = String::from_utf8_lossy(&text);
        if so_far.contains(words) {
            return (so_far.into_owned(), Instant::now());
        }
        assert!(count > 0, "no {words:?} in {so_far:?}");
    }
}

fn all(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    stream.read_to_end(&mut text).unwrap();
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn what_a_guest_flushes_arrives_while_it_runs() {
    let server = server!();
    let mut stream = asked(&server, "GET /live HTTP/1.1");
    let (head, first) = until(&mut stream, "data: 0\n\n");
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    assert!(!head.contains("content-length"), "{head}");
    let (_, third) = until(&mut stream, "data: 2\n\n");
    let between = third - first;
    assert!(between > Duration::from_millis(700), "{between:?}");
    assert!(all(stream).ends_with("0\r\n\r\n"), "the end is there");
    // A client without chunks reads to the end of the connection.
    let text = all(asked(&server, "GET /live HTTP/1.0"));
    assert!(
        text.ends_with("\r\n\r\ndata: 0\n\ndata: 1\n\ndata: 2\n\n"),
        "{text}"
    );
    // Whoever does not flush is answered as before.
    assert!(server.get("/x").header("content-length").is_some());
    // Where there is no body nothing comes early, and the guest goes on.
    let head = all(asked(&server, "HEAD /live HTTP/1.1"));
    assert!(
        head.ends_with("\r\n\r\n") && head.contains("content-length: 27"),
        "{head}"
    );
    assert_eq!(server.get("/nothing").status, 204);
    server.says("the guest went on");
    assert!(server.metrics().contains("zapp_buffered_bytes 0\n"));
}

#[test]
fn an_answer_that_fails_behind_its_beginning_is_broken_off() {
    let server = server!();
    let mut stream = asked(&server, "GET /half HTTP/1.1");
    let (head, _) = until(&mut stream, "half");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let mut rest = Vec::new();
    // However the connection ends, the last chunk is not there.
    let _ = stream.read_to_end(&mut rest);
    assert!(!rest.ends_with(b"0\r\n\r\n"));
    server.says("broken off");
    assert_eq!(server.get("/x").status, 200);
}

#[test]
fn a_client_that_takes_nothing_or_goes_holds_little_and_no_instance() {
    let server = server!("-n", "1", "--buffers", "2M");
    // One that reads gets all of it, although it is more than the budget.
    let text = all(asked(&server, "GET /pour HTTP/1.0"));
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    assert_eq!(body.len(), 3_000_000);
    // Of one that goes the guest ends at once: the only place is free for the next.
    let mut gone = asked(&server, "GET /live HTTP/1.1");
    until(&mut gone, "data: 0");
    drop(gone);
    wait_for("the end of what nobody reads", || {
        server.metrics().contains("zapp_requests_in_flight 0\n")
    });
    // Of those that read nothing each holds a few pieces.
    let stuck: Vec<_> = (0..3)
        .map(|_| asked(&server, "GET /pour HTTP/1.1"))
        .collect();
    assert_eq!(server.get("/x").status, 200, "behind them");
    let metrics = server.metrics();
    let held = metrics
        .lines()
        .find_map(|line| line.strip_prefix("zapp_buffered_bytes "))
        .and_then(|held| held.parse::<u64>().ok());
    assert!(held.is_some_and(|held| held < 2 << 20), "{held:?}");
    drop(stuck);
}

// case reported-flush-does-nothing
#[test]
fn a_script_that_flushes_is_heard_while_it_runs() {
    let scratch = Scratch::new();
    let dir = scratch.dir("site");
    for (name, content) in [
        (
            "index.php",
            "<?php header('Content-Type: text/event-stream'); foreach ([0, 1, 2] as $i) { echo \"data: $i\\n\\n\"; \
             ob_flush(); flush(); usleep(500000); }",
        ),
        (
            "late.php",
            "<?php echo 'done'; fastcgi_finish_request(); usleep(1500000); error_log('after it');",
        ),
        ("plain.php", "<?php echo 'plain';"),
    ] {
        fs::write(dir.join(name), content).unwrap();
    }
    let image = scratch.path("site.zapp");
    zapp(args!["pack", "-q", dir, "-o", image]).ok();
    let server = Server::start(&image, &["--server-timing"]);
    let mut stream = asked(&server, "GET / HTTP/1.1");
    let (head, first) = until(&mut stream, "data: 0\n\n");
    assert!(head.contains("text/event-stream"), "{head}");
    let (_, third) = until(&mut stream, "data: 2\n\n");
    let between = third - first;
    assert!(between > Duration::from_millis(700), "{between:?}");
    // A script goes on when all has been said.
    let since = Instant::now();
    until(&mut asked(&server, "GET /late.php HTTP/1.1"), "done");
    assert!(since.elapsed() < Duration::from_millis(1200));
    // Whoever does not flush is answered whole.
    let plain = server.get("/plain.php");
    assert_eq!(plain.header("content-length"), Some("5"));
}
