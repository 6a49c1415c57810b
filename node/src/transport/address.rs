//! Between libp2p's multiaddrs and the engine's opaque addresses.

use crate::{Multiaddr, NodeError};
use hedgerow_protocol::{Address, PeerKey};
use libp2p::PeerId;
use libp2p::multiaddr::Protocol;

/// A multiaddr as the engine keeps it.
pub(crate) fn to_address(address: &Multiaddr) -> Result<Address, NodeError> {
    let text = address.to_string();
    Address::new(&text).map_err(|error| NodeError::Address {
        address: text,
        why: error.to_string(),
    })
}

/// The peer that an address names at its end.
pub(super) fn peer_in(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

/// `address` naming `peer` at its end.
pub(super) fn with_peer_id(mut address: Multiaddr, peer: PeerId) -> Multiaddr {
    if peer_in(&address).is_none() {
        address.push(Protocol::P2p(peer));
    }
    address
}

/// `address` naming `peer` at its end; `None` when it is no multiaddr or names another peer.
pub(crate) fn with_peer(address: &Address, peer: PeerKey) -> Option<Address> {
    let peer = peer.to_peer_id()?;
    let address = with_peer_id(address.as_str().parse().ok()?, peer);
    if peer_in(&address) != Some(peer) {
        return None;
    }
    to_address(&address).ok()
}

/// `address` without the peer at its end.
pub(super) fn without_peer(mut address: Multiaddr) -> Multiaddr {
    if peer_in(&address).is_some() {
        address.pop();
    }
    address
}

/// Whether only this machine can use the address.
pub(super) fn is_loopback(address: &Multiaddr) -> bool {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.is_loopback(),
        Some(Protocol::Ip6(ip)) => ip.is_loopback(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hedgerow_protocol::Keypair;

    #[test]
    fn an_address_names_one_peer() {
        let [one, other] = [1, 2].map(|byte| Keypair::from_secret([byte; 32]).peer());
        let plain = Address::new("/ip4/127.0.0.1/tcp/1").expect("valid");
        let named = with_peer(&plain, one).expect("a multiaddr");
        assert_eq!(named.as_str(), format!("/ip4/127.0.0.1/tcp/1/p2p/{one}"));
        assert_eq!(with_peer(&named, one), Some(named.clone()));
        assert_eq!(with_peer(&named, other), None);
        let nonsense = Address::new("next door").expect("valid");
        assert_eq!(with_peer(&nonsense, one), None);
    }
}
