//! A peer that comes back with its key is the same peer in a new life.

use crate::support::{GROUP, assert_clean, assert_once, settled, wait_for};
use hedgerow_testnet::sim::{Sim, StartGraph};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Store {
    Kept,
    Wiped,
}

fn restart(sim: &mut Sim, node: usize, store: Store) {
    match store {
        Store::Kept => sim.restart(node),
        Store::Wiped => sim.restart_wiped(node),
    }
}

fn resumes_both_ways(store: Store, down_ms: u64, crash: bool) {
    let mut sim = settled(10, 3);
    let all: Vec<usize> = (0..10).collect();
    for number in 0..5 {
        sim.publish(3, GROUP, format!("first life {number}"));
    }
    sim.run_for(2_000);
    if crash {
        sim.crash(3);
    } else {
        sim.kill(3);
    }
    sim.run_for(down_ms);
    restart(&mut sim, 3, store);
    sim.join(3, GROUP);
    let out = sim.publish(3, GROUP, "second life");
    wait_for(&mut sim, out, &all, 6_000);
    crate::support::wait_joined(&mut sim);
    let back = sim.publish(8, GROUP, "welcome back");
    wait_for(&mut sim, back, &all, 5_000);
    let more = sim.publish(3, GROUP, "thanks");
    wait_for(&mut sim, more, &all, 5_000);
    sim.run_for(5_000);
    for id in [out, back, more] {
        assert_once(&sim, id, 0..10);
    }
    assert_eq!(out.origin, more.origin);
    assert_clean(&mut sim);
}

#[test]
fn a_restart_with_its_store_resumes_both_ways_at_once() {
    resumes_both_ways(Store::Kept, 1_000, false);
    resumes_both_ways(Store::Kept, 0, false);
    resumes_both_ways(Store::Kept, 20_000, true);
}

#[test]
fn a_restart_with_a_wiped_store_resumes_both_ways_at_once() {
    resumes_both_ways(Store::Wiped, 1_000, false);
    resumes_both_ways(Store::Wiped, 0, true);
    resumes_both_ways(Store::Wiped, 20_000, true);
}

#[test]
fn a_wiped_store_and_a_clock_set_back_still_give_a_newer_epoch() {
    let mut sim = settled(10, 5);
    let before = sim.publish(3, GROUP, "first life");
    sim.run_for(2_000);
    sim.kill(3);
    sim.jump_clock(3, -3_600_000);
    sim.run_for(2_000);
    sim.restart_wiped(3);
    sim.join(3, GROUP);
    crate::support::wait_joined(&mut sim);
    crate::support::wait_view(&mut sim, 20_000);
    let after = sim.publish(3, GROUP, "second life");
    wait_for(&mut sim, after, &(0..10).collect::<Vec<_>>(), 5_000);
    assert!(
        after.epoch > before.epoch,
        "{} after {}",
        after.epoch,
        before.epoch
    );
    sim.run_for(3_000);
    assert_clean(&mut sim);
}

#[test]
fn the_epoch_grows_with_every_life() {
    let mut sim = settled(4, 6);
    let mut last = 0;
    for life in 0..4 {
        let id = sim.publish(1, GROUP, format!("life {life}"));
        assert!(id.epoch > last, "{} after {last}", id.epoch);
        last = id.epoch;
        sim.run_for(500);
        sim.kill(1);
        sim.restart(1);
        sim.join(1, GROUP);
        sim.run_for(4_000);
    }
    assert_clean(&mut sim);
}

#[test]
fn with_a_full_disk_a_peer_comes_back_with_what_it_stored_before() {
    // The first peer, whom the others know from the start, is gone when the third comes back; the
    // second has forgotten everything. They meet if the third remembers it.
    let meet_again = |fill: &dyn Fn(&mut Sim, u64)| {
        let hub = StartGraph::Explicit(vec![vec![], vec![0], vec![0]]);
        let mut sim = Sim::builder().nodes(3).seed(4).start_graph(hub).build();
        fill(&mut sim, 0);
        sim.run_for(10_000);
        fill(&mut sim, 10);
        sim.run_for(1_000);
        let stored = sim.last_epoch(2);
        sim.crash(0);
        sim.kill(1);
        sim.kill(2);
        sim.restart(2);
        sim.restart_wiped(1);
        sim.run_for(20_000);
        assert_eq!(sim.last_epoch(2) > stored, !sim.is_disk_full(2));
        if sim.is_disk_full(2) {
            // It says nothing in a life that is not stored.
            assert!(!sim.neighbours(1).contains(&2));
            sim.set_disk_full(2, false);
            sim.run_for(20_000);
            assert!(sim.last_epoch(2) > stored);
        }
        sim.neighbours(1).contains(&2)
    };
    let full_from = |from: u64| {
        move |sim: &mut Sim, at: u64| {
            if at == from {
                sim.set_disk_full(2, true);
            }
        }
    };
    assert!(meet_again(&|_, _| {}));
    assert!(meet_again(&full_from(10)), "stored before it was full");
    assert!(!meet_again(&full_from(0)), "there was no room for it");
}

#[test]
fn a_member_that_slept_gets_what_a_publisher_said_in_six_lives() {
    for seed in 7..=8 {
        let mut sim = settled(6, seed);
        sim.run_for(5_000);
        sim.pause(4);
        let mut ids = Vec::new();
        for life in 0..6 {
            ids.push(sim.publish(3, GROUP, format!("life {life}")));
            sim.run_for(2_000);
            sim.kill(3);
            sim.run_for(2_000);
            sim.restart(3);
        }
        sim.kill(3);
        sim.run_for(1_000);
        sim.resume(4);
        for id in &ids {
            wait_for(&mut sim, *id, &[4], 20_000);
        }
        sim.run_for(5_000);
        for id in ids {
            assert_once(&sim, id, [0, 1, 2, 4, 5]);
        }
        assert_clean(&mut sim);
    }
}
