//! What is published arrives.

use crate::common::{
    PATIENCE, QUIC, TCP, builder, group, join, quick, receive, receive_many, soon, spawn,
    spawn_beside, until,
};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use hedgerow::{
    Arrival, JoinOptions, Node, NodeError, PublishError, PublishOptions, SettingsPatch,
};
use std::time::Duration;

async fn both_ways(listen: &str) {
    let listen = listen.parse().expect("a valid address");
    let alice = spawn(quick().listen(listen)).await;
    let bob = spawn(quick().connect(&alice.listen_addresses())).await;
    let (mut with_alice, mut with_bob) = (join(&alice, "news").await, join(&bob, "news").await);

    let id = with_alice.publish("from alice").await.expect("publishes");
    let message = receive(&mut with_bob).await;
    assert_eq!((message.id, &message.payload[..]), (id, &b"from alice"[..]));
    assert_ne!(message.arrival, Arrival::Local);
    assert_eq!(receive(&mut with_alice).await.arrival, Arrival::Local);

    with_bob.publish("from bob").await.expect("publishes");
    let message = receive(&mut with_alice).await;
    assert_eq!(
        (message.id.origin, &message.payload[..]),
        (bob.peer(), &b"from bob"[..])
    );
    soon(
        "both stop",
        futures::future::join(alice.shutdown(), bob.shutdown()),
    )
    .await;
}

#[tokio::test]
async fn two_nodes_pass_messages_both_ways_over_tcp() {
    both_ways(TCP).await;
}

#[tokio::test]
async fn two_nodes_pass_messages_both_ways_over_quic() {
    both_ways(QUIC).await;
}

#[tokio::test]
async fn a_sink_keeps_its_order_and_flushes_when_all_is_accepted() {
    let alice = spawn(builder()).await;
    let bob = spawn_beside(&alice).await;
    let (mut with_alice, mut with_bob) = (join(&alice, "news").await, join(&bob, "news").await);
    let expected: Vec<String> = (0..5_000)
        .map(|number| format!("message {number}"))
        .collect();
    let sending = async {
        for text in &expected {
            with_alice
                .feed(text.clone().into())
                .await
                .expect("accepted");
        }
        with_alice.flush().await.expect("all accepted");
    };
    let receiving = receive_many(&mut with_bob, expected.len());
    let ((), got) = soon("all messages", futures::future::join(sending, receiving)).await;
    assert_eq!(
        got.into_iter().collect::<Vec<_>>(),
        [(alice.peer(), expected)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_publishes_faster_than_signatures_are_checked_waits() {
    let alice = spawn(builder()).await;
    let bob = spawn_beside(&alice).await;
    let (mut with_alice, mut with_bob) = (join(&alice, "news").await, join(&bob, "news").await);
    let count = 30_000;
    let sending = async {
        for _ in 0..count {
            with_alice.feed("tick".into()).await.expect("accepted");
        }
        with_alice.flush().await.expect("all accepted");
    };
    let receiving = receive_many(&mut with_bob, count);
    soon("all messages", futures::future::join(sending, receiving)).await;
    let counters = bob.counters().await.expect("runs").values;
    let dropped = counters
        .get("bundles_unchecked")
        .copied()
        .unwrap_or_default();
    assert_eq!(dropped, 0, "dropped, to be pulled again");
}

/// Signatures that `node` has checked.
async fn checks(node: &Node) -> u64 {
    node.counters().await.expect("runs").values["node_verify_jobs"]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_message_goes_alone_and_those_that_wait_share_a_signature() {
    let alice = spawn(builder()).await;
    let bob = spawn_beside(&alice).await;
    let (mut with_alice, mut with_bob) = (join(&alice, "news").await, join(&bob, "news").await);
    let before = checks(&bob).await;
    for _ in 0..10 {
        with_alice.publish("lone").await.expect("publishes");
        receive(&mut with_bob).await;
    }
    let alone = checks(&bob).await;
    assert!(alone >= before + 10, "{before}, {alone}");
    let count = 10_000;
    let sending = async {
        for _ in 0..count {
            with_alice
                .feed("one of many".into())
                .await
                .expect("accepted");
        }
        with_alice.flush().await.expect("all accepted");
    };
    let receiving = receive_many(&mut with_bob, count);
    soon("all messages", futures::future::join(sending, receiving)).await;
    let shared = checks(&bob).await - alone;
    assert!(shared * 8 <= count as u64, "{shared} checks for {count}");
}

#[tokio::test]
async fn large_messages_arrive_whole() {
    let alice = spawn(builder()).await;
    let bob = spawn_beside(&alice).await;
    let (with_alice, mut with_bob) = (join(&alice, "news").await, join(&bob, "news").await);
    let large: Bytes = (0..5_000_000u32)
        .map(|byte| byte.wrapping_mul(2_654_435_761) as u8)
        .collect();
    with_alice.publish(large.clone()).await.expect("publishes");
    with_alice.publish("small").await.expect("publishes");
    assert!(
        receive(&mut with_bob).await.payload == large,
        "changed on the way"
    );
    assert_eq!(receive(&mut with_bob).await.payload, "small");
}

#[tokio::test]
async fn too_large_a_message_is_refused_and_the_next_one_passes() {
    let mut config = hedgerow::Config::default();
    config.groups.message_bytes_max = 100_000;
    let alice = spawn(builder().engine(config)).await;
    let mut news = join(&alice, "news").await;
    let error = news.publish(vec![0; 100_001]).await.expect_err("too large");
    assert!(matches!(
        error,
        NodeError::Publish(PublishError::TooLarge { bytes: 100_001, .. })
    ));
    let error = news
        .send(vec![0; 100_001].into())
        .await
        .expect_err("too large");
    assert!(matches!(error, PublishError::TooLarge { .. }));
    news.send(vec![0; 100_000].into()).await.expect("fits");
    assert_eq!(receive(&mut news).await.payload.len(), 100_000);
}

#[tokio::test]
async fn what_is_published_before_any_link_arrives() {
    let alice = spawn(builder()).await;
    let early = join(&alice, "news").await;
    early.publish("early").await.expect("publishes");
    let bob = spawn_beside(&alice).await;
    let options = JoinOptions {
        history: hedgerow::History::Last(1),
        ..JoinOptions::default()
    };
    let mut with_bob = bob.join(&group("news"), options).await.expect("joins");
    assert_eq!(receive(&mut with_bob).await.payload, "early");
}

#[tokio::test]
async fn a_sender_is_heard_and_hears_nothing() {
    let alice = spawn(builder()).await;
    let bob = spawn_beside(&alice).await;
    let mut with_alice = join(&alice, "news").await;
    let options = PublishOptions::default();
    let news = group("news");
    let send = bob.publish(&news, "from outside".into(), options);
    soon("a sender publishes", send).await.expect("publishes");
    assert_eq!(receive(&mut with_alice).await.payload, "from outside");
    let groups = bob.groups().await.expect("answers");
    assert!(
        groups.iter().all(|status| status.delivered == 0),
        "{groups:?}"
    );
}

#[tokio::test]
async fn acknowledged_messages_say_who_has_them() {
    let alice = spawn(builder()).await;
    let (bob, carol) = (spawn_beside(&alice).await, spawn_beside(&alice).await);
    let with_alice = join(&alice, "news").await;
    let _members = (join(&bob, "news").await, join(&carol, "news").await);
    until("three members", async || {
        with_alice.members().await.expect("answers").len() == 3
    })
    .await;
    let publish = with_alice.publish_acknowledged("to all");
    let result = tokio::time::timeout(PATIENCE, publish)
        .await
        .expect("ends")
        .expect("publishes");
    assert_eq!(result.have, result.of, "{result:?}");
    assert!(result.missing.is_empty() && !result.timed_out, "{result:?}");
}

#[tokio::test]
async fn a_probe_is_answered_by_every_member() {
    let alice = spawn(builder()).await;
    let (bob, carol) = (spawn_beside(&alice).await, spawn_beside(&alice).await);
    let with_alice = join(&alice, "news").await;
    let _members = (join(&bob, "news").await, join(&carol, "news").await);
    until("three members", async || {
        with_alice.members().await.expect("answers").len() == 3
    })
    .await;
    // A probe goes the way that is known at that moment; while it settles, some may miss it.
    let mut others = [bob.peer(), carol.peer()];
    others.sort();
    until("both answer", async || {
        let mut answers = alice.probe(&group("news")).await.expect("probes");
        let mut members = Vec::new();
        while let Ok(Some(answer)) =
            tokio::time::timeout(Duration::from_millis(500), answers.next()).await
        {
            assert_eq!(answer.path.first(), Some(&alice.peer()), "{answer:?}");
            members.push(answer.member);
            if members.len() == others.len() {
                break;
            }
        }
        members.sort();
        members == others
    })
    .await;
}

#[tokio::test]
async fn settings_that_differ_are_refused_and_a_change_reaches_all() {
    let alice = spawn(builder()).await;
    let bob = spawn_beside(&alice).await;
    let mesh = SettingsPatch {
        redundancy: Some(2),
        ..SettingsPatch::default()
    };
    let tree = SettingsPatch {
        redundancy: Some(1),
        ..SettingsPatch::default()
    };
    let as_mesh = JoinOptions {
        settings: mesh,
        ..JoinOptions::default()
    };
    let mut with_alice = alice.join(&group("news"), as_mesh).await.expect("creates");
    let mut with_bob = join(&bob, "news").await;
    let as_tree = JoinOptions {
        settings: tree,
        ..JoinOptions::default()
    };
    let error = alice
        .join(&group("news"), as_tree)
        .await
        .expect_err("differs");
    assert!(matches!(error, NodeError::Join(_)), "{error}");

    let redundancy = async |node: &Node| {
        let settings = node.settings(&group("news")).await.expect("answers");
        settings.map(|settings| settings.redundancy)
    };
    until("the mesh is known", async || {
        redundancy(&bob).await == Some(2)
    })
    .await;
    bob.set_group(&group("news"), tree).await.expect("changes");
    until("the tree is known", async || {
        redundancy(&alice).await == Some(1)
    })
    .await;
    with_bob.publish("still here").await.expect("publishes");
    assert_eq!(receive(&mut with_alice).await.payload, "still here");
    assert_eq!(receive(&mut with_bob).await.payload, "still here");
}
