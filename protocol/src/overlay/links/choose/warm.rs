//! A choice as it is after a long life; see `engine/warm.rs`.

use super::{Chooser, IDLE_ROUNDS_MAX, MEASURED_MAX, SEARCH_REFILL_MS, SEARCHES};
use crate::base::identity::PeerKey;
use crate::base::time::Micros;

/// What a peer has learnt of others in a long life.
#[derive(Clone, Debug, Default)]
pub struct WarmChoice {
    /// RTTs of earlier links, microseconds.
    pub measured: Vec<(PeerKey, u32)>,
    /// Peers that refused, or whose links nobody wanted.
    pub cooling: Vec<PeerKey>,
}

impl Chooser {
    /// After a long life little is searched for, and rarely. RTTs of earlier links are known, and
    /// who is not worth another dial.
    pub(crate) fn begin_calm(&mut self, life: &WarmChoice, now: Micros) {
        self.searches = 0;
        self.refilled = now;
        self.improvements = SEARCHES;
        self.idle_rounds = IDLE_ROUNDS_MAX;
        let measured = life.measured.iter().take(MEASURED_MAX);
        self.measured.extend(measured.copied());
        let wait = Micros::from_millis(SEARCH_REFILL_MS);
        let cooling = life.cooling.iter().take(MEASURED_MAX);
        self.cooling
            .extend(cooling.map(|peer| (*peer, (now + wait, wait))));
    }

    /// Looks at `at` and not before, as long as nothing happens.
    pub(crate) fn look_first(&mut self, at: Micros) {
        self.next = at;
    }
}
