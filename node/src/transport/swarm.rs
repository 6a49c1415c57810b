//! The swarm's task: dials, accepts, ends connections, and says what came of it.

use super::address::{to_address, with_peer_id};
use super::behaviour::{Behaviour, BehaviourEvent, LinkOutcome};
use super::dials::{Dials, Step};
use super::handler::Outcome;
use super::listen::{Early, Listeners};
use super::tcp;
use crate::options::TransportConfig;
use crate::{Multiaddr, NodeError, store};
use futures::StreamExt;
use hedgerow_protocol::{Address, Config, DialId, Keypair, PeerKey};
use libp2p::core::ConnectedPoint;
use libp2p::swarm::{ConnectionId, SwarmEvent};
use libp2p::{Stream, Swarm, SwarmBuilder, dns, mdns};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::Instrument;

/// Requests on their way to the swarm. Dials are few (`links.dials_max`); ends of connections
/// wait in their links' tasks.
const REQUESTS: usize = 256;
/// Events on their way to the driver.
const EVENTS: usize = 64;
/// A connection carries one link, over QUIC as well.
const STREAMS_MAX: u32 = 1;

/// What the swarm is asked for.
#[derive(Debug)]
pub(crate) enum Request {
    /// Connect; answered by `Linked` or `DialFailed`, by the latter once `timeout` is over. A
    /// connection that is under way then may still stand later: `Linked` follows.
    Dial {
        dial: DialId,
        peer: Option<PeerKey>,
        addresses: Vec<Address>,
        timeout: Duration,
    },
    /// End a connection.
    Close(ConnectionId),
    /// Keep places for these peers.
    Known(Vec<PeerKey>),
}

/// What the swarm reports.
#[derive(Debug)]
pub(crate) enum TransportEvent {
    /// A connection's substream stands.
    Linked {
        connection: ConnectionId,
        peer: PeerKey,
        dial: Option<DialId>,
        address: Option<Address>,
        stream: Stream,
    },
    /// A dial came to nothing.
    DialFailed { dial: DialId },
    /// Where this peer can be dialled.
    Addresses(Vec<Address>),
    /// Addresses found near by.
    Discovered(Vec<Address>),
}

/// The driver's end of the swarm's task.
#[derive(Debug)]
pub(crate) struct Transport {
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) events: mpsc::Receiver<TransportEvent>,
    listening: watch::Receiver<Vec<Multiaddr>>,
    addresses: Vec<Address>,
    denied: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Transport {
    /// Builds the swarm, listens, and starts its task.
    pub(crate) async fn start(
        identity: &Keypair,
        engine: &Config,
        config: &TransportConfig,
    ) -> Result<Self, NodeError> {
        let denied = Arc::<AtomicU64>::default();
        let mut swarm = Box::new(build(identity, engine, config, &denied)?);
        let (listeners, early) = Listeners::start(&mut swarm, &config.listen).await?;
        let local = *swarm.local_peer_id();
        let (requests, request_inbox) = mpsc::channel(REQUESTS);
        let (event_sender, events) = mpsc::channel(EVENTS);
        let (listening_tell, listening) = watch::channel(listeners.listening(local));
        let addresses = to_addresses(&listeners.stated(&config.external));
        let task = SwarmTask {
            swarm,
            external: config.external.clone(),
            listeners,
            dials: Dials::default(),
            endpoints: HashMap::new(),
            events: event_sender,
            listening: listening_tell,
        };
        let task = tokio::spawn(task.run(early, request_inbox).in_current_span());
        Ok(Self {
            requests,
            events,
            listening,
            addresses,
            denied,
            task,
        })
    }

    /// Real listen addresses, kept up to date.
    pub(crate) fn listening(&self) -> watch::Receiver<Vec<Multiaddr>> {
        self.listening.clone()
    }

    /// Where this peer could be dialled when it started.
    pub(crate) fn addresses(&self) -> Vec<Address> {
        self.addresses.clone()
    }

    /// Connections from outside that were not taken, so far.
    pub(crate) fn denied(&self) -> u64 {
        self.denied.load(Ordering::Relaxed)
    }

    /// Ends the swarm. Returns once its sockets are released.
    pub(crate) async fn stop(self) {
        self.task.abort();
        // Cancelled, as asked for.
        let _ = self.task.await;
    }
}

fn build(
    identity: &Keypair,
    engine: &Config,
    config: &TransportConfig,
    denied: &Arc<AtomicU64>,
) -> Result<Swarm<Behaviour>, NodeError> {
    let key = store::to_libp2p(identity)?;
    let setup = |error: &dyn std::fmt::Display| NodeError::Setup(error.to_string());
    // Whoever has given up before still takes a connection that stands later.
    let dial_timeout = Duration::from_millis(engine.links.dial_timeout_max_ms);
    let idle_timeout = Duration::from_millis(config.idle_ms);
    let base = || {
        let tcp = tcp::transport(&key, config.unsent_bytes);
        let tcp = tcp.map_err(|error| setup(&error))?;
        SwarmBuilder::with_existing_identity(key.clone())
            .with_tokio()
            .with_quic_config(|mut quic| {
                quic.handshake_timeout = dial_timeout;
                quic.max_concurrent_stream_limit = STREAMS_MAX;
                // One link's share: what 100 ms at 1 Gbit/s have under way.
                quic.max_stream_data = 12 << 20;
                quic.max_connection_data = 16 << 20;
                quic
            })
            .with_other_transport(|_| tcp)
            .map_err(|error| setup(&error))
    };
    // The two ways below differ in a type that has no name.
    macro_rules! finish {
        ($base:expr) => {
            $base
                .with_behaviour(|key| Behaviour::new(key, &engine.limits, config, denied.clone()))
                .map_err(|error| setup(&error))?
                .with_swarm_config(|swarm| swarm.with_idle_connection_timeout(idle_timeout))
                .with_connection_timeout(dial_timeout)
                .build()
        };
    }
    Ok(match base()?.with_dns() {
        Ok(base) => finish!(base),
        Err(error) => {
            // Addresses by number still work.
            tracing::warn!(%error, "no resolver is configured; addresses by name will not work");
            let resolver = dns::ResolverConfig::from_parts(None, Vec::new(), Vec::new());
            finish!(base()?.with_dns_config(resolver, dns::ResolverOpts::default()))
        }
    })
}

fn to_addresses(addresses: &[Multiaddr]) -> Vec<Address> {
    addresses
        .iter()
        .filter_map(|address| to_address(address).ok())
        .collect()
}

/// The task's state.
struct SwarmTask {
    swarm: Box<Swarm<Behaviour>>,
    external: Vec<Multiaddr>,
    listeners: Listeners,
    dials: Dials,
    /// The other end's address of every connection whose link does not stand yet.
    endpoints: HashMap<ConnectionId, ConnectedPoint>,
    events: mpsc::Sender<TransportEvent>,
    listening: watch::Sender<Vec<Multiaddr>>,
}

impl SwarmTask {
    /// Runs until the driver is gone.
    async fn run(mut self, early: Early, mut requests: mpsc::Receiver<Request>) {
        for event in early {
            if let Some(event) = self.on_swarm_event(event)
                && self.events.send(event).await.is_err()
            {
                return;
            }
        }
        loop {
            let overdue = async {
                match self.dials.next_deadline() {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            let event = tokio::select! {
                () = overdue => self.on_overdue(),
                request = requests.recv() => {
                    let Some(request) = request else { return };
                    self.on_request(request)
                }
                event = self.swarm.select_next_some() => self.on_swarm_event(event),
            };
            if let Some(event) = event
                && self.events.send(event).await.is_err()
            {
                return;
            }
        }
    }

    fn on_request(&mut self, request: Request) -> Option<TransportEvent> {
        match request {
            Request::Dial {
                dial,
                peer,
                addresses,
                timeout,
            } => {
                let ends = Instant::now() + timeout;
                let step = self.dials.begin(dial, peer, &addresses, ends);
                self.take_step(step)
            }
            Request::Close(connection) => {
                self.swarm.close_connection(connection);
                None
            }
            Request::Known(peers) => {
                let peers = peers.iter().filter_map(|peer| peer.to_peer_id());
                self.swarm.behaviour_mut().gate.set_known(peers.collect());
                None
            }
        }
    }

    /// Tries until an attempt is under way or none is left.
    fn take_step(&mut self, mut step: Step) -> Option<TransportEvent> {
        loop {
            match step {
                Step::GiveUp(dial) => return Some(TransportEvent::DialFailed { dial }),
                Step::Try(connection, options) => {
                    let Err(error) = self.swarm.dial(options) else {
                        return None;
                    };
                    tracing::debug!(%error, "dial failed");
                    step = self.dials.on_failed(connection)?;
                }
            }
        }
    }

    /// A dial has taken its time.
    fn on_overdue(&mut self) -> Option<TransportEvent> {
        let dial = self.dials.take_overdue(Instant::now())?;
        tracing::debug!(dial = dial.0, "no answer in time");
        Some(TransportEvent::DialFailed { dial })
    }

    fn on_failed(&mut self, connection: ConnectionId) -> Option<TransportEvent> {
        let step = self.dials.on_failed(connection)?;
        self.take_step(step)
    }

    fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) -> Option<TransportEvent> {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Links(outcome)) => self.on_link(outcome),
            SwarmEvent::Behaviour(BehaviourEvent::Mdns(mdns::Event::Discovered(found))) => {
                let named = found
                    .into_iter()
                    .map(|(peer, address)| with_peer_id(address, peer));
                let named: Vec<Multiaddr> = named.collect();
                Some(TransportEvent::Discovered(to_addresses(&named)))
            }
            SwarmEvent::ConnectionEstablished {
                connection_id,
                endpoint,
                ..
            } => {
                self.endpoints.insert(connection_id, endpoint);
                None
            }
            SwarmEvent::ConnectionClosed {
                connection_id,
                peer_id,
                cause,
                ..
            } => {
                tracing::debug!(peer = %peer_id, ?cause, "connection closed");
                self.endpoints.remove(&connection_id);
                self.on_failed(connection_id)
            }
            SwarmEvent::OutgoingConnectionError {
                connection_id,
                peer_id,
                error,
            } => {
                let peer = peer_id.map(tracing::field::display);
                tracing::debug!(peer, %error, "dial failed");
                self.on_failed(connection_id)
            }
            SwarmEvent::IncomingConnectionError {
                send_back_addr,
                error,
                ..
            } => {
                tracing::debug!(address = %send_back_addr, %error, "incoming connection failed");
                None
            }
            SwarmEvent::NewListenAddr {
                listener_id,
                address,
            } => {
                self.listeners.add(listener_id, address);
                Some(self.addresses_changed())
            }
            SwarmEvent::ExpiredListenAddr {
                listener_id,
                address,
            } => {
                self.listeners.remove(listener_id, &[address]);
                Some(self.addresses_changed())
            }
            SwarmEvent::ListenerClosed {
                listener_id,
                addresses,
                reason,
            } => {
                tracing::warn!(?addresses, ?reason, "no longer listening");
                self.listeners.remove(listener_id, &addresses);
                Some(self.addresses_changed())
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(%error, "listener");
                None
            }
            _ => None,
        }
    }

    fn addresses_changed(&self) -> TransportEvent {
        self.listening
            .send_replace(self.listeners.listening(*self.swarm.local_peer_id()));
        TransportEvent::Addresses(to_addresses(&self.listeners.stated(&self.external)))
    }

    fn on_link(&mut self, link: LinkOutcome) -> Option<TransportEvent> {
        let LinkOutcome {
            peer,
            connection,
            outcome,
        } = link;
        let endpoint = self.endpoints.remove(&connection);
        let (stream, peer) = match (outcome, PeerKey::from_peer_id(&peer)) {
            (Outcome::Stream(stream), Some(key)) => (stream, key),
            (Outcome::Stream(_), None) => {
                tracing::debug!(%peer, "refused: its key is no ed25519 key");
                self.swarm.close_connection(connection);
                return self.on_failed(connection);
            }
            (Outcome::NoStream(why), _) => {
                tracing::debug!(%peer, why, "no link: the other end does not speak the protocol");
                self.swarm.close_connection(connection);
                return self.on_failed(connection);
            }
        };
        let dial = self.dials.on_linked(connection);
        let address = endpoint.and_then(|endpoint| to_address(endpoint.get_remote_address()).ok());
        Some(TransportEvent::Linked {
            connection,
            peer,
            dial,
            address,
            stream,
        })
    }
}
