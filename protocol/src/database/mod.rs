//! The link-state database: the newest record of every peer known.
//!
//! [`Database`] is a table with hashes; it never sends anything. How records travel is in
//! `sync`, when the own one is issued in `own`, who is tried outside the view in `candidates`.

mod algorithm;
mod candidates;
mod epoch;
mod own;
mod search;
mod snapshot;
mod sync;
mod table;

pub(crate) use candidates::{Candidates, LINKS_FEW, Whereabouts};
pub(crate) use epoch::{Epochs, first_epoch};
pub(crate) use own::OwnRecord;
pub(crate) use snapshot::{GroupGraph, Snapshot, group_graph};
pub(crate) use sync::{KnownNews, RecordSync};

use crate::config::DatabaseConfig;
use crate::identity::PeerKey;
use crate::memo::Memo;
use crate::time::Micros;
use crate::wire::SignedRecord;
use crate::wire::frame::RecordName;
use std::collections::BTreeMap;
use std::sync::Arc;
use table::{Row, Table};

/// How many records of one peer may come in a row before its damping is enforced.
const BURST: u64 = 6;

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
    /// Its epoch is ahead of time, and one that is not is held.
    Ahead,
}

/// The table.
#[derive(Debug)]
pub(crate) struct Database {
    config: DatabaseConfig,
    /// When it began: its rows count time from there, so that peers whose clocks differ can share
    /// them.
    began: Micros,
    table: Table,
    /// (epoch, version) of records that were dropped for age or room, and when.
    tombstones: BTreeMap<PeerKey, ((u64, u64), Micros)>,
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
    pub(crate) fn new(config: DatabaseConfig, now: Micros) -> Self {
        Self {
            config,
            began: now,
            table: Table::default(),
            tombstones: BTreeMap::new(),
            hash: 0,
            shape: 0,
            buckets: [0; 256],
            evicted: 0,
            expired: 0,
            damped: 0,
        }
    }

    /// The same records at a peer whose clock shows `now`.
    pub(crate) fn begun_at(&self, now: Micros) -> Self {
        Self {
            table: self.table.clone(),
            hash: self.hash,
            shape: self.shape,
            buckets: self.buckets,
            ..Self::new(self.config.clone(), now)
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
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
        self.table.get(peer).map(|row| &row.record)
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = &Arc<SignedRecord>> {
        self.table.iter().map(|row| &row.record)
    }

    /// How old the record of `peer` is by now, ms.
    pub(crate) fn age_ms(&self, peer: PeerKey, now: Micros) -> u64 {
        let now = now.since(self.began);
        self.table.get(peer).map_or(0, |row| row.age_ms(now))
    }

    /// The names of the records in a bucket.
    pub(crate) fn names_in(&self, bucket: u8) -> impl Iterator<Item = RecordName> + '_ {
        let rows = self.table.bucket(bucket).iter();
        rows.map(|row| row.record.name())
    }

    /// Whose key begins so, among those held, and how a record of theirs of this epoch and version
    /// stands to what is held.
    pub(crate) fn compare_named(&self, prefix: u64, order: (u64, u64)) -> (Option<PeerKey>, Offer) {
        let Some(row) = self.table.named(prefix) else {
            return (None, Offer::Newer);
        };
        let peer = row.record.record.peer;
        (Some(peer), self.compare_with(Some(row), peer, order))
    }

    fn compare_with(&self, row: Option<&Row>, peer: PeerKey, order: (u64, u64)) -> Offer {
        let held = row.map(|row| row.record.order());
        let held = held.max(self.tombstones.get(&peer).map(|(order, _)| *order));
        match held.map_or(std::cmp::Ordering::Greater, |held| order.cmp(&held)) {
            std::cmp::Ordering::Greater => Offer::Newer,
            std::cmp::Ordering::Equal => Offer::Same,
            std::cmp::Ordering::Less => Offer::Older,
        }
    }

    /// The record of whoever has this key prefix, among those held.
    pub(crate) fn named(&self, prefix: u64) -> Option<&Arc<SignedRecord>> {
        self.table.named(prefix).map(|row| &row.record)
    }

    /// Who that is.
    pub(crate) fn peer_of(&self, prefix: u64) -> Option<PeerKey> {
        self.named(prefix).map(|record| record.record.peer)
    }

    /// What inserting `record` would do.
    pub(crate) fn offer(&self, record: &SignedRecord, now: Micros) -> Offer {
        self.offer_beside(self.table.get(record.record.peer), record, now)
    }

    /// The same where `row` is what is held of its peer.
    fn offer_beside(&self, row: Option<&Row>, record: &SignedRecord, now: Micros) -> Offer {
        let Some(row) = row else {
            return self.compare_with(None, record.record.peer, record.order());
        };
        // Two records of one name (a copied key): everybody keeps the same one of them.
        let ours = (row.record.order(), row.record.hash);
        match (record.order(), record.hash).cmp(&ours) {
            std::cmp::Ordering::Less => Offer::Older,
            std::cmp::Ordering::Equal => Offer::Same,
            std::cmp::Ordering::Greater if row.tokens_at > self.burst_limit(now) => Offer::Damped,
            std::cmp::Ordering::Greater => Offer::Newer,
        }
    }

    fn burst_limit(&self, now: Micros) -> Micros {
        now.since(self.began) + Micros::from_millis(self.config.reissue_ms * BURST)
    }

    /// Puts `record` in if it is newer. Its signature has been verified.
    pub(crate) fn insert(&mut self, record: Arc<SignedRecord>, age_ms: u64, now: Micros) -> Offer {
        match self.replace(record, age_ms, now) {
            Ok(_) => Offer::Newer,
            Err(offer) => offer,
        }
    }

    /// The same; gives what was held before.
    ///
    /// # Errors
    ///
    /// What it is where it is not newer; then nothing has changed but the count of what was damped.
    pub(crate) fn replace(
        &mut self,
        record: Arc<SignedRecord>,
        age_ms: u64,
        now: Micros,
    ) -> Result<Option<Arc<SignedRecord>>, Offer> {
        let peer = record.record.peer;
        let row = self.table.get(peer);
        let offer = self.offer_beside(row, &record, now);
        let tokens_at = row.map(|row| row.tokens_at);
        if offer == Offer::Damped {
            self.damped += 1;
        }
        if offer != Offer::Newer {
            return Err(offer);
        }
        let now = now.since(self.began);
        let tokens_at = tokens_at.map_or(now, |at| at.max(now))
            + Micros::from_millis(self.config.reissue_ms / 2);
        self.tombstones.remove(&peer);
        Ok(self.put(Row::new(record, age_ms, now, tokens_at)))
    }

    /// Puts this peer's own record in, whatever is held.
    pub(crate) fn replace_own(&mut self, record: Arc<SignedRecord>, now: Micros) {
        let now = now.since(self.began);
        self.put(Row::new(record, 0, now, now));
    }

    fn put(&mut self, row: Row) -> Option<Arc<SignedRecord>> {
        self.add(&row.record);
        let former = self.table.put(row)?.record;
        self.subtract(&former);
        Some(former)
    }

    fn add(&mut self, record: &SignedRecord) {
        let compared = compared(record);
        self.hash = self.hash.wrapping_add(compared);
        self.shape = self.shape.wrapping_add(record.shape);
        let at = bucket(record.record.peer);
        self.buckets[at] = self.buckets[at].wrapping_add(compared);
    }

    fn subtract(&mut self, record: &SignedRecord) {
        let compared = compared(record);
        self.hash = self.hash.wrapping_sub(compared);
        self.shape = self.shape.wrapping_sub(record.shape);
        let at = bucket(record.record.peer);
        self.buckets[at] = self.buckets[at].wrapping_sub(compared);
    }

    /// Drops a record and remembers its version, so that it does not come back.
    fn bury(&mut self, peer: PeerKey, now: Micros) {
        let Some(row) = self.table.remove(peer) else {
            return;
        };
        self.subtract(&row.record);
        self.tombstones.insert(peer, (row.record.order(), now));
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
        let clock = now.since(self.began);
        let old: Vec<PeerKey> = self
            .table
            .iter()
            .filter(|row| row.age_ms(clock) > limit_ms)
            .map(|row| row.record.record.peer)
            .filter(|peer| *peer != me)
            .collect();
        for peer in old {
            self.expired += 1;
            self.bury(peer, now);
        }
        if self.table.len() > self.config.records_max {
            let mut order: Vec<(bool, std::cmp::Reverse<u64>, PeerKey)> = self
                .table
                .iter()
                .map(|row| (row.record.record.peer, row.age_ms(clock)))
                .filter(|(peer, _)| *peer != me)
                .map(|(peer, age_ms)| (keep(peer), std::cmp::Reverse(age_ms), peer))
                .collect();
            order.sort_unstable();
            let surplus = self.table.len() - self.config.records_max;
            for (_, _, peer) in order.into_iter().take(surplus) {
                self.evicted += 1;
                self.bury(peer, now);
            }
        }
        let forget = Micros::from_millis(self.config.tombstone_ms);
        self.tombstones
            .retain(|_, (_, at)| now.since(*at) <= forget);
    }

    /// The graph of all records whose peers have not left; `former` is the one before.
    pub(crate) fn snapshot(&self, former: Option<&Snapshot>, memo: &Memo) -> Arc<Snapshot> {
        memo.snapshot(self.shape, || {
            let mut living = Vec::with_capacity(self.len());
            living.extend(self.records().filter(|r| !r.record.left).cloned());
            Snapshot::new(self.shape, living, former, memo)
        })
    }
}
