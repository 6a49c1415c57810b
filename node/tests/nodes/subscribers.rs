//! Local subscribers.

use crate::common::{
    builder, delivered, group, join, memberships, receive, soon, spawn, spawn_beside, until,
};
use futures::StreamExt;
use hedgerow::{DeliveryConfig, Gap, History, JoinOptions};

#[tokio::test]
async fn a_slow_subscriber_gets_a_gap_and_slows_nobody() {
    const MESSAGES: u64 = 2_000;
    let alice = spawn(builder()).await;
    let delivery = DeliveryConfig {
        messages_max: 100,
        ..DeliveryConfig::default()
    };
    let bob = spawn(
        builder()
            .connect(&alice.listen_addresses())
            .delivery(delivery),
    )
    .await;
    let (mut with_alice, mut slow) = (join(&alice, "news").await, join(&bob, "news").await);
    for number in 1..=MESSAGES {
        with_alice
            .publish(number.to_string())
            .await
            .expect("publishes");
    }
    // Everything has come to bob, though nobody has read there.
    for number in 1..=MESSAGES {
        assert_eq!(receive(&mut with_alice).await.payload, number.to_string());
    }
    until("everything has come", async || {
        delivered(&bob, "news").await == MESSAGES
    })
    .await;

    let first = soon("a gap", slow.next()).await.expect("goes on");
    assert_eq!(
        first,
        Err(Gap::Lagged {
            messages: MESSAGES - 100
        })
    );
    for number in MESSAGES - 99..=MESSAGES {
        assert_eq!(receive(&mut slow).await.payload, number.to_string());
    }
}

#[tokio::test]
async fn a_second_subscriber_gets_its_history_from_here() {
    let alice = spawn(builder()).await;
    let mut first = join(&alice, "news").await;
    for text in ["one", "two", "three"] {
        first.publish(text).await.expect("publishes");
        assert_eq!(receive(&mut first).await.payload, text);
    }
    let options = JoinOptions {
        history: History::Last(2),
        ..JoinOptions::default()
    };
    let mut second = alice.join(&group("news"), options).await.expect("joins");
    let mut third = alice
        .subscribe(&group("news"), History::SinceMs(60_000))
        .await
        .expect("fine");
    first.publish("four").await.expect("publishes");
    for text in ["two", "three", "four"] {
        assert_eq!(receive(&mut second).await.payload, text);
    }
    for text in ["one", "two", "three", "four"] {
        assert_eq!(receive(&mut third).await.payload, text);
    }
    assert_eq!(receive(&mut first).await.payload, "four");
}

#[tokio::test]
async fn leaving_ends_all_subscribers_and_joining_again_begins_anew() {
    let alice = spawn(builder()).await;
    let bob = spawn_beside(&alice).await;
    let with_alice = join(&alice, "news").await;
    let mut with_bob = join(&bob, "news").await;
    let mut also = bob
        .subscribe(&group("news"), History::None)
        .await
        .expect("subscribes");
    bob.leave(&group("news")).await.expect("leaves");
    assert!(soon("the stream ends", with_bob.next()).await.is_none());
    assert!(soon("the stream ends", also.next()).await.is_none());
    with_alice.publish("unheard").await.expect("publishes");

    let mut again = join(&bob, "news").await;
    with_alice.publish("heard").await.expect("publishes");
    assert_eq!(receive(&mut again).await.payload, "heard");
}

#[tokio::test]
async fn subscribing_does_not_join() {
    let alice = spawn(builder()).await;
    let mut waiting = alice
        .subscribe(&group("news"), History::None)
        .await
        .expect("subscribes");
    assert!(memberships(&alice).await.is_empty());
    let news = join(&alice, "news").await;
    news.publish("now").await.expect("publishes");
    assert_eq!(receive(&mut waiting).await.payload, "now");
}
