//! Large messages that end in their middle.

use super::{EPOCH, LINK, Pair, key, news};
use bytes::Bytes;
use hedgerow_protocol::wire::bundle::Fragment;
use hedgerow_protocol::wire::{Bundle, BundleHeader};
use hedgerow_protocol::{Config, Event, GroupId};

/// The first bundle of key 3 in this life: whole, or a message's first piece of three.
fn first_of(epoch: u64, fragment: Option<Fragment>) -> Bundle {
    let header = BundleHeader {
        group: GroupId::new(&Config::default().network, &news()),
        origin: key(3).peer(),
        epoch,
        seq: 1,
        flags: 0,
        published_at: 1_700_000_000_000,
        lengths: vec![1],
        delays: Vec::new(),
        fragment,
        previous: [0; 32],
        payload_hash: [0; 32],
    };
    Bundle::sign(header, Bytes::from_static(b"x"), &key(3))
}

#[test]
fn what_was_begun_in_a_life_that_two_others_have_followed_is_told_as_a_gap() {
    let mut pair = Pair::new();
    pair.answer(0, None);
    let piece = Fragment { index: 0, count: 3 };
    pair.push_on(LINK, &first_of(EPOCH, Some(piece)));
    pair.push_on(LINK, &first_of(EPOCH + 1, None));
    assert_eq!(pair.seqs(), [1]);
    assert!(pair.gaps().is_empty(), "it may still come");
    pair.push_on(LINK, &first_of(EPOCH + 2, None));
    assert_eq!(pair.seqs(), [1, 1]);
    assert_eq!(pair.gaps(), [(EPOCH, 1, 1)]);
    assert_eq!(pair.engine.status().ahead_bytes, 0);
}

impl Pair {
    fn gaps(&self) -> Vec<(u64, u64, u64)> {
        let gap = |event: &Event| match event {
            Event::Gap {
                epoch, from, to, ..
            } => Some((*epoch, *from, *to)),
            _ => None,
        };
        self.events.iter().filter_map(gap).collect()
    }
}
