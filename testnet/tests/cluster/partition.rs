//! A network that falls apart finds together again.

use crate::support::{GROUP, assert_all_delivered, assert_clean, settled, wait_view};
use hedgerow_testnet::check;

fn heals(cut_ms: u64, limit_ms: u64, seed: u64) {
    let mut sim = settled(20, seed);
    let sides = [(0..12).collect::<Vec<_>>(), (12..20).collect()];
    sim.partition(&sides);
    for number in 0..10 {
        sim.publish(3, GROUP, format!("left {number}"));
        sim.publish(15, GROUP, format!("right {number}"));
        sim.run_for(cut_ms / 10);
    }
    for side in &sides {
        let views = check::views(&sim.snapshots(side));
        assert!(
            views.is_clean(),
            "each side is a network of its own: {views}"
        );
    }
    sim.heal();
    assert_all_delivered(&mut sim, limit_ms);
    for node in 0..20 {
        assert_eq!(sim.deliveries(node).count(), 20, "node {node}, {sim:?}");
    }
}

#[test]
fn a_partition_of_30_s_heals_by_itself_and_both_sides_get_all_in_order() {
    heals(30_000, 10_000, 1);
    heals(30_000, 10_000, 2);
}

#[test]
fn a_partition_of_2_min_heals_by_itself_and_both_sides_get_all_in_order() {
    heals(120_000, 40_000, 3);
}

#[test]
fn three_parts_become_one() {
    let mut sim = settled(18, 4);
    sim.partition(&[(0..6).collect(), (6..12).collect(), (12..18).collect()]);
    sim.run_for(10_000);
    for origin in [2, 8, 14] {
        sim.publish(origin, GROUP, format!("part of {origin}"));
    }
    sim.run_for(10_000);
    sim.heal();
    assert_all_delivered(&mut sim, 10_000);
}

#[test]
fn a_short_cut_loses_nothing() {
    for cut_ms in [100, 1_000, 2_500, 4_000] {
        let mut sim = settled(12, 5);
        sim.partition(&[(0..6).collect(), (6..12).collect()]);
        sim.publish(1, GROUP, "left");
        sim.publish(9, GROUP, "right");
        sim.run_for(cut_ms);
        sim.heal();
        assert_all_delivered(&mut sim, 10_000);
    }
}

#[test]
fn a_one_way_cut_heals_too() {
    let mut sim = settled(12, 6);
    let (from, to): (Vec<usize>, Vec<usize>) = ((0..4).collect(), (4..12).collect());
    sim.cut_one_way(&from, &to);
    sim.run_for(15_000);
    sim.publish(1, GROUP, "few");
    sim.publish(9, GROUP, "many");
    sim.run_for(10_000);
    sim.heal();
    assert_all_delivered(&mut sim, 15_000);
}

#[test]
fn a_peer_between_two_parts_joins_them() {
    // Node 5 reaches both parts, which do not reach each other: it relays.
    let mut sim = settled(11, 7);
    sim.partition(&[(0..5).collect(), (6..11).collect()]);
    wait_view(&mut sim, 40_000);
    sim.publish(0, GROUP, "through the bridge");
    sim.publish(10, GROUP, "and back");
    assert_all_delivered(&mut sim, 10_000);
    sim.heal();
    sim.run_for(20_000);
    assert_clean(&mut sim);
}

#[test]
fn an_origin_that_was_silent_for_long_is_not_given_up_at_once() {
    let mut sim = settled(5, 9);
    sim.publish(0, GROUP, "early");
    assert_all_delivered(&mut sim, 5_000);
    // Longer than a hole may last without progress.
    sim.run_for(90_000);
    sim.partition(&[vec![0], vec![1, 2, 3, 4]]);
    sim.run_for(5_000);
    sim.publish(0, GROUP, "late, and cut off");
    sim.run_for(5_000);
    sim.heal();
    assert_all_delivered(&mut sim, 20_000);
    assert_clean(&mut sim);
}
