//! Messages that share a bundle, and its signature, arrive as if each had been published alone.

use crate::support::{
    GROUP, assert_clean, join_all, settled, texts, wait, wait_delivered, wait_joined, with_history,
};
use bytes::Bytes;
use hedgerow_protocol::{History, SettingsPatch};
use hedgerow_testnet::sim::{Bandwidth, Sim};

/// `count` messages of one origin, some of them empty or equal.
fn messages(origin: usize, round: usize, count: usize) -> Vec<Bytes> {
    let text = |number: usize| match number % 5 {
        0 => Bytes::new(),
        1 => Bytes::from_static(b"the same again"),
        _ => format!("{origin} in round {round}: {number}").into(),
    };
    (0..count).map(text).collect()
}

fn bundles_sent(sim: &Sim) -> u64 {
    let links = sim.alive().into_iter();
    links
        .flat_map(|node| sim.engine(node).links())
        .map(|link| link.bundles.sent)
        .sum()
}

#[test]
fn they_come_in_order_and_once_whatever_dies_on_the_way() {
    let mut sim = settled(40, 1);
    for round in 0..10 {
        for origin in [0, 13, 26] {
            let payloads = messages(origin, round, 50);
            sim.publish_many(origin, GROUP, &payloads)
                .expect("is taken");
            sim.publish(origin, GROUP, format!("alone {round}"));
        }
        if round == 5 {
            for node in [7, 21, 33] {
                sim.crash(node);
            }
        }
        sim.run_for(100);
    }
    wait_delivered(&mut sim, 20_000);
    sim.run_for(5_000);
    assert_clean(&mut sim);
}

#[test]
fn many_share_a_signature_and_a_frame() {
    let mut sim = settled(20, 2);
    let before = bundles_sent(&sim);
    sim.publish_many(3, GROUP, &messages(3, 0, 500))
        .expect("is taken");
    wait_delivered(&mut sim, 5_000);
    let sent = bundles_sent(&sim) - before;
    assert!(sent <= 20, "{sent} bundles for one to each of 19 others");
    assert_clean(&mut sim);
}

#[test]
fn a_late_joiner_asks_for_some_of_a_bundle() {
    let mut sim = Sim::builder().nodes(9).idle_from(8).seed(3).build();
    join_all(&mut sim, 0..8);
    wait_joined(&mut sim);
    let payloads: Vec<Bytes> = (0..30).map(|it| format!("old {it}").into()).collect();
    sim.publish_many(2, GROUP, &payloads).expect("is taken");
    sim.run_for(3_000);
    sim.start_node(8);
    sim.join_with(8, GROUP, with_history(History::Last(4)));
    wait(&mut sim, 10_000, "history", |sim| {
        sim.deliveries(8).count() >= 4
    });
    sim.run_for(5_000);
    assert_eq!(texts(&sim, 8), ["old 26", "old 27", "old 28", "old 29"]);
    assert_clean(&mut sim);
}

/// Bundles for one neighbour that a lone publisher's messages take.
fn bundles_for(sim: &mut Sim, messages: &[Bytes]) -> u64 {
    let before = bundles_sent(sim);
    assert_eq!(sim.publish_many(0, GROUP, messages), Ok(messages.len()));
    wait_delivered(sim, 5_000);
    bundles_sent(sim) - before
}

#[test]
fn a_bundle_has_a_limit_and_a_mesh_shares_less() {
    let mut sim = settled(2, 4);
    let messages = vec![Bytes::from(vec![7; 1 << 10]); 100];
    let in_a_tree = bundles_for(&mut sim, &messages);
    assert_eq!(in_a_tree, 2, "64 KiB fit into a bundle");
    let many = vec![Bytes::new(); 1_025];
    assert_eq!(bundles_for(&mut sim, &many), 2, "1,024 fit into a bundle");
    let patch = SettingsPatch {
        redundancy: Some(2),
        ..SettingsPatch::default()
    };
    sim.try_set_group(0, GROUP, patch).expect("is taken");
    let in_a_mesh = bundles_for(&mut sim, &messages);
    assert!(in_a_mesh > in_a_tree, "{in_a_mesh}");
    assert_clean(&mut sim);
}

#[test]
fn what_comes_while_a_bundle_is_written_shares_the_next() {
    // 32 KiB take 50 ms on this line: longer than anything waits.
    let mut sim = Sim::builder()
        .nodes(2)
        .bandwidth(Bandwidth::mbit(5, 5))
        .seed(5)
        .build();
    join_all(&mut sim, 0..2);
    wait_joined(&mut sim);
    let before = bundles_sent(&sim);
    sim.publish(0, GROUP, vec![7; 32 << 10]);
    for number in 0..20 {
        sim.publish(0, GROUP, format!("{number}"));
    }
    sim.run_for(10);
    assert_eq!(bundles_sent(&sim) - before, 1, "the first is being written");
    sim.run_for(15);
    assert_eq!(bundles_sent(&sim) - before, 2, "20 ms are over");
    wait_delivered(&mut sim, 5_000);
    // A lone message finds nothing being written.
    sim.run_for(1_000);
    sim.publish(0, GROUP, "alone");
    assert_eq!(bundles_sent(&sim) - before, 3);
    // Neither does the next, as soon as the transport has said so.
    sim.run_for(1);
    sim.publish(0, GROUP, "another");
    assert_eq!(bundles_sent(&sim) - before, 4);
    wait_delivered(&mut sim, 5_000);
    assert_clean(&mut sim);
}
