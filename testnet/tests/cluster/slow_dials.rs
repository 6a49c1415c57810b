//! Machines that are so busy that shaking hands takes longer than a dial usually may, and addresses
//! at which nobody is yet.

use crate::support::{
    GROUP, assert_all_delivered, counted, join_all, wait, wait_joined, wait_view,
};
use hedgerow_testnet::sim::{Latency, Sim, StartGraph};

/// A dial takes four delays: 2.4 s, where 1.5 s are allowed at first.
fn slow(nodes: usize) -> Sim {
    Sim::builder()
        .nodes(nodes)
        .seed(5)
        .start_graph(StartGraph::Hub)
        .latency(Latency::constant_ms(600))
        .build()
}

#[test]
fn peers_whose_handshakes_outlast_the_first_limit_link_nevertheless() {
    let mut sim = slow(12);
    join_all(&mut sim, 0..12);
    wait_joined(&mut sim);
    wait_view(&mut sim, 60_000);
    sim.publish(3, GROUP, "hello");
    assert_all_delivered(&mut sim, 30_000);
}

/// What is under way goes on from where it is: there were steps that were due in the past.
#[test]
fn ways_that_become_shorter_while_peers_dial_do_no_harm() {
    for before_ms in [600, 5_000] {
        let mut sim = Sim::builder()
            .nodes(12)
            .seed(5)
            .start_graph(StartGraph::Hub)
            .latency(Latency::constant_ms(before_ms))
            .build();
        join_all(&mut sim, 0..12);
        sim.run_for(before_ms / 2);
        sim.set_network(|network| network.latency = Latency::constant_ms(10));
        wait_joined(&mut sim);
        wait_view(&mut sim, 60_000);
        sim.publish(3, GROUP, "hello");
        assert_all_delivered(&mut sim, 30_000);
    }
}

#[test]
fn an_address_at_which_nobody_was_is_tried_until_somebody_is() {
    for (lonely, seed) in [(true, 1), (false, 2)] {
        let mut sim = Sim::builder()
            .nodes(5)
            .seed(seed)
            .start_graph(StartGraph::None)
            .idle_from(if lonely { 1 } else { 4 })
            .build();
        if !lonely {
            (1..4).for_each(|node| sim.introduce(0, node));
            wait(&mut sim, 30_000, "links", |sim| {
                (1..4).all(|node| !sim.engine(node).links().is_empty())
            });
        }
        let dials = counted(&sim, [0], "dials");
        sim.introduce(0, 4);
        sim.run_for(45_000);
        assert!(counted(&sim, [0], "dials") > dials + 1, "{sim:?}");
        sim.start_node(4);
        wait(&mut sim, 40_000, "a link to the newcomer", |sim| {
            !sim.engine(4).links().is_empty()
        });
    }
}
