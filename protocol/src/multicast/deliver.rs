//! From the log to the application: in order, whole, once.

use super::LogKey;
use super::log::Next;
use crate::base::headers::Headers;
use crate::base::identity::PeerKey;
use crate::base::interface::{Action, Event};
use crate::base::message::{Arrival, Delivery, History, MessageId};
use crate::base::name::{GroupId, GroupName};
use crate::base::status::Role;
use crate::multicast::{Cx, Multicast, MulticastEvent};
use bytes::Bytes;
use std::collections::BTreeMap;

/// A retained message: time of publication by its origin's clock, length of its headers, headers
/// and content, links crossed.
type Retained = (u64, u32, Bytes, u16);

impl Multicast {
    /// Hands over what is ready in every log of a group.
    pub(crate) fn deliver(&mut self, cx: &mut Cx<'_>, id: GroupId) {
        let Some(group) = self.groups.get(&id) else {
            return;
        };
        for key in group.logs.keys().copied().collect::<Vec<_>>() {
            self.take_ready(cx, id, key);
        }
        self.tell_handed_over(id);
        self.trim_retention(cx, id);
    }

    /// The same for one log.
    pub(crate) fn deliver_log(&mut self, cx: &mut Cx<'_>, id: GroupId, key: LogKey) {
        self.take_ready(cx, id, key);
        self.tell_handed_over(id);
        self.trim_retention(cx, id);
    }

    fn tell_handed_over(&mut self, group: GroupId) {
        if self.watched.contains(&group) {
            self.events.push_back(MulticastEvent::HandedOver { group });
        }
    }

    pub(super) fn take_ready(&mut self, cx: &mut Cx<'_>, id: GroupId, key: LogKey) {
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        let Some(log) = group.logs.get_mut(&key) else {
            return;
        };
        if !group.delivering || group.role != Role::Member {
            log.skip_ready();
            return self.retain(cx, id, key);
        }
        if !group.baseline.is_taken() {
            return;
        }
        let Some(name) = group.name.clone() else {
            return;
        };
        let ready = log.take_ready(group.settings.values.order);
        let waits = log.ahead_bytes > 0;
        self.retain(cx, id, key);
        if waits {
            self.look_for_abandoned(cx, id);
        }
        let (origin, epoch) = key;
        for next in ready {
            #[cfg(feature = "planted")]
            if self.is_dropped_by_clock(cx.as_ref(), id, &next) {
                continue;
            }
            self.hand_over(cx, &name, id, origin, epoch, next);
        }
    }

    pub(super) fn hand_over(
        &mut self,
        cx: &mut Cx<'_>,
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
                let (headers, payload) = Self::split_headers(cx, header_bytes, payload);
                let id = MessageId { origin, epoch, seq };
                cx.core.actions.push_back(Action::Deliver(Delivery {
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
                cx.core.event(Event::Gap {
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
    fn split_headers(cx: &mut Cx<'_>, header_bytes: u32, mut message: Bytes) -> (Headers, Bytes) {
        if header_bytes == 0 {
            return (Headers::default(), message);
        }
        let headers = message.split_to(message.len().min(header_bytes as usize));
        match Headers::decode(&headers) {
            Ok(headers) => (headers, message),
            Err(error) => {
                tracing::warn!(%error, "a message's headers cannot be read");
                cx.core.count(counter!("headers_unreadable"));
                (Headers::default(), message)
            }
        }
    }

    /// Hands over retained messages that the application was not there for.
    pub(crate) fn deliver_history(&mut self, cx: &mut Cx<'_>, id: GroupId, history: History) {
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
        let clock = Self::list_clock(cx.as_ref());
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
            self.hand_over(cx, &name, id, origin, epoch, next);
        }
    }
}
