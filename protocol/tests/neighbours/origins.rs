//! Many origins: those that a digest makes up, those that come and go, those met late.

use super::{EPOCH, LINK, Pair, key, news};
use bytes::Bytes;
use hedgerow_protocol::ranges::RangeSet;
use hedgerow_protocol::wire::bundle::BundleExt;
use hedgerow_protocol::wire::frame::{Digest, DigestEntry, OriginRefused, Wants};
use hedgerow_protocol::wire::{Bundle, BundleHeader, Frame};
use hedgerow_protocol::{Config, Event, GroupId, GroupName, Keypair, PeerKey};
use std::ops::RangeInclusive;

/// A key of its own for each number.
fn throwaway(number: u32) -> Keypair {
    let mut secret = [9; 32];
    secret[..4].copy_from_slice(&number.to_be_bytes());
    Keypair::from_secret(secret)
}

/// Messages of one byte, each with the hash of the one before.
fn messages_in(
    pair: &Pair,
    group: &GroupName,
    signer: &Keypair,
    seqs: RangeInclusive<u64>,
) -> Vec<Bundle> {
    let mut previous = [u8::from(*seqs.start() > 1); 32];
    let mut bundles = Vec::new();
    for seq in seqs {
        let header = BundleHeader {
            group: GroupId::new(&Config::default().network, group),
            origin: signer.peer(),
            epoch: EPOCH,
            seq,
            flags: 0,
            published_at: pair.now.wall_ms,
            lengths: vec![1],
            delays: Vec::new(),
            fragment: None,
            previous,
            payload_hash: [0; 32],
            header_lengths: Vec::new(),
            ext: BundleExt::default(),
        };
        let bundle = Bundle::sign(header, Bytes::from_static(b"x"), signer);
        previous = bundle.hash;
        bundles.push(bundle);
    }
    bundles
}

fn messages(pair: &Pair, signer: &Keypair, seqs: RangeInclusive<u64>) -> Vec<Bundle> {
    messages_in(pair, &news(), signer, seqs)
}

/// The first message of an origin.
fn message(pair: &Pair, signer: &Keypair) -> Bundle {
    messages(pair, signer, 1..=1).remove(0)
}

fn holds(origin: PeerKey, floor: u64, settled: u64) -> DigestEntry {
    DigestEntry {
        origin,
        epoch: EPOCH,
        floor,
        settled,
        above: RangeSet::default(),
    }
}

fn with_origins_max(origins_max: usize) -> Pair {
    let mut config = Config::default();
    config.groups.origins_max = origins_max;
    Pair::joined(config)
}

impl Pair {
    fn say_holds(&mut self, entries: Vec<DigestEntry>) {
        self.say(&Frame::Digest(Digest {
            group: GroupId::new(&Config::default().network, &news()),
            ask: false,
            entries,
        }));
    }

    /// What the neighbour has been asked for.
    fn asked_for(&self) -> Vec<PeerKey> {
        let wanted = self.heard.iter().filter_map(|frame| match frame {
            Frame::Pull(pull) => Some(&pull.wanted),
            _ => None,
        });
        wanted.flatten().map(|wanted| wanted.origin).collect()
    }

    /// The neighbour is alive for a while.
    fn live_for_ms(&mut self, ms: u64) {
        self.wait_ms(ms);
        self.say(&Frame::Wants(Wants { wants: 1 }));
    }
}

#[test]
fn what_a_digest_makes_up_makes_no_log_and_is_sought_a_little_at_a_time() {
    let mut pair = with_origins_max(64);
    for batch in 0..20 {
        let numbers = 1_000 * batch..1_000 * (batch + 1);
        let entries = numbers.map(|number| {
            let mut origin = [7; 32];
            origin[..4].copy_from_slice(&u32::to_be_bytes(number));
            holds(PeerKey(origin), 1, 1)
        });
        pair.say_holds(entries.collect());
    }
    pair.live_for_ms(900);
    assert_eq!(pair.origins(), 0);
    let asked = pair.asked_for().len();
    assert!((1..=256).contains(&asked), "{asked} asked for");
    // A publisher that starts now is delivered.
    let bundle = message(&pair, &key(3));
    pair.push_on(LINK, &bundle);
    assert_eq!(pair.seqs(), [1]);
    assert_eq!((pair.origins(), pair.counted("origins_refused")), (1, 0));
}

#[test]
fn of_many_real_origins_that_a_digest_names_all_are_found() {
    let mut pair = with_origins_max(2_000);
    let keys: Vec<Keypair> = (0..600).map(throwaway).collect();
    let entries = keys.iter().map(|key| holds(key.peer(), 1, 1)).collect();
    pair.say_holds(entries);
    for _ in 0..100 {
        pair.live_for_ms(100);
        let asked = pair.asked_for();
        pair.heard.clear();
        for key in keys.iter().filter(|key| asked.contains(&key.peer())) {
            let bundle = message(&pair, key);
            pair.send(&bundle);
        }
    }
    assert_eq!(pair.delivered.len(), 600);
    assert_eq!(pair.origins(), 600);
    assert!(pair.gaps().is_empty());
}

#[test]
fn throwaway_keys_displace_each_other_and_no_peer_that_is_in_reach() {
    let mut pair = with_origins_max(8);
    // The neighbour itself publishes, long before.
    let known = messages(&pair, &key(2), 1..=2);
    pair.push_on(LINK, &known[0]);
    let flood: Vec<Bundle> = (0..200)
        .map(|number| message(&pair, &throwaway(number)))
        .collect();
    for bundle in &flood {
        pair.push_on(LINK, bundle);
        pair.live_for_ms(10);
    }
    assert_eq!(pair.delivered.len(), 201, "all the same, each is delivered");
    assert_eq!(pair.origins(), 8);
    assert_eq!(pair.counted("origins_refused"), 0);
    assert!(pair.counted("logs_displaced") > 190);
    pair.push_on(LINK, &flood[3]);
    pair.push_on(LINK, &flood[195]);
    // Of the neighbour's log nothing has been lost.
    pair.push_on(LINK, &known[1]);
    pair.push_on(LINK, &known[0]);
    assert_eq!(pair.seqs()[201..], [2]);
    assert!(pair.gaps().is_empty());
}

#[test]
fn jobs_with_a_fresh_key_each_go_on_for_ever() {
    let mut pair = with_origins_max(16);
    for number in 0..200 {
        let bundle = message(&pair, &throwaway(number));
        pair.push_on(LINK, &bundle);
        pair.live_for_s(60, |_| {});
    }
    assert_eq!(pair.delivered.len(), 200);
    assert_eq!(pair.counted("origins_refused"), 0);
    assert_eq!(
        pair.counted("logs_displaced"),
        0,
        "those with nothing left give way"
    );
    assert!(pair.origins() < 16);
}

/// Sequence numbers are taken no further ahead than 100.
fn with_a_window_of_100() -> Pair {
    let mut config = Config::default();
    config.groups.window = 100;
    Pair::joined(config)
}

#[test]
fn a_member_that_meets_an_origin_beyond_the_window_begins_where_a_neighbour_can_serve() {
    let mut pair = with_a_window_of_100();
    let late = messages(&pair, &key(3), 4_999..=5_001);
    pair.push_on(LINK, &late[1]);
    assert!(
        pair.seqs().is_empty(),
        "the neighbour may hold what comes before"
    );
    let asks = |frame: &Frame| matches!(frame, Frame::Digest(digest) if digest.ask);
    assert!(pair.heard.iter().any(asks), "so it is asked");
    pair.say_holds(vec![holds(key(3).peer(), 4_999, 5_000)]);
    pair.live_for_ms(900);
    assert_eq!(pair.asked_for(), [key(3).peer()]);
    pair.send(&late[0]);
    pair.send(&late[1]);
    pair.push_on(LINK, &late[2]);
    assert_eq!(pair.seqs(), [4_999, 5_000, 5_001]);
    assert_eq!(pair.gaps(), [(EPOCH, 1, 4_998)]);
}

#[test]
fn a_member_that_was_away_for_more_than_the_window_goes_on() {
    let mut pair = with_a_window_of_100();
    let first = message(&pair, &key(3));
    pair.push_on(LINK, &first);
    let late = messages(&pair, &key(3), 4_990..=5_001);
    pair.say_holds(vec![holds(key(3).peer(), 4_990, 5_000)]);
    pair.push_on(LINK, &late[11]);
    for bundle in &late[..11] {
        pair.send(bundle);
    }
    assert_eq!(pair.gaps(), [(EPOCH, 2, 4_989)]);
    assert_eq!(pair.delivered.len(), 1 + 12);
}

#[test]
fn a_relay_that_meets_an_origin_beyond_the_window_carries_it() {
    let mut pair = with_a_window_of_100();
    let strange = GroupName::new("strange").expect("valid");
    let mut late = messages_in(&pair, &strange, &key(3), 5_000..=5_001);
    late.extend(messages_in(&pair, &strange, &key(3), 9_000..=9_000));
    for bundle in &late {
        pair.push_on(LINK, bundle);
    }
    let groups = pair.engine.groups();
    let relayed = groups.iter().find(|group| group.group.is_none());
    let relayed = relayed.expect("relayed");
    assert_eq!((relayed.origins, relayed.retained), (1, 3));
    assert_eq!(pair.counted("bundles_without_room"), 0);
}

#[test]
fn a_publisher_hears_from_a_neighbour_that_has_no_room_for_it() {
    let mut pair = with_origins_max(1);
    // The neighbour fills the only place and is no stranger.
    let theirs = message(&pair, &key(2));
    pair.push_on(LINK, &theirs);
    pair.heard.clear();
    let refused = messages(&pair, &key(3), 1..=2);
    for bundle in &refused {
        pair.push_on(LINK, bundle);
    }
    assert_eq!(pair.counted("origins_refused"), 2);
    assert_eq!(pair.gaps(), [(EPOCH, 1, 1), (EPOCH, 2, 2)]);
    let told = OriginRefused {
        group: GroupId::new(&Config::default().network, &news()),
        origin: key(3).peer(),
        epoch: EPOCH,
    };
    let is_told = |frame: &&Frame| **frame == Frame::OriginRefused(told.clone());
    assert_eq!(
        pair.heard.iter().filter(is_told).count(),
        1,
        "once a second"
    );
    // The other way round.
    pair.publish_own(b"mine").expect("delivered");
    let own = OriginRefused {
        origin: key(1).peer(),
        epoch: pair.engine.epoch(),
        ..told
    };
    pair.say(&Frame::OriginRefused(own.clone()));
    pair.say(&Frame::OriginRefused(own));
    let (group, peer) = (news(), key(2).peer());
    let heard = Event::OriginRefused { group, peer };
    let times = pair.events.iter().filter(|event| **event == heard).count();
    assert_eq!(times, 1);
}
