//! No link leaks: what a peer takes for a link is a connection, and the other end knows it.

use super::{Findings, Snapshot};
use hedgerow_protocol::PeerKey;
use std::collections::{BTreeSet, HashMap};

/// The connections that the transport has at one peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wire {
    /// The peer at the other end of each.
    pub peers: Vec<PeerKey>,
}

/// Judges peers on a quiet network: `wires` are their connections, in the order of `snapshots`.
/// Links with `strangers`, who need not behave, are not judged.
///
/// Handshakes under way make this wrong for a moment, so a caller retries until it is clean.
pub fn links(snapshots: &[Snapshot], wires: &[Wire], strangers: &BTreeSet<PeerKey>) -> Findings {
    let mut findings = Findings::default();
    // Looked up, never iterated.
    let by_peer: HashMap<PeerKey, &Snapshot> = snapshots
        .iter()
        .map(|snapshot| (snapshot.status.peer, snapshot))
        .collect();
    for (snapshot, wire) in snapshots.iter().zip(wires) {
        let node = snapshot.node;
        let judged = |peer: &PeerKey| !strangers.contains(peer);
        let has = wire.peers.iter().filter(|peer| judged(peer)).count();
        let mut peers: Vec<PeerKey> = snapshot.links.iter().map(|link| link.peer).collect();
        peers.retain(judged);
        let knows = peers.len();
        if has != knows {
            findings.add(|| format!("node {node} has {has} connections and {knows} links"));
        }
        let up = snapshot.links.iter().filter(|link| link.up);
        for peer in up.map(|link| link.peer).filter(judged) {
            if !wire.peers.contains(&peer) {
                findings.add(|| format!("node {node} has a link to {peer} and no connection"));
            }
            let Some(other) = by_peer.get(&peer) else {
                findings.add(|| format!("node {node} has a link to {peer}, which is gone"));
                continue;
            };
            let me = snapshot.status.peer;
            if !other.links.iter().any(|back| back.up && back.peer == me) {
                let to = other.node;
                findings.add(|| format!("node {node} has a link to node {to}, not the reverse"));
            }
        }
        peers.sort_unstable();
        if peers.windows(2).any(|pair| pair[0] == pair[1]) {
            findings.add(|| format!("node {node} has two links to one peer"));
        }
    }
    findings
}
