//! A peer whose uplink stays full feeds fewer children until it is not.

use crate::support::{GROUP, assert_clean, join_all, wait_delivered, wait_joined, wait_view};
use hedgerow_protocol::{Config, GroupName, Micros};
use hedgerow_testnet::sim::{Bandwidth, Sim};

const NODES: usize = 30;
const MBIT: u64 = 20;
/// At a tenth of the uplink three copies of 20 such messages a second take four fifths of it, and four
/// more than there is: a load between would be neither borne nor noticed.
const NOTICED_BYTES: usize = 3_400;
/// Three times what a line takes that lets 20 kB/s through.
const LATE_BYTES: usize = 3_000;

fn network(seed: u64) -> Sim {
    let mut sim = Sim::builder()
        .nodes(NODES)
        .seed(seed)
        .bandwidth(Bandwidth::mbit(MBIT, MBIT))
        .build();
    join_all(&mut sim, 0..NODES);
    wait_joined(&mut sim);
    wait_view(&mut sim, 30_000);
    sim.run_for(10_000);
    sim
}

fn children(sim: &Sim, origin: usize, node: usize) -> usize {
    let group = GroupName::new(GROUP).expect("valid");
    let overlay = sim.engine(origin).overlay(&group, None).expect("overlay");
    let key = sim.key(node);
    let fed = overlay
        .nodes
        .iter()
        .filter(|n| n.parents.first() == Some(&key));
    fed.count()
}

/// The origin and another peer that feeds the most children of its tree.
fn busiest(sim: &Sim) -> (usize, usize) {
    let pairs = (0..NODES).flat_map(|origin| (0..NODES).map(move |node| (origin, node)));
    pairs
        .filter(|(origin, node)| origin != node)
        .max_by_key(|&(origin, node)| (children(sim, origin, node), origin, node))
        .expect("peers")
}

/// `seconds` of 20 such messages a second from `origin`; gives the longest time to a delivery of what was published
/// in the last 10 s.
fn stream(sim: &mut Sim, origin: usize, seconds: u64, bytes: usize) -> Micros {
    for _ in 0..seconds * 20 {
        sim.publish_patiently(origin, GROUP, vec![7; bytes], 10_000);
        sim.run_for(50);
    }
    let recent = Micros(sim.now().0 - 10_000_000);
    wait_delivered(sim, 60_000);
    let mut slowest = Micros(0);
    for node in 0..NODES {
        for (receipt, message) in sim.deliveries(node) {
            let published = message.published.expect("published").at;
            if published >= recent {
                slowest = slowest.max(receipt.at.since(published));
            }
        }
    }
    slowest
}

fn changes(sim: &Sim, node: usize) -> u64 {
    let counters = sim.engine(node).counters();
    ["capacity_lowered", "capacity_raised"]
        .iter()
        .filter_map(|name| counters.values.get(name))
        .sum()
}

/// Whom trees lead to in the end follows latencies as well, which links that moved meanwhile have
/// changed: so it is over all networks that the peer feeds more again.
#[test]
fn a_peer_at_a_tenth_of_its_uplink_feeds_fewer_until_it_has_it_back() {
    let fed = (1..=4).map(|seed| feeds_fewer_until_it_has_its_line_back(network(seed)));
    let (during, after) = fed.fold((0, 0), |sum, (during, after)| {
        (sum.0 + during, sum.1 + after)
    });
    assert!(after > during, "{during} children, {after} afterwards");
}

/// Gives the children that the peer fed with a tenth of its uplink, and with all of it again.
fn feeds_fewer_until_it_has_its_line_back(mut sim: Sim) -> (usize, usize) {
    let configured = Config::default().links.capacity;
    let (origin, squeezed) = busiest(&sim);
    let before = children(&sim, origin, squeezed);
    let usual = stream(&mut sim, origin, 15, NOTICED_BYTES);
    assert_eq!(sim.engine(squeezed).status().capacity, configured);

    let line = Bandwidth {
        up: Some(MBIT * 12_500),
        down: Some(MBIT * 125_000),
    };
    sim.set_bandwidth(squeezed, line);
    let mut slow = vec![stream(&mut sim, origin, 45, NOTICED_BYTES)];
    let during = children(&sim, origin, squeezed);
    assert!(sim.engine(squeezed).status().capacity < configured);
    assert!(during < before, "{before} children, then {during}");
    // The peer tries time and again whether it can feed more, and is late while it does: what counts is
    // that it is not in between.
    while slow.iter().all(|slow| *slow > usual.times(2)) {
        assert!(slow.len() < 3, "{slow:?} to the last, {usual} before");
        slow.push(stream(&mut sim, origin, 45, NOTICED_BYTES));
    }
    for node in (0..NODES).filter(|&node| node != squeezed) {
        assert_eq!(changes(&sim, node), 0, "node {node} had room");
    }

    sim.set_bandwidth(squeezed, Bandwidth::mbit(MBIT, MBIT));
    // The more attempts have failed, the longer it waits for the next one.
    for _ in 0..12 {
        if sim.engine(squeezed).status().capacity == configured {
            break;
        }
        stream(&mut sim, origin, 50, NOTICED_BYTES);
    }
    assert_eq!(sim.engine(squeezed).status().capacity, configured);
    let after = children(&sim, origin, squeezed);
    assert!(changes(&sim, squeezed) <= 12, "restated rarely");
    assert_clean(&mut sim);
    (during, after)
}

#[test]
fn a_peer_that_gets_everything_late_feeds_nobody_until_it_does_not() {
    let configured = Config::default().links.capacity;
    let mut sim = network(4);
    let (origin, squeezed) = busiest(&sim);
    assert!(children(&sim, origin, squeezed) > 0);
    // A third of what is published fits in; out there is all the room of the world.
    let line = Bandwidth {
        up: Some(MBIT * 125_000),
        down: Some(20_000),
    };
    sim.set_bandwidth(squeezed, line);
    stream(&mut sim, origin, 8, LATE_BYTES);
    assert_eq!(sim.engine(squeezed).status().capacity, 0);
    assert_eq!(children(&sim, origin, squeezed), 0);

    sim.set_bandwidth(squeezed, Bandwidth::mbit(MBIT, MBIT));
    let back = sim.run_until_every(300_000, 1_000, |sim| {
        sim.engine(squeezed).status().capacity == configured
    });
    assert!(back, "it stays a leaf, {sim:?}");
    assert_clean(&mut sim);
}
