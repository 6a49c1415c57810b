//! A process that sleeps and wakes up blames itself, not its neighbours.

use crate::support::{GROUP, assert_all_delivered, settled};
use hedgerow_protocol::{Event, LinkEnd, Micros};
use hedgerow_testnet::sim::Sim;

/// Links that a peer at one of `nodes` gave up for silence, and to whom, since `since`.
fn given_up(sim: &Sim, nodes: &[usize], since: Micros) -> Vec<(usize, usize)> {
    let mut given_up = Vec::new();
    for &node in nodes {
        for (at, event) in &sim.journal().nodes[node].events {
            let Event::LinkDown { peer, reason, .. } = event else {
                continue;
            };
            let silent = matches!(reason, LinkEnd::Silence | LinkEnd::HandshakeTimeout);
            if silent && *at >= since {
                given_up.push((node, sim.node_of(*peer).expect("a node")));
            }
        }
    }
    given_up
}

/// Suspends `nodes` for `ms` and checks that none of them gives up a link whose other end was
/// alive all the time: suspended as well, or with too little time to give up itself.
fn no_live_link_is_lost(nodes: &[usize], ms: u64, seed: u64) {
    let mut sim = settled(12, seed);
    sim.run_for(10_000);
    let start = sim.now();
    for &node in nodes {
        sim.pause(node);
    }
    sim.run_for(ms);
    for &node in nodes {
        sim.resume(node);
    }
    sim.run_for(5_000);
    let all: Vec<usize> = (0..12).collect();
    let judged = if ms < 2_000 { &all[..] } else { nodes };
    let lost = given_up(&sim, judged, start);
    assert_eq!(lost, [], "{nodes:?} for {ms} ms, {sim:?}");
    sim.publish(nodes[0], GROUP, "awake");
    assert_all_delivered(&mut sim, 10_000);
}

#[test]
fn sigstop_for_10_s_and_resume_loses_no_link_that_is_alive() {
    no_live_link_is_lost(&(0..12).collect::<Vec<_>>(), 10_000, 1);
    no_live_link_is_lost(&[0, 1, 2, 3, 4, 5], 10_000, 2);
}

#[test]
fn a_short_stop_loses_no_link() {
    no_live_link_is_lost(&[4], 1_900, 3);
    no_live_link_is_lost(&[4, 5, 9], 1_500, 4);
}

#[test]
fn a_peer_that_slept_10_s_is_back_and_gets_what_it_missed() {
    let mut sim = settled(12, 5);
    sim.run_for(10_000);
    sim.pause(4);
    for number in 0..10 {
        let origin = if number == 4 { 11 } else { number };
        sim.publish(origin, GROUP, format!("{number}"));
        sim.run_for(1_000);
    }
    sim.resume(4);
    assert_all_delivered(&mut sim, 10_000);
}
