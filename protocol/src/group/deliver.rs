//! From the log to the application: in order, whole, once.

use super::LogKey;
use super::log::Next;
use crate::engine::Engine;
use crate::identity::PeerKey;
use crate::io::{Action, Event};
use crate::message::{Arrival, Delivery, History, MessageId};
use crate::name::{GroupId, GroupName};
use crate::status::Role;
use std::collections::BTreeMap;

impl Engine {
    /// Hands over what is ready in every log of a group.
    pub(crate) fn deliver(&mut self, id: GroupId) {
        let Some(group) = self.groups.get(&id) else {
            return;
        };
        for key in group.logs.keys().copied().collect::<Vec<_>>() {
            self.take_ready(id, key);
        }
        self.acknowledge_ready(id);
        self.trim_retention(id);
    }

    /// The same for one log.
    pub(crate) fn deliver_log(&mut self, id: GroupId, key: LogKey) {
        self.take_ready(id, key);
        self.acknowledge_ready(id);
        self.trim_retention(id);
    }

    pub(super) fn take_ready(&mut self, id: GroupId, key: LogKey) {
        let now = self.now.mono;
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        let Some(log) = group.logs.get_mut(&key) else {
            return;
        };
        if !group.delivering || group.role != Role::Member {
            log.skip_ready();
            return self.retain(id, key);
        }
        if !group.baseline.is_taken() {
            return;
        }
        let Some(name) = group.name.clone() else {
            return;
        };
        let from_wall_ms = group.baseline.due_from_wall_ms(now);
        if from_wall_ms > 0 && log.is_lost_so_far() {
            // What follows will tell whether that was before this member's time.
            return;
        }
        let ready = log.take_ready(group.settings.values.order);
        let waits = log.ahead_bytes > 0;
        self.retain(id, key);
        if waits {
            self.look_for_unfinished(id);
        }
        let (origin, epoch) = key;
        let mut ready = ready.into_iter().peekable();
        while let Some(next) = ready.next() {
            match next {
                Next::Gap { from, to } if is_before(ready.peek(), from_wall_ms) => {
                    self.count_many("messages_before_join", to - from + 1);
                }
                Next::Message {
                    published_at,
                    arrival: Arrival::Pulled,
                    ..
                } if published_at < from_wall_ms => {
                    self.count("messages_before_join");
                }
                next => self.hand_over(&name, id, origin, epoch, next),
            }
        }
    }

    pub(super) fn hand_over(
        &mut self,
        name: &GroupName,
        id: GroupId,
        origin: PeerKey,
        epoch: u64,
        next: Next,
    ) {
        let group = name.clone();
        let Some(state) = self.groups.get_mut(&id) else {
            return;
        };
        match next {
            Next::Message {
                seq,
                published_at,
                payload,
                hops,
                arrival,
            } => {
                state.stats.delivered += 1;
                let id = MessageId { origin, epoch, seq };
                self.actions.push_back(Action::Deliver(Delivery {
                    group,
                    id,
                    published_at,
                    payload,
                    hops,
                    arrival,
                }));
            }
            Next::Gap { from, to } => {
                state.stats.gaps += to - from + 1;
                tracing::warn!(%group, %origin, epoch, from, to, "gap");
                self.event(Event::Gap {
                    group,
                    origin,
                    epoch,
                    from,
                    to,
                });
            }
        }
    }

    /// Hands over retained messages that the application was not there for.
    pub(crate) fn deliver_history(&mut self, id: GroupId, history: History) {
        let Some(group) = self.groups.get(&id) else {
            return;
        };
        let Some(name) = group.name.clone() else {
            return;
        };
        let (count, from_wall_ms) = match history {
            History::None => return,
            History::Last(count) => (usize::try_from(count).unwrap_or(usize::MAX), 0),
            History::SinceMs(ms) => (usize::MAX, self.now.wall_ms.saturating_sub(ms)),
        };
        let mut past: BTreeMap<(u64, PeerKey, u64, u64), (bytes::Bytes, u16)> = BTreeMap::new();
        for (key, log) in &group.logs {
            for entry in log.entries() {
                let header = &entry.bundle.header;
                if header.last_seq() >= log.next() {
                    break;
                }
                // Large messages of the past are whole only in a fresh join's log.
                if header.fragment.is_some() {
                    continue;
                }
                for (index, payload) in entry.bundle.messages().enumerate() {
                    let published_at = header.published_at(index);
                    if published_at >= from_wall_ms {
                        let seq = header.seq + index as u64;
                        past.insert((published_at, key.0, key.1, seq), (payload, entry.hops));
                        if past.len() > count {
                            past.pop_first();
                        }
                    }
                }
            }
        }
        for ((published_at, origin, epoch, seq), (payload, hops)) in past {
            let arrival = Arrival::Pulled;
            let next = Next::Message {
                seq,
                published_at,
                payload,
                hops,
                arrival,
            };
            self.hand_over(&name, id, origin, epoch, next);
        }
    }
}

/// Whether what follows a gap was published before a member's time, and thus the gap as well.
fn is_before(next: Option<&Next>, from_wall_ms: u64) -> bool {
    matches!(next, Some(Next::Message { published_at, .. }) if *published_at < from_wall_ms)
}
