//! Echo: a request to one peer, and the answer with its number. `Engine::ping` asks.

use super::{Cx, Module, Protocol};
use crate::base::identity::PeerKey;
use crate::base::interface::{Event, LinkId, VerifyId};
use crate::base::time::Micros;
use crate::multicast::MulticastEvent;
use crate::overlay::links::OverlayEvent;
use crate::unicast::{Arrived, Outgoing, Unsent, relays};
use crate::wire::routed::{AVOID_MAX, Echo};
use hedgerow_topology::Class;
use rand_chacha::rand_core::Rng;
use std::collections::{BTreeMap, VecDeque};

/// Pings of this peer that wait for their answers.
const OWN_MAX: usize = 256;
/// A request that is not answered is sent again after so long, ms: a frame is lost with its link, and
/// views follow within a few seconds.
const RESEND_MS: u64 = 1_000;
/// So often a request is sent: three times along the path, then around the relays of at least one path
/// of four, five times, which is longer than views take to show a crash.
const SENDS: usize = 8;
/// After so many unanswered requests the relays of the path are avoided.
const SENDS_ALONG: usize = 3;
/// Requests answered per second that came on one link; more are dropped.
const ANSWERS_PER_SECOND: u32 = 100;

/// Why a ping was not sent. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PingError {
    /// The peer is not in the view.
    #[error("{0} is not in this peer's view of the network")]
    UnknownPeer(PeerKey),
    /// The peer is this one.
    #[error("a peer cannot ping itself")]
    OwnPeer,
    /// As many pings as may wait for answers do so.
    #[error("{OWN_MAX} pings wait for their answers: try again when some have ended")]
    TooMany,
}

/// A ping of this peer.
#[derive(Debug)]
struct Ping {
    peer: PeerKey,
    /// The numbers on the wire of its requests, and when each was sent.
    sent: Vec<(u64, Micros)>,
    /// When it is sent again or lost.
    next: Micros,
    /// Relays of a path that did not lead to an answer, which were not avoided yet.
    suspects: VecDeque<PeerKey>,
    avoid: Vec<PeerKey>,
}

/// Pings of this peer, and how many requests of others were answered this second.
#[derive(Debug, Default)]
pub(crate) struct Echoes {
    last: u64,
    pings: BTreeMap<u64, Ping>,
    second: u64,
    answered: BTreeMap<LinkId, u32>,
}

impl Module for Echoes {
    fn on_overlay(&mut self, _: &mut Cx<'_>, _: &OverlayEvent) {}

    fn on_multicast(&mut self, _: &mut Cx<'_>, _: &MulticastEvent) {}

    fn on_verified(&mut self, _: &mut Cx<'_>, _: VerifyId, _: bool) {}

    fn on_timeout(&mut self, cx: &mut Cx<'_>) {
        let now = cx.core.now.mono;
        let due = self.pings.iter().filter(|(_, ping)| ping.next <= now);
        for number in due.map(|(number, _)| *number).collect::<Vec<_>>() {
            let Some(ping) = self.pings.get_mut(&number) else {
                continue;
            };
            if ping.sent.len() >= SENDS {
                let peer = ping.peer;
                self.pings.remove(&number);
                let ping = number;
                cx.core.event(Event::PingLost { ping, peer });
                continue;
            }
            cx.core.count(counter!("echoes_repeated"));
            if ping.sent.len() >= SENDS_ALONG {
                ping.suspect_next(cx);
            }
            ping.send(cx);
        }
    }

    fn next_timeout(&self) -> Option<Micros> {
        self.pings.values().map(|ping| ping.next).min()
    }
}

impl Ping {
    /// Avoids the relays of the path that the last request took, four at a time, one path after another.
    fn suspect_next(&mut self, cx: &Cx<'_>) {
        let relays = |avoid: &[PeerKey]| relays(cx.core, cx.net, self.peer, avoid);
        if self.suspects.is_empty() {
            self.suspects = relays(&self.avoid).unwrap_or_default().into();
        }
        let next = self.suspects.len().min(AVOID_MAX);
        let mut avoid: Vec<PeerKey> = self.suspects.drain(..next).collect();
        // Where no path is left without all of them, the last ones are trusted.
        while !avoid.is_empty() && relays(&avoid).is_none() {
            avoid.pop();
        }
        self.avoid = avoid;
    }

    /// Sends a request under a number of its own, so that the answer tells how long it took. Numbers are
    /// random: a peer that did not see the request cannot answer it.
    fn send(&mut self, cx: &mut Cx<'_>) {
        let number = cx.core.rng.next_u64();
        self.sent.push((number, cx.core.now.mono));
        self.next = cx.core.in_ms(RESEND_MS);
        cx.core.wake_at(self.next);
        let echo = Echo {
            answer: false,
            number,
        };
        // What could not be sent is counted there, and sent again like what was lost.
        let _ = send(cx, self.peer, self.avoid.clone(), echo);
    }
}

impl Echoes {
    /// Sends a ping; gives its number.
    pub(crate) fn begin(&mut self, cx: &mut Cx<'_>, peer: PeerKey) -> Result<u64, PingError> {
        if peer == cx.core.me {
            return Err(PingError::OwnPeer);
        }
        if !cx.net.is_in_view(peer) && !cx.net.is_linked(peer) {
            return Err(PingError::UnknownPeer(peer));
        }
        if self.pings.len() >= OWN_MAX {
            return Err(PingError::TooMany);
        }
        let mut ping = Ping {
            peer,
            sent: Vec::new(),
            next: cx.core.now.mono,
            suspects: VecDeque::new(),
            avoid: Vec::new(),
        };
        ping.send(cx);
        self.last += 1;
        self.pings.insert(self.last, ping);
        Ok(self.last)
    }

    /// A frame of this protocol has come.
    pub(crate) fn on_arrived(&mut self, cx: &mut Cx<'_>, arrived: Arrived) {
        let Ok((echo, ext)) = Echo::decode_with(&arrived.body) else {
            // Relayed, so nobody is punished for it.
            cx.core.count(counter!("echoes_unreadable"));
            return;
        };
        let unknown = ext.unknown_to(cx.core.knows_next());
        cx.core.count_unknown_fields(unknown);
        if echo.answer {
            self.on_answer(cx, &arrived, echo.number);
        } else {
            self.on_request(cx, arrived, echo.number);
        }
    }

    fn on_request(&mut self, cx: &mut Cx<'_>, arrived: Arrived, number: u64) {
        if !self.may_answer(cx.core.now.mono, arrived.link) {
            cx.core.count(counter!("echoes_dropped"));
            return;
        }
        let echo = Echo {
            answer: true,
            number,
        };
        // A request that avoids peers was lost on its way or on the way back.
        let _ = send(cx, arrived.from, arrived.avoid, echo);
    }

    fn may_answer(&mut self, now: Micros, link: LinkId) -> bool {
        let second = now.0 / 1_000_000;
        if self.second != second {
            self.second = second;
            self.answered.clear();
        }
        let answered = self.answered.entry(link).or_default();
        *answered += 1;
        *answered <= ANSWERS_PER_SECOND
    }

    fn on_answer(&mut self, cx: &mut Cx<'_>, arrived: &Arrived, number: u64) {
        let asked = self.pings.iter().find_map(|(ping, it)| {
            let (_, sent) = it.sent.iter().find(|(sent, _)| *sent == number)?;
            (it.peer == arrived.from).then_some((*ping, *sent))
        });
        let Some((ping, sent)) = asked else {
            cx.core.count(counter!("echoes_unasked"));
            return;
        };
        self.pings.remove(&ping);
        cx.core.event(Event::Pong {
            ping,
            peer: arrived.from,
            round_trip_us: cx.core.now.mono.since(sent).0,
            hops: arrived.hops,
        });
    }
}

fn send(cx: &mut Cx<'_>, to: PeerKey, avoid: Vec<PeerKey>, echo: Echo) -> Result<(), Unsent> {
    let frame = Outgoing {
        to,
        class: Class::Normal,
        avoid,
        protocol: Protocol::Echo.number(),
        body: echo.encode(),
    };
    cx.unicast.send(cx.core, cx.net, frame)
}

#[cfg(test)]
mod tests;
