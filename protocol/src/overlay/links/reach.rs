//! Where records may make this peer dial.
//!
//! Anybody can state any address. So addresses of a private network, of one link or of this host are
//! dialled only where this peer has something to do with such a network, and an address at which
//! several keys could not be reached is left alone for a while, whoever states it next: records must
//! not make everybody knock at one door.

use super::Stage;
use crate::base::identity::PeerKey;
use crate::base::name::Address;
use crate::base::time::Micros;
use crate::core::Core;
use crate::overlay::Overlay;
use core::net::{Ipv4Addr, Ipv6Addr};
use std::collections::BTreeMap;

/// An address at which so many keys in a row could not be reached is left alone.
const STRIKES: u32 = 3;
/// For so long at first, and at the most, ms: somebody honest who has come to live there is dialled
/// within a minute.
const REST_MIN_MS: u64 = 5_000;
const REST_MAX_MS: u64 = 60_000;
/// After so long without a failure it is as at first, ms.
const FORGIVEN_MS: u64 = 600_000;
/// Addresses remembered for that.
const ADDRESSES_MAX: usize = 1_024;

/// How far an address reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// Everywhere, or it is not known.
    Everywhere,
    /// A private network, of one of the blocks for such.
    Private(u8),
    /// What is connected to one interface.
    Link,
    /// This host.
    Host,
    /// It is nobody's.
    Nobody,
}

/// The IP address that an address begins with, as text.
fn ip_of(address: &Address) -> Option<(&str, &str)> {
    let mut parts = address.as_str().strip_prefix('/')?.split('/');
    let (kind, value) = (parts.next()?, parts.next()?);
    match kind {
        "ip6zone" => Some((parts.next()?, parts.next()?)),
        "ip4" | "ip6" => Some((kind, value)),
        _ => None,
    }
}

fn scope_of(address: &Address) -> Scope {
    match ip_of(address) {
        Some(("ip4", ip)) => ip.parse().map_or(Scope::Nobody, scope_of_v4),
        Some(("ip6", ip)) => ip.parse().map_or(Scope::Nobody, scope_of_v6),
        _ => Scope::Everywhere,
    }
}

/// After IANA's registry of special-purpose addresses (RFC 6890).
fn scope_of_v4(ip: Ipv4Addr) -> Scope {
    match ip.octets() {
        [127, ..] => Scope::Host,
        [10, ..] => Scope::Private(0),
        [172, second, ..] if second & 0xf0 == 16 => Scope::Private(1),
        [192, 168, ..] => Scope::Private(2),
        // Shared by the customers of a provider (RFC 6598).
        [100, second, ..] if second & 0xc0 == 64 => Scope::Private(3),
        [169, 254, ..] => Scope::Link,
        [0 | 224..=255, ..] => Scope::Nobody,
        _ => Scope::Everywhere,
    }
}

fn scope_of_v6(ip: Ipv6Addr) -> Scope {
    if let Some(ip) = ip.to_ipv4_mapped() {
        return scope_of_v4(ip);
    }
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Scope::Host,
        [first, ..] if first & 0xfe00 == 0xfc00 => Scope::Private(4),
        [first, ..] if first & 0xffc0 == 0xfe80 => Scope::Link,
        [first, ..] if first & 0xff00 == 0xff00 => Scope::Nobody,
        [0, 0, 0, 0, 0, 0, 0, 0] => Scope::Nobody,
        _ => Scope::Everywhere,
    }
}

#[derive(Debug)]
struct Strike {
    /// How many keys in a row, and the last of them.
    keys: u32,
    last: PeerKey,
    /// Who answered there instead.
    reached: Option<PeerKey>,
    at: Micros,
    rests: Micros,
}

impl Strike {
    fn rests_until(&self) -> Micros {
        self.at + self.rests
    }
}

/// Addresses at which keys could not be reached.
#[derive(Debug, Default)]
pub(super) struct Strikes {
    addresses: BTreeMap<Address, Strike>,
}

impl Strikes {
    /// `peer` could not be reached at an address, where somebody else may have answered.
    pub(super) fn note(
        &mut self,
        address: &Address,
        peer: PeerKey,
        reached: Option<PeerKey>,
        now: Micros,
    ) {
        let forgiven = Micros::from_millis(FORGIVEN_MS);
        self.addresses
            .retain(|_, strike| now.since(strike.at) <= forgiven);
        if self.addresses.len() >= ADDRESSES_MAX && !self.addresses.contains_key(address) {
            let least = self.addresses.iter();
            let least = least.min_by_key(|(_, strike)| (strike.keys, strike.at));
            if let Some(address) = least.map(|(address, _)| address.clone()) {
                self.addresses.remove(&address);
            }
        }
        let strike = self.addresses.entry(address.clone()).or_insert(Strike {
            keys: 1,
            last: peer,
            reached: None,
            at: now,
            rests: Micros(0),
        });
        strike.reached = reached.or(strike.reached);
        if strike.last != peer {
            strike.last = peer;
            strike.keys = strike.keys.saturating_add(1);
        }
        strike.at = now;
        if strike.keys >= STRIKES {
            let longer = strike.rests.times(2).max(Micros::from_millis(REST_MIN_MS));
            strike.rests = longer.min(Micros::from_millis(REST_MAX_MS));
        }
    }

    /// Somebody who was expected there has been reached.
    pub(super) fn forget(&mut self, address: &Address) {
        self.addresses.remove(address);
    }

    /// Whether `peer` may be dialled there, where somebody is (`is_dialled`) or is not being dialled
    /// now.
    fn allows(&self, address: &Address, peer: PeerKey, is_dialled: bool, now: Micros) -> bool {
        let strike = self.addresses.get(address);
        strike.is_none_or(|strike| {
            let is_awake = strike.rests_until() <= now && !is_dialled;
            is_awake || strike.rests == Micros(0) || strike.reached == Some(peer)
        })
    }
}

impl Overlay {
    /// Those of a peer's addresses at which it may be dialled now.
    pub(super) fn within_reach(
        &self,
        core: &Core,
        peer: PeerKey,
        addresses: Vec<Address>,
    ) -> Vec<Address> {
        let now = core.now.mono;
        let is_same_host = self.is_on_same_host(&addresses);
        let may_be_dialled = |address: &Address| {
            let reaches = match scope_of(address) {
                Scope::Everywhere => true,
                Scope::Nobody => false,
                Scope::Host => is_same_host || self.is_host_alone() || self.has_met(Scope::Host),
                scope => {
                    let mut own = self.own.addresses.iter();
                    own.any(|own| scope_of(own) == scope) || self.has_met(scope)
                }
            };
            let is_dialled = self.dialer.is_dialling_at(address);
            reaches && (self.dialer.strikes).allows(address, peer, is_dialled, now)
        };
        let within = addresses.into_iter().filter(may_be_dialled);
        within.collect()
    }

    /// Whether an address of this scope leads to a neighbour, or was given by the operator or found
    /// on the local network.
    fn has_met(&self, scope: Scope) -> bool {
        let up = self.links.values().filter(|link| link.stage == Stage::Up);
        let linked = up.filter_map(|link| link.address.as_ref());
        let mut met = linked.chain(self.dialer.loose_addresses());
        met.any(|address| scope_of(address) == scope)
    }

    /// Whether this peer can be reached from its own host only.
    fn is_host_alone(&self) -> bool {
        let mut own = self.own.addresses.iter();
        !self.own.addresses.is_empty() && own.all(|own| scope_of(own) == Scope::Host)
    }

    /// Whether somebody who states these addresses shares one with this peer.
    fn is_on_same_host(&self, addresses: &[Address]) -> bool {
        let ips = |addresses: &'_ [Address]| -> Vec<String> {
            let others = addresses.iter().filter(|one| scope_of(one) != Scope::Host);
            let ips = others.filter_map(ip_of);
            ips.map(|(_, ip)| ip.to_owned()).collect()
        };
        let own = ips(&self.own.addresses);
        ips(addresses).iter().any(|ip| own.contains(ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::new(text).expect("valid")
    }

    fn peer(number: u8) -> PeerKey {
        PeerKey([number; 32])
    }

    fn at(ms: u64) -> Micros {
        Micros::from_millis(ms)
    }

    #[test]
    fn addresses_have_the_scope_that_their_block_has() {
        for (text, scope) in [
            ("/ip4/198.51.100.7/tcp/4001", Scope::Everywhere),
            ("/ip4/127.3.2.1/tcp/4001", Scope::Host),
            ("/ip4/10.1.2.3/udp/1/quic-v1", Scope::Private(0)),
            ("/ip4/172.31.2.3/tcp/1", Scope::Private(1)),
            ("/ip4/172.32.2.3/tcp/1", Scope::Everywhere),
            ("/ip4/192.168.2.3/tcp/1", Scope::Private(2)),
            ("/ip4/100.100.2.3/tcp/1", Scope::Private(3)),
            ("/ip4/169.254.169.254/tcp/80", Scope::Link),
            ("/ip4/0.0.0.0/tcp/1", Scope::Nobody),
            ("/ip4/255.255.255.255/tcp/1", Scope::Nobody),
            ("/ip4/1.2.3/tcp/1", Scope::Nobody),
            ("/ip6/::1/tcp/1", Scope::Host),
            ("/ip6/::ffff:127.0.0.1/tcp/1", Scope::Host),
            ("/ip6/fd00::1/tcp/1", Scope::Private(4)),
            ("/ip6/fe80::1/tcp/1", Scope::Link),
            ("/ip6zone/eth0/ip6/fe80::1/tcp/1", Scope::Link),
            ("/ip6/ff02::1/tcp/1", Scope::Nobody),
            ("/ip6/2001:db8::1/tcp/1", Scope::Everywhere),
            ("/dns4/example.org/tcp/1", Scope::Everywhere),
            ("/memory/7", Scope::Everywhere),
            ("next door", Scope::Everywhere),
        ] {
            assert_eq!(scope_of(&address(text)), scope, "{text}");
        }
    }

    #[test]
    fn an_address_rests_when_several_keys_could_not_be_reached_there() {
        let mut strikes = Strikes::default();
        let door = address("/ip4/198.51.100.7/tcp/1");
        for _ in 0..10 {
            strikes.note(&door, peer(1), None, at(0));
        }
        assert!(
            strikes.allows(&door, peer(1), false, at(0)),
            "one key, restarted"
        );
        strikes.note(&door, peer(2), None, at(0));
        assert!(strikes.allows(&door, peer(3), false, at(0)));
        strikes.note(&door, peer(3), Some(peer(9)), at(0));
        assert!(!strikes.allows(&door, peer(4), false, at(4_999)));
        assert!(
            strikes.allows(&door, peer(9), false, at(0)),
            "who lives there"
        );
        assert!(strikes.allows(&door, peer(4), false, at(5_000)));
        assert!(
            !strikes.allows(&door, peer(4), true, at(5_000)),
            "one at a time"
        );
        strikes.note(&door, peer(4), None, at(5_000));
        assert!(!strikes.allows(&door, peer(5), false, at(14_999)));
        strikes.forget(&door);
        assert!(strikes.allows(&door, peer(5), false, at(5_000)));
    }

    #[test]
    fn addresses_remembered_are_bounded() {
        let mut strikes = Strikes::default();
        for number in 0..=ADDRESSES_MAX {
            strikes.note(&address(&format!("/memory/{number}")), peer(1), None, at(0));
        }
        assert_eq!(strikes.addresses.len(), ADDRESSES_MAX);
    }
}
