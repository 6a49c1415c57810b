//! The link-state database: the newest record of every peer known.
//!
//! [`Database`] is a table with hashes; it never sends anything. How records travel is in
//! `sync`, when the own one is issued in `own`, who is tried outside the view in `candidates`.

mod algorithm;
mod candidates;
mod own;
mod snapshot;
mod sync;

pub(crate) use candidates::Candidates;
pub(crate) use own::OwnRecord;
pub(crate) use snapshot::{GroupGraph, Snapshot, group_graph};
pub(crate) use sync::RecordSync;

use crate::config::DatabaseConfig;
use crate::identity::PeerKey;
use crate::memo::Memo;
use crate::time::Micros;
use crate::wire::SignedRecord;
use crate::wire::frame::RecordName;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many records of one peer may come in a row before its damping is enforced.
const BURST: u64 = 6;

#[derive(Debug)]
struct Entry {
    record: Arc<SignedRecord>,
    /// Age when it came, ms, and when that was.
    age_ms: u64,
    received: Micros,
    /// Allowance for further records of this peer, in reissue intervals: a token bucket.
    tokens_at: Micros,
}

/// What became of a record that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// It is newer than what is held.
    Newer,
    /// It is what is held.
    Same,
    /// Something newer is held.
    Older,
    /// Its peer issues faster than it may.
    Damped,
}

/// The table.
#[derive(Debug)]
pub(crate) struct Database {
    config: DatabaseConfig,
    entries: BTreeMap<PeerKey, Entry>,
    /// (epoch, version) of records that were dropped for age or room, and when.
    tombstones: BTreeMap<PeerKey, ((u64, u64), Micros)>,
    by_prefix: BTreeMap<u64, PeerKey>,
    hash: u64,
    shape: u64,
    buckets: [u64; 256],
    /// Records dropped for room, for age, and for issuing too fast.
    pub(crate) evicted: u64,
    pub(crate) expired: u64,
    pub(crate) damped: u64,
}

fn bucket(peer: PeerKey) -> usize {
    // Keys are curve points: any byte but the last is as good as random.
    peer.0[0] as usize
}

/// What a record adds to the hashes that neighbours compare. Without links it is in no view, and
/// not everybody takes it: see `sync`.
fn compared(record: &SignedRecord) -> u64 {
    if record.record.links.is_empty() {
        0
    } else {
        record.hash
    }
}

impl Database {
    pub(crate) fn new(config: DatabaseConfig) -> Self {
        Self {
            config,
            entries: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            by_prefix: BTreeMap::new(),
            hash: 0,
            shape: 0,
            buckets: [0; 256],
            evicted: 0,
            expired: 0,
            damped: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Hash over all records that state links: databases with equal hashes give equal views.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// Hash over all that overlays are computed from: while it stays, so does the snapshot.
    pub(crate) fn shape(&self) -> u64 {
        self.shape
    }

    /// 256 such hashes, by the first byte of the key.
    pub(crate) fn buckets(&self) -> &[u64; 256] {
        &self.buckets
    }

    pub(crate) fn get(&self, peer: PeerKey) -> Option<&Arc<SignedRecord>> {
        self.entries.get(&peer).map(|entry| &entry.record)
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = &Arc<SignedRecord>> {
        self.entries.values().map(|entry| &entry.record)
    }

    /// How old the record of `peer` is by now, ms.
    pub(crate) fn age_ms(&self, peer: PeerKey, now: Micros) -> u64 {
        self.entries.get(&peer).map_or(0, |entry| entry.age(now))
    }

    /// The names of the records in a bucket.
    pub(crate) fn names_in(&self, bucket: u8) -> impl Iterator<Item = RecordName> + '_ {
        let mut from = [0; 32];
        from[0] = bucket;
        let mut to = [0xff; 32];
        to[0] = bucket;
        self.entries
            .range(PeerKey(from)..=PeerKey(to))
            .map(|(_, entry)| name_of(&entry.record))
    }

    /// How a record named so stands to what is held, without its content.
    pub(crate) fn compare(&self, peer: Option<PeerKey>, order: (u64, u64)) -> Offer {
        let Some(peer) = peer else {
            return Offer::Newer;
        };
        let held = self.entries.get(&peer).map(|entry| entry.record.order());
        let held = held.max(self.tombstones.get(&peer).map(|(order, _)| *order));
        match held.map_or(std::cmp::Ordering::Greater, |held| order.cmp(&held)) {
            std::cmp::Ordering::Greater => Offer::Newer,
            std::cmp::Ordering::Equal => Offer::Same,
            std::cmp::Ordering::Less => Offer::Older,
        }
    }

    /// Who has this key prefix among the peers held.
    pub(crate) fn peer_of(&self, prefix: u64) -> Option<PeerKey> {
        self.by_prefix.get(&prefix).copied()
    }

    /// What inserting `record` would do.
    pub(crate) fn offer(&self, record: &SignedRecord, now: Micros) -> Offer {
        let peer = record.record.peer;
        let Some(entry) = self.entries.get(&peer) else {
            return self.compare(Some(peer), record.order());
        };
        // Two records of one name (a copied key): everybody keeps the same one of them.
        let ours = (entry.record.order(), entry.record.hash);
        match (record.order(), record.hash).cmp(&ours) {
            std::cmp::Ordering::Less => Offer::Older,
            std::cmp::Ordering::Equal => Offer::Same,
            std::cmp::Ordering::Greater if entry.tokens_at > self.burst_limit(now) => Offer::Damped,
            std::cmp::Ordering::Greater => Offer::Newer,
        }
    }

    fn burst_limit(&self, now: Micros) -> Micros {
        now + Micros::from_millis(self.config.reissue_ms * BURST)
    }

    /// Puts `record` in if it is newer. Its signature has been verified.
    pub(crate) fn insert(&mut self, record: Arc<SignedRecord>, age_ms: u64, now: Micros) -> Offer {
        let offer = self.offer(&record, now);
        if offer == Offer::Damped {
            self.damped += 1;
        }
        if offer != Offer::Newer {
            return offer;
        }
        let peer = record.record.peer;
        let tokens_at = self
            .entries
            .get(&peer)
            .map_or(now, |entry| entry.tokens_at.max(now))
            + Micros::from_millis(self.config.reissue_ms / 2);
        self.take_out(peer);
        self.tombstones.remove(&peer);
        self.add(peer, &record);
        self.by_prefix.insert(peer.prefix(), peer);
        self.entries.insert(
            peer,
            Entry {
                record,
                age_ms,
                received: now,
                tokens_at,
            },
        );
        offer
    }

    /// Puts this peer's own record in, whatever is held.
    pub(crate) fn replace_own(&mut self, record: Arc<SignedRecord>, now: Micros) {
        let peer = record.record.peer;
        self.take_out(peer);
        self.add(peer, &record);
        self.by_prefix.insert(peer.prefix(), peer);
        self.entries.insert(
            peer,
            Entry {
                record,
                age_ms: 0,
                received: now,
                tokens_at: now,
            },
        );
    }

    fn add(&mut self, peer: PeerKey, record: &SignedRecord) {
        let compared = compared(record);
        self.hash = self.hash.wrapping_add(compared);
        self.shape = self.shape.wrapping_add(record.shape);
        let at = bucket(peer);
        self.buckets[at] = self.buckets[at].wrapping_add(compared);
    }

    fn take_out(&mut self, peer: PeerKey) -> Option<Entry> {
        let entry = self.entries.remove(&peer)?;
        let compared = compared(&entry.record);
        self.hash = self.hash.wrapping_sub(compared);
        self.shape = self.shape.wrapping_sub(entry.record.shape);
        let at = bucket(peer);
        self.buckets[at] = self.buckets[at].wrapping_sub(compared);
        self.by_prefix.remove(&peer.prefix());
        Some(entry)
    }

    /// Drops a record and remembers its version, so that it does not come back.
    fn bury(&mut self, peer: PeerKey, now: Micros) {
        let Some(entry) = self.take_out(peer) else {
            return;
        };
        self.tombstones.insert(peer, (entry.record.order(), now));
        if self.tombstones.len() > self.config.tombstones_max
            && let Some(oldest) = self
                .tombstones
                .iter()
                .min_by_key(|(_, (_, at))| *at)
                .map(|(peer, _)| *peer)
        {
            self.tombstones.remove(&oldest);
        }
    }

    /// Drops records that are too old, then, while there are too many, those of peers for which
    /// `keep` is false, oldest first. `me` always stays.
    pub(crate) fn expire(&mut self, me: PeerKey, now: Micros, keep: impl Fn(PeerKey) -> bool) {
        let limit_ms = self
            .config
            .refresh_ms
            .saturating_mul(self.config.refreshes_kept);
        let old: Vec<PeerKey> = self
            .entries
            .iter()
            .filter(|(peer, entry)| **peer != me && entry.age(now) > limit_ms)
            .map(|(peer, _)| *peer)
            .collect();
        for peer in old {
            self.expired += 1;
            self.bury(peer, now);
        }
        if self.entries.len() > self.config.records_max {
            let mut order: Vec<(bool, std::cmp::Reverse<u64>, PeerKey)> = self
                .entries
                .iter()
                .filter(|(peer, _)| **peer != me)
                .map(|(peer, entry)| (keep(*peer), std::cmp::Reverse(entry.age(now)), *peer))
                .collect();
            order.sort_unstable();
            let surplus = self.entries.len() - self.config.records_max;
            for (_, _, peer) in order.into_iter().take(surplus) {
                self.evicted += 1;
                self.bury(peer, now);
            }
        }
        let forget = Micros::from_millis(self.config.tombstone_ms);
        self.tombstones
            .retain(|_, (_, at)| now.since(*at) <= forget);
    }

    /// The graph of all records whose peers have not left.
    pub(crate) fn snapshot(&self, memo: &Memo) -> Arc<Snapshot> {
        memo.snapshot(self.shape, || {
            let living = self
                .records()
                .filter(|record| !record.record.left)
                .cloned()
                .collect();
            Snapshot::new(self.shape, living)
        })
    }
}

impl Entry {
    fn age(&self, now: Micros) -> u64 {
        self.age_ms
            .saturating_add(now.since(self.received).as_millis())
    }
}

/// How a record is named in announcements.
pub(crate) fn name_of(record: &SignedRecord) -> RecordName {
    (
        record.record.peer.prefix(),
        record.record.epoch,
        record.record.version,
    )
}
