//! What a denial does at each gate: to the peer that is denied, and to nobody else.

use super::*;
use crate::access::{Resource, Verb, Who};
use crate::base::interface::Event;
use crate::base::message::{
    GroupSettings, History, JoinError, JoinOptions, PublishOptions, SettingsPatch,
};
use crate::base::name::{Address, GroupId, GroupName, NetworkName};
use crate::base::ranges::RangeSet;
use crate::wire::bundle::BundleExt;
use crate::wire::frame::{BundleFrame, Hello, Pull, Records, Subscribe, Wanted};
use crate::wire::record::{ALGORITHM_VERSION, GroupExt, RecordExt, WireRecord};
use crate::wire::{
    Bundle, BundleHeader, FRAME_BYTES_MAX, FrameDecoder, Record, RecordGroup, SignedRecord,
    WIRE_VERSION,
};
use std::collections::BTreeMap;
use std::sync::Arc;

const LINK: LinkId = LinkId(1);
const ELSEWHERE: LinkId = LinkId(2);
const WALL_MS: u64 = 1_700_000_000_000;
const MEMBER: u8 = 1;
const SENDER: u8 = 2;

fn key(number: u8) -> Keypair {
    Keypair::from_secret([number; 32])
}

fn news() -> GroupName {
    GroupName::new("news").expect("valid")
}

fn id_of(group: &GroupName) -> GroupId {
    GroupId::new(&NetworkName::default(), group)
}

/// The only message of an origin.
fn bundle(origin: &Keypair, group: &GroupName) -> Bundle {
    let header = BundleHeader {
        group: id_of(group),
        origin: origin.peer(),
        epoch: 7,
        seq: 1,
        flags: 0,
        published_at: WALL_MS,
        lengths: vec![1],
        delays: Vec::new(),
        fragment: None,
        previous: [0; 32],
        payload_hash: [0; 32],
        header_lengths: Vec::new(),
        ext: BundleExt::default(),
    };
    Bundle::sign(header, Bytes::from_static(b"x"), origin)
}

/// A record that states one group with settings of this redundancy.
fn record(peer: &Keypair, group: &GroupName, role: u8, redundancy: u8) -> SignedRecord {
    let settings = GroupSettings {
        redundancy,
        ..GroupSettings::default()
    };
    let group = RecordGroup {
        name: group.clone(),
        role,
        settings_version: WALL_MS,
        settings: Some(settings.into()),
        ext: GroupExt::default(),
    };
    let record = Record {
        network: NetworkName::default().hash(),
        peer: peer.peer(),
        epoch: 1,
        version: 1,
        left: false,
        algorithm: ALGORITHM_VERSION,
        capabilities: 0,
        capacity: 8,
        coordinate: [0.0, 0.0, 0.0, 1.0, 1.0],
        addresses: Vec::new(),
        groups: vec![group],
        links: Vec::new(),
        ext: RecordExt::default(),
    };
    SignedRecord::sign(record, peer)
}

fn wire(record: &SignedRecord) -> WireRecord {
    WireRecord::new(record.signed.clone(), record.signature, 0)
}

/// A peer, and what has come of what it was told.
struct Peer {
    engine: Engine,
    now: Time,
    /// What each link was sent.
    decoders: BTreeMap<LinkId, FrameDecoder>,
    heard: Vec<(LinkId, Frame)>,
    checks: usize,
    ended: Vec<(LinkId, LinkEnd)>,
}

impl Peer {
    fn new() -> Self {
        let now = Time {
            mono: Micros(1_000_000),
            wall_ms: WALL_MS,
        };
        let mut peer = Self {
            engine: Engine::new(key(1), Config::default(), [1; 32], now),
            now,
            decoders: BTreeMap::new(),
            heard: Vec::new(),
            checks: 0,
            ended: Vec::new(),
        };
        peer.drain();
        peer
    }

    /// A member that publishes and has a neighbour.
    fn in_news() -> Self {
        let mut peer = Self::new();
        let joined = peer.engine.join(peer.now, news(), JoinOptions::default());
        joined.expect("joins");
        peer.link(LINK, &key(2), None);
        peer.drain();
        peer
    }

    fn deny(&mut self, who: Who, verb: Verb, resource: Resource) {
        assert!(self.engine.core.access.deny(who, verb, resource));
    }

    fn deny_in_news(&mut self, who: &Keypair, verb: Verb) {
        self.deny(Who::Peer(who.peer()), verb, Resource::Group(id_of(&news())));
    }

    fn link(&mut self, link: LinkId, to: &Keypair, address: Option<Address>) {
        self.feed(Input::Linked {
            link,
            peer: to.peer(),
            dial: None,
            address,
        });
        let elsewhere = GroupName::new("elsewhere").expect("valid");
        let hello = Hello {
            wire: WIRE_VERSION,
            network: NetworkName::default(),
            epoch: 1,
            capabilities: 0,
            wants: 1,
            record: Some(wire(&record(to, &elsewhere, MEMBER, 1))),
            needs: Vec::new(),
        };
        self.say(link, &Frame::Hello(hello));
    }

    fn feed(&mut self, input: Input) {
        self.engine.handle_input(self.now, input);
        self.drain();
    }

    fn say(&mut self, link: LinkId, frame: &Frame) {
        for bytes in frame.encode() {
            self.feed(Input::Bytes { link, bytes });
        }
    }

    fn say_bundle(&mut self, bundle: &Bundle, pulled: bool) {
        let frame = BundleFrame {
            hops: 1,
            pulled,
            signed: bundle.signed.clone(),
            signature: bundle.signature,
        };
        self.say(LINK, &Frame::Bundle(frame, bundle.payload.clone()));
    }

    fn drain(&mut self) {
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::Verify { id, job } => {
                    self.checks += 1;
                    let valid = job.run();
                    self.engine
                        .handle_input(self.now, Input::Verified { id, valid });
                }
                Action::Store { batch, .. } => {
                    let result = Ok(());
                    self.engine
                        .handle_input(self.now, Input::Stored { batch, result });
                }
                Action::Send { link, chunks } => {
                    let new = || FrameDecoder::new(FRAME_BYTES_MAX);
                    let decoder = self.decoders.entry(link).or_insert_with(new);
                    for chunk in &chunks {
                        decoder.push(chunk.clone());
                    }
                    while let Some(raw) = decoder.next_frame().expect("is a frame") {
                        let frame = Frame::decode(raw).expect("decodes").expect("known");
                        self.heard.push((link, frame));
                    }
                    let bytes = chunks.iter().map(Bytes::len).sum();
                    self.engine
                        .handle_input(self.now, Input::Sent { link, bytes });
                }
                Action::Event(Event::LinkDown { link, reason, .. }) => {
                    self.ended.push((link, reason));
                }
                _ => {}
            }
        }
    }

    /// Publishes a message, and says in which epoch.
    fn publish(&mut self) -> u64 {
        let (payload, options) = (Bytes::from_static(b"x"), PublishOptions::default());
        let published = self.engine.publish(self.now, &news(), payload, options);
        self.drain();
        published.expect("is taken").epoch
    }

    /// What was sent since it was last asked for.
    fn sent(&mut self) -> Vec<Frame> {
        let heard = std::mem::take(&mut self.heard);
        heard.into_iter().map(|(_, frame)| frame).collect()
    }

    fn counted(&self, name: &str) -> u64 {
        let counters = self.engine.counters();
        counters.values.get(name).copied().unwrap_or(0)
    }

    fn redundancy(&self) -> u8 {
        let group = self.engine.group(&news());
        group.map_or(0, |group| group.settings.redundancy)
    }

    /// Whether nothing stands against the neighbour.
    fn blames_nobody(&self) -> bool {
        self.engine.status().banned == 0 && self.ended.is_empty()
    }
}

#[test]
fn a_link_that_is_denied_ends_and_nothing_stands_against_its_peer_or_address() {
    let mut peer = Peer::new();
    let denied = key(2).peer();
    peer.deny(Who::Peer(denied), Verb::Link, Resource::Network);
    let address = Address::new("/ip4/192.0.2.7/tcp/4001").expect("valid");
    // More often than an address may come to nothing.
    for number in 0..20 {
        let link = LinkId(100 + number);
        peer.link(link, &key(2), Some(address.clone()));
        assert_eq!(peer.ended.last(), Some(&(link, LinkEnd::Denied)));
    }
    assert_eq!(peer.counted("access_links_refused"), 20);
    assert_eq!(peer.counted("links_throttled"), 0);
    assert_eq!(peer.engine.status().banned, 0);
    assert_eq!(peer.engine.status().links, 0);
    let held = peer.engine.net.record(denied);
    assert!(held.is_none(), "its hello was not taken");
    let is_told = |frame: &Frame| matches!(frame, Frame::Bye(bye) if bye.reason == "Denied");
    assert!(peer.sent().iter().any(is_told));
    peer.link(ELSEWHERE, &key(3), Some(address));
    assert_eq!(peer.engine.status().links, 1, "others come in");
    assert!(peer.engine.net.record(key(3).peer()).is_some());
}

#[test]
fn a_subscription_that_is_denied_is_not_answered_and_not_remembered() {
    for is_denied in [false, true] {
        let mut peer = Peer::in_news();
        if is_denied {
            peer.deny_in_news(&key(2), Verb::Subscribe);
        }
        peer.publish();
        peer.sent();
        let subscribe = |role, baseline| {
            Frame::Subscribe(Subscribe {
                group: news(),
                role,
                baseline,
                history: History::None,
                older_ms: 0,
            })
        };
        peer.say(LINK, &subscribe(MEMBER, true));
        let sent = peer.sent();
        let answers =
            (sent.iter()).filter(|frame| matches!(frame, Frame::Baseline(_) | Frame::Digest(_)));
        assert_eq!(answers.count() == 0, is_denied, "{sent:?}");
        let is_remembered = (peer.engine.multicast).remembers(LINK, id_of(&news()));
        assert_eq!(is_remembered, !is_denied);
        peer.say(LINK, &subscribe(0, false));
        let counted = peer.counted("access_requests_refused");
        assert_eq!(counted, u64::from(is_denied), "anybody may leave");
        assert!(peer.blames_nobody());
    }
}

#[test]
fn a_pull_that_is_denied_is_told_that_nothing_is_held() {
    for is_denied in [false, true] {
        let mut peer = Peer::in_news();
        if is_denied {
            peer.deny_in_news(&key(2), Verb::Pull);
        }
        let epoch = peer.publish();
        peer.sent();
        let wanted = Wanted {
            origin: key(1).peer(),
            epoch,
            ranges: RangeSet::try_from(vec![(1, 1)]).expect("ascending"),
        };
        peer.say(
            LINK,
            &Frame::Pull(Pull {
                group: id_of(&news()),
                wanted: vec![wanted.clone()],
            }),
        );
        let sent = peer.sent();
        let served = |frame: &Frame| matches!(frame, Frame::Bundle(..));
        assert_eq!(sent.iter().any(served), !is_denied);
        let not_held = |frame: &Frame| matches!(frame, Frame::NotHeld(not_held) if not_held.wanted == wanted && !not_held.gone);
        assert_eq!(sent.iter().any(not_held), is_denied);
        assert_eq!(
            peer.counted("access_requests_refused"),
            u64::from(is_denied)
        );
        assert!(peer.blames_nobody());
    }
}

#[test]
fn a_bundle_whose_origin_is_denied_is_neither_checked_nor_kept() {
    for is_denied in [false, true] {
        for pulled in [false, true] {
            let mut peer = Peer::in_news();
            if is_denied {
                peer.deny_in_news(&key(3), Verb::Publish);
            }
            let checks = peer.checks;
            peer.say_bundle(&bundle(&key(3), &news()), pulled);
            assert_eq!(peer.checks == checks, is_denied, "checked");
            let group = peer.engine.group(&news()).expect("joined");
            assert_eq!(group.origins == 0, is_denied, "kept");
            assert_eq!(peer.counted("access_bundles_refused"), u64::from(is_denied));
            // By whichever link, and nobody else's.
            peer.say_bundle(&bundle(&key(2), &news()), pulled);
            let log = (key(2).peer(), 7);
            assert!(peer.engine.multicast.has_log(id_of(&news()), log));
            assert_eq!(peer.counted("access_bundles_refused"), u64::from(is_denied));
            assert!(peer.blames_nobody());
        }
    }
}

#[test]
fn a_bundle_that_is_denied_opens_no_relay() {
    let strange = GroupName::new("strange").expect("valid");
    let mut peer = Peer::in_news();
    let strange_id = id_of(&strange);
    peer.deny(Who::Others, Verb::Publish, Resource::Group(strange_id));
    peer.say_bundle(&bundle(&key(3), &strange), false);
    assert!(!peer.engine.multicast.has_group(strange_id));
    assert_eq!(peer.counted("access_bundles_refused"), 1);
}

#[test]
fn settings_that_a_denied_member_states_change_nothing() {
    for is_denied in [false, true] {
        let mut peer = Peer::in_news();
        if is_denied {
            peer.deny_in_news(&key(3), Verb::ChangeSettings);
        }
        let records = vec![wire(&record(&key(3), &news(), MEMBER, 5))];
        peer.say(LINK, &Frame::Records(Records { records }));
        assert!(peer.engine.net.record(key(3).peer()).is_some());
        assert_eq!(peer.redundancy() == 5, !is_denied);
        assert_eq!(
            peer.counted("access_settings_refused"),
            u64::from(is_denied)
        );
        // The same of somebody who joins later.
        peer.engine.leave(peer.now, &news()).expect("leaves");
        let joined = peer.engine.join(peer.now, news(), JoinOptions::default());
        joined.expect("joins");
        peer.drain();
        assert_eq!(peer.redundancy() == 5, !is_denied);
        assert!(peer.blames_nobody());
    }
}

#[test]
fn settings_that_a_sender_states_change_nothing() {
    let mut peer = Peer::in_news();
    let records = vec![wire(&record(&key(3), &news(), SENDER, 5))];
    peer.say(LINK, &Frame::Records(Records { records }));
    assert_ne!(peer.redundancy(), 5);
    // It only passes on what it has from members.
    assert_eq!(peer.counted("access_settings_refused"), 0);
}

#[test]
fn a_peer_changes_settings_where_it_is_a_member_and_nothing_denies_it() {
    let patch = || SettingsPatch {
        redundancy: Some(4),
        ..SettingsPatch::default()
    };
    let mut peer = Peer::in_news();
    let now = peer.now;
    let other = GroupName::new("other").expect("valid");
    let payload = Bytes::from_static(b"x");
    let published = peer
        .engine
        .publish(now, &other, payload, PublishOptions::default());
    published.expect("a sender");
    for group in [other, GroupName::new("unknown").expect("valid")] {
        let refused = peer.engine.set_group(now, &group, patch());
        assert_eq!(refused, Err(JoinError::NotMember(group)));
    }
    assert_eq!(peer.counted("access_settings_refused"), 2);
    assert_eq!(peer.engine.set_group(now, &news(), patch()), Ok(()));
    assert_eq!(peer.redundancy(), 4);
    let mut peer = Peer::in_news();
    peer.deny_in_news(&key(1), Verb::ChangeSettings);
    let refused = peer.engine.set_group(now, &news(), patch());
    assert_eq!(refused, Err(JoinError::NotMember(news())));
    assert_ne!(peer.redundancy(), 4);
    assert_eq!(peer.counted("access_settings_refused"), 1);
}

#[test]
fn a_bundle_of_an_invented_group_looks_at_no_record() {
    let mut peer = Peer::in_news();
    let stated = GroupName::new("stated").expect("valid");
    for number in 10..60 {
        let record = Arc::new(record(&key(number), &stated, MEMBER, 5));
        assert!(peer.engine.net.put(record, peer.now.mono));
    }
    let visits = |peer: &Peer| peer.engine.net.record_visits();
    for number in 0..50 {
        let invented = GroupName::new(&format!("invented {number}")).expect("valid");
        let before = visits(&peer);
        peer.say_bundle(&bundle(&key(3), &invented), false);
        assert!(peer.engine.multicast.has_group(id_of(&invented)));
        assert_eq!(peer.engine.multicast.name(id_of(&invented)), None);
        assert_eq!(visits(&peer), before, "looked at records");
    }
    // One that a record states is found, and has the settings that members state.
    peer.say_bundle(&bundle(&key(3), &stated), false);
    let group = peer.engine.group(&stated).expect("it has its name");
    assert_eq!(group.settings.redundancy, 5);
}
