//! A publisher need not subscribe.

use crate::support::{
    GROUP, assert_all_delivered, assert_clean, assert_once, group_status, join_all, network,
    wait_for, wait_joined, wait_view,
};
use hedgerow_protocol::SettingsPatch;
use hedgerow_testnet::sim::Sim;

#[test]
fn a_peer_that_only_publishes_is_heard_and_hears_nothing() {
    for seed in 1..=2 {
        let mut sim = network(12, seed);
        join_all(&mut sim, 0..11);
        wait_joined(&mut sim);
        crate::support::wait_view(&mut sim, 30_000);
        let sent: Vec<_> = (0..10)
            .map(|number| sim.publish(11, GROUP, format!("hear me {number}")))
            .collect();
        sim.publish(4, GROUP, "from a member");
        assert_all_delivered(&mut sim, 5_000);
        for id in sent {
            assert_once(&sim, id, 0..11);
        }
        assert_eq!(sim.deliveries(11).count(), 0, "a sender hears nothing");
        sim.join(11, GROUP);
        wait_joined(&mut sim);
        let id = sim.publish(0, GROUP, "now you hear");
        assert_all_delivered(&mut sim, 5_000);
        assert_once(&sim, id, 0..12);
    }
}

/// All but the last of so many nodes are members, of a group that keeps little.
fn forgetful(nodes: usize, seed: u64, settings: SettingsPatch) -> Sim {
    let mut sim = network(nodes, seed);
    join_all(&mut sim, 0..nodes - 1);
    wait_joined(&mut sim);
    wait_view(&mut sim, 30_000);
    sim.try_set_group(0, GROUP, settings).expect("a member");
    sim.run_for(3_000);
    sim
}

#[test]
fn the_first_message_of_a_publisher_arrives_though_the_group_keeps_less() {
    let settings = SettingsPatch {
        retention_bytes: Some(1_024),
        ..SettingsPatch::default()
    };
    for seed in 1..=5 {
        let mut sim = forgetful(8, seed, settings);
        let id = sim.publish(7, GROUP, vec![b'x'; 30_000]);
        wait_for(&mut sim, id, &[0, 1, 2, 3, 4, 5, 6], 5_000);
        sim.run_for(12_000);
        let kept = group_status(&sim, 7).map_or(0, |group| group.retained_bytes);
        assert_eq!(kept, 0, "it stays for a few seconds only");
        assert_clean(&mut sim);
    }
}

#[test]
fn a_member_that_was_cut_off_hears_from_the_publisher_what_it_has_missed() {
    let settings = SettingsPatch {
        retention_ms: Some(2_000),
        ..SettingsPatch::default()
    };
    for seed in 1..=5 {
        let mut sim = forgetful(2, seed, settings);
        sim.partition(&[vec![0], vec![1]]);
        sim.run_for(1_000);
        let id = sim.publish(1, GROUP, "to nobody");
        // Longer than anything is kept, and than the publisher has anything to keep.
        sim.run_for(20_000);
        sim.heal();
        let told = |sim: &Sim| group_status(sim, 0).is_some_and(|group| group.gaps > 0);
        assert!(sim.run_until(30_000, told), "seed {seed}: no gap told");
        assert_eq!(sim.times_delivered(0, id), 0);
    }
}
