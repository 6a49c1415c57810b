//! Each origin has a tree of its own, so no origin is served worse than the first.

use crate::support::{GROUP, assert_all_delivered, settled};
use hedgerow_protocol::MessageId;
use hedgerow_testnet::sim::Sim;

/// Mean latency over mean direct delay, to all other nodes, in percent.
fn stretch_percent(sim: &Sim, origin: usize, id: MessageId) -> u64 {
    let (mut latency, mut direct) = (0, 0);
    for node in (0..sim.len()).filter(|&node| node != origin) {
        let (receipt, message) = sim
            .deliveries(node)
            .find(|(_, message)| message.id == id)
            .expect("delivered");
        let published = message.published.expect("published here");
        latency += receipt.at.since(published.at).0;
        direct += sim.delay(origin, node).0;
    }
    latency * 100 / direct
}

#[test]
fn ten_origins_at_once_and_none_is_worse_than_the_first() {
    for seed in 1..=2 {
        let mut sim = settled(40, seed);
        // Neighbours are chosen and trees are drawn by measured round trips.
        sim.run_for(20_000);
        let ids: Vec<(usize, MessageId)> = (0..10)
            .map(|i| i * 4)
            .map(|origin| (origin, sim.publish(origin, GROUP, format!("from {origin}"))))
            .collect();
        assert_all_delivered(&mut sim, 5_000);
        let stretch: Vec<u64> = ids
            .iter()
            .map(|&(origin, id)| stretch_percent(&sim, origin, id))
            .collect();
        // Random delays break the triangle inequality, so trees can even beat direct paths; what
        // remains between origins is chance.
        let worst = stretch.iter().max().expect("ten");
        assert!(
            *worst <= stretch[0].max(100) * 13 / 10,
            "seed {seed}: {stretch:?} %"
        );
        assert!(*worst <= 150, "seed {seed}: {stretch:?} %");
    }
}
