//! Who plays which part in the overlay at this moment.

use super::Run;
use super::world::World;
use crate::scenario::Role;
use hedgerow_protocol::GroupName;
use hedgerow_topology::{Cuts, LinkGraph, PeerNode};
use std::collections::BTreeSet;

/// The graph of links among the running nodes, in the order of `nodes`.
pub(super) fn link_graph(world: &dyn World, nodes: &[usize]) -> LinkGraph {
    let mut graph = LinkGraph::default();
    let mut index = vec![None; world.len()];
    for &node in nodes {
        index[node] = Some(graph.add_node(PeerNode { capacity: 1 }));
    }
    for &node in nodes {
        for other in world.neighbours(node) {
            if let (true, Some(a), Some(b)) = (node < other, index[node], index[other]) {
                graph.update_edge(a, b, 1);
            }
        }
    }
    graph
}

impl Run<'_> {
    /// By node: which part of the network links join it with now. Nodes that do not run are each a
    /// part of their own.
    pub(super) fn parts_now(&self) -> Vec<usize> {
        let mut parts: Vec<usize> = (0..self.world.len()).collect();
        let alive = self.world.alive();
        let mut seen = vec![false; parts.len()];
        for &first in &alive {
            let mut open = vec![first];
            while let Some(node) = open.pop() {
                if std::mem::replace(&mut seen[node], true) {
                    continue;
                }
                parts[node] = first;
                let linked = self.world.neighbours(node).into_iter();
                open.extend(linked.filter(|&other| self.world.is_alive(other)));
            }
        }
        parts
    }

    /// Nodes with `role` now.
    pub(super) fn with_role(&self, role: Role) -> Vec<usize> {
        let alive = self.world.alive();
        let origin = self
            .cast
            .all_publishers()
            .find(|&node| self.world.is_alive(node));
        let origin = origin.or(alive.first().copied());
        match role {
            Role::Articulation => {
                let graph = link_graph(self.world.as_ref(), &alive);
                let cuts = Cuts::of(&graph);
                cuts.articulation_points()
                    .iter()
                    .map(|point| alive[point.index()])
                    .collect()
            }
            Role::NearestToOrigin => {
                let Some(origin) = origin else {
                    return Vec::new();
                };
                let mut near: Vec<usize> =
                    alive.into_iter().filter(|&node| node != origin).collect();
                near.sort_by_key(|&node| (self.world.direct(origin, node), node));
                near
            }
            Role::Relay | Role::Leaf => {
                let Some(origin) = origin else {
                    return Vec::new();
                };
                let parents = self.parents(origin);
                let wanted = role == Role::Relay;
                let fits = |node: &usize| parents.contains(node) == wanted && *node != origin;
                alive.into_iter().filter(fits).collect()
            }
        }
    }

    /// Nodes that have children in the overlay from `origin`, as it computes it.
    fn parents(&self, origin: usize) -> BTreeSet<usize> {
        let workload = self.scenario.file.workload.first();
        let group = workload.map_or(hedgerow_protocol::BROADCAST, |workload| &workload.group);
        let first = self
            .cast
            .groups_of(group)
            .next()
            .map(|group| group.name.clone());
        let name = first.or_else(|| GroupName::new(group).ok());
        let overlay = name.and_then(|name| self.world.overlay(origin, &name));
        let nodes = overlay.into_iter().flat_map(|overlay| overlay.nodes);
        nodes
            .flat_map(|node| node.parents)
            .filter_map(|peer| self.world.node_of(peer))
            .collect()
    }
}
