//! Ten nodes that know only one of them.

use crate::common::{
    builder, delivered, join, receive_many, sees, soon, spawn, spawn_beside, until,
};
use hedgerow::{JoinOptions, Node, PublishOptions};

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
