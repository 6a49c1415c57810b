//! The handle of a running node.

use crate::delivery::Subscription;
use crate::driver::{Command, Driver};
use crate::publish_queue::{PendingAck, PublishQueues, Reply, Submission};
use crate::replies::{Pong, ProbeAnswer};
use crate::{Group, Multiaddr, NodeBuilder, NodeError};
use bytes::Bytes;
use futures::Stream;
use hedgerow_protocol::status::{
    Counters, GroupStatus, LinkStatus, MemberStatus, OverlayStatus, Status,
};
use hedgerow_protocol::{
    AckResult, Event, GroupName, GroupSettings, History, JoinOptions, MessageId, NetworkName,
    PeerKey, PublishError, PublishOptions, SettingsPatch,
};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

/// A running peer. Clones are handles of the same peer.
///
/// The peer ends with [`Node::shutdown`], or, when the last handle (and the last [`Group`],
/// which holds one) is dropped, by itself in the same orderly way.
#[derive(Clone, Debug)]
pub struct Node {
    pub(crate) shared: Arc<Shared>,
}

/// What the handles of one peer share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) peer: PeerKey,
    pub(crate) network: NetworkName,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) message_bytes_max: usize,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) publish_queues: Arc<PublishQueues>,
    pub(crate) listening: watch::Receiver<Vec<Multiaddr>>,
    /// True once the task has ended and everything is released.
    pub(crate) ended: watch::Receiver<bool>,
}

/// The answers to a probe as they come; dropping it forgets the probe.
#[derive(Debug)]
pub struct ProbeAnswers(mpsc::Receiver<ProbeAnswer>);

/// The peer's events as they come. It never slows the peer: who reads too slowly misses some
/// and is told how many.
#[derive(Debug)]
pub struct Events(BroadcastStream<Event>);

/// Events that were missed by reading too slowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read too slowly: {0} events were missed")]
pub struct EventsMissed(pub u64);

impl Node {
    /// Describes a peer to be started.
    pub fn builder() -> NodeBuilder {
        NodeBuilder::default()
    }

    /// Who this is.
    pub fn peer(&self) -> PeerKey {
        self.shared.peer
    }

    /// Which network it belongs to.
    pub fn network(&self) -> &NetworkName {
        &self.shared.network
    }

    /// Where it keeps its identity and what it remembers; `None` when only in memory.
    pub fn data_dir(&self) -> Option<&Path> {
        self.shared.data_dir.as_deref()
    }

    /// Where it can be dialled: real ports, in the order of the addresses asked for, each with
    /// `/p2p/<peer>` at its end.
    pub fn listen_addresses(&self) -> Vec<Multiaddr> {
        self.shared.listening.borrow().clone()
    }

    /// Joins a group until [`Node::leave`] or the end of this process, and subscribes.
    ///
    /// Joining what is joined already checks the settings, attaches one more subscriber, and
    /// serves its history from what this node keeps. Refused without any change when the
    /// group's settings differ from explicit ones.
    pub async fn join(&self, group: &GroupName, options: JoinOptions) -> Result<Group, NodeError> {
        let name = group.clone();
        let subscription = self
            .call(move |driver| driver.join(&name, options))
            .await??;
        Ok(Group::new(self.clone(), group.clone(), subscription))
    }

    /// Makes the membership of a joined group survive restarts, until [`Node::leave`]. Returns
    /// once that is stored; without a data directory it lasts as long as the process. If it cannot
    /// be stored, the membership stays as it was.
    pub async fn keep(&self, group: &GroupName) -> Result<(), NodeError> {
        let name = group.clone();
        let written = self.call(move |driver| driver.keep(&name)).await??;
        written.await.map_err(|_| NodeError::Stopped)?
    }

    /// Joins like [`Node::join`] and keeps like [`Node::keep`]. The membership is stored first, so
    /// that nobody sees a member that is refused afterwards: on an error nothing has changed.
    ///
    /// Cancelling may leave the membership stored and not joined; [`Node::leave`] ends that, too.
    pub async fn join_kept(
        &self,
        group: &GroupName,
        options: JoinOptions,
    ) -> Result<Group, NodeError> {
        let name = group.clone();
        let written = self
            .call(move |driver| driver.keep_first(&name, options))
            .await??;
        let former = written.await.map_err(|_| NodeError::Stopped)??;
        let name = group.clone();
        match self.join(group, options).await {
            Ok(joined) => {
                self.call(move |driver| driver.remember_settings(&name))
                    .await?;
                Ok(joined)
            }
            Err(error) => {
                // The group has changed since it was looked at.
                let restored = self
                    .call(move |driver| driver.restore_kept(name, former))
                    .await?;
                if let Ok(Err(error)) = restored.await {
                    tracing::warn!(%group, %error, "not joined, but stored as a group to rejoin");
                }
                Err(error)
            }
        }
    }

    /// Whether a membership was made to survive restarts with [`Node::keep`].
    pub async fn is_kept(&self, group: &GroupName) -> Result<bool, NodeError> {
        let name = group.clone();
        let stored = self.call(move |driver| driver.is_kept(&name)).await?;
        stored.await.map_err(|_| NodeError::Stopped)?
    }

    /// Leaves a group, kept or not; its subscribers end. That is stored first: if it cannot be,
    /// the peer stays a member.
    pub async fn leave(&self, group: &GroupName) -> Result<(), NodeError> {
        let name = group.clone();
        let written = self.call(move |driver| driver.forget(&name)).await?;
        written.await.map_err(|_| NodeError::Stopped)??;
        let name = group.clone();
        self.call(move |driver| driver.leave(&name)).await?
    }

    /// Whether the data directory takes what is to be stored: writes a file there and removes it.
    pub async fn check_store(&self) -> Result<(), NodeError> {
        let written = self.call(|driver| driver.probe_store()).await?;
        written.await.map_err(|_| NodeError::Stopped)?
    }

    /// Changes a joined group's settings for all its members, without losing anything.
    pub async fn set_group(
        &self,
        group: &GroupName,
        patch: SettingsPatch,
    ) -> Result<(), NodeError> {
        let name = group.clone();
        self.call(move |driver| driver.set_group(&name, patch))
            .await?
    }

    /// Attaches a subscriber without joining: it gets what this node delivers in the group
    /// while it is a member for somebody else's sake.
    pub async fn subscribe(
        &self,
        group: &GroupName,
        history: History,
    ) -> Result<Subscription, NodeError> {
        let name = group.clone();
        self.call(move |driver| driver.subscribe(&name, history))
            .await
    }

    /// Publishes a message, waiting while the peer is busy, and returns its name once the peer
    /// has accepted it. Messages of one caller keep their order. A peer that has not joined
    /// the group becomes a sender.
    ///
    /// Cancelling may or may not publish the message.
    pub async fn publish(
        &self,
        group: &GroupName,
        payload: Bytes,
        options: PublishOptions,
    ) -> Result<MessageId, NodeError> {
        let (reply, answer) = oneshot::channel();
        self.submit(group, payload, options, Reply::Caller(reply))
            .await?;
        answer
            .await
            .map_err(|_| NodeError::Stopped)?
            .map_err(NodeError::from)
    }

    /// Publishes like [`Node::publish`], but fails with [`PublishError::Busy`] instead of
    /// waiting.
    pub async fn try_publish(
        &self,
        group: &GroupName,
        payload: Bytes,
        options: PublishOptions,
    ) -> Result<MessageId, NodeError> {
        let name = group.clone();
        self.call(move |driver| driver.try_publish(&name, payload, options))
            .await?
    }

    /// Publishes a message and waits until every member that is still there has it.
    ///
    /// It ends by itself at `groups.acknowledge_ms`; the result says what is known by then.
    pub async fn publish_acknowledged(
        &self,
        group: &GroupName,
        payload: Bytes,
    ) -> Result<AckResult, NodeError> {
        let (reply, answer) = oneshot::channel();
        let options = PublishOptions {
            acknowledge: true,
            ..PublishOptions::default()
        };
        self.submit(group, payload, options, Reply::Acknowledged(reply))
            .await?;
        let PendingAck { id, result } = answer.await.map_err(|_| NodeError::Stopped)??;
        tracing::debug!(%group, %id, "waiting for acknowledgements");
        result.await.map_err(|_| NodeError::Stopped)
    }

    /// Sends a probe along a group's overlay; each member answers once.
    pub async fn probe(&self, group: &GroupName) -> Result<ProbeAnswers, NodeError> {
        let name = group.clone();
        self.call(move |driver| driver.probe(&name))
            .await?
            .map(ProbeAnswers)
    }

    /// Sends a ping to a peer of the view, over other peers where it is no neighbour. It is sent
    /// again every second, around relays that may have kept it, and is lost after eight seconds.
    pub async fn ping(&self, peer: PeerKey) -> Result<Pong, NodeError> {
        let answer = self.call(move |driver| driver.ping(peer)).await??;
        let answer = answer.await.map_err(|_| NodeError::Stopped)?;
        answer.ok_or(NodeError::PingLost { peer })
    }

    /// The peer at a glance.
    pub async fn status(&self) -> Result<Status, NodeError> {
        self.call(|driver| driver.engine().status()).await
    }

    /// All links, by peer.
    pub async fn links(&self) -> Result<Vec<LinkStatus>, NodeError> {
        self.call(|driver| driver.engine().links()).await
    }

    /// All groups, by name.
    pub async fn groups(&self) -> Result<Vec<GroupStatus>, NodeError> {
        self.call(|driver| driver.engine().groups()).await
    }

    /// A group that this peer is in or carries; `None` for others.
    pub async fn group(&self, group: &GroupName) -> Result<Option<GroupStatus>, NodeError> {
        let name = group.clone();
        self.call(move |driver| driver.engine().group(&name)).await
    }

    /// A group's members; of `broadcast`: all peers known.
    pub async fn members(&self, group: &GroupName) -> Result<Vec<MemberStatus>, NodeError> {
        let name = group.clone();
        self.call(move |driver| driver.engine().members(&name))
            .await
    }

    /// How many other members of a group are known, in the view or linked.
    pub async fn other_members(&self, group: &GroupName) -> Result<usize, NodeError> {
        let name = group.clone();
        self.call(move |driver| driver.engine().other_members(&name))
            .await
    }

    /// The names of groups that known peers are members of.
    pub async fn group_names(&self) -> Result<BTreeSet<GroupName>, NodeError> {
        self.call(|driver| driver.engine().group_names()).await
    }

    /// The overlay that carries `origin`'s messages, by default this peer's own; `None` when
    /// group or origin is unknown.
    pub async fn overlay(
        &self,
        group: &GroupName,
        origin: Option<PeerKey>,
    ) -> Result<Option<OverlayStatus>, NodeError> {
        let name = group.clone();
        self.call(move |driver| driver.engine().overlay(&name, origin))
            .await
    }

    /// The engine's counters and the node's own (`node_*`) since the start.
    pub async fn counters(&self) -> Result<Counters, NodeError> {
        self.call(|driver| driver.counters()).await
    }

    /// A group's settings as they are here; `None` for a group that this peer is not in.
    pub async fn settings(&self, group: &GroupName) -> Result<Option<GroupSettings>, NodeError> {
        let status = self.group(group).await?;
        Ok(status.map(|status| status.settings))
    }

    /// Names an address worth a try. Whether a link comes of it shows in [`Node::events`].
    pub async fn connect(&self, address: &Multiaddr) -> Result<(), NodeError> {
        let address = crate::transport::to_address(address)?;
        self.call(move |driver| driver.discovered(vec![address]))
            .await
    }

    /// What happens from now on.
    pub fn events(&self) -> Events {
        Events(BroadcastStream::new(self.shared.events.subscribe()))
    }

    /// Leaves the network in good order: neighbours confirm that they hold what this peer
    /// published, for 2 s at most. Returns once ports and data directory are released; calling
    /// it again waits for the same end.
    pub async fn shutdown(&self) {
        // An error means that it has ended already.
        let _ = self.call(Driver::begin_shutdown).await;
        self.ended().await;
    }

    /// Stops at once and tells nobody, as a crash would.
    pub async fn abort(&self) {
        let _ = self.call(Driver::abort).await;
        self.ended().await;
    }

    /// Waits until the peer has ended, for whatever reason.
    pub async fn ended(&self) {
        let mut ended = self.shared.ended.clone();
        // An error means that the task is gone: ended too.
        let _ = ended.wait_for(|ended| *ended).await;
    }

    /// Runs `question` where the engine is, between two of its steps.
    async fn call<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Driver) -> T + Send + 'static,
    ) -> Result<T, NodeError> {
        let (reply, answer) = oneshot::channel();
        let command: Command = Box::new(move |driver| {
            // A caller that has gone does not want to know.
            let _ = reply.send(question(driver));
        });
        self.shared
            .commands
            .send(command)
            .await
            .map_err(|_| NodeError::Stopped)?;
        answer.await.map_err(|_| NodeError::Stopped)
    }

    async fn submit(
        &self,
        group: &GroupName,
        payload: Bytes,
        options: PublishOptions,
        reply: Reply,
    ) -> Result<(), NodeError> {
        self.check_size(&payload)?;
        let mut permit = self.shared.publish_queues.permit(group);
        std::future::poll_fn(|context| permit.poll(context)).await?;
        permit.push(Submission {
            payload,
            options,
            reply,
        });
        Ok(())
    }

    pub(crate) fn check_size(&self, payload: &Bytes) -> Result<(), PublishError> {
        let (bytes, max) = (payload.len(), self.shared.message_bytes_max);
        if bytes > max {
            Err(PublishError::TooLarge { bytes, max })
        } else {
            Ok(())
        }
    }
}

impl Stream for ProbeAnswers {
    type Item = ProbeAnswer;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<ProbeAnswer>> {
        self.0.poll_recv(context)
    }
}

impl Stream for Events {
    type Item = Result<Event, EventsMissed>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0).poll_next(context).map(|event| {
            event.map(|event| {
                event.map_err(|BroadcastStreamRecvError::Lagged(missed)| EventsMissed(missed))
            })
        })
    }
}
