//! Peers that can reach each other see the same network.

use super::{Findings, Snapshot};

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
