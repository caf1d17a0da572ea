//! A request as the variables of CGI (RFC 3875), which is what PHP expects.
//!
//! Headers whose names hold `_` are left out, because `X_A` and `X-A` would become the same variable; so is `Proxy`,
//! which would become `HTTP_PROXY` (CVE-2016-5385), and so are headers that concern the connection.

use hyper::header::{self, HeaderMap};
use worker::Pairs;

use crate::site::route::{Ruled, Script};

/// The largest head that is passed on: the guest's buffer holds 256 KiB.
const VARIABLES_MAX: usize = 512;
const BYTES_MAX: usize = 128 * 1024;

/// What a request is made of, as far as a script is told.
#[derive(Clone, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) method: &'a str,
    /// Path and query as they came.
    pub(crate) uri: &'a str,
    pub(crate) protocol: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body_len: Option<usize>,
    /// Host name without port.
    pub(crate) server_name: &'a str,
    /// Host as the client wrote it, canonical.
    pub(crate) host: &'a str,
    pub(crate) server: (&'a str, u16),
    pub(crate) remote: (&'a str, u16),
    pub(crate) https: bool,
    pub(crate) root: &'a str,
    pub(crate) script: &'a Script,
    pub(crate) request_id: &'a str,
}

/// More than a guest is given: answered with 431.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

/// Headers that concern the connection or were replaced by something else.
const LEFT_OUT: &[&str] = &[
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-request-id",
];

/// The variables of a request.
pub(crate) fn variables(facts: &Facts<'_>) -> Result<Pairs, TooLarge> {
    let root = facts.root.trim_end_matches('/').as_bytes();
    let ruled = facts.script.ruled.as_deref();
    let query = match ruled {
        Some(ruled) => ruled.query.as_deref().unwrap_or_default(),
        None => (facts.uri.split_once('?')).map_or(&b""[..], |(_, query)| query.as_bytes()),
    };
    let mut pairs: Pairs = Vec::with_capacity(32);
    let mut add = |name: &str, value: &[u8]| pairs.push((name.as_bytes().to_vec(), value.to_vec()));
    add("GATEWAY_INTERFACE", b"CGI/1.1");
    add(
        "SERVER_SOFTWARE",
        concat!("zapp/", env!("CARGO_PKG_VERSION")).as_bytes(),
    );
    add("SERVER_PROTOCOL", facts.protocol.as_bytes());
    add("SERVER_NAME", facts.server_name.as_bytes());
    add("SERVER_ADDR", facts.server.0.as_bytes());
    add("SERVER_PORT", facts.server.1.to_string().as_bytes());
    add("REMOTE_ADDR", facts.remote.0.as_bytes());
    add("REMOTE_PORT", facts.remote.1.to_string().as_bytes());
    add(
        "REQUEST_SCHEME",
        if facts.https { b"https" } else { b"http" },
    );
    if facts.https {
        add("HTTPS", b"on");
    }
    add("REQUEST_METHOD", facts.method.as_bytes());
    add("REQUEST_URI", facts.uri.as_bytes());
    add("QUERY_STRING", query);
    add("DOCUMENT_ROOT", if root.is_empty() { b"/" } else { root });
    add("SCRIPT_NAME", &facts.script.name);
    add("SCRIPT_FILENAME", &[root, &facts.script.name].concat());
    if let Some(path_info) = &facts.script.path_info {
        add("PATH_INFO", path_info);
        add("PATH_TRANSLATED", &[root, path_info].concat());
    }
    if let Some(len) = facts.body_len {
        add("CONTENT_LENGTH", len.to_string().as_bytes());
    }
    if let Some(kind) = facts.headers.get(header::CONTENT_TYPE) {
        add("CONTENT_TYPE", kind.as_bytes());
    }
    add("HTTP_HOST", facts.host.as_bytes());
    add("HTTP_X_REQUEST_ID", facts.request_id.as_bytes());
    for name in facts.headers.keys() {
        if LEFT_OUT.contains(&name.as_str()) || !is_plain(name.as_str()) {
            continue;
        }
        let separator: &[u8] = if name == header::COOKIE { b"; " } else { b", " };
        let values: Vec<&[u8]> = facts
            .headers
            .get_all(name)
            .iter()
            .map(|v| v.as_bytes())
            .collect();
        let variable = format!(
            "HTTP_{}",
            name.as_str().to_ascii_uppercase().replace('-', "_")
        );
        add(&variable, &values.join(separator));
    }
    if let Some(ruled) = ruled {
        add_ruled(ruled, &mut pairs);
    }
    let bytes: usize = pairs
        .iter()
        .map(|(name, value)| name.len() + value.len() + 8)
        .sum();
    if pairs.len() > VARIABLES_MAX || bytes > BYTES_MAX {
        return Err(TooLarge);
    }
    Ok(pairs)
}

/// Adds what rules of the site say of a request. They do not change what CGI itself says.
fn add_ruled(ruled: &Ruled, pairs: &mut Pairs) {
    let user = ruled.user.iter().flat_map(|(name, kind)| {
        let kind = kind.clone().into_bytes();
        [
            (b"REMOTE_USER".to_vec(), name.clone()),
            (b"AUTH_TYPE".to_vec(), kind),
        ]
    });
    let own = ruled.environment.iter().map(|(name, value)| {
        // As Apache: what is no letter, digit or underscore becomes one.
        let plain = |b: &u8| if b.is_ascii_alphanumeric() { *b } else { b'_' };
        (name.iter().map(plain).collect(), value.clone())
    });
    for (name, value) in user.chain(own).collect::<Pairs>() {
        let is_new = !pairs.iter().any(|(known, _)| *known == name);
        if is_new && !name.is_empty() && name != b"HTTP_PROXY" && !value.contains(&0) {
            pairs.push((name, value));
        }
    }
}

/// Whether PHP would read a header's name as it came. `.`, `_` and others become `_` in a variable's name, so that another
/// header would pass for the one that a proxy has checked.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// The variables of a warm-up request: a plain GET of nobody's.
pub(crate) fn warm_up(uri: &str, root: &str, host: &str, script: &Script) -> Pairs {
    let facts = Facts {
        method: "GET",
        uri,
        protocol: "HTTP/1.1",
        headers: &HeaderMap::new(),
        body_len: None,
        server_name: host,
        host,
        server: ("127.0.0.1", 80),
        remote: ("127.0.0.1", 0),
        https: false,
        root,
        script,
        request_id: "warm-up",
    };
    variables(&facts).expect("a warm-up request has few variables")
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};

    fn with<'a>(headers: &'a HeaderMap, script: &'a Script) -> Facts<'a> {
        Facts {
            method: "POST",
            uri: "/a%20b?x=1&y",
            protocol: "HTTP/1.1",
            headers,
            body_len: Some(3),
            server_name: "example.org",
            host: "example.org:8080",
            server: ("127.0.0.1", 8080),
            remote: ("127.0.0.2", 4711),
            https: true,
            root: "/site/",
            script,
            request_id: "r1",
        }
    }

    fn get(pairs: &Pairs, name: &str) -> Option<String> {
        let found: Vec<_> = pairs.iter().filter(|(n, _)| n == name.as_bytes()).collect();
        assert!(found.len() <= 1, "{name} is there twice");
        found
            .first()
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    }

    #[test]
    fn a_request_becomes_variables() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("cookie", "a=1"),
            ("cookie", "b=2"),
            ("accept", "x"),
            ("accept", "y"),
            ("content-type", "text/plain"),
            ("proxy", "evil"),
            ("x_forged", "evil"),
            ("x.forwarded.for", "evil"),
            ("x+forged", "evil"),
            ("connection", "close"),
            ("x-request-id", "theirs"),
        ] {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        let script = Script {
            name: b"/index.php".to_vec(),
            path_info: Some(b"/rest".to_vec()),
            ruled: None,
        };
        let pairs = variables(&with(&headers, &script)).unwrap();
        for (name, value) in [
            ("REQUEST_URI", Some("/a%20b?x=1&y")),
            ("QUERY_STRING", Some("x=1&y")),
            ("DOCUMENT_ROOT", Some("/site")),
            ("SCRIPT_FILENAME", Some("/site/index.php")),
            ("PATH_TRANSLATED", Some("/site/rest")),
            ("CONTENT_LENGTH", Some("3")),
            ("CONTENT_TYPE", Some("text/plain")),
            ("HTTP_COOKIE", Some("a=1; b=2")),
            ("HTTP_ACCEPT", Some("x, y")),
            ("HTTP_HOST", Some("example.org:8080")),
            ("SERVER_NAME", Some("example.org")),
            ("HTTP_X_REQUEST_ID", Some("r1")),
            ("HTTPS", Some("on")),
            ("REQUEST_SCHEME", Some("https")),
            ("HTTP_PROXY", None),
            ("HTTP_X_FORGED", None),
            ("HTTP_CONNECTION", None),
            ("HTTP_CONTENT_TYPE", None),
        ] {
            assert_eq!(get(&pairs, name).as_deref(), value, "{name}");
        }
    }

    #[test]
    fn a_head_beyond_the_guests_buffer_is_refused() {
        let script = Script {
            name: b"/index.php".to_vec(),
            path_info: None,
            ruled: None,
        };
        let value = HeaderValue::from_bytes(&vec![b'x'; BYTES_MAX]).unwrap();
        let headers: HeaderMap = [(header::ACCEPT, value)].into_iter().collect();
        assert_eq!(variables(&with(&headers, &script)), Err(TooLarge));
    }
}
