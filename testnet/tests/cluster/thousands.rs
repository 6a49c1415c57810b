//! A newcomer meets a network of thousands.

use hedgerow_protocol::wire::record::ALGORITHM_VERSION;
use hedgerow_protocol::wire::record::RecordExt;
use hedgerow_protocol::wire::{Record, RecordLink, SignedRecord};
use hedgerow_protocol::{Config, Keypair, LinkEnd, PeerKey};
use hedgerow_testnet::sim::{Latency, Sim};
use std::sync::Arc;

/// Peers that run.
const NEIGHBOURS: usize = 12;
/// Peers of which there are only records.
const OTHERS: usize = 16_000;
/// Links of each of those to the ones before it.
const LINKS: usize = 4;

fn keypair(number: usize) -> Keypair {
    let mut secret = [5; 32];
    secret[..8].copy_from_slice(&(number as u64).to_le_bytes());
    Keypair::from_secret(secret)
}

/// Peers that are linked among each other at random, the first of them to `gates`; and whom each of
/// the gates would have to state.
fn others(gates: &[PeerKey]) -> (Vec<Arc<SignedRecord>>, Vec<Vec<PeerKey>>) {
    let keypairs: Vec<Keypair> = (0..OTHERS).map(keypair).collect();
    let keys: Vec<PeerKey> = keypairs.iter().map(Keypair::peer).collect();
    let mut links: Vec<Vec<PeerKey>> = vec![Vec::new(); OTHERS];
    let mut stated = vec![Vec::new(); gates.len()];
    for number in 0..OTHERS {
        if number < 4 * gates.len() {
            let gate = number % gates.len();
            links[number].push(gates[gate]);
            stated[gate].push(keys[number]);
        }
        for link in 0..LINKS.min(number) {
            // Any number that is as good as random.
            let other = number
                .wrapping_mul(2_654_435_761)
                .wrapping_add(link * 7_919)
                % number;
            links[number].push(keys[other]);
            links[other].push(keys[number]);
        }
    }
    let records = keypairs.iter().zip(links).map(|(keypair, mut links)| {
        links.sort();
        links.dedup();
        links.truncate(250);
        let record = Record {
            network: Config::default().network.hash(),
            peer: keypair.peer(),
            epoch: 1,
            version: 1,
            left: false,
            algorithm: ALGORITHM_VERSION,
            capacity: 8,
            coordinate: [10.0, 0.0, 0.0, 5.0, 0.5],
            addresses: Vec::new(),
            groups: Vec::new(),
            links: links
                .into_iter()
                .map(|peer| RecordLink {
                    peer,
                    rtt_us: 20_000,
                })
                .collect(),
            capabilities: 0,
            ext: RecordExt::default(),
        };
        Arc::new(SignedRecord::sign(record, keypair))
    });
    (records.collect(), stated)
}

#[test]
fn a_newcomer_meets_sixteen_thousand_peers_and_no_link_ends() {
    let mut sim = Sim::builder()
        .nodes(NEIGHBOURS + 1)
        .seed(3)
        .latency(Latency::uniform_ms(5, 40))
        .idle_from(0)
        .build();
    let nodes: Vec<usize> = (0..NEIGHBOURS).collect();
    for &node in &nodes {
        sim.start_alone(node);
    }
    let gates: Vec<PeerKey> = nodes.iter().map(|&node| sim.key(node)).collect();
    let (records, stated) = others(&gates);
    sim.warm_up_among(&nodes, &records, &stated);
    sim.run_for(1_000);
    let all = NEIGHBOURS + OTHERS;
    for node in 0..NEIGHBOURS {
        assert_eq!(sim.engine(node).status().view_peers, all, "node {node}");
    }
    sim.start_node(NEIGHBOURS);
    let settled = sim.run_until(60_000, |sim| {
        let statuses = (0..=NEIGHBOURS).map(|node| sim.engine(node).status());
        let hash = sim.engine(0).status().view_hash;
        statuses
            .into_iter()
            .all(|status| status.view_peers == all + 1 && status.view_hash == hash)
    });
    assert!(settled, "{sim:?}");
    for node in 0..=NEIGHBOURS {
        let ends = sim.engine(node).counters().link_ends;
        for end in [LinkEnd::Stuck, LinkEnd::Silence, LinkEnd::Malformed] {
            assert_eq!(ends.get(&end), None, "node {node}, {end:?}");
        }
    }
    assert!(sim.neighbours(NEIGHBOURS).len() >= 2);
}
