//! Who there is to choose from: the view, the database and what links have told, side by side.

use crate::base::identity::PeerKey;
use crate::core::Core;
use crate::overlay::Overlay;
use crate::overlay::records::Snapshot;
use hedgerow_topology::{Candidate, Coordinate, Cuts, LinkGraph, Situation};
use std::collections::{BTreeMap, btree_map};
use std::iter::Peekable;
use std::sync::Arc;

/// Walks through a map beside peers that are asked for in ascending order.
struct Beside<'a, V> {
    entries: Peekable<btree_map::Iter<'a, PeerKey, V>>,
}

impl<'a, V> Beside<'a, V> {
    fn new(map: &'a BTreeMap<PeerKey, V>) -> Self {
        let entries = map.iter().peekable();
        Self { entries }
    }

    /// What the map holds of `peer`, who comes after all asked for before.
    fn at(&mut self, peer: PeerKey) -> Option<&'a V> {
        while self.entries.next_if(|(key, _)| **key < peer).is_some() {}
        let (_, value) = self.entries.next_if(|(key, _)| **key == peer)?;
        Some(value)
    }
}

/// The candidates of one moment, with the situation's own indices.
pub(super) struct LinkCandidates {
    pub(super) snapshot: Arc<Snapshot>,
    graph: Arc<LinkGraph>,
    pub(super) cuts: Arc<Cuts>,
    pub(super) me: usize,
    pub(super) candidates: Vec<Candidate>,
}

impl LinkCandidates {
    pub(super) fn situation(&self, degree: usize, random_seed: u64) -> Situation<'_> {
        Situation {
            me: self.me,
            candidates: &self.candidates,
            graph: Some(&self.graph),
            cuts: Some(&self.cuts),
            degree,
            random_seed,
        }
    }

    pub(super) fn key(&self, index: usize) -> PeerKey {
        self.snapshot.records[index].record.peer
    }
}

impl Overlay {
    /// Everybody who could be linked to, as the topology wants to see them.
    pub(super) fn field(&self, core: &Core) -> Option<LinkCandidates> {
        let snapshot = self.view.snapshot()?.clone();
        let now = core.now.mono;
        let (busy, full) = (core.config.links.degree, core.config.links.accept_max);
        // Those whom a link leads to are as good as in the view, even before records say so.
        let mut reached = vec![self.view.component];
        for peer in self.up.keys() {
            if let Some(at) = snapshot.index(*peer) {
                let component = snapshot.component(at);
                if !reached.contains(&component) {
                    reached.push(component);
                }
            }
        }
        // Newer records of the same shape have newer coordinates and addresses.
        let mut newest = self.database.records().peekable();
        let backing_off = self.dialer.backing_off(now);
        let mut backing_off = Beside::new(&backing_off);
        let mut up = Beside::new(&self.up);
        let mut lost = Beside::new(&self.view.lost);
        let mut cut_off = Beside::new(&self.cut_off);
        let mut measured = Beside::new(&self.chooser.measured);
        let mut cooling = Beside::new(&self.chooser.cooling);
        let candidates = snapshot
            .records
            .iter()
            .enumerate()
            .map(|(index, record)| {
                let peer = record.record.peer;
                while newest.peek().is_some_and(|newer| newer.record.peer < peer) {
                    newest.next();
                }
                // The snapshot's may be any of its shape: who is not known any more is no choice.
                let newer = newest.peek().filter(|newer| newer.record.peer == peer);
                let known = newer.is_some();
                let record = newer.copied().unwrap_or(record);
                let link = up.at(peer).and_then(|id| self.links.get(id));
                let in_view = link.is_some() || reached.contains(&snapshot.component(index));
                let recently = lost.at(peer).is_some();
                let dialable = known
                    && !record.record.addresses.is_empty()
                    && backing_off.at(peer).is_none()
                    && !self.is_banned(core, peer)
                    && cut_off.at(peer).is_none();
                // As stated: what is below its hysteresis moves no link.
                let rtt = link.map(|link| link.rtt.stated_us().unwrap_or(u32::MAX / 2));
                Candidate {
                    ring: record.ring,
                    coordinate: newer.map_or_else(Coordinate::default, |r| r.record.coordinate()),
                    linked: rtt,
                    measured: measured.at(peer).copied(),
                    wants_me: link.is_some_and(|link| link.their_wants.is_some()),
                    reachable: dialable && (in_view || recently),
                    in_view,
                    cooling: cooling.at(peer).is_some_and(|(until, _)| *until > now),
                    full: link.is_none() && record.record.links.len() >= full,
                    busy: record.record.links.len() >= busy,
                }
            })
            .collect();
        Some(LinkCandidates {
            me: self.view.me,
            graph: snapshot.graph(&self.cache),
            cuts: snapshot.cuts(&self.cache).clone(),
            snapshot,
            candidates,
        })
    }
}
