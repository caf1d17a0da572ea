//! `zapp serve` and request targets that RFC 3986 does not allow.

use std::fs;

use crate::serve::{Server, exchange};
use crate::support::{Scratch, args, zapp};

/// Tells what it was asked.
const ECHO: &str = "<?php echo '[', $_SERVER['REQUEST_METHOD'], ' ', rawurlencode($_GET['q'] ?? '-'), ' ', \
                    rawurlencode(file_get_contents('php://input')), ']';";

// case reported-raw-chars-in-query-400
#[test]
fn raw_characters_reach_the_site_and_bodies_stay_as_they_are() {
    let scratch = Scratch::new();
    let dir = scratch.dir("site");
    fs::write(dir.join("index.php"), ECHO).unwrap();
    let image = scratch.path("site.zapp");
    zapp(args!["pack", "-q", dir, "-o", image]).ok();
    let server = Server::start(&image, &[]);
    // Each alone, then all on one connection; bodies look like requests.
    let body = b"GET /?q=\"inner\" HTTP/1.1\r\nHost: a\r\n\r\n";
    let head = |line: &[u8], headers: &str| {
        let headers = format!(" HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        [line, headers.as_bytes()].concat()
    };
    let length = format!("Content-Length: {}\r\n", body.len());
    let inner = "GET%20%2F%3Fq%3D%22inner%22%20HTTP%2F1.1%0D%0AHost%3A%20a%0D%0A%0D%0A";
    let requests = [
        (
            head(b"GET /?q={\"a\":<1>}|^`\\", ""),
            "[GET %7B%22a%22%3A%3C1%3E%7D%7C%5E%60%5C ]".to_owned(),
        ),
        (head(b"GET /?q=caf\xe9", ""), "[GET caf%E9 ]".to_owned()),
        (
            [&head(b"POST /?q=\"", &length), &body[..]].concat(),
            format!("[POST %22 {inner}]"),
        ),
        (head(b"GET /caf\xe9/\"?q=\xff", ""), "[GET %FF ]".to_owned()),
        (
            [
                &head(b"POST /?q=\"", "Transfer-Encoding: chunked\r\n"),
                format!("{:x}\r\n", body.len()).as_bytes(),
                &body[..],
                b"\r\n0\r\n\r\n",
            ]
            .concat(),
            format!("[POST %22 {inner}]"),
        ),
    ];
    for (request, told) in &requests {
        let close = String::from("\r\nConnection: close\r\nHost: a\r\n");
        let text = request.windows(11).position(|w| w == b"\r\nHost: a\r\n");
        let (line, rest) = request.split_at(text.unwrap());
        let request = [line, close.as_bytes(), &rest[11..]].concat();
        let answer = exchange(server.address, &request);
        assert!(answer.contains(told), "{answer}");
    }
    let mut all: Vec<u8> = requests.iter().flat_map(|(r, _)| r.clone()).collect();
    all.extend_from_slice(&head(b"GET /?q=last", "Connection: close\r\n"));
    let answer = exchange(server.address, &all);
    let told: Vec<&str> = requests.iter().map(|(_, told)| told.as_str()).collect();
    let mut rest = answer.as_str();
    for told in told.into_iter().chain(["[GET last ]"]) {
        let at = rest
            .find(told)
            .unwrap_or_else(|| panic!("{told}: {answer}"));
        rest = &rest[at + told.len()..];
    }
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 6, "{answer}");
    // Behind chunks nobody can be sure where a request begins, so such a target is refused as before.
    let chunked = [
        &requests[4].0[..],
        &head(b"GET /?q=\"", "Connection: close\r\n"),
    ]
    .concat();
    let answer = exchange(server.address, &chunked);
    assert!(answer.contains("HTTP/1.1 400"), "{answer}");
}
