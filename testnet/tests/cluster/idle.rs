//! A network in which nothing happens says little.

use crate::support::{GROUP, join_all, wait_delivered, wait_joined, wait_view};
use hedgerow_protocol::Micros;
use hedgerow_testnet::sim::{Latency, Sim};

const NODES: usize = 30;

fn issued(sim: &Sim) -> u64 {
    let issued = |node| sim.engine(node).counters().values["records_issued"];
    (0..NODES).map(issued).sum()
}

#[test]
fn noisy_round_trips_reissue_few_records() {
    // A busy machine, whose round trips are noise only, and a network.
    let machine = Latency::Uniform {
        min: Micros(50),
        max: Micros(500),
    };
    for (latency, jitter_ms) in [(machine, 20), (Latency::uniform_ms(5, 80), 40)] {
        let mut sim = Sim::builder()
            .nodes(NODES)
            .seed(5)
            .latency(latency)
            .jitter_ms(jitter_ms)
            .build();
        join_all(&mut sim, 0..NODES);
        wait_joined(&mut sim);
        wait_view(&mut sim, 30_000);
        sim.run_for(8 * 60_000);
        let before = issued(&sim);
        sim.run_for(5 * 60_000);
        let rate = (issued(&sim) - before) as f64 / (5 * NODES) as f64;
        // There were 20 and 7 a minute once.
        assert!(rate < 1.0, "{rate} records a peer and minute, {sim:?}");
    }
}

#[test]
fn two_ends_of_an_idle_link_wake_once_a_second_for_its_heartbeats() {
    let mut sim = Sim::builder().nodes(12).seed(6).build();
    join_all(&mut sim, 0..12);
    wait_view(&mut sim, 30_000);
    sim.run_for(120_000);
    let heartbeats = |sim: &Sim| -> u64 {
        let sent = |node| sim.engine(node).counters().frames_sent["Heartbeat"];
        (0..12).map(sent).sum()
    };
    let links: usize = (0..12).map(|node| sim.neighbours(node).len()).sum();
    let before = heartbeats(&sim);
    sim.run_for(60_000);
    let rate = (heartbeats(&sim) - before) as f64 / (60 * links) as f64;
    assert!(
        (0.9..=1.1).contains(&rate),
        "{rate} heartbeats a link's end and second, {sim:?}"
    );
}

#[test]
fn what_each_of_many_origins_published_once_is_not_told_for_ever() {
    const ORIGINS: usize = 120;
    let mut sim = Sim::builder()
        .nodes(ORIGINS)
        .seed(7)
        .latency(Latency::constant_ms(1))
        .build();
    join_all(&mut sim, 0..ORIGINS);
    wait_joined(&mut sim);
    wait_view(&mut sim, 30_000);
    sim.run_for(60_000);
    for origin in 0..ORIGINS {
        sim.publish(origin, GROUP, format!("from {origin}"));
        sim.run_for(20);
    }
    wait_delivered(&mut sim, 5_000);
    // By then every link has had its turn.
    sim.run_for(2_000);
    let digests = |sim: &Sim| -> u64 {
        let sent = |node| sim.engine(node).counters().frames_sent["Digest"];
        (0..ORIGINS).map(sent).sum()
    };
    let before = digests(&sim);
    sim.run_for(10_000);
    // A new link takes two. There were 24,000 once: a round that told one neighbour left out
    // another, and the next one told the first again.
    let told = digests(&sim) - before;
    assert!(told < 100, "{told} digests, {sim:?}");
}
