//! Links that others open or nobody wants: admitted, shed, closed.

use super::{LinkCandidates, PARTING_MS, UNWANTED_MS};
use crate::base::interface::{LinkEnd, LinkId};
use crate::base::time::Micros;
use crate::core::Core;
use crate::overlay::Overlay;
use crate::overlay::links::Link;
use hedgerow_topology::petgraph::graph::NodeIndex;
use hedgerow_topology::{
    Admission, Limits, LinkUse, Reason, admit, confirms_ring, is_closable, shed,
};

impl Overlay {
    pub(super) fn limits(core: &Core) -> Limits {
        Limits {
            accepted: core.config.links.accept_max,
            max_links: core.config.links.links_max,
        }
    }

    /// All links that are up, in the order of `up`.
    pub(super) fn link_uses(&self, core: &Core, field: &LinkCandidates) -> Vec<LinkUse> {
        self.up
            .values()
            .filter_map(|id| self.links.get(id))
            .map(|link| self.link_use(core, field, link))
            .collect()
    }

    fn link_use(&self, core: &Core, field: &LinkCandidates, link: &Link) -> LinkUse {
        let peer = field.snapshot.index(link.peer);
        let is_bridge = peer.is_some_and(|at| {
            let (me, at) = (NodeIndex::new(field.me), NodeIndex::new(at));
            field.cuts.is_bridge(me, at)
        });
        LinkUse {
            peer: peer.unwrap_or(field.me),
            mine: link.wants,
            theirs: link.their_wants,
            is_bridge,
            is_long_known: self.is_long_known(core, link.peer),
            crowd: self.crowd_of(link),
            own_dial: link.dialled,
            rtt_us: link.rtt.minimum_us().unwrap_or(u64::from(u32::MAX)) as u32,
        }
    }

    pub(super) fn close_unwanted(&mut self, core: &mut Core, field: &LinkCandidates) {
        let now = core.now.mono;
        let held = self.chooser.held_until();
        let is_held = self.is_calm(core) && held > now;
        if is_held {
            self.chooser.look_again(held);
        }
        // While the view grows it is not known who is wanted.
        let none_go = is_held || self.chooser.is_settling(now);
        let ids: Vec<LinkId> = self.up.values().copied().collect();
        let mut soonest = None;
        let mut parting = false;
        let parts_in = Micros::from_millis(PARTING_MS) + self.view.spacing();
        for id in ids {
            let Some(link) = self.links.get(&id) else {
                continue;
            };
            let closable = is_closable(&self.link_use(core, field, link));
            let Some(link) = self.links.get_mut(&id) else {
                continue;
            };
            if !closable {
                link.unwanted_since = None;
                // Wanted again, it is stated again, whatever else rests.
                parting |= link.retiring_since.take().is_some();
                continue;
            }
            if none_go {
                continue;
            }
            let since = (*link.unwanted_since.get_or_insert(now)).max(link.up_since);
            let parts_at = since + Micros::from_millis(UNWANTED_MS);
            if link.retiring_since.is_none() && parts_at <= now {
                link.retiring_since = Some(now);
                parting = true;
            }
            let next = link
                .retiring_since
                .map_or(parts_at, |since| since + parts_in);
            if next <= now {
                self.close_link(core, id, LinkEnd::Unwanted);
            } else {
                soonest = Some(soonest.map_or(next, |at: Micros| at.min(next)));
            }
        }
        if parting {
            self.consider_record(core);
        }
        if let Some(at) = soonest {
            self.chooser.next = self.chooser.next.min(at);
        }
    }

    /// Links beyond what is accepted, taken for the ring or to mend the view, cost another one.
    pub(super) fn shed_surplus(&mut self, core: &mut Core, field: &LinkCandidates) {
        while self.up.len() > core.config.links.accept_max {
            let ids: Vec<LinkId> = self.up.values().copied().collect();
            let Some(victim) = shed(&self.link_uses(core, field)) else {
                return;
            };
            self.shed_link(core, ids[victim]);
        }
    }

    fn shed_link(&mut self, core: &mut Core, id: LinkId) {
        core.count(counter!("links_shed"));
        self.close_link(core, id, LinkEnd::Shed);
    }

    /// Whether to take a link that the other end wants for `theirs`.
    pub(crate) fn admit_link(
        &mut self,
        core: &mut Core,
        id: LinkId,
        theirs: Option<Reason>,
    ) -> bool {
        let Some(link) = self.links.get(&id) else {
            return false;
        };
        let mut limits = Self::limits(core);
        limits.max_links = self.places_for(core, link.peer, limits.max_links);
        if self.up.len() < limits.accepted {
            return true;
        }
        let (peer, mine) = (link.peer, link.wants);
        let Some(field) = self.field(core) else {
            return false;
        };
        let situation = field.situation(core.config.links.degree, self.chooser.seed);
        let index = field.snapshot.index(peer);
        // A ring link must be borne out by the own database; one that this peer dialled for
        // itself is.
        let confirmed = mine.is_some_and(Reason::is_ring)
            || index.is_some_and(|at| confirms_ring(&situation, at));
        let wanted = match (mine, theirs) {
            (Some(mine), _) if mine.is_ring() => mine,
            (_, Some(theirs)) => theirs,
            (mine, None) => mine.unwrap_or(Reason::Path),
        };
        match admit(&self.link_uses(core, &field), wanted, confirmed, limits) {
            Admission::Accept => true,
            Admission::AcceptAndShed(victim) => {
                if let Some(id) = self.up.values().nth(victim).copied() {
                    self.shed_link(core, id);
                }
                true
            }
            Admission::Refuse => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::interface::Event;
    use crate::core::config::{Config, LinkConfig};
    use crate::overlay::fixture::{Command, Fixture, ME, ending, links_to, peer};
    use crate::overlay::links::{Stage, reason_to_wire};
    use crate::wire::frame::Hello;

    /// A peer that takes two links and has them, to peers that are linked to each other; the first
    /// of these wants it.
    fn full() -> (Fixture, [LinkId; 2]) {
        let mut fixture = Fixture::with(Config {
            links: LinkConfig {
                accept_max: 2,
                ..LinkConfig::default()
            },
            ..Config::default()
        });
        let links = [2, 3].map(|number| fixture.neighbour(number, |_| ()));
        fixture.hold(2, |record| record.links = links_to(&[ME, 3]));
        fixture.hold(3, |record| record.links = links_to(&[ME, 2]));
        let first = fixture.net.links.get_mut(&links[0]).expect("up");
        first.their_wants = Some(Reason::Nearest);
        fixture.forget();
        (fixture, links)
    }

    /// The number of a peer that is this one's next on the ring, before those linked, or lies
    /// between them.
    fn on_ring(is_next: bool) -> u8 {
        let here = peer(ME).ring_position();
        let ahead = |number: u8| peer(number).ring_position().wrapping_sub(here);
        let (first, last) = (ahead(2).min(ahead(3)), ahead(2).max(ahead(3)));
        let fits = |number: &u8| {
            let at = ahead(*number);
            if is_next {
                at < first
            } else {
                first < at && at < last
            }
        };
        (4..=u8::MAX).find(fits).expect("one")
    }

    /// A peer that wants a link for `reason` says hello. Gives what comes of it.
    fn comes(fixture: &mut Fixture, number: u8, reason: Option<Reason>) -> (LinkId, Stage) {
        let link = fixture.connect(number);
        fixture.forget();
        let hello = Hello {
            wants: reason_to_wire(reason),
            ..fixture.hello()
        };
        fixture.net.on_hello(&mut fixture.core, link, hello);
        (link, fixture.net.links[&link].stage)
    }

    #[test]
    fn a_full_peer_takes_a_link_of_its_ring_for_the_one_that_nobody_wants() {
        let (mut fixture, links) = full();
        let next = on_ring(true);
        fixture.hold(next, |_| ());
        let (link, _) = comes(&mut fixture, next, Some(Reason::RingPredecessor));
        let mut expected = ending(links[1], 3, LinkEnd::Shed).to_vec();
        let peer = peer(next);
        expected.push(Command::Event(Event::LinkUp { link, peer }));
        assert_eq!(fixture.commands(), expected);
        assert_eq!(fixture.counted("links_shed"), 1);
    }

    #[test]
    fn a_full_peer_refuses_what_its_database_does_not_bear_out() {
        for (is_next, is_known, reason) in [
            (true, true, Some(Reason::Nearest)),
            (true, true, None),
            (true, false, Some(Reason::RingPredecessor)),
            (false, true, Some(Reason::RingPredecessor)),
            (false, true, Some(Reason::Repair)),
        ] {
            let (mut fixture, _) = full();
            let number = on_ring(is_next);
            if is_known {
                fixture.hold(number, |_| ());
            }
            let (_, stage) = comes(&mut fixture, number, reason);
            assert_eq!(stage, Stage::Visitor, "{is_next} {is_known} {reason:?}");
            assert_eq!(fixture.counted("links_shed"), 0);
            assert_eq!(fixture.counted("links_refused"), 1);
        }
    }

    #[test]
    fn what_this_peer_dialled_for_its_ring_is_borne_out() {
        let (mut fixture, _) = full();
        let link = fixture.connect(on_ring(false));
        let reason = Some(Reason::RingSuccessor);
        fixture.net.links.get_mut(&link).expect("stands").wants = reason;
        fixture.say_hello(link);
        assert_eq!(fixture.net.links[&link].stage, Stage::Up);
        assert_eq!(fixture.counted("links_shed"), 1);
    }

    #[test]
    fn a_bridge_is_not_shed() {
        let (mut fixture, links) = full();
        fixture.hold(2, |record| record.links = links_to(&[ME]));
        let next = on_ring(true);
        fixture.hold(next, |_| ());
        let (_, stage) = comes(&mut fixture, next, Some(Reason::RingPredecessor));
        assert_eq!(stage, Stage::Up);
        assert!(links.iter().all(|link| fixture.net.links[link].is_up()));
    }
}
