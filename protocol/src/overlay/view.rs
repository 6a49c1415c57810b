//! The view: what the database says is connected to this peer, refreshed a moment after changes.

use crate::base::identity::PeerKey;
use crate::base::interface::Event;
use crate::base::name::{GroupId, GroupName};
use crate::base::time::Micros;
use crate::core::Core;
use crate::core::config::DatabaseConfig;
use crate::overlay::Overlay;
use crate::overlay::links::OverlayEvent;
use crate::overlay::records::{GroupGraph, Snapshot, group_graph};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A view is not taken again for so long for every peer in it beyond the first thousand,
/// microseconds, and no longer than the second, ms: what it costs, and the trees that follow, grows
/// with it, while each change in it means less. Until then digests and pulls make up for what trees
/// miss.
const SPACING_US: u64 = 500;
const UNSPACED_PEERS: usize = 1_000;
const SPACING_MAX_MS: u64 = 5_000;

/// The connected component of two-way edges that contains this peer.
#[derive(Debug, Default)]
pub(crate) struct View {
    snapshot: Option<Arc<Snapshot>>,
    /// This peer's place in the snapshot.
    pub(super) me: usize,
    pub(super) component: u32,
    pub(super) hash: u64,
    /// A hash of who is in it.
    who: u64,
    pub(super) peers: usize,
    /// When it was taken.
    taken: Micros,
    /// First and last change since.
    dirty: Option<(Micros, Micros)>,
    /// Peers that were in the view, and when they fell out of it.
    pub(super) lost: BTreeMap<PeerKey, Micros>,
}

impl View {
    /// The snapshot; an engine takes one as soon as it exists.
    pub(crate) fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        self.snapshot.as_ref()
    }

    /// Whether `peer` is in the view.
    pub(crate) fn contains(&self, peer: PeerKey) -> bool {
        is_in(self.snapshot.as_deref(), self.component, peer)
    }

    /// Whether a database of this shape tells of nobody who is not in the view.
    pub(crate) fn is_all_of(&self, shape: u64) -> bool {
        let snapshot = self.snapshot.as_ref();
        snapshot
            .is_some_and(|snapshot| snapshot.hash == shape && snapshot.records.len() == self.peers)
    }

    /// The version of the algorithms in use, and how many peers state one that is too old.
    pub(crate) fn algorithm(&self) -> (u16, usize) {
        let agreed = self
            .snapshot
            .as_ref()
            .map(|snapshot| snapshot.summary(self.component).agreed);
        agreed.map_or((0, 0), |agreed| {
            (agreed.algorithm.version(), agreed.unsupported)
        })
    }

    /// Whether the snapshot was taken of a database of this shape.
    fn shows(&self, shape: u64) -> bool {
        let snapshot = self.snapshot.as_ref();
        snapshot.is_some_and(|snapshot| snapshot.hash == shape)
    }

    /// The peers of the view, ascending.
    pub(crate) fn peers(&self) -> impl Iterator<Item = PeerKey> + '_ {
        self.snapshot.iter().flat_map(|snapshot| {
            snapshot
                .members_of(self.component)
                .map(|index| snapshot.records[index].record.peer)
        })
    }

    /// When the snapshot is to be taken again: a moment after the last change, but not too long
    /// after the first, and the later the larger it is.
    pub(crate) fn due(&self, config: &DatabaseConfig) -> Option<Micros> {
        let (first, last) = self.dirty?;
        let settled = last + Micros::from_millis(config.debounce_ms);
        let stale = first + Micros::from_millis(config.stale_tree_ms);
        Some(settled.min(stale).max(self.taken + self.spacing()))
    }

    /// How long after a change, at the most, the view shows it.
    pub(crate) fn settling(&self, config: &DatabaseConfig) -> Micros {
        let stale = config.stale_tree_ms.max(config.debounce_ms);
        self.spacing().max(Micros::from_millis(stale))
    }

    /// The least time between two views of this size.
    pub(crate) fn spacing(&self) -> Micros {
        let beyond = self.peers.saturating_sub(UNSPACED_PEERS) as u64;
        Micros(beyond * SPACING_US).min(Micros::from_millis(SPACING_MAX_MS))
    }
}

impl Overlay {
    /// The database has changed. A record that changes no shape changes no view.
    pub(crate) fn touch_view(&mut self, core: &mut Core) {
        let now = core.now.mono;
        if self.view.shows(self.database.shape()) {
            self.view.dirty = None;
            return;
        }
        let first = self.view.dirty.map_or(now, |(first, _)| first);
        self.view.dirty = Some((first, now));
        if let Some(due) = self.view.due(&core.config.database) {
            core.wake_at(due);
        }
    }

    pub(crate) fn on_view_timeout(&mut self, core: &mut Core) {
        if self
            .view
            .due(&core.config.database)
            .is_some_and(|due| due <= core.now.mono)
        {
            self.refresh_view(core);
        }
    }

    /// Forgets those whom the ring need not remember any more.
    pub(crate) fn forget_lost(&mut self, core: &Core) {
        let memory = Micros::from_millis(core.config.links.ring_memory_ms);
        let now = core.now.mono;
        let before = self.view.lost.len();
        self.view.lost.retain(|_, at| now.since(*at) <= memory);
        if before > 0 && self.view.lost.is_empty() {
            // What waited for them goes on without them.
            self.happened(OverlayEvent::LostForgotten);
        }
    }

    /// Takes the snapshot anew and tells everybody inside who depends on it.
    pub(crate) fn refresh_view(&mut self, core: &mut Core) {
        self.view.dirty = None;
        if self.view.shows(self.database.shape()) {
            return;
        }
        self.view.taken = core.now.mono;
        let snapshot = self
            .database
            .snapshot(self.view.snapshot.as_deref(), &self.cache);
        let Some(me) = snapshot.index(core.me) else {
            // Only after this peer has stated that it leaves.
            return;
        };
        let component = snapshot.component(me);
        let summary = snapshot.summary(component);
        let others_are_in_it = summary.who != self.view.who;
        let before: Vec<PeerKey> = if others_are_in_it {
            self.view.peers().collect()
        } else {
            Vec::new()
        };
        self.view.me = me;
        self.view.component = component;
        self.view.snapshot = Some(snapshot);
        self.view.peers = summary.peers;
        self.note_view_in_database();
        let changed = summary.hash != self.view.hash;
        let (peers, hash) = (summary.peers, summary.hash);
        self.view.hash = hash;
        self.view.who = summary.who;
        self.chooser
            .note_view(peers, self.view.spacing(), core.now.mono);
        if changed {
            let (algorithm, unsupported) = self.view.algorithm();
            if unsupported > 0 {
                tracing::warn!(algorithm, unsupported, "peers that compute other trees");
            }
            if others_are_in_it {
                self.note_who_was_lost(core, &before);
                self.chooser.touch_for_peers(peers, core.now.mono);
            } else {
                self.chooser.touch_for_links(peers, core.now.mono);
            }
            core.wake_at(core.now.mono);
            self.on_view_changed_for_candidates(core, others_are_in_it);
            self.happened(OverlayEvent::ViewChanged);
            core.event(Event::ViewChanged { peers, hash });
        }
    }

    /// The whole view, as the group of everybody.
    pub(crate) fn broadcast_graph(&self, core: &Core) -> Option<Arc<GroupGraph>> {
        let name = GroupName::broadcast();
        let id = GroupId::new(&core.config.network, &name);
        let snapshot = self.view.snapshot()?;
        let component = self.view.component;
        Some(group_graph(&self.cache, snapshot, component, id, &name))
    }

    /// The database follows who is in the view.
    fn note_view_in_database(&mut self) {
        let everybody = self.view.is_all_of(self.database.shape());
        let inside = (!everybody).then(|| self.view.peers());
        self.database.note_view(inside);
    }

    /// Other peers are in the view than `before`.
    fn note_who_was_lost(&mut self, core: &Core, before: &[PeerKey]) {
        let now = core.now.mono;
        for &peer in before {
            let left = self
                .database
                .get(peer)
                .is_some_and(|record| record.record.left);
            if !self.view.contains(peer) && !left {
                self.view.lost.insert(peer, now);
            }
        }
        let View {
            lost,
            snapshot,
            component,
            ..
        } = &mut self.view;
        lost.retain(|peer, _| !is_in(snapshot.as_deref(), *component, *peer));
    }
}

fn is_in(snapshot: Option<&Snapshot>, component: u32, peer: PeerKey) -> bool {
    snapshot.is_some_and(|snapshot| {
        snapshot
            .index(peer)
            .is_some_and(|at| snapshot.component(at) == component)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_view_rests_before_it_is_taken_again() {
        let config = DatabaseConfig::default();
        let (taken, changed) = (Micros::from_millis(60_000), Micros::from_millis(60_001));
        let due = |peers| {
            let dirty = Some((changed, changed));
            let view = View {
                peers,
                taken,
                dirty,
                ..View::default()
            };
            view.due(&config).expect("it has changed").since(taken)
        };
        let debounced = Micros::from_millis(1 + config.debounce_ms);
        assert_eq!(due(1_000), debounced);
        assert_eq!(due(3_000), Micros::from_millis(1_000));
        assert_eq!(due(1_000_000), Micros::from_millis(SPACING_MAX_MS));
    }
}
