//! Large messages take what their copies need on uplinks, and little more.

use crate::support::{
    GROUP, assert_clean, counted, start_warm, wait_delivered, wait_joined, wait_view,
};
use hedgerow_protocol::Micros;
use hedgerow_testnet::sim::{Bandwidth, Latency, Sim};

const NODES: usize = 30;
const MESSAGE_BYTES: usize = 5_000_000;

#[test]
fn nobody_asks_for_pieces_that_its_parent_cannot_have_pushed_yet() {
    let mut sim = Sim::builder()
        .nodes(NODES)
        .seed(1)
        .latency(Latency::Constant(Micros::from_millis(50)))
        .bandwidth(Bandwidth::mbit(50, 50))
        .idle_from(0)
        .build();
    // A link that changes moves trees, and what was on its way along the old ones is pulled: here
    // the mesh has settled.
    start_warm(&mut sim, NODES);
    wait_joined(&mut sim);
    wait_view(&mut sim, 30_000);
    sim.run_for(10_000);
    let before = counted(&sim, 0..NODES, "bundles_served");
    for origin in [0, 5, 10] {
        let published = sim.now();
        let id = sim.publish(origin, GROUP, vec![7; MESSAGE_BYTES]);
        wait_delivered(&mut sim, 10_000);
        let mut took: Vec<Micros> = (0..NODES)
            .filter(|&node| node != origin)
            .filter_map(|node| sim.deliveries(node).find(|(_, message)| message.id == id))
            .map(|(receipt, _)| receipt.at.since(published))
            .collect();
        took.sort_unstable();
        // Two copies share an uplink for 1.6 s; the rest is the way. When the origin's neighbours
        // asked it for what they had heard of, it was 2.3 to 3.8 s.
        let median = took[took.len() / 2];
        assert!(median <= Micros::from_millis(1_900), "{median}, {sim:?}");
    }
    let served = counted(&sim, 0..NODES, "bundles_served") - before;
    let pieces = 3 * (NODES as u64 - 1) * (MESSAGE_BYTES as u64).div_ceil(64 << 10);
    assert_eq!(served, 0, "of {pieces} pieces, so many were pulled");
    assert_clean(&mut sim);
}
