//! A group's settings are the same everywhere, and change without loss.

use crate::support::{
    GROUP, assert_all_delivered, group_status, redundancy_patch, settled, wait, with_redundancy,
};
use hedgerow_protocol::{Event, JoinError};
use hedgerow_testnet::sim::{Sim, StartGraph};

fn redundancy(sim: &Sim, node: usize) -> Option<u8> {
    group_status(sim, node).map(|group| group.settings.redundancy)
}

fn all_have(sim: &Sim, wanted: u8) -> bool {
    sim.alive()
        .iter()
        .all(|&node| redundancy(sim, node) == Some(wanted))
}

#[test]
fn tree_to_mesh_and_back_under_load_loses_nothing() {
    for seed in 1..=2 {
        let mut sim = settled(16, seed);
        for tick in 0..400_usize {
            for origin in [1, 5, 9, 13] {
                sim.publish(origin, GROUP, format!("{origin} {tick}"));
            }
            match tick {
                100 => sim
                    .try_set_group(3, GROUP, redundancy_patch(2))
                    .expect("a member"),
                200 => sim
                    .try_set_group(8, GROUP, redundancy_patch(3))
                    .expect("a member"),
                300 => sim
                    .try_set_group(5, GROUP, redundancy_patch(1))
                    .expect("a member"),
                _ => {}
            }
            sim.run_for(20);
        }
        assert_all_delivered(&mut sim, 5_000);
        assert!(all_have(&sim, 1), "{sim:?}");
    }
}

#[test]
fn two_first_joiners_with_different_settings_in_two_partitions_converge() {
    for seed in 1..=2 {
        let mut sim = Sim::builder()
            .nodes(12)
            .seed(seed)
            .start_graph(StartGraph::Chain)
            .build();
        sim.partition(&[(0..6).collect(), (6..12).collect()]);
        sim.join_with(1, GROUP, with_redundancy(2));
        sim.join_with(10, GROUP, with_redundancy(3));
        sim.run_for(5_000);
        for node in (0..12).filter(|node| ![1, 10].contains(node)) {
            sim.join(node, GROUP);
        }
        sim.run_for(10_000);
        assert_eq!(
            (redundancy(&sim, 4), redundancy(&sim, 8)),
            (Some(2), Some(3)),
            "{sim:?}"
        );
        sim.heal();
        wait(&mut sim, 40_000, "one settings", |sim| {
            all_have(sim, 2) || all_have(sim, 3)
        });
        let lost: Vec<usize> = [1, 10]
            .into_iter()
            .filter(|&node| {
                sim.events(node)
                    .any(|event| matches!(event, Event::Settings { lost: true, .. }))
            })
            .collect();
        assert_eq!(
            lost.len(),
            1,
            "one of the two explicit settings lost: {lost:?}, {sim:?}"
        );
        sim.publish(3, GROUP, "agreed");
        assert_all_delivered(&mut sim, 10_000);
    }
}

#[test]
fn a_joiner_whose_explicit_settings_lost_gets_a_typed_error() {
    let mut sim = settled(8, 3);
    sim.try_set_group(0, GROUP, redundancy_patch(2))
        .expect("a member");
    wait(&mut sim, 5_000, "mesh", |sim| all_have(sim, 2));
    sim.leave(6, GROUP);
    sim.run_for(2_000);
    let error = sim
        .try_join(6, GROUP, with_redundancy(3))
        .expect_err("a mesh of 2 exists");
    assert!(
        matches!(error, JoinError::SettingsDiffer { current } if current.redundancy == 2),
        "{error:?}"
    );
    sim.try_join(6, GROUP, with_redundancy(2))
        .expect("equal settings");
}
