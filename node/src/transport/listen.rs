//! Listening: real addresses in the order asked for, and errors that name the address.

use super::address::{is_loopback, with_peer_id, without_peer};
use super::behaviour::{Behaviour, BehaviourEvent};
use crate::{Multiaddr, NodeError};
use futures::StreamExt;
use libp2p::Swarm;
use libp2p::core::transport::{ListenerId, TransportError};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

/// A listener that says nothing for so long will not.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long the interfaces' addresses are waited for.
const INTERFACES: Duration = Duration::from_millis(50);

/// The addresses of each listener, in the order asked for.
#[derive(Debug, Default)]
pub(super) struct Listeners(Vec<(ListenerId, Vec<Multiaddr>)>);

/// What else the swarm said while listening began: somebody may be quick to connect.
pub(super) type Early = Vec<SwarmEvent<BehaviourEvent>>;

impl Listeners {
    /// Listens on all of `addresses`; returns once each has at least one real address.
    pub(super) async fn start(
        swarm: &mut Swarm<Behaviour>,
        addresses: &[Multiaddr],
    ) -> Result<(Self, Early), NodeError> {
        let failed = |address: &Multiaddr, why| NodeError::Listen {
            address: address.clone(),
            why,
        };
        // All are checked before any is taken: [::] would find our own 0.0.0.0 in its way.
        for address in addresses {
            check_free(address).map_err(|error| failed(address, explain(&error)))?;
        }
        let (mut listeners, mut early) = (Self::default(), Early::new());
        for address in addresses {
            let id = swarm
                .listen_on(without_peer(address.clone()))
                .map_err(|error| failed(address, explain_transport(&error)))?;
            listeners.0.push((id, Vec::new()));
            let started = listeners.wait_for(swarm, id, &mut early);
            tokio::time::timeout(TIMEOUT, started)
                .await
                .map_err(|_| failed(address, "the system gives no address for it".to_owned()))?
                .map_err(|error| failed(address, explain(&error)))?;
            if is_unspecified(address) {
                // Each interface has an address of its own; they are told one by one.
                let more =
                    async { while listeners.wait_for(swarm, id, &mut early).await.is_ok() {} };
                // The end of that is that no more come.
                let _ = tokio::time::timeout(INTERFACES, more).await;
            }
        }
        Ok((listeners, early))
    }

    async fn wait_for(
        &mut self,
        swarm: &mut Swarm<Behaviour>,
        id: ListenerId,
        early: &mut Early,
    ) -> io::Result<()> {
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::ListenerClosed {
                    listener_id,
                    reason,
                    ..
                } if listener_id == id => {
                    reason?;
                    return Err(io::ErrorKind::NotConnected.into());
                }
                SwarmEvent::NewListenAddr {
                    listener_id,
                    address,
                } => {
                    self.add(listener_id, address);
                    if listener_id == id {
                        return Ok(());
                    }
                }
                other => early.push(other),
            }
        }
    }

    pub(super) fn add(&mut self, listener: ListenerId, address: Multiaddr) {
        if let Some((_, addresses)) = self.0.iter_mut().find(|(id, _)| *id == listener)
            && !addresses.contains(&address)
        {
            addresses.push(address);
        }
    }

    pub(super) fn remove(&mut self, listener: ListenerId, gone: &[Multiaddr]) {
        if let Some((_, addresses)) = self.0.iter_mut().find(|(id, _)| *id == listener) {
            addresses.retain(|address| !gone.contains(address));
        }
    }

    /// All addresses in the order asked for, naming the peer.
    pub(super) fn listening(&self, peer: libp2p::PeerId) -> Vec<Multiaddr> {
        let all = self
            .0
            .iter()
            .flat_map(|(_, addresses)| addresses.iter().cloned());
        all.map(|address| with_peer_id(address, peer)).collect()
    }

    /// What to state to others: those that reach furthest first.
    pub(super) fn stated(&self, external: &[Multiaddr]) -> Vec<Multiaddr> {
        let mut stated: Vec<Multiaddr> = external.iter().cloned().map(without_peer).collect();
        let all = self.0.iter().flat_map(|(_, addresses)| addresses);
        let (loopback, others): (Vec<_>, Vec<_>) = all.partition(|address| is_loopback(address));
        for address in others.into_iter().chain(loopback) {
            if !stated.contains(address) {
                stated.push(address.clone());
            }
        }
        stated
    }
}

/// Whether nobody else listens there. libp2p's TCP listeners share their port with others of
/// the same user (`SO_REUSEPORT`), which would hide a peer that runs already.
fn check_free(address: &Multiaddr) -> io::Result<()> {
    let mut parts = address.iter();
    let ip = match parts.next() {
        Some(Protocol::Ip4(ip)) => ip.into(),
        Some(Protocol::Ip6(ip)) => ip.into(),
        _ => return Ok(()),
    };
    match parts.next() {
        Some(Protocol::Tcp(port)) if port != 0 => {
            TcpListener::bind(SocketAddr::new(ip, port)).map(drop)
        }
        Some(Protocol::Udp(port)) if port != 0 => {
            UdpSocket::bind(SocketAddr::new(ip, port)).map(drop)
        }
        _ => Ok(()),
    }
}

/// Whether it stands for the addresses of all interfaces.
fn is_unspecified(address: &Multiaddr) -> bool {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.is_unspecified(),
        Some(Protocol::Ip6(ip)) => ip.is_unspecified(),
        _ => false,
    }
}

fn explain_transport(error: &TransportError<io::Error>) -> String {
    match error {
        TransportError::MultiaddrNotSupported(_) => {
            "no such transport; use /ip4/ADDRESS/tcp/PORT or /ip4/ADDRESS/udp/PORT/quic-v1"
                .to_owned()
        }
        TransportError::Other(error) => explain(error),
    }
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "the port is in use; stop who has it, choose another, or 0 for any free one".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "no such address on this machine".to_owned(),
        io::ErrorKind::PermissionDenied => {
            format!("{error}; ports below 1024 need privileges, choose a higher one")
        }
        _ => error.to_string(),
    }
}
