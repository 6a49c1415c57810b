//! Links that lower the estimated paths: what is left of the degree goes to whoever shortens the
//! way from me to everybody the most.

use petgraph::graph::NodeIndex;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::estimate::{Estimates, OwnView};
use super::{Choice, Reason, SWAP_DENOMINATOR, SWAP_NUMERATOR, Situation};
use crate::adjacency::Adjacency;
use crate::graph::link_weight_us;
use crate::tree::Tree;

/// A dial has to shorten all my paths together by at least one part in so many; less is not worth
/// the unrest.
const GAIN_SHARE_MIN: u64 = 200;
/// A swap has to shorten them by so much beyond what the link given up is worth. Where all are
/// equally far, half of all peers are some hop nearer than they were by some other link, and
/// links would be traded for ever.
const SWAP_SHARE_MIN: u64 = 200;

/// Keeps the best live links as far as the degree goes, and names one that would be better or
/// fill a free place.
pub(super) fn choose(situation: &Situation<'_>, estimates: &Estimates, choice: &mut Choice) {
    let Some(view) = estimates.view() else {
        return;
    };
    let linked = |peer: usize| situation.candidates[peer].linked.is_some();
    let others = || (0..situation.candidates.len()).filter(|&peer| peer != situation.me);
    // Links that the other end wants stay whatever I say, so they count.
    let is_claimed = |choice: &Choice, peer: usize| {
        choice.is_wanted(peer) || situation.candidates[peer].wants_me
    };
    let claimed = others().filter(|&peer| linked(peer) && is_claimed(choice, peer));
    // What is still to be dialled takes no live link's place before it lives: a search may find
    // nothing better.
    let Some(mut room) = situation.degree.checked_sub(claimed.count()) else {
        return;
    };
    let awaited = others().filter(|&peer| !linked(peer) && choice.is_wanted(peer));
    let awaited = awaited.count();
    let has_unclaimed = others().any(|peer| linked(peer) && !choice.is_wanted(peer));
    if room <= 1 + awaited && !has_unclaimed {
        return;
    }
    let paths = Paths::new(view);
    let mut worst = None;
    let mine = view.links.of_node(situation.me).iter();
    let mut unclaimed = Vec::new();
    for peer in mine.map(|&(peer, _)| peer as usize) {
        if choice.is_wanted(peer) || !linked(peer) {
            continue;
        }
        if situation.candidates[peer].wants_me {
            choice.add(peer, Reason::Path, None);
        } else {
            unclaimed.push(peer);
        }
    }
    for (value, peer) in paths.values_of(&unclaimed).into_iter().take(room) {
        room -= 1;
        choice.add(peer, Reason::Path, None);
        worst = Some((value, peer));
    }
    let best = |with_room: bool| paths.best_candidate(situation, estimates, choice, with_room);
    if room > 1 + awaited {
        if let Some((gain, peer)) = best(true)
            && gain >= paths.total_us() / GAIN_SHARE_MIN
        {
            choice.add(peer, Reason::Path, None);
        }
    } else if let Some((gain, peer)) = best(false)
        && let Some((value, worst)) = worst
        && gain.saturating_mul(SWAP_NUMERATOR) >= value.saturating_mul(SWAP_DENOMINATOR)
        && gain >= value + paths.total_us() / SWAP_SHARE_MIN
    {
        choice.add(peer, Reason::Path, Some(worst));
    }
}

/// My shortest paths through the view, and how many peers lie behind each.
struct Paths<'a> {
    links: &'a Adjacency,
    tree: &'a Tree,
    /// Peers in the subtree below each peer, itself included.
    behind: Vec<u64>,
    /// My neighbour on the way to each peer.
    branch: Vec<u32>,
}

impl<'a> Paths<'a> {
    fn new(view: &'a OwnView) -> Self {
        let OwnView { links, paths: tree } = view;
        let mut behind = vec![0u64; tree.node_bound()];
        let mut branch = vec![u32::MAX; tree.node_bound()];
        for &node in tree.order().iter().rev() {
            behind[node.index()] += 1;
            if let Some(parent) = tree.parent(node) {
                behind[parent.index()] += behind[node.index()];
            }
        }
        for &node in tree.order().iter().skip(1) {
            branch[node.index()] = match tree.parent(node) {
                Some(parent) if parent != tree.origin() => branch[parent.index()],
                _ => node.index() as u32,
            };
        }
        Self {
            links,
            tree,
            behind,
            branch,
        }
    }

    /// Sum of the delays to everybody.
    fn total_us(&self) -> u64 {
        let delays = self
            .tree
            .order()
            .iter()
            .filter_map(|&node| self.tree.delay_us(node));
        delays.fold(0, u64::saturating_add)
    }

    /// Some of my links, most valuable first: by how much all paths together would lengthen without it.
    fn values_of(&self, links: &[usize]) -> Vec<(u64, usize)> {
        if links.is_empty() {
            return Vec::new();
        }
        let nodes = self.tree.node_bound();
        let mut is_asked = vec![false; nodes];
        for &peer in links {
            is_asked[peer] = true;
        }
        let mut loss = vec![0u64; nodes];
        let around = self.delays_around(&is_asked);
        for &node in self.tree.order().iter().skip(1) {
            let branch = self.branch[node.index()] as usize;
            if is_asked[branch] {
                let now = self.tree.delay_us(node).unwrap_or(0);
                let longer = around[node.index()].saturating_sub(now);
                loss[branch] = loss[branch].saturating_add(longer);
            }
        }
        let mut values: Vec<(u64, usize)> = links.iter().map(|&peer| (loss[peer], peer)).collect();
        values.sort_unstable_by_key(|&(value, peer)| (Reverse(value), peer));
        values
    }

    /// How far each peer of the branches asked for would be without my link to the branch it is in.
    /// The way there has to cross into the branch from another one, whose delays do not change; so
    /// one more run of Dijkstra from all crossings at once gives all answers.
    fn delays_around(&self, is_asked: &[bool]) -> Vec<u64> {
        let origin = self.tree.origin().index();
        let mut around = vec![u64::MAX; self.tree.node_bound()];
        let mut crossings = Vec::new();
        for &node in self.tree.order().iter().skip(1) {
            let node = node.index();
            if !is_asked[self.branch[node] as usize] {
                continue;
            }
            let mut shortest = u64::MAX;
            for &(from, weight) in self.links.of_node(node) {
                let from = from as usize;
                if from != origin
                    && self.branch[from] != self.branch[node]
                    && let Some(delay) = self.tree.delay_us(NodeIndex::new(from))
                {
                    shortest = shortest.min(delay + u64::from(weight));
                }
            }
            if shortest != u64::MAX {
                around[node] = shortest;
                crossings.push(Reverse((shortest, node as u32)));
            }
        }
        let mut heap = BinaryHeap::from(crossings);
        while let Some(Reverse((delay, node))) = heap.pop() {
            let node = node as usize;
            if delay > around[node] {
                continue;
            }
            for &(next, weight) in self.links.of_node(node) {
                let (to, longer) = (next as usize, delay + u64::from(weight));
                if to != origin && self.branch[to] == self.branch[node] && longer < around[to] {
                    around[to] = longer;
                    heap.push(Reverse((longer, next)));
                }
            }
        }
        around
    }

    /// Who would shorten my paths the most, by what everybody behind it is sure to gain; if so
    /// asked, among those who have room for one more.
    fn best_candidate(
        &self,
        situation: &Situation<'_>,
        estimates: &Estimates,
        choice: &Choice,
        with_room: bool,
    ) -> Option<(u64, usize)> {
        let mut best = None;
        for &node in self.tree.order().iter().skip(1) {
            let peer = node.index();
            let candidate = &situation.candidates[peer];
            if choice.is_wanted(peer) || !candidate.is_open() || with_room && candidate.busy {
                continue;
            }
            let rtt = estimates.cautious_us(peer);
            let direct = u64::from(link_weight_us(rtt, rtt));
            let now = self.tree.delay_us(node).unwrap_or(0);
            let gain = now.saturating_sub(direct).saturating_mul(self.behind[peer]);
            if gain > 0 && best.is_none_or(|(most, _)| gain > most) {
                best = Some((gain, peer));
            }
        }
        best
    }
}
