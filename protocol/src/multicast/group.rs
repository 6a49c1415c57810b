//! One group at this peer: its state, and what follows from it alone.

use super::past::PastLogs;
use super::settings::{Changes, Settings};
use super::sought::Sought;
use super::{
    BaselineState, KNOWN_MS, LogKey, OriginLog, Overlays, OwnLog, PendingAnnouncement, Retention,
};
use crate::base::identity::PeerKey;
use crate::base::name::{GroupId, GroupName};
use crate::base::status::Role;
use crate::base::time::Micros;
use crate::wire::record::WireSettings;
use std::collections::BTreeMap;

/// One group at this peer.
#[derive(Debug)]
pub(crate) struct Group {
    pub(super) id: GroupId,
    /// Unknown only to a relay that no record has told it yet.
    pub(super) name: Option<GroupName>,
    pub(super) role: Role,
    /// Whether the application wants the messages.
    pub(super) delivering: bool,
    /// Whether this peer has been asked to leave, and stays until what it has begun to send is sent.
    pub(super) leaving: bool,
    pub(super) settings: Settings,
    /// The members that have changed them, and the changes that wait.
    pub(super) changes: Changes,
    pub(super) logs: BTreeMap<LogKey, OriginLog>,
    /// Logs that only digests speak of.
    pub(super) sought: BTreeMap<LogKey, Sought>,
    /// How far logs had come that are no longer kept.
    pub(super) past: PastLogs,
    /// When to look for logs whose life is over.
    pub(super) logs_due: Option<Micros>,
    pub(super) own: OwnLog,
    pub(super) baseline: BaselineState,
    /// When the application was told that it has joined.
    pub(super) joined: Option<Micros>,
    pub(super) retention: Retention,
    /// Whether a large message has ever come in it, or gone out.
    pub(super) carries_bulk: bool,
    /// Logs that changed and have not been announced to all, and when they are.
    pub(super) unannounced: BTreeMap<LogKey, PendingAnnouncement>,
    pub(super) announce_due: Option<Micros>,
    /// When logs were announced last, and how far those had come.
    pub(super) announced: (Micros, BTreeMap<LogKey, u64>),
    /// When something missing is to be pulled or given up next.
    pub(super) repair_due: Option<Micros>,
    /// No round before this: the last one had much to look at.
    pub(super) repair_rests_until: Micros,
    /// When to look for messages that were begun and will not be ended.
    pub(super) abandoned_due: Option<Micros>,
    /// When digests were last asked for, because nobody was known to hold what is missing.
    pub(super) asked_digests: Micros,
    /// First wait before a pull: how late pushed entries come, smoothed, microseconds.
    pub(super) lateness_us: u64,
    /// The log hash, while nothing has changed, and when it was taken.
    pub(super) hash: Option<(u64, Micros)>,
    /// What follows from the group's graph.
    pub(super) overlays: Overlays,
    /// The hash of the group's graph, and when it was first seen.
    pub(super) graph_seen: (u64, Micros),
    pub(super) stats: GroupStats,
}

/// What a group has done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GroupStats {
    pub(super) copies: u64,
    pub(super) firsts: u64,
    pub(super) repaired: u64,
    pub(super) delivered: u64,
    pub(super) gaps: u64,
    pub(super) published: u64,
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
            baseline: BaselineState::default(),
            joined: None,
            retention: Retention::default(),
            carries_bulk: false,
            unannounced: BTreeMap::new(),
            announce_due: None,
            announced: (Micros::default(), BTreeMap::new()),
            repair_due: None,
            repair_rests_until: Micros(0),
            abandoned_due: None,
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

    pub(super) fn retention_due(&self) -> Option<Micros> {
        let idles = matches!(self.role, Role::Relay | Role::Sender);
        self.retention.due(&self.settings.values, idles)
    }

    pub(super) fn due(&self) -> Option<Micros> {
        self.announce_due
            .into_iter()
            .chain(self.repair_due)
            .chain(self.abandoned_due)
            .chain(self.baseline.due())
            .chain(self.retention_due())
            .chain(self.logs_due)
            .chain(self.changes.due())
            .min()
    }
}
