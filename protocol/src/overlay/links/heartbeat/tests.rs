//! When a heartbeat is sent or answered, and what one that comes is worth.

use super::*;
use crate::overlay::fixture::{Command, Fixture, RTT_US, WALL_MS, frames_to};
use crate::wire::Frame;

/// A link whose next heartbeat is a whole interval away.
fn linked() -> (Fixture, LinkId) {
    let mut fixture = Fixture::new();
    let link = fixture.link(2);
    (fixture, link)
}

/// What the other end sends: nothing to measure by, and the same database.
fn heartbeat(fixture: &Fixture) -> Heartbeat {
    Heartbeat {
        stamp_us: 77,
        echo_us: 0,
        held_us: 0,
        ask: false,
        coordinate: [0.0; 5],
        wall_ms: fixture.core.now.wall_ms,
        database: fixture.net.database.hash(),
        groups: Vec::new(),
    }
}

fn hear(fixture: &mut Fixture, link: LinkId, heartbeat: Heartbeat) -> Vec<OverlayEvent> {
    fixture.net.on_heartbeat(&mut fixture.core, link, heartbeat);
    fixture.events()
}

fn told(link: LinkId) -> OverlayEvent {
    OverlayEvent::LogHashes(link, Vec::new())
}

fn due(link: LinkId) -> OverlayEvent {
    OverlayEvent::HeartbeatDue(link, false)
}

fn rtt_us(fixture: &Fixture, link: LinkId) -> Option<u64> {
    fixture.net.links[&link].rtt.minimum_us()
}

#[test]
fn a_heartbeat_says_how_long_the_last_stamp_has_lain_here() {
    let (mut fixture, link) = linked();
    let last = heartbeat(&fixture);
    hear(&mut fixture, link, last);
    fixture.wait_ms(30);
    fixture.forget();
    fixture
        .net
        .send_heartbeat(&mut fixture.core, link, true, Vec::new());
    let expected = Heartbeat {
        stamp_us: fixture.now().0 + 1,
        echo_us: 77,
        held_us: 30_000,
        ask: true,
        wall_ms: WALL_MS + 30,
        ..heartbeat(&fixture)
    };
    let frames = frames_to(link, &fixture.commands());
    assert!(matches!(&frames[..], [Frame::Heartbeat(sent)]
        if Heartbeat { coordinate: expected.coordinate, ..sent.clone() } == expected));
}

#[test]
fn a_heartbeat_is_answered_when_it_asks_or_the_own_is_due_soon() {
    for (waited_ms, asks, is_answered) in [
        (0, false, false),
        (499, false, false),
        (500, false, true),
        (0, true, true),
    ] {
        let (mut fixture, link) = linked();
        fixture.wait_ms(waited_ms);
        let asking = Heartbeat {
            ask: asks,
            ..heartbeat(&fixture)
        };
        let expected = if is_answered {
            vec![due(link), told(link)]
        } else {
            vec![told(link)]
        };
        assert_eq!(hear(&mut fixture, link, asking), expected);
        // The end that answers leaves the next one to the other.
        let next = fixture.net.links[&link].next_heartbeat.since(fixture.now());
        let next_ms = if is_answered {
            1_250
        } else {
            1_000 - waited_ms
        };
        assert_eq!(next.as_millis(), next_ms);
    }
}

#[test]
fn heartbeats_that_are_due_take_those_along_that_soon_would_be() {
    let mut fixture = Fixture::new();
    let first = fixture.link(2);
    fixture.wait_ms(250);
    let second = fixture.link(3);
    fixture.wait_ms(1);
    let third = fixture.link(4);
    fixture.wait_ms(748);
    fixture.net.send_due_heartbeats(&mut fixture.core);
    assert_eq!(fixture.events(), [], "none is due");
    fixture.wait_ms(1);
    fixture.net.send_due_heartbeats(&mut fixture.core);
    assert_eq!(fixture.events(), [due(first), due(second)]);
    let next = fixture.net.links[&third].next_heartbeat;
    assert_eq!(next.since(fixture.now()).as_millis(), 251);
}

#[test]
fn the_way_takes_what_the_other_end_has_not_held() {
    let (mut fixture, link) = linked();
    let sent = fixture.now();
    fixture.wait_ms(50);
    let echo = Heartbeat {
        echo_us: sent.0 + 1,
        held_us: 49_000,
        ..heartbeat(&fixture)
    };
    hear(&mut fixture, link, echo);
    assert_eq!(rtt_us(&fixture, link), Some(RTT_US.into()));
}

#[test]
fn an_echo_of_what_was_not_sent_on_this_link_measures_nothing() {
    let (mut fixture, link) = linked();
    fixture.wait_ms(50);
    let (opened, now) = (fixture.net.links[&link].opened, fixture.now());
    for echo_us in [0, 1, opened.0, now.0 + 2, u64::MAX] {
        let echo = Heartbeat {
            echo_us,
            ..heartbeat(&fixture)
        };
        hear(&mut fixture, link, echo);
        assert_eq!(rtt_us(&fixture, link), None, "{echo_us}");
    }
    let echo = Heartbeat {
        echo_us: opened.0 + 1,
        held_us: u64::MAX,
        ..heartbeat(&fixture)
    };
    hear(&mut fixture, link, echo);
    assert_eq!(rtt_us(&fixture, link), Some(1), "no less than nothing");
}

#[test]
fn on_a_link_that_is_not_up_a_heartbeat_is_nothing() {
    let (mut fixture, link) = linked();
    fixture.net.links.get_mut(&link).expect("up").stage = Stage::Visitor;
    let asking = Heartbeat {
        ask: true,
        ..heartbeat(&fixture)
    };
    assert_eq!(hear(&mut fixture, link, asking), []);
    assert_eq!(fixture.net.links[&link].echo, None);
}

#[test]
fn an_equal_database_is_noted_and_another_is_compared_after_a_while() {
    let (mut fixture, link) = linked();
    let equal = heartbeat(&fixture);
    let other = Heartbeat {
        database: equal.database ^ 1,
        ..equal.clone()
    };
    hear(&mut fixture, link, other.clone());
    assert_eq!(fixture.net.links[&link].equal_at, None);
    hear(&mut fixture, link, equal);
    assert_eq!(fixture.net.links[&link].equal_at, Some(fixture.now()));
    fixture.forget();
    hear(&mut fixture, link, other.clone());
    fixture.wait_ms(fixture.core.config.database.unequal_ms);
    hear(&mut fixture, link, other);
    let commands = fixture.commands();
    assert!(
        matches!(commands[..], [Command::Send(to, Frame::Buckets(_))] if to == link),
        "{commands:?}"
    );
}

#[test]
fn what_the_other_end_wants_is_looked_at_a_moment_later() {
    let (mut fixture, link) = linked();
    fixture.net.on_choose_timeout(&mut fixture.core);
    fixture.net.on_wants(&mut fixture.core, link, 4);
    let wanted = fixture.net.links[&link].their_wants;
    assert_eq!(wanted, Some(hedgerow_topology::Reason::Nearest));
    let due_ms = fixture.net.chooser.due().since(fixture.now()).as_millis();
    assert!((500..1_500).contains(&due_ms), "{due_ms}");
}
