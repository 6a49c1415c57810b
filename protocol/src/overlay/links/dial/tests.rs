//! Who is dialled, with how much patience, and who is left alone for how long.

use super::*;
use crate::base::interface::LinkId;
use crate::core::Stopping;
use crate::core::config::Config;
use crate::overlay::fixture::{Command, Fixture, ME, address, dialled, peer};

fn dial(fixture: &mut Fixture, number: u8) -> Vec<Command> {
    let target = Target::Peer(peer(number));
    let commands = fixture.commands();
    assert!(dialled(&commands).is_empty(), "{commands:?}");
    let reason = Some(Reason::Nearest);
    let is_dialled = fixture.net.dial(&mut fixture.core, target, reason);
    let commands = fixture.commands();
    assert_eq!(is_dialled, commands.len() == 1, "{commands:?}");
    commands
}

fn is_dialled(fixture: &mut Fixture, number: u8) -> bool {
    !dial(fixture, number).is_empty()
}

/// The dial that was asked for last, and its limit, ms.
fn last(commands: &[Command]) -> (DialId, u64) {
    match commands {
        [
            ..,
            Command::Dial {
                dial, timeout_ms, ..
            },
        ] => (*dial, *timeout_ms),
        _ => panic!("{commands:?}"),
    }
}

/// A peer that knows where these are.
fn knowing(numbers: &[u8]) -> Fixture {
    let mut fixture = Fixture::new();
    for number in numbers {
        fixture.hold(*number, |_| ());
    }
    fixture.forget();
    fixture
}

fn lose(fixture: &mut Fixture, link: LinkId, end: LinkEnd) {
    fixture.net.on_link_lost(&mut fixture.core, link, end);
    fixture.forget();
}

#[test]
fn a_peer_is_dialled_where_its_record_says_it_is_and_once_at_a_time() {
    let mut fixture = knowing(&[2]);
    let expected = Command::Dial {
        dial: DialId(0),
        peer: Some(peer(2)),
        addresses: vec![address(2)],
        timeout_ms: LinkConfig::default().dial_timeout_ms,
    };
    assert_eq!(dial(&mut fixture, 2), [expected]);
    assert!(!is_dialled(&mut fixture, 2), "it is under way");
    assert!(!is_dialled(&mut fixture, 3), "nobody knows where it is");
    assert_eq!(fixture.counted("dials"), 1);
}

#[test]
fn those_who_must_not_be_dialled_are_not() {
    let mut fixture = knowing(&[2, 3, 4, 5]);
    fixture.hold(6, |record| {
        record.addresses = vec!["/ip4/10.0.0.1/tcp/1".parse().expect("valid")];
    });
    fixture.link(2);
    fixture.connect(3);
    fixture.net.ban(&mut fixture.core, peer(4));
    fixture.forget();
    for number in [ME, 2, 3, 4] {
        assert!(!is_dialled(&mut fixture, number), "{number}");
        let target = Target::Peer(peer(number));
        assert!(fixture.net.dialer.is_free(&target, fixture.now()));
    }
    assert!(!is_dialled(&mut fixture, 6), "its network is out of reach");
    assert_eq!(fixture.counted("addresses_withheld"), 1);
    let target = Target::Peer(peer(6));
    assert!(!fixture.net.dialer.is_free(&target, fixture.now()));
    fixture.core.stopping = Some(Stopping::Leaving(Micros(0)));
    assert!(!is_dialled(&mut fixture, 5), "this peer leaves");
    fixture.core.stopping = None;
    assert!(is_dialled(&mut fixture, 5));
}

#[test]
fn a_peer_that_was_refused_or_is_going_may_be_dialled_again() {
    let mut fixture = knowing(&[2]);
    let link = fixture.connect(2);
    fixture.forget();
    fixture.net.links.get_mut(&link).expect("stands").stage = Stage::Visitor;
    assert!(is_dialled(&mut fixture, 2));
}

#[test]
fn no_more_dials_than_the_budget_are_under_way() {
    let most = LinkConfig::default().dials_max as u8;
    let numbers: Vec<u8> = (10..=10 + most).collect();
    let mut fixture = knowing(&numbers);
    let dials: Vec<bool> = numbers
        .iter()
        .map(|n| is_dialled(&mut fixture, *n))
        .collect();
    assert_eq!(
        dials.iter().filter(|is_dialled| **is_dialled).count(),
        most.into()
    );
    fixture.net.on_dial_failed(&mut fixture.core, DialId(0));
    assert!(is_dialled(&mut fixture, 10 + most));
    fixture.net.on_dial_failed(&mut fixture.core, DialId(0));
    assert_eq!(fixture.counted("dials_failed"), 1, "told twice");
}

#[test]
fn the_wait_after_failures_doubles_up_to_the_most() {
    let config = LinkConfig::default();
    let mut fixture = knowing(&[2]);
    let mut wait_ms = config.backoff_min_ms;
    for _ in 0..8 {
        let (id, _) = last(&dial(&mut fixture, 2));
        fixture.net.on_dial_failed(&mut fixture.core, id);
        fixture.forget();
        fixture.wait_ms(wait_ms - 1);
        assert!(!is_dialled(&mut fixture, 2), "after {wait_ms} ms");
        // And up to a quarter more.
        fixture.wait_ms(wait_ms / 4 + 1);
        wait_ms = (wait_ms * 2).min(config.backoff_max_ms);
    }
    assert_eq!(wait_ms, config.backoff_max_ms);
}

#[test]
fn a_dial_that_ran_into_its_limit_has_longer_the_next_time_unless_there_are_other_links() {
    let config = LinkConfig::default();
    let mut fixture = knowing(&[2]);
    let mut limit_ms = config.dial_timeout_ms;
    for _ in 0..6 {
        let (_, timeout_ms) = last(&dial(&mut fixture, 2));
        assert_eq!(timeout_ms, limit_ms);
        fixture.wait_ms(limit_ms - 1);
        fixture.net.on_dials_timeout(&mut fixture.core);
        assert_eq!(fixture.net.dialer.len(), 1);
        fixture.wait_ms(1);
        fixture.net.on_dials_timeout(&mut fixture.core);
        assert_eq!(fixture.net.dialer.len(), 0);
        fixture.forget();
        fixture.wait_ms(2 * config.backoff_max_ms);
        limit_ms = (limit_ms * 2).min(config.dial_timeout_max_ms);
    }
    // One that failed before is as patient as before.
    let (id, _) = last(&dial(&mut fixture, 2));
    fixture.net.on_dial_failed(&mut fixture.core, id);
    fixture.forget();
    fixture.wait_ms(2 * config.backoff_max_ms);
    for number in 10..10 + LINKS_FEW as u8 {
        fixture.link(number);
    }
    let (_, timeout_ms) = last(&dial(&mut fixture, 2));
    assert_eq!(timeout_ms, config.dial_timeout_ms);
}

#[test]
fn a_dial_is_answered_for_its_reason_only_by_the_peer_that_was_meant() {
    for (answers, reason, is_free) in [(2, Some(Reason::Nearest), true), (3, None, false)] {
        let mut fixture = knowing(&[2]);
        let (id, _) = last(&dial(&mut fixture, 2));
        let link = fixture.linked(answers, Some(id), Some(address(2)));
        assert_eq!(fixture.net.links[&link].wants, reason);
        let target = Target::Peer(peer(2));
        assert_eq!(fixture.net.dialer.is_free(&target, fixture.now()), is_free);
    }
}

/// Whether a peer is backed off, and the loose address at which it has answered.
fn backs_off(fixture: &Fixture, number: u8) -> [bool; 2] {
    let targets = [Target::Peer(peer(number)), Target::Address(address(200))];
    targets.map(|target| !fixture.net.dialer.is_free(&target, fixture.now()))
}

/// A link over an address that no record states, up unless `number` is that of a stranger.
fn over_loose_address(fixture: &mut Fixture, is_up: bool) -> LinkId {
    fixture
        .net
        .on_discovered(&mut fixture.core, vec![address(200)]);
    let (id, _) = last(&fixture.commands());
    let link = fixture.linked(2, Some(id), Some(address(200)));
    if is_up {
        fixture.say_hello(link);
    }
    fixture.forget();
    link
}

#[test]
fn only_a_link_that_has_lasted_and_breaks_is_dialled_again_at_once() {
    let flap_ms = LinkConfig::default().flap_ms;
    for (is_up, stood_ms, end, expected) in [
        (true, flap_ms, LinkEnd::Transport, false),
        (true, flap_ms, LinkEnd::Silence, false),
        (true, flap_ms, LinkEnd::Unwanted, false),
        (true, flap_ms, LinkEnd::Shed, true),
        (true, flap_ms, LinkEnd::Left, true),
        (true, flap_ms - 1, LinkEnd::Transport, true),
        (false, flap_ms, LinkEnd::Transport, true),
    ] {
        let mut fixture = Fixture::new();
        let link = over_loose_address(&mut fixture, is_up);
        fixture.wait_ms(stood_ms);
        lose(&mut fixture, link, end);
        let is = backs_off(&fixture, 2);
        assert_eq!(is, [expected; 2], "{is_up} {stood_ms} {end:?}");
    }
}

#[test]
fn the_end_of_one_of_two_connections_backs_nobody_off() {
    let mut fixture = Fixture::new();
    let link = over_loose_address(&mut fixture, false);
    fixture.connect(2);
    lose(&mut fixture, link, LinkEnd::Transport);
    assert_eq!(backs_off(&fixture, 2), [false; 2]);
}

#[test]
fn keys_that_cannot_be_dialled_take_no_place_among_the_backoffs() {
    let mut fixture = Fixture::new();
    let link = fixture.connect(2);
    lose(&mut fixture, link, LinkEnd::Transport);
    assert!(fixture.net.dialer.backoffs.is_empty());
}

#[test]
fn at_the_bound_the_backoff_that_ends_soonest_makes_room() {
    let config = LinkConfig::default();
    let mut dialer = Dialer::new(Vec::new());
    let target = |number: u64| Target::Address(format!("/memory/{number}").parse().expect("valid"));
    for number in 0..=BACKOFFS_MAX as u64 {
        dialer.back_off(target(number), Micros(number), &config, 0);
    }
    assert_eq!(dialer.backoffs.len(), BACKOFFS_MAX);
    assert!(dialer.is_free(&target(0), Micros(0)));
    assert!(!dialer.is_free(&target(1), Micros(0)));
}

#[test]
fn without_links_addresses_are_tried_but_those_of_who_is_there_or_banned() {
    let bootstrap = [200, 201, 202, 203].map(address).to_vec();
    let config = Config {
        bootstrap,
        ..Config::default()
    };
    let mut fixture = Fixture::with(config);
    fixture.net.on_dials_timeout(&mut fixture.core);
    let commands = fixture.commands();
    assert_eq!(dialled(&commands), [None; 4]);
    // At the first a visitor answers, at the second somebody who is then banned; the third fails.
    let visitor = fixture.linked(2, Some(DialId(0)), Some(address(200)));
    fixture.net.links.get_mut(&visitor).expect("stands").stage = Stage::Visitor;
    let banned = fixture.linked(3, Some(DialId(1)), Some(address(201)));
    fixture.net.ban(&mut fixture.core, peer(3));
    lose(&mut fixture, banned, LinkEnd::Banned);
    fixture.net.on_dial_failed(&mut fixture.core, DialId(2));
    fixture.wait_ms(1_000);
    fixture.forget();
    fixture.net.on_dials_timeout(&mut fixture.core);
    let commands = fixture.commands();
    let again: Vec<&Vec<Address>> = commands
        .iter()
        .filter_map(|command| match command {
            Command::Dial { addresses, .. } => Some(addresses),
            _ => None,
        })
        .collect();
    assert_eq!(again, [&vec![address(202)]], "the fourth is under way");
    // With a link nothing is tried.
    fixture.link(4);
    fixture.wait_ms(60_000);
    fixture.net.bootstrap(&mut fixture.core);
    assert_eq!(dialled(&fixture.commands()), []);
    assert_eq!(fixture.net.dialer.next_bootstrap, None);
}

#[test]
fn addresses_that_others_find_are_bounded_and_dialled_once() {
    let mut fixture = Fixture::new();
    let found = |number: usize| -> Address { format!("/memory/{number}").parse().expect("valid") };
    let all: Vec<Address> = (0..LOOSE_ADDRESSES_MAX + 10).map(found).collect();
    fixture.net.on_discovered(&mut fixture.core, all.clone());
    assert_eq!(fixture.net.dialer.loose.len(), LOOSE_ADDRESSES_MAX);
    fixture.forget();
    fixture.net.on_discovered(&mut fixture.core, all);
    assert_eq!(fixture.commands(), []);
}
