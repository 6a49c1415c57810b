//! Degrees and diameter of the mesh of links.

use petgraph::graph::NodeIndex;

use crate::graph::LinkGraph;

/// Degrees of a graph.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shape {
    /// Links per peer.
    pub degree_mean: f64,
    /// Links of the peer that has the most.
    pub degree_max: usize,
}

/// Counts links.
pub fn shape_of(graph: &LinkGraph) -> Shape {
    let peers = graph.node_count().max(1);
    let degrees = graph
        .node_indices()
        .map(|node| graph.neighbors(node).count());
    Shape {
        degree_mean: graph.edge_count() as f64 * 2.0 / peers as f64,
        degree_max: degrees.max().unwrap_or(0),
    }
}

/// Hops between the two peers that are furthest apart, over pairs that reach each other. Looks
/// from every peer: peers times links steps.
pub fn diameter_hops(graph: &LinkGraph) -> u32 {
    let mut diameter = 0;
    let mut seen_by = vec![NodeIndex::end(); graph.node_count()];
    let mut level = Vec::new();
    for start in graph.node_indices() {
        seen_by[start.index()] = start;
        level.push(start);
        let mut hops = 0;
        while !level.is_empty() {
            let mut next = Vec::new();
            for &node in &level {
                for neighbour in graph.neighbors(node) {
                    if seen_by[neighbour.index()] != start {
                        seen_by[neighbour.index()] = start;
                        next.push(neighbour);
                    }
                }
            }
            hops += u32::from(!next.is_empty());
            level = next;
        }
        diameter = diameter.max(hops);
    }
    diameter
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PeerNode;

    #[test]
    fn a_line_of_five() {
        let mut graph = LinkGraph::default();
        let peers: Vec<_> = (0..5)
            .map(|_| graph.add_node(PeerNode { capacity: 8 }))
            .collect();
        for ends in peers.windows(2) {
            graph.add_edge(ends[0], ends[1], 1);
        }
        assert_eq!(diameter_hops(&graph), 4);
        let shape = shape_of(&graph);
        assert_eq!(shape.degree_max, 2);
        assert!((shape.degree_mean - 1.6).abs() < 1e-9);
        assert_eq!(diameter_hops(&LinkGraph::default()), 0);
    }
}
