//! A frame for one peer, carried there by others, and what protocol 1 puts into it.

use super::ext::{self, extension};
use super::{WireError, to_cbor};
use crate::base::identity::PeerKey;
use bytes::Bytes;
use hedgerow_topology::Class;
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

/// Links that a frame may cross. A view of 10,000 peers with eight links each is about six links
/// across, but a ring of peers whose other links are gone is not.
pub const TTL_MAX: u8 = 32;
/// Peers that a frame may avoid.
pub const AVOID_MAX: usize = 4;
/// The longest body, bytes. At 1 Mbit/s it occupies a line for 130 ms, so what is more urgent need not
/// wait longer behind it. Longer contents are cut by those who send them.
pub const BODY_BYTES_MAX: usize = 16 << 10;
/// The class of large contents on the wire. Classes that a build does not know count as this one, the
/// least urgent.
const BULK: u8 = 1;

/// A frame for one peer. Each relay lowers `ttl` and passes the rest on; it does not look into the body.
///
/// Nothing proves `from`, `avoid` or the body: any relay can have written them. A protocol that needs
/// proof brings its own. Further fields are for the next peer only, which does not pass them on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Routed {
    /// Whom it is for.
    pub to: PeerKey,
    /// The peer that says it sent it.
    pub from: PeerKey,
    /// Links that it may cross, the one that it comes on included: [`TTL_MAX`] on the first.
    pub ttl: u8,
    /// 0: small and urgent. 1: bulk.
    pub class: u8,
    /// Peers that must not relay it, at most [`AVOID_MAX`].
    pub avoid: Vec<PeerKey>,
    /// What the body is.
    pub protocol: u16,
    /// At most [`BODY_BYTES_MAX`].
    pub body: Bytes,
}

impl Routed {
    /// What every relay checks before it passes a frame on, so that a neighbour that sends anything
    /// else breaks the rules itself.
    pub fn check(&self) -> Result<(), WireError> {
        let why = if self.ttl == 0 || self.ttl > TTL_MAX {
            "more links than any frame may cross, or none"
        } else if self.avoid.len() > AVOID_MAX {
            "avoids too many peers"
        } else if self.body.len() > BODY_BYTES_MAX {
            "its body is too long"
        } else {
            return Ok(());
        };
        let what = "routed frame";
        Err(WireError::Invalid { what, why })
    }

    /// The class of the tree or lane that it goes with.
    pub fn class(&self) -> Class {
        match self.class {
            0 => Class::Normal,
            _ => Class::Bulk,
        }
    }

    /// A class as it stands on the wire.
    pub fn class_to_wire(class: Class) -> u8 {
        match class {
            Class::Normal => 0,
            Class::Bulk => BULK,
        }
    }
}

extension! {
    /// Further fields of an echo.
    pub EchoExt {}
}

/// The body of protocol 1: a request, or its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct Echo {
    /// Whether it answers.
    pub answer: bool,
    /// What the request and its answer have in common.
    pub number: u64,
}

impl Echo {
    /// As a body.
    pub fn encode(self) -> Bytes {
        to_cbor(&self).into()
    }

    /// The opposite, with what later versions add.
    pub fn decode_with(body: &[u8]) -> Result<(Self, EchoExt), WireError> {
        ext::from_cbor("echo", body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routed() -> Routed {
        Routed {
            to: PeerKey([1; 32]),
            from: PeerKey([2; 32]),
            ttl: TTL_MAX,
            class: 0,
            avoid: vec![PeerKey([3; 32]); AVOID_MAX],
            protocol: 1,
            body: vec![7; BODY_BYTES_MAX].into(),
        }
    }

    #[test]
    fn the_limits_themselves_are_within_them() {
        assert_eq!(routed().check(), Ok(()));
        let least = Routed {
            ttl: 1,
            avoid: Vec::new(),
            body: Bytes::new(),
            ..routed()
        };
        assert_eq!(least.check(), Ok(()));
    }

    #[test]
    fn what_no_peer_may_send_is_refused() {
        let mut wrong = [routed(), routed(), routed(), routed()];
        wrong[0].ttl = TTL_MAX + 1;
        wrong[1].ttl = 0;
        wrong[2].avoid.push(PeerKey([4; 32]));
        wrong[3].body = vec![7; BODY_BYTES_MAX + 1].into();
        for routed in wrong {
            assert!(routed.check().is_err(), "ttl {}", routed.ttl);
        }
    }

    #[test]
    fn an_echo_with_fields_of_a_later_version_is_read() {
        let echo = Echo {
            answer: true,
            number: 1 << 40,
        };
        let plain = echo.encode();
        assert_eq!(Echo::decode_with(&plain), Ok((echo, EchoExt::default())));
        let later = [&plain[..], &[0xa1, 9, 1]].concat();
        assert_eq!(
            Echo::decode_with(&later),
            Ok((echo, EchoExt { unknown: 1 }))
        );
        assert!(Echo::decode_with(&plain[..plain.len() - 1]).is_err());
        assert!(Echo::decode_with(&[]).is_err());
    }
}
