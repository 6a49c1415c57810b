//! The database as a graph, at one moment: views, group graphs, routes.
//!
//! A snapshot depends on the records alone, not on who asks: equal databases share one.

use super::algorithm::{Agreed, Algorithm};
use crate::identity::PeerKey;
use crate::memo::Memo;
use crate::name::{GroupId, GroupName};
use crate::status::Role;
use crate::wire::{RecordGroup, SignedRecord};
use hedgerow_topology::petgraph::graph::NodeIndex;
use hedgerow_topology::petgraph::visit::EdgeRef;
use hedgerow_topology::{
    Class, Cuts, LinkGraph, Mesh, PeerNode, Subgraph, link_weight_us, redundant_mesh, relay_tree,
    shortest_path_tree,
};
use std::sync::{Arc, OnceLock};

/// All living records and the links that both ends state.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// The shape of the database it was taken of.
    pub(crate) hash: u64,
    /// Records of peers that have not left, ascending by key: a node's index is its place here.
    /// Newer ones of the same shape may be held by now: only links, groups and capacities are
    /// to be read here.
    pub(crate) records: Vec<Arc<SignedRecord>>,
    /// The whole graph.
    pub(crate) graph: LinkGraph,
    /// The component of each node.
    component: Vec<u32>,
    /// Peers in each component, and the sum of their records' shapes.
    components: Vec<(usize, u64)>,
    /// What the peers of each component agree on.
    agreed: Vec<Agreed>,
    cuts: OnceLock<Cuts>,
}

impl Snapshot {
    /// The snapshot of `records`, which are ascending by key and none of which has left.
    pub(crate) fn new(hash: u64, records: Vec<Arc<SignedRecord>>) -> Self {
        let mut graph = LinkGraph::with_capacity(records.len(), records.len() * 5);
        for record in &records {
            graph.add_node(PeerNode {
                capacity: record.record.capacity,
            });
        }
        for (at, record) in records.iter().enumerate() {
            // Both lists are ascending, so a walk over the upper neighbours is enough.
            for link in record
                .record
                .links
                .iter()
                .filter(|l| l.peer > record.record.peer)
            {
                let Ok(other) = find(&records, link.peer) else {
                    continue;
                };
                let Some(back) = records[other].record.rtt_us(record.record.peer) else {
                    continue;
                };
                graph.add_edge(
                    NodeIndex::new(at),
                    NodeIndex::new(other),
                    link_weight_us(link.rtt_us, back),
                );
            }
        }
        let (component, components) = components(&graph, &records);
        let mut agreed = vec![Agreed::default(); components.len()];
        for (record, component) in records.iter().zip(&component) {
            agreed[*component as usize].take_in(record.record.algorithm);
        }
        Self {
            hash,
            records,
            graph,
            component,
            components,
            agreed,
            cuts: OnceLock::new(),
        }
    }

    /// Where `peer` stands.
    pub(crate) fn index(&self, peer: PeerKey) -> Option<usize> {
        find(&self.records, peer).ok()
    }

    /// Which component `index` is in.
    pub(crate) fn component(&self, index: usize) -> u32 {
        self.component[index]
    }

    /// Peers in a component, and its hash.
    pub(crate) fn component_summary(&self, component: u32) -> (usize, u64) {
        self.components[component as usize]
    }

    /// Which algorithms a component uses.
    pub(crate) fn agreed(&self, component: u32) -> Agreed {
        self.agreed[component as usize]
    }

    /// The nodes of a component, ascending.
    pub(crate) fn members_of(&self, component: u32) -> impl Iterator<Item = usize> + '_ {
        (0..self.records.len()).filter(move |&index| self.component[index] == component)
    }

    /// Articulation points and bridges.
    pub(crate) fn cuts(&self) -> &Cuts {
        self.cuts.get_or_init(|| Cuts::of(&self.graph))
    }
}

fn find(records: &[Arc<SignedRecord>], peer: PeerKey) -> Result<usize, usize> {
    records.binary_search_by(|record| record.record.peer.cmp(&peer))
}

fn components(graph: &LinkGraph, records: &[Arc<SignedRecord>]) -> (Vec<u32>, Vec<(usize, u64)>) {
    let mut component = vec![u32::MAX; records.len()];
    let mut components = Vec::new();
    let mut stack = Vec::new();
    for start in graph.node_indices() {
        if component[start.index()] != u32::MAX {
            continue;
        }
        let label = components.len() as u32;
        let (mut count, mut hash) = (0, 0_u64);
        component[start.index()] = label;
        stack.push(start);
        while let Some(node) = stack.pop() {
            count += 1;
            hash = hash.wrapping_add(records[node.index()].shape);
            for next in graph.neighbors(node) {
                if component[next.index()] == u32::MAX {
                    component[next.index()] = label;
                    stack.push(next);
                }
            }
        }
        components.push((count, hash));
    }
    (component, components)
}

/// The part of a view that carries a group.
#[derive(Debug)]
pub(crate) struct GroupGraph {
    /// Hash of peers, capacities, links and algorithm: equal graphs, equal trees.
    pub(crate) hash: u64,
    /// Its peers, ascending.
    pub(crate) keys: Vec<PeerKey>,
    /// What each is: `None` for a mere relay.
    pub(crate) roles: Vec<Option<Role>>,
    /// Its links.
    pub(crate) graph: LinkGraph,
    /// Whether the members need relays: then this is the whole view.
    pub(crate) relayed: bool,
    /// How its trees are computed.
    algorithm: Algorithm,
}

impl GroupGraph {
    /// The graph of `group` in a component of `snapshot`: its members and senders, or, when they
    /// do not reach each other alone, the whole component.
    pub(crate) fn new(snapshot: &Snapshot, component: u32, group: &GroupName) -> Self {
        let role_of = |index: usize| {
            if group.is_broadcast() {
                return Some(Role::Member);
            }
            snapshot.records[index]
                .record
                .group(group)
                .and_then(RecordGroup::role)
        };
        let everybody: Vec<NodeIndex> =
            snapshot.members_of(component).map(NodeIndex::new).collect();
        let members = everybody
            .iter()
            .copied()
            .filter(|node| role_of(node.index()).is_some());
        let mut subgraph = Subgraph::induced(&snapshot.graph, members);
        let relayed = !subgraph.is_connected();
        if relayed {
            subgraph = Subgraph::induced(&snapshot.graph, everybody);
        }
        let indices: Vec<usize> = subgraph
            .graph()
            .node_indices()
            .map(|node| subgraph.to_whole(node).index())
            .collect();
        let keys: Vec<PeerKey> = indices
            .iter()
            .map(|&index| snapshot.records[index].record.peer)
            .collect();
        let roles: Vec<Option<Role>> = indices.iter().map(|&index| role_of(index)).collect();
        let graph = subgraph.graph().clone();
        let algorithm = snapshot.agreed(component).algorithm;
        let hash = graph_hash(&keys, &roles, &graph, algorithm);
        Self {
            hash,
            keys,
            roles,
            graph,
            relayed,
            algorithm,
        }
    }

    /// Where `peer` stands.
    pub(crate) fn index(&self, peer: PeerKey) -> Option<NodeIndex> {
        self.keys.binary_search(&peer).ok().map(NodeIndex::new)
    }

    /// The key at `node`.
    pub(crate) fn key(&self, node: NodeIndex) -> PeerKey {
        self.keys[node.index()]
    }

    /// Members, without senders and relays.
    pub(crate) fn members(&self) -> impl Iterator<Item = PeerKey> + '_ {
        self.keys
            .iter()
            .zip(&self.roles)
            .filter(|(_, role)| **role == Some(Role::Member))
            .map(|(key, _)| *key)
    }

    /// Whether `peer` is a member in it.
    pub(crate) fn is_member(&self, peer: PeerKey) -> bool {
        self.index(peer)
            .is_some_and(|at| self.roles[at.index()] == Some(Role::Member))
    }

    /// The overlay from `origin`, which must be in the graph.
    pub(crate) fn route(
        &self,
        memo: &Memo,
        origin: NodeIndex,
        class: Class,
        redundancy: u8,
    ) -> Arc<Mesh> {
        memo.route(
            (self.hash, origin.index() as u32, class, redundancy),
            || match self.algorithm {
                Algorithm::V1 => self.route_v1(origin, class, redundancy),
            },
        )
    }

    fn route_v1(&self, origin: NodeIndex, class: Class, redundancy: u8) -> Mesh {
        let tree = if self.relayed {
            let members = self
                .graph
                .node_indices()
                .filter(|node| self.roles[node.index()].is_some());
            relay_tree(&self.graph, members, origin, class)
        } else {
            shortest_path_tree(&self.graph, origin, class)
        };
        redundant_mesh(&self.graph, tree, redundancy)
    }
}

fn graph_hash(
    keys: &[PeerKey],
    roles: &[Option<Role>],
    graph: &LinkGraph,
    algorithm: Algorithm,
) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&algorithm.version().to_be_bytes());
    for ((key, role), node) in keys.iter().zip(roles).zip(graph.node_weights()) {
        hasher.update(&key.0);
        hasher.update(&[role.map_or(0, |role| 1 + role as u8)]);
        hasher.update(&node.capacity.to_be_bytes());
    }
    for edge in graph.edge_references() {
        hasher.update(&(edge.source().index() as u32).to_be_bytes());
        hasher.update(&(edge.target().index() as u32).to_be_bytes());
        hasher.update(&edge.weight().to_be_bytes());
    }
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_be_bytes(bytes)
}

/// Names the graph of `group` in the component of `peer` in `snapshot`, made once.
pub(crate) fn group_graph(
    memo: &Memo,
    snapshot: &Snapshot,
    component: u32,
    id: GroupId,
    group: &GroupName,
) -> Arc<GroupGraph> {
    memo.graph((snapshot.hash, component, id), || {
        GroupGraph::new(snapshot, component, group)
    })
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
