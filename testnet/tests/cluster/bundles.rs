//! Messages that share a bundle, and its signature, arrive as if each had been published alone.

use crate::support::{
    GROUP, assert_clean, join_all, settled, texts, wait, wait_delivered, wait_joined, with_history,
};
use bytes::Bytes;
use hedgerow_protocol::{History, PublishError, SettingsPatch};
use hedgerow_testnet::sim::Sim;

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
            sim.publish_batch(origin, GROUP, &payloads)
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
    sim.publish_batch(3, GROUP, &messages(3, 0, 500))
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
    sim.publish_batch(2, GROUP, &payloads).expect("is taken");
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

#[test]
fn what_does_not_fit_is_refused_and_a_mesh_shares_less() {
    let mut sim = settled(10, 4);
    let engine = sim.engine(0);
    let name = hedgerow_protocol::GroupName::new(GROUP).expect("valid");
    let (count, bytes) = engine.batch_limits(&name);
    let too_long = vec![Bytes::from(vec![0; bytes / 2 + 1]); 2];
    let too_many = vec![Bytes::new(); count + 1];
    for payloads in [too_long, too_many, Vec::new()] {
        let refused = sim.publish_batch(0, GROUP, &payloads);
        assert!(matches!(refused, Err(PublishError::TooLarge { .. })));
    }
    let patch = SettingsPatch {
        redundancy: Some(2),
        ..SettingsPatch::default()
    };
    sim.try_set_group(0, GROUP, patch).expect("is taken");
    assert!(sim.engine(0).batch_limits(&name).1 < bytes);
    assert_clean(&mut sim);
}
