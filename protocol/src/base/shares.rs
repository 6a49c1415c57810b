//! Room that links share: none of them can take all of it.
//!
//! A link may take more while it has less than four times what is free (dynamic thresholds;
//! Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998).
//! So a link that is alone gets four fifths, each of two gets four ninths, and a newcomer always
//! finds room.

use crate::base::identity::PeerKey;
use crate::base::interface::LinkId;
use std::collections::BTreeMap;

/// How many times what is free a link may have.
const OF_FREE: usize = 4;

/// How much of a room each link has taken.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    taken: usize,
    /// Whose the link is, for it may have ended before what it took is given back.
    links: BTreeMap<LinkId, (PeerKey, usize)>,
}

impl Shares {
    /// Takes one place of `max` for a link to `peer`; `false` when its share is used up.
    pub(crate) fn take(&mut self, link: LinkId, peer: PeerKey, max: usize) -> bool {
        self.take_many(link, peer, 1, max)
    }

    /// The same for so many places.
    pub(crate) fn take_many(
        &mut self,
        link: LinkId,
        peer: PeerKey,
        places: usize,
        max: usize,
    ) -> bool {
        let own = self.links.get(&link).map_or(0, |(_, own)| *own);
        let free = max.saturating_sub(self.taken);
        if own >= free.saturating_mul(OF_FREE) || places > free {
            return false;
        }
        self.taken += places;
        self.links.entry(link).or_insert((peer, 0)).1 += places;
        true
    }

    /// Gives a place back. Says whose the link is that had it.
    pub(crate) fn give_back(&mut self, link: LinkId) -> Option<PeerKey> {
        self.give_back_many(link, 1)
    }

    /// The same for so many places.
    pub(crate) fn give_back_many(&mut self, link: LinkId, places: usize) -> Option<PeerKey> {
        let (peer, own) = self.links.get_mut(&link)?;
        let peer = *peer;
        let places = places.min(*own);
        *own -= places;
        self.taken -= places;
        if *own == 0 {
            self.links.remove(&link);
        }
        Some(peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 60;

    fn fill(shares: &mut Shares, link: u64) -> usize {
        let peer = PeerKey([link as u8; 32]);
        (0..2 * MAX)
            .filter(|_| shares.take(LinkId(link), peer, MAX))
            .count()
    }

    #[test]
    fn a_link_that_takes_all_it_gets_leaves_room_for_others() {
        let mut shares = Shares::default();
        let first = fill(&mut shares, 1);
        let second = fill(&mut shares, 2);
        assert_eq!((first, second), (48, 10));
        // The greedy one gets nothing more until it has less than is free.
        for _ in 0..8 {
            assert!(!shares.take(LinkId(1), PeerKey([1; 32]), MAX));
            shares.give_back(LinkId(1));
        }
        assert_eq!(fill(&mut shares, 2), 6);
        assert!(fill(&mut shares, 3) > 0);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let mut shares = Shares::default();
        assert_eq!(fill(&mut shares, 1), 48);
        for _ in 0..48 {
            assert_eq!(shares.give_back(LinkId(1)), Some(PeerKey([1; 32])));
        }
        assert_eq!(shares.give_back(LinkId(1)), None);
        assert_eq!(fill(&mut shares, 2), 48);
        assert_eq!(shares.links.len(), 1);
    }
}
