//! Views and their overlays.

use super::*;
use crate::base::identity::Keypair;
use crate::base::name::NetworkName;
use crate::wire::record::RecordExt;
use crate::wire::{Record, RecordLink};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Three peers in a row that state these versions of the algorithms.
fn row(versions: [u16; 3]) -> Snapshot {
    let mut keypairs = [1, 2, 3].map(|n| Keypair::from_secret([n; 32]));
    keypairs.sort_by_key(Keypair::peer);
    let keys = [0, 1, 2].map(|at| keypairs[at].peer());
    let records = (0..3_usize).map(|at| {
        let others = keys.iter().enumerate();
        let links = others
            .filter(|(other, _)| other.abs_diff(at) == 1)
            .map(|(_, &peer)| RecordLink {
                peer,
                rtt_us: 10_000,
            })
            .collect();
        let record = Record {
            network: [0; 16],
            peer: keys[at],
            epoch: 1,
            version: 1,
            left: false,
            algorithm: versions[at],
            capacity: 4,
            coordinate: [0.0; 5],
            addresses: Vec::new(),
            groups: Vec::new(),
            links,
            capabilities: 0,
            ext: RecordExt::default(),
        };
        Arc::new(SignedRecord::sign(record, &keypairs[at]))
    });
    Snapshot::new(1, records.collect(), None, &SharedCache::default())
}

fn broadcast_graph(snapshot: &Snapshot) -> Arc<GroupGraph> {
    let group = GroupName::broadcast();
    let id = GroupId::new(&NetworkName::default(), &group);
    group_graph(&SharedCache::default(), snapshot, 0, id, &group)
}

#[test]
fn a_peer_of_a_newer_version_is_part_of_the_same_trees() {
    let (old, mixed) = (row([1, 1, 1]), row([1, 9, 1]));
    assert_eq!(mixed.summary(0).agreed.unsupported, 0);
    let (old, mixed) = (broadcast_graph(&old), broadcast_graph(&mixed));
    assert_eq!(old.hash, mixed.hash, "the same trees, by the same name");
    let cache = SharedCache::default();
    let mesh = mixed.route(&cache, NodeIndex::new(0), Class::Normal, 1);
    assert_eq!(mesh.children(NodeIndex::new(1)), [NodeIndex::new(2)]);
}

#[test]
fn a_peer_of_a_version_no_longer_supported_is_counted() {
    let snapshot = row([1, 0, 1]);
    assert_eq!(snapshot.component(0), snapshot.component(2));
    assert_eq!(snapshot.summary(0).agreed.unsupported, 1);
    assert_eq!(snapshot.summary(0).agreed.algorithm, Algorithm::V1);
}

/// A record of the `at`th of `keypairs` with these links: who, and how far.
fn record_of(keypairs: &[Keypair], at: usize, version: u64, links: &[(usize, u32)]) -> Record {
    let mut links: Vec<RecordLink> = links
        .iter()
        .filter(|(other, _)| *other != at)
        .map(|&(other, rtt_us)| RecordLink {
            peer: keypairs[other].peer(),
            rtt_us,
        })
        .collect();
    links.sort_by_key(|link| link.peer);
    links.dedup_by_key(|link| link.peer);
    Record {
        network: [0; 16],
        peer: keypairs[at].peer(),
        epoch: 1,
        version,
        left: false,
        algorithm: 1,
        capacity: 1 + version as u16 % 7,
        coordinate: [0.0; 5],
        addresses: Vec::new(),
        groups: Vec::new(),
        links,
        capabilities: 0,
        ext: RecordExt::default(),
    }
}

const PEERS: usize = 24;

type Stated = Vec<(usize, u32)>;

/// Who states a record, and what is in it.
fn some_records(most: usize) -> impl Strategy<Value = BTreeMap<usize, (u64, Stated)>> {
    let links = prop::collection::vec((0..PEERS, 1_000_u32..9_000), 0..12);
    prop::collection::btree_map(0..PEERS, (1_u64..9, links), 0..most)
}

proptest! {
    #[test]
    fn links_that_follow_from_the_former_snapshot_are_those_of_the_records(
        first in some_records(PEERS + 1),
        changes in some_records(9),
        gone in prop::collection::btree_set(0..PEERS, 0..5),
    ) {
        let keypairs: Vec<Keypair> =
            (0..PEERS).map(|n| Keypair::from_secret([1 + n as u8; 32])).collect();
        let signed = |(at, (version, links)): (&usize, &(u64, Stated))| {
            let record = record_of(&keypairs, *at, *version, links);
            Arc::new(SignedRecord::sign(record, &keypairs[*at]))
        };
        let mut held: BTreeMap<PeerKey, Arc<SignedRecord>> =
            first.iter().map(signed).map(|r| (r.record.peer, r)).collect();
        let cache = SharedCache::default();
        let former = Snapshot::new(1, held.values().cloned().collect(), None, &cache);
        for record in changes.iter().map(signed) {
            held.insert(record.record.peer, record);
        }
        for at in gone {
            held.remove(&keypairs[at].peer());
        }
        let records: Vec<_> = held.into_values().collect();
        let now = Snapshot::new(2, records.clone(), Some(&former), &cache).graph(&cache);
        let prefixes: Vec<u64> = records.iter().map(|r| r.record.peer.prefix()).collect();
        let anew = links::of(&records, &prefixes);
        let edges = |graph: &LinkGraph| {
            let edges = graph.raw_edges().iter();
            edges.map(|edge| (edge.source(), edge.target(), edge.weight)).collect::<Vec<_>>()
        };
        prop_assert_eq!(edges(&now), edges(&anew));
        let nodes = |graph: &LinkGraph| {
            graph.node_weights().copied().collect::<Vec<_>>()
        };
        prop_assert_eq!(nodes(&now), nodes(&anew));
    }
}
