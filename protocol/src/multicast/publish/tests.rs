//! What shares a bundle, in which order it goes, and when a publisher is refused.

use super::batch::BATCH_MESSAGES_MAX;
use crate::base::interface::{Event, LinkId};
use crate::base::message::{PublishError, PublishOptions, Published};
use crate::base::name::GroupName;
use crate::core::Stopping;
use crate::core::config::Config;
use crate::multicast::fixture::{Peer, news};
use crate::multicast::{Multicast, MulticastEvent};
use bytes::Bytes;

/// A member whose messages go to these neighbours, which write only when they are told to.
fn publisher<const N: usize>(config: Config, numbers: [u8; N]) -> (Peer, [LinkId; N]) {
    let mut peer = Peer::member_with(config);
    let links = numbers.map(|number| peer.subscriber(number));
    peer.see(&numbers.map(|number| (1, number, 10)));
    peer.writes_wait = true;
    (peer, links)
}

fn publish_with(
    peer: &mut Peer,
    bytes: usize,
    options: PublishOptions,
) -> Result<u64, PublishError> {
    let payload = Bytes::from(vec![7; bytes]);
    let id = peer.call(|groups, cx| groups.publish_one(cx, &news(), payload, options));
    id.map(|id| id.seq)
}

fn publish(peer: &mut Peer, bytes: usize) -> Result<u64, PublishError> {
    publish_with(peer, bytes, PublishOptions::default())
}

fn publish_many(peer: &mut Peer, bytes: &[usize]) -> Result<(u64, usize), PublishError> {
    let messages: Vec<Bytes> = bytes.iter().map(|bytes| vec![7; *bytes].into()).collect();
    let published = peer.call(|groups, cx| groups.publish_many(cx, &news(), &messages));
    published.map(|Published { first, count }| (first.seq, count))
}

fn acknowledged() -> PublishOptions {
    PublishOptions {
        acknowledge: true,
        ..PublishOptions::default()
    }
}

/// A link has written all that it was given, and says so. Others go on waiting.
fn written(peer: &mut Peer, link: LinkId) {
    peer.write(link);
    peer.writes_wait = true;
    peer.call(|groups, cx| groups.on_written(cx, link));
}

#[test]
fn a_lone_message_goes_at_once() {
    let (mut peer, [link]) = publisher(Config::default(), [2]);
    assert_eq!(publish(&mut peer, 10), Ok(1));
    assert_eq!(peer.bundles(link), [(1, 1)]);
    written(&mut peer, link);
    assert_eq!(publish(&mut peer, 10), Ok(2));
    assert_eq!(peer.bundles(link), [(2, 1)]);
    assert_eq!(peer.awaited, []);
}

#[test]
fn messages_share_a_bundle_while_the_last_is_written_to_half_of_the_next_peers() {
    let (mut peer, [one, other, third]) = publisher(Config::default(), [2, 3, 4]);
    let seqs: Vec<_> = (0..4).map(|_| publish(&mut peer, 10)).collect();
    assert_eq!(seqs, [Ok(1), Ok(2), Ok(3), Ok(4)]);
    assert_eq!(peer.bundles(one), [(1, 1)]);
    peer.awaited.sort_unstable();
    assert_eq!(peer.awaited, [one, other, third], "once for each link");
    written(&mut peer, other);
    assert_eq!(peer.bundles(one), [], "two of three still write");
    written(&mut peer, one);
    assert_eq!(peer.bundles(one), [(2, 3)]);
    assert_eq!(peer.bundles(third), [(1, 1), (2, 3)]);
    // The next bundle is asked about anew.
    peer.awaited.clear();
    assert_eq!(publish(&mut peer, 10), Ok(5));
    assert_eq!(peer.bundles(one), []);
    assert_eq!(peer.awaited.len(), 3);
}

#[test]
fn what_waits_for_a_link_that_writes_nothing_goes_after_a_while() {
    let (mut peer, [link]) = publisher(Config::default(), [2]);
    publish(&mut peer, 10).expect("taken");
    publish(&mut peer, 10).expect("taken");
    peer.bundles(link);
    let due = peer.core.in_ms(20);
    assert_eq!(peer.multicast.batches_due(), Some(due));
    peer.wait_ms(19);
    peer.call(Multicast::on_batches_timeout);
    assert_eq!(peer.bundles(link), []);
    peer.wait_ms(1);
    peer.call(Multicast::on_batches_timeout);
    assert_eq!(peer.multicast.batches_due(), None);
    written(&mut peer, link);
    assert_eq!(peer.bundles(link), [(2, 1)]);
}

#[test]
fn a_bundle_that_is_full_does_not_wait() {
    let mut config = Config::default();
    config.groups.batch_bytes = 100;
    let (mut peer, [link]) = publisher(config, [2]);
    publish(&mut peer, 10).expect("taken");
    for _ in 0..3 {
        publish(&mut peer, 40).expect("taken");
    }
    written(&mut peer, link);
    assert_eq!(peer.bundles(link), [(1, 1), (2, 2), (4, 1)]);

    let (mut peer, [link]) = publisher(Config::default(), [2]);
    for _ in 0..BATCH_MESSAGES_MAX + 2 {
        publish(&mut peer, 1).expect("taken");
    }
    written(&mut peer, link);
    let last = BATCH_MESSAGES_MAX as u64 + 2;
    let all = [(1, 1), (2, BATCH_MESSAGES_MAX), (last, 1)];
    assert_eq!(peer.bundles(link), all);
}

#[test]
fn order_and_seqs_are_kept_between_what_shares_a_bundle_and_what_does_not() {
    let (mut peer, [link]) = publisher(Config::default(), [2]);
    let piece = peer.core.config.groups.fragment_bytes;
    let mut headers = PublishOptions::default();
    headers.headers.insert("key", "value").expect("valid");
    assert_eq!(publish(&mut peer, 1), Ok(1));
    assert_eq!(publish(&mut peer, 2), Ok(2));
    assert_eq!(publish_with(&mut peer, 3, acknowledged()), Ok(3));
    assert_eq!(publish(&mut peer, 4), Ok(4));
    assert_eq!(publish_with(&mut peer, 5, headers), Ok(5));
    assert_eq!(publish(&mut peer, 6), Ok(6));
    assert_eq!(publish(&mut peer, 2 * piece + 7), Ok(7));
    assert_eq!(publish(&mut peer, 10), Ok(10));
    for _ in 0..5 {
        written(&mut peer, link);
    }
    let mut next = 1;
    let mut lengths = Vec::new();
    for header in peer.headers(link) {
        assert_eq!(header.seq, next);
        next = header.last_seq() + 1;
        let headers: u32 = header.header_lengths.iter().sum();
        lengths.extend(header.lengths.iter().map(|bytes| bytes - headers));
    }
    let piece = piece as u32;
    assert_eq!(lengths, [1, 2, 3, 4, 5, 6, piece, piece, 7, 10]);
}

#[test]
fn a_bulk_message_before_does_not_hold_up_a_small_one() {
    let (mut peer, _) = publisher(Config::default(), [2]);
    let bulk = peer.core.config.groups.bulk_bytes + 1;
    publish(&mut peer, bulk).expect("taken");
    publish(&mut peer, 10).expect("taken");
    assert!(peer.multicast.batching.is_empty());
    publish(&mut peer, 10).expect("taken");
    assert!(!peer.multicast.batching.is_empty(), "a small one does");
}

#[test]
fn leaving_a_group_releases_what_waits() {
    let (mut peer, [link]) = publisher(Config::default(), [2]);
    publish(&mut peer, 10).expect("taken");
    publish(&mut peer, 10).expect("taken");
    peer.call(|groups, cx| groups.leave_group(cx, &news()).expect("is a member"));
    assert_eq!(peer.bundles(link), [(1, 1), (2, 1)]);
}

#[test]
fn many_are_taken_up_to_the_first_that_takes_several_seqs_or_is_refused() {
    let (mut peer, _) = publisher(Config::default(), [2]);
    let max = peer.core.config.groups.message_bytes_max;
    let piece = peer.core.config.groups.fragment_bytes;
    assert_eq!(publish_many(&mut peer, &[1, 2, piece + 1, 3]), Ok((1, 2)));
    assert_eq!(publish_many(&mut peer, &[piece + 1, 3]), Ok((3, 1)));
    assert_eq!(publish_many(&mut peer, &[1]), Ok((5, 1)));
    let refused = Err(PublishError::TooLarge {
        bytes: max + 1,
        max,
    });
    assert_eq!(publish_many(&mut peer, &[max + 1, 1]), refused);
    assert_eq!(publish_many(&mut peer, &[]), Ok((6, 0)), "nothing changed");
    assert_eq!(peer.group().stats.published, 4);
}

#[test]
fn a_publisher_is_refused_while_links_are_congested_and_told_when_they_are_not() {
    let mut config = Config::default();
    config.flow.data_queue_bytes = 64 << 10;
    let (mut peer, [link]) = publisher(config, [2]);
    let results: Vec<_> = (0..1_000).map(|_| publish(&mut peer, 20_000)).collect();
    let taken = results.iter().take_while(|result| result.is_ok()).count();
    assert!(taken > 1);
    assert_eq!(results.last(), Some(&Err(PublishError::Busy)));
    assert!(peer.counted("publishers_told_busy") > 0);
    peer.events.clear();
    for _ in 0..1_000 {
        peer.write(link);
    }
    peer.call(Multicast::on_room);
    let sendable = |event: &Event| matches!(event, Event::Sendable { .. });
    assert_eq!(
        peer.events.iter().filter(|event| sendable(event)).count(),
        1
    );
    assert_eq!(publish(&mut peer, 10), Ok(taken as u64 + 1));
}

#[test]
fn shutdown_releases_what_waits_and_takes_nothing_more() {
    let (mut peer, [link]) = publisher(Config::default(), [2]);
    publish(&mut peer, 10).expect("taken");
    publish(&mut peer, 10).expect("taken");
    let confirmed = peer.look(|groups, cx| groups.is_confirmed(cx, |_, _, _| true));
    assert!(!confirmed, "something waits to share a bundle");
    peer.call(Multicast::close_batches);
    let confirmed = peer.look(|groups, cx| groups.is_confirmed(cx, |_, _, _| true));
    assert!(confirmed);
    let until = peer.core.in_ms(1_000);
    peer.core.stopping = Some(Stopping::Leaving(until));
    assert_eq!(publish(&mut peer, 10), Err(PublishError::Stopped));
    written(&mut peer, link);
    assert_eq!(peer.bundles(link), [(1, 1), (2, 1)]);
}

#[test]
fn a_new_epoch_keeps_what_waits_to_share_a_bundle() {
    let (mut peer, [link]) = publisher(Config::default(), [2]);
    publish(&mut peer, 10).expect("taken");
    publish(&mut peer, 10).expect("taken");
    let former = peer.net.epoch();
    peer.begin_epoch(former + 1);
    peer.call(|groups, cx| groups.on_own_epoch_changed(cx, former));
    peer.call(Multicast::close_batches);
    written(&mut peer, link);
    assert_eq!(peer.bundles(link), [(1, 1), (1, 1)]);
    assert_eq!(publish(&mut peer, 10), Ok(2));
}

#[test]
fn an_acknowledged_message_that_is_cut_by_a_new_epoch_is_renumbered() {
    let mut config = Config::default();
    config.flow.bulk_queue_bytes = 64 << 10;
    let (mut peer, _) = publisher(config, [2]);
    let piece = peer.core.config.groups.fragment_bytes;
    let published = publish_with(&mut peer, 40 * piece, acknowledged());
    assert_eq!(published, Ok(1));
    peer.multicast.events.clear();
    assert!(peer.multicast.releasing.contains(&peer.id), "some waits");
    let id = peer.id;
    let former = peer.net.epoch();
    peer.begin_epoch(former + 1);
    peer.call(|groups, cx| groups.on_own_epoch_changed(cx, former));
    let told = peer
        .multicast
        .events
        .drain(..)
        .find_map(|event| match event {
            MulticastEvent::Renumbered { group, former, now } => Some((group, former, now)),
            _ => None,
        });
    assert_eq!(told, Some((id, (former, 1), (former + 1, 1))));
}

#[test]
fn the_bundles_of_a_mesh_stay_small_enough_to_be_pushed() {
    let mut config = Config::default();
    config.groups.mesh_push_bytes = 1_000;
    let (mut peer, [link]) = publisher(config, [2]);
    peer.group_mut().settings.values.redundancy = 2;
    for _ in 0..4 {
        publish(&mut peer, 400).expect("taken");
    }
    written(&mut peer, link);
    assert_eq!(peer.bundles(link), [(1, 1), (2, 2), (4, 1)]);
}

#[test]
fn without_links_every_message_goes_by_itself_into_the_own_log() {
    let mut peer = Peer::member();
    for seq in 1..4 {
        assert_eq!(publish(&mut peer, 10), Ok(seq));
    }
    assert!(peer.multicast.batching.is_empty());
    assert!(!peer.group().own.has_unreleased());
}

#[test]
fn a_sender_takes_part_in_no_more_groups_than_allowed() {
    let mut config = Config::default();
    config.groups.groups_max = 1;
    let mut peer = Peer::member_with(config);
    let mut publish = |name: &str| {
        let name = GroupName::new(name).expect("valid");
        let options = PublishOptions::default();
        peer.call(|groups, cx| groups.publish_one(cx, &name, Bytes::new(), options))
    };
    assert!(publish("other").is_ok(), "there is room for broadcast");
    let refused = Err(PublishError::TooManyGroups { max: 1 });
    assert_eq!(publish("third"), refused);
    assert_eq!(peer.multicast.groups.len(), 2);
}

#[test]
fn a_publisher_that_no_memory_was_left_for_is_woken_before_its_group_is_open() {
    let mut peer = Peer::new(Config::default());
    peer.multicast.held_bytes = usize::MAX;
    assert_eq!(publish(&mut peer, 3), Err(PublishError::Busy));
    peer.multicast.held_bytes = 0;
    peer.call(Multicast::wake_publishers);
    assert_eq!(peer.events, [Event::Sendable { group: news() }]);
}
