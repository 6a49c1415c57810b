//! Who acknowledges what, to whom it travels, and what the origin makes of it.

use super::{ASK_MS, Acknowledgements, BATCH_MS, HOPS_MAX, TRACKED_MAX, signed_bytes};
use crate::base::interface::{Event, LinkId};
use crate::base::message::{AckResult, MessageId};
use crate::base::status::Role;
use crate::base::verify::Domain;
use crate::multicast::LogKey;
use crate::multicast::fixture::{
    EPOCH, ME, ORIGIN, OWN_EPOCH, Peer as Groups, key, log_key, news, ranges,
};
use crate::multicast::{MulticastEvent};
use crate::patterns::{Cx, Module as _};
use crate::wire::bundle::FLAG_ACKNOWLEDGE;
use crate::wire::frame::{Acknowledge, AskAcknowledge, Frame, MemberAck};
use crate::wire::{Bundle, Fragment};
use crate::unicast::Unicast;
use std::ops::{Deref, DerefMut};
use std::slice::from_ref;

/// A peer with groups, and what acknowledges on top of them.
struct Peer {
    groups: Groups,
    acknowledgements: Acknowledgements,
}

impl Deref for Peer {
    type Target = Groups;

    fn deref(&self) -> &Groups {
        &self.groups
    }
}

impl DerefMut for Peer {
    fn deref_mut(&mut self) -> &mut Groups {
        &mut self.groups
    }
}

impl Peer {
    fn member() -> Self {
        Self {
            groups: Groups::member(),
            acknowledgements: Acknowledgements::default(),
        }
    }

    /// Calls what is tested, and tells it what has happened since, as the engine does.
    fn at(&mut self, what: impl FnOnce(&mut Acknowledgements, &mut Cx<'_>)) {
        self.only(what);
        loop {
            self.groups.settle();
            let checks = std::mem::take(&mut self.groups.for_patterns);
            let below = std::mem::take(&mut self.groups.happened);
            let multicast = &mut self.groups.multicast;
            let events: Vec<MulticastEvent> =
                std::iter::from_fn(|| multicast.next_event()).collect();
            if checks.is_empty() && below.is_empty() && events.is_empty() {
                return;
            }
            self.only(|acknowledgements, cx| {
                for event in &below {
                    acknowledgements.on_overlay(cx, event);
                }
                for event in &events {
                    acknowledgements.on_multicast(cx, event);
                }
                for (check, valid) in checks {
                    acknowledgements.on_verified(cx, check, valid);
                }
            });
        }
    }

    fn only(&mut self, what: impl FnOnce(&mut Acknowledgements, &mut Cx<'_>)) {
        let (core, net, multicast) = self.groups.parts();
        let mut unicast = Unicast::default();
        let mut cx = Cx {
            core,
            net,
            multicast,
            unicast: &mut unicast,
        };
        what(&mut self.acknowledgements, &mut cx);
    }

    fn tell(&mut self) {
        self.at(|_, _| {});
    }

    /// A neighbour sends a frame.
    fn say(&mut self, from: LinkId, frame: impl Into<Frame>) {
        match frame.into() {
            Frame::Acknowledge(frame) => {
                self.at(|acknowledgements, cx| acknowledgements.on_acknowledge(cx, from, frame));
            }
            Frame::AskAcknowledge(ask) => {
                self.at(|acknowledgements, cx| acknowledgements.on_ask_acknowledge(cx, from, &ask));
            }
            frame => {
                self.groups.say(from, frame);
                self.tell();
            }
        }
    }

    fn push(&mut self, from: LinkId, bundle: &Bundle) {
        self.groups.push(from, bundle);
        self.tell();
    }

    fn see(&mut self, links: &[(u8, u8, u32)]) {
        self.groups.see(links);
        self.tell();
    }

    fn subscriber(&mut self, number: u8) -> LinkId {
        let link = self.groups.subscriber(number);
        self.tell();
        link
    }

    fn run_timers(&mut self) {
        self.groups.run_timers();
        self.at(Acknowledgements::on_timeout);
    }
}

fn own_log() -> LogKey {
    (key(ME).peer(), OWN_EPOCH)
}

/// A member's signed word.
fn ack(peer: &Peer, log: LogKey, member: u8, up_to: u64, lost: &[(u64, u64)]) -> MemberAck {
    let (member, lost) = (key(member), ranges(lost));
    let signed = signed_bytes(peer.id, log, member.peer(), up_to, &lost);
    MemberAck {
        member: member.peer(),
        up_to,
        lost,
        signature: member.sign(&Domain::Acknowledgement.digest(&signed)),
    }
}

fn frame(peer: &Peer, (origin, epoch): LogKey, members: Vec<MemberAck>) -> Frame {
    Frame::from(Acknowledge {
        group: peer.id,
        origin,
        epoch,
        members,
    })
}

/// This peer has published entries `first..=last` of its log as one message.
fn track(peer: &mut Peer, first: u64, last: u64) {
    let (id, (origin, epoch)) = (peer.id, own_log());
    let message = MessageId {
        origin,
        epoch,
        seq: first,
    };
    peer.at(|acknowledgements, cx| acknowledgements.track(cx, id, message, last));
}

/// (seq, have, holders, missing, timed out) of each result so far.
fn results(peer: &mut Peer) -> Vec<(u64, Vec<u8>, Vec<u8>, bool)> {
    let number = |peer| (1..=20).find(|number| key(*number).peer() == peer);
    let numbers = |peers: Vec<_>| {
        let mut numbers: Vec<u8> = peers.into_iter().filter_map(number).collect();
        numbers.sort_unstable();
        numbers
    };
    let events = std::mem::take(&mut peer.events).into_iter();
    let results = events.filter_map(|event| match event {
        Event::Acknowledged {
            group,
            result:
                AckResult {
                    id,
                    have,
                    of,
                    holders,
                    missing,
                    timed_out,
                },
        } => {
            assert_eq!(group, news());
            assert_eq!((have, of), (holders.len(), holders.len() + missing.len()));
            Some((id.seq, numbers(holders), numbers(missing), timed_out))
        }
        _ => None,
    });
    results.collect()
}

/// An origin: 2 is its neighbour, and 3 one of 2.
fn origin() -> (Peer, LinkId) {
    let mut peer = Peer::member();
    let link = peer.subscriber(2);
    peer.see(&[(ME, 2, 10), (2, 3, 10)]);
    (peer, link)
}

#[test]
fn a_message_without_other_members_is_settled_after_its_name_is_known() {
    let mut peer = Peer::member();
    peer.see(&[]);
    track(&mut peer, 1, 1);
    assert_eq!(results(&mut peer), [], "its publisher does not know it yet");
    peer.run_timers();
    assert_eq!(results(&mut peer), [(1, vec![], vec![], false)]);
}

#[test]
fn a_message_is_settled_when_all_members_have_spoken_of_all_of_it() {
    let (mut peer, link) = origin();
    track(&mut peer, 4, 5);
    let other_life = (own_log().0, OWN_EPOCH - 1);
    for (log, member, up_to) in [(own_log(), 3, 4), (other_life, 3, 9), (own_log(), 2, 4)] {
        let said = ack(&peer, log, member, up_to, &[]);
        let said = frame(&peer, log, vec![said]);
        peer.say(link, said);
        assert_eq!(results(&mut peer), [], "{member} has up to {up_to}");
    }
    let said = vec![
        ack(&peer, own_log(), 2, 5, &[(1, 3)]),
        ack(&peer, own_log(), 3, 7, &[(5, 5)]),
    ];
    let said = frame(&peer, own_log(), said);
    peer.say(link, said);
    assert_eq!(results(&mut peer), [(4, vec![2], vec![3], false)]);
}

#[test]
fn a_member_that_leaves_the_view_is_missing_and_holds_up_nothing() {
    let (mut peer, link) = origin();
    track(&mut peer, 1, 1);
    let said = ack(&peer, own_log(), 2, 1, &[]);
    let said = frame(&peer, own_log(), vec![said]);
    peer.say(link, said);
    assert_eq!(results(&mut peer), []);
    peer.see(&[(ME, 2, 10)]);
    assert_eq!(results(&mut peer), [(1, vec![2], vec![3], false)]);
}

#[test]
fn a_linked_member_that_no_record_states_is_waited_for() {
    let mut peer = Peer::member();
    let link = peer.subscriber(2);
    peer.see(&[]);
    track(&mut peer, 1, 1);
    peer.run_timers();
    assert_eq!(results(&mut peer), []);
    peer.say(link, Groups::subscribe(2));
    peer.wait_ms(ASK_MS);
    peer.run_timers();
    let result = (1, vec![], vec![2], false);
    assert_eq!(results(&mut peer), [result], "it is a sender now");
}

#[test]
fn waiting_ends_by_time_and_for_the_oldest_when_there_are_too_many() {
    let (mut peer, _) = origin();
    track(&mut peer, 1, 1);
    let patience = peer.core.config.groups.acknowledge_ms;
    peer.wait_ms(patience - 1);
    peer.run_timers();
    assert_eq!(results(&mut peer), []);
    peer.wait_ms(1);
    peer.run_timers();
    assert_eq!(results(&mut peer), [(1, vec![], vec![2, 3], true)]);
    for seq in 2..2 + TRACKED_MAX as u64 {
        track(&mut peer, seq, seq);
    }
    peer.run_timers();
    assert_eq!(results(&mut peer), []);
    track(&mut peer, 9_998, 9_998);
    track(&mut peer, 9_999, 9_999);
    peer.run_timers();
    let oldest = [2, 3].map(|seq| (seq, vec![], vec![2, 3], true));
    assert_eq!(results(&mut peer), oldest);
}

#[test]
fn children_and_linked_members_are_asked_for_the_last_entry_once_a_second() {
    let (mut peer, child) = origin();
    let unstated = peer.subscriber(4);
    track(&mut peer, 1, 1);
    track(&mut peer, 2, 4);
    peer.wait_ms(ASK_MS - 1);
    peer.run_timers();
    assert_eq!(peer.heard(child), []);
    peer.wait_ms(1);
    peer.run_timers();
    let (origin, epoch) = own_log();
    let ask = Frame::from(AskAcknowledge {
        group: peer.id,
        origin,
        epoch,
        seq: 4,
        hops: 1,
    });
    assert_eq!(peer.heard(child), from_ref(&ask));
    assert_eq!(peer.heard(unstated), [ask]);
    peer.run_timers();
    assert_eq!(peer.heard(child), []);
}

#[test]
fn what_nobody_can_have_said_is_not_checked() {
    let (mut peer, link) = origin();
    peer.checks_wait = true;
    let unknown = ack(&peer, log_key(ORIGIN), 19, 1, &[]);
    let own = ack(&peer, log_key(ORIGIN), ME, 1, &[]);
    let said = frame(&peer, log_key(ORIGIN), vec![unknown, own]);
    peer.say(link, said);
    assert!(peer.waiting.is_empty());
    assert_eq!(peer.counted("acknowledgements_refused"), 2);
}

/// A member below 2, which is below the origin; 3 is below this peer.
fn below() -> (Peer, [LinkId; 2]) {
    let mut peer = Peer::member();
    let links = [peer.subscriber(2), peer.subscriber(3)];
    peer.see(&[(ORIGIN, 2, 10), (2, ME, 10), (ME, 3, 10)]);
    (peer, links)
}

/// Messages that want to be acknowledged.
fn wanting(peer: &Peer, count: u64) -> Vec<Bundle> {
    peer.messages_with(ORIGIN, count, |header| header.flags |= FLAG_ACKNOWLEDGE)
}

/// The acknowledgements that a neighbour is sent once they have been gathered.
fn flushed(peer: &mut Peer, link: LinkId) -> Vec<Frame> {
    peer.wait_ms(BATCH_MS);
    peer.run_timers();
    let mut frames = peer.heard(link);
    frames.retain(|frame| matches!(frame, Frame::Acknowledge(_)));
    frames
}

#[test]
fn a_member_acknowledges_to_its_parent_what_it_has_been_given() {
    let (mut peer, [parent, child]) = below();
    let all = wanting(&peer, 2);
    peer.push(parent, &all[1]);
    assert_eq!(flushed(&mut peer, parent), [], "the first is missing");
    peer.push(parent, &all[0]);
    assert_eq!(peer.heard(parent), [], "gathered first");
    let said = ack(&peer, log_key(ORIGIN), ME, 2, &[]);
    let said = frame(&peer, log_key(ORIGIN), vec![said]);
    assert_eq!(flushed(&mut peer, parent), [said]);
    assert_eq!(flushed(&mut peer, child), []);
}

#[test]
fn a_message_in_pieces_is_acknowledged_as_a_whole() {
    let (mut peer, [parent, _]) = below();
    let mut index = 0;
    let pieces = peer.messages_with(ORIGIN, 3, |header| {
        header.flags |= FLAG_ACKNOWLEDGE;
        header.fragment = Some(Fragment { index, count: 3 });
        index += 1;
    });
    for piece in &pieces[..2] {
        peer.push(parent, piece);
    }
    assert_eq!(flushed(&mut peer, parent), []);
    peer.push(parent, &pieces[2]);
    let said = ack(&peer, log_key(ORIGIN), ME, 3, &[]);
    let said = frame(&peer, log_key(ORIGIN), vec![said]);
    assert_eq!(flushed(&mut peer, parent), [said]);
}

#[test]
fn an_acknowledgement_names_what_is_lost_and_what_was_before_the_member() {
    let (mut peer, [parent, _]) = below();
    let all = wanting(&peer, 5);
    for at in [2, 4] {
        peer.push(parent, &all[at]);
    }
    peer.log_mut(ORIGIN).rebase(2);
    peer.log_mut(ORIGIN).give_up(4, 4);
    let id = peer.id;
    peer.call(|groups, cx| groups.deliver(cx, id));
    peer.tell();
    let said = ack(&peer, log_key(ORIGIN), ME, 5, &[(1, 2), (4, 4)]);
    let said = frame(&peer, log_key(ORIGIN), vec![said]);
    assert_eq!(flushed(&mut peer, parent), [said]);
}

#[test]
fn whoever_is_no_member_acknowledges_nothing() {
    for role in [Role::Sender, Role::Relay] {
        let (mut peer, [parent, _]) = below();
        peer.set_role(role);
        let all = wanting(&peer, 1);
        peer.push(parent, &all[0]);
        assert_eq!(flushed(&mut peer, parent), []);
    }
}

#[test]
fn a_hop_passes_the_newest_word_of_each_member_on() {
    let (mut peer, [parent, child]) = below();
    peer.see(&[(ORIGIN, 2, 10), (2, ME, 10), (ME, 3, 10), (3, 4, 10)]);
    let log = log_key(ORIGIN);
    for (member, up_to) in [(3, 5), (3, 4), (4, 1)] {
        let said = ack(&peer, log, member, up_to, &[]);
        let said = frame(&peer, log, vec![said]);
        peer.say(child, said);
    }
    let mut newest = vec![ack(&peer, log, 3, 5, &[]), ack(&peer, log, 4, 1, &[])];
    newest.sort_by_key(|ack| ack.member);
    let said = frame(&peer, log, newest);
    assert_eq!(flushed(&mut peer, parent), [said]);
}

#[test]
fn an_acknowledgement_goes_to_the_origin_itself_where_it_is_linked() {
    let (mut peer, [parent, _]) = below();
    let origin = peer.subscriber(ORIGIN);
    let all = wanting(&peer, 1);
    peer.push(parent, &all[0]);
    assert_eq!(flushed(&mut peer, origin).len(), 1);
    assert_eq!(flushed(&mut peer, parent), []);
}

#[test]
fn an_acknowledgement_without_a_way_is_counted() {
    let mut peer = Peer::member();
    let link = peer.subscriber(2);
    let all = wanting(&peer, 1);
    peer.push(link, &all[0]);
    assert_eq!(flushed(&mut peer, link), []);
    assert_eq!(peer.counted("acknowledgements_without_way"), 1);
}

fn ask(peer: &Peer, seq: u64, hops: u16) -> AskAcknowledge {
    AskAcknowledge {
        group: peer.id,
        origin: key(ORIGIN).peer(),
        epoch: EPOCH,
        seq,
        hops,
    }
}

#[test]
fn a_question_of_the_parent_is_answered_and_passed_to_children() {
    let (mut peer, [parent, child]) = below();
    let all = peer.messages(ORIGIN, 2);
    peer.push(parent, &all[0]);
    peer.heard(child);
    let question = ask(&peer, 2, 5);
    peer.say(parent, question);
    let passed = Frame::from(ask(&peer, 2, 6));
    assert_eq!(peer.heard(child), [passed]);
    assert_eq!(flushed(&mut peer, parent), [], "the second has not come");
    peer.push(parent, &all[1]);
    assert_eq!(flushed(&mut peer, parent).len(), 1);
    // What it has already it acknowledges again: the first word may be lost.
    let question = ask(&peer, 1, 5);
    peer.say(parent, question);
    let said = ack(&peer, log_key(ORIGIN), ME, 2, &[]);
    let said = frame(&peer, log_key(ORIGIN), vec![said]);
    assert_eq!(flushed(&mut peer, parent), [said]);
}

#[test]
fn a_question_goes_down_only_and_not_for_ever() {
    let (mut peer, [parent, child]) = below();
    let first = peer.messages(ORIGIN, 1).remove(0);
    peer.push(parent, &first);
    peer.heard(child);
    for (from, hops) in [(child, 1), (parent, HOPS_MAX + 1)] {
        let question = ask(&peer, 1, hops);
        peer.say(from, question);
    }
    assert_eq!(peer.counted("questions_refused"), 2);
    assert_eq!(flushed(&mut peer, parent), []);
    assert_eq!(peer.heard(child), []);
}

#[test]
fn a_question_about_a_log_that_is_not_here_is_not_remembered() {
    let (mut peer, [parent, _]) = below();
    let question = ask(&peer, 1, 1);
    peer.say(parent, question);
    let first = peer.messages(ORIGIN, 1).remove(0);
    peer.push(parent, &first);
    assert_eq!(flushed(&mut peer, parent), []);
}

#[test]
fn a_log_that_is_displaced_is_not_acknowledged_any_more() {
    let (mut peer, [parent, _]) = below();
    let all = wanting(&peer, 2);
    peer.push(parent, &all[1]);
    let id = peer.id;
    peer.call(|groups, _| groups.drop_logs(id, &[log_key(ORIGIN)]));
    peer.tell();
    peer.push(parent, &all[0]);
    let said = ack(&peer, log_key(ORIGIN), ME, 1, &[]);
    let said = frame(&peer, log_key(ORIGIN), vec![said]);
    assert_eq!(flushed(&mut peer, parent), [said], "the first alone");
}

#[test]
fn a_group_that_is_gone_keeps_nobody_waiting() {
    let (mut peer, link) = origin();
    track(&mut peer, 1, 1);
    let said = ack(&peer, own_log(), 2, 1, &[]);
    let said = frame(&peer, own_log(), vec![said]);
    peer.say(link, said);
    assert_eq!(results(&mut peer), []);
    peer.call(|groups, cx| groups.leave_group(cx, &news()).expect("leaves"));
    peer.tell();
    assert_eq!(results(&mut peer), [(1, vec![2], vec![3], true)]);
}
