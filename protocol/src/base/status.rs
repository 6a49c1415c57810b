//! What an operator can ask: plain data, the same for the API, the CLI and the simulator.

use crate::base::identity::PeerKey;
use crate::base::interface::{IdentityUser, LinkEnd, LinkId};
use crate::base::message::GroupSettings;
use crate::base::name::{Address, GroupName, NetworkName};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;

/// A peer at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Who.
    pub peer: PeerKey,
    /// Which network.
    pub network: NetworkName,
    /// Which life.
    pub epoch: u64,
    /// The version of the own record.
    pub version: u64,
    /// Where it can be dialled.
    pub addresses: Vec<Address>,
    /// Links that are up.
    pub links: usize,
    /// Handshakes and dials under way.
    pub connecting: usize,
    /// Peers that have proven not to keep the rules and are not linked to for now.
    pub banned: usize,
    /// Children it says it can feed; below what is configured while its uplink stays full.
    pub capacity: u16,
    /// Records in the database.
    pub records: usize,
    /// Memory that they take, bytes.
    pub record_bytes: usize,
    /// Peers in the view, this one included.
    pub view_peers: usize,
    /// Hash of the view; in hex where it is written, for not every reader has 64-bit integers.
    #[serde(serialize_with = "hex", deserialize_with = "from_hex")]
    pub view_hash: u64,
    /// The version of the overlay algorithms that the view uses.
    pub algorithm: u16,
    /// Peers of the view that know only versions which this build no longer supports.
    pub algorithm_unsupported: usize,
    /// Groups, this peer's own and relayed ones.
    pub groups: usize,
    /// Bytes handed over and retained for others, over all groups.
    pub retained_bytes: usize,
    /// Bytes received ahead of what could be handed over, over all groups.
    pub ahead_bytes: usize,
    /// Bytes waiting in link queues.
    pub queued_bytes: usize,
    /// Signature checks under way.
    pub verifying: usize,
    /// How far the local clock is ahead of network time, the median of the neighbours' clocks, ms;
    /// negative: behind. 0 without neighbours.
    pub clock_off_ms: i64,
    /// Whether the engine is leaving or has stopped.
    pub stopping: bool,
    /// Identities, this peer's own or neighbours', that two running peers seemed to use within the
    /// last ten minutes: a copied key or data directory.
    pub identity_conflicts: Vec<IdentityConflict>,
}

/// An identity that two running peers use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityConflict {
    /// The identity.
    pub peer: PeerKey,
    /// Who uses it, as far as is known; of this peer's own identity, the other one.
    pub users: Vec<IdentityUser>,
    /// When it was last seen, ms ago.
    pub seen_ms_ago: u64,
}

/// Writes a hash as 16 hex digits.
pub fn hex<S: Serializer>(hash: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{hash:016x}"))
}

/// Reads what [`hex`] writes.
pub fn from_hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    u64::from_str_radix(&text, 16).map_err(serde::de::Error::custom)
}

/// One link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools)] // Independent facts, read by name.
pub struct LinkStatus {
    /// The connection.
    pub link: LinkId,
    /// The neighbour.
    pub peer: PeerKey,
    /// Its address, as the driver told.
    pub address: Option<Address>,
    /// Whether this peer dialled.
    pub dialled: bool,
    /// Whether the handshake is done.
    pub up: bool,
    /// Smoothed RTT, microseconds.
    pub rtt_us: Option<u64>,
    /// The RTT stated in the record, microseconds.
    pub stated_rtt_us: Option<u64>,
    /// How long it has been up, ms.
    pub up_ms: u64,
    /// Why this end wants it.
    pub wanted: Vec<String>,
    /// Whether the other end wants it.
    pub wanted_by_peer: bool,
    /// Bytes queued.
    pub queued: QueuedBytes,
    /// Bytes.
    pub bytes: BothWays,
    /// Payload bundles.
    pub bundles: BothWays,
    /// Whether data for it has turned lazy now.
    pub lazy: bool,
    /// What stands against it for keeping what it should have forwarded.
    pub faults: LinkFaults,
}

/// Bytes that wait on a link, by lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedBytes {
    /// Frames that keep the network together.
    pub control: usize,
    /// What was pulled.
    pub repair: usize,
    /// Messages of the normal class.
    pub data: usize,
    /// Large messages and what their publishers called bulk.
    pub bulk: usize,
}

impl QueuedBytes {
    /// In all lanes.
    pub fn total(&self) -> usize {
        self.lanes().into_iter().sum()
    }

    /// Control, repair, data, bulk: as they are sent.
    pub fn lanes(&self) -> [usize; 4] {
        [self.control, self.repair, self.data, self.bulk]
    }
}

/// A count each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BothWays {
    /// From the neighbour.
    pub received: u64,
    /// To the neighbour.
    pub sent: u64,
}

/// What stands against a neighbour as a parent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkFaults {
    /// Times that what it should have forwarded had to be pulled elsewhere, since it last forwarded
    /// anything.
    pub pulled: u32,
    /// Steps by which the stated cost of the link is raised for it.
    pub raised: u32,
}

/// What a peer is in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Gets the messages.
    Member,
    /// Publishes without getting any.
    Sender,
    /// Carries them for others.
    Relay,
}

/// One group at this peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// Its name; `None` for a group relayed before any record named it.
    pub group: Option<GroupName>,
    /// What this peer is in it.
    pub role: Role,
    /// How it works.
    pub settings: GroupSettings,
    /// When the settings were changed, network time in ms since the Unix epoch; 0: they are the
    /// defaults; 1: whoever created the group set them.
    pub settings_version: u64,
    /// Whether the baseline is taken: messages are due.
    pub joined: bool,
    /// Members known in the view.
    pub members: usize,
    /// Origins with a log.
    pub origins: usize,
    /// Bytes retained.
    pub retained_bytes: usize,
    /// Messages retained.
    pub retained: usize,
    /// Entries missing now.
    pub missing: u64,
    /// Messages published here.
    pub published: u64,
    /// Payload copies received: bundles, whether new or not.
    pub copies: u64,
    /// Of those, first receipts. RMR is `copies / firsts - 1`.
    pub firsts: u64,
    /// First receipts by pull.
    pub repaired: u64,
    /// Messages handed to the application.
    pub delivered: u64,
    /// Entries reported as gaps.
    pub gaps: u64,
}

/// One member of a group, or one peer of the network.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MemberStatus {
    /// Who.
    pub peer: PeerKey,
    /// Whether it is this peer.
    #[serde(rename = "self")]
    pub is_self: bool,
    /// Its state.
    pub state: MemberState,
    /// What it is in the group.
    pub role: Role,
}

/// How a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberState {
    /// In the view.
    Live,
    /// Known, but outside the view.
    Unreachable,
}

/// One peer's place in an overlay, as this peer computes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OverlayNode {
    /// Who.
    pub peer: PeerKey,
    /// Whether it only relays.
    pub relay: bool,
    /// Parents: the tree's first, then a mesh's.
    pub parents: Vec<PeerKey>,
    /// Links from the origin along the tree.
    pub depth: u32,
    /// Estimated delay from the origin along the tree, microseconds.
    pub delay_us: u64,
}

/// An overlay from one origin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OverlayStatus {
    /// The group.
    pub group: GroupName,
    /// The origin.
    pub origin: PeerKey,
    /// Parents every member has.
    pub redundancy: u8,
    /// Its peers, by key.
    pub nodes: Vec<OverlayNode>,
    /// The links among them: ends and one-way cost in microseconds.
    pub links: Vec<(PeerKey, PeerKey, u32)>,
}

/// Counters since the start. Whatever is dropped, refused or evicted is counted here.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Counters {
    /// By name, those of [`COUNTERS`]; nothing that was never counted.
    pub values: BTreeMap<&'static str, u64>,
    /// Frames received, by kind.
    pub frames_received: BTreeMap<&'static str, u64>,
    /// Frames sent, by kind.
    pub frames_sent: BTreeMap<&'static str, u64>,
    /// Links ended, by reason.
    pub link_ends: BTreeMap<LinkEnd, u64>,
}

/// The names in [`Counters::values`] that engines use, sorted; docs/api.md says what each counts.
pub const COUNTERS: [&str; 131] = [
    "access_bundles_refused",
    "access_links_refused",
    "access_requests_refused",
    "access_settings_refused",
    "acknowledgements_forged",
    "acknowledgements_refused",
    "acknowledgements_without_way",
    "addresses_withheld",
    "ages_doubted",
    "ages_lowered",
    "announcements_withheld",
    "announcers_ignored",
    "bans_without_room",
    "baselines_forged",
    "baselines_late",
    "baselines_unasked",
    "baselines_unchecked",
    "bundles_duplicate",
    "bundles_forged",
    "bundles_left_to_pull",
    "bundles_of_cut_off",
    "bundles_oversized",
    "bundles_own_returned",
    "bundles_served",
    "bundles_slowed",
    "bundles_unchecked",
    "bundles_with_holes",
    "bundles_withdrawn",
    "bundles_without_room",
    "candidates_evicted",
    "candidates_tried",
    "capacity_lowered",
    "capacity_raised",
    "dials",
    "dials_failed",
    "digests_for_unequal_hashes",
    "digests_of_other_groups",
    "echoes_dropped",
    "echoes_repeated",
    "echoes_unasked",
    "echoes_unreadable",
    "entries_evicted",
    "epochs_ahead",
    "epochs_too_old",
    "fields_unknown",
    "frames_cut",
    "frames_from_visitors",
    "frames_malformed",
    "frames_oversized_unsent",
    "frames_unknown",
    "frames_without_memory",
    "groups_unstated",
    "groups_unsupported",
    "headers_unreadable",
    "hellos_late",
    "identity_conflicts",
    "links_banned",
    "links_of_one_address",
    "links_outdated",
    "links_reconsidered",
    "links_refused",
    "links_refused_by_peer",
    "links_shed",
    "links_throttled",
    "logs_displaced",
    "messages_abandoned",
    "messages_before_join",
    "messages_oversized",
    "names_forgotten",
    "origins_cut_off",
    "origins_put_off",
    "origins_refused",
    "own_records_found",
    "pages_unasked",
    "parent_faults",
    "parent_faults_untracked",
    "parents_dropped",
    "parents_needed",
    "parents_questioned",
    "parents_raised",
    "peers_banned",
    "probes_dropped",
    "probes_repeated",
    "proofs_asked",
    "proofs_left_out",
    "proofs_refused",
    "proofs_taken",
    "proofs_unasked",
    "proofs_unchecked",
    "publishers_told_busy",
    "pulls",
    "pulls_cut_short",
    "pulls_deferred",
    "pulls_unanswered",
    "questions_refused",
    "ranges_given_up",
    "reconciliations",
    "records_accepted",
    "records_ahead",
    "records_by_delta",
    "records_damped",
    "records_damped_late",
    "records_evicted",
    "records_expired",
    "records_forged",
    "records_issued",
    "records_issued_for_drift",
    "records_of_newcomers",
    "records_of_other_networks",
    "records_of_strangers",
    "records_oversized",
    "records_too_old",
    "records_unchecked",
    "records_without_base",
    "records_without_room",
    "relays_refused",
    "repair_looks",
    "roles_unknown",
    "routed_delivered",
    "routed_dropped",
    "routed_expired",
    "routed_forwarded",
    "routed_oversized_unsent",
    "routed_protocol_unknown",
    "routed_sent",
    "routed_unroutable",
    "settings_damped",
    "stalls",
    "stores_failed",
    "stores_refused",
    "subscriptions_refused",
];
