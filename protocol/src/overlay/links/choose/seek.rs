//! Dials for the links that are wanted: who is tried, who is left alone, and at what pace.

use super::{IDLE_ROUNDS, LinkCandidates, YIELD_MS};
use crate::base::identity::PeerKey;
use crate::base::time::Micros;
use crate::core::Core;
use crate::overlay::Overlay;
use crate::overlay::links::dial::Target;
use hedgerow_topology::{Admission, Reason, Side, Want, admit, ring_walk};
use rand_chacha::rand_core::Rng;

impl Overlay {
    /// Whether a peer's record says that it takes no more links but those of the ring.
    pub(crate) fn is_full(&self, core: &Core, peer: PeerKey) -> bool {
        let record = self.database.get(peer);
        record.is_some_and(|record| record.record.links.len() >= core.config.links.accept_max)
    }

    /// Whether a dial to a peer that both ends want is left to the other end for now. Successors
    /// are dialled by their predecessors, others by the smaller key. Whoever was lost may not
    /// know of it.
    fn is_left_to(
        &mut self,
        core: &mut Core,
        peer: PeerKey,
        reason: Reason,
        in_view: bool,
    ) -> bool {
        let mine = match reason {
            Reason::RingPredecessor => false,
            Reason::Repair | Reason::Nearest => core.me < peer,
            _ => true,
        };
        if mine || !in_view {
            return false;
        }
        let now = core.now.mono;
        let until = match self.chooser.yielding.get(&peer) {
            Some(until) => *until,
            None => core.in_random_ms(YIELD_MS, YIELD_MS * 3 / 2),
        };
        self.chooser.yielding.insert(peer, until);
        if until > now {
            self.chooser.look_again(until);
        }
        until > now
    }

    /// While a side of the ring has no living link, dials walk outward on it. Past whoever was
    /// lost they go many at a time: after a mass crash most of those who come first are dead.
    pub(super) fn dial_ring(&mut self, core: &mut Core, field: &LinkCandidates) {
        let situation = field.situation(core.config.links.degree, self.chooser.seed);
        for (side, reason) in [
            (Side::Successor, Reason::RingSuccessor),
            (Side::Predecessor, Reason::RingPredecessor),
        ] {
            let share = core.config.links.dials_max.div_ceil(2);
            let mut under_way = 0;
            for index in ring_walk(&situation, side) {
                let candidate = &field.candidates[index];
                if candidate.linked.is_some() || under_way >= share {
                    break;
                }
                let peer = field.key(index);
                if !candidate.reachable {
                    continue;
                }
                let target = Target::Peer(peer);
                if self.dialer.is_dialling(&target)
                    || self.is_left_to(core, peer, reason, candidate.in_view)
                    || self.dial(core, target, Some(reason))
                {
                    under_way += 1;
                    if candidate.in_view {
                        break;
                    }
                }
            }
        }
    }

    pub(super) fn dial_wants(&mut self, core: &mut Core, field: &LinkCandidates, chosen: &[Want]) {
        let now = core.now.mono;
        self.chooser
            .yielding
            .retain(|_, until| now.since(*until) < Micros::from_millis(YIELD_MS));
        let settled = self.chooser.settled_at();
        for want in chosen {
            if field.candidates[want.peer].linked.is_some() {
                continue;
            }
            let is_paced = !want.reason.is_ring() && want.reason != Reason::Repair;
            if is_paced {
                let from = settled.max(self.chooser.paced_until(self.is_calm(core)));
                if from > now {
                    self.chooser.look_again(from);
                    continue;
                }
            }
            if want.swap_for.is_some() {
                let pause = Micros::from_millis(core.config.links.swap_ms);
                if self
                    .chooser
                    .last_swap
                    .is_some_and(|last| now.since(last) < pause)
                {
                    continue;
                }
            }
            let search = want.reason.is_search();
            if search && self.chooser.searches == 0 || !self.has_room_for(core, field, want) {
                continue;
            }
            let peer = field.key(want.peer);
            if self.is_left_to(core, peer, want.reason, field.candidates[want.peer].in_view) {
                continue;
            }
            if self.dial(core, Target::Peer(peer), Some(want.reason)) {
                self.chooser.idle_rounds = IDLE_ROUNDS;
                if is_paced {
                    self.chooser.searched = (now, core.rng.next_u64() % 256);
                    self.chooser.improvements += u32::from(self.is_calm(core));
                }
                self.chooser.searches -= u32::from(search);
                if want.swap_for.is_some() {
                    self.chooser.last_swap = Some(now);
                }
            }
        }
    }

    /// Whether this peer has nearly as many links as it aims at.
    pub(super) fn is_calm(&self, core: &Core) -> bool {
        self.up.len() * 4 >= core.config.links.degree * 3
    }

    /// Whether this peer would itself take the link that it wants: own dials keep to the limits.
    pub(super) fn has_room_for(&self, core: &Core, field: &LinkCandidates, want: &Want) -> bool {
        want.swap_for.is_some()
            || admit(
                &self.link_uses(core, field),
                want.reason,
                true,
                Self::limits(core),
            ) != Admission::Refuse
    }
}
