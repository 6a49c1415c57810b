//! Links of the model come and go: what is wanted is dialled, admitted or refused, and closed.

use super::{DIALS, Model, ModelLink};
use crate::cuts::Cuts;
use crate::neighbours::{
    Admission, LinkUse, Reason, Situation, Want, admit, confirms_ring, is_closable, shed,
};
use petgraph::graph::NodeIndex;

impl<R: Fn(usize, usize) -> u32 + Sync, N: FnMut() -> u64 + Sync> Model<R, N> {
    /// Notes why each link is wanted, and dials what is wanted beyond.
    pub(super) fn apply(&mut self, me: usize, chosen: Vec<Want>, cuts: &Cuts, may_swap: &mut bool) {
        let links = &mut self.peers[me].links;
        let before: Vec<(usize, bool)> = links
            .iter_mut()
            .map(|(&other, link)| (other, link.mine.take().is_some()))
            .collect();
        let mut lacking = Vec::new();
        for want in chosen {
            match links.get_mut(&want.peer) {
                Some(link) => link.mine = Some(want.reason),
                None => lacking.push(want),
            }
        }
        for (other, was_wanted) in before {
            if links[&other].mine.is_some() != was_wanted {
                self.concerned.insert(other);
            }
        }
        let mut dials = DIALS;
        for want in lacking {
            if dials > 0 && self.may_dial(me, &want, cuts, *may_swap) {
                dials -= 1;
                *may_swap &= want.swap_for.is_none();
                self.peers[me].search_budget -= usize::from(want.reason.is_search());
                self.dial(me, want.peer, want.reason);
            }
        }
    }

    fn links_changed(&mut self, peer: usize) {
        self.concerned.insert(peer);
        let links = self.peers[peer].links.len();
        self.known[peer].busy = links >= self.effort.degree;
        self.known[peer].full = links >= self.effort.limits.accepted;
    }

    fn may_dial(&self, me: usize, want: &Want, cuts: &Cuts, may_swap: bool) -> bool {
        if want.reason.is_search()
            && (self.peers[me].search_budget == 0 || self.cools(me, want.peer))
        {
            return false;
        }
        if want.swap_for.is_some() {
            return may_swap;
        }
        let uses = self.link_uses(me, cuts);
        admit(&uses, want.reason, true, self.effort.limits) != Admission::Refuse
    }

    pub(super) fn close_unwanted(&mut self, me: usize, cuts: &Cuts) {
        for link in self.link_uses(me, cuts) {
            if is_closable(&link) {
                self.close(me, link.peer);
            }
        }
        // A swap or a ring link may have taken it one over.
        while self.peers[me].links.len() > self.effort.limits.accepted {
            let uses = self.link_uses(me, cuts);
            let Some(index) = shed(&uses) else { return };
            self.close(me, uses[index].peer);
        }
    }

    fn link_uses(&self, me: usize, cuts: &Cuts) -> Vec<LinkUse> {
        let links = self.peers[me].links.iter();
        let link_use = |(&other, link): (&usize, &ModelLink)| LinkUse {
            peer: other,
            mine: link.mine,
            theirs: self.link(other, me).and_then(|link| link.mine),
            is_bridge: cuts.is_bridge(NodeIndex::new(me), NodeIndex::new(other)),
            is_long_known: false,
            crowd: 0,
            own_dial: link.own_dial,
            rtt_us: (self.rtt_us)(me, other),
        };
        links.map(link_use).collect()
    }

    fn dial(&mut self, me: usize, other: usize, reason: Reason) {
        let rtt = (self.rtt_us)(me, other);
        self.peers[me].measured.insert(other, rtt);
        let confirmed = reason == Reason::Repair || reason.is_ring() && self.confirms(other, me);
        let uses = self.link_uses(other, &Cuts::default());
        match admit(&uses, reason, confirmed, self.effort.limits) {
            Admission::Accept => {}
            Admission::AcceptAndShed(index) => self.close(other, uses[index].peer),
            Admission::Refuse => {
                self.cool(me, other);
                return;
            }
        }
        self.peers[other].measured.insert(me, rtt);
        let link = |mine, own_dial| ModelLink { mine, own_dial };
        self.peers[me].links.insert(other, link(Some(reason), true));
        self.peers[other].links.insert(me, link(None, false));
        self.links_changed(me);
        self.links_changed(other);
    }

    /// Whether `other` sees that it and `me` are neighbours on the ring.
    fn confirms(&self, other: usize, me: usize) -> bool {
        let candidates = self.candidates(other);
        let situation = Situation {
            me: other,
            candidates: &candidates,
            graph: None,
            cuts: None,
            degree: self.effort.degree,
            random_seed: 0,
        };
        confirms_ring(&situation, me)
    }

    /// A refusal, or a link that turned out to be unwanted: no search for a while, twice as long
    /// each time.
    fn cool(&mut self, me: usize, other: usize) {
        let cooling = &mut self.peers[me].cooling;
        let (_, wait) = cooling.get(&other).copied().unwrap_or((0, 1));
        cooling.insert(other, (self.round + 1 + wait, wait * 2));
    }

    /// Whether nothing is searched for there; it may have come to that since `me` looked.
    fn cools(&self, me: usize, other: usize) -> bool {
        let cooling = self.peers[me].cooling.get(&other);
        cooling.is_some_and(|&(until, _)| self.round < until)
    }

    fn close(&mut self, me: usize, other: usize) {
        self.peers[me].links.remove(&other);
        self.peers[other].links.remove(&me);
        self.links_changed(me);
        self.links_changed(other);
        self.cool(me, other);
        self.cool(other, me);
    }
}
