//! How far everybody is, from all that is known without asking.

use petgraph::graph::NodeIndex;

use super::Situation;
use crate::adjacency::Adjacency;
use crate::graph::HOP_US;
use crate::tree::{Class, Tree, shortest_path_tree_along};

/// Share of the coordinates' errors by which an estimate is distrusted. More than this keeps peers
/// from finding who is near: on 490 `PlanetLab` hosts 0.2 ends at a stretch of 1.20, 1.0 at 1.23.
const CAUTION: f32 = 0.2;

/// Round-trip times to all candidates in microseconds.
///
/// Measured if it ever was. Else what the coordinates say, within the bounds that the view's own
/// measurements set: no further than the shortest path of links leads, no nearer than the
/// difference of two sides of a triangle. Triangle inequalities hold for all but a few per cent of
/// the internet's triples, and coordinates err by more than that; the bounds are tightest for the
/// neighbours of neighbours, where the nearest are.
pub(super) struct Estimates {
    rtt_us: Vec<u32>,
    cautious_us: Vec<u32>,
    view: Option<OwnView>,
}

/// The view as it looks from here.
pub(super) struct OwnView {
    /// Its links.
    pub(super) links: Adjacency,
    /// My shortest paths through it.
    pub(super) paths: Tree,
}

impl Estimates {
    pub(super) fn new(situation: &Situation<'_>) -> Self {
        let peers = situation.candidates.len();
        let mine = &situation.candidates[situation.me];
        let view = situation.view().map(|graph| {
            let links = Adjacency::of(graph);
            let me = NodeIndex::new(situation.me);
            let paths = shortest_path_tree_along(graph, &links, me, Class::Normal);
            OwnView { links, paths }
        });
        let mut at_least = vec![0u32; peers];
        let mut at_most = vec![u32::MAX; peers];
        if let Some(view) = &view {
            bound(situation, view, &mut at_least, &mut at_most);
        }
        let mut rtt_us = Vec::with_capacity(peers);
        let mut cautious_us = Vec::with_capacity(peers);
        for (peer, other) in situation.candidates.iter().enumerate() {
            let (estimate, cautious) = if let Some(known) = other.linked.or(other.measured) {
                (known, known)
            } else {
                let least = at_least[peer].min(at_most[peer]);
                let by_place = mine.coordinate.distance_us(&other.coordinate);
                let estimate = by_place.clamp(least, at_most[peer]);
                let error = (mine.coordinate.error + other.coordinate.error).clamp(0.0, 2.0);
                // `clamp` passes NaN on; the cast makes it 0.
                let margin = (estimate as f32 * error * CAUTION) as u32;
                (estimate, estimate.saturating_add(margin).min(at_most[peer]))
            };
            rtt_us.push(estimate);
            cautious_us.push(cautious);
        }
        Self {
            rtt_us,
            cautious_us,
            view,
        }
    }

    /// The likeliest value.
    pub(super) fn rtt_us(&self, peer: usize) -> u32 {
        self.rtt_us[peer]
    }

    /// What to expect of a peer that looks best among many: whoever looks best is likely to be
    /// one whose estimate errs in its favour, so an estimate counts as longer by part of the
    /// coordinates' errors.
    pub(super) fn cautious_us(&self, peer: usize) -> u32 {
        self.cautious_us[peer]
    }

    /// The view, if there is one.
    pub(super) fn view(&self) -> Option<&OwnView> {
        self.view.as_ref()
    }
}

fn bound(situation: &Situation<'_>, view: &OwnView, at_least: &mut [u32], at_most: &mut [u32]) {
    let OwnView { links, paths } = view;
    for &node in paths.order() {
        if let (Some(delay), Some(hops)) = (paths.delay_us(node), paths.depth(node)) {
            let on_the_wire = delay.saturating_sub(u64::from(hops) * u64::from(HOP_US));
            at_most[node.index()] = u32::try_from(on_the_wire * 2).unwrap_or(u32::MAX);
        }
    }
    for (peer, candidate) in situation.candidates.iter().enumerate() {
        let Some(side) = candidate.linked else {
            continue;
        };
        for &(other, weight) in links.of_node(peer) {
            let other_side = weight.saturating_sub(HOP_US).saturating_mul(2);
            let bound = &mut at_least[other as usize];
            *bound = (*bound).max(side.abs_diff(other_side));
        }
    }
}
