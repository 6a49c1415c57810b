//! Leaving the network: forwarding on until neighbours hold what this peer published.

use super::{Engine, Stopping};
use crate::base::interface::{Event, LinkEnd, LinkId};
use crate::base::time::Time;
use crate::wire::frame::Records;

/// While leaving, neighbours are asked this often what they hold, ms.
const ASK_MS: u64 = 100;

impl Engine {
    /// Begins to leave the network: goes on forwarding until neighbours hold what this peer
    /// published, at most `shutdown.timeout_ms`; ends with [`Event::Stopped`].
    pub fn shutdown(&mut self, now: Time) {
        self.advance(now);
        if self.core.stopping.is_some() {
            return;
        }
        let until = self.core.in_ms(self.core.config.shutdown.timeout_ms);
        self.multicast.close_batches(&mut cx!(self));
        self.core.stopping = Some(Stopping::Leaving(until));
        self.core.wake_at(self.core.now.mono);
    }

    pub(crate) fn on_stopping_timeout(&mut self) {
        let Some(Stopping::Leaving(until)) = self.core.stopping else {
            return;
        };
        self.multicast.release_all(&mut cx!(self));
        let acknowledgements = &self.patterns.acknowledge;
        let is_acknowledged = |group, epoch, seq| acknowledgements.is_confirmed(group, epoch, seq);
        if self.multicast.is_confirmed(cx_ref!(self), is_acknowledged) {
            self.stop(true);
        } else if until <= self.core.now.mono {
            self.stop(false);
        } else {
            self.multicast.ask_holders(&mut cx!(self));
            let next = self.core.in_ms(ASK_MS).min(until);
            self.core.wake_at(next);
            self.leave_check = Some(next);
        }
    }

    /// Says in the record that this peer has left, says goodbye, and ends.
    pub(crate) fn stop(&mut self, confirmed: bool) {
        if self.core.stopping == Some(Stopping::Stopped) {
            return;
        }
        self.core.stopping = Some(Stopping::Stopped);
        self.refresh_adverts();
        self.net.issue_record(&mut self.core);
        let record = self.net.wire_record(&self.core, self.core.me);
        let links: Vec<LinkId> = self.net.connections().collect();
        for link in links {
            if let Some(record) = record.clone()
                && self.net.links_up().any(|up| up == link)
            {
                self.net.send(
                    &mut self.core,
                    link,
                    Records {
                        records: vec![record],
                    },
                );
                self.net.flush_queue(&mut self.core, link);
            }
            self.net.close_link(&mut self.core, link, LinkEnd::Stopped);
        }
        self.core.deadline = None;
        self.core.event(Event::Stopped { confirmed });
    }
}
