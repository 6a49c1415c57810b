//! Who waits for a link that takes nothing, and what becomes of him when it is gone.

use super::deltas::{signed_in, whole};
use super::{ELSEWHERE, LINK, Pair, key, news};
use bytes::Bytes;
use hedgerow_protocol::wire::Frame;
use hedgerow_protocol::wire::frame::Heartbeat;
use hedgerow_protocol::wire::record::GroupExt;
use hedgerow_protocol::wire::record::RecordGroup;
use hedgerow_protocol::{Config, Event, Input, LinkId, MessageId, PublishError, PublishOptions};

impl Pair {
    /// The neighbour on `link` tells that it is linked to this peer, so far away as the answer
    /// to the first heartbeat says.
    fn come_into_view(&mut self, link: LinkId, number: u8, groups: Vec<RecordGroup>) {
        self.say_on(
            link,
            &Frame::Heartbeat(Heartbeat {
                stamp_us: 1,
                echo_us: self.now.mono.0 + 1,
                held_us: 0,
                ask: false,
                coordinate: [0.0; 5],
                wall_ms: self.now.wall_ms,
                database: 0,
                groups: Vec::new(),
            }),
        );
        let record = signed_in(number, 1, vec![key(1).peer()], groups);
        self.say_on(link, &whole(&record));
    }
}

/// A publisher whose only next peer is a member behind a link that writes nothing any more; nor
/// is it told of what others write.
fn before_a_stuck_member() -> Pair {
    let mut pair = Pair::new();
    pair.answer(0, None);
    pair.come_into_view(LINK, 2, Vec::new());
    pair.link_elsewhere();
    let member = RecordGroup {
        name: news(),
        role: 1,
        settings_version: 0,
        settings: None,
        ext: GroupExt::default(),
    };
    pair.come_into_view(ELSEWHERE, 50, vec![member]);
    pair.wait_ms(1_500);
    pair.writes_wait = true;
    pair
}

impl Pair {
    fn publish_own_bytes(&mut self, count: usize) -> Result<MessageId, PublishError> {
        let (payload, options) = (Bytes::from(vec![0; count]), PublishOptions::default());
        let published = self.engine.publish(self.now, &news(), payload, options);
        self.drain();
        published
    }

    fn lose_the_stuck_member(&mut self) {
        self.feed(Input::LinkLost { link: ELSEWHERE });
        self.wait_ms(1_000);
    }
}

#[test]
fn who_was_told_to_wait_for_a_link_is_told_when_it_is_gone() {
    let mut pair = before_a_stuck_member();
    let refused = (0..1_000).find_map(|_| pair.publish_own_bytes(16 << 10).err());
    assert_eq!(refused, Some(PublishError::Busy));
    pair.lose_the_stuck_member();
    let goes_on = |event: &Event| matches!(event, Event::Sendable { .. });
    assert!(pair.events.iter().any(goes_on));
}

#[test]
fn what_of_a_large_message_waits_for_a_link_goes_on_when_it_is_gone() {
    let mut pair = before_a_stuck_member();
    let id = pair.publish_own_bytes(6 << 20).expect("is taken");
    let has_it = |pair: &Pair| pair.delivered.iter().any(|got| got.id == id);
    assert!(!has_it(&pair), "some of it waits");
    pair.lose_the_stuck_member();
    assert!(has_it(&pair));
}

#[test]
fn what_of_a_large_message_waits_goes_to_nobody_only_when_whoever_was_lost_is_forgotten() {
    let mut pair = before_a_stuck_member();
    let id = pair.publish_own_bytes(6 << 20).expect("is taken");
    for link in [ELSEWHERE, LINK] {
        pair.feed(Input::LinkLost { link });
    }
    let has_it = |pair: &Pair| pair.delivered.iter().any(|got| got.id == id);
    let memory_ms = Config::default().links.ring_memory_ms;
    pair.wait_ms(memory_ms - 1_000);
    assert!(!has_it(&pair), "released");
    pair.wait_ms(memory_ms);
    assert!(has_it(&pair), "waits for ever");
}
