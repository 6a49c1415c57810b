//! Accepts connections to the API; limits their number and the time that a request may take to
//! arrive.

use super::bare::{WithBodies, answer};
use super::error::ApiError;
use crate::config::Settings;
use axum::Router;
use axum::http::StatusCode;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, getrlimit};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

/// Connections beside those that streams may take: calls are answered while all streams are open.
const CALLS: usize = 64;
/// Descriptors for all that is neither a connection to the API nor one to a peer.
const FILES: usize = 64;
/// Refusals under way at once, and how long each may take. More wait.
const REFUSALS: usize = 8;
const REFUSAL: Duration = Duration::from_secs(1);
/// How long the rest of what a client sends is read after an error, and how much at once.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 16 << 10;
/// How long to wait after the system has refused a connection.
const PAUSE: Duration = Duration::from_millis(50);
/// Buffered for a connection, each way. The longest path that is read (65,534 bytes) must fit.
const BUFFER_BYTES: usize = 96 << 10;

/// How much the API may take on at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// Streams open at once.
    pub(super) streams: usize,
    /// Connections open at once.
    pub(super) connections: usize,
}

impl Room {
    /// The room that the settings and this process's limit of open files leave.
    pub(super) fn of(settings: &Settings) -> Self {
        let descriptors = getrlimit(Resource::Nofile).current;
        let peers = settings.transport.incoming_max as usize
            + settings.transport.pending_max as usize
            + settings.links.links_max;
        Self::within(settings.api.streams_max, peers, descriptors)
    }

    /// A third of few descriptors, or what connections to peers and files leave of many; and of
    /// that a quarter at most for calls.
    fn within(streams_max: usize, peers: usize, descriptors: Option<u64>) -> Self {
        let descriptors = descriptors.map_or(usize::MAX, |count| {
            usize::try_from(count).unwrap_or(usize::MAX)
        });
        let left = descriptors.saturating_sub(peers.saturating_add(FILES));
        let connections = left
            .max(descriptors / 3)
            .clamp(2, streams_max.saturating_add(CALLS).max(2));
        let calls = (connections / 4).clamp(1, CALLS);
        Self {
            streams: (connections - calls).min(streams_max),
            connections,
        }
    }
}

/// Takes connections and serves them until `stopped` says so; then lets requests under way end.
/// Dropped, it ends them at once.
pub(super) async fn accept(
    listener: UnixListener,
    router: Router,
    room: Room,
    request: Duration,
    mut stopped: watch::Receiver<bool>,
) {
    let open = Arc::new(Semaphore::new(room.connections.min(Semaphore::MAX_PERMITS)));
    let refused = Arc::new(Semaphore::new(REFUSALS));
    let refusing = refusing(room);
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = asked(&mut stopped) => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the API could not take a connection");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let connection = if let Ok(permit) = open.clone().try_acquire_owned() {
            Connection {
                router: router.clone(),
                request,
                whole: Duration::MAX,
                permit,
            }
        } else {
            let Ok(permit) = refused.clone().acquire_owned().await else {
                break;
            };
            Connection {
                router: refusing.clone(),
                request: REFUSAL,
                whole: REFUSAL,
                permit,
            }
        };
        connections.spawn(connection.serve(stream, stopped.clone()));
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Waits until the end is asked for.
async fn asked(stopped: &mut watch::Receiver<bool>) {
    // An error means that the server was dropped.
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// The API of a peer that has no room for one more connection.
fn refusing(room: Room) -> Router {
    let connections = room.connections;
    Router::new().fallback(move || async move {
        ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_connections",
            format!("{connections} connections are open, the limit"),
            "close some; more files that may be open (`ulimit -n`) and a higher api.streams_max \
             make room for more",
        )
    })
}

struct Connection {
    router: Router,
    /// How long a request's head may take.
    request: Duration,
    /// How long all may take.
    whole: Duration,
    permit: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve(self, stream: UnixStream, mut stopped: watch::Receiver<bool>) {
        let Self {
            router,
            request,
            whole,
            permit: _held,
        } = self;
        let io = TokioIo::new(WithBodies::new(stream));
        let mut connection = Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(request)
            .max_buf_size(BUFFER_BYTES)
            .serve_connection(io, TowerToHyperService::new(router));
        let serving = async {
            tokio::select! {
                result = &mut connection => return result,
                () = asked(&mut stopped) => {}
            }
            Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await
        };
        match tokio::time::timeout(whole, serving).await {
            Ok(Err(error)) if error.is_timeout() || error.is_parse() => {
                let parts = connection.into_parts();
                let stream = parts.io.into_inner().into_inner();
                // A connection that only rests between two requests just ends.
                if error.is_timeout() && !parts.read_buf.is_empty() {
                    let answer = answer(
                        "408 Request Timeout",
                        "request_timeout",
                        &format!("the request's head has not come within {request:?}"),
                        "send it at once (api.request_ms)",
                    );
                    // A client that does not read has no use for it.
                    let _ = stream.try_write(&answer);
                }
                linger(stream).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, "a connection to the API broke"),
            Ok(Ok(())) | Err(_) => {}
        }
    }
}

/// Reads what the client still sends, for a while: closed with something unread, a connection is
/// reset, and the client may not come to read the answer.
async fn linger(mut stream: UnixStream) {
    // Either end may have closed it already.
    let _ = stream.shutdown().await;
    let mut buffer = vec![0; LINGER_BYTES];
    let reading = async { while matches!(stream.read(&mut buffer).await, Ok(1..)) {} };
    let _ = tokio::time::timeout(LINGER, reading).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_leave_descriptors_for_calls_peers_and_files() {
        let room = |streams, descriptors| {
            let room = Room::within(streams, 288, descriptors);
            (room.streams, room.connections)
        };
        assert_eq!(room(1_024, None), (1_024, 1_088));
        assert_eq!(room(1_024, Some(65_536)), (1_024, 1_088));
        assert_eq!(room(1_024, Some(1_024)), (608, 672));
        assert_eq!(room(10, Some(1_024)), (10, 74));
        assert_eq!(room(1_024, Some(48)), (12, 16));
        assert_eq!(room(1_024, Some(3)), (1, 2));
        assert!(room(usize::MAX, None).0 > usize::MAX / 2);
    }
}
