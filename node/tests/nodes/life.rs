//! Starting, stopping, crashing, coming back.

use crate::common::{
    TCP, builder, event, group, join, memberships, quick, receive, sees, soon, spawn, spawn_beside,
    until,
};
use futures::StreamExt;
use hedgerow::{Event, JoinOptions, NodeError, SettingsPatch};

#[tokio::test]
async fn a_restarted_node_is_the_same_peer_in_the_same_groups() {
    let dir = tempfile::tempdir().expect("a directory");
    let alice = spawn(builder()).await;
    let mut with_alice = join(&alice, "news").await;
    let start = || builder().data_dir(dir.path());
    let bob = spawn(start().connect(&alice.listen_addresses())).await;
    let peer = bob.peer();
    let mesh = SettingsPatch {
        redundancy: Some(2),
        ..SettingsPatch::default()
    };
    drop(join(&bob, "news").await);
    bob.keep(&group("news")).await.expect("kept");
    let options = JoinOptions {
        settings: mesh,
        ..JoinOptions::default()
    };
    drop(bob.join(&group("mesh"), options).await.expect("joins"));
    bob.keep(&group("mesh")).await.expect("kept");
    drop(join(&bob, "passing").await);
    sees(&bob, 2).await;
    let first = bob.status().await.expect("answers").epoch;
    soon("bob stops", bob.shutdown()).await;

    // It finds its way back by what it remembers.
    let bob = spawn(start()).await;
    assert_eq!(bob.peer(), peer);
    assert!(bob.status().await.expect("answers").epoch > first);
    assert_eq!(memberships(&bob).await, ["mesh", "news"]);
    let settings = bob
        .settings(&group("mesh"))
        .await
        .expect("answers")
        .expect("joined");
    assert_eq!(settings.redundancy, 2);
    sees(&bob, 2).await;
    let mut with_bob = join(&bob, "news").await;
    with_alice.publish("welcome back").await.expect("publishes");
    assert_eq!(receive(&mut with_bob).await.payload, "welcome back");
    assert_eq!(receive(&mut with_alice).await.payload, "welcome back");
    with_bob
        .publish("good to be back")
        .await
        .expect("publishes");
    assert_eq!(receive(&mut with_alice).await.payload, "good to be back");

    bob.leave(&group("mesh")).await.expect("leaves");
    bob.leave(&group("news")).await.expect("leaves");
    soon("bob stops", bob.shutdown()).await;
    let bob = spawn(start()).await;
    assert!(memberships(&bob).await.is_empty());
}

#[tokio::test]
async fn a_crashed_node_comes_back_as_the_same_peer() {
    let dir = tempfile::tempdir().expect("a directory");
    let alice = spawn(builder()).await;
    let mut with_alice = join(&alice, "news").await;
    let start = || {
        builder()
            .data_dir(dir.path())
            .connect(&alice.listen_addresses())
    };
    for round in 0..3 {
        let bob = spawn(start()).await;
        let with_bob = join(&bob, "news").await;
        let text = format!("round {round}");
        with_bob.publish(text.clone()).await.expect("publishes");
        assert_eq!(receive(&mut with_alice).await.payload, text);
        soon("bob is gone", bob.abort()).await;
    }
}

#[tokio::test]
async fn a_change_of_membership_that_cannot_be_stored_is_not_made() {
    let dir = tempfile::tempdir().expect("a directory");
    let node = spawn(builder().data_dir(dir.path())).await;
    let _news = join(&node, "news").await;
    let _sport = join(&node, "sport").await;
    node.keep(&group("news")).await.expect("is stored");
    // A file cannot take the place of a directory.
    let blocked = dir.path().join(".groups.json.new");
    std::fs::create_dir(&blocked).expect("created");
    for error in [
        node.leave(&group("news")).await.expect_err("not stored"),
        node.keep(&group("sport")).await.expect_err("not stored"),
    ] {
        assert!(matches!(error, NodeError::DataDir { .. }), "{error}");
    }
    assert_eq!(memberships(&node).await, ["news", "sport"]);
    assert!(node.is_kept(&group("news")).await.expect("answers"));
    assert!(!node.is_kept(&group("sport")).await.expect("answers"));
    // Nothing is stored of a membership that is not kept.
    node.leave(&group("sport")).await.expect("leaves");

    std::fs::remove_dir(&blocked).expect("removed");
    node.leave(&group("news")).await.expect("leaves");
    assert!(memberships(&node).await.is_empty());
}

#[tokio::test]
async fn joining_to_stay_is_stored_first_and_refused_without_a_trace() {
    let dir = tempfile::tempdir().expect("a directory");
    let node = spawn(builder().data_dir(dir.path())).await;
    let _news = join(&node, "news").await;
    let before = node.settings(&group("news")).await.expect("answers");
    let redundancy = |redundancy| JoinOptions {
        settings: SettingsPatch {
            redundancy: Some(redundancy),
            ..SettingsPatch::default()
        },
        ..JoinOptions::default()
    };
    let mut events = node.events();
    // A file cannot take the place of a directory.
    let blocked = dir.path().join(".groups.json.new");
    std::fs::create_dir(&blocked).expect("created");
    for name in ["news", "sport"] {
        let refused = node.join_kept(&group(name), redundancy(3)).await;
        assert!(matches!(refused, Err(NodeError::DataDir { .. })), "{name}");
    }
    assert_eq!(memberships(&node).await, ["news"]);
    let after = node.settings(&group("news")).await.expect("answers");
    assert_eq!(after, before);
    assert!(!node.is_kept(&group("news")).await.expect("answers"));

    std::fs::remove_dir(&blocked).expect("removed");
    let sport = node.join_kept(&group("sport"), redundancy(3)).await;
    let sport = sport.expect("joins");
    assert!(soon("a group is joined", sport.joined()).await);
    // Nobody was told of a membership that came to nothing.
    let is_joined = |event: &Event| matches!(event, Event::Joined { .. });
    let first = event(&mut events, "a group is joined", is_joined).await;
    assert!(matches!(first, Event::Joined { group: name, .. } if name == group("sport")));
    let refused = node.join_kept(&group("sport"), redundancy(2)).await;
    assert!(matches!(refused, Err(NodeError::Join(_))));
    assert!(node.is_kept(&group("sport")).await.expect("answers"));

    // It comes back with its settings.
    soon("the node stops", node.shutdown()).await;
    let node = spawn(builder().data_dir(dir.path())).await;
    assert_eq!(memberships(&node).await, ["sport"]);
    let settings = node.settings(&group("sport")).await.expect("answers");
    assert_eq!(settings.map(|settings| settings.redundancy), Some(3));
}

#[tokio::test]
async fn one_data_directory_is_one_process() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = spawn(builder().data_dir(dir.path())).await;
    let error = builder()
        .data_dir(dir.path())
        .spawn()
        .await
        .expect_err("held");
    assert!(matches!(error, NodeError::Locked { .. }), "{error}");
    soon("the first stops", first.shutdown()).await;
    spawn(builder().data_dir(dir.path())).await;
}

#[tokio::test]
async fn a_port_in_use_and_nonsense_are_refused_by_name() {
    let first = spawn(builder()).await;
    let taken = first.listen_addresses()[0].clone();
    let error = quick()
        .listen(taken.clone())
        .spawn()
        .await
        .expect_err("taken");
    let NodeError::Listen { address, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(*address, taken);

    let mut config = hedgerow::Config::default();
    config.links.degree = 0;
    let error = builder()
        .engine(config)
        .spawn()
        .await
        .expect_err("out of range");
    assert!(error.to_string().contains("links.degree"), "{error}");
}

#[tokio::test]
async fn shutdown_says_goodbye_and_releases_the_port() {
    let alice = spawn(builder()).await;
    let bob = spawn_beside(&alice).await;
    let with_alice = join(&alice, "news").await;
    let with_bob = join(&bob, "news").await;
    until("two members", async || {
        with_alice.members().await.expect("answers").len() == 2
    })
    .await;
    let port = bob.listen_addresses()[0].clone();
    let mut events = alice.events();
    let mut bobs = bob.events();
    let before = tokio::time::Instant::now();
    soon("bob stops", bob.shutdown()).await;
    assert!(
        before.elapsed() < std::time::Duration::from_millis(2_500),
        "leaving took too long"
    );
    let stopped = event(&mut bobs, "bob stopped", |event| {
        matches!(event, Event::Stopped { .. })
    });
    assert_eq!(stopped.await, Event::Stopped { confirmed: true });
    event(
        &mut events,
        "the link to bob ends",
        |event| matches!(event, Event::LinkDown { peer, .. } if *peer == bob.peer()),
    )
    .await;
    until("one member", async || {
        with_alice.members().await.expect("answers").len() == 1
    })
    .await;

    let error = with_bob.publish("too late").await.expect_err("stopped");
    assert!(
        matches!(error, NodeError::Stopped | NodeError::Publish(_)),
        "{error}"
    );
    assert!(matches!(bob.status().await, Err(NodeError::Stopped)));
    soon("stopping again is fine", bob.shutdown()).await;
    soon("the port is free", spawn(quick().listen(port))).await;
}

#[tokio::test]
async fn a_node_without_handles_leaves_by_itself() {
    let alice = spawn(builder()).await;
    let bob = spawn_beside(&alice).await;
    let (_, mut subscription) = {
        let news = join(&bob, "news").await;
        news.into_subscription()
    };
    sees(&alice, 2).await;
    drop(bob);
    assert!(soon("the stream ends", subscription.next()).await.is_none());
    sees(&alice, 1).await;
}

#[tokio::test]
async fn a_node_that_only_dials_is_a_full_member() {
    let alice = spawn(builder()).await;
    let bob = spawn(quick().connect(&alice.listen_addresses())).await;
    assert!(bob.listen_addresses().is_empty());
    let mut with_alice = join(&alice, "news").await;
    let with_bob = join(&bob, "news").await;
    with_bob.publish("no port").await.expect("publishes");
    assert_eq!(receive(&mut with_alice).await.payload, "no port");
}

#[tokio::test]
async fn connect_links_running_nodes() {
    let alice = spawn(builder()).await;
    let bob = spawn(quick().listen(TCP.parse().expect("valid"))).await;
    bob.connect(&alice.listen_addresses()[0])
        .await
        .expect("a usable address");
    sees(&alice, 2).await;
    sees(&bob, 2).await;
}

#[tokio::test]
async fn networks_do_not_mix() {
    let alice = spawn(builder()).await;
    let other = hedgerow::NetworkName::new("other").expect("valid");
    let bob = spawn(builder().network(other).connect(&alice.listen_addresses())).await;
    let mut events = bob.events();
    event(&mut events, "refused", |event| {
        matches!(event, Event::LinkDown { .. })
    })
    .await;
    assert_eq!(alice.status().await.expect("answers").view_peers, 1);
}
