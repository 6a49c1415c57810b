//! Endpoints about groups: who is in them, how they work, joining and leaving.

use super::error::ApiError;
use super::extract::{Json, Path};
use super::server::Api;
use super::types::{Membership, SettingsRequest};
use crate::NodeError;
use axum::extract::State;
use axum::http::StatusCode;
use hedgerow_protocol::status::{GroupStatus, MemberStatus};
use hedgerow_protocol::{GroupName, JoinError, JoinOptions};
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct Groups {
    groups: Vec<GroupStatus>,
}

pub(super) async fn list(State(api): State<Api>) -> Result<Json<Groups>, ApiError> {
    Ok(Json(Groups {
        groups: api.node.groups().await?,
    }))
}

pub(super) async fn one(
    State(api): State<Api>,
    Path(group): Path<GroupName>,
) -> Result<Json<GroupStatus>, ApiError> {
    find(&api, &group).await.map(Json)
}

async fn find(api: &Api, group: &GroupName) -> Result<GroupStatus, ApiError> {
    let found = api.node.group(group).await?;
    found.ok_or_else(|| JoinError::NotMember(group.clone()).into())
}

/// Changes settings for all members; answers with what holds here now.
pub(super) async fn set(
    State(api): State<Api>,
    Path(group): Path<GroupName>,
    Json(request): Json<SettingsRequest>,
) -> Result<Json<GroupStatus>, ApiError> {
    let patch = request.patch()?;
    if patch.is_empty() {
        let remedy = "give overlay, redundancy, order, retention or retention_bytes";
        return Err(ApiError::bad_request("nothing to change", remedy));
    }
    api.node.set_group(&group, patch).await?;
    find(&api, &group).await.map(Json)
}

/// Joins to stay, across restarts; answers once messages published from now on are due here.
pub(super) async fn join(
    State(api): State<Api>,
    Path(group): Path<GroupName>,
    request: Option<Json<SettingsRequest>>,
) -> Result<Json<Membership>, ApiError> {
    let settings = request
        .map(|Json(request)| request.patch())
        .transpose()?
        .unwrap_or_default();
    let options = JoinOptions {
        settings,
        ..JoinOptions::default()
    };
    let subscription = api.memberships.hold(&group, options, true).await?;
    let joined = subscription.joined().await;
    Ok(Json(Membership {
        group,
        member: joined,
        joined,
    }))
}

pub(super) async fn leave(
    State(api): State<Api>,
    Path(group): Path<GroupName>,
) -> Result<Json<Membership>, ApiError> {
    api.memberships.leave(&group).await.map_err(|error| {
        let is_unknown = matches!(error, NodeError::Join(JoinError::NotMember(_)));
        let error = ApiError::from(error);
        if is_unknown {
            error.with_remedy("`hedgerow groups` lists the groups that this peer is in")
        } else {
            error
        }
    })?;
    Ok(Json(Membership {
        group,
        member: false,
        joined: false,
    }))
}

#[derive(Serialize)]
pub(super) struct Members {
    group: GroupName,
    members: Vec<MemberStatus>,
}

pub(super) async fn members(
    State(api): State<Api>,
    Path(group): Path<GroupName>,
) -> Result<Json<Members>, ApiError> {
    let members = api.node.members(&group).await?;
    if members.is_empty() {
        return Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "no_such_group",
            format!("nobody known here is in group {group}"),
            "`hedgerow groups` lists this peer's groups; a new one begins with `hedgerow join`",
        ));
    }
    Ok(Json(Members { group, members }))
}
