//! The engine's time, read from the system's clocks.

use hedgerow_protocol::{Micros, Time};
use std::time::{Duration, Instant, SystemTime};

/// A monotonic clock that starts with the node, and the wall clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: Instant,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    pub(super) fn now(&self) -> Time {
        let mono = Micros(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX));
        Time {
            mono,
            wall_ms: wall_ms(),
        }
    }

    /// The system's name for a point of the engine's time.
    pub(super) fn instant(&self, time: Time) -> Instant {
        // A deadline centuries away is as good as none.
        let after = Duration::from_micros(time.mono.0.min(1 << 52));
        self.start.checked_add(after).unwrap_or(self.start)
    }
}

/// Milliseconds since the Unix epoch; 0 on a clock set before it.
pub(super) fn wall_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
