//! Records of peers that somebody invented, records told with ages that are not so, and more records
//! than go through a link at once.

use super::deltas::whole;
use super::{EPOCH, LINK, Pair, hello, key};
use hedgerow_protocol::status::MemberState;
use hedgerow_protocol::wire::frame::{
    BucketRecords, Buckets, Heartbeat, RecordAnnounce, RecordName, RecordPull, Records,
};
use hedgerow_protocol::wire::record::GroupExt;
use hedgerow_protocol::wire::record::RecordExt;
use hedgerow_protocol::wire::record::{ALGORITHM_VERSION, WireRecord};
use hedgerow_protocol::wire::{Frame, Record, RecordGroup, RecordLink, SignedRecord};
use hedgerow_protocol::{Config, GroupName, Input, Keypair, LinkEnd, LinkId, PeerKey};
use std::collections::BTreeSet;

/// To the honest neighbour; the other one is on [`LINK`].
const HONEST: LinkId = LinkId(2);
const MINUTE_MS: u64 = 60_000;

/// A key that nobody else has.
fn invented(number: u32) -> Keypair {
    let mut secret = [9; 32];
    secret[..4].copy_from_slice(&number.to_le_bytes());
    Keypair::from_secret(secret)
}

/// The record of `keypair`, linked to these.
fn record(keypair: &Keypair, version: u64, links: &[PeerKey]) -> Record {
    let mut peers = links.to_vec();
    peers.sort();
    peers.dedup();
    Record {
        network: Config::default().network.hash(),
        peer: keypair.peer(),
        epoch: EPOCH,
        version,
        left: false,
        algorithm: ALGORITHM_VERSION,
        capacity: 8,
        coordinate: [1.0, 0.0, 0.0, 5.0, 0.5],
        addresses: Vec::new(),
        groups: Vec::new(),
        links: peers
            .into_iter()
            .map(|peer| RecordLink {
                peer,
                rtt_us: 40_000,
            })
            .collect(),
        capabilities: 0,
        ext: RecordExt::default(),
    }
}

fn linked(keypair: &Keypair, version: u64, links: &[PeerKey]) -> SignedRecord {
    SignedRecord::sign(record(keypair, version, links), keypair)
}

fn aged(record: &SignedRecord, age_ms: u64) -> Frame {
    let record = WireRecord::new(record.signed.clone(), record.signature, age_ms);
    Frame::Records(Records {
        records: vec![record],
    })
}

fn together(records: &[SignedRecord]) -> Frame {
    let records = records.iter();
    Frame::Records(Records {
        records: records
            .map(|record| WireRecord::new(record.signed.clone(), record.signature, 0))
            .collect(),
    })
}

impl Pair {
    /// An engine, a neighbour on [`LINK`] of which more is to be seen, and an honest one with 20
    /// peers behind it.
    fn with_view(config: Config) -> Self {
        let mut pair = Self::with(0, config);
        pair.feed(Input::Linked {
            link: HONEST,
            peer: key(50).peer(),
            dial: None,
            address: None,
        });
        pair.say_on(HONEST, &hello(0));
        pair.beat();
        let me = key(1).peer();
        let behind: Vec<PeerKey> = (60..80).map(|number| key(number).peer()).collect();
        let around: Vec<PeerKey> = behind.iter().copied().chain([me]).collect();
        pair.say_on(HONEST, &whole(&linked(&key(50), 1, &around)));
        pair.say(&whole(&linked(&key(2), 1, &[me])));
        for number in 60..80 {
            let links = [key(50).peer()];
            pair.say_on(HONEST, &whole(&linked(&key(number), 1, &links)));
        }
        pair.both_live_ms(2_000);
        assert_eq!(pair.engine.status().view_peers, 23);
        pair
    }

    /// Both neighbours say that they live, and answer what the engine's heartbeats ask.
    fn beat(&mut self) {
        let mono = self.now.mono;
        for link in [LINK, HONEST] {
            self.say_on(
                link,
                &Frame::Heartbeat(Heartbeat {
                    stamp_us: mono.0 + 1,
                    echo_us: mono.0 + 1,
                    held_us: 0,
                    ask: false,
                    coordinate: [0.0, 0.0, 0.0, 1.0, 1.0],
                    database: 0,
                    wall_ms: self.now.wall_ms,
                    groups: Vec::new(),
                }),
            );
        }
    }

    /// Time passes, and both neighbours live.
    fn both_live_ms(&mut self, ms: u64) {
        for _ in 0..ms / 500 {
            self.wait_ms(500);
            self.beat();
        }
    }

    /// Who of these is in the engine's view.
    fn lives(&self, peers: impl IntoIterator<Item = PeerKey>) -> usize {
        let members = self.engine.members(&GroupName::broadcast());
        let live: BTreeSet<PeerKey> = members
            .into_iter()
            .filter(|member| member.state == MemberState::Live)
            .map(|member| member.peer)
            .collect();
        peers.into_iter().filter(|peer| live.contains(peer)).count()
    }

    fn honest_live(&self) -> usize {
        self.lives((60..80).chain([50]).map(|number| key(number).peer()))
    }

    /// Somebody joins behind the honest neighbours, and is in the view a moment later.
    fn newcomer_is_met(&mut self) {
        let (one, new) = (key(60), key(90));
        self.say_on(HONEST, &whole(&linked(&new, 1, &[one.peer()])));
        let links = [key(50).peer(), new.peer()];
        self.say_on(HONEST, &whole(&linked(&one, 2, &links)));
        // What came too early is asked for.
        self.both_live_ms(500);
        if self.lives([new.peer()]) == 0 {
            self.say_on(HONEST, &whole(&linked(&new, 1, &[one.peer()])));
            self.both_live_ms(1_000);
        }
        assert_eq!(self.lives([new.peer()]), 1, "a newcomer is met");
    }

    fn both_are_linked(&self) {
        let links = self.engine.links();
        assert!(links.len() == 2 && links.iter().all(|link| link.up));
        let ends = self.engine.counters().link_ends;
        assert_eq!(ends.get(&LinkEnd::Stuck), None);
    }
}

/// 13 KB of groups.
fn many_groups() -> Vec<RecordGroup> {
    let group = |number: usize| RecordGroup {
        name: GroupName::new(&format!("{number:0>120}")).expect("valid"),
        role: 1,
        settings_version: 0,
        settings: None,
        ext: GroupExt::default(),
    };
    (0..103).map(group).collect()
}

/// 160 MB of records of invented peers, each of which states a link that nobody else states.
#[test]
fn a_flood_of_large_records_that_state_a_link_leaves_links_memory_and_the_view_alone() {
    let mut pair = Pair::with_view(Config::default());
    let groups = many_groups();
    let mut records = Vec::new();
    for number in 0..12_000 {
        let keypair = invented(number);
        let mut record = record(&keypair, 1, &[invented(number + 1_000_000).peer()]);
        record.groups.clone_from(&groups);
        records.push(SignedRecord::sign(record, &keypair));
        if records.len() == 16 {
            assert!((12 << 10..14 << 10).contains(&records[0].signed.len()));
            pair.say(&together(&records));
            records.clear();
        }
        if number % 4_000 == 0 {
            pair.both_live_ms(1_000);
        }
    }
    pair.both_live_ms(5_000);
    pair.both_are_linked();
    assert_eq!(pair.honest_live(), 21);
    let status = pair.engine.status();
    // 4 MiB at once, and 32 KiB a second.
    assert!(status.records < 450, "{} records", status.records);
    assert!(
        status.record_bytes < 16 << 20,
        "{} bytes",
        status.record_bytes
    );
    assert!(pair.counted("records_of_strangers") > 11_000);
    pair.newcomer_is_met();
}

/// Two that vouch for each other are as good as one that nobody vouches for.
#[test]
fn a_flood_of_records_that_vouch_for_each_other_leaves_everything_alone() {
    let mut pair = Pair::with_view(Config::default());
    let mut records = Vec::new();
    for number in (0..30_000).step_by(2) {
        let two = [invented(number), invented(number + 1)];
        records.push(linked(&two[0], 1, &[two[1].peer()]));
        records.push(linked(&two[1], 1, &[two[0].peer()]));
        if records.len() == 64 {
            pair.say(&together(&records));
            records.clear();
        }
        if number % 10_000 == 0 {
            pair.both_live_ms(1_000);
        }
    }
    pair.both_live_ms(5_000);
    pair.both_are_linked();
    assert_eq!(pair.honest_live(), 21);
    let records = pair.engine.status().records;
    // A quarter of the room.
    assert!(records <= 23 + 16_384 / 4, "{records} records");
    pair.newcomer_is_met();
}

/// All of them hang below a neighbour that exists, so nothing tells them from honest ones but that
/// they are new.
#[test]
fn invented_peers_below_a_real_link_displace_nobody() {
    let mut config = Config::default();
    config.database.records_max = 400;
    let mut pair = Pair::with_view(config);
    let below: Vec<Keypair> = (0..200).map(invented).collect();
    let keys: Vec<PeerKey> = below.iter().map(Keypair::peer).collect();
    let me = key(1).peer();
    let around: Vec<PeerKey> = keys.iter().copied().chain([me]).collect();
    pair.say(&whole(&linked(&key(2), 2, &around)));
    for (at, keypair) in below.iter().enumerate() {
        let deeper: Vec<Keypair> = (0..8)
            .map(|n| invented(1_000 + at as u32 * 8 + n))
            .collect();
        let links: Vec<PeerKey> = deeper
            .iter()
            .map(Keypair::peer)
            .chain([key(2).peer()])
            .collect();
        pair.say(&whole(&linked(keypair, 1, &links)));
        for one in &deeper {
            pair.say(&whole(&linked(one, 1, &[keypair.peer()])));
        }
    }
    pair.both_live_ms(40_000);
    pair.both_are_linked();
    assert_eq!(pair.honest_live(), 21);
    assert_eq!(pair.engine.status().records, 400);
    assert!(pair.counted("records_without_room") > 1_000);
}

/// Nobody signs ages.
#[test]
fn a_neighbour_that_tells_old_ages_makes_nobody_expire() {
    let mut pair = Pair::with_view(Config::default());
    let kept_ms = 30 * MINUTE_MS;
    for number in 60..80 {
        let links = [key(50).peer()];
        let record = linked(&key(number), 2, &links);
        pair.say(&aged(&record, kept_ms - 1_000));
    }
    assert_eq!(pair.counted("ages_doubted"), 20);
    pair.both_live_ms(10 * MINUTE_MS);
    assert_eq!(pair.honest_live(), 21);
    assert_eq!(pair.counted("records_expired"), 0);
    // The peers do not say anything more: they are gone when their time is over.
    pair.both_live_ms(21 * MINUTE_MS);
    assert_eq!(pair.counted("records_expired"), 22);
}

/// Outside the view nobody vouches for a peer, and the smallest age counts.
#[test]
fn the_smallest_age_that_was_told_counts() {
    let mut pair = Pair::with_view(Config::default());
    let kept_ms = 30 * MINUTE_MS;
    let far = [invented(1), invented(2)];
    let records = [
        linked(&far[0], 1, &[far[1].peer()]),
        linked(&far[1], 1, &[far[0].peer()]),
    ];
    let before = pair.engine.status().records;
    for record in &records {
        pair.say(&aged(record, kept_ms - MINUTE_MS));
    }
    pair.say_on(HONEST, &aged(&records[0], 5 * MINUTE_MS));
    assert_eq!(pair.counted("ages_lowered"), 1);
    // An older age changes nothing.
    pair.say(&aged(&records[0], kept_ms - MINUTE_MS));
    pair.both_live_ms(2 * MINUTE_MS);
    assert_eq!(pair.engine.status().records, before + 1);
    // It is told on as it was told.
    pair.heard.clear();
    pair.say(&Frame::RecordPull(RecordPull {
        prefixes: vec![far[0].peer().prefix()],
    }));
    let told: Vec<u64> = pair.told().iter().map(|record| record.age_ms).collect();
    assert!(
        told.len() == 1 && (7 * MINUTE_MS - 2_000..=7 * MINUTE_MS).contains(&told[0]),
        "{told:?}"
    );
}

impl Pair {
    /// The records that the neighbour on [`LINK`] was sent.
    fn told(&self) -> Vec<&WireRecord> {
        let frames = self.heard.iter();
        frames
            .filter_map(|frame| match frame {
                Frame::Records(frame) => Some(&frame.records),
                _ => None,
            })
            .flatten()
            .collect()
    }

    fn pages(&self) -> Vec<&BucketRecords> {
        let frames = self.heard.iter();
        frames
            .filter_map(|frame| match frame {
                Frame::BucketRecords(page) => Some(page),
                _ => None,
            })
            .collect()
    }

    /// 1,600 peers below honest ones.
    fn add_many(&mut self) -> Vec<SignedRecord> {
        let mut all = Vec::new();
        for number in 60..80 {
            let below: Vec<Keypair> = (0..80)
                .map(|n| invented(u32::from(number) * 1_000 + n))
                .collect();
            let links: Vec<PeerKey> = below.iter().map(Keypair::peer).collect();
            let links: Vec<PeerKey> = links.into_iter().chain([key(50).peer()]).collect();
            self.say_on(HONEST, &whole(&linked(&key(number), 2, &links)));
            let above = key(number).peer();
            for one in &below {
                let record = linked(one, 1, &[above]);
                self.say_on(HONEST, &whole(&record));
                all.push(record);
            }
        }
        self.both_live_ms(5_000);
        all
    }
}

#[test]
fn a_database_is_told_page_by_page_and_no_faster_than_the_link_takes_it() {
    let mut pair = Pair::with_view(Config::default());
    let all = pair.add_many();
    assert_eq!(pair.engine.status().view_peers, 23 + all.len());
    // Nothing that is sent from now on is written.
    pair.writes_wait = true;
    pair.heard.clear();
    let mut names: Vec<RecordName> = Vec::new();
    let mut from = Some(0);
    while let Some(first) = from {
        pair.heard.clear();
        pair.say(&Frame::Buckets(Buckets {
            hashes: vec![1; 256],
            from: first,
        }));
        let pages = pair.pages();
        let [page] = pages[..] else {
            panic!("{} pages", pages.len());
        };
        assert!(page.names.len() <= 1_024 && page.from == first);
        names.extend(&page.names);
        from = page.until;
    }
    assert_eq!(names.len(), 23 + all.len());
    pair.heard.clear();
    let prefixes: Vec<u64> = names.iter().map(|name| name.0).collect();
    for prefixes in prefixes.chunks(500) {
        let prefixes = prefixes.to_vec();
        pair.say(&Frame::RecordPull(RecordPull { prefixes }));
    }
    let queued = |pair: &Pair| pair.engine.links()[0].queued.control;
    assert!(queued(&pair) < 512 << 10, "{} bytes wait", queued(&pair));
    assert!(pair.told().len() < names.len());
    // The transport writes, and everything comes.
    pair.writes_wait = false;
    pair.feed(Input::Sent {
        link: LINK,
        bytes: 128 << 10,
    });
    pair.both_live_ms(1_000);
    let told: BTreeSet<Vec<u8>> = pair.told().iter().map(|r| r.signed.to_vec()).collect();
    assert_eq!(told.len(), names.len());
    pair.both_are_linked();
}

#[test]
fn what_is_lacking_is_asked_for_in_portions() {
    let mut pair = Pair::with_view(Config::default());
    // A database of 1,500 peers below the honest one, of which the engine holds none.
    let below: Vec<Keypair> = (0..1_500).map(invented).collect();
    let mut records: Vec<SignedRecord> = Vec::new();
    for (at, one) in below.iter().enumerate() {
        let above = if at == 0 {
            key(60).peer()
        } else {
            below[(at - 1) / 4].peer()
        };
        let deeper = (at * 4 + 1..at * 4 + 5).filter_map(|at| below.get(at));
        let links: Vec<PeerKey> = deeper.map(Keypair::peer).chain([above]).collect();
        records.push(linked(one, 1, &links));
    }
    let links = [key(50).peer(), below[0].peer()];
    records.push(linked(&key(60), 2, &links));
    records.sort_by_key(|record| record.record.peer);
    // Different hashes for a while, and the engine asks.
    pair.both_live_ms(12_000);
    pair.heard.clear();
    let (mut most, mut asked) = (0, BTreeSet::new());
    for _ in 0..400 {
        let heard: Vec<Frame> = std::mem::take(&mut pair.heard);
        for frame in heard {
            match frame {
                Frame::Buckets(ask) => {
                    let rest = records.iter().filter(|r| r.name().0 >= ask.from);
                    let mut names: Vec<RecordName> = rest.map(SignedRecord::name).collect();
                    let until = names.get(300).map(|name| name.0);
                    names.truncate(300);
                    let from = ask.from;
                    let buckets = (0..=255).collect();
                    pair.say(&Frame::BucketRecords(BucketRecords {
                        buckets,
                        names,
                        from,
                        until,
                    }));
                }
                Frame::RecordPull(pull) => {
                    most = most.max(pull.prefixes.len());
                    asked.extend(pull.prefixes.iter().copied());
                    for prefix in pull.prefixes {
                        let found = records.iter().find(|r| r.name().0 == prefix);
                        if let Some(record) = found {
                            pair.say(&whole(record));
                        }
                    }
                }
                _ => {}
            }
        }
        pair.both_live_ms(500);
        if pair.engine.status().view_peers == 23 + below.len() {
            break;
        }
    }
    assert_eq!(pair.engine.status().view_peers, 23 + below.len());
    assert!(most <= 512, "{most} records asked for at once");
    assert!(asked.len() >= below.len());
    pair.both_are_linked();
}

/// Whoever gets many records tells of them, for most neighbours hold them.
#[test]
fn what_comes_with_many_others_is_announced() {
    let mut pair = Pair::with_view(Config::default());
    let new = key(90);
    let record = linked(&new, 1, &[key(60).peer()]);
    let links = [key(50).peer(), new.peer()];
    pair.say_on(HONEST, &whole(&linked(&key(60), 2, &links)));
    pair.both_live_ms(500);
    pair.heard.clear();
    // It was missing, and asked for.
    pair.say_on(HONEST, &whole(&record));
    pair.both_live_ms(500);
    let is_told = |frame: &Frame| match frame {
        Frame::RecordAnnounce(RecordAnnounce { names }) => names.contains(&record.name()),
        _ => false,
    };
    assert!(pair.heard.iter().any(is_told));
    assert!(pair.told().iter().all(|told| told.signed != record.signed));
}

/// The harness above: an engine measures the neighbours that answer.
#[test]
fn both_neighbours_are_stated() {
    let pair = Pair::with_view(Config::default());
    let record = pair.engine.own_record().expect("it states one");
    assert_eq!(record.record.links.len(), 2);
}
