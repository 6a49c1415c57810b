//! The database as a graph, at one moment: views, group graphs, routes.
//!
//! A snapshot depends on the records alone, not on who asks: equal databases share one.

mod links;

use super::algorithm::{Agreed, Algorithm};
use super::search::search;
use crate::base::identity::PeerKey;
use crate::base::name::{GroupId, GroupName};
use crate::base::status::Role;
use crate::overlay::cache::SharedCache;
use crate::wire::SignedRecord;
use crate::wire::record::SoughtGroup;
use hedgerow_topology::petgraph::graph::NodeIndex;
use hedgerow_topology::{
    Class, Cuts, LinkGraph, Mesh, Subgraph, redundant_mesh, relay_tree, shortest_path_tree,
};
use std::sync::{Arc, OnceLock};

/// What the peers of one component have together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Component {
    /// How many there are.
    pub(in crate::overlay) peers: usize,
    /// The sum of their records' shapes.
    pub(in crate::overlay) hash: u64,
    /// A hash of who they are.
    pub(in crate::overlay) who: u64,
    /// What they agree on.
    pub(in crate::overlay) agreed: Agreed,
}

/// All living records and the links that both ends state.
///
/// Thousands of simulated peers may hold one each, so it keeps little besides; the graph is several
/// times as large, follows from the records, and is left to the cache.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// The shape of the database it was taken of.
    pub(crate) hash: u64,
    /// Records of peers that have not left, ascending by key: a node's index is its place here.
    /// Newer ones of the same shape may be held by now: only links, groups and capacities are
    /// to be read here.
    pub(crate) records: Vec<Arc<SignedRecord>>,
    /// The first bytes of their keys.
    prefixes: Arc<[u64]>,
    /// The component of each node.
    component: Arc<[u32]>,
    components: Vec<Component>,
    cuts: OnceLock<Arc<Cuts>>,
}

impl Snapshot {
    /// The snapshot of `records`, which are ascending by key and none of which has left. What is as
    /// in the `former` one is shared with it.
    pub(crate) fn new(
        hash: u64,
        records: Vec<Arc<SignedRecord>>,
        former: Option<&Self>,
        cache: &SharedCache,
    ) -> Self {
        let prefixes: Vec<u64> = records.iter().map(|r| r.record.peer.prefix()).collect();
        let graph = cache.links(hash, || {
            let before = former.and_then(|former| Some((former, cache.held_links(former.hash)?)));
            before
                .and_then(|(former, graph)| links::after(former, &graph, &records, &prefixes))
                .unwrap_or_else(|| links::of(&records, &prefixes))
        });
        let (component, components) = components(&graph, &records);
        Self {
            hash,
            records,
            prefixes: shared(prefixes, former.map(|former| &former.prefixes)),
            component: shared(component, former.map(|former| &former.component)),
            components,
            cuts: OnceLock::new(),
        }
    }

    /// The whole graph.
    pub(crate) fn graph(&self, cache: &SharedCache) -> Arc<LinkGraph> {
        cache.links(self.hash, || links::of(&self.records, &self.prefixes))
    }

    /// Where `peer` stands.
    pub(crate) fn index(&self, peer: PeerKey) -> Option<usize> {
        find(&self.records, &self.prefixes, peer).ok()
    }

    /// Which component `index` is in.
    pub(crate) fn component(&self, index: usize) -> u32 {
        self.component[index]
    }

    /// What a component's peers have together.
    pub(crate) fn summary(&self, component: u32) -> Component {
        self.components[component as usize]
    }

    /// The nodes of a component, ascending.
    pub(crate) fn members_of(&self, component: u32) -> impl Iterator<Item = usize> + '_ {
        (0..self.records.len()).filter(move |&index| self.component[index] == component)
    }

    /// Articulation points and bridges.
    pub(crate) fn cuts(&self, cache: &SharedCache) -> &Arc<Cuts> {
        self.cuts
            .get_or_init(|| Arc::new(Cuts::of(&self.graph(cache))))
    }
}

/// The same as `former` where it equals that.
fn shared<T: PartialEq>(list: Vec<T>, former: Option<&Arc<[T]>>) -> Arc<[T]> {
    match former {
        Some(former) if former[..] == list[..] => former.clone(),
        _ => list.into(),
    }
}

fn find(records: &[Arc<SignedRecord>], prefixes: &[u64], peer: PeerKey) -> Result<usize, usize> {
    let prefix = peer.prefix();
    search(prefixes.len(), prefix, |at| {
        let by_prefix = prefixes[at].cmp(&prefix);
        by_prefix.then_with(|| records[at].record.peer.cmp(&peer))
    })
}

fn components(graph: &LinkGraph, records: &[Arc<SignedRecord>]) -> (Vec<u32>, Vec<Component>) {
    let mut component = vec![u32::MAX; records.len()];
    let mut components = Vec::new();
    let mut stack = Vec::new();
    for start in graph.node_indices() {
        if component[start.index()] != u32::MAX {
            continue;
        }
        let label = components.len() as u32;
        let mut summary = Component::default();
        component[start.index()] = label;
        stack.push(start);
        while let Some(node) = stack.pop() {
            let record = &records[node.index()];
            summary.peers += 1;
            summary.hash = summary.hash.wrapping_add(record.shape);
            summary.who = summary.who.wrapping_add(record.ring);
            summary.agreed.take_in(record.record.algorithm);
            for next in graph.neighbors(node) {
                if component[next.index()] == u32::MAX {
                    component[next.index()] = label;
                    stack.push(next);
                }
            }
        }
        components.push(summary);
    }
    (component, components)
}

/// The part of a view that carries a group.
#[derive(Debug)]
pub(crate) struct GroupGraph {
    /// Hash of peers, roles, capacities, stated links and algorithm: equal hashes, equal trees.
    pub(crate) hash: u64,
    /// Its peers, ascending.
    pub(crate) keys: Vec<PeerKey>,
    /// What each is: `None` for a mere relay.
    pub(crate) roles: Vec<Option<Role>>,
    /// How many are members.
    pub(crate) members: usize,
    /// Its links.
    pub(crate) graph: Arc<LinkGraph>,
    /// Whether the members need relays: then this is the whole view.
    pub(crate) relayed: bool,
    /// How its trees are computed.
    algorithm: Algorithm,
}

impl GroupGraph {
    /// The graph of `group` in a component of `snapshot`: its members and senders, or, when they
    /// do not reach each other alone, the whole component.
    pub(crate) fn new(
        snapshot: &Snapshot,
        component: u32,
        group: &GroupName,
        cache: &SharedCache,
    ) -> Self {
        let sought = SoughtGroup::new(group);
        let role_of = |index: usize| {
            if group.is_broadcast() {
                return Some(Role::Member);
            }
            snapshot.records[index].role_in(&sought)
        };
        let everybody: Vec<usize> = snapshot.members_of(component).collect();
        let members: Vec<usize> = everybody
            .iter()
            .copied()
            .filter(|&index| role_of(index).is_some())
            .collect();
        let links = snapshot.graph(cache);
        let (mut indices, mut graph) = (members, None);
        if indices.len() < everybody.len() {
            let subgraph = induced(&links, &indices);
            graph = subgraph.is_connected().then(|| subgraph.into_graph());
        }
        let relayed = graph.is_none() && indices.len() < everybody.len();
        if relayed {
            indices = everybody;
        }
        let graph = match graph {
            Some(graph) => Arc::new(graph),
            // All that the snapshot shows.
            None if indices.len() == snapshot.records.len() => links,
            None => Arc::new(induced(&links, &indices).into_graph()),
        };
        let roles: Vec<Option<Role>> = indices.iter().map(|&index| role_of(index)).collect();
        let records = || indices.iter().map(|&index| &snapshot.records[index]);
        let algorithm = snapshot.summary(component).agreed.algorithm;
        let hash = records().zip(&roles).fold(
            u64::from(algorithm.version()) << 1 | u64::from(relayed),
            |hash, (record, role)| hash.wrapping_add(placed(record.place, *role)),
        );
        Self {
            hash,
            keys: records().map(|record| record.record.peer).collect(),
            members: roles
                .iter()
                .filter(|role| **role == Some(Role::Member))
                .count(),
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
        cache: &SharedCache,
        origin: NodeIndex,
        class: Class,
        redundancy: u8,
    ) -> Arc<Mesh> {
        cache.route(
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

fn induced(links: &LinkGraph, indices: &[usize]) -> Subgraph {
    let nodes = indices.iter().copied().map(NodeIndex::new);
    Subgraph::induced(links, nodes)
}

/// The hash of a place in the graph and of what its peer is in a group.
fn placed(place: u64, role: Option<Role>) -> u64 {
    let role = role.map_or(0, |role| 1 + role as u64);
    // The last steps of SplitMix64: sums of equal places in other roles are other sums.
    let mut mixed = place.wrapping_add(role.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// Names the graph of `group` in the component of `peer` in `snapshot`, made once.
pub(crate) fn group_graph(
    cache: &SharedCache,
    snapshot: &Snapshot,
    component: u32,
    id: GroupId,
    group: &GroupName,
) -> Arc<GroupGraph> {
    cache.graph((snapshot.hash, component, id), || {
        GroupGraph::new(snapshot, component, group, cache)
    })
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
