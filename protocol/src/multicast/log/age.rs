//! How old entries are, by this peer's own monotonic clock: no wall clock tells it for sure.
//!
//! An entry was published before it came, and before every later entry of its log came. So each
//! arrival is a lower bound on the age of all that precedes it.

use super::{Entry, OriginLog};
use crate::base::message::Arrival;
use crate::base::time::Micros;
use crate::overlay::clocks::AHEAD_MS;

/// The clocks by which entries are listed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListClock {
    pub(in crate::multicast) now: Micros,
    /// Network time, ms since the Unix epoch.
    pub(in crate::multicast) network_ms: u64,
}

impl ListClock {
    /// The time of publication as lists are ordered by it, ms since the Unix epoch: what the
    /// origin states, but no later than it came and what clocks may be off. So a clock far ahead
    /// does not stay first for ever.
    pub(crate) fn listed_at(self, published_at: u64, came: Micros) -> u64 {
        let age_ms = self.now.since(came).as_millis();
        let latest = self
            .network_ms
            .saturating_sub(age_ms)
            .saturating_add(AHEAD_MS);
        published_at.min(latest)
    }
}

impl OriginLog {
    /// Entries up to `seq` had been published by then.
    pub(crate) fn note_published(&mut self, seq: u64, by: Micros) {
        let (known, before) = self.published;
        if seq > known || seq == known && by < before {
            self.published = (seq, by);
        }
    }

    /// When an entry had been published at the latest.
    pub(crate) fn published_by(&self, entry: &Entry) -> Micros {
        let (known, by) = self.published;
        if entry.bundle.header.seq <= known {
            entry.came.min(by)
        } else {
            entry.came
        }
    }

    /// For how long at least an entry up to `seq` has been published.
    pub(crate) fn age_of(&self, seq: u64, now: Micros) -> Micros {
        let (known, by) = self.published;
        let known = (seq <= known).then_some(by);
        let held = self.entry(seq).map(|entry| entry.came);
        let came = known.into_iter().chain(held).min();
        came.map_or(Micros(0), |came| now.since(came))
    }

    /// Up to where all that is settled was certainly published longer ago than `age`.
    pub(crate) fn settled_before(&self, age: Micros, now: Micros) -> u64 {
        let is_older = |came: Micros| now.since(came) > age;
        let (known, by) = self.published;
        let known = if is_older(by) { known } else { 0 };
        let held = (self.entries.values().rev())
            .take_while(|entry| entry.bundle.header.last_seq() > known)
            .find(|entry| is_older(entry.came))
            .map_or(0, |entry| entry.bundle.header.last_seq());
        known.max(held).min(self.settled)
    }

    /// Whether an entry may have been published within the last `ms`. Of what came after this
    /// peer did, its arrival tells; the past that it was given came together, so what the origin
    /// states tells more.
    pub(crate) fn is_within(
        &self,
        entry: &Entry,
        published_at: u64,
        ms: u64,
        clock: ListClock,
    ) -> bool {
        let age = clock.now.since(self.published_by(entry));
        let is_past = entry.bundle.header.seq <= self.published.0;
        let since = clock.network_ms.saturating_sub(ms);
        age <= Micros::from_millis(ms) && (!is_past || published_at >= since)
    }

    /// The first entry held that was not pulled.
    pub(crate) fn first_pushed(&self) -> Option<u64> {
        let mut held = self.entries.values();
        let pushed = held.find(|entry| entry.arrival != Arrival::Pulled)?;
        Some(pushed.bundle.header.seq)
    }
}
