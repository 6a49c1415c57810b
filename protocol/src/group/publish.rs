//! From the application into the own log: bundles signed, large messages cut.

use super::Group;
use crate::engine::{Engine, Stopping};
use crate::io::Event;
use crate::links::Priority;
use crate::message::{Arrival, History, MessageId, PublishError, PublishOptions};
use crate::name::{GroupId, GroupName};
use crate::status::Role;
use crate::wire::bundle::{BundleExt, FLAG_ACKNOWLEDGE, FLAG_BULK, Hash, class_of};
use crate::wire::{Bundle, BundleHeader, Fragment};
use bytes::{Bytes, BytesMut};
use hedgerow_topology::Class;
use std::collections::VecDeque;
use std::sync::Arc;

/// Messages that share a bundle, at most: their lengths stay a small part of a frame.
const TOGETHER_MAX: usize = 1_024;

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
    outbox: VecDeque<Unreleased>,
    /// Those of the same message that have been released.
    begun: Vec<Unreleased>,
}

impl OwnLog {
    /// Something was published in this epoch.
    pub(crate) fn has_released(&self) -> bool {
        self.released > 0
    }

    /// Entries wait to be released.
    pub(crate) fn has_outbox(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// The class of the entry that is released next.
    fn next_class(&self) -> Option<Class> {
        self.outbox.front().map(|next| class_of(next.flags))
    }

    fn take_next(&mut self) -> Option<Unreleased> {
        let next = self.outbox.pop_front()?;
        if self.outbox.is_empty() {
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
        let outbox: VecDeque<Unreleased> = begun.chain(self.outbox.drain(..)).collect();
        *self = Self {
            outbox,
            ..Self::default()
        };
        self.has_outbox().then_some(first)
    }
}

impl Engine {
    pub(crate) fn publish_one(
        &mut self,
        group: &GroupName,
        payload: Bytes,
        options: PublishOptions,
    ) -> Result<MessageId, PublishError> {
        let max = self.config.groups.message_bytes_max;
        if payload.len() > max {
            return Err(PublishError::TooLarge {
                bytes: payload.len(),
                max,
            });
        }
        let class = if payload.len() > self.config.groups.bulk_bytes {
            Class::Bulk
        } else {
            Class::Normal
        };
        let id = self.begin_publishing(group, class)?;
        let epoch = self.own.epoch;
        let published_at = self.now.wall_ms;
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
        let piece = self.config.groups.fragment_bytes;
        let Some(known) = self.groups.get_mut(&id) else {
            return Err(PublishError::Stopped);
        };
        known.stats.published += 1;
        let seq = known.own.released + 1;
        if payload.len() <= piece {
            known.own.outbox.push_back(Unreleased {
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
                known.own.outbox.push_back(Unreleased {
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
        let last = seq + known.own.outbox.len() as u64 - 1;
        let message = MessageId {
            origin: self.me,
            epoch,
            seq,
        };
        if acknowledge {
            self.track(id, message, last);
        }
        self.outboxes.insert(id);
        self.release_outbox(id);
        Ok(message)
    }

    /// How much of what waits to be published may share a bundle, messages and bytes: where
    /// messages come faster than they can be sent, one signature is to serve many. Larger ones
    /// are published alone.
    pub fn together_max(&self, group: &GroupName) -> (usize, usize) {
        let groups = &self.config.groups;
        let id = GroupId::new(&self.config.network, group);
        let is_mesh =
            (self.groups.get(&id)).is_some_and(|group| group.settings.values.redundancy > 1);
        // A bundle is announced or pushed as a whole: small messages of a mesh stay pushed.
        let bytes = if is_mesh {
            groups.together_bytes.min(groups.mesh_push_bytes)
        } else {
            groups.together_bytes
        };
        (TOGETHER_MAX, bytes.min(groups.fragment_bytes))
    }

    pub(crate) fn publish_batch(
        &mut self,
        group: &GroupName,
        messages: &[Bytes],
    ) -> Result<MessageId, PublishError> {
        if let [message] = messages {
            return self.publish_one(group, message.clone(), PublishOptions::default());
        }
        let bytes: usize = messages.iter().map(Bytes::len).sum();
        let max = self.config.groups.fragment_bytes;
        if bytes > max || messages.is_empty() || messages.len() > TOGETHER_MAX {
            return Err(PublishError::TooLarge { bytes, max });
        }
        let id = self.begin_publishing(group, Class::Normal)?;
        let published_at = self.now.wall_ms;
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
        known.own.outbox.push_back(Unreleased {
            payload: payload.freeze(),
            lengths: lengths.collect(),
            header_lengths: Vec::new(),
            published_at,
            flags: 0,
            fragment: None,
        });
        self.outboxes.insert(id);
        self.release_outbox(id);
        Ok(MessageId {
            origin: self.me,
            epoch: self.own.epoch,
            seq,
        })
    }

    /// Whether anything can be published now; the group it goes to.
    fn begin_publishing(
        &mut self,
        group: &GroupName,
        class: Class,
    ) -> Result<GroupId, PublishError> {
        if self.stopping.is_some() {
            return Err(PublishError::Stopped);
        }
        let id = GroupId::new(&self.config.network, group);
        if self.is_busy(id, class) {
            self.busy.insert((id, class));
            self.starved |= self.is_out_of_room();
            self.count("publishers_told_busy");
            return Err(PublishError::Busy);
        }
        self.become_sender(id, group)?;
        Ok(id)
    }

    fn become_sender(&mut self, id: GroupId, name: &GroupName) -> Result<(), PublishError> {
        if let Some(setting) = self.unsupported_setting(id, name) {
            return Err(PublishError::Unsupported { setting });
        }
        let known = self.groups.get_mut(&id);
        if let Some(group) = known.filter(|group| group.role != Role::Relay) {
            group.leaving = false;
            return Ok(());
        }
        let max = self.config.groups.groups_max;
        self.open_group(id, name, Role::Sender)
            .map_err(|_| PublishError::TooManyGroups { max })?;
        if let Some(group) = self.groups.get_mut(&id) {
            group.role = Role::Sender;
            group.leaving = false;
            group.name = Some(name.clone());
        }
        self.begin_baseline(id, History::None);
        self.tell_neighbours(id);
        self.record_changed();
        self.chooser.touch(self.now.mono);
        self.wake_at(self.now.mono);
        Ok(())
    }

    /// Whether publishing must wait: entries wait already, half of the own child links are
    /// pressed, or there is no memory for what cannot be handed over yet.
    fn is_busy(&self, id: GroupId, class: Class) -> bool {
        self.groups
            .get(&id)
            .is_some_and(|group| group.own.has_outbox())
            || self.is_pressed(id, class)
            || self.is_out_of_room()
    }

    fn is_out_of_room(&self) -> bool {
        self.ahead_bytes() >= self.config.ahead_bytes()
    }

    fn is_pressed(&self, id: GroupId, class: Class) -> bool {
        let Some(route) = self.route(id, self.me, class) else {
            return false;
        };
        let lane = Priority::of(class);
        let links = route
            .children()
            .chain(route.extra_children())
            .filter_map(|peer| self.links.get(self.up.get(&peer)?));
        let (mut all, mut pressed) = (0, 0);
        for link in links {
            all += 1;
            pressed += usize::from(link.queue.is_pressed(lane));
        }
        all > 0 && pressed * 2 >= all
    }

    /// Signs and sends what waits, as far as the links to the next peers have room.
    fn release_outbox(&mut self, id: GroupId) {
        while let Some(class) = self
            .groups
            .get(&id)
            .and_then(|group| group.own.next_class())
        {
            // Somebody is pressed, so something drains, and then it goes on.
            if self.is_pressed(id, class) {
                return;
            }
            let ext = self.bundle_ext();
            let Some(group) = self.groups.get_mut(&id) else {
                break;
            };
            let Some(bundle) = group.next_bundle(self.me, self.own.epoch, &self.keypair, ext)
            else {
                break;
            };
            self.accept_bundle(&Arc::new(bundle), 0, Arrival::Local, None);
        }
        self.outboxes.remove(&id);
    }

    pub(crate) fn release_outboxes(&mut self) {
        if self.stopping == Some(Stopping::Stopped) {
            return;
        }
        for id in self.outboxes.clone() {
            if !self.is_parted(id) {
                self.release_outbox(id);
            }
        }
    }

    /// Whether those to whom the next entry of the outbox would go are not linked now and may be
    /// again: released now, it would be kept for them from now on and perhaps let go before they
    /// are back. Until there is another view, or whoever was lost is forgotten.
    fn is_parted(&self, id: GroupId) -> bool {
        let Some(class) = (self.groups.get(&id)).and_then(|group| group.own.next_class()) else {
            return false;
        };
        let route = self.route(id, self.me, class);
        let mut next = route.iter().flat_map(|route| route.children()).peekable();
        if next.peek().is_some() {
            return !next.any(|peer| self.up.contains_key(&peer));
        }
        self.up.is_empty() && !self.view.lost.is_empty()
    }

    /// A link has room again.
    pub(crate) fn on_room(&mut self) {
        if !self.busy.is_empty() {
            self.wake_publishers();
        }
        if !self.outboxes.is_empty() {
            self.release_outboxes();
        }
    }

    /// Publishers that were told `Busy` for want of memory may go on once there is some.
    pub(crate) fn wake_starved_publishers(&mut self) {
        if self.starved && !self.is_out_of_room() {
            self.starved = false;
            self.wake_publishers();
        }
    }

    /// Publishers that were told `Busy` may go on where there is room.
    pub(crate) fn wake_publishers(&mut self) {
        self.release_outboxes();
        for (id, class) in self.busy.clone() {
            if self.is_busy(id, class) {
                continue;
            }
            self.busy.remove(&(id, class));
            if let Some(name) = self.groups.get(&id).and_then(|group| group.name.clone()) {
                self.event(Event::Sendable { group: name });
            }
        }
    }

    /// A new epoch begins after the `former` one: seqs begin anew.
    pub(crate) fn on_own_epoch_changed(&mut self, former: u64) {
        self.finished.clear();
        let epoch = self.own.epoch;
        let key = (self.me, former);
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
            self.retain(id, key);
        }
    }
}

impl Group {
    /// The next entry of the outbox as a signed bundle.
    fn next_bundle(
        &mut self,
        me: crate::identity::PeerKey,
        epoch: u64,
        keypair: &crate::identity::Keypair,
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
