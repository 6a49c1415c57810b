//! What nobody holds any more and only a digest speaks of: its origin's signature makes it a gap.

use super::{ELSEWHERE, EPOCH, LINK, Pair, key, news};
use hedgerow_protocol::ranges::RangeSet;
use hedgerow_protocol::wire::frame::{
    AskProof, Digest, DigestEntry, Proof, SignedHeader, Subscribe, Wants,
};
use hedgerow_protocol::wire::{Bundle, Frame};
use hedgerow_protocol::{Config, GroupId, History};

fn group() -> GroupId {
    GroupId::new(&Config::default().network, &news())
}

fn header(bundle: &Bundle) -> SignedHeader {
    SignedHeader {
        signed: bundle.signed.clone(),
        signature: bundle.signature,
    }
}

impl Pair {
    /// The neighbour has settled everything of the origin up to `settled`, and has let it go.
    fn has_let_go(&mut self, settled: u64) {
        self.say(&Frame::Digest(Digest {
            group: group(),
            ask: false,
            entries: vec![DigestEntry {
                origin: key(3).peer(),
                epoch: EPOCH,
                floor: settled + 1,
                settled,
                above: RangeSet::default(),
            }],
        }));
    }

    fn questions(&self) -> Vec<u64> {
        let question = |frame: &Frame| match frame {
            Frame::AskProof(ask) => {
                assert_eq!((ask.group, ask.origin), (group(), key(3).peer()));
                Some(ask.seq)
            }
            _ => None,
        };
        self.heard.iter().filter_map(question).collect()
    }

    /// Lives until the neighbour has been asked for evidence, at most 10 s.
    fn wait_for_question(&mut self) {
        for _ in 0..100 {
            if !self.questions().is_empty() {
                return;
            }
            self.wait_ms(100);
            self.say(&Frame::Wants(Wants { wants: 1 }));
        }
    }

    fn prove(&mut self, header: SignedHeader, age_ms: u64) {
        self.say(&Frame::Proof(Proof { header, age_ms }));
    }
}

#[test]
fn the_last_message_of_an_origin_that_nobody_holds_is_a_gap_once_it_is_proven() {
    let mut pair = Pair::joined(Config::default());
    let all: Vec<Bundle> = (0..3).map(|_| pair.publish()).collect();
    pair.push_on(LINK, &all[0]);
    pair.has_let_go(3);
    pair.wait_for_question();
    assert_eq!(pair.questions(), [3]);
    assert!(pair.gaps().is_empty(), "a digest alone proves nothing");
    pair.prove(header(&all[2]), 0);
    pair.live_for_s(1, |_| {});
    assert_eq!(pair.gaps(), [(EPOCH, 2, 3)]);
    assert_eq!(pair.questions(), [3], "one answer is enough");
    // What is still held of it later comes as a copy.
    pair.push_on(LINK, &all[1]);
    assert_eq!(pair.seqs(), [1]);
}

#[test]
fn a_life_that_was_missed_as_a_whole_is_told_if_it_is_younger_than_the_join() {
    for (age_ms, gaps) in [(100, vec![(EPOCH, 1, 3)]), (60_000, vec![])] {
        let mut pair = Pair::joined(Config::default());
        let all: Vec<Bundle> = (0..3).map(|_| pair.publish()).collect();
        pair.live_for_s(1, |_| {});
        pair.has_let_go(3);
        pair.wait_for_question();
        assert_eq!(pair.questions(), [3]);
        pair.prove(header(&all[2]), age_ms);
        pair.live_for_s(1, |_| {});
        assert_eq!(pair.gaps(), gaps, "published {age_ms} ms ago");
        let next = pair.publish();
        pair.push_on(LINK, &next);
        assert_eq!(pair.seqs(), [4], "what comes next is due");
    }
}

#[test]
fn what_is_older_than_the_join_and_nobody_near_ever_had_holds_up_nothing() {
    for (age_ms, gaps) in [(60_000, vec![]), (0, vec![(EPOCH, 1, 3)])] {
        let mut pair = Pair::joined(Config::default());
        let all: Vec<Bundle> = (0..5).map(|_| pair.publish()).collect();
        pair.live_for_s(1, |_| {});
        // The neighbour joined a little earlier, and begins after the third.
        pair.has_let_go(3);
        pair.push_on(LINK, &all[3]);
        pair.wait_for_question();
        assert!(pair.seqs().is_empty(), "the first three may be due");
        pair.prove(header(&all[3]), age_ms);
        pair.live_for_s(3, |_| {});
        assert_eq!(pair.seqs(), [4]);
        assert_eq!(pair.gaps(), gaps, "published {age_ms} ms ago");
    }
}

#[test]
fn what_nobody_can_serve_is_given_up_though_more_of_the_log_comes() {
    let mut pair = Pair::joined(Config::default());
    // A second neighbour is a member and never says what it holds.
    pair.link_elsewhere();
    pair.say_on(
        ELSEWHERE,
        &Frame::Subscribe(Subscribe {
            group: news(),
            role: 1,
            baseline: false,
            history: History::None,
            older_ms: 0,
        }),
    );
    let all: Vec<Bundle> = (0..100).map(|_| pair.publish()).collect();
    pair.push_on(LINK, &all[0]);
    pair.has_let_go(2);
    for bundle in &all[2..] {
        pair.push_on(LINK, bundle);
        pair.live_for_s(1, |pair| {
            pair.say_on(ELSEWHERE, &Frame::Wants(Wants { wants: 1 }));
        });
    }
    assert_eq!(pair.gaps(), [(EPOCH, 2, 2)]);
    assert_eq!(pair.seqs().len(), 99);
}

#[test]
fn what_is_not_proven_is_forgotten_and_withholds_nothing() {
    let mut pair = Pair::joined(Config::default());
    let first = pair.publish();
    pair.push_on(LINK, &first);
    pair.has_let_go(1_000);
    pair.live_for_s(20, |_| {});
    assert!(pair.questions().len() <= 3);
    assert!(pair.gaps().is_empty());
    let next = pair.publish();
    pair.push_on(LINK, &next);
    assert_eq!(pair.seqs(), [1, 2]);
    assert!(!pair.has_closed(LINK));
}

#[test]
fn a_log_that_is_made_up_costs_one_question_each_time_that_it_is_named() {
    let mut pair = Pair::joined(Config::default());
    for named in 1..=3 {
        pair.has_let_go(1_000);
        pair.live_for_s(20, |_| {});
        assert_eq!(pair.questions().len(), named);
    }
    assert!(pair.gaps().is_empty());
    let first = pair.publish();
    pair.push_on(LINK, &first);
    assert_eq!(pair.seqs(), [1]);
}

#[test]
fn a_proof_that_nobody_asked_for_is_not_looked_at_and_a_forged_one_ends_the_link() {
    let mut pair = Pair::joined(Config::default());
    let all: Vec<Bundle> = (0..3).map(|_| pair.publish()).collect();
    pair.push_on(LINK, &all[0]);
    let mut forged = header(&all[2]);
    forged.signature[4] ^= 1;
    pair.prove(forged.clone(), 0);
    assert_eq!(pair.counted("proofs_unasked"), 1);
    assert!(!pair.has_closed(LINK));
    pair.has_let_go(3);
    pair.wait_for_question();
    pair.prove(forged, 0);
    assert!(pair.has_closed(LINK));
    assert!(pair.gaps().is_empty());
}

#[test]
fn a_peer_proves_what_it_has_let_go() {
    let mut pair = Pair::joined(Config::default());
    let all: Vec<Bundle> = (0..2).map(|_| pair.publish()).collect();
    for bundle in &all {
        pair.push_on(LINK, bundle);
    }
    pair.live_for_s(301, |_| {});
    pair.heard.clear();
    let ask = AskProof {
        group: group(),
        origin: key(3).peer(),
        epoch: EPOCH,
        seq: 2,
    };
    pair.say(&Frame::AskProof(ask.clone()));
    let proofs = pair.heard.iter().filter_map(|frame| match frame {
        Frame::Proof(proof) => Some(proof),
        _ => None,
    });
    let proofs: Vec<&Proof> = proofs.collect();
    assert_eq!(proofs.len(), 1);
    assert_eq!(proofs[0].header, header(&all[1]));
    assert!((300_000..303_000).contains(&proofs[0].age_ms));
    // Of what it knows nothing of it says nothing.
    pair.heard.clear();
    let origin = key(9).peer();
    pair.say(&Frame::AskProof(AskProof { origin, ..ask }));
    assert!(!(pair.heard.iter()).any(|frame| matches!(frame, Frame::Proof(_))));
}
