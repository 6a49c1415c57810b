//! What is measured, and what is to be reached.

use crate::cell::{Load, Outcome, Program, Shape, Spec};
use Program::{
    GossipsubAnonymous, GossipsubSigned, Hedgerow, IrohGossip, Nats, Stream, Tcp, Zeromq,
};

/// A case: the same load for several programs.
pub struct Case {
    pub name: &'static str,
    /// The commands that show it.
    pub commands: &'static [&'static str],
    /// Those that `compare` needs; others are for the reader.
    pub programs: &'static [Program],
    pub others: &'static [Program],
    pub shape: Shape,
    pub message_bytes: usize,
    pub load: Load,
    pub origins: usize,
    pub seconds: f64,
}

impl Case {
    /// What `program` is to do.
    pub fn spec(&self, program: Program) -> Spec {
        let load = match (self.load, program) {
            // These do not make a publisher wait: what is under way is bounded for them, by far
            // more than they need to be busy.
            (Load::Busy, GossipsubSigned | GossipsubAnonymous | IrohGossip | Nats) => {
                Load::Window(if self.message_bytes > 4 << 10 {
                    64
                } else {
                    1_024
                })
            }
            (load, _) => load,
        };
        Spec {
            program,
            shape: self.shape,
            message_bytes: self.message_bytes,
            load,
            origins: self.origins,
            seconds: self.seconds,
            connect: None,
            tell: None,
        }
    }
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// All cases.
pub fn cases() -> Vec<Case> {
    let base = || Case {
        name: "",
        commands: &[],
        programs: &[],
        others: &[],
        shape: Shape::PairOrigin,
        message_bytes: KIB,
        load: Load::Busy,
        origins: 1,
        seconds: 2.0,
    };
    let pair = |name, message_bytes| Case {
        name,
        commands: &["throughput"],
        programs: &[Hedgerow, Stream, Nats, Zeromq],
        others: &[Tcp, IrohGossip, GossipsubSigned, GossipsubAnonymous],
        message_bytes,
        ..base()
    };
    let chain = |name, message_bytes| Case {
        name,
        commands: &["throughput"],
        programs: &[Hedgerow, GossipsubSigned],
        others: &[GossipsubAnonymous],
        shape: Shape::Chain(5),
        message_bytes,
        ..base()
    };
    let fanout = |name, peers, origins| Case {
        name,
        commands: &["fanout"],
        others: &[
            Hedgerow,
            IrohGossip,
            GossipsubSigned,
            GossipsubAnonymous,
            Nats,
        ],
        shape: Shape::Overlay(peers),
        load: Load::Window(32),
        origins,
        ..base()
    };
    let large = |name, shape| Case {
        name,
        commands: &["large"],
        others: &[Hedgerow, GossipsubSigned, GossipsubAnonymous],
        shape,
        message_bytes: 5 * MIB,
        load: Load::Window(1),
        seconds: 5.0,
        ..base()
    };
    vec![
        Case {
            programs: &[Hedgerow, IrohGossip, GossipsubSigned],
            others: &[GossipsubAnonymous],
            seconds: 3.0,
            ..fanout("100-peers-1k", 100, 1)
        },
        fanout("100-peers-1k-10-origins", 100, 10),
        fanout("20-peers-1k", 20, 1),
        Case {
            message_bytes: 100,
            ..fanout("20-peers-100b", 20, 1)
        },
        Case {
            message_bytes: 64 * KIB,
            ..fanout("20-peers-64k", 20, 1)
        },
        Case {
            message_bytes: 100,
            ..fanout("100-peers-100b", 100, 1)
        },
        fanout("20-peers-1k-10-origins", 20, 10),
        pair("pair-100b", 100),
        pair("pair-1k", KIB),
        Case {
            programs: &[Hedgerow, Stream],
            ..pair("pair-64k", 64 * KIB)
        },
        chain("chain-100b", 100),
        chain("chain-1k", KIB),
        chain("chain-64k", 64 * KIB),
        Case {
            name: "20-peers-100-per-s",
            commands: &["latency"],
            programs: &[Hedgerow, IrohGossip, GossipsubSigned],
            others: &[GossipsubAnonymous],
            shape: Shape::Overlay(20),
            load: Load::Rate(100.0),
            seconds: 4.0,
            ..base()
        },
        Case {
            name: "20-peers-1000-per-s",
            commands: &["latency"],
            programs: &[Hedgerow, GossipsubSigned],
            others: &[IrohGossip, GossipsubAnonymous],
            shape: Shape::Overlay(20),
            load: Load::Rate(1_000.0),
            seconds: 4.0,
            ..base()
        },
        Case {
            name: "20-peers-5m",
            commands: &["large"],
            programs: &[Hedgerow, GossipsubSigned],
            others: &[IrohGossip, GossipsubAnonymous],
            shape: Shape::Overlay(20),
            message_bytes: 5 * MIB,
            load: Load::Window(1),
            seconds: 5.0,
            ..base()
        },
        large("pair-5m", Shape::PairOrigin),
        large("chain-5m", Shape::Chain(5)),
        Case {
            name: "idle-with-8-links",
            commands: &["memory"],
            programs: &[Hedgerow],
            shape: Shape::Centre,
            load: Load::Idle,
            seconds: 2.0,
            ..base()
        },
        Case {
            name: "100-idle-peers",
            commands: &["memory"],
            others: &[Hedgerow, IrohGossip, GossipsubSigned],
            shape: Shape::Overlay(100),
            load: Load::Idle,
            seconds: 10.0,
            ..base()
        },
    ]
}

/// A figure of an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        let latency = |index: usize| Some(outcome.latency_us?[index] as f64 / 1e3);
        match self {
            Self::DeliveriesPerS => Some(delivered? / outcome.seconds),
            Self::MessagesPerS => Some(delivered? / outcome.seconds / spec.receivers() as f64),
            Self::MegabytesPerS => {
                Some(delivered? * spec.message_bytes as f64 / 1e6 / outcome.seconds)
            }
            Self::CpuPerDelivery => Some(outcome.cpu_us as f64 / delivered?),
            Self::WirePerDelivery => Some(outcome.wire_bytes as f64 / delivered?),
            Self::P50 => latency(0),
            Self::P99 => latency(1),
            Self::P999 => latency(2),
            Self::DeliveredPercent => (outcome.due_in_all > 0)
                .then(|| outcome.delivered_in_all as f64 / outcome.due_in_all as f64 * 100.0),
            Self::SpreadMs => Some(outcome.spread_us? as f64 / 1e3),
            Self::PrivateMib => Some(outcome.private_kib as f64 / 1024.0 / spec.peers() as f64),
            Self::Links => outcome.links,
            Self::IdleCores => outcome.idle_cores,
            Self::Cores => Some(outcome.cpu_us as f64 / 1e6 / outcome.seconds),
        }
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
