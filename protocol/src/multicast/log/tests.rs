use super::*;
use crate::base::identity::Keypair;
use crate::base::message::Order;
use crate::base::name::{GroupId, GroupName, NetworkName};
use crate::wire::bundle::BundleExt;
use crate::wire::{BundleHeader, Fragment};
use proptest::prelude::*;

fn bundle(seq: u64, fragment: Option<Fragment>, payload: &[u8]) -> Arc<Bundle> {
    let group = GroupName::new("news").expect("a name");
    let header = BundleHeader {
        group: GroupId::new(&NetworkName::default(), &group),
        origin: Keypair::from_secret([1; 32]).peer(),
        epoch: 1,
        seq,
        flags: 0,
        published_at: 1_000 + seq,
        lengths: vec![payload.len() as u32],
        delays: Vec::new(),
        fragment,
        previous: [u8::from(seq > 1); 32],
        payload_hash: [0; 32],
        header_lengths: Vec::new(),
        ext: BundleExt::default(),
    };
    let keypair = Keypair::from_secret([1; 32]);
    Arc::new(Bundle::sign(
        header,
        Bytes::copy_from_slice(payload),
        &keypair,
    ))
}

fn entry(seq: u64) -> Entry {
    Entry {
        bundle: bundle(seq, None, &seq.to_be_bytes()),
        hops: 1,
        arrival: Arrival::Pushed,
        came: Micros(1),
    }
}

fn piece(seq: u64, index: u32, count: u32) -> Entry {
    let fragment = Some(Fragment { index, count });
    Entry {
        bundle: bundle(seq, fragment, &[index as u8; 4]),
        hops: 1,
        arrival: Arrival::Pushed,
        came: Micros(1),
    }
}

fn seqs(ready: &[Next]) -> Vec<(u64, u64)> {
    ready
        .iter()
        .map(|next| match next {
            Next::Message { seq, .. } => (*seq, 0),
            Next::Gap { from, to } => (*from, *to),
        })
        .collect()
}

proptest! {
    #[test]
    fn any_order_of_arrival_gives_each_message_once_and_in_order(
        arrivals in prop::collection::vec(1_u64..30, 0..120),
        base in 0_u64..4,
    ) {
        let mut log = OriginLog::new(base, Micros(0));
        let mut got = Vec::new();
        let mut come = std::collections::BTreeSet::new();
        for seq in arrivals {
            prop_assert_eq!(log.insert(entry(seq), Micros(1)), seq > base && come.insert(seq));
            got.extend(log.take_ready(Order::Fifo));
        }
        let expected: Vec<(u64, u64)> =
            (base + 1..40).take_while(|seq| come.contains(seq)).map(|seq| (seq, 0)).collect();
        prop_assert_eq!(seqs(&got), expected);
    }

    #[test]
    fn unordered_gives_each_message_once_when_it_comes(
        arrivals in prop::collection::vec(1_u64..30, 0..120),
        switch in 0_usize..120,
    ) {
        let mut log = OriginLog::new(0, Micros(0));
        let mut got = Vec::new();
        let mut come = std::collections::BTreeSet::new();
        for (index, seq) in arrivals.into_iter().enumerate() {
            log.insert(entry(seq), Micros(1));
            come.insert(seq);
            // Switching the order live repeats nothing.
            let order = if index < switch { Order::Unordered } else { Order::Fifo };
            got.extend(log.take_ready(order));
        }
        got.extend(log.take_ready(Order::Unordered));
        let mut all = seqs(&got);
        all.sort_unstable();
        let expected: Vec<(u64, u64)> = come.into_iter().map(|seq| (seq, 0)).collect();
        prop_assert_eq!(all, expected);
    }
}

#[test]
fn a_gap_is_told_once_and_what_follows_is_delivered() {
    let mut log = OriginLog::new(0, Micros(0));
    log.insert(entry(1), Micros(1));
    log.insert(entry(4), Micros(1));
    assert_eq!(seqs(&log.take_ready(Order::Fifo)), [(1, 0)]);
    log.give_up(2, 3);
    assert_eq!(seqs(&log.take_ready(Order::Fifo)), [(2, 3), (4, 0)]);
    assert!(
        !log.insert(entry(2), Micros(2)),
        "what was given up is settled"
    );
}

#[test]
fn fragments_become_one_message_named_by_the_first() {
    let mut log = OriginLog::new(0, Micros(0));
    log.insert(entry(1), Micros(1));
    log.insert(piece(3, 1, 3), Micros(1));
    log.insert(piece(2, 0, 3), Micros(1));
    assert_eq!(seqs(&log.take_ready(Order::Fifo)), [(1, 0)]);
    log.insert(piece(4, 2, 3), Micros(1));
    let ready = log.take_ready(Order::Fifo);
    let Next::Message { seq, payload, .. } = &ready[0] else {
        panic!("a message, not a gap")
    };
    assert_eq!(
        (*seq, payload.as_ref()),
        (2, &[0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2][..])
    );
    assert_eq!(log.next(), 5);
}

#[test]
fn a_lost_fragment_loses_its_whole_message_and_no_other() {
    for lost in 2..=4 {
        let mut log = OriginLog::new(0, Micros(0));
        log.insert(entry(1), Micros(1));
        for (index, seq) in (2..=4).enumerate().filter(|(_, seq)| *seq != lost) {
            log.insert(piece(seq, index as u32, 3), Micros(1));
        }
        log.insert(entry(5), Micros(1));
        log.give_up(lost, lost);
        assert_eq!(
            seqs(&log.take_ready(Order::Fifo)),
            [(1, 0), (2, 4), (5, 0)],
            "{lost} lost"
        );
    }
}

#[test]
fn a_message_begun_before_the_baseline_is_not_due() {
    let mut log = OriginLog::new(2, Micros(0));
    log.insert(piece(3, 2, 3), Micros(1));
    log.insert(entry(4), Micros(1));
    assert_eq!(seqs(&log.take_ready(Order::Fifo)), [(4, 0)]);
}

#[test]
fn what_was_not_handed_over_is_not_retained_for_others() {
    let mut log = OriginLog::new(0, Micros(0));
    log.insert(entry(2), Micros(1));
    assert!(log.take_passed().is_empty());
    log.insert(entry(1), Micros(1));
    log.take_ready(Order::Fifo);
    let passed: Vec<u64> = log.take_passed().iter().map(|(seq, _)| *seq).collect();
    assert_eq!(passed, [1, 2]);
    assert!(log.take_passed().is_empty());
    assert!(log.evict(1) > 0);
    assert_eq!(log.floor(), 2);
    assert_eq!(log.ahead_bytes, 0);
}

#[test]
fn a_later_baseline_skips_what_is_not_due() {
    let mut log = OriginLog::new(0, Micros(0));
    log.insert(entry(3), Micros(1));
    log.insert(entry(6), Micros(1));
    log.rebase(4);
    assert_eq!(log.settled(), 4);
    assert!(log.take_ready(Order::Fifo).is_empty());
    log.insert(entry(5), Micros(1));
    assert_eq!(seqs(&log.take_ready(Order::Fifo)), [(5, 0), (6, 0)]);
    assert_eq!(log.ahead_bytes, 0);
}

#[test]
fn behind_a_hole_unordered_looks_at_each_bundle_once() {
    const LAST: u64 = 2_000;
    let mut log = OriginLog::new(0, Micros(0));
    // Order mattered when some of it came.
    for seq in [3, 2] {
        log.insert(entry(seq), Micros(1));
        assert!(log.take_ready(Order::Fifo).is_empty());
    }
    assert_eq!(seqs(&log.take_ready(Order::Unordered)), [(2, 0), (3, 0)]);
    for seq in (4..=LAST).filter(|seq| seq % 5 != 0) {
        log.insert(entry(seq), Micros(1));
        assert_eq!(log.unseen.as_deref(), Some(&[seq][..]));
        assert_eq!(seqs(&log.take_ready(Order::Unordered)), [(seq, 0)]);
        assert_eq!(log.unseen.as_deref(), Some(&[][..]));
    }
    // Holes that are mended, at last the one that holds up all.
    for seq in (1..=LAST).rev().filter(|seq| seq % 5 == 0 || *seq == 1) {
        log.insert(entry(seq), Micros(1));
        assert_eq!(seqs(&log.take_ready(Order::Unordered)), [(seq, 0)]);
    }
    assert_eq!((log.next(), log.ahead_bytes), (LAST + 1, 0));
    assert_eq!(log.take_passed().len() as u64, LAST);
}

#[test]
fn unordered_fragments_become_a_message_with_the_last_of_them() {
    let mut log = OriginLog::new(0, Micros(0));
    for (seq, index) in [(5, 2), (3, 0)] {
        log.insert(piece(seq, index, 3), Micros(1));
        assert!(log.take_ready(Order::Unordered).is_empty());
    }
    log.insert(piece(4, 1, 3), Micros(1));
    assert_eq!(seqs(&log.take_ready(Order::Unordered)), [(3, 0)]);
    assert_eq!(log.ahead_bytes, 0);
}

#[test]
fn where_nobody_listens_nothing_is_remembered_to_be_looked_at() {
    let mut log = OriginLog::new(0, Micros(0));
    log.take_ready(Order::Unordered);
    for seq in 1..10 {
        log.insert(entry(seq), Micros(1));
        log.skip_ready();
        assert_eq!(log.unseen, None);
    }
}

#[test]
fn what_will_never_be_whole_waits_for_nothing() {
    let mut log = OriginLog::new(0, Micros(0));
    log.insert(entry(1), Micros(1));
    log.insert(piece(2, 0, 9), Micros(1));
    log.insert(piece(3, 1, 9), Micros(1));
    log.hand_over(2, log.high());
    assert_eq!(seqs(&log.take_ready(Order::Fifo)), [(1, 0)]);
    assert_eq!((log.next(), log.ahead_bytes), (4, 0));
    let passed: Vec<u64> = log.take_passed().iter().map(|(seq, _)| *seq).collect();
    assert_eq!(passed, [2, 3, 1]);
}

#[test]
fn what_comes_of_a_message_after_its_beginning_was_given_up_is_a_gap_too() {
    for order in [Order::Fifo, Order::Unordered] {
        let mut log = OriginLog::new(0, Micros(0));
        log.insert(entry(1), Micros(1));
        log.insert(piece(2, 0, 4), Micros(1));
        log.insert(piece(3, 1, 4), Micros(1));
        assert_eq!(seqs(&log.take_ready(order)), [(1, 0)]);
        let gap = log.take_abandoned();
        assert_eq!(gap, Some(Next::Gap { from: 2, to: 3 }));
        assert_eq!(log.take_abandoned(), None);
        assert_eq!((log.ahead_bytes, log.take_passed().len()), (0, 3));
        for (seq, index) in [(4, 2), (5, 3)] {
            log.insert(piece(seq, index, 4), Micros(1));
        }
        log.insert(entry(6), Micros(1));
        let rest: Vec<u64> = seqs(&log.take_ready(order))
            .iter()
            .flat_map(|&(from, to)| from..=to.max(from))
            .collect();
        assert_eq!(rest.iter().filter(|seq| **seq < 6).count(), 2, "{rest:?}");
        assert!(rest.contains(&6));
        assert_eq!((log.next(), log.ahead_bytes), (7, 0));
    }
}
