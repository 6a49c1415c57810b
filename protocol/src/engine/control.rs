//! Leaving the network: forwarding on until neighbours hold what this peer published.

use super::{Engine, Stopping};
use crate::group::LogKey;
use crate::io::{Event, LinkEnd, LinkId};
use crate::name::GroupId;
use crate::time::Time;
use crate::wire::frame::{Digest, Records};

/// While leaving, neighbours are asked this often what they hold, ms.
const ASK_MS: u64 = 100;
/// So many neighbours must hold what this peer published, if there are so many.
pub(crate) const HOLDERS: usize = 2;

impl Engine {
    /// Begins to leave the network: goes on forwarding until neighbours hold what this peer
    /// published, at most `database.leave_ms`; ends with [`Event::Stopped`].
    pub fn shutdown(&mut self, now: Time) {
        self.advance(now);
        if self.stopping.is_some() {
            return;
        }
        let until = self.in_ms(self.config.database.leave_ms);
        self.stopping = Some(Stopping::Leaving(until));
        self.wake_at(self.now.mono);
    }

    pub(crate) fn on_stopping_timeout(&mut self) {
        let Some(Stopping::Leaving(until)) = self.stopping else {
            return;
        };
        self.release_outboxes();
        if self.is_confirmed() {
            self.stop(true);
        } else if until <= self.now.mono {
            self.stop(false);
        } else {
            self.ask_holders();
            let next = self.in_ms(ASK_MS).min(until);
            self.wake_at(next);
            self.leave_check = Some(next);
        }
    }

    /// The groups in which this peer has published in this life, and up to which entry.
    fn published(&self) -> Vec<(GroupId, LogKey, u64)> {
        let key = (self.me, self.own.epoch);
        self.groups
            .iter()
            .filter_map(|(id, group)| {
                let log = group.logs.get(&key)?;
                (log.high() > 0).then(|| (*id, key, log.high()))
            })
            .collect()
    }

    fn is_confirmed(&self) -> bool {
        if !self.outboxes.is_empty() {
            return false;
        }
        self.published().into_iter().all(|(id, key, high)| {
            let holders = self
                .up
                .values()
                .filter_map(|link| self.remotes.get(*link, id)?.stated.get(&key))
                .filter(|settled| **settled >= high)
                .count();
            let possible = self.group_links(id).count();
            // Members that have acknowledged it need not be asked, and may have left since.
            let acknowledged = self
                .groups
                .get(&id)
                .is_some_and(|group| group.tracking.is_confirmed(key.1, high));
            acknowledged || holders >= HOLDERS.min(possible.max(1))
        })
    }

    fn ask_holders(&mut self) {
        for (id, _, _) in self.published() {
            let links: Vec<LinkId> = self.group_links(id).map(|(_, link)| link).collect();
            for link in links {
                self.send(
                    link,
                    Digest {
                        group: id,
                        ask: true,
                        entries: Vec::new(),
                    },
                );
            }
        }
    }

    /// Says in the record that this peer has left, says goodbye, and ends.
    pub(crate) fn stop(&mut self, confirmed: bool) {
        if self.stopping == Some(Stopping::Stopped) {
            return;
        }
        self.stopping = Some(Stopping::Stopped);
        self.refresh_adverts();
        self.issue_record();
        let record = self.wire_record(self.me);
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        for link in links {
            if let Some(record) = record.clone()
                && self.up.values().any(|up| *up == link)
            {
                self.send(
                    link,
                    Records {
                        records: vec![record],
                    },
                );
                self.flush_queue(link);
            }
            self.close_link(link, LinkEnd::Stopped);
        }
        self.deadline = None;
        self.event(Event::Stopped { confirmed });
    }
}
