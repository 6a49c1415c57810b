//! What later versions may say, and headers of messages.

use super::{ELSEWHERE, LINK, Pair, hello, key, news};
use bytes::Bytes;
use hedgerow_protocol::wire::frame::Records;
use hedgerow_protocol::wire::record::{
    GroupExt, LaterSetting, Record, RecordGroup, WireRecord, WireSettings,
};
use hedgerow_protocol::wire::{Bundle, Frame, SignedRecord};
use hedgerow_protocol::{
    Config, Event, HISTORY_LAST_MAX, Headers, History, Input, JoinError, JoinOptions, LinkEnd,
    PublishError, PublishOptions,
};

/// The record of key 9 with one group.
fn stating(pair: &Pair, version: u64, group: RecordGroup) -> Frame {
    let own = pair.engine.own_record().expect("has one").record.clone();
    let record = Record {
        peer: key(9).peer(),
        version,
        groups: vec![group],
        links: Vec::new(),
        ..own
    };
    let signed = SignedRecord::sign(record, &key(9));
    let records = vec![WireRecord::new(signed.signed, signed.signature, 0)];
    Frame::Records(Records { records })
}

fn group(role: u8, version: u64, settings: WireSettings) -> RecordGroup {
    RecordGroup {
        name: news(),
        role,
        settings_version: version,
        settings: Some(settings),
        ext: GroupExt::default(),
    }
}

fn plain() -> WireSettings {
    WireSettings {
        redundancy: 3,
        order: 0,
        retention_bytes: 1 << 20,
        retention_ms: 60_000,
        later: Vec::new(),
    }
}

fn sealed() -> WireSettings {
    WireSettings {
        later: vec![LaterSetting {
            name: "sealing".to_owned(),
            value: Bytes::from_static(&[1]),
        }],
        ..plain()
    }
}

#[test]
fn a_neighbour_that_needs_what_this_build_lacks_is_incompatible_and_not_banned() {
    let mut pair = Pair::new();
    pair.feed(Input::Linked {
        link: ELSEWHERE,
        peer: key(50).peer(),
        dial: None,
        address: None,
    });
    let Frame::Hello(mut needing) = hello(0) else {
        panic!("a hello");
    };
    needing.needs = vec!["telepathy\u{1b}[2J".to_owned()];
    pair.say_on(ELSEWHERE, &needing.into());
    let ended = Event::LinkDown {
        link: ELSEWHERE,
        peer: key(50).peer(),
        reason: LinkEnd::Incompatible,
    };
    assert!(pair.events.contains(&ended), "{:?}", pair.events);
    assert_eq!(pair.counted("peers_banned"), 0);
    // An upgraded one is welcome at once.
    pair.closed.clear();
    pair.link_elsewhere();
    assert!(!pair.has_closed(ELSEWHERE));
}

#[test]
fn an_unknown_role_is_counted_and_no_part_in_the_group() {
    let mut pair = Pair::new();
    let frame = stating(&pair, 1, group(9, 65_536, plain()));
    pair.say(&frame);
    assert!(!pair.has_closed(LINK));
    assert_eq!(pair.counted("roles_unknown"), 1);
    let member = pair.engine.members(&news());
    assert!(member.iter().all(|member| member.peer != key(9).peer()));
    let news_now = pair.engine.groups();
    let settings = news_now.iter().find(|group| group.group == Some(news()));
    assert_eq!(
        settings.map(|group| group.settings_version),
        Some(0),
        "no say in its settings"
    );
}

#[test]
fn a_group_with_a_setting_of_a_later_version_is_left_by_name_and_not_joined() {
    for (settings, name) in [
        (sealed(), "sealing"),
        (
            WireSettings {
                order: 7,
                ..plain()
            },
            "order",
        ),
    ] {
        let mut pair = Pair::new();
        pair.answer(0, None);
        assert!(pair.has_joined());
        let frame = stating(&pair, 1, group(1, 65_536, settings));
        pair.say(&frame);
        assert!(!pair.has_closed(LINK));
        let told = Event::SettingUnsupported {
            group: news(),
            setting: name.to_owned(),
        };
        assert!(pair.events.contains(&told), "{:?}", pair.events);
        assert_eq!(pair.counted("groups_unsupported"), 1);
        // Its words about itself follow.
        pair.wait_ms(1_500);
        let own = pair.engine.own_record().expect("has one");
        assert_eq!(own.record.group(&news()).map(|group| group.role), None);

        let refused = pair.engine.join(pair.now, news(), JoinOptions::default());
        let setting = name.to_owned();
        assert_eq!(
            refused,
            Err(JoinError::Unsupported {
                setting: setting.clone()
            })
        );
        let options = PublishOptions::default();
        let refused = pair
            .engine
            .publish(pair.now, &news(), Bytes::new(), options);
        assert_eq!(refused, Err(PublishError::Unsupported { setting }));
        // Without it all is as before.
        let frame = stating(&pair, 2, group(1, 65_537, plain()));
        pair.say(&frame);
        let joined = pair.engine.join(pair.now, news(), JoinOptions::default());
        assert_eq!(joined, Ok(()));
    }
}

#[test]
fn settings_that_a_peer_does_not_understand_are_restated_as_they_are() {
    let mut pair = Pair::new();
    let broadcast = RecordGroup {
        name: hedgerow_protocol::GroupName::broadcast(),
        ..group(0, 65_536, sealed())
    };
    let frame = stating(&pair, 1, broadcast);
    pair.say(&frame);
    pair.wait_ms(1_500);
    let own = pair.engine.own_record().expect("has one");
    let name = hedgerow_protocol::GroupName::broadcast();
    let stated = own
        .record
        .group(&name)
        .and_then(|group| group.settings.clone());
    assert_eq!(stated, Some(sealed()));
}

fn headers(pairs: &[(&str, &str)]) -> Headers {
    let mut headers = Headers::default();
    for (key, value) in pairs {
        headers.insert(key, value).expect("a header");
    }
    headers
}

/// A member that delivers to itself, with messages of few bytes cut into fragments.
fn publisher(fragment_bytes: usize) -> Pair {
    let mut config = Config::default();
    config.groups.fragment_bytes = fragment_bytes;
    let mut pair = Pair::with(0, config);
    pair.answer(0, None);
    pair
}

#[test]
fn headers_come_with_their_message_and_are_no_part_of_it() {
    for (fragment_bytes, payload) in [(65_536, 5), (4_096, 30_000), (65_536, 0)] {
        let mut pair = publisher(fragment_bytes);
        let headers = headers(&[("a", "1"), ("long", &"x".repeat(5_000))]);
        let payload = Bytes::from(vec![b'p'; payload]);
        let options = PublishOptions {
            headers: headers.clone(),
            ..PublishOptions::default()
        };
        (pair
            .engine
            .publish(pair.now, &news(), payload.clone(), options))
        .expect("publishes");
        (pair.engine)
            .publish(pair.now, &news(), "plain".into(), PublishOptions::default())
            .expect("publishes");
        pair.drain();
        let got: Vec<_> = (pair.delivered.iter())
            .map(|got| (got.headers.clone(), got.payload.clone()))
            .collect();
        assert_eq!(
            got,
            [(headers, payload), (Headers::default(), "plain".into())]
        );
    }
}

#[test]
fn the_past_has_its_headers() {
    let mut pair = publisher(65_536);
    let options = PublishOptions {
        headers: headers(&[("a", "1")]),
        ..PublishOptions::default()
    };
    (pair
        .engine
        .publish(pair.now, &news(), "past".into(), options))
    .expect("publishes");
    pair.drain();
    pair.delivered.clear();
    let again = JoinOptions {
        history: History::Last(HISTORY_LAST_MAX),
        ..JoinOptions::default()
    };
    pair.engine.join(pair.now, news(), again).expect("joins");
    pair.drain();
    let [got] = &pair.delivered[..] else {
        panic!("{:?}", pair.delivered);
    };
    assert_eq!(
        (got.headers.get("a"), &got.payload[..]),
        (Some("1"), &b"past"[..])
    );
}

#[test]
fn a_bundle_without_headers_costs_one_byte_more() {
    let mut pair = Pair::new();
    let without = pair.publish();
    let mut header = without.header.clone();
    header.header_lengths = vec![0];
    let with = Bundle::sign(header, without.payload.clone(), &key(3));
    // An empty list is the one byte that says so.
    assert_eq!(with.signed.len(), without.signed.len() + 1);
}

#[test]
fn headers_that_cannot_be_read_do_not_cost_the_message() {
    let mut pair = Pair::new();
    pair.answer(0, None);
    let mut header = pair.publish().header;
    header.header_lengths = vec![1];
    header.lengths = vec![3];
    let bundle = Bundle::sign(header, Bytes::from_static(b"\xffok"), &key(3));
    pair.send(&bundle);
    let [got] = &pair.delivered[..] else {
        panic!("{:?}", pair.delivered);
    };
    assert_eq!(
        (&got.headers, &got.payload[..]),
        (&Headers::default(), &b"ok"[..])
    );
    assert_eq!(pair.counted("headers_unreadable"), 1);
    assert!(!pair.has_closed(LINK));
}

#[test]
fn headers_longer_than_their_message_are_malformed() {
    let mut pair = Pair::new();
    pair.answer(0, None);
    let mut header = pair.publish().header;
    header.header_lengths = vec![2];
    let bundle = Bundle::sign(header, Bytes::from_static(b"x"), &key(3));
    pair.send(&bundle);
    assert!(pair.has_closed(LINK));
    assert!(pair.delivered.is_empty());
}
