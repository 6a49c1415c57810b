//! A group whose members are no neighbours is carried by others.

use crate::support::{GROUP, assert_all_delivered, wait_joined, wait_view};
use hedgerow_testnet::sim::{Random, Sim};

#[test]
fn members_far_apart_are_joined_by_relays_that_deliver_nothing() {
    for seed in 1..=2 {
        let mut sim = Sim::builder().nodes(30).seed(seed).build();
        let members = Random::new(seed, "members").sample(30, 4);
        for &node in &members {
            sim.join(node, GROUP);
        }
        wait_joined(&mut sim);
        wait_view(&mut sim, 30_000);
        for &node in &members {
            sim.publish(node, GROUP, format!("from {node}"));
        }
        assert_all_delivered(&mut sim, 5_000);
        for node in (0..30).filter(|node| !members.contains(node)) {
            assert_eq!(sim.deliveries(node).count(), 0, "node {node} is no member");
        }
    }
}

#[test]
fn many_small_groups_lose_nothing() {
    let mut sim = Sim::builder().nodes(40).seed(3).build();
    let mut random = Random::new(3, "groups");
    let groups: Vec<(String, Vec<usize>)> = (0..12)
        .map(|group| (format!("group {group}"), random.sample(40, 6)))
        .collect();
    for (group, members) in &groups {
        for &node in members {
            sim.join(node, group);
        }
    }
    wait_view(&mut sim, 30_000);
    sim.run_for(10_000);
    for round in 0..5 {
        for (group, members) in &groups {
            let origin = members[random.index(members.len())];
            sim.publish(origin, group, format!("{round}"));
        }
        sim.run_for(200);
    }
    assert_all_delivered(&mut sim, 10_000);
    let most = (0..40).map(|node| sim.neighbours(node).len()).max();
    assert!(most <= Some(20), "{most:?} links: groups share them");
}
