//! Requests, and what a server answers to them.

use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::serve::Server;

/// The host that clients ask for; WordPress builds its links from it.
pub(super) const HOST: &str = "site.test";

/// Headers of the host, which has its own view of the connection.
pub(super) const OWN_HEADERS: &[&str] = &[
    "connection",
    "content-length",
    "date",
    "server-timing",
    "x-request-id",
    "x-zapp-report",
];

/// What is asked.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) method: &'static str,
    pub(super) uri: String,
    pub(super) cookie: Option<&'static str>,
    /// A form that was filled in.
    pub(super) form: Option<&'static str>,
}

impl Asked {
    pub(super) fn get(uri: impl Into<String>) -> Asked {
        Asked {
            method: "GET",
            uri: uri.into(),
            cookie: None,
            form: None,
        }
    }

    pub(super) fn head(uri: &str) -> Asked {
        Asked {
            method: "HEAD",
            ..Asked::get(uri)
        }
    }

    pub(super) fn post(uri: &str, form: &'static str) -> Asked {
        Asked {
            method: "POST",
            form: Some(form),
            ..Asked::get(uri)
        }
    }

    /// Headers beside `Host`.
    pub(super) fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("User-Agent", "zapp-test".to_owned()),
            ("Accept", "*/*".to_owned()),
        ];
        headers.extend(self.cookie.map(|cookie| ("Cookie", cookie.to_owned())));
        headers
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.uri)?;
        if let Some(form) = self.form {
            write!(f, " {form}")?;
        }
        Ok(())
    }
}

/// What was answered; headers sorted by name, those of one name in their order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Page {
    pub(super) fn new(status: u16, head: &str, body: Vec<u8>) -> Page {
        let mut headers: Vec<(String, String)> = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .filter(|(name, _)| name != "status" && !OWN_HEADERS.contains(&name.as_str()))
            .collect();
        headers.sort_by(|one, other| one.0.cmp(&other.0));
        Page {
            status,
            headers,
            body,
        }
    }

    /// Where another page differs.
    pub(super) fn difference(&self, other: &Page) -> Option<String> {
        if self == other {
            return None;
        }
        if (self.status, &self.headers) != (other.status, &other.headers) {
            return Some(format!(
                "{} {:?} instead of {} {:?}",
                other.status, other.headers, self.status, self.headers
            ));
        }
        let pairs = self.body.iter().zip(&other.body);
        let at = pairs.take_while(|(one, other)| one == other).count();
        let piece = |bytes: &[u8]| {
            let end = bytes.len().min(at + 80);
            bytes[at.saturating_sub(40).min(end)..end]
                .escape_ascii()
                .to_string()
        };
        Some(format!(
            "at byte {at}: `{}` instead of `{}`",
            piece(&other.body),
            piece(&self.body)
        ))
    }
}

/// One request to the server.
pub(super) fn served(address: SocketAddr, asked: &Asked) -> Page {
    let (head, body) = exchange(address, asked);
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
    let status = status.unwrap_or_else(|| panic!("{asked}: no answer: {head}"));
    let lower = head.to_ascii_lowercase();
    assert!(!lower.contains("transfer-encoding"), "{asked}: {head}");
    if asked.method != "HEAD" {
        let announced = format!("content-length: {}", body.len());
        assert!(lower.contains(&announced), "{asked}: {head}");
    }
    Page::new(status, &head, body)
}

/// Calls that PHP made for an answer, as the server reports it.
pub(super) fn traps(server: &Server, uri: &str) -> u64 {
    let (head, _) = exchange(server.address, &Asked::get(uri));
    let report = head
        .lines()
        .find_map(|line| line.strip_prefix("x-zapp-report: "));
    let report: serde_json::Value =
        serde_json::from_str(report.expect("--server-timing is on")).expect("JSON");
    report["traps"].as_u64().expect("a number")
}

/// Sends a request; head and body of the answer.
pub(super) fn exchange(address: SocketAddr, asked: &Asked) -> (String, Vec<u8>) {
    let mut request = format!(
        "{} {} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n",
        asked.method, asked.uri
    );
    for (name, value) in asked.headers() {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(form) = asked.form {
        request.push_str(&format!(
            "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
            form.len()
        ));
    }
    request.push_str("\r\n");
    request.push_str(asked.form.unwrap_or_default());
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(120)))
        .unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    split(&answer)
}

pub(super) fn split(answer: &[u8]) -> (String, Vec<u8>) {
    let end = answer.windows(4).position(|part| part == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no head: {}", answer.escape_ascii()));
    let head = std::str::from_utf8(&answer[..end]).expect("headers are ASCII here");
    (head.to_owned(), answer[end + 4..].to_vec())
}
