//! Many peers at one address, and peers that connect and say nothing.

use crate::support::{
    GROUP, assert_all_delivered, counted, join_all, wait, wait_joined, wait_view,
};
use hedgerow_protocol::{Event, LinkEnd};
use hedgerow_testnet::hostile;
use hedgerow_testnet::scenario::Behaviour;
use hedgerow_testnet::sim::{Sim, StartGraph};
use std::collections::BTreeSet;

const HONEST: usize = 12;
const HOSTILE: usize = 40;

/// Honest peers that are settled, and hostile ones at one address that do not run yet. One honest
/// peer does not run either.
fn with_hostile(behaviour: Behaviour, known_ms: u64) -> Sim {
    let mut sim = Sim::builder()
        .nodes(HONEST + HOSTILE)
        .seed(7)
        .start_graph(StartGraph::Random { contacts: 2 })
        .idle_from(HONEST - 1)
        .configure(|config| config.limits.known_ms = known_ms)
        .build();
    for node in HONEST..HONEST + HOSTILE {
        sim.share_address(node, HONEST);
        sim.set_mask(node, move |keypair, seed| {
            hostile::mask(behaviour, keypair, seed).expect("it does not behave")
        });
    }
    join_all(&mut sim, 0..HONEST - 1);
    wait_joined(&mut sim);
    wait_view(&mut sim, 30_000);
    sim.run_for(30_000);
    sim
}

fn start_hostile(sim: &mut Sim) {
    (HONEST..HONEST + HOSTILE).for_each(|node| sim.start_node(node));
}

/// Of the honest peers that are linked to the first, those whose links it has shed.
fn honest_shed(sim: &Sim) -> usize {
    let honest: BTreeSet<_> = (0..HONEST).map(|node| sim.key(node)).collect();
    let shed = |event: &&Event| matches!(event, Event::LinkDown { peer, reason: LinkEnd::Shed, .. } if honest.contains(peer));
    sim.events(0).filter(shed).count()
}

#[test]
fn a_crowd_at_one_address_takes_no_place_of_a_peer_that_is_known() {
    // Where all are known soon, so is the crowd, and may use the places kept for such peers.
    for (known_ms, most) in [(20_000, 32 + 16), (3_600_000, 32)] {
        let mut sim = with_hostile(Behaviour::OneAddress, known_ms);
        let shed = honest_shed(&sim);
        start_hostile(&mut sim);
        let crowd: BTreeSet<_> = (HONEST..HONEST + HOSTILE).map(|n| sim.key(n)).collect();
        for _ in 0..300 {
            sim.run_for(100);
            let links = sim.engine(0).links().into_iter();
            let inbound = links.filter(|link| !link.dialled && crowd.contains(&link.peer));
            assert!(inbound.count() <= most, "{sim:?}");
        }
        assert!(counted(&sim, [0], "links_of_one_address") > 0, "{sim:?}");
        if known_ms == 20_000 {
            assert_eq!(honest_shed(&sim), shed, "{sim:?}");
        }
        sim.publish(3, GROUP, "hello");
        sim.run_for(3_000);
        sim.start_node(HONEST - 1);
        join_all(&mut sim, [HONEST - 1]);
        wait(&mut sim, 20_000, "a newcomer joins", |sim| {
            sim.has_joined(HONEST - 1, GROUP)
        });
    }
}

#[test]
fn peers_that_say_no_hello_keep_nobody_out() {
    let mut sim = with_hostile(Behaviour::SlowHello, 3_600_000);
    start_hostile(&mut sim);
    sim.run_for(20_000);
    assert!(counted(&sim, [0], "links_of_one_address") > 0, "{sim:?}");
    assert!(counted(&sim, [0], "links_throttled") > 0, "{sim:?}");
    sim.start_node(HONEST - 1);
    join_all(&mut sim, [HONEST - 1]);
    wait(&mut sim, 5_000, "a newcomer is linked", |sim| {
        !sim.engine(HONEST - 1).links().is_empty()
    });
    (HONEST..HONEST + HOSTILE).for_each(|node| sim.kill(node));
    wait_joined(&mut sim);
    wait_view(&mut sim, 30_000);
    sim.publish(3, GROUP, "hello");
    assert_all_delivered(&mut sim, 5_000);
}
