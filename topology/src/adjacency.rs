//! A graph laid out for a walk over all of it.

use crate::graph::LinkGraph;

/// A graph's links peer by peer. A graph that was last looked at long ago is not in the processor's
/// caches: here it is read once from one end to the other, and not peer by peer across memory.
pub(crate) struct Adjacency {
    /// `ends[first[n]..first[n + 1]]` are those of `n`: the other end, and the weight.
    first: Vec<u32>,
    ends: Vec<(u32, u32)>,
}

impl Adjacency {
    pub(crate) fn of(graph: &LinkGraph) -> Self {
        let mut first = vec![0; graph.node_count() + 1];
        for edge in graph.raw_edges() {
            first[edge.source().index() + 1] += 1;
            first[edge.target().index() + 1] += 1;
        }
        for node in 1..first.len() {
            first[node] += first[node - 1];
        }
        let mut place = first.clone();
        let mut ends = vec![(0, 0); graph.edge_count() * 2];
        for edge in graph.raw_edges() {
            let (source, target) = (edge.source().index(), edge.target().index());
            for (from, to) in [(source, target), (target, source)] {
                ends[place[from] as usize] = (to as u32, edge.weight);
                place[from] += 1;
            }
        }
        Self { first, ends }
    }

    /// The links of a peer: the other end, and the weight.
    pub(crate) fn of_node(&self, node: usize) -> &[(u32, u32)] {
        &self.ends[self.first[node] as usize..self.first[node + 1] as usize]
    }
}
