//! A peer that leaves the network takes nothing with it.

use crate::support::{
    GROUP, assert_clean, assert_once, assert_sound, network, settled, wait, wait_view,
};
use hedgerow_protocol::Event;
use hedgerow_testnet::sim::NodeState;

#[test]
fn what_a_leaver_published_last_reaches_all() {
    for seed in 1..=3 {
        let mut sim = settled(15, seed);
        let ids: Vec<_> = (0..20)
            .map(|number| sim.publish(6, GROUP, format!("last words {number}")))
            .collect();
        sim.shutdown(6);
        wait(&mut sim, 3_000, "stopped", |sim| {
            sim.state(6) == NodeState::Idle
        });
        let confirmed = sim
            .events(6)
            .any(|event| matches!(event, Event::Stopped { confirmed: true }));
        assert!(confirmed, "{sim:?}");
        let others: Vec<usize> = (0..15).filter(|&node| node != 6).collect();
        for id in ids {
            crate::support::wait_for(&mut sim, id, &others, 5_000);
            assert_once(&sim, id, others.iter().copied());
        }
        wait_view(&mut sim, 5_000);
        assert_clean(&mut sim);
    }
}

#[test]
fn a_peer_that_left_is_not_looked_for() {
    let mut sim = settled(10, 4);
    sim.shutdown(2);
    let took = wait_view(&mut sim, 5_000);
    assert!(
        took.as_millis() < 3_000,
        "{took}: a goodbye is faster than silence"
    );
}

#[test]
fn half_of_a_network_leaves_at_once() {
    let mut sim = settled(16, 5);
    for node in 0..8 {
        sim.publish(node, GROUP, format!("bye {node}"));
        sim.shutdown(node);
    }
    sim.run_for(5_000);
    for node in 8..16 {
        assert_eq!(sim.deliveries(node).count(), 8, "node {node}, {sim:?}");
    }
    wait_view(&mut sim, 30_000);
    assert_clean(&mut sim);
}

/// Its dials end with it: none becomes a connection that nobody knows of.
#[test]
fn who_left_while_it_dialled_comes_back_without_connections() {
    for seed in 1..=3 {
        let mut sim = network(8, seed);
        sim.run_for(1);
        sim.shutdown(5);
        wait(&mut sim, 3_000, "stopped", |sim| {
            sim.state(5) == NodeState::Idle
        });
        // A connection takes two round trips.
        let connected = sim.run_until(1_000, |sim| !sim.wires(&[5])[0].peers.is_empty());
        assert!(!connected, "{sim:?}: who is gone was connected");
        sim.restart(5);
        assert_sound(&mut sim);
    }
}
