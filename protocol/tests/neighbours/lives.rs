//! A publisher with one key that lives many times: what its older lives published is kept.

use super::abandoned::KEPT_S;
use super::{EPOCH, LINK, Pair, key, news};
use bytes::Bytes;
use hedgerow_protocol::ranges::RangeSet;
use hedgerow_protocol::wire::bundle::BundleExt;
use hedgerow_protocol::wire::frame::{Baseline, Digest, DigestEntry, Pull, Subscribe, Wanted};
use hedgerow_protocol::wire::{Bundle, BundleHeader, Frame};
use hedgerow_protocol::{Config, GroupId, History};

/// The only message of a life of key 3.
fn message_of(pair: &Pair, epoch: u64) -> Bundle {
    let payload = Bytes::from_static(b"x");
    let header = BundleHeader {
        group: GroupId::new(&Config::default().network, &news()),
        origin: key(3).peer(),
        epoch,
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
    Bundle::sign(header, payload, &key(3))
}

/// A member that has got one message of each of these lives.
fn with_lives(epochs: impl IntoIterator<Item = u64>) -> Pair {
    let mut pair = Pair::new();
    pair.answer(0, None);
    for epoch in epochs {
        let bundle = message_of(&pair, epoch);
        pair.push_on(LINK, &bundle);
    }
    pair
}

impl Pair {
    /// Logs in the group.
    pub(super) fn origins(&self) -> usize {
        let groups = self.engine.groups().into_iter();
        let mut news = groups.filter(|group| group.group == Some(super::news()));
        news.next().map_or(0, |group| group.origins)
    }

    /// The lives of which the neighbour is served the first message.
    fn served(&mut self, epochs: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let wanted = |epoch| Wanted {
            origin: key(3).peer(),
            epoch,
            ranges: RangeSet::of(1, 1),
        };
        self.heard.clear();
        self.say(&Frame::Pull(Pull {
            group: GroupId::new(&Config::default().network, &news()),
            wanted: epochs.into_iter().map(wanted).collect(),
        }));
        let epoch = |frame: &Frame| match frame {
            Frame::Bundle(frame, _) => BundleHeader::decode(&frame.signed).ok(),
            _ => None,
        };
        let served = self.heard.iter().filter_map(epoch);
        served.map(|header| header.epoch).collect()
    }
}

#[test]
fn a_joiner_that_asks_for_the_last_8_is_told_of_8_lives() {
    let lives = EPOCH..EPOCH + 8;
    let mut pair = with_lives(lives.clone());
    pair.heard.clear();
    pair.say(&Frame::Subscribe(Subscribe {
        group: news(),
        role: 1,
        baseline: true,
        history: History::Last(8),
        older_ms: 0,
    }));
    let past = |frame: &Frame| match frame {
        Frame::Baseline(Baseline { origins, .. }) => Some(origins.clone()),
        _ => None,
    };
    let listed: Vec<u64> = (pair.heard.iter().filter_map(past).flatten())
        .filter(|origin| origin.past.len() == 1)
        .map(|origin| origin.epoch)
        .collect();
    assert_eq!(listed, lives.clone().collect::<Vec<u64>>());
    assert_eq!(pair.served(lives.clone()), listed);
    assert_eq!(pair.seqs(), [1; 8]);
}

#[test]
fn lives_that_only_a_digest_names_displace_no_log() {
    let mut pair = with_lives([EPOCH]);
    let entry = |epoch| DigestEntry {
        origin: key(3).peer(),
        epoch,
        floor: 1,
        settled: 5,
        above: RangeSet::default(),
    };
    pair.say(&Frame::Digest(Digest {
        group: GroupId::new(&Config::default().network, &news()),
        ask: false,
        entries: (EPOCH + 1..EPOCH + 100).map(entry).collect(),
    }));
    pair.live_for_s(5, |_| {});
    assert_eq!(pair.origins(), 1);
    assert_eq!(pair.served([EPOCH]), [EPOCH]);
}

#[test]
fn of_70_lives_the_64_newest_are_kept_and_the_others_are_not_delivered_again() {
    let mut pair = with_lives(EPOCH..EPOCH + 70);
    assert_eq!(pair.seqs(), [1; 70]);
    assert_eq!(pair.counted("logs_displaced"), 6);
    assert_eq!(pair.origins(), 64);
    assert!(pair.gaps().is_empty(), "all of them have been delivered");
    for epoch in [EPOCH, EPOCH + 5, EPOCH + 6] {
        let again = message_of(&pair, epoch);
        pair.push_on(LINK, &again);
    }
    assert_eq!(pair.seqs(), [1; 70]);
    let older = message_of(&pair, EPOCH - 1);
    pair.push_on(LINK, &older);
    pair.push_on(LINK, &older);
    assert_eq!(pair.gaps(), [(EPOCH - 1, 1, 1)], "told, and once");
    assert_eq!(pair.counted("epochs_too_old"), 1);
}

#[test]
fn a_life_that_is_over_is_forgotten_after_twice_the_retention_and_not_delivered_again() {
    let mut pair = with_lives(EPOCH..EPOCH + 3);
    let old = message_of(&pair, EPOCH);
    pair.live_for_s(KEPT_S + 10, |_| {});
    assert_eq!(pair.origins(), 3);
    assert!(
        pair.served(EPOCH..EPOCH + 3).is_empty(),
        "retention is over"
    );
    pair.live_for_s(KEPT_S + 10, |_| {});
    assert_eq!(pair.origins(), 0);
    pair.push_on(LINK, &old);
    assert_eq!(pair.seqs(), [1; 3]);
    assert_eq!(pair.origins(), 0);
}
