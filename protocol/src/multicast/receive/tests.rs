//! Which bundles are taken: by what they claim, by the room there is, and what follows for repair.

use super::HOPS_MAX;
use crate::base::interface::{Event, LinkId};
use crate::base::name::{GroupId, GroupName};
use crate::base::status::Role;
use crate::base::time::Micros;
use crate::core::config::Config;
use crate::multicast::fixture::{
    EPOCH, ME, ORIGIN, OWN_EPOCH, Peer, bundle_frame, held, key, log_key, news, sign,
};
use crate::overlay::fixture::member_of;
use crate::wire::frame::{Digest, Frame, Subscribe};
use crate::wire::{Bundle, Fragment};

/// A member and a neighbour; signatures wait to be checked, so that it shows whether any is.
fn watched() -> (Peer, LinkId) {
    let mut peer = Peer::member();
    let link = peer.subscriber(2);
    peer.checks_wait = true;
    (peer, link)
}

fn missing(peer: &Peer) -> Vec<(u64, u64)> {
    let ranges = peer.log(ORIGIN).missing.ranges().iter();
    ranges.map(|range| (range.from, range.to)).collect()
}

#[test]
fn what_has_crossed_too_many_links_ends_here() {
    let (mut peer, link) = watched();
    let first = peer.messages(ORIGIN, 1).remove(0);
    peer.say(link, bundle_frame(&first, HOPS_MAX + 1, false));
    assert!(peer.waiting.is_empty());
    peer.say(link, bundle_frame(&first, HOPS_MAX, false));
    assert_eq!(peer.waiting.len(), 1);
}

#[test]
fn a_message_of_this_life_does_not_come_back_and_one_of_another_life_may() {
    let (mut peer, link) = watched();
    for (epoch, checks) in [(OWN_EPOCH, 0), (OWN_EPOCH - 1, 1)] {
        let mut header = peer.header(ME, 1);
        header.epoch = epoch;
        let bundle = sign(ME, header);
        peer.push(link, &bundle);
        assert_eq!(peer.waiting.len(), checks);
    }
    assert_eq!(peer.counted("bundles_own_returned"), 1);
}

#[test]
fn of_an_origin_that_was_cut_off_only_later_lives_are_taken() {
    let (mut peer, link) = watched();
    peer.net.note_cut_off(key(ORIGIN).peer(), EPOCH, 1);
    for (epoch, checks) in [(EPOCH - 1, 0), (EPOCH, 0), (EPOCH + 1, 1)] {
        let mut header = peer.header(ORIGIN, 1);
        header.epoch = epoch;
        let bundle = sign(ORIGIN, header);
        peer.push(link, &bundle);
        assert_eq!(peer.waiting.len(), checks);
    }
    assert_eq!(peer.counted("bundles_of_cut_off"), 2);
}

#[test]
fn a_piece_of_a_message_that_would_be_too_large_is_not_taken() {
    let mut config = Config::default();
    config.groups.message_bytes_max = 1_000;
    let mut peer = Peer::member_with(config);
    let link = peer.subscriber(2);
    // As long as message and headers may be, and one byte longer; of how long the last piece is
    // nothing says how long the others are.
    for (index, bytes, oversized) in [(0, 2_554, 0), (0, 2_555, 1), (4, 2_555, 1)] {
        let mut header = peer.header(ORIGIN, 100 + u64::from(index));
        header.lengths = vec![bytes];
        header.fragment = Some(Fragment { index, count: 5 });
        let bundle = sign(ORIGIN, header);
        peer.push(link, &bundle);
        assert_eq!(
            peer.counted("messages_oversized"),
            oversized,
            "{index} {bytes}"
        );
    }
}

/// The first message of a group that this peer is not in.
fn strange(peer: &Peer) -> (GroupName, Bundle) {
    let name = GroupName::new("strange").expect("valid");
    let mut header = peer.header(ORIGIN, 5);
    header.group = GroupId::new(&peer.core.config.network, &name);
    (name, sign(ORIGIN, header))
}

#[test]
fn a_strange_group_is_relayed_once_its_first_bundle_is_verified() {
    let (mut peer, link) = watched();
    let (name, bundle) = strange(&peer);
    // A record says what the group is called.
    peer.state(2, &[], |record| record.groups = vec![member_of(&name)]);
    peer.push(link, &bundle);
    let id = bundle.header.group;
    assert!(!peer.multicast.groups.contains_key(&id), "not verified yet");
    peer.check();
    let group = &peer.multicast.groups[&id];
    assert_eq!(
        (group.role, group.name.as_ref()),
        (Role::Relay, Some(&name))
    );
    // A relay's business begins with what it is given.
    let log = &group.logs[&log_key(ORIGIN)];
    assert_eq!((log.settled(), log.missing.is_none()), (5, true));
    let told = Frame::from(Subscribe {
        group: name,
        ..Peer::subscribe(3)
    });
    assert_eq!(peer.heard(link), [told]);
}

#[test]
fn no_more_groups_are_relayed_than_is_set() {
    let mut config = Config::default();
    config.groups.relayed_max = 1;
    let mut peer = Peer::member_with(config);
    let link = peer.subscriber(2);
    peer.checks_wait = true;
    let (_, bundle) = strange(&peer);
    let (mut first, mut second) = (bundle.header.clone(), bundle.header.clone());
    first.group = GroupId([1; 16]);
    second.group = GroupId([2; 16]);
    // Both are being checked when the first has become one.
    for header in [first.clone(), second] {
        let bundle = sign(ORIGIN, header);
        peer.push(link, &bundle);
    }
    assert_eq!(peer.waiting.len(), 2);
    peer.check();
    assert_eq!(peer.counted("relays_refused"), 1);
    peer.push(link, &bundle);
    assert!(peer.waiting.is_empty(), "a third is not checked");
    assert_eq!(peer.counted("relays_refused"), 2);
    // The group that is carried already goes on.
    first.seq += 1;
    let next = sign(ORIGIN, first);
    peer.push(link, &next);
    assert_eq!(peer.waiting.len(), 1);
}

#[test]
fn what_is_held_is_not_checked_again() {
    let (mut peer, link) = watched();
    let first = peer.messages(ORIGIN, 1).remove(0);
    peer.push(link, &first);
    peer.check();
    peer.push(link, &first);
    assert!(peer.waiting.is_empty());
    assert_eq!(peer.counted("bundles_duplicate"), 1);
    assert_eq!(
        (peer.group().stats.copies, peer.group().stats.firsts),
        (2, 1)
    );
}

#[test]
fn another_message_of_the_same_name_is_checked_as_evidence() {
    let (mut peer, link) = watched();
    let first = peer.messages(ORIGIN, 1).remove(0);
    let mut header = peer.header(ORIGIN, 1);
    header.published_at += 1;
    let other = sign(ORIGIN, header);
    for bundle in [&first, &other] {
        peer.push(link, bundle);
        peer.check();
    }
    assert_eq!(peer.seqs(), [1], "the first stays");
    let cut_off = Event::Equivocation {
        group: news(),
        origin: key(ORIGIN).peer(),
        epoch: EPOCH,
    };
    assert!(peer.events.contains(&cut_off), "{:?}", peer.events);
}

#[test]
fn what_a_log_had_before_it_was_displaced_is_not_delivered_again() {
    let (mut peer, link) = watched();
    let all = peer.messages(ORIGIN, 3);
    peer.group_mut().past.insert(log_key(ORIGIN), 2, false, 10);
    peer.push(link, &all[1]);
    assert!(peer.waiting.is_empty());
    assert_eq!(peer.counted("bundles_duplicate"), 1);
    peer.push(link, &all[2]);
    peer.check();
    assert_eq!(peer.seqs(), [3]);
}

#[test]
fn what_lies_beyond_the_window_is_left_and_neighbours_are_asked_where_it_begins() {
    let mut config = Config::default();
    config.groups.window = 10;
    let mut peer = Peer::member_with(config);
    let link = peer.subscriber(2);
    let all = peer.messages(ORIGIN, 12);
    peer.push(link, &all[0]);
    peer.push(link, &all[10]);
    assert_eq!(peer.log(ORIGIN).high(), 11, "the last that fits");
    peer.heard(link);
    peer.push(link, &all[11]);
    assert_eq!(peer.log(ORIGIN).high(), 11);
    assert_eq!(peer.counted("bundles_without_room"), 1);
    let ask = Frame::from(Digest {
        group: peer.id,
        ask: true,
        entries: Vec::new(),
    });
    assert_eq!(peer.heard(link), [ask]);
    assert_eq!(peer.log(ORIGIN).refused, None, "anybody can make that up");
}

#[test]
fn where_a_neighbour_can_serve_beyond_the_window_a_member_begins_and_the_rest_is_lost() {
    let mut config = Config::default();
    config.groups.window = 10;
    let mut peer = Peer::member_with(config);
    let link = peer.subscriber(2);
    let all = peer.messages(ORIGIN, 30);
    peer.push(link, &all[0]);
    peer.tell(link, vec![held(ORIGIN, 25, 29, &[])]);
    peer.push(link, &all[29]);
    assert_eq!(peer.gaps(), [(2, 24)]);
    assert_eq!(missing(&peer), [(25, 29)]);
}

#[test]
fn ahead_of_its_turn_a_log_holds_as_much_as_is_set_and_what_comes_next_always_fits() {
    let probe = Peer::member();
    let weight = probe.messages(ORIGIN, 2)[1].weight();
    let mut config = Config::default();
    config.groups.ahead_bytes_max = 2 * weight;
    let mut peer = Peer::member_with(config);
    let link = peer.subscriber(2);
    let all = peer.messages(ORIGIN, 4);
    for at in [1, 2, 3] {
        peer.push(link, &all[at]);
    }
    assert_eq!(peer.log(ORIGIN).high(), 3);
    assert_eq!(peer.counted("bundles_without_room"), 1);
    let refused = peer.log(ORIGIN).refused;
    assert_eq!(refused, Some(peer.core.now.mono), "nobody owes it now");
    peer.push(link, &all[0]);
    assert_eq!(peer.seqs(), [1, 2, 3]);
}

#[test]
fn what_comes_out_of_order_is_missed_and_looked_for_soon() {
    let mut peer = Peer::member();
    let link = peer.subscriber(2);
    let all = peer.messages(ORIGIN, 6);
    for at in [0, 3, 5] {
        peer.push(link, &all[at]);
    }
    assert_eq!(missing(&peer), [(2, 3), (5, 5)]);
    let soon = peer.core.now.mono + Micros::from_millis(20);
    assert_eq!(peer.group().repair_due, Some(soon));
    peer.push(link, &all[4]);
    assert_eq!(missing(&peer), [(2, 3)]);
}

#[test]
fn a_late_push_teaches_how_long_to_wait_and_one_that_was_asked_for_does_not() {
    for (asked, lateness_us) in [(false, (50_000 * 7 + 90_000) / 8), (true, 50_000)] {
        let mut peer = Peer::member();
        let link = peer.subscriber(2);
        let all = peer.messages(ORIGIN, 3);
        peer.push(link, &all[0]);
        peer.push(link, &all[2]);
        peer.wait_ms(90);
        let now = peer.core.now.mono;
        if asked {
            peer.log_mut(ORIGIN).missing.ranges_mut()[0].asked = Some((link, now));
        }
        peer.push(link, &all[1]);
        assert_eq!(peer.group().lateness_us, lateness_us);
    }
}

#[test]
fn an_answer_to_a_pull_lets_more_be_asked_for_and_a_push_does_not() {
    let mut peer = Peer::member();
    let link = peer.subscriber(2);
    let all = peer.messages(ORIGIN, 2);
    peer.link_mut(link).set_pull_budget(1_000);
    peer.push(link, &all[0]);
    assert_eq!(peer.link_mut(link).pull_budget(), 1_000);
    peer.serve(link, &all[1]);
    assert_eq!(peer.link_mut(link).pull_budget(), 1_064);
    let most = peer.core.config.groups.pull_bytes;
    peer.link_mut(link).set_pull_budget(most);
    peer.serve(link, &all[1]);
    assert_eq!(peer.link_mut(link).pull_budget(), most);
}

#[test]
fn the_sender_of_a_bundle_has_it_whether_or_not_it_is_new() {
    let mut peer = Peer::member();
    let links = [2, 3].map(|number| peer.subscriber(number));
    let first = peer.messages(ORIGIN, 1).remove(0);
    for link in links {
        peer.push(link, &first);
        let remote = peer.multicast.remotes.get(link, peer.id);
        assert!(remote.is_some_and(|remote| remote.covers(log_key(ORIGIN), 1, 1)));
    }
}

#[test]
fn what_is_new_is_announced_soon_and_not_by_all_at_once() {
    let mut peer = Peer::member();
    let link = peer.subscriber(2);
    let all = peer.messages(ORIGIN, 2);
    peer.push(link, &all[0]);
    let due = peer.group().announce_due.expect("soon");
    let after = due.since(peer.core.now.mono);
    let announce_us = peer.core.config.groups.announce_ms * 1_000;
    assert!(
        (announce_us / 4 * 3 - 2_000..announce_us / 4 * 5).contains(&after.0),
        "{after:?}"
    );
    peer.wait_ms(10);
    peer.push(link, &all[1]);
    assert_eq!(peer.group().announce_due, Some(due), "together");
}
