//! What every program under comparison is asked to do, so that all are measured in one way.

use crate::seen::Seen;
use anyhow::Result;
use bytes::Bytes;
use std::future::Future;

/// How a peer is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The payload that will be sent, bytes: some need to be told what is the largest.
    pub message_bytes: usize,
    /// Listen for others.
    pub listen: bool,
    /// Whom to begin with, for those that find their links themselves.
    pub bootstrap: Vec<String>,
    /// Links that it is to aim for, where that is not its default.
    pub links: Option<usize>,
    /// Connections accepted from others, where a shape is to be forced on a self-made overlay: the
    /// peer then has no links but to whom it begins with, and who begins with it.
    pub incoming_max: Option<u32>,
}

/// A peer of some program, with a swarm or endpoint of its own on loopback.
pub trait Peer: Sized + Send + 'static {
    /// Publishes.
    type Publisher: Publisher;
    /// Is handed what others publish.
    type Inbox: Inbox;

    /// Whether its overlay chooses its links by itself, from one peer to begin with.
    const FINDS_LINKS: bool;

    /// Starts it.
    fn start(options: &Options) -> impl Future<Output = Result<Self>> + Send;

    /// Where others connect to.
    fn address(&self) -> String;

    /// Joins the overlay; connects to these others, unless it finds its links itself.
    fn join(&mut self, addresses: &[String]) -> impl Future<Output = Result<()>> + Send;

    /// Neighbours in the overlay by now, and peers known: what it does not know is 0.
    fn reach(&mut self) -> impl Future<Output = Result<Reach>> + Send;

    /// The two ways of using it.
    fn split(self) -> (Self::Publisher, Self::Inbox);
}

/// How far a peer has come into its overlay.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    /// Links or mesh neighbours.
    pub neighbours: usize,
    /// Peers known, itself included, where a program knows that.
    pub known: Option<usize>,
}

/// Publishes messages.
pub trait Publisher: Send + 'static {
    /// Whether messages stay in a buffer until it is full or flushed, however long that takes.
    const HOLDS_BACK: bool = false;

    /// Publishes one, waiting while its peer is busy.
    fn publish(&mut self, payload: Bytes) -> impl Future<Output = Result<()>> + Send;

    /// Sends what is held back to fill a buffer.
    fn flush(&mut self) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }
}

/// Is handed messages.
pub trait Inbox: Send + 'static {
    /// Waits for some messages and notes each of them.
    fn receive(&mut self, seen: &mut Seen) -> impl Future<Output = Result<()>> + Send;
}
