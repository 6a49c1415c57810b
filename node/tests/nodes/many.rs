//! Ten nodes that know only one of them.

use crate::common::{
    builder, delivered, join, quick, receive, receive_many, sees, soon, spawn, spawn_beside, until,
};
use hedgerow::{Config, JoinOptions, Node, PublishOptions};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn ten_nodes_around_a_hub_get_everything_exactly_once_and_find_each_other() {
    const NODES: usize = 10;
    const MESSAGES: usize = 20;
    let hub = spawn(builder()).await;
    let others: Vec<Node> = futures::future::join_all((1..NODES).map(|_| spawn_beside(&hub))).await;
    let nodes: Vec<Node> = std::iter::once(hub).chain(others).collect();
    for node in &nodes {
        sees(node, NODES).await;
    }
    let mut groups = Vec::new();
    for node in &nodes {
        groups.push(join(node, "news").await);
    }
    for with in &groups {
        until("all members", async || {
            with.members().await.expect("answers").len() == NODES
        })
        .await;
    }
    let texts = |node: &Node| -> Vec<String> {
        (0..MESSAGES)
            .map(|number| format!("{number} of {}", node.peer()))
            .collect()
    };
    for number in 0..MESSAGES {
        for (node, with) in nodes.iter().zip(&groups) {
            with.publish(texts(node)[number].clone())
                .await
                .expect("publishes");
        }
    }
    let expected = nodes
        .iter()
        .map(|node| (node.peer(), texts(node)))
        .collect();
    for with in &mut groups {
        assert_eq!(receive_many(with, NODES * MESSAGES).await, expected);
    }
    for node in &nodes {
        until("several links", async || {
            let links = node.links().await.expect("answers");
            links.iter().filter(|link| link.up).count() >= 3
        })
        .await;
    }
    for node in &nodes {
        let delivered = delivered(node, "news").await;
        assert_eq!(
            delivered,
            (NODES * MESSAGES) as u64,
            "delivered twice, or not at all"
        );
    }
    soon(
        "all stop",
        futures::future::join_all(nodes.iter().map(Node::shutdown)),
    )
    .await;
}

#[tokio::test]
async fn broadcasts_reach_who_joined_them() {
    let alice = spawn(builder()).await;
    let bob = spawn_beside(&alice).await;
    let broadcast = hedgerow::GroupName::broadcast();
    let mut with_bob = bob
        .join(&broadcast, JoinOptions::default())
        .await
        .expect("joins");
    assert!(soon("broadcasts are due", with_bob.joined()).await);
    sees(&alice, 2).await;
    let publish = alice.publish(&broadcast, "to everyone".into(), PublishOptions::default());
    soon("publishes", publish).await.expect("publishes");
    assert_eq!(
        crate::common::receive(&mut with_bob).await.payload,
        "to everyone"
    );
}

/// Links report what they have written once it is worth a wake-up: small messages that are passed
/// on now and then must not look like a line that is full.
#[tokio::test]
async fn small_messages_now_and_then_leave_the_stated_capacity_alone() {
    const LEAVES: usize = 4;
    const MESSAGES: usize = 40;
    let mut config = Config::default();
    config.groups.baseline_ms = 500;
    config.links.capacity_full_ms = 500;
    let hub = spawn(builder().engine(config)).await;
    let leaves = (0..LEAVES).map(|_| spawn(quick().connect(&hub.listen_addresses())));
    let leaves = futures::future::join_all(leaves).await;
    let mut groups = Vec::new();
    for leaf in &leaves {
        sees(leaf, LEAVES + 1).await;
        groups.push(join(leaf, "news").await);
    }
    let mut beat = tokio::time::interval(Duration::from_millis(100));
    for number in 0..MESSAGES {
        beat.tick().await;
        let published = groups[0].publish(number.to_string()).await;
        published.expect("publishes");
        for group in &mut groups[1..] {
            receive(group).await;
        }
    }
    for leaf in &leaves {
        let links = leaf.links().await.expect("answers");
        assert_eq!(links.len(), 1, "only the hub can be dialled");
    }
    let counters = hub.counters().await.expect("answers");
    let lowered = counters.values.get("capacity_lowered");
    assert_eq!(lowered, None, "nothing was slow");
}
