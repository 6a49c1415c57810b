//! A start through one well-known peer does not leave a star.

use crate::support::{GROUP, assert_all_delivered, join_all, wait_joined, wait_view};
use hedgerow_testnet::sim::{Sim, StartGraph};

#[test]
fn a_hub_only_start_ends_with_every_leaf_on_several_links() {
    for (nodes, seed) in [(10, 1), (30, 2)] {
        let mut sim = Sim::builder()
            .nodes(nodes)
            .seed(seed)
            .start_graph(StartGraph::Hub)
            .build();
        join_all(&mut sim, 0..nodes);
        wait_joined(&mut sim);
        wait_view(&mut sim, 30_000);
        sim.run_for(30_000);
        for node in 0..nodes {
            let links = sim.neighbours(node).len();
            assert!(
                (4..=12).contains(&links),
                "node {node} has {links} links, {sim:?}"
            );
        }
        sim.kill(0);
        sim.publish(nodes - 1, GROUP, "who needs a hub");
        assert_all_delivered(&mut sim, 10_000);
    }
}
