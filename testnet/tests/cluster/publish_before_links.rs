//! A publisher need not wait for the network.

use crate::support::{GROUP, assert_once, join_all, network, wait_for};

#[test]
fn what_is_published_before_any_link_reaches_all() {
    for seed in 1..=3 {
        let mut sim = network(12, seed);
        join_all(&mut sim, 0..12);
        assert!(sim.neighbours(4).is_empty(), "nothing is linked at time 0");
        let id = sim.publish(4, GROUP, "too early?");
        wait_for(&mut sim, id, &(0..12).collect::<Vec<_>>(), 8_000);
        sim.run_for(10_000);
        assert_once(&sim, id, 0..12);
    }
}

#[test]
fn what_a_lonely_peer_publishes_waits_for_the_second() {
    let mut sim = hedgerow_testnet::sim::Sim::builder()
        .nodes(2)
        .start_graph(hedgerow_testnet::sim::StartGraph::Hub)
        .idle_from(1)
        .build();
    sim.join(0, GROUP);
    sim.run_for(10_000);
    let id = sim.publish(0, GROUP, "anybody?");
    sim.run_for(1_000);
    sim.start_node(1);
    sim.join_with(
        1,
        GROUP,
        crate::support::with_history(hedgerow_protocol::History::Last(5)),
    );
    wait_for(&mut sim, id, &[0, 1], 8_000);
    sim.run_for(5_000);
    assert_once(&sim, id, 0..2);
}
