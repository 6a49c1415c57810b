//! What a peer answers to those who ask.

use hedgerow_protocol::PeerKey;
use serde::Serialize;

/// One member's answer to a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProbeAnswer {
    /// Who answers.
    pub member: PeerKey,
    /// The way from here to it, this peer first.
    pub path: Vec<PeerKey>,
    /// From sending the probe to its answer, microseconds.
    pub round_trip_us: u64,
}

/// The answer to a ping. The peer's identity is not proven: a relay could have answered for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Pong {
    /// Who answers.
    pub peer: PeerKey,
    /// From sending to the answer, microseconds.
    pub round_trip_us: u64,
    /// Links that the answer has crossed.
    pub hops: u8,
}
