//! The graph that everything here works on: peers and the links that both ends state.

use petgraph::graph::UnGraph;
use petgraph::unionfind::UnionFind;

/// What a tree needs to know of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerNode {
    /// Children that the peer can feed. Soft: see [`crate::shortest_path_tree`].
    pub capacity: u16,
}

/// Peers in ascending order of key (so that ties by index are ties by key on every machine) and
/// their two-way links. An edge weighs what one hop over it takes, in microseconds: see
/// [`link_weight_us`].
pub type LinkGraph = UnGraph<PeerNode, u32>;

/// What a hop costs beside the time on the wire, in microseconds: reading, checking, forwarding.
pub const HOP_US: u32 = 1_000;

/// An edge's weight from what both ends measured: half of the larger round-trip time and
/// [`HOP_US`]. The larger, so that an end which understates its links attracts nobody.
pub fn link_weight_us(rtt_us: u32, rtt_us_other_end: u32) -> u32 {
    (rtt_us.max(rtt_us_other_end) / 2).saturating_add(HOP_US)
}

/// Whether every peer reaches every other. An empty graph is connected.
pub fn is_connected(graph: &LinkGraph) -> bool {
    let mut sets = UnionFind::<u32>::new(graph.node_count());
    let joined = graph
        .raw_edges()
        .iter()
        .filter(|edge| sets.union(edge.source().index() as u32, edge.target().index() as u32))
        .count();
    graph.node_count() <= joined + 1
}
