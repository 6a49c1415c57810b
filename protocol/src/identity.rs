//! Who a peer is: an ed25519 key. No key is ever read from or written to disk here.

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use libp2p_identity::{PeerId, PublicKey, ed25519};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A peer's public key: its identity. Ordered by bytes; shown as a libp2p `PeerId`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PeerKey(pub [u8; 32]);

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

/// Whether `signature` is `peer`'s over `message`.
///
/// Strict verification (no small-order keys, canonical scalars), so that every peer accepts
/// exactly the same set; see "Taming the many `EdDSAs`" (Chalkias, Garillot, Nikolaenko, 2020).
pub fn verify(peer: PeerKey, message: &[u8], signature: &[u8; 64]) -> bool {
    let Ok(key) = VerifyingKey::from_bytes(&peer.0) else {
        return false;
    };
    key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature))
        .is_ok()
}
