//! A probe is answered by every member, once.

use crate::support::{GROUP, settled, wait};
use hedgerow_protocol::{Event, GroupName, PeerKey};
use hedgerow_testnet::sim::Sim;

fn probe(sim: &mut Sim, node: usize) -> u64 {
    let group = GroupName::new(GROUP).expect("valid");
    sim.call(node, |engine, now| engine.probe(now, &group))
        .expect("runs")
        .expect("a member")
}

fn answers(sim: &Sim, node: usize, of: u64) -> Vec<PeerKey> {
    let members = sim.events(node).filter_map(|event| match event {
        Event::Probe { probe, member, .. } if *probe == of => Some(*member),
        _ => None,
    });
    members.collect()
}

#[test]
fn every_member_answers_once() {
    let mut sim = settled(15, 1);
    let (first, second) = (probe(&mut sim, 4), probe(&mut sim, 4));
    sim.run_for(8_000);
    for number in [first, second] {
        let mut members = answers(&sim, 4, number);
        members.sort_unstable();
        let mut others: Vec<PeerKey> = (0..15)
            .filter(|&node| node != 4)
            .map(|node| sim.key(node))
            .collect();
        others.sort_unstable();
        assert_eq!(members, others);
    }
    let counters = sim.engine(4).counters();
    assert_eq!(counters.values.get("probes_repeated"), None);
}

#[test]
fn a_probe_lost_with_its_carriers_is_sent_again() {
    for seed in 1..=3 {
        let mut sim = settled(20, seed);
        let dead = sim.neighbours(4);
        let dead = &dead[..dead.len() / 2];
        let number = probe(&mut sim, 4);
        for &node in dead {
            sim.crash(node);
        }
        let alive: Vec<PeerKey> = sim
            .alive()
            .into_iter()
            .filter(|&node| node != 4)
            .map(|node| sim.key(node))
            .collect();
        wait(&mut sim, 6_000, "answered", |sim| {
            let members = answers(sim, 4, number);
            alive.iter().all(|peer| members.contains(peer))
        });
        sim.run_for(3_000);
        let members = answers(&sim, 4, number);
        assert!(members.len() <= 19, "once each: {}", members.len());
    }
}
