//! Every number the engine goes by: what it is, its unit, why this value.
//!
//! Values come from a file or flags through the node, or from a scenario; [`Config::check`]
//! says which one is out of range.

mod check;
mod memory;

pub use memory::Memory;

use crate::base::name::{Address, NetworkName};
use crate::base::source::Prefix;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An old fault that is still there to be found.
#[cfg(feature = "planted")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Planted {
    /// No fault is active.
    #[default]
    None,
    /// An answer to a pull of many ranges is not cut, what is sent has a lower limit than what is
    /// received, and a frame over it ends the process.
    FrameOverLimit,
    /// A member that joined alone takes a message for older than its join if the clock of its origin
    /// says so, and drops it without a word.
    WallClock,
    /// Only the two newest lives of an origin are kept; what goes with the others is told to nobody.
    TwoLives,
    /// The simulator forgets what a peer counted in a group that it has left, and its totals shrink.
    /// No fault of the engine: it marks where the simulator has it.
    ForgottenGroup,
}

/// The engine's configuration. All fields have defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Which network this peer belongs to; others are refused in the handshake.
    pub network: NetworkName,
    /// Addresses to dial at the start and whenever no link is left.
    pub bootstrap: Vec<Address>,
    /// Where this peer can be dialled, stated in its record.
    pub addresses: Vec<Address>,
    /// Bytes that all tables together may hold: records, messages retained, ahead of delivery and not
    /// read yet, frames that wait for links, checks under way ([`Config::memory`] says which share
    /// each has). 768 MiB: two groups that each carry one of the largest messages
    /// retain both, put both together, and let both be read.
    pub memory_max: usize,
    /// The old fault that is active; only in builds that have such, which no user has.
    #[cfg(feature = "planted")]
    pub planted: Planted,
    /// Whether this peer speaks as a later version may; only in builds that can, which no user has.
    #[cfg(feature = "wire-next")]
    pub wire_next: bool,
    /// Links and whom to connect to.
    pub links: LinkConfig,
    /// What strangers may use.
    pub limits: LimitConfig,
    /// Records and the view.
    pub database: DatabaseConfig,
    /// Leaving the network.
    pub shutdown: ShutdownConfig,
    /// Logs, retention and repair.
    pub groups: GroupConfig,
    /// Queues.
    pub flow: FlowConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            network: NetworkName::default(),
            bootstrap: Vec::new(),
            addresses: Vec::new(),
            memory_max: 768 << 20,
            #[cfg(feature = "planted")]
            planted: Planted::None,
            #[cfg(feature = "wire-next")]
            wire_next: false,
            links: LinkConfig::default(),
            limits: LimitConfig::default(),
            database: DatabaseConfig::default(),
            shutdown: ShutdownConfig::default(),
            groups: GroupConfig::default(),
            flow: FlowConfig::default(),
        }
    }
}

/// Links: how many, how they are watched, when to dial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinkConfig {
    /// Links a peer aims for over all groups. 8: mean path and repair no longer gain much beyond
    /// (measured with the `planetlab` example).
    pub degree: usize,
    /// Links above which inbound ones are taken only for the ring.
    pub accept_max: usize,
    /// Links above which everything is refused.
    pub links_max: usize,
    /// Children this peer can feed in a tree; advertised, soft.
    pub capacity: u16,
    /// The advertised capacity is lowered after the uplink was full for so long, ms: trees follow
    /// within a second, and queues are far from full by then.
    pub capacity_full_ms: u64,
    /// It is raised again after the uplink was not full for so long, ms; doubled when that was
    /// too early.
    pub capacity_free_ms: u64,
    /// Interval of heartbeats, ms.
    pub heartbeat_ms: u64,
    /// Silence after which a link is lost, ms (three heartbeats).
    pub silence_ms: u64,
    /// An engine not called for so long restarts its silence clocks first, ms: it slept, not they.
    pub stall_ms: u64,
    /// How long a dial may take, ms (three RTTs of a slow path and a handshake).
    pub dial_timeout_ms: u64,
    /// The longest that a dial may take, ms. With few links up the limit doubles with every try of
    /// the same peer or address that ran into it: a machine that is so busy shakes hands slowly, and
    /// giving up halfway makes it busier (eight times the first limit).
    pub dial_timeout_max_ms: u64,
    /// Dials at once; the ring walk after a mass crash uses all of them.
    pub dials_max: usize,
    /// First and longest wait before an address that failed is dialled again, ms.
    pub backoff_min_ms: u64,
    /// See `backoff_min_ms`.
    pub backoff_max_ms: u64,
    /// How long a handshake may take after the transport is up, ms. Only somebody who falls silent
    /// in that moment uses it up; a machine in use by a hundred starting peers takes 3 s and more.
    pub handshake_ms: u64,
    /// Mean interval of looking again at the choice of neighbours, ms.
    pub choose_ms: u64,
    /// Shortest time between two swaps of a link for a better one, ms.
    pub swap_ms: u64,
    /// How long peers lost from the view still count for the ring, ms.
    pub ring_memory_ms: u64,
    /// Advertised RTT: the minimum over so long, ms.
    pub rtt_window_ms: u64,
    /// A link lost within so long of coming up has flapped, ms.
    pub flap_ms: u64,
    /// The longest time a flapping link is not stated, ms.
    pub flap_max_ms: u64,
    /// How long a peer that sent what no honest one sends (bytes that are no frames, bad
    /// signatures) is neither dialled nor admitted, ms; doubles with every relapse. Five minutes:
    /// much longer than such a peer needs to dial everybody in turn, and short for one that was
    /// merely of a faulty build.
    pub ban_min_ms: u64,
    /// The longest such time, ms (a day, as long as candidates are kept).
    pub ban_max_ms: u64,
    /// Peers remembered for that. Beyond it a first offence displaces only peers whose ban is over.
    pub bans_max: usize,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            degree: 8,
            accept_max: 12,
            links_max: 64,
            capacity: 12,
            capacity_full_ms: 2_000,
            capacity_free_ms: 30_000,
            heartbeat_ms: 1_000,
            silence_ms: 3_000,
            stall_ms: 1_000,
            dial_timeout_ms: 1_500,
            dial_timeout_max_ms: 12_000,
            dials_max: 8,
            backoff_min_ms: 500,
            backoff_max_ms: 10_000,
            handshake_ms: 10_000,
            choose_ms: 1_000,
            swap_ms: 30_000,
            ring_memory_ms: 120_000,
            rtt_window_ms: 60_000,
            flap_ms: 5_000,
            flap_max_ms: 60_000,
            ban_min_ms: 300_000,
            ban_max_ms: 86_400_000,
            bans_max: 4_096,
        }
    }
}

/// What strangers may use, by the address that they come from. Keys cost nothing, addresses do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitConfig {
    /// Prefixes of addresses without a limit of their own. Loopback: one machine may run many
    /// peers, and who can start processes on it needs no connections to harm it.
    pub trusted: Vec<Prefix>,
    /// Connections from one IPv4 address or IPv6 /56 that have not said hello yet. 8: crossing
    /// dials of a few peers behind one address.
    pub pending_per_address: usize,
    /// Connections from one such address, at once. 32: a laboratory behind one address, and a
    /// quarter of all that a peer takes.
    pub links_per_address: usize,
    /// Links and connections kept for peers known for `known_ms`, a quarter of all at most.
    pub reserved: usize,
    /// A peer first linked so long ago is known, ms: such a link is not shed for a newcomer. One
    /// hour: longer than an attack goes unnoticed by an operator.
    pub known_ms: u64,
    /// While many strangers have yet to say hello, each has so long, ms; otherwise
    /// `links.handshake_ms`. Two seconds: a dozen round trips of a slow path.
    pub hello_ms: u64,
}

impl Default for LimitConfig {
    fn default() -> Self {
        let loopback = [
            (IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
            (IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
        ];
        let trusted = loopback.into_iter();
        Self {
            trusted: trusted
                .filter_map(|(network, bits)| Prefix::new(network, bits))
                .collect(),
            pending_per_address: 8,
            links_per_address: 32,
            reserved: 16,
            known_ms: 3_600_000,
            hello_ms: 2_000,
        }
    }
}

impl LimitConfig {
    /// Whether connections from an address have no limit of their own.
    pub fn is_trusted(&self, address: &Address) -> bool {
        let ip = crate::base::source::ip_of(address);
        ip.is_some_and(|ip| self.trusted.iter().any(|prefix| prefix.contains(ip)))
    }
}

/// The link-state database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseConfig {
    /// Records kept. Full knowledge is meant for some 10,000 peers.
    pub records_max: usize,
    /// Shortest time between two records of one peer, ms; a loss may come sooner. With more than
    /// 1,000 peers it is as long as views rest (up to 5 s), for losses as well, and one that is
    /// alone waits half of that for what replaces it.
    pub reissue_ms: u64,
    /// Shortest time between two records of one peer of which only RTTs or the coordinate are
    /// new, ms; doubles while they repeat, up to `refresh_ms`. Load moves RTTs, and records are
    /// load. A coordinate alone waits so long again for every 100 peers in the view.
    pub drift_ms: u64,
    /// A record is issued again after so long without change, ms.
    pub refresh_ms: u64,
    /// After this many refresh intervals an old record is dropped.
    pub refreshes_kept: u64,
    /// How long the version of a dropped record is remembered, ms.
    pub tombstone_ms: u64,
    /// Versions of dropped records remembered.
    pub tombstones_max: usize,
    /// An announced record that has not come is pulled after so long, ms.
    pub pull_ms: u64,
    /// How long view hashes may differ without a record crossing before reconciling, ms; longer in
    /// views of thousands, where records are announced less often.
    pub unequal_ms: u64,
    /// Shortest time between two reconciliations on a link, ms.
    pub reconcile_ms: u64,
    /// Trees wait so long for the view to settle, ms.
    pub debounce_ms: u64,
    /// The oldest tree that is still used while the view changes, ms; with more than 1,000 peers
    /// up to 5 s.
    pub stale_tree_ms: u64,
    /// A candidate outside the view is tried about this often, ms, at the most.
    pub candidate_min_ms: u64,
    /// See `candidate_min_ms`: at the least.
    pub candidate_max_ms: u64,
    /// How long peers outside the view are kept as candidates, ms.
    pub candidate_keep_ms: u64,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self {
            records_max: 16_384,
            reissue_ms: 500,
            drift_ms: 10_000,
            refresh_ms: 600_000,
            refreshes_kept: 3,
            tombstone_ms: 86_400_000,
            tombstones_max: 16_384,
            pull_ms: 100,
            unequal_ms: 1_000,
            reconcile_ms: 10_000,
            debounce_ms: 100,
            stale_tree_ms: 500,
            candidate_min_ms: 10_000,
            candidate_max_ms: 30_000,
            candidate_keep_ms: 86_400_000,
        }
    }
}

/// Leaving the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownConfig {
    /// How long leaving waits for two neighbours to confirm, ms.
    pub timeout_ms: u64,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self { timeout_ms: 2_000 }
    }
}

/// Groups: logs, retention, repair, limits on messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GroupConfig {
    /// Groups a peer can be in.
    pub groups_max: usize,
    /// Groups a peer relays for without being in them.
    pub relayed_max: usize,
    /// Lives of publishers with a log in one group. Beyond it logs that hold nothing give way, then
    /// those of peers outside the view, the newest first, then older lives.
    pub origins_max: usize,
    /// The largest message, bytes.
    pub message_bytes_max: usize,
    /// Messages above this are cut into fragments of this size, bytes.
    pub fragment_bytes: usize,
    /// Messages that wait to be published share a bundle, and its signature, up to so many bytes.
    /// 64 KiB: some 50 messages of 1 KiB; every hop waits for the whole bundle.
    pub batch_bytes: usize,
    /// Messages above this travel as bulk: two children a peer, bytes.
    pub bulk_bytes: usize,
    /// In a mesh, extra parents announce instead of pushing above this, bytes.
    pub mesh_push_bytes: usize,
    /// How far ahead of the settled point an origin's entries are taken. Whoever is farther behind
    /// goes on where a neighbour can serve.
    pub window: u64,
    /// Bytes received ahead of delivery, per origin, before more is left to be pulled later.
    pub ahead_bytes_max: usize,
    /// Announcements are batched for so long, ms.
    pub announce_ms: u64,
    /// First wait before a missing entry is pulled, ms; adapts to what trees take.
    pub grace_ms: u64,
    /// An unanswered pull is sent elsewhere after so long, ms.
    pub pull_timeout_ms: u64,
    /// Pulls for one entry to one link before that link is ignored for it.
    pub pull_attempts: u8,
    /// Bytes asked for and not yet received, per link.
    pub pull_bytes: usize,
    /// A hole that neighbours can fill becomes a gap when nothing of its origin has come for so long,
    /// ms; one that nobody can fill, so long after it was noticed. So does a large message whose origin is gone in its middle: after this or twice the group's
    /// `retention_ms`, whichever is longer; where memory is short, after this.
    pub gap_timeout_ms: u64,
    /// Shortest time between two full digests of a group on a link, ms.
    pub digest_ms: u64,
    /// How long a joiner waits for a joined neighbour, ms.
    pub baseline_ms: u64,
    /// Without such a neighbour, messages published up to so long before the join are taken, ms.
    pub baseline_slack_ms: u64,
    /// How long a message whose origin has no record is kept, ms.
    pub orphan_ms: u64,
    /// How long an unacknowledged message is asked about, ms.
    pub acknowledge_ms: u64,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            groups_max: 256,
            relayed_max: 256,
            origins_max: 16_384,
            message_bytes_max: 64 << 20,
            fragment_bytes: 64 << 10,
            batch_bytes: 64 << 10,
            bulk_bytes: 256 << 10,
            mesh_push_bytes: 4 << 10,
            window: 1 << 20,
            ahead_bytes_max: 96 << 20,
            announce_ms: 50,
            grace_ms: 100,
            pull_timeout_ms: 1_000,
            pull_attempts: 3,
            pull_bytes: 1 << 20,
            gap_timeout_ms: 60_000,
            digest_ms: 10_000,
            baseline_ms: 3_000,
            baseline_slack_ms: 2_000,
            orphan_ms: 10_000,
            acknowledge_ms: 60_000,
        }
    }
}

/// Queues.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlowConfig {
    /// Bytes handed to a link's transport and not yet written, so that control overtakes data.
    pub unsent_bytes: usize,
    /// Data waiting per link before it turns lazy, bytes.
    pub data_queue_bytes: usize,
    /// Pieces of large messages waiting per link before it turns lazy for them, bytes; small
    /// messages overtake them.
    pub bulk_queue_bytes: usize,
    /// Answers to pulls waiting per link, bytes; those with pieces of large messages count apart.
    pub repair_queue_bytes: usize,
    /// Control frames waiting per link, bytes; more than this and the link is closed.
    pub control_queue_bytes: usize,
    /// Signature checks under way over all links; more and bundles wait to be pulled. One link gets
    /// at most four fifths of them.
    pub verifying_max: usize,
}

impl Default for FlowConfig {
    fn default() -> Self {
        Self {
            unsent_bytes: 128 << 10,
            data_queue_bytes: 8 << 20,
            bulk_queue_bytes: 8 << 20,
            repair_queue_bytes: 4 << 20,
            control_queue_bytes: 8 << 20,
            verifying_max: 4_096,
        }
    }
}

/// A configured value that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value}: {why}")]
pub struct ConfigError {
    /// The key, with dots (`links.degree`).
    pub key: &'static str,
    /// What it is set to.
    pub value: String,
    /// What it must be.
    pub why: &'static str,
}
