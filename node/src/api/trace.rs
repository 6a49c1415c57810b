//! `POST /v1/groups/GROUP/trace`: one probe along the overlay, and who answers.

use super::error::ApiError;
use super::extract::{Path, Query};
use super::server::Api;
use super::stream::{line, ndjson};
use super::types::{TraceLine, parse_duration};
use crate::ProbeAnswers;
use axum::extract::State;
use axum::response::Response;
use futures::{StreamExt, stream};
use hedgerow_protocol::status::{MemberState, Role};
use hedgerow_protocol::{GroupName, PeerKey};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// How long answers are waited for: longer than any overlay takes that is not broken.
const WAIT: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TraceQuery {
    timeout: Option<String>,
}

pub(super) async fn run(
    State(api): State<Api>,
    Path(group): Path<GroupName>,
    Query(query): Query<TraceQuery>,
) -> Result<Response, ApiError> {
    let wait = query.timeout.map_or(Ok(WAIT), |text| parse_duration(&text));
    let wait = wait.map_err(|why| ApiError::bad_request(why, "write ?timeout=5s"))?;
    let slot = api.streams.take()?;
    let members = api.node.members(&group).await?;
    let awaited: BTreeSet<PeerKey> = members
        .into_iter()
        .filter(|member| {
            !member.is_self && member.role == Role::Member && member.state == MemberState::Live
        })
        .map(|member| member.peer)
        .collect();
    let answers = api.node.probe(&group).await?;
    let trace = Trace {
        members: awaited.len(),
        group,
        awaited,
        answered: 0,
        answers,
        until: Instant::now() + wait,
        ended: false,
    };
    let lines = stream::unfold(trace, |mut trace| async move {
        let next = trace.next().await?;
        Some((line(&next), trace))
    });
    Ok(ndjson(lines, slot))
}

struct Trace {
    group: GroupName,
    members: usize,
    awaited: BTreeSet<PeerKey>,
    answered: usize,
    answers: ProbeAnswers,
    until: Instant,
    ended: bool,
}

impl Trace {
    async fn next(&mut self) -> Option<TraceLine> {
        if self.ended {
            return None;
        }
        if !self.awaited.is_empty()
            && let Ok(Some(answer)) = tokio::time::timeout_at(self.until, self.answers.next()).await
        {
            self.awaited.remove(&answer.member);
            self.answered += 1;
            return Some(TraceLine::Answer {
                member: answer.member,
                path: answer.path,
                round_trip_us: answer.round_trip_us,
            });
        }
        self.ended = true;
        Some(TraceLine::Summary {
            group: self.group.clone(),
            members: self.members,
            answered: self.answered,
            missing: std::mem::take(&mut self.awaited).into_iter().collect(),
        })
    }
}
