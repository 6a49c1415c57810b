//! What becomes of a message that is flooded along a mesh: who gets it when, and how many copies.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use petgraph::graph::NodeIndex;

use crate::graph::LinkGraph;
use crate::mesh::Mesh;

/// The fate of one message without any repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// When the first copy arrived, in microseconds after publication, by peer; the origin at 0.
    pub at_us: Vec<Option<u64>>,
    /// Hops that the first copy took, by peer; 0 where none arrived.
    pub hops: Vec<u32>,
    /// Payload copies received by living peers.
    pub copies: u64,
    /// Living peers that have it, the origin included.
    pub reached: usize,
}

impl Delivery {
    /// Relative message redundancy: `copies / (reached - 1) - 1`; 0 where nobody else was reached.
    pub fn rmr(&self) -> f64 {
        if self.reached < 2 {
            return 0.0;
        }
        self.copies as f64 / (self.reached - 1) as f64 - 1.0
    }

    /// Last delivery hop: the hops that the copy which arrived last as a first copy took.
    pub fn last_delivery_hop(&self) -> u32 {
        let arrivals = self.at_us.iter().zip(&self.hops);
        arrivals
            .filter_map(|(at, &hops)| at.map(|at| (at, hops)))
            .max()
            .map_or(0, |(_, hops)| hops)
    }

    /// The most hops that any first copy took.
    pub fn hops_max(&self) -> u32 {
        self.hops.iter().copied().max().unwrap_or(0)
    }
}

/// Floods a message along `mesh`, each link taking its weight in `graph`; every peer pushes its
/// first copy to all its children, except back to whom it came from. `is_dead` peers take what is
/// sent to them and say nothing. The origin lives.
pub fn deliver(graph: &LinkGraph, mesh: &Mesh, is_dead: impl Fn(NodeIndex) -> bool) -> Delivery {
    let nodes = graph.node_count();
    let origin = mesh.tree().origin();
    let mut delivery = Delivery {
        at_us: vec![None; nodes],
        hops: vec![0; nodes],
        copies: 0,
        reached: 0,
    };
    if !mesh.tree().contains(origin) {
        return delivery;
    }
    // (arrival, hops, receiver, sender)
    let mut heap = BinaryHeap::from([Reverse((0u64, 0u32, origin, origin))]);
    while let Some(Reverse((at, hops, node, sender))) = heap.pop() {
        delivery.copies += u64::from(node != origin || hops > 0);
        if delivery.at_us[node.index()].is_some() {
            continue;
        }
        delivery.at_us[node.index()] = Some(at);
        delivery.hops[node.index()] = hops;
        delivery.reached += 1;
        for &child in mesh.children(node).iter().chain(mesh.extra_children(node)) {
            if child == sender || is_dead(child) {
                continue;
            }
            if let Some(edge) = graph.find_edge(node, child) {
                heap.push(Reverse((
                    at + u64::from(graph[edge]),
                    hops + 1,
                    child,
                    node,
                )));
            }
        }
    }
    delivery
}

/// One receiver of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// From publication to delivery, in microseconds.
    pub delivery_us: u64,
    /// Direct one-way delay from the origin, in microseconds.
    pub direct_us: u64,
}

/// Stretch over many messages.
#[derive(Clone, Debug, Default)]
pub struct StretchTotal {
    delivery_us: f64,
    direct_us: f64,
    last: Vec<f64>,
    ratios: Vec<f64>,
}

impl StretchTotal {
    /// Takes all receivers of one message, the origin not among them. Receivers at no distance
    /// have no ratio and count in the means only.
    pub fn add_message(&mut self, pairs: &[Pair]) {
        for pair in pairs {
            self.delivery_us += pair.delivery_us as f64;
            self.direct_us += pair.direct_us as f64;
        }
        let apart = pairs.iter().filter(|pair| pair.direct_us > 0);
        self.ratios
            .extend(apart.map(|pair| pair.delivery_us as f64 / pair.direct_us as f64));
        let last = pairs.iter().map(|pair| pair.delivery_us).max().unwrap_or(0);
        let farthest = pairs.iter().map(|pair| pair.direct_us).max().unwrap_or(0);
        if farthest > 0 {
            self.last.push(last as f64 / farthest as f64);
        }
    }

    /// Mean delivery delay over mean direct delay, all pairs of all messages.
    pub fn mean(&self) -> f64 {
        if self.direct_us > 0.0 {
            self.delivery_us / self.direct_us
        } else {
            0.0
        }
    }

    /// Delay of a message's last receiver over the direct delay of its farthest one, mean over
    /// messages.
    pub fn last(&self) -> f64 {
        self.last.iter().sum::<f64>() / (self.last.len() as f64).max(1.0)
    }

    /// Median of the pairs' own ratios (relative delay penalty).
    pub fn rdp_median(&self) -> f64 {
        let mut ratios = self.ratios.clone();
        ratios.sort_unstable_by(f64::total_cmp);
        let middle = ratios.len() / 2;
        match ratios.len() {
            0 => 0.0,
            count if count % 2 == 0 => f64::midpoint(ratios[middle - 1], ratios[middle]),
            _ => ratios[middle],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Class, PeerNode, redundant_mesh, shortest_path_tree};

    fn square() -> LinkGraph {
        let mut graph = LinkGraph::default();
        let peers: Vec<_> = (0..4)
            .map(|_| graph.add_node(PeerNode { capacity: 8 }))
            .collect();
        for (a, b, weight) in [(0, 1, 10), (1, 2, 10), (2, 3, 10), (3, 0, 25)] {
            graph.add_edge(peers[a], peers[b], weight);
        }
        graph
    }

    #[test]
    fn a_flood_counts_copies_and_takes_the_first() {
        let graph = square();
        let origin = NodeIndex::new(0);
        let tree = shortest_path_tree(&graph, origin, Class::Normal);
        let mesh = redundant_mesh(&graph, tree.clone(), 1);
        let plain = deliver(&graph, &mesh, |_| false);
        assert_eq!(plain.at_us, [Some(0), Some(10), Some(20), Some(25)]);
        assert_eq!(
            (plain.copies, plain.reached, plain.last_delivery_hop()),
            (3, 4, 1)
        );
        assert!(plain.rmr().abs() < 1e-9);

        let mesh = redundant_mesh(&graph, tree, 2);
        let lossy = deliver(&graph, &mesh, |node| node.index() == 1);
        assert_eq!(lossy.at_us, [Some(0), None, Some(35), Some(25)]);
        assert_eq!(lossy.hops_max(), 2);
    }

    #[test]
    fn stretch_by_hand() {
        let mut total = StretchTotal::default();
        let pair = |delivery_us, direct_us| Pair {
            delivery_us,
            direct_us,
        };
        total.add_message(&[pair(10, 10), pair(30, 20), pair(40, 10)]);
        assert!((total.mean() - 2.0).abs() < 1e-9);
        assert!((total.last() - 2.0).abs() < 1e-9);
        assert!((total.rdp_median() - 1.5).abs() < 1e-9);
        assert!(StretchTotal::default().mean().abs() < 1e-9);
    }
}
