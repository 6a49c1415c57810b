//! Who was due what, who got it, when, and whether it was right.

use hedgerow_testnet::process::Received;
use std::collections::HashMap;
use std::time::{Duration, Instant};

type Hash = [u8; 32];

/// One peer listening, in one of its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Subscriber {
    /// The peer's number.
    pub(crate) peer: usize,
    /// 0 until it is killed, 1 after it has come back.
    pub(crate) life: u32,
}

/// Everything one origin publishes in one group, in order. No fragments before the last
/// message, so that a message's seq is its index and 1.
#[derive(Debug)]
struct Publication {
    /// What one of its messages is, for people.
    what: String,
    messages: Vec<Hash>,
    terminator: &'static [u8],
    digest: blake3::Hasher,
    bytes: u64,
}

/// What one subscriber has got of a publication.
#[derive(Debug, Default)]
struct Log {
    receipts: Vec<Option<Instant>>,
    right: u64,
    last_seq: u64,
    digest: blake3::Hasher,
}

/// Sums over the logs of subscribers that count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Messages published.
    pub(crate) published: u64,
    /// Bytes published.
    pub(crate) bytes: u64,
    /// (message, subscriber) pairs due.
    pub(crate) expected: u64,
    /// Those that came, with the right content.
    pub(crate) delivered: u64,
    /// Logs whose bytes, in the order they came, are not those published.
    pub(crate) different: usize,
}

/// How long messages took beyond the median.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waits {
    /// The longest.
    pub(crate) longest: Duration,
    /// Of what, and where.
    pub(crate) what: String,
    /// How many (message, subscriber) pairs waited noticeably long.
    pub(crate) noticed: u64,
}

/// The books of the demo.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    publications: Vec<Publication>,
    names: HashMap<(String, String), usize>,
    subscribers: Vec<(Subscriber, bool)>,
    logs: HashMap<(Subscriber, usize), Log>,
    /// How many messages from the beginning are not due to a subscriber.
    excused: HashMap<(Subscriber, usize), usize>,
    /// Messages that came again.
    pub(crate) duplicates: u64,
    /// Messages that came after a later one of their origin.
    pub(crate) disordered: u64,
    /// Messages that nobody published, or with content nobody gave them.
    pub(crate) wrong: u64,
    /// Messages that a peer had to ask for, because whoever should have sent them did not.
    pub(crate) pulled: u64,
    /// The most links a message crossed.
    pub(crate) hops_max: u16,
    /// What peers said of messages that they could not deliver.
    pub(crate) complaints: Vec<String>,
}

impl Ledger {
    /// Opens a publication of `origin` in `group`; in its bytes as a whole, `terminator` follows
    /// every message. `what` says what a message is.
    pub(crate) fn open(
        &mut self,
        group: &str,
        origin: &str,
        what: &str,
        terminator: &'static [u8],
    ) -> usize {
        let id = self.publications.len();
        let digest = blake3::Hasher::new();
        self.publications.push(Publication {
            what: format!("{what} in {group}"),
            messages: Vec::new(),
            terminator,
            digest,
            bytes: 0,
        });
        self.names.insert((group.to_owned(), origin.to_owned()), id);
        id
    }

    /// One more message that is due to all.
    pub(crate) fn publish(&mut self, publication: usize, payload: &[u8]) {
        let publication = &mut self.publications[publication];
        publication.messages.push(blake3::hash(payload).into());
        publication
            .digest
            .update(payload)
            .update(publication.terminator);
        publication.bytes += payload.len() as u64;
    }

    /// A subscriber to whom everything is due.
    pub(crate) fn subscribe(&mut self, subscriber: Subscriber) {
        self.subscribers.push((subscriber, true));
    }

    /// A subscriber that has died: nothing is due to it, order and duplicates still count.
    pub(crate) fn dismiss(&mut self, subscriber: Subscriber) {
        for (known, counts) in &mut self.subscribers {
            *counts &= *known != subscriber;
        }
    }

    /// What was published so far in some publications is not due to this subscriber.
    pub(crate) fn excuse(&mut self, subscriber: Subscriber, publications: &[usize]) {
        for id in publications {
            let so_far = self.publications[*id].messages.len();
            self.excused.insert((subscriber, *id), so_far);
        }
    }

    /// Whether anything is due to it.
    pub(crate) fn counts(&self, subscriber: Subscriber) -> bool {
        self.subscribers.contains(&(subscriber, true))
    }

    /// Books a message that came to a subscriber.
    pub(crate) fn receive(&mut self, subscriber: Subscriber, message: &Received) {
        let name = (message.group.clone(), message.origin.clone());
        let Some(id) = self.names.get(&name).copied() else {
            self.wrong += 1;
            return;
        };
        let publication = &self.publications[id];
        let index = usize::try_from(message.seq)
            .unwrap_or(usize::MAX)
            .wrapping_sub(1);
        let Some(published) = publication.messages.get(index) else {
            self.wrong += 1;
            return;
        };
        let log = self.logs.entry((subscriber, id)).or_default();
        log.receipts.resize(log.receipts.len().max(index + 1), None);
        if log.receipts[index].replace(message.at).is_some() {
            self.duplicates += 1;
            return;
        }
        if message.seq < log.last_seq {
            self.disordered += 1;
        }
        log.last_seq = log.last_seq.max(message.seq);
        log.digest
            .update(&message.payload)
            .update(publication.terminator);
        if *blake3::hash(&message.payload).as_bytes() == *published {
            let excused = self.excused.get(&(subscriber, id)).copied().unwrap_or(0);
            log.right += u64::from(index >= excused);
            self.pulled += u64::from(message.pulled && subscriber.life == 0);
            self.hops_max = self.hops_max.max(message.hops);
        } else {
            self.wrong += 1;
        }
    }

    /// The sums over some publications.
    pub(crate) fn totals(&self, publications: &[usize]) -> Totals {
        let mut totals = Totals::default();
        for id in publications {
            let publication = &self.publications[*id];
            totals.published += publication.messages.len() as u64;
            totals.bytes += publication.bytes;
            for (subscriber, _) in self.subscribers.iter().filter(|(_, counts)| *counts) {
                let key = (*subscriber, *id);
                let excused = self.excused.get(&key).copied().unwrap_or(0);
                let due = (publication.messages.len() - excused) as u64;
                let log = self.logs.get(&key);
                let right = log.map_or(0, |log| log.right);
                totals.expected += due;
                totals.delivered += right;
                let same = if excused == 0 {
                    let digest = log.map_or_else(blake3::Hasher::new, |log| log.digest.clone());
                    digest.finalize() == publication.digest.finalize()
                } else {
                    right == due
                };
                totals.different += usize::from(!same);
            }
        }
        totals
    }

    /// The same over all publications.
    pub(crate) fn grand_total(&self) -> Totals {
        let all: Vec<usize> = (0..self.publications.len()).collect();
        self.totals(&all)
    }

    /// Whether all that is due has come.
    pub(crate) fn is_complete(&self) -> bool {
        let totals = self.grand_total();
        totals.delivered == totals.expected
    }

    /// How much longer than the median subscriber any other waited for a message of which a copy
    /// was still due after `kill`. Only subscribers that lived all along count.
    pub(crate) fn waits(&self, kill: Instant, noticeable: Duration) -> Waits {
        let mut waits = Waits::default();
        let steady = |(subscriber, counts): &&(Subscriber, bool)| *counts && subscriber.life == 0;
        for (id, publication) in self.publications.iter().enumerate() {
            let logs: Vec<(Subscriber, &Log)> = self
                .subscribers
                .iter()
                .filter(steady)
                .filter_map(|(subscriber, _)| {
                    Some((*subscriber, self.logs.get(&(*subscriber, id))?))
                })
                .collect();
            for index in 0..publication.messages.len() {
                let receipt = |(subscriber, log): &(Subscriber, &Log)| {
                    Some((log.receipts.get(index).copied().flatten()?, *subscriber))
                };
                let mut receipts: Vec<(Instant, Subscriber)> =
                    logs.iter().filter_map(receipt).collect();
                receipts.sort_unstable();
                let Some((last, slowest)) = receipts.last().copied().filter(|last| last.0 >= kill)
                else {
                    continue;
                };
                let median = receipts[receipts.len() / 2].0;
                if last - median > waits.longest {
                    waits.longest = last - median;
                    waits.what = format!("{} at peer {}", publication.what, slowest.peer + 1);
                }
                let late = |at: &Instant| at.saturating_duration_since(median) > noticeable;
                waits.noticed += receipts.iter().filter(|(at, _)| late(at)).count() as u64;
            }
        }
        waits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: Subscriber = Subscriber { peer: 0, life: 0 };
    const BOB: Subscriber = Subscriber { peer: 1, life: 0 };
    const CAROL: Subscriber = Subscriber { peer: 2, life: 0 };

    fn message(seq: u64, payload: &str, at: Instant) -> Received {
        Received {
            group: "g".to_owned(),
            origin: "o".to_owned(),
            epoch: 1,
            seq,
            published_at: 0,
            payload: payload.as_bytes().to_vec(),
            hops: 1,
            pulled: false,
            at,
        }
    }

    fn ledger(subscribers: &[Subscriber]) -> Ledger {
        let mut ledger = Ledger::default();
        let lines = ledger.open("g", "o", "a line", b"\n");
        for line in ["one", "", "three"] {
            ledger.publish(lines, line.as_bytes());
        }
        for subscriber in subscribers {
            ledger.subscribe(*subscriber);
        }
        ledger
    }

    #[test]
    fn everything_in_order_is_complete_and_the_same_bytes() {
        let mut ledger = ledger(&[ALICE]);
        let at = Instant::now();
        for (seq, payload) in [(1, "one"), (2, ""), (3, "three")] {
            assert!(!ledger.is_complete());
            ledger.receive(ALICE, &message(seq, payload, at));
        }
        assert!(ledger.is_complete());
        let totals = ledger.totals(&[0]);
        let expected = Totals {
            published: 3,
            bytes: 8,
            expected: 3,
            delivered: 3,
            different: 0,
        };
        assert_eq!(totals, expected);
        assert_eq!(
            (ledger.duplicates, ledger.disordered, ledger.wrong),
            (0, 0, 0)
        );
    }

    #[test]
    fn losses_duplicates_disorder_and_forgeries_each_show() {
        let mut ledger = ledger(&[ALICE, BOB]);
        let at = Instant::now();
        ledger.receive(ALICE, &message(2, "", at));
        ledger.receive(ALICE, &message(1, "one", at));
        assert_eq!(ledger.disordered, 1);
        ledger.receive(ALICE, &message(1, "one", at));
        assert_eq!(ledger.duplicates, 1);
        ledger.receive(ALICE, &message(3, "drei", at));
        ledger.receive(ALICE, &message(4, "four", at));
        ledger.receive(ALICE, &message(0, "zero", at));
        assert_eq!(ledger.wrong, 3);
        let totals = ledger.grand_total();
        assert_eq!(
            (totals.expected, totals.delivered, totals.different),
            (6, 2, 2)
        );
    }

    #[test]
    fn the_dead_are_due_nothing() {
        let mut ledger = ledger(&[ALICE, BOB]);
        assert!(ledger.counts(BOB));
        ledger.dismiss(BOB);
        assert!(!ledger.counts(BOB));
        assert_eq!(ledger.grand_total().expected, 3);
    }

    #[test]
    fn what_came_before_is_not_due_to_who_is_excused() {
        let mut ledger = ledger(&[ALICE]);
        ledger.excuse(ALICE, &[0]);
        ledger.publish(0, b"four");
        let at = Instant::now();
        ledger.receive(ALICE, &message(3, "three", at));
        assert!(!ledger.is_complete());
        ledger.receive(ALICE, &message(4, "four", at));
        assert!(ledger.is_complete());
        assert_eq!(ledger.grand_total().different, 0);
    }

    #[test]
    fn waits_are_measured_from_the_median_and_only_after_the_kill() {
        let mut ledger = ledger(&[ALICE, BOB, CAROL]);
        let start = Instant::now();
        let ms = Duration::from_millis;
        for (subscriber, first, second) in [(ALICE, 0, 100), (BOB, 10, 110), (CAROL, 70, 150)] {
            ledger.receive(subscriber, &message(1, "one", start + ms(first)));
            ledger.receive(subscriber, &message(2, "", start + ms(second)));
        }
        let late = ledger.waits(start + ms(90), ms(20));
        let what = "a line in g at peer 3".to_owned();
        assert_eq!(
            late,
            Waits {
                longest: ms(40),
                what: what.clone(),
                noticed: 1
            }
        );
        let all = ledger.waits(start, ms(20));
        assert_eq!(
            all,
            Waits {
                longest: ms(60),
                what,
                noticed: 2
            }
        );
        assert_eq!(ledger.waits(start + ms(200), ms(20)), Waits::default());
    }
}
