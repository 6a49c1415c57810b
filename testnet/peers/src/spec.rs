//! What one measurement is asked to do, and what it says.

use crate::latency::Latencies;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Program {
    Hedgerow,
    GossipsubSigned,
    GossipsubAnonymous,
    IrohGossip,
    Stream,
    Tcp,
    Nats,
    Zeromq,
}

/// How many peers, and what is connected with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Two processes: this one publishes.
    PairOrigin,
    /// Two processes: this one is told.
    PairReceiver,
    /// A line in one process.
    Chain(usize),
    /// So many peers in one process, linked as the program does it.
    Overlay(usize),
    /// One idle peer, and in another process those it has links to.
    Centre,
    /// Those.
    Around(usize),
}

impl Spec {
    /// Peers in one process.
    pub fn peers(&self) -> usize {
        match self.shape {
            Shape::PairOrigin | Shape::PairReceiver | Shape::Centre => 1,
            Shape::Chain(count) | Shape::Overlay(count) | Shape::Around(count) => count,
        }
    }

    /// Peers that are handed messages.
    pub fn receivers(&self) -> usize {
        match self.shape {
            Shape::Chain(count) | Shape::Overlay(count) if self.origins == 1 => count - 1,
            _ => self.peers(),
        }
    }
}

/// What is asked of the origins.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Load {
    /// Nothing.
    Idle,
    /// Publish until the peer makes wait.
    Busy,
    /// So many messages of an origin under way at most.
    Window(u64),
    /// So many messages a second of an origin, whatever becomes of them.
    Rate(f64),
}

/// One measurement to make.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    pub program: Program,
    pub shape: Shape,
    pub message_bytes: usize,
    pub load: Load,
    pub origins: usize,
    /// How long is measured.
    pub seconds: f64,
    /// The other process's peer.
    pub connect: Option<String>,
    /// Where the origin's process is told what was delivered.
    pub tell: Option<SocketAddr>,
}

/// What a process says when its peers stand.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Standing {
    pub address: String,
}

/// A line that a process says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Said<T> {
    /// Why it could not go on: its standard error is full of what programs tell.
    Failed {
        error: String,
    },
    Done(T),
}

/// What was measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Length of the window, seconds.
    pub seconds: f64,
    /// In it: messages handed to subscribers other than their origin.
    pub delivered: u64,
    /// In it: CPU time of this process, microseconds.
    pub cpu_us: u64,
    /// In it: bytes on the loopback interface.
    pub wire_bytes: u64,
    /// Over all: messages published, and deliveries of them.
    pub published: u64,
    pub delivered_in_all: u64,
    /// Deliveries that were due in all.
    pub due_in_all: u64,
    /// Of its deliveries, at a fixed rate.
    pub latencies: Option<Latencies>,
    /// With a window of 1: median time from publication to the last receiver, microseconds.
    pub spread_us: Option<u64>,
    /// Private memory at the end, KiB.
    pub private_kib: u64,
    /// Cores used by all peers before anything was published, once they were calm.
    pub idle_cores: Option<f64>,
    /// Links of a peer then, mean.
    pub links: Option<f64>,
}
