//! The way to other peers: a libp2p swarm that turns connections into links.
//!
//! The swarm runs in a task of its own and only makes and ends connections. Once a connection's
//! one substream stands it is handed out, and its bytes no longer pass through the swarm's loop: over
//! TCP nobody is between the socket's encryption and the link's task ([`single`]).

mod address;
mod behaviour;
mod dials;
mod gate;
mod handler;
mod link;
mod listen;
mod single;
mod swarm;
mod tcp;

pub(crate) use address::{to_address, with_peer};
pub(crate) use link::{LinkEvent, LinkHandle, LinkLimits};
pub(crate) use swarm::{Request, Transport, TransportEvent};

use libp2p::StreamProtocol;

/// The one protocol of a link: frames both ways on one substream, which the dialler opens.
const PROTOCOL: StreamProtocol = StreamProtocol::new("/hedgerow/1");

#[cfg(test)]
mod tests;
