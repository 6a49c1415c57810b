//! Properties of trees and meshes on arbitrary graphs.

use hedgerow_topology::petgraph::algo::articulation_points::articulation_points;
use hedgerow_topology::petgraph::algo::dijkstra;
use hedgerow_topology::petgraph::graph::NodeIndex;
use hedgerow_topology::{
    Class, LinkGraph, Mesh, PeerNode, Subgraph, Tree, component_of, is_connected, redundant_mesh,
    relay_tree, shortest_path_tree,
};
use proptest::prelude::*;

/// Any simple graph: few weights, so that ties are common; small capacities, so that they bind.
fn any_graph(peers_max: usize) -> impl Strategy<Value = LinkGraph> {
    (1..=peers_max).prop_flat_map(|peers| {
        let capacities = prop::collection::vec(0u16..6, peers);
        let links = prop::collection::vec((0..peers, 0..peers, 1u32..9), 0..peers * 4);
        (capacities, links).prop_map(|(capacities, links)| {
            let mut graph = LinkGraph::default();
            for capacity in capacities {
                graph.add_node(PeerNode { capacity });
            }
            for (a, b, weight) in links {
                let (a, b) = (NodeIndex::new(a), NodeIndex::new(b));
                if a != b && !graph.contains_edge(a, b) {
                    graph.add_edge(a, b, weight * 1_000);
                }
            }
            graph
        })
    })
}

/// A graph without articulation points: a ring and chords.
fn biconnected_graph() -> impl Strategy<Value = LinkGraph> {
    (3usize..60, 0usize..60).prop_flat_map(|(peers, chords)| {
        let ring = prop::collection::vec(1u32..20, peers);
        let chords = prop::collection::vec((0..peers, 0..peers, 1u32..20), chords);
        (ring, chords, 1u16..5).prop_map(move |(ring, chords, capacity)| {
            let mut graph = LinkGraph::default();
            for _ in 0..peers {
                graph.add_node(PeerNode { capacity });
            }
            // A stride coprime to the size, so that neighbours on the ring are not neighbours by key.
            let step = if peers % 7 == 0 { 1 } else { 7 };
            let place = |index: usize| NodeIndex::new(index * step % peers);
            let links = ring
                .iter()
                .enumerate()
                .map(|(i, &weight)| (place(i), place(i + 1), weight));
            let chords = chords
                .iter()
                .map(|&(a, b, weight)| (place(a), place(b), weight));
            for (a, b, weight) in links.chain(chords) {
                if a != b && !graph.contains_edge(a, b) {
                    graph.add_edge(a, b, weight * 1_000);
                }
            }
            graph
        })
    })
}

fn check_tree(graph: &LinkGraph, tree: &Tree, origin: NodeIndex) {
    let mut reached = vec![false; graph.node_count()];
    for &node in tree.order() {
        match tree.parent(node) {
            None => assert_eq!(node, origin),
            Some(parent) => {
                assert!(
                    reached[parent.index()],
                    "parents come first, so there is no loop"
                );
                let edge = graph.find_edge(parent, node).expect("tree links are links");
                let delay = tree.delay_us(parent).unwrap() + u64::from(graph[edge]);
                assert_eq!(tree.delay_us(node), Some(delay));
                assert_eq!(tree.depth(node), tree.depth(parent).map(|depth| depth + 1));
                assert!(tree.children(parent).contains(&node));
            }
        }
        assert!(tree.contains(node));
        assert!(tree.children(node).is_sorted());
        reached[node.index()] = true;
    }
    let children: usize = graph
        .node_indices()
        .map(|node| tree.children(node).len())
        .sum();
    assert_eq!(children + 1, tree.order().len());
}

/// Floods from the origin along the mesh while `dead` forwards nothing; returns who is reached.
fn flood(mesh: &Mesh, peers: usize, dead: NodeIndex) -> Vec<NodeIndex> {
    let mut seen = vec![false; peers];
    let mut stack = vec![mesh.tree().origin()];
    seen[mesh.tree().origin().index()] = true;
    let mut reached = Vec::new();
    while let Some(node) = stack.pop() {
        reached.push(node);
        for &child in mesh.children(node).iter().chain(mesh.extra_children(node)) {
            assert!(mesh.parents(child).contains(&node));
            if child != dead && !seen[child.index()] {
                seen[child.index()] = true;
                stack.push(child);
            }
        }
    }
    reached.sort_unstable();
    reached
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_tree_spans_the_component_of_its_origin(graph in any_graph(40), bulk: bool) {
        let class = if bulk { Class::Bulk } else { Class::Normal };
        for origin in graph.node_indices() {
            let tree = shortest_path_tree(&graph, origin, class);
            check_tree(&graph, &tree, origin);
            let mut contained = tree.order().to_vec();
            contained.sort_unstable();
            prop_assert_eq!(contained, component_of(&graph, origin));
        }
    }

    #[test]
    fn with_room_everywhere_paths_are_shortest(mut graph in any_graph(40)) {
        for node in graph.node_weights_mut() {
            node.capacity = u16::MAX;
        }
        let origin = NodeIndex::new(0);
        let tree = shortest_path_tree(&graph, origin, Class::Normal);
        let expected = dijkstra(&graph, origin, None, |edge| u64::from(*edge.weight()));
        for node in graph.node_indices() {
            prop_assert_eq!(tree.delay_us(node), expected.get(&node).copied());
        }
    }

    #[test]
    fn a_peer_is_loaded_beyond_its_room_only_where_none_has_room(graph in any_graph(30)) {
        // Whoever hangs on an overloaded peer had no neighbour outside its own subtree with room
        // left when the tree was done, unless that one joined later through it. Where most say
        // that they feed nobody, they all count as feeding two.
        let leaves = graph.node_weights().filter(|peer| peer.capacity == 0).count();
        let least = if leaves * 2 > graph.node_count() { 2 } else { 0 };
        let capacity = |node: NodeIndex| usize::from(graph[node].capacity.max(least));
        let tree = shortest_path_tree(&graph, NodeIndex::new(0), Class::Normal);
        let room = |node: NodeIndex| {
            capacity(node).saturating_sub(tree.children(node).len())
        };
        for &node in &tree.order()[1..] {
            let parent = tree.parent(node).unwrap();
            if tree.children(parent).len() <= capacity(parent) {
                continue;
            }
            let place = |of: NodeIndex| tree.order().iter().position(|&node| node == of).unwrap();
            let last = tree.children(parent).iter().map(|&child| place(child)).max().unwrap();
            if place(node) == last {
                let had_room = graph
                    .neighbors(node)
                    .filter(|&other| tree.contains(other) && place(other) < last)
                    .any(|other| room(other) > 0);
                prop_assert!(!had_room);
            }
        }
    }

    #[test]
    fn no_single_death_cuts_off_a_biconnected_mesh(graph in biconnected_graph(), k in 2u8..4, bulk: bool) {
        prop_assert!(articulation_points(&graph).is_empty());
        let class = if bulk { Class::Bulk } else { Class::Normal };
        for origin in graph.node_indices().take(6) {
            let mesh = redundant_mesh(&graph, shortest_path_tree(&graph, origin, class), k);
            let copies: usize = graph.node_indices().map(|node| mesh.parents(node).len()).sum();
            prop_assert!(copies <= (graph.node_count() - 1) * usize::from(k));
            for dead in graph.node_indices().filter(|&dead| dead != origin) {
                prop_assert_eq!(flood(&mesh, graph.node_count(), dead).len(), graph.node_count() - 1);
            }
        }
    }

    #[test]
    fn a_death_cuts_off_only_whom_the_graph_cannot_reach(graph in any_graph(25)) {
        let origin = NodeIndex::new(0);
        let mesh = redundant_mesh(&graph, shortest_path_tree(&graph, origin, Class::Normal), 2);
        for dead in graph.node_indices().skip(1) {
            let mut rest = graph.clone();
            rest.retain_edges(|graph, edge| {
                let (a, b) = graph.edge_endpoints(edge).unwrap();
                a != dead && b != dead
            });
            prop_assert_eq!(flood(&mesh, graph.node_count(), dead), component_of(&rest, origin));
        }
    }

    #[test]
    fn parents_are_distinct_neighbours_and_the_tree_parent_comes_first(graph in any_graph(30), k in 0u8..5) {
        let tree = shortest_path_tree(&graph, NodeIndex::new(0), Class::Normal);
        let mesh = redundant_mesh(&graph, tree.clone(), k);
        prop_assert_eq!(mesh.tree(), &tree);
        for node in graph.node_indices() {
            let parents = mesh.parents(node);
            prop_assert!(parents.len() <= usize::from(k.max(1)));
            prop_assert_eq!(parents.first().copied(), tree.parent(node));
            for (place, &parent) in parents.iter().enumerate() {
                prop_assert!(graph.contains_edge(parent, node));
                prop_assert!(tree.contains(parent));
                prop_assert!(!parents[..place].contains(&parent));
                let fed = if place == 0 { mesh.children(parent) } else { mesh.extra_children(parent) };
                prop_assert!(fed.contains(&node));
            }
        }
    }

    #[test]
    fn a_relay_tree_reaches_members_and_ends_at_members(graph in any_graph(40), draw: u64) {
        let origin = NodeIndex::new(0);
        let members: Vec<NodeIndex> =
            graph.node_indices().filter(|node| draw >> (node.index() % 64) & 1 == 1).collect();
        let tree = relay_tree(&graph, members.iter().copied(), origin, Class::Normal);
        check_tree(&graph, &tree, origin);
        let component = component_of(&graph, origin);
        for member in &members {
            prop_assert_eq!(tree.contains(*member), component.contains(member));
        }
        for &node in tree.order() {
            let ends_here = tree.children(node).is_empty() && node != origin;
            prop_assert!(!ends_here || members.contains(&node));
        }
        let mesh = redundant_mesh(&graph, tree, 2);
        let nobody = NodeIndex::end();
        prop_assert_eq!(flood(&mesh, graph.node_count(), nobody).len(), mesh.tree().order().len());
    }

    #[test]
    fn a_subgraph_keeps_order_and_links(graph in any_graph(30), draw: u64) {
        let members = graph.node_indices().filter(|node| draw >> (node.index() % 64) & 1 == 1);
        let part = Subgraph::induced(&graph, members.clone());
        prop_assert_eq!(part.graph().node_count(), members.count());
        for node in part.graph().node_indices() {
            prop_assert_eq!(part.from_whole(part.to_whole(node)), Some(node));
        }
        for a in graph.node_indices() {
            for b in graph.node_indices() {
                if let (Some(x), Some(y)) = (part.from_whole(a), part.from_whole(b)) {
                    prop_assert_eq!(a.cmp(&b), x.cmp(&y));
                    let weight = part.graph().find_edge(x, y).map(|edge| part.graph()[edge]);
                    prop_assert_eq!(weight, graph.find_edge(a, b).map(|edge| graph[edge]));
                }
            }
        }
        let connected = component_of(part.graph(), NodeIndex::new(0)).len() == part.graph().node_count();
        prop_assert_eq!(part.is_connected(), connected);
        prop_assert_eq!(part.is_connected(), is_connected(part.graph()));
    }
}

#[test]
fn ties_go_to_fewer_hops_then_to_the_lower_index() {
    let mut graph = LinkGraph::default();
    let peers: Vec<_> = (0..6)
        .map(|_| graph.add_node(PeerNode { capacity: 8 }))
        .collect();
    for (a, b, weight) in [
        (0, 1, 2),
        (0, 2, 2),
        (1, 3, 2),
        (2, 3, 2),
        (0, 4, 1),
        (4, 5, 1),
        (5, 3, 2),
    ] {
        graph.add_edge(peers[a], peers[b], weight);
    }
    let tree = shortest_path_tree(&graph, peers[0], Class::Normal);
    assert_eq!(tree.parent(peers[3]), Some(peers[1]));
    assert_eq!(tree.depth(peers[3]), Some(2));
}

#[test]
fn an_origin_outside_the_graph_gives_an_empty_tree() {
    let graph = LinkGraph::default();
    let origin = NodeIndex::new(3);
    let tree = shortest_path_tree(&graph, origin, Class::Normal);
    assert!(tree.order().is_empty() && !tree.contains(origin));
    assert!(tree.children(origin).is_empty());
    let mesh = redundant_mesh(&graph, tree, 2);
    assert!(mesh.parents(origin).is_empty() && mesh.extra_children(origin).is_empty());
}
