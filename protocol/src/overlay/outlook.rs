//! What the layers above may ask of the overlay, and tell it.

use super::Overlay;
use super::cache::SharedCache;
use super::links::{Link, OverlayEvent, Stage, reason_name};
use super::records::{Adverts, GroupGraph, Snapshot, group_graph};
use crate::base::identity::{PeerKey, Signer};
use crate::base::interface::LinkId;
use crate::base::name::{GroupId, GroupName};
use crate::base::status::{BothWays, LinkFaults, LinkStatus, QueuedBytes, Status};
use crate::base::time::Micros;
use crate::core::Core;
use crate::wire::SignedRecord;
use bytes::Bytes;
use hedgerow_topology::petgraph::graph::NodeIndex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Chunks from here on are taken for bulk that flows.
const BULK_BYTES: usize = 1 << 10;

/// Neighbours and their links.
impl Overlay {
    /// The link that is up to a peer.
    pub(crate) fn link_to(&self, peer: PeerKey) -> Option<LinkId> {
        self.up.get(&peer).copied()
    }

    /// Whether a link to a peer is up.
    pub(crate) fn is_linked(&self, peer: PeerKey) -> bool {
        self.up.contains_key(&peer)
    }

    /// The peer at the other end of a link, up or not.
    pub(crate) fn peer_of(&self, link: LinkId) -> Option<PeerKey> {
        self.links.get(&link).map(|link| link.peer)
    }

    /// Peers to which a link is up, by key.
    pub(crate) fn neighbours(&self) -> impl Iterator<Item = (PeerKey, LinkId)> + '_ {
        self.up.iter().map(|(peer, link)| (*peer, *link))
    }

    /// The links that are up, by peer.
    pub(crate) fn links_up(&self) -> impl ExactSizeIterator<Item = LinkId> + '_ {
        self.up.values().copied()
    }

    /// Whether any link is up.
    pub(crate) fn has_links(&self) -> bool {
        !self.up.is_empty()
    }

    /// All connections, whatever their stage.
    pub(crate) fn connections(&self) -> impl Iterator<Item = LinkId> + '_ {
        self.links.keys().copied()
    }

    pub(crate) fn link(&self, id: LinkId) -> Option<&Link> {
        self.links.get(&id)
    }

    pub(crate) fn link_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.links.get_mut(&id)
    }

    /// How far a connection has come.
    pub(crate) fn stage(&self, link: LinkId) -> Option<Stage> {
        self.links.get(&link).map(|link| link.stage)
    }

    /// Silence clocks start anew: it was this peer that slept.
    pub(crate) fn excuse_silence(&mut self, now: Micros) {
        for link in self.links.values_mut() {
            link.heard = now;
        }
    }

    /// A link is read slowly from now on, until queues have drained.
    pub(crate) fn note_slowed(&mut self, link: LinkId) {
        self.slowed.insert(link);
    }

    /// The choice of links depends on something that has changed.
    pub(crate) fn reconsider_links(&mut self, core: &Core) {
        self.chooser.touch(core.now.mono);
    }

    /// No link to this peer is searched for, for a while.
    pub(crate) fn cool(&mut self, core: &Core, peer: PeerKey) {
        self.chooser.cool(peer, core.now.mono);
    }

    /// By how many steps the cost of links to peers is raised from now on, as the record states it.
    pub(crate) fn state_surcharges(&mut self, raised: BTreeMap<PeerKey, u32>) {
        self.surcharges = raised;
        self.record_changed();
    }

    /// The last life of an origin in which it is proven to equivocate.
    pub(crate) fn cut_off(&self, origin: PeerKey) -> Option<u64> {
        self.cut_off.get(&origin).copied()
    }

    /// Links to an origin that equivocated in this life are refused from now on, unless `most` such
    /// origins are known already.
    pub(crate) fn note_cut_off(&mut self, origin: PeerKey, epoch: u64, most: usize) {
        if self.cut_off.len() < most {
            self.cut_off.insert(origin, epoch);
        }
    }
}

/// Records and what follows from them.
impl Overlay {
    /// This peer's epoch.
    pub(crate) fn epoch(&self) -> u64 {
        self.own.epoch
    }

    /// How many children this peer states that it can feed.
    pub(crate) fn capacity(&self) -> u16 {
        self.own.capacity
    }

    pub(crate) fn record(&self, peer: PeerKey) -> Option<&Arc<SignedRecord>> {
        self.database.get(peer)
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = &Arc<SignedRecord>> {
        self.database.records()
    }

    /// The name of a group that a record states.
    pub(crate) fn group_name(&self, id: GroupId) -> Option<&GroupName> {
        self.database.group_name(id)
    }

    /// Graphs, trees and keys that are computed once.
    pub(crate) fn cache(&self) -> &SharedCache {
        &self.cache
    }

    /// An origin's key, ready to check signatures with.
    pub(crate) fn signer(&self, origin: PeerKey) -> Signer {
        self.cache.signer(origin)
    }

    /// The records that the view is a part of; `None` only before the first.
    pub(crate) fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        self.view.snapshot()
    }

    /// Names the view: the snapshot's hash, and the part of it.
    pub(crate) fn view_name(&self) -> Option<(u64, u32)> {
        Some((self.view.snapshot()?.hash, self.view.component))
    }

    /// This peer's place in the snapshot.
    pub(crate) fn own_place(&self) -> NodeIndex {
        NodeIndex::new(self.view.me)
    }

    pub(crate) fn view_peers(&self) -> usize {
        self.view.peers
    }

    pub(crate) fn is_in_view(&self, peer: PeerKey) -> bool {
        self.view.contains(peer)
    }

    /// When a peer fell out of the view that the ring still remembers.
    pub(crate) fn lost_at(&self, peer: PeerKey) -> Option<Micros> {
        self.view.lost.get(&peer).copied()
    }

    /// Whether the ring remembers peers that fell out of the view.
    pub(crate) fn remembers_lost(&self) -> bool {
        !self.view.lost.is_empty()
    }

    /// The part of the view that carries a group.
    pub(crate) fn group_graph(&self, id: GroupId, name: &GroupName) -> Option<Arc<GroupGraph>> {
        let snapshot = self.view.snapshot()?;
        let component = self.view.component;
        Some(group_graph(&self.cache, snapshot, component, id, name))
    }

    /// Whether the view falls apart without the link to this peer.
    pub(crate) fn is_bridge_to(&self, peer: PeerKey) -> bool {
        self.view.snapshot().is_some_and(|snapshot| {
            let at = snapshot.index(peer).map(NodeIndex::new);
            at.is_some_and(|at| snapshot.cuts(&self.cache).is_bridge(self.own_place(), at))
        })
    }
}

/// What the engine does for the overlay.
impl Overlay {
    /// What has happened first and was not told yet.
    pub(crate) fn next_event(&mut self) -> Option<OverlayEvent> {
        self.events.pop_front()
    }

    /// Whether what the record states of groups may have changed since this was last asked.
    pub(crate) fn take_adverts_changed(&mut self) -> bool {
        std::mem::take(&mut self.adverts_changed)
    }

    /// What the record is to say of groups.
    pub(crate) fn advertise(&mut self, adverts: Adverts) {
        self.adverts = adverts;
    }

    /// Takes bytes that came on a link; [`Link::next_frame`] gives the frames in them.
    pub(crate) fn on_bytes(&mut self, core: &Core, id: LinkId, bytes: Bytes) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.bytes[0] += bytes.len() as u64;
        link.heard = core.now.mono;
        if link.decoder.partial_bytes() > 0 || bytes.len() >= BULK_BYTES {
            link.bulk_heard = core.now.mono;
        }
        link.decoder.push(bytes);
    }

    /// Whether the next record is due.
    pub(crate) fn is_record_due(&self, core: &Core) -> bool {
        self.own.due(&core.config.database) <= core.now.mono
    }

    /// When the next of the overlay's timers is due.
    pub(crate) fn due(&self, core: &Core) -> Option<Micros> {
        [
            self.links_due(core),
            self.uplink.due(),
            self.dialer.due(),
            self.view.due(&core.config.database),
            Some(self.own.due(&core.config.database)),
            self.sync.due(),
            self.requests_due(),
            self.candidates.due(),
            Some(self.chooser.due()),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What tables of records have dropped, for status.
    pub(crate) fn table_counts(&self) -> [(&'static str, u64); 4] {
        [
            ("records_evicted", self.database.evicted),
            ("records_expired", self.database.expired),
            ("records_damped_late", self.database.damped),
            ("candidates_evicted", self.candidates.evicted),
        ]
    }

    /// The overlay's part of a glance: nothing of groups is in it.
    pub(crate) fn status(&self, core: &Core) -> Status {
        let (algorithm, algorithm_unsupported) = self.view.algorithm();
        Status {
            peer: core.me,
            network: core.config.network.clone(),
            epoch: self.own.epoch,
            version: self.own.version,
            addresses: self.own.addresses.clone(),
            links: self.up.len(),
            connecting: self.connecting(),
            banned: self.bans.count(core.now.mono),
            capacity: self.own.capacity,
            records: self.database.len(),
            record_bytes: self.database.bytes(),
            view_peers: self.view.peers,
            view_hash: self.view.hash,
            algorithm,
            algorithm_unsupported,
            groups: 0,
            retained_bytes: 0,
            ahead_bytes: 0,
            queued_bytes: self.links.values().map(|link| link.queue.total()).sum(),
            verifying: self.sync.checking(),
            clock_off_ms: self.clock_off_ms(core),
            stopping: core.stopping.is_some(),
            identity_conflicts: self.twins.conflicts(core.now.mono),
        }
    }

    /// All links, by connection. Faults of parents are not in it.
    pub(crate) fn link_statuses<'a>(
        &'a self,
        core: &'a Core,
    ) -> impl Iterator<Item = LinkStatus> + 'a {
        let now = core.now.mono;
        self.links.values().map(move |link| LinkStatus {
            link: link.id,
            peer: link.peer,
            address: link.address.clone(),
            dialled: link.dialled,
            up: link.is_up(),
            rtt_us: link.rtt.smoothed_us(),
            stated_rtt_us: link
                .rtt
                .stated_us()
                .map(|rtt_us| self.stated_rtt_us(link.peer, rtt_us).into()),
            up_ms: if link.is_up() {
                now.since(link.up_since).as_millis()
            } else {
                0
            },
            wanted: link.wants.map(reason_name).into_iter().collect(),
            wanted_by_peer: link.their_wants.is_some(),
            queued: queued(link.queue.queued()),
            bytes: both_ways(link.bytes),
            bundles: both_ways(link.bundles),
            lazy: link.lazy,
            faults: LinkFaults::default(),
        })
    }
}

fn queued([control, repair, data, bulk]: [usize; 4]) -> QueuedBytes {
    QueuedBytes {
        control,
        repair,
        data,
        bulk,
    }
}

fn both_ways([received, sent]: [u64; 2]) -> BothWays {
    BothWays { received, sent }
}
