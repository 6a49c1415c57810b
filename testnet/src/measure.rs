//! What a run's deliveries amount to, in the measures of the field.
//!
//! Latency, stretch and last delivery hop are taken over (message, member) pairs that were
//! delivered, the publisher's own delivery left out. Stretch and RDP compare with the direct
//! one-way delay (Chu, Rao, Zhang, "A case for end system multicast", 2000); LDH is the
//! Plumtree paper's (Leitão, Pereira, Rodrigues, 2007).

use crate::journal::{Change, Journal, Membership, Message, Publication, Receipt};
use hedgerow_protocol::{Arrival, GroupName, Micros};
use std::ops::Range;

/// Percentiles of a set of times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// How many.
    pub count: u64,
    /// The median.
    pub p50: Micros,
    /// 90 % are at most this.
    pub p90: Micros,
    /// 99 % are at most this.
    pub p99: Micros,
    /// The longest.
    pub max: Micros,
}

impl Spread {
    /// Of `times`, in any order (nearest rank).
    pub fn of(mut times: Vec<Micros>) -> Self {
        times.sort_unstable();
        let rank = |percent: usize| {
            let at = (times.len() * percent).div_ceil(100).saturating_sub(1);
            times.get(at).copied().unwrap_or_default()
        };
        let count = times.len() as u64;
        Self {
            count,
            p50: rank(50),
            p90: rank(90),
            p99: rank(99),
            max: rank(100),
        }
    }
}

/// Which deliveries are measured.
#[derive(Clone, Debug)]
pub struct Scope<'a> {
    /// Of which group.
    pub group: &'a GroupName,
    /// Of messages published when.
    pub published: Range<Micros>,
    /// At which nodes, by number; `None`: all.
    pub nodes: Option<&'a [bool]>,
    /// How soon after its publication a message must have come; `None`: whenever.
    pub within: Option<Micros>,
    /// A message is due to every node that stayed a member for this long after its publication,
    /// whatever became of it later, unless its publisher stopped within [`PUBLISHER_LIVES`];
    /// `None`: it is due to members that stay to the end.
    pub survived: Option<Micros>,
    /// Parts of the network that no link joined, by node, where that is known.
    pub parts: Option<&'a [usize]>,
}

/// A message whose publisher stops sooner than this after publishing may be lost with it.
pub const PUBLISHER_LIVES: Micros = Micros::from_millis(1_000);

impl<'a> Scope<'a> {
    /// Everything in a group.
    pub fn all(group: &'a GroupName) -> Self {
        Self {
            group,
            published: Micros(0)..Micros(u64::MAX),
            nodes: None,
            within: None,
            survived: None,
            parts: None,
        }
    }

    /// Whether links joined two nodes.
    fn joins(&self, a: usize, b: usize) -> bool {
        let part = |node: usize| self.parts.and_then(|parts| parts.get(node));
        part(a).is_some() && part(a) == part(b)
    }

    /// Whether `node` is looked at.
    pub fn has_node(&self, node: usize) -> bool {
        self.nodes
            .is_none_or(|nodes| nodes.get(node).copied().unwrap_or(false))
    }

    /// When a message was published, if it is one of these.
    pub fn published_at(&self, message: &Message) -> Option<Micros> {
        let at = message.published?.at;
        (message.group == *self.group && self.published.contains(&at)).then_some(at)
    }
}

/// Measures of one group's deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measures {
    /// Messages published.
    pub published: u64,
    /// Pairs of message and node in which the node was a member from publication to the end.
    pub expected: u64,
    /// Those of them in which the node got the message.
    pub delivered: u64,
    /// Those of them in which it came before anybody in scope had pulled that message: as far as the
    /// overlay carries it without any repair.
    pub reached: u64,
    /// Of the expected, those whose publisher links joined with the node.
    pub joined: u64,
    /// Those of them in which the node got the message.
    pub joined_delivered: u64,
    /// Bytes of payload that reached applications, the publishers' own left out.
    pub payload_bytes: u64,
    /// When the last delivery came.
    pub last_at: Micros,
    /// From publication to delivery.
    pub latency: Spread,
    /// Mean latency over mean direct delay.
    pub stretch_mean: f64,
    /// The last receiver's latency over the farthest receiver's direct delay, mean over messages.
    pub stretch_last: f64,
    /// Median over pairs of latency over direct delay.
    pub rdp_median: f64,
    /// The most links that a message crossed.
    pub ldh_max: u16,
    /// The links that a message crossed to its last receiver, mean over messages.
    pub ldh_mean: f64,
    /// Deliveries that had to be pulled.
    pub repaired: u64,
    /// How much later than the message's median delivery those came.
    pub repair: Spread,
}

#[derive(Default)]
struct Tally {
    latencies: Vec<Micros>,
    ratios: Vec<f64>,
    repairs: Vec<Micros>,
    directs: Vec<Micros>,
    last_ratios: f64,
    last_hops: u64,
    hops_max: u16,
    messages: u64,
    last_at: Micros,
}

/// Every value behind the figures, ascending: what curves are drawn of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distributions {
    /// From publication to delivery, by pair.
    pub latency: Vec<Micros>,
    /// The direct one-way delay of the same pairs.
    pub direct: Vec<Micros>,
    /// Latency over direct delay, by pair.
    pub stretch: Vec<f64>,
    /// How much later than the message's median delivery what was pulled came.
    pub repair: Vec<Micros>,
}

/// No message of those that are measured.
const NOT_MEASURED: u32 = u32::MAX;

/// Measures deliveries in `scope`; `direct` is the one-way delay between two nodes.
pub fn measure(
    journal: &Journal,
    scope: &Scope<'_>,
    direct: impl Fn(usize, usize) -> Micros,
) -> Measures {
    let (measures, tally) = tally(journal, scope, direct);
    tally.finish(measures)
}

/// The values themselves.
pub fn distributions(
    journal: &Journal,
    scope: &Scope<'_>,
    direct: impl Fn(usize, usize) -> Micros,
) -> Distributions {
    let (_, mut tally) = tally(journal, scope, direct);
    tally.latencies.sort_unstable();
    tally.directs.sort_unstable();
    tally.ratios.sort_unstable_by(f64::total_cmp);
    tally.repairs.sort_unstable();
    Distributions {
        latency: tally.latencies,
        direct: tally.directs,
        stretch: tally.ratios,
        repair: tally.repairs,
    }
}

/// What is counted, and what the rest is made of.
fn tally(
    journal: &Journal,
    scope: &Scope<'_>,
    direct: impl Fn(usize, usize) -> Micros,
) -> (Measures, Tally) {
    // Messages in scope get numbers of their own, in the order of the journal.
    let mut slots = vec![NOT_MEASURED; journal.messages.len()];
    let mut messages = Vec::new();
    for (index, message) in journal.messages.iter().enumerate() {
        if let (Some(_), Some(published)) = (scope.published_at(message), message.published) {
            slots[index] = messages.len() as u32;
            messages.push((published, message.payload.len() as u64));
        }
    }
    let mut due_from: Vec<Micros> = messages.iter().map(|(published, _)| published.at).collect();
    due_from.sort_unstable();
    // Who is to be had to the end may have died as it published; that is the liveness check's.
    let outlived: Vec<bool> = (messages.iter())
        .map(|(by, _)| scope.survived.is_none() || !stops_soon_after(journal, *by))
        .collect();
    let mut measures = Measures {
        published: messages.len() as u64,
        ..Measures::default()
    };
    // Node and place among its receipts: ten million of them are no rarity.
    let mut receipts: Vec<Vec<(u32, u32)>> = vec![Vec::new(); messages.len()];
    let mut count = 0;
    let pulled_at = first_pulls(journal, scope, &slots, messages.len());
    let mut seen_by = vec![usize::MAX; messages.len()];
    for (node, entries) in journal.nodes.iter().enumerate() {
        if !scope.has_node(node) {
            continue;
        }
        let due = Due::of(journal, scope, node);
        measures.expected += match &due {
            Due::ToTheEnd(None) => 0,
            Due::ToTheEnd(Some(from)) => {
                (due_from.len() - due_from.partition_point(|at| at < from)) as u64
            }
            Due::Survived { .. } => {
                let messages = messages.iter().zip(&outlived);
                let due = messages.filter(|((by, _), outlived)| **outlived && due.holds(by.at));
                due.count() as u64
            }
        };
        if scope.parts.is_some() {
            let due = (messages.iter().zip(&outlived))
                .filter(|((by, _), outlived)| **outlived && due.holds(by.at));
            let joined = due.filter(|((by, _), _)| scope.joins(by.node, node));
            measures.joined += joined.count() as u64;
        }
        for (place, receipt) in entries.receipts.iter().enumerate() {
            let slot = slots[receipt.message as usize];
            if slot == NOT_MEASURED || seen_by[slot as usize] == node {
                continue;
            }
            let slot = slot as usize;
            seen_by[slot] = node;
            let (published, bytes) = messages[slot];
            let latency = receipt.at.since(published.at);
            if scope.within.is_some_and(|within| latency > within) {
                continue;
            }
            if due.holds(published.at) && outlived[slot] {
                measures.delivered += 1;
                measures.joined_delivered += u64::from(scope.joins(published.node, node));
                measures.reached += u64::from(receipt.at < pulled_at[slot]);
            }
            if receipt.arrival != Arrival::Local {
                measures.payload_bytes += bytes;
                receipts[slot].push((node as u32, place as u32));
                count += 1;
            }
        }
    }
    let mut tally = Tally::default();
    tally.reserve(count);
    let receipt = |node: u32, place: u32| journal.nodes[node as usize].receipts[place as usize];
    let mut of_message: Vec<(u32, Receipt)> = Vec::new();
    for ((published, _), places) in messages.iter().zip(receipts) {
        of_message.clear();
        of_message.extend(places.iter().map(|&(node, at)| (node, receipt(node, at))));
        of_message.sort_by_key(|(node, receipt)| (receipt.at, *node));
        tally.add(&of_message, published.at, |node| {
            direct(published.node, node)
        });
    }
    (measures, tally)
}

/// Which messages are due to one node.
enum Due {
    /// What was published from then on, where it is a member to the end.
    ToTheEnd(Option<Micros>),
    /// What was published in these times and at least `survived` before each ended.
    Survived {
        memberships: Vec<Membership>,
        survived: Micros,
    },
}

impl Due {
    fn of(journal: &Journal, scope: &Scope<'_>, node: usize) -> Self {
        let mut memberships = journal.memberships(node, scope.group);
        if let Some(survived) = scope.survived {
            return Self::Survived {
                memberships,
                survived,
            };
        }
        let last = memberships.pop().filter(|last| last.until.is_none());
        Self::ToTheEnd(last.map(|last| last.from))
    }

    fn holds(&self, published: Micros) -> bool {
        match self {
            Self::ToTheEnd(from) => from.is_some_and(|from| from <= published),
            Self::Survived {
                memberships,
                survived,
            } => memberships.iter().any(|membership| {
                let ends = membership.until;
                membership.from <= published && ends.is_none_or(|end| published + *survived <= end)
            }),
        }
    }
}

/// Whether a publisher stopped within [`PUBLISHER_LIVES`] of publishing.
fn stops_soon_after(journal: &Journal, by: Publication) -> bool {
    let changes = journal.nodes[by.node].changes.iter();
    let mut stops = changes.filter(|(_, change)| *change == Change::Stopped);
    stops.any(|(at, _)| by.at <= *at && *at < by.at + PUBLISHER_LIVES)
}

/// When each message in scope first came by a pull to anybody there.
fn first_pulls(
    journal: &Journal,
    scope: &Scope<'_>,
    slots: &[u32],
    messages: usize,
) -> Vec<Micros> {
    let mut firsts = vec![Micros(u64::MAX); messages];
    let nodes = journal.nodes.iter().enumerate();
    for (_, entries) in nodes.filter(|(node, _)| scope.has_node(*node)) {
        let pulled = entries.receipts.iter();
        for receipt in pulled.filter(|receipt| receipt.arrival == Arrival::Pulled) {
            if let Some(first) = firsts.get_mut(slots[receipt.message as usize] as usize) {
                *first = receipt.at.min(*first);
            }
        }
    }
    firsts
}

impl Tally {
    /// Makes room for so many receipts more, and for no others.
    fn reserve(&mut self, receipts: usize) {
        self.latencies.reserve_exact(receipts);
        self.directs.reserve_exact(receipts);
        self.ratios.reserve_exact(receipts);
    }

    fn add(
        &mut self,
        receipts: &[(u32, Receipt)],
        published: Micros,
        direct: impl Fn(usize) -> Micros,
    ) {
        let Some((_, last)) = receipts.last() else {
            return;
        };
        let median = receipts[(receipts.len() - 1) / 2].1.at;
        let mut farthest = Micros(1);
        for (node, receipt) in receipts {
            let latency = receipt.at.since(published);
            let direct = direct(*node as usize).max(Micros(1));
            farthest = farthest.max(direct);
            self.latencies.push(latency);
            self.directs.push(direct);
            self.ratios.push(latency.0 as f64 / direct.0 as f64);
            self.hops_max = self.hops_max.max(receipt.hops);
            if receipt.arrival == Arrival::Pulled {
                self.repairs.push(receipt.at.since(median));
            }
        }
        self.messages += 1;
        self.last_at = self.last_at.max(last.at);
        self.last_hops += u64::from(last.hops);
        self.last_ratios += last.at.since(published).0 as f64 / farthest.0 as f64;
    }

    fn finish(mut self, counted: Measures) -> Measures {
        let latency_us: u64 = self.latencies.iter().map(|latency| latency.0).sum();
        let direct_us: u64 = self.directs.iter().map(|direct| direct.0).sum();
        self.ratios.sort_unstable_by(f64::total_cmp);
        let middle = self.ratios.len().saturating_sub(1) / 2;
        let messages = self.messages.max(1) as f64;
        Measures {
            last_at: self.last_at,
            latency: Spread::of(self.latencies),
            stretch_mean: latency_us as f64 / direct_us.max(1) as f64,
            stretch_last: self.last_ratios / messages,
            rdp_median: self.ratios.get(middle).copied().unwrap_or_default(),
            ldh_max: self.hops_max,
            ldh_mean: self.last_hops as f64 / messages,
            repaired: self.repairs.len() as u64,
            repair: Spread::of(self.repairs),
            ..counted
        }
    }
}

#[cfg(test)]
mod tests;
