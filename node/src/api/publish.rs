//! `POST /v1/groups/GROUP/messages`: cuts an upload into messages as it comes and publishes them
//! in order, as fast as the peer takes them.
//!
//! Memory is bounded by one message, one chunk of the upload, and the peer's publish queue: the upload
//! is read no faster than messages are accepted.

use super::error::ApiError;
use super::extract::{Path, Query};
use super::server::Api;
use super::types::{Acknowledged, PublishQuery, Published, Split};
use crate::publish_queue::{PendingAck, Permit, Reply, Submission};
use crate::{AckResult, Node};
use axum::Json;
use axum::body::{Body, BodyDataStream, HttpBody};
use axum::extract::State;
use bytes::{Buf, Bytes, BytesMut};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use hedgerow_protocol::{GroupName, Headers, MessageId, PeerKey, PublishError, PublishOptions};
use std::collections::{BTreeSet, VecDeque};
use tokio::sync::oneshot;

/// Messages handed over whose acceptance has not been looked at.
const WINDOW: usize = 512;
/// A group whose name is at least so similar may be the one that was meant: a letter or two of a
/// short name differ.
const SIMILAR_MIN: f64 = 0.6;

pub(super) async fn upload(
    State(api): State<Api>,
    Path(group): Path<GroupName>,
    Query(query): Query<PublishQuery>,
    body: Body,
) -> Result<Json<Published>, ApiError> {
    let acknowledging_max = api.effective.settings.api.acknowledging_max;
    let _slot = api.streams.take()?;
    let waiting = query.wait.then_some(acknowledging_max);
    let mut publisher = Publisher::new(&api.node, group, query.headers, waiting);
    let bytes_max = api.node.shared.message_bytes_max;
    let bytes = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if query.split == Split::None && bytes > bytes_max {
        // Before any of it is read: a client may wait to be told to go on.
        let error = PublishError::TooLarge {
            bytes,
            max: bytes_max,
        };
        return Err(ApiError::from(error).after(0));
    }
    let mut cutter = Cutter::new(bytes_max);
    let mut body = body.into_data_stream();
    let result = match query.split {
        Split::None => publish_whole(&mut publisher, &mut cutter, &mut body).await,
        Split::Lines => publish_lines(&mut publisher, &mut cutter, &mut body).await,
    };
    // What was handed over before an error is settled first, so that the count is right.
    let settled = publisher.settle().await;
    match result.and(settled) {
        Ok(()) => Ok(Json(publisher.finish(&api.node).await?)),
        Err(error) => Err(error.after(publisher.accepted)),
    }
}

async fn publish_whole(
    publisher: &mut Publisher,
    cutter: &mut Cutter,
    body: &mut BodyDataStream,
) -> Result<(), ApiError> {
    while let Some(chunk) = body.next().await {
        cutter.extend(chunk.map_err(|error| broken(&error))?)?;
    }
    publisher.publish(cutter.take()).await
}

async fn publish_lines(
    publisher: &mut Publisher,
    cutter: &mut Cutter,
    body: &mut BodyDataStream,
) -> Result<(), ApiError> {
    while let Some(chunk) = body.next().await {
        let mut chunk = chunk.map_err(|error| broken(&error))?;
        while let Some(at) = chunk.iter().position(|byte| *byte == b'\n') {
            cutter.extend(chunk.split_to(at))?;
            chunk.advance(1);
            publisher.publish(cutter.take()).await?;
        }
        cutter.extend(chunk)?;
    }
    // The last line may lack its line feed; nothing after a line feed is no line.
    if cutter.is_empty() {
        Ok(())
    } else {
        publisher.publish(cutter.take()).await
    }
}

fn broken(error: &axum::Error) -> ApiError {
    ApiError::new(
        axum::http::StatusCode::BAD_REQUEST,
        "upload_broken",
        format!("the upload broke off: {error}"),
        "messages that were complete are published; send the rest again",
    )
}

/// The message being put together.
struct Cutter {
    /// A single chunk is passed on without copying.
    first: Bytes,
    rest: BytesMut,
    bytes_max: usize,
}

impl Cutter {
    fn new(bytes_max: usize) -> Self {
        Self {
            first: Bytes::new(),
            rest: BytesMut::new(),
            bytes_max,
        }
    }

    fn len(&self) -> usize {
        self.first.len() + self.rest.len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn extend(&mut self, chunk: Bytes) -> Result<(), ApiError> {
        let bytes = self.len() + chunk.len();
        if bytes > self.bytes_max {
            // `bytes` is what has come so far; nobody waits for the rest to say how much it was.
            return Err(PublishError::TooLarge {
                bytes,
                max: self.bytes_max,
            }
            .into());
        }
        if self.is_empty() {
            self.first = chunk;
        } else {
            if self.rest.is_empty() {
                self.rest
                    .extend_from_slice(&std::mem::take(&mut self.first));
            }
            self.rest.extend_from_slice(&chunk);
        }
        Ok(())
    }

    fn take(&mut self) -> Bytes {
        if self.rest.is_empty() {
            std::mem::take(&mut self.first)
        } else {
            self.rest.split().freeze()
        }
    }
}

type Accepted = oneshot::Receiver<Result<MessageId, PublishError>>;
type AcceptedPendingAck = oneshot::Receiver<Result<PendingAck, PublishError>>;

/// A message that was handed over.
enum Pending {
    Plain(Accepted),
    Acknowledged(AcceptedPendingAck),
}

/// Publishes one upload's messages in order.
struct Publisher {
    group: GroupName,
    headers: Headers,
    permit: Permit,
    pending: VecDeque<(usize, Pending)>,
    waiting: Option<Waiting>,
    accepted: u64,
    bytes: u64,
    first: Option<MessageId>,
    last: Option<MessageId>,
}

/// Acknowledgements that are awaited.
struct Waiting {
    most: usize,
    results: FuturesUnordered<oneshot::Receiver<AckResult>>,
    holders: BTreeSet<PeerKey>,
    missing: BTreeSet<PeerKey>,
    timed_out: bool,
}

impl Publisher {
    fn new(
        node: &Node,
        group: GroupName,
        headers: Headers,
        acknowledging_max: Option<usize>,
    ) -> Self {
        let permit = node.shared.publish_queues.permit(&group);
        let waiting = acknowledging_max.map(|most| Waiting {
            most,
            results: FuturesUnordered::new(),
            holders: BTreeSet::new(),
            missing: BTreeSet::new(),
            timed_out: false,
        });
        Self {
            group,
            headers,
            permit,
            pending: VecDeque::new(),
            waiting,
            accepted: 0,
            bytes: 0,
            first: None,
            last: None,
        }
    }

    async fn publish(&mut self, payload: Bytes) -> Result<(), ApiError> {
        while self.pending.len() >= WINDOW {
            self.settle_one().await?;
        }
        self.await_acknowledgements().await?;
        // What is settled already is looked at, so that errors stop an upload early.
        while let Some((_, pending)) = self.pending.front_mut()
            && pending.is_ready()
        {
            self.settle_one().await?;
        }
        std::future::poll_fn(|context| self.permit.poll(context)).await?;
        let bytes = payload.len();
        let options = PublishOptions {
            acknowledge: self.waiting.is_some(),
            headers: self.headers.clone(),
        };
        let (reply, pending) = if self.waiting.is_some() {
            let (reply, answer) = oneshot::channel();
            (Reply::Acknowledged(reply), Pending::Acknowledged(answer))
        } else {
            let (reply, answer) = oneshot::channel();
            (Reply::Caller(reply), Pending::Plain(answer))
        };
        self.permit.push(Submission {
            payload,
            options,
            reply,
        });
        self.pending.push_back((bytes, pending));
        Ok(())
    }

    /// Waits until one more message may be unacknowledged. Those handed over count as well.
    async fn await_acknowledgements(&mut self) -> Result<(), ApiError> {
        while let Some(waiting) = &mut self.waiting
            && waiting.results.len() + self.pending.len() >= waiting.most
        {
            if self.pending.is_empty() {
                waiting.take_one().await?;
            } else {
                self.settle_one().await?;
            }
        }
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), ApiError> {
        while !self.pending.is_empty() {
            self.settle_one().await?;
        }
        Ok(())
    }

    async fn settle_one(&mut self) -> Result<(), ApiError> {
        let Some((bytes, pending)) = self.pending.pop_front() else {
            return Ok(());
        };
        let id = match pending {
            Pending::Plain(answer) => answer.await.map_err(|_| PublishError::Stopped)??,
            Pending::Acknowledged(answer) => {
                let PendingAck { id, result } =
                    answer.await.map_err(|_| PublishError::Stopped)??;
                if let Some(waiting) = &mut self.waiting {
                    waiting.add(result).await?;
                }
                id
            }
        };
        self.accepted += 1;
        self.bytes += bytes as u64;
        self.first.get_or_insert(id);
        self.last = Some(id);
        Ok(())
    }

    async fn finish(self, node: &Node) -> Result<Published, ApiError> {
        let acknowledged = match self.waiting {
            Some(waiting) => Some(waiting.finish().await?),
            None => None,
        };
        let others = node.other_members(&self.group).await?;
        let similar = if others == 0 {
            similar(&self.group, node.group_names().await?)
        } else {
            None
        };
        Ok(Published {
            group: self.group,
            messages: self.accepted,
            bytes: self.bytes,
            first: self.first,
            last: self.last,
            others,
            similar,
            acknowledged,
        })
    }
}

impl Pending {
    fn is_ready(&self) -> bool {
        match self {
            Self::Plain(answer) => !answer.is_empty() || answer.is_terminated(),
            Self::Acknowledged(answer) => !answer.is_empty() || answer.is_terminated(),
        }
    }
}

impl Waiting {
    async fn add(&mut self, result: oneshot::Receiver<AckResult>) -> Result<(), ApiError> {
        while self.results.len() >= self.most {
            self.take_one().await?;
        }
        // Those that are in already need no place.
        while let Some(Some(result)) = self.results.next().now_or_never() {
            self.count(result.map_err(|_| PublishError::Stopped)?);
        }
        self.results.push(result);
        Ok(())
    }

    async fn take_one(&mut self) -> Result<(), ApiError> {
        if let Some(result) = self.results.next().await {
            let result = result.map_err(|_| PublishError::Stopped)?;
            self.count(result);
        }
        Ok(())
    }

    fn count(&mut self, result: AckResult) {
        self.holders.extend(result.holders);
        self.missing.extend(result.missing);
        self.timed_out |= result.timed_out;
    }

    async fn finish(mut self) -> Result<Acknowledged, ApiError> {
        while !self.results.is_empty() {
            self.take_one().await?;
        }
        let has_all = |peer: &PeerKey| !self.missing.contains(peer);
        let holders: Vec<PeerKey> = self.holders.into_iter().filter(has_all).collect();
        Ok(Acknowledged {
            members: holders.len() + self.missing.len(),
            holders,
            missing: self.missing.into_iter().collect(),
            timed_out: self.timed_out,
        })
    }
}

/// The group whose name is most like one that nobody else is in.
fn similar(group: &GroupName, known: BTreeSet<GroupName>) -> Option<GroupName> {
    let others = known.into_iter().filter(|known| known != group);
    others
        .map(|known| {
            let likeness = strsim::normalized_damerau_levenshtein(group.as_str(), known.as_str());
            (likeness, known)
        })
        .filter(|(likeness, _)| *likeness >= SIMILAR_MIN)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_is_similar_and_another_word_is_not() {
        let group = |name: &str| GroupName::new(name).expect("valid");
        let known: BTreeSet<GroupName> = ["news", "sport", "nwes"].map(group).into();
        let found = |name| similar(&group(name), known.clone());
        assert_eq!(found("nwes"), Some(group("news")), "not itself");
        assert_eq!(found("sports"), Some(group("sport")));
        assert_eq!(found("weather"), None);
    }

    #[test]
    fn a_cutter_joins_chunks_and_refuses_what_is_too_large() {
        let mut cutter = Cutter::new(6);
        cutter.extend(Bytes::from_static(b"abc")).expect("room");
        cutter.extend(Bytes::from_static(b"def")).expect("room");
        assert_eq!(cutter.take(), "abcdef");
        assert!(cutter.is_empty());
        cutter.extend(Bytes::from_static(b"x")).expect("room again");
        assert_eq!(cutter.take(), "x");
        assert_eq!(cutter.take(), "");
        let error = cutter
            .extend(Bytes::from_static(b"1234567"))
            .expect_err("too large");
        assert_eq!(error.code, "message_too_large");
    }
}
