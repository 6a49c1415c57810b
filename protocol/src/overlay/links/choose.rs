//! Whom to link to: asks the topology, tells the other ends, and leaves the rest to `seek` (whom
//! to dial) and `admit` (what comes, what goes).

mod admit;
mod link_candidates;
mod seek;
#[cfg(feature = "warm")]
mod warm;

#[cfg(feature = "warm")]
pub use warm::WarmChoice;

use super::{Stage, reason_from_wire, reason_to_wire};
use crate::base::identity::PeerKey;
use crate::base::interface::LinkId;
use crate::base::time::Micros;
use crate::core::Core;
use crate::overlay::Overlay;
use crate::wire::frame::Wants;
use crate::wire::record::SoughtGroup;
use hedgerow_topology::{Considered, Reason, Want};
use link_candidates::LinkCandidates;
use std::collections::BTreeMap;

/// How long an unwanted link lives: both ends need a moment to say that they want it, ms.
const UNWANTED_MS: u64 = 3_000;
/// Then it is stated no more, and lives on for so long beyond the rest of views, ms: until records
/// (`database.reissue_ms`) and views (`database.debounce_ms`) have followed everywhere, trees lead over it.
const PARTING_MS: u64 = 1_500;
/// After a touch the choice waits so long for more to happen, ms.
const SETTLE_MS: u64 = 20;
/// Looked at this often even when nothing happened, in multiples of `choose_ms`; while nothing
/// comes of it the wait doubles up to the second.
const IDLE_ROUNDS: u64 = 5;
const IDLE_ROUNDS_MAX: u64 = 20;
/// In views beyond so many peers the wait grows with them.
const LOOK_PEERS: usize = 1_000;
/// A change of the view is looked at after a wait that grows with it, microseconds for every peer:
/// the more there are, the less one of them matters. Links of one's own do not wait.
const VIEW_SETTLE_US: u64 = 1_000;
/// The same where only links between others have changed.
const LINKS_SETTLE_US: u64 = 5_000;
/// What another end wants is looked at after so long, ms, and up to twice as much again: two ends
/// that each want a link only while the other does not must not answer each other in step.
const WANTS_SETTLE_MS: u64 = 500;
/// While a view grows so fast, a tenth in so long, only the ring is dialled: who is near and which
/// shells are empty is known when it has settled, ms. But not for longer than the second.
const GROWTH_SHARE: usize = 10;
const GROWTH_MS: u64 = 700;
const GROWTH_MAX_MS: u64 = 5_000;
/// After growth, or the loss of a twentieth, views are to become one before links are improved:
/// whoever has three quarters of the links that it aims at searches for no more and drops none for
/// so long for every peer in the view, microseconds, but not for longer than the second, ms; and by
/// lot for up to as much again, here up to the third, so that not all begin at once.
const LOSS_SHARE: usize = 20;
const HOLD_US: u64 = 50_000;
const HOLD_MAX_MS: u64 = 15_000;
const HOLD_LOT_MAX_MS: u64 = 60_000;
/// Between two dials for searches and random links, ms, and up to as much again: what others
/// dial meanwhile serves as well. With three quarters of the links that it aims at a peer is in
/// no hurry: the wait is the second and doubles with each, up to the third, until the view grows
/// again.
const PACE_MS: u64 = 500;
const PACE_CALM_MS: u64 = 4_000;
const PACE_MAX_MS: u64 = 600_000;
/// Both ends want a ring link, a repair, a nearest one. One end dials at once, the other when
/// nothing has come for so long, ms, and up to half as much again.
const YIELD_MS: u64 = 600;
/// Dials for a search that a newcomer has, and the time until it gets a further one, ms: such
/// searches would go on for as long as estimates shift a little.
const SEARCHES: u32 = 32;
const SEARCH_REFILL_MS: u64 = 600_000;
/// First and longest wait before a search tries a peer again that refused, or whose link nobody
/// wanted, ms.
const COOL_MIN_MS: u64 = 30_000;
const COOL_MAX_MS: u64 = 3_600_000;
/// RTTs remembered of peers without a link.
const MEASURED_MAX: usize = 1_024;

/// How much hangs on a reason, roughly: which shell a link serves changes often and matters to
/// nobody else.
fn weight_of(wire: u16) -> u8 {
    match reason_from_wire(wire) {
        None => 0,
        Some(reason) if reason.is_search() => 1,
        Some(Reason::Random(_) | Reason::Repair) => 2,
        Some(_) => 3,
    }
}

/// When and from what the choice is made.
#[derive(Debug)]
pub(crate) struct Chooser {
    seed: u64,
    next: Micros,
    last: Micros,
    last_swap: Option<Micros>,
    /// RTTs of earlier links, microseconds: a peer that only looked near is not dialled again.
    measured: BTreeMap<PeerKey, u32>,
    /// Until when no search goes to a peer, and how long the wait was.
    cooling: BTreeMap<PeerKey, (Micros, Micros)>,
    searches: u32,
    refilled: Micros,
    /// The size of the view that further growth is measured by, when it was taken, and when the
    /// growth that goes on began.
    grown: (usize, Micros, Micros),
    /// Views are looked at so much later than they change.
    rest: Micros,
    /// Since when links are not improved for growth or loss.
    held: Option<Micros>,
    /// The size of the view that a loss is measured by.
    fullest: usize,
    /// When the last search was dialled, by how many 256ths the wait after it is longer, and how
    /// many were dialled without hurry.
    searched: (Micros, u64),
    improvements: u32,
    /// Until when dials that the other end should make are left to it.
    yielding: BTreeMap<PeerKey, Micros>,
    idle_rounds: u64,
}

impl Chooser {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            next: Micros(0),
            last: Micros(0),
            last_swap: None,
            measured: BTreeMap::new(),
            cooling: BTreeMap::new(),
            searches: SEARCHES,
            refilled: Micros(0),
            grown: (0, Micros(0), Micros(0)),
            rest: Micros(0),
            held: None,
            fullest: 0,
            searched: (Micros(0), 0),
            improvements: 0,
            yielding: BTreeMap::new(),
            idle_rounds: IDLE_ROUNDS,
        }
    }

    /// Takes note of the size of the view, which is not looked at again for `rest`.
    pub(crate) fn note_view(&mut self, peers: usize, rest: Micros, now: Micros) {
        let (known, at, _) = self.grown;
        self.rest = rest;
        if peers < self.fullest - self.fullest / LOSS_SHARE {
            // A part that comes and goes holds nobody for ever.
            if self.held_until() <= now {
                self.held = Some(now);
            }
            self.fullest = peers;
        }
        self.fullest = self.fullest.max(peers);
        if peers > known + known / GROWTH_SHARE {
            self.held = Some(now);
            if now.since(at) > Micros::from_millis(GROWTH_MS) + rest {
                self.grown.2 = now;
                self.improvements = 0;
            }
            self.grown.0 = peers;
            self.grown.1 = now;
        } else if peers < known {
            self.grown.0 = peers;
        }
    }

    /// Whether the view grows.
    pub(crate) fn is_settling(&self, now: Micros) -> bool {
        self.settled_at() > now
    }

    fn settled_at(&self) -> Micros {
        let (_, at, since) = self.grown;
        let quiet = at + Micros::from_millis(GROWTH_MS);
        quiet.min(since + Micros::from_millis(GROWTH_MAX_MS)) + self.rest
    }

    /// When links that are only better than others may be made, and those that nobody wants
    /// dropped.
    fn held_until(&self) -> Micros {
        let Some(at) = self.held else {
            return Micros(0);
        };
        let hold = Micros(self.grown.0 as u64 * HOLD_US);
        let most = hold.min(Micros::from_millis(HOLD_LOT_MAX_MS));
        let lot = Micros(most.0 * (self.seed % 256) / 256);
        at + hold.min(Micros::from_millis(HOLD_MAX_MS)) + lot
    }

    /// When the next search may be dialled.
    fn paced_until(&self, is_calm: bool) -> Micros {
        let wait_ms = if is_calm {
            (PACE_CALM_MS << self.improvements.min(20)).min(PACE_MAX_MS)
        } else {
            PACE_MS
        };
        let (at, jitter) = self.searched;
        let paced = at + Micros(wait_ms * 1_000 * (256 + jitter) / 256);
        if is_calm {
            paced.max(self.held_until())
        } else {
            paced
        }
    }

    /// Sees to it that the choice is made again no later than `at`.
    fn look_again(&mut self, at: Micros) {
        self.next = self.next.min(at);
    }

    /// A refusal, or a link that nobody wanted: no search for a while, twice as long each time.
    pub(crate) fn cool(&mut self, peer: PeerKey, now: Micros) {
        let most = Micros::from_millis(COOL_MAX_MS);
        self.cooling
            .retain(|_, (until, wait)| now.since(*until) < *wait);
        let wait = match self.cooling.get(&peer) {
            Some((_, wait)) => wait.times(2).min(most),
            None => Micros::from_millis(COOL_MIN_MS),
        };
        if self.cooling.len() < MEASURED_MAX || self.cooling.contains_key(&peer) {
            self.cooling.insert(peer, (now + wait, wait));
        }
    }

    fn refill(&mut self, now: Micros) {
        let pause = Micros::from_millis(SEARCH_REFILL_MS);
        while now.since(self.refilled) >= pause {
            self.refilled = self.refilled + pause;
            self.searches = (self.searches + 1).min(SEARCHES);
        }
    }

    /// Something that the choice depends on has changed.
    pub(crate) fn touch(&mut self, now: Micros) {
        self.touch_within(now, Micros::from_millis(SETTLE_MS));
    }

    /// The view has others in it than before, so many.
    pub(crate) fn touch_for_peers(&mut self, peers: usize, now: Micros) {
        let wait = Micros(peers as u64 * VIEW_SETTLE_US);
        self.touch_within(now, wait.max(Micros::from_millis(SETTLE_MS)));
    }

    /// The view of so many peers has other links than before.
    pub(crate) fn touch_for_links(&mut self, peers: usize, now: Micros) {
        let wait = Micros(peers as u64 * LINKS_SETTLE_US);
        self.touch_within(now, wait.max(Micros::from_millis(SETTLE_MS)));
    }

    fn touch_within(&mut self, now: Micros, wait: Micros) {
        self.next = self.next.min(now.max(self.last) + wait);
        self.idle_rounds = IDLE_ROUNDS;
    }

    /// Nothing has happened for long, nor has anything grown.
    #[cfg(any(feature = "warm", test))]
    pub(crate) fn begin_idle(&mut self) {
        self.held = None;
        self.idle_rounds = IDLE_ROUNDS_MAX;
    }

    pub(crate) fn due(&self) -> Micros {
        self.next
    }
}

impl Overlay {
    pub(crate) fn on_choose_timeout(&mut self, core: &mut Core) {
        let now = core.now.mono;
        if self.chooser.next > now {
            return;
        }
        self.chooser.last = now;
        self.forget_lost(core);
        let idle = self.idle_choice_ms(core);
        self.chooser.idle_rounds = if self.view.lost.is_empty() {
            (self.chooser.idle_rounds * 2).min(IDLE_ROUNDS_MAX)
        } else {
            IDLE_ROUNDS
        };
        self.chooser.next = core.in_random_ms(idle * 3 / 4, idle * 5 / 4);
        if core.stopping.is_some() {
            return;
        }
        self.choose(core);
    }

    /// Another end has said whether it wants its link.
    pub(super) fn touch_choice_for_wants(&mut self, core: &mut Core) {
        let at = core.in_random_ms(WANTS_SETTLE_MS, WANTS_SETTLE_MS * 3);
        self.chooser.look_again(at);
        core.wake_at(at);
    }

    /// How long it is to the next look while nothing happens: the larger the view, the more a
    /// look costs.
    pub(crate) fn idle_choice_ms(&self, core: &Core) -> u64 {
        let share = 1 + (self.view.peers / LOOK_PEERS) as u64;
        core.config.links.choose_ms * self.chooser.idle_rounds * share
    }

    fn choose(&mut self, core: &mut Core) {
        core.count(counter!("links_reconsidered"));
        self.chooser.refill(core.now.mono);
        let Some(field) = self.field(core) else {
            return;
        };
        let chosen = self.chosen(core, &field);
        self.apply_wants(core, &field, &chosen);
        self.dial_ring(core, &field);
        self.dial_wants(core, &field, &chosen);
        self.close_unwanted(core, &field);
        self.shed_surplus(core, &field);
    }

    /// Wants for the network and for each further group, the strongest reason per peer.
    fn chosen(&self, core: &Core, field: &LinkCandidates) -> Vec<Want> {
        let situation = field.situation(core.config.links.degree, self.chooser.seed);
        let considered = Considered::new(&situation);
        let mut chosen = considered.wants();
        for name in &self.adverts.linked {
            let sought = SoughtGroup::new(name);
            let members: Vec<bool> = field
                .snapshot
                .records
                .iter()
                .map(|record| record.role_in(&sought).is_some())
                .collect();
            for want in considered.group_wants(&members) {
                match chosen.iter_mut().find(|known| known.peer == want.peer) {
                    Some(known) if want.reason.is_ring() && !known.reason.is_ring() => {
                        *known = want;
                    }
                    Some(_) => {}
                    None => chosen.push(want),
                }
            }
        }
        chosen
    }

    fn apply_wants(&mut self, core: &mut Core, field: &LinkCandidates, chosen: &[Want]) {
        let by_peer: BTreeMap<PeerKey, Reason> = chosen
            .iter()
            .map(|want| (field.key(want.peer), want.reason))
            .collect();
        let ids: Vec<LinkId> = self.up.values().copied().collect();
        for id in ids {
            let Some(link) = self.links.get_mut(&id) else {
                continue;
            };
            link.wants = by_peer.get(&link.peer).copied();
            if let Some(rtt) = link.rtt.minimum_us()
                && (self.chooser.measured.len() < MEASURED_MAX
                    || self.chooser.measured.contains_key(&link.peer))
            {
                self.chooser.measured.insert(link.peer, rtt as u32);
            }
            let told = reason_to_wire(link.wants);
            if weight_of(link.told_wants) != weight_of(told) {
                link.told_wants = told;
                self.send(core, id, Wants { wants: told });
            }
        }
    }

    /// Links that are still in their handshake, and dials.
    pub(crate) fn connecting(&self) -> usize {
        let handshakes = self
            .links
            .values()
            .filter(|link| link.stage == Stage::Handshake);
        handshakes.count() + self.dialer.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_holds_improvements_for_a_while_and_a_long_life_holds_none() {
        let mut chooser = Chooser::new(255);
        let now = Micros::from_millis(1_000);
        chooser.note_view(10_000, Micros(0), now);
        let most = Micros::from_millis(HOLD_MAX_MS + HOLD_LOT_MAX_MS);
        assert!(chooser.held_until() > now + Micros::from_millis(HOLD_MAX_MS));
        assert!(chooser.held_until() <= now + most);
        chooser.begin_idle();
        assert!(chooser.held_until() <= now);
    }

    #[test]
    fn the_loss_of_a_twentieth_holds_improvements_however_slowly_it_shows() {
        let mut chooser = Chooser::new(0);
        let at = Micros::from_millis;
        chooser.note_view(1_000, Micros(0), at(1_000));
        chooser.begin_idle();
        chooser.note_view(970, Micros(0), at(2_000));
        assert!(chooser.held_until() <= at(2_000), "few are gone");
        chooser.note_view(940, Micros(0), at(3_000));
        assert_eq!(chooser.held_until(), at(3_000 + HOLD_MAX_MS));
        chooser.note_view(800, Micros(0), at(4_000));
        assert_eq!(chooser.held_until(), at(3_000 + HOLD_MAX_MS), "held once");
    }
}
