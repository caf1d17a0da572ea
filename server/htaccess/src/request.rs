//! A request as rules see it.

use std::net::IpAddr;

use crate::table::Table;

/// A request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `GET`.
    pub method: &'a str,
    /// The path and query as they came: `/a%20b?x=1`.
    pub target: &'a [u8],
    /// The path, decoded and normalised.
    pub path: &'a [u8],
    /// What follows `?`.
    pub query: Option<&'a [u8]>,
    /// `HTTP/1.1`.
    pub protocol: &'a str,
    /// Whether the client came by HTTPS.
    pub https: bool,
    /// The host as the client named it, without a port.
    pub host: &'a str,
    /// The port that the client named, or else the server's.
    pub port: u16,
    /// The request's headers.
    pub headers: &'a Table,
    /// Where the request comes from.
    pub remote: IpAddr,
    /// The client's port.
    pub remote_port: u16,
    /// The address that was asked.
    pub server: IpAddr,
    /// When it came, in seconds since 1970.
    pub time: i64,
}

impl<'a> Request<'a> {
    /// A GET of a path without a query, over HTTP/1.1, of this machine by itself.
    #[must_use]
    pub fn get(path: &'a [u8], headers: &'a Table) -> Request<'a> {
        let localhost = IpAddr::from([127, 0, 0, 1]);
        Request {
            method: "GET",
            target: path,
            path,
            query: None,
            protocol: "HTTP/1.1",
            https: false,
            host: "example.org",
            port: 80,
            headers,
            remote: localhost,
            remote_port: 1,
            server: localhost,
            time: 0,
        }
    }
}

impl Request<'_> {
    /// `http` or `https`.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }

    fn default_port(&self) -> u16 {
        if self.https { 443 } else { 80 }
    }

    /// `http://host`, with the port unless it is the usual one.
    pub(crate) fn origin(&self) -> Vec<u8> {
        let host = self.host;
        let host = match host.contains(':') && !host.starts_with('[') {
            true => format!("[{host}]"),
            false => host.to_owned(),
        };
        let scheme = self.scheme();
        if self.port == self.default_port() {
            format!("{scheme}://{host}").into_bytes()
        } else {
            format!("{scheme}://{host}:{}", self.port).into_bytes()
        }
    }

    /// Whether a host, perhaps with a port, is the one that was asked.
    pub(crate) fn is_own_host(&self, host: &[u8]) -> bool {
        let Ok(host) = std::str::from_utf8(host) else {
            return false;
        };
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => (name, port.parse().ok()),
            _ => (host, Some(self.default_port())),
        };
        name.eq_ignore_ascii_case(self.host) && port == Some(self.port)
    }
}

/// A method as `<Limit>` counts them: HEAD is GET, and all that are not known are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Method(u8);

/// A set of methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Methods(u32);

const KNOWN: [&str; 25] = [
    "GET",
    "PUT",
    "POST",
    "DELETE",
    "CONNECT",
    "OPTIONS",
    "TRACE",
    "PATCH",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "VERSION-CONTROL",
    "CHECKOUT",
    "UNCHECKOUT",
    "CHECKIN",
    "UPDATE",
    "LABEL",
    "REPORT",
    "MKWORKSPACE",
    "MKACTIVITY",
    "MERGE",
];

impl Method {
    pub(crate) const GET: Method = Method(0);
    pub(crate) const POST: Method = Method(2);
    /// A method that is not known.
    const OTHER: Method = Method(31);

    /// The method of a name, which is written in capitals.
    pub(crate) fn named(name: &str) -> Method {
        if name == "HEAD" {
            return Method::GET;
        }
        match KNOWN.iter().position(|known| *known == name) {
            Some(index) => Method(u8::try_from(index).expect("there are few")),
            None => Method::OTHER,
        }
    }

    pub(crate) fn is_known(self) -> bool {
        self != Method::OTHER
    }
}

impl Methods {
    pub(crate) const ALL: Methods = Methods(u32::MAX);
    pub(crate) const NONE: Methods = Methods(0);

    pub(crate) fn with(self, method: Method) -> Methods {
        Methods(self.0 | 1 << method.0)
    }

    pub(crate) fn contains(self, method: Method) -> bool {
        self.0 & 1 << method.0 != 0
    }

    pub(crate) fn inverted(self) -> Methods {
        Methods(!self.0)
    }

    pub(crate) fn and(self, other: Methods) -> Methods {
        Methods(self.0 & other.0)
    }

    pub(crate) fn or(self, other: Methods) -> Methods {
        Methods(self.0 | other.0)
    }
}
