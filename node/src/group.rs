//! A joined group: a sink of payloads and a stream of messages.

use crate::delivery::{Gap, Subscription};
use crate::publish_queue::{Permit, Reply, SinkState, Submission};
use crate::{AckResult, Node, NodeError};
use bytes::Bytes;
use futures::{Sink, Stream};
use hedgerow_protocol::status::MemberStatus;
use hedgerow_protocol::{Delivery, GroupName, MessageId, PublishError, PublishOptions};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A message from a group.
pub type Received = Delivery;

/// A joined group: what is sent into it is published, what comes out of it was published by
/// its members and senders, this peer included.
///
/// The stream never blocks the peer: who reads too slowly gets a [`Gap`] and goes on. The sink
/// is ready while there is room; flushing waits until the peer has accepted everything.
/// Dropping a `Group` does **not** leave the group: that takes [`Group::leave`].
#[derive(Debug)]
pub struct Group {
    node: Node,
    name: GroupName,
    subscription: Subscription,
    permit: Permit,
    sink: Arc<SinkState>,
}

impl Group {
    pub(crate) fn new(node: Node, name: GroupName, subscription: Subscription) -> Self {
        let permit = node.shared.publish_queues.permit(&name);
        Self {
            node,
            name,
            subscription,
            permit,
            sink: Arc::default(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &GroupName {
        &self.name
    }

    /// The peer through which it was joined.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Waits until messages published from now on are due here. Returns false when the group
    /// is left or the peer stops before.
    pub async fn joined(&self) -> bool {
        self.subscription.joined().await
    }

    /// Publishes a message; see [`Node::publish`].
    pub async fn publish(&self, payload: impl Into<Bytes>) -> Result<MessageId, NodeError> {
        self.node
            .publish(&self.name, payload.into(), PublishOptions::default())
            .await
    }

    /// Publishes a message and waits until all members have it; see
    /// [`Node::publish_acknowledged`].
    pub async fn publish_acknowledged(
        &self,
        payload: impl Into<Bytes>,
    ) -> Result<AckResult, NodeError> {
        self.node
            .publish_acknowledged(&self.name, payload.into())
            .await
    }

    /// The next message or gap; `None` when the group is left or the peer has stopped.
    pub async fn recv(&mut self) -> Option<Result<Received, Gap>> {
        self.subscription.recv().await
    }

    /// The members as this peer knows them.
    pub async fn members(&self) -> Result<Vec<MemberStatus>, NodeError> {
        self.node.members(&self.name).await
    }

    /// Leaves the group, for all its local subscribers.
    pub async fn leave(self) -> Result<(), NodeError> {
        self.node.leave(&self.name).await
    }

    /// The reading half alone, for those that never publish.
    pub fn into_subscription(self) -> (Node, Subscription) {
        let Self {
            node, subscription, ..
        } = self;
        (node, subscription)
    }
}

impl Stream for Group {
    type Item = Result<Received, Gap>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.subscription).poll_next(context)
    }
}

impl Sink<Bytes> for Group {
    type Error = PublishError;

    fn poll_ready(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), PublishError>> {
        let this = self.get_mut();
        if let Some(error) = this.sink.take_error() {
            return Poll::Ready(Err(error));
        }
        this.permit.poll(context)
    }

    fn start_send(self: Pin<&mut Self>, payload: Bytes) -> Result<(), PublishError> {
        let this = self.get_mut();
        this.node.check_size(&payload)?;
        this.sink.begin();
        let reply = Reply::Sink(this.sink.clone());
        let options = PublishOptions::default();
        this.permit.push(Submission {
            payload,
            options,
            reply,
        });
        Ok(())
    }

    fn poll_flush(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), PublishError>> {
        self.sink.poll_idle(context)
    }

    fn poll_close(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), PublishError>> {
        self.poll_flush(context)
    }
}
