//! This peer's own record: what it says, and when it says it anew.

use crate::config::{DatabaseConfig, LinkConfig};
use crate::engine::{Engine, Stopping};
use crate::identity::PeerKey;
use crate::io::{Event, Persist};
use crate::name::Address;
use crate::time::Micros;
use crate::wire::record::{
    ADDRESSES_MAX, ALGORITHM_VERSION, GROUPS_MAX, LINKS_MAX, settings_to_wire,
};
use crate::wire::{Record, RecordGroup, RecordLink, SignedRecord};
use hedgerow_topology::Coordinate;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Outbid so often within a minute, another running peer has this identity.
const OUTBID_MAX: usize = 3;
/// A coordinate that has moved is stated again, but not more often than so, ms.
const COORDINATE_PAUSE_MS: u64 = 10_000;
/// Changes that are no loss wait so long for more, ms.
const GATHER_MS: u64 = 20;

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

/// What is stated, and what would be.
#[derive(Debug)]
pub(crate) struct OwnRecord {
    pub(crate) epoch: u64,
    pub(crate) version: u64,
    pub(crate) addresses: Vec<Address>,
    pub(crate) capacity: u16,
    pub(crate) coordinate: Coordinate,
    pub(crate) flaps: Flaps,
    /// A link was lost since the last record: the next is due at once.
    pub(crate) lost_a_link: bool,
    /// What the last record said.
    stated: Option<Record>,
    issued: Micros,
    /// When the next one is due.
    due: Option<Micros>,
    /// When newer records of this identity were met.
    outbid: VecDeque<Micros>,
}

impl OwnRecord {
    pub(crate) fn new(epoch: u64, addresses: Vec<Address>, capacity: u16) -> Self {
        Self {
            epoch,
            version: 0,
            addresses,
            capacity,
            coordinate: Coordinate::origin(),
            flaps: Flaps::default(),
            lost_a_link: false,
            stated: None,
            issued: Micros(0),
            due: None,
            outbid: VecDeque::new(),
        }
    }

    pub(crate) fn due(&self, config: &DatabaseConfig) -> Micros {
        let refresh = self.issued + Micros::from_millis(config.refresh_ms);
        self.due.map_or(refresh, |due| due.min(refresh))
    }
}

impl Engine {
    /// Looks whether the record must be issued anew, and when: at once after a loss, otherwise
    /// damped.
    pub(crate) fn consider_record(&mut self) {
        if self.stopping == Some(Stopping::Stopped) || !self.is_material() {
            return;
        }
        let pause = Micros::from_millis(self.config.database.reissue_ms);
        let at = if self.own.lost_a_link {
            self.now.mono
        } else {
            (self.own.issued + pause).max(self.in_ms(GATHER_MS))
        };
        let at = self.own.due.map_or(at, |due| due.min(at));
        self.own.due = Some(at);
        self.wake_at(at);
    }

    pub(crate) fn on_record_timeout(&mut self) {
        if self.own.due(&self.config.database) <= self.now.mono {
            let refresh = self.own.issued + Micros::from_millis(self.config.database.refresh_ms);
            let changed = self.is_material();
            self.own.due = None;
            if changed || refresh <= self.now.mono {
                self.issue_record();
            }
        }
        // Links held back for flapping become due by time alone.
        let now = self.now.mono;
        let held_back = self
            .links
            .values()
            .filter(|l| l.is_up())
            .map(|l| l.stated_from);
        if let Some(at) = held_back.filter(|at| *at > now).min() {
            self.own.due = Some(self.own.due.map_or(at, |due| due.min(at)));
        }
    }

    /// Whether the record would say something else than it does.
    fn is_material(&self) -> bool {
        let Some(stated) = &self.own.stated else {
            return true;
        };
        let mut would = self.record_now();
        would.version = stated.version;
        let moved = self.own.coordinate.has_moved(&stated.coordinate())
            && self.now.mono.since(self.own.issued) >= Micros::from_millis(COORDINATE_PAUSE_MS);
        if !moved {
            would.coordinate = stated.coordinate;
        }
        would != *stated
    }

    fn record_now(&self) -> Record {
        let now = self.now.mono;
        let links = self
            .up
            .iter()
            .filter_map(|(peer, id)| {
                let link = self.links.get(id)?;
                let rtt_us = link.rtt.stated_us()?;
                (link.stated_from <= now).then_some(RecordLink {
                    peer: *peer,
                    rtt_us,
                })
            })
            .take(LINKS_MAX)
            .collect();
        let mut groups: Vec<RecordGroup> = self
            .groups
            .values()
            .filter_map(|group| {
                let (version, settings) = group.settings_with_version();
                let role = group.stated_role();
                if role == 0 && version == 0 {
                    return None;
                }
                Some(RecordGroup {
                    name: group.name.clone()?,
                    role,
                    settings_version: version,
                    settings: (version > 0).then(|| settings_to_wire(settings)),
                })
            })
            .take(GROUPS_MAX)
            .collect();
        groups.sort_by(|a, b| a.name.cmp(&b.name));
        let Coordinate {
            position: [x, y, z],
            height,
            error,
        } = self.own.coordinate;
        let leaving = self.stopping == Some(Stopping::Stopped);
        Record {
            network: self.network_hash,
            peer: self.me,
            epoch: self.own.epoch,
            version: self.own.version,
            left: leaving,
            algorithm: ALGORITHM_VERSION,
            capacity: self.own.capacity,
            coordinate: [x, y, z, height, error],
            addresses: self
                .own
                .addresses
                .iter()
                .take(ADDRESSES_MAX)
                .cloned()
                .collect(),
            groups,
            links: if leaving { Vec::new() } else { links },
        }
    }

    /// Issues the record: a new version, signed, into the database and to the neighbours.
    pub(crate) fn issue_record(&mut self) {
        self.own.version += 1;
        self.own.lost_a_link = false;
        self.own.due = None;
        self.own.issued = self.now.mono;
        let record = self.record_now();
        self.own.stated = Some(record.clone());
        let signed = Arc::new(SignedRecord::sign(record, &self.keypair));
        self.count("records_issued");
        self.database.replace_own(signed, self.now.mono);
        self.touch_view();
        self.spread_record(self.me, None);
        self.wake_at(self.in_ms(self.config.database.refresh_ms));
    }

    /// A newer record of this identity has come: this peer's own from before a restart, or
    /// somebody else's who holds the same key. Reissues above it.
    pub(crate) fn on_outbid(&mut self, epoch: u64, version: u64) {
        let now = self.now.mono;
        let minute = Micros::from_millis(60_000);
        self.own.outbid.retain(|at| now.since(*at) < minute);
        self.own.outbid.push_back(now);
        self.count("outbid");
        if self.own.outbid.len() >= OUTBID_MAX && epoch >= self.own.epoch {
            tracing::error!("another running peer uses this identity");
            self.event(Event::IdentityInUse);
            self.stop(false);
            return;
        }
        if epoch > self.own.epoch {
            self.own.epoch = epoch.saturating_add(1);
            self.own.version = 0;
            self.persist(Persist::Epoch(self.own.epoch));
            self.on_own_epoch_changed();
        } else {
            self.own.version = self.own.version.max(version);
        }
        self.issue_record();
    }

    pub(crate) fn on_addresses(&mut self, addresses: Vec<Address>) {
        self.own.addresses = addresses;
        self.consider_record();
    }
}
