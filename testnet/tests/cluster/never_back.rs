//! A message never goes back where it came from.

use crate::support::{GROUP, assert_all_delivered, join_all, network, wait_joined, wait_view};
use crate::support::{redundancy_patch, settled};
use hedgerow_protocol::PeerKey;
use hedgerow_protocol::status::BothWays;
use hedgerow_testnet::sim::Sim;
use std::collections::BTreeMap;

/// Bundles received and sent so far, by node and neighbour.
fn bundles(sim: &Sim) -> BTreeMap<(usize, PeerKey), BothWays> {
    let mut bundles = BTreeMap::new();
    for node in sim.alive() {
        for link in sim.engine(node).links() {
            bundles.insert((node, link.peer), link.bundles);
        }
    }
    bundles
}

/// What crossed each link since `before`: by sending node and receiving node.
fn crossed(sim: &Sim, before: &BTreeMap<(usize, PeerKey), BothWays>) -> Vec<(usize, usize)> {
    let mut crossed = Vec::new();
    for ((node, peer), BothWays { sent, .. }) in bundles(sim) {
        let sent_before = before.get(&(node, peer)).map_or(0, |both| both.sent);
        for _ in sent_before..sent {
            crossed.push((node, sim.node_of(peer).expect("a node")));
        }
    }
    crossed
}

/// Ends of links that ended so far.
fn ended(sim: &Sim) -> u64 {
    let alive = sim.alive();
    let ends = alive
        .iter()
        .flat_map(|&node| sim.engine(node).counters().link_ends.into_values());
    ends.sum()
}

/// What crossed which link when `origin` published once, while no link moved: with a link goes what
/// is known of it.
fn crossed_at_rest(sim: &mut Sim, origin: usize) -> Vec<(usize, usize)> {
    for _ in 0..5 {
        let (before, ends) = (bundles(sim), ended(sim));
        sim.publish(origin, GROUP, "once");
        assert_all_delivered(sim, 5_000);
        if ended(sim) == ends {
            return crossed(sim, &before);
        }
    }
    panic!("links never rest, {sim:?}");
}

#[test]
fn in_a_tree_every_peer_gets_one_copy_and_sends_none_back() {
    for seed in 1..=3 {
        let mut sim = settled(20, seed);
        sim.run_for(20_000);
        for origin in [0, 7, 13] {
            let crossed = crossed_at_rest(&mut sim, origin);
            assert_eq!(crossed.len(), 19, "redundancy 0, seed {seed}: {crossed:?}");
            assert!(
                crossed.iter().all(|&(_, to)| to != origin),
                "back to the origin"
            );
            let back = crossed
                .iter()
                .find(|&&(from, to)| crossed.contains(&(to, from)));
            assert_eq!(back, None, "seed {seed}");
        }
    }
}

#[test]
fn in_a_mesh_of_two_every_peer_gets_two_copies_at_most_and_the_origin_none() {
    for seed in 1..=3 {
        let mut sim = network(20, seed);
        join_all(&mut sim, 0..20);
        wait_joined(&mut sim);
        sim.try_set_group(0, GROUP, redundancy_patch(2))
            .expect("a member");
        wait_view(&mut sim, 30_000);
        sim.run_for(20_000);
        let before = bundles(&sim);
        sim.publish(7, GROUP, "twice");
        assert_all_delivered(&mut sim, 5_000);
        let crossed = crossed(&sim, &before);
        assert!(crossed.len() <= 2 * 19, "redundancy 1 at most: {crossed:?}");
        assert!(
            crossed.len() > 19,
            "a mesh is more than a tree: {crossed:?}"
        );
        assert!(
            crossed.iter().all(|&(_, to)| to != 7),
            "back to the origin: {crossed:?}"
        );
    }
}
