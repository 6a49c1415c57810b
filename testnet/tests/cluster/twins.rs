//! Two running peers with one key, as a copied data directory makes them.

use crate::support::{GROUP, counted, join_all, wait, wait_joined, wait_view};
use hedgerow_protocol::Event;
use hedgerow_testnet::sim::{Sim, StartGraph};

const FIRST: usize = 1;
const COPY: usize = 2;

/// Node 0 knows nobody, and all others know node 0. Nobody has started.
fn star(nodes: usize, seed: u64) -> Sim {
    let contacts = |node: usize| if node == 0 { vec![] } else { vec![0] };
    let start = StartGraph::Explicit((0..nodes).map(contacts).collect());
    Sim::builder()
        .nodes(nodes)
        .seed(seed)
        .start_graph(start)
        .idle_from(0)
        .build()
}

/// Node 0 knows nobody. Node 1 and its copy, node 2, know node 0, and so do further ones. Node 1 has
/// run before; now it runs again, and its copy starts.
fn copied(further: usize, seed: u64) -> Sim {
    let nodes = 3 + further;
    let mut sim = star(nodes, seed);
    sim.copy_identity(COPY, FIRST);
    for node in (0..nodes).filter(|node| *node != COPY) {
        sim.start_node(node);
        join_all(&mut sim, [node]);
    }
    wait_joined(&mut sim);
    wait_view(&mut sim, 30_000);
    sim.run_for(6_000);
    sim.kill(FIRST);
    sim.run_for(1_000);
    sim.restart(FIRST);
    join_all(&mut sim, [FIRST]);
    sim.run_for(2_000);
    sim.start_node(COPY);
    join_all(&mut sim, [COPY]);
    sim
}

fn is_in_use(event: &Event) -> bool {
    matches!(event, Event::IdentityInUse { .. })
}

fn is_conflict(event: &Event) -> bool {
    matches!(event, Event::IdentityConflict { .. })
}

/// Devices of one image without a clock of their own begin in the same moment: their lives have one
/// number, and whoever comes to a neighbour of the other looks like a second connection of it.
#[test]
fn of_two_that_began_in_the_same_moment_one_stops_as_well() {
    for seed in 1..=6 {
        let (nodes, first, copy) = (8, 1, 7);
        let mut sim = star(nodes, seed);
        sim.copy_identity(copy, first);
        sim.partition(&[(0..copy).collect(), vec![copy]]);
        for node in 0..nodes {
            sim.start_node(node);
        }
        sim.run_for(20_000);
        assert_eq!(sim.engine(first).epoch(), sim.engine(copy).epoch());
        sim.heal();
        let one_left = |sim: &Sim| sim.is_alive(first) != sim.is_alive(copy);
        wait(&mut sim, 40_000, "one stops", one_left);
        sim.run_for(10_000);
        assert!(one_left(&sim), "and one goes on, {sim:?}");
    }
}

#[test]
fn of_two_peers_with_one_key_the_one_with_the_lower_epoch_stops_within_seconds() {
    for (further, seed) in [(0, 1), (0, 2), (1, 3), (1, 4), (3, 5)] {
        let mut sim = copied(further, seed);
        let alive = sim.alive();
        let dials = counted(&sim, alive, "dials");
        let key = sim.key(FIRST);
        wait(&mut sim, 10_000, "the older one stops", |sim| {
            sim.events(FIRST).any(is_in_use)
        });
        let told = sim.events(FIRST).find(|event| is_in_use(event)).cloned();
        let Some(Event::IdentityInUse { peer, epoch, other }) = told else {
            panic!("it was told");
        };
        assert_eq!(peer, key);
        assert!(other.epoch > epoch, "{other:?} after {epoch}, {sim:?}");
        assert_eq!(other.addresses.len(), 1, "where the other one is");
        assert!(!sim.events(COPY).any(is_in_use), "{sim:?}");
        // The other one goes on, linked, and knows.
        assert!(sim.events(COPY).any(is_conflict), "{sim:?}");
        assert!(!sim.engine(COPY).links().is_empty(), "{sim:?}");
        let conflicts = sim.engine(COPY).status().identity_conflicts;
        assert_eq!(conflicts.len(), 1, "{sim:?}");
        sim.run_for(10_000);
        assert!(sim.is_alive(COPY) && !sim.is_alive(FIRST), "{sim:?}");
        wait_view(&mut sim, 10_000);
        let alive = sim.alive();
        let more = counted(&sim, alive, "dials").saturating_sub(dials);
        assert!(more <= 20, "{more} dials, {sim:?}");
        let id = sim.publish(COPY, GROUP, "still here");
        sim.run_for(2_000);
        assert_eq!(sim.times_delivered(0, id), 1, "{sim:?}");
    }
}

/// The neighbour of both has connections of one key whose epochs outbid each other.
#[test]
fn a_neighbour_of_both_tells_of_the_conflict() {
    let mut sim = copied(0, 1);
    sim.run_for(10_000);
    let users = sim.events(0).find_map(|event| match event {
        Event::IdentityConflict { peer, users } => Some((*peer, users.clone())),
        _ => None,
    });
    let (peer, users) = users.expect("it is told");
    assert_eq!((peer, users.len()), (sim.key(FIRST), 2), "{sim:?}");
    assert_ne!(users[0].epoch, users[1].epoch);
    assert_eq!(counted(&sim, [0], "identity_conflicts"), 1);
    let conflicts = sim.engine(0).status().identity_conflicts;
    assert_eq!(conflicts.len(), 1, "{sim:?}");
}

/// A restart is no conflict, whatever its clock says and however soon it comes.
#[test]
fn a_peer_that_comes_back_is_no_second_one() {
    for (seed, down_ms, jump_ms) in [(1, 0, 0), (2, 0, -3_600_000), (3, 500, -3_600_000)] {
        let mut sim = copied(0, seed);
        sim.run_for(12_000);
        let before = counted(&sim, [0], "identity_conflicts");
        for _ in 0..3 {
            // Its host falls silent, so its former connection seems to stand.
            sim.crash(COPY);
            sim.jump_clock(COPY, jump_ms);
            sim.run_for(down_ms);
            sim.restart_wiped(COPY);
            sim.run_for(20_000);
        }
        assert!(sim.is_alive(COPY), "{sim:?}");
        assert_eq!(counted(&sim, [0], "identity_conflicts"), before, "{sim:?}");
        wait_view(&mut sim, 20_000);
    }
}

/// A link that never lasts is dialled ever more rarely, whoever ends it.
#[test]
fn links_that_end_at_once_are_not_dialled_in_a_loop() {
    let start = StartGraph::Explicit(vec![vec![], vec![0]]);
    let mut sim = Sim::builder().nodes(2).seed(3).start_graph(start).build();
    sim.run_for(1_000);
    let dials = counted(&sim, [0, 1], "dials");
    for _ in 0..2_000 {
        for link in sim.engine(1).links() {
            sim.reset_link(1, link.link);
        }
        sim.run_for(10);
    }
    let more = counted(&sim, [0, 1], "dials") - dials;
    assert!((4..=20).contains(&more), "{more} dials in 20 s");
}
