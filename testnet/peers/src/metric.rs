//! Figures of what was measured.

use crate::cases::Case;
use crate::latency::Latencies;
use crate::report::median;
use crate::spec::{Load, Outcome, Spec};
use serde::Serialize;

/// A figure of an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    DeliveriesPerS,
    /// Of one receiver.
    MessagesPerS,
    MegabytesPerS,
    CpuPerDelivery,
    WirePerDelivery,
    P50,
    P99,
    P999,
    DeliveredPercent,
    SpreadMs,
    PrivateMib,
    Cores,
    /// Before the load.
    IdleCores,
    Links,
}

/// All of them.
pub const ALL: [Metric; 14] = [
    Metric::DeliveriesPerS,
    Metric::MessagesPerS,
    Metric::MegabytesPerS,
    Metric::CpuPerDelivery,
    Metric::WirePerDelivery,
    Metric::P50,
    Metric::P99,
    Metric::P999,
    Metric::DeliveredPercent,
    Metric::SpreadMs,
    Metric::PrivateMib,
    Metric::Cores,
    Metric::IdleCores,
    Metric::Links,
];

impl Metric {
    pub fn unit(self) -> &'static str {
        match self {
            Self::DeliveriesPerS => "deliveries/s",
            Self::MessagesPerS => "messages/s a peer",
            Self::MegabytesPerS => "MB/s",
            Self::CpuPerDelivery => "us CPU/delivery",
            Self::WirePerDelivery => "wire bytes/delivery",
            Self::P50 => "ms p50",
            Self::P99 => "ms p99",
            Self::P999 => "ms p99.9",
            Self::DeliveredPercent => "% delivered",
            Self::SpreadMs => "ms to the last",
            Self::PrivateMib => "MiB private a peer",
            Self::Cores | Self::IdleCores => "cores",
            Self::Links => "links a peer",
        }
    }

    /// Its value; `None` where the case does not have it.
    pub fn of(self, spec: &Spec, outcome: &Outcome) -> Option<f64> {
        let delivered = (outcome.delivered > 0).then_some(outcome.delivered as f64);
        let latency = || quantile_ms(outcome.latencies.as_ref()?, self.quantile()?);
        match self {
            Self::DeliveriesPerS => Some(delivered? / outcome.seconds),
            Self::MessagesPerS => Some(delivered? / outcome.seconds / spec.receivers() as f64),
            Self::MegabytesPerS => {
                Some(delivered? * spec.message_bytes as f64 / 1e6 / outcome.seconds)
            }
            Self::CpuPerDelivery => Some(outcome.cpu_us as f64 / delivered?),
            Self::WirePerDelivery => Some(outcome.wire_bytes as f64 / delivered?),
            Self::P50 | Self::P99 | Self::P999 => latency(),
            Self::DeliveredPercent => (outcome.due_in_all > 0)
                .then(|| outcome.delivered_in_all as f64 / outcome.due_in_all as f64 * 100.0),
            Self::SpreadMs => Some(outcome.spread_us? as f64 / 1e3),
            Self::PrivateMib => Some(outcome.private_kib as f64 / 1024.0 / spec.peers() as f64),
            Self::Links => outcome.links,
            Self::IdleCores => outcome.idle_cores,
            Self::Cores => Some(outcome.cpu_us as f64 / 1e6 / outcome.seconds),
        }
    }

    fn quantile(self) -> Option<f64> {
        match self {
            Self::P50 => Some(0.5),
            Self::P99 => Some(0.99),
            Self::P999 => Some(0.999),
            _ => None,
        }
    }

    /// Whether it rests on a few messages of each round, so that those of all are taken together.
    pub fn is_pooled(self) -> bool {
        self == Self::P999
    }

    /// Its value over rounds with these outcomes: their median, or that of all their messages.
    pub fn over(self, spec: &Spec, rounds: &[&Outcome]) -> Option<f64> {
        if self.is_pooled() {
            let latencies = rounds.iter().filter_map(|round| round.latencies.as_ref());
            return quantile_ms(&Latencies::pooled(latencies), self.quantile()?);
        }
        let values = rounds.iter().filter_map(|round| self.of(spec, round));
        median(values.collect())
    }

    /// Whether a goal must hold in every round, not in most of them.
    pub fn is_of_every_round(self) -> bool {
        self == Self::DeliveredPercent
    }

    /// What the reader of a case is shown.
    pub fn shown(case: &Case) -> Vec<Self> {
        match case.load {
            Load::Idle => vec![Self::PrivateMib, Self::Cores, Self::Links],
            Load::Rate(_) => {
                vec![
                    Self::DeliveredPercent,
                    Self::P50,
                    Self::P99,
                    Self::P999,
                    Self::CpuPerDelivery,
                    Self::WirePerDelivery,
                    Self::PrivateMib,
                ]
            }
            Load::Window(1) => vec![
                Self::SpreadMs,
                Self::CpuPerDelivery,
                Self::WirePerDelivery,
                Self::PrivateMib,
            ],
            _ => vec![
                Self::DeliveriesPerS,
                Self::MessagesPerS,
                Self::MegabytesPerS,
                Self::CpuPerDelivery,
                Self::WirePerDelivery,
                Self::PrivateMib,
            ],
        }
    }
}

fn quantile_ms(latencies: &Latencies, share: f64) -> Option<f64> {
    Some(latencies.quantile_us(share)? as f64 / 1e3)
}
