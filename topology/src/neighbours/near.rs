//! The nearest member, and one in each of a few shells of geometrically growing rank.
//!
//! Shells are rings of Meridian (Wong, Slivkins, Sirer, SIGCOMM 2005) by rank instead of by
//! latency, so that each holds somebody however peers lie.

use super::estimate::Estimates;
use super::{Choice, Reason, SWAP_DENOMINATOR, SWAP_NUMERATOR, Situation, mix};
use crate::graph::HOP_US;
use std::ops::Range;

/// Shells beyond the nearest.
const SHELLS: usize = 4;

/// Members of the view from near to far.
pub(super) struct Ranking {
    /// (estimated round-trip time in microseconds, candidate).
    ranks: Vec<(u32, usize)>,
}

impl Ranking {
    pub(super) fn new(
        situation: &Situation<'_>,
        estimates: &Estimates,
        is_member: impl Fn(usize) -> bool,
    ) -> Self {
        // In one number each, which sorts faster: time, lot, peer.
        let mut ranks: Vec<u128> = (0..situation.candidates.len())
            .filter(|&peer| peer != situation.me && situation.candidates[peer].in_view)
            .filter(|&peer| is_member(peer))
            .map(|peer| {
                // Newcomers all stand at the origin: by lot, so that not all flock to one.
                let lot = mix(situation.random_seed ^ situation.candidates[peer].ring);
                u128::from(estimates.rtt_us(peer)) << 96 | u128::from(lot) << 32 | peer as u128
            })
            .collect();
        ranks.sort_unstable();
        let ranks = ranks.into_iter();
        Self {
            ranks: ranks
                .map(|rank| ((rank >> 96) as u32, (rank as u32) as usize))
                .collect(),
        }
    }

    /// The ranks of those who are as near as the one at `rank`.
    fn as_near_as(&self, rank: usize) -> Range<usize> {
        let (rtt_us, _) = self.ranks[rank];
        let nearer = |&(other, _): &(u32, usize)| other.saturating_add(HOP_US) <= rtt_us;
        let no_further = |&(other, _): &(u32, usize)| other < rtt_us.saturating_add(HOP_US);
        self.ranks.partition_point(nearer)..self.ranks.partition_point(no_further).max(rank + 1)
    }

    /// The ranks of each shell: from the nearest but one outwards, each reaching as many times
    /// further as the one before.
    fn shells(&self) -> [Range<usize>; SHELLS] {
        let growth = (self.ranks.len() as f64).sqrt().sqrt();
        let mut start = self.ranks.len().min(1);
        let mut reach = 1.0;
        std::array::from_fn(|shell| {
            reach *= growth;
            let end = if shell + 1 == SHELLS {
                self.ranks.len()
            } else {
                reach as usize
            };
            let range = start..end.max(start);
            start = range.end;
            range
        })
    }
}

fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

/// The nearest live link, and whoever is nearer by enough to be worth a swap.
pub(super) fn choose_nearest(
    situation: &Situation<'_>,
    estimates: &Estimates,
    ranking: &Ranking,
    choice: &mut Choice,
) {
    let linked = |&&(_, peer): &&(u32, usize)| situation.candidates[peer].linked.is_some();
    let open = |&&(_, peer): &&(u32, usize)| situation.candidates[peer].is_open();
    let candidate = ranking.ranks.iter().find(open).map(|&(_, peer)| peer);
    let held = ranking.ranks.iter().find(linked);
    let swap_for = held
        .map(|&(_, now)| now)
        .filter(|&now| !choice.is_wanted(now));
    if let Some(&(_, now)) = held {
        choice.add(now, Reason::Nearest, None);
    }
    let Some(nearest) = candidate else { return };
    let Some(&(reach_now, _)) = held else {
        choice.add(nearest, Reason::Nearest, None);
        return;
    };
    let hop = u64::from(HOP_US) * 2;
    let cost = u64::from(estimates.cautious_us(nearest)) + hop;
    let cost_now = u64::from(reach_now) + hop;
    if cost * SWAP_DENOMINATOR <= cost_now * SWAP_NUMERATOR {
        choice.add(nearest, Reason::Nearest, swap_for);
    }
}

/// For a further group: any live link among the nearer quarter of the members will do, or to one
/// who is as near as they are; best one that the other end wants, which stays whatever I say.
pub(super) fn choose_near_enough(
    situation: &Situation<'_>,
    ranking: &Ranking,
    choice: &mut Choice,
) {
    let quarter = ranking.ranks.len().div_ceil(4);
    let near_enough = match quarter.checked_sub(1) {
        Some(last) => ranking.as_near_as(last).end,
        None => 0,
    };
    let near = ranking.ranks[..near_enough].iter();
    let linked = near
        .map(|&(_, peer)| peer)
        .filter(|&peer| situation.candidates[peer].linked.is_some())
        .min_by_key(|&peer| !situation.candidates[peer].wants_me);
    let nearest = || {
        let mut peers = ranking.ranks.iter().map(|&(_, peer)| peer);
        peers.find(|&peer| {
            let candidate = &situation.candidates[peer];
            candidate.linked.is_some() || candidate.is_open()
        })
    };
    if let Some(peer) = linked.or_else(nearest) {
        choice.add(peer, Reason::Nearest, None);
    }
}

/// One per shell. A live link satisfies it: one that is wanted anyway, else one that the other
/// end wants, else the nearest. Only an empty shell takes a dial.
///
/// Ranks shift a little whenever coordinates do, so a live link still counts for a shell from
/// half of its first rank to twice its last; and whoever is no further by as much as a hop costs
/// is as near, so where all are equally near any link will do. One link counts for one shell.
pub(super) fn choose_shells(situation: &Situation<'_>, ranking: &Ranking, choice: &mut Choice) {
    let live: Vec<(Range<usize>, usize)> = (1..ranking.ranks.len())
        .filter(|&rank| {
            let (_, peer) = ranking.ranks[rank];
            situation.candidates[peer].linked.is_some()
        })
        .map(|rank| (ranking.as_near_as(rank), ranking.ranks[rank].1))
        .collect();
    let mut counted = vec![false; live.len()];
    for (shell, range) in ranking.shells().into_iter().enumerate() {
        let reason = Reason::Shell(shell as u8);
        let near_enough = range.start.div_ceil(2)..range.end * 2;
        let held_by = (0..live.len())
            .filter(|&link| !counted[link] && overlap(&near_enough, &live[link].0))
            .min_by_key(|&link| {
                let (ranks, peer) = &live[link];
                let wanted = choice.is_wanted(*peer) || situation.candidates[*peer].wants_me;
                (!overlap(&range, ranks), !wanted, link)
            });
        if let Some(link) = held_by {
            counted[link] = true;
            let peer = live[link].1;
            // With more links than aimed at, what the other end wants need not be held from here.
            if live.len() <= situation.degree || !situation.candidates[peer].wants_me {
                choice.add(peer, reason, None);
            }
            continue;
        }
        let members = || ranking.ranks[range.clone()].iter().map(|&(_, peer)| peer);
        if members().any(|peer| choice.is_wanted(peer)) {
            continue;
        }
        // By lot, so that not everybody nearby dials the same one.
        let lot = members()
            .filter(|&peer| situation.candidates[peer].is_open())
            .min_by_key(|&peer| {
                mix(situation.random_seed.rotate_left(32) ^ situation.candidates[peer].ring)
            });
        if let Some(peer) = lot {
            choice.add(peer, reason, None);
        }
    }
}
