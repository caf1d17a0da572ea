//! What the operator decides.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use worker::RequestLimits;

use crate::exchange::proxy::Trusted;
use crate::ops::log::{AccessFormat, Level, LogFormat};
use crate::site::manifest::SnapshotLevel;

/// Ceilings over every image's wishes, and how much runs at once.
#[derive(Clone, Debug)]
pub struct Ceilings {
    /// Of each request.
    pub limits: RequestLimits,
    /// Instances at once, for each image.
    pub concurrency: usize,
    /// Requests that may wait for one.
    pub queue: usize,
    /// How long they may wait for one.
    pub queue_timeout: Duration,
    /// Images are used where they lie, when only their owner can write them.
    pub trust_file: bool,
    /// How far programs have come in their snapshots, whatever the manifests say.
    pub snapshot: Option<SnapshotLevel>,
}

/// Options of the whole server.
#[derive(Clone, Debug)]
pub struct Options {
    /// Images to serve.
    pub images: Vec<PathBuf>,
    /// Host names given on the command line, each with its image.
    pub hosts: Vec<(String, PathBuf)>,
    /// Where requests come in.
    pub listen: Vec<Address>,
    /// Where the operator asks, if anywhere.
    pub admin: Option<Address>,
    /// Ceilings for each image.
    pub ceilings: Ceilings,
    /// The HTTP side.
    pub http: HttpOptions,
    /// What is written down.
    pub log: LogOptions,
    /// How long running requests may take after the signal to stop.
    pub grace: Duration,
    /// How often images are looked at for a replacement; `None` means never.
    pub watch: Option<Duration>,
}

/// Options of the HTTP side.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Bytes of a request's head.
    pub header_bytes: usize,
    /// Time for a request's head, and the longest idle time between requests.
    pub header_timeout: Duration,
    /// Time for a request's body.
    pub body_timeout: Duration,
    /// How long a client may take nothing of its response.
    pub write_timeout: Duration,
    /// Connections at once.
    pub connections: usize,
    /// Bytes of bodies in memory, for all requests together.
    pub buffer_bytes: u64,
    /// Adds `Server-Timing` and `X-Zapp-Report` to responses.
    pub server_timing: bool,
    /// Proxies whose word about the client is believed.
    pub trusted: Vec<Trusted>,
}

/// What is written down, where and in which form.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Form of event lines, which go to standard error.
    pub format: LogFormat,
    /// Events below this are left out.
    pub level: Level,
    /// Accesses go to this file or, for `-`, to standard output.
    pub access: Option<PathBuf>,
    /// Form of access lines.
    pub access_format: AccessFormat,
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A TCP port.
    Tcp(SocketAddr),
    /// A socket file.
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Address::Unix(path.into()));
        }
        if let Some(port) = text.strip_prefix(':') {
            let port = port.parse().map_err(|_| format!("`{text}`: no port"))?;
            return Ok(Address::Tcp(SocketAddr::from(([0, 0, 0, 0], port))));
        }
        let localhost = text
            .strip_prefix("localhost:")
            .map(|port| format!("127.0.0.1:{port}"));
        let address = localhost.as_deref().unwrap_or(text).parse();
        address.map(Address::Tcp).map_err(|_| {
            format!("`{text}` is no address: write 127.0.0.1:8080, :8080 or unix:/path")
        })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Tcp(address) => write!(f, "http://{address}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let tcp = |text: &str| Ok(Address::Tcp(text.parse().unwrap()));
        assert_eq!("127.0.0.1:0".parse(), tcp("127.0.0.1:0"));
        assert_eq!(":80".parse(), tcp("0.0.0.0:80"));
        assert_eq!("localhost:80".parse(), tcp("127.0.0.1:80"));
        assert_eq!("unix:/run/x".parse(), Ok(Address::Unix("/run/x".into())));
        for bad in ["", "80", "a:b", ":", "example.org:80"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
