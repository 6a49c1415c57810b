//! Peers die while messages are on their way.

use crate::support::{GROUP, assert_all_delivered, settled};
use hedgerow_protocol::GroupName;
use hedgerow_testnet::sim::{Random, Sim};

#[derive(Clone, Copy, Debug)]
enum Death {
    Kill,
    Crash,
}

fn die(sim: &mut Sim, node: usize, death: Death) {
    match death {
        Death::Kill => sim.kill(node),
        Death::Crash => sim.crash(node),
    }
}

/// The child of `origin` that feeds the most peers.
fn busiest_child(sim: &Sim, origin: usize) -> usize {
    let group = GroupName::new(GROUP).expect("valid");
    let overlay = sim
        .engine(origin)
        .overlay(&group, None)
        .expect("an overlay");
    let children = |peer| {
        overlay
            .nodes
            .iter()
            .filter(|n| n.parents.first() == Some(&peer))
            .count()
    };
    let own = sim.key(origin);
    let child = overlay
        .nodes
        .iter()
        .filter(|node| node.parents.first() == Some(&own));
    let busiest = child
        .max_by_key(|node| children(node.peer))
        .expect("a child");
    sim.node_of(busiest.peer).expect("a node")
}

#[test]
fn five_of_20_are_killed_and_the_next_messages_reach_all_15() {
    for (seed, death) in [(1, Death::Kill), (2, Death::Crash), (3, Death::Kill)] {
        let mut sim = settled(20, seed);
        let dead = Random::new(seed, "dead").sample(20, 5);
        for &node in &dead {
            die(&mut sim, node, death);
        }
        for node in sim.alive() {
            sim.publish(node, GROUP, format!("{node} lives"));
            sim.run_for(100);
        }
        assert_all_delivered(&mut sim, 10_000);
        assert_eq!(sim.alive().len(), 15);
        for node in sim.alive() {
            assert_eq!(
                sim.deliveries(node).count(),
                15,
                "node {node}, {death:?}, {sim:?}"
            );
        }
    }
}

#[test]
fn a_message_published_in_the_instant_its_forwarder_dies_reaches_all_live_peers() {
    for (seed, death) in [(1, Death::Kill), (2, Death::Crash)] {
        // Before it has the message, as it comes, and just after it has passed it on.
        for late_us in [-1_000_i64, 0, 1, 100, 2_000] {
            let mut sim = settled(20, seed);
            let origin = 7;
            let forwarder = busiest_child(&sim, origin);
            let arrival = sim.delay(origin, forwarder);
            sim.publish(origin, GROUP, format!("{death:?} {late_us}"));
            let at = hedgerow_protocol::Micros(arrival.0.saturating_add_signed(late_us));
            let when = sim.now() + at;
            sim.run_to(when);
            die(&mut sim, forwarder, death);
            assert_all_delivered(&mut sim, 10_000);
        }
    }
}

#[test]
fn messages_flow_on_while_peers_die_one_after_the_other() {
    let mut sim = settled(20, 9);
    let mut random = Random::new(9, "deaths");
    for round in 0..8 {
        for number in 0..10 {
            let alive = sim.alive();
            let origin = alive[random.index(alive.len())];
            sim.publish(origin, GROUP, format!("{round} {number}"));
            sim.run_for(50);
        }
        // The publisher dies only after its messages have left for a while: what nobody else
        // ever had is nobody's to repair.
        sim.run_for(500);
        let alive = sim.alive();
        let victim = alive[random.index(alive.len())];
        die(
            &mut sim,
            victim,
            if round % 2 == 0 {
                Death::Crash
            } else {
                Death::Kill
            },
        );
    }
    assert_all_delivered(&mut sim, 15_000);
}
