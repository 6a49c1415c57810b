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
use serde::{Deserialize, Serialize};

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
        OverlayFormat::Dot => typed("text/vnd.graphviz", dot(&overlay)),
        OverlayFormat::Graphml => typed("application/graphml+xml", graphml(&overlay)),
    })
}

fn typed(content_type: &'static str, text: String) -> Response {
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}

fn dot(_overlay: &OverlayStatus) -> String {
    String::new()
}
fn graphml(_overlay: &OverlayStatus) -> String {
    String::new()
}
