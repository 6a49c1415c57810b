//! The groups of a peer without an engine, for the tests beside the code: a group that the peer has
//! joined, neighbours whose links are up, and origins whose messages are signed.
//!
//! A test calls one function or gives one frame, and compares what comes out: frames by link, events,
//! deliveries, counters. Time passes only where a test says so, and no timer runs by itself.

use super::{BaselineState, Group, LogKey, OriginLog};
use crate::base::interface::{Event, LinkEnd, LinkId, VerifyId};
use crate::base::message::{Delivery, History, JoinOptions};
use crate::base::name::{GroupId, GroupName};
use crate::base::ranges::RangeSet;
use crate::base::status::Role;
use crate::core::config::Config;
use crate::core::{Checked, Core};
use crate::multicast::{Cx, CxRef, Multicast};
use crate::overlay::Overlay;
use crate::overlay::fixture::{Command, Fixture, member_of};
use crate::overlay::links::{Link, OverlayEvent};
use crate::wire::bundle::BundleExt;
use crate::wire::frame::{
    BundleFrame, Digest, DigestEntry, NotHeld, Pull, SignedHeader, Subscribe, Wanted,
};
use crate::wire::{Bundle, BundleHeader, Frame, Record, RecordLink};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};

pub(crate) use crate::overlay::fixture::{EPOCH, ME, WALL_MS, key};

/// Somebody else, who publishes in the life [`EPOCH`].
pub(crate) const ORIGIN: u8 = 9;
/// The life of this peer.
pub(crate) const OWN_EPOCH: u64 = WALL_MS;

/// The log of an origin.
pub(crate) fn log_key(origin: u8) -> LogKey {
    (key(origin).peer(), EPOCH)
}

pub(crate) fn news() -> GroupName {
    GroupName::new("news").expect("valid")
}

pub(crate) fn ranges(of: &[(u64, u64)]) -> RangeSet {
    RangeSet::try_from(of.to_vec()).expect("ascending")
}

/// What is asked for of an origin's log.
pub(crate) fn wanted(origin: u8, of: &[(u64, u64)]) -> Wanted {
    Wanted {
        origin: key(origin).peer(),
        epoch: EPOCH,
        ranges: ranges(of),
    }
}

/// An origin's log as a neighbour holds it.
pub(crate) fn held(origin: u8, floor: u64, settled: u64, above: &[(u64, u64)]) -> DigestEntry {
    DigestEntry {
        origin: key(origin).peer(),
        epoch: EPOCH,
        floor,
        settled,
        above: ranges(above),
    }
}

pub(crate) fn signed_header(bundle: &Bundle) -> SignedHeader {
    SignedHeader {
        signed: bundle.signed.clone(),
        signature: bundle.signature,
    }
}

/// A bundle as it travels.
pub(crate) fn bundle_frame(bundle: &Bundle, hops: u16, pulled: bool) -> Frame {
    let frame = BundleFrame {
        hops,
        pulled,
        signed: bundle.signed.clone(),
        signature: bundle.signature,
    };
    Frame::Bundle(frame, bundle.payload.clone())
}

/// A bundle with this header and a payload that has the length it states.
pub(crate) fn sign(origin: u8, header: BundleHeader) -> Bundle {
    let bytes: u32 = header.lengths.iter().sum();
    Bundle::sign(header, vec![b'x'; bytes as usize].into(), &key(origin))
}

/// A peer that groups are tested at.
pub(crate) struct Peer {
    below: Fixture,
    pub(crate) multicast: Multicast,
    /// The group `news`.
    pub(crate) id: GroupId,
    /// Whether signatures are checked only by [`Self::check`].
    pub(crate) checks_wait: bool,
    /// Whether the transport writes only what [`Self::write`] tells it to.
    pub(crate) writes_wait: bool,
    /// Checks that wait, and what each will give.
    pub(crate) waiting: Vec<(VerifyId, bool)>,
    pub(crate) events: Vec<Event>,
    pub(crate) delivered: Vec<Delivery>,
    /// Links that were closed here.
    pub(crate) closed: Vec<LinkId>,
    /// Links that are to tell when they have written.
    pub(crate) awaited: Vec<LinkId>,
    /// Links that are to be read more slowly.
    pub(crate) slowed: Vec<LinkId>,
    /// For patterns: what has happened in the overlay, and checks that they have asked for.
    pub(crate) happened: Vec<OverlayEvent>,
    pub(crate) for_patterns: Vec<(VerifyId, bool)>,
    heard: BTreeMap<LinkId, Vec<Frame>>,
    /// The version of the records that [`Self::see`] made last.
    records: u64,
}

impl Deref for Peer {
    type Target = Fixture;

    fn deref(&self) -> &Fixture {
        &self.below
    }
}

impl DerefMut for Peer {
    fn deref_mut(&mut self) -> &mut Fixture {
        &mut self.below
    }
}

impl Multicast {
    /// Whether what a neighbour is in a group is kept.
    pub(crate) fn remembers(&self, link: LinkId, id: GroupId) -> bool {
        self.remotes.get(link, id).is_some()
    }
}

impl Peer {
    /// In no group, and without neighbours.
    pub(crate) fn new(config: Config) -> Self {
        let id = GroupId::new(&config.network, &news());
        let below = Fixture::with(config);
        assert_eq!(below.net.epoch(), OWN_EPOCH);
        Self {
            below,
            multicast: Multicast::default(),
            id,
            checks_wait: false,
            writes_wait: false,
            waiting: Vec::new(),
            events: Vec::new(),
            delivered: Vec::new(),
            closed: Vec::new(),
            awaited: Vec::new(),
            slowed: Vec::new(),
            happened: Vec::new(),
            for_patterns: Vec::new(),
            heard: BTreeMap::new(),
            records: 1,
        }
    }

    /// A member that has joined and waits for its baseline.
    pub(crate) fn joiner(history: History) -> Self {
        let mut peer = Self::new(Config::default());
        let options = JoinOptions {
            history,
            ..JoinOptions::default()
        };
        let joined = peer.call(|groups, cx| groups.join_group(cx, news(), options));
        joined.expect("joins");
        peer
    }

    /// A member to which everything is due.
    pub(crate) fn member() -> Self {
        Self::member_with(Config::default())
    }

    pub(crate) fn member_with(config: Config) -> Self {
        let mut peer = Self::new(config);
        let options = JoinOptions::default();
        let joined = peer.call(|groups, cx| groups.join_group(cx, news(), options));
        joined.expect("joins");
        let id = peer.id;
        peer.group_mut().baseline = BaselineState::Taken;
        peer.call(|groups, cx| groups.baseline_reached(cx, id, true));
        peer.events.clear();
        peer
    }

    /// Calls what is tested, and takes what comes out.
    pub(crate) fn call<T>(&mut self, what: impl FnOnce(&mut Multicast, &mut Cx<'_>) -> T) -> T {
        let mut cx = Cx {
            core: &mut self.below.core,
            net: &mut self.below.net,
        };
        let result = what(&mut self.multicast, &mut cx);
        self.settle();
        result
    }

    /// The same for what only looks.
    pub(crate) fn look<T>(&self, what: impl FnOnce(&Multicast, CxRef<'_>) -> T) -> T {
        let cx = CxRef {
            core: &self.below.core,
            net: &self.below.net,
        };
        what(&self.multicast, cx)
    }

    /// A neighbour sends a frame.
    pub(crate) fn say(&mut self, from: LinkId, frame: impl Into<Frame>) {
        let frame = frame.into();
        self.call(|groups, cx| match frame {
            Frame::Bundle(bundle, payload) => groups.on_bundle(cx, from, bundle, payload),
            Frame::Subscribe(subscribe) => groups.on_subscribe(cx, from, subscribe),
            Frame::Baseline(baseline) => groups.on_baseline(cx, from, baseline),
            Frame::Digest(digest) => groups.on_digest(cx, from, digest),
            Frame::Pull(pull) => groups.on_pull(cx, from, pull),
            Frame::NotHeld(not_held) => groups.on_not_held(cx, from, not_held),
            Frame::Proof(proof) => groups.on_proof(cx, from, proof),
            Frame::Equivocation(equivocation) => groups.on_equivocation(cx, from, equivocation),
            frame => panic!("no frame of groups: {frame:?}"),
        });
    }

    /// A neighbour pushes a bundle.
    pub(crate) fn push(&mut self, from: LinkId, bundle: &Bundle) {
        self.say(from, bundle_frame(bundle, 1, false));
    }

    /// A neighbour answers a pull with a bundle.
    pub(crate) fn serve(&mut self, from: LinkId, bundle: &Bundle) {
        self.say(from, bundle_frame(bundle, 1, true));
    }

    /// A neighbour tells what it holds.
    pub(crate) fn tell(&mut self, from: LinkId, entries: Vec<DigestEntry>) {
        let group = self.id;
        let ask = false;
        self.say(
            from,
            Digest {
                group,
                ask,
                entries,
            },
        );
    }

    /// A neighbour denies what it was asked for.
    pub(crate) fn deny(&mut self, from: LinkId, wanted: Wanted, gone: bool) {
        let group = self.id;
        self.say(
            from,
            NotHeld {
                group,
                wanted,
                gone,
            },
        );
    }

    /// A neighbour whose link is up, and that has not spoken of the group.
    pub(crate) fn neighbour(&mut self, number: u8) -> LinkId {
        let link = self.below.link(number);
        self.below.write(link);
        self.call(|groups, cx| groups.on_link_up_for_groups(cx, link));
        self.heard.remove(&link);
        link
    }

    /// A neighbour that is a member of the group.
    pub(crate) fn subscriber(&mut self, number: u8) -> LinkId {
        let link = self.neighbour(number);
        self.say(link, Self::subscribe(1));
        self.heard.remove(&link);
        link
    }

    pub(crate) fn subscribe(role: u8) -> Subscribe {
        Subscribe {
            group: news(),
            role,
            baseline: false,
            history: History::None,
            older_ms: 0,
        }
    }

    /// The transport loses a link.
    pub(crate) fn lose(&mut self, link: LinkId) {
        let Fixture { core, net, .. } = &mut self.below;
        net.on_link_lost(core, link, LinkEnd::Transport);
        self.settle();
    }

    /// The view: members of the group, and the links between them with their round trips, ms.
    pub(crate) fn see(&mut self, links: &[(u8, u8, u32)]) {
        self.records += 1;
        let ends = links.iter().flat_map(|&(a, b, _)| [a, b]);
        let peers: BTreeSet<u8> = ends.chain([ME]).collect();
        for number in peers {
            self.state(number, links, |_| ());
        }
        let Fixture { core, net, .. } = &mut self.below;
        net.refresh_view(core);
        self.settle();
    }

    /// A record of a member comes into the database, with its share of `links` and what `change` adds.
    pub(crate) fn state(
        &mut self,
        number: u8,
        links: &[(u8, u8, u32)],
        change: impl FnOnce(&mut Record),
    ) {
        let of = links.iter().filter_map(|&(a, b, rtt_ms)| {
            let other = match number {
                _ if a == number => b,
                _ if b == number => a,
                _ => return None,
            };
            Some(RecordLink {
                peer: key(other).peer(),
                rtt_us: rtt_ms * 1_000,
            })
        });
        let mut links: Vec<RecordLink> = of.collect();
        links.sort_by_key(|link| link.peer);
        let version = self.records;
        let record = self.below.record(number, |record| {
            record.version = version;
            record.groups = vec![member_of(&news())];
            record.links = links;
            change(record);
        });
        let now = self.below.now();
        let net = &mut self.below.net;
        if number == ME {
            return net.put_own(record, now);
        }
        assert!(net.put(record, now), "it is newer and there is room");
    }

    /// Both ends of these links have computed the same trees for long.
    pub(crate) fn agree(&mut self, links: &[LinkId]) {
        let id = self.id;
        self.call(|groups, cx| groups.same_graph_since(cx.as_ref(), id));
        self.wait_ms(3_000);
        self.agree_still(links);
    }

    /// They still do.
    pub(crate) fn agree_still(&mut self, links: &[LinkId]) {
        let now = self.core.now.mono;
        for link in links {
            self.link_mut(*link).set_equal_at(Some(now));
        }
    }

    /// What is due of the group is done.
    pub(crate) fn run_timers(&mut self) {
        self.call(Multicast::on_groups_timeout);
    }

    /// A round of repair after so long.
    pub(crate) fn repair_after_ms(&mut self, ms: u64) {
        self.wait_ms(ms);
        let id = self.id;
        self.call(|groups, cx| groups.repair(cx, id));
    }

    pub(crate) fn group(&self) -> &Group {
        &self.multicast.groups[&self.id]
    }

    pub(crate) fn group_mut(&mut self) -> &mut Group {
        self.multicast.groups.get_mut(&self.id).expect("the group")
    }

    pub(crate) fn set_role(&mut self, role: Role) {
        self.group_mut().role = role;
    }

    pub(crate) fn log(&self, origin: u8) -> &OriginLog {
        &self.group().logs[&log_key(origin)]
    }

    pub(crate) fn log_mut(&mut self, origin: u8) -> &mut OriginLog {
        let logs = &mut self.group_mut().logs;
        logs.get_mut(&log_key(origin)).expect("a log")
    }

    pub(crate) fn link_mut(&mut self, link: LinkId) -> &mut Link {
        self.net.link_mut(link).expect("a link")
    }

    /// The header of a message of one byte.
    pub(crate) fn header(&self, origin: u8, seq: u64) -> BundleHeader {
        BundleHeader {
            group: self.id,
            origin: key(origin).peer(),
            epoch: EPOCH,
            seq,
            flags: 0,
            published_at: WALL_MS,
            lengths: vec![1],
            header_lengths: Vec::new(),
            delays: Vec::new(),
            fragment: None,
            previous: if seq == 1 { [0; 32] } else { [1; 32] },
            payload_hash: [0; 32],
            ext: BundleExt::default(),
        }
    }

    /// The first messages of an origin, each with the hash of the one before.
    pub(crate) fn messages(&self, origin: u8, count: u64) -> Vec<Bundle> {
        self.messages_with(origin, count, |_| {})
    }

    /// The same with headers that are changed before they are signed.
    pub(crate) fn messages_with(
        &self,
        origin: u8,
        count: u64,
        mut change: impl FnMut(&mut BundleHeader),
    ) -> Vec<Bundle> {
        let mut bundles: Vec<Bundle> = Vec::new();
        for seq in 1..=count {
            let mut header = self.header(origin, seq);
            header.previous = bundles.last().map_or([0; 32], |last| last.hash);
            change(&mut header);
            bundles.push(sign(origin, header));
        }
        bundles
    }

    /// What a neighbour was sent since the last look.
    pub(crate) fn heard(&mut self, link: LinkId) -> Vec<Frame> {
        self.heard.remove(&link).unwrap_or_default()
    }

    /// Of that, the headers of bundles.
    pub(crate) fn headers(&mut self, link: LinkId) -> Vec<BundleHeader> {
        let frames = self.heard(link).into_iter();
        let headers = frames.filter_map(|frame| match frame {
            Frame::Bundle(bundle, _) => Some(BundleHeader::decode(&bundle.signed)),
            _ => None,
        });
        let headers: Result<_, _> = headers.collect();
        headers.expect("well formed")
    }

    /// Of that, the first seq of each bundle, and how many messages or fragments it holds.
    pub(crate) fn bundles(&mut self, link: LinkId) -> Vec<(u64, usize)> {
        let headers = self.headers(link).into_iter();
        let bundles = headers.map(|header| (header.seq, header.lengths.len()));
        bundles.collect()
    }

    /// Of that, what it was asked for: origins and ranges.
    pub(crate) fn pulls(&mut self, link: LinkId) -> Vec<Wanted> {
        let frames = self.heard(link).into_iter();
        let pulls = frames.filter_map(|frame| match frame {
            Frame::Pull(Pull { wanted, .. }) => Some(wanted),
            _ => None,
        });
        pulls.flatten().collect()
    }

    /// Seqs delivered since the last look.
    pub(crate) fn seqs(&mut self) -> Vec<u64> {
        let delivered = std::mem::take(&mut self.delivered).into_iter();
        delivered.map(|delivery| delivery.id.seq).collect()
    }

    /// Gaps told since the last look at events.
    pub(crate) fn gaps(&mut self) -> Vec<(u64, u64)> {
        let events = std::mem::take(&mut self.events).into_iter();
        let gaps = events.filter_map(|event| match event {
            Event::Gap { from, to, .. } => Some((from, to)),
            _ => None,
        });
        gaps.collect()
    }

    /// The transport writes from now on, and has written what this link was given.
    pub(crate) fn write(&mut self, link: LinkId) {
        self.writes_wait = false;
        self.below.write(link);
        self.settle();
    }

    /// Checks the signatures that wait for it.
    pub(crate) fn check(&mut self) {
        for (id, valid) in std::mem::take(&mut self.waiting) {
            self.verified(id, valid);
        }
        self.settle();
    }

    pub(crate) fn verified(&mut self, id: VerifyId, valid: bool) {
        let mut cx = Cx {
            core: &mut self.below.core,
            net: &mut self.below.net,
        };
        let (groups, cx) = (&mut self.multicast, &mut cx);
        match Checked::of(id) {
            Some(Checked::Bundle) => groups.on_bundle_verified(cx, id, valid),
            Some(Checked::Equivocation) => groups.on_equivocation_verified(cx, id, valid),
            Some(Checked::Proof) => groups.on_proof_verified(cx, id, valid),
            Some(Checked::Baseline) => groups.on_baseline_verified(cx, id, valid),
            Some(Checked::Acknowledgement) => self.for_patterns.push((id, valid)),
            Some(Checked::Record) | None => panic!("no check of groups"),
        }
    }

    /// What a pattern may use.
    pub(crate) fn parts(&mut self) -> (&mut Core, &mut Overlay, &mut Multicast) {
        let Fixture { core, net, .. } = &mut self.below;
        (core, net, &mut self.multicast)
    }

    /// Takes what has come out, and tells groups what has happened below, as the engine does.
    pub(crate) fn settle(&mut self) {
        loop {
            let commands = self.below.commands();
            let checks = self.below.take_checks();
            let happened = self.below.events();
            if commands.is_empty() && checks.is_empty() && happened.is_empty() {
                return;
            }
            for command in commands {
                self.take(command);
            }
            for (id, valid) in checks {
                if self.checks_wait {
                    self.waiting.push((id, valid));
                } else {
                    self.verified(id, valid);
                }
            }
            for event in happened {
                self.happen(&event);
                self.happened.push(event);
            }
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Send(link, frame) => {
                self.heard.entry(link).or_default().push(frame);
                if !self.writes_wait {
                    self.below.write(link);
                }
            }
            Command::Deliver(delivery) => self.delivered.push(delivery),
            Command::Event(event) => self.events.push(event),
            Command::Close(link) => self.closed.push(link),
            Command::AwaitWritten(link) => self.awaited.push(link),
            Command::Slow(link, _) => self.slowed.push(link),
            _ => {}
        }
    }

    fn happen(&mut self, event: &OverlayEvent) {
        let mut cx = Cx {
            core: &mut self.below.core,
            net: &mut self.below.net,
        };
        let (groups, cx) = (&mut self.multicast, &mut cx);
        match *event {
            OverlayEvent::LinkUp(link) => groups.on_link_up_for_groups(cx, link),
            OverlayEvent::LinkDown(link) => {
                groups.on_link_down_for_groups(cx, link);
                groups.on_link_down_for_baselines(cx, link);
            }
            OverlayEvent::LinkEnded(link) => groups.remotes.forget(link),
            OverlayEvent::ViewChanged | OverlayEvent::LostForgotten => groups.wake_publishers(cx),
            _ => {}
        }
    }
}
