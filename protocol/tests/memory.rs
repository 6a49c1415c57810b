//! Whatever neighbours send, a peer's memory keeps to `memory_max`: each table is flooded with
//! several times what it may hold, and the allocator's peak is read.

use bytes::Bytes;
use hedgerow_protocol::ranges::RangeSet;
use hedgerow_protocol::wire::bundle::BundleExt;
use hedgerow_protocol::wire::frame::{
    Baseline, BaselineOrigin, BundleFrame, Digest, DigestEntry, Hello, RecordAnnounce, Records,
    Refuse, Subscribe, Wants,
};
use hedgerow_protocol::wire::record::GroupExt;
use hedgerow_protocol::wire::record::RecordExt;
use hedgerow_protocol::wire::record::{
    ALGORITHM_VERSION, Record, RecordGroup, RecordLink, WireRecord,
};
use hedgerow_protocol::wire::{Bundle, BundleHeader, Frame, SignedRecord, WIRE_VERSION};
use hedgerow_protocol::{
    Action, Address, Config, Engine, GroupId, GroupName, History, Input, JoinOptions, Keypair,
    LinkId, Micros, PeerKey, Time,
};

const MIB: usize = 1 << 20;
/// What the peer under test may take: an eighth of the default, so that floods are short.
const MEMORY_MAX: usize = 64 * MIB;
/// By how much the allocator's peak may exceed it.
const PEAK_SHARE: f64 = 1.2;
/// Every table is sent at least this much.
const FLOOD_BYTES: usize = 3 * MEMORY_MAX;
const LINKS: u64 = 4;

fn config() -> Config {
    let mut config = Config {
        memory_max: MEMORY_MAX,
        ..Config::default()
    };
    config.groups.message_bytes_max = 8 * MIB;
    config.groups.ahead_bytes_max = 8 * MIB;
    config.check().expect("possible");
    config
}

fn news() -> GroupName {
    GroupName::new("news").expect("valid")
}

fn news_id() -> GroupId {
    GroupId::new(&Config::default().network, &news())
}

/// The key of an invented peer.
fn invented(number: u64) -> Keypair {
    let mut secret = [7; 32];
    secret[..8].copy_from_slice(&number.to_be_bytes());
    Keypair::from_secret(secret)
}

/// The peer under test, and neighbours that say what a flood wants.
struct Flooded {
    engine: Engine,
    now: Time,
    /// Whether signature checks are answered.
    checks: bool,
    /// Whether the transport writes.
    writes: bool,
}

impl Flooded {
    fn new() -> Self {
        let now = Time {
            mono: Micros(1_000_000),
            wall_ms: 1_700_000_000_000,
        };
        let engine = Engine::new(Keypair::from_secret([1; 32]), config(), [1; 32], now);
        let mut peer = Self {
            engine,
            now,
            checks: true,
            writes: true,
        };
        peer.drain();
        let joined = peer.engine.join(peer.now, news(), JoinOptions::default());
        joined.expect("joins");
        peer.drain();
        for link in 1..=LINKS {
            peer.link(link);
        }
        peer.wait_ms(5_000);
        assert_eq!(peer.links_up() as u64, LINKS);
        peer
    }

    fn link(&mut self, link: u64) {
        self.feed(Input::Linked {
            link: LinkId(link),
            peer: neighbour(link).peer(),
            dial: None,
            address: None,
        });
        self.say(
            link,
            &Frame::Hello(Hello {
                wire: WIRE_VERSION,
                network: Config::default().network,
                epoch: 1,
                capabilities: 0,
                wants: 1,
                record: None,
                needs: Vec::new(),
            }),
        );
        self.say(
            link,
            &Frame::Subscribe(Subscribe {
                group: news(),
                role: 1,
                baseline: false,
                history: History::None,
                older_ms: 0,
            }),
        );
    }

    fn feed(&mut self, input: Input) {
        self.engine.handle_input(self.now, input);
        self.drain();
    }

    fn say(&mut self, link: u64, frame: &Frame) {
        for bytes in frame.encode() {
            let link = LinkId(link);
            self.feed(Input::Bytes { link, bytes });
        }
    }

    fn drain(&mut self) {
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::Verify { id, job } if self.checks => {
                    let valid = job.run();
                    self.engine
                        .handle_input(self.now, Input::Verified { id, valid });
                }
                Action::Store { batch, .. } => {
                    self.engine.handle_input(
                        self.now,
                        Input::Stored {
                            batch,
                            result: Ok(()),
                        },
                    );
                }
                Action::Send { link, chunks } if self.writes => {
                    let bytes = chunks.iter().map(Bytes::len).sum();
                    self.engine
                        .handle_input(self.now, Input::Sent { link, bytes });
                }
                Action::Dial { dial, .. } => {
                    self.engine
                        .handle_input(self.now, Input::DialFailed { dial });
                }
                _ => {}
            }
        }
    }

    /// Lets time pass in which the neighbours are heard of.
    fn wait_ms(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(500) {
            let until = self.now.mono + Micros::from_millis(500);
            while let Some(due) = self.engine.poll_timeout()
                && due.mono <= until
            {
                self.advance(due.mono.max(self.now.mono));
                self.engine.handle_timeout(self.now);
                self.drain();
            }
            self.advance(until);
            for link in 1..=LINKS {
                self.say(link, &Frame::Wants(Wants { wants: 1 }));
            }
        }
    }

    fn advance(&mut self, to: Micros) {
        self.now.wall_ms += to.since(self.now.mono).as_millis();
        self.now.mono = to;
    }

    fn links_up(&self) -> usize {
        self.engine.links().iter().filter(|link| link.up).count()
    }
}

fn neighbour(link: u64) -> Keypair {
    invented(1 << 40 | link)
}

fn record(number: u64, bytes: usize, links: Vec<RecordLink>) -> SignedRecord {
    let keypair = invented(number);
    // Groups fill a record up to the size that is wanted.
    let name = |at: usize| GroupName::new(&format!("{at:0>100}")).expect("valid");
    let group = |at: usize| RecordGroup {
        name: name(at),
        role: 1,
        settings_version: 0,
        settings: None,
        ext: GroupExt::default(),
    };
    let record = Record {
        network: Config::default().network.hash(),
        peer: keypair.peer(),
        epoch: 1,
        version: 1,
        left: false,
        algorithm: ALGORITHM_VERSION,
        capacity: 8,
        coordinate: [0.0, 0.0, 0.0, 1.0, 1.0],
        addresses: vec![Address::new("/ip4/127.0.0.1/tcp/4001").expect("valid")],
        groups: (0..bytes / 110).map(group).collect(),
        links,
        capabilities: 0,
        ext: RecordExt::default(),
    };
    SignedRecord::sign(record, &keypair)
}

fn bundle(origin: &Keypair, seq: u64, now: Time, payload: usize) -> Frame {
    let header = BundleHeader {
        group: news_id(),
        origin: origin.peer(),
        epoch: 1,
        seq,
        flags: 0,
        published_at: now.wall_ms,
        lengths: vec![payload as u32],
        delays: Vec::new(),
        fragment: None,
        previous: if seq == 1 { [0; 32] } else { [1; 32] },
        payload_hash: [0; 32],
        header_lengths: Vec::new(),
        ext: BundleExt::default(),
    };
    let bundle = Bundle::sign(header, vec![b'x'; payload].into(), origin);
    let frame = BundleFrame {
        hops: 1,
        pulled: false,
        signed: bundle.signed.clone(),
        signature: bundle.signature,
    };
    Frame::Bundle(frame, bundle.payload)
}

/// Sends one thing after another until it is enough; gives the bytes that were sent.
fn pour(peer: &mut Flooded, mut send: impl FnMut(&mut Flooded, u64) -> usize) -> usize {
    let mut sent = 0;
    for number in 0.. {
        sent += send(peer, number);
        if sent >= FLOOD_BYTES {
            break;
        }
    }
    sent
}

/// Runs a flood, which gives the bytes that it sent, and reads the peak.
fn flood(mut send: impl FnMut(&mut Flooded) -> usize) {
    let mut sent = 0;
    let info = allocation_counter::measure(|| {
        let mut peer = Flooded::new();
        sent = send(&mut peer);
        peer.wait_ms(2_000);
    });
    let (peak, most) = (info.bytes_max as f64, MEMORY_MAX as f64 * PEAK_SHARE);
    println!(
        "sent {} MiB, peak {:.1} MiB, may be {:.1}",
        sent / MIB,
        peak / MIB as f64,
        most / MIB as f64
    );
    assert!(sent >= FLOOD_BYTES, "only {sent} bytes were sent");
    assert!(peak <= most, "{peak} bytes at the peak, {most} allowed");
}

#[test]
fn records_of_invented_peers_that_state_a_link() {
    flood(|peer| {
        let me = peer.engine.peer();
        let sent = pour(peer, |peer, number| {
            let links = vec![RecordLink {
                peer: me,
                rtt_us: 1_000,
            }];
            let record = record(number, 13_000, links);
            let sent = record.signed.len();
            let wire = WireRecord::new(record.signed.clone(), record.signature, 0);
            let records = vec![wire];
            peer.say(1 + number % LINKS, &Frame::Records(Records { records }));
            if number % 1_000 == 0 {
                peer.wait_ms(100);
            }
            sent
        });
        assert_eq!(peer.links_up() as u64, LINKS, "records end no link");
        sent
    });
}

#[test]
fn messages_ahead_of_one_that_never_comes() {
    flood(|peer| {
        pour(peer, |peer, number| {
            let origin = invented(number % 8);
            let frame = bundle(&origin, 2 + number / 8, peer.now, 60_000);
            peer.say(1 + number % LINKS, &frame);
            60_000
        })
    });
}

#[test]
fn messages_that_are_retained() {
    flood(|peer| {
        pour(peer, |peer, number| {
            let origin = invented(number);
            let frame = bundle(&origin, 1, peer.now, 200_000);
            peer.say(1 + number % LINKS, &frame);
            200_000
        })
    });
}

/// Each has a log, and the log takes as much as the message.
#[test]
fn messages_of_throwaway_keys() {
    flood(|peer| {
        let sent = pour(peer, |peer, number| {
            let frame = bundle(&invented(number), 1, peer.now, 4_000);
            peer.say(1 + number % LINKS, &frame);
            if number % 1_000 == 0 {
                peer.wait_ms(100);
            }
            4_000
        });
        let groups = peer.engine.groups();
        let logs = groups.iter().map(|group| group.origins).max();
        assert!(logs > Some(1_000) && logs <= Some(2_049), "{logs:?} logs");
        sent
    });
}

/// A message that is kept keeps no more of the chunk it came in than it weighs.
#[test]
fn messages_that_are_a_small_part_of_what_is_read_at_once() {
    flood(|peer| {
        let mut junk = vec![0; 59_000];
        junk[..4].copy_from_slice(&(59_000_u32 - 4).to_be_bytes());
        // A kind that nobody knows.
        junk[4] = 255;
        pour(peer, |peer, number| {
            let frame = bundle(&invented(number), 1, peer.now, 5_000);
            let [head, payload] = frame.encode();
            let chunk = [&head[..], &payload[..], &junk[..]].concat();
            let sent = chunk.len();
            let link = LinkId(1 + number % LINKS);
            peer.feed(Input::Bytes {
                link,
                bytes: chunk.into(),
            });
            sent
        })
    });
}

#[test]
fn bundles_whose_checks_are_not_answered() {
    flood(|peer| {
        peer.checks = false;
        pour(peer, |peer, number| {
            let frame = bundle(&invented(number), 1, peer.now, 60_000);
            peer.say(1 + number % LINKS, &frame);
            60_000
        })
    });
}

#[test]
fn frames_for_links_that_do_not_read() {
    flood(|peer| {
        peer.writes = false;
        let origin = invented(1);
        for link in 10..40 {
            peer.link(link);
        }
        pour(peer, |peer, number| {
            let seq = number + 1;
            let frame = bundle(&origin, seq, peer.now, 60_000);
            peer.say(1, &frame);
            60_000
        })
    });
}

#[test]
fn digests_that_name_invented_origins() {
    flood(|peer| {
        pour(peer, |peer, number| {
            let entry = |at: u64| {
                let mut above = RangeSet::default();
                above.insert(20, 30);
                let mut key = [9; 32];
                key[..8].copy_from_slice(&(number * 1_000 + at).to_be_bytes());
                DigestEntry {
                    origin: PeerKey(key),
                    epoch: 1 + at,
                    floor: 1,
                    settled: 10,
                    above,
                }
            };
            let frame = Frame::Digest(Digest {
                group: news_id(),
                ask: false,
                entries: (0..1_000).map(entry).collect(),
            });
            let sent = frame.encode()[0].len();
            peer.say(1 + number % LINKS, &frame);
            if number % 100 == 0 {
                peer.wait_ms(100);
            }
            sent
        })
    });
}

#[test]
fn baselines_that_name_invented_origins() {
    flood(|peer| {
        pour(peer, |peer, number| {
            let origin = |at: u64| {
                let mut key = [9; 32];
                key[..8].copy_from_slice(&(number * 1_000 + at).to_be_bytes());
                BaselineOrigin {
                    origin: PeerKey(key),
                    epoch: 1,
                    settled: 5,
                    proof: None,
                    age_ms: 0,
                    past: vec![(1, 1); 10],
                }
            };
            let frame = Frame::Baseline(Baseline {
                group: news_id(),
                // Nobody answered in time: what is this old would be taken.
                older_ms: u64::MAX,
                alone: false,
                origins: (0..1_000).map(origin).collect(),
                last: false,
            });
            let sent = frame.encode()[0].len();
            peer.say(1 + number % LINKS, &frame);
            sent
        })
    });
}

#[test]
fn announcements_and_alternatives_of_invented_peers() {
    flood(|peer| {
        pour(peer, |peer, number| {
            let name = |at: u64| (number * 10_000 + at, 1, 1);
            let names = (0..8_000).map(name).collect();
            let frame = Frame::RecordAnnounce(RecordAnnounce { names });
            let sent = frame.encode()[0].len();
            peer.say(1 + number % LINKS, &frame);
            let alternative = |at: u64| {
                let text = format!("/dns4/{:0>60}.example/tcp/1", number * 8 + at);
                let address = Address::new(&text).expect("valid");
                (invented(number * 8 + at).peer(), vec![address; 8])
            };
            if number % 10 == 0 {
                let link = 100 + number;
                peer.link(link);
                let alternatives = (0..8).map(alternative).collect();
                peer.say(link, &Frame::Refuse(Refuse { alternatives }));
            }
            peer.wait_ms(100);
            sent
        })
    });
}

#[test]
fn frames_that_never_end() {
    flood(|peer| {
        pour(peer, |peer, number| {
            let link = number + 1_000;
            let peer_key = invented(link).peer();
            peer.feed(Input::Linked {
                link: LinkId(link),
                peer: peer_key,
                dial: None,
                address: None,
            });
            let mut begun = vec![0; 250_000];
            begun[..4].copy_from_slice(&255_000_u32.to_be_bytes());
            peer.feed(Input::Bytes {
                link: LinkId(link),
                bytes: begun.into(),
            });
            250_000
        })
    });
}
