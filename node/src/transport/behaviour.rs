//! The libp2p behaviours of a peer, and our own: one substream per connection.

use super::gate::Gate;
use super::handler::{Handler, Outcome};
use crate::Multiaddr;
use crate::options::TransportConfig;
use hedgerow_protocol::LimitConfig;
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandlerInEvent, ToSwarm,
};
use libp2p::{PeerId, identity, mdns};
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll};
use std::time::Duration;

/// All behaviours of a peer.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    limits: connection_limits::Behaviour,
    pub(super) gate: Gate,
    pub(super) links: Links,
    mdns: Toggle<mdns::tokio::Behaviour>,
}

impl Behaviour {
    pub(super) fn new(
        key: &identity::Keypair,
        limits: &LimitConfig,
        config: &TransportConfig,
        denied: Arc<AtomicU64>,
    ) -> Self {
        let gate = Gate::new(limits, config, denied);
        let hello = Duration::from_millis(limits.hello_ms);
        let limits = ConnectionLimits::default()
            .with_max_pending_incoming(Some(config.pending_max))
            .with_max_established_per_peer(Some(config.per_peer_max));
        Self {
            limits: connection_limits::Behaviour::new(limits),
            gate,
            links: Links::new(Duration::from_millis(config.substream_ms), hello),
            mdns: new_mdns(key, config.mdns).into(),
        }
    }
}

/// Connections from outside have less time to agree on their substream only while so many have yet
/// to do it: a machine on which many peers start is slow.
const WAITING_FREE: usize = 32;

/// Without multicast (some containers) a peer still works by addresses.
fn new_mdns(key: &identity::Keypair, on: bool) -> Option<mdns::tokio::Behaviour> {
    if !on {
        return None;
    }
    let config = mdns::Config {
        query_interval: Duration::from_secs(60),
        ..Default::default()
    };
    match mdns::tokio::Behaviour::new(config, key.public().to_peer_id()) {
        Ok(mdns) => Some(mdns),
        Err(error) => {
            tracing::warn!(%error, "no multicast DNS here; peers are found by address only");
            None
        }
    }
}

/// What came of a connection.
#[derive(Debug)]
pub(super) struct LinkOutcome {
    pub(super) peer: PeerId,
    pub(super) connection: ConnectionId,
    pub(super) outcome: Outcome,
}

/// Gets the one substream of every connection.
#[derive(Debug)]
pub(super) struct Links {
    timeout: Duration,
    /// The same while many connections from outside have yet to agree on their substreams.
    hurried: Duration,
    /// Those.
    waiting: HashSet<ConnectionId>,
    outcomes: VecDeque<LinkOutcome>,
}

impl Links {
    fn new(timeout: Duration, hello: Duration) -> Self {
        Self {
            timeout,
            hurried: hello.min(timeout),
            waiting: HashSet::new(),
            outcomes: VecDeque::new(),
        }
    }
}

impl NetworkBehaviour for Links {
    type ConnectionHandler = Handler;
    type ToSwarm = LinkOutcome;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        let is_busy = self.waiting.len() >= WAITING_FREE;
        self.waiting.insert(connection);
        let timeout = if is_busy { self.hurried } else { self.timeout };
        Ok(Handler::new(false, timeout))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(Handler::new(true, self.timeout))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(closed) => {
                self.waiting.remove(&closed.connection_id);
            }
            FromSwarm::ListenFailure(failure) => {
                self.waiting.remove(&failure.connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        outcome: Outcome,
    ) {
        self.waiting.remove(&connection);
        self.outcomes.push_back(LinkOutcome {
            peer,
            connection,
            outcome,
        });
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<LinkOutcome, THandlerInEvent<Self>>> {
        // The swarm polls its behaviour again after every handler event.
        self.outcomes.pop_front().map_or(Poll::Pending, |outcome| {
            Poll::Ready(ToSwarm::GenerateEvent(outcome))
        })
    }
}
