//! One engine and a neighbour that says what a test wants: what can be believed of it.

mod abandoned;
mod bundles;
mod congested;
mod deltas;
mod doors;
mod evidence;
mod growth;
mod limits;
mod lives;
mod origins;
mod records;
mod storage;
mod time;

use bytes::Bytes;
use hedgerow_protocol::ranges::RangeSet;
use hedgerow_protocol::status::LinkStatus;
use hedgerow_protocol::wire::bundle::BundleExt;
use hedgerow_protocol::wire::frame::{
    Baseline, BaselineOrigin, BundleFrame, Digest, DigestEntry, Hello, SignedHeader, Subscribe,
    Wants,
};
use hedgerow_protocol::wire::{
    Bundle, BundleHeader, FRAME_BYTES_MAX, Frame, FrameDecoder, WIRE_VERSION,
};
use hedgerow_protocol::{
    Action, Address, BatchId, Config, Delivery, Engine, Event, GroupId, GroupName, History, Input,
    JoinOptions, Keypair, LinkId, Micros, NetworkName, StoreOp, Time, VerifyId, VerifyJob,
};

const LINK: LinkId = LinkId(1);
/// To another neighbour, where a test has two.
const ELSEWHERE: LinkId = LinkId(2);
const EPOCH: u64 = 7;

fn key(number: u8) -> Keypair {
    Keypair::from_secret([number; 32])
}

fn news() -> GroupName {
    GroupName::new("news").expect("valid")
}

/// What a neighbour with these capabilities says first.
fn hello(capabilities: u64) -> Frame {
    Frame::Hello(Hello {
        wire: WIRE_VERSION,
        network: Config::default().network,
        epoch: 1,
        capabilities,
        wants: 1,
        record: None,
        needs: Vec::new(),
    })
}

/// A member that waits for its baseline, and its only neighbour.
struct Pair {
    engine: Engine,
    now: Time,
    delivered: Vec<Delivery>,
    events: Vec<Event>,
    /// The links that the engine has closed.
    closed: Vec<LinkId>,
    published: Vec<Bundle>,
    /// What the neighbour was sent.
    heard: Vec<Frame>,
    decoder: FrameDecoder,
    /// Whether signatures take until [`Self::check`] to be checked.
    checks_wait: bool,
    waiting: Vec<(VerifyId, VerifyJob)>,
    /// Whether the transport tells of nothing that it has written.
    writes_wait: bool,
    /// Whether what is to be stored is stored at once, or waits.
    stores: bool,
    /// What waits, each as often as it was asked for.
    unstored: Vec<(BatchId, Vec<StoreOp>)>,
    dials: Vec<Action>,
}

impl Pair {
    fn new() -> Self {
        Self::with_capabilities(0)
    }

    /// With a neighbour that says it knows these.
    fn with_capabilities(capabilities: u64) -> Self {
        Self::with(capabilities, Config::default())
    }

    fn with(capabilities: u64, config: Config) -> Self {
        let now = Time {
            mono: Micros(1_000_000),
            wall_ms: 1_700_000_000_000,
        };
        let mut pair = Self {
            engine: Engine::new(key(1), config, [1; 32], now),
            now,
            delivered: Vec::new(),
            events: Vec::new(),
            closed: Vec::new(),
            published: Vec::new(),
            heard: Vec::new(),
            decoder: FrameDecoder::new(FRAME_BYTES_MAX),
            checks_wait: false,
            waiting: Vec::new(),
            writes_wait: false,
            stores: true,
            unstored: Vec::new(),
            dials: Vec::new(),
        };
        pair.feed(Input::Linked {
            link: LINK,
            peer: key(2).peer(),
            dial: None,
            address: None,
        });
        pair.say(&hello(capabilities));
        let options = JoinOptions::default();
        pair.engine.join(pair.now, news(), options).expect("joins");
        pair.drain();
        pair.say(&Frame::Subscribe(Subscribe {
            group: news(),
            role: 1,
            baseline: false,
            history: History::None,
            older_ms: 0,
        }));
        let links: Vec<LinkStatus> = pair.engine.links();
        assert!(links.len() == 1 && links[0].up, "the link is up");
        pair
    }

    fn feed(&mut self, input: Input) {
        self.engine.handle_input(self.now, input);
        self.drain();
    }

    /// The neighbour sends a frame.
    fn say(&mut self, frame: &Frame) {
        self.say_on(LINK, frame);
    }

    fn say_on(&mut self, link: LinkId, frame: &Frame) {
        for bytes in frame.encode() {
            self.feed(Input::Bytes { link, bytes });
        }
    }

    /// Another neighbour comes.
    fn link_elsewhere(&mut self) {
        self.feed(Input::Linked {
            link: ELSEWHERE,
            peer: key(50).peer(),
            dial: None,
            address: None,
        });
        self.say_on(ELSEWHERE, &hello(0));
    }

    fn counted(&self, name: &str) -> u64 {
        let counters = self.engine.counters();
        counters.values.get(name).copied().unwrap_or(0)
    }

    fn drain(&mut self) {
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::Verify { id, job } if self.checks_wait => self.waiting.push((id, job)),
                Action::Verify { id, job } => {
                    let valid = job.run();
                    self.engine
                        .handle_input(self.now, Input::Verified { id, valid });
                }
                Action::Store { batch, .. } if self.stores => {
                    let result = Ok(());
                    self.engine
                        .handle_input(self.now, Input::Stored { batch, result });
                }
                Action::Store { batch, ops, .. } => self.unstored.push((batch, ops)),
                Action::Deliver(delivery) => self.delivered.push(delivery),
                dial @ Action::Dial { .. } => self.dials.push(dial),
                Action::Event(event) => self.events.push(event),
                Action::Close { link } => self.closed.push(link),
                Action::Send { link: LINK, chunks } => {
                    let bytes = chunks.iter().map(Bytes::len).sum();
                    for chunk in chunks {
                        self.decoder.push(chunk);
                    }
                    if !self.writes_wait {
                        let sent = Input::Sent { link: LINK, bytes };
                        self.engine.handle_input(self.now, sent);
                    }
                    while let Some(raw) = self.decoder.next_frame().expect("a frame") {
                        self.heard.extend(Frame::decode(raw).expect("a frame"));
                    }
                }
                _ => {}
            }
        }
    }

    /// Checks the signatures that wait for it.
    fn check(&mut self) {
        for (id, job) in std::mem::take(&mut self.waiting) {
            let valid = job.run();
            self.feed(Input::Verified { id, valid });
        }
    }

    fn wait_ms(&mut self, ms: u64) {
        let until = self.now.mono + Micros::from_millis(ms);
        while let Some(due) = self.engine.poll_timeout()
            && due.mono <= until
        {
            self.advance(due.mono.max(self.now.mono));
            self.engine.handle_timeout(self.now);
            self.drain();
        }
        self.advance(until);
    }

    fn advance(&mut self, to: Micros) {
        self.now.wall_ms += to.since(self.now.mono).as_millis();
        self.now.mono = to;
    }

    /// The origin's next message, signed.
    fn publish(&mut self) -> Bundle {
        let previous = self.published.last().map_or([0; 32], |last| last.hash);
        let payload = Bytes::from_static(b"x");
        let header = BundleHeader {
            group: GroupId::new(&Config::default().network, &news()),
            origin: key(3).peer(),
            epoch: EPOCH,
            seq: self.published.len() as u64 + 1,
            flags: 0,
            published_at: self.now.wall_ms,
            lengths: vec![payload.len() as u32],
            delays: Vec::new(),
            fragment: None,
            previous,
            payload_hash: [0; 32],
            header_lengths: Vec::new(),
            ext: BundleExt::default(),
        };
        let bundle = Bundle::sign(header, payload, &key(3));
        self.published.push(bundle.clone());
        bundle
    }

    fn send(&mut self, bundle: &Bundle) {
        let frame = BundleFrame {
            hops: 1,
            pulled: true,
            signed: bundle.signed.clone(),
            signature: bundle.signature,
        };
        self.say(&Frame::Bundle(frame, bundle.payload.clone()));
    }

    /// The neighbour answers with the origin settled up to `settled`.
    fn answer(&mut self, settled: u64, proof: Option<&Bundle>) {
        let proof = proof.map(|bundle| SignedHeader {
            signed: bundle.signed.clone(),
            signature: bundle.signature,
        });
        self.say(&Frame::Baseline(Baseline {
            group: GroupId::new(&Config::default().network, &news()),
            older_ms: 0,
            alone: false,
            origins: vec![BaselineOrigin {
                origin: key(3).peer(),
                epoch: EPOCH,
                settled,
                proof,
                age_ms: 0,
                past: Vec::new(),
            }],
            last: true,
        }));
    }

    fn has_closed(&self, link: LinkId) -> bool {
        self.closed.contains(&link)
    }

    fn has_joined(&self) -> bool {
        let joined = |event: &Event| matches!(event, Event::Joined { .. });
        self.events.iter().any(joined)
    }

    fn seqs(&self) -> Vec<u64> {
        self.delivered.iter().map(|got| got.id.seq).collect()
    }
}

#[test]
fn a_joiner_begins_after_what_the_origin_is_proven_to_have_published() {
    let mut pair = Pair::new();
    let past: Vec<Bundle> = (0..3).map(|_| pair.publish()).collect();
    pair.answer(3, Some(&past[2]));
    assert!(pair.has_joined());
    for bundle in &past {
        pair.send(bundle);
    }
    let next = pair.publish();
    pair.send(&next);
    assert_eq!(pair.seqs(), [4]);
}

#[test]
fn a_made_up_past_withholds_nothing() {
    let mut pair = Pair::new();
    pair.answer(1_000, None);
    assert!(pair.has_joined());
    for _ in 0..2 {
        let bundle = pair.publish();
        pair.send(&bundle);
    }
    assert_eq!(pair.seqs(), [1, 2]);
    assert!(!pair.has_closed(LINK));
}

#[test]
fn a_proof_of_less_than_is_claimed_ends_the_link() {
    let mut pair = Pair::new();
    let first = pair.publish();
    pair.answer(1_000, Some(&first));
    assert!(pair.has_closed(LINK) && !pair.has_joined());
}

#[test]
fn a_forged_proof_ends_the_link() {
    let mut pair = Pair::new();
    let mut forged = pair.publish();
    forged.signature[5] ^= 1;
    pair.answer(1, Some(&forged));
    assert!(pair.has_closed(LINK) && !pair.has_joined());
    assert_eq!(pair.engine.counters().values["baselines_forged"], 1);
}

#[test]
fn a_digest_that_makes_up_a_past_withholds_nothing() {
    let mut pair = Pair::new();
    // Nobody answers, and the clock decides. The neighbour is alive.
    for _ in 0..4 {
        pair.wait_ms(1_000);
        pair.say(&Frame::Wants(Wants { wants: 1 }));
    }
    assert!(pair.has_joined());
    pair.say(&Frame::Digest(Digest {
        group: GroupId::new(&Config::default().network, &news()),
        ask: false,
        entries: vec![DigestEntry {
            origin: key(3).peer(),
            epoch: EPOCH,
            floor: 1_001,
            settled: 1_000,
            above: RangeSet::default(),
        }],
    }));
    let bundle = pair.publish();
    pair.send(&bundle);
    assert_eq!(pair.seqs(), [1]);
}

#[test]
fn a_forged_bundle_of_a_strange_group_leaves_nothing_behind() {
    let mut pair = Pair::new();
    let strange = GroupName::new("strange").expect("valid");
    let payload = Bytes::from_static(b"x");
    let header = BundleHeader {
        group: GroupId::new(&Config::default().network, &strange),
        origin: key(3).peer(),
        epoch: EPOCH,
        seq: 1,
        flags: 0,
        published_at: pair.now.wall_ms,
        lengths: vec![1],
        delays: Vec::new(),
        fragment: None,
        previous: [0; 32],
        payload_hash: [0; 32],
        header_lengths: Vec::new(),
        ext: BundleExt::default(),
    };
    let honest = Bundle::sign(header, payload, &key(3));
    let mut forged = honest.clone();
    forged.signature[7] ^= 1;
    let groups = pair.engine.groups().len();
    pair.send(&forged);
    assert!(pair.has_closed(LINK));
    assert_eq!(pair.engine.groups().len(), groups);
    let mut pair = Pair::new();
    pair.send(&honest);
    assert_eq!(pair.engine.groups().len(), groups + 1, "relayed");
    // When its retention is over it is forgotten.
    for _ in 0..320 {
        pair.wait_ms(1_000);
        pair.say(&Frame::Wants(Wants { wants: 1 }));
    }
    assert_eq!(pair.engine.groups().len(), groups);
}

#[test]
fn an_address_of_another_network_is_dialled_ever_less_often() {
    let address = Address::new("/ip4/192.0.2.7/tcp/4001").expect("valid");
    let config = Config {
        bootstrap: vec![address],
        ..Config::default()
    };
    let mut now = Time {
        mono: Micros(1_000_000),
        wall_ms: 1_700_000_000_000,
    };
    let mut engine = Engine::new(key(1), config, [1; 32], now);
    let (mut dials, mut links) = (0, 0);
    let end = now.mono + Micros::from_millis(60_000);
    while now.mono < end {
        while let Some(action) = engine.poll_action() {
            let Action::Dial { dial, .. } = action else {
                continue;
            };
            dials += 1;
            links += 1;
            let link = LinkId(links);
            let (peer, dial) = (key(2).peer(), Some(dial));
            let address = None;
            let linked = Input::Linked {
                link,
                peer,
                dial,
                address,
            };
            engine.handle_input(now, linked);
            let hello = Frame::Hello(Hello {
                wire: WIRE_VERSION,
                network: NetworkName::new("other").expect("valid"),
                epoch: 1,
                capabilities: 0,
                wants: 1,
                record: None,
                needs: Vec::new(),
            });
            for bytes in hello.encode() {
                engine.handle_input(now, Input::Bytes { link, bytes });
            }
        }
        now.mono = engine
            .poll_timeout()
            .map_or(end, |due| due.mono)
            .max(now.mono);
        engine.handle_timeout(now);
    }
    assert!((4..15).contains(&dials), "{dials} dials in a minute");
}
