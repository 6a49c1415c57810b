//! One origin's entries in one epoch: what is held, what is settled, what comes next.
//!
//! Pure bookkeeping: exact dedup by a settled point and a few ranges above it, the order of
//! delivery, and what may be evicted. Who lacks what elsewhere is none of its business.

use super::missing::Missing;
use super::pushed::Pushed;
use crate::message::{Arrival, Order};
use crate::ranges::RangeSet;
use crate::time::Micros;
use crate::wire::frame::SignedHeader;
use crate::wire::{Bundle, BundleHeader};
use bytes::{Bytes, BytesMut};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Gap ranges remembered, for acknowledgements.
const GAPS_REMEMBERED: usize = 16;

/// A bundle in the log.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) bundle: Arc<Bundle>,
    pub(crate) hops: u16,
    pub(crate) arrival: Arrival,
}

/// A signed header apart from its bundle.
#[derive(Debug)]
struct Head {
    last_seq: u64,
    published_at: u64,
    signed: SignedHeader,
}

/// What the application gets next of one origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A message.
    Message {
        seq: u64,
        published_at: u64,
        payload: Bytes,
        hops: u16,
        arrival: Arrival,
    },
    /// Entries that are lost.
    Gap { from: u64, to: u64 },
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
    /// The highest entry that a signed bundle proves to exist.
    pub(crate) proven: u64,
    pub(crate) missing: Missing,
    /// The highest header known of what is not held (any more).
    head: Option<Head>,
    /// The last time an entry came, or a link that may have some.
    pub(crate) progress: Micros,
    /// Weight of entries not handed over yet.
    pub(crate) ahead_bytes: usize,
    /// Entries handed over since somebody last asked: first seq and weight.
    passed: Vec<(u64, usize)>,
    pub(crate) weight: usize,
    /// For the mean weight of an entry.
    seen: (u64, u64),
    pub(crate) pushed: Pushed,
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
            proven: base,
            missing: Missing::default(),
            head: None,
            progress: now,
            ahead_bytes: 0,
            passed: Vec::new(),
            weight: 0,
            seen: (0, 0),
            pushed: Pushed::default(),
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

    /// The highest entry settled.
    pub(crate) fn high(&self) -> u64 {
        self.above.last().unwrap_or(self.settled)
    }

    /// Recent gaps.
    pub(crate) fn gaps(&self) -> &RangeSet {
        &self.gaps
    }

    /// The next entry to hand over.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Whether all of `from..=to` is settled: nothing in it is new.
    pub(crate) fn is_settled(&self, from: u64, to: u64) -> bool {
        to <= self.settled || self.above.covers(from.max(self.settled + 1), to)
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
            self.pushed.note(&entry.bundle.header, now);
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
        let weigh = |entry: &Entry| (entry.bundle.header.seq, entry.bundle.weight());
        let (passed, ahead): (Vec<&Entry>, Vec<&Entry>) = self
            .entries
            .values()
            .partition(|entry| entry.bundle.header.last_seq() < self.next);
        self.passed = passed.into_iter().map(weigh).collect();
        self.ahead_bytes = ahead.iter().map(|entry| weigh(entry).1).sum();
    }

    /// Everything up to `to` has been handed over.
    fn pass(&mut self, to: u64) {
        let from = self.next;
        self.next = to + 1;
        let passed: Vec<(u64, usize)> = self
            .entries_in(from, to)
            .filter(|entry| entry.bundle.header.last_seq() <= to)
            .filter(|entry| !self.handed.contains(entry.bundle.header.seq))
            .map(|entry| (entry.bundle.header.seq, entry.bundle.weight()))
            .collect();
        self.hand_over(passed);
        self.handed.remove(0, to);
        // Gaps that have been told are remembered only as far as acknowledgements need them.
        while self.gaps.range_count() > GAPS_REMEMBERED
            && self
                .gaps
                .as_slice()
                .first()
                .is_some_and(|&(_, end)| end < self.next)
        {
            if let Some(&(from, to)) = self.gaps.as_slice().first() {
                self.gaps.remove(from, to);
            }
        }
    }

    /// What can be handed over now, in `order`. Fragments become whole messages; a message of
    /// which a fragment is lost is a gap as a whole.
    pub(crate) fn take_ready(&mut self, order: Order) -> Vec<Next> {
        let mut ready = Vec::new();
        if order == Order::Unordered {
            self.take_unordered(&mut ready);
        }
        while self.next <= self.settled {
            if self.handed.contains(self.next) {
                let to = self.handed.within(self.next, self.settled).as_slice()[0].1;
                self.pass(to);
            } else if let Some(entry) = self.entry(self.next).cloned() {
                if !self.take_entry(&entry, &mut ready) {
                    break;
                }
            } else {
                self.take_hole(&mut ready);
            }
        }
        ready
    }

    /// Hands over the bundle at `next`; `false` when a message in it is not whole yet.
    fn take_entry(&mut self, entry: &Entry, ready: &mut Vec<Next>) -> bool {
        let header = &entry.bundle.header;
        let Some(fragment) = header.fragment else {
            push_messages(entry, self.next, ready);
            self.pass(header.last_seq());
            return true;
        };
        let first = header.seq - u64::from(fragment.index);
        let last = first + u64::from(fragment.count) - 1;
        if first <= self.base {
            // Begun before this member's time.
            self.pass(header.seq);
            return true;
        }
        let lost = fragment.index > 0 || !self.gaps.within(first, last).is_empty();
        if self.settled < last && !lost {
            return false;
        }
        if let Some(message) = self.assemble(entry, first, last).filter(|_| !lost) {
            ready.push(message);
            self.pass(last);
        } else {
            let to = last.min(self.settled);
            push_gap(ready, self.next, to);
            self.pass(to);
        }
        true
    }

    /// The message in fragments `first..=last`, when all are held.
    fn assemble(&self, at: &Entry, first: u64, last: u64) -> Option<Next> {
        if !self.held.covers(first, last) {
            return None;
        }
        let count = at.bundle.header.fragment?.count;
        let mut payload = BytesMut::with_capacity(
            self.entries_in(first, last)
                .map(|entry| entry.bundle.payload.len())
                .sum(),
        );
        let mut hops = 0;
        let mut arrival = Arrival::Local;
        for (index, entry) in self.entries_in(first, last).enumerate() {
            let fragment = entry.bundle.header.fragment?;
            // An origin that numbers its own fragments wrongly has lost its message.
            if fragment.index as usize != index || fragment.count != count {
                return None;
            }
            payload.extend_from_slice(&entry.bundle.payload);
            hops = hops.max(entry.hops);
            if arrival != Arrival::Pulled {
                arrival = entry.arrival;
            }
        }
        let head = self.entry(first)?;
        Some(Next::Message {
            seq: first,
            published_at: head.bundle.header.published_at(0),
            payload: payload.freeze(),
            hops,
            arrival,
        })
    }

    /// Steps over entries at `next` that are settled and not held.
    fn take_hole(&mut self, ready: &mut Vec<Next>) {
        let upper = self
            .entries
            .range(self.next..)
            .next()
            .map_or(u64::MAX, |(first, _)| first - 1);
        let to = upper.min(self.settled);
        for &(from, to) in self.gaps.within(self.next, to).as_slice() {
            push_gap(ready, from, to);
        }
        self.pass(to);
    }

    fn take_unordered(&mut self, ready: &mut Vec<Next>) {
        let unhanded: Vec<Entry> = self
            .entries
            .range(self.next..)
            .filter(|(first, _)| !self.handed.contains(**first))
            .map(|(_, entry)| entry.clone())
            .collect();
        for entry in unhanded {
            let header = &entry.bundle.header;
            if header.seq <= self.base || self.handed.contains(header.seq) {
                continue;
            }
            let (from, to) = match header.fragment {
                None => {
                    push_messages(&entry, header.seq, ready);
                    (header.seq, header.last_seq())
                }
                Some(fragment) => {
                    let first = header.seq - u64::from(fragment.index);
                    let last = first + u64::from(fragment.count) - 1;
                    if first <= self.base {
                        continue;
                    }
                    let Some(message) = self.assemble(&entry, first, last) else {
                        continue;
                    };
                    ready.push(message);
                    (first, last)
                }
            };
            let passed = self
                .entries_in(from, to)
                .map(|entry| (entry.bundle.header.seq, entry.bundle.weight()))
                .collect();
            self.hand_over(passed);
            self.handed.insert(from, to);
        }
    }

    /// Passes everything that is settled without handing it over: nobody listens.
    pub(crate) fn skip_ready(&mut self) {
        if self.next <= self.settled {
            self.pass(self.settled);
        }
    }

    fn hand_over(&mut self, passed: Vec<(u64, usize)>) {
        let weight: usize = passed.iter().map(|(_, weight)| weight).sum();
        self.ahead_bytes -= weight;
        self.passed.extend(passed);
    }

    /// The bundles handed over since the last call, by first seq, with their weights: from now
    /// on they are kept for others only.
    pub(crate) fn take_passed(&mut self) -> Vec<(u64, usize)> {
        std::mem::take(&mut self.passed)
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
            let published_at = header.published_at(header.lengths.len() - 1);
            // A copy of its own: the bytes may be part of a large frame.
            let signed = SignedHeader {
                signed: Bytes::copy_from_slice(&signed.signed),
                signature: signed.signature,
            };
            self.head = Some(Head {
                last_seq,
                published_at,
                signed,
            });
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

    /// When the last message known of, but not held any more, was published, ms since the Unix
    /// epoch.
    pub(crate) fn head_published_at(&self) -> Option<u64> {
        self.head.as_ref().map(|head| head.published_at)
    }

    /// Whether the log begins with lost entries that nothing held follows.
    pub(crate) fn is_lost_so_far(&self) -> bool {
        self.next == self.base + 1 && self.entries.is_empty() && !self.gaps.is_empty()
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

fn push_messages(entry: &Entry, from: u64, ready: &mut Vec<Next>) {
    let header = &entry.bundle.header;
    for (index, payload) in entry.bundle.messages().enumerate() {
        let seq = header.seq + index as u64;
        if seq >= from {
            ready.push(Next::Message {
                seq,
                published_at: header.published_at(index),
                payload,
                hops: entry.hops,
                arrival: entry.arrival,
            });
        }
    }
}

fn push_gap(ready: &mut Vec<Next>, from: u64, to: u64) {
    if let Some(Next::Gap { to: end, .. }) = ready.last_mut()
        && *end + 1 == from
    {
        *end = to;
        return;
    }
    ready.push(Next::Gap { from, to });
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
