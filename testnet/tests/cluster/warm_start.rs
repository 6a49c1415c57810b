//! Peers that begin in the middle of a life find everything as they would have left it.

use crate::support::{
    GROUP, assert_clean, counted, start_warm, wait_delivered, wait_joined, wait_view,
};
use hedgerow_protocol::Config;
use hedgerow_testnet::sim::{Latency, Sim, StartGraph};

const NODES: usize = 150;

fn warm(latency: Latency) -> Sim {
    warm_of(NODES, 11, latency)
}

fn warm_of(nodes: usize, seed: u64, latency: Latency) -> Sim {
    let mut sim = Sim::builder()
        .nodes(nodes)
        .seed(seed)
        .latency(latency)
        .idle_from(0)
        .start_graph(StartGraph::Random { contacts: 2 })
        .build();
    start_warm(&mut sim, nodes);
    sim
}

#[test]
fn everybody_sees_everybody_at_once_and_messages_flow() {
    let mut sim = warm(Latency::regions());
    assert!(wait_view(&mut sim, 1_000).as_millis() < 100);
    wait_joined(&mut sim);
    sim.publish(3, GROUP, "hello");
    wait_delivered(&mut sim, 5_000);
    assert_clean(&mut sim);
}

#[test]
fn a_network_that_begins_warm_has_little_to_change() {
    for latency in [Latency::regions(), Latency::uniform_ms(5, 80)] {
        let mut sim = warm(latency.clone());
        sim.run_for(60_000);
        let closed: u64 = (0..NODES)
            .flat_map(|node| sim.engine(node).counters().link_ends.into_values())
            .sum();
        let issued = counted(&sim, 0..NODES, "records_issued");
        // One at the start, one before it; links of a hundred and fifty have some 1,200 ends.
        assert!(issued < 5 * NODES as u64, "{issued} records issued");
        assert!(closed < 120, "{closed} ends of links");
    }
}

/// Beyond 2,500 peers the mesh was built without a look at paths, which the peers then took, and
/// changed their minds; and all took their first look within a quarter of the time in which they
/// look once.
#[test]
fn a_large_network_begins_at_rest() {
    let nodes = 2_600;
    let mut sim = warm_of(nodes, 1, Latency::regions());
    sim.run_for(5_000);
    assert_eq!(counted(&sim, 0..nodes, "dials"), 0);
    // One before the start, one at it.
    assert_eq!(counted(&sim, 0..nodes, "records_issued"), 2 * nodes as u64);
    // A look a minute.
    let looks = counted(&sim, 0..nodes, "links_reconsidered");
    assert!(looks < nodes as u64 / 8, "{looks} looks");
}

/// With limits of their own: they began with up to twelve links each, shed what was too much and
/// dialled what there was room for then.
#[test]
fn peers_that_may_have_few_links_begin_with_few_and_move_none() {
    let nodes = 320;
    let mut sim = Sim::builder()
        .nodes(nodes)
        .seed(4)
        .latency(Latency::constant_ms(1))
        .idle_from(0)
        .configure(|config| {
            config.links.degree = 5;
            config.links.accept_max = 7;
        })
        .build();
    start_warm(&mut sim, nodes);
    let most = (0..nodes).map(|node| sim.neighbours(node).len()).max();
    assert!(most <= Some(7), "{most:?} links");
    sim.run_for(20_000);
    let dials = counted(&sim, 0..nodes, "dials");
    assert!(dials <= 10, "{dials} dials");
}

#[test]
fn ends_of_links_do_not_answer_each_other_for_ever() {
    let nodes = 320;
    let mut sim = warm_of(nodes, 3, Latency::regions());
    let wants = |sim: &Sim| -> u64 {
        (0..nodes)
            .filter_map(|node| sim.engine(node).counters().frames_sent.remove("Wants"))
            .sum()
    };
    sim.run_for(10_000);
    let before = wants(&sim);
    sim.run_for(10_000);
    let told = wants(&sim) - before;
    // Two pairs each wanted their link only while the other did not, and said so in step, twenty
    // times a second.
    assert!(told < nodes as u64 / 4, "{told} changes of mind");
}

/// Where RTTs stay as they are only coordinates drift, and 300 peers wait four times as long as a
/// few with stating them.
#[test]
fn coordinates_alone_are_stated_the_more_rarely_the_more_peers_there_are() {
    let mut sim = warm_of(300, 11, Latency::regions());
    sim.run_for(3 * Config::default().database.drift_ms);
    let stated = counted(&sim, 0..300, "records_issued_for_drift");
    assert_eq!(stated, 0);
}
