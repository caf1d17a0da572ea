//! How a request reaches a guest that calls `accept`, and what it may answer with `respond`.
//!
//! All numbers are little-endian. What `accept` writes to the guest's buffer:
//!
//! ```text
//! u32 version = 1      u32 length of all of this
//! u64 request number   u64 nanoseconds since 1970
//! u8[64] fresh random bytes, different in every clone
//! u32 count of pairs   u32 zero
//! count times: u32 name length, u32 value length, name, NUL, value, NUL
//! ```
//! The pairs are those of CGI (`REQUEST_METHOD`, `HTTP_HOST`, ...). The body is standard input. What
//! `respond` takes is `u32 version = 1, u32 status, u32 count, u32 zero` and pairs of the same form;
//! the body is standard output. After `respond`, `fsync` of standard output (which fails as for any stream) has what was
//! written so far taken at once, if somebody takes answers that are still being made ([`Live`](crate::Live)).

use crate::abi::{Errno, pointer};
use crate::outside::Outside;
use crate::sys::guest::{Fault, Region};
use serde::{Deserialize, Serialize};

/// Version of both forms.
const VERSION: u32 = 1;

/// Most headers of a response (review F37).
const HEADERS_MAX: usize = 128;
/// Most bytes of a response's headers (review F37).
pub(crate) const HEADER_BYTES_MAX: usize = 32 << 10;

/// A request for a guest: variables as CGI names them. The body is the instance's standard input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Names and values.
    pub variables: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What a guest answered, checked; the body is its standard output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// 200 to 599.
    pub status: u16,
    /// Names and values, without any that frame the message or concern the connection.
    pub headers: Vec<(String, Vec<u8>)>,
    /// How many such headers were dropped.
    pub dropped: u32,
}

/// The request on its way in and the response on its way out.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    pub(crate) request: Option<Request>,
    pub(crate) response: Option<Response>,
}

impl Request {
    /// Adds a variable.
    #[must_use]
    pub fn variable(mut self, name: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Request {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// The bytes `accept` writes.
    fn encode(&self, outside: &mut Outside) -> Vec<u8> {
        let mut fresh = [0; 64];
        outside.random(&mut fresh);
        let mut bytes = Vec::with_capacity(1024);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&outside.request_number().to_le_bytes());
        bytes.extend_from_slice(&outside.real_ns().to_le_bytes());
        bytes.extend_from_slice(&fresh);
        bytes.extend_from_slice(&length(self.variables.len()).to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        for (name, value) in &self.variables {
            bytes.extend_from_slice(&length(name.len()).to_le_bytes());
            bytes.extend_from_slice(&length(value.len()).to_le_bytes());
            bytes.extend_from_slice(name);
            bytes.push(0);
            bytes.extend_from_slice(value);
            bytes.push(0);
        }
        let total = length(bytes.len());
        bytes[4..8].copy_from_slice(&total.to_le_bytes());
        bytes
    }

    /// Writes the request where the guest waits for it; `-E2BIG` when its buffer is too small.
    pub(crate) fn deliver(
        &self,
        outside: &mut Outside,
        region: &Region,
        target: u64,
        room: u64,
    ) -> Result<u64, Errno> {
        let bytes = self.encode(outside);
        if bytes.len() as u64 > room {
            return Err(Errno(libc::E2BIG));
        }
        region
            .copy_out(pointer(target), &bytes)
            .map_err(|Fault| Errno(libc::EFAULT))?;
        Ok(bytes.len() as u64)
    }
}

fn length(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

impl Response {
    /// Reads what a guest handed to `respond`; nothing when it breaks a rule of HTTP.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Response> {
        let mut rest = bytes;
        let mut number = || {
            let (head, tail) = rest.split_first_chunk::<4>()?;
            rest = tail;
            Some(u32::from_le_bytes(*head))
        };
        let (version, status, count, zero) = (number()?, number()?, number()?, number()?);
        if version != VERSION || !(200..600).contains(&status) || zero != 0 {
            return None;
        }
        let count = usize::try_from(count)
            .ok()
            .filter(|count| *count <= HEADERS_MAX)?;
        let mut response = Response {
            status: u16::try_from(status).ok()?,
            headers: Vec::new(),
            dropped: 0,
        };
        for _ in 0..count {
            let (name_len, tail) = rest.split_first_chunk::<4>()?;
            let (value_len, tail) = tail.split_first_chunk::<4>()?;
            let len = |bytes: &[u8; 4]| usize::try_from(u32::from_le_bytes(*bytes)).ok();
            let (name_len, value_len) = (len(name_len)?, len(value_len)?);
            let name = tail.get(..name_len)?;
            let tail = tail[name_len..].strip_prefix(b"\0")?;
            let value = tail.get(..value_len)?;
            rest = tail[value_len..].strip_prefix(b"\0")?;
            if !is_token(name) || !is_value(value) {
                return None;
            }
            if is_framing(name) {
                response.dropped += 1;
            } else {
                response
                    .headers
                    .push((String::from_utf8(name.to_vec()).ok()?, value.to_vec()));
            }
        }
        rest.is_empty().then_some(response)
    }
}

/// `token` of RFC 9110 §5.6.2.
fn is_token(name: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !name.is_empty() && name.iter().all(plain)
}

/// `field-value` of RFC 9110 §5.5: no control characters but the tab, no blank at either end.
fn is_value(value: &[u8]) -> bool {
    let plain = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7F);
    value.iter().all(plain)
        && !matches!(value.first(), Some(b' ' | b'\t'))
        && !matches!(value.last(), Some(b' ' | b'\t'))
}

/// Headers that are the host's business: they frame the message or concern the connection.
fn is_framing(name: &[u8]) -> bool {
    const FRAMING: [&str; 10] = [
        "connection",
        "content-length",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    FRAMING
        .iter()
        .any(|framing| name.eq_ignore_ascii_case(framing.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(status: u32, headers: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [1, status, length(headers.len()), 0] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        for (name, value) in headers {
            bytes.extend_from_slice(&length(name.len()).to_le_bytes());
            bytes.extend_from_slice(&length(value.len()).to_le_bytes());
            bytes.extend_from_slice(format!("{name}\0{value}\0").as_bytes());
        }
        bytes
    }

    #[test]
    fn good_response_is_taken_over() {
        let response =
            Response::decode(&encoded(200, &[("Content-Type", "text/html")])).expect("good");
        assert_eq!(response.status, 200);
        assert_eq!(
            response.headers,
            [("Content-Type".to_owned(), b"text/html".to_vec())]
        );
    }

    #[test]
    fn framing_headers_are_dropped_and_counted() {
        let headers = [
            ("Content-Length", "5"),
            ("TRANSFER-ENCODING", "chunked"),
            ("X-A", "b"),
            // Not framing: who speaks HTTP makes the status line of it.
            ("Status", "204 Empty"),
        ];
        let response = Response::decode(&encoded(204, &headers)).expect("good");
        assert_eq!(response.dropped, 2);
        assert_eq!(response.headers.len(), 2);
    }

    #[test]
    fn bad_responses_are_refused() {
        for status in [0, 100, 101, 199, 600, u32::MAX] {
            assert_eq!(
                Response::decode(&encoded(status, &[])),
                None,
                "status {status}"
            );
        }
        for (name, value) in [("", "v"), ("a b", "v"), ("a:", "v"), ("é", "v")] {
            assert_eq!(
                Response::decode(&encoded(200, &[(name, value)])),
                None,
                "name {name:?}"
            );
        }
        for value in ["a\rb", "a\nb", "a\0b", " a", "a ", "\x7f"] {
            assert_eq!(
                Response::decode(&encoded(200, &[("A", value)])),
                None,
                "value {value:?}"
            );
        }
        let many = vec![("A", "b"); HEADERS_MAX + 1];
        assert_eq!(Response::decode(&encoded(200, &many)), None);
        let good = encoded(200, &[("A", "b")]);
        for len in 0..good.len() {
            assert_eq!(Response::decode(&good[..len]), None, "cut to {len} bytes");
        }
        assert_eq!(Response::decode(&[good.as_slice(), b"x"].concat()), None);
    }
}
