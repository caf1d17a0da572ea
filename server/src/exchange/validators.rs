//! What tells a client's copy of a file from the file that is here (RFC 9110, 8.8 and 13): a tag of its content, and its time
//! when that says anything.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use imagefs::Stat;

use crate::exchange::body::{Body, Stored};

/// A strong validator: 128 bits derived from the content's hash, so that it says nothing else about the content.
pub(crate) fn etag(hash: &[u8; 32], stored: Stored) -> String {
    let derived = blake3::derive_key("zapp 2026-11 entity tag of a static file", hash);
    let mut text = String::with_capacity(40);
    text.push('"');
    for byte in &derived[..16] {
        text.push_str(&format!("{byte:02x}"));
    }
    if stored == Stored::Frame {
        text.push_str("-zstd");
    }
    text.push('"');
    text
}

/// When a file was changed, if its time says so. A time that packing gave to files stays the same when contents change: who
/// compared by it would keep the old ones for ever, or join halves of two files.
pub(crate) fn modified(stat: &Stat, given_mtime: Option<i64>) -> Option<SystemTime> {
    if stat.mtime == imagefs::format::DEFAULT_MTIME || Some(stat.mtime) == given_mtime {
        return None;
    }
    // httpdate cannot write years after 9999.
    let seconds = u64::try_from(stat.mtime)
        .ok()
        .filter(|&s| s < 253_402_300_800)?;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// Whether a list of entity tags names ours. Weak tags match only in a weak comparison (RFC 9110, 8.8.3.2).
fn names_tag(headers: &HeaderMap, name: &HeaderName, head: &HeaderMap, is_weak: bool) -> bool {
    let own = head
        .get(header::ETAG)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    let values = headers.get_all(name).iter();
    values
        .flat_map(|v| v.as_bytes().split(|&b| b == b','))
        .any(|tag| {
            let tag = tag.trim_ascii();
            let strong = tag.strip_prefix(b"W/").filter(|_| is_weak).unwrap_or(tag);
            tag == b"*" || strong == own
        })
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let text = headers.get(name)?.to_str().ok()?;
    httpdate::parse_http_date(text).ok()
}

/// RFC 9110, 13.2.2: `If-Match` decides when there is one, `If-Unmodified-Since` only otherwise.
pub(crate) fn is_precondition_failed(
    headers: &HeaderMap,
    head: &HeaderMap,
    modified: Option<SystemTime>,
) -> bool {
    if headers.contains_key(header::IF_MATCH) {
        return !names_tag(headers, &header::IF_MATCH, head, false);
    }
    match (date(headers, &header::IF_UNMODIFIED_SINCE), modified) {
        (Some(since), Some(modified)) => modified > since,
        _ => false,
    }
}

/// RFC 9110, 13.2.2: the entity tag decides when there is one, the date only otherwise.
pub(crate) fn is_not_modified(
    headers: &HeaderMap,
    head: &HeaderMap,
    modified: Option<SystemTime>,
) -> bool {
    if headers.contains_key(header::IF_NONE_MATCH) {
        return names_tag(headers, &header::IF_NONE_MATCH, head, true);
    }
    match (date(headers, &header::IF_MODIFIED_SINCE), modified) {
        (Some(since), Some(modified)) => modified <= since,
        _ => false,
    }
}

pub(crate) fn not_modified(mut head: HeaderMap) -> Response<Body> {
    for name in [
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::ACCEPT_RANGES,
    ] {
        head.remove(name);
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    *response.headers_mut() = head;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_differ_between_encodings_and_contents() {
        let tags = [
            etag(&[1; 32], Stored::Plain),
            etag(&[1; 32], Stored::Frame),
            etag(&[2; 32], Stored::Plain),
        ];
        assert!(tags[0] != tags[1] && tags[0] != tags[2]);
        assert_eq!(tags[0].len(), 34);
        assert!(
            !tags[0].contains("0101"),
            "the content's hash does not show"
        );
    }
}
