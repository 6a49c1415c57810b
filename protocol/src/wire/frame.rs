//! Every frame that two peers exchange on a link.

use super::WireError;
use super::delta::RecordDeltas;
use super::ext::{self, extension};
use super::record::WireRecord;
use super::routed::Routed;
use super::stream::{self, RawFrame};
use crate::base::identity::PeerKey;
use crate::base::message::History;
use crate::base::name::{Address, GroupId, GroupName, NetworkName};
use crate::base::ranges::RangeSet;
use bytes::Bytes;
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

extension! {
    /// Further fields of a frame.
    pub FrameExt {
        /// A field as a later version may add it.
        #[cfg(feature = "wire-next")]
        0xffff next: super::next::Next,
    }
}

/// The first frame on a link, both ways. Its first two fields stand there in every version.
#[derive(Clone, Debug, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct Hello {
    /// The sender's wire version.
    pub wire: u16,
    /// Its network.
    pub network: NetworkName,
    /// Its epoch: a newer one replaces links of an older.
    pub epoch: u64,
    /// What the sender understands beyond the wire version, a bit each: see
    /// [`Record::capabilities`](super::Record::capabilities).
    pub capabilities: u64,
    /// What the receiver must understand, by name; if there is one that it does not, the link ends as
    /// incompatible. This build needs nothing.
    pub needs: Vec<String>,
    /// Why it wants the link; see [`Wants`].
    pub wants: u16,
    /// Its record, once it has stated one.
    pub record: Option<WireRecord>,
}

/// Life, RTT and hashes, every second.
#[derive(Clone, Debug, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct Heartbeat {
    /// The sender's monotonic clock, microseconds; comes back as `echo`.
    pub stamp_us: u64,
    /// The last stamp got from the receiver; 0 for none.
    pub echo_us: u64,
    /// How long that stamp has lain here, microseconds.
    pub held_us: u64,
    /// Whether an answer is wanted at once.
    pub ask: bool,
    /// The sender's coordinate now: x, y, z, height, error, in ms. Its record, which everybody
    /// gets, says so more rarely.
    pub coordinate: [f32; 5],
    /// The sender's wall clock, ms since the Unix epoch.
    pub wall_ms: u64,
    /// Hash of the sender's database.
    pub database: u64,
    /// Log hashes of the groups both are in.
    pub groups: Vec<(GroupId, u64)>,
}

/// Records, newest known.
#[derive(Clone, Debug, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct Records {
    /// Up to a frame full of them.
    pub records: Vec<WireRecord>,
}

/// (key prefix, epoch, version): names a record in about 20 bytes.
pub type RecordName = (u64, u64, u64);

/// "I hold these records."
#[derive(Clone, Debug, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct RecordAnnounce {
    /// Which.
    pub names: Vec<RecordName>,
}

/// "Send me your records of these peers."
#[derive(Clone, Debug, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct RecordPull {
    /// Key prefixes.
    pub prefixes: Vec<u64>,
}

/// Hashes of the records in the sender's view by the first byte of their key: finds where databases
/// differ. Asks for one page of [`BucketRecords`].
#[derive(Clone, Debug, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct Buckets {
    /// 256 hashes.
    pub hashes: Vec<u64>,
    /// The page begins with this key prefix.
    pub from: u64,
}

/// "In these buckets I hold these records": a page of the answer to [`Buckets`].
#[derive(Clone, Debug, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct BucketRecords {
    /// Which buckets differ and begin in this page or before it.
    pub buckets: Vec<u8>,
    /// Everything in them whose key prefix lies in the page.
    pub names: Vec<RecordName>,
    /// The key prefix that the page begins with, as asked.
    pub from: u64,
    /// The one that the next page begins with. `None`: this is the last page.
    pub until: Option<u64>,
}

/// Why the sender wants this link now; 0: it does not.
#[derive(Clone, Debug, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct Wants {
    /// A bit per reason.
    pub wants: u16,
}

/// "I am full; try these." The link then serves the database for a moment and ends.
#[derive(Clone, Debug, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct Refuse {
    /// Other peers and where they are.
    pub alternatives: Vec<(PeerKey, Vec<Address>)>,
}

/// The last frame on a link.
#[derive(Clone, Debug, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct Bye {
    /// Why, for people.
    pub reason: String,
}

/// A bundle on one hop. The payload follows raw.
#[derive(Clone, Debug, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct BundleFrame {
    /// Links crossed so far, this one included.
    pub hops: u16,
    /// Whether it answers a pull.
    pub pulled: bool,
    /// What the origin signed.
    pub signed: Bytes,
    /// The origin's signature.
    #[serde(with = "serde_bytes")]
    pub signature: [u8; 64],
}

/// What a link's ends tell each other of a group, faster than records do.
#[derive(Clone, Debug, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct Subscribe {
    /// The group.
    pub group: GroupName,
    /// 0 none (any more), 1 member, 2 sender, 3 relay.
    pub role: u8,
    /// Whether a [`Baseline`] is wanted.
    pub baseline: bool,
    /// How much of the past is wanted.
    pub history: History,
    /// Of a member that has joined with nobody there: only what was published longer ago than
    /// this, ms, is not due to it. 0: what is settled is not due.
    pub older_ms: u64,
}

/// A bundle's header as its origin signed it: proof that so much was published.
#[derive(Clone, Debug, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct SignedHeader {
    /// What the origin signed.
    pub signed: Bytes,
    /// Its signature.
    #[serde(with = "serde_bytes")]
    pub signature: [u8; 64],
}

/// Where a joiner begins with one origin's epoch.
#[derive(Clone, Debug, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct BaselineOrigin {
    /// The origin.
    pub origin: PeerKey,
    /// Its epoch.
    pub epoch: u64,
    /// What is settled here: a joiner begins after it.
    pub settled: u64,
    /// A header of that entry or a later one; without it nothing is settled.
    pub proof: Option<SignedHeader>,
    /// How long ago, ms, what is settled had been published at the latest.
    pub age_ms: u64,
    /// Of the past that was asked for: seq and time of publication, ms since the Unix epoch.
    pub past: Vec<(u64, u64)>,
}

/// Where a joiner begins, by a joined neighbour.
#[derive(Clone, Debug, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct Baseline {
    /// The group.
    pub group: GroupId,
    /// Everything stated to be settled was published longer ago than this, ms: the question's own
    /// [`Subscribe::older_ms`], and what it has waited for an answer.
    pub older_ms: u64,
    /// Whether the sender itself joined with nobody there: it may not know of what is older.
    pub alone: bool,
    /// By origin: what is settled here, and which messages of the past answer the question.
    pub origins: Vec<BaselineOrigin>,
    /// Whether this is the last of several frames.
    pub last: bool,
}

/// What a peer holds of one origin's epoch.
#[derive(Clone, Debug, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct DigestEntry {
    /// The origin.
    pub origin: PeerKey,
    /// Its epoch.
    pub epoch: u64,
    /// The lowest entry held.
    pub floor: u64,
    /// All up to here are settled: held, or known to be lost, or not due.
    pub settled: u64,
    /// What is held above.
    pub above: RangeSet,
}

/// "What I hold" (IHAVE, by range).
#[derive(Clone, Debug, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct Digest {
    /// The group.
    pub group: GroupId,
    /// Whether an answer of the same kind is wanted.
    pub ask: bool,
    /// By origin.
    pub entries: Vec<DigestEntry>,
}

/// Entries of one origin's epoch.
#[derive(Clone, Debug, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct Wanted {
    /// The origin.
    pub origin: PeerKey,
    /// Its epoch.
    pub epoch: u64,
    /// Which entries.
    pub ranges: RangeSet,
}

/// "Send me these" (IWANT, by range).
#[derive(Clone, Debug, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct Pull {
    /// The group.
    pub group: GroupId,
    /// By origin.
    pub wanted: Vec<Wanted>,
}

/// The answer to a pull of what is not held.
#[derive(Clone, Debug, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct NotHeld {
    /// The group.
    pub group: GroupId,
    /// Which.
    pub wanted: Wanted,
    /// Whether it is gone for good here (evicted or a gap), not merely missing yet.
    pub gone: bool,
}

/// "I have no room for this origin": what the receiver pushed of it is not kept here.
#[derive(Clone, Debug, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct OriginRefused {
    /// The group.
    pub group: GroupId,
    /// The origin.
    pub origin: PeerKey,
    /// Its epoch.
    pub epoch: u64,
}

/// "Nobody here holds this entry. Does it exist, and since when?"
#[derive(Clone, Debug, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct AskProof {
    /// The group.
    pub group: GroupId,
    /// The origin.
    pub origin: PeerKey,
    /// Its epoch.
    pub epoch: u64,
    /// The entry, which the receiver has stated to have settled.
    pub seq: u64,
}

/// The answer to [`AskProof`]: the last header known of that log.
#[derive(Clone, Debug, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct Proof {
    /// What the origin signed.
    pub header: SignedHeader,
    /// How long ago, ms, everything up to the entry had been published at the latest.
    pub age_ms: u64,
}

/// One member's word that it has an origin's messages.
#[derive(Clone, Debug, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct MemberAck {
    /// The member.
    pub member: PeerKey,
    /// Everything up to here is settled there.
    pub up_to: u64,
    /// What of it is lost there.
    pub lost: RangeSet,
    /// The member's signature.
    #[serde(with = "serde_bytes")]
    pub signature: [u8; 64],
}

/// Acknowledgements on their way to the origin; hops merge sets, never minima.
#[derive(Clone, Debug, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct Acknowledge {
    /// The group.
    pub group: GroupId,
    /// The origin.
    pub origin: PeerKey,
    /// Its epoch.
    pub epoch: u64,
    /// Who has what.
    pub members: Vec<MemberAck>,
}

/// An origin asks its members again, down the tree.
#[derive(Clone, Debug, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct AskAcknowledge {
    /// The group.
    pub group: GroupId,
    /// The origin.
    pub origin: PeerKey,
    /// Its epoch.
    pub epoch: u64,
    /// Up to which entry.
    pub seq: u64,
    /// Links crossed so far; more than 255 are not believed.
    pub hops: u16,
}

/// Two bundles' signed headers that cannot both be honest: proof of equivocation.
#[derive(Clone, Debug, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct Equivocation {
    /// The one that stands first, or either.
    pub first: Bytes,
    /// Its signature.
    #[serde(with = "serde_bytes")]
    pub first_signature: [u8; 64],
    /// The one that contradicts it.
    pub second: Bytes,
    /// Its signature.
    #[serde(with = "serde_bytes")]
    pub second_signature: [u8; 64],
}

/// A probe on its way down the overlay.
#[derive(Clone, Debug, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct Probe {
    /// The group.
    pub group: GroupId,
    /// Numbers it among the origin's probes.
    pub probe: u64,
    /// The way so far, the origin first.
    pub path: Vec<PeerKey>,
}

/// A member's answer, back along the probe's way.
#[derive(Clone, Debug, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct ProbeAnswer {
    /// The group.
    pub group: GroupId,
    /// Which probe.
    pub probe: u64,
    /// The probe's way, origin first, the answering member last.
    pub path: Vec<PeerKey>,
}

macro_rules! frames {
    ($($(#[$doc:meta])* $number:literal $name:ident),* $(,)?) => {
        /// A frame, understood.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Frame {
            $($(#[$doc])* $name($name),)*
            /// See [`BundleFrame`]; with its payload.
            Bundle(BundleFrame, Bytes),
        }

        impl Frame {
            /// Understands a frame, but for what later versions add. `None`: a kind this build does
            /// not know, to be skipped.
            pub fn decode(raw: RawFrame) -> Result<Option<Self>, WireError> {
                Ok(Self::decode_with(raw)?.map(|(frame, _)| frame))
            }

            /// The same with what later versions add.
            pub fn decode_with(raw: RawFrame) -> Result<Option<(Self, FrameExt)>, WireError> {
                Ok(Some(match raw.kind {
                    BUNDLE_KIND => {
                        let (frame, ext) = ext::from_cbor("bundle frame", &raw.header)?;
                        (Self::Bundle(frame, raw.payload), ext)
                    }
                    $($number => {
                        let (frame, ext) = ext::from_cbor(stringify!($name), &raw.header)?;
                        (Self::$name(frame), ext)
                    })*
                    _ => return Ok(None),
                }))
            }

            /// Head and payload to write.
            pub fn encode(&self) -> [Bytes; 2] {
                self.encode_with(&FrameExt::default())
            }

            /// The same with further fields.
            pub fn encode_with(&self, ext: &FrameExt) -> [Bytes; 2] {
                match self {
                    Self::Bundle(frame, payload) => [
                        frame.encode_head(payload.len(), ext),
                        payload.clone(),
                    ],
                    $(Self::$name(frame) => {
                        let head = ext::to_cbor(frame, ext, FRAME_BYTES);
                        [stream::encode_head($number, &head, 0), Bytes::new()]
                    })*
                }
            }

            /// The number of its kind.
            pub(crate) fn kind(&self) -> u8 {
                match self {
                    Self::Bundle(..) => BUNDLE_KIND,
                    $(Self::$name(_) => $number,)*
                }
            }

            /// What the kinds that this build knows are called.
            pub fn kinds() -> impl Iterator<Item = &'static str> {
                KIND_NAMES.into_iter().filter(|name| !name.is_empty())
            }

            /// Its kind, for logs.
            pub fn name(&self) -> &'static str {
                match self {
                    Self::Bundle(..) => "Bundle",
                    $(Self::$name(_) => stringify!($name),)*
                }
            }
        }

        /// What kinds are called, by number.
        pub(crate) const KIND_NAMES: [&str; KINDS] = {
            let mut names = [""; KINDS];
            names[BUNDLE_KIND as usize] = "Bundle";
            $(names[$number] = stringify!($name);)*
            names
        };

        $(impl From<$name> for Frame {
            fn from(frame: $name) -> Self {
                Self::$name(frame)
            }
        })*
    };
}

/// Room for most frames; what is longer takes memory again while it is written.
const FRAME_BYTES: usize = 1_000;

/// What the header of a bundle's frame has besides the signed bytes, at most: the signature, the
/// hops, and what CBOR puts before each.
const BUNDLE_BESIDES_BYTES: usize = 96;

/// The kind of bundle frames.
const BUNDLE_KIND: u8 = 16;

/// Numbers of kinds are less than this; a greater one does not compile.
pub(crate) const KINDS: usize = 33;

frames! {
    /// See [`struct@Hello`].
    0 Hello,
    /// See [`struct@Heartbeat`].
    1 Heartbeat,
    /// See [`struct@Records`].
    2 Records,
    /// See [`struct@RecordAnnounce`].
    3 RecordAnnounce,
    /// See [`struct@RecordPull`].
    4 RecordPull,
    /// See [`struct@Buckets`].
    5 Buckets,
    /// See [`struct@BucketRecords`].
    6 BucketRecords,
    /// See [`struct@Wants`].
    7 Wants,
    /// See [`struct@Refuse`].
    8 Refuse,
    /// See [`struct@Bye`].
    9 Bye,
    /// See [`struct@RecordDeltas`].
    10 RecordDeltas,
    /// See [`struct@Subscribe`].
    17 Subscribe,
    /// See [`struct@Baseline`].
    18 Baseline,
    /// See [`struct@Digest`].
    19 Digest,
    /// See [`struct@Pull`].
    20 Pull,
    /// See [`struct@NotHeld`].
    21 NotHeld,
    /// See [`struct@Acknowledge`].
    22 Acknowledge,
    /// See [`struct@AskAcknowledge`].
    23 AskAcknowledge,
    /// See [`struct@Equivocation`].
    24 Equivocation,
    /// See [`struct@Probe`].
    25 Probe,
    /// See [`struct@ProbeAnswer`].
    26 ProbeAnswer,
    /// See [`struct@OriginRefused`].
    27 OriginRefused,
    /// See [`struct@AskProof`].
    28 AskProof,
    /// See [`struct@Proof`].
    29 Proof,
    /// See [`struct@Routed`].
    32 Routed,
}

impl BundleFrame {
    /// The head of a bundle's frame; the payload follows it unchanged.
    pub fn encode_head(&self, payload_bytes: usize, ext: &FrameExt) -> Bytes {
        let capacity = self.signed.len() + BUNDLE_BESIDES_BYTES;
        let header = ext::to_cbor(self, ext, capacity);
        stream::encode_head(BUNDLE_KIND, &header, payload_bytes)
    }
}
