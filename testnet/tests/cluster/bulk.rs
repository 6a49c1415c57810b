//! A large message on its way does not hold up small ones, nor they it.

use crate::support::{GROUP, assert_clean, join_all, wait_delivered, wait_joined, wait_view};
use hedgerow_protocol::{Config, Micros};
use hedgerow_testnet::sim::{Bandwidth, Sim};

const NODES: usize = 12;
const MBIT: u64 = 50;
const BULK_BYTES: u32 = 20_000_000;
const BULK_ORIGIN: usize = 3;
const LINE_ORIGIN: usize = 7;
const OTHER_GROUP: &str = "chat";

/// Links change now and then, and a line on its way is then pulled; in several networks together that
/// moves no p99.
const SEEDS: std::ops::RangeInclusive<u64> = 2..=4;

fn network(seed: u64) -> Sim {
    let mut sim = Sim::builder()
        .nodes(NODES)
        .seed(seed)
        .bandwidth(Bandwidth::mbit(MBIT, MBIT))
        .build();
    join_all(&mut sim, 0..NODES);
    for node in 0..NODES {
        sim.join(node, OTHER_GROUP);
    }
    wait_joined(&mut sim);
    wait_view(&mut sim, 30_000);
    sim.run_for(10_000);
    sim
}

fn bulk() -> Vec<u8> {
    (0..BULK_BYTES)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

/// Sorted times from publication to delivery over all peers, microseconds, of messages that are
/// large or not.
fn latencies(sim: &Sim, large: bool) -> Vec<u64> {
    let mut latencies = Vec::new();
    for node in 0..NODES {
        for (receipt, message) in sim.deliveries(node) {
            if (message.payload.len() > 1_000) == large {
                latencies.push(receipt.at.since(message.published.expect("published").at).0);
            }
        }
    }
    latencies.sort_unstable();
    latencies
}

fn p99(sims: &[Sim]) -> Micros {
    let each = sims.iter().map(|sim| latencies(sim, false));
    let mut latencies: Vec<u64> = each.flatten().collect();
    latencies.sort_unstable();
    Micros(latencies[latencies.len() * 99 / 100])
}

/// Payload copies that came, and first ones.
fn copies(sim: &Sim) -> (u64, u64) {
    let groups = || {
        let nodes = sim.alive().into_iter();
        nodes.flat_map(|node| sim.engine(node).groups())
    };
    (
        groups().map(|group| group.copies).sum(),
        groups().map(|group| group.firsts).sum(),
    )
}

/// 20 lines a second for 10 s, from `origin` in `group`, with or without a large message.
fn run(seed: u64, origin: usize, group: &str, large: bool) -> Sim {
    let mut sim = network(seed);
    if large {
        sim.publish(BULK_ORIGIN, GROUP, bulk());
    }
    for number in 0..200 {
        sim.publish(origin, group, format!("line {number}"));
        sim.run_for(50);
    }
    wait_delivered(&mut sim, 60_000);
    sim
}

/// The lines come no later than twice what they take alone and the time in which a line of
/// `mbit` writes what a link's transport may hold.
fn assert_lines_pass(origin: usize, group: &str, mbit: u64) {
    let runs = |large| SEEDS.map(|seed| run(seed, origin, group, large)).collect();
    let (lines, both): (Vec<Sim>, Vec<Sim>) = (runs(false), runs(true));
    let (before, beside) = (p99(&lines), p99(&both));
    let buffer = Micros(Config::default().flow.unsent_bytes as u64 * 8 / mbit);
    assert!(
        beside <= before.times(2) + buffer,
        "lines: p99 {beside} beside the large message, {before} without it"
    );
    for (seed, mut both) in SEEDS.zip(both) {
        let mut alone = network(seed);
        alone.publish(BULK_ORIGIN, GROUP, bulk());
        wait_delivered(&mut alone, 60_000);
        let last = |sim: &Sim| latencies(sim, true).pop().expect("delivered");
        assert!(
            last(&both) <= last(&alone) * 12 / 10,
            "the large message took {} us beside lines, {} us alone",
            last(&both),
            last(&alone)
        );
        both.run_for(3_000);
        assert_clean(&mut both);
    }
}

#[test]
fn lines_pass_a_large_message_on_its_way_and_do_not_hold_it_up() {
    assert_lines_pass(LINE_ORIGIN, GROUP, MBIT);
}

#[test]
fn lines_of_another_group_pass_their_own_origins_large_message() {
    // Two copies of the large message share the line from the first hop on.
    assert_lines_pass(BULK_ORIGIN, OTHER_GROUP, MBIT / 2);
}

#[test]
fn a_line_after_its_origins_large_message_comes_after_it_and_costs_no_pull() {
    let mut sim = network(2);
    let (copies_before, firsts_before) = copies(&sim);
    sim.publish(BULK_ORIGIN, GROUP, bulk());
    for number in 0..20 {
        sim.publish_patiently(BULK_ORIGIN, GROUP, format!("line {number}"), 60_000);
    }
    wait_delivered(&mut sim, 60_000);
    for node in (0..NODES).filter(|&node| node != BULK_ORIGIN) {
        let (_, first) = sim.deliveries(node).next().expect("delivered");
        assert_eq!(first.payload.len(), BULK_BYTES as usize, "node {node}");
    }
    sim.run_for(3_000);
    assert_clean(&mut sim);
    let (copies, firsts) = copies(&sim);
    let (copies, firsts) = (copies - copies_before, firsts - firsts_before);
    assert!(
        copies * 100 <= firsts * 101,
        "{copies} copies for {firsts} first receipts"
    );
}
