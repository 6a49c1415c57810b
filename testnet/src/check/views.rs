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

/// Judges peers among others that may be in their views or not, and may tell everybody something
/// else: each has room in its view for all of `snapshots`.
pub fn sight(snapshots: &[Snapshot]) -> Findings {
    let mut findings = Findings::default();
    for snapshot in snapshots {
        let (sees, of) = (snapshot.status.view_peers, snapshots.len());
        if sees < of {
            let node = snapshot.node;
            findings.add(|| format!("node {node} has {sees} peers in its view, {of} are there"));
        }
    }
    findings
}
