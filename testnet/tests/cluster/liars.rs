//! Peers that state what is not so cost others little.

use crate::support::{GROUP, assert_clean, counted, join_all, wait_delivered, wait_joined};
use hedgerow_testnet::hostile::mask;
use hedgerow_testnet::scenario::Behaviour;
use hedgerow_testnet::sim::Sim;

const NODES: usize = 20;
const OFFENDER: usize = 7;

/// A network in which one does not behave.
fn network(behaviour: Behaviour) -> Sim {
    let mut sim = Sim::builder().nodes(NODES).seed(5).idle_from(0).build();
    sim.set_mask(OFFENDER, move |keypair, seed| {
        mask(behaviour, keypair, seed).expect("it does not behave")
    });
    for node in 0..NODES {
        sim.start_node(node);
    }
    join_all(&mut sim, 0..NODES);
    wait_joined(&mut sim);
    sim.run_for(10_000);
    sim
}

fn honest() -> impl Iterator<Item = usize> {
    (0..NODES).filter(|&node| node != OFFENDER)
}

#[test]
fn who_denies_what_its_digests_claim_is_asked_no_more() {
    let mut sim = network(Behaviour::LyingDigests);
    let pulls_before = counted(&sim, honest(), "pulls");
    for round in 0..100 {
        for node in [0, 1, 2] {
            sim.publish(node, GROUP, format!("{round} of {node}"));
        }
        sim.run_for(100);
    }
    wait_delivered(&mut sim, 10_000);
    // While messages flow, what follows the last one is on its way, whoever claims to have it.
    sim.run_for(5_000);
    assert!(
        counted(&sim, honest(), "announcers_ignored") > 0,
        "it was believed"
    );
    // It was 435 when it was believed all the time: its own children, to whom it passes on late
    // what nobody pushes to it, have to pull as well.
    let pulls = counted(&sim, honest(), "pulls") - pulls_before;
    let deliveries = 300 * (NODES as u64 - 1);
    assert!(
        pulls * 20 <= deliveries,
        "{pulls} for {deliveries} deliveries"
    );
    assert_clean(&mut sim);
}

#[test]
fn records_of_peers_that_nobody_is_linked_to_fill_no_database() {
    let mut sim = network(Behaviour::RecordFlood);
    // Twenty a second by then: 500 and more.
    sim.run_for(15_000);
    assert!(
        counted(&sim, honest(), "records_of_strangers") > 0,
        "no flood"
    );
    for node in honest() {
        let records = sim.engine(node).status().records;
        // 256 at once, and one a second.
        let most = NODES + 256 + sim.now().as_millis() as usize / 1_000;
        assert!(records <= most, "node {node} holds {records} records");
    }
    let id = sim.publish(0, GROUP, "not drowned");
    wait_delivered(&mut sim, 5_000);
    assert!((0..NODES).all(|node| sim.times_delivered(node, id) == 1));
}
