//! The timer table: whatever is due, in a fixed order, and when the next thing is.

use super::{Engine, Stopping};
use crate::time::{Micros, Time};

impl Engine {
    /// Runs what is due. Calling early or late does no harm.
    pub fn handle_timeout(&mut self, now: Time) {
        self.advance(now);
        if self.stopping == Some(Stopping::Stopped) {
            self.deadline = None;
            return;
        }
        self.on_links_timeout();
        self.settle();
        self.on_uplink_timeout();
        self.settle();
        self.on_dials_timeout();
        self.settle();
        self.on_view_timeout();
        self.settle();
        if self.own.due(&self.config.database) <= self.now.mono {
            self.refresh_adverts();
        }
        self.on_record_timeout();
        self.settle();
        self.on_sync_timeout();
        self.settle();
        self.on_candidates_timeout();
        self.settle();
        self.on_choose_timeout();
        self.settle();
        self.on_groups_timeout();
        self.settle();
        self.on_charges_timeout();
        self.settle();
        self.on_probes_timeout();
        self.settle();
        self.on_stopping_timeout();
        self.settle();
        self.deadline = self.next_deadline();
    }

    fn next_deadline(&self) -> Option<Micros> {
        if self.stopping == Some(Stopping::Stopped) {
            return None;
        }
        let leaving = match self.stopping {
            Some(Stopping::Leaving(until)) => {
                Some(self.leave_check.map_or(until, |at| at.min(until)))
            }
            _ => None,
        };
        [
            self.links_due(),
            self.uplink.due(),
            self.dialer.due(),
            self.view.due(&self.config.database),
            Some(self.own.due(&self.config.database)),
            self.sync.due(),
            self.requests_due(),
            self.candidates.due(),
            Some(self.chooser.due()),
            self.groups_due(),
            self.charges.due(),
            self.probes.due(),
            leaving,
        ]
        .into_iter()
        .flatten()
        .min()
    }
}
