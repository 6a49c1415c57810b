//! What is measured.

use crate::spec::{Load, Program, Shape, Spec};
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

/// Who keeps stamps in messages, and therefore can be asked for latencies, between two peers.
const WITH_BROKERS: [Program; 6] = [
    Hedgerow,
    IrohGossip,
    GossipsubSigned,
    GossipsubAnonymous,
    Nats,
    Zeromq,
];

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
        others: &[IrohGossip, GossipsubAnonymous],
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
    // Each origin so many messages a second.
    let rate = |name, shape, per_s| Case {
        name,
        commands: &["latency"],
        others: &[Hedgerow, IrohGossip, GossipsubSigned, GossipsubAnonymous],
        shape,
        load: Load::Rate(per_s),
        seconds: 10.0,
        ..base()
    };
    let large = |name, shape| Case {
        name,
        commands: &["large"],
        others: &[Hedgerow, IrohGossip, GossipsubSigned, GossipsubAnonymous],
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
        Case {
            message_bytes: 64 * KIB,
            ..fanout("100-peers-64k", 100, 1)
        },
        fanout("20-peers-1k-10-origins", 20, 10),
        pair("pair-100b", 100),
        pair("pair-1k", KIB),
        Case {
            programs: &[Hedgerow, Stream],
            ..pair("pair-64k", 64 * KIB)
        },
        Case {
            programs: &[],
            others: &[
                Hedgerow,
                Stream,
                Nats,
                Zeromq,
                Tcp,
                IrohGossip,
                GossipsubSigned,
                GossipsubAnonymous,
            ],
            load: Load::Window(32),
            ..pair("pair-1k-window-32", KIB)
        },
        chain("chain-100b", 100),
        chain("chain-1k", KIB),
        chain("chain-64k", 64 * KIB),
        Case {
            programs: &[Hedgerow, IrohGossip, GossipsubSigned],
            // 2,000 messages: of 400, the slowest thousandth is less than one.
            seconds: 20.0,
            ..rate("20-peers-100-per-s", Shape::Overlay(20), 100.0)
        },
        Case {
            programs: &[Hedgerow, GossipsubSigned],
            seconds: 4.0,
            ..rate("20-peers-1000-per-s", Shape::Overlay(20), 1_000.0)
        },
        Case {
            others: &WITH_BROKERS,
            ..rate("pair-100-per-s", Shape::PairOrigin, 100.0)
        },
        Case {
            others: &WITH_BROKERS,
            ..rate("pair-1000-per-s", Shape::PairOrigin, 1_000.0)
        },
        rate("chain-100-per-s", Shape::Chain(5), 100.0),
        rate("chain-1000-per-s", Shape::Chain(5), 1_000.0),
        // 100 messages a second in all.
        Case {
            origins: 10,
            ..rate("20-peers-10-origins-10-per-s", Shape::Overlay(20), 10.0)
        },
        // Of 100 a second gossipsub delivers less than half on two processors.
        rate("100-peers-20-per-s", Shape::Overlay(100), 20.0),
        Case {
            programs: &[Hedgerow, GossipsubSigned],
            ..large("20-peers-5m", Shape::Overlay(20))
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
