//! Groups: logs, forwarding, repair, delivery.
//!
//! The way of a message: `receive` (is it new?) → `verifying` (is it the origin's?) → `log`
//! (keep it) → `forward` (to whom?) → `deliver` (to the application). What was missed comes by
//! `digest` and `pull`; what cannot be had is a gap.

mod acknowledge;
mod baseline;
mod charge;
mod deliver;
mod digest;
mod evidence;
mod fork;
mod forward;
mod log;
mod logs;
mod membership;
mod missing;
mod overlays;
mod owed;
mod past;
#[cfg(feature = "planted")]
mod planted;
mod probe;
mod publish;
mod pull;
mod pushed;
mod receive;
mod refused;
mod remote;
mod retention;
mod settings;
mod sought;
mod unfinished;
mod verifying;

pub(crate) use acknowledge::{Acknowledging, Tracking};
pub(crate) use baseline::{Asked, Baselining, Proving};
pub(crate) use digest::Untold;
pub(crate) use evidence::Evidence;
pub(crate) use fork::Forks;
pub(crate) use log::OriginLog;
pub(crate) use overlays::Overlays;
pub(crate) use owed::Charges;
#[cfg(feature = "planted")]
pub use planted::Planted;
pub(crate) use probe::Probes;
pub(crate) use publish::OwnLog;
pub(crate) use remote::Remotes;
pub(crate) use retention::Retention;
pub(crate) use settings::{Changes, Settings};
pub(crate) use verifying::Verifying;

use crate::engine::Engine;
use crate::identity::PeerKey;
use crate::links::FlowId;
use crate::name::{GroupId, GroupName};
use crate::status::Role;
use crate::time::Micros;
use crate::wire::RecordGroup;
use crate::wire::record::WireSettings;
use past::PastLogs;
use sought::Sought;
use std::collections::BTreeMap;

/// However short retention is, everybody knows for so long at least that a message existed, ms: links
/// that were cut come back within that time, and who was behind them is told what it has missed.
const KNOWN_MS: u64 = 30_000;

/// Names a log in a group: origin and epoch.
pub(crate) type LogKey = (PeerKey, u64);

/// One origin's messages in one group take turns with those of others.
fn flow_of(group: GroupId, origin: PeerKey) -> FlowId {
    let mut bytes = [0; 48];
    bytes[..16].copy_from_slice(&group.0);
    bytes[16..].copy_from_slice(&origin.0);
    FlowId(bytes)
}

/// One group at this peer.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) id: GroupId,
    /// Unknown only to a relay that no record has told it yet.
    pub(crate) name: Option<GroupName>,
    pub(crate) role: Role,
    /// Whether the application wants the messages.
    pub(crate) delivering: bool,
    /// Whether this peer has been asked to leave, and stays until what it has begun to send is sent.
    pub(crate) leaving: bool,
    pub(crate) settings: Settings,
    /// The members that have changed them, and the changes that wait.
    pub(crate) changes: Changes,
    pub(crate) logs: BTreeMap<LogKey, OriginLog>,
    /// Logs that only digests speak of.
    pub(crate) sought: BTreeMap<LogKey, Sought>,
    /// How far logs had come that are no longer kept.
    pub(crate) past: PastLogs,
    /// When to look for logs whose life is over.
    pub(crate) logs_due: Option<Micros>,
    pub(crate) own: OwnLog,
    pub(crate) baseline: Baselining,
    /// When the application was told that it has joined.
    pub(crate) joined: Option<Micros>,
    pub(crate) retention: Retention,
    pub(crate) tracking: Tracking,
    /// Whether a large message has ever come in it, or gone out.
    pub(crate) carries_bulk: bool,
    /// Logs that changed and have not been announced to all, and when they are.
    pub(crate) unannounced: BTreeMap<LogKey, Untold>,
    pub(crate) announce_due: Option<Micros>,
    /// When logs were announced last, and how far those had come.
    pub(crate) announced: (Micros, BTreeMap<LogKey, u64>),
    /// When something missing is to be pulled or given up next.
    pub(crate) repair_due: Option<Micros>,
    /// No round before this: the last one had much to look at.
    pub(crate) repair_rests_until: Micros,
    /// When to look for messages that were begun and will not be ended.
    pub(crate) unfinished_due: Option<Micros>,
    /// When digests were last asked for, because nobody was known to hold what is missing.
    pub(crate) asked_digests: Micros,
    /// First wait before a pull: how late pushed entries come, smoothed, microseconds.
    pub(crate) lateness_us: u64,
    /// The log hash, while nothing has changed, and when it was taken.
    pub(crate) hash: Option<(u64, Micros)>,
    /// What follows from the group's graph.
    pub(crate) overlays: Overlays,
    /// The hash of the group's graph, and when it was first seen.
    pub(crate) graph_seen: (u64, Micros),
    pub(crate) stats: GroupStats,
}

/// What a group has done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GroupStats {
    pub(crate) copies: u64,
    pub(crate) firsts: u64,
    pub(crate) repaired: u64,
    pub(crate) delivered: u64,
    pub(crate) gaps: u64,
    pub(crate) published: u64,
}

impl Group {
    pub(crate) fn new(id: GroupId, name: Option<GroupName>, role: Role, grace_ms: u64) -> Self {
        Self {
            id,
            name,
            role,
            delivering: false,
            leaving: false,
            settings: Settings::default(),
            changes: Changes::default(),
            logs: BTreeMap::new(),
            sought: BTreeMap::new(),
            past: PastLogs::default(),
            logs_due: None,
            own: OwnLog::default(),
            baseline: Baselining::default(),
            joined: None,
            retention: Retention::default(),
            tracking: Tracking::default(),
            carries_bulk: false,
            unannounced: BTreeMap::new(),
            announce_due: None,
            announced: (Micros::default(), BTreeMap::new()),
            repair_due: None,
            repair_rests_until: Micros(0),
            unfinished_due: None,
            asked_digests: Micros(0),
            lateness_us: grace_ms * 500,
            hash: None,
            overlays: Overlays::default(),
            graph_seen: (0, Micros(0)),
            stats: GroupStats::default(),
        }
    }

    pub(crate) fn is_broadcast(&self) -> bool {
        self.name.as_ref().is_some_and(GroupName::is_broadcast)
    }

    /// Whether this group asks for links of its own.
    pub(crate) fn wants_links(&self) -> bool {
        !self.is_broadcast() && self.role != Role::Relay
    }

    /// Whether messages are handed over: to a member that knows from where on they are due.
    pub(crate) fn is_delivering(&self) -> bool {
        self.delivering && self.role == Role::Member && self.baseline.is_taken()
    }

    /// The role as records state it. Everybody is in `broadcast` anyway.
    pub(crate) fn stated_role(&self) -> u8 {
        match self.role {
            _ if self.is_broadcast() => 0,
            Role::Member => 1,
            Role::Sender => 2,
            Role::Relay => 0,
        }
    }

    /// The role as neighbours are told.
    pub(crate) fn told_role(&self) -> u8 {
        match self.role {
            Role::Member => 1,
            Role::Sender => 2,
            Role::Relay => 3,
        }
    }

    /// Its settings as a record states them; nothing at version 0.
    pub(crate) fn stated_settings(&self) -> Option<WireSettings> {
        (self.settings.version > 0).then(|| match &self.settings.beyond {
            Some(stated) => WireSettings::clone(stated),
            None => self.settings.values.into(),
        })
    }

    /// Origins of which something came within `ms`.
    pub(crate) fn flowing(&self, now: Micros, ms: u64) -> impl Iterator<Item = PeerKey> + '_ {
        self.logs
            .iter()
            .filter(move |(_, log)| {
                log.high() > 0 && now.since(log.progress) < Micros::from_millis(ms)
            })
            .map(|((origin, _), _)| *origin)
    }

    /// A life that is over is forgotten when nothing has come of it for so long, ms.
    pub(crate) fn idle_ms(&self) -> u64 {
        self.known_ms().saturating_mul(2)
    }

    /// For so long after its last message came a log is compared with those of neighbours, ms.
    pub(crate) fn known_ms(&self) -> u64 {
        self.settings.values.retention_ms.max(KNOWN_MS)
    }

    fn retention_due(&self) -> Option<Micros> {
        let idles = matches!(self.role, Role::Relay | Role::Sender);
        self.retention.due(&self.settings.values, idles)
    }

    fn due(&self) -> Option<Micros> {
        self.announce_due
            .into_iter()
            .chain(self.repair_due)
            .chain(self.unfinished_due)
            .chain(self.baseline.due())
            .chain(self.retention_due())
            .chain(self.logs_due)
            .chain(self.tracking.due())
            .chain(self.changes.due())
            .min()
    }
}

impl Engine {
    /// The groups that the record is to state.
    pub(crate) fn stated_groups(&self) -> Vec<RecordGroup> {
        let groups = self.groups.values().filter_map(|group| {
            let settings = group.stated_settings();
            let role = group.stated_role();
            if role == 0 && settings.is_none() {
                return None;
            }
            Some(RecordGroup {
                name: group.name.clone()?,
                role,
                settings_version: group.settings.version,
                settings,
                ext: self.group_ext(),
            })
        });
        groups.collect()
    }

    /// The groups that ask for links of their own.
    pub(crate) fn linked_groups(&self) -> Vec<GroupName> {
        let groups = self.groups.values().filter(|group| group.wants_links());
        groups.filter_map(|group| group.name.clone()).collect()
    }

    pub(crate) fn groups_due(&self) -> Option<Micros> {
        self.groups.values().filter_map(Group::due).min()
    }

    pub(crate) fn on_groups_timeout(&mut self) {
        let now = self.now.mono;
        let due: Vec<GroupId> = self
            .groups
            .iter()
            .filter(|(_, group)| group.due().is_some_and(|due| due <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.on_group_timeout(id);
        }
        self.wake_starved_publishers();
    }

    fn on_group_timeout(&mut self, id: GroupId) {
        let now = self.now.mono;
        let is_due = |due: Option<Micros>| due.is_some_and(|due| due <= now);
        let Some(group) = self.groups.get(&id) else {
            return;
        };
        let (announce, repair, unfinished, baseline, retention, logs, tracking, settings) = (
            is_due(group.announce_due),
            is_due(group.repair_due),
            is_due(group.unfinished_due),
            is_due(group.baseline.due()),
            is_due(group.retention_due()),
            is_due(group.logs_due),
            is_due(group.tracking.due()),
            is_due(group.changes.due()),
        );
        if settings {
            self.on_settings_timeout(id);
        }
        if baseline {
            self.on_baseline_timeout(id);
        }
        if announce {
            self.announce(id);
        }
        if repair {
            self.repair(id);
        }
        if unfinished {
            self.end_unfinished(id);
        }
        if tracking {
            self.on_tracking_timeout(id);
        }
        if retention {
            self.on_retention_timeout(id);
        }
        if logs {
            self.on_logs_timeout(id);
        }
    }
}
