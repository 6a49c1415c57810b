//! Many peers that start at once through one do not dial each other in vain.

use crate::support::{join_all, wait_joined, wait_view};
use hedgerow_protocol::LinkEnd;
use hedgerow_testnet::sim::{Latency, Sim, StartGraph};

const NODES: usize = 100;

/// The mean over all peers.
fn mean(sim: &Sim, of: impl Fn(&hedgerow_protocol::Engine) -> u64) -> f64 {
    let sum: u64 = (0..NODES).map(|node| of(sim.engine(node))).sum();
    sum as f64 / NODES as f64
}

fn counted(sim: &Sim, name: &str) -> f64 {
    mean(sim, |engine| {
        engine.counters().values.get(name).copied().unwrap_or(0)
    })
}

fn ended(sim: &Sim, end: LinkEnd) -> f64 {
    mean(sim, |engine| {
        engine.counters().link_ends.get(&end).copied().unwrap_or(0)
    })
}

#[test]
fn a_hundred_peers_that_start_at_once_dial_few_in_vain() {
    for (latency, seed) in [
        (Latency::constant_ms(0), 1),
        (Latency::uniform_ms(5, 80), 2),
    ] {
        let mut sim = Sim::builder()
            .nodes(NODES)
            .seed(seed)
            .latency(latency)
            .start_graph(StartGraph::Hub)
            .build();
        join_all(&mut sim, 0..NODES);
        wait_joined(&mut sim);
        wait_view(&mut sim, 10_000);
        sim.run_for(30_000);
        // Four links a peer are dialled at the least. Without restraint there were 104 dials,
        // 67 refusals and 54 ends of duplicates to a peer.
        let dials = counted(&sim, "dials");
        assert!(dials <= 12.0, "{dials} dials a peer, {sim:?}");
        let refused = counted(&sim, "links_refused");
        assert!(refused <= 3.0, "{refused} refusals a peer, {sim:?}");
        let duplicates = ended(&sim, LinkEnd::Duplicate);
        assert!(duplicates <= 3.0, "{duplicates} duplicates a peer, {sim:?}");
        let unwanted = ended(&sim, LinkEnd::Unwanted);
        assert!(unwanted <= 5.0, "{unwanted} unwanted a peer, {sim:?}");
        let links = mean(&sim, |engine| engine.links().len() as u64);
        assert!(
            (6.0..=9.0).contains(&links),
            "{links} links a peer, {sim:?}"
        );
    }
}
