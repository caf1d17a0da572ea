//! A guest's answer as an HTTP response. The host owns the framing; a guest that breaks HTTP is answered 502.
//!
//! The runtime checks the same before the answer leaves the worker. It is checked again here, because the front does
//! not trust a worker.

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
const DROPPED_OTHER: &[&str] = &["keep-alive", "proxy-connection", "status", "x-request-id"];

/// The response, and how many headers were dropped.
pub(crate) fn response(
    method: &Method,
    answer: Answer,
) -> Result<(Response<Body>, u32), BadAnswer> {
    let status = StatusCode::from_u16(answer.status).map_err(|_| BadAnswer::Status)?;
    if !(200..600).contains(&answer.status) {
        return Err(BadAnswer::Status);
    }
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
        if DROPPED.contains(&name) || DROPPED_OTHER.contains(&name.as_str()) {
            dropped += 1;
            continue;
        }
        headers.append(
            name,
            HeaderValue::from_bytes(&value).map_err(|_| BadAnswer::Header)?,
        );
    }
    let bodiless = matches!(answer.status, 204 | 205 | 304);
    let body = if bodiless || method == Method::HEAD {
        if !bodiless {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(answer.body.len()));
        }
        Body::empty()
    } else {
        Body::bytes(answer.body)
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok((response, dropped))
}

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
            ("Status", b"200"),
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
        assert_eq!(response.body().len(), 4);
    }

    #[test]
    fn statuses_without_body_have_none() {
        for status in [204, 205, 304] {
            let (response, _) = response(&Method::GET, answer(status, &[])).unwrap();
            assert_eq!(response.body().len(), 0);
            assert!(response.headers().get(header::CONTENT_LENGTH).is_none());
        }
        let (response, _) = response(&Method::HEAD, answer(200, &[])).unwrap();
        assert_eq!(
            (
                response.body().len(),
                &response.headers()[header::CONTENT_LENGTH]
            ),
            (0, &HeaderValue::from(4))
        );
    }
}
