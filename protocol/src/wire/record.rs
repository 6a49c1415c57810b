//! Records: a peer's signed statement about itself (a link-state advertisement, after OSPF,
//! RFC 2328 section 12, except that every peer speaks of itself only).

use super::ext::{self, extension};
use super::frame::RecordName;
use super::{EPOCH_MAX, VERSION_MAX, WireError, to_cbor};
use crate::base::identity::{Keypair, PeerKey};
use crate::base::message::{GroupSettings, Order};
use crate::base::name::{Address, GroupName};
use crate::base::status::Role;
use crate::base::verify::{Domain, VerifyJob};
use bytes::Bytes;
use hedgerow_topology::Coordinate;
use serde_tuple::{Deserialize_tuple, Serialize_tuple};

/// Addresses one record may state.
pub const ADDRESSES_MAX: usize = 8;
/// Links one record may state.
pub const LINKS_MAX: usize = 256;
/// Groups one record may state.
pub const GROUPS_MAX: usize = 512;
/// The longest signed record, bytes: the same for every peer, because all must hold the same
/// records to compute the same overlays. Longer ones are neither issued nor taken.
pub const RECORD_BYTES_MAX: usize = 16 << 10;
/// The version of the overlay algorithms in this build; the lowest in a view is used.
pub const ALGORITHM_VERSION: u16 = 1;

/// Settings of later versions that one group may have.
pub const LATER_SETTINGS_MAX: usize = 16;
/// The longest name of a setting, bytes.
pub const SETTING_NAME_BYTES_MAX: usize = 64;

extension! {
    /// Further fields of a record.
    pub RecordExt {
        /// A field as a later version may add it.
        #[cfg(feature = "wire-next")]
        0xffff next: super::next::Next,
    }
}

extension! {
    /// Further fields of a group in a record.
    pub GroupExt {
        /// A field as a later version may add it.
        #[cfg(feature = "wire-next")]
        0xffff next: super::next::Next,
    }
}

/// What a peer says of itself. Ordered against others of the same peer by (epoch, version).
#[derive(Clone, Debug, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct Record {
    /// Which network, hashed: a record is none of another network's.
    #[serde(with = "serde_bytes")]
    pub network: [u8; 16],
    /// Whose.
    pub peer: PeerKey,
    /// Which life.
    pub epoch: u64,
    /// Which statement of that life.
    pub version: u64,
    /// Whether the peer has left for good.
    pub left: bool,
    /// The overlay algorithms it knows.
    pub algorithm: u16,
    /// What else it understands, a bit each: [`CAPABILITIES`](super::CAPABILITIES). Bits that a build
    /// does not know are none of its business.
    pub capabilities: u64,
    /// Children it can feed.
    pub capacity: u16,
    /// Its coordinate: x, y, z, height, error, in ms.
    pub coordinate: [f32; 5],
    /// Where it can be dialled.
    pub addresses: Vec<Address>,
    /// Its groups, ascending by name.
    pub groups: Vec<RecordGroup>,
    /// Its links, ascending by peer.
    pub links: Vec<RecordLink>,
    /// What later versions add.
    #[serde(skip)]
    pub ext: RecordExt,
}

/// A group in a record.
#[derive(Clone, Debug, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct RecordGroup {
    /// The group.
    pub name: GroupName,
    /// 1 member, 2 sender, 0 neither (settings of `broadcast`). Others are of later versions, and
    /// nothing in the overlay of this one.
    pub role: u8,
    /// When its settings were changed, network time in ms since the Unix epoch; 0 are the defaults,
    /// 1 an explicit creation.
    pub settings_version: u64,
    /// Absent at version 0.
    pub settings: Option<WireSettings>,
    /// What later versions add.
    #[serde(default, skip_serializing_if = "GroupExt::is_empty")]
    pub ext: GroupExt,
}

/// A group's settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct WireSettings {
    /// Parents of every member.
    pub redundancy: u8,
    /// 0 by origin, 1 as they come. Others are of later versions.
    pub order: u8,
    /// Bytes that each member retains.
    pub retention_bytes: u64,
    /// How long each member retains, ms.
    pub retention_ms: u64,
    /// Settings of later versions, ascending by name. All of a group's members must understand them:
    /// who does not carries the group for others and does not join it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub later: Vec<LaterSetting>,
}

/// A setting that this version does not know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize_tuple, Deserialize_tuple)]
pub struct LaterSetting {
    /// What users call it: lower-case letters, digits, `-` and `_`.
    pub name: String,
    /// Its value, CBOR.
    pub value: Bytes,
}

/// A link in a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize_tuple, Deserialize_tuple)]
pub struct RecordLink {
    /// The neighbour.
    pub peer: PeerKey,
    /// The stated RTT in microseconds.
    pub rtt_us: u32,
}

impl From<GroupSettings> for WireSettings {
    fn from(settings: GroupSettings) -> Self {
        let order = match settings.order {
            Order::Fifo => 0,
            Order::Unordered => 1,
        };
        Self {
            redundancy: settings.redundancy,
            order,
            retention_bytes: settings.retention_bytes,
            retention_ms: settings.retention_ms,
            later: Vec::new(),
        }
    }
}

impl WireSettings {
    /// What this build makes of them; `None` for values that no version takes. What it does not
    /// understand, [`Self::unsupported`] names; of an order that it does not know it makes the
    /// default.
    pub fn known(&self) -> Option<GroupSettings> {
        let settings = GroupSettings {
            redundancy: self.redundancy,
            order: if self.order == 1 {
                Order::Unordered
            } else {
                Order::Fifo
            },
            retention_bytes: self.retention_bytes,
            retention_ms: self.retention_ms,
        };
        settings.is_valid().then_some(settings)
    }

    /// The first setting that this build does not understand.
    pub fn unsupported(&self) -> Option<&str> {
        match self.later.first() {
            Some(setting) => Some(&setting.name),
            None => (self.order > 1).then_some("order"),
        }
    }

    /// Their hash: of two settings of one version the smaller one counts.
    pub(crate) fn hash(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("hedgerow group settings v1");
        hasher.update(&to_cbor(self));
        *hasher.finalize().as_bytes()
    }

    fn is_well_formed(&self) -> bool {
        let is_name_byte = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        self.later.len() <= LATER_SETTINGS_MAX
            && self
                .later
                .windows(2)
                .all(|pair| pair[0].name < pair[1].name)
            && self.later.iter().all(|setting| {
                (1..=SETTING_NAME_BYTES_MAX).contains(&setting.name.len())
                    && setting.name.bytes().all(is_name_byte)
            })
    }
}

/// A coordinate as it stands in records and frames.
pub fn coordinate_to_wire(coordinate: &Coordinate) -> [f32; 5] {
    let [x, y, z] = coordinate.position;
    [x, y, z, coordinate.height, coordinate.error]
}

/// The opposite. It may be anything: see [`Coordinate::is_valid`].
pub fn coordinate_from_wire([x, y, z, height, error]: [f32; 5]) -> Coordinate {
    Coordinate {
        position: [x, y, z],
        height,
        error,
    }
}

impl RecordGroup {
    /// The role, if it is one.
    pub fn role(&self) -> Option<Role> {
        match self.role {
            1 => Some(Role::Member),
            2 => Some(Role::Sender),
            _ => None,
        }
    }

    /// The settings that it states, if any that can work.
    pub fn settings(&self) -> Option<&WireSettings> {
        let settings = self.settings.as_ref().filter(|_| self.settings_version > 0);
        settings.filter(|settings| settings.known().is_some())
    }
}

impl Record {
    /// The coordinate.
    pub fn coordinate(&self) -> Coordinate {
        coordinate_from_wire(self.coordinate)
    }

    /// The group `name`, if it is stated.
    pub fn group(&self, name: &GroupName) -> Option<&RecordGroup> {
        self.groups
            .binary_search_by(|group| group.name.cmp(name))
            .ok()
            .map(|at| &self.groups[at])
    }

    /// The stated RTT to `peer`, microseconds.
    pub fn rtt_us(&self, peer: PeerKey) -> Option<u32> {
        self.links
            .binary_search_by(|link| link.peer.cmp(&peer))
            .ok()
            .map(|at| self.links[at].rtt_us)
    }

    /// Fields and roles in it that this build does not know and has skipped.
    pub(crate) fn unknown(&self, knows_next: bool) -> (u32, u32) {
        let groups = self.groups.iter();
        let in_groups: u32 = groups.map(|group| group.ext.unknown_to(knows_next)).sum();
        let roles = self.groups.iter().filter(|group| group.role > 2).count();
        (
            in_groups.saturating_add(self.ext.unknown_to(knows_next)),
            u32::try_from(roles).unwrap_or(u32::MAX),
        )
    }

    /// The first rule it breaks, if any.
    fn check(&self) -> Result<(), WireError> {
        let rules = [
            (self.addresses.len() <= ADDRESSES_MAX, "too many addresses"),
            (self.links.len() <= LINKS_MAX, "too many links"),
            (self.groups.len() <= GROUPS_MAX, "too many groups"),
            (
                self.links.windows(2).all(|w| w[0].peer < w[1].peer),
                "links are not ascending",
            ),
            (
                self.groups.windows(2).all(|w| w[0].name < w[1].name),
                "groups are not ascending",
            ),
            (
                self.links.iter().all(|link| link.peer != self.peer),
                "a link to itself",
            ),
            (self.coordinate().is_valid(), "a coordinate out of range"),
            (
                (1..=EPOCH_MAX).contains(&self.epoch) && (1..=VERSION_MAX).contains(&self.version),
                "epoch or version out of range",
            ),
            (
                (self
                    .groups
                    .iter()
                    .filter_map(|group| group.settings.as_ref()))
                .all(WireSettings::is_well_formed),
                "settings of groups that no version has",
            ),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, why)) => Err(WireError::Invalid {
                what: "record",
                why,
            }),
            None => Ok(()),
        }
    }
}

/// A record as its peer signed it: bytes to pass on verbatim, and what they say.
#[derive(Clone, Debug)]
pub struct SignedRecord {
    /// What the bytes say.
    pub record: Record,
    /// The signed bytes.
    pub signed: Bytes,
    /// What the signature is of.
    digest: [u8; 32],
    /// The peer's signature.
    pub signature: [u8; 64],
    /// A hash of the signed bytes: equal records, equal hashes.
    pub hash: u64,
    /// A hash of what overlays are computed from: peer, capacity, links, groups. Coordinate,
    /// addresses and versions are no part of it.
    pub shape: u64,
    /// A hash of that without the groups.
    pub place: u64,
    /// The peer's position on the ring.
    pub ring: u64,
    /// About how much memory it takes: the bytes and what they are decoded to.
    pub memory_bytes: usize,
    /// Of a peer in one group: which, and its role there. Whoever looks through thousands of records
    /// finds it without a look at the names.
    only_group: Option<(GroupTag, Option<Role>)>,
}

/// A hash of a group's name.
type GroupTag = [u8; 16];

/// A group that many records are asked for.
#[derive(Debug)]
pub(crate) struct SoughtGroup<'a> {
    name: &'a GroupName,
    tag: GroupTag,
}

impl<'a> SoughtGroup<'a> {
    pub(crate) fn new(name: &'a GroupName) -> Self {
        let tag = tag_of(name);
        Self { name, tag }
    }
}

fn tag_of(name: &GroupName) -> GroupTag {
    let mut hasher = blake3::Hasher::new_derive_key("hedgerow group tag v1");
    hasher.update(name.as_str().as_bytes());
    let hash = hasher.finalize();
    std::array::from_fn(|at| hash.as_bytes()[at])
}

impl SignedRecord {
    fn new(record: Record, signed: Bytes, digest: [u8; 32], signature: [u8; 64]) -> Self {
        let place = place_hash(&record);
        let only_group = match record.groups.as_slice() {
            [group] => Some((tag_of(&group.name), group.role())),
            _ => None,
        };
        Self {
            only_group,
            hash: content_hash(&signed),
            shape: shape_hash(place, &record),
            place,
            ring: record.peer.ring_position(),
            memory_bytes: memory_of(&record, &signed),
            record,
            signed,
            digest,
            signature,
        }
    }

    /// The peer's role in a group, if it is in it.
    pub(crate) fn role_in(&self, group: &SoughtGroup<'_>) -> Option<Role> {
        match self.record.groups.len() {
            0 => None,
            1 => {
                let (tag, role) = self.only_group?;
                role.filter(|_| tag == group.tag)
            }
            _ => self.record.group(group.name).and_then(RecordGroup::role),
        }
    }

    /// Signs `record`; the keypair must be the peer's own.
    pub fn sign(record: Record, keypair: &Keypair) -> Self {
        let signed: Bytes = ext::to_cbor(&record, &record.ext, 512).into();
        let digest = Domain::Record.digest(&signed);
        let signature = keypair.sign(&digest);
        Self::new(record, signed, digest, signature)
    }

    /// Decodes and checks everything but the signature; see [`Self::verify_job`].
    pub fn decode(signed: Bytes, signature: [u8; 64]) -> Result<Self, WireError> {
        let (mut record, ext) = ext::from_cbor::<Record, _>("record", &signed)?;
        record.ext = ext;
        record.check()?;
        let digest = Domain::Record.digest(&signed);
        Ok(Self::new(record, signed, digest, signature))
    }

    /// The check of its signature.
    pub fn verify_job(&self) -> VerifyJob {
        VerifyJob {
            signer: self.record.peer.into(),
            digest: self.digest,
            signature: self.signature,
            payload: None,
        }
    }

    /// (epoch, version): which of two records of one peer is newer.
    pub fn order(&self) -> (u64, u64) {
        (self.record.epoch, self.record.version)
    }

    /// How it is named in announcements.
    pub fn name(&self) -> RecordName {
        let (epoch, version) = self.order();
        (self.record.peer.prefix(), epoch, version)
    }
}

/// [`SignedRecord::hash`] of a record with these signed bytes.
pub(crate) fn content_hash(signed: &[u8]) -> u64 {
    head_of(blake3::hash(signed))
}

/// A name on the heap: its text, two counters, and what the allocator adds.
const TEXT_BYTES: usize = 32;

fn memory_of(record: &Record, signed: &Bytes) -> usize {
    let names = record.groups.iter().map(|group| group.name.as_str());
    let texts = names.chain(record.addresses.iter().map(Address::as_str));
    size_of::<SignedRecord>()
        + signed.len()
        + record.links.len() * size_of::<RecordLink>()
        + record.groups.len() * size_of::<RecordGroup>()
        + record.addresses.len() * size_of::<Address>()
        + texts.map(|text| text.len() + TEXT_BYTES).sum::<usize>()
}

fn place_hash(record: &Record) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&record.peer.0);
    hasher.update(&[u8::from(record.left)]);
    hasher.update(&record.capacity.to_be_bytes());
    hasher.update(&(record.links.len() as u64).to_be_bytes());
    for link in &record.links {
        hasher.update(&link.peer.0);
        hasher.update(&link.rtt_us.to_be_bytes());
    }
    head_of(hasher.finalize())
}

fn shape_hash(place: u64, record: &Record) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&place.to_be_bytes());
    hasher.update(&record.algorithm.to_be_bytes());
    for group in &record.groups {
        hasher.update(&[group.role]);
        hasher.update(&(group.name.as_str().len() as u64).to_be_bytes());
        hasher.update(group.name.as_str().as_bytes());
    }
    head_of(hasher.finalize())
}

fn head_of(hash: blake3::Hash) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_be_bytes(bytes)
}

/// A signed record with its age, as it travels.
#[derive(Clone, Debug, PartialEq, Serialize_tuple, Deserialize_tuple)]
pub struct WireRecord {
    /// The signed bytes.
    pub signed: Bytes,
    /// The signature.
    #[serde(with = "serde_bytes")]
    pub signature: [u8; 64],
    /// How long ago it was issued, ms, as far as the sender knows; only grows.
    pub age_ms: u64,
}

impl WireRecord {
    /// A record as it is sent by who knows this age of it.
    pub fn new(signed: Bytes, signature: [u8; 64], age_ms: u64) -> Self {
        Self {
            signed,
            signature,
            age_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::identity::Keypair;

    fn in_groups(groups: &[(&str, u8)]) -> SignedRecord {
        let keypair = Keypair::from_secret([1; 32]);
        let groups = groups.iter().map(|(name, role)| RecordGroup {
            name: name.parse().expect("valid"),
            role: *role,
            settings_version: 0,
            settings: None,
            ext: GroupExt::default(),
        });
        let record = Record {
            network: [7; 16],
            peer: keypair.peer(),
            epoch: 1,
            version: 1,
            left: false,
            algorithm: ALGORITHM_VERSION,
            capabilities: 0,
            capacity: 8,
            coordinate: [0.0; 5],
            addresses: Vec::new(),
            groups: groups.collect(),
            links: Vec::new(),
            ext: RecordExt::default(),
        };
        SignedRecord::sign(record, &keypair)
    }

    #[test]
    fn a_role_is_the_one_that_the_list_of_groups_has() {
        for groups in [
            &[][..],
            &[("news", 1)],
            &[("news", 2)],
            &[("news", 9)],
            &[("other", 1)],
            &[("news", 2), ("other", 1)],
            &[("a", 1), ("b", 2), ("news", 1)],
        ] {
            let signed = in_groups(groups);
            for name in ["news", "other", "b", "none"] {
                let name: GroupName = name.parse().expect("valid");
                let listed = signed.record.group(&name).and_then(RecordGroup::role);
                let found = signed.role_in(&SoughtGroup::new(&name));
                assert_eq!(found, listed, "{name} in {groups:?}");
            }
        }
    }
}
