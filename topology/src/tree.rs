//! The shortest-path tree from an origin, with soft capacities.
//!
//! Dijkstra (1959) with predecessors and full tie-breaking, so that every peer which holds the
//! same view computes the same tree (petgraph's version returns distances only). Ties go by cost,
//! then hops, then the lower index, which is the smaller key.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use petgraph::graph::NodeIndex;
use serde::{Deserialize, Serialize};

use crate::adjacency::Adjacency;
use crate::graph::LinkGraph;

/// Children a peer feeds at most in a tree for bulk messages: copies share its uplink, so every
/// further child delays all of them (two halves the rate, eight leaves an eighth).
const BULK_CAPACITY: u16 = 2;

/// What peers that say they can feed nobody count as, where most do.
const LEAVES_FEED: u16 = 2;

/// What a tree is to carry.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum Class {
    /// Small messages: latency decides.
    #[default]
    Normal,
    /// Large messages: copies share the uplink, so nobody feeds more than two.
    Bulk,
}

impl Class {
    /// How many children a peer of this configured capacity feeds in a tree of this class.
    pub fn capacity(self, configured: u16) -> u16 {
        match self {
            Self::Normal => configured,
            Self::Bulk => configured.min(BULK_CAPACITY),
        }
    }
}

const NONE: u32 = u32::MAX;

/// A tree that spans the peers an origin reaches. Peers it does not reach are not contained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    origin: NodeIndex,
    parent: Vec<u32>,
    depth: Vec<u32>,
    delay_us: Vec<u64>,
    /// Contained peers, parents before children.
    order: Vec<NodeIndex>,
    /// Children of `n`, ascending: `children[first_child[n]..first_child[n + 1]]`.
    first_child: Vec<u32>,
    children: Vec<NodeIndex>,
}

impl Tree {
    /// The root.
    pub fn origin(&self) -> NodeIndex {
        self.origin
    }

    /// Whether the tree reaches `node`.
    pub fn contains(&self, node: NodeIndex) -> bool {
        self.depth
            .get(node.index())
            .is_some_and(|&depth| depth != NONE)
    }

    /// Who feeds `node`; none for the origin and for peers not contained.
    pub fn parent(&self, node: NodeIndex) -> Option<NodeIndex> {
        match self.parent.get(node.index()) {
            None | Some(&NONE) => None,
            Some(&parent) => Some(NodeIndex::new(parent as usize)),
        }
    }

    /// Whom `node` feeds, ascending.
    pub fn children(&self, node: NodeIndex) -> &[NodeIndex] {
        match self.first_child.get(node.index()..node.index() + 2) {
            Some(&[first, end]) => &self.children[first as usize..end as usize],
            _ => &[],
        }
    }

    /// Hops from the origin; none when not contained.
    pub fn depth(&self, node: NodeIndex) -> Option<u32> {
        self.depth
            .get(node.index())
            .copied()
            .filter(|&depth| depth != NONE)
    }

    /// Sum of the weights on the way from the origin, in microseconds; none when not contained.
    pub fn delay_us(&self, node: NodeIndex) -> Option<u64> {
        self.contains(node).then(|| self.delay_us[node.index()])
    }

    /// Contained peers in an order that has every parent before its children; the origin first.
    pub fn order(&self) -> &[NodeIndex] {
        &self.order
    }

    /// Number of peers in the graph that the tree was computed on.
    pub fn node_bound(&self) -> usize {
        self.parent.len()
    }

    /// Hops to the deepest peer.
    pub fn depth_max(&self) -> u32 {
        self.order
            .iter()
            .map(|node| self.depth[node.index()])
            .max()
            .unwrap_or(0)
    }

    /// Children of the peer that feeds the most.
    pub fn children_max(&self) -> usize {
        self.order
            .iter()
            .map(|&node| self.children(node).len())
            .max()
            .unwrap_or(0)
    }

    /// The same tree without the branches in which nobody is `wanted`.
    pub(crate) fn pruned(&self, wanted: impl Fn(NodeIndex) -> bool) -> Self {
        let mut keep = vec![false; self.parent.len()];
        for &node in self.order.iter().rev() {
            if wanted(node) || node == self.origin {
                keep[node.index()] = true;
            }
            if let (true, Some(parent)) = (keep[node.index()], self.parent(node)) {
                keep[parent.index()] = true;
            }
        }
        let mut builder = Builder::new(self.parent.len());
        for &node in self.order.iter().filter(|node| keep[node.index()]) {
            let index = node.index();
            builder.settle(
                node,
                self.parent[index],
                self.depth[index],
                self.delay_us[index],
            );
        }
        builder.finish(self.origin)
    }
}

/// Collects peers in settling order.
struct Builder {
    parent: Vec<u32>,
    depth: Vec<u32>,
    delay_us: Vec<u64>,
    load: Vec<u32>,
    order: Vec<NodeIndex>,
}

impl Builder {
    fn new(nodes: usize) -> Self {
        Self {
            parent: vec![NONE; nodes],
            depth: vec![NONE; nodes],
            delay_us: vec![0; nodes],
            load: vec![0; nodes],
            order: Vec::with_capacity(nodes),
        }
    }

    fn is_settled(&self, node: usize) -> bool {
        self.depth[node] != NONE
    }

    fn settle(&mut self, node: NodeIndex, parent: u32, depth: u32, delay_us: u64) {
        let index = node.index();
        self.parent[index] = parent;
        self.depth[index] = depth;
        self.delay_us[index] = delay_us;
        self.order.push(node);
        if parent != NONE {
            self.load[parent as usize] += 1;
        }
    }

    fn finish(self, origin: NodeIndex) -> Tree {
        let nodes = self.parent.len();
        let mut first_child = Vec::with_capacity(nodes + 1);
        let mut next = 0;
        first_child.push(0);
        for &load in &self.load {
            next += load;
            first_child.push(next);
        }
        let mut children = vec![NodeIndex::new(0); next as usize];
        let mut place = first_child.clone();
        for (node, &parent) in self.parent.iter().enumerate() {
            if parent != NONE {
                let slot = &mut place[parent as usize];
                children[*slot as usize] = NodeIndex::new(node);
                *slot += 1;
            }
        }
        Tree {
            origin,
            parent: self.parent,
            depth: self.depth,
            delay_us: self.delay_us,
            order: self.order,
            first_child,
            children,
        }
    }
}

/// A way to reach a peer: cost in microseconds, hops, and a peer (from whom, or to whom). Orders as
/// ties are broken; in one number, which compares faster than three.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Way(u128);

const NO_WAY: Way = Way(u128::MAX);

impl Way {
    fn new(cost: u64, hops: u32, peer: u32) -> Self {
        Self(u128::from(cost) << 64 | u128::from(hops) << 32 | u128::from(peer))
    }

    fn cost(self) -> u64 {
        (self.0 >> 64) as u64
    }

    fn hops(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Cost and hops.
    fn length(self) -> u128 {
        self.0 >> 32
    }

    fn peer(self) -> u32 {
        self.0 as u32
    }

    /// The same way with another peer named.
    fn with_peer(self, peer: u32) -> Self {
        Self(self.0 >> 32 << 32 | u128::from(peer))
    }
}

/// The shortest-path tree of the peers that `origin` reaches.
///
/// Capacity is soft. A peer whose best parent has no room takes the neighbour with room that keeps
/// its path shortest, waiting for one while the tree grows. Only when nobody with room is left
/// does the waiting peer that has the shortest way go to its least loaded neighbour. So the tree
/// always spans the origin's component, and being grown from the origin it cannot hold a loop.
///
/// A peer of capacity 0 is a leaf, if it can be. Where more than half of the peers say so, they all
/// count as able to feed two: of leaves no tree can be made but a chain.
///
/// An `origin` outside the graph gives an empty tree.
pub fn shortest_path_tree(graph: &LinkGraph, origin: NodeIndex, class: Class) -> Tree {
    shortest_path_tree_along(graph, &Adjacency::of(graph), origin, class)
}

/// The same where the graph is laid out already.
pub(crate) fn shortest_path_tree_along(
    graph: &LinkGraph,
    links: &Adjacency,
    origin: NodeIndex,
    class: Class,
) -> Tree {
    let mut growth = Growth::new(graph, links, class);
    if origin.index() >= graph.node_count() {
        return growth.builder.finish(origin);
    }
    growth.settle(origin, Way::new(0, 0, NONE));
    loop {
        growth.grow_where_room();
        if !growth.grow_where_full() {
            return growth.builder.finish(origin);
        }
    }
}

struct Growth<'a> {
    links: &'a Adjacency,
    /// What peers say that they can feed.
    capacity: Vec<u16>,
    class: Class,
    /// What every peer can feed, whatever it says.
    least: u16,
    builder: Builder,
    /// The best way known to each peer that is not settled yet.
    best: Vec<Way>,
    /// Ways to peers; those that `best` has overtaken are skipped when they come up.
    heap: BinaryHeap<Reverse<Way>>,
    /// Peers that met only full neighbours so far, with the way they could not take.
    waiting: BinaryHeap<Reverse<Way>>,
}

impl<'a> Growth<'a> {
    fn new(graph: &LinkGraph, links: &'a Adjacency, class: Class) -> Self {
        let nodes = graph.node_count();
        let capacity: Vec<u16> = graph.node_weights().map(|peer| peer.capacity).collect();
        let leaves = capacity.iter().filter(|&&capacity| capacity == 0).count();
        Self {
            links,
            capacity,
            class,
            least: if leaves * 2 > nodes { LEAVES_FEED } else { 0 },
            builder: Builder::new(nodes),
            best: vec![NO_WAY; nodes],
            heap: BinaryHeap::with_capacity(nodes),
            waiting: BinaryHeap::new(),
        }
    }

    fn has_room(&self, node: usize) -> bool {
        let configured = self.capacity[node].max(self.least);
        self.builder.load[node] < u32::from(self.class.capacity(configured))
    }

    fn settle(&mut self, node: NodeIndex, way: Way) {
        self.builder
            .settle(node, way.peer(), way.hops(), way.cost());
        let offers_room = self.has_room(node.index());
        for &(to, weight) in self.links.of_node(node.index()) {
            let next = to as usize;
            if self.builder.is_settled(next) {
                continue;
            }
            let cost = way.cost() + u64::from(weight);
            let way = Way::new(cost, way.hops() + 1, node.index() as u32);
            let entry = Reverse(way.with_peer(to));
            let best = self.best[next];
            if !offers_room {
                // It can never feed anybody by itself, but it proves that `next` is reachable.
                self.waiting.push(entry);
            } else if way < best {
                if way.length() != best.length() {
                    self.heap.push(entry);
                }
                self.best[next] = way;
            }
        }
    }

    /// Dijkstra's loop, in which only peers with room have children.
    fn grow_where_room(&mut self) {
        while let Some(Reverse(entry)) = self.heap.pop() {
            let index = entry.peer() as usize;
            let way = self.best[index];
            if self.builder.is_settled(index) || entry.length() != way.length() {
                continue;
            }
            let node = NodeIndex::new(index);
            if self.has_room(way.peer() as usize) {
                self.settle(node, way);
                continue;
            }
            self.best[index] = self.best_way(node, |growth, parent| {
                if growth.has_room(parent) {
                    Some(0)
                } else {
                    None
                }
            });
            if self.best[index] == NO_WAY {
                self.waiting.push(Reverse(entry));
            } else {
                let way = self.best[index].with_peer(entry.peer());
                self.heap.push(Reverse(way));
            }
        }
    }

    /// Nobody with room borders a waiting peer: loads one beyond its capacity. Returns whether
    /// there was anybody to place.
    fn grow_where_full(&mut self) -> bool {
        while let Some(Reverse(entry)) = self.waiting.pop() {
            if !self.builder.is_settled(entry.peer() as usize) {
                let node = NodeIndex::new(entry.peer() as usize);
                let way = self.best_way(node, |growth, parent| Some(growth.builder.load[parent]));
                if way == NO_WAY {
                    // It borders no tree after all: nobody can feed it.
                    continue;
                }
                self.settle(node, way);
                return true;
            }
        }
        false
    }

    /// The shortest way to `node` over a settled neighbour of the lowest rank; neighbours without
    /// a rank are left out.
    fn best_way(&self, node: NodeIndex, rank: impl Fn(&Self, usize) -> Option<u32>) -> Way {
        let mut best = (NONE, NO_WAY);
        for &(parent, weight) in self.links.of_node(node.index()) {
            let parent = parent as usize;
            if !self.builder.is_settled(parent) {
                continue;
            }
            if let Some(rank) = rank(self, parent) {
                let cost = self.builder.delay_us[parent] + u64::from(weight);
                let way = Way::new(cost, self.builder.depth[parent] + 1, parent as u32);
                best = best.min((rank, way));
            }
        }
        best.1
    }
}
