//! The engine: one peer, driven from outside.
//!
//! This file is the way in and out. It owns the parts ([`Overlay`], [`Multicast`], the patterns) and lends
//! each what it may use while it is called; what happens in between stands in their folders.

/// What groups are called with.
macro_rules! cx {
    ($engine:ident) => {
        $crate::multicast::Cx {
            core: &mut $engine.core,
            net: &mut $engine.net,
        }
    };
}

/// The same, to look only.
macro_rules! cx_ref {
    ($engine:ident) => {
        $crate::multicast::CxRef {
            core: &$engine.core,
            net: &$engine.net,
        }
    };
}

/// What patterns are called with.
macro_rules! pattern_cx {
    ($engine:ident) => {
        $crate::patterns::Cx {
            core: &mut $engine.core,
            net: &mut $engine.net,
            multicast: &mut $engine.multicast,
            unicast: &mut $engine.unicast,
        }
    };
}

mod calls;
mod happened;
mod query;
mod shutdown;
mod timers;
#[cfg(feature = "warm")]
mod warm;

#[cfg(feature = "warm")]
pub use warm::{WarmChoice, WarmDatabase, WarmLink};

use crate::base::identity::{Keypair, PeerKey};
use crate::base::interface::{Action, Input, LinkEnd, LinkId, VerifyId};
use crate::base::store::{BatchId, Namespace, StoreError, Stored};
use crate::base::time::{Micros, Time};
use crate::core::config::Config;
use crate::core::{Checked, Core, Stopping};
use crate::multicast::Multicast;
use crate::overlay::Overlay;
use crate::overlay::cache::SharedCache;
use crate::overlay::links::Stage;
use crate::overlay::records::{first_epoch, stored_epoch};
use crate::patterns::{Module as _, Patterns, Protocol};
use crate::unicast::{Arrived, Unicast};
use crate::wire::{Frame, WireError};
use bytes::Bytes;

/// One peer.
///
/// Every mutation is followed by draining [`Engine::poll_action`] until `None`; then
/// [`Engine::poll_timeout`] says when [`Engine::handle_timeout`] is due. Calls take the time
/// as an argument; it must not go back. Nothing in here panics on what came from outside.
pub struct Engine {
    core: Core,
    net: Overlay,
    multicast: Multicast,
    unicast: Unicast,
    patterns: Patterns,
    /// When leaving looks again.
    leave_check: Option<Micros>,
}

impl Engine {
    /// A peer with this identity that has stored nothing yet. `rng_seed` decides every random choice
    /// it will make. The configuration should have passed [`Config::check`].
    pub fn new(identity: Keypair, config: Config, rng_seed: [u8; 32], now: Time) -> Self {
        let (stored, cache) = (Stored::default(), SharedCache::default());
        Self::restored(identity, config, rng_seed, now, &stored, cache)
    }

    /// The same with what its former lives have stored, and a cache that other engines may share.
    pub fn restored(
        identity: Keypair,
        config: Config,
        rng_seed: [u8; 32],
        now: Time,
        stored: &Stored,
        cache: SharedCache,
    ) -> Self {
        let former = stored_epoch(stored);
        let epoch = first_epoch(now.wall_ms, former);
        let mut core = Core::new(identity, config, rng_seed, now);
        let net = Overlay::new(&mut core, cache, epoch);
        let mut engine = Self {
            core,
            net,
            multicast: Multicast::default(),
            unicast: Unicast::default(),
            patterns: Patterns::default(),
            leave_check: None,
        };
        engine.net.store_first_epoch(&mut engine.core, former);
        engine.net.issue_record(&mut engine.core);
        engine.net.refresh_view(&mut engine.core);
        engine.multicast.open_broadcast(&mut cx!(engine));
        engine.settle();
        engine
    }

    /// The epoch of the last life among what it stored; 0 where there was none.
    pub fn last_epoch(stored: &Stored) -> u64 {
        stored_epoch(stored)
    }

    /// Who this is.
    pub fn peer(&self) -> PeerKey {
        self.core.me
    }

    /// The next thing to do. Drain until `None` after every call.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.core.actions.pop_front()
    }

    /// When [`Engine::handle_timeout`] is due next; one deadline, whatever runs inside. The wall
    /// part is what the last call's clock would show then.
    pub fn poll_timeout(&self) -> Option<Time> {
        let deadline = self.core.deadline?;
        let ahead_ms = deadline.since(self.core.now.mono).as_millis();
        Some(Time {
            mono: deadline,
            wall_ms: self.core.now.wall_ms.saturating_add(ahead_ms),
        })
    }

    /// Takes in what happened outside.
    pub fn handle_input(&mut self, now: Time, input: Input) {
        self.advance(now);
        if self.core.stopping == Some(Stopping::Stopped) {
            return;
        }
        match input {
            Input::Linked {
                link,
                peer,
                dial,
                address,
            } => self
                .net
                .on_linked(&mut self.core, link, peer, dial, address),
            Input::LinkLost { link } => {
                self.net
                    .on_link_lost(&mut self.core, link, LinkEnd::Transport);
            }
            Input::DialFailed { dial } => self.net.on_dial_failed(&mut self.core, dial),
            Input::Bytes { link, bytes } => self.on_bytes(link, bytes),
            Input::Sent { link, bytes } => {
                if self.net.on_sent(&mut self.core, link, bytes) {
                    self.multicast.on_room(&mut cx!(self));
                }
                self.multicast.on_written(&mut cx!(self), link);
            }
            Input::Verified { id, valid } => self.on_verified(id, valid),
            Input::Stored { batch, result } => self.on_stored(batch, result),
            Input::Addresses(addresses) => self.net.on_addresses(&mut self.core, addresses),
            Input::Discovered(addresses) => self.net.on_discovered(&mut self.core, addresses),
        }
        self.settle();
    }

    /// Takes note of the time. An engine that was not called for long slept: its silence clocks
    /// start anew, for it is not the others who were silent.
    pub(crate) fn advance(&mut self, now: Time) {
        let stall = Micros::from_millis(self.core.config.links.stall_ms);
        let mono = now.mono.max(self.core.now.mono);
        let expected = self.core.deadline.unwrap_or(mono).max(self.core.now.mono);
        if mono.since(expected) > stall {
            self.core.count(counter!("stalls"));
            self.net.excuse_silence(mono);
        }
        self.core.now = Time {
            mono,
            wall_ms: now.wall_ms,
        };
    }

    fn on_bytes(&mut self, id: LinkId, bytes: Bytes) {
        self.net.on_bytes(&self.core, id, bytes);
        loop {
            let Some(link) = self.net.link_mut(id) else {
                return;
            };
            match link
                .next_frame()
                .and_then(|raw| raw.map(Frame::decode_with).transpose())
            {
                Ok(Some(Some((frame, ext)))) => {
                    self.core
                        .count_unknown_fields(ext.unknown_to(self.core.knows_next()));
                    self.on_frame(id, frame);
                    self.settle();
                }
                Ok(Some(None)) => self.core.count(counter!("frames_unknown")),
                Ok(None) => return,
                Err(error) => return self.net.on_malformed(&mut self.core, id, &error),
            }
        }
    }

    fn on_frame(&mut self, id: LinkId, frame: Frame) {
        let Some(stage) = self.net.stage(id) else {
            return;
        };
        self.core.counts.received(frame.kind());
        match (stage, frame) {
            (Stage::Handshake, Frame::Hello(hello)) => self.net.on_hello(&mut self.core, id, hello),
            // Whoever gives a second connection up says so before any hello.
            (Stage::Handshake, Frame::Bye(bye)) => self.net.on_bye(&mut self.core, id, &bye),
            (Stage::Handshake, _) => self.on_frame_out_of_turn(id),
            (stage, frame) => self.on_frame_after_hello(id, stage == Stage::Up, frame),
        }
    }

    fn on_frame_out_of_turn(&mut self, id: LinkId) {
        let error = WireError::Invalid {
            what: "frame",
            why: "out of turn",
        };
        self.net.on_malformed(&mut self.core, id, &error);
    }

    /// Every kind stands here: one that is added and not handled does not compile.
    fn on_frame_after_hello(&mut self, id: LinkId, is_up: bool, frame: Frame) {
        match frame {
            Frame::Hello(_) => self.on_frame_out_of_turn(id),
            Frame::Bye(bye) => self.net.on_bye(&mut self.core, id, &bye),
            Frame::Refuse(refuse) => self.net.on_refuse(&mut self.core, id, refuse),
            Frame::Heartbeat(heartbeat) => self.net.on_heartbeat(&mut self.core, id, heartbeat),
            Frame::Wants(wants) => self.net.on_wants(&mut self.core, id, wants.wants),
            Frame::Records(records) => self.net.on_records(&mut self.core, id, records.records),
            Frame::RecordDeltas(frame) => {
                self.net.on_record_deltas(&mut self.core, id, frame.deltas);
            }
            Frame::RecordAnnounce(announce) => {
                self.net
                    .on_record_announce(&mut self.core, id, announce.names);
            }
            Frame::RecordPull(pull) => self.net.on_record_pull(&mut self.core, id, &pull.prefixes),
            Frame::Buckets(buckets) => self.net.on_buckets(&mut self.core, id, buckets),
            Frame::BucketRecords(frame) => self.net.on_bucket_records(&mut self.core, id, frame),
            // Whatever follows is for those whose link is up.
            _ if !is_up => self.core.count(counter!("frames_from_visitors")),
            Frame::Bundle(bundle, payload) => {
                self.multicast
                    .on_bundle(&mut cx!(self), id, bundle, payload);
            }
            Frame::Subscribe(subscribe) => {
                self.multicast.on_subscribe(&mut cx!(self), id, subscribe);
            }
            Frame::Baseline(baseline) => self.multicast.on_baseline(&mut cx!(self), id, baseline),
            Frame::Digest(digest) => self.multicast.on_digest(&mut cx!(self), id, digest),
            Frame::Pull(pull) => self.multicast.on_pull(&mut cx!(self), id, pull),
            Frame::NotHeld(not_held) => self.multicast.on_not_held(&mut cx!(self), id, not_held),
            Frame::AskProof(ask) => self.multicast.on_ask_proof(&mut cx!(self), id, &ask),
            Frame::Proof(proof) => self.multicast.on_proof(&mut cx!(self), id, proof),
            Frame::OriginRefused(refused) => {
                self.multicast
                    .on_origin_refused(&mut cx!(self), id, &refused);
            }
            Frame::Acknowledge(acknowledge) => {
                let acknowledgements = &mut self.patterns.acknowledge;
                acknowledgements.on_acknowledge(&mut pattern_cx!(self), id, acknowledge);
            }
            Frame::AskAcknowledge(ask) => {
                let acknowledgements = &mut self.patterns.acknowledge;
                acknowledgements.on_ask_acknowledge(&mut pattern_cx!(self), id, &ask);
            }
            Frame::Equivocation(equivocation) => {
                self.multicast
                    .on_equivocation(&mut cx!(self), id, equivocation);
            }
            Frame::Probe(probe) => {
                let probes = &mut self.patterns.probe;
                probes.on_probe(&mut pattern_cx!(self), id, probe);
            }
            Frame::ProbeAnswer(answer) => {
                let probes = &mut self.patterns.probe;
                probes.on_probe_answer(&mut pattern_cx!(self), id, answer);
            }
            Frame::Routed(routed) => {
                let arrived = self
                    .unicast
                    .on_routed(&mut self.core, &mut self.net, id, routed);
                if let Some(arrived) = arrived {
                    self.on_arrived(arrived);
                }
            }
        }
    }

    /// Every protocol stands here: one that is added and not handled does not compile.
    fn on_arrived(&mut self, arrived: Arrived) {
        match Protocol::of(arrived.protocol) {
            Some(Protocol::Echo) => {
                let echoes = &mut self.patterns.echo;
                echoes.on_arrived(&mut pattern_cx!(self), arrived);
            }
            None => self.core.count(counter!("routed_protocol_unknown")),
        }
    }

    fn on_verified(&mut self, id: VerifyId, valid: bool) {
        match Checked::of(id) {
            Some(Checked::Bundle) => self.multicast.on_bundle_verified(&mut cx!(self), id, valid),
            Some(Checked::Record) => self.net.on_record_verified(&mut self.core, id, valid),
            Some(Checked::Acknowledgement) => {
                let acknowledgements = &mut self.patterns.acknowledge;
                acknowledgements.on_verified(&mut pattern_cx!(self), id, valid);
            }
            Some(Checked::Equivocation) => {
                self.multicast
                    .on_equivocation_verified(&mut cx!(self), id, valid);
            }
            Some(Checked::Proof) => self.multicast.on_proof_verified(&mut cx!(self), id, valid),
            Some(Checked::Baseline) => {
                self.multicast
                    .on_baseline_verified(&mut cx!(self), id, valid);
            }
            // The engine has asked for no such check.
            None => {}
        }
    }

    /// Tells the module whose batch it is that it is durable. One that failed is asked for again.
    fn on_stored(&mut self, batch: BatchId, result: Result<(), StoreError>) {
        match self.core.on_stored(batch, result) {
            Some(Namespace::Overlay) => self.net.on_stored(&mut self.core, batch),
            // It failed, or was not asked for.
            None => {}
        }
    }
}

#[cfg(test)]
mod access_tests;
