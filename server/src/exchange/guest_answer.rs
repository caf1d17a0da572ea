//! A guest's answer as an HTTP response. The host owns the framing; a guest that breaks HTTP is answered 502.
//!
//! The runtime checks the same before the answer leaves the worker. It is checked again here, because the front does
//! not trust a worker.

use hyper::ext::ReasonPhrase;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Response, StatusCode};
use worker::Answer;

use crate::exchange::body::Body;

const HEADERS_MAX: usize = 128;
const HEADER_BYTES_MAX: usize = 32 << 10;

/// What breaks HTTP in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadAnswer {
    #[error("status out of range")]
    Status,
    #[error("too many or too long headers")]
    TooLarge,
    #[error("a header that is none")]
    Header,
}

/// Headers that frame the message or concern the connection.
const DROPPED: &[HeaderName] = &[
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Dropped as well; the table of names has no constants for them.
const DROPPED_OTHER: &[&str] = &["keep-alive", "proxy-connection", "x-request-id"];

/// The status in CGI's words (RFC 3875, 6.3.3), which goes before the number of the answer.
const STATUS: &str = "status";

/// The response, and how many headers were dropped.
pub(crate) fn response(
    method: &Method,
    answer: Answer,
) -> Result<(Response<Body>, u32), BadAnswer> {
    let mut status = Status::of(answer.status, None)?;
    let bytes: usize = answer
        .headers
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if answer.headers.len() > HEADERS_MAX || bytes > HEADER_BYTES_MAX {
        return Err(BadAnswer::TooLarge);
    }
    let mut headers = HeaderMap::with_capacity(answer.headers.len() + 4);
    let mut dropped = answer.dropped;
    for (name, value) in answer.headers {
        let name = HeaderName::from_bytes(&name).map_err(|_| BadAnswer::Header)?;
        if name == STATUS {
            match Status::parse(&value) {
                Some(said) => status = said,
                None => dropped += 1,
            }
            continue;
        }
        if DROPPED.contains(&name) || DROPPED_OTHER.contains(&name.as_str()) {
            dropped += 1;
            continue;
        }
        headers.append(
            name,
            HeaderValue::from_bytes(&value).map_err(|_| BadAnswer::Header)?,
        );
    }
    let bodiless = is_bodiless(status.code);
    if bodiless {
        // As PHP's own servers do; it would speak of a body that is not there (or, in a 304, of one that may differ).
        headers.remove(header::CONTENT_TYPE);
    }
    let body = if bodiless || method == Method::HEAD {
        if !bodiless {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(answer.body.len()));
        }
        Body::empty()
    } else {
        Body::bytes(answer.body)
    };
    let mut response = Response::new(body);
    *response.status_mut() = status.code;
    if let Some(reason) = status.reason {
        response.extensions_mut().insert(reason);
    }
    *response.headers_mut() = headers;
    Ok((response, dropped))
}

/// Whether responses of a status have no body.
pub(crate) fn is_bodiless(status: StatusCode) -> bool {
    matches!(status.as_u16(), 204 | 205 | 304)
}

/// A status, and the words beside it when they are not the usual ones. HTTP/2 has none.
struct Status {
    code: StatusCode,
    reason: Option<ReasonPhrase>,
}

impl Status {
    /// A status that may stand in a final response (RFC 9110, 15): nothing else can be read as one by every client.
    fn of(code: u16, reason: Option<ReasonPhrase>) -> Result<Status, BadAnswer> {
        if !(200..600).contains(&code) {
            return Err(BadAnswer::Status);
        }
        let code = StatusCode::from_u16(code).map_err(|_| BadAnswer::Status)?;
        // Without a reason the library would write a placeholder of its own for a code that has no name.
        let nameless = || code.canonical_reason().is_none().then(|| NO_REASON.clone());
        Ok(Status {
            code,
            reason: reason.or_else(nameless),
        })
    }

    /// Reads `404 Not Found`; the words may be missing.
    fn parse(value: &[u8]) -> Option<Status> {
        let (code, rest) = value.split_at_checked(3)?;
        let words = match rest {
            [] => rest,
            [b' ', words @ ..] => words.trim_ascii(),
            _ => return None,
        };
        let code = str::from_utf8(code).ok()?;
        let is_number = code.bytes().all(|b| b.is_ascii_digit());
        let code = code.parse().ok().filter(|_| is_number)?;
        let reason = ReasonPhrase::try_from(words).ok();
        Status::of(code, reason.filter(|_| !words.is_empty())).ok()
    }
}

static NO_REASON: ReasonPhrase = ReasonPhrase::from_static(b"");

#[cfg(test)]
mod tests {
    use super::*;
    use worker::Ending;

    fn answer(status: u16, headers: &[(&str, &[u8])]) -> Answer {
        let headers = headers
            .iter()
            .map(|(n, v)| (n.as_bytes().to_vec(), v.to_vec()))
            .collect();
        Answer {
            status,
            headers,
            body: "body".into(),
            ..Answer::ended(Ending::Answered)
        }
    }

    #[test]
    fn what_breaks_http_is_refused() {
        for (bad, status, headers) in [
            (BadAnswer::Status, 199, vec![]),
            (BadAnswer::Status, 101, vec![]),
            (BadAnswer::Status, 600, vec![]),
            (BadAnswer::Status, 0, vec![]),
            (
                BadAnswer::Header,
                200,
                vec![("x", &b"a\r\nset-cookie: b"[..])],
            ),
            (BadAnswer::Header, 200, vec![("x", b"a\0")]),
            (BadAnswer::Header, 200, vec![("x y", b"a")]),
            (BadAnswer::Header, 200, vec![("x\r\ny", b"a")]),
            (BadAnswer::Header, 200, vec![("", b"a")]),
            (BadAnswer::TooLarge, 200, vec![("x", b"a"); 129]),
        ] {
            let refused = response(&Method::GET, answer(status, &headers)).map(|_| ());
            assert_eq!(refused, Err(bad), "{status} {headers:?}");
        }
        let long = vec![b'a'; HEADER_BYTES_MAX];
        assert_eq!(
            response(&Method::GET, answer(200, &[("x", &long)])).map(|_| ()),
            Err(BadAnswer::TooLarge)
        );
    }

    #[test]
    fn framing_headers_are_dropped_and_counted() {
        let sent: &[(&str, &[u8])] = &[
            ("Content-Length", b"9999"),
            ("Transfer-Encoding", b"chunked"),
            ("Connection", b"close"),
            ("Upgrade", b"h2c"),
            ("Trailer", b"x"),
            ("Status", b"200OK"),
            ("X-Powered-By", b"PHP"),
            ("Set-Cookie", b"a=1"),
            ("Set-Cookie", b"b=2"),
        ];
        let (response, dropped) = response(&Method::GET, answer(200, sent)).unwrap();
        assert_eq!(dropped, 6);
        let names: Vec<_> = response
            .headers()
            .iter()
            .map(|(n, v)| (n.as_str(), v.to_str().unwrap()))
            .collect();
        assert_eq!(
            names,
            [
                ("x-powered-by", "PHP"),
                ("set-cookie", "a=1"),
                ("set-cookie", "b=2")
            ]
        );
        assert_eq!(response.body().len(), Some(4));
    }

    /// Of a response: its status, the words beside it when they are not the usual ones, and how many headers were dropped.
    fn status_line(status: u16, said: &[&str]) -> (u16, Option<String>, u32) {
        let headers: Vec<_> = said
            .iter()
            .map(|said| ("Status", said.as_bytes()))
            .collect();
        let (response, dropped) = response(&Method::GET, answer(status, &headers)).unwrap();
        assert!(response.headers().get(STATUS).is_none());
        let reason = response.extensions().get::<ReasonPhrase>();
        let reason = reason.map(|r| String::from_utf8_lossy(r.as_bytes()).into_owned());
        (response.status().as_u16(), reason, dropped)
    }

    // case reported-php-status-header, reported-reason-phrase-none
    #[test]
    fn a_status_in_words_becomes_the_status_line() {
        for (status, said, code, reason) in [
            (200, "404 Not Found", 404, Some("Not Found")),
            (200, "419 Page Expired", 419, Some("Page Expired")),
            (500, "204", 204, None),
            (200, "419", 419, Some("")),
        ] {
            let line = (code, reason.map(str::to_owned), 0);
            assert_eq!(status_line(status, &[said]), line, "{said}");
        }
        // Without words a code that has no name has none, rather than a placeholder.
        assert_eq!(status_line(419, &[]), (419, Some(String::new()), 0));
        assert_eq!(status_line(404, &[]), (404, None, 0));
        for bad in ["", "Not Found", "999 No", "101 Up", "+20 x", "4040", "40"] {
            assert_eq!(status_line(201, &[bad]), (201, None, 1), "{bad}");
        }
    }

    #[test]
    fn statuses_without_body_have_none() {
        for status in [204, 205, 304] {
            let typed: &[(&str, &[u8])] = &[("Content-Type", b"text/html")];
            let (response, _) = response(&Method::GET, answer(status, typed)).unwrap();
            assert!(response.headers().get(header::CONTENT_TYPE).is_none());
            assert_eq!(response.body().len(), Some(0));
            assert!(response.headers().get(header::CONTENT_LENGTH).is_none());
        }
        let (response, _) = response(&Method::HEAD, answer(200, &[])).unwrap();
        assert_eq!(
            (
                response.body().len(),
                &response.headers()[header::CONTENT_LENGTH]
            ),
            (Some(0), &HeaderValue::from(4))
        );
    }
}
