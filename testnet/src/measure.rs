//! What a run's deliveries amount to, in the measures of the field.
//!
//! Latency, stretch and last delivery hop are taken over (message, member) pairs that were
//! delivered, the publisher's own delivery left out. Stretch and RDP compare with the direct
//! one-way delay (Chu, Rao, Zhang, "A case for end system multicast", 2000); LDH is the
//! Plumtree paper's (Leitão, Pereira, Rodrigues, 2007).

use crate::journal::{Journal, Receipt};
use hedgerow_protocol::{Arrival, GroupName, Micros};

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

/// Measures of one group's deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measures {
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
    direct_us: u64,
    last_ratios: f64,
    last_hops: u64,
    hops_max: u16,
    messages: u64,
}

/// Measures deliveries in `group`; `direct` is the one-way delay between two nodes.
pub fn measure(
    journal: &Journal,
    group: &GroupName,
    direct: impl Fn(usize, usize) -> Micros,
) -> Measures {
    let mut by_message: Vec<Vec<(usize, Receipt)>> = vec![Vec::new(); journal.messages.len()];
    for (node, entries) in journal.nodes.iter().enumerate() {
        for receipt in &entries.receipts {
            if receipt.arrival != Arrival::Local {
                by_message[receipt.message as usize].push((node, *receipt));
            }
        }
    }
    let mut tally = Tally::default();
    for (message, mut receipts) in journal.messages.iter().zip(by_message) {
        let Some(published) = message.published.filter(|_| message.group == *group) else {
            continue;
        };
        receipts.sort_by_key(|(node, receipt)| (receipt.at, *node));
        tally.add(&receipts, published.at, |node| direct(published.node, node));
    }
    tally.finish()
}

impl Tally {
    fn add(
        &mut self,
        receipts: &[(usize, Receipt)],
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
            let direct = direct(*node).max(Micros(1));
            farthest = farthest.max(direct);
            self.latencies.push(latency);
            self.direct_us += direct.0;
            self.ratios.push(latency.0 as f64 / direct.0 as f64);
            self.hops_max = self.hops_max.max(receipt.hops);
            if receipt.arrival == Arrival::Pulled {
                self.repairs.push(receipt.at.since(median));
            }
        }
        self.messages += 1;
        self.last_hops += u64::from(last.hops);
        self.last_ratios += last.at.since(published).0 as f64 / farthest.0 as f64;
    }

    fn finish(mut self) -> Measures {
        let latency_us: u64 = self.latencies.iter().map(|latency| latency.0).sum();
        self.ratios.sort_unstable_by(f64::total_cmp);
        let middle = self.ratios.len().saturating_sub(1) / 2;
        let messages = self.messages.max(1) as f64;
        Measures {
            latency: Spread::of(self.latencies),
            stretch_mean: latency_us as f64 / self.direct_us.max(1) as f64,
            stretch_last: self.last_ratios / messages,
            rdp_median: self.ratios.get(middle).copied().unwrap_or_default(),
            ldh_max: self.hops_max,
            ldh_mean: self.last_hops as f64 / messages,
            repaired: self.repairs.len() as u64,
            repair: Spread::of(self.repairs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use hedgerow_protocol::{Delivery, MessageId, PeerKey};

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let spread = Spread::of((1..=100).rev().map(Micros).collect());
        assert_eq!(
            spread,
            Spread {
                count: 100,
                p50: Micros(50),
                p90: Micros(90),
                p99: Micros(99),
                max: Micros(100)
            }
        );
        assert_eq!(Spread::of(Vec::new()), Spread::default());
        assert_eq!(Spread::of(vec![Micros(7)]).p50, Micros(7));
    }

    #[test]
    fn latency_stretch_and_repair_of_one_message() {
        let group = GroupName::new("news").expect("valid");
        let id = MessageId {
            origin: PeerKey([1; 32]),
            epoch: 1,
            seq: 1,
        };
        let mut journal = Journal::default();
        (0..4).for_each(|_| journal.add_node());
        journal.published(Micros(1_000), 0, &group, id, Bytes::new());
        let deliveries = [
            (1_000, 0, 0, Arrival::Local),
            (1_010, 1, 1, Arrival::Pushed),
            (1_040, 2, 2, Arrival::Pushed),
            (1_100, 3, 3, Arrival::Pulled),
        ];
        for (at, node, hops, arrival) in deliveries {
            let (payload, group) = (Bytes::new(), group.clone());
            let delivery = Delivery {
                group,
                id,
                published_at: 0,
                payload,
                hops,
                arrival,
            };
            journal.delivered(Micros(at), node, &delivery);
        }
        let measures = measure(&journal, &group, |_, node| Micros(node as u64 * 10));
        assert_eq!(measures.latency.max, Micros(100));
        assert_eq!(measures.latency.count, 3);
        assert!((measures.stretch_mean - 150.0 / 60.0).abs() < 1e-9);
        assert!((measures.stretch_last - 100.0 / 30.0).abs() < 1e-9);
        assert!((measures.rdp_median - 2.0).abs() < 1e-9);
        assert_eq!((measures.ldh_max, measures.repaired), (3, 1));
        assert_eq!(measures.repair.max, Micros(60));
    }
}
