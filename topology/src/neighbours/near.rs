//! The nearest member, and one in each of a few shells of geometrically growing rank.
//!
//! Shells are rings of Meridian (Wong, Slivkins, Sirer, SIGCOMM 2005) by rank instead of by
//! latency, so that each holds somebody however peers lie.

use super::estimate::Estimates;
use super::ranking::{Ranked, Ranking};
use super::{Candidate, Choice, Reason, SWAP_DENOMINATOR, SWAP_NUMERATOR, Situation, mix};
use crate::graph::HOP_US;
use std::ops::Range;

fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

/// The nearest live link, and whoever is nearer by enough to be worth a swap.
pub(super) fn choose_nearest(estimates: &Estimates, ranking: &Ranking<'_>, choice: &mut Choice) {
    let held = ranking.linked.first();
    let swap_for = held
        .map(|held| held.peer)
        .filter(|&now| !choice.is_wanted(now));
    if let Some(held) = held {
        choice.add(held.peer, Reason::Nearest, None);
    }
    let Some(nearest) = ranking.nearest(Candidate::is_open) else {
        return;
    };
    let Some(held) = held else {
        choice.add(nearest, Reason::Nearest, None);
        return;
    };
    let hop = u64::from(HOP_US) * 2;
    let cost = u64::from(estimates.cautious_us(nearest)) + hop;
    let cost_now = u64::from(held.rtt_us) + hop;
    if cost * SWAP_DENOMINATOR <= cost_now * SWAP_NUMERATOR {
        choice.add(nearest, Reason::Nearest, swap_for);
    }
}

/// For a further group: any live link among the nearer quarter of the members will do, or to one
/// who is as near as they are; best one that the other end wants, which stays whatever I say.
pub(super) fn choose_near_enough(
    situation: &Situation<'_>,
    ranking: &Ranking<'_>,
    choice: &mut Choice,
) {
    let last = ranking.len().div_ceil(4).checked_sub(1);
    let is_near_enough = |link: &&Ranked| {
        // Among the nearer ones, or as near as the last of them is to it.
        last.is_some_and(|last| link.rank <= last || link.as_near.start <= last)
    };
    let linked = ranking
        .linked
        .iter()
        .filter(is_near_enough)
        .map(|link| link.peer)
        .min_by_key(|&peer| !situation.candidates[peer].wants_me);
    let nearest = || ranking.nearest(|candidate| candidate.linked.is_some() || candidate.is_open());
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
pub(super) fn choose_shells(situation: &Situation<'_>, ranking: &Ranking<'_>, choice: &mut Choice) {
    let live: Vec<&Ranked> = ranking.linked.iter().filter(|link| link.rank > 0).collect();
    let mut counted = vec![false; live.len()];
    for (shell, range) in ranking.shells().into_iter().enumerate() {
        let reason = Reason::Shell(shell as u8);
        let near_enough = range.start.div_ceil(2)..range.end * 2;
        let held_by = (0..live.len())
            .filter(|&link| !counted[link] && overlap(&near_enough, &live[link].as_near))
            .min_by_key(|&link| {
                let Ranked { peer, as_near, .. } = live[link];
                let wanted = choice.is_wanted(*peer) || situation.candidates[*peer].wants_me;
                (!overlap(&range, as_near), !wanted, link)
            });
        if let Some(link) = held_by {
            counted[link] = true;
            let peer = live[link].peer;
            // With more links than aimed at, what the other end wants need not be held from here.
            if live.len() <= situation.degree || !situation.candidates[peer].wants_me {
                choice.add(peer, reason, None);
            }
            continue;
        }
        let members = ranking.at(range);
        if members.iter().any(|&peer| choice.is_wanted(peer)) {
            continue;
        }
        // By lot, so that not everybody nearby dials the same one.
        let lot = members
            .into_iter()
            .filter(|&peer| situation.candidates[peer].is_open())
            .min_by_key(|&peer| {
                let ring = situation.candidates[peer].ring;
                (mix(situation.random_seed.rotate_left(32) ^ ring), peer)
            });
        if let Some(peer) = lot {
            choice.add(peer, reason, None);
        }
    }
}
