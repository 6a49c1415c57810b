//! Most of the network dies at once.

use crate::support::{GROUP, settled, wait_delivered};
use hedgerow_testnet::check;
use hedgerow_testnet::sim::Random;

fn survivors_get_all(nodes: usize, survivors: usize, seed: u64, limit_ms: u64) {
    let mut sim = settled(nodes, seed);
    sim.run_for(10_000);
    let order = Random::new(seed, "dead").sample(nodes, nodes);
    for &node in &order[survivors..] {
        sim.crash(node);
    }
    sim.run_for(1);
    for &node in &order[..survivors] {
        sim.publish(node, GROUP, format!("{node} lives"));
    }
    wait_delivered(&mut sim, limit_ms);
    sim.run_for(5_000);
    assert!(check::duplicates(sim.journal()).is_clean());
    assert!(check::order(sim.journal(), &[]).is_clean());
    assert!(check::gaps(sim.journal()).is_clean());
    crate::support::wait_view(&mut sim, 30_000);
}

#[test]
fn ninety_percent_of_200_die_and_survivors_get_what_is_published_in_the_next_millisecond() {
    survivors_get_all(200, 20, 1, 30_000);
}

#[test]
fn half_of_60_die_and_survivors_get_what_is_published_in_the_next_millisecond() {
    survivors_get_all(60, 30, 2, 30_000);
    survivors_get_all(60, 30, 3, 30_000);
}
