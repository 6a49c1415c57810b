//! Bundles that come twice.

use super::{ELSEWHERE, LINK, Pair};
use bytes::Bytes;
use hedgerow_protocol::wire::frame::BundleFrame;
use hedgerow_protocol::wire::{Bundle, Frame};
use hedgerow_protocol::{Config, LinkId};

impl Pair {
    /// A member whose baseline is taken, with a log of key 3.
    fn joined(config: Config) -> Self {
        let mut pair = Self::with(0, config);
        pair.answer(0, None);
        assert!(pair.has_joined());
        pair
    }

    fn push_on(&mut self, link: LinkId, bundle: &Bundle) {
        let frame = BundleFrame {
            hops: 1,
            pulled: false,
            signed: bundle.signed.clone(),
            signature: bundle.signature,
        };
        self.say_on(link, &Frame::Bundle(frame, bundle.payload.clone()));
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
    assert!(pair.closed_elsewhere && !pair.closed);
    assert_eq!(pair.counted("bundles_forged"), 1);
}
