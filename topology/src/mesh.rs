//! A mesh of chosen redundancy grown on a tree: every peer gets further parents, chosen so that
//! one death cuts nobody off.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use petgraph::graph::NodeIndex;
use petgraph::visit::EdgeRef;

use crate::graph::LinkGraph;
use crate::tree::Tree;

/// Peers looked at per peer before dominators are found anew. Ordinary meshes need less than one.
const PASS_WORK_MAX: usize = 8;

/// Who pushes to whom with every peer fed by up to `redundancy` parents. See [`redundant_mesh`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mesh {
    tree: Tree,
    redundancy: usize,
    /// `parents[n * redundancy..][..parent_count[n]]`, the tree parent first.
    parents: Vec<NodeIndex>,
    parent_count: Vec<u8>,
    /// `extra_children[first_extra[n]..first_extra[n + 1]]`, ascending.
    first_extra: Vec<u32>,
    extra_children: Vec<NodeIndex>,
}

impl Mesh {
    /// The tree that the mesh was grown on.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// How many parents a peer has at most.
    pub fn redundancy(&self) -> usize {
        self.redundancy
    }

    /// Who feeds `node`, the tree parent first. Empty for the origin and peers not contained.
    pub fn parents(&self, node: NodeIndex) -> &[NodeIndex] {
        let Some(&count) = self.parent_count.get(node.index()) else {
            return &[];
        };
        &self.parents[node.index() * self.redundancy..][..usize::from(count)]
    }

    /// Whom `node` feeds as tree parent, ascending.
    pub fn children(&self, node: NodeIndex) -> &[NodeIndex] {
        self.tree.children(node)
    }

    /// Whom `node` feeds as extra parent, ascending.
    pub fn extra_children(&self, node: NodeIndex) -> &[NodeIndex] {
        match self.first_extra.get(node.index()..node.index() + 2) {
            Some(&[first, end]) => &self.extra_children[first as usize..end as usize],
            _ => &[],
        }
    }
}

/// Gives every peer of `tree` up to `redundancy` parents among its neighbours in `graph`, the
/// graph that the tree was computed on.
///
/// The extra ones lie outside the peer's own subtree; of those, the ones whose paths from the
/// origin share the fewest peers with the paths it already has, then the shortest. That leaves
/// peers which one death would still cut off: those that have a dominator other than the origin
/// (every way to them leads through it). They get an extra parent beyond its reach, in place of
/// another extra one where all are taken; no such replacement makes anybody else depend on
/// anybody new. So where the contained peers are biconnected, no single death cuts off a living
/// peer. Redundancy 1 (and 0) is the tree itself. The relative message redundancy is at most
/// `redundancy - 1`.
pub fn redundant_mesh(graph: &LinkGraph, tree: Tree, redundancy: u8) -> Mesh {
    let redundancy = usize::from(redundancy.max(1));
    let mut growth = Growth::new(graph, tree, redundancy);
    if redundancy > 1 {
        growth.choose_extra_parents();
        growth.free_dominated();
    }
    growth.finish()
}

struct Growth<'a> {
    graph: &'a LinkGraph,
    tree: Tree,
    redundancy: usize,
    parents: Vec<NodeIndex>,
    parent_count: Vec<u8>,
    /// Position in the tree's order: parents before children.
    position: Vec<u32>,
}

impl<'a> Growth<'a> {
    fn new(graph: &'a LinkGraph, tree: Tree, redundancy: usize) -> Self {
        debug_assert_eq!(
            tree.node_bound(),
            graph.node_count(),
            "the tree is of this graph"
        );
        let nodes = graph.node_count();
        let mut parents = vec![NodeIndex::new(0); nodes * redundancy];
        let mut parent_count = vec![0; nodes];
        let mut position = vec![u32::MAX; nodes];
        for (place, &node) in tree.order().iter().enumerate() {
            position[node.index()] = place as u32;
            if let Some(parent) = tree.parent(node) {
                parents[node.index() * redundancy] = parent;
                parent_count[node.index()] = 1;
            }
        }
        Self {
            graph,
            tree,
            redundancy,
            parents,
            parent_count,
            position,
        }
    }

    fn parents(&self, node: NodeIndex) -> &[NodeIndex] {
        let count = usize::from(self.parent_count[node.index()]);
        &self.parents[node.index() * self.redundancy..][..count]
    }

    fn depth(&self, node: NodeIndex) -> u32 {
        self.tree.depth(node).unwrap_or(0)
    }

    /// Adds a parent, in place of the last extra one if there is no slot left.
    fn add_parent(&mut self, node: NodeIndex, parent: NodeIndex) {
        let count = &mut self.parent_count[node.index()];
        let slot = usize::from(*count).min(self.redundancy - 1);
        *count = (slot + 1) as u8;
        self.parents[node.index() * self.redundancy + slot] = parent;
    }

    /// How many peers, origin not counted, the tree paths to `a` and `b` share; both included.
    fn shared_peers(&self, mut a: NodeIndex, mut b: NodeIndex) -> u32 {
        while a != b {
            // The deeper one steps up; at equal depth both do, one after the other.
            let deeper = if self.depth(a) >= self.depth(b) {
                &mut a
            } else {
                &mut b
            };
            match self.tree.parent(*deeper) {
                Some(parent) => *deeper = parent,
                None => return 0,
            }
        }
        self.depth(a)
    }

    /// What speaks against `candidate` as a further parent of `node`, least first: that it says it
    /// can feed nobody, peers shared with the paths `node` has, delay, hops, key. None where it
    /// cannot be one.
    fn cost_as_parent(
        &self,
        node: NodeIndex,
        candidate: NodeIndex,
        weight: u32,
    ) -> Option<(bool, u32, u64, u32, NodeIndex)> {
        let delay = self.tree.delay_us(candidate)?;
        if self.parents(node).contains(&candidate) {
            return None;
        }
        // Paths from one root share a prefix, so the union of several shares the longest one.
        let has = self.parents(node).iter();
        let shared = has
            .map(|&parent| self.shared_peers(parent, candidate))
            .max()
            .unwrap_or(0);
        Some((
            self.graph[candidate].capacity == 0,
            shared,
            delay + u64::from(weight),
            self.depth(candidate),
            candidate,
        ))
    }

    fn choose_extra_parents(&mut self) {
        let subtrees = Subtrees::of(&self.tree);
        for place in 1..self.tree.order().len() {
            let node = self.tree.order()[place];
            for _ in 1..self.redundancy {
                let best = self
                    .graph
                    .edges(node)
                    .filter(|edge| !subtrees.holds(node, edge.target()))
                    .filter_map(|edge| self.cost_as_parent(node, edge.target(), *edge.weight()))
                    .min();
                match best {
                    Some((.., parent)) => self.add_parent(node, parent),
                    None => break,
                }
            }
        }
    }

    /// Replaces extra parents until no peer has a dominator that could be avoided.
    ///
    /// Let D be the peers that only `d` connects to the origin. A peer in D that gets a parent
    /// from outside no longer depends on `d`; nor does anybody come to depend on a new peer,
    /// because all its former parents were in D or `d` itself: what dominates the new parent and
    /// the ones it keeps lies above `d`, and dominated it before. Dependence only shrinks, so one
    /// pass over all dominators, from the origin outwards, is enough.
    fn free_dominated(&mut self) {
        let mut inside = vec![false; self.graph.node_count()];
        while self.free_dominated_once(&mut inside) {}
    }

    /// One pass; returns whether it broke off for another one with dominators found anew. It does
    /// so where what it goes by has become so outdated that most of the work would be in vain.
    fn free_dominated_once(&mut self, inside: &mut [bool]) -> bool {
        let dominators = self.dominators();
        let avoidable = self.avoidable(&dominators);
        if !avoidable.contains(&true) {
            return false;
        }
        let mut dominated = vec![Vec::new(); dominators.len()];
        for (place, &dominator) in dominators.iter().enumerate().skip(1) {
            dominated[dominator as usize].push(place as u32);
        }
        let mut work = 0;
        let mut changed = false;
        let mut stack: Vec<u32> = Vec::new();
        for place in (1..dominators.len()).filter(|&place| avoidable[place]) {
            if changed && work > dominators.len() * PASS_WORK_MAX {
                return true;
            }
            let mut set = Vec::new();
            stack.extend(&dominated[place]);
            while let Some(place) = stack.pop() {
                stack.extend(&dominated[place as usize]);
                let node = self.tree.order()[place as usize];
                inside[node.index()] = true;
                set.push(node);
            }
            work += set.len();
            changed |= self.free_from(self.tree.order()[place], &set, inside);
            for node in set {
                inside[node.index()] = false;
            }
        }
        false
    }

    /// Everybody's immediate dominator; both by position in the tree's order.
    ///
    /// Cooper, Harvey, Kennedy, "A Simple, Fast Dominance Algorithm", 2001. petgraph has it
    /// (`simple_fast`), on hash maps; on arrays a mesh of 10,000 peers takes 7 ms instead of 37.
    /// Numbered by the tree's order: a dominator is on the tree path too, so it always has the
    /// lower number. Sweeps go forth and back, because extra parents point both ways.
    fn dominators(&self) -> Vec<u32> {
        let order = self.tree.order();
        // The tree's own parents dominate while nothing else is known.
        let mut dominators = vec![0; order.len()];
        for (place, node) in order.iter().enumerate().skip(1) {
            dominators[place] = self.position[self.parents(*node)[0].index()];
        }
        let mut forth = true;
        loop {
            let mut changed = false;
            for step in 1..order.len() {
                let place = if forth { step } else { order.len() - step };
                let parents = self.parents(order[place]).iter();
                let common = parents
                    .map(|parent| self.position[parent.index()])
                    .reduce(|a, b| common_dominator(&dominators, a, b))
                    .unwrap_or(0);
                changed |= dominators[place] != common;
                dominators[place] = common;
            }
            forth = !forth;
            if !changed {
                return dominators;
            }
        }
    }

    /// Which peers dominate somebody who has, or whose dominated have, a neighbour beyond their
    /// reach; by position. The others are the graph's own articulation points.
    fn avoidable(&self, dominators: &[u32]) -> Vec<bool> {
        let order = self.tree.order();
        let mut depth = vec![0u32; order.len()];
        for place in 1..order.len() {
            depth[place] = depth[dominators[place] as usize] + 1;
        }
        // Depth of the highest dominator that a peer, or anybody it dominates, shares with a
        // neighbour: all dominators below that one can be avoided.
        let mut shared = depth.clone();
        let mut avoidable = vec![false; order.len()];
        for place in (1..order.len()).rev() {
            // Whom only the origin dominates has nobody to avoid.
            let neighbours = self.graph.neighbors(order[place]);
            for neighbour in neighbours.filter(|_| dominators[place] != 0) {
                let neighbour = self.position[neighbour.index()];
                if neighbour != u32::MAX {
                    let common = common_dominator(dominators, place as u32, neighbour);
                    shared[place] = shared[place].min(depth[common as usize]);
                }
            }
            let dominator = dominators[place] as usize;
            avoidable[dominator] |= shared[place] < depth[dominator];
            shared[dominator] = shared[dominator].min(shared[place]);
        }
        avoidable
    }

    /// Frees the peers of `set`, flagged `inside`, that have a neighbour by which to avoid
    /// `dominator`; returns whether there were any. The ones nearest to the origin go first,
    /// because their subtrees come with them.
    fn free_from(&mut self, dominator: NodeIndex, set: &[NodeIndex], inside: &mut [bool]) -> bool {
        let mut changed = false;
        let mut frontier = BinaryHeap::new();
        let mut freed = Vec::new();
        for &node in set {
            // Earlier replacements may have freed it already.
            let depends = |parent: &NodeIndex| *parent == dominator || inside[parent.index()];
            if !self.parents(node).iter().all(depends) {
                freed.push(node);
            } else if self.way_around(node, dominator, inside).is_some() {
                frontier.push(Reverse((self.position[node.index()], node)));
            }
        }
        for node in &freed {
            inside[node.index()] = false;
        }
        loop {
            while let Some(node) = freed.pop() {
                for next in self.graph.neighbors(node) {
                    if !inside[next.index()] {
                        continue;
                    }
                    if self.parents(next).contains(&node) {
                        inside[next.index()] = false;
                        freed.push(next);
                    } else {
                        frontier.push(Reverse((self.position[next.index()], next)));
                    }
                }
            }
            let Some(Reverse((_, node))) = frontier.pop() else {
                return changed;
            };
            if !inside[node.index()] {
                continue;
            }
            if let Some(parent) = self.way_around(node, dominator, inside) {
                self.add_parent(node, parent);
                changed = true;
                inside[node.index()] = false;
                freed.push(node);
            }
        }
    }

    /// The best neighbour of `node` that the origin reaches without `dominator`.
    fn way_around(
        &self,
        node: NodeIndex,
        dominator: NodeIndex,
        inside: &[bool],
    ) -> Option<NodeIndex> {
        let edges = self.graph.edges(node);
        edges
            .filter(|edge| edge.target() != dominator && !inside[edge.target().index()])
            .filter_map(|edge| self.cost_as_parent(node, edge.target(), *edge.weight()))
            .min()
            .map(|(.., parent)| parent)
    }

    fn finish(self) -> Mesh {
        let nodes = self.graph.node_count();
        let mut extras: Vec<(NodeIndex, NodeIndex)> = Vec::new();
        for node in self.graph.node_indices() {
            extras.extend(
                self.parents(node)
                    .iter()
                    .skip(1)
                    .map(|&parent| (parent, node)),
            );
        }
        extras.sort_unstable();
        let mut first_extra = vec![0u32; nodes + 1];
        for (parent, _) in &extras {
            first_extra[parent.index() + 1] += 1;
        }
        for node in 0..nodes {
            first_extra[node + 1] += first_extra[node];
        }
        Mesh {
            tree: self.tree,
            redundancy: self.redundancy,
            parents: self.parents,
            parent_count: self.parent_count,
            first_extra,
            extra_children: extras.into_iter().map(|(_, child)| child).collect(),
        }
    }
}

/// The lowest peer on both ways up to the origin.
fn common_dominator(dominators: &[u32], mut a: u32, mut b: u32) -> u32 {
    while a != b {
        if a > b {
            a = dominators[a as usize];
        } else {
            b = dominators[b as usize];
        }
    }
    a
}

/// When a walk through the tree enters and leaves each peer: answers "is it in the subtree of".
struct Subtrees {
    enter: Vec<u32>,
    size: Vec<u32>,
}

impl Subtrees {
    fn of(tree: &Tree) -> Self {
        let mut size = vec![0u32; tree.node_bound()];
        for &node in tree.order().iter().rev() {
            size[node.index()] += 1;
            if let Some(parent) = tree.parent(node) {
                size[parent.index()] += size[node.index()];
            }
        }
        let mut enter = vec![u32::MAX; tree.node_bound()];
        if let Some(origin) = tree.order().first() {
            enter[origin.index()] = 0;
        }
        for &node in tree.order() {
            let mut next = enter[node.index()] + 1;
            for child in tree.children(node) {
                enter[child.index()] = next;
                next += size[child.index()];
            }
        }
        Self { enter, size }
    }

    fn holds(&self, top: NodeIndex, node: NodeIndex) -> bool {
        let first = self.enter[top.index()];
        let place = self.enter[node.index()];
        place != u32::MAX && first <= place && place - first < self.size[top.index()]
    }
}
