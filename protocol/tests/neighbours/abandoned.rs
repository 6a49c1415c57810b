//! Large messages that end in their middle.

use super::deltas::{signed_in, whole};
use super::{ELSEWHERE, EPOCH, LINK, Pair, key, news};
use bytes::Bytes;
use hedgerow_protocol::ranges::RangeSet;
use hedgerow_protocol::wire::bundle::BundleExt;
use hedgerow_protocol::wire::frame::{Baseline, Digest, DigestEntry, Equivocation, Wants};
use hedgerow_protocol::wire::{Bundle, BundleHeader, Fragment, Frame};
use hedgerow_protocol::{Config, Event, GroupId};

/// The first bundle of key 3 in this life: whole, or a message's first piece of three.
fn first_of(epoch: u64, fragment: Option<Fragment>) -> Bundle {
    bundle(epoch, 1, fragment, b"x")
}

fn bundle(epoch: u64, seq: u64, fragment: Option<Fragment>, payload: &'static [u8]) -> Bundle {
    let header = BundleHeader {
        group: GroupId::new(&Config::default().network, &news()),
        origin: key(3).peer(),
        epoch,
        seq,
        flags: 0,
        published_at: 1_700_000_000_000,
        lengths: vec![1],
        delays: Vec::new(),
        fragment,
        previous: [u8::from(seq > 1); 32],
        payload_hash: [0; 32],
        header_lengths: Vec::new(),
        ext: BundleExt::default(),
    };
    Bundle::sign(header, Bytes::from_static(payload), &key(3))
}

#[test]
fn what_was_begun_in_the_oldest_of_64_lives_is_told_as_a_gap_when_another_follows() {
    let mut pair = Pair::new();
    pair.answer(0, None);
    let piece = Fragment { index: 0, count: 3 };
    pair.push_on(LINK, &first_of(EPOCH, Some(piece)));
    for later in 1..64 {
        pair.push_on(LINK, &first_of(EPOCH + later, None));
    }
    assert_eq!(pair.seqs(), [1; 63]);
    assert!(pair.gaps().is_empty(), "it may still come");
    pair.push_on(LINK, &first_of(EPOCH + 64, None));
    assert_eq!(pair.seqs(), [1; 64]);
    assert_eq!(pair.gaps(), [(EPOCH, 1, 1)]);
    assert_eq!(pair.engine.status().ahead_bytes, 0);
    assert_eq!(pair.counted("logs_displaced"), 1);
}

#[test]
fn what_was_begun_in_an_older_life_waits_as_long_as_what_others_have_may_be_kept() {
    let mut pair = Pair::new();
    // The neighbour knows of no origin yet.
    pair.say(&Frame::Baseline(Baseline {
        group: GroupId::new(&Config::default().network, &news()),
        older_ms: 0,
        alone: false,
        origins: Vec::new(),
        last: true,
    }));
    let piece = Fragment { index: 0, count: 3 };
    pair.push_on(LINK, &first_of(EPOCH - 2, Some(piece)));
    pair.push_on(LINK, &first_of(EPOCH - 1, None));
    pair.say(&whole(&signed_in(3, 1, Vec::new(), Vec::new())));
    pair.digest(1);
    pair.live_for_s(2 * KEPT_S - 1, |_| {});
    assert!(pair.gaps().is_empty(), "a later life ends nothing at once");
    pair.live_for_s(120, |_| {});
    assert_eq!(pair.gaps(), [(EPOCH - 2, 1, 1)]);
    assert_eq!(pair.engine.status().ahead_bytes, 0);
}

/// A member that holds the first piece of three and has been joined for long.
fn with_a_beginning() -> Pair {
    let mut pair = Pair::new();
    pair.answer(0, None);
    let piece = Fragment { index: 0, count: 3 };
    pair.push_on(LINK, &first_of(EPOCH, Some(piece)));
    pair
}

pub(super) const KEPT_S: u64 = 300;

#[test]
fn a_beginning_waits_for_twice_as_long_as_messages_are_kept() {
    let mut pair = with_a_beginning();
    pair.live_for_s(2 * KEPT_S - 1, |_| {});
    assert!(
        pair.gaps().is_empty(),
        "others may have let go of it only now"
    );
    pair.live_for_s(120, |_| {});
    assert_eq!(pair.gaps(), [(EPOCH, 1, 1)]);
    assert_eq!(pair.counted("messages_abandoned"), 1);
    assert_eq!(pair.engine.status().ahead_bytes, 0);
    pair.live_for_s(3 * KEPT_S, |_| {});
    assert_eq!(pair.gaps().len(), 1, "told once");
}

#[test]
fn a_beginning_whose_rest_the_neighbour_has_let_go_ends_though_it_is_named_again_and_again() {
    let mut pair = with_a_beginning();
    pair.live_for_s(2 * KEPT_S + 120, |pair| pair.digest(4));
    assert_eq!(pair.gaps(), [(EPOCH, 1, 1)]);
}

#[test]
fn a_beginning_whose_rest_is_promised_and_never_given_ends() {
    let mut pair = with_a_beginning();
    pair.live_for_s(2 * KEPT_S - 1, |pair| pair.digest(1));
    assert!(pair.gaps().is_empty(), "it may still come");
    pair.live_for_s(120, |pair| pair.digest(1));
    assert_eq!(pair.gaps(), [(EPOCH, 1, 1)]);
}

#[test]
fn the_pieces_of_an_origin_that_is_cut_off_end_though_a_neighbour_has_the_same() {
    let mut pair = with_a_beginning();
    let last = Fragment { index: 2, count: 3 };
    pair.push_on(LINK, &bundle(EPOCH, 3, Some(last), b"z"));
    let first = Some(Fragment { index: 0, count: 3 });
    let (held, other) = (first_of(EPOCH, first), bundle(EPOCH, 1, first, b"y"));
    pair.say(&Frame::Equivocation(Equivocation {
        first: held.signed,
        first_signature: held.signature,
        second: other.signed,
        second_signature: other.signature,
    }));
    assert_eq!(pair.counted("origins_cut_off"), 1);
    pair.link_elsewhere();
    pair.live_for_s(2 * KEPT_S + 120, |pair| {
        let above = RangeSet::of(3, 3);
        let holds = Pair::digest_of(1, 1, above);
        pair.say_on(ELSEWHERE, &holds);
    });
    assert_eq!(pair.gaps(), [(EPOCH, 1, 3)]);
    assert_eq!(pair.engine.status().ahead_bytes, 0);
}

impl Pair {
    /// Every second the neighbour says something.
    pub(super) fn live_for_s(&mut self, seconds: u64, mut each: impl FnMut(&mut Self)) {
        for _ in 0..seconds {
            self.wait_ms(1_000);
            self.say(&Frame::Wants(Wants { wants: 1 }));
            each(self);
        }
    }

    /// The neighbour has settled all three pieces and holds them from `floor` on.
    fn digest(&mut self, floor: u64) {
        let digest = Self::digest_of(floor, 3, RangeSet::default());
        self.say(&digest);
    }

    fn digest_of(floor: u64, settled: u64, above: RangeSet) -> Frame {
        Frame::Digest(Digest {
            group: GroupId::new(&Config::default().network, &news()),
            ask: false,
            entries: vec![DigestEntry {
                origin: key(3).peer(),
                epoch: EPOCH,
                floor,
                settled,
                above,
            }],
        })
    }

    pub(super) fn gaps(&self) -> Vec<(u64, u64, u64)> {
        let gap = |event: &Event| match event {
            Event::Gap {
                epoch, from, to, ..
            } => Some((*epoch, *from, *to)),
            _ => None,
        };
        self.events.iter().filter_map(gap).collect()
    }
}
