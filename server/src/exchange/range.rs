//! `Range` and `If-Range` (RFC 9110, 14): one range of bytes, or the whole.

use std::ops::Range;

use hyper::Method;
use hyper::header::{self, HeaderMap};

/// What part of a body is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Selected {
    /// All of it.
    Whole(Range<u64>),
    /// A part, of a body of this size.
    Part(Range<u64>, u64),
    /// Nothing: the range lies behind the end of a body of this size.
    Unsatisfiable(u64),
}

/// Selects by the request's headers. What is no single range of bytes is ignored, as the RFC wants it.
pub(crate) fn select(
    method: &Method,
    headers: &HeaderMap,
    head: &HeaderMap,
    size: u64,
) -> Selected {
    let whole = Selected::Whole(0..size);
    let mut values = headers.get_all(header::RANGE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return whole;
    };
    if method != Method::GET || !if_range_holds(headers, head) {
        return whole;
    }
    let Some(spec) = value
        .to_str()
        .ok()
        .and_then(|v| v.trim().strip_prefix("bytes="))
    else {
        return whole;
    };
    let Some((first, last)) = spec.trim().split_once('-') else {
        return whole;
    };
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first > last => whole,
        (Some(first), _) if first >= size && (last.is_empty() || number(last).is_some()) => {
            Selected::Unsatisfiable(size)
        }
        (Some(first), Some(last)) => Selected::Part(first..last.saturating_add(1).min(size), size),
        (Some(first), None) if last.is_empty() => Selected::Part(first..size, size),
        (None, Some(0)) if first.is_empty() => Selected::Unsatisfiable(size),
        (None, Some(count)) if first.is_empty() && size > 0 => {
            Selected::Part(size.saturating_sub(count)..size, size)
        }
        (None, Some(_)) if first.is_empty() => Selected::Unsatisfiable(size),
        _ => whole,
    }
}

/// Digits only: no sign, no blank, no list. A number that does not fit is larger than any file.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// Whether the client's copy is the one we have: by strong tag, or by the exact date.
fn if_range_holds(headers: &HeaderMap, head: &HeaderMap) -> bool {
    match headers.get(header::IF_RANGE) {
        None => true,
        Some(value) if value.as_bytes().starts_with(b"\"") => head.get(header::ETAG) == Some(value),
        Some(value) => head.get(header::LAST_MODIFIED) == Some(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn selected(range: &'static str, size: u64) -> Selected {
        let headers: HeaderMap = [(header::RANGE, HeaderValue::from_static(range))]
            .into_iter()
            .collect();
        select(&Method::GET, &headers, &HeaderMap::new(), size)
    }

    #[test]
    fn single_ranges_are_selected() {
        for (range, expected) in [
            ("bytes=0-0", 0..1),
            ("bytes=0-", 0..100),
            ("bytes=10-19", 10..20),
            ("bytes=90-999", 90..100),
            ("bytes=-10", 90..100),
            ("bytes=-1000", 0..100),
            ("bytes=99-99999999999999999999999", 99..100),
        ] {
            assert_eq!(
                selected(range, 100),
                Selected::Part(expected, 100),
                "{range}"
            );
        }
    }

    #[test]
    fn ranges_behind_the_end_cannot_be_satisfied() {
        for range in [
            "bytes=100-",
            "bytes=100-200",
            "bytes=-0",
            "bytes=99999999999999999999-",
        ] {
            assert_eq!(
                selected(range, 100),
                Selected::Unsatisfiable(100),
                "{range}"
            );
        }
        assert_eq!(selected("bytes=0-", 0), Selected::Unsatisfiable(0));
        assert_eq!(selected("bytes=-5", 0), Selected::Unsatisfiable(0));
    }

    #[test]
    fn garbage_is_ignored() {
        for range in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-3",
            "bytes=0-1,3-4",
            "lines=0-1",
            "bytes=+1-2",
            "bytes=1--2",
            "bytes= 1 - 2",
            "bytes=0x1-2",
            "bytes=100-x",
        ] {
            assert_eq!(selected(range, 100), Selected::Whole(0..100), "{range}");
        }
    }

    #[test]
    fn if_range_needs_the_same_copy() {
        let head: HeaderMap = [(header::ETAG, HeaderValue::from_static("\"a\""))]
            .into_iter()
            .collect();
        let select_if = |if_range| {
            let headers: HeaderMap = [
                (header::RANGE, HeaderValue::from_static("bytes=0-1")),
                (header::IF_RANGE, HeaderValue::from_static(if_range)),
            ]
            .into_iter()
            .collect();
            select(&Method::GET, &headers, &head, 10)
        };
        assert_eq!(select_if("\"a\""), Selected::Part(0..2, 10));
        assert_eq!(select_if("\"b\""), Selected::Whole(0..10));
        assert_eq!(select_if("W/\"a\""), Selected::Whole(0..10));
        assert_eq!(
            select_if("Mon, 01 Jan 2024 00:00:00 GMT"),
            Selected::Whole(0..10)
        );
    }
}
