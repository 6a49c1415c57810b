//! Views and their overlays.

use super::*;
use crate::identity::Keypair;
use crate::name::NetworkName;
use crate::wire::{Record, RecordLink};

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
        };
        Arc::new(SignedRecord::sign(record, &keypairs[at]))
    });
    Snapshot::new(1, records.collect(), None, &Memo::default())
}

fn broadcast_graph(snapshot: &Snapshot) -> Arc<GroupGraph> {
    let group = GroupName::broadcast();
    let id = GroupId::new(&NetworkName::default(), &group);
    group_graph(&Memo::default(), snapshot, 0, id, &group)
}

#[test]
fn a_peer_of_a_newer_version_is_part_of_the_same_trees() {
    let (old, mixed) = (row([1, 1, 1]), row([1, 9, 1]));
    assert_eq!(mixed.summary(0).agreed.unsupported, 0);
    let (old, mixed) = (broadcast_graph(&old), broadcast_graph(&mixed));
    assert_eq!(old.hash, mixed.hash, "the same trees, by the same name");
    let memo = Memo::default();
    let mesh = mixed.route(&memo, NodeIndex::new(0), Class::Normal, 1);
    assert_eq!(mesh.children(NodeIndex::new(1)), [NodeIndex::new(2)]);
}

#[test]
fn a_peer_of_a_version_no_longer_supported_is_counted() {
    let snapshot = row([1, 0, 1]);
    assert_eq!(snapshot.component(0), snapshot.component(2));
    assert_eq!(snapshot.summary(0).agreed.unsupported, 1);
    assert_eq!(snapshot.summary(0).agreed.algorithm, Algorithm::V1);
}
