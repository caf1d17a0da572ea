//! `zapp serve` end to end: the real binary on a port of its own, spoken to over plain sockets.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Scratch, args, command, wait_for, zapp};

/// A running server, ended with the test.
pub(crate) struct Server {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Server {
    /// Serves an image with more options, and waits until it listens.
    pub(crate) fn start(image: &Path, options: &[&str]) -> Server {
        Server::start_in(&[], image, options)
    }

    /// The same with variables in its environment.
    pub(crate) fn start_in(
        environment: &[(&str, &Path)],
        image: &Path,
        options: &[&str],
    ) -> Server {
        let mut child = command(args![
            "serve",
            image,
            "--listen",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0"
        ])
        .args(options)
        .envs(environment.iter().copied())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
        let stderr = child.stderr.take().expect("it is piped");
        let said = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                log.lock().unwrap().push(line);
            }
        });
        let mut wait = |words: &str| -> SocketAddr {
            let since = Instant::now();
            loop {
                let lines = said.lock().unwrap();
                let mut found = lines.iter().filter_map(|line| line.split_once(words));
                if let Some((_, address)) = found.next() {
                    return address.parse().expect("an address");
                }
                let ended = child.try_wait().expect("it is ours");
                assert!(ended.is_none(), "{ended:?}: {lines:?}");
                assert!(since.elapsed() < Duration::from_secs(60), "{lines:?}");
                drop(lines);
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        let address = wait("listening on http://");
        let admin = wait("admin on http://");
        Server {
            child,
            said,
            address,
            admin,
        }
    }

    /// What it has said on standard error.
    pub(crate) fn log(&self) -> String {
        self.said.lock().unwrap().join("\n")
    }

    /// Waits until it has said something; then all it has said.
    pub(crate) fn says(&self, words: &str) -> String {
        wait_for(words, || self.log().contains(words));
        self.log()
    }

    /// Its metrics.
    pub(crate) fn metrics(&self) -> String {
        exchange(self.admin, b"GET /metrics HTTP/1.0\r\n\r\n")
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The process of the only image's worker.
    pub(crate) fn worker(&self) -> Option<Pid> {
        let path = format!("/proc/{0}/task/{0}/children", self.child.id());
        let mut children = fs::read_to_string(path).ok()?;
        // A worker may have been started by any thread.
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id())).ok()? {
            children.push_str(&fs::read_to_string(task.ok()?.path().join("children")).ok()?);
            children.push(' ');
        }
        let mut pids = children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok());
        pids.find_map(|pid| Pid::from_raw(pid).filter(|_| is_alive(pid)))
    }

    /// Sends bytes and reads until the server closes, or for a second when it does not.
    pub(crate) fn raw(&self, request: &[u8]) -> String {
        exchange(self.address, request)
    }

    /// One request on a connection of its own.
    pub(crate) fn get(&self, path: &str) -> Reply {
        self.with(path, "")
    }

    /// The same with header lines.
    pub(crate) fn with(&self, path: &str, headers: &str) -> Reply {
        self.request("GET", path, headers, "")
    }

    pub(crate) fn request(&self, method: &str, path: &str, headers: &str, body: &str) -> Reply {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n{body}"
        );
        Reply::parse(&self.raw(request.as_bytes()))
    }

    pub(crate) fn stop(mut self) -> std::process::ExitStatus {
        kill_process(self.pid(), Signal::TERM).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ended already in tests that end it themselves.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_alive(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    !status.is_empty() && !status.contains("State:\tZ")
}

/// Sends bytes and reads what comes.
pub(crate) fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    // A server that resets has said what it wanted to say.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// A response in parts.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn parse(text: &str) -> Reply {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or(0);
        Reply {
            status,
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).next()
    }

    /// All values of a header.
    pub(crate) fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .filter(move |(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

/// Packs files into an image.
pub(crate) fn packed(scratch: &Scratch, files: &[(&str, &str)]) -> PathBuf {
    let dir = scratch.tree("site", files);
    let image = scratch.path("site.zapp");
    let frames = "*.css=zframe";
    zapp(args![
        "pack", "--force", "--php", "never", "--class", frames, dir, "-o", image
    ])
    .ok();
    image
}

fn files_only(scratch: &Scratch) -> PathBuf {
    let css = "body { color: black }\n".repeat(500);
    packed(
        scratch,
        &[
            ("index.html", "<p>front"),
            ("style.css", &css),
            ("data.sqlite", "x"),
            ("a/b.txt", "0123456789"),
        ],
    )
}

#[test]
fn files_come_with_validators_and_ranges() {
    let scratch = Scratch::new();
    let server = Server::start(&files_only(&scratch), &[]);
    let front = server.get("/");
    assert_eq!((front.status, front.body.as_str()), (200, "<p>front"));
    assert_eq!(front.header("x-content-type-options"), Some("nosniff"));
    let file = server.get("/a/b.txt");
    let tag = file.header("etag").expect("a tag").to_owned();
    let date = file.header("last-modified").expect("a date").to_owned();
    for (header, status, body) in [
        (format!("If-None-Match: {tag}\r\n"), 304, ""),
        ("If-None-Match: \"other\"\r\n".to_owned(), 200, "0123456789"),
        (format!("If-Modified-Since: {date}\r\n"), 304, ""),
        ("Range: bytes=2-4\r\n".to_owned(), 206, "234"),
        ("Range: bytes=-2\r\n".to_owned(), 206, "89"),
        ("Range: bytes=20-\r\n".to_owned(), 416, ""),
        ("Range: bytes=1-2,4-5\r\n".to_owned(), 200, "0123456789"),
        ("Range: garbage\r\n".to_owned(), 200, "0123456789"),
        (format!("Range: bytes=0-0\r\nIf-Range: {tag}\r\n"), 206, "0"),
        (
            "Range: bytes=0-0\r\nIf-Range: \"other\"\r\n".to_owned(),
            200,
            "0123456789",
        ),
    ] {
        let reply = server.with("/a/b.txt", &header);
        assert_eq!(reply.status, status, "{header}");
        assert!(status == 416 || reply.body == body, "{header}: {reply:?}");
    }
    let head = server.request("HEAD", "/a/b.txt", "", "");
    assert_eq!(
        (
            head.status,
            head.header("content-length"),
            head.body.as_str()
        ),
        (200, Some("10"), "")
    );
    assert_eq!(
        server
            .request("POST", "/a/b.txt", "Content-Length: 0\r\n", "")
            .status,
        405
    );
    assert_eq!(server.get("/nowhere").status, 404);
    assert_eq!(server.get("/data.sqlite").status, 403);
}

#[test]
fn stored_frames_are_sent_to_who_takes_them() {
    let scratch = Scratch::new();
    let server = Server::start(&files_only(&scratch), &[]);
    let plain = server.get("/style.css");
    let mut stream = TcpStream::connect(server.address).unwrap();
    let request = "GET /style.css HTTP/1.1\r\nHost: test\r\nAccept-Encoding: gzip, zstd\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    let head = Reply::parse(&String::from_utf8_lossy(&bytes[..end]));
    assert_eq!(head.header("content-encoding"), Some("zstd"));
    assert_ne!(head.header("etag"), plain.header("etag"));
    assert_eq!(
        zstd::decode_all(&bytes[end..]).unwrap(),
        plain.body.as_bytes()
    );
}

#[test]
fn malformed_requests_are_refused_and_harm_nobody() {
    let scratch = Scratch::new();
    let server = Server::start(
        &files_only(&scratch),
        &["--header-size", "8K", "--header-timeout", "1s"],
    );
    let long = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
        "x".repeat(20_000)
    );
    let many = format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
        "X: y\r\n".repeat(300)
    );
    // 0 stands for a connection that is closed without a word, as what is hardly HTTP deserves, or reset while the client
    // still sends.
    for (request, statuses) in [
        ("GET / HTTP/1.1\r\n\r\n", &[400][..]),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", &[400]),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", &[400]),
        ("GET /..%2f HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
        ("GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
        ("GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", &[400, 405]),
        ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", &[405]),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", &[400, 505, 0]),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", &[400]),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
            &[400],
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            &[400],
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
            &[400],
        ),
        ("\u{16}\u{3}\u{1}\u{2}", &[400, 0]),
        ("nonsense\r\n\r\n", &[400]),
        (long.as_str(), &[431, 0]),
        (many.as_str(), &[431]),
    ] {
        let shown: String = request.chars().take(60).collect();
        let request = request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        let status = Reply::parse(&server.raw(request.as_bytes())).status;
        assert!(statuses.contains(&status), "{shown:?}: {status}");
        assert_eq!(server.get("/").status, 200, "after {shown:?}");
    }
}

#[test]
fn length_and_chunks_together_smuggle_nothing() {
    let scratch = Scratch::new();
    let server = Server::start(&files_only(&scratch), &[]);
    // By its length the body would hold a second request; by its chunks it ends before that.
    let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\
                   GET /a/b.txt HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = server.raw(request.as_bytes());
    assert!(
        !answer.contains("0123456789"),
        "the second request was answered: {answer}"
    );
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let scratch = Scratch::new();
    let server = Server::start(&files_only(&scratch), &[]);
    let mut requests = String::new();
    for index in 0..50 {
        let path = if index % 2 == 0 { "/a/b.txt" } else { "/" };
        let close = if index == 49 {
            "Connection: close\r\n"
        } else {
            ""
        };
        requests.push_str(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n{close}\r\n"));
    }
    let answer = server.raw(requests.as_bytes());
    let bodies: Vec<&str> = answer
        .split("\r\n\r\n")
        .skip(1)
        .map(|part| part.split("HTTP/1.1").next().unwrap())
        .collect();
    assert_eq!(bodies, ["0123456789", "<p>front"].repeat(25));
}

#[test]
fn a_slow_head_is_cut_off() {
    let scratch = Scratch::new();
    let server = Server::start(&files_only(&scratch), &["--header-timeout", "500ms"]);
    let start = Instant::now();
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost:").unwrap();
    let mut answer = Vec::new();
    // The end may come as a reset.
    let _ = stream.read_to_end(&mut answer);
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
}

#[test]
fn a_truncated_file_harms_nobody() {
    let scratch = Scratch::new();
    let image = files_only(&scratch);
    let server = Server::start(&image, &["--no-watch"]);
    fs::OpenOptions::new()
        .write(true)
        .open(&image)
        .unwrap()
        .set_len(0)
        .unwrap();
    for _ in 0..3 {
        assert_eq!(server.get("/a/b.txt").body, "0123456789");
        assert_eq!(server.get("/style.css").status, 200);
    }
}

#[test]
fn a_bad_manifest_is_refused_with_its_line() {
    let scratch = Scratch::new();
    let image = packed(
        &scratch,
        &[
            ("index.html", "x"),
            ("zapp.toml", "schema = 1\n[site]\ndenny = []\n"),
        ],
    );
    zapp(args!["serve", "--check", image])
        .code(2)
        .says("line 3");
}

#[test]
fn sigterm_ends_it_in_order() {
    let scratch = Scratch::new();
    let server = Server::start(&files_only(&scratch), &[]);
    assert!(exchange(server.admin, b"GET /-/ready HTTP/1.0\r\n\r\n").contains("ready"));
    assert_eq!(server.get("/").status, 200);
    assert!(server.stop().success());
}
