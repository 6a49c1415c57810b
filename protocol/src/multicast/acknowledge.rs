//! Acknowledged multicast: members' signed words travel towards the origin, hops merge sets.

use super::leaving::HOLDERS;
use super::{Group, LogKey};
use crate::base::identity::PeerKey;
use crate::base::interface::{Action, Event, LinkId, VerifyId};
use crate::base::message::MessageId;
use crate::base::name::GroupId;
use crate::base::ranges::RangeSet;
use crate::base::shares::Shares;
use crate::base::status::Role;
use crate::base::time::Micros;
use crate::base::verify::{Domain, VerifyJob};
use crate::core::Checked;
use crate::multicast::{Cx, CxRef, Multicast};
use crate::wire::Bundle;
use crate::wire::bundle::FLAG_ACKNOWLEDGE;
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

/// A group's acknowledgements: as origin, as member, as hop.
#[derive(Debug, Default)]
pub(crate) struct Tracking {
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
    /// Whether enough members have said to have all entries up to `seq` of an epoch of this peer.
    pub(crate) fn is_confirmed(&self, epoch: u64, seq: u64) -> bool {
        self.confirmed.0 == epoch && self.confirmed.1 >= seq
    }

    /// The log of `key` is gone.
    pub(crate) fn forget(&mut self, key: LogKey) {
        self.wanted.remove(&key);
    }

    /// The message that began with the entry `former` (epoch and seq) begins with `now`.
    pub(crate) fn restart(&mut self, former: (u64, u64), now: (u64, u64)) {
        for tracked in &mut self.tracked {
            if (tracked.epoch, tracked.first) == former {
                tracked.last = tracked.last - tracked.first + now.1;
                (tracked.epoch, tracked.first) = now;
            }
        }
    }

    pub(crate) fn due(&self) -> Option<Micros> {
        self.tracked
            .iter()
            .map(|tracked| tracked.until.min(tracked.next_ask))
            .chain(self.flush)
            .min()
    }
}

/// Acknowledgements whose signatures are being checked.
#[derive(Debug, Default)]
pub(crate) struct AckChecks {
    checks: BTreeMap<VerifyId, (GroupId, LogKey, MemberAck, LinkId)>,
    shares: Shares,
}

fn signed_bytes(id: GroupId, key: LogKey, member: PeerKey, up_to: u64, gaps: &RangeSet) -> Bytes {
    crate::wire::to_cbor(&(id, key.0, key.1, member, up_to, gaps)).into()
}

impl Group {
    fn tracked_mut(&mut self) -> &mut Vec<Tracked> {
        &mut self.tracking.tracked
    }
}

impl Multicast {
    /// Waits for the members of this moment to have `message`, whose last entry is `last`.
    pub(crate) fn track(&mut self, cx: &mut Cx<'_>, id: GroupId, message: MessageId, last: u64) {
        let waiting = self.other_members_of(cx.as_ref(), id);
        let until = cx.core.in_ms(cx.core.config.groups.acknowledge_ms);
        let next_ask = cx.core.in_ms(ASK_MS);
        let is_nobody = waiting.is_empty();
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        let tracked = group.tracked_mut();
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
        if tracked.len() > TRACKED_MAX {
            tracked[0].until = Micros(0);
        }
        // Settled with the next timeout at the earliest: the caller learns the name first.
        if is_nobody && let Some(last) = tracked.last_mut() {
            last.next_ask = cx.core.now.mono;
        }
        cx.core.wake_at(cx.core.now.mono);
    }

    /// A bundle that wants to be acknowledged has come.
    pub(crate) fn note_acknowledgement(&mut self, cx: CxRef<'_>, id: GroupId, bundle: &Bundle) {
        let header = &bundle.header;
        if !header.has(FLAG_ACKNOWLEDGE) || header.origin == cx.core.me {
            return;
        }
        let last = match header.fragment {
            Some(fragment) => header.last_seq() + u64::from(fragment.count - 1 - fragment.index),
            None => header.last_seq(),
        };
        self.want_acknowledgement(id, (header.origin, header.epoch), last);
    }

    fn want_acknowledgement(&mut self, id: GroupId, key: LogKey, last: u64) {
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        if group.role != Role::Member {
            return;
        }
        if !group.logs.contains_key(&key) {
            // Its origin will ask again; nobody else's word is worth remembering.
            return;
        }
        let wanted = &mut group.tracking.wanted;
        if wanted.len() < WANTED_MAX || wanted.contains_key(&key) {
            let up_to = wanted.entry(key).or_insert(last);
            *up_to = (*up_to).max(last);
        }
    }

    /// Acknowledges what has been handed over meanwhile.
    pub(crate) fn acknowledge_ready(&mut self, cx: &mut Cx<'_>, id: GroupId) {
        let Some(group) = self.groups.get(&id) else {
            return;
        };
        let ready: Vec<(LogKey, u64, RangeSet)> = group
            .tracking
            .wanted
            .iter()
            .filter_map(|(key, wanted)| {
                let log = group.logs.get(key)?;
                (log.next() > *wanted).then(|| (*key, log.next() - 1, log.lost()))
            })
            .collect();
        for (key, up_to, gaps) in ready {
            if let Some(group) = self.groups.get_mut(&id) {
                group.tracking.wanted.remove(&key);
            }
            self.acknowledge(cx, id, key, up_to, gaps);
        }
    }

    /// Says that this peer has everything up to `up_to` but `gaps`.
    pub(super) fn acknowledge(
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
        self.pass_acknowledgement(
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
    fn pass_acknowledgement(&mut self, cx: &mut Cx<'_>, id: GroupId, key: LogKey, ack: MemberAck) {
        let flush = cx.core.in_ms(BATCH_MS);
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        let passing = &mut group.tracking.passing;
        if passing.len() >= WANTED_MAX && !passing.contains_key(&key) {
            return cx.core.count("acknowledgements_refused");
        }
        let members = passing.entry(key).or_default();
        match members.get(&ack.member) {
            Some(known) if known.up_to >= ack.up_to => return,
            _ => members.insert(ack.member, ack),
        };
        if group.tracking.flush.is_none() {
            group.tracking.flush = Some(flush);
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
        if !self.groups.contains_key(&id) {
            return;
        }
        let Some(peer) = cx.net.links.get(&from).map(|link| link.peer) else {
            return;
        };
        for ack in members {
            let known = cx.net.database.get(ack.member).is_some();
            let is_due = known && ack.member != cx.core.me;
            if !is_due || !self.ack_checks.shares.take(from, peer, CHECKS_MAX) {
                cx.core.count("acknowledgements_refused");
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
            self.ack_checks.checks.insert(check, (id, key, ack, from));
            cx.core.actions.push_back(Action::Verify { id: check, job });
        }
    }

    /// The answer to a check.
    pub(crate) fn on_acknowledgement_verified(
        &mut self,
        cx: &mut Cx<'_>,
        check: VerifyId,
        valid: bool,
    ) {
        let Some((id, key, ack, from)) = self.ack_checks.checks.remove(&check) else {
            return;
        };
        let peer = self.ack_checks.shares.give_back(from);
        if !valid {
            cx.core.count("acknowledgements_forged");
            if let Some(peer) = peer {
                cx.net.on_forgery(cx.core, from, peer, "acknowledgement");
            }
        } else if key.0 == cx.core.me {
            self.take_acknowledgement(cx, id, key.1, &ack);
        } else {
            self.pass_acknowledgement(cx, id, key, ack);
        }
    }

    fn take_acknowledgement(&mut self, cx: &mut Cx<'_>, id: GroupId, epoch: u64, ack: &MemberAck) {
        let MemberAck {
            member,
            up_to,
            lost: gaps,
            ..
        } = ack;
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        for tracked in group.tracked_mut() {
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
        self.settle_tracking(cx, id);
    }

    /// Reports messages whose members all have them, or have left the group or the view, or ran
    /// out of time.
    pub(crate) fn settle_tracking(&mut self, cx: &mut Cx<'_>, id: GroupId) {
        let now = cx.core.now.mono;
        if self
            .groups
            .get(&id)
            .is_none_or(|group| group.tracking.tracked.is_empty())
        {
            return;
        }
        let Some(graph) = self.group_graph(cx.as_ref(), id) else {
            return;
        };
        let linked: BTreeSet<PeerKey> = self.linked_members(cx.as_ref(), id).collect();
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        let Some(name) = group.name.clone() else {
            return;
        };
        let mut confirmed = group.tracking.confirmed;
        let mut events = Vec::new();
        group.tracking.tracked.retain_mut(|tracked| {
            let is_member = |peer: &PeerKey| graph.is_member(*peer) || linked.contains(peer);
            let open = tracked.waiting.iter().any(is_member);
            let timed_out = open && tracked.until <= now;
            if open && !timed_out {
                return true;
            }
            let mut missing = tracked.lost.clone();
            missing.extend(tracked.waiting.iter().copied());
            missing.sort_unstable();
            let mut holders = std::mem::take(&mut tracked.holders);
            holders.sort_unstable();
            let have = holders.len();
            let of = have + missing.len();
            if have >= HOLDERS.min(of) && have > 0 {
                confirmed = confirmed.max((tracked.epoch, tracked.last));
            }
            events.push(Event::Acknowledged {
                group: name.clone(),
                id: tracked.message,
                have,
                of,
                holders,
                missing,
                timed_out,
            });
            false
        });
        group.tracking.confirmed = confirmed;
        for event in events {
            cx.core.event(event);
        }
    }

    pub(crate) fn on_tracking_timeout(&mut self, cx: &mut Cx<'_>, id: GroupId) {
        let now = cx.core.now.mono;
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        if group.tracking.flush.is_some_and(|flush| flush <= now) {
            group.tracking.flush = None;
            self.flush_acknowledgements(cx, id);
        }
        self.settle_tracking(cx, id);
        let next = cx.core.in_ms(ASK_MS);
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        let mut ask = None;
        let mut asked = BTreeSet::new();
        for tracked in group.tracked_mut() {
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
            self.pass_question(cx, &frame, &asked);
        }
    }

    /// The members of a group but this peer: those in the view, and linked ones. A link whose peer
    /// has flapped is in nobody's record for up to `links.flap_max_ms`, and carries messages all
    /// the same.
    pub(crate) fn other_members_of(&self, cx: CxRef<'_>, id: GroupId) -> BTreeSet<PeerKey> {
        let graph = self.group_graph(cx, id);
        let in_view = graph.iter().flat_map(|graph| graph.members());
        let mut members: BTreeSet<PeerKey> = in_view.chain(self.linked_members(cx, id)).collect();
        members.remove(&cx.core.me);
        members
    }

    fn linked_members<'a>(
        &'a self,
        cx: CxRef<'a>,
        id: GroupId,
    ) -> impl Iterator<Item = PeerKey> + 'a {
        cx.net.up.iter().filter_map(move |(peer, link)| {
            let role = self.remotes.get(*link, id)?.role;
            (role == Some(Role::Member)).then_some(*peer)
        })
    }

    /// Sends acknowledgements towards their origins: to it, or to this peer's parent.
    fn flush_acknowledgements(&mut self, cx: &mut Cx<'_>, id: GroupId) {
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        let passing = std::mem::take(&mut group.tracking.passing);
        for (key, members) in passing {
            let Some(link) = self.link_towards(cx.as_ref(), id, key.0) else {
                // The origin asks again once there is a way.
                cx.core.count("acknowledgements_without_way");
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

    fn link_towards(&self, cx: CxRef<'_>, id: GroupId, origin: PeerKey) -> Option<LinkId> {
        if let Some(link) = cx.net.up.get(&origin) {
            return Some(*link);
        }
        let route = self.route(cx, id, origin, Class::Normal)?;
        route
            .parents()
            .find_map(|parent| cx.net.up.get(&parent).copied())
    }

    /// Asks this peer's children in the origin's tree, and linked ones of `more`.
    fn pass_question(&mut self, cx: &mut Cx<'_>, ask: &AskAcknowledge, more: &BTreeSet<PeerKey>) {
        let route = self.route(cx.as_ref(), ask.group, ask.origin, Class::Normal);
        let mut asked = more.clone();
        asked.extend(route.iter().flat_map(|route| route.children()));
        for child in asked {
            if let Some(&link) = cx.net.up.get(&child) {
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

    pub(crate) fn on_ask_acknowledge(
        &mut self,
        cx: &mut Cx<'_>,
        from: LinkId,
        ask: &AskAcknowledge,
    ) {
        // Only a parent asks, or the origin itself: a question cannot go round.
        let parent = cx
            .net
            .links
            .get(&from)
            .map(|link| link.peer)
            .is_some_and(|peer| {
                peer == ask.origin
                    || self
                        .route(cx.as_ref(), ask.group, ask.origin, Class::Normal)
                        .is_some_and(|route| route.parents().next() == Some(peer))
            });
        if !parent || ask.hops > HOPS_MAX {
            return cx.core.count("questions_refused");
        }
        self.want_acknowledgement(ask.group, (ask.origin, ask.epoch), ask.seq);
        self.acknowledge_ready(cx, ask.group);
        self.pass_question(cx, ask, &BTreeSet::new());
    }
}
