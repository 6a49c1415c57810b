//! The own epoch: taken, stored, then used. And which epochs of others are ahead of time.
//!
//! An epoch names one life of a peer. No two lives may share one, whatever the clock does, so
//! nothing is sent under an epoch that is not stored. Epochs are milliseconds since 1970; one that
//! is further ahead than clocks can be off may come from a wrong clock, or from somebody who once
//! had the key and wants no later life to be believed. It is taken where nothing else is known of its
//! peer, and gives way to one that is not ahead. docs/design/time.md gives the reasons.

use super::{Database, Offer};
use crate::base::identity::PeerKey;
use crate::base::interface::LinkId;
use crate::base::store::{BatchId, Namespace, StoreOp, Stored};
use crate::base::time::Micros;
use crate::core::Core;
use crate::overlay::Overlay;
use crate::overlay::links::OverlayEvent;
use crate::wire::{EPOCH_MAX, SignedRecord};
use bytes::Bytes;
use std::collections::BTreeMap;

/// An epoch further ahead of all clocks that a peer knows is ahead of time, ms: 30 days. Two peers that
/// disagree about that keep different records of a third, so no clock that anybody works with may be
/// off by so much; and how far it is makes no difference to what an attacker can use up.
const AHEAD_MS: u64 = 30 * 86_400_000;
/// A neighbour that tells of an epoch ahead of time is told of the present one this often, ms, and
/// so many are remembered for that.
const REMIND_MS: u64 = 10_000;
const REMINDED_MAX: usize = 256;

/// Where the own epoch is stored, as eight bytes, the highest first.
const EPOCH_KEY: &[u8] = b"epoch";

/// What becomes of the own epoch.
#[derive(Debug, Default)]
pub(crate) struct Epochs {
    /// The first one of this life is not stored: nothing is sent before.
    is_mute: bool,
    /// The one that is being stored. One at a time, so that a disk that takes none holds up one.
    storing: Option<(BatchId, u64)>,
    /// The one to be used next, once it is stored.
    next: Option<u64>,
    /// The last one of earlier lives.
    former: u64,
    /// Whether this life's epoch was judged by network time.
    judged: bool,
    /// The highest own epoch that was met and is ahead of time.
    ahead: Option<u64>,
    /// Neighbours that were told of the present epoch of a peer, and when.
    reminded: BTreeMap<(LinkId, PeerKey), Micros>,
}

/// The epoch of a life that begins at `wall_ms`, after lives up to `former`.
pub(crate) fn first_epoch(wall_ms: u64, former: u64) -> u64 {
    // The last epoch there is has no next one; it was never this peer's choice.
    let next = if former < EPOCH_MAX { former + 1 } else { 1 };
    wall_ms.max(next).min(EPOCH_MAX)
}

/// The last epoch of earlier lives; 0 when there was none. A damaged one, or one that no peer would
/// believe, costs nothing: the next is taken from the clock, and bounded by the neighbours' clocks.
pub(crate) fn stored_epoch(stored: &Stored) -> u64 {
    let Some(value) = stored.get(Namespace::Overlay, EPOCH_KEY) else {
        return 0;
    };
    let epoch = value.as_ref().try_into().ok().map(u64::from_be_bytes);
    epoch.filter(|epoch| *epoch < EPOCH_MAX).unwrap_or_else(|| {
        tracing::error!("the stored epoch is damaged or out of range; taking one from the clock");
        0
    })
}

impl Overlay {
    /// Has the first epoch stored.
    pub(crate) fn store_first_epoch(&mut self, core: &mut Core, former: u64) {
        self.epochs.is_mute = true;
        self.epochs.former = former;
        self.store_epoch(core, self.own.epoch);
    }

    fn store_epoch(&mut self, core: &mut Core, epoch: u64) {
        let put = StoreOp::Put {
            key: Bytes::from_static(EPOCH_KEY),
            value: Bytes::copy_from_slice(&epoch.to_be_bytes()),
        };
        // One small batch at a time always has room.
        let batch = core.store(Namespace::Overlay, vec![put]).ok();
        self.epochs.storing = batch.map(|batch| (batch, epoch));
    }

    /// Uses an epoch next, once it is stored.
    fn begin_next(&mut self, core: &mut Core, epoch: u64) {
        self.epochs.next = Some(epoch);
        if self.epochs.storing.is_none() {
            self.store_epoch(core, epoch);
        }
    }

    /// Whether nothing may be sent yet, for the epoch is not stored.
    pub(crate) fn is_mute(&self) -> bool {
        self.epochs.is_mute
    }

    /// A batch of this module is durable.
    pub(crate) fn on_stored(&mut self, core: &mut Core, batch: BatchId) {
        let Some((_, epoch)) = self.epochs.storing.filter(|(storing, _)| *storing == batch) else {
            return;
        };
        self.epochs.storing = None;
        if std::mem::take(&mut self.epochs.is_mute) {
            let links: Vec<LinkId> = self.links.keys().copied().collect();
            for link in links {
                self.pump(core, link);
            }
        }
        match self.epochs.next {
            Some(next) if next == epoch => {
                self.epochs.next = None;
                self.begin_epoch(core, epoch);
            }
            // It was wanted while another one was being stored.
            Some(next) if self.epochs.storing.is_none() => self.store_epoch(core, next),
            _ => {}
        }
    }

    /// Whether an epoch that is no lower than this is being stored.
    pub(crate) fn is_taking_epoch(&self, epoch: u64) -> bool {
        self.epochs.next.is_some_and(|next| next >= epoch)
    }

    /// Goes on in a higher epoch once it is stored. Until then the present one is used.
    pub(crate) fn take_epoch(&mut self, core: &mut Core, epoch: u64) {
        if !self.is_taking_epoch(epoch) {
            self.begin_next(core, epoch);
        }
    }

    fn begin_epoch(&mut self, core: &mut Core, epoch: u64) {
        let former = std::mem::replace(&mut self.own.epoch, epoch);
        tracing::info!(former, epoch, "a new epoch begins");
        self.own.version = 0;
        self.happened(OverlayEvent::OwnEpochChanged(former));
        self.issue_record(core);
    }

    /// Whether an epoch is further ahead of all clocks that this peer knows than they can be off.
    pub(crate) fn is_ahead_of_time(&self, core: &Core, epoch: u64) -> bool {
        let latest = |clock_ms: u64| clock_ms.saturating_add(AHEAD_MS);
        epoch > latest(core.now.wall_ms) && epoch > latest(self.network_ms(core))
    }

    /// A record of this peer's own is newer and ahead of time: nothing is taken above it, for then
    /// there might soon be nothing left above it. It is looked at again when time has come so far.
    pub(crate) fn note_own_ahead(&mut self, core: &mut Core, epoch: u64) {
        core.count(counter!("epochs_ahead"));
        self.epochs.ahead = self.epochs.ahead.max(Some(epoch));
    }

    /// Network time may have changed.
    pub(crate) fn on_network_time_for_epoch(&mut self, core: &mut Core) {
        if let Some(ahead) = self.epochs.ahead
            && !self.is_ahead_of_time(core, ahead)
        {
            self.epochs.ahead = None;
            if ahead >= self.own.epoch {
                self.take_epoch(core, ahead + 1);
            }
        }
        self.judge_own_epoch(core);
    }

    /// An epoch from a clock that was far ahead would lose to those of earlier lives until time has
    /// come so far. Judged once in a life: should it be the neighbours that are wrong, others believe
    /// the first epoch, tell of it, and the one above is kept.
    fn judge_own_epoch(&mut self, core: &mut Core) {
        if self.epochs.judged || self.is_mute() || !self.is_network_time_settled(core) {
            return;
        }
        let Some(network_ms) = self.neighbours_ms(core) else {
            return;
        };
        self.epochs.judged = true;
        let latest_ms = network_ms.saturating_add(AHEAD_MS);
        let from = self.own.epoch;
        if from <= latest_ms || self.epochs.next.is_some() {
            return;
        }
        let former = Some(self.epochs.former).filter(|former| *former <= latest_ms);
        let epoch = network_ms.max(former.unwrap_or(0) + 1);
        tracing::warn!(from, epoch, "the epoch is ahead of network time");
        // What is stored is the present one: nothing else was asked for.
        self.begin_next(core, epoch);
    }

    /// What a record is beside what is held, by (epoch, version); but one that is ahead of time and
    /// one that is not differ by that alone.
    pub(crate) fn offer_in_time(&self, core: &Core, record: &SignedRecord) -> Offer {
        let epoch = record.record.epoch;
        match self.database.last_epoch(record.record.peer) {
            Some(held) if held < epoch && self.has_overtaken_time(core, epoch, held) => {
                Offer::Ahead
            }
            Some(held) if held > epoch && self.has_overtaken_time(core, held, epoch) => {
                Offer::Newer
            }
            _ => self.database.offer(record, core.now.mono),
        }
    }

    fn has_overtaken_time(&self, core: &Core, later: u64, earlier: u64) -> bool {
        self.is_ahead_of_time(core, later) && !self.is_ahead_of_time(core, earlier)
    }

    /// What is held of a peer and ahead of time gives way to a record that is not.
    pub(crate) fn let_ahead_give_way(&mut self, core: &mut Core, record: &SignedRecord) {
        let peer = record.record.peer;
        let held = self.database.last_epoch(peer);
        if held.is_some_and(|held| self.has_overtaken_time(core, held, record.record.epoch)) {
            core.count(counter!("records_ahead"));
            self.database.give_way(peer, core.now.mono);
        }
    }

    /// A neighbour tells of an epoch that is ahead of time: what is held instead may be news to it.
    /// Not each time, for it may know better.
    pub(crate) fn on_record_ahead(&mut self, core: &mut Core, from: LinkId, record: &SignedRecord) {
        let peer = record.record.peer;
        core.count(counter!("records_ahead"));
        let now = core.now.mono;
        let reminded = &mut self.epochs.reminded;
        let pause = Micros::from_millis(REMIND_MS);
        if reminded.len() >= REMINDED_MAX {
            reminded.retain(|_, at| now.since(*at) < pause);
        }
        let last = reminded.get(&(from, peer));
        if reminded.len() < REMINDED_MAX && last.is_none_or(|at| now.since(*at) >= pause) {
            reminded.insert((from, peer), now);
            self.push_record(core, from, peer);
        }
    }
}

impl Database {
    /// The epoch of the record that is held of a peer, or was and does not come back.
    fn last_epoch(&self, peer: PeerKey) -> Option<u64> {
        let held = self.get(peer).map(|held| held.record.epoch);
        held.max(self.tombstones.get(&peer).map(|grave| grave.order.0))
    }

    /// Forgets how far a peer had come, but not since when it is known.
    fn give_way(&mut self, peer: PeerKey, now: Micros) {
        self.bury(peer, now);
        if let Some(grave) = self.tombstones.get_mut(&peer) {
            grave.order = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::fixture::{Fixture, ME, WALL_MS, peer, wire};

    #[test]
    fn a_life_never_repeats_an_earlier_one() {
        assert_eq!(first_epoch(1_000, 0), 1_000);
        assert_eq!(first_epoch(1_000, 2_000), 2_001, "the clock went back");
        assert_eq!(first_epoch(0, 0), 1);
        assert_eq!(first_epoch(u64::MAX, 0), EPOCH_MAX);
        assert_eq!(first_epoch(1_000, EPOCH_MAX), 1_000, "there is none above");
        assert_eq!(first_epoch(1_000, u64::MAX), 1_000);
    }

    #[test]
    fn of_epochs_that_are_being_stored_the_highest_is_used() {
        let mut fixture = Fixture::new();
        let former = fixture.net.own.epoch;
        for (above, is_asked) in [(5, true), (4, false), (5, false), (9, false)] {
            let (core, net) = (&mut fixture.core, &mut fixture.net);
            net.take_epoch(core, former + above);
            let commands = fixture.commands();
            assert_eq!(commands.len(), usize::from(is_asked), "{commands:?}");
        }
        // One at a time: the highest is asked for when the first is stored. That was number two, after
        // the one that this life began with.
        for (id, epoch) in [(2, former), (3, former + 9), (3, former + 9)] {
            fixture.stored(BatchId::new(Namespace::Overlay, id));
            assert_eq!(fixture.net.own.epoch, epoch);
        }
        let changed = OverlayEvent::OwnEpochChanged(former);
        assert_eq!(fixture.events(), [changed], "once");
        let own = fixture.net.database.get(peer(ME)).expect("its own");
        assert_eq!(own.order(), (former + 9, 1));
    }

    #[test]
    fn an_epoch_is_ahead_of_time_only_where_no_clock_has_come_near_it() {
        let mut fixture = Fixture::new();
        let link = fixture.link(2);
        let last = WALL_MS + AHEAD_MS;
        let is_ahead =
            |fixture: &Fixture, epoch| fixture.net.is_ahead_of_time(&fixture.core, epoch);
        assert!(!is_ahead(&fixture, last));
        assert!(is_ahead(&fixture, last + 1));
        for (neighbour_ms, latest) in [(WALL_MS + 70, last + 70), (WALL_MS - 70, last)] {
            let (core, net) = (&mut fixture.core, &mut fixture.net);
            net.on_clock(core, link, neighbour_ms);
            assert!(!is_ahead(&fixture, latest));
            assert!(is_ahead(&fixture, latest + 1));
        }
    }

    #[test]
    fn a_neighbour_that_tells_of_an_epoch_ahead_is_told_of_the_present_one_now_and_then() {
        let mut fixture = Fixture::new();
        let links = [fixture.link(2), fixture.link(3)];
        fixture.hold(4, |_| ());
        fixture.forget();
        let ahead = fixture.record(4, |record| record.epoch = WALL_MS + 2 * AHEAD_MS);
        let told = |fixture: &mut Fixture, link: LinkId| {
            let records = vec![wire(&ahead, 0)];
            fixture.net.on_records(&mut fixture.core, link, records);
            fixture.wait_ms(10);
            fixture.net.on_sync_timeout(&mut fixture.core);
            fixture.frames_to(link).len()
        };
        assert_eq!(links.map(|link| told(&mut fixture, link)), [1, 1]);
        assert_eq!(links.map(|link| told(&mut fixture, link)), [0, 0]);
        fixture.wait_ms(REMIND_MS);
        assert_eq!(links.map(|link| told(&mut fixture, link)), [1, 1]);
        assert_eq!(fixture.counted("records_ahead"), 6);
        assert_eq!(fixture.net.sync.checking(), 0);
    }
}
