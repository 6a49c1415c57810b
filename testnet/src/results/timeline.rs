//! `timeline.csv`: how a run went, second by second.

use serde::{Deserialize, Serialize};
use std::io;

/// The state of a run at one moment. Counts are since the last tick.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tick {
    /// From moment 0, s; negative in the warm-up.
    pub at_s: f64,
    /// Nodes with a peer.
    pub alive: usize,
    /// Different views among them.
    pub views: usize,
    /// Faults that last.
    pub faults: usize,
    /// Messages published.
    pub published: u64,
    /// Messages handed to applications.
    pub delivered: u64,
    /// Payload copies received.
    pub copies: u64,
    /// Those of them that came first.
    pub firsts: u64,
    /// First receipts by pull.
    pub repaired: u64,
    /// Frames without payload.
    pub control_frames: u64,
    /// Their bytes.
    pub control_bytes: u64,
    /// All bytes sent.
    pub bytes: u64,
    /// The most that one peer retains, bytes.
    pub retained_max: usize,
    /// The most that one peer has queued, bytes.
    pub queued_max: usize,
}

/// As comma-separated values under a heading.
pub fn timeline(ticks: &[Tick]) -> io::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for tick in ticks {
        writer.serialize(tick)?;
    }
    writer
        .into_inner()
        .map_err(|error| io::Error::other(error.to_string()))
}

/// The opposite of [`timeline`].
pub fn read_timeline(csv: &[u8]) -> io::Result<Vec<Tick>> {
    let mut reader = csv::Reader::from_reader(csv);
    let ticks: Result<Vec<Tick>, csv::Error> = reader.deserialize().collect();
    ticks.map_err(io::Error::other)
}
