//! Peers that can reach each other see the same network.

use super::{Findings, Snapshot};
use hedgerow_protocol::PeerKey;
use std::collections::BTreeSet;

/// Judges peers that should be in one view: all of `snapshots`, and nobody else.
pub fn views(snapshots: &[Snapshot]) -> Findings {
    let mut findings = Findings::default();
    let Some(first) = snapshots.first() else {
        return findings;
    };
    for snapshot in snapshots {
        let (status, node) = (&snapshot.status, snapshot.node);
        if status.view_peers != snapshots.len() {
            let (sees, of) = (status.view_peers, snapshots.len());
            findings.add(|| format!("node {node} has {sees} peers in its view, {of} are there"));
        } else if status.view_hash != first.status.view_hash {
            let other = first.node;
            findings.add(|| format!("nodes {node} and {other} have views with unequal hashes"));
        }
    }
    findings
}

/// Judges peers among others that may be in their views or not, and may tell everybody something
/// else: each has all of `snapshots` in its view and none of those that are `gone`. Where it is not
/// known who it `sees`, there is room for all.
pub fn sight(
    snapshots: &[Snapshot],
    gone: &BTreeSet<PeerKey>,
    sees: impl Fn(usize) -> Option<BTreeSet<PeerKey>>,
) -> Findings {
    let mut findings = Findings::default();
    for snapshot in snapshots {
        let node = snapshot.node;
        let (in_view, of) = (snapshot.status.view_peers, snapshots.len());
        if in_view < of {
            findings.add(|| format!("node {node} has {in_view} peers in its view, {of} are there"));
            continue;
        }
        let Some(seen) = sees(node) else { continue };
        for other in snapshots {
            if !seen.contains(&other.status.peer) {
                let other = other.node;
                findings.add(|| format!("node {node} does not have node {other} in its view"));
            }
        }
        for peer in seen.intersection(gone) {
            findings.add(|| format!("node {node} has {peer} in its view, which is gone"));
        }
    }
    findings
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use hedgerow_protocol::{Config, Engine, Keypair, Micros, Time};

    fn key(node: usize) -> PeerKey {
        Keypair::from_secret([node as u8 + 1; 32]).peer()
    }

    /// What a peer says that has so many in its view.
    pub(in crate::check) fn snapshot(node: usize, view_peers: usize) -> Snapshot {
        let keypair = Keypair::from_secret([node as u8 + 1; 32]);
        let now = Time {
            mono: Micros(0),
            wall_ms: 1,
        };
        let config = Config::default();
        let engine = Engine::new(keypair, config.clone(), [1; 32], now);
        let mut snapshot = Snapshot::of(node, &engine, &config);
        snapshot.status.view_peers = view_peers;
        snapshot
    }

    /// Three that behave, two that do not, and one that is gone.
    #[test]
    fn who_does_not_behave_makes_up_for_nobody_who_is_missing() {
        let snapshots = [0, 1, 2].map(|node| snapshot(node, 4));
        let gone = BTreeSet::from([key(5)]);
        let found = |views: [&[usize]; 3]| {
            let sees = |node: usize| Some(views[node].iter().map(|&other| key(other)).collect());
            sight(&snapshots, &gone, sees).examples
        };
        let nothing: Vec<String> = Vec::new();
        assert_eq!(
            found([&[0, 1, 2], &[0, 1, 2, 3], &[0, 1, 2, 3, 4]]),
            nothing
        );
        let lost = found([&[0, 1, 2, 3], &[0, 1, 3, 4], &[0, 1, 2, 4]]);
        assert_eq!(lost, ["node 1 does not have node 2 in its view"]);
        let dead = found([&[0, 1, 2, 3], &[0, 1, 2, 4], &[0, 1, 2, 5]]);
        assert_eq!(dead.len(), 1, "{dead:?}");
        assert!(dead[0].starts_with("node 2 has"), "{dead:?}");
        assert!(sight(&snapshots, &gone, |_| None).is_clean());
    }
}
