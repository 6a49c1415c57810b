//! Links that come and go among peers that all live cost nobody a message: trees lead round a link
//! before it ends, and the tree before is followed for as long as views differ.

use crate::support::{GROUP, assert_all_delivered, settled};
use hedgerow_protocol::Arrival;

#[test]
fn while_links_are_improved_next_to_nothing_has_to_be_pulled() {
    let (mut pulled, mut moved, mut received) = (0, 0, 0);
    for seed in 1..=3 {
        let mut sim = settled(40, seed);
        let links = |sim: &hedgerow_testnet::sim::Sim| -> u64 {
            let ends = |node| sim.engine(node).counters().link_ends.values().sum::<u64>();
            (0..sim.len()).map(ends).sum()
        };
        let before = links(&sim);
        // All have just met: the next half minute is spent on better links.
        for round in 0..600 {
            sim.publish(round % 4, GROUP, format!("number {round}"));
            sim.run_for(50);
        }
        moved += links(&sim) - before;
        assert_all_delivered(&mut sim, 5_000);
        for node in 0..sim.len() {
            for (receipt, _) in sim.deliveries(node) {
                received += 1;
                pulled += usize::from(receipt.arrival == Arrival::Pulled);
            }
        }
    }
    assert!(moved >= 20, "only {moved} ends of links");
    eprintln!("{pulled} of {received} pulled, {moved} ends of links");
    assert!(
        pulled * 5_000 <= received,
        "{pulled} of {received} pulled, {moved} ends of links"
    );
}
