//! What a neighbour can make another do with frames, lists and numbers at their limits, and which
//! of it ends its link.

use super::deltas::{signed_in, whole};
use super::{ELSEWHERE, EPOCH, LINK, Pair, key, news};
use bytes::Bytes;
use hedgerow_protocol::ranges::RangeSet;
use hedgerow_protocol::wire::bundle::BundleExt;
use hedgerow_protocol::wire::bundle::{BUNDLE_BYTES_MAX, HEADER_BYTES_MAX};
use hedgerow_protocol::wire::frame::{
    Acknowledge, BaselineOrigin, BundleFrame, Equivocation, MemberAck, Pull, Records, Subscribe,
    Wanted, Wants,
};
use hedgerow_protocol::wire::record::WireRecord;
use hedgerow_protocol::wire::{
    Bundle, BundleHeader, EPOCH_MAX, FRAME_BYTES_MAX, Frame, SignedRecord, VERSION_MAX,
};
use hedgerow_protocol::{Config, Event, GroupId, History, Input, Keypair};

fn group() -> GroupId {
    GroupId::new(&Config::default().network, &news())
}

/// A bundle of key 3 with messages of these lengths.
fn bundle(seq: u64, lengths: Vec<u32>) -> Bundle {
    let payload: u32 = lengths.iter().sum();
    let header = BundleHeader {
        group: group(),
        origin: key(3).peer(),
        epoch: EPOCH,
        seq,
        flags: 0,
        published_at: 1_700_000_000_000,
        lengths,
        delays: Vec::new(),
        fragment: None,
        previous: [u8::from(seq > 1); 32],
        payload_hash: [0; 32],
        header_lengths: Vec::new(),
        ext: BundleExt::default(),
    };
    Bundle::sign(header, Bytes::from(vec![b'x'; payload as usize]), &key(3))
}

/// A bundle whose frame has just this length after so many hops.
fn bundle_of_frame(bytes: usize, hops: u16) -> Frame {
    let frame = |bundle: Bundle| {
        let frame = BundleFrame {
            hops,
            pulled: false,
            signed: bundle.signed,
            signature: bundle.signature,
        };
        Frame::Bundle(frame, bundle.payload)
    };
    let length = |frame: &Frame| frame.encode().iter().map(Bytes::len).sum::<usize>();
    let around = length(&frame(bundle(1, vec![200_000]))) - 200_000;
    let frame = frame(bundle(1, vec![(bytes - around) as u32]));
    assert_eq!(length(&frame), bytes);
    frame
}

impl Pair {
    /// A member whose baseline is taken, with a log of key 3.
    fn member() -> Self {
        let mut pair = Self::new();
        pair.answer(0, None);
        assert!(pair.has_joined());
        pair
    }

    fn banned(&self) -> usize {
        self.engine.status().banned
    }
}

#[test]
fn a_bundle_that_another_hop_would_make_too_long_is_dropped_and_nobody_is_banned() {
    let mut pair = Pair::member();
    // With 24 hops the number takes a byte more, and the next peer could not take the frame.
    pair.say(&bundle_of_frame(FRAME_BYTES_MAX, 23));
    assert_eq!(pair.counted("bundles_oversized"), 1);
    assert_eq!((pair.banned(), pair.has_closed(LINK)), (0, false));
    assert!(pair.seqs().is_empty());
}

#[test]
fn a_header_that_no_proof_can_carry_is_dropped_and_nobody_is_banned() {
    let mut pair = Pair::member();
    let long = bundle(1, vec![70_000; 3]);
    assert!(long.signed.len() < HEADER_BYTES_MAX);
    // Empty messages, each with a length of nine bytes, would be no honest encoding; 4,096 lengths
    // of five bytes are.
    let header = BundleHeader {
        lengths: vec![0; 4_096],
        delays: vec![1 << 20; 4_096],
        ..long.header
    };
    let long = Bundle::sign(header, Bytes::new(), &key(3));
    assert!(long.signed.len() > HEADER_BYTES_MAX);
    pair.push_on(LINK, &long);
    assert_eq!(pair.counted("bundles_oversized"), 1);
    assert_eq!((pair.banned(), pair.has_closed(LINK)), (0, false));
}

#[test]
fn the_longest_bundle_is_taken_and_can_be_sent_on_after_any_number_of_hops() {
    let mut pair = Pair::member();
    let around = bundle(1, vec![200_000]).signed.len();
    let longest = bundle(1, vec![(BUNDLE_BYTES_MAX - around) as u32]);
    assert_eq!(
        longest.signed.len() + longest.payload.len(),
        BUNDLE_BYTES_MAX
    );
    let frame = BundleFrame {
        hops: 1_024,
        pulled: false,
        signed: longest.signed.clone(),
        signature: longest.signature,
    };
    pair.say(&Frame::Bundle(frame, longest.payload.clone()));
    assert_eq!(pair.seqs(), [1]);
    pair.heard.clear();
    // Its own decoder takes no frame beyond the limit.
    pair.pull(vec![Wanted {
        origin: key(3).peer(),
        epoch: EPOCH,
        ranges: RangeSet::of(1, 1),
    }]);
    let served = pair.heard.iter().find_map(|frame| match frame {
        Frame::Bundle(frame, payload) => Some((frame.hops, payload.len())),
        _ => None,
    });
    assert_eq!(served, Some((1_025, longest.payload.len())));
}

impl Pair {
    fn pull(&mut self, wanted: Vec<Wanted>) {
        let group = group();
        self.say(&Frame::Pull(Pull { group, wanted }));
    }
}

#[test]
fn a_pull_of_more_ranges_than_a_denial_holds_is_answered_in_part() {
    let mut pair = Pair::member();
    pair.heard.clear();
    let from = 1 << 40;
    let ranges: Vec<_> = (0..13_793)
        .map(|at| (from + 2 * at, from + 2 * at))
        .collect();
    pair.pull(vec![Wanted {
        origin: key(3).peer(),
        epoch: EPOCH,
        ranges: RangeSet::try_from(ranges).expect("ascending"),
    }]);
    let denied = pair.heard.iter().filter_map(|frame| match frame {
        Frame::NotHeld(frame) => Some(frame.wanted.ranges.range_count()),
        _ => None,
    });
    assert_eq!(denied.collect::<Vec<_>>(), [256]);
    assert_eq!(pair.counted("pulls_cut_short"), 1);
    assert_eq!(pair.counted("frames_oversized_unsent"), 0);
}

/// The own record of key 1, as somebody who copied the key would sign it.
fn own_record(pair: &Pair, epoch: u64, version: u64) -> Frame {
    let own = pair.engine.own_record().expect("has one");
    let mut record = own.record.clone();
    (record.epoch, record.version) = (epoch, version);
    whole(&SignedRecord::sign(record, &key(1)))
}

#[test]
fn after_the_last_version_comes_a_new_epoch() {
    let mut pair = Pair::new();
    let epoch = pair.engine.epoch();
    let copied = own_record(&pair, epoch, VERSION_MAX);
    pair.say(&copied);
    let status = pair.engine.status();
    assert_eq!((status.epoch, status.version), (epoch + 1, 1));
    assert!(!pair.has_closed(LINK));
}

#[test]
fn nothing_is_taken_above_the_last_epoch_and_nothing_ends_for_it() {
    let mut pair = Pair::new();
    let epoch = pair.engine.epoch();
    let copied = own_record(&pair, EPOCH_MAX, VERSION_MAX);
    pair.say(&copied);
    let in_use = |event: &Event| matches!(event, Event::IdentityInUse { .. });
    assert!(!pair.events.iter().any(in_use));
    assert_eq!(pair.engine.status().epoch, epoch);
}

#[test]
fn a_record_or_a_bundle_beyond_the_last_epoch_is_malformed() {
    let mut pair = Pair::new();
    let copied = own_record(&pair, EPOCH_MAX + 1, 1);
    pair.say(&copied);
    assert!(pair.has_closed(LINK));
    let mut pair = Pair::member();
    let header = BundleHeader {
        epoch: EPOCH_MAX + 1,
        ..bundle(1, vec![1]).header
    };
    let beyond = Bundle::sign(header, Bytes::from_static(b"x"), &key(3));
    pair.push_on(LINK, &beyond);
    assert!(pair.has_closed(LINK));
}

fn forged_ack(pair: &mut Pair, up_to: u64) -> Frame {
    pair.say(&whole(&signed_in(4, 1, vec![key(1).peer()], Vec::new())));
    Frame::Acknowledge(Acknowledge {
        group: group(),
        origin: key(1).peer(),
        epoch: 1,
        members: vec![MemberAck {
            member: key(4).peer(),
            up_to,
            lost: RangeSet::new(),
            signature: [7; 64],
        }],
    })
}

#[test]
fn a_forged_acknowledgement_ends_the_link_that_it_came_on() {
    let mut pair = Pair::member();
    let forged = forged_ack(&mut pair, 5);
    pair.say(&forged);
    assert_eq!(pair.counted("acknowledgements_forged"), 1);
    assert!(pair.has_closed(LINK));
    assert_eq!(pair.banned(), 1);
}

#[test]
fn who_hangs_up_before_a_forgery_is_found_is_banned_all_the_same() {
    let mut pair = Pair::member();
    let forged = forged_ack(&mut pair, 5);
    pair.checks_wait = true;
    pair.say(&forged);
    pair.feed(Input::LinkLost { link: LINK });
    pair.check();
    assert_eq!(pair.banned(), 1);
}

fn equivocation(first: &Bundle, second: &Bundle) -> Frame {
    Frame::Equivocation(Equivocation {
        first: first.signed.clone(),
        first_signature: first.signature,
        second: second.signed.clone(),
        second_signature: second.signature,
    })
}

#[test]
fn a_proof_of_equivocation_that_proves_nothing_ends_the_link() {
    let (first, second) = (bundle(1, vec![1]), bundle(1, vec![2]));
    let mut forged = second.clone();
    forged.signature[3] ^= 1;
    let cases = [
        ("the same", equivocation(&first, &first)),
        ("another entry", equivocation(&first, &bundle(5, vec![1]))),
        ("a forged second", equivocation(&first, &forged)),
        ("a forged first", equivocation(&forged, &first)),
    ];
    for (what, frame) in cases {
        let mut pair = Pair::member();
        pair.say(&frame);
        assert_eq!(pair.counted("proofs_refused"), 1, "{what}");
        assert!(pair.has_closed(LINK), "{what}");
        assert_eq!(pair.counted("origins_cut_off"), 0, "{what}");
    }
    let mut pair = Pair::member();
    pair.say(&equivocation(&first, &second));
    assert_eq!(pair.counted("origins_cut_off"), 1);
    assert!(!pair.has_closed(LINK), "it only tells");
}

#[test]
fn one_link_does_not_take_the_room_for_checks_of_all() {
    let mut config = Config::default();
    config.flow.verifying_max = 16;
    let mut pair = Pair::with(0, config);
    pair.answer(0, None);
    pair.link_elsewhere();
    pair.checks_wait = true;
    for seq in 1..=40 {
        pair.push_on(LINK, &bundle(seq, vec![1]));
    }
    let greedy = pair.waiting.len();
    assert_eq!(greedy, 13);
    assert_eq!(pair.counted("bundles_unchecked"), 27);
    let honest = bundle_of(&key(5));
    pair.push_on(ELSEWHERE, &honest);
    assert_eq!(
        pair.waiting.len(),
        greedy + 1,
        "there is room for another link"
    );
    // Records have room of their own, shared in the same way.
    pair.say_on(
        ELSEWHERE,
        &whole(&signed_in(5, 1, vec![key(50).peer()], Vec::new())),
    );
    assert_eq!(pair.waiting.len(), greedy + 2);
}

/// The first bundle of an origin.
fn bundle_of(origin: &Keypair) -> Bundle {
    let header = BundleHeader {
        origin: origin.peer(),
        ..bundle(1, vec![1]).header
    };
    Bundle::sign(header, Bytes::from_static(b"x"), origin)
}

/// As many holes as a log may have, and how many bundles are sent beyond them.
const HOLES: u64 = 4_096;
const BEYOND: u64 = 500;
/// How long rounds of repair are watched.
const SECONDS: u64 = 4;

#[test]
fn a_log_takes_no_more_holes_than_repair_can_look_at() {
    let mut pair = Pair::member();
    let first = bundle(1, vec![1]);
    let header = BundleHeader {
        previous: first.hash,
        ..bundle(2, vec![1]).header
    };
    pair.push_on(LINK, &Bundle::sign(header, first.payload.clone(), &key(3)));
    for hole in 2..=HOLES + BEYOND {
        pair.push_on(LINK, &bundle(2 * hole, vec![1]));
    }
    assert_eq!(pair.counted("bundles_with_holes"), BEYOND);
    assert_eq!(
        pair.engine.groups().iter().map(|it| it.missing).max(),
        Some(HOLES)
    );
    // Rounds of repair are as far apart as they are long.
    let before = pair.counted("repair_looks");
    for _ in 0..SECONDS {
        pair.wait_ms(1_000);
        pair.say(&Frame::Wants(Wants { wants: 1 }));
    }
    let looks = pair.counted("repair_looks") - before;
    assert!(looks > 0 && looks <= SECONDS * 52_000, "{looks}");
    // Once a hole is mended there is room for another.
    pair.push_on(LINK, &first);
    pair.push_on(LINK, &bundle(2 * (HOLES + 1), vec![1]));
    assert_eq!(pair.counted("bundles_with_holes"), BEYOND);
    assert_eq!(pair.seqs(), [1, 2]);
    assert!(
        !pair.has_closed(LINK),
        "a line that loses much looks the same"
    );
}

#[test]
fn a_record_that_nobody_takes_is_counted_and_bans_nobody() {
    let mut pair = Pair::member();
    let record = WireRecord::new(Bytes::from(vec![1; 20_000]), [1; 64], 0);
    let records = vec![record];
    pair.say(&Frame::Records(Records { records }));
    assert_eq!(pair.counted("records_oversized"), 1);
    assert_eq!((pair.banned(), pair.has_closed(LINK)), (0, false));
}

/// An origin's first bundle, with about as long a header as may travel.
fn with_a_long_header(origin: u8) -> Bundle {
    let header = BundleHeader {
        origin: key(origin).peer(),
        lengths: vec![0; 4_000],
        delays: vec![1_000; 4_000],
        ..bundle(1, vec![1]).header
    };
    let bundle = Bundle::sign(header, Bytes::new(), &key(origin));
    assert!((HEADER_BYTES_MAX - 300..=HEADER_BYTES_MAX).contains(&bundle.signed.len()));
    bundle
}

#[test]
fn a_joiner_is_answered_however_long_the_headers_are_that_prove_the_answer() {
    const ORIGINS: u8 = 40;
    let mut pair = Pair::member();
    for origin in 100..100 + ORIGINS {
        pair.push_on(LINK, &with_a_long_header(origin));
    }
    pair.heard.clear();
    pair.say(&Frame::Subscribe(Subscribe {
        group: news(),
        role: 1,
        baseline: true,
        history: History::None,
        older_ms: 0,
    }));
    let answers = pair.heard.iter().filter_map(|frame| match frame {
        Frame::Baseline(frame) => Some(frame),
        _ => None,
    });
    let (mut proven, mut last) = (0, Vec::new());
    for answer in answers {
        let is_proven =
            |origin: &&BaselineOrigin| origin.proof.is_some() && origin.settled == 4_000;
        proven += answer.origins.iter().filter(is_proven).count();
        last.push(answer.last);
    }
    assert_eq!(proven, usize::from(ORIGINS));
    assert!(last.len() > 2, "in several frames");
    assert_eq!(last.iter().position(|last| *last), Some(last.len() - 1));
    assert_eq!(pair.counted("frames_oversized_unsent"), 0);
}
