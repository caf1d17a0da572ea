//! What the operator decides.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use worker::RequestLimits;

use super::manifest::SnapshotLevel;
use super::proxy::Trusted;

/// Ceilings over every image's wishes, and how much runs at once.
#[derive(Clone, Debug)]
pub(crate) struct Ceilings {
    pub(crate) limits: RequestLimits,
    /// Instances at once, for each image.
    pub(crate) concurrency: usize,
    /// Requests that may wait for one.
    pub(crate) queue: usize,
    pub(crate) queue_timeout: Duration,
    /// Images are used where they lie, when only their owner can write them.
    pub(crate) trust_file: bool,
    /// How far programs have come in their snapshots, whatever the manifests say.
    pub(crate) snapshot: Option<SnapshotLevel>,
}

/// Options of the whole server.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) images: Vec<PathBuf>,
    /// Host names given on the command line, each with its image.
    pub(crate) hosts: Vec<(String, PathBuf)>,
    pub(crate) listen: Vec<Address>,
    pub(crate) admin: Option<Address>,
    pub(crate) ceilings: Ceilings,
    pub(crate) http: HttpOptions,
    /// How long running requests may take after the signal to stop.
    pub(crate) grace: Duration,
    /// How often images are looked at for a replacement; `None` means never.
    pub(crate) watch: Option<Duration>,
}

/// Options of the HTTP side.
#[derive(Clone, Debug)]
pub(crate) struct HttpOptions {
    pub(crate) header_bytes: usize,
    pub(crate) header_timeout: Duration,
    pub(crate) body_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) connections: usize,
    /// Bytes of bodies in memory, for all requests together.
    pub(crate) buffer_bytes: u64,
    /// Adds `Server-Timing` and `X-Zapp-Report` to responses.
    pub(crate) server_timing: bool,
    /// Proxies whose word about the client is believed.
    pub(crate) trusted: Vec<Trusted>,
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp(SocketAddr),
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
