//! Candidates: peers outside the view that are tried from time to time, so that one contact
//! heals a partition.

use crate::base::identity::PeerKey;
use crate::base::name::Address;
use crate::base::time::Micros;
use crate::core::Core;
use crate::overlay::Overlay;
use crate::overlay::links::Target;
use crate::wire::SignedRecord;
use hedgerow_topology::Reason;
use rand_chacha::rand_core::Rng;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Candidates kept.
const CANDIDATES_MAX: usize = 1_024;
/// Tried at once while the view has lost a fifth of its members, as far as `links.dials_max`
/// (by default 8) leaves room.
const BURST: usize = 16;
/// With fewer links than this, one or two are tried at once.
pub(crate) const LINKS_FEW: usize = 3;
/// After a refusal the other end serves its database, which knows better whom to try: so long
/// that takes, ms, or up to twice as long.
const INFORMED_MS: u64 = 400;
/// Between two bursts, ms.
const BURST_PAUSE_MS: u64 = 1_600;

/// Where a peer is said to be.
#[derive(Debug)]
pub(crate) enum Whereabouts {
    /// By itself; one record serves all who hold it.
    Stated(Arc<SignedRecord>),
    /// By somebody else.
    Told(Vec<Address>),
}

impl Whereabouts {
    fn addresses(&self) -> &[Address] {
        match self {
            Self::Stated(record) => &record.record.addresses,
            Self::Told(addresses) => addresses,
        }
    }
}

#[derive(Debug)]
struct Candidate {
    whereabouts: Whereabouts,
    /// When it was last heard of.
    seen: Micros,
}

/// Peers outside the view and where they were.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    peers: BTreeMap<PeerKey, Candidate>,
    next: Option<Micros>,
    /// Since when this minute runs, the most members that the view had in it, and in the minute
    /// before: a sudden drop is trouble.
    most: (Micros, usize, usize),
    pub(in crate::overlay) evicted: u64,
}

impl Candidates {
    pub(crate) fn due(&self) -> Option<Micros> {
        self.next
    }

    pub(crate) fn addresses_of(&self, peer: PeerKey) -> Vec<Address> {
        self.peers.get(&peer).map_or_else(Vec::new, |candidate| {
            candidate.whereabouts.addresses().to_vec()
        })
    }

    /// Takes note of where a peer is said to be.
    pub(crate) fn learn(&mut self, peer: PeerKey, whereabouts: Whereabouts, now: Micros) {
        if whereabouts.addresses().is_empty() {
            return;
        }
        if let Some(known) = self.peers.get_mut(&peer) {
            known.whereabouts = whereabouts;
            known.seen = now;
            return;
        }
        if self.peers.len() >= CANDIDATES_MAX {
            // The longest-lived are kept: a flood of new names displaces nobody.
            self.evicted += 1;
            return;
        }
        self.peers.insert(
            peer,
            Candidate {
                whereabouts,
                seen: now,
            },
        );
    }

    pub(crate) fn forget(&mut self, peer: PeerKey) {
        self.peers.remove(&peer);
    }
}

impl Overlay {
    /// Peers that fell out of the view become candidates, those that came in are none.
    pub(crate) fn on_view_changed_for_candidates(
        &mut self,
        core: &mut Core,
        others_are_in_it: bool,
    ) {
        if others_are_in_it {
            self.sort_candidates(core);
        }
        if self.trouble(core) > 0 {
            self.try_candidates_soon(core);
        } else if self.candidates.next.is_none() {
            self.schedule_candidates(core);
        }
    }

    fn sort_candidates(&mut self, core: &Core) {
        let now = core.now.mono;
        if !self.view.is_all_of(self.database.shape()) {
            let mut inside = self.view.peers().peekable();
            for record in self.database.records() {
                let peer = record.record.peer;
                // Both ascend.
                while inside.next_if(|inside| *inside < peer).is_some() {}
                if inside.peek() != Some(&peer) && !record.record.left {
                    let stated = Whereabouts::Stated(record.clone());
                    self.candidates.learn(peer, stated, now);
                }
            }
        }
        let inside: Vec<PeerKey> = self
            .candidates
            .peers
            .keys()
            .copied()
            .filter(|peer| self.view.contains(*peer))
            .collect();
        for peer in inside {
            self.candidates.forget(peer);
        }
        let left: Vec<PeerKey> = self
            .candidates
            .peers
            .keys()
            .copied()
            .filter(|peer| {
                self.database
                    .get(*peer)
                    .is_some_and(|record| record.record.left)
            })
            .collect();
        for peer in left {
            self.candidates.forget(peer);
        }
    }

    /// How many candidates there should be: many with a fifth of the members gone within a minute
    /// or two, as many as lack with fewer than three links, otherwise none.
    fn trouble(&mut self, core: &Core) -> usize {
        let now = core.now.mono;
        let peers = self.view.peers;
        let minute = Micros::from_millis(60_000);
        let (since, most, before) = &mut self.candidates.most;
        if now.since(*since) >= minute {
            *before = *most;
            *most = 0;
            *since = now;
        }
        // While it grows a view may shrink for a moment: links find their places.
        if !self.chooser.is_settling(now) {
            *most = (*most).max(peers);
        }
        let before = (*most).max(*before);
        if peers * 5 < before * 4 {
            return BURST;
        }
        LINKS_FEW.saturating_sub(self.up.len())
    }

    pub(crate) fn try_candidates_soon(&mut self, core: &mut Core) {
        let at = core.in_random_ms(20, 120);
        let at = self.candidates.next.map_or(at, |next| next.min(at));
        self.candidates.next = Some(at);
        core.wake_at(at);
    }

    /// The same after a refusal.
    pub(crate) fn try_candidates_when_informed(&mut self, core: &mut Core) {
        if self.up.len() < LINKS_FEW {
            let at = core.in_random_ms(INFORMED_MS, 2 * INFORMED_MS);
            self.candidates.next = Some(at);
            core.wake_at(at);
        }
    }

    /// The next is tried in a while.
    pub(crate) fn schedule_candidates(&mut self, core: &mut Core) {
        let config = &core.config.database;
        let (low, high) = (config.candidate_min_ms, config.candidate_max_ms);
        let at = core.in_random_ms(low, high);
        self.candidates.next = Some(at);
        core.wake_at(at);
    }

    pub(crate) fn on_candidates_timeout(&mut self, core: &mut Core) {
        let now = core.now.mono;
        if self.candidates.next.is_none_or(|next| next > now) {
            return;
        }
        self.candidates.next = None;
        let keep = Micros::from_millis(core.config.database.candidate_keep_ms);
        self.candidates
            .peers
            .retain(|_, candidate| now.since(candidate.seen) <= keep);
        let me = core.me;
        self.database.expire(me, now);
        self.sort_candidates(core);
        let trouble = self.trouble(core);
        if trouble == BURST {
            self.try_candidates(core, BURST);
        } else if trouble > 0 {
            // One link leads to the others: whom it leads to is then chosen.
            let lacking = if self.up.is_empty() { 2 } else { 1 };
            self.try_candidates(core, lacking.min(trouble.saturating_sub(self.connecting())));
        } else {
            self.try_candidates(core, 1);
        }
        if trouble > 0 && !self.candidates.peers.is_empty() {
            let at = core.in_random_ms(BURST_PAUSE_MS, BURST_PAUSE_MS * 5 / 4);
            self.candidates.next = Some(at);
            core.wake_at(at);
        } else {
            self.schedule_candidates(core);
        }
    }

    /// The candidate that would be this peer's ring successor, if one would be: it takes the link
    /// even when it is full. Everybody dials up the ring, so no two dial each other.
    fn next_on_ring(&self, core: &Core, targets: &[Target]) -> Option<usize> {
        let here = core.me.ring_position();
        let ahead = |peer: PeerKey| peer.ring_position().wrapping_sub(here);
        let linked = self.up.keys().map(|peer| ahead(*peer)).min();
        let peers = targets.iter().enumerate().filter_map(|(at, target)| {
            let Target::Peer(peer) = target else {
                return None;
            };
            Some((ahead(*peer), at))
        });
        let (distance, at) = peers.min()?;
        linked.is_none_or(|linked| distance < linked).then_some(at)
    }

    /// Dials up to `most` candidates that may be dialled: with few links the next on the ring,
    /// and others by lot.
    fn try_candidates(&mut self, core: &mut Core, most: usize) {
        let now = core.now.mono;
        let free = |target: &Target| self.dialer.is_free(target, now);
        let linked = |peer: &PeerKey| self.links.values().any(|link| link.peer == *peer);
        let mut targets: Vec<Target> = self
            .candidates
            .peers
            .keys()
            .filter(|peer| !linked(peer) && **peer != core.me && !self.is_banned(core, **peer))
            .map(|peer| Target::Peer(*peer))
            .chain(
                self.dialer
                    .loose_outside(|peer| {
                        self.view.contains(peer)
                            || peer == core.me
                            || linked(&peer)
                            || self.is_banned(core, peer)
                    })
                    .into_iter()
                    .map(Target::Address),
            )
            .filter(free)
            .collect();
        for turn in 0..most.min(targets.len()) {
            let next = if turn == 0 && self.up.len() < LINKS_FEW {
                self.next_on_ring(core, &targets)
            } else {
                None
            };
            let reason = next.map(|_| Reason::RingSuccessor);
            let at = next.unwrap_or_else(|| (core.rng.next_u64() % targets.len() as u64) as usize);
            let target = targets.swap_remove(at);
            core.count(counter!("candidates_tried"));
            self.dial(core, target, reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::interface::LinkEnd;
    use crate::overlay::fixture::{Fixture, ME, address, dialled, links_to, peer};

    fn told(number: u8) -> Whereabouts {
        Whereabouts::Told(vec![address(number)])
    }

    /// A peer that was told of these.
    fn knowing(numbers: impl Iterator<Item = u8>) -> Fixture {
        let mut fixture = Fixture::new();
        let now = fixture.now();
        for number in numbers {
            fixture
                .net
                .candidates
                .learn(peer(number), told(number), now);
        }
        fixture
    }

    /// Who is tried now.
    fn tried(fixture: &mut Fixture) -> Vec<Option<PeerKey>> {
        fixture.forget();
        fixture.net.candidates.next = Some(fixture.core.now.mono);
        fixture.net.on_candidates_timeout(&mut fixture.core);
        dialled(&fixture.commands())
    }

    #[test]
    fn the_fewer_links_there_are_the_more_are_tried_and_never_more_than_lack() {
        for (up, connecting, most) in [(0, 0, 2), (1, 0, 1), (1, 2, 0), (2, 1, 0), (3, 0, 1)] {
            let mut fixture = knowing(50..80);
            for number in 2..2 + up {
                fixture.link(number);
            }
            for number in 20..20 + connecting {
                fixture.connect(number);
            }
            assert_eq!(tried(&mut fixture).len(), most, "{up} {connecting}");
        }
    }

    #[test]
    fn with_few_links_the_next_on_the_ring_is_tried_first() {
        let mut fixture = knowing(50..80);
        let ahead = |number: &u8| {
            let here = peer(ME).ring_position();
            peer(*number).ring_position().wrapping_sub(here)
        };
        let next = (50..80).min_by_key(ahead).map(peer);
        assert_eq!(tried(&mut fixture)[0], next);
    }

    #[test]
    fn who_is_linked_banned_or_backed_off_is_not_tried() {
        let mut fixture = knowing([ME, 50, 51, 52].into_iter());
        fixture.connect(50);
        fixture.net.ban(&mut fixture.core, peer(51));
        fixture.net.penalise(&mut fixture.core, peer(52));
        assert_eq!(tried(&mut fixture), []);
        fixture.wait_ms(fixture.core.config.links.backoff_max_ms);
        assert_eq!(tried(&mut fixture), [Some(peer(52))]);
    }

    #[test]
    fn a_candidate_is_none_once_it_is_in_the_view_has_left_or_was_not_heard_of_for_long() {
        let mut fixture = knowing([2, 3, 50].into_iter());
        fixture.neighbour(2, |_| ());
        fixture.hold(3, |record| record.left = true);
        tried(&mut fixture);
        let known = |fixture: &Fixture| -> Vec<PeerKey> {
            fixture.net.candidates.peers.keys().copied().collect()
        };
        assert_eq!(known(&fixture), [peer(50)]);
        fixture.wait_ms(fixture.core.config.database.candidate_keep_ms + 1);
        tried(&mut fixture);
        assert_eq!(known(&fixture), []);
    }

    #[test]
    fn a_loss_of_more_than_a_fifth_of_the_view_has_many_tried_at_once() {
        let mut fixture = Fixture::new();
        let link = fixture.neighbour(2, |_| ());
        let others: Vec<u8> = (3..30).collect();
        for number in &others {
            fixture.hold(*number, |record| record.links = links_to(&[2]));
        }
        let all = [&[ME][..], &others].concat();
        fixture.hold(2, |record| record.links = links_to(&all));
        assert_eq!(fixture.net.view.peers, 29);
        fixture.wait_ms(60_000);
        tried(&mut fixture);
        fixture.wait_ms(60_000);
        fixture
            .net
            .on_link_lost(&mut fixture.core, link, LinkEnd::Transport);
        fixture.net.issue_record(&mut fixture.core);
        fixture.net.refresh_view(&mut fixture.core);
        assert_eq!(fixture.net.view.peers, 1);
        let before = fixture.counted("candidates_tried");
        tried(&mut fixture);
        let tried = fixture.counted("candidates_tried") - before;
        assert_eq!(tried, BURST as u64);
    }

    #[test]
    fn a_flood_of_names_displaces_nobody_and_is_counted() {
        let mut candidates = Candidates::default();
        for number in 0..CANDIDATES_MAX + 5 {
            let key = PeerKey(*blake3::hash(&number.to_be_bytes()).as_bytes());
            candidates.learn(key, told(9), Micros(0));
        }
        let nowhere = Whereabouts::Told(Vec::new());
        candidates.learn(peer(50), nowhere, Micros(0));
        let first = PeerKey(*blake3::hash(&0_usize.to_be_bytes()).as_bytes());
        assert_eq!(candidates.addresses_of(first), [address(9)]);
        assert_eq!(
            (candidates.peers.len(), candidates.evicted),
            (CANDIDATES_MAX, 5)
        );
    }
}
