//! What can be computed once and used by many: records, snapshots, group graphs, trees.
//!
//! A peer has one of its own. A simulator gives one to all its engines, so that thousands of
//! equal databases and trees cost little more than one. Every entry is keyed by a hash of all
//! that it depends on, or compared with it, so sharing changes nothing but speed; every table is
//! bounded.

use crate::base::identity::{PeerKey, Signer};
use crate::base::name::GroupId;
use crate::overlay::records::{GroupGraph, Snapshot};
use crate::wire::SignedRecord;
use crate::wire::delta::RecordDelta;
use hedgerow_topology::{Class, LinkGraph, Mesh};
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Names a tree or mesh: graph hash, origin's index in it, class, redundancy.
pub(crate) type RouteKey = (u64, u32, Class, u8);

/// Deltas kept for every so many records: those on their way, and the others rest.
const RECORDS_PER_DELTA: usize = 8;
/// Memory that a record kept may take on average, bytes: twice what one with a dozen links takes.
const RECORD_BYTES: usize = 4 << 10;
/// Keys kept decoded: of who publishes much, and those are few at a time.
const SIGNERS: usize = 256;

#[derive(Debug)]
struct Tables {
    /// By signature; the signed bytes are compared.
    records: LruCache<[u8; 64], Arc<SignedRecord>>,
    /// Memory that they take, and may, bytes.
    record_bytes: usize,
    record_bytes_max: usize,
    /// By the hashes of both records; none where the whole is no longer.
    deltas: LruCache<(u64, u64), Option<RecordDelta>>,
    snapshots: LruCache<u64, Arc<Snapshot>>,
    links: LruCache<u64, Arc<LinkGraph>>,
    graphs: LruCache<(u64, u32, GroupId), Arc<GroupGraph>>,
    routes: LruCache<RouteKey, Arc<Mesh>>,
    signers: LruCache<PeerKey, Signer>,
}

/// A bounded cache that engines can share. Cloning gives another handle to the same.
#[derive(Clone, Debug)]
pub struct SharedCache {
    tables: Arc<Mutex<Tables>>,
}

impl Tables {
    /// Large ones displace several usual ones.
    fn keep_record(&mut self, record: Arc<SignedRecord>) {
        self.record_bytes += record.memory_bytes;
        if let Some((_, former)) = self.records.push(record.signature, record) {
            self.record_bytes = self.record_bytes.saturating_sub(former.memory_bytes);
        }
        while self.record_bytes > self.record_bytes_max
            && let Some((_, former)) = self.records.pop_lru()
        {
            self.record_bytes = self.record_bytes.saturating_sub(former.memory_bytes);
        }
    }
}

impl Default for SharedCache {
    /// Sized for one peer of a large network.
    fn default() -> Self {
        Self::new(1_024, 4, 4, 256, 1_024)
    }
}

fn size(entries: usize) -> NonZeroUsize {
    NonZeroUsize::new(entries.max(1)).unwrap_or(NonZeroUsize::MIN)
}

impl SharedCache {
    /// A cache of so many records, snapshots, graphs of snapshots, group graphs and trees.
    pub fn new(
        records: usize,
        snapshots: usize,
        links: usize,
        graphs: usize,
        routes: usize,
    ) -> Self {
        Self {
            tables: Arc::new(Mutex::new(Tables {
                records: LruCache::new(size(records)),
                record_bytes: 0,
                record_bytes_max: records.saturating_mul(RECORD_BYTES),
                deltas: LruCache::new(size(records / RECORDS_PER_DELTA)),
                snapshots: LruCache::new(size(snapshots)),
                links: LruCache::new(size(links)),
                graphs: LruCache::new(size(graphs)),
                routes: LruCache::new(size(routes)),
                signers: LruCache::new(size(SIGNERS)),
            })),
        }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // A panic elsewhere leaves the tables whole: entries are inserted complete.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The record with these signed bytes and signature, decoded by `decode` when it is new.
    pub(crate) fn record<E>(
        &self,
        signed: &[u8],
        signature: &[u8; 64],
        decode: impl FnOnce() -> Result<SignedRecord, E>,
    ) -> Result<Arc<SignedRecord>, E> {
        if let Some(record) = self.tables().records.get(signature)
            && record.signed == signed
        {
            return Ok(record.clone());
        }
        let record = Arc::new(decode()?);
        self.tables().keep_record(record.clone());
        Ok(record)
    }

    /// What turns `base` into `record`, of no age; see [`RecordDelta::between`].
    pub(crate) fn delta(&self, base: &SignedRecord, record: &SignedRecord) -> Option<RecordDelta> {
        let key = (base.hash, record.hash);
        if let Some(delta) = self.tables().deltas.get(&key) {
            return delta.clone();
        }
        let delta = RecordDelta::between(base, record, 0);
        self.tables().deltas.put(key, delta.clone());
        delta
    }

    /// The record that `delta` gives, where that is known from whoever made it.
    pub(crate) fn given_by(&self, delta: &RecordDelta) -> Option<Arc<SignedRecord>> {
        let mut tables = self.tables();
        let known = tables.deltas.get(&(delta.base, delta.hash))?.as_ref()?;
        let is_same =
            known.block == delta.block && (known.bytes, known.name) == (delta.bytes, delta.name);
        let record = is_same.then(|| tables.records.get(&delta.signature))??;
        (record.hash == delta.hash).then(|| record.clone())
    }

    /// A peer as a signer whose key is decoded.
    pub(crate) fn signer(&self, peer: PeerKey) -> Signer {
        let mut tables = self.tables();
        let signer = tables.signers.get_or_insert(peer, || Signer::decode(peer));
        signer.clone()
    }

    pub(crate) fn snapshot(&self, hash: u64, build: impl FnOnce() -> Snapshot) -> Arc<Snapshot> {
        if let Some(snapshot) = self.tables().snapshots.get(&hash) {
            return snapshot.clone();
        }
        let snapshot = Arc::new(build());
        self.tables().snapshots.put(hash, snapshot.clone());
        snapshot
    }

    /// The links of the snapshot of this hash.
    pub(crate) fn links(&self, hash: u64, build: impl FnOnce() -> LinkGraph) -> Arc<LinkGraph> {
        if let Some(links) = self.tables().links.get(&hash) {
            return links.clone();
        }
        let links = Arc::new(build());
        self.tables().links.put(hash, links.clone());
        links
    }

    /// The same if they are still held.
    pub(crate) fn held_links(&self, hash: u64) -> Option<Arc<LinkGraph>> {
        self.tables().links.peek(&hash).cloned()
    }

    pub(crate) fn graph(
        &self,
        key: (u64, u32, GroupId),
        build: impl FnOnce() -> GroupGraph,
    ) -> Arc<GroupGraph> {
        if let Some(graph) = self.tables().graphs.get(&key) {
            return graph.clone();
        }
        let graph = Arc::new(build());
        self.tables().graphs.put(key, graph.clone());
        graph
    }

    pub(crate) fn route(&self, key: RouteKey, build: impl FnOnce() -> Mesh) -> Arc<Mesh> {
        if let Some(route) = self.tables().routes.get(&key) {
            return route.clone();
        }
        let route = Arc::new(build());
        self.tables().routes.put(key, route.clone());
        route
    }
}
