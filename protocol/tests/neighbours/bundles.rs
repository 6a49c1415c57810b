//! Bundles that come twice, and what is published where others fill the tables.

use super::{ELSEWHERE, LINK, Pair, key, news};
use bytes::Bytes;
use hedgerow_protocol::wire::bundle::BundleExt;
use hedgerow_protocol::wire::frame::BundleFrame;
use hedgerow_protocol::wire::{Bundle, BundleHeader, Frame};
use hedgerow_protocol::{Config, GroupId, LinkId, MessageId, PublishOptions};

impl Pair {
    /// A member whose baseline is taken, with a log of key 3.
    pub(super) fn joined(config: Config) -> Self {
        let mut pair = Self::with(0, config);
        pair.answer(0, None);
        assert!(pair.has_joined());
        pair
    }

    pub(super) fn push_on(&mut self, link: LinkId, bundle: &Bundle) {
        let frame = BundleFrame {
            hops: 1,
            pulled: false,
            signed: bundle.signed.clone(),
            signature: bundle.signature,
        };
        self.say_on(link, &Frame::Bundle(frame, bundle.payload.clone()));
    }

    /// Publishes; gives the message's name when it has been delivered here.
    pub(super) fn publish_own(&mut self, payload: &'static [u8]) -> Option<MessageId> {
        let (options, payload) = (PublishOptions::default(), Bytes::from_static(payload));
        let id = self
            .engine
            .publish(self.now, &news(), payload.clone(), options);
        self.drain();
        let id = id.expect("is taken");
        let mut delivered = self.delivered.iter();
        delivered
            .any(|got| got.id == id && got.payload == payload)
            .then_some(id)
    }
}

#[test]
fn a_wrong_payload_under_a_good_header_does_not_keep_the_right_one_out() {
    let mut pair = Pair::joined(Config::default());
    pair.link_elsewhere();
    pair.checks_wait = true;
    let honest = pair.publish();
    let wrong = Bundle {
        payload: Bytes::from_static(b"y"),
        ..honest.clone()
    };
    pair.push_on(ELSEWHERE, &wrong);
    pair.push_on(LINK, &honest);
    pair.push_on(LINK, &honest);
    assert_eq!(pair.waiting.len(), 2, "each content is checked once");
    pair.check();
    assert_eq!(pair.seqs(), [1]);
    assert_eq!(pair.delivered[0].payload, honest.payload);
    assert!(pair.has_closed(ELSEWHERE) && !pair.has_closed(LINK));
    assert_eq!(pair.counted("bundles_forged"), 1);
}

#[test]
fn what_is_published_here_has_room_however_many_origins_there_are() {
    let mut config = Config::default();
    config.groups.origins_max = 1;
    let mut pair = Pair::joined(config);
    let theirs = pair.publish();
    pair.push_on(LINK, &theirs);
    assert_eq!(pair.seqs(), [1], "one other origin");
    let ids = [pair.publish_own(b"mine"), pair.publish_own(b"and more")];
    let seqs = ids.map(|id| id.map(|id| id.seq));
    assert_eq!(seqs, [Some(1), Some(2)], "delivered, no number left out");
}

#[test]
fn what_is_published_here_has_room_beside_newer_lives_of_this_peer() {
    let mut pair = Pair::joined(Config::default());
    for later in [5, 9] {
        let header = BundleHeader {
            group: GroupId::new(&Config::default().network, &news()),
            origin: key(1).peer(),
            epoch: pair.engine.epoch() + later,
            seq: 1,
            flags: 0,
            published_at: pair.now.wall_ms,
            lengths: vec![5],
            delays: Vec::new(),
            fragment: None,
            previous: [0; 32],
            payload_hash: [0; 32],
            header_lengths: Vec::new(),
            ext: BundleExt::default(),
        };
        let bundle = Bundle::sign(header, Bytes::from_static(b"later"), &key(1));
        pair.push_on(LINK, &bundle);
    }
    assert_eq!(pair.seqs(), [1, 1], "what it said in lives it has lost");
    let id = pair.publish_own(b"now").expect("delivered");
    assert_eq!((id.epoch, id.seq), (pair.engine.epoch(), 1));
}
