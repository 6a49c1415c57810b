//! Where a view is thin: peers and links whose loss would part it.

use petgraph::algo::articulation_points::articulation_points;
use petgraph::algo::bridges;
use petgraph::graph::NodeIndex;
use petgraph::visit::EdgeRef;

use crate::graph::LinkGraph;

/// Articulation points (peers whose loss parts their component) and bridges (links whose loss
/// does). Tarjan, "Depth-first search and linear graph algorithms", 1972.
///
/// The same for everybody who holds the same view, so compute it once per view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cuts {
    articulation_points: Vec<NodeIndex>,
    /// Ends in ascending order.
    bridges: Vec<(NodeIndex, NodeIndex)>,
}

impl Cuts {
    /// Finds the cuts of every component of `graph`.
    pub fn of(graph: &LinkGraph) -> Self {
        // Both algorithms answer in no particular order.
        let mut points: Vec<NodeIndex> = articulation_points(graph).into_iter().collect();
        points.sort_unstable();
        let mut bridges: Vec<_> = bridges(graph)
            .map(|edge| {
                let (a, b) = (edge.source(), edge.target());
                (a.min(b), a.max(b))
            })
            .collect();
        bridges.sort_unstable();
        Self {
            articulation_points: points,
            bridges,
        }
    }

    /// Peers whose loss parts their component, ascending.
    pub fn articulation_points(&self) -> &[NodeIndex] {
        &self.articulation_points
    }

    /// Links whose loss parts their component: (lower end, higher end), ascending.
    pub fn bridges(&self) -> &[(NodeIndex, NodeIndex)] {
        &self.bridges
    }

    /// Whether the loss of `node` parts its component.
    pub fn is_articulation_point(&self, node: NodeIndex) -> bool {
        self.articulation_points.binary_search(&node).is_ok()
    }

    /// Whether the loss of the link between the two parts its component.
    pub fn is_bridge(&self, a: NodeIndex, b: NodeIndex) -> bool {
        self.bridges.binary_search(&(a.min(b), a.max(b))).is_ok()
    }
}
