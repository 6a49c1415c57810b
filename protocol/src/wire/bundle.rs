//! Bundles: what an origin signs, peers forward verbatim, log and pull.

use super::ext::{self, extension};
use super::{EPOCH_MAX, FRAME_BYTES_MAX, WireError};
use crate::base::identity::{Keypair, PeerKey, Signer};
use crate::base::name::GroupId;
use crate::base::verify::{Domain, VerifyJob};
use bytes::Bytes;
use hedgerow_topology::Class;
use serde::{Deserialize, Serialize};
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

/// Messages one bundle may hold.
pub const BUNDLE_MESSAGES_MAX: usize = 4_096;
/// Fragments one message may have.
pub const FRAGMENTS_MAX: u32 = 1 << 16;
/// The longest signed header, bytes: 1,024 lengths and delays at their widest, and some more. Two
/// of them fit into one frame as evidence.
pub const HEADER_BYTES_MAX: usize = 16 << 10;
/// What a bundle's frame has besides the signed header and the payload, at most, bytes: the frame's
/// head, the signature, and what changes on the way (hops, whether it was pulled) at its widest.
/// Today that is 86 bytes; the rest is for later wire versions.
pub const BUNDLE_RESERVE_BYTES: usize = 512;
/// The longest bundle, signed header and payload together, bytes. Every peer refuses a longer one
/// when it comes, so that a bundle that is taken fits into a frame on every later hop.
pub const BUNDLE_BYTES_MAX: usize = FRAME_BYTES_MAX - BUNDLE_RESERVE_BYTES;
/// Sequence numbers stay below this, so that sums never overflow.
pub const SEQ_MAX: u64 = 1 << 62;

/// Bit in [`BundleHeader::flags`]: a bulk message, forwarded with capacity 2.
pub const FLAG_BULK: u8 = 1;
/// Bit in [`BundleHeader::flags`]: members acknowledge it.
pub const FLAG_ACKNOWLEDGE: u8 = 2;

/// The longest headers of one message as they are encoded, bytes: what
/// [`Headers`](crate::Headers) may hold, and what CBOR adds.
pub const MESSAGE_HEADERS_BYTES_MAX: u32 = 9 << 10;

extension! {
    /// Further fields of a signed header.
    pub BundleExt {
        /// A field as a later version may add it.
        #[cfg(feature = "wire-next")]
        0xffff next: super::next::Next,
    }
}

/// A 32-byte hash.
pub type Hash = [u8; 32];

/// What the origin signs: names, sizes and the hash of the payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct BundleHeader {
    /// The group, network included.
    pub group: GroupId,
    /// Who published it.
    pub origin: PeerKey,
    /// Which life of the origin.
    pub epoch: u64,
    /// The first entry in it.
    pub seq: u64,
    /// `FLAG_*`; unknown bits are ignored.
    pub flags: u8,
    /// When the first message was published, ms since the Unix epoch.
    pub published_at: u64,
    /// The lengths of the messages in the payload, each with its headers.
    pub lengths: Vec<u32>,
    /// With how many bytes of headers each message begins; empty when none has any. A large message
    /// has them at its beginning, and its first fragment says so.
    pub header_lengths: Vec<u32>,
    /// How much later than `published_at` each message was published, ms; empty when none was.
    pub delays: Vec<u32>,
    /// The place of a fragment in its message; a bundle of a fragment holds nothing else.
    pub fragment: Option<Fragment>,
    /// Hash of the origin's previous bundle in this group and epoch; zeros for the first.
    #[serde(with = "serde_bytes")]
    pub previous: Hash,
    /// BLAKE3 of the payload.
    #[serde(with = "serde_bytes")]
    pub payload_hash: Hash,
    /// What later versions add.
    #[serde(skip)]
    pub ext: BundleExt,
}

/// One piece of a message that is too large for one bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fragment {
    /// Which piece, from 0.
    pub index: u32,
    /// Of how many.
    pub count: u32,
}

/// Whether a bundle with a signed header and a payload of these lengths can travel.
pub(crate) fn fits(signed_bytes: usize, payload_bytes: usize) -> bool {
    signed_bytes <= HEADER_BYTES_MAX
        && signed_bytes.saturating_add(payload_bytes) <= BUNDLE_BYTES_MAX
}

/// By which overlay a bundle with these flags travels.
pub(crate) fn class_of(flags: u8) -> Class {
    if flags & FLAG_BULK == 0 {
        Class::Normal
    } else {
        Class::Bulk
    }
}

impl BundleHeader {
    /// Entries in it.
    pub fn count(&self) -> u64 {
        self.lengths.len() as u64
    }

    /// The last entry in it.
    pub fn last_seq(&self) -> u64 {
        self.seq + self.count() - 1
    }

    /// The last entry of the message in it, or of which it holds a fragment.
    pub fn last_of_message(&self) -> u64 {
        let rest = self.fragment.map_or(0, |it| it.count - 1 - it.index);
        self.last_seq() + u64::from(rest)
    }

    /// When message `index` of it was published, ms since the Unix epoch.
    pub fn published_at(&self, index: usize) -> u64 {
        let delay = self.delays.get(index).copied().unwrap_or(0);
        self.published_at.saturating_add(u64::from(delay))
    }

    /// Whether a `FLAG_*` is set.
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// By which overlay it travels.
    pub fn class(&self) -> Class {
        class_of(self.flags)
    }

    /// Decodes signed bytes on their own: evidence has no payload.
    pub fn decode(signed: &[u8]) -> Result<Self, WireError> {
        let header = Self::read(signed)?;
        let total: u64 = header.lengths.iter().map(|&length| u64::from(length)).sum();
        header.check(usize::try_from(total).unwrap_or(usize::MAX))?;
        Ok(header)
    }

    fn read(signed: &[u8]) -> Result<Self, WireError> {
        let (mut header, ext) = ext::from_cbor::<Self, _>("bundle", signed)?;
        header.ext = ext;
        Ok(header)
    }

    /// With how many bytes of headers message `index` begins.
    pub fn header_bytes(&self, index: usize) -> u32 {
        self.header_lengths.get(index).copied().unwrap_or(0)
    }

    /// Whether the headers of every message are a part of it.
    fn headers_fit(&self) -> bool {
        let are_short = |(headers, length): (&u32, &u32)| {
            *headers <= MESSAGE_HEADERS_BYTES_MAX
                && (headers <= length || self.fragment.is_some_and(|fragment| fragment.index == 0))
        };
        self.header_lengths.is_empty()
            || self.header_lengths.len() == self.lengths.len()
                && (self.header_lengths.iter().zip(&self.lengths)).all(are_short)
                && self.fragment.is_none_or(|fragment| fragment.index == 0)
    }

    fn check(&self, payload_bytes: usize) -> Result<(), WireError> {
        let total: u64 = self.lengths.iter().map(|&length| u64::from(length)).sum();
        let fragment_fits = self.fragment.is_none_or(|fragment| {
            self.lengths.len() == 1
                && (2..=FRAGMENTS_MAX).contains(&fragment.count)
                && fragment.index < fragment.count
                && self.seq > u64::from(fragment.index)
        });
        let rules = [
            (!self.lengths.is_empty(), "no message in it"),
            (
                self.lengths.len() <= BUNDLE_MESSAGES_MAX,
                "too many messages",
            ),
            (
                total == payload_bytes as u64,
                "lengths do not add up to the payload",
            ),
            (
                self.delays.is_empty() || self.delays.len() == self.lengths.len(),
                "as many delays as messages, or none",
            ),
            (self.headers_fit(), "headers longer than their messages"),
            (self.seq >= 1 && self.seq < SEQ_MAX, "seq out of range"),
            ((1..=EPOCH_MAX).contains(&self.epoch), "epoch out of range"),
            (fragment_fits, "an impossible fragment"),
            (
                (self.seq == 1) == (self.previous == [0; 32]),
                "only the first has no previous",
            ),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, why)) => Err(WireError::Invalid {
                what: "bundle",
                why,
            }),
            None => Ok(()),
        }
    }
}

/// A bundle: signed header, signature, payload.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// What the signed bytes say.
    pub header: BundleHeader,
    /// The signed bytes, passed on verbatim.
    pub signed: Bytes,
    /// The origin's signature.
    pub signature: [u8; 64],
    /// The messages, one after another.
    pub payload: Bytes,
    /// BLAKE3 of the signed bytes: what the next bundle's `previous` states.
    pub hash: Hash,
}

impl Bundle {
    /// Signs `header` over `payload`; fills in the payload's hash.
    pub fn sign(mut header: BundleHeader, payload: Bytes, keypair: &Keypair) -> Self {
        header.payload_hash = *blake3::hash(&payload).as_bytes();
        let signed: Bytes = ext::to_cbor(&header, &header.ext, 256).into();
        let signature = keypair.sign(&Domain::Bundle.digest(&signed));
        let hash = *blake3::hash(&signed).as_bytes();
        Self {
            header,
            signed,
            signature,
            payload,
            hash,
        }
    }

    /// Decodes and checks everything but signature and payload hash; see [`Self::verify_job`].
    pub fn decode(signed: Bytes, signature: [u8; 64], payload: Bytes) -> Result<Self, WireError> {
        let header = BundleHeader::read(&signed)?;
        header.check(payload.len())?;
        let hash = *blake3::hash(&signed).as_bytes();
        Ok(Self {
            header,
            signed,
            signature,
            payload,
            hash,
        })
    }

    /// The check of its signature and payload. `signer` must be its origin.
    pub fn verify_job(&self, signer: Signer) -> VerifyJob {
        VerifyJob {
            signer,
            digest: Domain::Bundle.digest(&self.signed),
            signature: self.signature,
            payload: Some((self.payload.clone(), self.header.payload_hash)),
        }
    }

    /// The messages in it, in order, each with its headers before it.
    pub fn messages(&self) -> impl Iterator<Item = Bytes> + '_ {
        let mut at = 0;
        self.header.lengths.iter().map(move |&length| {
            let end = at + length as usize;
            // Decoding has compared the lengths with the payload.
            let message = self.payload.slice(at..end);
            at = end;
            message
        })
    }

    /// What it weighs in logs and queues, bytes.
    pub fn weight(&self) -> usize {
        self.signed.len() + self.payload.len() + 192
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::{BundleFrame, FrameExt};

    #[test]
    fn what_is_reserved_is_enough_for_what_grows_on_the_way() {
        for signed_bytes in [0, 1, 200, 5_000, HEADER_BYTES_MAX] {
            let payload_bytes = BUNDLE_BYTES_MAX - signed_bytes;
            assert!(fits(signed_bytes, payload_bytes));
            assert!(!fits(signed_bytes, payload_bytes + 1));
            let frame = BundleFrame {
                hops: u16::MAX,
                pulled: true,
                signed: vec![1; signed_bytes].into(),
                signature: [1; 64],
            };
            let head = frame.encode_head(payload_bytes, &FrameExt::default()).len();
            assert!(head + payload_bytes <= FRAME_BYTES_MAX);
            assert!(head - signed_bytes <= 86, "{}", head - signed_bytes);
        }
        assert!(!fits(HEADER_BYTES_MAX + 1, 0));
        assert!(!fits(1, usize::MAX));
    }
}
