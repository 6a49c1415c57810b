//! Mending thin places: a peer beside an articulation point adds a link across it.

use petgraph::graph::NodeIndex;

use super::{Choice, Reason, Situation};
use crate::cuts::Cuts;
use crate::graph::LinkGraph;

/// Neighbours of an articulation point that are looked at, those with the smallest keys: twice
/// what a peer accepts, so that only a forged hub has more.
const BORDERS_MAX: usize = 128;

/// Wants a link across every articulation point that I stand beside, where it is mine to add; and
/// keeps the live links without which there would be a new one.
///
/// For every part that an articulation point separates, except the largest, it is the nearest
/// pair of its neighbours, one inside the part and one outside, that adds the link. Everybody
/// finds the same pair from the same view, so that one link is added and not dozens. A leaf's
/// bridge needs no rule of its own: its other end is an articulation point.
pub(super) fn choose(situation: &Situation<'_>, graph: &LinkGraph, choice: &mut Choice) {
    let me = NodeIndex::new(situation.me);
    let own_cuts;
    let cuts = if let Some(cuts) = situation.cuts {
        cuts
    } else {
        own_cuts = Cuts::of(graph);
        &own_cuts
    };
    let mut neighbours: Vec<NodeIndex> = graph.neighbors(me).collect();
    neighbours.sort_unstable();
    for &neighbour in &neighbours {
        if cuts.is_articulation_point(neighbour) {
            mend(situation, graph, neighbour, choice);
        }
    }
    for &neighbour in &neighbours {
        let peer = neighbour.index();
        let candidate = &situation.candidates[peer];
        if candidate.linked.is_some()
            && !candidate.wants_me
            && !choice.is_wanted(peer)
            && !are_joined_twice_without_link(graph, me, neighbour)
        {
            choice.add(peer, Reason::Repair, None);
        }
    }
}

fn mend(situation: &Situation<'_>, graph: &LinkGraph, point: NodeIndex, choice: &mut Choice) {
    let mut borders: Vec<NodeIndex> = graph.neighbors(point).collect();
    borders.sort_unstable();
    borders.truncate(BORDERS_MAX);
    let (part_of, sizes) = parts_without(graph, point, &borders);
    let largest = (0..sizes.len()).max_by_key(|&part| (sizes[part], std::cmp::Reverse(part)));
    let part = |node: NodeIndex| part_of[node.index()] as usize;
    for small in (0..sizes.len()).filter(|&part| Some(part) != largest) {
        let pair = borders
            .iter()
            .filter(|&&inside| part(inside) == small)
            .flat_map(|&inside| {
                let outside = borders.iter().filter(|&&outside| part(outside) != small);
                outside.map(move |&outside| (inside, outside))
            })
            .filter(|&(inside, outside)| {
                // I cannot know whom others fail to reach; whom I do not, I take to be gone.
                let usable = |node: NodeIndex| situation.candidates[node.index()].is_usable();
                let is_mine = |node: NodeIndex| node.index() == situation.me;
                (usable(inside) || is_mine(inside)) && (usable(outside) || is_mine(outside))
            })
            .min_by_key(|&(inside, outside)| {
                let place = |node: NodeIndex| &situation.candidates[node.index()].coordinate;
                (place(inside).distance_us(place(outside)), inside, outside)
            });
        if let Some((inside, outside)) = pair {
            if inside.index() == situation.me {
                choice.add(outside.index(), Reason::Repair, None);
            } else if outside.index() == situation.me {
                choice.add(inside.index(), Reason::Repair, None);
            }
        }
    }
}

/// The parts that the component of `point` falls into without it: the part of every peer, and the
/// sizes of the parts. `borders` are the neighbours of `point`.
fn parts_without(
    graph: &LinkGraph,
    point: NodeIndex,
    borders: &[NodeIndex],
) -> (Vec<u32>, Vec<usize>) {
    let mut part_of = vec![u32::MAX; graph.node_count()];
    let mut sizes = Vec::new();
    for &start in borders {
        if part_of[start.index()] != u32::MAX {
            continue;
        }
        let part = sizes.len() as u32;
        part_of[start.index()] = part;
        let mut size = 0;
        let mut stack = vec![start];
        while let Some(node) = stack.pop() {
            size += 1;
            for next in graph.neighbors(node) {
                if next != point && part_of[next.index()] == u32::MAX {
                    part_of[next.index()] = part;
                    stack.push(next);
                }
            }
        }
        sizes.push(size);
    }
    (part_of, sizes)
}

/// Whether two paths without a common inner peer join the ends of a link, not counting the link
/// itself: then it can go without a new articulation point.
///
/// Takes one path; a peer that parts the ends would have to lie on it. The peer at some place does
/// not if a detour leads from before that place to beyond it, so the detours are followed outwards
/// while they reach beyond the next place.
fn are_joined_twice_without_link(graph: &LinkGraph, from: NodeIndex, to: NodeIndex) -> bool {
    let Some(first) = shortest_path_avoiding_link(graph, from, to) else {
        return false;
    };
    // Position on the first path, by peer; none elsewhere.
    let mut place = vec![u32::MAX; graph.node_count()];
    for (position, node) in first.iter().enumerate() {
        place[node.index()] = position as u32;
    }
    let last = first.len() - 1;
    // Detours leave from places up to `opened` and come back at `reach` at the furthest.
    let mut seen = vec![false; graph.node_count()];
    let mut reach = 0;
    let mut opened = 0;
    let mut stack = vec![from];
    loop {
        while let Some(node) = stack.pop() {
            for next in graph.neighbors(node) {
                let is_link = (node == from && next == to) || (node == to && next == from);
                let is_path_step = place[node.index()] != u32::MAX
                    && place[next.index()] != u32::MAX
                    && place[node.index()].abs_diff(place[next.index()]) == 1;
                if is_link || is_path_step || seen[next.index()] {
                    continue;
                }
                match place[next.index()] {
                    u32::MAX => {
                        seen[next.index()] = true;
                        stack.push(next);
                    }
                    position => reach = reach.max(position as usize),
                }
            }
        }
        if reach >= last {
            return true;
        }
        // The peer after `opened` has to be passed by before detours may leave from it.
        if opened + 1 >= reach {
            return false;
        }
        opened += 1;
        stack.push(first[opened]);
    }
}

fn shortest_path_avoiding_link(
    graph: &LinkGraph,
    from: NodeIndex,
    to: NodeIndex,
) -> Option<Vec<NodeIndex>> {
    let mut before = vec![NodeIndex::end(); graph.node_count()];
    before[from.index()] = from;
    let mut queue = std::collections::VecDeque::from([from]);
    while let Some(node) = queue.pop_front() {
        for next in graph.neighbors(node) {
            let is_link = node == from && next == to;
            if is_link || before[next.index()] != NodeIndex::end() {
                continue;
            }
            before[next.index()] = node;
            if next == to {
                let mut path = vec![to];
                while path[path.len() - 1] != from {
                    path.push(before[path[path.len() - 1].index()]);
                }
                path.reverse();
                return Some(path);
            }
            queue.push_back(next);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::coordinate::Coordinate;
    use crate::graph::PeerNode;
    use crate::neighbours::Candidate;

    fn graph_of(peers: usize, links: &[(usize, usize)]) -> LinkGraph {
        let mut graph = LinkGraph::default();
        for _ in 0..peers {
            graph.add_node(PeerNode { capacity: 12 });
        }
        for &(a, b) in links {
            graph.add_edge(NodeIndex::new(a), NodeIndex::new(b), 6_000);
        }
        graph
    }

    /// What `me` wants for repair: links to add, and links to keep.
    fn repairs(graph: &LinkGraph, me: usize) -> (Vec<usize>, Vec<usize>) {
        let mut candidates: Vec<Candidate> = (0..graph.node_count())
            .map(|index| Candidate {
                coordinate: Coordinate {
                    position: [index as f32 * 10.0, 0.0, 0.0],
                    ..Coordinate::origin()
                },
                ..Candidate::default()
            })
            .collect();
        for neighbour in graph.neighbors(NodeIndex::new(me)) {
            candidates[neighbour.index()].linked = Some(10_000);
        }
        let situation = Situation {
            me,
            candidates: &candidates,
            graph: Some(graph),
            cuts: None,
            degree: 8,
            random_seed: 1,
        };
        let mut choice = Choice::new(&situation);
        choose(&situation, graph, &mut choice);
        let peers = choice.finish().into_iter().map(|want| want.peer);
        peers.partition(|&peer| candidates[peer].linked.is_none())
    }

    fn additions(graph: &LinkGraph) -> BTreeSet<(usize, usize)> {
        let mut pairs = BTreeSet::new();
        for me in 0..graph.node_count() {
            for peer in repairs(graph, me).0 {
                pairs.insert((me.min(peer), me.max(peer)));
            }
        }
        pairs
    }

    #[test]
    fn one_pair_mends_each_part_that_an_articulation_point_separates() {
        // Two squares that share peer 3, and a leaf on 6.
        let links = [
            (0, 1),
            (1, 3),
            (3, 2),
            (2, 0),
            (3, 4),
            (4, 5),
            (5, 6),
            (6, 3),
            (6, 7),
        ];
        let mut graph = graph_of(8, &links);
        // Around 3 the smaller part holds 1 and 2, and 4 is nearest to 2; around 6 the part is 7,
        // and 5 is nearest to it. Both ends of a pair want the link.
        assert_eq!(additions(&graph), BTreeSet::from([(2, 4), (5, 7)]));
        assert_eq!(repairs(&graph, 2).0, [4]);
        assert_eq!(repairs(&graph, 4).0, [2]);
        for (a, b) in additions(&graph) {
            graph.add_edge(NodeIndex::new(a), NodeIndex::new(b), 6_000);
        }
        assert!(Cuts::of(&graph).articulation_points().is_empty());
        assert!(additions(&graph).is_empty());
    }

    #[test]
    fn a_star_and_a_line_become_two_connected() {
        let star: Vec<(usize, usize)> = (1..20).map(|leaf| (0, leaf)).collect();
        let line: Vec<(usize, usize)> = (1..20).map(|peer| (peer - 1, peer)).collect();
        for links in [star, line] {
            let mut graph = graph_of(20, &links);
            let mut rounds = 0;
            while !Cuts::of(&graph).articulation_points().is_empty() {
                for (a, b) in additions(&graph) {
                    graph.add_edge(NodeIndex::new(a), NodeIndex::new(b), 6_000);
                }
                rounds += 1;
                assert!(rounds <= 8);
            }
            assert!(graph.edge_count() <= 40, "{} links", graph.edge_count());
        }
    }

    #[test]
    fn a_link_that_keeps_the_view_two_connected_stays_wanted() {
        // Two cliques joined by 0-4 and 1-5: without 0-4, peers 1 and 5 would be articulation
        // points. Inside a clique any link can go.
        let mut links = vec![(0, 4), (1, 5)];
        for clique in [[0, 1, 2, 3], [4, 5, 6, 7]] {
            for (place, &a) in clique.iter().enumerate() {
                links.extend(clique[place + 1..].iter().map(|&b| (a, b)));
            }
        }
        assert_eq!(repairs(&graph_of(8, &links), 0), (vec![], vec![4]));
        assert_eq!(repairs(&graph_of(8, &links), 5), (vec![], vec![1]));
        // On a ring every link counts.
        let ring: Vec<(usize, usize)> = (0..6).map(|peer| (peer, (peer + 1) % 6)).collect();
        assert_eq!(repairs(&graph_of(6, &ring), 2), (vec![], vec![1, 3]));
    }
}
