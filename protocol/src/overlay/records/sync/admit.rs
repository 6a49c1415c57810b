//! Which records are looked at: those of the view always, others at a bounded rate.
//!
//! Keys cost nothing, so records of peers that nobody in the view vouches for come at a rate that
//! depends on nothing that they state. Two records vouch for each other when each states a link to
//! the other's peer. Whatever is refused comes later: as soon as somebody in the view states a link
//! to a peer whose record is missing, that record is asked for (`requests`), and neighbours compare
//! their views (`reconcile`).

use crate::base::interface::LinkId;
use crate::base::time::Micros;
use crate::core::Core;
use crate::overlay::Overlay;
use crate::overlay::records::{Offer, Standing};
use crate::wire::SignedRecord;
use std::collections::BTreeSet;

/// Strangers without links that neighbours may tell of at once, enough for some hundreds that start
/// together; and how long it takes until they may tell of one more.
pub(super) const STRANGERS: u64 = 256;
const STRANGER_EVERY: Micros = Micros::from_millis(1_000);
/// Records of peers outside the view that may come at once, in KiB (one of less counts as one): as
/// many as a newcomer needs to see what hangs together. Then 32 KiB a second: every record goes on
/// to all neighbours, and that is what a peer can carry besides.
pub(super) const OUTSIDE_KIB: u64 = 4_096;
const OUTSIDE_EVERY: Micros = Micros(31_250);
/// Peers noted whose records were refused for that.
const REFUSED_MAX: usize = 4_096;

/// A token bucket: so much at once, and one more every so often.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    /// When all of it is there again.
    at: Micros,
}

impl Allowance {
    /// How much may be taken.
    fn room(&self, most: u64, every: Micros, now: Micros) -> u64 {
        let used = self.at.since(now).0.div_ceil(every.0);
        most.saturating_sub(used)
    }

    /// Takes `units` if there is room for one; says whether.
    pub(super) fn take(&mut self, units: u64, most: u64, every: Micros, now: Micros) -> bool {
        let has_room = self.room(most, every, now) > 0;
        if has_room {
            self.at = self.at.max(now) + every.times(units);
        }
        has_room
    }
}

/// How far what may be looked at is used up.
#[derive(Debug, Default)]
pub(super) struct Admission {
    pub(super) strangers: Allowance,
    pub(super) outside: Allowance,
    /// Key prefixes of peers whose records were refused.
    refused: BTreeSet<u64>,
}

impl Admission {
    fn refuse(&mut self, prefix: u64) {
        if self.refused.len() >= REFUSED_MAX {
            // Neighbours compare their views all the same.
            self.refused.clear();
        }
        self.refused.insert(prefix);
    }

    /// Whether a record of that peer was refused since the last call.
    pub(super) fn take_refused(&mut self, prefix: u64) -> bool {
        self.refused.remove(&prefix)
    }

    /// How many records of peers outside the view may come now.
    pub(super) fn outside_room(&self, now: Micros) -> u64 {
        self.outside.room(OUTSIDE_KIB, OUTSIDE_EVERY, now)
    }
}

impl Overlay {
    /// How a record stands to the view: whether its peer is a neighbour, was inside, or is linked,
    /// by both ends' word, to somebody inside.
    pub(super) fn standing_of(&self, core: &Core, record: &SignedRecord) -> Standing {
        let peer = record.record.peer;
        if peer == core.me || self.up.contains_key(&peer) {
            return Standing::Linked;
        }
        let is_inside = |peer| !self.database.is_outside(peer);
        if self.database.get(peer).is_some() && is_inside(peer) {
            return Standing::Inside;
        }
        let vouches = |other| {
            let theirs = self.database.get(other);
            is_inside(other) && theirs.is_some_and(|theirs| theirs.record.rtt_us(peer).is_some())
        };
        if (record.record.links.iter()).any(|link| vouches(link.peer)) {
            Standing::Inside
        } else {
            Standing::Outside
        }
    }

    /// Whether the signature of a record that is newer than what is held may be checked.
    pub(super) fn may_check(
        &mut self,
        core: &mut Core,
        from: LinkId,
        record: &SignedRecord,
        age_ms: u64,
    ) -> bool {
        let now = core.now.mono;
        let peer = record.record.peer;
        let standing = self.standing_of(core, record);
        if let Err(offer) = self.database.admits(record, standing, now) {
            Self::count_refused(core, offer);
            return false;
        }
        // A peer that speaks of itself has a connection, which costs more than a key.
        let is_own = (self.links.get(&from)).is_some_and(|link| link.peer == peer);
        if standing == Standing::Outside && !is_own && !self.may_introduce(core, record) {
            core.count(counter!("records_of_strangers"));
            self.sync.admission.refuse(peer.prefix());
            return false;
        }
        let is_known = self.database.get(peer).is_some();
        if standing == Standing::Inside && is_known && age_ms > 2 * core.config.database.refresh_ms
        {
            // A peer that lives issues a record more often than that.
            core.count(counter!("ages_doubted"));
        }
        true
    }

    /// Whether one more record of somebody outside the view may come: a token bucket over all links,
    /// for what one neighbour has no room for comes by another. Others do well without those that
    /// state no link until there is one.
    fn may_introduce(&mut self, core: &Core, record: &SignedRecord) -> bool {
        let now = core.now.mono;
        let is_known = self.database.get(record.record.peer).is_some();
        let admission = &mut self.sync.admission;
        if record.record.links.is_empty() && !is_known {
            return admission.strangers.take(1, STRANGERS, STRANGER_EVERY, now);
        }
        let units = record.signed.len().div_ceil(1 << 10).max(1) as u64;
        admission
            .outside
            .take(units, OUTSIDE_KIB, OUTSIDE_EVERY, now)
    }

    /// A record was not put in.
    pub(super) fn count_refused(core: &mut Core, offer: Offer) {
        match offer {
            Offer::NoRoom => core.count(counter!("records_without_room")),
            Offer::TooManyNew => core.count(counter!("records_of_newcomers")),
            _ => {}
        }
    }
}
