//! The libp2p behaviours of a peer, and our own: one substream per connection.

use super::handler::{Handler, Outcome};
use crate::Multiaddr;
use crate::options::TransportConfig;
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandlerInEvent, ToSwarm,
};
use libp2p::{PeerId, identity, mdns};
use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::Duration;

/// All behaviours of a peer.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    limits: connection_limits::Behaviour,
    pub(super) links: Links,
    mdns: Toggle<mdns::tokio::Behaviour>,
}

impl Behaviour {
    pub(super) fn new(key: &identity::Keypair, config: &TransportConfig) -> Self {
        let limits = ConnectionLimits::default()
            .with_max_pending_incoming(Some(config.pending_max))
            .with_max_established_incoming(Some(config.incoming_max))
            .with_max_established_per_peer(Some(config.per_peer_max));
        Self {
            limits: connection_limits::Behaviour::new(limits),
            links: Links::new(Duration::from_millis(config.substream_ms)),
            mdns: new_mdns(key, config.mdns).into(),
        }
    }
}

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
    outcomes: VecDeque<LinkOutcome>,
}

impl Links {
    fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            outcomes: VecDeque::new(),
        }
    }
}

impl NetworkBehaviour for Links {
    type ConnectionHandler = Handler;
    type ToSwarm = LinkOutcome;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(Handler::new(false, self.timeout))
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

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        outcome: Outcome,
    ) {
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
