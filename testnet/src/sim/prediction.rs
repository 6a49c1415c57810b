//! What an event is going to tell a peer, said before its turn.
//!
//! Every method here says of what another room will do: [`super::driver`] with timers,
//! [`super::transport`] with bytes. What it cannot say for certain, it calls unknown.

use super::connection::{EndRef, EndState, Segment};
use super::node::NodeState;
use super::peer::Peer;
use super::speculative_call::{Call, Step};
use super::world::{Happening, World, verified};
use hedgerow_protocol::{Input, Micros};
use std::collections::VecDeque;

/// What an event tells a peer.
pub(crate) enum Prediction {
    /// Nothing, as long as nothing happens at its node before.
    Nothing,
    /// Perhaps something, or not known before its turn.
    Unknown,
    /// Exactly this comes first.
    Step(Step),
}

impl<P: Peer> World<P> {
    /// The node whose peer an event may tell something.
    pub(crate) fn concerns(&self, happening: &Happening) -> Option<usize> {
        match *happening {
            Happening::Timeout { node }
            | Happening::Uplink { node, .. }
            | Happening::Downlink { node, .. }
            | Happening::Verified { node, .. }
            | Happening::Stored { node, .. } => Some(node as usize),
            Happening::Wake { end }
            | Happening::Reset { end }
            | Happening::Linger { end }
            | Happening::Accept { end } => Some(self.connections.peek(end)?.node),
            Happening::Arrive { end } | Happening::Resend { end } => {
                Some(self.connections.peek(end.other())?.node)
            }
            Happening::Dial { dial } => self.dials.node(dial),
        }
    }

    /// What an event tells the peer of `node`, which it concerns.
    pub(crate) fn predict(&self, at: Micros, node: usize, happening: &Happening) -> Prediction {
        let place = &self.nodes[node];
        match happening {
            Happening::Timeout { .. } => self.foresee_timeout(at, node),
            Happening::Arrive { end } => self.foresee_arrival(at, node, *end),
            Happening::Downlink { line, .. } => match &place.downlink.busy {
                Some((end, segment)) if place.line == *line => {
                    self.foresee_reading(at, node, *end, segment)
                }
                _ => Prediction::Unknown,
            },
            Happening::Verified {
                incarnation,
                answers,
                ..
            } if place.incarnation == *incarnation && place.state == NodeState::Running => {
                let calls = verified(answers.clone()).map(Call::Input);
                step(at, calls.collect(), None)
            }
            _ => Prediction::Unknown,
        }
    }

    /// See `on_timeout`: what was written is told first.
    fn foresee_timeout(&self, at: Micros, node: usize) -> Prediction {
        let place = &self.nodes[node];
        if place.timer != Some(at) || place.state != NodeState::Running {
            return Prediction::Nothing;
        }
        // What comes before decides what is due, and which of two entries is stale.
        if self.claims.has(node) {
            return Prediction::Unknown;
        }
        let mut calls = VecDeque::new();
        let mut reports = place.reports.clone();
        let mut index = 0;
        while let Some(&end) = reports.get(index) {
            match self.connections.peek(end) {
                Some(at) if at.unreported == 0 => {
                    index += 1;
                    continue;
                }
                Some(at) if place.end_of(at.link).is_some() => {
                    let (link, bytes) = (at.link, at.unreported);
                    calls.push_back(Call::Input(Input::Sent { link, bytes }));
                }
                _ => {}
            }
            reports.swap_remove(index);
        }
        calls.push_back(Call::Timeout);
        step(at, calls, None)
    }

    /// See `on_arrive`.
    fn foresee_arrival(&self, at: Micros, node: usize, end: EndRef) -> Prediction {
        let Some(from) = self.connections.peek(end) else {
            return Prediction::Nothing;
        };
        let before = self.claims.arrivals(node, end);
        match from.in_flight.get(before) {
            Some(segment)
                if from.stalled.is_empty()
                    && !self.is_cut(from.node, node)
                    && self.nodes[node].downlink.is_free() =>
            {
                self.foresee_reading(at, node, end, segment)
            }
            _ => Prediction::Unknown,
        }
    }

    /// See `take`: a segment that has come to the node's socket.
    fn foresee_reading(
        &self,
        at: Micros,
        node: usize,
        end: EndRef,
        segment: &Segment,
    ) -> Prediction {
        let place = &self.nodes[node];
        let reads = place.state == NodeState::Running && !place.deaf;
        match (segment, self.connections.peek(end.other())) {
            (Segment::Bytes(bytes), Some(to)) if reads && to.state == EndState::Open => {
                let (link, bytes) = (to.link, bytes.clone());
                let input = Input::Bytes { link, bytes };
                step(at, [Call::Input(input)].into(), Some(end))
            }
            _ => Prediction::Unknown,
        }
    }
}

fn step(at: Micros, calls: VecDeque<Call>, arrival: Option<EndRef>) -> Prediction {
    Prediction::Step(Step { at, calls, arrival })
}
