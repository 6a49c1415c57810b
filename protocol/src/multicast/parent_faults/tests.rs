//! What is a parent's fault and what is not, and what follows from faults.

use super::{APART_MS, CHARGED_MAX, EASE_PUSHED_MS, QUESTION_MS, RAISES, REFUSED_MS, STALE_MS};
use crate::base::identity::PeerKey;
use crate::base::interface::{Event, LinkEnd, LinkId};
use crate::base::ranges::RangeSet;
use crate::base::time::Micros;
use crate::multicast::Multicast;
use crate::multicast::fixture::{ME, ORIGIN, Peer, held, key, sign, wanted};
use crate::overlay::links::Link;
use crate::wire::Bundle;
use crate::wire::frame::{Frame, Pull, Wanted};
use std::slice::from_ref;

/// The links to 2 and 3, in the order in which they come up.
const PARENT: LinkId = LinkId(1);
const SERVER: LinkId = LinkId(2);

/// A member whose parent is 2, while 3 can serve as well; both compute the same trees.
fn child() -> Peer {
    let mut peer = Peer::member();
    peer.subscriber(2);
    peer.subscriber(3);
    peer.see(&[(ME, 2, 10), (2, ORIGIN, 10), (ME, 3, 100), (3, ORIGIN, 100)]);
    peer.agree(&[PARENT, SERVER]);
    peer
}

/// Both neighbours hold the first messages of the origin, and have pushed none.
fn told(peer: &mut Peer, count: u64) -> Vec<Bundle> {
    let all = peer.messages(ORIGIN, count + 1);
    peer.push(SERVER, &all[count as usize]);
    for link in [PARENT, SERVER] {
        peer.tell(link, vec![held(ORIGIN, 1, count, &[])]);
    }
    all
}

fn faults(peer: &Peer) -> u64 {
    peer.counted("parent_faults")
}

#[test]
fn a_parent_that_had_what_had_to_be_pulled_from_another_is_at_fault() {
    let mut peer = child();
    let all = told(&mut peer, 1);
    peer.serve(SERVER, &all[0]);
    assert_eq!(faults(&peer), 1);
    let against = |number| peer.multicast.parent_faults.against(key(number).peer());
    assert_eq!((against(2).pulled, against(2).raised), (1, 0));
    assert_eq!(against(3).pulled, 0, "it owed nothing");
}

/// What a peer looks like when it is about to pull; a change of it, and why there is no fault then.
type Excuse = (&'static str, fn(&mut Peer));

fn parent(peer: &mut Peer) -> &mut Link {
    peer.link_mut(PARENT)
}

#[test]
fn nobody_owes_what_it_may_not_have_known_to_owe() {
    let excuses: [Excuse; 6] = [
        ("its database never equalled ours", |peer| {
            parent(peer).set_equal_at(None);
        }),
        ("not since the graph changed", |peer| {
            parent(peer).set_equal_at(Some(Micros(1)));
        }),
        ("not for long", |peer| peer.wait_ms(STALE_MS + 1)),
        ("the graph is new", |peer| {
            peer.see(&[(ME, 2, 10), (2, ORIGIN, 10), (ME, 3, 90), (3, ORIGIN, 90)]);
            peer.agree_still(&[PARENT, SERVER]);
        }),
        ("a push found no memory here lately", |peer| {
            peer.wait_ms(REFUSED_MS - 1);
            peer.agree_still(&[PARENT, SERVER]);
        }),
        ("a frame of it is coming in", |peer| {
            parent(peer).begin_frame();
        }),
    ];
    for (why, excuse) in excuses {
        let mut peer = child();
        let all = told(&mut peer, 1);
        if why.contains("memory") {
            let now = peer.core.now.mono;
            peer.log_mut(ORIGIN).refused = Some(now);
        }
        excuse(&mut peer);
        peer.serve(SERVER, &all[0]);
        assert_eq!(faults(&peer), 0, "{why}");
    }
}

#[test]
fn what_a_push_without_memory_excused_is_owed_again_after_a_while() {
    let mut peer = child();
    let all = told(&mut peer, 1);
    let now = peer.core.now.mono;
    peer.log_mut(ORIGIN).refused = Some(now);
    peer.wait_ms(REFUSED_MS);
    peer.agree_still(&[PARENT]);
    peer.serve(SERVER, &all[0]);
    assert_eq!(faults(&peer), 1);
}

#[test]
fn a_parent_does_not_owe_what_it_is_not_known_to_have_or_got_under_another_tree() {
    // It tells of nothing.
    let mut peer = child();
    let all = peer.messages(ORIGIN, 2);
    peer.push(SERVER, &all[1]);
    peer.serve(SERVER, &all[0]);
    assert_eq!(faults(&peer), 0);
    // It tells of it while trees differ: it may have got it when this peer was no child of it.
    let mut peer = child();
    parent(&mut peer).set_equal_at(None);
    let all = told(&mut peer, 1);
    peer.agree_still(&[PARENT, SERVER]);
    peer.serve(SERVER, &all[0]);
    assert_eq!(faults(&peer), 0);
}

#[test]
fn an_origin_owes_nobody_its_own_messages() {
    let mut peer = Peer::member();
    let (origin, server) = (peer.subscriber(ORIGIN), peer.subscriber(3));
    peer.see(&[(ME, ORIGIN, 10), (ME, 3, 100), (3, ORIGIN, 100)]);
    peer.agree(&[origin, server]);
    let all = peer.messages(ORIGIN, 2);
    peer.push(server, &all[1]);
    peer.tell(origin, vec![held(ORIGIN, 1, 2, &[])]);
    peer.serve(server, &all[0]);
    assert_eq!(faults(&peer), 0);
}

#[test]
fn what_was_pushed_or_never_noticed_missing_is_no_fault() {
    let mut peer = child();
    let all = told(&mut peer, 1);
    peer.push(SERVER, &all[0]);
    let next = peer.messages(ORIGIN, 3).remove(2);
    peer.serve(SERVER, &next);
    assert_eq!(faults(&peer), 0);
}

#[test]
fn a_burst_is_one_fault() {
    let mut peer = child();
    let all = told(&mut peer, 4);
    peer.serve(SERVER, &all[0]);
    peer.serve(SERVER, &all[1]);
    peer.wait_ms(APART_MS - 1);
    peer.serve(SERVER, &all[2]);
    assert_eq!(faults(&peer), 1);
    peer.wait_ms(1);
    peer.serve(SERVER, &all[3]);
    assert_eq!(faults(&peer), 2);
}

/// A run of faults of the parent.
fn run(peer: &mut Peer) {
    for _ in 0..5 {
        peer.wait_ms(1_250);
        peer.call(|groups, cx| groups.record_fault(cx, key(2).peer()));
    }
}

fn raised(peer: &Peer) -> Option<u32> {
    peer.net.surcharge(key(2).peer())
}

fn ended(peer: &Peer) -> Vec<(LinkId, LinkEnd)> {
    let ended = peer.events.iter().filter_map(|event| match event {
        Event::LinkDown { link, reason, .. } => Some((*link, *reason)),
        _ => None,
    });
    ended.collect()
}

#[test]
fn a_run_of_faults_raises_the_cost_of_the_link_and_the_third_drops_it() {
    let mut peer = child();
    for step in 1..=RAISES {
        assert_eq!(raised(&peer), (step > 1).then(|| step - 1));
        peer.net.take_adverts_changed();
        run(&mut peer);
        assert_eq!(raised(&peer), Some(step));
        assert!(peer.net.take_adverts_changed(), "the record states it");
        assert_eq!(
            peer.multicast.parent_faults.against(key(2).peer()).pulled,
            0
        );
    }
    assert_eq!(ended(&peer), []);
    run(&mut peer);
    assert_eq!(ended(&peer), [(PARENT, LinkEnd::Withheld)]);
    assert_eq!(peer.counted("parents_raised"), u64::from(RAISES));
    assert_eq!(peer.counted("parents_dropped"), 1);
}

#[test]
fn faults_within_less_time_are_no_run() {
    let mut peer = child();
    for _ in 0..20 {
        peer.wait_ms(APART_MS);
        peer.call(|groups, cx| groups.record_fault(cx, key(2).peer()));
    }
    assert_eq!(raised(&peer), None);
}

#[test]
fn a_parent_that_alone_connects_this_peer_to_others_is_not_dropped() {
    // Behind 2 lies somebody whom no other way leads to; and a peer with one link.
    let mut behind = child();
    behind.see(&[(ME, 2, 10), (2, ORIGIN, 10), (ME, 3, 100)]);
    let mut single = Peer::member();
    single.subscriber(2);
    single.see(&[]);
    for mut peer in [behind, single] {
        for _ in 0..=RAISES {
            run(&mut peer);
        }
        assert_eq!(ended(&peer), []);
        assert_eq!(peer.counted("parents_needed"), 1);
    }
}

#[test]
fn no_more_parents_are_charged_than_are_remembered() {
    let mut peer = child();
    for number in 0..=CHARGED_MAX as u32 {
        let mut stranger = [7; 32];
        stranger[..4].copy_from_slice(&number.to_be_bytes());
        peer.call(|groups, cx| groups.record_fault(cx, PeerKey(stranger)));
    }
    assert_eq!(faults(&peer), CHARGED_MAX as u64);
    assert_eq!(peer.counted("parent_faults_untracked"), 1);
}

/// The parent is asked for what is pulled from the other neighbour.
fn question(peer: &mut Peer, wanted: &Wanted) -> Vec<Frame> {
    let id = peer.id;
    peer.heard(PARENT);
    peer.call(|groups, cx| groups.question_parent(cx, id, wanted, SERVER));
    peer.heard(PARENT)
}

/// The parent has told nothing; the other neighbour holds the first messages.
fn silent(peer: &mut Peer, count: u64) -> Vec<Bundle> {
    let all = peer.messages(ORIGIN, count + 1);
    peer.push(SERVER, &all[count as usize]);
    peer.tell(SERVER, vec![held(ORIGIN, 1, count, &[])]);
    all
}

#[test]
fn a_parent_is_asked_now_and_then_for_the_first_of_what_another_serves() {
    let mut peer = child();
    silent(&mut peer, 3);
    let pull = Frame::from(Pull {
        group: peer.id,
        wanted: vec![wanted(ORIGIN, &[(1, 1)])],
    });
    let all = wanted(ORIGIN, &[(1, 3)]);
    assert_eq!(question(&mut peer, &all), from_ref(&pull));
    peer.wait_ms(QUESTION_MS - 1);
    assert_eq!(question(&mut peer, &all), []);
    peer.wait_ms(1);
    assert_eq!(question(&mut peer, &all), [pull]);
    assert_eq!(peer.counted("parents_questioned"), 2);
}

#[test]
fn a_parent_is_not_asked_for_what_it_does_not_owe_or_serves_anyway() {
    let mut peer = child();
    silent(&mut peer, 3);
    let all = wanted(ORIGIN, &[(1, 3)]);
    let id = peer.id;
    peer.call(|groups, cx| groups.question_parent(cx, id, &all, PARENT));
    assert_eq!(peer.pulls(PARENT), []);
    // Of what is not missing, of nothing, and while trees may differ.
    assert_eq!(question(&mut peer, &wanted(ORIGIN, &[(9, 9)])), []);
    let nothing = Wanted {
        ranges: RangeSet::new(),
        ..all.clone()
    };
    assert_eq!(question(&mut peer, &nothing), []);
    parent(&mut peer).set_equal_at(None);
    assert_eq!(question(&mut peer, &all), []);
    assert_eq!(peer.counted("parents_questioned"), 0);
}

#[test]
fn what_a_parent_serves_that_should_have_pushed_it_is_its_fault_once() {
    let mut peer = child();
    let all = silent(&mut peer, 3);
    question(&mut peer, &wanted(ORIGIN, &[(1, 3)]));
    for bundle in &all[..3] {
        peer.serve(SERVER, bundle);
    }
    // What it was not asked for as a parent says nothing.
    peer.serve(PARENT, &all[1]);
    assert_eq!(faults(&peer), 0);
    peer.serve(PARENT, &all[0]);
    assert_eq!(faults(&peer), 1);
    peer.wait_ms(APART_MS);
    peer.agree_still(&[PARENT]);
    peer.serve(PARENT, &all[0]);
    assert_eq!(faults(&peer), 1, "the same again");
}

#[test]
fn a_parent_that_has_pushed_meanwhile_is_late_and_kept_nothing() {
    let mut peer = child();
    let all = silent(&mut peer, 3);
    question(&mut peer, &wanted(ORIGIN, &[(1, 3)]));
    peer.serve(SERVER, &all[0]);
    peer.wait_ms(10);
    peer.push(PARENT, &all[1]);
    peer.serve(PARENT, &all[0]);
    assert_eq!(faults(&peer), 0);
}

#[test]
fn a_push_forgives_but_not_one_of_what_the_pusher_has_published() {
    for (pusher, pulled) in [(2, 0), (ORIGIN, 1)] {
        let mut peer = child();
        let link = match pusher {
            2 => PARENT,
            other => peer.subscriber(other),
        };
        peer.call(|groups, cx| groups.record_fault(cx, key(pusher).peer()));
        let first = peer.messages(ORIGIN, 1).remove(0);
        peer.push(link, &first);
        let against = peer.multicast.parent_faults.against(key(pusher).peer());
        assert_eq!(against.pulled, pulled, "pushed by {pusher}");
    }
}

#[test]
fn a_late_push_of_what_was_pulled_forgives_and_the_same_again_does_not() {
    let mut peer = child();
    let all = told(&mut peer, 1);
    peer.serve(SERVER, &all[0]);
    let pulled = |peer: &Peer| peer.multicast.parent_faults.against(key(2).peer()).pulled;
    assert_eq!(pulled(&peer), 1);
    peer.wait_ms(10);
    peer.push(PARENT, &all[0]);
    assert_eq!(pulled(&peer), 0);
    peer.wait_ms(APART_MS);
    peer.call(|groups, cx| groups.record_fault(cx, key(2).peer()));
    peer.push(PARENT, &all[0]);
    assert_eq!(pulled(&peer), 1);
}

#[test]
fn a_raised_cost_falls_when_the_parent_pushes_again_and_by_time() {
    let mut peer = child();
    run(&mut peer);
    run(&mut peer);
    assert_eq!(raised(&peer), Some(2));
    let all = peer.messages(ORIGIN, 2);
    peer.wait_ms(EASE_PUSHED_MS - 1);
    peer.push(PARENT, &all[0]);
    assert_eq!(raised(&peer), Some(2), "too soon");
    peer.wait_ms(1);
    peer.push(PARENT, &all[1]);
    assert_eq!(raised(&peer), Some(1));
    // By time: twice as long after the second raise.
    let due = peer.multicast.parent_faults.due().expect("in a while");
    assert_eq!(due.since(peer.core.now.mono), Micros::from_millis(120_000));
    peer.wait_ms(119_999);
    peer.call(Multicast::on_parent_faults_timeout);
    assert_eq!(raised(&peer), Some(1));
    peer.wait_ms(1);
    peer.call(Multicast::on_parent_faults_timeout);
    assert_eq!(raised(&peer), None);
    // What is neither raised nor new is forgotten.
    peer.wait_ms(120_000);
    peer.call(Multicast::on_parent_faults_timeout);
    assert_eq!(peer.multicast.parent_faults.due(), None);
}

#[test]
fn a_push_beyond_the_window_excuses_nobody() {
    let mut peer = child();
    told(&mut peer, 1);
    let window = peer.core.config.groups.window;
    for (seq, refused) in [(window + 1, false), (window, true)] {
        let header = peer.header(ORIGIN, seq);
        let bundle = sign(ORIGIN, header);
        peer.call(|groups, cx| groups.note_refused(cx.as_ref(), &bundle));
        assert_eq!(peer.log(ORIGIN).refused.is_some(), refused, "{seq}");
    }
}
