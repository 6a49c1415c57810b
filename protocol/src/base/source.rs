//! Where connections come from: prefixes of IP addresses, and what counts as one place.

use crate::base::name::Address;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// Bytes of an IPv6 address that name one place: a /56 is what providers give to a household.
const IP6_BYTES: usize = 7;

/// A range of IP addresses, as `127.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix {
    network: IpAddr,
    bits: u8,
}

/// Why a text is no prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}: not a prefix; write ADDRESS/BITS, such as 192.168.0.0/16 or fd00::/8")]
pub struct PrefixError {
    text: String,
}

impl Prefix {
    /// The first `bits` bits of `network`; `None` where an address has fewer.
    pub fn new(network: IpAddr, bits: u8) -> Option<Self> {
        (bits <= bits_of(network)).then_some(Self { network, bits })
    }

    /// Whether it covers `address`.
    pub fn contains(&self, address: IpAddr) -> bool {
        let apart = match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                u128::from(network.to_bits() ^ address.to_bits())
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => network.to_bits() ^ address.to_bits(),
            _ => return false,
        };
        let rest = bits_of(address) - self.bits;
        apart.checked_shr(u32::from(rest)).unwrap_or(0) == 0
    }
}

fn bits_of(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let parse = || {
            let (network, bits) = text.split_once('/')?;
            Self::new(network.parse().ok()?, bits.parse().ok()?)
        };
        parse().ok_or_else(|| PrefixError {
            text: text.to_owned(),
        })
    }
}

impl TryFrom<String> for Prefix {
    type Error = PrefixError;

    fn try_from(text: String) -> Result<Self, PrefixError> {
        text.parse()
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.to_string()
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.bits)
    }
}

/// What counts as one place that connections come from: an IPv4 address, an IPv6 /56. Keys cost
/// nothing and addresses do, so limits go by these.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// An IPv4 address.
    Ip4(Ipv4Addr),
    /// The first 56 bits of an IPv6 address.
    Ip6([u8; IP6_BYTES]),
    /// The first two parts of any other address.
    Other(String),
}

impl Source {
    /// The place of an address.
    pub fn of(address: &Address) -> Self {
        match ip_of(address) {
            Some(IpAddr::V4(ip)) => Self::Ip4(ip),
            Some(IpAddr::V6(ip)) => {
                let mut bytes = [0; IP6_BYTES];
                bytes.copy_from_slice(&ip.octets()[..IP6_BYTES]);
                Self::Ip6(bytes)
            }
            None => {
                let parts: Vec<&str> = address.as_str().splitn(4, '/').take(3).collect();
                Self::Other(parts.join("/"))
            }
        }
    }
}

/// The IP address that a multiaddr begins with.
pub fn ip_of(address: &Address) -> Option<IpAddr> {
    let mut parts = address.as_str().split('/').skip(1);
    let mut kind = parts.next()?;
    if kind == "ip6zone" {
        parts.next()?;
        kind = parts.next()?;
    }
    let value = parts.next()?;
    let ip: IpAddr = match kind {
        "ip4" | "ip6" => value.parse().ok()?,
        _ => return None,
    };
    // IPv4 over a socket of both kinds.
    Some(ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::of(&Address::new(text).expect("valid"))
    }

    #[test]
    fn an_ip4_address_is_one_place_whatever_its_port() {
        let one = source("/ip4/192.0.2.7/tcp/4001");
        assert_eq!(one, source("/ip4/192.0.2.7/udp/9/quic-v1"));
        assert_eq!(one, source("/ip6/::ffff:192.0.2.7/tcp/1"));
        assert_ne!(one, source("/ip4/192.0.2.8/tcp/4001"));
    }

    #[test]
    fn an_ip6_prefix_of_56_bits_is_one_place() {
        let one = source("/ip6/2001:db8:1:200::1/tcp/1");
        assert_eq!(one, source("/ip6/2001:db8:1:2ff::2/tcp/1"));
        assert_ne!(one, source("/ip6/2001:db8:1:300::1/tcp/1"));
        let zone = source("/ip6zone/eth0/ip6/fe80::1/tcp/1");
        assert_eq!(zone, source("/ip6/fe80::2/tcp/1"));
    }

    #[test]
    fn other_addresses_go_by_their_first_parts() {
        assert_eq!(source("/memory/7/outbound"), source("/memory/7"));
        assert_ne!(source("/memory/7"), source("/memory/8"));
    }

    #[test]
    fn prefixes_cover_what_they_say_and_survive_text() {
        let prefix = |text: &str| text.parse::<Prefix>().expect("valid");
        let ip = |text: &str| text.parse::<IpAddr>().expect("valid");
        assert!(prefix("127.0.0.0/8").contains(ip("127.9.9.9")));
        assert!(!prefix("127.0.0.0/8").contains(ip("128.0.0.1")));
        assert!(!prefix("127.0.0.0/8").contains(ip("::1")));
        assert!(prefix("0.0.0.0/0").contains(ip("198.51.100.1")));
        assert!(!prefix("::/0").contains(ip("198.51.100.1")));
        assert!(prefix("::1/128").contains(ip("::1")));
        assert!(!prefix("::1/128").contains(ip("::2")));
        assert!(prefix("fd00::/8").contains(ip("fdff::1")));
        assert_eq!(prefix("fd00::/8").to_string(), "fd00::/8");
        for wrong in [
            "",
            "127.0.0.1",
            "127.0.0.0/33",
            "::/129",
            "a/8",
            "1.2.3.4/x",
        ] {
            assert!(wrong.parse::<Prefix>().is_err(), "{wrong}");
        }
    }
}
