//! A node's access line: it carries so many bytes a second, its flows in turn.

use hedgerow_protocol::Micros;
use std::collections::VecDeque;

/// What a node's access line carries. `None`: more than will ever matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bandwidth {
    /// Bytes a second out.
    pub up: Option<u64>,
    /// Bytes a second in.
    pub down: Option<u64>,
}

impl Bandwidth {
    /// As fast as can be.
    pub const UNLIMITED: Self = Self {
        up: None,
        down: None,
    };

    /// So many Mbit/s up and down.
    pub const fn mbit(up: u64, down: u64) -> Self {
        Self {
            up: Some(up * 125_000),
            down: Some(down * 125_000),
        }
    }

    /// So many kbit/s up and down.
    pub const fn kbit(up: u64, down: u64) -> Self {
        Self {
            up: Some(up * 125),
            down: Some(down * 125),
        }
    }
}

/// The least a flow sends when it is its turn: a packet.
const QUANTUM_MIN: u64 = 1_500;
/// The most: beyond, fewer events no longer make the simulation faster.
pub(crate) const QUANTUM_MAX: u64 = 65_536;

/// One direction of an access line. Flows take turns, one quantum each, as fair queueing does in
/// today's kernels and home routers (RFC 8290); so a flow with little to send never waits behind
/// a full one.
#[derive(Debug)]
pub(crate) struct AccessLink<F, S> {
    bytes_per_s: Option<u64>,
    /// Flows that have something to send, in the order of their turns.
    pub(crate) waiting: VecDeque<F>,
    /// What is being carried now.
    pub(crate) busy: Option<(F, S)>,
}

impl<F, S> AccessLink<F, S> {
    pub(crate) fn new(bytes_per_s: Option<u64>) -> Self {
        Self {
            bytes_per_s,
            waiting: VecDeque::new(),
            busy: None,
        }
    }

    pub(crate) fn set_rate(&mut self, bytes_per_s: Option<u64>) {
        self.bytes_per_s = bytes_per_s;
    }

    pub(crate) fn rate(&self) -> Option<u64> {
        self.bytes_per_s
    }

    /// Whether bytes pass without taking time. A line that was just made unlimited first
    /// finishes what waits, or bytes would overtake each other.
    pub(crate) fn is_free(&self) -> bool {
        self.bytes_per_s.is_none() && self.busy.is_none() && self.waiting.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
        self.busy = None;
    }

    /// How long `bytes` take.
    pub(crate) fn time_for(&self, bytes: usize) -> Micros {
        match self.bytes_per_s {
            None => Micros(0),
            Some(rate) => Micros((bytes as u64 * 1_000_000).div_ceil(rate.max(1))),
        }
    }

    /// How many bytes a flow may send in one turn: about 1 ms worth.
    pub(crate) fn quantum(&self) -> usize {
        match self.bytes_per_s {
            None => QUANTUM_MAX as usize,
            Some(rate) => (rate / 1_000).clamp(QUANTUM_MIN, QUANTUM_MAX) as usize,
        }
    }
}
