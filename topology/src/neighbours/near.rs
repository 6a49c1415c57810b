//! The nearest member, and one in each of a few shells of geometrically growing rank.
//!
//! Shells are rings of Meridian (Wong, Slivkins, Sirer, SIGCOMM 2005) by rank instead of by
//! latency, so that each holds somebody however peers lie.

use super::{Choice, Reason, SWAP_DENOMINATOR, SWAP_NUMERATOR, Situation, mix};
use crate::graph::HOP_US;

/// Shells beyond the nearest.
const SHELLS: usize = 4;

/// Round-trip time to `peer` in microseconds: measured if it ever was, else by coordinates.
pub(super) fn estimate_us(situation: &Situation<'_>, peer: usize) -> u32 {
    let mine = &situation.candidates[situation.me];
    let other = &situation.candidates[peer];
    let known = other.linked.or(other.measured);
    known.unwrap_or_else(|| mine.coordinate.distance_us(&other.coordinate))
}

/// Members of the view from near to far.
pub(super) struct Ranking {
    /// (estimated round-trip time in microseconds, candidate).
    ranks: Vec<(u32, usize)>,
}

impl Ranking {
    pub(super) fn new(situation: &Situation<'_>, is_member: impl Fn(usize) -> bool) -> Self {
        let mut ranks: Vec<(u32, usize)> = (0..situation.candidates.len())
            .filter(|&peer| peer != situation.me && situation.candidates[peer].in_view)
            .filter(|&peer| is_member(peer))
            .map(|peer| (estimate_us(situation, peer), peer))
            .collect();
        ranks.sort_unstable();
        Self { ranks }
    }

    /// The ranks of each shell: from the nearest but one outwards, each reaching as many times
    /// further as the one before.
    fn shells(&self) -> [std::ops::Range<usize>; SHELLS] {
        let growth = (self.ranks.len() as f64).sqrt().sqrt();
        let mut start = 1;
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

/// The nearest live link, and whoever is nearer by enough to be worth a swap.
pub(super) fn choose_nearest(situation: &Situation<'_>, ranking: &Ranking, choice: &mut Choice) {
    let linked = |&&(_, peer): &&(u32, usize)| situation.candidates[peer].linked.is_some();
    let usable = |&&(_, peer): &&(u32, usize)| situation.candidates[peer].is_usable();
    let Some(&(reach, nearest)) = ranking.ranks.iter().find(usable) else {
        return;
    };
    let Some(&(reach_now, now)) = ranking.ranks.iter().find(linked) else {
        choice.add(nearest, Reason::Nearest, None);
        return;
    };
    let hop = u64::from(HOP_US) * 2;
    let (cost, cost_now) = (u64::from(reach) + hop, u64::from(reach_now) + hop);
    let swap_for = (!choice.is_wanted(now)).then_some(now);
    choice.add(now, Reason::Nearest, None);
    if cost * SWAP_DENOMINATOR <= cost_now * SWAP_NUMERATOR {
        choice.add(nearest, Reason::Nearest, swap_for);
    }
}

/// For a further group: any live link among the nearer quarter of the members will do.
pub(super) fn choose_near_enough(
    situation: &Situation<'_>,
    ranking: &Ranking,
    choice: &mut Choice,
) {
    let quarter = ranking.ranks.len().div_ceil(4);
    let near = ranking.ranks.iter().take(quarter);
    let linked = near
        .map(|&(_, peer)| peer)
        .find(|&peer| situation.candidates[peer].linked.is_some());
    let usable = || {
        let peers = ranking.ranks.iter().map(|&(_, peer)| peer);
        peers
            .into_iter()
            .find(|&peer| situation.candidates[peer].is_usable())
    };
    if let Some(peer) = linked.or_else(usable) {
        choice.add(peer, Reason::Nearest, None);
    }
}

/// One per shell. A live link satisfies it: one that is wanted anyway, else one that the other
/// end wants, else the nearest. Only an empty shell takes a dial.
pub(super) fn choose_shells(situation: &Situation<'_>, ranking: &Ranking, choice: &mut Choice) {
    for (shell, range) in ranking.shells().into_iter().enumerate() {
        let reason = Reason::Shell(shell as u8);
        let members = &ranking.ranks[range];
        let live = members
            .iter()
            .map(|&(_, peer)| peer)
            .filter(|&peer| situation.candidates[peer].linked.is_some())
            .min_by_key(|&peer| {
                (
                    !choice.is_wanted(peer),
                    !situation.candidates[peer].wants_me,
                )
            });
        if let Some(peer) = live {
            choice.add(peer, reason, None);
        } else if !members.iter().any(|&(_, peer)| choice.is_wanted(peer)) {
            // By lot, so that not everybody nearby dials the same one.
            let lot = members
                .iter()
                .map(|&(_, peer)| peer)
                .filter(|&peer| situation.candidates[peer].reachable)
                .min_by_key(|&peer| {
                    mix(situation.random_seed.rotate_left(32) ^ situation.candidates[peer].ring)
                });
            if let Some(peer) = lot {
                choice.add(peer, reason, None);
            }
        }
    }
}
