//! A run is decided by its seed.

use crate::support::{GROUP, settled};
use hedgerow_testnet::sim::{Random, TraceHash};

fn eventful(seed: u64) -> (TraceHash, u64) {
    let mut sim = settled(12, seed);
    sim.set_network(|network| network.loss_ppm = 10_000);
    let mut random = Random::new(seed, "events");
    for tick in 0..30_usize {
        let running: Vec<usize> = sim.alive().into_iter().filter(|&node| node != 3).collect();
        sim.publish(
            running[random.index(running.len())],
            GROUP,
            format!("{tick}"),
        );
        match tick {
            5 => sim.crash(7),
            8 => sim.partition(&[vec![0, 1, 2, 3], vec![4, 5, 6, 8, 9, 10, 11]]),
            12 => sim.pause(3),
            18 => sim.heal(),
            20 => sim.resume(3),
            22 => sim.restart(7),
            25 => sim.kill(9),
            _ => {}
        }
        sim.run_for(500);
    }
    sim.run_for(10_000);
    (sim.trace_hash(), sim.happened())
}

#[test]
fn the_same_seed_gives_the_same_trace_hash() {
    let first = eventful(1);
    assert_eq!(first, eventful(1));
    assert_ne!(first.0, eventful(2).0);
}
