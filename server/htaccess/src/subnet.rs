//! Addresses and networks: `Require ip`, `Allow from`, `-ipmatch`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network: those addresses that are `address` under `mask`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subnet {
    address: u128,
    mask: u128,
    v6: bool,
}

impl Subnet {
    pub(crate) const LOCAL_V4: Subnet = Subnet {
        address: 0x7f00_0000 << 96,
        mask: 0xff00_0000 << 96,
        v6: false,
    };
    pub(crate) const LOCAL_V6: Subnet = Subnet {
        address: 1,
        mask: u128::MAX,
        v6: true,
    };

    /// Reads `10.1.2.3`, `10.1`, `10.1.0.0/16`, `10.1.0.0/255.255.0.0`, `2001:db8::/32`.
    pub(crate) fn parse(text: &[u8]) -> Option<Subnet> {
        let text = std::str::from_utf8(text).ok()?;
        let (address, mask) = match text.split_once('/') {
            Some((address, mask)) => (address, Some(mask)),
            None => (text, None),
        };
        if address.contains(':') {
            let address: Ipv6Addr = address.parse().ok()?;
            let mask = mask.map_or(Some(u128::MAX), |mask| prefix(mask, 128))?;
            let address = u128::from(address) & mask;
            return Some(Subnet {
                address,
                mask,
                v6: true,
            });
        }
        let (address, given) = v4(address)?;
        let mask = match mask {
            None => prefix_bits(given, 32)?,
            Some(mask) if mask.contains('.') => {
                let mask: Ipv4Addr = mask.parse().ok()?;
                u128::from(u32::from(mask)) << 96
            }
            Some(mask) => prefix(mask, 32)?,
        };
        Some(Subnet {
            address: address & mask,
            mask,
            v6: false,
        })
    }

    /// Whether an address is in it. IPv4 in IPv6's clothes counts as IPv4.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let (bits, v6) = match address.to_canonical() {
            IpAddr::V4(address) => (u128::from(u32::from(address)) << 96, false),
            IpAddr::V6(address) => (u128::from(address), true),
        };
        v6 == self.v6 && bits & self.mask == self.address
    }
}

/// One to four numbers: an address, and how many of its bits are given.
fn v4(text: &str) -> Option<(u128, u32)> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let mut bits: u128 = 0;
    let mut count = 0;
    for part in text.split('.') {
        let is_number = (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        if !is_number || count == 4 {
            return None;
        }
        bits |= u128::from(part.parse::<u8>().ok()?) << (120 - 8 * count);
        count += 1;
    }
    Some((bits, 8 * count))
}

fn prefix(text: &str, max: u32) -> Option<u128> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    prefix_bits(is_number.then(|| text.parse().ok())??, max)
}

fn prefix_bits(bits: u32, max: u32) -> Option<u128> {
    (bits <= max).then(|| match bits {
        0 => 0,
        _ => u128::MAX << (128 - bits),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses() {
        for (network, address, inside) in [
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("10.1", "10.1.200.4", true),
            ("10.1.", "10.2.0.1", false),
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/255.255.0.0", "10.0.7.1", true),
            ("10.0.0.0/255.255.0.0", "10.1.7.1", false),
            ("0.0.0.0/0", "200.1.1.1", true),
            ("0.0.0.0/0", "::1", false),
            ("2001:db8::/32", "2001:db8:1::5", true),
            ("2001:db8::/32", "2001:db9::5", false),
            ("127.0.0.1", "::ffff:127.0.0.1", true),
        ] {
            let subnet = Subnet::parse(network.as_bytes()).unwrap();
            let found = subnet.contains(address.parse().unwrap());
            assert_eq!(found, inside, "{network} {address}");
        }
        for text in [
            "",
            "x",
            "10.1.2.3.4",
            "256.1.1.1",
            "10.0.0.0/33",
            "10.0.0.0/x",
            "::1/129",
            "1..2",
        ] {
            assert_eq!(Subnet::parse(text.as_bytes()), None, "{text}");
        }
        assert!(Subnet::LOCAL_V4.contains("127.3.2.1".parse().unwrap()));
        assert!(Subnet::LOCAL_V6.contains("::1".parse().unwrap()));
    }
}
