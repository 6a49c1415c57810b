//! Clocks and epochs: what a peer believes of them, and when it may use its own.

use super::deltas::whole;
use super::{ELSEWHERE, EPOCH, LINK, Pair, hello, key, news};
use bytes::Bytes;
use hedgerow_protocol::wire::frame::{Baseline, BaselineOrigin, Heartbeat, SignedHeader, Wants};
use hedgerow_protocol::wire::record::{GroupExt, WireSettings};
use hedgerow_protocol::wire::{Bundle, EPOCH_MAX, Frame, Record, RecordGroup, SignedRecord};
use hedgerow_protocol::{
    Config, Engine, Event, GroupId, Input, LinkId, Micros, PublishOptions, SettingsPatch, Time,
};

const HOUR_MS: u64 = 3_600_000;
const YEAR_MS: u64 = 365 * 24 * HOUR_MS;

impl Pair {
    /// A neighbour tells what its clock shows: so far ahead of this peer's.
    fn clock_on(&mut self, link: LinkId, ahead_ms: i64) {
        let wall_ms = self.now.wall_ms.saturating_add_signed(ahead_ms);
        self.say_on(
            link,
            &Frame::Heartbeat(Heartbeat {
                stamp_us: 1,
                echo_us: 0,
                held_us: 0,
                ask: false,
                coordinate: [0.0; 5],
                wall_ms,
                database: 0,
                groups: Vec::new(),
            }),
        );
    }

    /// A neighbour with this key comes.
    pub(super) fn link_up(&mut self, link: LinkId, number: u8) {
        self.feed(Input::Linked {
            link,
            peer: key(number).peer(),
            dial: None,
            address: None,
        });
        self.say_on(link, &hello(0));
    }

    /// Time passes, and the neighbour is alive.
    pub(super) fn stay_ms(&mut self, ms: u64) {
        for _ in 0..ms / 500 {
            self.wait_ms(500);
            self.say(&Frame::Wants(Wants { wants: 1 }));
        }
    }

    /// Its record, of another life, signed with its own key.
    pub(super) fn own_of_life(&self, epoch: u64, version: u64) -> SignedRecord {
        let own = self.engine.own_record().expect("has one").record.clone();
        let record = Record {
            epoch,
            version,
            ..own
        };
        SignedRecord::sign(record, &key(1))
    }

    fn answer_alone(&mut self, older_ms: u64, settled: u64, proof: &Bundle) {
        let proof = SignedHeader {
            signed: proof.signed.clone(),
            signature: proof.signature,
        };
        self.say(&Frame::Baseline(Baseline {
            group: GroupId::new(&Config::default().network, &news()),
            older_ms,
            alone: false,
            origins: vec![BaselineOrigin {
                origin: key(3).peer(),
                epoch: EPOCH,
                settled,
                proof: Some(proof),
                age_ms: older_ms,
                past: Vec::new(),
            }],
            last: true,
        }));
    }

    fn asked_ms(&self) -> Option<u64> {
        let asked = self.heard.iter().rev().find_map(|frame| match frame {
            Frame::Subscribe(asked) if asked.group == news() && asked.baseline => Some(asked),
            _ => None,
        });
        asked.map(|asked| asked.older_ms)
    }
}

fn record_of(number: u8, epoch: u64, capacity: u16, pair: &Pair) -> SignedRecord {
    let own = pair.engine.own_record().expect("has one").record.clone();
    let record = Record {
        peer: key(number).peer(),
        epoch,
        version: 1,
        capacity,
        groups: Vec::new(),
        links: Vec::new(),
        ..own
    };
    SignedRecord::sign(record, &key(number))
}

#[test]
fn what_comes_to_a_member_that_joined_alone_is_due_whatever_its_clock_says() {
    for ahead_ms in [-(HOUR_MS as i64), HOUR_MS as i64] {
        let mut pair = Pair::new();
        pair.stay_ms(4_000);
        assert!(pair.has_joined());
        pair.now.wall_ms = pair.now.wall_ms.saturating_add_signed(ahead_ms);
        for _ in 0..3 {
            let bundle = pair.publish();
            pair.send(&bundle);
        }
        assert_eq!(pair.seqs(), [1, 2, 3]);
        assert_eq!(pair.counted("messages_before_join"), 0);
    }
}

#[test]
fn what_has_lain_at_a_neighbour_for_longer_than_a_member_has_waited_is_not_due() {
    let mut pair = Pair::new();
    let past: Vec<Bundle> = (0..3).map(|_| pair.publish()).collect();
    pair.stay_ms(8_000);
    assert!(pair.has_joined());
    pair.link_up(ELSEWHERE, 50);
    pair.answer_alone(11_000, 3, &past[2]);
    let next = pair.publish();
    pair.send(&next);
    for bundle in &past {
        pair.send(bundle);
    }
    assert_eq!(pair.seqs(), [4]);
}

#[test]
fn an_answer_that_calls_old_what_may_be_due_is_asked_for_again() {
    let mut pair = Pair::new();
    let first = pair.publish();
    pair.stay_ms(8_000);
    assert!(pair.has_joined());
    pair.heard.clear();
    // Joined five seconds ago: this tells of four.
    pair.answer_alone(4_000, 1, &first);
    assert_eq!(pair.counted("baselines_late"), 1);
    let asked_ms = pair.asked_ms().expect("asks again");
    assert!((9_000..=11_000).contains(&asked_ms), "{asked_ms}");
    pair.send(&first);
    assert_eq!(pair.seqs(), [1]);
}

#[test]
fn what_was_pushed_is_not_old_whatever_a_neighbour_says() {
    let mut pair = Pair::new();
    let bundles: Vec<Bundle> = (0..3).map(|_| pair.publish()).collect();
    pair.stay_ms(8_000);
    pair.push_on(LINK, &bundles[1]);
    pair.answer_alone(60_000, 3, &bundles[2]);
    pair.push_on(LINK, &bundles[2]);
    assert_eq!(pair.seqs(), [2, 3]);
}

#[test]
fn nothing_is_sent_in_a_life_that_is_not_stored() {
    let config = Config::default();
    let now = Time {
        mono: Micros(1_000_000),
        wall_ms: 1_700_000_000_000,
    };
    let mut pair = Pair::new();
    pair.stores = false;
    pair.engine = Engine::new(key(1), config, [1; 32], now);
    pair.heard.clear();
    pair.now = now;
    pair.link_up(LINK, 2);
    let message = Bytes::from_static(b"unheard");
    let id = pair
        .engine
        .publish(pair.now, &news(), message, PublishOptions::default());
    let id = id.expect("is taken");
    pair.drain();
    pair.stay_ms(2_000);
    pair.engine.shutdown(pair.now);
    pair.wait_ms(3_000);
    assert_eq!(pair.heard, []);
    // Stored at last, all of it is said.
    let mut pair = Pair::new();
    pair.stores = false;
    pair.engine = Engine::new(key(1), Config::default(), [1; 32], now);
    pair.heard.clear();
    pair.now = now;
    pair.link_up(LINK, 2);
    assert_eq!(pair.heard, []);
    pair.store_next(Ok(()));
    assert!(matches!(pair.heard.first(), Some(Frame::Hello(hello)) if hello.epoch == id.epoch));
}

#[test]
fn a_new_epoch_is_used_once_it_is_stored() {
    let mut pair = Pair::new();
    let former = pair.engine.epoch();
    pair.stores = false;
    pair.say(&whole(&pair.own_of_life(former + 1_000, 7)));
    assert_eq!(pair.engine.epoch(), former);
    pair.store_next(Ok(()));
    assert_eq!(pair.engine.epoch(), former + 1_001);
}

#[test]
fn an_epoch_that_somebody_signed_with_a_copied_key_ends_no_later_life() {
    for epoch in [EPOCH_MAX, EPOCH_MAX - 1, 1_700_000_000_000 + YEAR_MS] {
        let mut pair = Pair::new();
        pair.clock_on(LINK, 0);
        let own = pair.engine.epoch();
        for version in 1..20 {
            pair.say(&whole(&pair.own_of_life(epoch, version)));
        }
        assert_eq!(pair.engine.epoch(), own, "nothing is taken above it");
        let in_use = |event: &Event| matches!(event, Event::IdentityInUse { .. });
        assert!(!pair.events.iter().any(in_use));
        assert!(pair.counted("epochs_ahead") > 0);
        assert!(!pair.has_closed(LINK));
    }
}

#[test]
fn time_comes_as_far_as_an_epoch_that_was_ahead() {
    let mut pair = Pair::new();
    let own = pair.engine.epoch();
    pair.clock_on(LINK, 0);
    pair.say(&whole(&pair.own_of_life(own + YEAR_MS, 1)));
    pair.stay_ms(60_000);
    pair.clock_on(LINK, 0);
    assert_eq!(pair.engine.epoch(), own);
    pair.now.wall_ms += YEAR_MS;
    pair.clock_on(LINK, 0);
    assert_eq!(pair.engine.epoch(), own + YEAR_MS + 1);
}

#[test]
fn a_record_ahead_of_time_gives_way_to_one_that_is_not_and_does_not_displace_it() {
    let mut pair = Pair::new();
    pair.clock_on(LINK, 0);
    let now = pair.now.wall_ms;
    let ahead = record_of(9, EPOCH_MAX, 1, &pair);
    let honest = record_of(9, now, 2, &pair);
    pair.say(&whole(&ahead));
    let accepted = pair.counted("records_accepted");
    pair.say(&whole(&honest));
    assert_eq!(
        pair.counted("records_accepted"),
        accepted + 1,
        "it gives way"
    );
    pair.say(&whole(&ahead));
    assert_eq!(
        pair.counted("records_accepted"),
        accepted + 1,
        "it stays away"
    );
    assert!(pair.counted("records_ahead") >= 2);
}

#[test]
fn an_own_epoch_ahead_of_all_neighbours_is_taken_back_once() {
    let mut pair = Pair::new();
    let own = pair.engine.epoch();
    let mut links = vec![LINK];
    for number in 51..=52 {
        let link = LinkId(u64::from(number));
        pair.link_up(link, number);
        links.push(link);
    }
    for link in &links {
        pair.clock_on(*link, -(YEAR_MS as i64));
    }
    let lowered = pair.engine.epoch();
    assert!(lowered.abs_diff(own - YEAR_MS) < 10_000, "{own} {lowered}");
    // It was the neighbours that were wrong: others believe the first epoch, and tell of it.
    pair.say(&whole(&pair.own_of_life(own, 9)));
    assert_eq!(pair.engine.epoch(), own + 1);
    for link in &links {
        pair.clock_on(*link, -(YEAR_MS as i64));
    }
    assert_eq!(pair.engine.epoch(), own + 1, "once is enough");
}

/// The record of key 9 with these settings of the group.
fn stating(pair: &Pair, record: u64, role: u8, version: u64, redundancy: u8) -> Frame {
    let own = pair.engine.own_record().expect("has one").record.clone();
    let group = RecordGroup {
        name: news(),
        role,
        settings_version: version,
        settings: Some(WireSettings {
            redundancy,
            order: 0,
            retention_bytes: 1 << 20,
            retention_ms: 60_000,
            later: Vec::new(),
        }),
        ext: GroupExt::default(),
    };
    let record = Record {
        peer: key(9).peer(),
        version: record,
        groups: vec![group],
        links: Vec::new(),
        ..own
    };
    whole(&SignedRecord::sign(record, &key(9)))
}

fn settings(pair: &Pair) -> (u64, u8) {
    let groups = pair.engine.groups();
    let news = groups.iter().find(|group| group.group == Some(news()));
    let news = news.expect("is in it");
    (news.settings_version, news.settings.redundancy)
}

#[test]
fn settings_by_who_is_no_member_are_none() {
    let mut pair = Pair::new();
    pair.say(&stating(&pair, 1, 0, 65_536, 8));
    pair.say(&stating(&pair, 2, 2, 131_072, 8));
    assert_eq!(settings(&pair), (0, 1));
}

#[test]
fn no_sequence_of_versions_keeps_a_later_change_or_a_newcomer_out() {
    let mut pair = Pair::new();
    for (record, version) in [(1, 65_536), (2, 131_072), (3, u64::MAX), (4, u64::MAX - 1)] {
        pair.say(&stating(&pair, record, 1, version, record as u8));
    }
    assert_eq!(settings(&pair), (131_072, 2), "what is ahead of time waits");
    // Who comes now learns the same.
    let mut newcomer = Pair::new();
    newcomer.say(&stating(&newcomer, 2, 1, 131_072, 2));
    assert_eq!(settings(&newcomer), settings(&pair));
    let patch = SettingsPatch {
        redundancy: Some(5),
        ..SettingsPatch::default()
    };
    pair.engine
        .set_group(pair.now, &news(), patch)
        .expect("a member");
    assert_eq!(settings(&pair), (pair.now.wall_ms, 5));
    newcomer.say(&stating(&newcomer, 3, 1, pair.now.wall_ms, 5));
    assert_eq!(settings(&newcomer), (pair.now.wall_ms, 5));
}

#[test]
fn settings_ahead_of_time_are_taken_when_time_has_come_so_far() {
    let mut pair = Pair::new();
    let version = pair.now.wall_ms + 600_000 + 5_000;
    pair.say(&stating(&pair, 1, 1, version, 3));
    assert_eq!(settings(&pair).1, 1);
    pair.stay_ms(6_000);
    assert_eq!(settings(&pair), (version, 3));
}

#[test]
fn a_member_that_changes_settings_all_the_time_is_followed_once_a_minute() {
    let mut pair = Pair::new();
    let start = pair.now.wall_ms;
    for change in 1..=20 {
        pair.say(&stating(
            &pair,
            change,
            1,
            start + change,
            1 + (change % 8) as u8,
        ));
        pair.stay_ms(500);
    }
    assert_eq!(settings(&pair).0, start + 4);
    assert!(pair.counted("settings_damped") > 0);
    pair.stay_ms(61_000);
    assert_eq!(settings(&pair).0, start + 20, "the last one");
}

#[test]
fn lives_ahead_of_time_make_room_for_the_present_one() {
    let mut pair = Pair::new();
    pair.answer(0, None);
    pair.clock_on(LINK, 0);
    let first = pair.publish();
    for life in 0..70 {
        let mut header = first.header.clone();
        header.epoch = EPOCH_MAX - life;
        let bundle = Bundle::sign(header, first.payload.clone(), &key(3));
        pair.push_on(LINK, &bundle);
    }
    pair.delivered.clear();
    let mut header = first.header.clone();
    header.epoch = pair.now.wall_ms;
    let present = Bundle::sign(header, first.payload.clone(), &key(3));
    pair.push_on(LINK, &present);
    assert_eq!(pair.seqs(), [1]);
}
