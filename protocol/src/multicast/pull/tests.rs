//! Who is asked for what is missing, and when it is given up.

use super::{DENIED_MS, FAILURES_MAX, LOOKS_PER_ROUND, RANGES_PER_PULL, REST_MS, ROUND_MS};
use crate::base::interface::LinkId;
use crate::base::message::History;
use crate::base::time::Micros;
use crate::multicast::fixture::{ORIGIN, Peer, held, key, wanted};
use crate::wire::frame::{Digest, Frame, Pull};
use hedgerow_topology::Class;

/// The first wait before a pull with the default settings, ms.
const GRACE_MS: u64 = 100;
/// No answer has come in time, ms.
const LATE_MS: u64 = 1_001;

/// A member with this neighbour, which has pushed the first and the third message and holds the second.
fn lacking_one(peer: &mut Peer) -> LinkId {
    let link = peer.subscriber(2);
    let all = peer.messages(ORIGIN, 3);
    peer.push(link, &all[0]);
    peer.push(link, &all[2]);
    peer.tell(link, vec![held(ORIGIN, 1, 3, &[])]);
    link
}

#[test]
fn what_is_missing_is_asked_for_once_it_had_time_to_come_by_itself() {
    let mut peer = Peer::member();
    let link = lacking_one(&mut peer);
    peer.repair_after_ms(GRACE_MS - 1);
    assert_eq!(peer.pulls(link), []);
    peer.repair_after_ms(1);
    assert_eq!(peer.pulls(link), [wanted(ORIGIN, &[(2, 2)])]);
    peer.repair_after_ms(GRACE_MS);
    assert_eq!(peer.pulls(link), [], "it has been asked");
}

#[test]
fn nothing_is_asked_for_before_the_baseline() {
    let mut peer = Peer::joiner(History::None);
    let link = lacking_one(&mut peer);
    peer.repair_after_ms(GRACE_MS);
    assert_eq!(peer.pulls(link), []);
}

#[test]
fn the_nearest_that_holds_it_is_asked_first_and_another_when_no_answer_comes() {
    let mut peer = Peer::member();
    let near = lacking_one(&mut peer);
    let far = peer.subscriber(3);
    peer.tell(far, vec![held(ORIGIN, 1, 3, &[])]);
    peer.measure(near, 5_000);
    peer.measure(far, 50_000);
    let budget = peer.link_mut(near).pull_budget();
    peer.repair_after_ms(GRACE_MS);
    assert_eq!(peer.pulls(near), [wanted(ORIGIN, &[(2, 2)])]);
    assert_eq!(peer.pulls(far), []);
    // The answer has as long as is set, and two round trips.
    peer.repair_after_ms(1_010);
    assert_eq!((peer.pulls(near), peer.pulls(far)), (vec![], vec![]));
    assert_eq!(peer.counted("pulls_unanswered"), 0);
    peer.repair_after_ms(1);
    assert_eq!(peer.pulls(near), []);
    assert_eq!(peer.pulls(far), [wanted(ORIGIN, &[(2, 2)])]);
    assert_eq!(peer.counted("pulls_unanswered"), 1);
    assert_eq!(peer.link_mut(near).pull_budget(), budget / 2);
}

#[test]
fn a_link_on_which_bulk_flows_is_slow_and_not_silent() {
    let mut peer = Peer::member();
    let link = lacking_one(&mut peer);
    peer.repair_after_ms(GRACE_MS);
    peer.wait_ms(500);
    let now = peer.core.now.mono;
    peer.link_mut(link).note_bundle_received(now);
    peer.repair_after_ms(LATE_MS - 1);
    assert_eq!(peer.counted("pulls_unanswered"), 0);
    peer.repair_after_ms(1);
    assert_eq!(peer.counted("pulls_unanswered"), 1);
}

#[test]
fn when_all_were_asked_in_vain_they_rest_before_they_are_asked_again() {
    let mut peer = Peer::member();
    let link = lacking_one(&mut peer);
    peer.repair_after_ms(GRACE_MS);
    for _ in 1..peer.core.config.groups.pull_attempts {
        peer.repair_after_ms(LATE_MS);
    }
    let asked = usize::from(peer.core.config.groups.pull_attempts);
    assert_eq!(peer.pulls(link), vec![wanted(ORIGIN, &[(2, 2)]); asked]);
    peer.repair_after_ms(LATE_MS);
    peer.repair_after_ms(REST_MS + GRACE_MS - 1);
    assert_eq!(peer.pulls(link), []);
    peer.repair_after_ms(1);
    assert_eq!(peer.pulls(link), [wanted(ORIGIN, &[(2, 2)])]);
}

#[test]
fn after_six_pulls_in_vain_a_neighbours_announcements_are_not_believed() {
    let mut peer = Peer::member();
    let link = peer.subscriber(2);
    let origins = ORIGIN..ORIGIN + FAILURES_MAX;
    for origin in origins.clone() {
        let first = peer.messages(origin, 1).remove(0);
        peer.push(link, &first);
        peer.tell(link, vec![held(origin, 1, 2, &[])]);
    }
    peer.repair_after_ms(GRACE_MS);
    assert_eq!(peer.pulls(link).len(), origins.len(), "one of each log");
    peer.repair_after_ms(LATE_MS);
    assert_eq!(peer.counted("pulls_unanswered"), 6);
    assert_eq!(peer.counted("announcers_ignored"), 1);
    peer.pulls(link);
    peer.repair_after_ms(LATE_MS);
    assert_eq!(peer.pulls(link), []);
    peer.tell(link, vec![held(ORIGIN + 100, 1, 1, &[])]);
    assert!(peer.group().sought.is_empty(), "nor is what it tells next");
}

#[test]
fn an_answer_ends_a_row_of_pulls_in_vain() {
    let mut peer = Peer::member();
    let link = lacking_one(&mut peer);
    peer.repair_after_ms(GRACE_MS);
    peer.repair_after_ms(LATE_MS);
    let failures = |peer: &Peer| {
        let remote = peer.multicast.remotes.get(link, peer.id);
        remote.map(|remote| remote.failures)
    };
    assert_eq!(failures(&peer), Some(1));
    let second = peer.messages(ORIGIN, 2).remove(1);
    peer.serve(link, &second);
    assert_eq!(failures(&peer), Some(0));
}

#[test]
fn where_nobody_holds_the_front_of_a_range_the_rest_is_asked_for_and_digests() {
    let mut peer = Peer::member();
    let link = peer.subscriber(2);
    let all = peer.messages(ORIGIN, 6);
    peer.push(link, &all[0]);
    peer.push(link, &all[5]);
    peer.tell(link, vec![held(ORIGIN, 4, 6, &[])]);
    peer.repair_after_ms(GRACE_MS);
    let group = peer.id;
    let pull = Pull {
        group,
        wanted: vec![wanted(ORIGIN, &[(4, 5)])],
    };
    let ask = Digest {
        group,
        ask: true,
        entries: Vec::new(),
    };
    assert_eq!(peer.heard(link), [Frame::from(pull), Frame::from(ask)]);
    peer.repair_after_ms(500);
    assert_eq!(peer.heard(link), [], "digests are asked for once a second");
}

#[test]
fn no_more_is_asked_of_a_link_than_may_be_on_its_way() {
    let mut peer = Peer::member();
    let link = peer.subscriber(2);
    let all = peer.messages(ORIGIN, 5);
    peer.push(link, &all[0]);
    peer.push(link, &all[4]);
    peer.tell(link, vec![held(ORIGIN, 1, 5, &[])]);
    let weight = all[0].weight();
    peer.link_mut(link).set_pull_budget(2 * weight + weight / 2);
    peer.repair_after_ms(GRACE_MS);
    assert_eq!(peer.pulls(link), [wanted(ORIGIN, &[(2, 3)])]);
    peer.repair_after_ms(ROUND_MS);
    assert_eq!(peer.pulls(link), []);
    // What has come makes room.
    peer.serve(link, &all[1]);
    peer.link_mut(link).set_pull_budget(2 * weight + weight / 2);
    peer.repair_after_ms(ROUND_MS);
    assert_eq!(peer.pulls(link), [wanted(ORIGIN, &[(4, 4)])]);
}

#[test]
fn a_round_asks_for_a_bounded_number_of_ranges_and_rests_after_many() {
    let mut peer = Peer::member();
    let link = lacking_one(&mut peer);
    let holes = 2 * LOOKS_PER_ROUND + 1;
    peer.tell(link, vec![held(ORIGIN, 1, 3 * holes, &[])]);
    let now = peer.core.now.mono;
    let missing = &mut peer.log_mut(ORIGIN).missing;
    missing.remove(0, u64::MAX);
    for hole in 2..2 + holes {
        missing.add_range(2 * hole, 2 * hole, now);
    }
    peer.repair_after_ms(GRACE_MS);
    let pulls = peer.pulls(link);
    assert_eq!(pulls.len(), 1);
    assert_eq!(pulls[0].ranges.range_count(), RANGES_PER_PULL);
    let now = peer.core.now.mono;
    let next = now + Micros::from_millis(2 * ROUND_MS);
    assert_eq!(peer.group().repair_due, Some(next));
    assert_eq!(peer.counted("repair_looks"), holes);
}

#[test]
fn what_the_parent_may_still_push_is_not_asked_of_others() {
    let mut peer = Peer::member();
    let parent = peer.subscriber(2);
    let other = peer.subscriber(3);
    peer.see(&[(1, 2, 10), (2, ORIGIN, 30), (1, 3, 200), (3, ORIGIN, 200)]);
    let all = peer.messages(ORIGIN, 3);
    peer.push(parent, &all[0]);
    peer.push(parent, &all[2]);
    peer.tell(other, vec![held(ORIGIN, 1, 3, &[])]);
    let id = peer.id;
    let route = peer.look(|groups, cx| groups.route(cx, id, key(ORIGIN).peer(), Class::Normal));
    let takes_us = route.and_then(|route| route.delay_us).expect("a way") * 2;
    assert!(takes_us > 0);
    peer.repair_after_ms(GRACE_MS);
    assert_eq!(peer.pulls(other), []);
    peer.repair_after_ms(takes_us / 1_000 + 1);
    assert_eq!(peer.pulls(other), [wanted(ORIGIN, &[(2, 2)])]);
}

#[test]
fn what_the_parent_has_and_did_not_push_is_asked_for_without_a_further_wait() {
    let mut peer = Peer::member();
    let parent = peer.subscriber(2);
    peer.see(&[(1, 2, 10), (2, ORIGIN, 30)]);
    let all = peer.messages(ORIGIN, 3);
    peer.push(parent, &all[0]);
    peer.push(parent, &all[2]);
    peer.tell(parent, vec![held(ORIGIN, 1, 3, &[])]);
    peer.repair_after_ms(GRACE_MS);
    assert_eq!(peer.pulls(parent), [wanted(ORIGIN, &[(2, 2)])]);
}

#[test]
fn while_pushes_flow_what_follows_them_is_not_asked_of_others() {
    let mut peer = Peer::member();
    let parent = peer.subscriber(2);
    let other = peer.subscriber(3);
    let all = peer.messages(ORIGIN, 20);
    for bundle in &all[..15] {
        peer.push(parent, bundle);
        peer.tell(other, vec![held(ORIGIN, 1, 20, &[])]);
        peer.repair_after_ms(10);
        assert_eq!(peer.pulls(other), []);
    }
    peer.repair_after_ms(150);
    assert_eq!(peer.pulls(other), [wanted(ORIGIN, &[(16, 20)])]);
}

#[test]
fn when_a_link_goes_down_what_was_asked_of_it_is_asked_of_another() {
    let mut peer = Peer::member();
    let gone = lacking_one(&mut peer);
    let other = peer.subscriber(3);
    peer.tell(other, vec![held(ORIGIN, 1, 3, &[])]);
    peer.measure(gone, 1_000);
    peer.measure(other, 2_000);
    peer.repair_after_ms(GRACE_MS);
    assert_eq!(peer.pulls(gone).len(), 1);
    peer.group_mut().repair_due = None;
    peer.lose(gone);
    assert!(peer.group().repair_due.is_some());
    peer.repair_after_ms(ROUND_MS);
    assert_eq!(peer.pulls(other), [wanted(ORIGIN, &[(2, 2)])]);
    assert_eq!(peer.counted("pulls_unanswered"), 0);
}

/// A member both of whose neighbours have let go what it lacks.
fn denied_by_both(peer: &mut Peer) -> [LinkId; 2] {
    let link = peer.subscriber(2);
    let other = peer.subscriber(3);
    let all = peer.messages(ORIGIN, 3);
    peer.push(link, &all[0]);
    peer.push(link, &all[2]);
    peer.deny(link, wanted(ORIGIN, &[(2, 2)]), true);
    peer.tell(other, vec![held(ORIGIN, 4, 3, &[])]);
    [link, other]
}

#[test]
fn what_all_neighbours_have_let_go_is_a_gap_after_a_while() {
    let mut peer = Peer::member();
    denied_by_both(&mut peer);
    peer.repair_after_ms(DENIED_MS - 1);
    assert_eq!((peer.gaps(), peer.seqs()), (vec![], vec![1]));
    peer.repair_after_ms(1);
    assert_eq!((peer.gaps(), peer.seqs()), (vec![(2, 2)], vec![3]));
    assert_eq!(peer.counted("ranges_given_up"), 1);
}

#[test]
fn a_neighbour_that_has_not_told_what_it_holds_may_hold_it() {
    let mut peer = Peer::member();
    denied_by_both(&mut peer);
    peer.subscriber(4);
    peer.repair_after_ms(DENIED_MS);
    assert_eq!(peer.gaps(), []);
    let patience = peer.core.config.groups.gap_timeout_ms;
    peer.repair_after_ms(patience - DENIED_MS);
    assert_eq!(peer.gaps(), [], "not longer than is set");
    peer.repair_after_ms(1);
    assert_eq!(peer.gaps(), [(2, 2)]);
}

#[test]
fn without_neighbours_nothing_is_given_up() {
    let mut peer = Peer::member();
    for link in denied_by_both(&mut peer) {
        peer.lose(link);
    }
    let patience = peer.core.config.groups.gap_timeout_ms;
    peer.repair_after_ms(2 * patience);
    assert_eq!(peer.gaps(), []);
}

#[test]
fn an_origin_that_may_come_back_is_waited_for_and_one_that_has_left_or_lives_on_is_not() {
    for (left, later, gaps) in [
        (false, 0, vec![]),
        (true, 0, vec![(2, 2)]),
        (false, 1, vec![(2, 2)]),
    ] {
        let mut peer = Peer::member();
        denied_by_both(&mut peer);
        peer.state(ORIGIN, &[], |record| {
            record.left = left;
            record.epoch += later;
        });
        peer.repair_after_ms(DENIED_MS);
        assert_eq!(peer.gaps(), gaps, "left {left}, {later} lives later");
    }
}

#[test]
fn an_origin_that_is_a_neighbour_denies_as_others_do() {
    let mut peer = Peer::member();
    let origin = peer.subscriber(ORIGIN);
    denied_by_both(&mut peer);
    peer.repair_after_ms(DENIED_MS);
    assert_eq!(peer.gaps(), [], "it has told nothing yet");
    peer.tell(origin, vec![held(ORIGIN, 4, 3, &[])]);
    peer.repair_after_ms(ROUND_MS);
    assert_eq!(peer.gaps(), [(2, 2)]);
}

#[test]
fn what_somebody_can_serve_is_waited_for_as_long_as_the_log_grows() {
    let mut peer = Peer::member();
    let link = lacking_one(&mut peer);
    let patience = peer.core.config.groups.gap_timeout_ms;
    peer.wait_ms(patience);
    let fourth = peer.messages(ORIGIN, 4).remove(3);
    peer.push(link, &fourth);
    peer.repair_after_ms(patience);
    assert_eq!(peer.gaps(), []);
    peer.repair_after_ms(1);
    assert_eq!(peer.gaps(), [(2, 2)]);
}
