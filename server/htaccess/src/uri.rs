//! Paths and URLs as Apache escapes, unescapes and tells them apart.

/// Escapes a path: everything but letters, digits and `$-_.+!*'(),:;@&=/~`.
pub(crate) fn escape_path(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    for &byte in path {
        if byte.is_ascii_alphanumeric() || b"$-_.+!*'(),:;@&=/~".contains(&byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(format!("%{byte:02x}").as_bytes());
        }
    }
    out
}

/// A path or URL with a query behind it, if there is one.
pub(crate) fn with_query(mut url: Vec<u8>, query: Option<&[u8]>) -> Vec<u8> {
    if let Some(query) = query {
        url.push(b'?');
        url.extend_from_slice(query);
    }
    url
}

/// Why a path cannot be unescaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadEscape {
    /// `%` without two digits: 400.
    Malformed,
    /// An escaped slash or NUL: 404.
    Forbidden,
}

/// Unescapes the path of an internal redirect.
pub(crate) fn unescape(path: &[u8]) -> Result<Vec<u8>, BadEscape> {
    let decoded = decode(path, |byte| byte == 0 || byte == b'/')?;
    Ok(decoded)
}

/// `unescape:` of expressions: `%2f` stays as it is.
pub(crate) fn unescape_keeping_slashes(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.windows(3).position(|w| w.eq_ignore_ascii_case(b"%2f")) {
        out.extend(decode(&rest[..at], |byte| byte == 0).ok()?);
        out.extend_from_slice(&rest[at..at + 3]);
        rest = &rest[at + 3..];
    }
    out.extend(decode(rest, |byte| byte == 0).ok()?);
    Some(out)
}

fn decode(text: &[u8], forbidden: fn(u8) -> bool) -> Result<Vec<u8>, BadEscape> {
    let digit = |at: usize| {
        let byte = text.get(at).copied().map(char::from)?;
        byte.to_digit(16).and_then(|d| u8::try_from(d).ok())
    };
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    let mut bad = None;
    while let Some(&byte) = text.get(at) {
        if byte != b'%' {
            out.push(byte);
            at += 1;
            continue;
        }
        let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2)) else {
            return Err(BadEscape::Malformed);
        };
        let byte = high << 4 | low;
        if forbidden(byte) {
            bad = Some(BadEscape::Forbidden);
        }
        out.push(byte);
        at += 3;
    }
    bad.map_or(Ok(out), Err)
}

/// Removes `//`, `.` and `..`; `None` when it would leave the root. A slash at the end stays.
pub(crate) fn normalise(path: &[u8]) -> Option<Vec<u8>> {
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    let mut ends_open = false;
    for segment in path.strip_prefix(b"/")?.split(|&b| b == b'/') {
        ends_open = false;
        match segment {
            b"" | b"." => ends_open = true,
            b".." => {
                let parent = out.iter().rposition(|&b| b == b'/')?;
                out.truncate(parent);
                ends_open = true;
            }
            name => {
                out.push(b'/');
                out.extend_from_slice(name);
            }
        }
    }
    if ends_open || out.is_empty() {
        out.push(b'/');
    }
    Some(out)
}

/// The path up to its last slash, slash included.
pub(crate) fn parent(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|&b| b == b'/').map_or(0, |at| at + 1);
    &path[..end]
}

/// What follows the last slash.
pub(crate) fn basename(path: &[u8]) -> &[u8] {
    &path[parent(path).len()..]
}

/// Splits at the first `?`; a `#` ends what is before it.
pub(crate) fn split_query(url: &[u8]) -> (&[u8], Option<&[u8]>) {
    let url = url.split(|&b| b == b'#').next().unwrap_or_default();
    match url.iter().position(|&b| b == b'?') {
        Some(at) => (&url[..at], Some(&url[at + 1..])),
        None => (url, None),
    }
}

/// A URL with one of the schemes that `mod_rewrite` knows: the length of its scheme with `://`, and whether `?` starts a
/// query in it.
pub(crate) fn absolute(url: &[u8]) -> Option<(usize, bool)> {
    const SCHEMES: [(&str, bool); 18] = [
        ("ajp://", true),
        ("balancer://", true),
        ("fcgi://", true),
        ("ftp://", false),
        ("gopher://", false),
        ("h2://", true),
        ("h2c://", true),
        ("http://", true),
        ("https://", true),
        ("ldap://", false),
        ("mailto:", true),
        ("news:", false),
        ("nntp://", false),
        ("scgi://", true),
        ("unix://", true),
        ("unix:", true),
        ("ws://", true),
        ("wss://", true),
    ];
    if url.len() <= 5 {
        return None;
    }
    SCHEMES.iter().find_map(|(scheme, query)| {
        let head = url.get(..scheme.len())?;
        let found = head.eq_ignore_ascii_case(scheme.as_bytes());
        found.then_some((scheme.len(), *query))
    })
}

/// Whether a text starts like a URL: letters, digits, `+-.`, and a colon.
pub(crate) fn is_url(text: &[u8]) -> bool {
    let is_scheme = |b: &u8| b.is_ascii_alphanumeric() || b"+-.".contains(b);
    let len = text.iter().take_while(|b| is_scheme(b)).count();
    len > 0 && text.get(len) == Some(&b':')
}

/// Escapes an absolute URL behind its host.
pub(crate) fn escape_absolute(url: &[u8], scheme: usize) -> Vec<u8> {
    let mut start = scheme;
    if url.get(scheme.wrapping_sub(1)) == Some(&b'/') {
        let path = url[scheme..].iter().position(|&b| b == b'/');
        match path {
            Some(path) if scheme + path + 1 < url.len() => start = scheme + path + 1,
            _ => return url.to_vec(),
        }
    }
    [&url[..start], &escape_path(&url[start..])].concat()
}

/// Escapes a URL for a `Location`, but neither its query nor its fragment.
pub(crate) fn escape_location(url: &[u8]) -> Vec<u8> {
    let (url, fragment) = match url.iter().position(|&b| b == b'#') {
        Some(at) => (&url[..at], &url[at..]),
        None => (url, &b""[..]),
    };
    let (path, query) = match url.iter().position(|&b| b == b'?') {
        Some(at) => (&url[..at], &url[at..]),
        None => (url, &b""[..]),
    };
    [&escape_path(path), query, fragment].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised() {
        for (path, normal) in [
            ("/", Some("/")),
            ("/a//b/./c", Some("/a/b/c")),
            ("/a/../b/", Some("/b/")),
            ("/a/..", Some("/")),
            ("/..", None),
            ("a", None),
            ("/a/.", Some("/a/")),
        ] {
            let found = normalise(path.as_bytes());
            assert_eq!(found.as_deref(), normal.map(str::as_bytes), "{path}");
        }
    }

    #[test]
    fn escapes_are_undone_once() {
        assert_eq!(unescape(b"/a%20b%2541").unwrap(), b"/a b%41");
        assert_eq!(unescape(b"/a%2fb"), Err(BadEscape::Forbidden));
        assert_eq!(unescape(b"/a%00b"), Err(BadEscape::Forbidden));
        assert_eq!(unescape(b"/100%"), Err(BadEscape::Malformed));
        assert_eq!(unescape_keeping_slashes(b"a%2Fb%20c").unwrap(), b"a%2Fb c");
    }

    #[test]
    fn urls_are_escaped_behind_their_host() {
        assert_eq!(escape_absolute(b"http://h/a b?c", 7), b"http://h/a%20b%3fc");
        assert_eq!(escape_absolute(b"http://h", 7), b"http://h");
        assert_eq!(
            escape_location(b"http://h/a b?c d#e f"),
            b"http://h/a%20b?c d#e f"
        );
        assert_eq!(absolute(b"HTTPS://x"), Some((8, true)));
        assert_eq!(absolute(b"/http://"), None);
        assert!(is_url(b"http:x") && !is_url(b"/x:y") && !is_url(b":x"));
    }
}
