//! The engine: one peer, driven from outside.
//!
//! This file holds the state and the way in and out; what happens in between stands in the
//! rooms: `links`, `database`, `group`. Each of them adds its own methods to [`Engine`].

mod calls;
mod control;
mod counts;
mod growth;
mod happened;
mod query;
mod timers;
mod view;
mod warm;

pub(crate) use control::HOLDERS;
pub(crate) use happened::OverlayEvent;
pub(crate) use view::View;
pub use warm::{WarmChoice, WarmDatabase, WarmLink};

use crate::config::Config;
use crate::database::{Adverts, Candidates, Database, Epochs, OwnRecord, RecordSync, first_epoch};
use crate::group::{
    Acknowledging, Charges, Evidence, Forks, Group, OwnLog, Probes, Proving, Remotes, Verifying,
};
use crate::identity::{Keypair, PeerKey};
use crate::io::{Action, Event, Input, LinkEnd, LinkId, Persist, PersistId, VerifyId};
use crate::links::{Chooser, Dialer, Guard, Link, Shunned, Stage, Twins, Uplink};
use crate::memo::Memo;
use crate::name::GroupId;
use crate::network_time::Clocks;
use crate::time::{Micros, Time};
use crate::wire::{Frame, WireError};
use bytes::Bytes;
use counts::Counts;
use hedgerow_topology::Class;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// One peer.
///
/// Every mutation is followed by draining [`Engine::poll_action`] until `None`; then
/// [`Engine::poll_timeout`] says when [`Engine::handle_timeout`] is due. Calls take the time
/// as an argument; it must not go back. Nothing in here panics on what came from outside.
pub struct Engine {
    pub(crate) me: PeerKey,
    pub(crate) keypair: Keypair,
    pub(crate) config: Config,
    pub(crate) network_hash: [u8; 16],
    pub(crate) rng: ChaCha12Rng,
    pub(crate) memo: Memo,
    pub(crate) now: Time,
    pub(crate) actions: VecDeque<Action>,
    pub(crate) counts: Counts,

    pub(crate) links: BTreeMap<LinkId, Link>,
    /// The link that is up to each neighbour.
    pub(crate) up: BTreeMap<PeerKey, LinkId>,
    pub(crate) dialer: Dialer,
    pub(crate) chooser: Chooser,
    pub(crate) uplink: Uplink,
    pub(crate) shunned: Shunned,
    pub(crate) clocks: Clocks,
    pub(crate) twins: Twins,
    pub(crate) guard: Guard,

    pub(crate) database: Database,
    pub(crate) own: OwnRecord,
    pub(crate) epochs: Epochs,
    pub(crate) sync: RecordSync,
    pub(crate) candidates: Candidates,
    pub(crate) view: View,
    /// What the record is to say of groups, and whether that has changed.
    pub(crate) adverts: Adverts,
    pub(crate) adverts_changed: bool,
    /// By how many steps the cost of links to peers is raised, where it is.
    pub(crate) surcharges: BTreeMap<PeerKey, u32>,
    /// What has happened and was not told yet.
    pub(crate) events: VecDeque<OverlayEvent>,

    pub(crate) groups: BTreeMap<GroupId, Group>,
    /// What neighbours are and hold in groups.
    pub(crate) remotes: Remotes,
    pub(crate) verifying: Verifying,
    pub(crate) acknowledging: Acknowledging,
    pub(crate) forks: Forks,
    pub(crate) probes: Probes,
    pub(crate) proving: Proving,
    pub(crate) evidence: Evidence,
    /// Where this peer's seqs ended in groups that are closed, in this epoch.
    pub(crate) finished: BTreeMap<GroupId, OwnLog>,
    pub(crate) charges: Charges,
    /// Groups whose publisher was told `Busy`, and for messages of which class.
    pub(crate) busy: BTreeSet<(GroupId, Class)>,
    /// Whether one of those waits for memory.
    pub(crate) starved: bool,
    /// Links that are to be read slowly, for what comes on them cannot be passed on as fast.
    pub(crate) slowed: BTreeSet<LinkId>,
    /// Groups with fragments that wait to be released.
    pub(crate) outboxes: BTreeSet<GroupId>,
    /// Origins proven to equivocate, with the epoch.
    pub(crate) cut_off: BTreeMap<PeerKey, u64>,
    /// Bytes of entries held over all groups.
    pub(crate) held_bytes: usize,
    /// Of those, bytes handed over and retained for others.
    pub(crate) retained_bytes: usize,

    pub(crate) stopping: Option<Stopping>,
    /// When leaving looks again.
    pub(crate) leave_check: Option<Micros>,
    /// When `handle_timeout` is due.
    deadline: Option<Micros>,
    next_verify: u64,
    next_persist: u64,
}

/// Chunks from here on are taken for bulk that flows.
const BULK_BYTES: usize = 1 << 10;

/// What a signature is checked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    Bundle,
    Record,
    Acknowledgement,
    Fork,
    Proof,
    Baseline,
}

impl Checked {
    /// It stands in so many bits of a check's name.
    const BITS: u32 = 3;
    const ALL: [Self; 6] = [
        Self::Bundle,
        Self::Record,
        Self::Acknowledgement,
        Self::Fork,
        Self::Proof,
        Self::Baseline,
    ];

    fn of(id: VerifyId) -> Option<Self> {
        let number = id.0 & ((1 << Self::BITS) - 1);
        Self::ALL.into_iter().find(|what| *what as u64 == number)
    }
}

/// How far leaving has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopping {
    /// Forwarding on until neighbours confirm, at most until then.
    Leaving(Micros),
    /// Done.
    Stopped,
}

impl Engine {
    /// A peer with this identity. `rng_seed` decides every random choice it will make. The
    /// configuration should have passed [`Config::check`].
    pub fn new(identity: Keypair, config: Config, rng_seed: [u8; 32], now: Time) -> Self {
        Self::with_memo(identity, config, rng_seed, now, Memo::default())
    }

    /// The same with a cache that other engines share.
    pub fn with_memo(
        identity: Keypair,
        config: Config,
        rng_seed: [u8; 32],
        now: Time,
        memo: Memo,
    ) -> Self {
        let me = identity.peer();
        let network_hash = config.network.hash();
        let mut rng = ChaCha12Rng::from_seed(rng_seed);
        let former = config.last_epoch;
        let epoch = first_epoch(now.wall_ms, former);
        let mut engine = Self {
            me,
            keypair: identity,
            network_hash,
            memo,
            now,
            actions: VecDeque::new(),
            counts: Counts::default(),
            links: BTreeMap::new(),
            up: BTreeMap::new(),
            dialer: Dialer::new(config.bootstrap.clone()),
            chooser: Chooser::new(rng.next_u64()),
            uplink: Uplink::new(&config.links),
            shunned: Shunned::default(),
            twins: Twins::default(),
            clocks: Clocks::default(),
            guard: Guard::default(),
            database: Database::new(&config, now.mono),
            own: OwnRecord::new(
                epoch,
                config.addresses.clone(),
                config.links.capacity,
                now.mono,
            ),
            epochs: Epochs::default(),
            sync: RecordSync::default(),
            candidates: Candidates::default(),
            view: View::default(),
            adverts: Adverts::default(),
            adverts_changed: false,
            surcharges: BTreeMap::new(),
            events: VecDeque::new(),
            groups: BTreeMap::new(),
            remotes: Remotes::default(),
            verifying: Verifying::default(),
            acknowledging: Acknowledging::default(),
            forks: Forks::default(),
            probes: Probes::default(),
            proving: Proving::default(),
            evidence: Evidence::default(),
            finished: BTreeMap::new(),
            charges: Charges::default(),
            busy: BTreeSet::new(),
            starved: false,
            slowed: BTreeSet::new(),
            outboxes: BTreeSet::new(),
            cut_off: BTreeMap::new(),
            held_bytes: 0,
            retained_bytes: 0,
            stopping: None,
            leave_check: None,
            deadline: Some(now.mono),
            next_verify: 0,
            next_persist: 0,
            rng,
            config,
        };
        engine.store_first_epoch(former);
        engine.issue_record();
        engine.refresh_view();
        engine.open_broadcast();
        engine.settle();
        engine
    }

    /// Who this is.
    pub fn peer(&self) -> PeerKey {
        self.me
    }

    /// The next thing to do. Drain until `None` after every call.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Engine::handle_timeout`] is due next; one deadline, whatever runs inside. The wall
    /// part is what the last call's clock would show then.
    pub fn poll_timeout(&self) -> Option<Time> {
        let deadline = self.deadline?;
        let ahead_ms = deadline.since(self.now.mono).as_millis();
        Some(Time {
            mono: deadline,
            wall_ms: self.now.wall_ms.saturating_add(ahead_ms),
        })
    }

    /// Takes in what happened outside.
    pub fn handle_input(&mut self, now: Time, input: Input) {
        self.advance(now);
        if self.stopping == Some(Stopping::Stopped) {
            return;
        }
        match input {
            Input::Linked {
                link,
                peer,
                dial,
                address,
            } => self.on_linked(link, peer, dial, address),
            Input::LinkLost { link } => self.on_link_lost(link, LinkEnd::Transport),
            Input::DialFailed { dial } => self.on_dial_failed(dial),
            Input::Bytes { link, bytes } => self.on_bytes(link, bytes),
            Input::Sent { link, bytes } => {
                if self.on_sent(link, bytes) {
                    self.on_room();
                }
            }
            Input::Verified { id, valid } => self.on_verified(id, valid),
            Input::Persisted { id } => self.on_persisted(id),
            Input::Addresses(addresses) => self.on_addresses(addresses),
            Input::Discovered(addresses) => self.on_discovered(addresses),
        }
        self.settle();
    }

    /// Takes note of the time. An engine that was not called for long slept: its silence clocks
    /// start anew, for it is not the others who were silent.
    pub(crate) fn advance(&mut self, now: Time) {
        let stall = Micros::from_millis(self.config.links.stall_ms);
        let mono = now.mono.max(self.now.mono);
        let expected = self.deadline.unwrap_or(mono).max(self.now.mono);
        if mono.since(expected) > stall {
            self.count("stalls");
            for link in self.links.values_mut() {
                link.heard = mono;
            }
        }
        self.now = Time {
            mono,
            wall_ms: now.wall_ms,
        };
    }

    fn on_bytes(&mut self, id: LinkId, bytes: Bytes) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.bytes[0] += bytes.len() as u64;
        link.heard = self.now.mono;
        if link.decoder.partial_bytes() > 0 || bytes.len() >= BULK_BYTES {
            link.bulk_heard = self.now.mono;
        }
        link.decoder.push(bytes);
        loop {
            let Some(link) = self.links.get_mut(&id) else {
                return;
            };
            if link.stage == Stage::Closing {
                return;
            }
            match link
                .decoder
                .next_frame()
                .and_then(|raw| raw.map(Frame::decode_with).transpose())
            {
                Ok(Some(Some((frame, ext)))) => {
                    self.count_unknown_fields(ext.unknown_to(self.knows_next()));
                    self.on_frame(id, frame);
                    self.settle();
                }
                Ok(Some(None)) => self.count("frames_unknown"),
                Ok(None) => return,
                Err(error) => return self.on_malformed(id, &error),
            }
        }
    }

    /// What came on a link can only be made or passed on by a peer that breaks the rules.
    pub(crate) fn on_malformed(&mut self, id: LinkId, error: &WireError) {
        if let Some(link) = self.links.get(&id) {
            let peer = link.peer;
            self.on_offence(id, peer, error);
        }
    }

    /// The same where the link may have ended meanwhile. Only for what docs/design/penalties.md
    /// lists: what an honest peer may have passed on is dropped and counted.
    pub(crate) fn on_offence(&mut self, id: LinkId, peer: PeerKey, error: &WireError) {
        tracing::warn!(%peer, %error, "the peer breaks the rules, closing its links");
        self.count("frames_malformed");
        self.shun(peer);
        self.close_link(id, LinkEnd::Malformed);
        let links = self.links.values().filter(|link| link.peer == peer);
        for other in links.map(|link| link.id).collect::<Vec<_>>() {
            self.close_link(other, LinkEnd::Shunned);
        }
    }

    /// A signature that came on `id` is not its signer's, and nobody honest passes on what they
    /// have not checked.
    pub(crate) fn on_forgery(&mut self, id: LinkId, peer: PeerKey, what: &'static str) {
        let why = "bad signature";
        self.on_offence(id, peer, &WireError::Invalid { what, why });
    }

    fn on_frame(&mut self, id: LinkId, frame: Frame) {
        let Some(stage) = self.links.get(&id).map(|link| link.stage) else {
            return;
        };
        self.counts.received(frame.kind());
        match (stage, frame) {
            (Stage::Handshake, Frame::Hello(hello)) => self.on_hello(id, hello),
            // Whoever gives a second connection up says so before any hello.
            (Stage::Handshake, Frame::Bye(bye)) => self.on_bye(id, &bye),
            (Stage::Handshake, _) => self.on_frame_out_of_turn(id),
            (stage, frame) => self.on_frame_after_hello(id, stage == Stage::Up, frame),
        }
    }

    fn on_frame_out_of_turn(&mut self, id: LinkId) {
        let error = WireError::Invalid {
            what: "frame",
            why: "out of turn",
        };
        self.on_malformed(id, &error);
    }

    /// Every kind stands here: one that is added and not handled does not compile.
    fn on_frame_after_hello(&mut self, id: LinkId, is_up: bool, frame: Frame) {
        match frame {
            Frame::Hello(_) => self.on_frame_out_of_turn(id),
            Frame::Bye(bye) => self.on_bye(id, &bye),
            Frame::Refuse(refuse) => self.on_refuse(id, refuse),
            Frame::Heartbeat(heartbeat) => self.on_heartbeat(id, heartbeat),
            Frame::Wants(wants) => self.on_wants(id, wants.wants),
            Frame::Records(records) => self.on_records(id, records.records),
            Frame::RecordDeltas(frame) => self.on_record_deltas(id, frame.deltas),
            Frame::RecordAnnounce(announce) => self.on_record_announce(id, announce.names),
            Frame::RecordPull(pull) => self.on_record_pull(id, &pull.prefixes),
            Frame::Buckets(buckets) => self.on_buckets(id, buckets),
            Frame::BucketRecords(frame) => self.on_bucket_records(id, frame),
            // Whatever follows is for those whose link is up.
            _ if !is_up => self.count("frames_from_visitors"),
            Frame::Bundle(bundle, payload) => self.on_bundle(id, bundle, payload),
            Frame::Subscribe(subscribe) => self.on_subscribe(id, subscribe),
            Frame::Baseline(baseline) => self.on_baseline(id, baseline),
            Frame::Digest(digest) => self.on_digest(id, digest),
            Frame::Pull(pull) => self.on_pull(id, pull),
            Frame::NotHeld(not_held) => self.on_not_held(id, not_held),
            Frame::AskProof(ask) => self.on_ask_proof(id, &ask),
            Frame::Proof(proof) => self.on_proof(id, proof),
            Frame::OriginRefused(refused) => self.on_origin_refused(id, &refused),
            Frame::Acknowledge(acknowledge) => self.on_acknowledge(id, acknowledge),
            Frame::AskAcknowledge(ask) => self.on_ask_acknowledge(id, &ask),
            Frame::Fork(fork) => self.on_fork(id, fork),
            Frame::Probe(probe) => self.on_probe(id, probe),
            Frame::ProbeAnswer(answer) => self.on_probe_answer(id, answer),
        }
    }

    /// Sees to it that `handle_timeout` is due no later than `at`.
    pub(crate) fn wake_at(&mut self, at: Micros) {
        self.deadline = Some(self.deadline.map_or(at, |deadline| deadline.min(at)));
    }

    /// So many milliseconds from now.
    pub(crate) fn in_ms(&self, ms: u64) -> Micros {
        self.now.mono + Micros::from_millis(ms)
    }

    /// A random time between `low_ms` and `high_ms` from now.
    pub(crate) fn in_random_ms(&mut self, low_ms: u64, high_ms: u64) -> Micros {
        let span = high_ms.saturating_sub(low_ms).saturating_mul(1_000).max(1);
        let offset = self.rng.next_u64() % span;
        self.now.mono + Micros(low_ms.saturating_mul(1_000) + offset)
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.actions.push_back(Action::Event(event));
    }

    pub(crate) fn persist(&mut self, what: Persist) -> PersistId {
        let id = PersistId(self.next_persist);
        self.next_persist += 1;
        self.actions.push_back(Action::Persist { id, what });
        id
    }

    /// Names a check. The name says what is checked, so that the answer finds its way.
    pub(crate) fn next_verify_id(&mut self, what: Checked) -> VerifyId {
        self.next_verify += 1;
        VerifyId(self.next_verify << Checked::BITS | what as u64)
    }

    fn on_verified(&mut self, id: VerifyId, valid: bool) {
        match Checked::of(id) {
            Some(Checked::Bundle) => self.on_bundle_verified(id, valid),
            Some(Checked::Record) => self.on_record_verified(id, valid),
            Some(Checked::Acknowledgement) => self.on_acknowledgement_verified(id, valid),
            Some(Checked::Fork) => self.on_fork_verified(id, valid),
            Some(Checked::Proof) => self.on_proof_verified(id, valid),
            Some(Checked::Baseline) => self.on_baseline_verified(id, valid),
            // The engine has asked for no such check.
            None => {}
        }
    }
}
