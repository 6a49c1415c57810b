//! Who a peer is: an ed25519 key. No key is ever read from or written to disk here.

use ed25519_dalek::{Signer as _, SigningKey, Verifier as _, VerifyingKey};
use libp2p_identity::{PeerId, PublicKey, ed25519};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A peer's public key: its identity. Ordered by bytes; shown as a libp2p `PeerId`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PeerKey(pub [u8; 32]);

impl Ord for PeerKey {
    /// By bytes; the first eight, which decide nearly always, at once.
    fn cmp(&self, other: &Self) -> Ordering {
        let by_prefix = self.prefix().cmp(&other.prefix());
        by_prefix.then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for PeerKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A text that names no ed25519 peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the PeerId of an ed25519 key (they begin with 12D3Koo)")]
pub struct ParsePeerError(pub String);

impl PeerKey {
    /// The libp2p `PeerId` of this key, or `None` when the bytes are no valid point.
    pub fn to_peer_id(self) -> Option<PeerId> {
        let key = ed25519::PublicKey::try_from_bytes(&self.0).ok()?;
        Some(PublicKey::from(key).to_peer_id())
    }

    /// The ed25519 key inside a `PeerId`; `None` for other key types.
    pub fn from_peer_id(id: &PeerId) -> Option<Self> {
        // An ed25519 PeerId is an identity multihash (code 0) of the protobuf-encoded key.
        let hash = id.as_ref();
        if hash.code() != 0 {
            return None;
        }
        let key = PublicKey::try_decode_protobuf(hash.digest()).ok()?;
        Some(Self(key.try_into_ed25519().ok()?.to_bytes()))
    }

    /// The first eight bytes: names a peer among peers already known.
    #[inline]
    pub fn prefix(self) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.0[..8]);
        u64::from_be_bytes(bytes)
    }

    /// Where the peer stands on the ring: a hash of its key, one order for all groups.
    pub fn ring_position(self) -> u64 {
        let hash = blake3::derive_key("hedgerow ring position v1", &self.0);
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&hash[..8]);
        u64::from_be_bytes(bytes)
    }
}

impl fmt::Display for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(id) = self.to_peer_id() {
            write!(f, "{id}")
        } else {
            f.write_str("invalid:")?;
            self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
        }
    }
}

impl fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerKey({:016x})", self.prefix())
    }
}

impl FromStr for PeerKey {
    type Err = ParsePeerError;
    fn from_str(text: &str) -> Result<Self, ParsePeerError> {
        let id = PeerId::from_str(text).map_err(|_| ParsePeerError(text.to_owned()))?;
        Self::from_peer_id(&id).ok_or_else(|| ParsePeerError(text.to_owned()))
    }
}

impl Serialize for PeerKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for PeerKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            text.parse().map_err(serde::de::Error::custom)
        } else {
            serde_bytes::ByteArray::<32>::deserialize(deserializer).map(|b| Self(b.into_array()))
        }
    }
}

/// A peer's secret key.
#[derive(Clone)]
pub struct Keypair {
    signing: SigningKey,
}

impl Keypair {
    /// The key pair of a 32-byte ed25519 secret (RFC 8032, section 5.1.5).
    pub fn from_secret(secret: [u8; 32]) -> Self {
        Self {
            signing: SigningKey::from_bytes(&secret),
        }
    }

    /// The 32-byte secret, for a driver that keeps it.
    pub fn secret(&self) -> [u8; 32] {
        self.signing.to_bytes()
    }

    /// The public half.
    pub fn peer(&self) -> PeerKey {
        PeerKey(self.signing.verifying_key().to_bytes())
    }

    /// Signs `message` (RFC 8032, deterministic).
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.signing.sign(message).to_bytes()
    }
}

impl fmt::Debug for Keypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keypair({:?})", self.peer())
    }
}

/// The points of small order as they are written (their y, and which of two x), without what is
/// not canonical: that no check accepts.
const SMALL_ORDER: [[u8; 32]; 8] = {
    let order_1 = with_ends([0; 32], 1, 0);
    let order_2 = with_ends([0xff; 32], 0xec, 0x7f);
    let order_4 = [0; 32];
    let order_8 = [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ];
    let other_8 = [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ];
    [
        order_1,
        order_2,
        order_4,
        with_ends(order_4, 0, 0x80),
        order_8,
        with_ends(order_8, 0x26, 0x85),
        other_8,
        with_ends(other_8, 0xc7, 0xfa),
    ]
};

const fn with_ends(mut bytes: [u8; 32], first: u8, last: u8) -> [u8; 32] {
    bytes[0] = first;
    bytes[31] = last;
    bytes
}

/// Who must have signed something. To decode a key takes a tenth of a check, so who checks much
/// of the same signer does it once.
#[derive(Clone, Debug)]
pub struct Signer {
    peer: PeerKey,
    /// Its point; `None`: still to be decoded.
    decoded: Option<Arc<VerifyingKey>>,
}

impl Signer {
    /// The signer, its key decoded, if it can sign at all.
    pub(crate) fn decode(peer: PeerKey) -> Self {
        let decoded = decode(peer).map(Arc::new);
        Self { peer, decoded }
    }

    /// Whose signature it must be.
    pub fn peer(&self) -> PeerKey {
        self.peer
    }

    /// Whether `signature` is this signer's over `message`.
    ///
    /// Strict verification (no small-order keys, canonical scalars), so that every peer accepts
    /// exactly the same set; see "Taming the many `EdDSAs`" (Chalkias, Garillot, Nikolaenko,
    /// 2020). What is accepted is what `verify_strict` accepts; that decodes R to see that it is
    /// not of small order, and here it is enough to look, for a check that succeeds has shown R
    /// to be written the canonical way.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let decoded = match &self.decoded {
            Some(key) => Some(**key),
            None => decode(self.peer),
        };
        let small = |r: &[u8; 32]| signature.starts_with(r);
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        decoded.is_some_and(|key| key.verify(message, &signature).is_ok())
            && !SMALL_ORDER.iter().any(small)
    }
}

impl From<PeerKey> for Signer {
    fn from(peer: PeerKey) -> Self {
        Self {
            peer,
            decoded: None,
        }
    }
}

/// The point of a key, unless it is none or of small order.
fn decode(peer: PeerKey) -> Option<VerifyingKey> {
    let key = VerifyingKey::from_bytes(&peer.0).ok()?;
    (!key.is_weak()).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn all_points_of_small_order_are_listed() {
        // There are eight (the cofactor), and these are eight different ones.
        let different: BTreeSet<_> = SMALL_ORDER.into_iter().collect();
        assert_eq!(different.len(), 8);
        for bytes in SMALL_ORDER {
            let point = VerifyingKey::from_bytes(&bytes).expect("a point");
            assert!(point.is_weak());
        }
    }

    #[test]
    fn what_is_accepted_is_what_strict_verification_accepts() {
        let keypair = Keypair::from_secret([3; 32]);
        let good = keypair.sign(b"message");
        let mut scalars = vec![[0; 32], [0xff; 32]];
        scalars.push(good[32..].try_into().expect("32 bytes"));
        let mut points = SMALL_ORDER.to_vec();
        // The neutral element and the points of order 4 written with p added to y.
        points.push(with_ends([0xff; 32], 0xee, 0x7f));
        points.push(with_ends([0xff; 32], 0xed, 0x7f));
        points.push(with_ends([0xff; 32], 0xed, 0xff));
        points.push(good[..32].try_into().expect("32 bytes"));
        let mut keys = points.clone();
        keys.push(keypair.peer().0);
        for key in keys {
            for r in &points {
                for s in &scalars {
                    for message in [&b"message"[..], b"another"] {
                        let mut signature = [0; 64];
                        signature[..32].copy_from_slice(r);
                        signature[32..].copy_from_slice(s);
                        let strict = VerifyingKey::from_bytes(&key).is_ok_and(|key| {
                            let signature = ed25519_dalek::Signature::from_bytes(&signature);
                            key.verify_strict(message, &signature).is_ok()
                        });
                        let signer = Signer::from(PeerKey(key));
                        assert_eq!(signer.verify(message, &signature), strict);
                        let decoded = Signer::decode(PeerKey(key));
                        assert_eq!(decoded.verify(message, &signature), strict);
                    }
                }
            }
        }
        assert!(Signer::from(keypair.peer()).verify(b"message", &good));
    }
}
