//! Identities that two running peers use at once, as a copied data directory makes them.
//!
//! The two find out by their records (see `overlay/records/own`): the one with the lower epoch stops. A
//! neighbour that has connections to both sees signs of it as well, and tells its operator.

use super::{Link, Stage};
use crate::base::identity::PeerKey;
use crate::base::interface::{Event, IdentityUser, LinkId};
use crate::base::status::IdentityConflict;
use crate::base::time::Micros;
use crate::core::Core;
use crate::overlay::Overlay;
use std::collections::BTreeMap;

/// Identities remembered; the one that was seen least lately makes room.
const TWINS_MAX: usize = 64;
/// So many signs within the time of [`SIGNS_MS`] make a conflict. A peer that restarts with its
/// clock set back and its store lost, while its former connection still seems to stand, gives two:
/// its hello is the older one, and it issues its record above that of its former life. The third is
/// the answer of the other one.
const SIGNS: u32 = 3;
const SIGNS_MS: u64 = 60_000;
/// A conflict is told so often at most, ms.
const TELL_MS: u64 = 60_000;
/// How long a conflict shows in the status, ms: an operator comes to look, and a conflict that lasts
/// is seen again meanwhile.
const SHOWN_MS: u64 = 600_000;

#[derive(Clone, Debug)]
struct Twin {
    signs: u32,
    since: Micros,
    seen: Micros,
    told: Option<Micros>,
    users: Vec<IdentityUser>,
}

/// Identities with signs of a second user.
#[derive(Debug, Default)]
pub(crate) struct Twins {
    peers: BTreeMap<PeerKey, Twin>,
}

impl Twins {
    fn entry(&mut self, peer: PeerKey, now: Micros) -> &mut Twin {
        if self.peers.len() >= TWINS_MAX && !self.peers.contains_key(&peer) {
            let oldest = self.peers.iter().min_by_key(|(_, twin)| twin.seen);
            if let Some(oldest) = oldest.map(|(peer, _)| *peer) {
                self.peers.remove(&oldest);
            }
        }
        let twin = self.peers.entry(peer).or_insert(Twin {
            signs: 0,
            since: now,
            seen: now,
            told: None,
            users: Vec::new(),
        });
        twin.seen = now;
        twin
    }

    /// One more sign; whether there are enough now.
    fn sign(&mut self, peer: PeerKey, now: Micros) -> bool {
        let twin = self.entry(peer, now);
        if now.since(twin.since) > Micros::from_millis(SIGNS_MS) {
            twin.signs = 0;
            twin.since = now;
        }
        twin.signs = twin.signs.saturating_add(1);
        twin.signs >= SIGNS
    }

    /// A conflict is certain enough; whether it is to be told.
    fn confirm(&mut self, peer: PeerKey, users: Vec<IdentityUser>, now: Micros) -> bool {
        let twin = self.entry(peer, now);
        twin.users = users;
        let tell = Micros::from_millis(TELL_MS);
        let is_due = twin.told.is_none_or(|told| now.since(told) >= tell);
        if is_due {
            twin.told = Some(now);
        }
        is_due
    }

    /// Conflicts of the last ten minutes, by key.
    pub(crate) fn conflicts(&self, now: Micros) -> Vec<IdentityConflict> {
        let shown = Micros::from_millis(SHOWN_MS);
        self.peers
            .iter()
            .filter(|(_, twin)| twin.told.is_some() && now.since(twin.seen) < shown)
            .map(|(peer, twin)| IdentityConflict {
                peer: *peer,
                users: twin.users.clone(),
                seen_ms_ago: now.since(twin.seen).as_millis(),
            })
            .collect()
    }
}

impl Overlay {
    /// A neighbour's identity shows a sign of a second user.
    pub(crate) fn note_sign_of_twins(&mut self, core: &mut Core, peer: PeerKey) {
        if !self.twins.sign(peer, core.now.mono) {
            return;
        }
        let links = self.links.values().filter(|link| is_met(link, peer));
        let users = links.map(|link| IdentityUser {
            epoch: link.epoch,
            addresses: link.address.iter().cloned().collect(),
        });
        let users = users.collect();
        self.note_twins(core, peer, users);
    }

    /// Two running peers use an identity, as far as can be told.
    pub(crate) fn note_twins(&mut self, core: &mut Core, peer: PeerKey, users: Vec<IdentityUser>) {
        if !self.twins.confirm(peer, users.clone(), core.now.mono) {
            return;
        }
        core.count(counter!("identity_conflicts"));
        core.event(Event::IdentityConflict { peer, users });
    }

    /// A record of `peer` has come on `from`. If it is its own, it tells the epoch of that end. A
    /// newer epoch than that of another standing connection to the same key is a sign of two users.
    pub(crate) fn note_own_epoch_of(&mut self, core: &mut Core, from: LinkId, peer: PeerKey) {
        let Some(epoch) = self.database.get(peer).map(|record| record.record.epoch) else {
            return;
        };
        let Some(link) = self.links.get_mut(&from).filter(|link| link.peer == peer) else {
            return;
        };
        if link.stage == Stage::Handshake || epoch <= link.epoch {
            return;
        }
        link.epoch = epoch;
        let mut others = self.links.values().filter(|link| is_met(link, peer));
        if others.any(|link| link.id != from) {
            self.note_sign_of_twins(core, peer);
        }
    }
}

fn is_met(link: &Link, peer: PeerKey) -> bool {
    link.peer == peer && matches!(link.stage, Stage::Up | Stage::Visitor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Micros {
        Micros::from_millis(ms)
    }

    #[test]
    fn signs_count_within_a_minute_and_are_told_once_in_one() {
        let mut twins = Twins::default();
        let peer = PeerKey([1; 32]);
        let signs = [0, 1_000, 70_000, 80_000].map(|ms| twins.sign(peer, at(ms)));
        assert_eq!(signs, [false; 4], "never three within a minute");
        assert!(twins.sign(peer, at(90_000)));
        assert!(twins.conflicts(at(90_000)).is_empty(), "not told yet");
        let told = [90_000, 100_000, 150_000].map(|ms| twins.confirm(peer, Vec::new(), at(ms)));
        assert_eq!(told, [true, false, true]);
        assert_eq!(twins.conflicts(at(150_000)).len(), 1);
        assert!(twins.conflicts(at(150_000 + SHOWN_MS)).is_empty());
    }

    #[test]
    fn identities_are_bounded() {
        let mut twins = Twins::default();
        for number in 0..=u8::MAX {
            twins.sign(PeerKey([number; 32]), at(u64::from(number)));
        }
        assert_eq!(twins.peers.len(), TWINS_MAX);
        assert!(twins.peers.contains_key(&PeerKey([u8::MAX; 32])));
    }
}
