//! A running hash over everything that happens: equal hashes, equal runs.

use hedgerow_protocol::Micros;
use std::fmt;
use twox_hash::xxhash3_128::Hasher;

/// The hash of a run so far.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceHash(pub u128);

impl fmt::Display for TraceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for TraceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceHash({self})")
    }
}

/// What kind of thing happened. The numbers are part of the hash: new ones go to the end.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    Start,
    Stop,
    Timeout,
    Linked,
    LinkLost,
    DialFailed,
    Bytes,
    Sent,
    Verified,
    Stored,
    Deliver,
    Event,
    Command,
    Fault,
    Other,
}

/// Collects the trace. XXH3: nobody forges traces, and all bytes of all links go through it.
pub(crate) struct Trace(Hasher);

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trace({})", self.hash())
    }
}

impl Trace {
    pub(crate) fn new() -> Self {
        Self(Hasher::new())
    }

    /// Adds one event; `bytes` is whatever tells it from others of its kind.
    pub(crate) fn add(&mut self, at: Micros, kind: Kind, node: usize, bytes: &[u8]) {
        // The length comes first, so that no two traces run together.
        let mut head = [0; 21];
        head[..8].copy_from_slice(&at.0.to_le_bytes());
        head[8] = kind as u8;
        head[9..13].copy_from_slice(&(node as u32).to_le_bytes());
        head[13..].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.0.write(&head);
        self.0.write(bytes);
    }

    pub(crate) fn hash(&self) -> TraceHash {
        TraceHash(self.0.finish_128())
    }
}
