//! Who a client is when a proxy stands before this server.
//!
//! `X-Forwarded-For` and `X-Forwarded-Proto` are believed only when the connection comes from a proxy that the operator
//! named, and an address in the list only as far as each hop behind it is such a proxy.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use hyper::header::HeaderMap;

use crate::exchange::peers::{Client, Peers};

/// A proxy that is believed: an address, a network, or whoever may open the Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trusted {
    /// Addresses whose first bits are these.
    Network(IpAddr, u32),
    /// Whoever may open the socket file.
    Unix,
}

impl FromStr for Trusted {
    type Err = String;

    fn from_str(text: &str) -> Result<Trusted, String> {
        if text == "unix" {
            return Ok(Trusted::Unix);
        }
        let bad = || format!("`{text}` is no network: write 10.0.0.0/8, ::1 or unix");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let max = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(max), |bits| bits.parse().map_err(|_| bad()))?;
        if bits > max {
            return Err(bad());
        }
        Ok(Trusted::Network(address, bits))
    }
}

impl Trusted {
    fn holds(&self, address: IpAddr) -> bool {
        let Trusted::Network(network, bits) = *self else {
            return false;
        };
        // An IPv4 client of a socket that listens on both has its address in IPv6's form.
        match (network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
                u32::from(network) & mask == u32::from(address) & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
                u128::from(network) & mask == u128::from(address) & mask
            }
            _ => false,
        }
    }
}

/// Both ends of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Ends {
    /// Missing for a Unix socket.
    pub(crate) remote: Option<IpAddr>,
    pub(crate) remote_port: u16,
    pub(crate) local: (String, u16),
}

impl Ends {
    /// Who asks in a request that came over this connection.
    pub(crate) fn peers(&self, headers: &HeaderMap, trusted: &[Trusted]) -> Peers {
        Peers {
            client: client(self.remote, self.remote_port, headers, trusted),
            local: self.local.clone(),
        }
    }
}

/// The client of a request that came over a connection. `remote` is the other end of it; `None` for a Unix socket.
fn client(remote: Option<IpAddr>, port: u16, headers: &HeaderMap, trusted: &[Trusted]) -> Client {
    let is_proxy = |address: IpAddr| trusted.iter().any(|t| t.holds(address));
    let believed = match remote {
        Some(address) => is_proxy(address),
        None => trusted.contains(&Trusted::Unix),
    };
    // What CGI has no words for: a local peer counts as this machine.
    let mut client = Client {
        address: remote.map_or("127.0.0.1".to_owned(), |a| a.to_canonical().to_string()),
        port,
        https: false,
    };
    if !believed {
        return client;
    }
    let hops = list(headers, "x-forwarded-for");
    let mut named = 0;
    for hop in hops.iter().rev() {
        // What is no address was not written by a proxy of ours.
        let Some(address) = address(hop) else {
            break;
        };
        client.address = address.to_canonical().to_string();
        client.port = 0;
        named += 1;
        if !is_proxy(address) {
            break;
        }
    }
    // Where every proxy added to both lists, the client's entry in one is its entry in the other. Otherwise the first was
    // written by the proxy that the client spoke to, and the next ones only passed it on.
    let protocols = list(headers, "x-forwarded-proto");
    let protocol = if named > 0 && protocols.len() == hops.len() {
        protocols.get(protocols.len() - named)
    } else {
        protocols.first()
    };
    client.https = protocol.is_some_and(|protocol| protocol.eq_ignore_ascii_case("https"));
    client
}

/// The entries of a header that is a list, on however many lines.
fn list<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    let lines = headers.get_all(name).iter();
    let text = lines.map(|line| line.to_str().unwrap_or_default());
    text.flat_map(|line| line.split(','))
        .map(str::trim)
        .collect()
}

/// An address as proxies write it: alone, or with the port that it had there (`192.0.2.1:555`, `[2001:db8::1]:555`).
fn address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let bare = bare.map(|bare| bare.parse::<Ipv6Addr>().map(IpAddr::V6));
    let bare = bare.unwrap_or_else(|| text.parse());
    let with_port = || text.parse::<SocketAddr>().map(|address| address.ip());
    bare.or_else(|_| with_port()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};

    #[test]
    fn networks_are_read() {
        for good in [
            "127.0.0.1",
            "10.0.0.0/8",
            "0.0.0.0/0",
            "::1",
            "fd00::/8",
            "unix",
        ] {
            assert!(good.parse::<Trusted>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/-1",
            "example.org",
            "10/8",
        ] {
            assert!(bad.parse::<Trusted>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_named_proxies_are_believed() {
        let trusted: Vec<Trusted> = ["127.0.0.1", "10.0.0.0/8", "fd00::/8"]
            .iter()
            .map(|t| t.parse().unwrap())
            .collect();
        let client = |remote: &str, forwarded: &[&'static str], proto: &'static str| {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                let name = HeaderName::from_static("x-forwarded-for");
                headers.append(name, HeaderValue::from_static(value));
            }
            let name = HeaderName::from_static("x-forwarded-proto");
            headers.append(name, HeaderValue::from_static(proto));
            let client = super::client(Some(remote.parse().unwrap()), 9, &headers, &trusted);
            (client.address, client.https)
        };
        for (remote, forwarded, proto, address, https) in [
            ("192.0.2.1", &["1.2.3.4"][..], "https", "192.0.2.1", false),
            ("127.0.0.1", &["1.2.3.4"], "https", "1.2.3.4", true),
            ("::ffff:10.1.1.1", &["1.2.3.4"], "http", "1.2.3.4", false),
            ("fd00::1", &["2001:db8::1"], "HTTPS", "2001:db8::1", true),
            ("127.0.0.1", &["6.6.6.6, 1.2.3.4"], "", "1.2.3.4", false),
            // case reported-xff-with-port
            ("127.0.0.1", &["1.2.3.4:555"], "", "1.2.3.4", false),
            (
                "127.0.0.1",
                &["[2001:db8::1]:555"],
                "",
                "2001:db8::1",
                false,
            ),
            ("127.0.0.1", &["[2001:db8::1]"], "", "2001:db8::1", false),
            (
                "127.0.0.1",
                &["6.6.6.6:1, 10.2.2.2:5"],
                "",
                "6.6.6.6",
                false,
            ),
            ("127.0.0.1", &["1.2.3.4:x"], "", "127.0.0.1", false),
            ("127.0.0.1", &["1.2.3.4:99999"], "", "127.0.0.1", false),
            ("127.0.0.1", &["1.2.3.4"], "https,http", "1.2.3.4", true),
            ("127.0.0.1", &[], "https,http", "127.0.0.1", true),
            ("127.0.0.1", &[], "http, https", "127.0.0.1", false),
            (
                "127.0.0.1",
                &["6.6.6.6, 1.2.3.4"],
                "https, http",
                "1.2.3.4",
                false,
            ),
            (
                "127.0.0.1",
                &["6.6.6.6, 1.2.3.4"],
                "http, https",
                "1.2.3.4",
                true,
            ),
            (
                "127.0.0.1",
                &["6.6.6.6", "1.2.3.4, 10.2.2.2"],
                "http, https, http",
                "1.2.3.4",
                true,
            ),
            ("127.0.0.1", &["evil, 10.2.2.2"], "", "10.2.2.2", false),
            ("127.0.0.1", &["10.2.2.2"], "", "10.2.2.2", false),
            ("127.0.0.1", &[], "https", "127.0.0.1", true),
        ] {
            assert_eq!(
                client(remote, forwarded, proto),
                (address.to_owned(), https),
                "{remote} {forwarded:?}"
            );
        }
    }

    #[test]
    fn a_unix_socket_is_believed_when_it_is_named() {
        let headers: HeaderMap = [(
            HeaderName::from_static("x-forwarded-for"),
            HeaderValue::from_static("1.2.3.4"),
        )]
        .into_iter()
        .collect();
        assert_eq!(
            super::client(None, 0, &headers, &[Trusted::Unix]).address,
            "1.2.3.4"
        );
        assert_eq!(super::client(None, 0, &headers, &[]).address, "127.0.0.1");
    }
}
