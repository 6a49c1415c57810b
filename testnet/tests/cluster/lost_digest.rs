//! The last message before silence is not lost with the frames that told of it.

use crate::support::{GROUP, assert_all_delivered, settled};
use hedgerow_testnet::sim::Sim;

fn reset_all_links(sim: &mut Sim, node: usize) {
    let links: Vec<_> = sim
        .engine(node)
        .links()
        .iter()
        .map(|link| link.link)
        .collect();
    for link in links {
        sim.reset_link(node, link);
    }
}

#[test]
fn a_lost_last_digest_on_an_idle_network_loses_nothing() {
    // Every link of one peer is reset while the message and what announces it are on their way;
    // nothing is published afterwards.
    for (victim, after_ms) in [(3, 1), (8, 20), (11, 60), (5, 100)] {
        let mut sim = settled(12, victim as u64);
        sim.publish(0, GROUP, "the last word");
        sim.run_for(after_ms);
        reset_all_links(&mut sim, victim);
        assert_all_delivered(&mut sim, 15_000);
    }
}

#[test]
fn all_links_of_all_peers_reset_at_once_lose_nothing() {
    let mut sim = settled(12, 7);
    for number in 0..5 {
        sim.publish(number, GROUP, format!("{number}"));
    }
    sim.run_for(30);
    for node in 0..12 {
        reset_all_links(&mut sim, node);
    }
    assert_all_delivered(&mut sim, 20_000);
}
