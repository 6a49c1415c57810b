//! Records that come as what turns the one before into them.

use super::{ELSEWHERE, EPOCH, LINK, Pair, key};
use hedgerow_protocol::wire::delta::{RECORD_DELTAS, RecordDelta, RecordDeltas};
use hedgerow_protocol::wire::frame::{RecordPull, Records};
use hedgerow_protocol::wire::record::RecordExt;
use hedgerow_protocol::wire::record::{ALGORITHM_VERSION, RECORD_BYTES_MAX, WireRecord};
use hedgerow_protocol::wire::{Frame, Record, RecordGroup, RecordLink, SignedRecord};
use hedgerow_protocol::{Config, GroupName, JoinOptions, PeerKey};

/// The record of key 3 with so many links.
fn record(version: u64, links: u8) -> SignedRecord {
    let peers = (10..10 + links).map(|number| key(number).peer());
    signed(3, version, peers.collect())
}

/// A record of this key with as many links as one may have, of which the next version has half.
fn large(number: u8, version: u64) -> SignedRecord {
    let peer = |at: u8| {
        let since = if at < 128 { 0 } else { version as u8 };
        PeerKey(*blake3::hash(&[number, since, at]).as_bytes())
    };
    let peers = (0..=255).map(peer);
    signed(number, version, peers.collect())
}

fn signed(number: u8, version: u64, peers: Vec<PeerKey>) -> SignedRecord {
    signed_in(number, version, peers, Vec::new())
}

/// The same of somebody in these groups.
pub(super) fn signed_in(
    number: u8,
    version: u64,
    mut peers: Vec<PeerKey>,
    groups: Vec<RecordGroup>,
) -> SignedRecord {
    peers.sort();
    let link = |peer| RecordLink {
        peer,
        rtt_us: 40_000,
    };
    let record = Record {
        network: Config::default().network.hash(),
        peer: key(number).peer(),
        epoch: EPOCH,
        version,
        left: false,
        algorithm: ALGORITHM_VERSION,
        capacity: 8,
        coordinate: [1.0, 0.0, 0.0, 5.0, 0.5],
        addresses: Vec::new(),
        groups,
        links: peers.into_iter().map(link).collect(),
        capabilities: 0,
        ext: RecordExt::default(),
    };
    SignedRecord::sign(record, &key(number))
}

pub(super) fn whole(record: &SignedRecord) -> Frame {
    let record = WireRecord::new(record.signed.clone(), record.signature, 0);
    Frame::Records(Records {
        records: vec![record],
    })
}

fn delta(base: &SignedRecord, record: &SignedRecord) -> RecordDelta {
    RecordDelta::between(base, record, 0).expect("shorter")
}

impl Pair {
    fn say_delta(&mut self, delta: RecordDelta) {
        self.say(&Frame::RecordDeltas(RecordDeltas {
            deltas: vec![delta],
        }));
    }

    /// Another neighbour sends a record.
    fn say_from_elsewhere(&mut self, record: &SignedRecord) {
        self.say_on(ELSEWHERE, &whole(record));
    }

    /// How often key 3's record was asked for.
    fn pulls(&self) -> usize {
        let prefixes = vec![key(3).peer().prefix()];
        let pull = Frame::RecordPull(RecordPull { prefixes });
        self.heard.iter().filter(|frame| **frame == pull).count()
    }
}

#[test]
fn a_delta_from_what_is_held_gives_the_record() {
    let mut pair = Pair::new();
    let (first, second) = (record(1, 7), record(2, 8));
    pair.say(&whole(&first));
    pair.say_delta(delta(&first, &second));
    assert_eq!(pair.counted("records_accepted"), 2);
    assert_eq!(pair.counted("records_by_delta"), 1);
    // What is held already, and what is older, costs nothing.
    pair.say_delta(delta(&first, &second));
    pair.say_delta(delta(&second, &first));
    assert_eq!(pair.counted("records_by_delta"), 1);
    pair.wait_ms(50);
    assert_eq!((pair.pulls(), pair.has_closed(LINK)), (0, false));
}

#[test]
fn a_delta_from_what_is_still_being_checked_gives_the_record() {
    let mut pair = Pair::new();
    pair.checks_wait = true;
    let (first, second) = (record(1, 7), record(2, 8));
    pair.say(&whole(&first));
    pair.say_delta(delta(&first, &second));
    pair.check();
    assert_eq!(pair.counted("records_accepted"), 2);
    assert_eq!(pair.counted("records_by_delta"), 1);
}

#[test]
fn who_does_not_hold_the_one_before_asks_for_the_whole() {
    let mut pair = Pair::new();
    let (first, second, third) = (record(1, 7), record(2, 8), record(3, 8));
    pair.say_delta(delta(&first, &second));
    pair.wait_ms(1);
    assert_eq!((pair.pulls(), pair.has_closed(LINK)), (1, false));
    pair.say(&whole(&first));
    pair.say_delta(delta(&second, &third));
    pair.wait_ms(1);
    assert_eq!((pair.pulls(), pair.has_closed(LINK)), (2, false));
    assert_eq!(pair.counted("records_without_base"), 2);
    assert_eq!(pair.counted("records_accepted"), 1);
}

/// A copied key, or an issuer that says two things under one name: everybody keeps the one with the
/// larger hash, whichever came first.
#[test]
fn of_two_records_with_one_name_the_same_stays_whichever_comes_first() {
    let first = record(1, 7);
    let (one, other) = (record(2, 8), record(2, 9));
    let (less, more) = if one.hash < other.hash {
        (one, other)
    } else {
        (other, one)
    };
    // The winner comes second, from a base that is not held any more.
    let mut pair = Pair::new();
    for record in [&first, &less] {
        pair.say(&whole(record));
    }
    pair.say_delta(delta(&first, &more));
    assert_eq!(pair.pulls(), 1);
    pair.say(&whole(&more));
    assert_eq!(pair.counted("records_accepted"), 3);
    // It comes first: who sends the other one is told.
    let mut pair = Pair::new();
    for record in [&first, &more] {
        pair.say(&whole(record));
    }
    pair.heard.clear();
    pair.say_delta(delta(&first, &less));
    pair.wait_ms(50);
    assert_eq!((pair.counted("records_accepted"), pair.pulls()), (2, 0));
    let is_it = |frame: &Frame| match frame {
        Frame::Records(frame) => frame
            .records
            .iter()
            .any(|record| record.signed == more.signed),
        _ => false,
    };
    assert!(pair.heard.iter().any(is_it));
}

/// Whoever passes it on may hold another record of the same hash.
#[test]
fn a_delta_that_gives_something_else_than_it_says_is_asked_for_and_no_offence() {
    let mut pair = Pair::new();
    let first = record(1, 7);
    pair.say(&whole(&first));
    let mut other = delta(&first, &record(2, 8));
    other.hash ^= 1;
    let mut cut = delta(&first, &record(3, 8));
    cut.block.truncate(cut.block.len() / 2);
    for delta in [other, cut] {
        pair.say_delta(delta);
        pair.wait_ms(1);
    }
    assert_eq!((pair.pulls(), pair.has_closed(LINK)), (2, false));
    assert_eq!(pair.counted("records_accepted"), 1);
    // Nothing that it sends so is looked at again.
    pair.say_delta(delta(&first, &record(4, 8)));
    assert_eq!((pair.pulls(), pair.counted("records_by_delta")), (3, 0));
}

#[test]
fn a_delta_that_gives_a_forged_record_ends_the_link() {
    let mut pair = Pair::new();
    let first = record(1, 7);
    pair.say(&whole(&first));
    let mut forged = delta(&first, &record(2, 8));
    forged.signature[5] ^= 1;
    pair.say_delta(forged);
    assert!(pair.has_closed(LINK));
    assert_eq!(pair.counted("records_forged"), 1);
}

#[test]
fn a_delta_that_would_take_more_memory_than_a_record_may_is_refused() {
    let mut pair = Pair::new();
    let first = record(1, 7);
    pair.say(&whole(&first));
    // The most that a number says.
    let mut huge = delta(&first, &record(2, 8));
    huge.bytes = u32::MAX;
    pair.say_delta(huge);
    assert_eq!(pair.counted("records_oversized"), 1);
    assert!(!pair.has_closed(LINK));
}

#[test]
fn only_who_knows_deltas_gets_them() {
    for (features, expected) in [(0, 0), (RECORD_DELTAS, 1)] {
        let mut pair = Pair::with_capabilities(features);
        pair.say(&whole(&record(1, 8)));
        pair.wait_ms(2_000);
        pair.heard.clear();
        let group = GroupName::new("other").expect("valid");
        let options = JoinOptions::default();
        pair.engine.join(pair.now, group, options).expect("joins");
        pair.wait_ms(2_000);
        let (mut deltas, mut wholes) = (0, 0);
        for frame in &pair.heard {
            deltas += usize::from(matches!(frame, Frame::RecordDeltas(_)));
            wholes += usize::from(matches!(frame, Frame::Records(_)));
        }
        assert_eq!((deltas, wholes), (expected, 1 - expected));
    }
}

/// Deltas of large records that come together are cut into frames that fit.
#[test]
fn what_is_passed_on_together_fits_into_frames() {
    let mut pair = Pair::with_capabilities(RECORD_DELTAS);
    pair.link_elsewhere();
    let records: Vec<_> = (100..180).map(|number| large(number, 1)).collect();
    for record in &records {
        assert!(record.signed.len() <= RECORD_BYTES_MAX);
        pair.say_from_elsewhere(record);
    }
    pair.wait_ms(50);
    pair.heard.clear();
    for number in 100..180 {
        pair.say_from_elsewhere(&large(number, 2));
    }
    pair.wait_ms(50);
    let deltas = pair.heard.iter().filter_map(|frame| match frame {
        Frame::RecordDeltas(frame) => Some(frame.deltas.len()),
        _ => None,
    });
    let counts: Vec<usize> = deltas.collect();
    assert_eq!(counts.iter().sum::<usize>(), records.len());
    assert!(counts.len() > 1, "{counts:?}");
    assert!(
        !pair
            .engine
            .counters()
            .values
            .contains_key("frames_oversized_unsent")
    );
}
