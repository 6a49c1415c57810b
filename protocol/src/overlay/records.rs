//! The link-state database: the newest record of every peer known.
//!
//! [`Database`] is a table with hashes; it never sends anything. How records travel is in
//! `sync`, when the own one is issued in `own`, who is tried outside the view in `candidates`.

mod algorithm;
mod budget;
mod candidates;
mod epoch;
mod group_names;
mod own_record;
mod search;
mod snapshot;
mod sync;
mod table;

pub(crate) use budget::Standing;
pub(crate) use candidates::{Candidates, LINKS_FEW, Whereabouts};
pub(crate) use epoch::{Epochs, first_epoch, stored_epoch};
pub(crate) use own_record::{Adverts, OwnRecord};
pub(crate) use snapshot::{GroupGraph, Snapshot, group_graph};
pub(crate) use sync::{Comparison, KnownNews, RecordSync, Requests};

use crate::base::identity::PeerKey;
use crate::base::name::{GroupId, GroupName, NetworkName};
use crate::base::time::Micros;
use crate::core::config::{Config, DatabaseConfig};
use crate::overlay::cache::SharedCache;
use crate::wire::SignedRecord;
use crate::wire::frame::RecordName;
use budget::NewPeers;
use group_names::GroupNames;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use table::{Row, Table};

/// How many records of one peer may come in a row before its damping is enforced.
const BURST: u64 = 6;
/// A row states the used allowance in so many parts of `database.reissue_ms`.
const AHEAD_PARTS: u64 = 64;
/// A row states the age that it was told with in so many parts of the time that records are kept.
const TOLD_PARTS: u64 = 50_000;
/// A smaller age that is told later is noted if it is less by one part in so many of the time that
/// records are kept: less than that is what the ways differ by.
const YOUNGER_PARTS: u64 = 60;

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
    /// The table is full of records that stay.
    NoRoom,
    /// The view has got as many new peers within a minute as it may.
    TooManyNew,
}

/// What is remembered of a peer whose record was dropped for its age.
#[derive(Clone, Copy, Debug)]
struct Tombstone {
    /// (epoch, version) of that record: it does not come back.
    order: (u64, u64),
    at: Micros,
    /// When the peer was first heard of, minutes.
    first_min: u32,
}

/// The table.
#[derive(Debug)]
pub(crate) struct Database {
    config: DatabaseConfig,
    /// Memory that all records may take, bytes.
    bytes_max: usize,
    /// When it began: its rows count time from there, so that peers whose clocks differ can share
    /// them.
    began: Micros,
    table: Table,
    /// The groups that its records state.
    group_names: GroupNames,
    /// Peers of the table that are outside the view, as far as is known: the view is taken a moment
    /// after records have come, and until then those are inside that somebody inside vouches for.
    outside: BTreeSet<PeerKey>,
    /// Memory of all records, and of those outside, bytes.
    bytes: usize,
    outside_bytes: usize,
    /// How many peers were known for long when records last expired.
    known: usize,
    new_peers: NewPeers,
    tombstones: BTreeMap<PeerKey, Tombstone>,
    hash: u64,
    shape: u64,
    buckets: [u64; 256],
    /// Records dropped for room, for age, and for issuing too fast.
    pub(super) evicted: u64,
    pub(super) expired: u64,
    pub(super) damped: u64,
    /// Records that [`Self::records`] has given.
    #[cfg(test)]
    pub(super) visits: std::cell::Cell<usize>,
}

/// Records whose signatures are being checked have this part of the memory for records.
const CHECKED_SHARE: usize = 8;

/// Memory that records being checked may take, bytes.
fn checked_bytes(config: &Config) -> usize {
    config.memory().records / CHECKED_SHARE
}

/// Memory that those held may take.
fn table_bytes(config: &Config) -> usize {
    config.memory().records - checked_bytes(config)
}

fn bucket(peer: PeerKey) -> usize {
    // Keys are curve points: any byte but the last is as good as random.
    peer.0[0] as usize
}

/// What a record inside the view adds to the hashes that neighbours compare. One without links is
/// in no view for long.
fn compared(record: &SignedRecord) -> u64 {
    if record.record.links.is_empty() {
        0
    } else {
        record.hash
    }
}

impl Database {
    pub(crate) fn new(config: &Config, now: Micros) -> Self {
        let network = config.network.clone();
        Self::with(config.database.clone(), network, table_bytes(config), now)
    }

    fn with(config: DatabaseConfig, network: NetworkName, bytes_max: usize, now: Micros) -> Self {
        Self {
            config,
            bytes_max,
            began: now,
            table: Table::default(),
            group_names: GroupNames::new(network),
            outside: BTreeSet::new(),
            bytes: 0,
            outside_bytes: 0,
            known: 0,
            new_peers: NewPeers::default(),
            tombstones: BTreeMap::new(),
            hash: 0,
            shape: 0,
            buckets: [0; 256],
            evicted: 0,
            expired: 0,
            damped: 0,
            #[cfg(test)]
            visits: std::cell::Cell::default(),
        }
    }

    /// The same records at a peer whose clock shows `now`.
    #[cfg(any(feature = "warm", test))]
    pub(crate) fn begun_at(&self, now: Micros) -> Self {
        let network = self.group_names.network().clone();
        Self {
            table: self.table.clone(),
            group_names: self.group_names.clone(),
            outside: self.outside.clone(),
            bytes: self.bytes,
            outside_bytes: self.outside_bytes,
            hash: self.hash,
            shape: self.shape,
            buckets: self.buckets,
            ..Self::with(self.config.clone(), network, self.bytes_max, now)
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Memory that the records take, with the index of their groups, bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.group_names.bytes()
    }

    /// Hash over all records of the view: databases with equal hashes give equal views. Others are
    /// left out, for not everybody takes the same ones: see `sync`.
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
        let records = self.table.iter().map(|row| &row.record);
        #[cfg(test)]
        let records = records.inspect(|_| self.visits.set(self.visits.get() + 1));
        records
    }

    /// The name of a group that some record states.
    pub(crate) fn group_name(&self, id: GroupId) -> Option<&GroupName> {
        self.group_names.get(id)
    }

    /// How old the record of `peer` is by now, ms.
    ///
    /// Nobody signs ages, so what others tell must not make a living peer expire: in the view, a
    /// record is as old as it was heard here. A peer that lives issues another one in time. Elsewhere
    /// the smallest age counts that was told: a peer that is gone is not to be kept alive by those
    /// who hear of it late.
    pub(crate) fn age_ms(&self, peer: PeerKey, now: Micros) -> u64 {
        let now = now.since(self.began);
        self.table.get(peer).map_or(0, |row| {
            let told_ms = if self.outside.contains(&peer) {
                u64::from(row.told) * self.told_unit_ms()
            } else {
                0
            };
            told_ms.saturating_add(row.held_ms(now))
        })
    }

    /// How long a record is kept, ms.
    pub(crate) fn keep_ms(&self) -> u64 {
        let config = &self.config;
        config.refresh_ms.saturating_mul(config.refreshes_kept)
    }

    fn told_unit_ms(&self) -> u64 {
        (self.keep_ms() / TOLD_PARTS).max(1)
    }

    /// `record` has been told again: the smallest age counts. Gives whether that is another.
    pub(crate) fn lower_age(&mut self, record: &SignedRecord, age_ms: u64, now: Micros) -> bool {
        let peer = record.record.peer;
        let (now, unit_ms) = (now.since(self.began), self.told_unit_ms());
        let Some(row) = self.table.get(peer) else {
            return false;
        };
        let told = age_ms.saturating_sub(row.held_ms(now)) / unit_ms;
        let least = TOLD_PARTS / YOUNGER_PARTS;
        let is_younger = told.saturating_add(least) <= u64::from(row.told);
        if row.record.hash != record.hash || !is_younger {
            return false;
        }
        self.table.change(peer, |row| row.told = told as u16);
        true
    }

    /// The names of the records in a bucket that others may lack, ascending by key prefix, from this
    /// one on. Strangers without links are of no use to them.
    pub(crate) fn names_in(&self, bucket: u8, from: u64) -> impl Iterator<Item = RecordName> + '_ {
        let rows = self.table.bucket(bucket).iter();
        rows.map(|row| &row.record)
            .filter(|record| record.record.left || !record.record.links.is_empty())
            .map(|record| record.name())
            .skip_while(move |(prefix, ..)| *prefix < from)
    }

    /// The key prefixes of those to whom somebody inside the view states a link and who are not inside.
    pub(crate) fn linked_from_inside(&self) -> BTreeSet<u64> {
        let rows = self.table.iter().map(|row| &row.record.record);
        let inside = rows.filter(|record| !self.is_outside(record.peer));
        let linked = inside.flat_map(|record| record.links.iter().map(|link| link.peer));
        linked
            .filter(|peer| self.get(*peer).is_none() || self.is_outside(*peer))
            .map(PeerKey::prefix)
            .collect()
    }

    /// Whether `peer` is held and not known to be inside the view.
    pub(crate) fn is_outside(&self, peer: PeerKey) -> bool {
        self.outside.contains(&peer)
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
        let held = held.max(self.tombstones.get(&peer).map(|grave| grave.order));
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
            std::cmp::Ordering::Greater if self.ahead(row, now) > BURST * AHEAD_PARTS => {
                Offer::Damped
            }
            std::cmp::Ordering::Greater => Offer::Newer,
        }
    }

    /// How much of a peer's allowance is still used up.
    fn ahead(&self, row: &Row, now: Micros) -> u64 {
        let held = Micros::from_millis(row.held_ms(now.since(self.began)));
        let unit_us = (self.config.reissue_ms.saturating_mul(1_000) / AHEAD_PARTS).max(1);
        u64::from(row.ahead).saturating_sub(held.0 / unit_us)
    }

    /// Puts `record` in if it is newer and there is room. Its signature has been verified. Gives what
    /// was held before. No peer for which `keep` is true makes room.
    ///
    /// # Errors
    ///
    /// What it is where it was not put in; then nothing has changed but counts.
    pub(crate) fn replace(
        &mut self,
        record: Arc<SignedRecord>,
        age_ms: u64,
        now: Micros,
        standing: Standing,
        keep: impl Fn(PeerKey) -> bool,
    ) -> Result<Option<Arc<SignedRecord>>, Offer> {
        let peer = record.record.peer;
        let offer = self.offer(&record, now);
        if offer == Offer::Damped {
            self.damped += 1;
        }
        if offer != Offer::Newer {
            return Err(offer);
        }
        self.make_room(&record, standing, now, keep)?;
        let row = self.table.get(peer);
        let ahead = row.map_or(0, |row| self.ahead(row, now)) + AHEAD_PARTS / 2;
        let first_min = self.first_heard(peer, now);
        let told = age_ms / self.told_unit_ms();
        self.tombstones.remove(&peer);
        let mut row = Row::new(record, now.since(self.began), first_min);
        row.ahead = u16::try_from(ahead).unwrap_or(u16::MAX);
        row.told = u16::try_from(told).unwrap_or(u16::MAX);
        Ok(self.put(row, standing))
    }

    /// Puts this peer's own record in, whatever is held.
    pub(crate) fn replace_own(&mut self, record: Arc<SignedRecord>, now: Micros) {
        let first_min = self.first_heard(record.record.peer, now);
        let row = Row::new(record, now.since(self.began), first_min);
        self.put(row, Standing::Linked);
    }

    fn put(&mut self, row: Row, standing: Standing) -> Option<Arc<SignedRecord>> {
        let peer = row.peer();
        let former = self.get(peer).cloned();
        if let Some(former) = &former {
            self.subtract(former);
        }
        if standing == Standing::Outside || row.record.record.left {
            self.outside.insert(peer);
        } else {
            self.outside.remove(&peer);
        }
        self.add(&row.record);
        let groups = former
            .as_ref()
            .map_or(&[][..], |former| &former.record.groups);
        self.group_names.replace(groups, &row.record.record.groups);
        self.table.put(row);
        former
    }

    fn add(&mut self, record: &SignedRecord) {
        self.shape = self.shape.wrapping_add(record.shape);
        self.bytes += record.memory_bytes;
        if self.outside.contains(&record.record.peer) {
            self.outside_bytes += record.memory_bytes;
        } else {
            self.compare(record, u64::wrapping_add);
        }
    }

    fn subtract(&mut self, record: &SignedRecord) {
        self.shape = self.shape.wrapping_sub(record.shape);
        self.bytes = self.bytes.saturating_sub(record.memory_bytes);
        if self.outside.contains(&record.record.peer) {
            self.outside_bytes = self.outside_bytes.saturating_sub(record.memory_bytes);
        } else {
            self.compare(record, u64::wrapping_sub);
        }
    }

    /// Adds or takes away what a record inside the view adds to the hashes.
    fn compare(&mut self, record: &SignedRecord, change: fn(u64, u64) -> u64) {
        let compared = compared(record);
        self.hash = change(self.hash, compared);
        let at = bucket(record.record.peer);
        self.buckets[at] = change(self.buckets[at], compared);
    }

    /// The view has been taken: `inside` are its peers, ascending; `None`: all that have not left.
    pub(crate) fn note_view(&mut self, inside: Option<impl Iterator<Item = PeerKey>>) {
        let rows = self.table.iter().map(|row| &row.record.record);
        let now: BTreeSet<PeerKey> = match inside {
            None => {
                let has_left = |peer: &PeerKey| self.get(*peer).is_some_and(|r| r.record.left);
                self.outside.iter().copied().filter(has_left).collect()
            }
            Some(inside) => {
                let mut inside = inside.peekable();
                let is_outside = |peer: &PeerKey| {
                    // Both ascend.
                    while inside.next_if(|inside| inside < peer).is_some() {}
                    inside.peek() != Some(peer)
                };
                rows.map(|record| record.peer).filter(is_outside).collect()
            }
        };
        let moved: Vec<PeerKey> = now.symmetric_difference(&self.outside).copied().collect();
        for peer in moved {
            let Some(record) = self.get(peer).cloned() else {
                continue;
            };
            // As when it goes and comes: all sums follow.
            self.subtract(&record);
            if !self.outside.remove(&peer) {
                self.outside.insert(peer);
            }
            self.add(&record);
        }
        self.outside = now;
    }

    fn remove(&mut self, peer: PeerKey) -> Option<Row> {
        let row = self.table.remove(peer)?;
        self.subtract(&row.record);
        self.group_names.replace(&row.record.record.groups, &[]);
        self.outside.remove(&peer);
        Some(row)
    }

    /// Drops records that are too old. `me` always stays.
    pub(crate) fn expire(&mut self, me: PeerKey, now: Micros) {
        let limit_ms = self.keep_ms();
        let peers = self.table.iter().map(Row::peer);
        let old: Vec<PeerKey> = peers
            .filter(|peer| *peer != me && self.age_ms(*peer, now) > limit_ms)
            .collect();
        for peer in old {
            self.expired += 1;
            self.bury(peer, now);
        }
        self.count_known(now);
        self.trim_tombstones(now);
    }

    /// The graph of all records whose peers have not left; `former` is the one before.
    pub(crate) fn snapshot(&self, former: Option<&Snapshot>, cache: &SharedCache) -> Arc<Snapshot> {
        cache.snapshot(self.shape, || {
            let mut living = Vec::with_capacity(self.len());
            living.extend(self.records().filter(|r| !r.record.left).cloned());
            Snapshot::new(self.shape, living, former, cache)
        })
    }
}
