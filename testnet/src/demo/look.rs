//! What the peers themselves say of groups and overlays.

use hedgerow_testnet::process::{Peer, ProcessError};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Answer of `GET /v1/groups`, as far as it matters here.
#[derive(Deserialize)]
struct Groups {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(rename = "group")]
    name: Option<String>,
    copies: Option<u64>,
    firsts: Option<u64>,
}

/// `hedgerow overlay --json`, as far as it matters here.
#[derive(Deserialize)]
struct Overlay {
    nodes: Vec<OverlayNode>,
}

#[derive(Deserialize)]
struct OverlayNode {
    parents: Vec<String>,
}

/// How many others each peer feeds in the tree from `origin`, by numbers, as that peer sees it.
pub(super) async fn children(
    peers: &[Peer],
    origin: usize,
    group: &str,
) -> Result<BTreeMap<usize, usize>, ProcessError> {
    let origin = &peers[origin];
    let arguments = ["overlay", group, "--origin", &origin.ready().peer];
    let overlay: Overlay = origin.cli().json(&arguments).await?;
    let number = |key: &String| peers.iter().position(|peer| peer.ready().peer == *key);
    let mut children = BTreeMap::new();
    for parent in overlay.nodes.iter().filter_map(|node| node.parents.first()) {
        if let Some(parent) = number(parent) {
            *children.entry(parent).or_default() += 1;
        }
    }
    Ok(children)
}

/// Payload bundles received over those that were new, less 1, over all living peers; `None`
/// when nothing was received.
pub(super) async fn redundancy(peers: &[Peer], group: &str) -> Result<Option<f64>, ProcessError> {
    let (mut received, mut new) = (0, 0);
    for peer in peers.iter().filter(|peer| peer.is_alive()) {
        let known: Groups = peer.api().get("/v1/groups").await?;
        for known in known
            .groups
            .iter()
            .filter(|known| known.name.as_deref() == Some(group))
        {
            received += known.copies.unwrap_or(0);
            new += known.firsts.unwrap_or(0);
        }
    }
    Ok((new > 0).then(|| received as f64 / new as f64 - 1.0))
}
