//! The part of the view that a group's members are, and the way back to the whole.

use petgraph::graph::NodeIndex;
use petgraph::visit::EdgeRef;

use crate::graph::{self, LinkGraph};

/// A set of peers cut out of a whole graph, with all links between them. Order of keys is kept,
/// so ties break alike in both.
#[derive(Clone, Debug)]
pub struct Subgraph {
    graph: LinkGraph,
    to_whole: Vec<NodeIndex>,
    from_whole: Vec<Option<NodeIndex>>,
}

impl Subgraph {
    /// The subgraph that `members` induce. Their order and repetitions do not matter; indices
    /// outside `whole` are ignored.
    pub fn induced(whole: &LinkGraph, members: impl IntoIterator<Item = NodeIndex>) -> Self {
        let mut is_member = vec![false; whole.node_count()];
        for member in members {
            if let Some(flag) = is_member.get_mut(member.index()) {
                *flag = true;
            }
        }
        let to_whole: Vec<NodeIndex> = whole
            .node_indices()
            .filter(|node| is_member[node.index()])
            .collect();
        let is_inside = |node: NodeIndex| is_member[node.index()];
        let inner = whole.raw_edges().iter();
        let inner = inner.filter(|edge| is_inside(edge.source()) && is_inside(edge.target()));
        let mut graph = LinkGraph::with_capacity(to_whole.len(), inner.count());
        let mut from_whole = vec![None; whole.node_count()];
        for &node in &to_whole {
            from_whole[node.index()] = Some(graph.add_node(whole[node]));
        }
        for edge in whole.edge_references() {
            let ends = (
                from_whole[edge.source().index()],
                from_whole[edge.target().index()],
            );
            if let (Some(source), Some(target)) = ends {
                graph.add_edge(source, target, *edge.weight());
            }
        }
        Self {
            graph,
            to_whole,
            from_whole,
        }
    }

    /// The members and the links between them.
    pub fn graph(&self) -> &LinkGraph {
        &self.graph
    }

    /// The members and the links between them, and nothing else.
    pub fn into_graph(self) -> LinkGraph {
        self.graph
    }

    /// Where a member stands in the whole graph. Panics on an index that is not of this subgraph.
    pub fn to_whole(&self, node: NodeIndex) -> NodeIndex {
        self.to_whole[node.index()]
    }

    /// Where a peer of the whole graph stands here, if it is a member.
    pub fn from_whole(&self, node: NodeIndex) -> Option<NodeIndex> {
        self.from_whole.get(node.index()).copied().flatten()
    }

    /// Whether the members reach each other without anybody else's help.
    pub fn is_connected(&self) -> bool {
        graph::is_connected(&self.graph)
    }
}

/// The peers that `node` reaches, itself included, ascending. Empty for an index outside the graph.
pub fn component_of(graph: &LinkGraph, node: NodeIndex) -> Vec<NodeIndex> {
    if node.index() >= graph.node_count() {
        return Vec::new();
    }
    let mut seen = vec![false; graph.node_count()];
    seen[node.index()] = true;
    let mut component = vec![node];
    let mut next = 0;
    while next < component.len() {
        for neighbour in graph.neighbors(component[next]) {
            if !seen[neighbour.index()] {
                seen[neighbour.index()] = true;
                component.push(neighbour);
            }
        }
        next += 1;
    }
    component.sort_unstable();
    component
}
