//! Limits on connections from one address, and places kept for peers that are known for long.
//!
//! Keys cost nothing, addresses do. So what one address may hold is limited, whatever keys it uses,
//! and connections from it that come to nothing slow down further ones. An address never ends a
//! link that is up and never bans a key: an honest peer may share it.

use super::{Link, Stage};
use crate::base::identity::PeerKey;
use crate::base::interface::{LinkEnd, LinkId};
use crate::base::name::Address;
use crate::base::source::Source;
use crate::base::time::Micros;
use crate::core::Core;
use crate::overlay::Overlay;
use std::collections::BTreeMap;

/// Addresses remembered for connections that came to nothing; the one that is let in again soonest
/// makes room.
const SOURCES_MAX: usize = 1_024;
/// A connection that came to nothing is forgiven after so long, ms, and an address with so many more
/// is throttled. 8: as many as may wait at once. An honest peer comes back no sooner than twice a
/// second, and ever more rarely.
const FAULT_MS: u64 = 1_000;
const FAULTS: u64 = 8;
/// Peers remembered for how long they are known. The longest known stay: whoever floods with keys
/// displaces only the newest.
const KNOWN_MAX: usize = 1_024;
/// Strangers have `limits.hello_ms` only while more of them than this have yet to say hello: a machine
/// on which many peers start is slow, and nobody else waits for the place.
pub(super) const HELLOS_FREE: usize = 16;

/// When a peer was first linked, and when it last was.
#[derive(Clone, Copy, Debug)]
struct Known {
    first: Micros,
    last: Micros,
}

/// What is known of addresses and peers that connect.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    /// Until when faults of an address are not forgiven.
    faults: BTreeMap<Source, Micros>,
    known: BTreeMap<PeerKey, Known>,
}

impl Guard {
    /// A connection from `source` came to nothing.
    fn fault(&mut self, source: &Source, now: Micros) {
        self.faults.retain(|_, until| now < *until);
        if self.faults.len() >= SOURCES_MAX && !self.faults.contains_key(source) {
            let soonest = self.faults.iter().min_by_key(|(_, until)| **until);
            if let Some(soonest) = soonest.map(|(source, _)| source.clone()) {
                self.faults.remove(&soonest);
            }
        }
        let most = now + Micros::from_millis(FAULT_MS * FAULTS * 2);
        let until = self.faults.entry(source.clone()).or_insert(now);
        *until = (*until + Micros::from_millis(FAULT_MS)).min(most);
    }

    fn is_throttled(&self, source: &Source, now: Micros) -> bool {
        let until = self.faults.get(source);
        until.is_some_and(|until| until.since(now) >= Micros::from_millis(FAULT_MS * FAULTS))
    }

    /// A link to `peer` came up, or has ended.
    fn met(&mut self, peer: PeerKey, now: Micros, keep: Micros) {
        if let Some(known) = self.known.get_mut(&peer) {
            known.last = now;
            return;
        }
        self.known.insert(
            peer,
            Known {
                first: now,
                last: now,
            },
        );
        if self.known.len() > KNOWN_MAX {
            self.known.retain(|_, known| now.since(known.last) < keep);
        }
        if self.known.len() > KNOWN_MAX {
            let newest = self.known.iter().max_by_key(|(_, known)| known.first);
            if let Some(newest) = newest.map(|(peer, _)| *peer) {
                self.known.remove(&newest);
            }
        }
    }

    fn known_for(&self, peer: PeerKey, now: Micros) -> Micros {
        let known = self.known.get(&peer);
        known.map_or(Micros(0), |known| now.since(known.first))
    }
}

impl Overlay {
    /// The place that limits go by, for a connection from outside; `None` for a trusted address.
    pub(super) fn source_of(core: &Core, address: Option<&Address>) -> Option<Source> {
        let address = address.filter(|address| !core.config.limits.is_trusted(address))?;
        Some(Source::of(address))
    }

    /// Whether a peer has been known for so long that places are kept for it.
    pub(crate) fn is_long_known(&self, core: &Core, peer: PeerKey) -> bool {
        let least = Micros::from_millis(core.config.limits.known_ms);
        self.guard.known_for(peer, core.now.mono) >= least
    }

    /// Peers for which places are kept.
    pub(crate) fn long_known(&self, core: &Core) -> Vec<PeerKey> {
        let peers = self.guard.known.keys().copied();
        peers
            .filter(|peer| self.is_long_known(core, *peer))
            .collect()
    }

    /// Of `most` places, those that a peer may use.
    pub(super) fn places_for(&self, core: &Core, peer: PeerKey, most: usize) -> usize {
        if self.is_long_known(core, peer) {
            return most;
        }
        most - core.config.limits.reserved.min(most / 4)
    }

    pub(super) fn note_met(&mut self, core: &Core, peer: PeerKey) {
        let keep = Micros::from_millis(core.config.database.candidate_keep_ms);
        self.guard.met(peer, core.now.mono, keep);
    }

    /// Whether a new connection from outside is more than its address may have. Links of the same
    /// peer do not count: one replaces the other.
    pub(super) fn is_crowded(
        &mut self,
        core: &mut Core,
        source: Option<&Source>,
        peer: PeerKey,
    ) -> bool {
        let Some(source) = source else {
            return false;
        };
        let is_known = self.is_long_known(core, peer);
        if !is_known && self.guard.is_throttled(source, core.now.mono) {
            core.count(counter!("links_throttled"));
            return true;
        }
        let same = self.links.values().filter(|link| {
            link.source.as_ref() == Some(source)
                && link.peer != peer
                && link.stage != Stage::Closing
        });
        let (mut all, mut waiting) = (0, 0);
        for link in same {
            all += 1;
            waiting += usize::from(link.stage == Stage::Handshake);
        }
        let limits = &core.config.limits;
        let is_crowded = if is_known {
            all >= limits.links_per_address + limits.reserved
        } else {
            all >= limits.links_per_address || waiting >= limits.pending_per_address
        };
        if is_crowded {
            core.count(counter!("links_of_one_address"));
        }
        is_crowded
    }

    /// A stranger has connected: while many have yet to say hello, they have less time for it.
    pub(super) fn hurry_strangers(&mut self, core: &mut Core) {
        let is_waiting = |link: &&mut Link| link.source.is_some() && link.stage == Stage::Handshake;
        let waiting = self.links.values_mut().filter(is_waiting).count();
        if waiting <= HELLOS_FREE {
            return;
        }
        let hello = Micros::from_millis(core.config.limits.hello_ms);
        let mut soonest = None;
        for link in self.links.values_mut().filter(is_waiting) {
            let ends = link.opened + hello;
            link.stage_ends = link.stage_ends.map(|before| before.min(ends));
            soonest = soonest.into_iter().chain(link.stage_ends).min();
        }
        if let Some(at) = soonest {
            core.wake_at(at.max(core.now.mono));
        }
    }

    /// How many further links that are up come from the place of this one.
    pub(super) fn crowd_of(&self, link: &Link) -> usize {
        let Some(source) = &link.source else {
            return 0;
        };
        let up = self.up.values().filter_map(|id| self.links.get(id));
        let others = up.filter(|other| other.id != link.id);
        others
            .filter(|other| other.source.as_ref() == Some(source))
            .count()
    }

    /// A link has ended: what its end says about its address.
    pub(super) fn note_end_for_guard(&mut self, core: &Core, link: &Link, end: LinkEnd) {
        if link.came_up {
            self.note_met(core, link.peer);
        }
        let came_to_nothing = link.stage == Stage::Handshake
            && matches!(
                end,
                LinkEnd::HandshakeTimeout
                    | LinkEnd::Malformed
                    | LinkEnd::Transport
                    | LinkEnd::OtherNetwork
                    | LinkEnd::Incompatible
                    | LinkEnd::Banned
            );
        if let Some(source) = &link.source
            && came_to_nothing
        {
            self.guard.fault(source, core.now.mono);
        }
    }

    /// Whether a link that did not say hello was given less time than usual.
    pub(super) fn was_hurried(&self, core: &Core, id: LinkId) -> bool {
        let usual = Micros::from_millis(core.config.links.handshake_ms);
        let link = self.links.get(&id);
        link.is_some_and(|link| core.now.mono < link.opened + usual)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Micros {
        Micros::from_millis(ms)
    }

    #[test]
    fn an_address_is_throttled_by_faults_in_a_row_and_forgiven_by_time() {
        let mut guard = Guard::default();
        let (one, other) = (
            Source::Other("one".to_owned()),
            Source::Other("other".to_owned()),
        );
        for _ in 0..FAULTS - 1 {
            guard.fault(&one, at(0));
        }
        assert!(!guard.is_throttled(&one, at(0)));
        guard.fault(&one, at(0));
        assert!(guard.is_throttled(&one, at(0)));
        assert!(!guard.is_throttled(&other, at(0)));
        assert!(!guard.is_throttled(&one, at(1_000)), "one is forgiven");
        for _ in 0..1_000 {
            guard.fault(&one, at(1_000));
        }
        let most = 1_000 + FAULT_MS * FAULTS * 2;
        assert!(!guard.is_throttled(&one, at(most)), "never for long");
    }

    #[test]
    fn whoever_floods_with_keys_displaces_no_peer_known_for_longer() {
        let mut guard = Guard::default();
        let key = |number: u64| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&number.to_le_bytes());
            PeerKey(key)
        };
        for number in 0..2_000 {
            guard.met(key(number), at(number), at(86_400_000));
        }
        assert_eq!(guard.known.len(), KNOWN_MAX);
        assert_eq!(guard.known_for(key(0), at(3_000)), at(3_000));
        assert_eq!(guard.known_for(key(1_999), at(3_000)), Micros(0));
    }
}
