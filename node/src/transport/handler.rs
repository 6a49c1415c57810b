//! One connection's part of the behaviour: get the link's one substream.

use super::PROTOCOL;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::swarm::handler::{
    ConnectionEvent, ConnectionHandler, ConnectionHandlerEvent, DialUpgradeError,
    FullyNegotiatedInbound, FullyNegotiatedOutbound, SubstreamProtocol,
};
use libp2p::{Stream, StreamProtocol};
use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

/// What came of a connection.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The link's substream stands.
    Stream(Stream),
    /// The other end does not speak the protocol, or took too long.
    NoStream(String),
}

/// Asks for the substream when this end dialled, waits for it otherwise. Any further one is
/// dropped: a link is one substream.
#[derive(Debug)]
pub(super) struct Handler {
    /// The dialler has not asked yet.
    to_ask: bool,
    /// The substream was had; there is no second one.
    done: bool,
    outcome: Option<Outcome>,
    timeout: Duration,
}

impl Handler {
    pub(super) fn new(dialled: bool, timeout: Duration) -> Self {
        Self {
            to_ask: dialled,
            done: false,
            outcome: None,
            timeout,
        }
    }

    fn on_outcome(&mut self, outcome: Outcome) {
        if !std::mem::replace(&mut self.done, true) {
            self.outcome = Some(outcome);
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = Outcome;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), ()).with_timeout(self.timeout)
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Outcome>> {
        if std::mem::take(&mut self.to_ask) {
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: self.listen_protocol(),
            });
        }
        match self.outcome.take() {
            Some(outcome) => Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(outcome)),
            // Nothing wakes it: the swarm polls again after every connection event.
            None => Poll::Pending,
        }
    }

    fn on_behaviour_event(&mut self, event: Infallible) {
        match event {}
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<Self::InboundProtocol, Self::OutboundProtocol>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: stream,
                ..
            })
            | ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: stream,
                ..
            }) => self.on_outcome(Outcome::Stream(stream)),
            ConnectionEvent::DialUpgradeError(DialUpgradeError { error, .. }) => {
                self.on_outcome(Outcome::NoStream(error.to_string()));
            }
            _ => {}
        }
    }
}
