use super::*;
use crate::options::DeliveryConfig;
use bytes::Bytes;
use hedgerow_protocol::{Arrival, Delivery, GroupName, Headers, History, MessageId, PeerKey};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn message(seq: u64, published_at: u64, payload: &'static [u8]) -> Delivery {
    Delivery {
        group: GroupName::new("news").expect("valid"),
        id: MessageId {
            origin: PeerKey::default(),
            epoch: 1,
            seq,
        },
        published_at,
        payload: Bytes::from_static(payload),
        headers: Headers::default(),
        hops: 1,
        arrival: Arrival::Pushed,
    }
}

fn limits(messages_max: usize, bytes_max: usize) -> DeliveryConfig {
    DeliveryConfig {
        messages_max,
        bytes_max,
        ..DeliveryConfig::default()
    }
}

/// A ring that was given messages with these times of publication, numbered from 1.
fn ring(times: &[u64], limits: &DeliveryConfig) -> Arc<Ring> {
    let ring = Arc::new(Ring::new(Arc::default()));
    for (seq, at) in (1..).zip(times) {
        ring.push([Ok(message(seq, *at, b"text"))], Instant::now(), limits);
    }
    ring
}

/// Everything that is there now, by seq; gaps as errors.
fn read(subscription: &mut Subscription) -> Vec<Result<u64, Gap>> {
    use futures::{FutureExt, StreamExt};
    std::iter::from_fn(|| subscription.next().now_or_never().flatten())
        .map(|item| item.map(|delivery| delivery.id.seq))
        .collect()
}

#[test]
fn every_subscriber_gets_what_comes_after_it_attached() {
    let limits = DeliveryConfig::default();
    let ring = ring(&[1, 2], &limits);
    let mut first = Subscription::new(ring.clone(), History::None, 10);
    ring.push([Ok(message(3, 3, b""))], Instant::now(), &limits);
    let mut second = Subscription::new(ring.clone(), History::None, 10);
    ring.push([Ok(message(4, 4, b""))], Instant::now(), &limits);
    assert_eq!(read(&mut first), [Ok(3), Ok(4)]);
    assert_eq!(read(&mut second), [Ok(4)]);
    assert_eq!(read(&mut second), []);
}

#[test]
fn history_goes_by_time_of_publication_and_comes_in_order_of_delivery() {
    let limits = DeliveryConfig::default();
    let ring = ring(&[50, 10, 40, 40, 20], &limits);
    let history = |history| read(&mut Subscription::new(ring.clone(), history, 100));
    assert_eq!(history(History::Last(0)), []);
    assert_eq!(history(History::Last(1)), [Ok(1)]);
    assert_eq!(history(History::Last(2)), [Ok(1), Ok(4)]);
    assert_eq!(history(History::Last(3)), [Ok(1), Ok(3), Ok(4)]);
    assert_eq!(history(History::Last(u64::MAX)), [1, 2, 3, 4, 5].map(Ok));
    assert_eq!(history(History::SinceMs(60)), [Ok(1), Ok(3), Ok(4)]);
    assert_eq!(history(History::SinceMs(0)), []);
}

#[test]
fn history_does_not_filter_what_comes_later() {
    let limits = DeliveryConfig::default();
    let ring = ring(&[10, 20], &limits);
    let mut subscription = Subscription::new(ring.clone(), History::Last(1), 30);
    // Published long ago on the other side of a partition, delivered now.
    ring.push([Ok(message(3, 1, b""))], Instant::now(), &limits);
    assert_eq!(read(&mut subscription), [Ok(2), Ok(3)]);
}

#[test]
fn a_slow_subscriber_is_told_how_much_it_missed_and_goes_on() {
    let limits = limits(3, usize::MAX);
    let ring = ring(&[], &limits);
    let mut slow = Subscription::new(ring.clone(), History::None, 0);
    for seq in 1..=10 {
        ring.push([Ok(message(seq, seq, b""))], Instant::now(), &limits);
    }
    assert_eq!(
        read(&mut slow),
        [Err(Gap::Lagged { messages: 7 }), Ok(8), Ok(9), Ok(10)]
    );
}

#[test]
fn what_subscribers_are_overtaken_by_is_counted_once_each() {
    let mut rings = Rings::new(limits(3, usize::MAX), usize::MAX);
    let group = GroupName::new("news").expect("valid");
    let subscribe = |rings: &mut Rings| {
        Subscription::new(rings.get_or_create(&group).clone(), History::None, 0)
    };
    let mut slow = subscribe(&mut rings);
    let stuck = subscribe(&mut rings);
    for seq in 1..=10 {
        let now = Instant::now();
        rings.push(&group, Ok(message(seq, seq, b"")), now);
        rings.flush(now);
    }
    assert_eq!(rings.overtaken(), 0);
    assert_eq!(read(&mut slow).len(), 4);
    assert_eq!(rings.overtaken(), 7);
    // Told and gone, it is not counted again; gone without reading, it is.
    drop(slow);
    assert_eq!(rings.overtaken(), 7);
    drop(stuck);
    assert_eq!(rings.overtaken(), 14);
    // The count outlives the ring.
    rings.close(&group);
    assert_eq!(rings.overtaken(), 14);
}

#[test]
fn bytes_are_bounded_but_the_newest_message_stays() {
    let limits = limits(100, 200);
    let ring = ring(&[1, 2, 3, 4], &limits);
    assert!(ring.bytes() <= 200);
    ring.push([Ok(message(5, 5, &[0; 4096]))], Instant::now(), &limits);
    let mut all = Subscription::new(ring.clone(), History::Last(10), 10);
    assert_eq!(read(&mut all), [Ok(5)]);
}

#[test]
fn the_total_over_groups_is_bounded() {
    let mut rings = Rings::new(DeliveryConfig::default(), 1 << 12);
    let names = ["a", "b", "c"].map(|name| GroupName::new(name).expect("valid"));
    let now = Instant::now();
    for seq in 1..100 {
        for name in &names {
            rings.get_or_create(name);
            rings.push(name, Ok(message(seq, seq, &[0; 100])), now);
            rings.flush(now);
        }
    }
    rings.sweep(now, |_| true);
    assert!(rings.bytes() <= 1 << 12, "{} bytes kept", rings.bytes());
    assert!(
        names
            .iter()
            .all(|name| rings.get(name).is_some_and(|ring| ring.bytes() > 0))
    );
}

#[test]
fn old_messages_and_unused_rings_go() {
    let limits = DeliveryConfig {
        keep_ms: 1_000,
        ..Default::default()
    };
    let mut rings = Rings::new(limits, usize::MAX);
    let [member, waited, unused] =
        ["member", "waited", "unused"].map(|name| GroupName::new(name).expect("valid"));
    let now = Instant::now();
    for name in [&member, &waited, &unused] {
        rings.get_or_create(name);
        rings.push(name, Ok(message(1, 1, b"text")), now);
        rings.flush(now);
    }
    let _waiting = Subscription::new(rings.get_or_create(&waited).clone(), History::None, 0);
    rings.sweep(now + Duration::from_secs(2), |name| *name == member);
    assert_eq!(rings.bytes(), 0);
    assert!(rings.get(&member).is_some() && rings.get(&waited).is_some());
    assert!(rings.get(&unused).is_none());
}

#[tokio::test]
async fn a_closed_ring_is_read_to_its_end() {
    let limits = DeliveryConfig::default();
    let ring = ring(&[], &limits);
    let mut subscription = Subscription::new(ring.clone(), History::None, 0);
    assert_eq!(ring.subscribers(), 1);
    let reader = tokio::spawn(async move {
        let mut items = Vec::new();
        while subscription.recv_many(&mut items, 2).await > 0 {}
        (items.len(), subscription.joined().await)
    });
    for seq in 1..=3 {
        ring.push([Ok(message(seq, seq, b""))], Instant::now(), &limits);
        tokio::task::yield_now().await;
    }
    ring.close();
    assert_eq!(reader.await.expect("ends"), (3, false));
    assert_eq!(ring.subscribers(), 0);
}
