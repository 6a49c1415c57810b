//! What the record says, when it is said anew, and who gives way where two use one identity.

use super::*;
use crate::base::identity::Keypair;
use crate::base::interface::{LinkEnd, LinkId};
use crate::base::store::StoreOp;
use crate::overlay::fixture::{Command, Fixture, ME, RTT_US, address, member_of, peer};
use crate::wire::EPOCH_MAX;
use crate::wire::record::{GroupExt, RecordExt, WireSettings};

/// A peer whose record states these links, and was issued long ago.
fn with_links(numbers: &[u8]) -> Fixture {
    let mut fixture = Fixture::new();
    for number in numbers {
        fixture.neighbour(*number, |_| ());
    }
    fixture.wait_ms(60_000);
    fixture
}

fn link_to(fixture: &Fixture, number: u8) -> LinkId {
    fixture.net.up[&peer(number)]
}

fn lose(fixture: &mut Fixture, number: u8, end: LinkEnd) {
    let link = link_to(fixture, number);
    fixture.net.on_link_lost(&mut fixture.core, link, end);
}

/// Another link comes up, and its RTT is measured.
fn gain(fixture: &mut Fixture, number: u8) -> LinkId {
    let link = fixture.link(number);
    fixture.measure(link, RTT_US);
    fixture.net.consider_record(&mut fixture.core);
    link
}

/// In how many ms the next record is due.
fn due_in_ms(fixture: &Fixture) -> u64 {
    let due = fixture.net.own.due(&fixture.core.config.database);
    due.since(fixture.now()).as_millis()
}

/// Whether a record is issued now.
fn is_issued(fixture: &mut Fixture) -> bool {
    let before = fixture.counted("records_issued");
    fixture.net.on_record_timeout(&mut fixture.core);
    fixture.counted("records_issued") > before
}

/// To whom the record states links.
fn stated(fixture: &Fixture) -> Vec<PeerKey> {
    let record = fixture.net.database.get(peer(ME)).expect("its own");
    record.record.links.iter().map(|link| link.peer).collect()
}

fn refresh_ms() -> u64 {
    DatabaseConfig::default().refresh_ms
}

#[test]
fn a_loss_is_stated_at_once_and_a_link_given_up_waits_for_more() {
    for (end, due_ms) in [
        (LinkEnd::Transport, 0),
        (LinkEnd::Silence, 0),
        (LinkEnd::Left, 0),
        (LinkEnd::Shed, GATHER_MS),
        (LinkEnd::Unwanted, GATHER_MS),
        (LinkEnd::Replaced, GATHER_MS),
    ] {
        let mut fixture = with_links(&[2, 3]);
        lose(&mut fixture, 2, end);
        assert_eq!(due_in_ms(&fixture), due_ms, "{end:?}");
        fixture.wait_ms(due_ms);
        assert!(is_issued(&mut fixture));
        assert_eq!(stated(&fixture), [peer(3)]);
    }
}

#[test]
fn a_second_change_waits_for_the_pause_between_two_records() {
    let mut fixture = with_links(&[2]);
    fixture.net.issue_record(&mut fixture.core);
    gain(&mut fixture, 3);
    assert_eq!(due_in_ms(&fixture), fixture.core.config.database.reissue_ms);
    assert!(!is_issued(&mut fixture), "not before");
}

#[test]
fn a_loss_that_is_made_good_in_time_is_not_stated() {
    let mut fixture = with_links(&[2, 3]);
    let link = link_to(&fixture, 2);
    let rtt = std::mem::take(&mut fixture.net.links.get_mut(&link).expect("up").rtt);
    lose(&mut fixture, 2, LinkEnd::Transport);
    let link = fixture.link(2);
    fixture.net.links.get_mut(&link).expect("up").rtt = rtt;
    assert!(!is_issued(&mut fixture));
    gain(&mut fixture, 4);
    assert_eq!(
        due_in_ms(&fixture),
        GATHER_MS,
        "no loss is left to hurry for"
    );
}

#[test]
fn a_link_that_soon_broke_is_stated_only_after_it_has_stood_for_a_while() {
    let mut fixture = with_links(&[2]);
    gain(&mut fixture, 3);
    lose(&mut fixture, 3, LinkEnd::Transport);
    gain(&mut fixture, 3);
    fixture.wait_ms(GATHER_MS);
    is_issued(&mut fixture);
    assert_eq!(stated(&fixture), [peer(2)]);
    let held_back = LinkConfig::default().flap_ms / 4;
    assert_eq!(due_in_ms(&fixture), held_back - GATHER_MS);
    fixture.wait_ms(held_back - GATHER_MS);
    assert!(is_issued(&mut fixture));
    assert_eq!(stated(&fixture).len(), 2);
}

#[test]
fn the_wait_of_a_flapping_link_doubles_up_to_the_most_and_is_forgiven() {
    let config = LinkConfig {
        flap_ms: 4_000,
        flap_max_ms: 3_000,
        ..LinkConfig::default()
    };
    let at = Micros::from_millis;
    let mut flaps = Flaps::default();
    let mut now = at(10_000);
    for wait in [1_000, 2_000, 3_000, 3_000].map(at) {
        flaps.lost(peer(2), now, now, &config);
        assert_eq!(flaps.stated_from(peer(2), now), now + wait);
        now = now + wait;
    }
    flaps.lost(peer(3), now, now + at(4_000), &config);
    assert_eq!(flaps.stated_from(peer(3), now), now, "it had lasted");
    now = now + at(12_000);
    flaps.lost(peer(2), now, now, &config);
    assert_eq!(flaps.stated_from(peer(2), now), now + at(1_000));
}

#[test]
fn an_rtt_is_stated_anew_when_it_has_drifted_by_a_fifth_and_a_millisecond() {
    for (from_us, to_us, is_drift) in [
        (4_000, 2_750, true),
        (2_000, 1_250, false),
        (50_000, 42_000, false),
        (50_000, 39_000, true),
    ] {
        let mut fixture = Fixture::new();
        let link = fixture.link(2);
        fixture.measure(link, from_us);
        fixture.net.issue_record(&mut fixture.core);
        fixture.measure(link, to_us);
        fixture.net.consider_record(&mut fixture.core);
        let config = &fixture.core.config.database;
        let due_ms = if is_drift {
            config.drift_ms
        } else {
            refresh_ms()
        };
        assert_eq!(due_in_ms(&fixture), due_ms, "{from_us} to {to_us}");
    }
}

#[test]
fn drift_that_repeats_is_stated_after_pauses_that_double() {
    let mut fixture = Fixture::new();
    let link = fixture.link(2);
    fixture.measure(link, 1_000_000);
    fixture.net.issue_record(&mut fixture.core);
    let drift_ms = fixture.core.config.database.drift_ms;
    // The first comes after a calm.
    fixture.wait_ms(drift_ms * CALM_PAUSES);
    let mut rtt_us = 1_000_000;
    for pause_ms in [0, drift_ms, 2 * drift_ms, 4 * drift_ms] {
        rtt_us /= 2;
        fixture.measure(link, rtt_us);
        fixture.net.consider_record(&mut fixture.core);
        assert_eq!(due_in_ms(&fixture), pause_ms.max(GATHER_MS));
        fixture.wait_ms(pause_ms.max(GATHER_MS));
        assert!(is_issued(&mut fixture));
    }
    assert_eq!(fixture.counted("records_issued_for_drift"), 4);
    // Links do not wait for that.
    gain(&mut fixture, 3);
    assert_eq!(due_in_ms(&fixture), fixture.core.config.database.reissue_ms);
}

#[test]
fn a_record_without_change_is_refreshed_in_time() {
    let mut fixture = Fixture::new();
    let issued = fixture.net.database.get(peer(ME)).map(|own| own.order());
    let (epoch, version) = issued.expect("issued");
    fixture.wait_ms(refresh_ms() - 1);
    assert!(!is_issued(&mut fixture));
    fixture.wait_ms(1);
    assert!(is_issued(&mut fixture));
    let issued = fixture.net.database.get(peer(ME)).map(|own| own.order());
    assert_eq!(issued, Some((epoch, version + 1)));
}

#[test]
fn only_links_that_are_measured_and_stay_are_stated() {
    let mut fixture = Fixture::new();
    fixture.link(2);
    let retiring = gain(&mut fixture, 3);
    gain(&mut fixture, 4);
    let now = fixture.now();
    let link = fixture.net.links.get_mut(&retiring).expect("up");
    link.retiring_since = Some(now);
    fixture.net.issue_record(&mut fixture.core);
    assert_eq!(stated(&fixture), [peer(4)]);
    fixture.core.stopping = Some(Stopping::Stopped);
    fixture.net.issue_record(&mut fixture.core);
    let own = fixture.net.database.get(peer(ME)).expect("its own");
    assert!(own.record.left && own.record.links.is_empty());
}

#[test]
fn groups_that_have_no_room_are_counted() {
    let mut fixture = Fixture::new();
    let groups =
        (0..GROUPS_MAX + 7).map(|at| member_of(&format!("{at:04}").parse().expect("valid")));
    fixture.net.adverts.groups = groups.collect();
    fixture.net.issue_record(&mut fixture.core);
    let own = fixture.net.database.get(peer(ME)).expect("its own");
    let unstated = GROUPS_MAX + 7 - own.record.groups.len();
    assert!(unstated >= 7);
    assert_eq!(fixture.counted("groups_unstated"), unstated as u64);
}

/// A record of this peer's own key, which this engine has not issued.
fn strange(fixture: &Fixture, epoch: u64, version: u64) -> Arc<SignedRecord> {
    fixture.record(ME, |record| {
        record.epoch = epoch;
        record.version = version;
        record.addresses = vec![address(9)];
    })
}

fn meet(fixture: &mut Fixture, epoch: u64, version: u64, age_ms: u64) -> Vec<Command> {
    let record = strange(fixture, epoch, version);
    let (core, net) = (&mut fixture.core, &mut fixture.net);
    net.on_identity_conflict(core, &record, age_ms);
    fixture.commands()
}

fn other(epoch: u64) -> IdentityUser {
    let addresses = vec![address(9)];
    IdentityUser { epoch, addresses }
}

fn in_use(fixture: &Fixture, epoch: u64) -> Command {
    Command::Event(Event::IdentityInUse {
        peer: peer(ME),
        epoch: fixture.net.own.epoch,
        other: other(epoch),
    })
}

fn conflict(epoch: u64) -> Command {
    let (peer, users) = (peer(ME), vec![other(epoch)]);
    Command::Event(Event::IdentityConflict { peer, users })
}

const AGED_MS: u64 = 600_000;

#[test]
fn a_record_of_an_earlier_life_is_reissued_above() {
    let mut fixture = Fixture::new();
    let epoch = fixture.net.own.epoch;
    assert_eq!(meet(&mut fixture, epoch, 70, AGED_MS), []);
    let own = fixture.net.database.get(peer(ME)).expect("its own");
    assert_eq!(own.order(), (epoch, 71));
    // Of a later epoch the next one is stored first, once.
    let Command::Store(_, ops) = &meet(&mut fixture, epoch + 5, 1, AGED_MS)[..][0] else {
        panic!("nothing is stored");
    };
    let [StoreOp::Put { value, .. }] = &ops[..] else {
        panic!("{ops:?}");
    };
    assert_eq!(value[..], (epoch + 6).to_be_bytes());
    assert_eq!(meet(&mut fixture, epoch + 5, 2, AGED_MS), []);
    assert_eq!(fixture.net.own.epoch, epoch);
    assert_eq!(fixture.events(), []);
}

#[test]
fn a_record_younger_than_this_life_is_told_and_stops_nobody() {
    let mut fixture = Fixture::new();
    let epoch = fixture.net.own.epoch;
    fixture.wait_ms(1_000);
    assert_eq!(meet(&mut fixture, epoch, 70, 999), [conflict(epoch)]);
    let own = fixture.net.database.get(peer(ME)).expect("its own");
    assert_eq!(own.order(), (epoch, 71));
    assert_eq!(fixture.events(), []);
}

#[test]
fn an_answer_to_what_was_reissued_ends_the_life_with_the_lower_epoch() {
    let mut fixture = Fixture::new();
    let epoch = fixture.net.own.epoch;
    meet(&mut fixture, epoch, 70, AGED_MS);
    fixture.wait_ms(500);
    let given_up = in_use(&fixture, epoch);
    assert_eq!(meet(&mut fixture, epoch, 72, 499), [given_up]);
    assert_eq!(fixture.events(), [OverlayEvent::IdentityLost]);
    let issued = fixture.counted("records_issued");
    assert_eq!(meet(&mut fixture, epoch, 90, 0), [], "it is over");
    assert_eq!(fixture.counted("records_issued"), issued);
}

#[test]
fn the_life_with_the_higher_epoch_goes_on() {
    let mut fixture = Fixture::new();
    let epoch = fixture.net.own.epoch;
    meet(&mut fixture, epoch - 1, 70, AGED_MS);
    fixture.wait_ms(500);
    for version in 71..80 {
        meet(&mut fixture, epoch - 1, version, 0);
    }
    assert_eq!(fixture.events(), []);
}

#[test]
fn three_records_within_a_minute_are_an_answer_whatever_ages_are_told() {
    for (pause_ms, is_lost) in [(29_000, true), (31_000, false)] {
        let mut fixture = Fixture::new();
        let epoch = fixture.net.own.epoch;
        for version in [70, 80, 90] {
            meet(&mut fixture, epoch, version, AGED_MS);
            fixture.wait_ms(pause_ms);
        }
        let events = fixture.events();
        assert_eq!(events.contains(&OverlayEvent::IdentityLost), is_lost);
    }
}

#[test]
fn the_longest_record_is_taken() {
    let keypair = Keypair::from_secret([1; 32]);
    let mut groups: Vec<RecordGroup> = (0..GROUPS_MAX)
        .map(|at| RecordGroup {
            name: format!("{at:0100}").parse().expect("valid"),
            role: 1,
            settings_version: u64::MAX,
            settings: Some(WireSettings {
                redundancy: u8::MAX,
                order: u8::MAX,
                retention_bytes: u64::MAX,
                retention_ms: u64::MAX,
                later: Vec::new(),
            }),
            ext: GroupExt::default(),
        })
        .collect();
    let mut links: Vec<RecordLink> = (0..LINKS_MAX)
        .map(|at| RecordLink {
            peer: PeerKey(*blake3::hash(&at.to_be_bytes()).as_bytes()),
            rtt_us: u32::MAX,
        })
        .collect();
    links.sort_by_key(|link| link.peer);
    fit_groups(&mut groups, links.len());
    assert!(groups.len() > 10);
    let record = Record {
        network: [7; 16],
        peer: keypair.peer(),
        epoch: EPOCH_MAX,
        version: VERSION_MAX,
        left: false,
        algorithm: u16::MAX,
        capabilities: u64::MAX,
        capacity: u16::MAX,
        coordinate: [1.0; 5],
        addresses: vec!["a".repeat(192).parse().expect("valid"); ADDRESSES_MAX],
        groups,
        links,
        ext: RecordExt::default(),
    };
    let signed = SignedRecord::sign(record, &keypair);
    assert!(
        signed.signed.len() <= RECORD_BYTES_MAX,
        "{}",
        signed.signed.len()
    );
    SignedRecord::decode(signed.signed, signed.signature).expect("within all limits");
}
