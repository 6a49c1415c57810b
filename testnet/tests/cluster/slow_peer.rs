//! A peer that cannot keep up is its own problem, and loses nothing that is still retained.

use crate::support::{GROUP, assert_clean, join_all, wait_delivered, wait_joined, wait_view};
use hedgerow_testnet::sim::{Bandwidth, Sim};

const NODES: usize = 20;
const SLOW: usize = 11;
const MESSAGES: usize = 200;

/// 2 MB in 2 s over lines of 20 Mbit/s; the slow peer needs longer than a minute for as much.
fn run(slow: bool) -> Sim {
    let mut sim = Sim::builder()
        .nodes(NODES)
        .seed(2)
        .bandwidth(Bandwidth::mbit(20, 20))
        .build();
    join_all(&mut sim, 0..NODES);
    wait_joined(&mut sim);
    wait_view(&mut sim, 30_000);
    sim.run_for(10_000);
    if slow {
        sim.set_bandwidth(SLOW, Bandwidth::kbit(200, 200));
    }
    for number in 0..MESSAGES {
        let mut payload = vec![0; 10_000];
        payload[..8].copy_from_slice(&(number as u64).to_be_bytes());
        sim.publish_patiently(0, GROUP, payload, 1_000);
        sim.run_for(10);
    }
    // What one copy needs on that line, three times over; retention is five minutes.
    wait_delivered(&mut sim, 240_000);
    sim
}

/// Sorted latencies to all but the slow peer, microseconds.
fn latencies(sim: &Sim) -> Vec<u64> {
    let mut latencies = Vec::new();
    for node in (1..NODES).filter(|&node| node != SLOW) {
        for (receipt, message) in sim.deliveries(node) {
            latencies.push(receipt.at.since(message.published.expect("published").at).0);
        }
    }
    latencies.sort_unstable();
    latencies
}

#[test]
fn a_slow_peer_neither_delays_others_nor_loses_what_is_retained() {
    let baseline = run(false);
    let mut slowed = run(true);
    let p99 = |sim: &Sim| {
        let latencies = latencies(sim);
        latencies[latencies.len() * 99 / 100]
    };
    let (before, after) = (p99(&baseline), p99(&slowed));
    assert!(
        after <= before * 11 / 10 + 1_000,
        "p99 {after} us, {before} us without a slow peer"
    );
    assert_eq!(slowed.deliveries(SLOW).count(), MESSAGES);
    slowed.run_for(5_000);
    assert_clean(&mut slowed);
}

#[test]
fn a_peer_that_does_not_read_for_a_while_catches_up() {
    let mut sim = crate::support::settled(NODES, 5);
    sim.pause(SLOW);
    for number in 0..MESSAGES {
        sim.publish(number % 3, GROUP, vec![number as u8; 10_000]);
        sim.run_for(10);
    }
    sim.resume(SLOW);
    crate::support::assert_all_delivered(&mut sim, 10_000);
}
