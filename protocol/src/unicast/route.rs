//! The next hop of a frame: the view's shortest path, without those whom it avoids.
//!
//! Every peer with the same view computes the same paths, and each hop is nearer to the destination, so
//! frames do not circle. Where views differ they may, until [`TTL_MAX`](crate::wire::routed::TTL_MAX).

use crate::base::identity::PeerKey;
use crate::overlay::Overlay;
use crate::overlay::records::Snapshot;
use crate::wire::Routed;
use hedgerow_topology::petgraph::graph::NodeIndex;
use hedgerow_topology::{NextHops, Without, next_hops, shortest_path};
use lru::LruCache;
use std::collections::BTreeMap;

/// Tables of next hops kept for frames that avoid peers, the latest used. One takes 4 bytes per peer.
const TABLES_MAX: usize = 16;

/// Why there is no next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoute {
    /// The view shows no path, or none without those to be avoided.
    Unreachable,
    /// It would have to be computed, and was too often.
    TooManyAsked,
}

/// Next hops in one view.
#[derive(Debug)]
struct Tables {
    /// The snapshot's hash, and this peer's place in it.
    view: (u64, NodeIndex),
    /// The neighbours that the view shows.
    neighbours: Vec<(NodeIndex, PeerKey)>,
    /// For frames that avoid nobody, and the links that were down then: one that others cannot displace.
    plain: Option<(Vec<NodeIndex>, NextHops)>,
    avoiding: LruCache<Without, NextHops>,
}

/// Next hops, computed when they are first asked for, and kept while the view stays the same.
#[derive(Debug, Default)]
pub(crate) struct Routes(Option<Tables>);

impl Routes {
    /// The next hop of a frame of this peer's.
    pub(crate) fn own(
        &mut self,
        me: PeerKey,
        net: &Overlay,
        to: PeerKey,
        avoid: &[PeerKey],
    ) -> Option<PeerKey> {
        self.route(me, net, to, avoid, None, |_| true).ok()
    }

    /// The next hop of a frame that came from a neighbour. `may_compute` is asked before next hops are
    /// computed for this frame, in a view of so many peers.
    pub(crate) fn relayed(
        &mut self,
        me: PeerKey,
        net: &Overlay,
        routed: &Routed,
        incoming: PeerKey,
        may_compute: impl FnMut(usize) -> bool,
    ) -> Result<PeerKey, NoRoute> {
        let Routed { to, avoid, .. } = routed;
        self.route(me, net, *to, avoid, Some(incoming), may_compute)
    }

    fn route(
        &mut self,
        me: PeerKey,
        net: &Overlay,
        to: PeerKey,
        avoid: &[PeerKey],
        incoming: Option<PeerKey>,
        mut may_compute: impl FnMut(usize) -> bool,
    ) -> Result<PeerKey, NoRoute> {
        if to == me || incoming == Some(to) || avoid.contains(&me) {
            return Err(NoRoute::Unreachable);
        }
        if net.is_linked(to) {
            return Ok(to);
        }
        let snapshot = net.snapshot().ok_or(NoRoute::Unreachable)?;
        let destination = snapshot.index(to).ok_or(NoRoute::Unreachable)?;
        let destination = NodeIndex::new(destination);
        let tables = self.tables(net, snapshot);
        let mut without = tables.without(net, snapshot, to, avoid);
        let mut next = tables.next(net, snapshot, destination, &without, &mut may_compute)?;
        if Some(next) == incoming {
            without
                .peers
                .extend(snapshot.index(next).map(NodeIndex::new));
            without.peers.sort_unstable();
            next = tables.next(net, snapshot, destination, &without, &mut may_compute)?;
        }
        Ok(next)
    }

    /// The relays of the path that a frame of this peer's takes.
    pub(crate) fn relays(
        me: PeerKey,
        net: &Overlay,
        to: PeerKey,
        avoid: &[PeerKey],
    ) -> Option<Vec<PeerKey>> {
        if to == me {
            return None;
        }
        if net.is_linked(to) {
            return Some(Vec::new());
        }
        let snapshot = net.snapshot()?;
        let destination = NodeIndex::new(snapshot.index(to)?);
        let tables = Tables::of(net, snapshot);
        let without = tables.without(net, snapshot, to, avoid);
        let graph = snapshot.graph(net.cache());
        let path = shortest_path(&graph, net.own_place(), destination, &without);
        let [_, relays @ .., _] = &path[..] else {
            return None;
        };
        Some(relays.iter().map(|node| key(snapshot, *node)).collect())
    }

    fn tables(&mut self, net: &Overlay, snapshot: &Snapshot) -> &mut Tables {
        let view = (snapshot.hash, net.own_place());
        let kept = self.0.take().filter(|tables| tables.view == view);
        self.0
            .insert(kept.unwrap_or_else(|| Tables::of(net, snapshot)))
    }
}

impl Tables {
    fn of(net: &Overlay, snapshot: &Snapshot) -> Self {
        let me = net.own_place();
        let graph = snapshot.graph(net.cache());
        let neighbours = graph.neighbors(me);
        let neighbours: BTreeMap<NodeIndex, PeerKey> =
            neighbours.map(|node| (node, key(snapshot, node))).collect();
        Self {
            view: (snapshot.hash, me),
            neighbours: neighbours.into_iter().collect(),
            plain: None,
            // Its own bound would take memory for all of them at once.
            avoiding: LruCache::unbounded(),
        }
    }

    /// What a path must do without: those to be avoided, and the own links that are down.
    fn without(
        &self,
        net: &Overlay,
        snapshot: &Snapshot,
        to: PeerKey,
        avoid: &[PeerKey],
    ) -> Without {
        let avoid = avoid.iter().filter(|peer| **peer != to);
        let peers = avoid.filter_map(|peer| snapshot.index(*peer));
        let mut peers: Vec<NodeIndex> = peers.map(NodeIndex::new).collect();
        peers.sort_unstable();
        peers.dedup();
        let down = self
            .neighbours
            .iter()
            .filter(|(_, peer)| !net.is_linked(*peer));
        Without {
            peers,
            first: down.map(|(node, _)| *node).collect(),
        }
    }

    fn next(
        &mut self,
        net: &Overlay,
        snapshot: &Snapshot,
        to: NodeIndex,
        without: &Without,
        may_compute: &mut impl FnMut(usize) -> bool,
    ) -> Result<PeerKey, NoRoute> {
        let hops = if without.peers.is_empty() {
            self.plain(net, snapshot, without)
        } else {
            if !self.avoiding.contains(without) {
                if !may_compute(net.view_peers()) {
                    return Err(NoRoute::TooManyAsked);
                }
                self.avoiding
                    .put(without.clone(), computed(net, snapshot, without));
                if self.avoiding.len() > TABLES_MAX {
                    self.avoiding.pop_lru();
                }
            }
            self.avoiding.get(without).ok_or(NoRoute::Unreachable)?
        };
        let next = hops.towards(to).ok_or(NoRoute::Unreachable)?;
        Ok(key(snapshot, next))
    }

    fn plain(&mut self, net: &Overlay, snapshot: &Snapshot, without: &Without) -> &NextHops {
        let kept = self.plain.take().filter(|(down, _)| *down == without.first);
        let compute = || (without.first.clone(), computed(net, snapshot, without));
        let (_, hops) = self.plain.insert(kept.unwrap_or_else(compute));
        hops
    }
}

fn computed(net: &Overlay, snapshot: &Snapshot, without: &Without) -> NextHops {
    let graph = snapshot.graph(net.cache());
    next_hops(&graph, net.own_place(), without)
}

fn key(snapshot: &Snapshot, node: NodeIndex) -> PeerKey {
    snapshot.records[node.index()].record.peer
}
