//! A group's settings are the same everywhere, and change without loss.

use crate::support::{
    GROUP, assert_all_delivered, counted, group_status, join_all, redundancy_patch, settled, wait,
    wait_delivered, wait_joined, wait_view, with_redundancy,
};
use hedgerow_protocol::{Event, JoinError, Order};
use hedgerow_testnet::hostile::settings_war;
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

/// Ten peers, one of which makes war about settings: as a member, or as somebody who is none.
fn at_war(seed: u64, as_member: bool) -> Sim {
    let mut sim = Sim::builder().nodes(11).seed(seed).idle_from(0).build();
    sim.set_mask(OFFENDER, move |keypair, _| settings_war(keypair, as_member));
    for node in 0..10 {
        sim.start_node(node);
    }
    join_all(&mut sim, 0..10);
    wait_joined(&mut sim);
    wait_view(&mut sim, 30_000);
    sim
}

const OFFENDER: usize = 6;

fn honest(sim: &Sim) -> Vec<usize> {
    let alive = sim.alive().into_iter();
    alive.filter(|&node| node != OFFENDER).collect()
}

fn honest_have(sim: &Sim, wanted: u8) -> bool {
    let mut honest = honest(sim).into_iter();
    honest.all(|node| redundancy(sim, node) == Some(wanted))
}

#[test]
fn who_is_no_member_changes_nothing() {
    let mut sim = at_war(1, false);
    sim.run_for(10_000);
    for node in honest(&sim) {
        let group = group_status(&sim, node).expect("a member");
        assert_eq!((group.settings.redundancy, group.settings_version), (1, 0));
        assert_eq!(group.settings.order, Order::Fifo);
    }
    sim.try_set_group(2, GROUP, redundancy_patch(2))
        .expect("a member");
    wait(&mut sim, 5_000, "mesh", |sim| honest_have(sim, 2));
    sim.start_node(10);
    sim.join(10, GROUP);
    wait(&mut sim, 10_000, "a newcomer too", |sim| {
        sim.has_joined(10, GROUP) && honest_have(sim, 2)
    });
}

#[test]
fn a_war_about_settings_is_damped_and_splits_nothing() {
    let mut sim = at_war(2, true);
    let changes = |sim: &Sim, node: usize| {
        let is_change = |event: &&Event| matches!(event, Event::Settings { .. });
        sim.events(node).filter(is_change).count()
    };
    let before: Vec<usize> = (0..10).map(|node| changes(&sim, node)).collect();
    for number in 0..300 {
        sim.publish([0, 3, 5][number % 3], GROUP, format!("{number}"));
        sim.run_for(100);
    }
    wait_delivered(&mut sim, 10_000);
    // It has changed them 120 times.
    assert!(counted(&sim, honest(&sim), "settings_damped") > 0);
    for node in honest(&sim) {
        let taken = changes(&sim, node) - before[node];
        assert!(taken <= 20, "node {node} took {taken}");
    }
    sim.kill(OFFENDER);
    sim.run_for(60_000);
    sim.try_set_group(1, GROUP, redundancy_patch(5))
        .expect("a member");
    wait(&mut sim, 16_000, "agreed", |sim| honest_have(sim, 5));
    sim.start_node(10);
    sim.join(10, GROUP);
    wait(&mut sim, 10_000, "a newcomer too", |sim| {
        sim.has_joined(10, GROUP) && honest_have(sim, 5)
    });
}
