//! To whom a bundle is pushed, to whom not, and what happens where there is no room.

use crate::base::interface::LinkId;
use crate::core::config::Config;
use crate::multicast::fixture::{ORIGIN, Peer, held, log_key};

/// A member that is next to the origin, and has two children.
fn between(config: Config) -> (Peer, LinkId, [LinkId; 2]) {
    let mut peer = Peer::member_with(config);
    let origin = peer.subscriber(ORIGIN);
    let children = [2, 3].map(|number| peer.subscriber(number));
    peer.see(&[(1, ORIGIN, 10), (1, 2, 10), (1, 3, 10)]);
    (peer, origin, children)
}

#[test]
fn children_get_what_comes_and_nobody_gets_it_back() {
    let (mut peer, origin, [one, other]) = between(Config::default());
    let first = peer.messages(ORIGIN, 1).remove(0);
    peer.push(origin, &first);
    assert_eq!(peer.bundles(one), [(1, 1)]);
    assert_eq!(peer.bundles(other), [(1, 1)]);
    assert_eq!(peer.bundles(origin), []);
}

#[test]
fn a_child_from_which_it_came_does_not_get_it_back() {
    let (mut peer, origin, [one, other]) = between(Config::default());
    // Not even if what it says it has is not believed.
    let until = peer.core.in_ms(1);
    let id = peer.id;
    let remote = peer.multicast.remote_mut(one, id).expect("it has spoken");
    remote.ignored_until = Some(until);
    let first = peer.messages(ORIGIN, 1).remove(0);
    peer.push(one, &first);
    assert_eq!(peer.bundles(one), []);
    assert_eq!(peer.bundles(other), [(1, 1)]);
    assert_eq!(peer.bundles(origin), [], "it is no child");
}

#[test]
fn a_child_that_says_it_has_it_does_not_get_it_unless_it_is_not_believed() {
    let (mut peer, origin, [one, other]) = between(Config::default());
    peer.tell(one, vec![held(ORIGIN, 1, 1, &[])]);
    peer.tell(other, vec![held(ORIGIN, 1, 1, &[])]);
    let until = peer.core.in_ms(1);
    let id = peer.id;
    let remote = peer.multicast.remote_mut(other, id).expect("it has spoken");
    assert!(remote.covers(log_key(ORIGIN), 1, 1));
    remote.ignored_until = Some(until);
    let first = peer.messages(ORIGIN, 1).remove(0);
    peer.push(origin, &first);
    assert_eq!(peer.bundles(one), []);
    assert_eq!(peer.bundles(other), [(1, 1)]);
}

#[test]
fn where_half_of_the_children_have_no_room_they_turn_lazy_and_the_sender_is_slowed() {
    let mut config = Config::default();
    config.flow.data_queue_bytes = 64 << 10;
    let (mut peer, origin, [one, other]) = between(config);
    let all = peer.messages_with(ORIGIN, 200, |header| header.lengths = vec![4_000]);
    peer.writes_wait = true;
    for bundle in &all {
        peer.push(origin, bundle);
        // The second child writes, and the first does not.
        peer.write(other);
        peer.writes_wait = true;
    }
    assert_eq!(peer.bundles(other).len(), all.len());
    assert!(peer.is_lazy(one) && !peer.is_lazy(other));
    assert!(peer.counted("bundles_left_to_pull") > 0);
    assert!(!peer.slowed.is_empty());
    assert!(peer.slowed.iter().all(|link| *link == origin));
    assert_eq!(peer.counted("bundles_slowed"), peer.slowed.len() as u64);
}

#[test]
fn one_congested_child_of_three_slows_nobody() {
    let mut config = Config::default();
    config.flow.data_queue_bytes = 64 << 10;
    let (mut peer, origin, [one, other]) = between(config);
    let third = peer.subscriber(4);
    peer.see(&[(1, ORIGIN, 10), (1, 2, 10), (1, 3, 10), (1, 4, 10)]);
    let all = peer.messages_with(ORIGIN, 200, |header| header.lengths = vec![4_000]);
    peer.writes_wait = true;
    for bundle in &all {
        peer.push(origin, bundle);
        for link in [other, third] {
            peer.write(link);
        }
        peer.writes_wait = true;
    }
    assert!(peer.is_lazy(one));
    assert_eq!(peer.slowed, []);
}
