//! From the application into the own log: bundles signed, large messages cut.

use super::Group;
use crate::base::interface::Event;
use crate::base::message::{Arrival, History, MessageId, PublishError, PublishOptions};
use crate::base::name::{GroupId, GroupName};
use crate::base::status::Role;
use crate::core::Stopping;
use crate::multicast::{Cx, CxRef, Multicast};
use crate::overlay::links::Priority;
use crate::wire::bundle::{BundleExt, FLAG_ACKNOWLEDGE, FLAG_BULK, Hash, class_of};
use crate::wire::{Bundle, BundleHeader, Fragment};
use bytes::{Bytes, BytesMut};
use hedgerow_topology::Class;
use std::collections::VecDeque;
use std::sync::Arc;

/// Messages that share a bundle, at most: their lengths stay a small part of a frame.
const BATCH_MESSAGES_MAX: usize = 1_024;

/// One bundle that waits to be signed and sent.
#[derive(Clone, Debug)]
struct Unreleased {
    payload: Bytes,
    /// Of each message in the payload, with its headers.
    lengths: Vec<u32>,
    /// Of each message's headers; empty when none has any.
    header_lengths: Vec<u32>,
    published_at: u64,
    flags: u8,
    fragment: Option<Fragment>,
}

/// What this peer publishes in a group.
#[derive(Debug, Default)]
pub(crate) struct OwnLog {
    /// Entries released in this epoch.
    released: u64,
    previous: Hash,
    /// Fragments of a large message, released as the links to the next peers drain.
    unreleased: VecDeque<Unreleased>,
    /// Those of the same message that have been released.
    begun: Vec<Unreleased>,
}

impl OwnLog {
    /// Something was published in this epoch.
    pub(crate) fn has_released(&self) -> bool {
        self.released > 0
    }

    /// Entries wait to be released.
    pub(crate) fn has_unreleased(&self) -> bool {
        !self.unreleased.is_empty()
    }

    /// The class of the entry that is released next.
    fn next_class(&self) -> Option<Class> {
        self.unreleased.front().map(|next| class_of(next.flags))
    }

    fn take_next(&mut self) -> Option<Unreleased> {
        let next = self.unreleased.pop_front()?;
        if self.unreleased.is_empty() {
            self.begun.clear();
        } else {
            self.begun.push(next.clone());
        }
        Some(next)
    }

    /// Seqs begin anew, and with them the message that is going out: fragments of one message
    /// have one epoch. Gives its first seq in the epoch before, if there is such a message.
    fn begin_epoch(&mut self) -> Option<u64> {
        let first = self.released - self.begun.len() as u64 + 1;
        let begun = std::mem::take(&mut self.begun).into_iter();
        let unreleased: VecDeque<Unreleased> = begun.chain(self.unreleased.drain(..)).collect();
        *self = Self {
            unreleased,
            ..Self::default()
        };
        self.has_unreleased().then_some(first)
    }
}

impl Multicast {
    pub(crate) fn publish_one(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupName,
        payload: Bytes,
        options: PublishOptions,
    ) -> Result<MessageId, PublishError> {
        let max = cx.core.config.groups.message_bytes_max;
        if payload.len() > max {
            return Err(PublishError::TooLarge {
                bytes: payload.len(),
                max,
            });
        }
        let class = if payload.len() > cx.core.config.groups.bulk_bytes {
            Class::Bulk
        } else {
            Class::Normal
        };
        let id = self.begin_publishing(cx, group, class)?;
        let epoch = cx.net.own.epoch;
        let published_at = cx.core.now.wall_ms;
        let PublishOptions {
            acknowledge,
            headers,
        } = options;
        let headers = headers.encode();
        let header_lengths = match headers.len() {
            0 => Vec::new(),
            bytes => vec![bytes as u32],
        };
        let payload = if headers.is_empty() {
            payload
        } else {
            [&headers[..], &payload].concat().into()
        };
        let flags = if class == Class::Bulk { FLAG_BULK } else { 0 }
            | if acknowledge { FLAG_ACKNOWLEDGE } else { 0 };
        let piece = cx.core.config.groups.fragment_bytes;
        let Some(known) = self.groups.get_mut(&id) else {
            return Err(PublishError::Stopped);
        };
        known.stats.published += 1;
        let seq = known.own.released + 1;
        if payload.len() <= piece {
            known.own.unreleased.push_back(Unreleased {
                lengths: vec![payload.len() as u32],
                header_lengths,
                payload,
                published_at,
                flags,
                fragment: None,
            });
        } else {
            let count = payload.len().div_ceil(piece) as u32;
            for index in 0..count {
                let from = index as usize * piece;
                let payload = payload.slice(from..(from + piece).min(payload.len()));
                let fragment = Some(Fragment { index, count });
                known.own.unreleased.push_back(Unreleased {
                    lengths: vec![payload.len() as u32],
                    header_lengths: match index {
                        0 => header_lengths.clone(),
                        _ => Vec::new(),
                    },
                    payload,
                    published_at,
                    flags,
                    fragment,
                });
            }
        }
        let last = seq + known.own.unreleased.len() as u64 - 1;
        let message = MessageId {
            origin: cx.core.me,
            epoch,
            seq,
        };
        if acknowledge {
            self.track(cx, id, message, last);
        }
        self.releasing.insert(id);
        self.release(cx, id);
        Ok(message)
    }

    /// How much of what waits to be published may share a bundle, messages and bytes: where
    /// messages come faster than they can be sent, one signature is to serve many. Larger ones
    /// are published alone.
    pub(crate) fn batch_limits(&self, cx: CxRef<'_>, group: &GroupName) -> (usize, usize) {
        let groups = &cx.core.config.groups;
        let id = GroupId::new(&cx.core.config.network, group);
        let is_mesh =
            (self.groups.get(&id)).is_some_and(|group| group.settings.values.redundancy > 1);
        // A bundle is announced or pushed as a whole: small messages of a mesh stay pushed.
        let bytes = if is_mesh {
            groups.batch_bytes.min(groups.mesh_push_bytes)
        } else {
            groups.batch_bytes
        };
        (BATCH_MESSAGES_MAX, bytes.min(groups.fragment_bytes))
    }

    pub(crate) fn publish_batch(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupName,
        messages: &[Bytes],
    ) -> Result<MessageId, PublishError> {
        if let [message] = messages {
            return self.publish_one(cx, group, message.clone(), PublishOptions::default());
        }
        let bytes: usize = messages.iter().map(Bytes::len).sum();
        let max = cx.core.config.groups.fragment_bytes;
        if bytes > max || messages.is_empty() || messages.len() > BATCH_MESSAGES_MAX {
            return Err(PublishError::TooLarge { bytes, max });
        }
        let id = self.begin_publishing(cx, group, Class::Normal)?;
        let published_at = cx.core.now.wall_ms;
        let mut payload = BytesMut::with_capacity(bytes);
        for message in messages {
            payload.extend_from_slice(message);
        }
        let lengths = messages.iter().map(|message| message.len() as u32);
        let Some(known) = self.groups.get_mut(&id) else {
            return Err(PublishError::Stopped);
        };
        known.stats.published += messages.len() as u64;
        let seq = known.own.released + 1;
        known.own.unreleased.push_back(Unreleased {
            payload: payload.freeze(),
            lengths: lengths.collect(),
            header_lengths: Vec::new(),
            published_at,
            flags: 0,
            fragment: None,
        });
        self.releasing.insert(id);
        self.release(cx, id);
        Ok(MessageId {
            origin: cx.core.me,
            epoch: cx.net.own.epoch,
            seq,
        })
    }

    /// Whether anything can be published now; the group it goes to.
    fn begin_publishing(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupName,
        class: Class,
    ) -> Result<GroupId, PublishError> {
        if cx.core.stopping.is_some() {
            return Err(PublishError::Stopped);
        }
        let id = GroupId::new(&cx.core.config.network, group);
        if self.is_busy(cx.as_ref(), id, class) {
            self.busy.insert((id, class));
            self.starved |= self.is_out_of_room(cx.as_ref());
            cx.core.count("publishers_told_busy");
            return Err(PublishError::Busy);
        }
        self.become_sender(cx, id, group)?;
        Ok(id)
    }

    fn become_sender(
        &mut self,
        cx: &mut Cx<'_>,
        id: GroupId,
        name: &GroupName,
    ) -> Result<(), PublishError> {
        if let Some(setting) = self.unsupported_setting(cx.as_ref(), id, name) {
            return Err(PublishError::Unsupported { setting });
        }
        let known = self.groups.get_mut(&id);
        if let Some(group) = known.filter(|group| group.role != Role::Relay) {
            group.leaving = false;
            return Ok(());
        }
        let max = cx.core.config.groups.groups_max;
        self.open_group(cx.as_ref(), id, name, Role::Sender)
            .map_err(|_| PublishError::TooManyGroups { max })?;
        if let Some(group) = self.groups.get_mut(&id) {
            group.role = Role::Sender;
            group.leaving = false;
            group.name = Some(name.clone());
        }
        self.begin_baseline(cx, id, History::None);
        self.tell_neighbours(cx, id);
        cx.net.record_changed();
        cx.net.chooser.touch(cx.core.now.mono);
        cx.core.wake_at(cx.core.now.mono);
        Ok(())
    }

    /// Whether publishing must wait: entries wait already, half of the own child links are
    /// congested, or there is no memory for what cannot be handed over yet.
    fn is_busy(&self, cx: CxRef<'_>, id: GroupId, class: Class) -> bool {
        self.groups
            .get(&id)
            .is_some_and(|group| group.own.has_unreleased())
            || self.is_congested(cx, id, class)
            || self.is_out_of_room(cx)
    }

    fn is_out_of_room(&self, cx: CxRef<'_>) -> bool {
        self.ahead_bytes() >= cx.core.config.ahead_bytes()
    }

    fn is_congested(&self, cx: CxRef<'_>, id: GroupId, class: Class) -> bool {
        let Some(route) = self.route(cx, id, cx.core.me, class) else {
            return false;
        };
        let lane = Priority::of(class);
        let links = route
            .children()
            .chain(route.extra_children())
            .filter_map(|peer| cx.net.links.get(cx.net.up.get(&peer)?));
        let (mut all, mut congested) = (0, 0);
        for link in links {
            all += 1;
            congested += usize::from(link.queue.is_congested(lane));
        }
        all > 0 && congested * 2 >= all
    }

    /// Signs and sends what waits, as far as the links to the next peers have room.
    fn release(&mut self, cx: &mut Cx<'_>, id: GroupId) {
        while let Some(class) = self
            .groups
            .get(&id)
            .and_then(|group| group.own.next_class())
        {
            // Somebody is congested, so something drains, and then it goes on.
            if self.is_congested(cx.as_ref(), id, class) {
                return;
            }
            let ext = cx.core.bundle_ext();
            let Some(group) = self.groups.get_mut(&id) else {
                break;
            };
            let Some(bundle) =
                group.next_bundle(cx.core.me, cx.net.own.epoch, &cx.core.keypair, ext)
            else {
                break;
            };
            self.accept_bundle(cx, &Arc::new(bundle), 0, Arrival::Local, None);
        }
        self.releasing.remove(&id);
    }

    pub(crate) fn release_all(&mut self, cx: &mut Cx<'_>) {
        if cx.core.stopping == Some(Stopping::Stopped) {
            return;
        }
        for id in self.releasing.clone() {
            if !self.next_hops_disconnected(cx.as_ref(), id) {
                self.release(cx, id);
            }
        }
    }

    /// Whether those to whom the next entry of the unreleased would go are not linked now and may be
    /// again: released now, it would be kept for them from now on and perhaps let go before they
    /// are back. Until there is another view, or whoever was lost is forgotten.
    fn next_hops_disconnected(&self, cx: CxRef<'_>, id: GroupId) -> bool {
        let Some(class) = (self.groups.get(&id)).and_then(|group| group.own.next_class()) else {
            return false;
        };
        let route = self.route(cx, id, cx.core.me, class);
        let mut next = route.iter().flat_map(|route| route.children()).peekable();
        if next.peek().is_some() {
            return !next.any(|peer| cx.net.up.contains_key(&peer));
        }
        cx.net.up.is_empty() && !cx.net.view.lost.is_empty()
    }

    /// A link has room again.
    pub(crate) fn on_room(&mut self, cx: &mut Cx<'_>) {
        if !self.busy.is_empty() {
            self.wake_publishers(cx);
        }
        if !self.releasing.is_empty() {
            self.release_all(cx);
        }
    }

    /// Publishers that were told `Busy` for want of memory may go on once there is some.
    pub(crate) fn wake_starved_publishers(&mut self, cx: &mut Cx<'_>) {
        if self.starved && !self.is_out_of_room(cx.as_ref()) {
            self.starved = false;
            self.wake_publishers(cx);
        }
    }

    /// Publishers that were told `Busy` may go on where there is room.
    pub(crate) fn wake_publishers(&mut self, cx: &mut Cx<'_>) {
        self.release_all(cx);
        for (id, class) in self.busy.clone() {
            if self.is_busy(cx.as_ref(), id, class) {
                continue;
            }
            self.busy.remove(&(id, class));
            if let Some(name) = self.groups.get(&id).and_then(|group| group.name.clone()) {
                cx.core.event(Event::Sendable { group: name });
            }
        }
    }

    /// A new epoch begins after the `former` one: seqs begin anew.
    pub(crate) fn on_own_epoch_changed(&mut self, cx: &mut Cx<'_>, former: u64) {
        self.finished.clear();
        let epoch = cx.net.own.epoch;
        let key = (cx.core.me, former);
        let ids: Vec<GroupId> = self.groups.keys().copied().collect();
        for id in ids {
            let Some(group) = self.groups.get_mut(&id) else {
                continue;
            };
            let Some(first) = group.own.begin_epoch() else {
                continue;
            };
            tracing::warn!(group = ?id, former, epoch, seq = first, "a large message begins anew");
            group.tracking.restart((former, first), epoch);
            // What went out of it will never be whole, and must not wait for the rest.
            if let Some(log) = group.logs.get_mut(&key) {
                log.hand_over(first, log.high());
            }
            self.retain(cx, id, key);
        }
    }
}

impl Group {
    /// The next entry of the unreleased as a signed bundle.
    fn next_bundle(
        &mut self,
        me: crate::base::identity::PeerKey,
        epoch: u64,
        keypair: &crate::base::identity::Keypair,
        ext: BundleExt,
    ) -> Option<Bundle> {
        let Unreleased {
            payload,
            lengths,
            header_lengths,
            published_at,
            flags,
            fragment,
        } = self.own.take_next()?;
        let seq = self.own.released + 1;
        self.own.released += lengths.len() as u64;
        let header = BundleHeader {
            group: self.id,
            origin: me,
            epoch,
            seq,
            flags,
            published_at,
            lengths,
            header_lengths,
            delays: Vec::new(),
            fragment,
            previous: self.own.previous,
            payload_hash: [0; 32],
            ext,
        };
        let bundle = Bundle::sign(header, payload, keypair);
        self.own.previous = bundle.hash;
        Some(bundle)
    }
}
