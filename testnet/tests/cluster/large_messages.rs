//! Messages larger than a frame travel in fragments.

use crate::support::{
    GROUP, assert_all_delivered, assert_clean, group_status, join_all, wait_for, wait_joined,
    wait_view,
};
use hedgerow_protocol::{Config, PublishError, PublishOptions, SettingsPatch};
use hedgerow_testnet::sim::{Bandwidth, Random, Sim};

fn bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed, "payload");
    (0..len.div_ceil(8))
        .flat_map(|_| random.bits().to_be_bytes())
        .take(len)
        .collect()
}

fn network(nodes: usize, seed: u64) -> Sim {
    let line = Bandwidth::mbit(50, 50);
    let mut sim = Sim::builder()
        .nodes(nodes)
        .seed(seed)
        .bandwidth(line)
        .build();
    join_all(&mut sim, 0..nodes);
    wait_joined(&mut sim);
    wait_view(&mut sim, 30_000);
    sim
}

/// One copy of 5 MB takes node 0 ten seconds, and what was sent is kept for two.
fn with_a_slow_publisher(nodes: usize, seed: u64) -> Sim {
    let mut sim = network(nodes, seed);
    let forgetful = SettingsPatch {
        retention_ms: Some(2_000),
        ..SettingsPatch::default()
    };
    sim.try_set_group(0, GROUP, forgetful).expect("a member");
    sim.set_bandwidth(0, Bandwidth::mbit(4, 4));
    sim.run_for(2_000);
    sim
}

#[test]
fn messages_around_the_limits_of_a_fragment_arrive_whole() {
    let mut sim = network(10, 1);
    let fragment = Config::default().groups.fragment_bytes;
    let sizes = [
        1,
        4_096,
        4_097,
        fragment - 1,
        fragment,
        fragment + 1,
        2 * fragment,
        300_000,
    ];
    for (index, size) in sizes.into_iter().enumerate() {
        sim.publish_patiently(index, GROUP, bytes(size, index as u64), 5_000);
    }
    assert_all_delivered(&mut sim, 15_000);
}

#[test]
fn a_message_of_5_mb_arrives_whole_while_small_ones_pass() {
    let mut sim = network(10, 2);
    sim.publish_patiently(3, GROUP, bytes(5_000_000, 1), 5_000);
    for number in 0..50 {
        sim.publish_patiently(7, GROUP, format!("small {number}"), 5_000);
        sim.run_for(20);
    }
    assert_all_delivered(&mut sim, 20_000);
}

#[test]
fn a_forwarder_dies_amid_a_large_message() {
    let mut sim = network(12, 3);
    sim.publish_patiently(3, GROUP, bytes(3_000_000, 2), 5_000);
    sim.run_for(300);
    let victims: Vec<usize> = sim.neighbours(3).into_iter().take(2).collect();
    for &node in &victims {
        sim.crash(node);
    }
    assert_all_delivered(&mut sim, 30_000);
}

#[test]
fn a_message_over_the_limit_is_refused_in_words() {
    let mut sim = network(2, 4);
    let max = Config::default().groups.message_bytes_max;
    let payload = vec![0; max + 1].into();
    let refused = sim.try_publish(0, GROUP, payload, PublishOptions::default());
    assert_eq!(
        refused,
        Err(PublishError::TooLarge {
            bytes: max + 1,
            max
        })
    );
}

#[test]
fn what_a_publisher_that_leaves_has_not_sent_yet_is_sent_all_the_same() {
    let mut sim = with_a_slow_publisher(2, 5);
    let id = sim.publish_patiently(0, GROUP, bytes(5_000_000, 6), 5_000);
    sim.leave(0, GROUP);
    wait_for(&mut sim, id, &[1], 30_000);
    let done = |sim: &Sim| group_status(sim, 0).is_none();
    assert!(sim.run_until(10_000, done), "still in the group");
    assert_clean(&mut sim);
}

#[test]
fn what_an_origin_has_begun_and_cannot_end_is_told_as_a_gap_and_forgotten() {
    let mut sim = with_a_slow_publisher(4, 7);
    sim.publish_patiently(0, GROUP, bytes(5_000_000, 8), 5_000);
    sim.run_for(3_000);
    sim.crash(0);
    let ahead = |sim: &Sim| {
        (1..4)
            .map(|node| sim.engine(node).status().ahead_bytes)
            .sum()
    };
    sim.run_for(5_000);
    let begun: usize = ahead(&sim);
    assert!(begun > 0, "nothing of it has come");
    let patience = 2 * Config::default().groups.gap_timeout_ms;
    let forgotten = |sim: &Sim| ahead(sim) == 0;
    assert!(sim.run_until(patience, forgotten), "still held");
    for node in 1..4 {
        let gaps = group_status(&sim, node).expect("a member").gaps;
        assert!(gaps > 0, "{node} was told nothing");
    }
}
