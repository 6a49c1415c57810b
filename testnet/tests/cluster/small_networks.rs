//! Two and three peers are a network.

use crate::support::{GROUP, assert_clean, assert_once, join_all, network, wait_for};

#[test]
fn two_and_three_peers_work_at_once() {
    for nodes in [2, 3] {
        for seed in 1..=3 {
            let mut sim = network(nodes, seed);
            join_all(&mut sim, 0..nodes);
            let all: Vec<usize> = (0..nodes).collect();
            // A dial takes two round trips, a handshake one more: within a second they know.
            sim.run_for(1_000);
            let ids: Vec<_> = all
                .iter()
                .map(|&node| sim.publish(node, GROUP, format!("{node}")))
                .collect();
            for &id in &ids {
                wait_for(&mut sim, id, &all, 4_000);
            }
            crate::support::wait_joined(&mut sim);
            let id = sim.publish(0, GROUP, "again");
            wait_for(&mut sim, id, &all, 500);
            sim.run_for(5_000);
            for id in ids.into_iter().chain([id]) {
                assert_once(&sim, id, 0..nodes);
            }
            assert_clean(&mut sim);
        }
    }
}

#[test]
fn one_peer_hears_itself() {
    let mut sim = network(1, 1);
    sim.join(0, GROUP);
    let id = sim.publish(0, GROUP, "echo");
    wait_for(&mut sim, id, &[0], 4_000);
    sim.run_for(5_000);
    assert_once(&sim, id, [0]);
}
