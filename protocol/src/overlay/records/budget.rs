//! Which records there is room for, and which make room for others.
//!
//! Keys cost nothing, so somebody can invent as many peers as everybody can hold. What is known for
//! long therefore stays: a record is displaced only by one of a peer that is known for longer, or,
//! outside the view, by one inside. So records that are invented displace nothing but each other.

use super::{Database, Offer, Tombstone};
use crate::base::identity::PeerKey;
use crate::base::time::Micros;
use crate::wire::SignedRecord;

/// Records outside the view take at most this part of the room, in number and in bytes: enough for
/// a newcomer to find out what hangs together among some thousands that it meets at once.
const OUTSIDE_SHARE: usize = 4;
/// A peer that was first heard of so long ago is known for long, minutes. Nobody that is known for
/// less displaces it.
const LONG_MIN: u32 = 60;
/// With more than half of the room in use, a view in which many are known for long gets this part of
/// those as new peers in a minute, at least the second: some 10,000 peers grow by half in eight
/// minutes, and an operator sees it.
const NEW_SHARE: usize = 16;
const NEW_MIN: usize = 64;
/// Many: at least this part of all. A peer that has just come has everybody yet to learn.
const LONG_SHARE: usize = 4;

/// How a record that comes stands to the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nobody in the view states a link to its peer that it states back.
    Outside,
    /// Somebody does, or it was in the view before.
    Inside,
    /// A neighbour's own, or this peer's.
    Linked,
}

/// How far the allowance for new peers is used up.
#[derive(Debug, Default)]
pub(super) struct NewPeers {
    at: Micros,
}

impl NewPeers {
    const MINUTE: Micros = Micros::from_millis(60_000);

    fn has_room(&self, every: Micros, now: Micros) -> bool {
        self.at.max(now).since(now) + every <= Self::MINUTE
    }

    fn take(&mut self, every: Micros, now: Micros) {
        self.at = self.at.max(now) + every;
    }
}

impl Database {
    /// Whether a record that is newer would be put in, as far as room goes. Says so before its
    /// signature is checked.
    pub(crate) fn admits(
        &self,
        record: &SignedRecord,
        standing: Standing,
        now: Micros,
    ) -> Result<(), Offer> {
        let peer = record.record.peer;
        let former = self.get(peer);
        if standing == Standing::Outside {
            let (more, bytes) = match former.filter(|_| self.is_outside(peer)) {
                Some(former) => (0, self.outside_bytes - former.memory_bytes),
                None => (1, self.outside_bytes),
            };
            if self.outside.len() + more > self.config.records_max / OUTSIDE_SHARE
                || bytes + record.memory_bytes > self.bytes_max / OUTSIDE_SHARE
            {
                return Err(Offer::NoRoom);
            }
        }
        let is_new = former.is_none() && !self.tombstones.contains_key(&peer);
        if is_new
            && standing == Standing::Inside
            && self
                .new_peers_every()
                .is_some_and(|every| !self.new_peers.has_room(every, now))
        {
            return Err(Offer::TooManyNew);
        }
        let is_newest = self.first_heard(peer, now) >= self.minutes(now);
        if self.lacks_room(record) && is_newest && standing != Standing::Linked {
            let gives_way = |outside: &PeerKey| *outside != peer && self.is_young(*outside, now);
            if standing == Standing::Outside || !self.outside.iter().any(gives_way) {
                return Err(Offer::NoRoom);
            }
        }
        Ok(())
    }

    /// Makes room for a record that will be put in now.
    pub(super) fn make_room(
        &mut self,
        record: &SignedRecord,
        standing: Standing,
        now: Micros,
        keep: impl Fn(PeerKey) -> bool,
    ) -> Result<(), Offer> {
        self.admits(record, standing, now)?;
        let peer = record.record.peer;
        while self.lacks_room(record) {
            match self.victim(peer, standing, now, &keep) {
                Some(victim) => {
                    self.evicted += 1;
                    self.remove(victim);
                }
                // Neighbours are few, and nothing works without their records.
                None if standing == Standing::Linked => break,
                None => return Err(Offer::NoRoom),
            }
        }
        let is_new = self.get(peer).is_none() && !self.tombstones.contains_key(&peer);
        if let Some(every) = self.new_peers_every()
            && is_new
            && standing == Standing::Inside
        {
            self.new_peers.take(every, now);
        }
        Ok(())
    }

    /// Whether something must go before `record` can come.
    fn lacks_room(&self, record: &SignedRecord) -> bool {
        let former = self.get(record.record.peer);
        let (more, less) = former.map_or((1, 0), |former| (0, former.memory_bytes));
        self.len() + more > self.config.records_max
            || self.bytes() - less + record.memory_bytes > self.bytes_max
    }

    /// The peer that gives way to `peer`: of those outside the one heard of last, and of those inside
    /// likewise, if that was after `peer`.
    fn victim(
        &self,
        peer: PeerKey,
        standing: Standing,
        now: Micros,
        keep: impl Fn(PeerKey) -> bool,
    ) -> Option<PeerKey> {
        let may_go = |other: PeerKey| other != peer && !keep(other);
        if standing != Standing::Outside {
            let young = self.outside.iter().copied();
            let young = young.filter(|other| may_go(*other) && self.is_young(*other, now));
            let last = young.max_by_key(|other| self.first_heard(*other, now));
            if last.is_some() {
                return last;
            }
        }
        let first_min = self.first_heard(peer, now);
        if first_min >= self.minutes(now) && standing != Standing::Linked {
            // Nobody was heard of later.
            return None;
        }
        let is_later = |other: u32| {
            other > first_min
                || standing == Standing::Linked && other + LONG_MIN > self.minutes(now)
        };
        let rows = self.table.iter();
        rows.filter(|row| may_go(row.peer()) && is_later(row.first_min))
            .max_by_key(|row| row.first_min)
            .map(super::Row::peer)
    }

    /// The time between two new peers; `None`: they are not limited.
    fn new_peers_every(&self) -> Option<Micros> {
        let is_half_full =
            self.len() * 2 > self.config.records_max || self.bytes * 2 > self.bytes_max;
        let knows_many = self.known * LONG_SHARE >= self.len();
        let in_a_minute = (self.known / NEW_SHARE).max(NEW_MIN) as u64;
        (is_half_full && knows_many).then(|| Micros(NewPeers::MINUTE.0 / in_a_minute))
    }

    fn minutes(&self, now: Micros) -> u32 {
        u32::try_from(now.since(self.began).as_millis() / 60_000).unwrap_or(u32::MAX)
    }

    /// When `peer` was first heard of, minutes; now, if it was not.
    pub(super) fn first_heard(&self, peer: PeerKey, now: Micros) -> u32 {
        let row = self.table.get(peer).map(|row| row.first_min);
        let grave = || self.tombstones.get(&peer).map(|grave| grave.first_min);
        row.or_else(grave).unwrap_or_else(|| self.minutes(now))
    }

    fn is_young(&self, peer: PeerKey, now: Micros) -> bool {
        self.first_heard(peer, now) + LONG_MIN > self.minutes(now)
    }

    /// Counts who is known for long.
    pub(super) fn count_known(&mut self, now: Micros) {
        let minutes = self.minutes(now);
        let long = |row: &&super::Row| row.first_min + LONG_MIN <= minutes;
        self.known = self.table.iter().filter(long).count();
    }

    /// Drops a record for its age and remembers its version, so that it does not come back, and since
    /// when its peer was known.
    pub(super) fn bury(&mut self, peer: PeerKey, now: Micros) {
        let Some(row) = self.remove(peer) else {
            return;
        };
        let grave = Tombstone {
            order: row.record.order(),
            at: now,
            first_min: row.first_min,
        };
        self.tombstones.insert(peer, grave);
    }

    /// Forgets versions of dropped records that are old or too many: first those of peers that were
    /// known for the shortest time.
    pub(super) fn trim_tombstones(&mut self, now: Micros) {
        let forget = Micros::from_millis(self.config.tombstone_ms);
        self.tombstones
            .retain(|_, grave| now.since(grave.at) <= forget);
        let surplus = (self.tombstones.len()).saturating_sub(self.config.tombstones_max);
        if surplus > 0 {
            let graves = self.tombstones.iter();
            let mut order: Vec<(u32, std::cmp::Reverse<Micros>, PeerKey)> = graves
                .map(|(peer, grave)| (grave.first_min, std::cmp::Reverse(grave.at), *peer))
                .collect();
            order.sort_unstable();
            for (_, _, peer) in order.into_iter().rev().take(surplus) {
                self.tombstones.remove(&peer);
            }
        }
    }
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
