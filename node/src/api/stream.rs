//! Streams as answers: one JSON object a line, counted and bounded.

use super::error::ApiError;
use axum::BoxError;
use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use serde::Serialize;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A stream's answer is written out at this size even when more is there.
pub(super) const CHUNK_BYTES: usize = 64 << 10;

/// How many streams may be open.
#[derive(Clone)]
pub(super) struct StreamSlots {
    free: Arc<Semaphore>,
    most: usize,
    /// Whether that is fewer than configured, for want of descriptors.
    lowered: bool,
}

impl StreamSlots {
    /// At most `most` streams, where `configured` were asked for.
    pub(super) fn new(most: usize, configured: usize) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(most)),
            most,
            lowered: most < configured.min(Semaphore::MAX_PERMITS),
        }
    }

    /// A slot, held as long as the stream lives.
    pub(super) fn take(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        self.free.clone().try_acquire_owned().map_err(|_| {
            let (limit, remedy) = if self.lowered {
                (
                    "what the limit of open files leaves",
                    "end some, or let this user open more files (`ulimit -n`)",
                )
            } else {
                (
                    "the limit (api.streams_max)",
                    "end some, or raise api.streams_max in the configuration",
                )
            };
            ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too_many_streams",
                format!("{} streams are open, {limit}", self.most),
                remedy,
            )
        })
    }
}

/// Appends `value` as one line.
pub(super) fn write_line(buffer: &mut Vec<u8>, value: &impl Serialize) {
    let start = buffer.len();
    if let Err(error) = serde_json::to_writer(&mut *buffer, value) {
        // No type of ours fails to serialise; a line less is better than half a line.
        tracing::error!(%error, "a line could not be written");
        buffer.truncate(start);
        return;
    }
    buffer.push(b'\n');
}

/// `value` as one line.
pub(super) fn line(value: &impl Serialize) -> Bytes {
    let mut buffer = Vec::with_capacity(256);
    write_line(&mut buffer, value);
    buffer.into()
}

/// The answer that streams `chunks`, each some whole lines.
pub(super) fn ndjson(
    chunks: impl Stream<Item = Bytes> + Send + 'static,
    slot: OwnedSemaphorePermit,
) -> Response {
    ndjson_pieces(chunks.map(Ok::<_, Infallible>), slot)
}

/// The answer that streams `chunks`, in which lines may go on; an error breaks the connection.
pub(super) fn ndjson_pieces<E: Into<BoxError> + 'static>(
    chunks: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    slot: OwnedSemaphorePermit,
) -> Response {
    let chunks = chunks.inspect(move |_| {
        let _held = &slot;
    });
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        // What is streamed is of the moment.
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, Body::from_stream(chunks)).into_response()
}
