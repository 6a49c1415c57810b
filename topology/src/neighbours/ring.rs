//! The ring: one order for all groups, by hash of the key. Successor and predecessor alone
//! connect a group, and walking outward mends any crash.

use super::{Choice, Reason, Situation};

/// Which way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Up, towards larger ring positions.
    Successor,
    /// Down.
    Predecessor,
}

impl Side {
    fn reason(self) -> Reason {
        match self {
            Self::Successor => Reason::RingSuccessor,
            Self::Predecessor => Reason::RingPredecessor,
        }
    }

    /// How far `there` is from `here`, going this way round; ties by index.
    fn distance(self, situation: &Situation<'_>, peer: usize) -> (u64, usize) {
        let here = situation.candidates[situation.me].ring;
        let there = situation.candidates[peer].ring;
        let peers = situation.candidates.len();
        // Equal positions (a hash of 64 bits may collide) stand in order of index.
        match self {
            Self::Successor => (
                there.wrapping_sub(here),
                (peer + peers - situation.me) % peers,
            ),
            Self::Predecessor => (
                here.wrapping_sub(there),
                (situation.me + peers - peer) % peers,
            ),
        }
    }
}

/// All other candidates in the order in which the ring meets them, reachable or not. The link
/// manager dials along it, 8 at a time, until one answers.
pub fn ring_walk<'a>(situation: &'a Situation<'a>, side: Side) -> impl Iterator<Item = usize> + 'a {
    let nearest = first(situation, side, |_| true);
    // Mostly that one is linked, and nobody asks further. Without a nearest there is nobody.
    let beyond = nearest.into_iter().map(move |nearest| {
        let mut order: Vec<usize> = (0..situation.candidates.len())
            .filter(|&peer| peer != situation.me && peer != nearest)
            .collect();
        order.sort_by_cached_key(|&peer| side.distance(situation, peer));
        order
    });
    nearest.into_iter().chain(beyond.flatten())
}

/// Whether my own database confirms that `peer` may call the link a ring link: walking the ring
/// either way, nobody whom I have a link to comes before it.
pub fn confirms_ring(situation: &Situation<'_>, peer: usize) -> bool {
    if situation.me >= situation.candidates.len() || peer >= situation.candidates.len() {
        return false;
    }
    peer != situation.me
        && [Side::Successor, Side::Predecessor]
            .into_iter()
            .any(|side| {
                let linked = |other: usize| situation.candidates[other].linked.is_some();
                first(situation, side, linked).is_none_or(|nearest| {
                    side.distance(situation, peer) <= side.distance(situation, nearest)
                })
            })
}

fn first(situation: &Situation<'_>, side: Side, accept: impl Fn(usize) -> bool) -> Option<usize> {
    if situation.me >= situation.candidates.len() {
        return None;
    }
    (0..situation.candidates.len())
        .filter(|&peer| peer != situation.me && accept(peer))
        .min_by_key(|&peer| side.distance(situation, peer))
}

/// The first member on either side that is linked or worth a dial.
pub(super) fn choose(
    situation: &Situation<'_>,
    is_member: impl Fn(usize) -> bool,
    choice: &mut Choice,
) {
    for side in [Side::Successor, Side::Predecessor] {
        let usable = |peer| is_member(peer) && situation.candidates[peer].is_usable();
        if let Some(peer) = first(situation, side, usable) {
            choice.add(peer, side.reason(), None);
        }
    }
}
