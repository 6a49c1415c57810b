//! What the layers above may ask of a link, and tell it.

use super::{Link, Priority};
use crate::base::identity::PeerKey;
use crate::base::time::Micros;
use crate::wire::{RawFrame, WireError};

/// However often pulls were late, so much may be asked of a link at once, bytes.
const PULL_BUDGET_MIN: usize = 16 << 10;

impl Link {
    pub(crate) fn peer(&self) -> PeerKey {
        self.peer
    }

    /// When the handshake was done.
    pub(crate) fn up_since(&self) -> Micros {
        self.up_since
    }

    /// The round-trip time, smoothed, where it was ever measured, microseconds.
    pub(crate) fn rtt_us(&self) -> Option<u64> {
        self.rtt.smoothed_us()
    }

    /// When the other end's database last equalled this peer's.
    pub(crate) fn equal_at(&self) -> Option<Micros> {
        self.equal_at
    }

    /// When a bundle or a part of one last came.
    pub(crate) fn bulk_heard(&self) -> Micros {
        self.bulk_heard
    }

    /// Whether a part of a frame has come, and not yet the rest.
    pub(crate) fn is_amid_frame(&self) -> bool {
        self.decoder.partial_bytes() > 0
    }

    /// The next frame that came whole; none of a link that has said goodbye.
    pub(crate) fn next_frame(&mut self) -> Result<Option<RawFrame>, WireError> {
        if self.stage == super::Stage::Closing {
            return Ok(None);
        }
        self.decoder.next_frame()
    }

    /// Whether so much waits in a lane that publishers should wait.
    pub(crate) fn is_congested(&self, lane: Priority) -> bool {
        self.queue.is_congested(lane)
    }

    /// Whether the transport has not written yet what it was given.
    pub(crate) fn is_writing(&self) -> bool {
        self.queue.is_writing()
    }

    /// Bytes that may be asked for and not yet received.
    pub(crate) fn pull_budget(&self) -> usize {
        self.pull_budget
    }

    /// A pull was answered by so many bytes: more may be asked for at once, up to `most`.
    pub(crate) fn grow_pull_budget(&mut self, bytes: usize, most: usize) {
        let grown = self.pull_budget + bytes / 4 + 64;
        self.pull_budget = grown.min(most);
    }

    /// A pull was not answered in time.
    pub(crate) fn halve_pull_budget(&mut self) {
        self.pull_budget = (self.pull_budget / 2).max(PULL_BUDGET_MIN);
    }

    pub(crate) fn note_bundle_received(&mut self, now: Micros) {
        self.bundles[0] += 1;
        self.bulk_heard = now;
    }

    pub(crate) fn note_bundle_sent(&mut self) {
        self.bundles[1] += 1;
    }

    /// A bundle was refused: the neighbour pulls at its own pace until the queue has drained.
    pub(crate) fn turn_lazy(&mut self) {
        self.lazy = true;
    }
}
