//! This peer's own record: what it says, and when it says it anew.

use crate::base::identity::PeerKey;
use crate::base::interface::{Event, IdentityUser};
use crate::base::name::{Address, GroupName};
use crate::base::time::Micros;
use crate::core::config::{DatabaseConfig, LinkConfig};
use crate::core::{Core, Stopping};
use crate::overlay::Overlay;
use crate::overlay::links::OverlayEvent;
use crate::wire::record::{
    ADDRESSES_MAX, ALGORITHM_VERSION, GROUPS_MAX, LINKS_MAX, RECORD_BYTES_MAX, coordinate_to_wire,
};
use crate::wire::{Record, RecordGroup, RecordLink, SignedRecord, VERSION_MAX};
use hedgerow_topology::Coordinate;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Outbid so often within a minute, another running peer has this identity, whatever ages are told.
const CONFLICTS_MAX: usize = 3;
/// Changes that are no loss wait so long for more, ms.
const GATHER_MS: u64 = 20;
/// Where views rest between changes, a loss waits this part of that time for what replaces it.
const LOSS_SHARE: u64 = 2;
/// An RTT has drifted when it differs by a fifth and a millisecond from what is stated: less
/// moves a link's weight by less than a hop costs.
const DRIFT_SHARE: u32 = 5;
const DRIFT_US: u32 = 1_000;
/// A coordinate that has moved is stated after a pause that grows with the view, once for so many
/// peers in it: whatever its size, no more such records travel at a time.
const MOVED_PEERS: usize = 100;
/// What links take that do not stand, microseconds.
#[cfg(feature = "warm")]
const BESIDES_US: u32 = 20_000;
/// After so many pauses without drift the pause is as short as at first.
const CALM_PAUSES: u64 = 4;

/// Links that went down soon after they came up, and how long they are not stated.
#[derive(Debug, Default)]
pub(crate) struct Flaps {
    peers: BTreeMap<PeerKey, (Micros, Micros)>,
}

impl Flaps {
    /// From when on a link to `peer` that comes up now is stated.
    pub(crate) fn stated_from(&self, peer: PeerKey, now: Micros) -> Micros {
        self.peers
            .get(&peer)
            .map_or(now, |(_, until)| now.max(*until))
    }

    /// A link to `peer` was lost that had been up since then: soon lost, the wait doubles.
    pub(crate) fn lost(&mut self, peer: PeerKey, up: Micros, now: Micros, config: &LinkConfig) {
        let least = Micros::from_millis(config.flap_ms / 4);
        let most = Micros::from_millis(config.flap_max_ms);
        self.peers
            .retain(|_, (delay, until)| now.since(*until) < delay.times(4));
        if now.since(up) < Micros::from_millis(config.flap_ms) {
            let delay = self
                .peers
                .get(&peer)
                .map_or(least, |(delay, _)| delay.times(2).min(most));
            self.peers.insert(peer, (delay, now + delay));
        }
    }
}

/// How the record differs from what this peer would say now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// Nothing that anybody needs to know.
    None,
    /// Only the coordinate has moved: it helps others to choose, and moves no tree.
    Moved,
    /// Only RTTs, or the coordinate as well, have drifted. Load makes RTTs noisy and records make
    /// load: the wait before the next such record doubles while they repeat.
    Drift,
    /// Links, groups, addresses.
    Material,
}

/// When drift is stated.
#[derive(Debug, Default)]
struct Drift {
    /// Since the last record; zero: none was for drift yet.
    pause: Micros,
    last: Micros,
}

impl Drift {
    fn pause(&self, config: &DatabaseConfig) -> Micros {
        self.pause.max(Micros::from_millis(config.drift_ms))
    }

    /// A record was issued for drift alone.
    fn stated(&mut self, now: Micros, config: &DatabaseConfig) {
        let pause = self.pause(config);
        let is_calm = now.since(self.last) > pause.times(CALM_PAUSES);
        self.pause = if is_calm {
            Micros(0)
        } else {
            pause.times(2).min(Micros::from_millis(config.refresh_ms))
        };
        self.last = now;
    }
}

/// What is stated, and what would be.
#[derive(Debug)]
pub(crate) struct OwnRecord {
    pub(in crate::overlay) epoch: u64,
    pub(in crate::overlay) version: u64,
    pub(in crate::overlay) addresses: Vec<Address>,
    pub(in crate::overlay) capacity: u16,
    /// As heartbeats tell it, shaken by every sample.
    pub(in crate::overlay) coordinate: Coordinate,
    /// As records tell it.
    pub(in crate::overlay) steady: Coordinate,
    pub(in crate::overlay) flaps: Flaps,
    /// Peers to whom links are stated that do not stand; see `Engine::state_links`.
    #[cfg(feature = "warm")]
    pub(in crate::overlay) besides: Vec<PeerKey>,
    /// A link was lost since the last record: the next is due at once.
    pub(in crate::overlay) lost_a_link: bool,
    drift: Drift,
    /// What the last record said.
    stated: Option<Record>,
    issued: Micros,
    /// When the next one is due.
    due: Option<Micros>,
    /// When newer records of this identity were met.
    conflicts: VecDeque<Micros>,
    /// When this life began.
    began: Micros,
    /// The identity was given up to another running peer.
    is_lost: bool,
}

/// What the record is to say of groups.
#[derive(Clone, Debug, Default)]
pub(crate) struct Adverts {
    /// The groups to state.
    pub(crate) groups: Vec<RecordGroup>,
    /// Those that ask for links of their own.
    pub(crate) linked: Vec<GroupName>,
}

impl OwnRecord {
    pub(crate) fn new(epoch: u64, addresses: Vec<Address>, capacity: u16, began: Micros) -> Self {
        Self {
            epoch,
            version: 0,
            addresses,
            capacity,
            coordinate: Coordinate::origin(),
            steady: Coordinate::origin(),
            flaps: Flaps::default(),
            #[cfg(feature = "warm")]
            besides: Vec::new(),
            lost_a_link: false,
            drift: Drift::default(),
            stated: None,
            issued: Micros(0),
            due: None,
            conflicts: VecDeque::new(),
            began,
            is_lost: false,
        }
    }

    pub(crate) fn due(&self, config: &DatabaseConfig) -> Micros {
        let refresh = self.issued + Micros::from_millis(config.refresh_ms);
        self.due.map_or(refresh, |due| due.min(refresh))
    }
}

impl Overlay {
    /// Looks whether the record must be issued anew, and when: at once after a loss, otherwise
    /// damped.
    pub(crate) fn consider_record(&mut self, core: &mut Core) {
        if core.stopping == Some(Stopping::Stopped) {
            return;
        }
        let Some(at) = self.due_for(core, self.change(core)) else {
            return;
        };
        let at = self.own.due.map_or(at, |due| due.min(at));
        self.own.due = Some(at);
        core.wake_at(at);
    }

    /// When a record that differs so is to be issued.
    fn due_for(&self, core: &Core, change: Change) -> Option<Micros> {
        let pause = match change {
            Change::None => return None,
            Change::Material if self.own.lost_a_link => return Some(self.loss_due(core)),
            Change::Material => self.reissue_pause(core),
            Change::Moved | Change::Drift => self.drift_pause(core, change),
        };
        Some((self.own.issued + pause).max(core.in_ms(GATHER_MS)))
    }

    /// When a loss is stated: at once; where views rest, others would not look sooner, and what is
    /// linked instead meanwhile goes with it.
    fn loss_due(&self, core: &Core) -> Micros {
        let rest = self.view.spacing();
        if rest == Micros(0) {
            return core.now.mono;
        }
        (self.own.issued + rest).max(core.now.mono + Micros(rest.0 / LOSS_SHARE))
    }

    /// The least time between two records for what has changed: no less than others' views rest,
    /// as OSPF's `MinLSInterval` of 5 s (RFC 2328, appendix B).
    fn reissue_pause(&self, core: &Core) -> Micros {
        Micros::from_millis(core.config.database.reissue_ms).max(self.view.spacing())
    }

    /// How long after the last record such a change is stated.
    fn drift_pause(&self, core: &Core, change: Change) -> Micros {
        let config = &core.config.database;
        let pause = self.own.drift.pause(config);
        if change == Change::Moved {
            let share = 1 + (self.view.peers / MOVED_PEERS) as u64;
            let refresh = Micros::from_millis(config.refresh_ms);
            return pause.max(
                Micros::from_millis(config.drift_ms)
                    .times(share)
                    .min(refresh),
            );
        }
        pause
    }

    pub(crate) fn on_record_timeout(&mut self, core: &mut Core) {
        let now = core.now.mono;
        if self.own.due(&core.config.database) <= now {
            let refresh = self.own.issued + Micros::from_millis(core.config.database.refresh_ms);
            self.own.due = None;
            let change = self.change(core);
            if change == Change::None {
                // What was lost is back.
                self.own.lost_a_link = false;
            }
            let is_drift = matches!(change, Change::Moved | Change::Drift);
            let drifted_at = self.own.issued + self.drift_pause(core, change);
            if is_drift && drifted_at <= now {
                self.own.drift.stated(now, &core.config.database);
                core.count(counter!("records_issued_for_drift"));
                self.issue_record(core);
            } else if change == Change::Material || refresh <= now {
                self.issue_record(core);
            } else if is_drift {
                self.own.due = Some(drifted_at);
            }
        }
        // Links held back for flapping become due by time alone.
        let now = core.now.mono;
        let held_back = self
            .links
            .values()
            .filter(|l| l.is_up())
            .map(|l| l.stated_from);
        if let Some(at) = held_back.filter(|at| *at > now).min() {
            self.own.due = Some(self.own.due.map_or(at, |due| due.min(at)));
        }
    }

    /// How the record would differ from what it says. What has drifted a little is stated along
    /// with the next one.
    fn change(&self, core: &Core) -> Change {
        let Some(stated) = &self.own.stated else {
            return Change::Material;
        };
        let mut would = self.record_now(core);
        would.version = stated.version;
        would.coordinate = stated.coordinate;
        let mut drifted = false;
        for (link, before) in would.links.iter_mut().zip(&stated.links) {
            if link.peer == before.peer {
                let off = link.rtt_us.abs_diff(before.rtt_us);
                drifted |= off >= DRIFT_US && off >= before.rtt_us / DRIFT_SHARE;
                link.rtt_us = before.rtt_us;
            }
        }
        if would != *stated {
            Change::Material
        } else if drifted {
            Change::Drift
        } else if self.has_moved() {
            Change::Moved
        } else {
            Change::None
        }
    }

    fn has_moved(&self) -> bool {
        let stated = self.own.stated.as_ref();
        stated.is_some_and(|stated| self.own.steady.has_moved(&stated.coordinate()))
    }

    /// The coordinate has been updated: looked at every second for every link.
    pub(crate) fn consider_coordinate(&mut self, core: &mut Core) {
        if self.own.due.is_none() && self.has_moved() {
            self.consider_record(core);
        }
    }

    #[cfg(feature = "warm")]
    fn with_besides(&self, mut links: Vec<RecordLink>) -> Vec<RecordLink> {
        let besides = self.own.besides.iter();
        links.extend(besides.map(|&peer| RecordLink {
            peer,
            rtt_us: BESIDES_US,
        }));
        links.sort_unstable_by_key(|link| link.peer);
        links.dedup_by_key(|link| link.peer);
        links
    }

    fn record_now(&self, core: &Core) -> Record {
        let now = core.now.mono;
        let links: Vec<RecordLink> = self
            .up
            .iter()
            .filter_map(|(peer, id)| {
                let link = self.links.get(id)?;
                let rtt_us = self.stated_rtt_us(*peer, link.rtt.stated_us()?);
                let is_stated = link.stated_from <= now && link.retiring_since.is_none();
                is_stated.then_some(RecordLink {
                    peer: *peer,
                    rtt_us,
                })
            })
            .take(LINKS_MAX)
            .collect();
        #[cfg(feature = "warm")]
        let links = self.with_besides(links);
        let mut groups: Vec<RecordGroup> =
            (self.adverts.groups.iter().take(GROUPS_MAX).cloned()).collect();
        #[cfg(feature = "wire-next")]
        groups.extend(core.group_of_unknown_role());
        groups.sort_by(|a, b| a.name.cmp(&b.name));
        fit_groups(&mut groups, links.len());
        let leaving = core.stopping == Some(Stopping::Stopped);
        Record {
            network: core.network_hash,
            peer: core.me,
            epoch: self.own.epoch,
            version: self.own.version,
            left: leaving,
            algorithm: ALGORITHM_VERSION,
            capabilities: core.capabilities(),
            capacity: self.own.capacity,
            coordinate: coordinate_to_wire(&self.own.steady),
            addresses: self
                .own
                .addresses
                .iter()
                .take(ADDRESSES_MAX)
                .cloned()
                .collect(),
            groups,
            links: if leaving { Vec::new() } else { links },
            ext: core.record_ext(),
        }
    }

    /// Issues the record: a new version, signed, into the database and to the neighbours.
    pub(crate) fn issue_record(&mut self, core: &mut Core) {
        if self.own.version >= VERSION_MAX {
            // Nobody lives for so many versions: a holder of the key has stated the last one.
            return self.take_epoch(core, self.own.epoch + 1);
        }
        self.own.version += 1;
        self.own.lost_a_link = false;
        self.own.due = None;
        self.own.issued = core.now.mono;
        let record = self.record_now(core);
        let statable = self.adverts.groups.len();
        let unstated = statable.saturating_sub(record.groups.len());
        if unstated > 0 {
            tracing::error!(
                unstated,
                "groups have no room in the record, so nobody serves them"
            );
            core.count_many(counter!("groups_unstated"), unstated as u64);
        }
        self.own.stated = Some(record.clone());
        let signed = Arc::new(SignedRecord::sign(record, &core.keypair));
        core.count(counter!("records_issued"));
        let former = self.database.get(core.me).cloned();
        self.database.replace_own(signed, core.now.mono);
        self.touch_view(core);
        self.spread_record(core, core.me, former, None, false);
        core.wake_at(core.in_ms(core.config.database.refresh_ms));
    }

    /// A newer record of this identity has come, told to be `age_ms` old: from an earlier life of
    /// this peer, or from another running peer that holds the same key. Reissues above it.
    ///
    /// Only a running peer answers what is reissued here, so a record younger than the first
    /// reissue proves that there is one. The peer whose epoch was lower meets such an answer first,
    /// and stops; the other one goes on. A neighbour may lie about the age, but needs a record of
    /// this key that is newer than the reissued one, which only a holder of the key can sign.
    pub(crate) fn on_identity_conflict(
        &mut self,
        core: &mut Core,
        record: &SignedRecord,
        age_ms: u64,
    ) {
        let (epoch, version) = record.order();
        if self.own.is_lost || self.is_taking_epoch(epoch.saturating_add(1)) {
            return;
        }
        let now = core.now.mono;
        let minute = Micros::from_millis(60_000);
        self.own.conflicts.retain(|at| now.since(*at) < minute);
        let age = Micros::from_millis(age_ms);
        let first = self.own.conflicts.front();
        let is_answer = first.is_some_and(|first| now.since(*first) > age);
        self.own.conflicts.push_back(now);
        core.count(counter!("own_records_found"));
        let other = IdentityUser {
            epoch,
            addresses: record.record.addresses.clone(),
        };
        let is_proven = is_answer || self.own.conflicts.len() >= CONFLICTS_MAX;
        if is_proven && epoch >= self.own.epoch {
            return self.give_identity_up(core, other);
        }
        if now.since(self.own.began) > age {
            // Issued while this peer runs, if the age is true: enough to tell, not to stop.
            self.note_twins(core, core.me, vec![other.clone()]);
        }
        if epoch > self.own.epoch {
            // Nothing is said under an epoch that is not stored.
            self.take_epoch(core, epoch.saturating_add(1));
        } else {
            self.own.version = self.own.version.max(version);
            self.issue_record(core);
        }
    }

    /// Somebody else holds the key of this identity, and speaks louder.
    fn give_identity_up(&mut self, core: &mut Core, other: IdentityUser) {
        tracing::error!(
            other_epoch = other.epoch,
            "another running peer uses this identity"
        );
        core.event(Event::IdentityInUse {
            peer: core.me,
            epoch: self.own.epoch,
            other,
        });
        self.own.is_lost = true;
        self.happened(OverlayEvent::IdentityLost);
    }

    pub(crate) fn on_addresses(&mut self, core: &mut Core, addresses: Vec<Address>) {
        self.own.addresses = addresses;
        self.consider_record(core);
    }
}

/// What further fields of a group may take, bytes; today there are none.
const FURTHER_BYTES: usize = 64;

/// Leaves out the last groups that would make a record longer than anybody takes.
fn fit_groups(groups: &mut Vec<RecordGroup>, links: usize) {
    // CBOR at its widest. A link: a key, an RTT. Everything else, with eight addresses: 2 KiB.
    let mut room = RECORD_BYTES_MAX.saturating_sub(links * 41 + (2 << 10));
    let fitting = groups.iter().take_while(|group| {
        let settings = if group.settings.is_some() { 24 } else { 1 };
        let further = if group.ext.is_empty() {
            0
        } else {
            FURTHER_BYTES
        };
        let takes = group.name.as_str().len() + 15 + settings + further;
        let fits = takes <= room;
        room = room.saturating_sub(takes);
        fits
    });
    let fitting = fitting.count();
    groups.truncate(fitting);
}

#[cfg(test)]
mod tests;
