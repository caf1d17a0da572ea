//! The one place that decides what a request's host and path mean.
//!
//! Everything behind it sees canonical values only: a host in lower case without trailing dot, and a path that was
//! percent-decoded exactly once, begins with `/`, has no empty, `.` or `..` segments, no NUL, control character or
//! backslash. What could be read in two ways is refused, never repaired: deny rules and file lookups must not disagree
//! about a path.

use hyper::Version;
use imagefs::format::{DEPTH_MAX, PATH_MAX};

/// Segments of a path at most: as many as an image nests directories, and a name in the last.
const SEGMENTS_MAX: u32 = DEPTH_MAX + 1;

/// Why a request's target cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The target is not a path (`OPTIONS *`, `CONNECT`).
    #[error("the request target is no path")]
    NotAPath,
    /// A `%` without two hexadecimal digits.
    #[error("bad percent-encoding")]
    BadPercent,
    /// An encoded slash, backslash or dot segment.
    #[error("encoded path separator or dot segment")]
    EncodedSeparator,
    /// NUL, another control character, or a backslash.
    #[error("forbidden character in the path")]
    ForbiddenByte,
    /// More bytes or segments than a path of an image has.
    #[error("the path is longer than any path of an image")]
    TooLong,
    /// `..` would leave the root.
    #[error("the path leaves the root")]
    AboveRoot,
    /// No host, several, or one that is no host name.
    #[error("bad or missing host")]
    BadHost,
}

/// A canonical path. See the module's text for what that means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SitePath(Vec<u8>);

impl SitePath {
    /// Reads the path of a request target, as it came over the wire, without the query.
    pub(crate) fn parse(raw: &str) -> Result<SitePath, Refusal> {
        let rest = raw.strip_prefix('/').ok_or(Refusal::NotAPath)?;
        // Before anything is made of it. Every encoded byte takes three.
        if raw.len() > 3 * PATH_MAX {
            return Err(Refusal::TooLong);
        }
        let mut path: Vec<u8> = Vec::with_capacity(raw.len());
        let mut directory = rest.is_empty();
        let mut segments = 0;
        for segment in rest.split('/') {
            directory = true;
            if segment.is_empty() {
                continue;
            }
            segments += 1;
            if segments > SEGMENTS_MAX || path.len() > PATH_MAX {
                return Err(Refusal::TooLong);
            }
            let decoded = decode(segment)?;
            match decoded.as_slice() {
                b"." | b".." if segment.contains('%') => return Err(Refusal::EncodedSeparator),
                b"." => {}
                b".." => {
                    let parent = path
                        .iter()
                        .rposition(|&b| b == b'/')
                        .ok_or(Refusal::AboveRoot)?;
                    path.truncate(parent);
                }
                name => {
                    path.push(b'/');
                    path.extend_from_slice(name);
                    directory = false;
                }
            }
        }
        if directory {
            path.push(b'/');
        }
        if path.len() > PATH_MAX + 1 {
            return Err(Refusal::TooLong);
        }
        Ok(SitePath(path))
    }

    /// The path, `/` first.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it ends with a slash, as the name of a directory does.
    pub(crate) fn is_directory(&self) -> bool {
        self.0.ends_with(b"/")
    }

    /// Its segments, from the root.
    pub(crate) fn segments(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|&b| b == b'/').filter(|s| !s.is_empty())
    }

    /// The same path as a directory, encoded for a `Location` header.
    pub(crate) fn directory_location(&self) -> String {
        let mut location = encode(&self.0);
        if !location.ends_with('/') {
            location.push('/');
        }
        location
    }
}

/// Decodes one segment, once.
fn decode(segment: &str) -> Result<Vec<u8>, Refusal> {
    let mut decoded = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let (value, encoded) = if byte == b'%' {
            let mut digit = || {
                let c = char::from(bytes.next()?);
                c.to_digit(16).and_then(|d| u8::try_from(d).ok())
            };
            let high = digit().ok_or(Refusal::BadPercent)?;
            let low = digit().ok_or(Refusal::BadPercent)?;
            (high << 4 | low, true)
        } else {
            (byte, false)
        };
        match value {
            b'/' | b'\\' if encoded => return Err(Refusal::EncodedSeparator),
            0..0x20 | 0x7F | b'\\' => return Err(Refusal::ForbiddenByte),
            _ => decoded.push(value),
        }
    }
    Ok(decoded)
}

/// Encodes a path for a URL: everything but unreserved characters and the harmless part of the reserved ones.
pub(crate) fn encode(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    for &byte in path {
        if byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// A canonical host: lower case, no trailing dot; the port is kept apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    name: String,
    port: Option<u16>,
}

impl Host {
    /// Reads `name`, `name:port`, `[v6]` or `[v6]:port`.
    pub(crate) fn parse(authority: &str) -> Result<Host, Refusal> {
        let (name, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (inside, after) = rest.split_once(']').ok_or(Refusal::BadHost)?;
                inside
                    .parse::<std::net::Ipv6Addr>()
                    .map_err(|_| Refusal::BadHost)?;
                let port = match after {
                    "" => None,
                    _ => Some(after.strip_prefix(':').ok_or(Refusal::BadHost)?),
                };
                (format!("[{}]", inside.to_ascii_lowercase()), port)
            }
            None => {
                let (name, port) = match authority.split_once(':') {
                    Some((name, port)) => (name, Some(port)),
                    None => (authority, None),
                };
                let name = name.strip_suffix('.').unwrap_or(name);
                let is_label = |label: &str| {
                    !label.is_empty()
                        && label.len() <= 63
                        && label
                            .bytes()
                            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                };
                if name.len() > 253 || !name.split('.').all(is_label) {
                    return Err(Refusal::BadHost);
                }
                (name.to_ascii_lowercase(), port)
            }
        };
        let port = match port {
            // "name:" is allowed by RFC 3986 and means the default port.
            None | Some("") => None,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                Some(digits.parse().map_err(|_| Refusal::BadHost)?)
            }
            Some(_) => return Err(Refusal::BadHost),
        };
        Ok(Host { name, port })
    }

    /// The host a request is for. An authority in the request line wins over the header (RFC 9112, 3.2.2); there must
    /// be exactly one `Host` header, but for HTTP/1.0, where there may be none and the default site answers, and for
    /// HTTP/2, where the authority has its place and a header may only repeat it (RFC 9113, 8.3.1).
    pub(crate) fn of_request<'a>(
        target: Option<&str>,
        mut headers: impl Iterator<Item = &'a [u8]>,
        version: Version,
    ) -> Result<Option<Host>, Refusal> {
        let header = headers.next();
        if headers.next().is_some() {
            return Err(Refusal::BadHost);
        }
        let header = match header {
            Some(bytes) => {
                let text = std::str::from_utf8(bytes).map_err(|_| Refusal::BadHost)?;
                Some(Host::parse(text)?)
            }
            None if version == Version::HTTP_10 => None,
            None if version == Version::HTTP_2 && target.is_some() => None,
            None => return Err(Refusal::BadHost),
        };
        let Some(target) = target.map(Host::parse).transpose()? else {
            return Ok(header);
        };
        if version == Version::HTTP_2 && header.is_some_and(|header| header != target) {
            return Err(Refusal::BadHost);
        }
        Ok(Some(target))
    }

    /// The name, without the port.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The port, when one was given.
    pub(crate) fn port(&self) -> Option<u16> {
        self.port
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(raw: &str) -> Result<String, Refusal> {
        SitePath::parse(raw).map(|p| String::from_utf8_lossy(p.as_bytes()).into_owned())
    }

    /// Case limits-03-deny-quadratic: a path of 60 KB cost seconds of the executor's time.
    #[test]
    fn paths_longer_than_an_image_has_are_refused() {
        let parse = |raw: String| SitePath::parse(&raw).map(|path| path.as_bytes().len());
        assert_eq!(
            parse(format!("/{}", "a".repeat(PATH_MAX))),
            Ok(PATH_MAX + 1)
        );
        assert_eq!(
            parse(format!("/{}", "a".repeat(PATH_MAX + 1))),
            Err(Refusal::TooLong)
        );
        assert_eq!(
            parse(format!("/{}", "%41".repeat(PATH_MAX - 1))),
            Ok(PATH_MAX)
        );
        assert_eq!(
            parse(format!("/{}", "%41".repeat(PATH_MAX + 1))),
            Err(Refusal::TooLong)
        );
        assert_eq!(parse("/a".repeat(256)), Ok(512));
        assert_eq!(parse("/a".repeat(257)), Err(Refusal::TooLong));
        assert_eq!(parse("/a".repeat(30_000)), Err(Refusal::TooLong));
        assert_eq!(parse("/a/..".repeat(2_000)), Err(Refusal::TooLong));
    }

    #[test]
    fn paths_are_decoded_once_and_merged() {
        for (raw, canonical) in [
            ("/", "/"),
            ("//", "/"),
            ("/a", "/a"),
            ("/a/", "/a/"),
            ("/a//b", "/a/b"),
            ("/a/./b", "/a/b"),
            ("/a/.", "/a/"),
            ("/a/..", "/"),
            ("/a/../b", "/b"),
            ("/a/b/../c/", "/a/c/"),
            ("/%61", "/a"),
            ("/%2561", "/%61"),
            ("/a%20b", "/a b"),
            ("/...", "/..."),
            ("/..a", "/..a"),
            ("/a;b", "/a;b"),
            ("/caf%C3%A9", "/café"),
        ] {
            assert_eq!(path(raw).as_deref(), Ok(canonical), "{raw}");
        }
    }

    #[test]
    fn ambiguous_paths_are_refused() {
        for (raw, refusal) in [
            ("", Refusal::NotAPath),
            ("*", Refusal::NotAPath),
            ("a", Refusal::NotAPath),
            ("/..", Refusal::AboveRoot),
            ("/a/../..", Refusal::AboveRoot),
            ("/%2e%2e/a", Refusal::EncodedSeparator),
            ("/%2e/a", Refusal::EncodedSeparator),
            ("/.%2E/a", Refusal::EncodedSeparator),
            ("/a%2fb", Refusal::EncodedSeparator),
            ("/a%5cb", Refusal::EncodedSeparator),
            ("/a\\b", Refusal::ForbiddenByte),
            ("/a%00", Refusal::ForbiddenByte),
            ("/a%0d%0ab", Refusal::ForbiddenByte),
            ("/a%7f", Refusal::ForbiddenByte),
            ("/a%", Refusal::BadPercent),
            ("/a%4", Refusal::BadPercent),
            ("/a%zz", Refusal::BadPercent),
            ("/a%+4", Refusal::BadPercent),
        ] {
            assert_eq!(path(raw), Err(refusal), "{raw}");
        }
    }

    #[test]
    fn locations_are_encoded_again() {
        let location = SitePath::parse("/a%20b%25").unwrap().directory_location();
        assert_eq!(location, "/a%20b%25/");
    }

    #[test]
    fn hosts_are_canonical() {
        for (raw, canonical) in [
            ("Example.ORG", Ok("example.org")),
            ("example.org.", Ok("example.org")),
            ("example.org:8080", Ok("example.org:8080")),
            ("example.org:", Ok("example.org")),
            ("127.0.0.1:1", Ok("127.0.0.1:1")),
            ("[::1]:80", Ok("[::1]:80")),
            ("", Err(Refusal::BadHost)),
            ("a..b", Err(Refusal::BadHost)),
            ("a b", Err(Refusal::BadHost)),
            ("a/b", Err(Refusal::BadHost)),
            ("user@a", Err(Refusal::BadHost)),
            ("a:99999", Err(Refusal::BadHost)),
            ("a:+1", Err(Refusal::BadHost)),
            ("[::1", Err(Refusal::BadHost)),
            ("[x]", Err(Refusal::BadHost)),
            ("a,b", Err(Refusal::BadHost)),
        ] {
            let parsed = Host::parse(raw).map(|h| h.to_string());
            assert_eq!(parsed.as_deref().map_err(|e| *e), canonical, "{raw}");
        }
    }

    #[test]
    fn one_host_header_is_wanted() {
        let of = |target, headers: &[&'static str], version| {
            Host::of_request(target, headers.iter().map(|h| h.as_bytes()), version)
                .map(|h| h.map(|h| h.to_string()))
        };
        let (old, new, two) = (Version::HTTP_10, Version::HTTP_11, Version::HTTP_2);
        let is_a = Ok(Some("a".to_owned()));
        for (target, headers, version, host) in [
            (None, &["a"][..], new, is_a.clone()),
            (Some("a"), &["b"], new, is_a.clone()),
            (None, &["a", "a"], new, Err(Refusal::BadHost)),
            (None, &[], new, Err(Refusal::BadHost)),
            (Some("a"), &[], new, Err(Refusal::BadHost)),
            (None, &[], old, Ok(None)),
            (Some("b"), &["a b"], new, Err(Refusal::BadHost)),
            (Some("a"), &[], two, is_a.clone()),
            (Some("a"), &["A"], two, is_a.clone()),
            (Some("a"), &["b"], two, Err(Refusal::BadHost)),
            (None, &["a"], two, is_a.clone()),
            (None, &[], two, Err(Refusal::BadHost)),
        ] {
            assert_eq!(
                of(target, headers, version),
                host,
                "{target:?} {headers:?} {version:?}"
            );
        }
    }
}
