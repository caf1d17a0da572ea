//! `zapp serve` against hostile HTTP: what a path could mean, where a request ends, and clients that take their time.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

use crate::client::Client;
use crate::serve::{Reply, Server, exchange, packed};
use crate::serve_php::server;
use crate::support::{Scratch, wait_for};

/// What must never be seen: the secret's source, the database, the manifest, the interpreter.
const SECRETS: [&str; 4] = ["open sesame", "SQLite format", "[constants]", "ELF"];

fn leaks(answer: &str) -> Option<&'static str> {
    SECRETS.into_iter().find(|secret| answer.contains(secret))
}

/// What can answer a path: a script with this SCRIPT_NAME, a file, or a refusal.
#[derive(Debug)]
enum Means {
    Script(&'static str),
    File,
    Refused(u16),
}

#[test]
fn a_path_has_one_meaning() {
    use Means::{File, Refused, Script};
    let server = server!();
    let mut client = Client::connect(server.address).unwrap();
    for (path, means) in [
        // Scripts, files and the front controller, plainly.
        ("/info.php", Script("info /info.php -")),
        ("/info.php/", Script("info /info.php /")),
        ("/info.php/x/y", Script("info /info.php /x/y")),
        ("/info.php/x.css", Script("info /info.php /x.css")),
        ("/info.php?/secret.php", Script("info /info.php -")),
        (
            "/info.php;/secret.php",
            Script("page /info.php;/secret.php"),
        ),
        ("/files/note.txt", File),
        ("/files//note.txt", File),
        ("//files/note.txt", File),
        ("/files/./note.txt", File),
        ("/x/../files/note.txt", File),
        ("/%66iles/note.txt", File),
        ("/files/note.txt/", Script("page /files/note.txt/")),
        ("/files/note.txt/x", Script("page /files/note.txt/x")),
        ("/nowhere", Script("page /nowhere")),
        ("/nowhere.php", Script("page /nowhere.php")),
        ("/nowhere/secret.php", Script("page /nowhere/secret.php")),
        // The secret, by every name there is for it.
        ("/secret.php", Refused(403)),
        ("//secret.php", Refused(403)),
        ("/./secret.php", Refused(403)),
        ("/secret.php/", Refused(403)),
        ("/secret.php/x", Refused(403)),
        ("/secret.php/x.css", Refused(403)),
        ("/secret.php?x", Refused(403)),
        ("/%73ecret.php", Refused(403)),
        ("/secret%2ephp", Refused(403)),
        ("/secret.ph%70", Refused(403)),
        ("/info.php/../secret.php", Refused(403)),
        ("/index.php/../secret.php", Refused(403)),
        ("/files/../secret.php", Refused(403)),
        ("/secret.php~", Script("page /secret.php~")),
        ("/secret.php.bak", Script("page /secret.php.bak")),
        ("/secret.phps", Script("page /secret.phps")),
        // Case matters, and nothing lies there.
        ("/SECRET.PHP", Script("page /SECRET.PHP")),
        ("/Info.php", Script("page /Info.php")),
        ("/info.PHP", Script("page /info.PHP")),
        // Decoded once: these are names with a per cent sign in them.
        ("/%2573ecret.php", Script("page /%2573ecret.php")),
        ("/files%252fnote.txt", Script("page /files%252fnote.txt")),
        ("/..%252fsecret.php", Script("page /..%252fsecret.php")),
        // What could be read in two ways is refused.
        ("/..%2fsecret.php", Refused(400)),
        ("/%2e%2e/secret.php", Refused(400)),
        ("/files/%2e%2e/secret.php", Refused(400)),
        ("/files%2fnote.txt", Refused(400)),
        ("/files%5cnote.txt", Refused(400)),
        ("/files\\note.txt", Refused(400)),
        ("/..\\secret.php", Refused(400)),
        ("/secret.php%00.css", Refused(400)),
        ("/info.php%00", Refused(400)),
        ("/info.php%0a", Refused(400)),
        ("/info.php%0d%0aX:%20y", Refused(400)),
        ("/..", Refused(400)),
        ("/../../etc/passwd", Refused(400)),
        ("/files/../../etc/passwd", Refused(400)),
        ("/%", Refused(400)),
        ("/%zz", Refused(400)),
        (
            "/%c0%ae%c0%ae/secret.php",
            Script("page /%c0%ae%c0%ae/secret.php"),
        ),
        // Data, sources, the manifest, the interpreter. Hidden names only where something has them.
        ("/data/notes.db", Refused(403)),
        ("/data/", Refused(403)),
        ("/data/nowhere", Refused(403)),
        ("/data/notes.db-journal", Refused(403)),
        ("/src/hostile.php", Refused(403)),
        ("/zapp.toml", Refused(403)),
        ("/.zapp/php", Refused(403)),
        ("/.zapp", Refused(403)),
        ("/.git/config", Script("page /.git/config")),
        ("/.htaccess", Script("page /.htaccess")),
        ("/files/.hidden", Script("page /files/.hidden")),
        ("/.well-known/x", Script("page /.well-known/x")),
    ] {
        let answer = client.get(path).unwrap();
        let text = answer.text();
        match means {
            Script(text_wanted) => {
                assert_eq!(answer.status, 200, "{path}: {text}");
                assert!(text.starts_with(text_wanted), "{path}: {text}");
            }
            File => assert_eq!((answer.status, text), (200, "note\n"), "{path}"),
            Refused(status) => assert_eq!(answer.status, status, "{path}: {text}"),
        }
        assert_eq!(leaks(text), None, "{path}");
    }
}

#[test]
fn a_request_ends_in_one_place() {
    let server = server!();
    let inner = "GET /secret-request HTTP/1.1\r\nHost: a\r\n\r\n";
    // Each holds a second request that a laxer reader would see. Answered are the first alone, or nothing.
    for (what, request) in [
        (
            "length and chunks",
            format!(
                "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}",
                inner.len() + 5
            ),
        ),
        (
            "chunks and length",
            format!(
                "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{inner}0\r\n\r\n"
            ),
        ),
        (
            "two lengths",
            format!(
                "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: {}\r\n\r\n{inner}",
                inner.len()
            ),
        ),
        (
            "a list of lengths",
            format!(
                "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0, {}\r\n\r\n{inner}",
                inner.len()
            ),
        ),
        (
            "a signed length",
            format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n\r\n{inner}"),
        ),
        (
            "a hexadecimal length",
            format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0x0\r\n\r\n{inner}"),
        ),
        (
            "an unknown coding",
            format!("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n{inner}"),
        ),
        (
            "chunked not last",
            format!(
                "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{inner}"
            ),
        ),
        (
            "chunks in HTTP/1.0",
            format!(
                "POST /echo HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}"
            ),
        ),
        (
            "a blank before the colon",
            format!(
                "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length : {}\r\n\r\n{inner}",
                inner.len()
            ),
        ),
        (
            "a folded header",
            format!(
                "GET /hello HTTP/1.1\r\nHost: a\r\nX: y\r\n Transfer-Encoding: chunked\r\n\r\n{inner}"
            ),
        ),
        (
            "NUL in a header",
            format!("GET /hello HTTP/1.1\r\nHost: a\r\nX: y\0z\r\n\r\n{inner}"),
        ),
        (
            "NUL in a name",
            format!("GET /hello HTTP/1.1\r\nHost: a\r\nX\0: y\r\n\r\n{inner}"),
        ),
        (
            "a bare CR",
            format!("GET /hello HTTP/1.1\r\nHost: a\r\nX: y\rContent-Length: 5\r\n\r\n{inner}"),
        ),
        (
            "a bad chunk size",
            format!(
                "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n{inner}"
            ),
        ),
        (
            "a chunk without its end",
            format!(
                "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab0\r\n\r\n{inner}"
            ),
        ),
    ] {
        let answer = server.raw(request.as_bytes());
        assert!(!answer.contains("page /secret-request"), "{what}: {answer}");
        let status = Reply::parse(&answer).status;
        assert!(
            [400, 411, 413, 501, 0].contains(&status) || answer.matches("HTTP/1.1 ").count() == 1,
            "{what}: {answer}"
        );
        assert_eq!(server.get("/hello").body, "hello", "after {what}");
    }
    // The twin: two requests, one after the other, are two.
    let request = format!(
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc{inner}GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    );
    let answer = server.raw(request.as_bytes());
    assert!(answer.contains("page /secret-request"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 3, "{answer}");
}

#[test]
fn slow_clients_wait_alone() {
    let server = server!(
        "-n",
        "2",
        "--queue",
        "100",
        "--header-timeout",
        "800ms",
        "--body-timeout",
        "800ms",
        "--write-timeout",
        "800ms"
    );
    let open = |start: &[u8]| {
        let mut stream = TcpStream::connect(server.address).unwrap();
        let wait = Some(Duration::from_secs(30));
        stream.set_read_timeout(wait).unwrap();
        stream.write_all(start).unwrap();
        stream
    };
    let begun = Instant::now();
    let mut slow: Vec<TcpStream> = Vec::new();
    for _ in 0..40 {
        slow.push(open(b""));
        slow.push(open(b"GET /hello HTT"));
        slow.push(open(b"GET /hello HTTP/1.1\r\nHost: a\r\nX-Slow: "));
        slow.push(open(
            b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nslow",
        ));
        slow.push(open(
            b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nslo",
        ));
    }
    // Clients that ask for much and take nothing.
    for _ in 0..10 {
        slow.push(open(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    for _ in 0..20 {
        let start = Instant::now();
        assert_eq!(server.get("/hello").body, "hello");
        assert!(start.elapsed() < Duration::from_secs(2), "neighbours wait");
    }
    // Each is ended by the server: by 408, by silence, or in the middle of what it did not read.
    for stream in slow.iter_mut().take(200) {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        let text = String::from_utf8_lossy(&rest);
        assert!(
            text.is_empty() || text.starts_with("HTTP/1.1 408"),
            "{text}"
        );
    }
    assert!(begun.elapsed() < Duration::from_secs(20));
    let since = Instant::now();
    let is_quiet = |metrics: &str| {
        metrics.contains("zapp_requests_in_flight 0\n") && metrics.contains("zapp_connections 0\n")
    };
    while !is_quiet(&server.metrics()) {
        assert!(
            since.elapsed() < Duration::from_secs(20),
            "{}",
            server.metrics()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn preconditions_and_encodings() {
    let scratch = Scratch::new();
    let css = String::from_utf8(crate::support::text(5, 60_000)).unwrap();
    let css = css.replace('\n', " ");
    let image = packed(&scratch, &[("a.txt", "0123456789"), ("style.css", &css)]);
    let server = Server::start(&image, &[]);
    let file = server.get("/a.txt");
    let (tag, date) = (
        file.header("etag").unwrap(),
        file.header("last-modified").unwrap(),
    );
    for (headers, status) in [
        (format!("If-Match: {tag}\r\n"), 200),
        ("If-Match: *\r\n".to_owned(), 200),
        (format!("If-Match: \"x\", {tag}\r\n"), 200),
        ("If-Match: \"x\"\r\n".to_owned(), 412),
        (format!("If-Match: W/{tag}\r\n"), 412),
        (format!("If-Unmodified-Since: {date}\r\n"), 200),
        (
            "If-Unmodified-Since: Thu, 01 Jan 1970 00:00:01 GMT\r\n".to_owned(),
            412,
        ),
        ("If-Unmodified-Since: nonsense\r\n".to_owned(), 200),
        (format!("If-None-Match: W/{tag}\r\n"), 304),
        (
            format!("If-None-Match: {tag}\r\nIf-Modified-Since: Thu, 01 Jan 1970 00:00:01 GMT\r\n"),
            304,
        ),
        (
            format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {date}\r\n"),
            200,
        ),
        (format!("If-None-Match: {tag}\r\nRange: bytes=0-1\r\n"), 304),
        ("Range: bytes=0-1\r\n".to_owned(), 206),
        (format!("Range: bytes=0-1\r\nIf-Range: {date}\r\n"), 206),
        (format!("Range: bytes=0-1\r\nIf-Range: W/{tag}\r\n"), 200),
    ] {
        let reply = server.with("/a.txt", &headers);
        assert_eq!(reply.status, status, "{headers}");
        if status == 304 {
            assert_eq!(
                (reply.header("etag"), reply.header("content-length")),
                (Some(tag), None),
                "{headers}"
            );
        }
    }
    let encoded = |accept: &str| {
        let reply = server.with("/style.css", &format!("Accept-Encoding: {accept}\r\n"));
        assert_eq!(reply.header("vary"), Some("accept-encoding"));
        reply.header("content-encoding").is_some()
    };
    for (accept, wanted) in [
        ("zstd", true),
        ("gzip, deflate, br, zstd", true),
        ("zstd;q=0.001", true),
        ("zstd;q=0", false),
        ("zstd;q=0.000", false),
        ("gzip", false),
        ("identity", false),
    ] {
        assert_eq!(encoded(accept), wanted, "{accept}");
    }
    let zstd = server.request("HEAD", "/style.css", "Accept-Encoding: zstd\r\n", "");
    let plain = server.request("HEAD", "/style.css", "", "");
    assert_ne!(
        zstd.header("content-length"),
        plain.header("content-length")
    );
    assert_eq!(
        plain.header("content-length"),
        Some(css.len().to_string().as_str())
    );
    // A part is always of the file itself.
    let part = server.with(
        "/style.css",
        "Accept-Encoding: zstd\r\nRange: bytes=0-3\r\n",
    );
    assert_eq!(
        (
            part.status,
            part.body.as_str(),
            part.header("content-encoding")
        ),
        (206, &css[..4], None)
    );
}

#[test]
fn the_admin_listener_answers_only_what_it_knows() {
    let scratch = Scratch::new();
    let image = packed(&scratch, &[("index.html", "front")]);
    let server = Server::start(&image, &[]);
    for (request, status) in [
        ("GET /-/healthy", 200),
        ("GET /-/ready", 200),
        ("GET /-/sites", 200),
        ("GET /-/instances", 200),
        ("GET /metrics", 200),
        ("HEAD /metrics", 200),
        ("POST /metrics", 405),
        ("GET /", 404),
        ("GET /index.html", 404),
    ] {
        let answer = exchange(
            server.admin,
            format!("{request} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes(),
        );
        assert_eq!(Reply::parse(&answer).status, status, "{request}");
    }
    for path in ["/metrics", "/-/ready", "/-/sites", "/-/instances"] {
        assert_eq!(server.get(path).status, 404, "visitors do not reach {path}");
    }
}

#[test]
fn a_log_that_was_moved_away_is_opened_again() {
    let scratch = Scratch::new();
    let image = packed(&scratch, &[("index.html", "front")]);
    let log = scratch.path("access.log");
    let path = log.to_str().unwrap();
    let options = ["--access-log", path, "--access-log-format", "json"];
    let server = Server::start(&image, &options);
    assert_eq!(server.with("/?first", "User-Agent: a\"b\r\n").status, 200);
    wait_for("the first line", || {
        !fs::read_to_string(&log).unwrap().is_empty()
    });
    fs::rename(&log, scratch.path("access.log.1")).unwrap();
    kill_process(server.pid(), Signal::HUP).unwrap();
    server.says("reloading");
    assert_eq!(server.get("/?second").status, 200);
    let second = || fs::read_to_string(&log).unwrap_or_default();
    wait_for("the second line", || second().contains("/?second"));
    let old = fs::read_to_string(scratch.path("access.log.1")).unwrap();
    assert_eq!(old.lines().count(), 1, "{old}");
    let line: serde_json::Value = serde_json::from_str(&old).unwrap();
    assert_eq!(
        (&line["target"], &line["status"]),
        (&"/?first".into(), &200.into())
    );
    assert_eq!(line["user_agent"], "a\"b");
}

#[test]
fn an_idle_connection_does_not_hold_up_the_end() {
    let scratch = Scratch::new();
    let server = Server::start(&packed(&scratch, &[("index.html", "front")]), &[]);
    let mut client = Client::connect(server.address).unwrap();
    assert_eq!(client.get("/").unwrap().text(), "front");
    let since = Instant::now();
    assert!(server.stop().success());
    assert!(since.elapsed() < Duration::from_secs(10));
    assert!(client.get("/").is_err());
}

#[test]
fn a_supervisor_is_told_of_the_start_and_the_end() {
    let scratch = Scratch::new();
    let path = scratch.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let wait = Some(Duration::from_secs(20));
    socket.set_read_timeout(wait).unwrap();
    let image = packed(&scratch, &[("index.html", "front")]);
    let server = Server::start_in(&[("NOTIFY_SOCKET", &path)], &image, &[]);
    let mut word = [0; 64];
    let count = socket.recv(&mut word).unwrap();
    assert_eq!(&word[..count], b"READY=1");
    assert!(server.stop().success());
    let count = socket.recv(&mut word).unwrap();
    assert_eq!(&word[..count], b"STOPPING=1");
}
