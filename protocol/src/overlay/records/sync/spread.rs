//! Records pushed along the record tree and announced elsewhere, in batches.

use super::{
    ANNOUNCE_MS, ANNOUNCE_SHARE, BATCH_MS, BATCH_SHARE, NAMES_PER_FRAME, RECORDS_PER_FRAME,
};
#[cfg(any(feature = "warm", test))]
use super::{KnownNews, news::News};
use crate::base::identity::PeerKey;
use crate::base::interface::LinkId;
use crate::base::time::Micros;
use crate::core::Core;
use crate::overlay::Overlay;
use crate::overlay::links::{Link, Priority, Stage};
use crate::overlay::records::Database;
use crate::wire::frame::{RecordAnnounce, RecordName, Records};
use crate::wire::record::WireRecord;
use crate::wire::{FRAME_BYTES_MAX, SignedRecord};
use hedgerow_topology::Class;
use hedgerow_topology::petgraph::graph::NodeIndex;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Where views rest between changes, a record tree that is broken here, so that records flood, rests
/// for this part of that time.
const BROKEN_SHARE: u64 = 5;

/// What a record has around it in a frame: signature, age, name, hashes.
const AROUND_BYTES: usize = 160;

/// While a link has more control bytes waiting, records for it wait in sets, where a newer one of a
/// peer takes the older one's place, and it is told no news: neighbours compare their views.
const RECORDS_WAITING_BYTES: usize = 256 << 10;

/// This peer's neighbours on the record tree.
///
/// With thousands of peers no two views are the same while records travel, and a tree for each
/// costs more than the records do. An older tree leads where the newest does but for what has just
/// changed; what it misses is announced and pulled.
#[derive(Debug)]
pub(super) struct RecordTree {
    /// The view that it is of, and when it was taken.
    view: u64,
    at: Micros,
    /// `None`: it does not lead here.
    neighbours: Option<Vec<PeerKey>>,
}

impl Overlay {
    /// Sends the record of `peer` on: the own one is pushed to everybody, another's along the record
    /// tree and announced on the other links. A record of a peer outside the view is pushed
    /// to everybody: it may be what joins two parts. `former` is what was held before it. One that was
    /// asked for with many others (`is_bulk`) is only announced: most neighbours hold it.
    pub(crate) fn spread_record(
        &mut self,
        core: &mut Core,
        peer: PeerKey,
        former: Option<Arc<SignedRecord>>,
        from: Option<LinkId>,
        is_bulk: bool,
    ) {
        let eager = if is_bulk {
            Some(Vec::new())
        } else if peer == core.me {
            None
        } else {
            self.record_neighbours(core, peer)
        };
        let Some(name) = self.database.get(peer).map(|record| record.name()) else {
            return;
        };
        let eager = eager.as_ref();
        let takes_pushes = |link: &Link| {
            let is_eager = eager.is_none_or(|peers| peers.contains(&link.peer));
            is_eager && link.stage == Stage::Up
        };
        let (mut pushed, mut announced, mut knowing) = (false, false, Vec::new());
        for link in self
            .links
            .values_mut()
            .filter(|link| link.serves_database())
        {
            if Some(link.id) == from {
                knowing.push(link);
            } else if takes_pushes(link) {
                link.record_push.insert(peer);
                pushed = true;
                knowing.push(link);
            } else {
                announced = true;
            }
        }
        if announced || !self.sync.news.is_empty() {
            for link in knowing {
                link.known_news.add(name);
            }
        }
        if pushed {
            if let Some(former) = former {
                self.sync.replaced.entry(peer).or_insert(former);
            }
            self.flush_records_soon(core);
        }
        if announced {
            let at = if self.sync.news.add(name) {
                core.now.mono
            } else {
                core.now.mono + self.announce_wait()
            };
            let at = self.sync.announce.map_or(at, |due| due.min(at));
            self.sync.announce = Some(at);
            core.wake_at(at);
        }
    }

    /// How long announcements wait for more.
    pub(super) fn announce_wait(&self) -> Micros {
        let rest = Micros(self.view.spacing().0 / ANNOUNCE_SHARE);
        rest.max(Micros::from_millis(ANNOUNCE_MS))
    }

    /// How long records wait for more.
    fn batch_wait(&self) -> Micros {
        let rest = Micros(self.view.spacing().0 / BATCH_SHARE);
        rest.max(Micros::from_millis(BATCH_MS))
    }

    pub(super) fn flush_records_soon(&mut self, core: &mut Core) {
        let at = core.now.mono + self.batch_wait();
        let at = self.sync.flush.map_or(at, |flush| flush.min(at));
        self.sync.flush = Some(at);
        core.wake_at(at);
    }

    pub(in crate::overlay::records) fn push_record(
        &mut self,
        core: &mut Core,
        to: LinkId,
        peer: PeerKey,
    ) {
        let name = self.database.get(peer).map(|record| record.name());
        if let (Some(link), Some(name)) = (self.links.get_mut(&to), name) {
            link.record_push.insert(peer);
            if !self.sync.news.is_empty() {
                link.known_news.add(name);
            }
            self.flush_records_soon(core);
        }
    }

    /// Whom this peer gives the record of `issuer` to: its neighbours on the record tree, one for
    /// all issuers, so that a view in which everybody speaks costs one tree. `None`: everybody,
    /// where the tree does not lead or is broken here.
    pub(super) fn record_neighbours(
        &mut self,
        core: &Core,
        issuer: PeerKey,
    ) -> Option<Vec<PeerKey>> {
        if !self.view.contains(issuer) {
            return None;
        }
        let tree = match self.sync.tree.take() {
            Some(tree) if self.still_serves(core, &tree) => tree,
            _ => RecordTree {
                view: self.view.hash,
                at: core.now.mono,
                neighbours: self.tree_neighbours(core),
            },
        };
        let tree = self.sync.tree.insert(tree);
        let neighbours = tree.neighbours.as_deref()?;
        let is_whole = neighbours.iter().all(|peer| self.up.contains_key(peer));
        is_whole.then(|| neighbours.to_vec())
    }

    /// Whether the view is the same, or has changed too lately for another tree.
    fn still_serves(&self, core: &Core, tree: &RecordTree) -> bool {
        if tree.view == self.view.hash {
            return true;
        }
        let spacing = self.view.spacing();
        let leads = (tree.neighbours.as_deref())
            .is_some_and(|peers| peers.iter().all(|peer| self.up.contains_key(peer)));
        let rest = if leads {
            spacing
        } else {
            Micros(spacing.0 / BROKEN_SHARE)
        };
        core.now.mono.since(tree.at) < rest
    }

    pub(super) fn tree_neighbours(&self, core: &Core) -> Option<Vec<PeerKey>> {
        let graph = self.broadcast_graph(core)?;
        let me = graph.index(core.me)?;
        let route = graph.route(&self.cache, NodeIndex::new(0), Class::Normal, 1);
        let tree = route.tree();
        if !tree.contains(me) {
            return None;
        }
        let children = route.children(me).iter().copied();
        let neighbours = tree.parent(me).into_iter().chain(children);
        Some(neighbours.map(|node| graph.key(node)).collect())
    }

    /// Nobody needs to be told what has changed so far.
    #[cfg(any(feature = "warm", test))]
    pub(crate) fn forget_record_pushes(&mut self) {
        for link in self.links.values_mut() {
            link.record_push.clear();
            link.records_owed.clear();
            link.known_news = KnownNews::default();
        }
        self.sync.flush = None;
        self.sync.replaced.clear();
        self.sync.news = News::default();
        self.sync.announce = None;
    }

    pub(crate) fn on_sync_timeout(&mut self, core: &mut Core) {
        let now = core.now.mono;
        if self.sync.flush.is_some_and(|flush| flush <= now) {
            self.sync.flush = None;
            self.flush_records(core);
        }
        if self.sync.announce.is_some_and(|due| due <= now) {
            self.sync.announce = None;
            self.flush_announcements(core);
        }
        if self.sync.pulls.values().any(|pull| pull.due <= now) {
            self.pull_records(core);
        }
        self.on_requests_timeout(core);
    }

    pub(super) fn flush_records(&mut self, core: &mut Core) {
        let ids: Vec<LinkId> = self.links.keys().copied().collect();
        for id in ids {
            self.push_records(core, id);
        }
        self.sync.replaced.clear();
    }

    /// Sends a link the records that are to be pushed to it, as far as it has room. The others follow
    /// when it has written.
    fn push_records(&mut self, core: &mut Core, id: LinkId) {
        while let Some(link) = self.links.get_mut(&id)
            && !link.record_push.is_empty()
            && link.has_room_for_records()
        {
            let page = take_first(&mut link.record_push, &self.database);
            let whole = self.send_deltas(core, id, page);
            self.send_records(core, id, whole.into_iter());
        }
    }

    /// The other end of `to` is to have this record as soon as there is room.
    pub(super) fn owe_record(&mut self, to: LinkId, peer: PeerKey) {
        if let Some(link) = self.links.get_mut(&to) {
            link.records_owed.insert(peer);
        }
    }

    /// Sends a link the records that it is owed, as far as it has room.
    pub(super) fn send_owed_records(&mut self, core: &mut Core, id: LinkId) {
        while let Some(link) = self.links.get_mut(&id)
            && !link.records_owed.is_empty()
            && link.has_room_for_records()
        {
            let page = take_first(&mut link.records_owed, &self.database);
            self.send_records(core, id, page.into_iter());
        }
    }

    /// A link has written something: what waits for room may go.
    pub(crate) fn go_on_with_records(&mut self, core: &mut Core, id: LinkId) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        if link.page_asked.is_some() {
            self.answer_page(core, id);
        }
        let Some(link) = self.links.get(&id) else {
            return;
        };
        // What is to be pushed with the next batch waits for it.
        let is_batched = self.sync.flush.is_some();
        if link.records_owed.is_empty() && (is_batched || link.record_push.is_empty()) {
            return;
        }
        if link.queue.bytes_in(Priority::Control) <= RECORDS_WAITING_BYTES / 2 {
            self.send_owed_records(core, id);
            if !is_batched {
                self.push_records(core, id);
            }
        }
    }

    pub(super) fn flush_announcements(&mut self, core: &mut Core) {
        let news = self.sync.news.take();
        let links = self.links.iter_mut();
        let lacking: Vec<(LinkId, Vec<RecordName>)> = links
            .map(|(id, link)| (*id, link.serves_database(), link.known_news.lacking(&news)))
            .filter(|(_, serves, _)| *serves)
            .map(|(id, _, names)| (id, names))
            .collect();
        for (id, names) in lacking {
            let link = self.links.get(&id);
            if link.is_some_and(|link| !link.has_room_for_records()) {
                core.count_many(counter!("announcements_withheld"), names.len() as u64);
                continue;
            }
            for names in names.chunks(NAMES_PER_FRAME) {
                self.send(
                    core,
                    id,
                    RecordAnnounce {
                        names: names.to_vec(),
                    },
                );
            }
        }
    }

    /// Sends the records of `peers`, in frames that fit.
    pub(super) fn send_records(
        &mut self,
        core: &mut Core,
        to: LinkId,
        peers: impl Iterator<Item = PeerKey>,
    ) {
        let records = peers
            .filter_map(|peer| self.wire_record(core, peer))
            .collect();
        let room = FRAME_BYTES_MAX / 2;
        for records in in_frames(records, room, |record: &WireRecord| record.signed.len()) {
            self.send(core, to, Records { records });
        }
    }
}

impl Link {
    fn has_room_for_records(&self) -> bool {
        self.queue.bytes_in(Priority::Control) < RECORDS_WAITING_BYTES
    }
}

/// As many as go into a frame or a little more.
fn take_first(peers: &mut BTreeSet<PeerKey>, database: &Database) -> BTreeSet<PeerKey> {
    let mut room = RECORDS_WAITING_BYTES / 2;
    let mut page = BTreeSet::new();
    while page.len() < RECORDS_PER_FRAME
        && room > 0
        && let Some(peer) = peers.pop_first()
    {
        let bytes = database.get(peer).map_or(0, |record| record.signed.len());
        room = room.saturating_sub(bytes);
        page.insert(peer);
    }
    page
}

/// Cuts what is sent together so that it fits into frames: each holds no more than its number, and
/// no more than one item beyond `room` bytes.
pub(super) fn in_frames<T>(items: Vec<T>, room: usize, bytes: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut frames: Vec<Vec<T>> = Vec::new();
    let mut left = 0;
    for item in items {
        let is_full = |frame: &Vec<T>| left == 0 || frame.len() >= RECORDS_PER_FRAME;
        let takes = bytes(&item) + AROUND_BYTES;
        if let Some(frame) = frames.last_mut().filter(|frame| !is_full(frame)) {
            frame.push(item);
        } else {
            frames.push(vec![item]);
            left = room;
        }
        left = left.saturating_sub(takes);
    }
    frames
}
