//! `GET /v1/groups/GROUP/overlay`: which links carry an origin's messages, for people and for
//! drawing.

use super::error::ApiError;
use super::extract::{Json, Path, Query};
use super::server::Api;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hedgerow_protocol::status::OverlayStatus;
use hedgerow_protocol::{GroupName, PeerKey};
use hedgerow_topology::export::{Drawing, DrawnLink, DrawnPeer, LinkRole};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How an overlay is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OverlayFormat {
    /// Peers and links as JSON.
    #[default]
    Json,
    /// Graphviz.
    Dot,
    /// `GraphML`, for Gephi, yEd and the like.
    Graphml,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OverlayQuery {
    origin: Option<PeerKey>,
    #[serde(default)]
    format: OverlayFormat,
}

pub(super) async fn show(
    State(api): State<Api>,
    Path(group): Path<GroupName>,
    Query(query): Query<OverlayQuery>,
) -> Result<Response, ApiError> {
    let overlay = api
        .node
        .overlay(&group, query.origin)
        .await?
        .ok_or_else(|| {
            ApiError::new(
                StatusCode::NOT_FOUND,
                "no_overlay",
                format!("nothing is known here of group {group} from that origin"),
                "`hedgerow groups` lists this peer's groups, `hedgerow members GROUP` the origins",
            )
        })?;
    Ok(match query.format {
        OverlayFormat::Json => Json(overlay).into_response(),
        OverlayFormat::Dot => typed("text/vnd.graphviz", drawing(&overlay).to_dot()),
        OverlayFormat::Graphml => typed("application/graphml+xml", drawing(&overlay).to_graphml()),
    })
}

fn typed(content_type: &'static str, text: String) -> Response {
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}

/// The overlay as the topology's drawings have it: links point from parent to child.
fn drawing(overlay: &OverlayStatus) -> Drawing {
    let places: BTreeMap<PeerKey, usize> = overlay
        .nodes
        .iter()
        .enumerate()
        .map(|(id, node)| (node.peer, id))
        .collect();
    let peers = overlay
        .nodes
        .iter()
        .enumerate()
        .map(|(id, node)| DrawnPeer {
            id,
            label: node.peer.to_string(),
            origin: node.peer == overlay.origin,
        });
    let role = |parent: usize, child: usize| {
        let parent = overlay.nodes[parent].peer;
        match overlay.nodes[child]
            .parents
            .iter()
            .position(|peer| *peer == parent)
        {
            Some(0) => LinkRole::Tree,
            Some(_) => LinkRole::Extra,
            None => LinkRole::Idle,
        }
    };
    let links = overlay.links.iter().filter_map(|(one, other, weight_us)| {
        let (a, b) = (*places.get(one)?, *places.get(other)?);
        // The tree's direction, where both ends feed each other.
        let (from, to, role) = match (role(a, b), role(b, a)) {
            (_, LinkRole::Tree) | (LinkRole::Idle, LinkRole::Extra) => (b, a, role(b, a)),
            (forwards, _) => (a, b, forwards),
        };
        Some(DrawnLink {
            from,
            to,
            weight_us: *weight_us,
            role,
        })
    });
    Drawing {
        peers: peers.collect(),
        links: links.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hedgerow_protocol::Keypair;
    use hedgerow_protocol::status::OverlayNode;

    #[test]
    fn links_are_drawn_from_parent_to_child() {
        let [a, b, c] = [1, 2, 3].map(|byte| Keypair::from_secret([byte; 32]).peer());
        let node = |peer, parents: &[PeerKey]| OverlayNode {
            peer,
            relay: false,
            parents: parents.to_vec(),
            depth: 0,
            delay_us: 0,
        };
        let overlay = OverlayStatus {
            group: GroupName::new("news").expect("valid"),
            origin: a,
            redundancy: 2,
            nodes: vec![node(a, &[]), node(b, &[a, c]), node(c, &[a, b])],
            links: vec![(b, a, 1_000), (a, c, 2_000), (b, c, 3_000)],
        };
        let drawing = drawing(&overlay);
        let drawn: Vec<_> = drawing
            .links
            .iter()
            .map(|link| (link.from, link.to, link.role))
            .collect();
        let expected = [
            (0, 1, LinkRole::Tree),
            (0, 2, LinkRole::Tree),
            (1, 2, LinkRole::Extra),
        ];
        assert_eq!(drawn, expected);
        assert!(drawing.peers[0].origin && drawing.peers[1].label == b.to_string());
    }
}
