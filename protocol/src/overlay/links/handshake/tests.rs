//! Which connections come up, which are refused, and what each end is told.

use super::*;
use crate::core::Stopping;
use crate::core::config::{Config, LinkConfig};
use crate::overlay::fixture::{
    Command, EPOCH, Fixture, ME, RTT_US, address, ending, frames_to, links_to, peer,
};
use crate::wire::frame::Buckets;
use crate::wire::record::WireRecord;
use crate::wire::{CAPABILITIES, Frame};
use std::slice;

/// The numbers of a peer with a smaller key than this one's, and of one with a larger key.
fn smaller_and_larger() -> (u8, u8) {
    let find =
        |is_smaller: bool| (2..=u8::MAX).find(|number| (peer(*number) < peer(ME)) == is_smaller);
    (find(true).expect("one"), find(false).expect("one"))
}

/// This peer dials another one, which answers.
fn dial(fixture: &mut Fixture, number: u8) -> LinkId {
    let dial = DialId(1_000 + u64::from(number));
    fixture.linked(number, Some(dial), Some(address(number)))
}

fn hello_of(fixture: &mut Fixture, link: LinkId, epoch: u64) {
    let hello = Hello {
        epoch,
        ..fixture.hello()
    };
    fixture.net.on_hello(&mut fixture.core, link, hello);
}

type Before<'a> = &'a dyn Fn(&mut Fixture);
type Change<'a> = &'a dyn Fn(&mut Hello);

fn stage(fixture: &Fixture, link: LinkId) -> Option<Stage> {
    fixture.net.links.get(&link).map(|link| link.stage)
}

fn up(link: LinkId, number: u8) -> Command {
    let peer = peer(number);
    Command::Event(Event::LinkUp { link, peer })
}

#[test]
fn a_connection_is_greeted_with_the_epoch_and_the_own_record() {
    let mut fixture = Fixture::new();
    let link = fixture.connect(2);
    let record = fixture.net.wire_record(&fixture.core, peer(ME));
    assert!(record.is_some());
    let hello = Hello {
        wire: WIRE_VERSION,
        network: fixture.core.config.network.clone(),
        epoch: fixture.net.own.epoch,
        capabilities: CAPABILITIES,
        needs: Vec::new(),
        wants: 0,
        record,
    };
    assert_eq!(fixture.commands(), [Command::Send(link, hello.into())]);
    assert_eq!(fixture.events(), []);
}

#[test]
fn nothing_is_said_before_the_epoch_is_stored() {
    let mut fixture = Fixture::unstored(Config::default());
    let asked = fixture.commands();
    let [Command::Store(batch, _), Command::Event(_)] = asked[..] else {
        panic!("{asked:?}");
    };
    let greeted = fixture.connect(2);
    let ended = fixture.connect(3);
    fixture
        .net
        .close_link(&mut fixture.core, ended, LinkEnd::Full);
    let [_, close, down] = ending(ended, 3, LinkEnd::Full);
    assert_eq!(fixture.commands(), [close, down], "no goodbye");
    fixture.stored(batch);
    let said = fixture.commands();
    assert!(
        matches!(said[..], [Command::Send(to, Frame::Hello(_))] if to == greeted),
        "{said:?}"
    );
}

#[test]
fn a_connection_that_cannot_come_up_is_not_greeted() {
    let banned = |fixture: &mut Fixture| fixture.net.ban(&mut fixture.core, peer(2));
    let stopping = |fixture: &mut Fixture| {
        banned(fixture);
        fixture.core.stopping = Some(Stopping::Leaving(Micros(0)));
    };
    let cases: [(u8, Before<'_>, LinkEnd); 3] = [
        (2, &banned, LinkEnd::Banned),
        (2, &stopping, LinkEnd::Stopped),
        (ME, &|_| (), LinkEnd::Duplicate),
    ];
    for (number, before, end) in cases {
        let mut fixture = Fixture::new();
        before(&mut fixture);
        let link = fixture.connect(number);
        assert_eq!(fixture.commands(), ending(link, number, end));
        let is_ban = u64::from(end == LinkEnd::Banned);
        assert_eq!(fixture.counted("links_banned"), is_ban);
    }
}

#[test]
fn a_peer_that_was_dialled_twice_keeps_the_first_connection() {
    let mut fixture = Fixture::new();
    let first = dial(&mut fixture, 2);
    fixture.forget();
    let second = dial(&mut fixture, 2);
    let ended = ending(second, 2, LinkEnd::Duplicate);
    assert_eq!(fixture.commands(), ended);
    assert_eq!(stage(&fixture, first), Some(Stage::Handshake));
}

#[test]
fn the_last_places_are_kept_for_peers_known_for_long() {
    let config = Config {
        links: LinkConfig {
            links_max: 2,
            ..LinkConfig::default()
        },
        ..Config::default()
    };
    let known_ms = config.limits.known_ms;
    let mut fixture = Fixture::with(config);
    let known = fixture.link(2);
    fixture
        .net
        .close_link(&mut fixture.core, known, LinkEnd::Left);
    fixture.wait_ms(known_ms);
    for number in 3..=5 {
        fixture.connect(number);
    }
    fixture.forget();
    // Of twice `links_max` a quarter is reserved.
    let link = fixture.connect(6);
    assert_eq!(fixture.commands(), ending(link, 6, LinkEnd::Full));
    let link = fixture.connect(2);
    let said = fixture.frames_to(link);
    assert!(matches!(said[..], [Frame::Hello(_)]), "{said:?}");
}

#[test]
fn a_hello_that_does_not_fit_ends_the_link_and_its_record_is_not_looked_at() {
    let elsewhere: crate::base::name::NetworkName = "elsewhere".parse().expect("valid");
    let cases: [(Change<'_>, LinkEnd); 4] = [
        (&|hello| hello.wire += 1, LinkEnd::Incompatible),
        (
            &|hello| hello.needs.push("x".repeat(1_000)),
            LinkEnd::Incompatible,
        ),
        (
            &|hello| hello.network = elsewhere.clone(),
            LinkEnd::OtherNetwork,
        ),
        (
            &|hello| {
                hello.wire += 1;
                hello.network = elsewhere.clone();
            },
            LinkEnd::Incompatible,
        ),
    ];
    for (change, end) in cases {
        let mut fixture = Fixture::new();
        let link = fixture.connect(2);
        fixture.forget();
        let mut hello = fixture.hello();
        hello.record = Some(WireRecord::new(b"no record"[..].into(), [0; 64], 0));
        change(&mut hello);
        fixture.net.on_hello(&mut fixture.core, link, hello);
        assert_eq!(fixture.commands(), ending(link, 2, end));
        assert_eq!(fixture.events(), [OverlayEvent::LinkEnded(link)]);
        assert!(!fixture.net.is_banned(&fixture.core, peer(2)));
    }
}

#[test]
fn a_hello_with_bytes_that_are_no_record_bans_and_brings_nothing_up() {
    let mut fixture = Fixture::new();
    let link = fixture.connect(2);
    fixture.forget();
    let hello = Hello {
        record: Some(WireRecord::new(b"no record"[..].into(), [0; 64], 0)),
        ..fixture.hello()
    };
    fixture.net.on_hello(&mut fixture.core, link, hello);
    assert_eq!(fixture.commands(), ending(link, 2, LinkEnd::Malformed));
    assert!(fixture.net.is_banned(&fixture.core, peer(2)));
}

#[test]
fn the_end_that_dialled_compares_the_databases() {
    for dialled in [true, false] {
        let mut fixture = Fixture::new();
        let link = if dialled {
            dial(&mut fixture, 2)
        } else {
            fixture.connect(2)
        };
        fixture.forget();
        fixture.say_hello(link);
        let buckets = Buckets {
            hashes: fixture.net.database.buckets().to_vec(),
            from: 0,
        };
        let mut expected = vec![up(link, 2)];
        expected.extend(dialled.then(|| Command::Send(link, buckets.into())));
        assert_eq!(fixture.commands(), expected);
        let asked = OverlayEvent::HeartbeatDue(link, true);
        assert_eq!(fixture.events(), [asked, OverlayEvent::LinkUp(link)]);
    }
}

#[test]
fn a_connection_of_a_newer_epoch_replaces_the_standing_one() {
    let mut fixture = Fixture::new();
    let first = fixture.link(2);
    fixture.measure(first, RTT_US);
    let second = fixture.connect(2);
    fixture.forget();
    hello_of(&mut fixture, second, EPOCH + 1);
    let mut expected = ending(first, 2, LinkEnd::Replaced).to_vec();
    expected.push(up(second, 2));
    assert_eq!(fixture.commands(), expected);
    let rtt = fixture.net.links[&second].rtt.minimum_us();
    assert_eq!(rtt, None, "another life may live elsewhere");
    assert!(!fixture.net.own.lost_a_link, "the new one takes its place");
}

#[test]
fn a_second_connection_of_an_older_epoch_is_refused() {
    let mut fixture = Fixture::new();
    let first = fixture.link(2);
    let mut visitors = Vec::new();
    for round in 1..=3 {
        let second = fixture.connect(2);
        fixture.forget();
        hello_of(&mut fixture, second, EPOCH - 1);
        let commands = fixture.commands();
        let alternatives = Vec::new();
        let refuse = Frame::from(Refuse { alternatives });
        assert_eq!(frames_to(second, &commands), slice::from_ref(&refuse));
        assert_eq!(stage(&fixture, first), Some(Stage::Up));
        assert_eq!(stage(&fixture, second), Some(Stage::Visitor));
        if let Some(earlier) = visitors.last() {
            let ended = ending(*earlier, 2, LinkEnd::Replaced);
            assert_eq!(commands[..3], ended, "one visitor is enough");
        }
        // A restart with a lost store may look so twice, and a second user of the key goes on.
        let is_told = |command: &Command| {
            matches!(command, Command::Event(Event::IdentityConflict { peer: of, users })
                if *of == peer(2) && users.len() == 2)
        };
        assert_eq!(commands.iter().any(is_told), round == 3, "{commands:?}");
        visitors.push(second);
    }
    assert_eq!(fixture.counted("links_outdated"), 3);
}

#[test]
fn of_crossing_dials_the_one_of_the_smaller_key_stays() {
    let (smaller, larger) = smaller_and_larger();
    for (number, own_stays) in [(smaller, false), (larger, true)] {
        for own_is_first in [false, true] {
            let mut fixture = Fixture::new();
            let links = [own_is_first, !own_is_first].map(|is_own| {
                if is_own {
                    dial(&mut fixture, number)
                } else {
                    fixture.connect(number)
                }
            });
            for link in links {
                fixture.say_hello(link);
            }
            let (stays, goes) = if own_stays == own_is_first {
                (links[0], links[1])
            } else {
                (links[1], links[0])
            };
            assert_eq!(stage(&fixture, stays), Some(Stage::Up));
            assert_eq!(stage(&fixture, goes), None);
            let commands = fixture.commands();
            let ended = ending(goes, number, LinkEnd::Duplicate);
            let is_ended = commands.windows(3).any(|three| *three == ended);
            assert!(is_ended, "{number} {own_is_first}: {commands:?}");
        }
    }
}

#[test]
fn of_two_connections_from_the_other_end_the_later_stays_with_what_was_measured() {
    let mut fixture = Fixture::new();
    let first = fixture.link(2);
    fixture.measure(first, RTT_US);
    let second = fixture.connect(2);
    fixture.forget();
    fixture.say_hello(second);
    let mut expected = ending(first, 2, LinkEnd::Duplicate).to_vec();
    expected.push(up(second, 2));
    assert_eq!(fixture.commands(), expected);
    let rtt = fixture.net.links[&second].rtt.minimum_us();
    assert_eq!(rtt, Some(RTT_US.into()));
}

/// Nobody dials a peer again to which a link stands: a second user of the key does.
#[test]
fn beside_a_link_that_has_lasted_and_is_heard_a_duplicate_is_given_the_database() {
    let (_, larger) = smaller_and_larger();
    for (lasted, heard_ms_ago, is_refused) in
        [(true, 0, true), (false, 0, false), (true, 2_000, false)]
    {
        let mut fixture = Fixture::new();
        let first = dial(&mut fixture, larger);
        fixture.say_hello(first);
        if lasted {
            fixture.wait_ms(fixture.core.config.links.flap_ms);
        }
        let heard = fixture.now();
        fixture.net.links.get_mut(&first).expect("up").heard = heard;
        fixture.wait_ms(heard_ms_ago);
        let second = fixture.connect(larger);
        fixture.forget();
        fixture.say_hello(second);
        assert_eq!(stage(&fixture, first), Some(Stage::Up));
        if is_refused {
            assert_eq!(stage(&fixture, second), Some(Stage::Visitor));
            let said = fixture.frames_to(second);
            assert!(matches!(said[..], [Frame::Refuse(_)]), "{said:?}");
        } else {
            let ended = ending(second, larger, LinkEnd::Duplicate);
            assert_eq!(fixture.commands(), ended);
        }
    }
}

#[test]
fn an_origin_that_was_cut_off_is_not_linked() {
    let mut fixture = Fixture::new();
    fixture.net.cut_off.insert(peer(2), EPOCH);
    let link = fixture.connect(2);
    fixture.forget();
    fixture.say_hello(link);
    assert_eq!(fixture.commands(), ending(link, 2, LinkEnd::Equivocation));
}

#[test]
fn a_refusal_names_neighbours_that_can_be_dialled_and_ends_after_a_visit() {
    let config = Config {
        links: LinkConfig {
            accept_max: 3,
            ..LinkConfig::default()
        },
        ..Config::default()
    };
    let mut fixture = Fixture::with(config);
    fixture.neighbour(2, |_| ());
    fixture.neighbour(3, |record| record.addresses.clear());
    let busy: Vec<u8> = (10..40).chain([ME]).collect();
    fixture.neighbour(4, |record| record.links = links_to(&busy));
    let link = fixture.connect(5);
    fixture.forget();
    fixture.say_hello(link);
    let alternatives = vec![(peer(2), vec![address(2)])];
    let refuse = Frame::from(Refuse { alternatives });
    assert_eq!(fixture.commands(), [Command::Send(link, refuse)]);
    assert_eq!(fixture.events(), []);
    fixture.wait_ms(VISIT_MS - 1);
    let beats = fixture.net.up.values();
    for link in beats.copied().collect::<Vec<_>>() {
        fixture.net.links.get_mut(&link).expect("up").heard = fixture.core.now.mono;
    }
    fixture.net.on_links_timeout(&mut fixture.core);
    assert_eq!(stage(&fixture, link), Some(Stage::Visitor));
    fixture.wait_ms(1);
    fixture.forget();
    fixture.net.on_links_timeout(&mut fixture.core);
    assert_eq!(fixture.commands(), ending(link, 5, LinkEnd::Refused));
}

#[test]
fn of_a_refusal_only_alternatives_outside_the_view_are_learnt_and_few_of_them() {
    let mut fixture = Fixture::new();
    fixture.neighbour(2, |_| ());
    let link = dial(&mut fixture, 3);
    fixture.say_hello(link);
    fixture.forget();
    let named = [ME, 2].into_iter().chain(10..30);
    let alternatives = named.map(|number| (peer(number), vec![address(200)]));
    let refuse = Refuse {
        alternatives: alternatives.collect(),
    };
    fixture.net.on_refuse(&mut fixture.core, link, refuse);
    let learnt = [ME, 2].into_iter().chain(10..30);
    let learnt: Vec<u8> = learnt
        .filter(|number| {
            !fixture
                .net
                .candidates
                .addresses_of(peer(*number))
                .is_empty()
        })
        .collect();
    assert_eq!(learnt, (10..16).collect::<Vec<u8>>());
    // It was up, and serves as a visitor's for a moment.
    assert_eq!(fixture.events(), [OverlayEvent::LinkDown(link)]);
    assert_eq!(stage(&fixture, link), Some(Stage::Visitor));
    assert_eq!(fixture.net.up.get(&peer(3)), None);
    assert_eq!(fixture.counted("links_refused_by_peer"), 1);
}

#[test]
fn a_goodbye_is_not_answered_and_that_of_a_duplicate_is_no_loss() {
    for (reason, end) in [
        ("Duplicate", LinkEnd::Duplicate),
        ("Shed", LinkEnd::Left),
        ("of a later version", LinkEnd::Left),
    ] {
        let mut fixture = Fixture::new();
        let link = fixture.link(2);
        let reason = reason.to_owned();
        let bye = Bye { reason };
        fixture.net.on_bye(&mut fixture.core, link, &bye);
        let [_, close, down] = ending(link, 2, end);
        assert_eq!(fixture.commands(), [down, close]);
        assert_eq!(fixture.net.own.lost_a_link, end == LinkEnd::Left);
    }
}

#[test]
fn a_link_that_cannot_hear_it_is_not_told_goodbye() {
    for end in [LinkEnd::Silence, LinkEnd::Stuck] {
        let mut fixture = Fixture::new();
        let link = fixture.link(2);
        fixture.net.close_link(&mut fixture.core, link, end);
        let [_, close, down] = ending(link, 2, end);
        assert_eq!(fixture.commands(), [close, down]);
        fixture.net.close_link(&mut fixture.core, link, end);
        assert_eq!(fixture.commands(), [], "it has ended");
    }
}

#[test]
fn silence_ends_a_link_four_round_trips_later_on_a_slow_path() {
    let mut fixture = Fixture::new();
    let (near, far) = (fixture.link(2), fixture.link(3));
    fixture.measure(far, 250_000);
    fixture.wait_ms(fixture.core.config.links.silence_ms);
    fixture.net.on_links_timeout(&mut fixture.core);
    assert_eq!(stage(&fixture, near), None);
    assert_eq!(stage(&fixture, far), Some(Stage::Up));
    fixture.wait_ms(1_000);
    fixture.net.on_links_timeout(&mut fixture.core);
    assert_eq!(stage(&fixture, far), None);
    let ends = fixture.core.counts.told().link_ends;
    assert_eq!(ends.get(&LinkEnd::Silence), Some(&2));
}

#[test]
fn strangers_are_hurried_while_many_of_them_have_not_said_hello() {
    for (strangers, late) in [(16, 0), (17, 17)] {
        let mut fixture = Fixture::new();
        for number in 0..strangers {
            fixture.connect_from(100 + number, address(number));
        }
        fixture.wait_ms(fixture.core.config.limits.hello_ms);
        fixture.net.on_links_timeout(&mut fixture.core);
        assert_eq!(fixture.counted("hellos_late"), late);
        assert_eq!(fixture.net.links.len() as u64, u64::from(strangers) - late);
    }
}

#[test]
fn a_hello_that_does_not_come_at_all_is_not_counted_as_late() {
    let mut fixture = Fixture::new();
    let link = fixture.connect(2);
    fixture.forget();
    fixture.wait_ms(fixture.core.config.links.handshake_ms);
    fixture.net.on_links_timeout(&mut fixture.core);
    let ended = ending(link, 2, LinkEnd::HandshakeTimeout);
    assert_eq!(fixture.commands(), ended);
    assert_eq!(fixture.counted("hellos_late"), 0);
}
