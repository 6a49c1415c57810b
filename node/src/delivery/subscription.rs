//! A local subscriber of a group.

#[cfg(feature = "cli")]
use super::Membership;
use super::Ring;
use super::ring::{Cursor, Next};
use futures::Stream;
use hedgerow_protocol::{Delivery, History, PeerKey};
use serde::Serialize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Messages that a subscriber will not get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "gap", rename_all = "snake_case")]
pub enum Gap {
    /// Nobody who can be reached holds them any more.
    #[error("messages {from} to {to} of {origin} (epoch {epoch}) can no longer be had")]
    Lost {
        /// Whose.
        origin: PeerKey,
        /// Which life.
        epoch: u64,
        /// The first lost seq.
        from: u64,
        /// The last lost seq.
        to: u64,
    },
    /// This subscriber read too slowly and was overtaken.
    #[error("read too slowly: {messages} messages were overtaken")]
    Lagged {
        /// How many items were dropped before it came to read them.
        messages: u64,
    },
}

/// A subscriber's place in a group: a stream of messages and gaps.
///
/// It holds no queue of its own. A subscriber that reads too slowly gets [`Gap::Lagged`] and
/// goes on with the oldest message still kept; it never slows the node or other subscribers.
/// The stream ends when the group is left or the node stops. Dropping it does not leave the group.
#[derive(Debug)]
pub struct Subscription {
    ring: Arc<Ring>,
    cursor: Cursor,
}

impl Subscription {
    pub(crate) fn new(ring: Arc<Ring>, history: History, wall_ms: u64) -> Self {
        let cursor = ring.attach(history, wall_ms);
        Self { ring, cursor }
    }

    /// The membership that it was made in.
    #[cfg(feature = "cli")]
    pub(crate) fn membership(&self) -> Membership {
        Membership::new(&self.ring)
    }

    /// The next message or gap; `None` when the group is left or the node has stopped.
    pub async fn recv(&mut self) -> Option<Result<Delivery, Gap>> {
        std::future::poll_fn(|context| self.poll_recv(context)).await
    }

    /// Waits for at least one item, then appends all that are there, at most `most`. Returns
    /// how many were appended: 0 when the group is left or the node has stopped.
    pub async fn recv_many(
        &mut self,
        items: &mut Vec<Result<Delivery, Gap>>,
        most: usize,
    ) -> usize {
        let Some(first) = self.recv().await else {
            return 0;
        };
        items.push(first);
        let more = most.saturating_sub(1);
        1 + self.ring.take(&mut self.cursor, items, more)
    }

    /// Waits until messages published from now on are due to this member. Returns false when
    /// the group is left or the node stops before.
    pub async fn joined(&self) -> bool {
        let mut joined = self.ring.joined();
        loop {
            if *joined.borrow_and_update() {
                return true;
            }
            if self.ring.is_closed() || joined.changed().await.is_err() {
                return false;
            }
        }
    }

    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Delivery, Gap>>> {
        match self.ring.next(&mut self.cursor, context.waker()) {
            Next::Item(item) => Poll::Ready(Some(item)),
            Next::Closed => Poll::Ready(None),
            Next::Empty => Poll::Pending,
        }
    }
}

impl Stream for Subscription {
    type Item = Result<Delivery, Gap>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(context)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.ring.detach(&self.cursor);
    }
}
