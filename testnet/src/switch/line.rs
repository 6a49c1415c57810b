//! One direction of an access line: it carries so many bytes a second, and lets a little wait.

use hedgerow_protocol::Micros;

/// How long the last packet in a full queue waits. 200 ms: what home routers buffer at most
/// before users complain, and enough for TCP to fill the line over a round trip of that length.
const WAIT_MAX: Micros = Micros::from_millis(200);
/// A slow line still has room for so much: 32 of the largest packets.
const ROOM_MIN_BYTES: u64 = 48_000;

/// A line. What finds its queue full is dropped.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Line {
    bytes_per_s: Option<u64>,
    free_at: Micros,
}

impl Line {
    pub(super) fn rate(&self) -> Option<u64> {
        self.bytes_per_s
    }

    pub(super) fn set_rate(&mut self, bytes_per_s: Option<u64>) {
        self.bytes_per_s = bytes_per_s;
    }

    /// When so many bytes that come at `now` are through; `None` when there is no room for them.
    pub(super) fn admit(&mut self, now: Micros, bytes: usize) -> Option<Micros> {
        let Some(rate) = self.bytes_per_s else {
            // What still waits for a line that was narrow before stays ahead.
            return Some(now.max(self.free_at));
        };
        let rate = rate.max(1);
        let begins = now.max(self.free_at);
        let wait = begins.since(now);
        let wait_max = WAIT_MAX.0.max(ROOM_MIN_BYTES * 1_000_000 / rate);
        if wait.0 > wait_max {
            return None;
        }
        self.free_at = begins + Micros((bytes as u64 * 1_000_000).div_ceil(rate));
        Some(self.free_at)
    }
}
