//! What is to be reached.

use crate::metric::Metric;
use crate::spec::Program;
use Program::{GossipsubSigned, Hedgerow, IrohGossip, Nats, Stream, Zeromq};

/// A bound: of the ratio to a peer, or of the figure itself.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

impl Goal {
    pub fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }
}

impl Goal {
    /// The one that is farther from holding.
    pub fn worse_of(self, low: f64, high: f64) -> f64 {
        match self {
            Self::AtLeast(_) => low,
            Self::AtMost(_) => high,
        }
    }
}

impl std::fmt::Display for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, ">= {bound}"),
            Self::AtMost(bound) => write!(f, "<= {bound}"),
        }
    }
}

/// A row of the table of goals.
pub struct Row {
    pub name: &'static str,
    pub case: &'static str,
    pub metric: Metric,
    /// Compared with whom; `None`: the goal bounds the figure itself.
    pub peer: Option<Program>,
    /// `None`: told for the reader.
    pub goal: Option<Goal>,
}

/// The table of goals.
pub fn rows() -> Vec<Row> {
    use Goal::{AtLeast, AtMost};
    let row = |name, case, metric, peer, goal| Row {
        name,
        case,
        metric,
        peer,
        goal: Some(goal),
    };
    let told = |name, case, peer| Row {
        name,
        case,
        metric: Metric::DeliveriesPerS,
        peer: Some(peer),
        goal: None,
    };
    let (signed, iroh, stream) = (Some(GossipsubSigned), Some(IrohGossip), Some(Stream));
    vec![
        row(
            "100 peers, 1 KiB",
            "100-peers-1k",
            Metric::DeliveriesPerS,
            iroh,
            AtLeast(2.0),
        ),
        row(
            "100 peers, 1 KiB",
            "100-peers-1k",
            Metric::DeliveriesPerS,
            signed,
            AtLeast(30.0),
        ),
        row(
            "100 peers, 1 KiB, CPU",
            "100-peers-1k",
            Metric::CpuPerDelivery,
            iroh,
            AtMost(0.5),
        ),
        row(
            "2 peers, 100 B",
            "pair-100b",
            Metric::DeliveriesPerS,
            stream,
            AtLeast(0.2),
        ),
        row(
            "2 peers, 1 KiB",
            "pair-1k",
            Metric::DeliveriesPerS,
            stream,
            AtLeast(0.5),
        ),
        row(
            "2 peers, 64 KiB",
            "pair-64k",
            Metric::MegabytesPerS,
            stream,
            AtLeast(0.6),
        ),
        row(
            "chain of 5, 100 B",
            "chain-100b",
            Metric::DeliveriesPerS,
            signed,
            AtLeast(30.0),
        ),
        row(
            "chain of 5, 1 KiB",
            "chain-1k",
            Metric::DeliveriesPerS,
            signed,
            AtLeast(15.0),
        ),
        row(
            "chain of 5, 64 KiB",
            "chain-64k",
            Metric::MegabytesPerS,
            signed,
            AtLeast(1.5),
        ),
        row(
            "20 peers, 100 msg/s",
            "20-peers-100-per-s",
            Metric::P50,
            iroh,
            AtMost(1.0),
        ),
        row(
            "20 peers, 100 msg/s",
            "20-peers-100-per-s",
            Metric::P99,
            iroh,
            AtMost(1.0),
        ),
        row(
            "20 peers, 100 msg/s",
            "20-peers-100-per-s",
            Metric::P50,
            signed,
            AtMost(0.5),
        ),
        row(
            "20 peers, 100 msg/s",
            "20-peers-100-per-s",
            Metric::P99,
            signed,
            AtMost(0.5),
        ),
        row(
            "20 peers, 1,000 msg/s",
            "20-peers-1000-per-s",
            Metric::DeliveredPercent,
            None,
            AtLeast(100.0),
        ),
        row(
            "20 peers, 1,000 msg/s",
            "20-peers-1000-per-s",
            Metric::P99,
            None,
            AtMost(5.0),
        ),
        row(
            "5 MiB to 20 peers",
            "20-peers-5m",
            Metric::SpreadMs,
            signed,
            AtMost(0.3),
        ),
        row(
            "idle peer, 8 links",
            "idle-with-8-links",
            Metric::PrivateMib,
            None,
            AtMost(4.0),
        ),
        row(
            "100 idle peers",
            "100-peers-1k",
            Metric::IdleCores,
            None,
            AtMost(0.1),
        ),
        Row {
            peer: None,
            metric: Metric::Links,
            ..told("100 idle peers", "100-peers-1k", Hedgerow)
        },
        told("2 peers, 100 B", "pair-100b", Nats),
        told("2 peers, 100 B", "pair-100b", Zeromq),
        told("2 peers, 1 KiB", "pair-1k", Nats),
        told("2 peers, 1 KiB", "pair-1k", Zeromq),
    ]
}
