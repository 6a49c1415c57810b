//! Drawings of a graph: DOT for Graphviz, `GraphML` for yEd and Gephi, and a document for JSON.

use std::fmt::Write as _;

use petgraph::graph::NodeIndex;
use petgraph::visit::EdgeRef;
use serde::Serialize;

use crate::graph::LinkGraph;
use crate::mesh::Mesh;
use crate::tree::Tree;

/// What a link does in the highlighted overlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkRole {
    /// Carries nothing in it.
    Idle,
    /// Carries payload from a tree parent.
    Tree,
    /// Carries payload from an extra parent.
    Extra,
}

/// A graph ready to be drawn. Serialises as `{"peers": [{"id", "label", "origin"}], "links":
/// [{"from", "to", "weight_us", "role"}]}`; `from` feeds `to` where the role is not idle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Drawing {
    /// Peers in the order of the graph.
    pub peers: Vec<DrawnPeer>,
    /// Links by their ends.
    pub links: Vec<DrawnLink>,
}

/// A peer of a [`Drawing`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DrawnPeer {
    /// Index in the graph.
    pub id: usize,
    /// What to call it.
    pub label: String,
    /// Whether it is the origin of the highlighted overlay.
    pub origin: bool,
}

/// A link of a [`Drawing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DrawnLink {
    /// One end; the feeding one where the role is not idle.
    pub from: usize,
    /// The other end.
    pub to: usize,
    /// Weight in microseconds.
    pub weight_us: u32,
    /// What it does.
    pub role: LinkRole,
}

impl Drawing {
    /// The links alone.
    pub fn of_graph(graph: &LinkGraph, label: impl Fn(NodeIndex) -> String) -> Self {
        Self::new(graph, label, None, |_, _| LinkRole::Idle)
    }

    /// With a tree highlighted.
    pub fn of_tree(graph: &LinkGraph, tree: &Tree, label: impl Fn(NodeIndex) -> String) -> Self {
        Self::new(graph, label, Some(tree.origin()), |from, to| {
            if tree.parent(to) == Some(from) {
                LinkRole::Tree
            } else {
                LinkRole::Idle
            }
        })
    }

    /// With a mesh highlighted. Where both ends feed each other, the tree's direction is drawn.
    pub fn of_mesh(graph: &LinkGraph, mesh: &Mesh, label: impl Fn(NodeIndex) -> String) -> Self {
        Self::new(
            graph,
            label,
            Some(mesh.tree().origin()),
            |from, to| match mesh.parents(to).iter().position(|&parent| parent == from) {
                Some(0) => LinkRole::Tree,
                Some(_) => LinkRole::Extra,
                None => LinkRole::Idle,
            },
        )
    }

    fn new(
        graph: &LinkGraph,
        label: impl Fn(NodeIndex) -> String,
        origin: Option<NodeIndex>,
        role: impl Fn(NodeIndex, NodeIndex) -> LinkRole,
    ) -> Self {
        let peer = |node: NodeIndex| DrawnPeer {
            id: node.index(),
            label: label(node),
            origin: Some(node) == origin,
        };
        let link = |(a, b, weight_us): (NodeIndex, NodeIndex, u32)| {
            let drawn = |from: NodeIndex, to: NodeIndex, role| DrawnLink {
                from: from.index(),
                to: to.index(),
                weight_us,
                role,
            };
            match (role(a, b), role(b, a)) {
                (_, LinkRole::Tree) | (LinkRole::Idle, LinkRole::Extra) => drawn(b, a, role(b, a)),
                (forwards, _) => drawn(a, b, forwards),
            }
        };
        let mut links: Vec<_> = graph
            .edge_references()
            .map(|edge| {
                let (a, b) = (edge.source(), edge.target());
                (a.min(b), a.max(b), *edge.weight())
            })
            .collect();
        links.sort_unstable();
        Self {
            peers: graph.node_indices().map(peer).collect(),
            links: links.into_iter().map(link).collect(),
        }
    }

    /// Graphviz's DOT: `neato` or `sfdp` lay it out. The highlighted overlay is drawn in colour,
    /// with arrows.
    pub fn to_dot(&self) -> String {
        let mut dot = String::from("digraph overlay {\n  node [shape=ellipse];\n");
        for peer in &self.peers {
            let shape = if peer.origin {
                ", shape=doublecircle"
            } else {
                ""
            };
            // Writing to a string cannot fail.
            let _ = writeln!(
                dot,
                "  n{} [label={}{shape}];",
                peer.id,
                dot_quoted(&peer.label)
            );
        }
        for link in &self.links {
            let style = match link.role {
                LinkRole::Idle => "dir=none, color=gray80",
                LinkRole::Tree => "color=forestgreen, penwidth=2",
                LinkRole::Extra => "color=orange, style=dashed",
            };
            let weight_ms = f64::from(link.weight_us) / 1_000.0;
            let _ = writeln!(
                dot,
                "  n{} -> n{} [label=\"{weight_ms:.1}\", {style}];",
                link.from, link.to
            );
        }
        dot.push_str("}\n");
        dot
    }

    /// `GraphML` (<http://graphml.graphdrawing.org/>), with labels, weights and roles as data.
    pub fn to_graphml(&self) -> String {
        let mut xml = String::from(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <graphml xmlns=\"http://graphml.graphdrawing.org/xmlns\">\n\
             \x20 <key id=\"label\" for=\"node\" attr.name=\"label\" attr.type=\"string\"/>\n\
             \x20 <key id=\"origin\" for=\"node\" attr.name=\"origin\" attr.type=\"boolean\"/>\n\
             \x20 <key id=\"weight_us\" for=\"edge\" attr.name=\"weight_us\" attr.type=\"long\"/>\n\
             \x20 <key id=\"role\" for=\"edge\" attr.name=\"role\" attr.type=\"string\"/>\n\
             \x20 <graph id=\"overlay\" edgedefault=\"undirected\">\n",
        );
        for peer in &self.peers {
            let _ = writeln!(
                xml,
                "    <node id=\"n{}\"><data key=\"label\">{}</data><data key=\"origin\">{}</data></node>",
                peer.id,
                xml_escaped(&peer.label),
                peer.origin
            );
        }
        for link in &self.links {
            let (role, directed) = match link.role {
                LinkRole::Idle => ("idle", false),
                LinkRole::Tree => ("tree", true),
                LinkRole::Extra => ("extra", true),
            };
            let _ = writeln!(
                xml,
                "    <edge source=\"n{}\" target=\"n{}\" directed=\"{directed}\">\
                 <data key=\"weight_us\">{}</data><data key=\"role\">{role}</data></edge>",
                link.from, link.to, link.weight_us
            );
        }
        xml.push_str("  </graph>\n</graphml>\n");
        xml
    }
}

/// A quoted DOT string: inside, only quotes, backslashes (which DOT keeps for its own escapes) and
/// line ends need care.
fn dot_quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            control if control.is_control() => quoted.push('\u{FFFD}'),
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}

/// Character data of XML 1.0, in which most control characters cannot be written at all.
fn xml_escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\t' | '\n' => escaped.push(character),
            '\u{FFFE}' | '\u{FFFF}' => escaped.push('\u{FFFD}'),
            control if control.is_control() => escaped.push('\u{FFFD}'),
            plain => escaped.push(plain),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Class, PeerNode, redundant_mesh, shortest_path_tree};

    fn triangle() -> LinkGraph {
        let mut graph = LinkGraph::default();
        let peers: Vec<_> = (0..3)
            .map(|_| graph.add_node(PeerNode { capacity: 8 }))
            .collect();
        for (a, b, weight) in [(1, 0, 2_000), (1, 2, 3_000), (0, 2, 9_000)] {
            graph.add_edge(peers[a], peers[b], weight);
        }
        graph
    }

    #[test]
    fn a_mesh_in_dot_and_graphml() {
        let graph = triangle();
        let tree = shortest_path_tree(&graph, NodeIndex::new(0), Class::Normal);
        let mesh = redundant_mesh(&graph, tree, 2);
        let label = |node: NodeIndex| format!("a \"b\" <c> & \\ {}\u{7}", node.index());
        let drawing = Drawing::of_mesh(&graph, &mesh, label);
        let dot = drawing.to_dot();
        assert!(
            dot.contains("n0 [label=\"a \\\"b\\\" <c> & \\\\ 0\u{FFFD}\", shape=doublecircle];")
        );
        assert!(dot.contains("n0 -> n1 [label=\"2.0\", color=forestgreen"));
        assert!(dot.contains("n0 -> n2 [label=\"9.0\", color=orange"));
        let xml = drawing.to_graphml();
        assert!(xml.contains("a &quot;b&quot; &lt;c&gt; &amp; \\ 2\u{FFFD}</data>"));
        assert!(xml.contains("<edge source=\"n1\" target=\"n2\" directed=\"true\">"));
    }

    #[test]
    fn a_tree_as_json() {
        let graph = triangle();
        let tree = shortest_path_tree(&graph, NodeIndex::new(2), Class::Normal);
        let drawing = Drawing::of_tree(&graph, &tree, |node| node.index().to_string());
        let json = serde_json::to_value(&drawing).expect("a drawing serialises");
        assert_eq!(json["peers"][2]["origin"], true);
        let expected = serde_json::json!([
            { "from": 1, "to": 0, "weight_us": 2_000, "role": "tree" },
            { "from": 0, "to": 2, "weight_us": 9_000, "role": "idle" },
            { "from": 2, "to": 1, "weight_us": 3_000, "role": "tree" },
        ]);
        assert_eq!(json["links"], expected);
        assert_eq!(
            Drawing::of_graph(&graph, |_| String::new()).links[0].role,
            LinkRole::Idle
        );
    }
}
