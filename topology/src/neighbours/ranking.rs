//! Who is nearer than whom.

use super::estimate::Estimates;
use super::{Candidate, Situation, mix};
use crate::graph::HOP_US;
use std::ops::Range;

/// Shells beyond the nearest.
const SHELLS: usize = 4;

/// Members of the view from near to far. Nobody needs all of them in order: ranks are counted.
pub(super) struct Ranking<'a> {
    situation: &'a Situation<'a>,
    /// Estimated round-trip times in microseconds, in any order, to count in.
    times: Vec<u32>,
    /// Where each stands, see [`place`], in the same order.
    places: Vec<u128>,
    /// Those that links lead to, from near to far.
    pub(super) linked: Vec<Ranked>,
}

/// A live link, by whom it leads to.
pub(super) struct Ranked {
    pub(super) rank: usize,
    pub(super) rtt_us: u32,
    pub(super) peer: usize,
    /// The ranks of those who are as near.
    pub(super) as_near: Range<usize>,
}

/// Sorts by time, then by lot: newcomers all stand at the origin, and not all are to flock to one.
fn place(situation: &Situation<'_>, rtt_us: u32, peer: usize) -> u128 {
    let lot = mix(situation.random_seed ^ situation.candidates[peer].ring);
    u128::from(rtt_us) << 96 | u128::from(lot) << 32 | peer as u128
}

fn peer_at(place: u128) -> usize {
    (place as u32) as usize
}

fn rtt_at(place: u128) -> u32 {
    (place >> 96) as u32
}

impl<'a> Ranking<'a> {
    pub(super) fn new(
        situation: &'a Situation<'a>,
        estimates: &Estimates,
        is_member: impl Fn(usize) -> bool,
    ) -> Self {
        let places: Vec<u128> = (0..situation.candidates.len())
            .filter(|&peer| peer != situation.me && situation.candidates[peer].in_view)
            .filter(|&peer| is_member(peer))
            .map(|peer| place(situation, estimates.rtt_us(peer), peer))
            .collect();
        let mut ranking = Self {
            situation,
            times: places.iter().map(|&place| rtt_at(place)).collect(),
            places,
            linked: Vec::new(),
        };
        let is_linked = |place: &&u128| situation.candidates[peer_at(**place)].linked.is_some();
        let mut linked: Vec<u128> = ranking.places.iter().filter(is_linked).copied().collect();
        linked.sort_unstable();
        ranking.linked = linked
            .into_iter()
            .map(|place| ranking.ranked(place))
            .collect();
        ranking
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    fn ranked(&self, place: u128) -> Ranked {
        let rank = self.places.iter().filter(|&&other| other < place).count();
        let rtt_us = rtt_at(place);
        Ranked {
            rank,
            rtt_us,
            peer: peer_at(place),
            as_near: self.as_near_as(rank, rtt_us),
        }
    }

    /// The ranks of those who are as near as the one at `rank`, who is so far away.
    fn as_near_as(&self, rank: usize, rtt_us: u32) -> Range<usize> {
        let times = &self.times;
        let nearer = times
            .iter()
            .filter(|&&time| time.saturating_add(HOP_US) <= rtt_us);
        let limit = rtt_us.saturating_add(HOP_US);
        let no_further = times.iter().filter(|&&time| time < limit);
        let (nearer, no_further) = (nearer.count(), no_further.count());
        nearer..no_further.max(rank + 1)
    }

    /// The nearest of those accepted.
    pub(super) fn nearest(&self, accept: impl Fn(&Candidate) -> bool) -> Option<usize> {
        let accepted = |place: &&u128| accept(&self.situation.candidates[peer_at(**place)]);
        self.places
            .iter()
            .filter(accepted)
            .min()
            .map(|&place| peer_at(place))
    }

    /// Those at these ranks, in any order.
    pub(super) fn at(&self, ranks: Range<usize>) -> Vec<usize> {
        let mut places = self.places.clone();
        let ranks = ranks.start..ranks.end.min(places.len());
        if ranks.is_empty() {
            return Vec::new();
        }
        if ranks.end < places.len() {
            places.select_nth_unstable(ranks.end);
            places.truncate(ranks.end);
        }
        places.select_nth_unstable(ranks.start);
        places[ranks.start..]
            .iter()
            .map(|&place| peer_at(place))
            .collect()
    }

    /// The ranks of each shell: from the nearest but one outwards, each reaching as many times
    /// further as the one before.
    pub(super) fn shells(&self) -> [Range<usize>; SHELLS] {
        let growth = (self.len() as f64).sqrt().sqrt();
        let mut start = self.len().min(1);
        let mut reach = 1.0;
        std::array::from_fn(|shell| {
            reach *= growth;
            let end = if shell + 1 == SHELLS {
                self.len()
            } else {
                reach as usize
            };
            let range = start..end.max(start);
            start = range.end;
            range
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinate::Coordinate;
    use proptest::prelude::*;

    /// Peers on a line, some as near as others, some linked, some out of view.
    fn field() -> impl Strategy<Value = Vec<Candidate>> {
        let candidate =
            (any::<u64>(), 0u8..40, 0u8..4, 0u8..8).prop_map(|(ring, place, linked, in_view)| {
                Candidate {
                    ring,
                    coordinate: Coordinate {
                        position: [f32::from(place), 0.0, 0.0],
                        height: 0.1,
                        error: 0.1,
                    },
                    linked: (linked == 0).then_some(u32::from(place) * 1_000),
                    in_view: in_view != 0,
                    ..Candidate::default()
                }
            });
        prop::collection::vec(candidate, 1..60)
    }

    proptest! {
        #[test]
        fn ranks_that_are_counted_are_those_of_a_sorted_list(
            candidates in field(),
            seed: u64,
            from in 0usize..60,
            length in 0usize..60,
        ) {
            let situation = Situation {
                me: 0,
                candidates: &candidates,
                graph: None,
                cuts: None,
                degree: 8,
                random_seed: seed,
            };
            let estimates = Estimates::new(&situation);
            let ranking = Ranking::new(&situation, &estimates, |_| true);
            let mut sorted = ranking.places.clone();
            sorted.sort_unstable();
            let peers: Vec<usize> = sorted.iter().map(|&place| peer_at(place)).collect();
            let is_linked = |&peer: &usize| candidates[peer].linked.is_some();
            let linked: Vec<usize> = peers.iter().copied().filter(is_linked).collect();
            let found: Vec<usize> = ranking.linked.iter().map(|link| link.peer).collect();
            prop_assert_eq!(found, linked);
            for link in &ranking.linked {
                prop_assert_eq!(peers[link.rank], link.peer);
                let is_as_near = |&rank: &usize| rtt_at(sorted[rank]).abs_diff(link.rtt_us) < HOP_US;
                let as_near: Vec<usize> = (0..sorted.len()).filter(is_as_near).collect();
                prop_assert_eq!(link.as_near.clone().collect::<Vec<_>>(), as_near);
            }
            let nearest = peers.iter().copied().find(|&peer| candidates[peer].is_open());
            prop_assert_eq!(ranking.nearest(Candidate::is_open), nearest);
            let range = from.min(peers.len())..(from + length).min(peers.len());
            let mut some = ranking.at(from..from + length);
            let mut expected = peers[range].to_vec();
            some.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(some, expected);
        }
    }
}
