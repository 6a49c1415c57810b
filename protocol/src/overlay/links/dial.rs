//! Dials: a budget, a time limit, backoff that doubles.

use super::reach::Strikes;
use super::{Link, Stage};
use crate::base::identity::PeerKey;
use crate::base::interface::{Action, DialId, LinkEnd};
use crate::base::name::Address;
use crate::base::time::Micros;
use crate::core::Core;
use crate::core::config::LinkConfig;
use crate::overlay::Overlay;
use crate::overlay::records::LINKS_FEW;
use hedgerow_topology::Reason;
use std::collections::BTreeMap;

/// Backoffs remembered.
const BACKOFFS_MAX: usize = 4_096;
/// Addresses without a known peer that are remembered.
const LOOSE_ADDRESSES_MAX: usize = 256;

/// Whom a dial goes to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    /// A peer of the database.
    Peer(PeerKey),
    /// Whoever is there.
    Address(Address),
}

#[derive(Debug)]
struct Dial {
    target: Target,
    /// Where a peer of the database was dialled.
    addresses: Vec<Address>,
    reason: Option<Reason>,
    ends: Micros,
}

#[derive(Clone, Copy, Debug)]
struct Backoff {
    until: Micros,
    delay: Micros,
    /// How often in a row no answer came in time.
    late: u32,
}

/// Dials under way, and who is not dialled for now.
#[derive(Debug)]
pub(crate) struct Dialer {
    next: u64,
    dials: BTreeMap<DialId, Dial>,
    backoffs: BTreeMap<Target, Backoff>,
    pub(super) strikes: Strikes,
    /// Addresses without a known peer: bootstrap, discovered, remembered; and who answered.
    loose: BTreeMap<Address, Option<PeerKey>>,
    /// When to look again whether bootstrap addresses are needed.
    next_bootstrap: Option<Micros>,
}

impl Dialer {
    pub(crate) fn new(bootstrap: Vec<Address>) -> Self {
        let loose = bootstrap
            .into_iter()
            .map(|address| (address, None))
            .collect();
        Self {
            next: 0,
            dials: BTreeMap::new(),
            backoffs: BTreeMap::new(),
            strikes: Strikes::default(),
            loose,
            next_bootstrap: Some(Micros(0)),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.dials.len()
    }

    pub(crate) fn due(&self) -> Option<Micros> {
        let dials = self.dials.values().map(|dial| dial.ends).min();
        dials.into_iter().chain(self.next_bootstrap).min()
    }

    /// Whether `target` is neither being dialled nor backing off.
    pub(crate) fn is_free(&self, target: &Target, now: Micros) -> bool {
        self.backoffs
            .get(target)
            .is_none_or(|backoff| backoff.until <= now)
            && !self.is_dialling(target)
    }

    pub(crate) fn is_dialling(&self, target: &Target) -> bool {
        self.dials.values().any(|dial| dial.target == *target)
    }

    /// Peers that are not dialled for now, and until when.
    pub(crate) fn backing_off(&self, now: Micros) -> BTreeMap<PeerKey, Micros> {
        let peers = self.backoffs.iter().filter_map(|(target, backoff)| {
            let Target::Peer(peer) = target else {
                return None;
            };
            (backoff.until > now).then_some((*peer, backoff.until))
        });
        peers.collect()
    }

    fn back_off(&mut self, target: Target, now: Micros, config: &LinkConfig, jitter: u64) {
        let least = Micros::from_millis(config.backoff_min_ms);
        let most = Micros::from_millis(config.backoff_max_ms);
        let delay = self
            .backoffs
            .get(&target)
            .map_or(least, |backoff| backoff.delay.times(2).min(most));
        // Jitter of up to a quarter, so that those who failed together do not return together.
        let until = now + delay + Micros(jitter % (delay.0 / 4).max(1));
        if self.backoffs.len() >= BACKOFFS_MAX && !self.backoffs.contains_key(&target) {
            let soonest = self.backoffs.iter().min_by_key(|(_, b)| b.until);
            if let Some(target) = soonest.map(|(target, _)| target.clone()) {
                self.backoffs.remove(&target);
            }
        }
        let late = self.backoffs.get(&target).map_or(0, |backoff| backoff.late);
        self.backoffs.insert(target, Backoff { until, delay, late });
    }

    /// A dial of `target` has taken all of its time.
    fn note_late(&mut self, target: &Target) {
        if let Some(backoff) = self.backoffs.get_mut(target) {
            backoff.late = backoff.late.saturating_add(1);
        }
    }

    /// How long a dial of `target` may take when there is little else to try, ms.
    fn patience_ms(&self, target: &Target, config: &LinkConfig) -> u64 {
        let late = self.backoffs.get(target).map_or(0, |backoff| backoff.late);
        let longer = config.dial_timeout_ms << late.min(16);
        longer.min(config.dial_timeout_max_ms.max(config.dial_timeout_ms))
    }

    /// A link to `peer` has lasted: the next dial that fails waits as shortly as the first.
    fn forget_backoff(&mut self, peer: PeerKey) {
        self.backoffs.remove(&Target::Peer(peer));
        for address in self.answered_by(peer) {
            self.backoffs.remove(&Target::Address(address));
        }
    }

    /// Addresses at which `peer` has answered.
    fn answered_by(&self, peer: PeerKey) -> Vec<Address> {
        let known = self.loose.iter().filter(|(_, known)| **known == Some(peer));
        known.map(|(address, _)| address.clone()).collect()
    }

    /// Whether somebody is being dialled at an address that records state.
    pub(super) fn is_dialling_at(&self, address: &Address) -> bool {
        let mut dials = self.dials.values();
        dials.any(|dial| dial.addresses.contains(address))
    }

    /// Somebody who was expected at an address has been reached there.
    pub(crate) fn forget_strikes(&mut self, address: &Address) {
        self.strikes.forget(address);
    }

    /// Addresses that no record stated.
    pub(super) fn loose_addresses(&self) -> impl Iterator<Item = &Address> {
        self.loose.keys()
    }

    /// Addresses nobody in the view is known to answer at.
    pub(crate) fn loose_outside(&self, in_view: impl Fn(PeerKey) -> bool) -> Vec<Address> {
        self.loose
            .iter()
            .filter(|(_, peer)| peer.is_none_or(|peer| !in_view(peer)))
            .map(|(address, _)| address.clone())
            .collect()
    }

    pub(crate) fn add_loose(&mut self, address: Address) -> bool {
        if self.loose.len() >= LOOSE_ADDRESSES_MAX || self.loose.contains_key(&address) {
            return false;
        }
        self.loose.insert(address, None);
        true
    }
}

impl Overlay {
    /// Dials `target` if it may; says whether it did.
    pub(crate) fn dial(&mut self, core: &mut Core, target: Target, reason: Option<Reason>) -> bool {
        let now = core.now.mono;
        if core.stopping.is_some()
            || self.dialer.len() >= core.config.links.dials_max
            || !self.dialer.is_free(&target, now)
        {
            return false;
        }
        let (peer, addresses) = match &target {
            Target::Peer(peer) => (Some(*peer), self.addresses_of(*peer)),
            Target::Address(address) => (None, vec![address.clone()]),
        };
        if addresses.is_empty() || peer.is_some_and(|peer| self.may_not_be_dialled(core, peer)) {
            return false;
        }
        let stated = addresses.len();
        let addresses = match peer {
            Some(peer) => self.within_reach(core, peer, addresses),
            None => addresses,
        };
        if addresses.len() < stated {
            core.count_many(
                counter!("addresses_withheld"),
                (stated - addresses.len()) as u64,
            );
        }
        if addresses.is_empty() {
            // It is looked at again when it would be dialled again.
            self.back_off(core, target);
            return false;
        }
        let dial = DialId(self.dialer.next);
        self.dialer.next += 1;
        // Whoever has links goes on to others soon: a mass crash leaves many who never answer.
        let limit_ms = if self.up.len() < LINKS_FEW {
            self.dialer.patience_ms(&target, &core.config.links)
        } else {
            core.config.links.dial_timeout_ms
        };
        let ends = core.in_ms(limit_ms);
        self.dialer.dials.insert(
            dial,
            Dial {
                target,
                addresses: if peer.is_some() {
                    addresses.clone()
                } else {
                    Vec::new()
                },
                reason,
                ends,
            },
        );
        core.count(counter!("dials"));
        core.wake_at(ends);
        core.actions.push_back(Action::Dial {
            dial,
            peer,
            addresses,
            timeout: Micros::from_millis(limit_ms),
        });
        true
    }

    fn may_not_be_dialled(&self, core: &Core, peer: PeerKey) -> bool {
        peer == core.me || self.is_met(peer) || self.is_banned(core, peer)
    }

    /// Whether a connection to `peer` stands that is up or still may come up.
    fn is_met(&self, peer: PeerKey) -> bool {
        let is_live = |link: &&Link| matches!(link.stage, Stage::Handshake | Stage::Up);
        let mut live = self.links.values().filter(is_live);
        live.any(|link| link.peer == peer)
    }

    /// Where a peer says it is, or was when it was last in the view.
    pub(crate) fn addresses_of(&self, peer: PeerKey) -> Vec<Address> {
        match self.database.get(peer) {
            Some(record) if !record.record.addresses.is_empty() => record.record.addresses.clone(),
            _ => self.candidates.addresses_of(peer),
        }
    }

    /// A dial has been answered by `peer`: the reason it was made for. A peer other than the one
    /// dialled counts as a failure of that one.
    pub(crate) fn on_dial_answered(
        &mut self,
        core: &mut Core,
        dial: DialId,
        peer: PeerKey,
    ) -> Option<Reason> {
        let Dial {
            target,
            reason,
            addresses,
            ..
        } = self.dialer.dials.remove(&dial)?;
        match &target {
            Target::Address(address) => {
                if let Some(known) = self.dialer.loose.get_mut(address) {
                    *known = Some(peer);
                }
                None
            }
            Target::Peer(expected) if *expected == peer => {
                // How long it was waited for is forgotten when the link has lasted.
                if let Some(backoff) = self.dialer.backoffs.get_mut(&target) {
                    backoff.late = 0;
                }
                reason
            }
            Target::Peer(expected) => {
                for address in &addresses {
                    let (strikes, now) = (&mut self.dialer.strikes, core.now.mono);
                    strikes.note(address, *expected, Some(peer), now);
                }
                self.back_off(core, target);
                None
            }
        }
    }

    pub(crate) fn on_dial_failed(&mut self, core: &mut Core, dial: DialId) {
        let Some(Dial {
            target,
            ends,
            addresses,
            ..
        }) = self.dialer.dials.remove(&dial)
        else {
            return;
        };
        core.count(counter!("dials_failed"));
        if let Target::Peer(peer) = target {
            for address in &addresses {
                (self.dialer.strikes).note(address, peer, None, core.now.mono);
            }
        }
        self.back_off(core, target.clone());
        if ends <= core.now.mono {
            self.dialer.note_late(&target);
        }
        self.chooser.touch(core.now.mono);
        core.wake_at(core.now.mono);
    }

    pub(crate) fn back_off(&mut self, core: &mut Core, target: Target) {
        use rand_chacha::rand_core::Rng;
        let jitter = core.rng.next_u64();
        self.dialer
            .back_off(target, core.now.mono, &core.config.links, jitter);
    }

    /// A link has ended: its peer, and the addresses at which that answers, are not dialled for a
    /// while, doubling each time, if the link ended soon after it came up, never came up, or was
    /// ended on purpose. Nothing is dialled in a loop, whatever the other end does. Only a link
    /// that has lasted and breaks is dialled again at once.
    pub(crate) fn back_off_after(&mut self, core: &mut Core, link: &Link, end: LinkEnd) {
        // A refused one was backed off when it was refused; where another connection to the same
        // peer stands, that one goes on.
        if core.stopping.is_some() || link.stage == Stage::Visitor || self.is_met(link.peer) {
            return;
        }
        let flap = Micros::from_millis(core.config.links.flap_ms);
        let has_lasted = link.came_up && core.now.mono.since(link.up_since) >= flap;
        if has_lasted {
            self.dialer.forget_backoff(link.peer);
        }
        let is_broken = matches!(
            end,
            LinkEnd::Transport | LinkEnd::Silence | LinkEnd::Unwanted
        );
        // Keys cost nothing: one that cannot be dialled takes no place of one that can.
        let may_be_dialled = link.dialled || !self.addresses_of(link.peer).is_empty();
        if may_be_dialled && !(has_lasted && is_broken) {
            self.penalise(core, link.peer);
        }
    }

    /// A peer is not dialled for a while, nor are the addresses at which it has answered.
    pub(crate) fn penalise(&mut self, core: &mut Core, peer: PeerKey) {
        self.back_off(core, Target::Peer(peer));
        for address in self.dialer.answered_by(peer) {
            self.back_off(core, Target::Address(address));
        }
    }

    pub(crate) fn on_dials_timeout(&mut self, core: &mut Core) {
        let now = core.now.mono;
        let late: Vec<DialId> = self
            .dialer
            .dials
            .iter()
            .filter(|(_, dial)| dial.ends <= now)
            .map(|(id, _)| *id)
            .collect();
        for dial in late {
            self.on_dial_failed(core, dial);
        }
        if self.dialer.next_bootstrap.is_some_and(|at| at <= now) {
            self.bootstrap(core);
        }
    }

    /// Without any link, every address known is tried; the database takes over from there.
    /// Whoever has refused is still there to serve the database, and is not asked again before
    /// that is over.
    fn bootstrap(&mut self, core: &mut Core) {
        if !self.up.is_empty() || core.stopping.is_some() {
            self.dialer.next_bootstrap = None;
            return;
        }
        let visited: Vec<PeerKey> = self.links.values().map(|link| link.peer).collect();
        let no_use = |peer| visited.contains(&peer) || self.is_banned(core, peer);
        for address in self.dialer.loose_outside(no_use) {
            self.dial(core, Target::Address(address), None);
        }
        let next = core.in_random_ms(400, 600);
        self.bootstrap_at(core, next);
    }

    pub(crate) fn on_discovered(&mut self, core: &mut Core, addresses: Vec<Address>) {
        for address in addresses {
            if self.dialer.add_loose(address.clone()) {
                self.dial(core, Target::Address(address), None);
            }
        }
        self.bootstrap_at(core, core.now.mono);
    }

    /// Sees to it that addresses are tried at `at`, should there be no link then.
    pub(crate) fn bootstrap_at(&mut self, core: &mut Core, at: Micros) {
        self.dialer.next_bootstrap = Some(at);
        core.wake_at(at);
    }
}

#[cfg(test)]
mod tests;
