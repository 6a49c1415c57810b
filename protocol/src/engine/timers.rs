//! The timer table: whatever is due, in a fixed order, and when the next thing is.

use super::{Engine, Stopping};
use crate::base::time::{Micros, Time};

impl Engine {
    /// Runs what is due. Calling early or late does no harm.
    pub fn handle_timeout(&mut self, now: Time) {
        self.advance(now);
        if self.core.stopping == Some(Stopping::Stopped) {
            self.core.deadline = None;
            return;
        }
        self.core.on_storage_timeout();
        self.net.on_links_timeout(&mut self.core);
        self.settle();
        self.net.on_uplink_timeout(&mut self.core);
        self.settle();
        self.net.on_dials_timeout(&mut self.core);
        self.settle();
        self.net.on_view_timeout(&mut self.core);
        self.settle();
        if self.net.is_record_due(&self.core) {
            self.refresh_adverts();
        }
        self.net.on_record_timeout(&mut self.core);
        self.settle();
        self.net.on_sync_timeout(&mut self.core);
        self.settle();
        self.net.on_candidates_timeout(&mut self.core);
        self.settle();
        self.net.on_choose_timeout(&mut self.core);
        self.settle();
        self.multicast.on_batches_timeout(&mut cx!(self));
        self.multicast.on_groups_timeout(&mut cx!(self));
        self.settle();
        self.multicast.on_parent_faults_timeout(&mut cx!(self));
        self.settle();
        self.patterns.on_timeout(&mut pattern_cx!(self));
        self.settle();
        self.on_stopping_timeout();
        self.settle();
        self.core.deadline = self.next_deadline();
    }

    fn next_deadline(&self) -> Option<Micros> {
        if self.core.stopping == Some(Stopping::Stopped) {
            return None;
        }
        let leaving = match self.core.stopping {
            Some(Stopping::Leaving(until)) => {
                Some(self.leave_check.map_or(until, |at| at.min(until)))
            }
            _ => None,
        };
        [
            self.core.storage.due(),
            self.net.due(&self.core),
            self.multicast.due(),
            self.patterns.next_timeout(),
            leaving,
        ]
        .into_iter()
        .flatten()
        .min()
    }
}
