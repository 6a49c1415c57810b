//! What shares a bundle, what waits for how long, and in which order all of it goes.

use super::batch::BATCH_MESSAGES_MAX;
use crate::base::interface::{Event, LinkId};
use crate::base::message::{PublishError, PublishOptions, Published};
use crate::base::status::Role;
use crate::core::config::Config;
use crate::multicast::Multicast;
use crate::multicast::fixture::{ME, Peer, news};
use crate::wire::{BundleHeader, Frame};
use bytes::Bytes;

/// How long messages wait for the last bundle, ms.
const WAIT_MS: u64 = 20;

/// A member with one child.
fn parent_with(config: Config) -> (Peer, LinkId) {
    let mut peer = Peer::member_with(config);
    let child = peer.subscriber(2);
    peer.see(&[(ME, 2, 10)]);
    peer.heard(child);
    (peer, child)
}

fn parent() -> (Peer, LinkId) {
    parent_with(Config::default())
}

/// The same, to whose child a bundle is being written.
fn writing() -> (Peer, LinkId) {
    let (mut peer, child) = parent();
    peer.writes_wait = true;
    assert_eq!(publish(&mut peer, "first"), 1);
    assert_eq!(bundles(&mut peer, child), [(1, 1)]);
    (peer, child)
}

fn publish_with(peer: &mut Peer, text: &str, options: PublishOptions) -> u64 {
    let text = Bytes::copy_from_slice(text.as_bytes());
    let published = peer.call(|groups, cx| groups.publish_one(cx, &news(), text, options));
    published.expect("is taken").seq
}

/// Publishes a message; gives its seq.
fn publish(peer: &mut Peer, text: &str) -> u64 {
    publish_with(peer, text, PublishOptions::default())
}

fn publish_many(peer: &mut Peer, messages: &[Bytes]) -> Result<(u64, usize), PublishError> {
    let published = peer.call(|groups, cx| groups.publish_many(cx, &news(), messages));
    published.map(|Published { first, count }| (first.seq, count))
}

/// The bundles that a neighbour was sent since the last look: first seq, and how many messages.
fn bundles(peer: &mut Peer, link: LinkId) -> Vec<(u64, u64)> {
    let frames = peer.heard(link).into_iter();
    let headers = frames.filter_map(|frame| match frame {
        Frame::Bundle(frame, _) => BundleHeader::decode(&frame.signed).ok(),
        _ => None,
    });
    headers.map(|header| (header.seq, header.count())).collect()
}

fn written(peer: &mut Peer, link: LinkId) {
    peer.write(link);
    peer.call(|groups, cx| groups.on_written(cx, link));
}

#[test]
fn what_comes_while_a_bundle_is_written_shares_the_next() {
    let (mut peer, child) = writing();
    assert_eq!([publish(&mut peer, "b"), publish(&mut peer, "c")], [2, 3]);
    assert_eq!(bundles(&mut peer, child), []);
    written(&mut peer, child);
    assert_eq!(bundles(&mut peer, child), [(2, 2)]);
    assert_eq!(publish(&mut peer, "d"), 4);
    assert_eq!(
        bundles(&mut peer, child),
        [(4, 1)],
        "nothing is being written"
    );
}

#[test]
fn half_of_the_children_decide() {
    let mut peer = Peer::member();
    let children = [2, 3, 4].map(|number| peer.subscriber(number));
    peer.see(&[(ME, 2, 10), (ME, 3, 10), (ME, 4, 10)]);
    peer.writes_wait = true;
    publish(&mut peer, "a");
    publish(&mut peer, "b");
    for child in children {
        peer.heard(child);
    }
    peer.write(children[0]);
    peer.writes_wait = true;
    peer.call(|groups, cx| groups.on_written(cx, children[0]));
    assert_eq!(
        bundles(&mut peer, children[0]),
        [],
        "two of three are writing"
    );
    written(&mut peer, children[1]);
    assert_eq!(bundles(&mut peer, children[0]), [(2, 1)]);
}

#[test]
fn nothing_waits_for_longer_than_20_ms() {
    let (mut peer, child) = writing();
    publish(&mut peer, "b");
    let due = peer
        .look(|groups, _| groups.batches_due())
        .expect("one waits");
    assert_eq!(due.since(peer.core.now.mono).as_millis(), WAIT_MS);
    for (ms, sent) in [(WAIT_MS - 1, vec![]), (1, vec![(2, 1)])] {
        peer.wait_ms(ms);
        peer.call(Multicast::on_batches_timeout);
        assert_eq!(bundles(&mut peer, child), sent);
    }
    assert_eq!(peer.look(|groups, _| groups.batches_due()), None);
}

#[test]
fn a_full_bundle_does_not_wait() {
    let (mut peer, child) = writing();
    let kib = Bytes::from(vec![7; 1 << 10]);
    assert_eq!(publish_many(&mut peer, &vec![kib; 70]), Ok((2, 70)));
    assert_eq!(bundles(&mut peer, child), [(2, 64)], "64 KiB");
    written(&mut peer, child);
    assert_eq!(bundles(&mut peer, child), [(66, 6)]);
    peer.writes_wait = true;
    let empty = vec![Bytes::new(); BATCH_MESSAGES_MAX + 1];
    publish(&mut peer, "one is being written");
    bundles(&mut peer, child);
    assert_eq!(publish_many(&mut peer, &empty), Ok((73, 1_025)));
    assert_eq!(bundles(&mut peer, child), [(73, 1_024)]);
}

#[test]
fn what_goes_alone_keeps_its_place() {
    let (mut peer, child) = writing();
    publish(&mut peer, "b");
    let options = PublishOptions {
        acknowledge: true,
        ..PublishOptions::default()
    };
    assert_eq!(publish_with(&mut peer, "c", options), 3);
    assert_eq!(bundles(&mut peer, child), [(2, 1), (3, 1)]);
    assert_eq!(publish(&mut peer, "d"), 4);
    assert_eq!(bundles(&mut peer, child), []);
    written(&mut peer, child);
    assert_eq!(bundles(&mut peer, child), [(4, 1)]);
}

#[test]
fn messages_are_taken_until_one_takes_several_seqs_or_is_refused() {
    let mut config = Config::default();
    config.groups.message_bytes_max = 1 << 20;
    let piece = config.groups.fragment_bytes;
    let (mut peer, child) = parent_with(config);
    let small = Bytes::from_static(b"small");
    let large = Bytes::from(vec![7; 2 * piece + 1]);
    let too_large = Bytes::from(vec![7; (1 << 20) + 1]);
    let given = [small.clone(), large.clone(), small.clone()];
    assert_eq!(publish_many(&mut peer, &given), Ok((1, 1)));
    assert_eq!(publish_many(&mut peer, &given[1..]), Ok((2, 1)));
    assert_eq!(
        publish_many(&mut peer, &given[2..]),
        Ok((5, 1)),
        "after three pieces"
    );
    let refused = publish_many(&mut peer, &[too_large.clone(), small.clone()]);
    assert!(matches!(refused, Err(PublishError::TooLarge { .. })));
    assert_eq!(
        publish_many(&mut peer, &[small.clone(), too_large]),
        Ok((6, 1))
    );
    assert_eq!(publish_many(&mut peer, &[]), Ok((7, 0)));
    let sent: Vec<u64> = bundles(&mut peer, child)
        .iter()
        .map(|(seq, _)| *seq)
        .collect();
    assert_eq!(sent, [1, 2, 3, 4, 5, 6]);
    assert_eq!(peer.group().stats.published, 4);
}

#[test]
fn a_publisher_that_leaves_releases_what_waits() {
    let (mut peer, child) = writing();
    publish(&mut peer, "b");
    peer.call(|groups, cx| groups.leave_group(cx, &news()).expect("leaves"));
    assert_eq!(bundles(&mut peer, child), [(2, 1)]);
    let (mut peer, child) = writing();
    publish(&mut peer, "b");
    let is_confirmed =
        |peer: &Peer| peer.look(|groups, cx| groups.is_confirmed(cx, |_, _, _| true));
    assert!(!is_confirmed(&peer), "one waits");
    peer.call(Multicast::close_batches);
    assert_eq!(bundles(&mut peer, child), [(2, 1)]);
    assert!(is_confirmed(&peer));
}

#[test]
fn whoever_publishes_without_having_joined_is_a_sender() {
    let mut peer = Peer::new(Config::default());
    assert_eq!(publish(&mut peer, "a"), 1);
    assert_eq!(peer.group().role, Role::Sender);
    assert!(peer.delivered.is_empty());
}

#[test]
fn a_publisher_that_no_memory_was_left_for_is_woken_before_its_group_is_open() {
    let mut peer = Peer::new(Config::default());
    peer.multicast.held_bytes = usize::MAX;
    let one = Bytes::from_static(b"one");
    let options = PublishOptions::default;
    let refused = peer.call(|groups, cx| groups.publish_one(cx, &news(), one, options()));
    assert_eq!(refused, Err(PublishError::Busy));
    peer.multicast.held_bytes = 0;
    peer.call(Multicast::wake_publishers);
    assert_eq!(peer.events, [Event::Sendable { group: news() }]);
}
