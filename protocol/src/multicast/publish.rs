//! From the application into the own log: messages share bundles, large ones are cut.
//!
//! [`batch`] says what shares a bundle and waits for how long, [`own_log`] numbers and signs.

mod batch;
mod own_log;

pub(crate) use own_log::OwnLog;

use crate::base::interface::{Action, Event, LinkId};
use crate::base::message::{Arrival, History, MessageId, PublishError, PublishOptions, Published};
use crate::base::name::{GroupId, GroupName};
use crate::base::status::Role;
use crate::base::time::Micros;
use crate::core::Stopping;
use crate::multicast::{Cx, CxRef, Group, Multicast, MulticastEvent};
use crate::overlay::Overlay;
use crate::overlay::links::{Link, Priority};
use crate::wire::Fragment;
use crate::wire::bundle::{FLAG_ACKNOWLEDGE, FLAG_BULK};
use bytes::Bytes;
use hedgerow_topology::Class;
use own_log::Unreleased;
use std::sync::Arc;

impl Multicast {
    /// Takes one message; gives its name.
    pub(crate) fn publish_one(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupName,
        payload: Bytes,
        options: PublishOptions,
    ) -> Result<MessageId, PublishError> {
        let id = GroupId::new(&cx.core.config.network, group);
        let plain = !options.acknowledge && options.headers.is_empty();
        let seq = if plain {
            self.take_message(cx, (id, group), &payload, false)?
        } else {
            self.take_alone(cx, (id, group), payload, options)?
        };
        self.release_or_wait(cx, id);
        Ok(message_id(cx, seq))
    }

    /// Takes messages in order until one is refused; gives the name of the first, and how many were
    /// taken. An error says why the first was refused.
    pub(crate) fn publish_many(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupName,
        messages: &[Bytes],
    ) -> Result<Published, PublishError> {
        let id = GroupId::new(&cx.core.config.network, group);
        let mut first = None;
        let mut count = 0;
        let piece = cx.core.config.groups.fragment_bytes;
        while let Some(message) = messages.get(count) {
            // It takes more than one seq.
            if count > 0 && message.len() > piece {
                break;
            }
            match self.take_message(cx, (id, group), message, count > 0) {
                Ok(seq) => _ = first.get_or_insert(seq),
                Err(error) if count == 0 => return Err(error),
                Err(_) => break,
            }
            count += 1;
            if message.len() > piece {
                break;
            }
            count += self.take_what_fits(cx, id, &messages[count..]);
        }
        self.release_or_wait(cx, id);
        let first = first.unwrap_or_else(|| self.next_seq(id));
        Ok(Published {
            first: message_id(cx, first),
            count,
        })
    }

    fn next_seq(&self, id: GroupId) -> u64 {
        self.groups.get(&id).map_or(1, |group| group.own.next_seq())
    }

    /// Takes the next messages as far as they share a bundle with those before; gives how many. Whoever
    /// publishes them may, and most messages of a busy publisher come this way.
    fn take_what_fits(&mut self, cx: &Cx<'_>, id: GroupId, messages: &[Bytes]) -> usize {
        let bytes_max = self.batch_bytes_max(cx.as_ref(), id);
        let one_max = bytes_max.min(cx.core.config.groups.bulk_bytes);
        let wall_ms = cx.core.now.wall_ms;
        let known = self.groups.get_mut(&id);
        let Some(group) = known.filter(|group| !group.own.batch.is_empty()) else {
            return 0;
        };
        let batch = &mut group.own.batch;
        let mut taken = 0;
        for message in messages {
            if message.len() > one_max || !batch.fits(message.len(), bytes_max) {
                break;
            }
            batch.push(message.clone(), wall_ms);
            taken += 1;
        }
        group.stats.published += taken as u64;
        taken
    }

    /// Takes a message that has neither headers nor a wish; gives its seq. Whoever `goes_on` was
    /// allowed to publish a moment ago, and is asked again only where another bundle begins.
    fn take_message(
        &mut self,
        cx: &mut Cx<'_>,
        (id, name): (GroupId, &GroupName),
        message: &Bytes,
        goes_on: bool,
    ) -> Result<u64, PublishError> {
        let bytes_max = self.batch_bytes_max(cx.as_ref(), id);
        let fits = |group: &Group| group.own.batch.fits(message.len(), bytes_max);
        let fits = self.groups.get(&id).is_none_or(fits);
        if message.len() > bytes_max.min(cx.core.config.groups.bulk_bytes) {
            return self.take_alone(cx, (id, name), message.clone(), PublishOptions::default());
        }
        if !fits {
            self.close_batch(cx, id);
        }
        if !goes_on || !fits {
            self.begin_publishing(cx, id, name, Class::Normal)?;
        }
        let wall_ms = cx.core.now.wall_ms;
        let Some(known) = self.groups.get_mut(&id) else {
            return Err(PublishError::Stopped);
        };
        let seq = known.own.next_seq();
        known.own.batch.push(message.clone(), wall_ms);
        known.stats.published += 1;
        Ok(seq)
    }

    /// Takes a message that shares no bundle with others; gives its seq, that of its first fragment.
    fn take_alone(
        &mut self,
        cx: &mut Cx<'_>,
        (id, name): (GroupId, &GroupName),
        payload: Bytes,
        options: PublishOptions,
    ) -> Result<u64, PublishError> {
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
        self.close_batch(cx, id);
        self.begin_publishing(cx, id, name, class)?;
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
        let seq = known.own.next_seq();
        if payload.len() <= piece {
            known.own.push(Unreleased {
                lengths: vec![payload.len() as u32],
                header_lengths,
                payload,
                published_at,
                delays: Vec::new(),
                flags,
                fragment: None,
            });
        } else {
            let count = payload.len().div_ceil(piece) as u32;
            for index in 0..count {
                let from = index as usize * piece;
                let payload = payload.slice(from..(from + piece).min(payload.len()));
                let fragment = Some(Fragment { index, count });
                known.own.push(Unreleased {
                    lengths: vec![payload.len() as u32],
                    header_lengths: match index {
                        0 => header_lengths.clone(),
                        _ => Vec::new(),
                    },
                    payload,
                    published_at,
                    delays: Vec::new(),
                    flags,
                    fragment,
                });
            }
        }
        let last = known.own.next_seq() - 1;
        if acknowledge {
            self.events.push_back(MulticastEvent::Published {
                group: id,
                message: message_id(cx, seq),
                last,
            });
        }
        self.release(cx, id);
        Ok(seq)
    }

    /// How many bytes of messages may share a bundle.
    fn batch_bytes_max(&self, cx: CxRef<'_>, id: GroupId) -> usize {
        let groups = &cx.core.config.groups;
        let is_mesh =
            (self.groups.get(&id)).is_some_and(|group| group.settings.values.redundancy > 1);
        // A bundle is announced or pushed as a whole: small messages of a mesh stay pushed.
        let bytes = if is_mesh {
            groups.batch_bytes.min(groups.mesh_push_bytes)
        } else {
            groups.batch_bytes
        };
        bytes.min(groups.fragment_bytes)
    }

    /// What waits to share a bundle goes, unless the last bundle is still being written to half of
    /// the next peers. Then the transport is asked to tell when it has been.
    fn release_or_wait(&mut self, cx: &mut Cx<'_>, id: GroupId) {
        let now = cx.core.now.mono;
        let group = self.groups.get_mut(&id);
        let Some(group) = group.filter(|group| !group.own.batch.is_empty()) else {
            self.batching.remove(&id);
            return;
        };
        let net: &Overlay = cx.net;
        let is_writing = |link| net.link(link).is_some_and(Link::is_writing);
        if !group.own.carriers.are_writing(now, is_writing) {
            return self.close_batch(cx, id);
        }
        for link in group.own.carriers.ask() {
            let link = *link;
            cx.core.actions.push_back(Action::AwaitWritten { link });
        }
        if self.batching.insert(id) {
            cx.core.wake_at(group.own.carriers.until());
        }
    }

    /// A bundle of this peer was handed to a link.
    pub(crate) fn note_carrier(&mut self, cx: CxRef<'_>, id: GroupId, link: LinkId) {
        if let Some(group) = self.groups.get_mut(&id) {
            group.own.carriers.add(link, cx.core.now.mono);
        }
    }

    /// A link has written: what waited for it may go.
    pub(crate) fn on_written(&mut self, cx: &mut Cx<'_>, link: LinkId) {
        for id in self.batching.clone() {
            let carries = |group: &Group| group.own.carriers.carries(link);
            if self.groups.get(&id).is_some_and(carries) {
                self.release_or_wait(cx, id);
            }
        }
    }

    /// When something that waits to share a bundle has waited for long enough.
    pub(crate) fn batches_due(&self) -> Option<Micros> {
        let groups = self.batching.iter().filter_map(|id| self.groups.get(id));
        groups.map(|group| group.own.carriers.until()).min()
    }

    pub(crate) fn on_batches_timeout(&mut self, cx: &mut Cx<'_>) {
        for id in self.batching.clone() {
            self.release_or_wait(cx, id);
        }
    }

    /// What waits to share a bundle waits no longer.
    pub(crate) fn close_batches(&mut self, cx: &mut Cx<'_>) {
        for id in self.batching.clone() {
            self.close_batch(cx, id);
        }
    }

    pub(crate) fn close_batch(&mut self, cx: &mut Cx<'_>, id: GroupId) {
        self.batching.remove(&id);
        if let Some(group) = self.groups.get_mut(&id) {
            group.own.close_batch();
            self.release(cx, id);
        }
    }

    /// Whether anything can be published now. This peer becomes a sender where it is nothing yet.
    fn begin_publishing(
        &mut self,
        cx: &mut Cx<'_>,
        id: GroupId,
        name: &GroupName,
        class: Class,
    ) -> Result<(), PublishError> {
        if cx.core.stopping.is_some() {
            return Err(PublishError::Stopped);
        }
        if self.is_busy(cx.as_ref(), id, class) {
            self.busy.insert((id, class), name.clone());
            self.starved |= self.is_out_of_room(cx.as_ref());
            cx.core.count(counter!("publishers_told_busy"));
            return Err(PublishError::Busy);
        }
        self.become_sender(cx, id, name)
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
        cx.net.reconsider_links(cx.core);
        cx.core.wake_at(cx.core.now.mono);
        Ok(())
    }

    /// Whether publishing must wait: entries wait already, half of the own child links are
    /// congested, or there is no memory for what cannot be handed over yet.
    fn is_busy(&self, cx: CxRef<'_>, id: GroupId, class: Class) -> bool {
        self.groups
            .get(&id)
            .is_some_and(|group| group.own.is_behind())
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
            .filter_map(|peer| cx.net.link(cx.net.link_to(peer)?));
        let (mut all, mut congested) = (0, 0);
        for link in links {
            all += 1;
            congested += usize::from(link.is_congested(lane));
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
                self.releasing.insert(id);
                return;
            }
            let ext = cx.core.bundle_ext();
            let Some(group) = self.groups.get_mut(&id) else {
                break;
            };
            let origin = (cx.core.me, cx.net.epoch());
            let Some(bundle) = group.own.next_bundle(id, origin, &cx.core.keypair, ext) else {
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

    /// Whether those to whom what waits would go are not linked now and may be
    /// again: released now, it would be kept for them from now on and perhaps let go before they
    /// are back. Until there is another view, or whoever was lost is forgotten.
    fn next_hops_disconnected(&self, cx: CxRef<'_>, id: GroupId) -> bool {
        let Some(class) = (self.groups.get(&id)).and_then(|group| group.own.next_class()) else {
            return false;
        };
        let route = self.route(cx, id, cx.core.me, class);
        let mut next = route.iter().flat_map(|route| route.children()).peekable();
        if next.peek().is_some() {
            return !next.any(|peer| cx.net.is_linked(peer));
        }
        !cx.net.has_links() && cx.net.remembers_lost()
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
        for ((id, class), group) in self.busy.clone() {
            if self.is_busy(cx.as_ref(), id, class) {
                continue;
            }
            self.busy.remove(&(id, class));
            // By the name that was refused: the group may not be open yet.
            cx.core.event(Event::Sendable { group });
        }
    }

    /// A new epoch begins after the `former` one: seqs begin anew.
    pub(crate) fn on_own_epoch_changed(&mut self, cx: &mut Cx<'_>, former: u64) {
        self.finished.clear();
        let epoch = cx.net.epoch();
        let key = (cx.core.me, former);
        let ids: Vec<GroupId> = self.groups.keys().copied().collect();
        for id in ids {
            let Some(group) = self.groups.get_mut(&id) else {
                continue;
            };
            let restarted = group.own.begin_epoch();
            for (seq, first) in restarted.tracked {
                self.events.push_back(MulticastEvent::Renumbered {
                    group: id,
                    former: (former, seq),
                    now: (epoch, first),
                });
            }
            let Some(cut) = restarted.cut else {
                continue;
            };
            tracing::warn!(group = ?id, former, epoch, seq = cut, "a large message begins anew");
            // What went out of it will never be whole, and must not wait for the rest.
            if let Some(log) = group.logs.get_mut(&key) {
                log.hand_over(cut, log.high());
            }
            self.retain(cx, id, key);
        }
    }
}

/// Names what this peer publishes under a seq.
fn message_id(cx: &Cx<'_>, seq: u64) -> MessageId {
    MessageId {
        origin: cx.core.me,
        epoch: cx.net.epoch(),
        seq,
    }
}

#[cfg(test)]
mod tests;
