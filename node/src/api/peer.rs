//! Endpoints about the peer as a whole.

use super::error::ApiError;
use super::extract::Json;
use super::server::Api;
use super::stream::{line, ndjson};
use super::types::{Identity, Pinged, Stopped};
use crate::{Events, Multiaddr, Node};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use futures::StreamExt;
use hedgerow_protocol::status::{LinkStatus, Status};
use hedgerow_protocol::{Event, PeerKey};
use serde::{Deserialize, Serialize};

pub(super) async fn id(State(api): State<Api>) -> Json<Identity> {
    Json(api.identity())
}

pub(super) async fn status(State(api): State<Api>) -> Result<Json<Status>, ApiError> {
    Ok(Json(api.node.status().await?))
}

#[derive(Serialize)]
pub(super) struct Links {
    links: Vec<LinkStatus>,
}

pub(super) async fn links(State(api): State<Api>) -> Result<Json<Links>, ApiError> {
    Ok(Json(Links {
        links: api.node.links().await?,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Connect {
    addresses: Vec<Multiaddr>,
}

/// Addresses worth a try; whether a link comes of them shows in the links.
pub(super) async fn connect(
    State(api): State<Api>,
    Json(request): Json<Connect>,
) -> Result<StatusCode, ApiError> {
    for address in &request.addresses {
        api.node.connect(address).await?;
    }
    Ok(StatusCode::ACCEPTED)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PingRequest {
    peer: PeerKey,
}

/// Answers once the peer has, or the ping is lost.
pub(super) async fn ping(
    State(api): State<Api>,
    Json(request): Json<PingRequest>,
) -> Result<Json<Pinged>, ApiError> {
    let pong = api.node.ping(request.peer).await?;
    Ok(Json(Pinged {
        round_trip_us: pong.round_trip_us,
        hops: pong.hops,
    }))
}

/// What a reader of events that is too slow gets instead.
#[derive(Serialize)]
struct Missed {
    event: &'static str,
    events: u64,
}

pub(super) async fn events(State(api): State<Api>) -> Result<Response, ApiError> {
    let slot = api.streams.take()?;
    let node = api.node.clone();
    let lines = api
        .node
        .events()
        // Handles of the node live on in the API; its end must be looked for.
        .take_until(Box::pin(async move { node.ended().await }))
        .map(|event| match event {
            Ok(event) => line(&event),
            Err(missed) => line(&Missed {
                event: "missed",
                events: missed.0,
            }),
        });
    Ok(ndjson(lines, slot))
}

/// Asks for the end and answers when it has come.
pub(super) async fn shutdown(State(api): State<Api>) -> Json<Stopped> {
    let events = api.node.events();
    api.shutdown.request();
    Json(Stopped {
        confirmed: await_end(&api.node, events).await,
    })
}

/// Waits until `node` has ended; whether neighbours confirmed that they hold what it published.
/// `events` must have begun before the end was asked for.
pub async fn await_end(node: &Node, mut events: Events) -> bool {
    let mut confirmed = false;
    loop {
        tokio::select! {
            biased;
            event = events.next() => match event {
                Some(Ok(Event::Stopped { confirmed: all })) => confirmed = all,
                Some(_) => {}
                None => return confirmed,
            },
            () = node.ended() => return confirmed,
        }
    }
}
