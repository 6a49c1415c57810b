//! From a connection to a link that is up, and from a link to its end.

use super::{Link, Stage, reason_from_wire, reason_to_wire};
use crate::access::{Resource, Verb};
use crate::base::identity::PeerKey;
use crate::base::interface::{Action, DialId, Event, LinkEnd, LinkId};
use crate::base::name::Address;
use crate::base::time::Micros;
use crate::core::Core;
use crate::overlay::Overlay;
use crate::overlay::links::OverlayEvent;
use crate::overlay::records::Whereabouts;
use crate::wire::WIRE_VERSION;
use crate::wire::frame::{Bye, Hello, Refuse};
use rand_chacha::rand_core::Rng;

/// How long a refused link still serves the database, ms.
const VISIT_MS: u64 = 3_000;
/// How much of the name of a missing feature is logged.
const NEED_CHARS: usize = 64;
/// Alternatives named in a refusal.
const ALTERNATIVES: usize = 8;

impl Overlay {
    pub(crate) fn on_linked(
        &mut self,
        core: &mut Core,
        id: LinkId,
        peer: PeerKey,
        dial: Option<DialId>,
        address: Option<Address>,
    ) {
        let reason = dial.and_then(|dial| self.on_dial_answered(core, dial, peer));
        let now = core.now.mono;
        let dialled = dial.is_some();
        let source = if dialled {
            None
        } else {
            Self::source_of(core, address.as_ref())
        };
        let is_crowded = self.is_crowded(core, source.as_ref(), peer);
        let mut link = Link::new(id, peer, address, dialled, &core.config, now);
        link.wants = reason;
        link.source = source;
        self.links.insert(id, link);
        let refusal = if core.stopping.is_some() {
            Some(LinkEnd::Stopped)
        } else if self.is_banned(core, peer) {
            core.count(counter!("links_banned"));
            Some(LinkEnd::Banned)
        } else if peer == core.me || (dialled && self.has_own_dial_to(peer, id)) {
            Some(LinkEnd::Duplicate)
        } else if is_crowded
            || self.links.len() > self.places_for(core, peer, 2 * core.config.links.links_max)
        {
            Some(LinkEnd::Full)
        } else {
            None
        };
        if let Some(end) = refusal {
            return self.close_link(core, id, end);
        }
        self.send_hello(core, id);
        core.wake_at(core.in_ms(core.config.links.handshake_ms));
        self.hurry_strangers(core);
    }

    /// Whether this peer has another connection that it dialled itself. The dialler settles this
    /// case, for only it knows which came first.
    fn has_own_dial_to(&self, peer: PeerKey, but: LinkId) -> bool {
        self.links.values().any(|link| {
            link.peer == peer && link.id != but && link.dialled && link.stage != Stage::Closing
        })
    }

    fn send_hello(&mut self, core: &mut Core, id: LinkId) {
        let wants = self.links.get(&id).and_then(|link| link.wants);
        let hello = Hello {
            wire: WIRE_VERSION,
            network: core.config.network.clone(),
            epoch: self.own.epoch,
            capabilities: core.capabilities(),
            needs: Vec::new(),
            wants: reason_to_wire(wants),
            record: self.wire_record(core, core.me),
        };
        if let Some(link) = self.links.get_mut(&id) {
            link.told_wants = hello.wants;
        }
        self.send(core, id, hello);
    }

    pub(crate) fn on_hello(&mut self, core: &mut Core, id: LinkId, hello: Hello) {
        if hello.wire != WIRE_VERSION {
            tracing::warn!(
                theirs = hello.wire,
                ours = WIRE_VERSION,
                "incompatible wire version"
            );
            return self.close_link(core, id, LinkEnd::Incompatible);
        }
        if let Some(need) = hello.needs.first() {
            // This build knows no such thing, so every one is unknown.
            let need: String = need.chars().take(NEED_CHARS).collect();
            let peer = self.links.get(&id).map(|link| link.peer);
            tracing::warn!(
                ?peer,
                ?need,
                "incompatible: the peer needs a feature that this build does not have; a later \
                 release may have it"
            );
            return self.close_link(core, id, LinkEnd::Incompatible);
        }
        if hello.network != core.config.network {
            tracing::warn!(network = %hello.network, "a peer of another network");
            return self.close_link(core, id, LinkEnd::OtherNetwork);
        }
        let theirs = reason_from_wire(hello.wants);
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if !core.allows(link.peer, Verb::Link, Resource::Network) {
            // Before anything of its hello is taken. It breaks no rule: nothing stands against it or its
            // address.
            core.count(counter!("access_links_refused"));
            return self.close_link(core, id, LinkEnd::Denied);
        }
        link.epoch = hello.epoch;
        link.capabilities = hello.capabilities;
        link.their_wants = theirs;
        let peer = link.peer;
        if let Some(record) = hello.record {
            self.on_records(core, id, vec![record]);
        }
        if self
            .links
            .get(&id)
            .is_none_or(|link| link.stage != Stage::Handshake)
        {
            return;
        }
        match self.settle_duplicate(core, id, peer, hello.epoch) {
            None => {}
            Some(LinkEnd::Replaced) => {
                core.count(counter!("links_outdated"));
                self.refuse_twin(core, id, peer);
                return self.note_sign_of_twins(core, peer);
            }
            Some(LinkEnd::Duplicate) if self.has_lasting_link(core, peer) => {
                return self.refuse_twin(core, id, peer);
            }
            Some(end) => return self.close_link(core, id, end),
        }
        if self.cut_off.contains_key(&peer) {
            return self.close_link(core, id, LinkEnd::Equivocation);
        }
        if self.admit_link(core, id, theirs) {
            self.on_up(core, id);
        } else {
            self.refuse(core, id);
        }
    }

    /// Two connections to one peer: a newer epoch replaces at once, equal epochs collapse to the
    /// smaller key's dial. Says why the new one must go, if it must: `Replaced` if its epoch is the
    /// older one.
    fn settle_duplicate(
        &mut self,
        core: &mut Core,
        new: LinkId,
        peer: PeerKey,
        epoch: u64,
    ) -> Option<LinkEnd> {
        let others = self.links.values().filter(|link| {
            link.peer == peer && link.id != new && matches!(link.stage, Stage::Up | Stage::Visitor)
        });
        let old = others.max_by_key(|link| link.is_up())?;
        let (old_id, old_epoch, old_dialled) = (old.id, old.epoch, old.dialled);
        let new_dialled = self.links.get(&new)?.dialled;
        let reason = if epoch > old_epoch {
            LinkEnd::Replaced
        } else if epoch < old_epoch {
            return Some(LinkEnd::Replaced);
        } else if new_dialled == old_dialled {
            // The other end dialled twice: it has given up the first.
            LinkEnd::Duplicate
        } else if new_dialled == (core.me < peer) {
            LinkEnd::Duplicate
        } else {
            return Some(LinkEnd::Duplicate);
        };
        if epoch == old_epoch
            && let Some(old) = self.links.get_mut(&old_id)
        {
            // The same path: what was measured holds, and the record need not change.
            let rtt = std::mem::take(&mut old.rtt);
            if let Some(link) = self.links.get_mut(&new) {
                link.rtt = rtt;
            }
        }
        self.close_link(core, old_id, reason);
        None
    }

    fn on_up(&mut self, core: &mut Core, id: LinkId) {
        let now = core.now.mono;
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.stage = Stage::Up;
        link.stage_ends = None;
        link.up_since = now;
        link.came_up = true;
        link.heard = now;
        link.next_heartbeat = now;
        let (peer, dialled) = (link.peer, link.dialled);
        if let Some(address) = link.address.as_ref().filter(|_| dialled) {
            self.dialer.forget_strikes(address);
        }
        link.stated_from = self.own.flaps.stated_from(peer, now);
        self.up.insert(peer, id);
        self.note_met(core, peer);
        self.view.lost.remove(&peer);
        tracing::debug!(%peer, "link up");
        core.event(Event::LinkUp { link: id, peer });
        self.beat(core, id, true);
        if dialled {
            self.reconcile(core, id);
        }
        self.happened(OverlayEvent::LinkUp(id));
        self.chooser.touch(now);
        core.wake_at(now);
    }

    fn refuse(&mut self, core: &mut Core, id: LinkId) {
        core.count(counter!("links_refused"));
        // From a random place on: not all who come go to the same few.
        let skip = (core.rng.next_u64() % self.up.len().max(1) as u64) as usize;
        let neighbours = self.up.keys().skip(skip).chain(self.up.keys().take(skip));
        let alternatives = neighbours
            .filter(|peer| !self.is_full(core, **peer))
            .filter_map(|peer| {
                let addresses = self.addresses_of(*peer);
                (!addresses.is_empty()).then_some((*peer, addresses))
            })
            .take(ALTERNATIVES)
            .collect();
        self.send(core, id, Refuse { alternatives });
        self.visit(core, id);
    }

    /// Whether a link to a peer stands that has lasted and on which it was heard a moment ago. Nobody
    /// dials a peer again to which such a link stands: two who dial each other do so within moments,
    /// and who has lost its end of a link is not heard on it.
    fn has_lasting_link(&self, core: &Core, peer: PeerKey) -> bool {
        let now = core.now.mono;
        let flap = Micros::from_millis(core.config.links.flap_ms);
        let moment = Micros::from_millis(core.config.links.heartbeat_ms * 2);
        let link = self.up.get(&peer).and_then(|id| self.links.get(id));
        link.is_some_and(|link| now.since(link.up_since) >= flap && now.since(link.heard) < moment)
    }

    /// A peer with an older epoch than that of a standing link to the same key: an earlier life of
    /// it, or a second running peer; or a second one that began in the same moment. It is not linked,
    /// but it serves the database as any peer that is refused, so it is given the newer record of its
    /// key over this connection, and what it answers reaches the other one.
    fn refuse_twin(&mut self, core: &mut Core, id: LinkId, peer: PeerKey) {
        let earlier =
            |link: &&Link| link.peer == peer && link.id != id && link.stage == Stage::Visitor;
        let earlier: Vec<LinkId> = (self.links.values().filter(earlier))
            .map(|link| link.id)
            .collect();
        for visitor in earlier {
            self.close_link(core, visitor, LinkEnd::Replaced);
        }
        self.refuse(core, id);
    }

    fn visit(&mut self, core: &mut Core, id: LinkId) {
        let ends = core.in_ms(VISIT_MS);
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.stage = Stage::Visitor;
        link.stage_ends = Some(ends);
        let dialled = link.dialled;
        core.wake_at(ends);
        if dialled {
            self.reconcile(core, id);
        }
    }

    pub(crate) fn on_refuse(&mut self, core: &mut Core, id: LinkId, refuse: Refuse) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        let (peer, was_up) = (link.peer, link.is_up());
        core.count(counter!("links_refused_by_peer"));
        self.penalise(core, peer);
        self.chooser.cool(peer, core.now.mono);
        for (peer, addresses) in refuse.alternatives.into_iter().take(ALTERNATIVES) {
            if peer != core.me && !self.view.contains(peer) {
                let told = Whereabouts::Told(addresses);
                self.candidates.learn(peer, told, core.now.mono);
            }
        }
        if was_up {
            // It sheds this link after all: groups and record must know at once.
            self.on_down(core, id, LinkEnd::Refused);
        }
        self.visit(core, id);
        self.try_candidates_when_informed(core);
    }

    pub(crate) fn on_bye(&mut self, core: &mut Core, id: LinkId, bye: &Bye) {
        if let Some(link) = self.links.get(&id) {
            tracing::debug!(peer = %link.peer, reason = %bye.reason, "goodbye");
        }
        // Another connection goes on where a duplicate ends: that is no loss.
        let is_duplicate = bye.reason == format!("{:?}", LinkEnd::Duplicate);
        let end = if is_duplicate {
            LinkEnd::Duplicate
        } else {
            LinkEnd::Left
        };
        self.on_link_lost(core, id, end);
        core.actions.push_back(Action::Close { link: id });
    }

    /// Says goodbye and ends a link.
    pub(crate) fn close_link(&mut self, core: &mut Core, id: LinkId, end: LinkEnd) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        if link.stage == Stage::Closing {
            return;
        }
        if !matches!(end, LinkEnd::Silence | LinkEnd::Stuck) && !self.is_mute() {
            let chunks = crate::wire::Frame::from(Bye {
                reason: format!("{end:?}"),
            })
            .encode_with(&core.frame_ext());
            core.actions.push_back(Action::Send { link: id, chunks });
        }
        core.actions.push_back(Action::Close { link: id });
        self.on_link_lost(core, id, end);
    }

    /// A link has ended, by whichever end.
    pub(crate) fn on_link_lost(&mut self, core: &mut Core, id: LinkId, end: LinkEnd) {
        self.on_down(core, id, end);
        self.slowed.remove(&id);
        self.happened(OverlayEvent::LinkEnded(id));
        if let Some(link) = self.links.remove(&id) {
            core.counts.link_ended(end);
            tracing::debug!(peer = %link.peer, reason = ?end, "link ended");
            self.back_off_after(core, &link, end);
            self.note_end_for_guard(core, &link, end);
            core.event(Event::LinkDown {
                link: id,
                peer: link.peer,
                reason: end,
            });
        }
    }

    /// A link no longer carries anything: the record, the groups and the choice follow.
    fn on_down(&mut self, core: &mut Core, id: LinkId, end: LinkEnd) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if link.stage != Stage::Up {
            return;
        }
        link.stage = Stage::Closing;
        let (peer, up_since) = (link.peer, link.up_since);
        let now = core.now.mono;
        if self.up.get(&peer) == Some(&id) {
            self.up.remove(&peer);
        }
        if matches!(end, LinkEnd::Unwanted | LinkEnd::Shed | LinkEnd::Left) {
            self.chooser.cool(peer, now);
        }
        if matches!(end, LinkEnd::Transport | LinkEnd::Silence) {
            self.own.flaps.lost(peer, up_since, now, &core.config.links);
        }
        self.happened(OverlayEvent::LinkDown(id));
        // A loss is stated at once, where views do not rest. Of a link that this peer ends by itself the other end says so,
        // and an edge needs both; so this end can gather more.
        self.own.lost_a_link |= !matches!(
            end,
            LinkEnd::Unwanted | LinkEnd::Shed | LinkEnd::Duplicate | LinkEnd::Replaced
        );
        self.consider_record(core);
        self.chooser.touch(now);
        self.bootstrap_at(core, now);
    }

    pub(crate) fn on_links_timeout(&mut self, core: &mut Core) {
        let now = core.now.mono;
        let ids: Vec<LinkId> = self.links.keys().copied().collect();
        for id in ids {
            let Some(link) = self.links.get(&id) else {
                continue;
            };
            if link.stage_ends.is_some_and(|ends| ends <= now) {
                let end = match link.stage {
                    Stage::Visitor => LinkEnd::Refused,
                    _ => LinkEnd::HandshakeTimeout,
                };
                if end == LinkEnd::HandshakeTimeout && self.was_hurried(core, id) {
                    core.count(counter!("hellos_late"));
                }
                self.close_link(core, id, end);
            } else if link.is_up() && Self::silence_of(core, link) <= now {
                self.close_link(core, id, LinkEnd::Silence);
            }
        }
        self.send_due_heartbeats(core);
    }

    /// When a link that says nothing more is lost.
    pub(crate) fn silence_of(core: &Core, link: &Link) -> Micros {
        // Slow paths get four RTTs on top: a lost packet takes that long to mend.
        let slack = Micros(link.rtt.smoothed_us().unwrap_or(0) * 4);
        link.heard + Micros::from_millis(core.config.links.silence_ms) + slack
    }

    pub(crate) fn links_due(&self, core: &Core) -> Option<Micros> {
        self.links
            .values()
            .filter_map(|link| match link.stage {
                Stage::Up => Some(link.next_heartbeat.min(Self::silence_of(core, link))),
                _ => link.stage_ends,
            })
            .min()
    }
}

#[cfg(test)]
mod tests;
