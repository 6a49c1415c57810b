//! What of a log can be handed over now: in order or as it comes, fragments as whole messages,
//! holes as gaps.

use super::{Entry, GAPS_REMEMBERED, OriginLog};
use crate::base::message::{Arrival, Order};
use bytes::{Bytes, BytesMut};

/// What the application gets next of one origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A message.
    Message {
        seq: u64,
        published_at: u64,
        /// With how many bytes of headers the payload begins.
        header_bytes: u32,
        payload: Bytes,
        hops: u16,
        arrival: Arrival,
    },
    /// Entries that are lost.
    Gap { from: u64, to: u64 },
}

impl OriginLog {
    /// Everything up to `to` has been handed over.
    pub(super) fn pass(&mut self, to: u64) {
        let from = self.next;
        self.next = to + 1;
        let passed: Vec<(u64, usize)> = self
            .entries_in(from, to)
            .filter(|entry| entry.bundle.header.last_seq() <= to)
            .filter(|entry| !self.handed.contains(entry.bundle.header.seq))
            .map(|entry| (entry.bundle.header.seq, entry.bundle.weight()))
            .collect();
        self.note_passed(passed);
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
        } else {
            self.unseen = None;
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
            header_bytes: head.bundle.header.header_bytes(0),
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

    /// Hands over what has come since the last time, and everything above `next` the first time:
    /// behind a hole much may wait, and to look at all of it for each bundle would cost as much.
    fn take_unordered(&mut self, ready: &mut Vec<Next>) {
        let mut unseen = (self.unseen.take()).unwrap_or_else(|| {
            self.entries
                .range(self.next..)
                .map(|(seq, _)| *seq)
                .collect()
        });
        unseen.sort_unstable();
        for seq in unseen.drain(..) {
            if let Some(entry) = self.entries.get(&seq).cloned() {
                self.take_alone(&entry, ready);
            }
        }
        self.unseen = Some(unseen);
    }

    /// Hands over a bundle, or the message that it completes, whatever lies before it.
    fn take_alone(&mut self, entry: &Entry, ready: &mut Vec<Next>) {
        let header = &entry.bundle.header;
        if header.seq < self.next || self.handed.contains(header.seq) {
            return;
        }
        let Some(fragment) = header.fragment else {
            push_messages(entry, header.seq, ready);
            return self.hand_over(header.seq, header.last_seq());
        };
        let first = header.seq - u64::from(fragment.index);
        let last = first + u64::from(fragment.count) - 1;
        // Begun before this member's time, or told as a gap.
        if first < self.next {
            return;
        }
        if let Some(message) = self.assemble(entry, first, last) {
            ready.push(message);
            self.hand_over(first, last);
        }
    }

    /// Passes everything that is settled without handing it over: nobody listens.
    pub(crate) fn skip_ready(&mut self) {
        self.unseen = None;
        if self.next <= self.settled {
            self.pass(self.settled);
        }
    }

    /// Nothing more will come: what is held of a message that is not whole is a gap. Ready entries
    /// have been taken.
    pub(crate) fn take_abandoned(&mut self) -> Option<Next> {
        let (from, to) = (self.next, self.settled);
        if from > to {
            return None;
        }
        self.gaps.insert(from, to);
        self.pass(to);
        Some(Next::Gap { from, to })
    }

    /// All of `from..=to` that is held has been handed over, or never will be.
    pub(crate) fn hand_over(&mut self, from: u64, to: u64) {
        let from = from.max(self.next);
        let passed = self
            .entries_in(from, to)
            .filter(|entry| !self.handed.contains(entry.bundle.header.seq))
            .map(|entry| (entry.bundle.header.seq, entry.bundle.weight()))
            .collect();
        self.note_passed(passed);
        self.handed.insert(from, to);
    }

    fn note_passed(&mut self, passed: Vec<(u64, usize)>) {
        let weight: usize = passed.iter().map(|(_, weight)| weight).sum();
        self.ahead_bytes -= weight;
        self.passed.extend(passed);
    }

    /// The bundles handed over since the last call, by first seq, with their weights: from now
    /// on they are kept for others only.
    pub(crate) fn take_passed(&mut self) -> Vec<(u64, usize)> {
        std::mem::take(&mut self.passed)
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
                header_bytes: header.header_bytes(index),
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
