//! Drains request bodies after an error.

use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header;
use axum::middleware::Next;
use axum::response::Response;
use futures::StreamExt;
use hyper::body::{Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// How long the rest of a refused body is read, and how long a pause ends that.
const DISCARD: Duration = Duration::from_secs(2);
const DISCARD_IDLE: Duration = Duration::from_millis(100);

/// Reads what a client still sends after an error, for a while: one that writes into a closed
/// connection never comes to read why.
pub(super) async fn drain(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    if body.is_end_stream() {
        return next.run(Request::from_parts(parts, body)).await;
    }
    // Such a client sends nothing before it is told to.
    let waits = parts.headers.contains_key(header::EXPECT);
    let shared = Shared(Arc::new(Mutex::new(State {
        body,
        polled: false,
    })));
    let body = Body::new(shared.clone());
    let response = next.run(Request::from_parts(parts, body)).await;
    let polled = shared.state().polled;
    if !response.status().is_success() && (polled || !waits) {
        discard(Body::new(shared).into_data_stream()).await;
    }
    response
}

async fn discard(mut body: BodyDataStream) {
    let until = Instant::now() + DISCARD;
    while Instant::now() < until {
        match tokio::time::timeout(DISCARD_IDLE, body.next()).await {
            Ok(Some(Ok(_))) => {}
            // The end, or a client that waits: it will read the answer.
            Ok(_) | Err(_) => return,
        }
    }
}

/// A body that its reader does not take along.
#[derive(Clone)]
struct Shared(Arc<Mutex<State>>);

struct State {
    body: Body,
    polled: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpBody for Shared {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut state = self.state();
        state.polled = true;
        Pin::new(&mut state.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.state().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.state().body.size_hint()
    }
}
