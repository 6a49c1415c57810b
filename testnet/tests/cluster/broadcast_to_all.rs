//! Whatever the start, a message reaches everyone exactly once.

use crate::support::{GROUP, assert_all_delivered, assert_once, settled, wait_for};
use hedgerow_testnet::sim::{Random, Sim, StartGraph};

fn one_message_reaches_all(nodes: usize) {
    for seed in 0..2 {
        let seed = seed * 100 + nodes as u64;
        let mut sim = settled(nodes, seed);
        let origin = Random::new(seed, "origin").index(nodes);
        let id = sim.publish(origin, GROUP, format!("one of {nodes}"));
        wait_for(&mut sim, id, &(0..nodes).collect::<Vec<_>>(), 5_000);
        assert_all_delivered(&mut sim, 1);
        assert_once(&sim, id, 0..nodes);
    }
}

#[test]
fn one_publish_reaches_2_to_8_peers_exactly_once() {
    for nodes in 2..=8 {
        one_message_reaches_all(nodes);
    }
}

#[test]
fn one_publish_reaches_13_to_35_peers_exactly_once() {
    for nodes in [13, 20, 35] {
        one_message_reaches_all(nodes);
    }
}

#[test]
fn one_publish_reaches_50_peers_exactly_once() {
    one_message_reaches_all(50);
}

#[test]
fn every_start_graph_ends_as_one_network() {
    let starts = [
        StartGraph::Hub,
        StartGraph::Chain,
        StartGraph::Ring,
        StartGraph::Random { contacts: 1 },
        StartGraph::Random { contacts: 5 },
    ];
    for start in starts {
        let mut sim = Sim::builder()
            .nodes(16)
            .seed(5)
            .start_within_ms(2_000)
            .start_graph(start.clone())
            .build();
        sim.run_for(2_000);
        crate::support::join_all(&mut sim, 0..16);
        crate::support::wait_joined(&mut sim);
        crate::support::wait_view(&mut sim, 30_000);
        let id = sim.publish(3, GROUP, format!("{start:?}"));
        wait_for(&mut sim, id, &(0..16).collect::<Vec<_>>(), 5_000);
        assert_all_delivered(&mut sim, 1);
    }
}

#[test]
fn a_hundred_publishes_from_random_origins_reach_20_peers_in_order() {
    for seed in 1..=2 {
        let mut sim = settled(20, seed);
        let mut random = Random::new(seed, "origins");
        for number in 0..100 {
            sim.publish(random.index(20), GROUP, format!("message {number}"));
            sim.run_for(random.below(50));
        }
        assert_all_delivered(&mut sim, 5_000);
        for node in 0..20 {
            assert_eq!(sim.deliveries(node).count(), 100, "node {node}, {sim:?}");
        }
    }
}

#[test]
fn messages_pass_lossy_links() {
    let mut sim = Sim::builder()
        .nodes(20)
        .seed(8)
        .loss_ppm(20_000)
        .jitter_ms(20)
        .build();
    crate::support::join_all(&mut sim, 0..20);
    crate::support::wait_joined(&mut sim);
    crate::support::wait_view(&mut sim, 30_000);
    let mut random = Random::new(8, "origins");
    for number in 0..200 {
        sim.publish(random.index(20), GROUP, format!("message {number}"));
        sim.run_for(20);
    }
    assert_all_delivered(&mut sim, 10_000);
}

#[test]
fn the_broadcast_group_reaches_whoever_joined_it() {
    let mut sim = settled(12, 4);
    for node in 0..6 {
        sim.join(node, "broadcast");
    }
    let joined = |sim: &Sim| (0..6).all(|node| sim.has_joined(node, "broadcast"));
    crate::support::wait(&mut sim, 10_000, "joined broadcast", joined);
    let id = sim.publish(11, "broadcast", "all hands");
    wait_for(&mut sim, id, &[0, 1, 2, 3, 4, 5], 5_000);
    assert_all_delivered(&mut sim, 1);
    for node in 6..12 {
        assert_eq!(
            sim.times_delivered(node, id),
            0,
            "node {node} did not join it"
        );
    }
}
