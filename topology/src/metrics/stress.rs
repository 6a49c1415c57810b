//! What a tree costs the network below it.

use petgraph::graph::{NodeIndex, UnGraph};

use crate::graph::{LinkGraph, PeerNode};
use crate::tree::{Class, Tree, shortest_path_tree};

/// Copies of one message on the links of the underlay.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LinkStress {
    /// Over the links that carry any.
    pub mean: f64,
    /// On the busiest link.
    pub max: u32,
    /// Links that carry any.
    pub links_used: usize,
}

/// Stress that one message along `tree` puts on `underlay`, a graph of routers and hosts with
/// delays in microseconds. Every link of the overlay takes the underlay's shortest path between
/// the hosts that its ends are at: `host_of` by index of peer. Links whose ends have no host, or no
/// path, are left out.
pub fn link_stress(
    tree: &Tree,
    underlay: &UnGraph<(), u32>,
    host_of: impl Fn(NodeIndex) -> Option<NodeIndex>,
) -> LinkStress {
    let routed = LinkGraph::from_elements_of(underlay);
    let mut copies = vec![0u32; underlay.edge_count()];
    for &parent in tree.order() {
        if tree.children(parent).is_empty() {
            continue;
        }
        let Some(from) = host_of(parent) else {
            continue;
        };
        let routes = shortest_path_tree(&routed, from, Class::Normal);
        for &child in tree.children(parent) {
            let mut at = host_of(child);
            while let Some(node) = at {
                at = routes.parent(node);
                if let Some(edge) = at.and_then(|next| underlay.find_edge(node, next)) {
                    copies[edge.index()] += 1;
                }
            }
        }
    }
    let used = copies.iter().filter(|&&count| count > 0);
    let links_used = used.clone().count();
    LinkStress {
        mean: used.map(|&count| f64::from(count)).sum::<f64>() / links_used.max(1) as f64,
        max: copies.iter().copied().max().unwrap_or(0),
        links_used,
    }
}

/// The underlay as a graph that trees are computed on, everybody with room for everybody.
trait FromUnderlay {
    fn from_elements_of(underlay: &UnGraph<(), u32>) -> Self;
}

impl FromUnderlay for LinkGraph {
    fn from_elements_of(underlay: &UnGraph<(), u32>) -> Self {
        underlay.map(|_, ()| PeerNode { capacity: u16::MAX }, |_, &delay| delay)
    }
}

/// Sum of the weights of the tree's links in `graph`, in microseconds.
pub fn tree_cost_us(graph: &LinkGraph, tree: &Tree) -> u64 {
    let cost = |node: NodeIndex| {
        let parent = tree.parent(node)?;
        graph
            .edges_connecting(parent, node)
            .map(|edge| u64::from(*edge.weight()))
            .min()
    };
    tree.order().iter().filter_map(|&node| cost(node)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_children_behind_one_router_stress_the_shared_link() {
        // Hosts 0, 1, 2 at routers 3 and 4: 0 - 3 - 4 - {1, 2}.
        let mut underlay = UnGraph::<(), u32>::default();
        let nodes: Vec<_> = (0..5).map(|_| underlay.add_node(())).collect();
        for (a, b) in [(0, 3), (3, 4), (4, 1), (4, 2)] {
            underlay.add_edge(nodes[a], nodes[b], 1_000);
        }
        let mut graph = LinkGraph::default();
        let peers: Vec<_> = (0..3)
            .map(|_| graph.add_node(PeerNode { capacity: 8 }))
            .collect();
        graph.add_edge(peers[0], peers[1], 3_000);
        graph.add_edge(peers[0], peers[2], 3_000);
        graph.add_edge(peers[1], peers[2], 9_000);
        let tree = shortest_path_tree(&graph, peers[0], Class::Normal);
        let stress = link_stress(&tree, &underlay, Some);
        assert_eq!((stress.max, stress.links_used), (2, 4));
        assert!((stress.mean - 1.5).abs() < 1e-9);
        assert_eq!(tree_cost_us(&graph, &tree), 6_000);
    }
}
