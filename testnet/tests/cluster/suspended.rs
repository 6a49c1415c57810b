//! A process that sleeps and wakes up blames itself, not its neighbours.

use crate::support::{GROUP, assert_all_delivered, settled};
use hedgerow_protocol::LinkId;
use hedgerow_testnet::sim::Sim;

/// Suspends `nodes` for `ms` and checks that links among them, and to others if they had no
/// time to give them up, are still the same connections afterwards.
fn no_live_link_is_lost(nodes: &[usize], ms: u64, seed: u64) {
    let mut sim = settled(12, seed);
    sim.run_for(30_000);
    let among: Vec<(usize, usize)> = nodes
        .iter()
        .flat_map(|&a| sim.neighbours(a).into_iter().map(move |b| (a, b)))
        .filter(|(_, b)| nodes.contains(b) || ms < 2_000)
        .collect();
    assert!(!among.is_empty());
    let connected = |sim: &Sim| -> Vec<LinkId> {
        let links = among.iter().filter_map(|&(a, b)| {
            let links = sim.engine(a).links();
            links
                .iter()
                .find(|link| link.up && link.peer == sim.key(b))
                .map(|link| link.link)
        });
        links.collect()
    };
    let before = connected(&sim);
    assert_eq!(before.len(), among.len());
    for &node in nodes {
        sim.pause(node);
    }
    sim.run_for(ms);
    for &node in nodes {
        sim.resume(node);
    }
    sim.run_for(5_000);
    assert_eq!(
        connected(&sim),
        before,
        "the same connections, {nodes:?} {ms} ms"
    );
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
