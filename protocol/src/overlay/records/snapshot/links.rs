//! The graph of a snapshot: from its records, or from the snapshot before it.
//!
//! Both ways give the same graph, edge by edge, because trees depend on their order: every edge from
//! its lower end to its upper one, ascending.

use super::{Snapshot, find};
use crate::wire::{Record, RecordLink, SignedRecord};
use hedgerow_topology::petgraph::graph::NodeIndex;
use hedgerow_topology::{LinkGraph, PeerNode, link_weight_us};
use std::cmp::Ordering;
use std::sync::Arc;

/// Where more than one record in so many is another, starting from nothing is as fast.
const CHANGED_SHARE: usize = 4;

/// What stands at a former place that is another now.
const GONE: u32 = u32::MAX;

/// The graph of the links that both ends state; nodes in the order of the records.
pub(super) fn of(records: &[Arc<SignedRecord>], prefixes: &[u64]) -> LinkGraph {
    let stated: usize = records.iter().map(|r| r.record.links.len()).sum();
    let mut graph = LinkGraph::with_capacity(records.len(), stated.div_ceil(2));
    for record in records {
        graph.add_node(node(record));
    }
    for (at, record) in records.iter().enumerate() {
        // Both lists are ascending, so a walk over the upper neighbours is enough.
        let record = &record.record;
        for link in record.links.iter().filter(|l| l.peer > record.peer) {
            if let Ok(other) = find(records, prefixes, link.peer)
                && let Some(weight) = weight_us(record, link, &records[other].record)
            {
                graph.add_edge(NodeIndex::new(at), NodeIndex::new(other), weight);
            }
        }
    }
    graph
}

/// The same, starting from the graph of a `former` snapshot: records are looked up only for those
/// that were not in it. `None`: these are too many for that to be any faster.
pub(super) fn after(
    former: &Snapshot,
    graph: &LinkGraph,
    records: &[Arc<SignedRecord>],
    prefixes: &[u64],
) -> Option<LinkGraph> {
    let since = Since::of(former, graph, records, prefixes);
    if since.changed.len() > records.len() / CHANGED_SHARE {
        return None;
    }
    let mut edges = since.kept(graph);
    let kept = edges.len();
    since.add_changed(records, prefixes, &mut edges);
    edges[kept..].sort_unstable();
    #[allow(
        clippy::stable_sort_primitive,
        reason = "of two ascending runs a stable sort only merges, and an unstable one sorts all"
    )]
    edges.sort();
    let mut graph = LinkGraph::with_capacity(records.len(), edges.len());
    for node in since.nodes {
        graph.add_node(node);
    }
    for (low, high, weight) in edges {
        let [low, high] = [low, high].map(|place| NodeIndex::new(place as usize));
        graph.add_edge(low, high, weight);
    }
    Some(graph)
}

/// What a link weighs that `record` states, if the record of its other end states it, too.
fn weight_us(record: &Record, link: &RecordLink, other: &Record) -> Option<u32> {
    let back = other.rtt_us(record.peer)?;
    Some(link_weight_us(link.rtt_us, back))
}

fn node(record: &SignedRecord) -> PeerNode {
    PeerNode {
        capacity: record.record.capacity,
    }
}

/// What became of a former snapshot's records.
struct Since {
    /// By former place, where the same record stands now, or [`GONE`].
    places: Vec<u32>,
    /// The places of records that were not there, ascending.
    changed: Vec<usize>,
    nodes: Vec<PeerNode>,
}

impl Since {
    fn of(
        former: &Snapshot,
        graph: &LinkGraph,
        records: &[Arc<SignedRecord>],
        prefixes: &[u64],
    ) -> Self {
        let mut places = vec![GONE; former.records.len()];
        let mut changed = Vec::new();
        let mut nodes = Vec::with_capacity(records.len());
        let mut before = 0;
        for (at, record) in records.iter().enumerate() {
            // Nothing is read of a record that is the same: most are.
            let order = |before: usize, old: &Arc<SignedRecord>| {
                let by_prefix = former.prefixes[before].cmp(&prefixes[at]);
                if by_prefix.is_ne() || Arc::ptr_eq(old, record) {
                    return by_prefix;
                }
                old.record.peer.cmp(&record.record.peer)
            };
            let mut found = Ordering::Less;
            while found.is_lt() && before < former.records.len() {
                found = order(before, &former.records[before]);
                before += usize::from(found.is_lt());
            }
            let same = former.records.get(before).filter(|old| {
                found.is_eq() && (Arc::ptr_eq(old, record) || old.shape == record.shape)
            });
            if same.is_some() {
                places[before] = at as u32;
                nodes.push(graph[NodeIndex::new(before)]);
            } else {
                changed.push(at);
                nodes.push(node(record));
            }
        }
        Self {
            places,
            changed,
            nodes,
        }
    }

    /// The edges between records that were there, in their order.
    fn kept(&self, graph: &LinkGraph) -> Vec<(u32, u32, u32)> {
        let edges = graph.raw_edges().iter().map(|edge| {
            let [low, high] = [edge.source(), edge.target()].map(|end| self.places[end.index()]);
            (low, high, edge.weight)
        });
        edges
            .filter(|&(low, high, _)| low != GONE && high != GONE)
            .collect()
    }

    /// Adds the edges of records that were not.
    fn add_changed(
        &self,
        records: &[Arc<SignedRecord>],
        prefixes: &[u64],
        edges: &mut Vec<(u32, u32, u32)>,
    ) {
        for &at in &self.changed {
            let record = &records[at].record;
            for link in &record.links {
                let Ok(other) = find(records, prefixes, link.peer) else {
                    continue;
                };
                // Of two that changed the lower one finds the edge.
                if other <= at && self.changed.binary_search(&other).is_ok() {
                    continue;
                }
                if let Some(weight) = weight_us(record, link, &records[other].record) {
                    edges.push((at.min(other) as u32, at.max(other) as u32, weight));
                }
            }
        }
    }
}
