//! A bundle comes in: is it new, and, once it is known to be its origin's, everything that follows.

use super::log::Entry;
use super::{Group, LogKey, OriginLog, PendingAnnouncement};
use crate::access::{Resource, Verb};
use crate::base::interface::LinkId;
use crate::base::message::Arrival;
use crate::base::name::GroupId;
use crate::base::status::Role;
use crate::multicast::{Cx, CxRef, Multicast, MulticastEvent};
use crate::wire::bundle;
use crate::wire::frame::BundleFrame;
use crate::wire::{Bundle, BundleHeader};
use bytes::Bytes;
use hedgerow_topology::Class;
use std::sync::Arc;

/// Links that a bundle may have crossed.
const HOPS_MAX: u16 = 1_024;

impl Multicast {
    pub(crate) fn on_bundle(
        &mut self,
        cx: &mut Cx<'_>,
        from: LinkId,
        frame: BundleFrame,
        payload: Bytes,
    ) {
        let BundleFrame {
            hops,
            pulled,
            signed,
            signature,
        } = frame;
        if !bundle::fits(signed.len(), payload.len()) {
            // Every peer refuses it, so it ends here; an honest one never passes it on.
            return cx.core.count(counter!("bundles_oversized"));
        }
        let bundle = match Bundle::decode(signed, signature, payload) {
            Ok(bundle) => bundle,
            Err(error) => return cx.net.on_malformed(cx.core, from, &error),
        };
        if let Some(link) = cx.net.link_mut(from) {
            link.note_bundle_received(cx.core.now.mono);
            if pulled {
                link.grow_pull_budget(bundle.payload.len(), cx.core.config.groups.pull_bytes);
            }
        }
        if pulled && let Some(remote) = self.remote_mut(from, bundle.header.group) {
            // It has answered, whether or not this peer's own limits let it take the answer.
            remote.failures = 0;
        }
        if hops > HOPS_MAX || !self.may_receive(cx, &bundle) {
            return;
        }
        let header = &bundle.header;
        let id = header.group;
        let key = (header.origin, header.epoch);
        let (first, last) = (header.seq, header.last_seq());
        self.make_room_for_names(cx, from, id);
        if let Some(remote) = self.remote_mut(from, id) {
            remote.has(key, first, last);
        }
        if pulled {
            self.on_served(cx, from, &bundle);
        }
        let Some(group) = self.groups.get_mut(&id) else {
            // To be relayed, if it is what it claims to be.
            return self.verify_bundle(cx, from, bundle, hops, pulled, false);
        };
        group.stats.copies += 1;
        let held = group
            .logs
            .get(&key)
            .filter(|log| log.is_settled(first, last));
        if let Some(log) = held {
            let other = log
                .entry(first)
                .filter(|entry| entry.bundle.hash != bundle.hash);
            if other.is_some() {
                self.verify_bundle(cx, from, bundle, hops, pulled, true);
            } else if !pulled {
                self.forgive_late(cx, from, &bundle);
            }
            return cx.core.count(counter!("bundles_duplicate"));
        }
        if last <= group.past.high(key) {
            return cx.core.count(counter!("bundles_duplicate"));
        }
        if !self.has_room(cx.as_ref(), id, key, &bundle) {
            if !pulled {
                self.note_refused(cx.as_ref(), &bundle);
            }
            self.ask_for_floors(cx, id, key, &bundle);
            return cx.core.count(counter!("bundles_without_room"));
        }
        if self.has_too_many_holes(id, key, &bundle) {
            if !pulled {
                self.note_refused(cx.as_ref(), &bundle);
            }
            return cx.core.count(counter!("bundles_with_holes"));
        }
        self.verify_bundle(cx, from, bundle, hops, pulled, false);
    }

    /// Whether this peer has any business with the bundle: in the group, or as its relay.
    fn may_receive(&mut self, cx: &mut Cx<'_>, bundle: &Bundle) -> bool {
        let header = &bundle.header;
        if Self::is_cut_off(cx.as_ref(), (header.origin, header.epoch)) {
            cx.core.count(counter!("bundles_of_cut_off"));
            return false;
        }
        if header.origin == cx.core.me && header.epoch == cx.net.epoch() {
            // A message never goes back where it came from; should one, it is not taken.
            cx.core.count(counter!("bundles_own_returned"));
            return false;
        }
        if !(cx.core).allows(header.origin, Verb::Publish, Resource::Group(header.group)) {
            cx.core.count(counter!("access_bundles_refused"));
            return false;
        }
        if let Some(fragment) = header.fragment
            && fragment.index + 1 < fragment.count
            && u64::from(fragment.count - 1) * bundle.payload.len() as u64
                > cx.core.config.groups.message_bytes_max as u64
                    + u64::from(bundle::MESSAGE_HEADERS_BYTES_MAX)
        {
            cx.core.count(counter!("messages_oversized"));
            return false;
        }
        self.groups.contains_key(&header.group) || self.may_relay(cx)
    }

    /// Whether there is room for one more group to relay for.
    fn may_relay(&mut self, cx: &mut Cx<'_>) -> bool {
        let groups = self.groups.values();
        let relayed = groups.filter(|group| group.role == Role::Relay).count();
        let has_room = relayed < cx.core.config.groups.relayed_max;
        if !has_room {
            cx.core.count(counter!("relays_refused"));
        }
        has_room
    }

    /// A verified bundle of a group that nobody here is in: it is to be passed on.
    fn open_relay(&mut self, cx: &mut Cx<'_>, id: GroupId) {
        tracing::debug!(group = ?id, "relaying");
        let name = cx.net.group_name(id).cloned();
        let mut group = Group::new(
            id,
            name.clone(),
            Role::Relay,
            cx.core.config.groups.grace_ms,
        );
        if let Some(name) = &name {
            group.settings = Self::settings_in_records(cx.as_ref(), name);
        }
        group.stats.copies = 1;
        self.insert_group(group);
        self.tell_neighbours(cx, id);
    }

    /// Whether the bundle lies within the window and memory that its origin may use.
    fn has_room(&self, cx: CxRef<'_>, id: GroupId, key: LogKey, bundle: &Bundle) -> bool {
        let limits = &cx.core.config.groups;
        let Some(group) = self.groups.get(&id) else {
            return false;
        };
        let ahead = group.logs.get(&key).map_or(0, |log| log.ahead_bytes);
        let settled = self.settled_for(cx, id, key, &bundle.header);
        let would_be = ahead + bundle.weight();
        // What comes next in line lets the rest go: it has room for one more message.
        let is_next = bundle.header.seq <= settled + 1;
        let one_more = limits.ahead_bytes_max + cx.core.config.message_weight_max();
        let fits = would_be <= limits.ahead_bytes_max || is_next && would_be <= one_more;
        let in_window = bundle.header.last_seq() <= settled.saturating_add(limits.window);
        let in_all = self.ahead_bytes() + bundle.weight();
        let fits_in_all = in_all <= cx.core.config.ahead_bytes()
            || is_next && in_all <= cx.core.config.memory().ahead && self.is_farthest_ahead(ahead);
        in_window && fits && fits_in_all
    }

    /// Up to where a log is settled when the bundle comes in.
    ///
    /// Beyond the window that is not where the log stands: whoever meets an origin late, or was
    /// away for long, begins where it can. A relay has no use for the past. A member begins at the
    /// first entry that a neighbour can serve, once one has told; what lies before is lost.
    fn settled_for(&self, cx: CxRef<'_>, id: GroupId, key: LogKey, header: &BundleHeader) -> u64 {
        let Some(group) = self.groups.get(&id) else {
            return 0;
        };
        let log = group.logs.get(&key);
        let settled = log.map_or_else(|| group.past.high(key), OriginLog::settled);
        if header.last_seq() <= settled.saturating_add(cx.core.config.groups.window) {
            settled
        } else if group.role == Role::Relay {
            header.seq - 1
        } else {
            let first = self.first_to_be_had(cx, id, key, settled);
            first.map_or(settled, |first| settled.max(first - 1))
        }
    }

    /// The first entry after `settled` that a neighbour can serve, once one has told what it holds.
    pub(super) fn first_to_be_had(
        &self,
        cx: CxRef<'_>,
        id: GroupId,
        key: LogKey,
        settled: u64,
    ) -> Option<u64> {
        let now = cx.core.now.mono;
        let remotes = (self.group_links(cx, id))
            .filter_map(|(_, link)| self.remotes.get(link, id))
            .filter(|remote| !remote.is_ignored(now));
        let (mut first, mut has_told) = (None::<u64>, false);
        for remote in remotes {
            has_told |= remote.stated.contains_key(&key);
            let Some(theirs) = remote.logs.get(&key) else {
                continue;
            };
            if let Some(from) = theirs.can_serve(settled + 1, u64::MAX).first() {
                first = Some(first.map_or(from, |first| first.min(from)));
            }
        }
        first.filter(|_| has_told)
    }

    /// What comes lies beyond the window: only neighbours know from where on it can be had.
    fn ask_for_floors(&mut self, cx: &mut Cx<'_>, id: GroupId, key: LogKey, bundle: &Bundle) {
        let settled = self.settled_for(cx.as_ref(), id, key, &bundle.header);
        if bundle.header.last_seq() > settled.saturating_add(cx.core.config.groups.window) {
            let links: Vec<LinkId> = self
                .group_links(cx.as_ref(), id)
                .map(|(_, link)| link)
                .collect();
            self.ask_digests(cx, id, &links);
        }
    }

    /// Whether the bundle would open one hole too many in its origin's log. What is missing before it
    /// is mended first; then it is pulled.
    fn has_too_many_holes(&self, id: GroupId, key: LogKey, bundle: &Bundle) -> bool {
        let log = self.groups.get(&id).and_then(|group| group.logs.get(&key));
        let header = &bundle.header;
        log.is_some_and(|log| log.has_too_many_holes_for(header.seq, header.last_seq()))
    }

    /// Whether no log holds more than `ahead` bytes that it cannot hand over: where all are
    /// stuck, one must get on.
    fn is_farthest_ahead(&self, ahead: usize) -> bool {
        let mut logs = (self.groups.values()).flat_map(|group| group.logs.values());
        logs.all(|log| log.ahead_bytes <= ahead)
    }

    /// A verified bundle: keep it, pass it on, hand it over.
    pub(crate) fn accept_bundle(
        &mut self,
        cx: &mut Cx<'_>,
        bundle: &Arc<Bundle>,
        hops: u16,
        arrival: Arrival,
        from: Option<LinkId>,
    ) {
        let now = cx.core.now.mono;
        let header = &bundle.header;
        let (id, key) = (header.group, (header.origin, header.epoch));
        cx.core
            .count_unknown_fields(header.ext.unknown_to(cx.core.knows_next()));
        if !self.groups.contains_key(&id) {
            if !self.may_relay(cx) {
                return;
            }
            self.open_relay(cx, id);
        }
        let relay = self
            .groups
            .get(&id)
            .is_some_and(|group| group.role == Role::Relay);
        let fresh = self
            .groups
            .get(&id)
            .is_some_and(|group| !group.logs.contains_key(&key));
        if arrival != Arrival::Local && !self.has_room(cx.as_ref(), id, key, bundle) {
            return cx.core.count(counter!("bundles_without_room"));
        }
        if self.has_too_many_holes(id, key, bundle) {
            return cx.core.count(counter!("bundles_with_holes"));
        }
        let point = self.settled_for(cx.as_ref(), id, key, header);
        let Some(log) = self.log_mut(cx, id, key) else {
            return self.refuse_bundle(cx, id, bundle, from);
        };
        let is_beyond = point > log.settled();
        if relay && (fresh || is_beyond) || fresh && arrival == Arrival::Local {
            // A relay's business begins with what it is given, an origin's with what it gives.
            log.rebase(header.seq - 1);
            log.note_published(header.seq - 1, now);
        } else if is_beyond {
            // No neighbour can serve any of it.
            log.give_up(log.settled() + 1, point);
        }
        let unasked = log.missing.unasked_since(header.seq);
        let noticed = log.missing.since(header.seq);
        let high = log.high();
        let entry = Entry {
            bundle: bundle.clone(),
            hops,
            arrival,
            came: now,
        };
        if !log.insert(entry, now) {
            return cx.core.count(counter!("bundles_duplicate"));
        }
        // What lies below the highest entry so far was noticed when that came.
        let has_holes =
            log.missing.add_range(high + 1, header.seq - 1, now) || !log.missing.is_none();
        let weight = bundle.weight();
        self.held_bytes += weight;
        if fresh {
            self.note_claims(cx, id, key);
        }
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        group.carries_bulk |= header.class() == Class::Bulk;
        if arrival != Arrival::Local {
            group.stats.firsts += 1;
            group.stats.repaired += u64::from(arrival == Arrival::Pulled);
        }
        if let Some(since) = unasked.filter(|_| arrival == Arrival::Pushed) {
            let late = now.since(since).0;
            group.lateness_us = (group.lateness_us * 7 + late) / 8;
        }
        if has_holes {
            self.schedule_repair(cx, id, now);
        }
        match (arrival, from) {
            (Arrival::Pulled, _) => self.record_parent_faults(cx, bundle, noticed),
            (Arrival::Pushed, Some(link)) => self.forgive(cx, link, header.origin, now),
            _ => {}
        }
        if header.has(bundle::FLAG_ACKNOWLEDGE) && header.origin != cx.core.me {
            self.events
                .push_back(MulticastEvent::AcknowledgementWanted {
                    group: id,
                    key,
                    last: header.last_of_message(),
                });
        }
        self.log_changed(cx, id, key);
        self.forward(cx, id, bundle, hops, from);
        self.deliver_log(cx, id, key);
    }

    /// Something in the log has changed: neighbours that did not bring it about are told soon.
    pub(crate) fn log_changed(&mut self, cx: &mut Cx<'_>, id: GroupId, key: LogKey) {
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        group.hash = None;
        group.unannounced.insert(key, PendingAnnouncement::All);
        if group.announce_due.is_some() {
            return;
        }
        // All got it in the same moment, and are not to tell in the same moment.
        let quarter = cx.core.config.groups.announce_ms / 4;
        let due = cx.core.in_random_ms(3 * quarter, 5 * quarter);
        if let Some(group) = self.groups.get_mut(&id) {
            group.announce_due = Some(due);
        }
        cx.core.wake_at(due);
    }
}

#[cfg(test)]
mod tests;
