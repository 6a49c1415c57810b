//! Frames for one peer, carried along the view's shortest path by relays that read the header only.
//!
//! One frame comes in, at most one goes out: to the destination, or one hop nearer to it. A frame crosses
//! at most [`TTL_MAX`] links and never goes back over the link that it came on. Nothing is sent again
//! here, and the sender named in a frame is not proven: both are up to the protocol that the frame
//! carries, of which this layer knows the number only.

mod rates;
mod route;

use crate::base::identity::PeerKey;
use crate::base::interface::LinkId;
use crate::core::Core;
use crate::overlay::Overlay;
use crate::overlay::links::{FlowId, FrameContents, Priority};
use crate::wire::Frame;
use crate::wire::routed::{AVOID_MAX, BODY_BYTES_MAX, Routed, TTL_MAX};
use bytes::Bytes;
use hedgerow_topology::Class;
use rates::Rates;
use route::{NoRoute, Routes};

/// What a frame of this peer's is to say.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) to: PeerKey,
    pub(crate) class: Class,
    /// Peers that must not relay it; of more than [`AVOID_MAX`] the rest are left out.
    pub(crate) avoid: Vec<PeerKey>,
    pub(crate) protocol: u16,
    pub(crate) body: Bytes,
}

/// A frame for this peer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Arrived {
    /// The peer that says it sent it; nothing proves it.
    pub(crate) from: PeerKey,
    /// The link that it came on: limits go by it, for the neighbour is proven.
    pub(crate) link: LinkId,
    /// Links that it has crossed.
    pub(crate) hops: u8,
    pub(crate) class: Class,
    /// Peers that an answer should avoid as well.
    pub(crate) avoid: Vec<PeerKey>,
    pub(crate) protocol: u16,
    pub(crate) body: Bytes,
}

/// Why a frame was not sent. Each is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// The view shows no path, or none without those to be avoided.
    NoRoute,
    /// The lane of the next hop's link is full.
    Full,
    /// The body is longer than [`BODY_BYTES_MAX`].
    TooLong,
}

/// This peer as a relay, and as an end.
#[derive(Debug, Default)]
pub(crate) struct Unicast {
    routes: Routes,
    rates: Rates,
}

impl Unicast {
    /// Sends a frame; whether it arrives is not known here.
    pub(crate) fn send(
        &mut self,
        core: &mut Core,
        net: &mut Overlay,
        frame: Outgoing,
    ) -> Result<(), Unsent> {
        let Outgoing {
            to,
            class,
            mut avoid,
            protocol,
            body,
        } = frame;
        if body.len() > BODY_BYTES_MAX {
            debug_assert!(false, "protocols cut what is longer");
            core.count(counter!("routed_oversized_unsent"));
            return Err(Unsent::TooLong);
        }
        let from = core.me;
        avoid.retain(|peer| *peer != from && *peer != to);
        avoid.truncate(AVOID_MAX);
        let route = self.routes.own(from, net, to, &avoid);
        let Some(next) = route else {
            core.count(counter!("routed_unroutable"));
            return Err(Unsent::NoRoute);
        };
        let routed = Routed {
            to,
            from,
            ttl: TTL_MAX,
            class: Routed::class_to_wire(class),
            avoid,
            protocol,
            body,
        };
        if !pass_on(core, net, next, from, routed) {
            core.count(counter!("routed_dropped"));
            return Err(Unsent::Full);
        }
        core.count(counter!("routed_sent"));
        Ok(())
    }

    /// Takes in a frame; gives it back if it is for this peer.
    pub(crate) fn on_routed(
        &mut self,
        core: &mut Core,
        net: &mut Overlay,
        link: LinkId,
        mut routed: Routed,
    ) -> Option<Arrived> {
        let incoming = net.peer_of(link)?;
        if let Err(error) = routed.check() {
            net.on_malformed(core, link, &error);
            return None;
        }
        let now = core.now.mono;
        if !self.rates.takes_frame(now, link) {
            core.count(counter!("routed_dropped"));
            return None;
        }
        if routed.to == core.me {
            core.count(counter!("routed_delivered"));
            return Some(Arrived {
                from: routed.from,
                link,
                hops: TTL_MAX + 1 - routed.ttl,
                class: routed.class(),
                avoid: routed.avoid,
                protocol: routed.protocol,
                body: routed.body,
            });
        }
        routed.ttl -= 1;
        if routed.ttl == 0 {
            core.count(counter!("routed_expired"));
            return None;
        }
        let rates = &mut self.rates;
        let may_compute = |peers| rates.may_compute(now, link, peers);
        let route = self
            .routes
            .relayed(core.me, net, &routed, incoming, may_compute);
        match route {
            Ok(next) if pass_on(core, net, next, incoming, routed) => {
                core.count(counter!("routed_forwarded"));
            }
            Ok(_) | Err(NoRoute::TooManyAsked) => core.count(counter!("routed_dropped")),
            Err(NoRoute::Unreachable) => core.count(counter!("routed_unroutable")),
        }
        None
    }
}

/// The relays between this peer and `to`, in order, as the view shows them: those that a frame which
/// avoids these peers is carried by. `None`: there is no such path.
pub(crate) fn relays(
    core: &Core,
    net: &Overlay,
    to: PeerKey,
    avoid: &[PeerKey],
) -> Option<Vec<PeerKey>> {
    Routes::relays(core.me, net, to, avoid)
}

/// Queues a frame for the next hop; whether its lane had room. What came from one neighbour takes turns
/// with what came from others, and with the messages of groups.
fn pass_on(
    core: &mut Core,
    net: &mut Overlay,
    next: PeerKey,
    incoming: PeerKey,
    routed: Routed,
) -> bool {
    let Some(link) = net.link_to(next) else {
        return false;
    };
    let lane = Priority::of(routed.class());
    // Nobody settles entries of this flow, so none of it is withdrawn.
    let contents = FrameContents {
        flow: flow_of(incoming),
        part: 0,
        last: u64::MAX,
    };
    let frame = Frame::from(routed);
    let chunks = frame.encode_with(&core.frame_ext());
    let taken = net.enqueue(core, link, lane, Some(contents), chunks);
    if taken {
        core.counts.sent(frame.kind());
    }
    taken
}

/// What one neighbour sends. Flows of groups begin with a group's id, which is a hash.
fn flow_of(incoming: PeerKey) -> FlowId {
    let mut bytes = [0; 48];
    bytes[16..].copy_from_slice(&incoming.0);
    FlowId(bytes)
}

#[cfg(test)]
pub(crate) mod tests;
