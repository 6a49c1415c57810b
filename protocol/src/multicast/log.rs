//! One origin's entries in one epoch: what is held, what is settled, what comes next.
//!
//! Pure bookkeeping: exact dedup by a settled point and a few ranges above it, the order of
//! delivery (`ready`), and what may be evicted. Who lacks what elsewhere is none of its business.

mod age;
mod ready;

pub(crate) use age::ListClock;
pub(crate) use ready::Next;

use super::evidence::Inquiry;
use super::inflight::InFlight;
use super::missing::Missing;
use crate::base::message::Arrival;
use crate::base::ranges::RangeSet;
use crate::base::time::Micros;
use crate::wire::frame::SignedHeader;
use crate::wire::{Bundle, BundleHeader};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Ranges of entries above the settled point, and so holes between them. An origin that leaves out
/// every second number would otherwise make every step of its log as long as its log. Real losses
/// are runs, and a log with this many of them is mended from the front before it takes more.
pub(crate) const HOLES_MAX: usize = 4_096;
/// Gap ranges remembered, for acknowledgements.
const GAPS_REMEMBERED: usize = 16;

/// A bundle in the log.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(super) bundle: Arc<Bundle>,
    pub(super) hops: u16,
    pub(super) arrival: Arrival,
    pub(super) came: Micros,
}

/// A signed header apart from its bundle.
#[derive(Debug)]
struct Head {
    last_seq: u64,
    signed: SignedHeader,
}

/// The log of one (origin, epoch) in a group.
#[derive(Debug)]
pub(crate) struct OriginLog {
    /// By first seq.
    entries: BTreeMap<u64, Entry>,
    /// What of the entries is held.
    held: RangeSet,
    settled: u64,
    /// Settled above that point.
    above: RangeSet,
    /// Up to here nothing is due.
    base: u64,
    gaps: RangeSet,
    /// The next entry to hand over; everything below has been.
    next: u64,
    /// Handed over above `next`, where order does not matter.
    handed: RangeSet,
    /// Bundles that came since all above `next` were looked at, by first seq, where order does not
    /// matter; `None` while nobody has looked at all.
    unseen: Option<Vec<u64>>,
    /// The highest entry that a signed bundle proves to exist.
    pub(super) proven: u64,
    pub(super) missing: Missing,
    pub(super) inquiry: Inquiry,
    /// The highest header known of what is not held (any more).
    head: Option<Head>,
    /// When this peer made it: the first signed evidence of the origin's life.
    pub(super) made: Micros,
    /// Up to which entry all had been published by when; entries held tell more of later ones.
    published: (u64, Micros),
    /// The last time an entry came, or a link that may have some.
    pub(super) progress: Micros,
    /// Weight of entries not handed over yet.
    pub(super) ahead_bytes: usize,
    /// Entries handed over since somebody last asked: first seq and weight.
    passed: Vec<(u64, usize)>,
    pub(super) weight: usize,
    /// For the mean weight of an entry.
    seen: (u64, u64),
    pub(super) inflight: InFlight,
    /// The last time that something pushed was left to be pulled, for want of memory.
    pub(super) refused: Option<Micros>,
}

impl OriginLog {
    /// An empty log in which entries after `base` are due.
    pub(crate) fn new(base: u64, now: Micros) -> Self {
        Self {
            entries: BTreeMap::new(),
            held: RangeSet::new(),
            settled: base,
            above: RangeSet::new(),
            base,
            gaps: RangeSet::new(),
            next: base + 1,
            handed: RangeSet::new(),
            unseen: None,
            proven: base,
            missing: Missing::default(),
            inquiry: Inquiry::default(),
            head: None,
            made: now,
            published: (base, now),
            progress: now,
            ahead_bytes: 0,
            passed: Vec::new(),
            weight: 0,
            seen: (0, 0),
            inflight: InFlight::default(),
            refused: None,
        }
    }

    /// Everything up to here is settled: held, lost, or not due.
    pub(crate) fn settled(&self) -> u64 {
        self.settled
    }

    /// What is settled above that point.
    pub(crate) fn above(&self) -> &RangeSet {
        &self.above
    }

    /// What is held.
    pub(crate) fn held(&self) -> &RangeSet {
        &self.held
    }

    /// The lowest entry held, at most one past the settled point: what lies below is let go.
    pub(crate) fn floor(&self) -> u64 {
        let after = self.settled + 1;
        self.held.first().map_or(after, |first| first.min(after))
    }

    /// Whether nothing after the base has been handed over in order.
    pub(crate) fn is_unread(&self) -> bool {
        self.next == self.base + 1
    }

    /// Whether nothing has ever come.
    pub(crate) fn is_unused(&self) -> bool {
        self.seen.0 == 0
    }

    /// Whether it holds nothing, lacks nothing and has handed over what there was.
    pub(crate) fn is_idle(&self) -> bool {
        self.entries.is_empty() && self.missing.is_none() && self.next > self.settled
    }

    /// The highest entry settled.
    pub(crate) fn high(&self) -> u64 {
        self.above.last().unwrap_or(self.settled)
    }

    /// What a member does not have of all that is settled: recent gaps, and what was before it.
    pub(crate) fn lost(&self) -> RangeSet {
        let mut lost = self.gaps.clone();
        if self.base > 0 {
            lost.insert(1, self.base);
        }
        lost
    }

    /// The next entry to hand over.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Whether all of `from..=to` is settled: nothing in it is new.
    pub(crate) fn is_settled(&self, from: u64, to: u64) -> bool {
        to <= self.settled || self.above.covers(from.max(self.settled + 1), to)
    }

    /// Whether `from..=to` would open one more hole in a log that has no room for it.
    pub(crate) fn has_too_many_holes_for(&self, from: u64, to: u64) -> bool {
        self.above.range_count() >= HOLES_MAX
            && from > self.settled + 1
            && !self.above.contains(from - 1)
            && !self.above.contains(to + 1)
    }

    /// What of `from..=to` is not settled.
    pub(crate) fn unsettled(&self, from: u64, to: u64) -> RangeSet {
        self.above.holes(from.max(self.settled + 1), to)
    }

    /// The bundle that contains `seq`.
    pub(crate) fn entry(&self, seq: u64) -> Option<&Entry> {
        let (_, entry) = self.entries.range(..=seq).next_back()?;
        (entry.bundle.header.last_seq() >= seq).then_some(entry)
    }

    /// The bundles that touch `from..=to`, ascending.
    pub(crate) fn entries_in(&self, from: u64, to: u64) -> impl Iterator<Item = &Entry> {
        let start = self
            .entries
            .range(..=from)
            .next_back()
            .filter(|(_, entry)| entry.bundle.header.last_seq() >= from)
            .map_or(from, |(first, _)| *first);
        self.entries
            .range(start..=to.max(start))
            .map(|(_, entry)| entry)
            .filter(move |entry| {
                entry.bundle.header.seq <= to && entry.bundle.header.last_seq() >= from
            })
    }

    /// All bundles, ascending.
    pub(crate) fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.values()
    }

    /// Puts a verified bundle in; `false` when nothing of it is new. A bundle that is new in
    /// part only is taken whole: what it repeats was never held, only settled.
    pub(crate) fn insert(&mut self, entry: Entry, now: Micros) -> bool {
        let (from, to) = (entry.bundle.header.seq, entry.bundle.header.last_seq());
        if self.is_settled(from, to) || self.entries_in(from, to).next().is_some() {
            return false;
        }
        let weight = entry.bundle.weight();
        self.weight += weight;
        self.ahead_bytes += weight;
        self.seen = (
            self.seen.0 + entry.bundle.header.count(),
            self.seen.1 + weight as u64,
        );
        if entry.arrival == Arrival::Pushed {
            self.inflight.note(&entry.bundle.header, now);
        }
        if let Some(unseen) = &mut self.unseen {
            unseen.push(from);
        }
        self.entries.insert(from, entry);
        self.held.insert(from, to);
        self.proven = self.proven.max(to);
        self.settle(from, to);
        self.progress = now;
        true
    }

    fn settle(&mut self, from: u64, to: u64) {
        self.above.insert(from.max(self.settled + 1), to);
        self.settled = self.above.settle(self.settled);
        self.missing.remove(from, to);
    }

    /// Gives `from..=to` up for lost.
    pub(crate) fn give_up(&mut self, from: u64, to: u64) {
        for &(from, to) in self.unsettled(from, to).as_slice() {
            self.gaps.insert(from, to);
            self.settle(from, to);
        }
    }

    /// Nothing up to `base` is due after all.
    pub(crate) fn rebase(&mut self, base: u64) {
        if base <= self.base {
            return;
        }
        self.base = base;
        if base > self.settled {
            self.settle(self.settled + 1, base);
        }
        self.proven = self.proven.max(base);
        if self.next <= base {
            self.pass(base);
        }
    }

    /// Everything after `base` is due after all, and handed over from there (again); what of it
    /// was never had is missing again. What was lost is not told a second time.
    pub(crate) fn reopen(&mut self, base: u64, now: Micros) {
        if base + 1 >= self.next {
            return;
        }
        self.gaps.remove(0, self.next - 1);
        if base < self.base {
            let end = self.base;
            self.above.insert(self.base + 1, self.settled);
            self.above.extend(&self.held.within(base + 1, self.base));
            self.settled = self.above.settle(base);
            self.base = base;
            let lacking = self.unsettled(base + 1, end);
            self.missing.add(&lacking, now);
        }
        self.next = base + 1;
        self.handed = RangeSet::new();
        self.unseen = None;
        let weigh = |entry: &Entry| (entry.bundle.header.seq, entry.bundle.weight());
        let (passed, ahead): (Vec<&Entry>, Vec<&Entry>) = self
            .entries
            .values()
            .partition(|entry| entry.bundle.header.last_seq() < self.next);
        self.passed = passed.into_iter().map(weigh).collect();
        self.ahead_bytes = ahead.iter().map(|entry| weigh(entry).1).sum();
    }

    /// Forgets the bundle that begins at `seq`; returns its weight.
    pub(crate) fn evict(&mut self, seq: u64) -> usize {
        let Some(entry) = self.entries.remove(&seq) else {
            return 0;
        };
        if self.entries.range(seq..).next().is_none() {
            self.note_head(&signed_header(&entry.bundle));
        }
        self.held.remove(seq, entry.bundle.header.last_seq());
        let by = self.published_by(&entry);
        self.note_published(entry.bundle.header.last_seq(), by);
        let weight = entry.bundle.weight();
        self.weight -= weight;
        weight
    }

    /// A verified header of this log, of which the bundle itself is not held.
    pub(crate) fn note_head(&mut self, signed: &SignedHeader) {
        let Ok(header) = BundleHeader::decode(&signed.signed) else {
            return;
        };
        let last_seq = header.last_seq();
        if self
            .head
            .as_ref()
            .is_none_or(|head| head.last_seq < last_seq)
        {
            // A copy of its own: the bytes may be part of a large frame.
            let signed = SignedHeader {
                signed: Bytes::copy_from_slice(&signed.signed),
                signature: signed.signature,
            };
            self.head = Some(Head { last_seq, signed });
        }
    }

    /// The highest signed header known: it proves everything settled to have been published.
    pub(crate) fn head(&self) -> Option<SignedHeader> {
        let last = self.entries.values().next_back().map(|entry| &entry.bundle);
        match (&self.head, last) {
            (Some(head), Some(last)) if head.last_seq > last.header.last_seq() => {
                Some(head.signed.clone())
            }
            (_, Some(last)) => Some(signed_header(last)),
            (head, None) => head.as_ref().map(|head| head.signed.clone()),
        }
    }

    /// How many entries of about so many bytes, at least one.
    pub(crate) fn entries_for(&self, bytes: usize) -> u64 {
        let mean = self.seen.1.checked_div(self.seen.0).unwrap_or(1_024);
        (bytes as u64 / mean.max(64)).clamp(1, 1_024)
    }
}

fn signed_header(bundle: &Bundle) -> SignedHeader {
    SignedHeader {
        signed: bundle.signed.clone(),
        signature: bundle.signature,
    }
}

#[cfg(test)]
mod tests;
