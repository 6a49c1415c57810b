//! Links: connections to neighbours, from the handshake to the end.
//!
//! [`Link`] is one connection's state. `handshake` brings it up, `heartbeat` watches it,
//! `choose` decides whom to link to and `dial` connects; `queue` holds what waits to be sent.

mod ban;
mod choose;
mod cost;
mod dial;
mod events;
mod guard;
mod handshake;
mod heartbeat;
mod offence;
mod outlook;
mod queue;
mod reach;
mod rtt;
mod send;
mod twins;
mod uplink;

pub(crate) use ban::BanList;
pub(crate) use choose::Chooser;
#[cfg(feature = "warm")]
pub use choose::WarmChoice;
pub(crate) use dial::{Dialer, Target};
pub(crate) use events::OverlayEvent;
pub(crate) use guard::Guard;
pub(crate) use queue::{FlowId, FrameContents, Priority, SendQueue};
pub(crate) use rtt::RttEstimator;
pub(crate) use twins::Twins;
pub(crate) use uplink::{FED_MS, Uplink};

use crate::base::identity::PeerKey;
use crate::base::interface::LinkId;
use crate::base::name::Address;
use crate::base::source::Source;
use crate::base::time::Micros;
use crate::core::config::Config;
use crate::overlay::clocks::HeardClock;
use crate::overlay::records::{Comparison, KnownNews, Requests};
use crate::wire::frame::Buckets;
use crate::wire::{FRAME_BYTES_MAX, FrameDecoder};
use hedgerow_topology::Reason;
use std::collections::BTreeSet;

/// What may be asked of a new link at once, bytes.
const PULL_BUDGET_START: usize = 128 << 10;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The other end's hello has not come.
    Handshake,
    /// It carries overlay frames.
    Up,
    /// Refused, by either end: it serves the database for a moment and then ends.
    Visitor,
    /// Said goodbye; waits for the transport to end it.
    Closing,
}

/// One connection.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // Independent facts, read by name.
pub(crate) struct Link {
    pub(super) id: LinkId,
    pub(super) peer: PeerKey,
    pub(super) address: Option<Address>,
    /// The place it comes from, where limits for one place hold.
    pub(super) source: Option<Source>,
    /// Whether this peer dialled.
    pub(super) dialled: bool,
    pub(super) stage: Stage,
    /// When the connection stood, and when the handshake was done.
    pub(super) opened: Micros,
    pub(super) up_since: Micros,
    /// Whether the handshake was ever done.
    pub(super) came_up: bool,
    /// When the stage ends by time: handshakes and visitors.
    pub(super) stage_ends: Option<Micros>,
    /// The last byte from the other end.
    pub(super) heard: Micros,
    /// The other end's epoch, from its hello or its newest record that came on this link.
    pub(super) epoch: u64,
    /// What the other end understands beyond the wire version, from its hello.
    pub(super) capabilities: u64,
    /// A delta from it did not give what it said: no more of them are tried.
    pub(super) gave_wrong_delta: bool,
    pub(super) decoder: FrameDecoder,
    pub(super) queue: SendQueue,
    pub(super) rtt: RttEstimator,
    /// The other end's last heartbeat stamp, and when it came.
    pub(super) echo: Option<(u64, Micros)>,
    pub(super) next_heartbeat: Micros,
    /// Its wall clock, from its last heartbeat.
    pub(super) clock: Option<HeardClock>,
    /// Why this end wants it, and what the other end was told.
    pub(super) wants: Option<Reason>,
    pub(super) told_wants: u16,
    pub(super) their_wants: Option<Reason>,
    /// Since when nobody wants it.
    pub(super) unwanted_since: Option<Micros>,
    /// Since when it is not stated any more, for it is to end: until trees go round it, it carries
    /// what they give it.
    pub(super) retiring_since: Option<Micros>,
    /// Not stated before this: flap damping.
    pub(super) stated_from: Micros,
    /// When the other end's database last equalled ours.
    pub(super) equal_at: Option<Micros>,
    /// What the other end's database hash was, and since when it has differed from ours.
    pub(super) unequal_since: Option<Micros>,
    /// What this end compares with the other's database, and lacks of that.
    pub(super) comparison: Comparison,
    pub(super) requests: Requests,
    /// The page of this end's database that the other one waits for.
    pub(super) page_asked: Option<Buckets>,
    /// Records that it need not be told of.
    pub(super) known_news: KnownNews,
    /// Peers whose records it is to be given: with the next batch; and as soon as there is room, for
    /// it has asked for them or lacks them.
    pub(super) record_push: BTreeSet<PeerKey>,
    pub(super) records_owed: BTreeSet<PeerKey>,
    /// When a bundle or a part of one last came: repair that still flows is slow, not silent.
    pub(super) bulk_heard: Micros,
    /// Bytes that may be asked for and not yet received; grows while pulls are answered.
    pub(super) pull_budget: usize,
    pub(super) bytes: [u64; 2],
    pub(super) bundles: [u64; 2],
    /// Whether a data frame was refused since the queue last drained.
    pub(super) lazy: bool,
    /// When a small message was last pushed to it, and since when any has waited.
    pub(super) pushed_at: Option<Micros>,
    pub(super) behind_since: Option<Micros>,
    /// A small message that the transport has not written yet: where it ends, and since when.
    pub(super) unwritten: Option<(u64, Micros)>,
    /// Bytes of small messages pushed to it.
    pub(super) pushed_bytes: u64,
}

impl Link {
    pub(crate) fn new(
        id: LinkId,
        peer: PeerKey,
        address: Option<Address>,
        dialled: bool,
        config: &Config,
        now: Micros,
    ) -> Self {
        Self {
            id,
            peer,
            address,
            source: None,
            dialled,
            stage: Stage::Handshake,
            opened: now,
            up_since: now,
            came_up: false,
            stage_ends: Some(now + Micros::from_millis(config.links.handshake_ms)),
            heard: now,
            epoch: 0,
            capabilities: 0,
            gave_wrong_delta: false,
            decoder: FrameDecoder::new(FRAME_BYTES_MAX),
            queue: SendQueue::new(&config.flow),
            rtt: RttEstimator::default(),
            echo: None,
            next_heartbeat: now,
            clock: None,
            wants: None,
            told_wants: 0,
            their_wants: None,
            unwanted_since: None,
            retiring_since: None,
            stated_from: now,
            equal_at: None,
            unequal_since: None,
            comparison: Comparison::default(),
            requests: Requests::default(),
            page_asked: None,
            known_news: KnownNews::default(),
            record_push: BTreeSet::new(),
            records_owed: BTreeSet::new(),
            bulk_heard: now,
            pull_budget: PULL_BUDGET_START,
            bytes: [0; 2],
            bundles: [0; 2],
            lazy: false,
            pushed_at: None,
            behind_since: None,
            unwritten: None,
            pushed_bytes: 0,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.stage == Stage::Up
    }

    /// Whether database frames may cross.
    pub(crate) fn serves_database(&self) -> bool {
        matches!(self.stage, Stage::Up | Stage::Visitor)
    }
}

/// A reason as it stands on the wire; 0 is none.
pub(crate) fn reason_to_wire(reason: Option<Reason>) -> u16 {
    match reason {
        None => 0,
        Some(Reason::RingSuccessor) => 1,
        Some(Reason::RingPredecessor) => 2,
        Some(Reason::Repair) => 3,
        Some(Reason::Nearest) => 4,
        Some(Reason::Path) => 5,
        Some(Reason::Shell(shell)) => 0x100 + u16::from(shell),
        Some(Reason::Random(slot)) => 0x200 + u16::from(slot),
    }
}

/// The opposite. Reasons unknown to this build count as the weakest.
pub(crate) fn reason_from_wire(wire: u16) -> Option<Reason> {
    Some(match wire {
        0 => return None,
        1 => Reason::RingSuccessor,
        2 => Reason::RingPredecessor,
        3 => Reason::Repair,
        4 => Reason::Nearest,
        0x100..=0x1ff => Reason::Shell((wire & 0xff) as u8),
        0x200..=0x2ff => Reason::Random((wire & 0xff) as u8),
        _ => Reason::Path,
    })
}

/// A reason in words, for people.
pub(crate) fn reason_name(reason: Reason) -> String {
    match reason {
        Reason::RingSuccessor => "ring successor".into(),
        Reason::RingPredecessor => "ring predecessor".into(),
        Reason::Repair => "repair".into(),
        Reason::Nearest => "nearest".into(),
        Reason::Path => "path".into(),
        Reason::Shell(shell) => format!("shell {shell}"),
        Reason::Random(slot) => format!("random {slot}"),
    }
}
