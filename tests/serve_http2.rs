//! `zapp serve` over HTTP/2 without TLS, spoken in plain frames: many requests on one connection, and clients that abuse
//! what HTTP/2 allows them.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::serve::{Server, packed};
use crate::serve_php::server;
use crate::support::{Scratch, text};

// Types of frames, and flags (RFC 9113, 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// The byte order of networks.
#[expect(
    clippy::big_endian_bytes,
    reason = "RFC 9113, 2.2: numbers are big-endian"
)]
fn network(number: u32) -> [u8; 4] {
    number.to_be_bytes()
}

#[expect(
    clippy::big_endian_bytes,
    reason = "RFC 9113, 2.2: numbers are big-endian"
)]
fn host(bytes: [u8; 4]) -> u32 {
    u32::from_be_bytes(bytes)
}

struct Connection(TcpStream);

#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Connection {
    /// Connects and says hello, with settings as (identifier, value).
    fn open(server: &Server, settings: &[(u16, u32)]) -> Connection {
        let stream = TcpStream::connect(server.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let mut connection = Connection(stream);
        connection
            .0
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .unwrap();
        let mut payload = Vec::new();
        for (name, value) in settings {
            payload.extend(&network(u32::from(*name))[2..]);
            payload.extend(network(*value));
        }
        connection.send(SETTINGS, 0, 0, &payload).unwrap();
        connection
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        let length = network(u32::try_from(payload.len()).unwrap());
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(network(stream));
        frame.extend(payload);
        self.0.write_all(&frame)
    }

    /// A GET in the shortest form: indexed method and scheme, literal path and authority (RFC 7541, 6).
    fn get(&mut self, stream: u32, path: &str) -> io::Result<()> {
        self.send(
            HEADERS,
            END_STREAM | END_HEADERS,
            stream,
            &block(path, b"test"),
        )
    }

    fn read(&mut self) -> io::Result<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head)?;
        let len = host([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(len).unwrap()];
        self.0.read_exact(&mut payload)?;
        let stream = host([head[5], head[6], head[7], head[8]]);
        Ok(Frame {
            kind: head[3],
            flags: head[4],
            stream,
            payload,
        })
    }

    /// Reads until `count` streams have ended: the first byte of each one's header block, and its body.
    fn answers(&mut self, count: usize) -> BTreeMap<u32, (u8, Vec<u8>)> {
        let mut answers: BTreeMap<u32, (u8, Vec<u8>)> = BTreeMap::new();
        let mut ended = 0;
        while ended < count {
            let frame = self.read().unwrap();
            let answer = answers.entry(frame.stream).or_default();
            match frame.kind {
                HEADERS => answer.0 = frame.payload[0],
                DATA => {
                    answer.1.extend(&frame.payload);
                    let more = network(u32::try_from(frame.payload.len()).unwrap());
                    // Nothing was taken from the window by an empty frame, and a zero is not allowed.
                    if !frame.payload.is_empty() {
                        self.send(WINDOW_UPDATE, 0, 0, &more).unwrap();
                    }
                }
                RST_STREAM | GOAWAY => panic!("{frame:?}"),
                _ => continue,
            }
            ended += usize::from(frame.flags & END_STREAM != 0);
        }
        answers.remove(&0);
        answers
    }

    /// Reads until the server ends the connection.
    fn end(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Ok(frame) = self.read() {
            frames.push(frame);
        }
        frames
    }
}

fn block(path: &str, authority: &[u8]) -> Vec<u8> {
    let mut block = vec![0x82, 0x86];
    for (index, text) in [(0x04, path.as_bytes()), (0x01, authority)] {
        block.extend([index, u8::try_from(text.len()).unwrap()]);
        block.extend(text);
    }
    block
}

// Statuses of the static table, as indexed fields.
const STATUS_200: u8 = 0x88;
const STATUS_400: u8 = 0x8C;
const STATUS_404: u8 = 0x8D;

fn site(scratch: &Scratch) -> PathBuf {
    let large = String::from_utf8(text(1, 600_000)).unwrap();
    packed(
        scratch,
        &[("a.txt", "0123456789"), ("large.txt", large.as_str())],
    )
}

#[test]
fn many_requests_share_a_connection() {
    let server = server!("-n", "4", "--queue", "200");
    let mut connection = Connection::open(&server, &[]);
    for round in 0..3 {
        let first = round * 300 + 1;
        for number in 0..90 {
            let path =
                ["/hello", "/files/note.txt", "/..%2f"][usize::try_from(number % 3).unwrap()];
            connection.get(first + 2 * number, path).unwrap();
        }
        let answers = connection.answers(90);
        for number in 0..90 {
            let (status, body) = &answers[&(first + 2 * number)];
            let text = String::from_utf8_lossy(body);
            match number % 3 {
                0 => assert_eq!((*status, &*text), (STATUS_200, "hello")),
                1 => assert_eq!((*status, &*text), (STATUS_200, "note\n")),
                _ => assert_eq!(*status, STATUS_400, "{text}"),
            }
        }
    }
    assert_eq!(server.get("/hello").body, "hello", "HTTP/1.1 beside it");
}

#[test]
fn authority_and_missing_files() {
    let scratch = Scratch::new();
    let server = Server::start(&site(&scratch), &[]);
    let mut connection = Connection::open(&server, &[]);
    connection.get(1, "/nowhere").unwrap();
    connection
        .send(
            HEADERS,
            END_STREAM | END_HEADERS,
            3,
            &block("/a.txt", b"a..b"),
        )
        .unwrap();
    // HEAD (a literal method) has no body.
    let mut head = block("/a.txt", b"test");
    head.splice(0..1, *b"\x02\x04HEAD");
    connection
        .send(HEADERS, END_STREAM | END_HEADERS, 5, &head)
        .unwrap();
    connection.get(7, "/large.txt").unwrap();
    let window = network(1_000_000);
    connection.send(WINDOW_UPDATE, 0, 7, &window).unwrap();
    connection.send(WINDOW_UPDATE, 0, 0, &window).unwrap();
    let answers = connection.answers(4);
    assert_eq!(answers[&1].0, STATUS_404);
    assert_eq!(answers[&3].0, STATUS_400);
    assert_eq!(answers[&5], (STATUS_200, Vec::new()));
    assert_eq!(answers[&7].0, STATUS_200);
    assert_eq!(answers[&7].1.len(), 600_000);
}

#[test]
fn a_client_that_changes_its_mind_too_often_is_cut_off() {
    let server = server!("-n", "4");
    let mut connection = Connection::open(&server, &[]);
    let since = Instant::now();
    let mut sent = 0_u32;
    while since.elapsed() < Duration::from_secs(20) {
        let stream = 2 * sent + 1;
        // CANCEL
        let done = connection
            .get(stream, "/nap")
            .and_then(|()| connection.send(RST_STREAM, 0, stream, &network(8)));
        if done.is_err() {
            break;
        }
        sent += 1;
        // So slowly that each request reaches the server's service before it is dropped.
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(
        since.elapsed() < Duration::from_secs(20),
        "{sent} resets were taken"
    );
    assert_eq!(server.get("/hello").body, "hello");
    let since = Instant::now();
    while !server.metrics().contains("zapp_requests_in_flight 0\n") {
        assert!(since.elapsed() < Duration::from_secs(10), "requests remain");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Asks for so many files at once and drops them all, until the server has enough of it.
pub(crate) fn burst_of_resets(server: &Server, count: u32) {
    let mut connection = Connection::open(server, &[]);
    let mut burst = Vec::new();
    for number in 0..count {
        let stream = network(2 * number + 1);
        let headers = block("/large.txt", b"test");
        burst.extend([0, 0, u8::try_from(headers.len()).unwrap(), HEADERS, 5]);
        burst.extend(stream);
        burst.extend(headers);
        burst.extend([0, 0, 4, RST_STREAM, 0]);
        burst.extend(stream);
        burst.extend(network(8));
    }
    // The server may close before all of it is written.
    let _ = connection.0.write_all(&burst);
    connection.end();
}

#[test]
fn resets_in_one_burst_are_cut_off() {
    let scratch = Scratch::new();
    let server = Server::start(&site(&scratch), &[]);
    burst_of_resets(&server, 5000);
    assert_eq!(server.get("/a.txt").body, "0123456789");
}

#[test]
fn a_client_that_takes_nothing_is_cut_off() {
    let scratch = Scratch::new();
    let options = ["--write-timeout", "700ms", "--header-timeout", "60s"];
    let server = Server::start(&site(&scratch), &options);
    // SETTINGS_INITIAL_WINDOW_SIZE 0: the server may send no body at all.
    let mut connection = Connection::open(&server, &[(4, 0)]);
    for number in 0..50 {
        connection.get(2 * number + 1, "/large.txt").unwrap();
    }
    let since = Instant::now();
    connection.end();
    assert!(since.elapsed() < Duration::from_secs(15));
    assert!(since.elapsed() > Duration::from_millis(500));
    assert_eq!(server.get("/a.txt").body, "0123456789");
}

#[test]
fn an_idle_connection_ends() {
    let scratch = Scratch::new();
    let server = Server::start(&site(&scratch), &["--header-timeout", "500ms"]);
    let mut connection = Connection::open(&server, &[]);
    connection.get(1, "/a.txt").unwrap();
    connection.answers(1);
    let since = Instant::now();
    let last = connection.end();
    assert!(
        last.iter().any(|frame| frame.kind == GOAWAY),
        "it ends in order: {last:?}"
    );
    assert!(since.elapsed() < Duration::from_secs(10));
    // Half a preface, and then nothing.
    let mut half = TcpStream::connect(server.address).unwrap();
    half.set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    half.write_all(b"PRI * HTTP/2.0\r\n").unwrap();
    assert_eq!(half.read(&mut [0; 16]).unwrap_or(0), 0);
}

#[test]
fn endless_headers_are_cut_off() {
    let scratch = Scratch::new();
    let server = Server::start(&site(&scratch), &["--header-size", "16K"]);
    let mut connection = Connection::open(&server, &[]);
    let start = block("/a.txt", b"test");
    connection.send(HEADERS, END_STREAM, 1, &start).unwrap();
    // A field that is not indexed: `x: ` and 100 bytes, again and again, and never END_HEADERS.
    let field = [&[0, 1, b'x', 100][..], &[b'y'; 100]].concat().repeat(100);
    let mut sent = 0;
    while connection.send(CONTINUATION, 0, 1, &field).is_ok() {
        sent += field.len();
        assert!(sent < 64 << 20, "64 MiB of headers were taken");
    }
    assert_eq!(server.get("/a.txt").body, "0123456789");
}

#[test]
fn more_streams_than_allowed_are_refused() {
    let server = server!("-n", "2", "--queue", "200");
    let mut connection = Connection::open(&server, &[]);
    for number in 0..150 {
        connection.get(2 * number + 1, "/nap").unwrap();
    }
    let (mut refused, mut answered) = (0, 0);
    while refused + answered < 150 {
        let frame = connection.read().unwrap();
        match frame.kind {
            // REFUSED_STREAM
            RST_STREAM if frame.payload == network(7) => refused += 1,
            RST_STREAM | GOAWAY => panic!("{frame:?}"),
            _ if frame.stream != 0 && frame.flags & END_STREAM != 0 => answered += 1,
            _ => {}
        }
    }
    assert!(refused > 0 && answered >= 100, "{refused} {answered}");
}
