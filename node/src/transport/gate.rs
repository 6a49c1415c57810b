//! Which connections from outside are taken, before they cost a handshake or a place.
//!
//! The engine limits links by address (`limits.*`); this does so for connections that it does not
//! see yet: those that have not proven who they are, and those without a substream.

use super::address::to_address;
use crate::Multiaddr;
use crate::options::TransportConfig;
use hedgerow_protocol::{LimitConfig, Source};
use libp2p::PeerId;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, ListenFailure, NetworkBehaviour, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
};
use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// New connections from one address in a row, and how long until one more may come. 16: twice as many
/// as may wait for their handshakes. Four a second: a handshake costs half a millisecond.
const BURST: u32 = 16;
const REFILL: Duration = Duration::from_millis(250);
/// Addresses whose last connections are remembered; beyond it those that may connect again go.
const SOURCES_MAX: usize = 4_096;

/// Why a connection was not taken.
#[derive(Debug, thiserror::Error)]
enum Denied {
    #[error("too many connections from this address (limits.*)")]
    Address,
    #[error("the last places are kept for peers known for long (limits.reserved)")]
    Reserved,
}

/// Counts connections from outside by the address that they come from.
#[derive(Debug)]
pub(super) struct Gate {
    limits: LimitConfig,
    incoming_max: usize,
    /// Those that have not proven who they are, and those that have; from limited addresses only.
    pending: HashMap<ConnectionId, Source>,
    standing: HashMap<ConnectionId, Source>,
    /// All that have proven who they are.
    incoming: HashSet<ConnectionId>,
    /// Until when an address has used up what may come in a row.
    paced: HashMap<Source, Instant>,
    /// Peers that places are kept for.
    known: HashSet<PeerId>,
    denied: Arc<AtomicU64>,
}

impl Gate {
    pub(super) fn new(
        limits: &LimitConfig,
        config: &TransportConfig,
        denied: Arc<AtomicU64>,
    ) -> Self {
        Self {
            limits: limits.clone(),
            incoming_max: config.incoming_max as usize,
            pending: HashMap::new(),
            standing: HashMap::new(),
            incoming: HashSet::new(),
            paced: HashMap::new(),
            known: HashSet::new(),
            denied,
        }
    }

    /// Places are kept for these peers from now on.
    pub(super) fn set_known(&mut self, known: HashSet<PeerId>) {
        self.known = known;
    }

    fn source(&self, remote: &Multiaddr) -> Option<Source> {
        let address = to_address(remote).ok()?;
        (!self.limits.is_trusted(&address)).then(|| Source::of(&address))
    }

    /// Whether one more may come from `source` now.
    fn keeps_pace(&mut self, source: &Source, now: Instant) -> bool {
        if self.paced.len() >= SOURCES_MAX {
            self.paced.retain(|_, until| *until > now);
        }
        let known = self.paced.get(source).copied();
        if known.is_none() && self.paced.len() >= SOURCES_MAX {
            return false;
        }
        let until = known.map_or(now, |until| until.max(now));
        let has_room = until.duration_since(now) < REFILL * BURST;
        if has_room {
            self.paced.insert(source.clone(), until + REFILL);
        }
        has_room
    }

    fn deny(&self, why: Denied) -> ConnectionDenied {
        self.denied.fetch_add(1, Ordering::Relaxed);
        ConnectionDenied::new(why)
    }
}

fn count(connections: &HashMap<ConnectionId, Source>, source: &Source) -> usize {
    connections
        .values()
        .filter(|other| *other == source)
        .count()
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let Some(source) = self.source(remote) else {
            return Ok(());
        };
        if count(&self.pending, &source) >= self.limits.pending_per_address
            || !self.keeps_pace(&source, Instant::now())
        {
            return Err(self.deny(Denied::Address));
        }
        self.pending.insert(connection, source);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let source = self.pending.remove(&connection);
        let is_known = self.known.contains(&peer);
        let reserved = self.limits.reserved.min(self.incoming_max / 4);
        let most = self.incoming_max - if is_known { 0 } else { reserved };
        if self.incoming.len() >= most {
            return Err(self.deny(Denied::Reserved));
        }
        if let Some(source) = source {
            let more = if is_known { self.limits.reserved } else { 0 };
            if count(&self.standing, &source) >= self.limits.links_per_address + more {
                return Err(self.deny(Denied::Address));
            }
            self.standing.insert(connection, source);
        }
        self.incoming.insert(connection);
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) => {
                self.pending.remove(&connection_id);
                // Another behaviour may have denied what this one took.
                self.standing.remove(&connection_id);
                self.incoming.remove(&connection_id);
            }
            FromSwarm::ConnectionClosed(closed) => {
                self.standing.remove(&closed.connection_id);
                self.incoming.remove(&closed.connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}
