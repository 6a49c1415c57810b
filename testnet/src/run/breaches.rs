//! What came against the rules, by when it came: what was published long before may come twice in
//! the quiet time.

use crate::check;
use crate::journal::{Journal, Receipt};
use hedgerow_protocol::{Event, GroupName, Micros, PeerKey};
use std::collections::BTreeSet;

/// Of one group, at some nodes, in a part of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Breaches {
    pub(super) duplicates: u64,
    pub(super) disorder: u64,
    pub(super) foreign: u64,
    pub(super) gaps: u64,
}

impl Breaches {
    /// Of what `is_in` says is in that part.
    pub(super) fn of(
        journal: &Journal,
        name: &GroupName,
        nodes: &[bool],
        unordered: &[GroupName],
        is_in: impl Fn(Micros) -> bool,
        is_foreign: impl Fn(&Receipt) -> bool,
    ) -> Self {
        let mut breaches = Self::default();
        let counts = |node: usize, receipt: &Receipt| {
            nodes[node] && journal.message(receipt).group == *name && is_in(receipt.at)
        };
        check::each_duplicate(journal, |node, receipt| {
            breaches.duplicates += u64::from(counts(node, receipt));
        });
        check::each_disorder(journal, unordered, |node, receipt, _| {
            breaches.disorder += u64::from(counts(node, receipt));
        });
        // What a node did not publish may be made up: no gap in it is a loss of this network's.
        let published = journal.messages.iter();
        let published = published.filter(|message| message.published.is_some());
        let origins: BTreeSet<PeerKey> = published.map(|message| message.id.origin).collect();
        for (node, entries) in journal.nodes.iter().enumerate() {
            let receipts = entries.receipts.iter();
            let foreign = receipts.filter(|receipt| counts(node, receipt) && is_foreign(receipt));
            breaches.foreign += foreign.count() as u64;
            let gaps = entries.events.iter().filter(|(at, event)| {
                let here = matches!(event, Event::Gap { group, origin, .. }
                    if group == name && origins.contains(origin));
                nodes[node] && here && is_in(*at)
            });
            breaches.gaps += gaps.count() as u64;
        }
        breaches
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use hedgerow_protocol::{Arrival, Delivery, Headers, MessageId};

    /// Published long before, and again, late and lost while nothing is published any more.
    #[test]
    fn what_comes_wrong_in_the_quiet_time_counts_there_whenever_it_was_published() {
        let group = GroupName::new("news").expect("valid");
        let mut journal = Journal::default();
        (0..2).for_each(|_| journal.add_node());
        let id = |seq| MessageId {
            origin: PeerKey([1; 32]),
            epoch: 1,
            seq,
        };
        for seq in 1..=3 {
            journal.published(Micros(seq), 0, &group, id(seq), Bytes::from_static(b"x"));
        }
        let mut deliver = |at, seq, payload| {
            let delivery = Delivery {
                group: group.clone(),
                id: id(seq),
                published_at: 0,
                payload: Bytes::from_static(payload),
                headers: Headers::default(),
                hops: 1,
                arrival: Arrival::Pushed,
            };
            journal.delivered(Micros(at), 1, &delivery);
        };
        deliver(10, 1, b"x");
        deliver(11, 3, b"x");
        deliver(100, 3, b"x");
        deliver(101, 2, b"y");
        let gap = Event::Gap {
            group: group.clone(),
            origin: PeerKey([1; 32]),
            epoch: 1,
            from: 4,
            to: 4,
        };
        journal.event(Micros(102), 1, gap);
        // A gap in what nobody here has published, as a throwaway key makes it.
        let throwaway = Event::Gap {
            group: group.clone(),
            origin: PeerKey([2; 32]),
            epoch: 1,
            from: 1,
            to: 1,
        };
        journal.event(Micros(103), 1, throwaway);
        let of = |from: u64, to: u64, nodes: [bool; 2]| {
            let is_in = |at: Micros| (from..to).contains(&at.0);
            Breaches::of(&journal, &group, &nodes, &[], is_in, |receipt| {
                !receipt.intact
            })
        };
        let all = Breaches {
            duplicates: 1,
            disorder: 1,
            foreign: 1,
            gaps: 1,
        };
        assert_eq!(of(50, 200, [true, true]), all);
        assert_eq!(of(0, 50, [true, true]), Breaches::default());
        assert_eq!(of(0, 200, [true, false]), Breaches::default());
    }
}
