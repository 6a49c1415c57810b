//! From the log to the application: in order, whole, once.

use super::LogKey;
use super::log::Next;
use crate::engine::Engine;
use crate::headers::Headers;
use crate::identity::PeerKey;
use crate::io::{Action, Event};
use crate::message::{Arrival, Delivery, History, MessageId};
use crate::name::{GroupId, GroupName};
use crate::status::Role;
use bytes::Bytes;
use std::collections::BTreeMap;

/// A retained message: time of publication by its origin's clock, length of its headers, headers
/// and content, links crossed.
type Retained = (u64, u32, Bytes, u16);

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
        let ready = log.take_ready(group.settings.values.order);
        let waits = log.ahead_bytes > 0;
        self.retain(id, key);
        if waits {
            self.look_for_unfinished(id);
        }
        let (origin, epoch) = key;
        for next in ready {
            #[cfg(feature = "planted")]
            if self.is_dropped_by_clock(id, &next) {
                continue;
            }
            self.hand_over(&name, id, origin, epoch, next);
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
                header_bytes,
                payload,
                hops,
                arrival,
            } => {
                state.stats.delivered += 1;
                let (headers, payload) = self.split_headers(header_bytes, payload);
                let id = MessageId { origin, epoch, seq };
                self.actions.push_back(Action::Deliver(Delivery {
                    group,
                    id,
                    published_at,
                    headers,
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

    /// A message's headers and its content. Headers that are none are the publisher's fault and no
    /// reason to lose the content.
    fn split_headers(&mut self, header_bytes: u32, mut message: Bytes) -> (Headers, Bytes) {
        if header_bytes == 0 {
            return (Headers::default(), message);
        }
        let headers = message.split_to(message.len().min(header_bytes as usize));
        match Headers::decode(&headers) {
            Ok(headers) => (headers, message),
            Err(error) => {
                tracing::warn!(%error, "a message's headers cannot be read");
                self.count("headers_unreadable");
                (Headers::default(), message)
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
        let (count, within_ms) = match history {
            History::None => return,
            History::Last(count) => (usize::try_from(count).unwrap_or(usize::MAX), u64::MAX),
            History::SinceMs(ms) => (usize::MAX, ms),
        };
        let clock = self.list_clock();
        let mut past: BTreeMap<(u64, PeerKey, u64, u64), Retained> = BTreeMap::new();
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
                let by = log.published_by(entry);
                for (index, payload) in entry.bundle.messages().enumerate() {
                    let published_at = header.published_at(index);
                    if log.is_within(entry, published_at, within_ms, clock) {
                        let seq = header.seq + index as u64;
                        let at = clock.listed_at(published_at, by);
                        let header_bytes = header.header_bytes(index);
                        let retained = (published_at, header_bytes, payload, entry.hops);
                        past.insert((at, key.0, key.1, seq), retained);
                        if past.len() > count {
                            past.pop_first();
                        }
                    }
                }
            }
        }
        for ((_, origin, epoch, seq), (published_at, header_bytes, payload, hops)) in past {
            let arrival = Arrival::Pulled;
            let next = Next::Message {
                seq,
                published_at,
                header_bytes,
                payload,
                hops,
                arrival,
            };
            self.hand_over(&name, id, origin, epoch, next);
        }
    }
}
