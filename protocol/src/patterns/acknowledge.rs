//! Acknowledged multicast: members' signed words travel towards the origin, hops merge sets.

use super::{Cx, Module};
use crate::base::identity::PeerKey;
use crate::base::interface::{Action, Event, LinkId, VerifyId};
use crate::base::message::{AckResult, MessageId};
use crate::base::name::{GroupId, GroupName};
use crate::base::ranges::RangeSet;
use crate::base::shares::Shares;
use crate::base::time::Micros;
use crate::base::verify::{Domain, VerifyJob};
use crate::core::Checked;
use crate::multicast::{HOLDERS, LogKey, MulticastEvent};
use crate::overlay::links::OverlayEvent;
use crate::wire::frame::{Acknowledge, AskAcknowledge, MemberAck};
use bytes::Bytes;
use hedgerow_topology::Class;
use std::collections::{BTreeMap, BTreeSet};

/// Acknowledgements travel together after so long, ms.
const BATCH_MS: u64 = 20;
/// Members are asked again after so long, ms.
const ASK_MS: u64 = 1_000;
/// Messages that wait for acknowledgements in one group; the oldest is settled as timed out.
const TRACKED_MAX: usize = 1_024;
/// Acknowledgements whose signatures are being checked, and that wait to travel on.
const CHECKS_MAX: usize = 8_192;
/// Origins whose messages are to be acknowledged.
const WANTED_MAX: usize = 4_096;
/// Acknowledgements in one frame.
const PER_FRAME: usize = 512;
/// Links that an origin's question may cross.
const HOPS_MAX: u16 = 255;

/// A message of this peer that waits for its members.
#[derive(Debug)]
struct Tracked {
    /// As whoever published it knows it.
    message: MessageId,
    /// Its entries, where they are now.
    epoch: u64,
    first: u64,
    last: u64,
    waiting: BTreeSet<PeerKey>,
    /// Members that have said to have it.
    holders: Vec<PeerKey>,
    /// Members that reported it lost.
    lost: Vec<PeerKey>,
    until: Micros,
    next_ask: Micros,
}

impl Tracked {
    /// What became of it, if waiting ends now.
    fn result(&self, timed_out: bool) -> AckResult {
        let mut holders = self.holders.clone();
        holders.sort_unstable();
        let mut missing = self.lost.clone();
        missing.extend(self.waiting.iter().copied());
        missing.sort_unstable();
        AckResult {
            id: self.message,
            have: holders.len(),
            of: holders.len() + missing.len(),
            holders,
            missing,
            timed_out,
        }
    }
}

/// A group's acknowledgements: as origin, as member, as hop.
#[derive(Debug, Default)]
struct Tracking {
    tracked: Vec<Tracked>,
    /// As member: up to which entry an origin wants to hear.
    wanted: BTreeMap<LogKey, u64>,
    /// As hop: what travels on.
    passing: BTreeMap<LogKey, BTreeMap<PeerKey, MemberAck>>,
    flush: Option<Micros>,
    /// As origin: the epoch and the entry up to which enough members have said to have all.
    confirmed: (u64, u64),
}

impl Tracking {
    /// The group is gone: whoever waits learns that nobody is waited for any more.
    fn end(self, cx: &mut Cx<'_>, name: Option<&GroupName>) {
        let Some(name) = name else { return };
        for tracked in &self.tracked {
            cx.core.event(Event::Acknowledged {
                group: name.clone(),
                result: tracked.result(true),
            });
        }
    }

    /// The message that began with the entry `former` (epoch and seq) begins with `now`.
    fn restart(&mut self, former: (u64, u64), now: (u64, u64)) {
        for tracked in &mut self.tracked {
            if (tracked.epoch, tracked.first) == former {
                tracked.last = tracked.last - tracked.first + now.1;
                (tracked.epoch, tracked.first) = now;
            }
        }
    }

    fn due(&self) -> Option<Micros> {
        self.tracked
            .iter()
            .map(|tracked| tracked.until.min(tracked.next_ask))
            .chain(self.flush)
            .min()
    }
}

/// What this peer asks of members, says to origins, and passes on.
#[derive(Debug, Default)]
pub(crate) struct Acknowledgements {
    groups: BTreeMap<GroupId, Tracking>,
    /// Those whose signatures are being checked.
    checks: BTreeMap<VerifyId, (GroupId, LogKey, MemberAck, LinkId)>,
    shares: Shares,
}

impl Module for Acknowledgements {
    fn on_overlay(&mut self, cx: &mut Cx<'_>, event: &OverlayEvent) {
        if let OverlayEvent::ViewChanged = event {
            let waiting = self.groups.iter().filter(|(_, group)| !group.tracked.is_empty());
            for id in waiting.map(|(id, _)| *id).collect::<Vec<_>>() {
                self.settle(cx, id);
            }
        }
    }

    fn on_multicast(&mut self, cx: &mut Cx<'_>, event: &MulticastEvent) {
        match event {
            MulticastEvent::Published { group, message, last } => {
                self.track(cx, *group, *message, *last);
            }
            MulticastEvent::Renumbered { group, former, now } => {
                if let Some(group) = self.groups.get_mut(group) {
                    group.restart(*former, *now);
                }
            }
            MulticastEvent::AcknowledgementWanted { group, key, last } => {
                self.want(cx, *group, *key, *last);
                self.acknowledge_ready(cx, *group);
            }
            MulticastEvent::NeverHeld { group, key, from, to } => {
                self.acknowledge(cx, *group, *key, *to, RangeSet::of(*from, *to));
            }
            MulticastEvent::HandedOver { group } => self.acknowledge_ready(cx, *group),
            MulticastEvent::LogClosed { group, key } => {
                if let Some(tracking) = self.groups.get_mut(group) {
                    tracking.wanted.remove(key);
                    cx.multicast.watch(*group, !tracking.wanted.is_empty());
                }
            }
            MulticastEvent::GroupClosed { group, name } => {
                if let Some(tracking) = self.groups.remove(group) {
                    tracking.end(cx, name.as_ref());
                }
            }
        }
    }

    fn on_verified(&mut self, cx: &mut Cx<'_>, check: VerifyId, valid: bool) {
        let Some((id, key, ack, from)) = self.checks.remove(&check) else {
            return;
        };
        let peer = self.shares.give_back(from);
        if !valid {
            cx.core.count(counter!("acknowledgements_forged"));
            if let Some(peer) = peer {
                cx.net.on_forgery(cx.core, from, peer, "acknowledgement");
            }
        } else if key.0 == cx.core.me {
            self.take(cx, id, key.1, &ack);
        } else {
            self.pass_on(cx, id, key, ack);
        }
    }

    fn on_timeout(&mut self, cx: &mut Cx<'_>) {
        let now = cx.core.now.mono;
        let is_due = |group: &Tracking| group.due().is_some_and(|due| due <= now);
        let due = self.groups.iter().filter(|(_, group)| is_due(group));
        for id in due.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.on_group_timeout(cx, id);
        }
    }

    fn next_timeout(&self) -> Option<Micros> {
        self.groups.values().filter_map(Tracking::due).min()
    }
}

fn signed_bytes(id: GroupId, key: LogKey, member: PeerKey, up_to: u64, gaps: &RangeSet) -> Bytes {
    crate::wire::to_cbor(&(id, key.0, key.1, member, up_to, gaps)).into()
}

impl Acknowledgements {
    /// Whether enough members have said to have all entries up to `seq` of an epoch of this peer.
    pub(crate) fn is_confirmed(&self, group: GroupId, epoch: u64, seq: u64) -> bool {
        let group = self.groups.get(&group);
        group.is_some_and(|group| group.confirmed.0 == epoch && group.confirmed.1 >= seq)
    }

    /// Waits for the members of this moment to have `message`, whose last entry is `last`.
    fn track(&mut self, cx: &mut Cx<'_>, id: GroupId, message: MessageId, last: u64) {
        let waiting = cx.multicast.other_members_of(cx.below(), id);
        let until = cx.core.in_ms(cx.core.config.groups.acknowledge_ms);
        let next_ask = cx.core.in_ms(ASK_MS);
        let is_nobody = waiting.is_empty();
        let tracked = &mut self.groups.entry(id).or_default().tracked;
        tracked.push(Tracked {
            message,
            epoch: message.epoch,
            first: message.seq,
            last,
            waiting,
            holders: Vec::new(),
            lost: Vec::new(),
            until,
            next_ask,
        });
        let over = tracked.len().saturating_sub(TRACKED_MAX);
        for oldest in &mut tracked[..over] {
            oldest.until = Micros(0);
        }
        // Settled with the next timeout at the earliest: the caller learns the name first.
        if is_nobody && let Some(last) = tracked.last_mut() {
            last.next_ask = cx.core.now.mono;
        }
        cx.core.wake_at(cx.core.now.mono);
    }

    /// An origin wants to hear of what this member has, up to there. It asks again where its log is
    /// not held; nobody else's word is worth remembering.
    fn want(&mut self, cx: &mut Cx<'_>, id: GroupId, key: LogKey, last: u64) {
        if !cx.multicast.is_member(id) || !cx.multicast.has_log(id, key) {
            return;
        }
        let wanted = &mut self.groups.entry(id).or_default().wanted;
        if wanted.len() < WANTED_MAX || wanted.contains_key(&key) {
            let up_to = wanted.entry(key).or_insert(last);
            *up_to = (*up_to).max(last);
            cx.multicast.watch(id, true);
        }
    }

    /// Acknowledges what has been handed over meanwhile.
    fn acknowledge_ready(&mut self, cx: &mut Cx<'_>, id: GroupId) {
        let Some(tracking) = self.groups.get_mut(&id) else {
            return;
        };
        let mut ready = Vec::new();
        tracking.wanted.retain(|key, wanted| {
            let handed = cx.multicast.handed_over(id, *key);
            let handed = handed.filter(|(up_to, _)| up_to >= wanted);
            let is_open = handed.is_none();
            ready.extend(handed.map(|(up_to, lost)| (*key, up_to, lost)));
            is_open
        });
        cx.multicast.watch(id, !tracking.wanted.is_empty());
        for (key, up_to, lost) in ready {
            self.acknowledge(cx, id, key, up_to, lost);
        }
    }

    /// Says that this peer has everything up to `up_to` but `gaps`.
    fn acknowledge(
        &mut self,
        cx: &mut Cx<'_>,
        id: GroupId,
        key: LogKey,
        up_to: u64,
        gaps: RangeSet,
    ) {
        let signed = signed_bytes(id, key, cx.core.me, up_to, &gaps);
        let signature = cx
            .core
            .keypair
            .sign(&Domain::Acknowledgement.digest(&signed));
        self.pass_on(
            cx,
            id,
            key,
            MemberAck {
                member: cx.core.me,
                up_to,
                lost: gaps,
                signature,
            },
        );
    }

    /// Puts an acknowledgement on its way; the newest of each member travels.
    fn pass_on(&mut self, cx: &mut Cx<'_>, id: GroupId, key: LogKey, ack: MemberAck) {
        let flush = cx.core.in_ms(BATCH_MS);
        let tracking = self.groups.entry(id).or_default();
        let passing = &mut tracking.passing;
        if passing.len() >= WANTED_MAX && !passing.contains_key(&key) {
            return cx.core.count(counter!("acknowledgements_refused"));
        }
        let members = passing.entry(key).or_default();
        match members.get(&ack.member) {
            Some(known) if known.up_to >= ack.up_to => return,
            _ => members.insert(ack.member, ack),
        };
        if tracking.flush.is_none() {
            tracking.flush = Some(flush);
            cx.core.wake_at(flush);
        }
    }

    pub(crate) fn on_acknowledge(&mut self, cx: &mut Cx<'_>, from: LinkId, frame: Acknowledge) {
        let Acknowledge {
            group: id,
            origin,
            epoch,
            members,
        } = frame;
        let key = (origin, epoch);
        if !cx.multicast.has_group(id) {
            return;
        }
        let Some(peer) = cx.net.peer_of(from) else {
            return;
        };
        for ack in members {
            let known = cx.net.record(ack.member).is_some();
            let is_due = known && ack.member != cx.core.me;
            if !is_due || !self.shares.take(from, peer, CHECKS_MAX) {
                cx.core.count(counter!("acknowledgements_refused"));
                continue;
            }
            let signed = signed_bytes(id, key, ack.member, ack.up_to, &ack.lost);
            let job = VerifyJob {
                signer: ack.member.into(),
                digest: Domain::Acknowledgement.digest(&signed),
                signature: ack.signature,
                payload: None,
            };
            let check = cx.core.next_verify_id(Checked::Acknowledgement);
            tracing::trace!(link = from.0, member = %ack.member, up_to = ack.up_to, "acknowledgement");
            self.checks.insert(check, (id, key, ack, from));
            cx.core.actions.push_back(Action::Verify { id: check, job });
        }
    }

    fn take(&mut self, cx: &mut Cx<'_>, id: GroupId, epoch: u64, ack: &MemberAck) {
        let MemberAck {
            member,
            up_to,
            lost: gaps,
            ..
        } = ack;
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        for tracked in &mut group.tracked {
            let covers = tracked.epoch == epoch && tracked.last <= *up_to;
            if covers && tracked.waiting.remove(member) {
                let lost = !gaps.within(tracked.first, tracked.last).is_empty();
                let said = if lost {
                    &mut tracked.lost
                } else {
                    &mut tracked.holders
                };
                said.push(*member);
            }
        }
        self.settle(cx, id);
    }

    /// Reports messages whose members all have them, or have left the group or the view, or ran
    /// out of time.
    fn settle(&mut self, cx: &mut Cx<'_>, id: GroupId) {
        let now = cx.core.now.mono;
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        if group.tracked.is_empty() {
            return;
        }
        let below = cx.below();
        let Some(graph) = cx.multicast.group_graph(below, id) else {
            return;
        };
        let linked: BTreeSet<PeerKey> = cx.multicast.linked_members(below, id).collect();
        let Some(name) = cx.multicast.name(id).cloned() else {
            return;
        };
        let mut confirmed = group.confirmed;
        let mut events = Vec::new();
        group.tracked.retain(|tracked| {
            let is_member = |peer: &PeerKey| graph.is_member(*peer) || linked.contains(peer);
            let open = tracked.waiting.iter().any(is_member);
            let timed_out = open && tracked.until <= now;
            if open && !timed_out {
                return true;
            }
            let result = tracked.result(timed_out);
            if result.have >= HOLDERS.min(result.of) && result.have > 0 {
                confirmed = confirmed.max((tracked.epoch, tracked.last));
            }
            events.push(Event::Acknowledged {
                group: name.clone(),
                result,
            });
            false
        });
        group.confirmed = confirmed;
        for event in events {
            cx.core.event(event);
        }
    }

    fn on_group_timeout(&mut self, cx: &mut Cx<'_>, id: GroupId) {
        let now = cx.core.now.mono;
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        if group.flush.is_some_and(|flush| flush <= now) {
            group.flush = None;
            self.flush_acknowledgements(cx, id);
        }
        self.settle(cx, id);
        let next = cx.core.in_ms(ASK_MS);
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        let mut ask = None;
        let mut asked = BTreeSet::new();
        for tracked in &mut group.tracked {
            if tracked.next_ask <= now {
                tracked.next_ask = next;
                ask = ask.max(Some((tracked.epoch, tracked.last)));
                asked.extend(tracked.waiting.iter().copied());
            }
        }
        if let Some((epoch, seq)) = ask {
            let frame = AskAcknowledge {
                group: id,
                origin: cx.core.me,
                epoch,
                seq,
                hops: 0,
            };
            pass_question(cx, &frame, &asked);
        }
    }

    /// Sends acknowledgements towards their origins: to it, or to this peer's parent.
    fn flush_acknowledgements(&mut self, cx: &mut Cx<'_>, id: GroupId) {
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        let passing = std::mem::take(&mut group.passing);
        for (key, members) in passing {
            let Some(link) = link_towards(cx, id, key.0) else {
                // The origin asks again once there is a way.
                cx.core.count(counter!("acknowledgements_without_way"));
                continue;
            };
            let members: Vec<MemberAck> = members.into_values().collect();
            for members in members.chunks(PER_FRAME) {
                let frame = Acknowledge {
                    group: id,
                    origin: key.0,
                    epoch: key.1,
                    members: members.to_vec(),
                };
                cx.net.send(cx.core, link, frame);
            }
        }
    }

    pub(crate) fn on_ask_acknowledge(
        &mut self,
        cx: &mut Cx<'_>,
        from: LinkId,
        ask: &AskAcknowledge,
    ) {
        // Only a parent asks, or the origin itself: a question cannot go round.
        let parent = cx
            .net
            .peer_of(from)
            .is_some_and(|peer| {
                peer == ask.origin
                    || cx
                        .multicast
                        .route(cx.below(), ask.group, ask.origin, Class::Normal)
                        .is_some_and(|route| route.parents().next() == Some(peer))
            });
        if !parent || ask.hops > HOPS_MAX {
            return cx.core.count(counter!("questions_refused"));
        }
        self.want(cx, ask.group, (ask.origin, ask.epoch), ask.seq);
        self.acknowledge_ready(cx, ask.group);
        pass_question(cx, ask, &BTreeSet::new());
    }
}

    /// Asks this peer's children in the origin's tree, and linked ones of `more`.
fn pass_question(cx: &mut Cx<'_>, ask: &AskAcknowledge, more: &BTreeSet<PeerKey>) {
        let below = cx.below();
        let route = cx
            .multicast
            .route(below, ask.group, ask.origin, Class::Normal);
        let mut asked = more.clone();
        asked.extend(route.iter().flat_map(|route| route.children()));
        for child in asked {
            if let Some(link) = cx.net.link_to(child) {
                cx.net.send(
                    cx.core,
                    link,
                    AskAcknowledge {
                        hops: ask.hops + 1,
                        ..ask.clone()
                    },
                );
            }
        }
    }

/// The link to an origin, or to this peer's parent in its tree.
fn link_towards(cx: &Cx<'_>, id: GroupId, origin: PeerKey) -> Option<LinkId> {
    if let Some(link) = cx.net.link_to(origin) {
        return Some(link);
    }
    let route = cx.multicast.route(cx.below(), id, origin, Class::Normal)?;
    let mut parents = route.parents();
    parents.find_map(|parent| cx.net.link_to(parent))
}

#[cfg(test)]
mod tests;
