//! Shortest paths for what goes to one peer: the next hop of each relay, and the path as a whole.
//!
//! Unlike a tree these know no capacities: with them, a peer's next hop could be further from the
//! destination than the peer is, and frames could circle. Ties go by cost, then hops, then the lower
//! index at each hop, so the path that a sender computes is the one that its relays follow.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use petgraph::graph::NodeIndex;

use crate::adjacency::Adjacency;
use crate::graph::LinkGraph;

const NONE: u32 = u32::MAX;

/// Cost in microseconds and hops, in one number: the last bits are the hops. A path of more hops than
/// these hold only looks a microsecond longer.
const HOP_BITS: u32 = 16;
const FAR: u64 = u64::MAX;

fn hop(weight: u32) -> u64 {
    u64::from(weight) << HOP_BITS | 1
}

/// Peers and first links that paths must do without.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Without {
    /// No path leads over these peers, or to them.
    pub peers: Vec<NodeIndex>,
    /// From the peer itself no path begins with the link to one of these.
    pub first: Vec<NodeIndex>,
}

/// One peer's next hop to each other peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextHops(Box<[u32]>);

impl NextHops {
    /// The neighbour over which the shortest path to `to` begins; `None` where there is no path.
    pub fn towards(&self, to: NodeIndex) -> Option<NodeIndex> {
        let next = *self.0.get(to.index())?;
        (next != NONE).then(|| NodeIndex::new(next as usize))
    }
}

/// The next hops of the peer at `from`. `from` outside the graph reaches nobody.
pub fn next_hops(graph: &LinkGraph, from: NodeIndex, without: &Without) -> NextHops {
    let links = Adjacency::of(graph);
    let from = from.index() as u32;
    let mut next = vec![NONE; graph.node_count()];
    let lengths = lengths(&links, graph.node_count(), from, from, without);
    for &node in &lengths.order {
        // Of all shortest paths the one whose first hop is the lowest. Whoever is one hop nearer is
        // settled earlier.
        let via = lengths.before(&links, node, from, without);
        next[node as usize] = via
            .map(|before| match before {
                before if before == from => node,
                before => next[before as usize],
            })
            .min()
            .unwrap_or(NONE);
    }
    NextHops(next.into())
}

/// The shortest path from `from` to `to`, both ends included; empty where there is none. Each of its
/// peers has the one behind it as its next hop, as long as it holds the same graph.
pub fn shortest_path(
    graph: &LinkGraph,
    from: NodeIndex,
    to: NodeIndex,
    without: &Without,
) -> Vec<NodeIndex> {
    let links = Adjacency::of(graph);
    let (from, to) = (from.index() as u32, to.index() as u32);
    let lengths = lengths(&links, graph.node_count(), to, from, without);
    if lengths.of.get(from as usize).is_none_or(|&it| it == FAR) {
        return Vec::new();
    }
    let mut path = vec![NodeIndex::new(from as usize)];
    let mut at = from;
    while at != to {
        let Some(next) = lengths.before(&links, at, from, without).min() else {
            return Vec::new();
        };
        at = next;
        path.push(NodeIndex::new(at as usize));
    }
    path
}

/// How far all peers are from one.
struct Lengths {
    of: Vec<u64>,
    /// Those that are reached, nearest first, without the one itself.
    order: Vec<u32>,
}

impl Lengths {
    /// The neighbours over which shortest paths to `node` come.
    fn before<'a>(
        &'a self,
        links: &'a Adjacency,
        node: u32,
        sender: u32,
        without: &'a Without,
    ) -> impl Iterator<Item = u32> + 'a {
        let length = self.of[node as usize];
        let ends = links.of_node(node as usize).iter();
        ends.filter(move |&&(other, weight)| {
            let before = self.of[other as usize];
            before != FAR
                && before.saturating_add(hop(weight)) == length
                && may_use(sender, node, other, without)
        })
        .map(|&(other, _)| other)
    }
}

/// Whether paths of `sender` may lead over the link between two peers.
fn may_use(sender: u32, one: u32, other: u32, without: &Without) -> bool {
    let is_first =
        |a: u32, b: u32| a == sender && without.first.iter().any(|node| node.index() as u32 == b);
    !is_first(one, other) && !is_first(other, one)
}

/// Dijkstra (1959) from `root`, for paths that begin or end at `sender`.
fn lengths(links: &Adjacency, nodes: usize, root: u32, sender: u32, without: &Without) -> Lengths {
    let mut of = vec![FAR; nodes];
    let mut order = Vec::with_capacity(nodes);
    let mut is_out = vec![false; nodes];
    for node in &without.peers {
        if let Some(is_out) = is_out.get_mut(node.index()) {
            *is_out = true;
        }
    }
    let mut heap = BinaryHeap::new();
    if is_out.get(root as usize) == Some(&false) {
        of[root as usize] = 0;
        heap.push(Reverse((0, root)));
    }
    while let Some(Reverse((length, node))) = heap.pop() {
        if length != of[node as usize] {
            continue;
        }
        if node != root {
            order.push(node);
        }
        for &(other, weight) in links.of_node(node as usize) {
            let longer = length.saturating_add(hop(weight));
            let place = other as usize;
            if longer < of[place] && !is_out[place] && may_use(sender, node, other, without) {
                of[place] = longer;
                heap.push(Reverse((longer, other)));
            }
        }
    }
    Lengths { of, order }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::PeerNode;
    use proptest::prelude::*;

    fn graph(nodes: usize, links: &[(usize, usize, u32)]) -> LinkGraph {
        let mut graph = LinkGraph::default();
        for _ in 0..nodes {
            graph.add_node(PeerNode { capacity: 4 });
        }
        for &(a, b, weight) in links {
            graph.update_edge(NodeIndex::new(a), NodeIndex::new(b), weight);
        }
        graph
    }

    fn node(index: usize) -> NodeIndex {
        NodeIndex::new(index)
    }

    fn indices(path: &[NodeIndex]) -> Vec<usize> {
        path.iter().map(|node| node.index()).collect()
    }

    #[test]
    fn the_cheapest_path_wins_then_fewer_hops_then_the_lower_index() {
        let square = graph(4, &[(0, 1, 10), (1, 3, 10), (0, 2, 10), (2, 3, 10)]);
        let all = Without::default();
        let path = |graph: &LinkGraph| indices(&shortest_path(graph, node(0), node(3), &all));
        assert_eq!(path(&square), [0, 1, 3]);
        let mut cheaper = square.clone();
        cheaper.update_edge(node(2), node(3), 9);
        assert_eq!(path(&cheaper), [0, 2, 3]);
        let mut direct = square;
        direct.update_edge(node(0), node(3), 20);
        assert_eq!(path(&direct), [0, 3]);
    }

    #[test]
    fn what_is_left_out_is_not_used() {
        let square = graph(4, &[(0, 1, 10), (1, 3, 10), (0, 2, 90), (2, 3, 90)]);
        let mut without = Without {
            peers: vec![node(1)],
            first: Vec::new(),
        };
        let path = |without: &Without| indices(&shortest_path(&square, node(0), node(3), without));
        assert_eq!(path(&without), [0, 2, 3]);
        without.first = vec![node(2)];
        assert_eq!(path(&without), [0; 0]);
        let first = Without {
            peers: Vec::new(),
            first: vec![node(1)],
        };
        assert_eq!(path(&first), [0, 2, 3]);
        let hops = next_hops(&square, node(0), &first);
        assert_eq!(
            hops.towards(node(1)),
            Some(node(2)),
            "not over its own link"
        );
        assert_eq!(hops.towards(node(0)), None);
        assert_eq!(hops.towards(node(9)), None);
    }

    /// A connected graph of few different weights, so that many paths are equally long.
    fn connected() -> impl Strategy<Value = LinkGraph> {
        (2_usize..14).prop_flat_map(|nodes| {
            let tree = prop::collection::vec((any::<prop::sample::Index>(), 1_u32..4), nodes - 1);
            let more = prop::collection::vec((0..nodes, 0..nodes, 1_u32..4), 0..2 * nodes);
            (tree, more).prop_map(move |(tree, more)| {
                let tree = tree.iter().enumerate();
                let tree = tree.map(|(at, (to, weight))| (at + 1, to.index(at + 1), *weight));
                let more = more.into_iter().filter(|(a, b, _)| a != b);
                graph(nodes, &tree.chain(more).collect::<Vec<_>>())
            })
        })
    }

    proptest! {
        #[test]
        fn relays_follow_the_path_that_the_sender_computes(
            graph in connected(),
            ends in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
            left_out in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        ) {
            let nodes = graph.node_count();
            let (from, to) = (node(ends.0.index(nodes)), node(ends.1.index(nodes)));
            let peers = left_out.iter().map(|index| node(index.index(nodes)));
            let peers = peers.filter(|peer| ![from, to].contains(peer)).collect();
            let without = Without { peers, first: Vec::new() };
            let path = shortest_path(&graph, from, to, &without);
            prop_assume!(from != to);
            let mut followed = vec![from];
            while let Some(&at) = followed.last().filter(|at| **at != to) {
                prop_assert!(followed.len() <= nodes, "it ends");
                let Some(next) = next_hops(&graph, at, &without).towards(to) else {
                    break;
                };
                followed.push(next);
            }
            if path.is_empty() {
                prop_assert_eq!(followed, [from], "whom nobody reaches");
            } else {
                prop_assert_eq!(followed, path);
            }
        }
    }
}
