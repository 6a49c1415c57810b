//! The server: its state, its routes, its end.

use super::accept::{Room, accept};
use super::body::drain;
use super::error::{method_not_allowed, not_found};
use super::extract::refuse_query;
use super::held::HeldMessages;
use super::membership::Memberships;
use super::socket::{ApiSocket, SocketError};
use super::stream::StreamSlots;
use super::{config, doctor, groups, metrics, overlay, peer, publish, subscribe, trace};
use crate::Node;
use crate::config::{Effective, Paths};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn;
use axum::routing::{get, post, put};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long requests under way may take to end once the peer has stopped.
const GRACE: Duration = Duration::from_secs(1);

/// Asks for the end of the peer: the API on behalf of a client, or whoever runs it.
#[derive(Clone, Debug)]
pub struct Shutdown(Arc<watch::Sender<bool>>);

impl Default for Shutdown {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Shutdown {
    /// Asks.
    pub fn request(&self) {
        self.0.send_replace(true);
    }

    /// Whether somebody has asked.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until somebody has asked.
    pub async fn requested(&self) {
        // The sender lives in `self`, so this cannot fail.
        let _ = self.0.subscribe().wait_for(|asked| *asked).await;
    }
}

/// What all handlers share.
#[derive(Clone)]
pub struct Api {
    pub(super) node: Node,
    pub(super) effective: Arc<Effective>,
    pub(super) memberships: Arc<Memberships>,
    pub(super) room: Room,
    pub(super) streams: StreamSlots,
    pub(super) held: HeldMessages,
    pub(super) shutdown: Shutdown,
    pub(super) address: Arc<str>,
}

impl Api {
    /// The API of `node`, which runs with these settings, and the socket it will be reached at.
    /// Calls wait there until [`Server::start`].
    pub fn bind(
        node: Node,
        effective: Effective,
        paths: &Paths,
    ) -> Result<(Self, ApiSocket), SocketError> {
        let socket = ApiSocket::bind(paths)?;
        let settings = &effective.settings;
        let room = Room::of(settings);
        let api = Self {
            memberships: Arc::new(Memberships::new(node.clone())),
            room,
            streams: StreamSlots::new(room.streams, settings.api.streams_max),
            held: HeldMessages::new(settings.api.stream_bytes_max),
            node,
            effective: Arc::new(effective),
            shutdown: Shutdown::default(),
            address: socket.address().into(),
        };
        Ok((api, socket))
    }

    /// Where the end of the peer is asked for.
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// Who the peer is and where it can be reached.
    pub fn identity(&self) -> super::types::Identity {
        super::types::Identity {
            peer: self.node.peer(),
            listen: self
                .node
                .listen_addresses()
                .iter()
                .map(ToString::to_string)
                .collect(),
            api: self.address.to_string(),
        }
    }

    /// Makes the peer a member until it is told to leave, or, unless `keep`, until it ends.
    pub async fn hold(
        &self,
        group: &hedgerow_protocol::GroupName,
        options: hedgerow_protocol::JoinOptions,
        keep: bool,
    ) -> Result<(), crate::NodeError> {
        self.memberships.hold(group, options, keep).await.map(drop)
    }

    /// How long a request's head, and a body of JSON, may take to come.
    pub(super) fn request_limit(&self) -> Duration {
        Duration::from_millis(self.effective.settings.api.request_ms)
    }

    fn router(self) -> Router {
        let body_bytes_max = self.effective.settings.api.body_bytes_max;
        let plain = Router::new()
            .route("/v1/id", get(peer::id))
            .route("/v1/status", get(peer::status))
            .route("/v1/links", get(peer::links))
            .route("/v1/connect", post(peer::connect))
            .route("/v1/ping", post(peer::ping))
            .route("/v1/events", get(peer::events))
            .route("/v1/shutdown", post(peer::shutdown))
            .route("/v1/config", get(config::show))
            .route("/v1/doctor", get(doctor::examine))
            .route("/v1/metrics", get(metrics::json))
            .route("/metrics", get(metrics::text))
            .route("/v1/groups", get(groups::list))
            .route("/v1/groups/{group}", get(groups::one).patch(groups::set))
            .route(
                "/v1/groups/{group}/membership",
                put(groups::join).delete(groups::leave),
            )
            .route("/v1/groups/{group}/members", get(groups::members))
            .route_layer(from_fn(refuse_query));
        let with_query = Router::new()
            .route("/v1/groups/{group}/overlay", get(overlay::show))
            .route("/v1/groups/{group}/trace", post(trace::run))
            .route(
                "/v1/groups/{group}/messages",
                get(subscribe::open).post(publish::upload),
            );
        plain
            .merge(with_query)
            .fallback(not_found)
            .method_not_allowed_fallback(method_not_allowed)
            .layer(DefaultBodyLimit::max(body_bytes_max))
            .layer(from_fn(drain))
            .with_state(self)
    }
}

/// A serving API.
#[derive(Debug)]
pub struct Server {
    socket: ApiSocket,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Server {
    /// Serves on the current runtime.
    pub fn start(mut socket: ApiSocket, api: &Api) -> Self {
        let (room, request) = (api.room, api.request_limit());
        let router = api.clone().router();
        let (stop, stopped) = watch::channel(false);
        let listener = socket.take_listener();
        let task = tokio::spawn(async move {
            if let Some(listener) = listener {
                accept(listener, router, room, request, stopped).await;
            }
        });
        Self { socket, stop, task }
    }

    /// Lets no new client find it; those connected go on.
    pub fn hide(&mut self) {
        self.socket.remove();
    }

    /// Ends it: requests under way may finish for a moment. Call it once the peer has stopped,
    /// so that its streams have ended.
    pub async fn stop(mut self) {
        self.socket.remove();
        self.stop.send_replace(true);
        if tokio::time::timeout(GRACE, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}
