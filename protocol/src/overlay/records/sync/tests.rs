//! Which records are looked at, whom they are passed on to, and what is asked of whom.

use super::admit::{OUTSIDE_KIB, STRANGERS};
use super::reconcile::FUTILE_MAX;
use super::requests::{ANSWER_MS, WINDOW};
use super::*;
use crate::base::interface::LinkEnd;
use crate::overlay::fixture::{Command, EPOCH, Fixture, ME, ending, links_to, peer, wire};
use crate::overlay::links::Stage;
use crate::wire::delta::{RecordDelta, RecordDeltas};
use crate::wire::frame::{BucketRecords, Buckets, RecordAnnounce, Records};
use crate::wire::{Frame, Record};

/// A record of a peer that is linked to nobody else than these.
fn record_of(fixture: &Fixture, number: u8, version: u64, links: &[u8]) -> Arc<SignedRecord> {
    fixture.record(number, |record| {
        record.version = version;
        record.links = links_to(links);
    })
}

/// A record comes on a link.
fn say(fixture: &mut Fixture, link: LinkId, record: &SignedRecord) {
    let records = vec![wire(record, 0)];
    fixture.net.on_records(&mut fixture.core, link, records);
}

/// The same, and its signature is checked.
fn tell(fixture: &mut Fixture, link: LinkId, record: &SignedRecord) {
    say(fixture, link, record);
    fixture.check();
}

fn announce(fixture: &mut Fixture, link: LinkId, names: Vec<RecordName>) {
    let (core, net) = (&mut fixture.core, &mut fixture.net);
    net.on_record_announce(core, link, names);
}

/// Timers run so many ms later.
fn after_ms(fixture: &mut Fixture, ms: u64) {
    fixture.wait_ms(ms);
    fixture.net.on_sync_timeout(&mut fixture.core);
}

/// What is sent to whom with the next batch, and with the announcements after it.
fn sent_soon(fixture: &mut Fixture) -> Vec<Command> {
    after_ms(fixture, BATCH_MS);
    after_ms(fixture, ANNOUNCE_MS);
    let mut commands = fixture.commands();
    commands.retain(|command| matches!(command, Command::Send(..)));
    commands
}

fn announced(to: LinkId, records: &[&SignedRecord]) -> Command {
    let names = records.iter().map(|record| record.name()).collect();
    Command::Send(to, RecordAnnounce { names }.into())
}

fn asked(to: LinkId, prefixes: Vec<u64>) -> Command {
    Command::Send(to, RecordPull { prefixes }.into())
}

/// Names of peers that nobody knows.
fn invented(from: u64, many: usize) -> Vec<RecordName> {
    let prefixes = (from..).take(many);
    prefixes.map(|prefix| (prefix, EPOCH, 1)).collect()
}

fn is_verify(command: &Command) -> bool {
    matches!(command, Command::Verify(_))
}

#[test]
fn a_newer_record_is_taken_in_once_its_signature_is_checked() {
    let mut fixture = Fixture::new();
    let link = fixture.link(2);
    let record = record_of(&fixture, 3, 1, &[]);
    say(&mut fixture, link, &record);
    say(&mut fixture, link, &record);
    let commands = fixture.commands();
    assert!(
        commands.len() == 1 && is_verify(&commands[0]),
        "{commands:?}"
    );
    assert!(fixture.net.database.get(peer(3)).is_none());
    for (id, valid) in fixture.take_checks() {
        let (core, net) = (&mut fixture.core, &mut fixture.net);
        net.on_record_verified(core, id, valid);
        net.on_record_verified(core, id, valid);
    }
    assert!(fixture.net.database.get(peer(3)).is_some());
    assert_eq!(fixture.events(), [OverlayEvent::RecordAccepted(peer(3))]);
    say(&mut fixture, link, &record);
    assert_eq!(fixture.commands(), [], "it is held");
}

#[test]
fn a_forged_record_bans_its_sender_and_leaves_nothing() {
    let mut fixture = Fixture::new();
    let link = fixture.link(2);
    let mut record = SignedRecord::clone(&record_of(&fixture, 3, 1, &[]));
    record.signature[3] ^= 1;
    say(&mut fixture, link, &record);
    fixture.forget();
    fixture.check();
    assert_eq!(fixture.commands(), ending(link, 2, LinkEnd::Malformed));
    assert!(fixture.net.is_banned(&fixture.core, peer(2)));
    assert!(!fixture.net.is_banned(&fixture.core, peer(3)));
    assert!(fixture.net.database.get(peer(3)).is_none());
    assert_eq!(fixture.net.sync.checking(), 0);
}

#[test]
fn what_cannot_be_used_is_counted_and_what_comes_with_it_is_looked_at() {
    let mut fixture = Fixture::new();
    let link = fixture.link(2);
    let elsewhere = fixture.record(3, |record| record.network = [9; 16]);
    let old = record_of(&fixture, 4, 1, &[]);
    let keep_ms = fixture.net.database.keep_ms();
    let mut long = wire(&old, 0);
    long.signed = vec![0; RECORD_BYTES_MAX + 1].into();
    let good = record_of(&fixture, 5, 1, &[]);
    let records = vec![
        wire(&elsewhere, 0),
        wire(&old, keep_ms + 1),
        long,
        wire(&good, keep_ms),
    ];
    fixture.net.on_records(&mut fixture.core, link, records);
    assert_eq!(fixture.commands().len(), 1, "one check");
    fixture.check();
    assert!(fixture.net.database.get(peer(5)).is_some());
    for counter in [
        "records_of_other_networks",
        "records_too_old",
        "records_oversized",
    ] {
        assert_eq!(fixture.counted(counter), 1, "{counter}");
    }
    assert!(!fixture.net.is_banned(&fixture.core, peer(2)));
}

#[test]
fn a_peer_that_sends_an_older_record_is_given_what_is_held() {
    let mut fixture = Fixture::new();
    let link = fixture.link(2);
    let newer = record_of(&fixture, 3, 2, &[]);
    tell(&mut fixture, link, &newer);
    sent_soon(&mut fixture);
    let older = record_of(&fixture, 3, 1, &[]);
    say(&mut fixture, link, &older);
    assert_eq!(fixture.commands(), [], "no check");
    after_ms(&mut fixture, BATCH_MS);
    let frames = fixture.frames_to(link);
    let [Frame::Records(Records { records })] = &frames[..] else {
        panic!("{frames:?}");
    };
    assert_eq!(records[0].signed, newer.signed);
}

#[test]
fn a_peer_that_issues_faster_than_it_may_is_damped_until_it_has_rested() {
    let mut fixture = Fixture::new();
    let link = fixture.link(2);
    let mut version = 0;
    while fixture.counted("records_damped") == 0 {
        version += 1;
        assert!(version < 100, "never damped");
        let record = record_of(&fixture, 3, version, &[]);
        tell(&mut fixture, link, &record);
    }
    // Two halves of `reissue_ms` each, and one more.
    assert_eq!(version, 2 * super::super::BURST + 2);
    fixture.wait_ms(fixture.core.config.database.reissue_ms);
    let record = record_of(&fixture, 3, version, &[]);
    tell(&mut fixture, link, &record);
    let held = fixture.net.database.get(peer(3)).expect("held");
    assert_eq!(held.record.version, version);
}

#[test]
fn a_record_of_a_stranger_is_pushed_to_all_neighbours_but_the_one_it_came_from() {
    let mut fixture = Fixture::new();
    let (from, other) = (fixture.link(2), fixture.link(3));
    let visitor = fixture.link(4);
    fixture.net.links.get_mut(&visitor).expect("up").stage = Stage::Visitor;
    let record = record_of(&fixture, 5, 1, &[]);
    tell(&mut fixture, from, &record);
    let expected = [pushed_now(&record, other), announced(visitor, &[&record])];
    assert_eq!(sent_soon(&mut fixture), expected);
}

/// A record goes to a link in the batch after it has come.
fn pushed_now(record: &SignedRecord, to: LinkId) -> Command {
    let records = vec![wire(record, BATCH_MS)];
    Command::Send(to, Records { records }.into())
}

#[test]
fn a_neighbour_that_has_told_of_it_meanwhile_is_not_given_a_record() {
    let mut fixture = Fixture::new();
    let (from, other) = (fixture.link(2), fixture.link(3));
    let record = record_of(&fixture, 5, 1, &[]);
    tell(&mut fixture, from, &record);
    announce(&mut fixture, other, vec![record.name()]);
    assert_eq!(sent_soon(&mut fixture), []);
}

/// This peer is linked to two others, which are linked to each other as well: the record tree has two
/// of the three edges.
fn triangle() -> (Fixture, [LinkId; 2]) {
    let mut fixture = Fixture::new();
    let links = [2, 3].map(|number| fixture.neighbour(number, |_| ()));
    fixture.hold(2, |record| record.links = links_to(&[ME, 3]));
    fixture.hold(3, |record| record.links = links_to(&[ME, 2]));
    fixture.forget();
    (fixture, links)
}

#[test]
fn in_the_view_records_go_along_one_tree_and_are_announced_besides() {
    let (mut fixture, [first, second]) = triangle();
    let neighbours = fixture.net.tree_neighbours(&fixture.core);
    assert_eq!(neighbours, Some(vec![peer(2)]), "its root");
    let of_first = record_of(&fixture, 2, 9, &[ME, 3]);
    tell(&mut fixture, first, &of_first);
    let expected = announced(second, &[&of_first]);
    assert_eq!(sent_soon(&mut fixture), [expected]);
    let of_second = record_of(&fixture, 3, 9, &[ME, 2]);
    let former = fixture.net.database.get(peer(3)).cloned().expect("held");
    tell(&mut fixture, second, &of_second);
    let delta = RecordDelta::between(&former, &of_second, BATCH_MS);
    let deltas = vec![delta.expect("it is shorter")];
    let expected = Command::Send(first, RecordDeltas { deltas }.into());
    assert_eq!(sent_soon(&mut fixture), [expected]);
}

#[test]
fn where_the_tree_is_broken_here_records_flood() {
    let (mut fixture, links) = triangle();
    let tree = fixture.net.tree_neighbours(&fixture.core).expect("a tree");
    assert_eq!(
        fixture.net.record_neighbours(&fixture.core, peer(2)),
        Some(tree.clone())
    );
    let lost = fixture.net.up[&tree[0]];
    let end = LinkEnd::Transport;
    fixture.net.on_link_lost(&mut fixture.core, lost, end);
    assert_eq!(fixture.net.record_neighbours(&fixture.core, peer(2)), None);
    assert!(links.contains(&lost));
    // Nor does it lead to somebody outside the view.
    let (mut fixture, _) = triangle();
    assert_eq!(fixture.net.record_neighbours(&fixture.core, peer(9)), None);
}

#[test]
fn what_is_announced_and_has_not_come_is_asked_for_once() {
    let mut fixture = Fixture::new();
    let (first, second) = (fixture.link(2), fixture.link(3));
    let comes = record_of(&fixture, 4, 1, &[]);
    let lacks = record_of(&fixture, 5, 1, &[]);
    announce(&mut fixture, first, vec![comes.name(), lacks.name()]);
    announce(&mut fixture, second, vec![lacks.name()]);
    tell(&mut fixture, second, &comes);
    let pull_ms = fixture.core.config.database.pull_ms;
    fixture.forget();
    fixture.wait_ms(pull_ms);
    fixture.net.pull_records(&mut fixture.core);
    assert_eq!(fixture.commands(), [asked(first, vec![peer(5).prefix()])]);
    fixture.wait_ms(10 * pull_ms);
    fixture.net.pull_records(&mut fixture.core);
    assert_eq!(fixture.commands(), []);
}

#[test]
fn a_newer_version_that_another_neighbour_announces_is_asked_of_it() {
    let mut fixture = Fixture::new();
    let (first, second) = (fixture.link(2), fixture.link(3));
    announce(&mut fixture, first, vec![(7, EPOCH, 1)]);
    announce(&mut fixture, second, vec![(7, EPOCH, 2)]);
    fixture.wait_ms(fixture.core.config.database.pull_ms);
    fixture.net.pull_records(&mut fixture.core);
    assert_eq!(fixture.commands(), [asked(second, vec![7])]);
    assert!(fixture.net.sync.pulls_of.is_empty());
}

#[test]
fn one_neighbour_cannot_announce_so_much_that_others_are_not_heard() {
    let mut fixture = Fixture::new();
    let (loud, other) = (fixture.link(2), fixture.link(3));
    announce(&mut fixture, loud, invented(1, PULLS_PER_LINK + 100));
    assert_eq!(fixture.net.sync.pulls.len(), PULLS_PER_LINK);
    announce(&mut fixture, other, invented(1 << 32, 1));
    assert_eq!(fixture.net.sync.pulls.len(), PULLS_PER_LINK + 1);
}

#[test]
fn an_announcement_of_an_older_record_is_answered_with_the_newer_one() {
    let mut fixture = Fixture::new();
    let link = fixture.link(2);
    let held = fixture.hold(3, |record| record.version = 5);
    fixture.forget();
    let (prefix, epoch, _) = held.name();
    announce(&mut fixture, link, vec![(prefix, epoch, 4)]);
    let sent = sent_soon(&mut fixture);
    assert_eq!(sent, [pushed_now(&held, link)]);
    announce(&mut fixture, link, vec![held.name()]);
    assert_eq!(sent_soon(&mut fixture), []);
}

#[test]
fn a_pull_is_answered_with_what_is_held_at_once() {
    let mut fixture = Fixture::new();
    let link = fixture.link(2);
    let held = fixture.hold(3, |_| ());
    fixture.forget();
    let prefixes = [peer(4).prefix(), peer(3).prefix(), peer(3).prefix()];
    fixture
        .net
        .on_record_pull(&mut fixture.core, link, &prefixes);
    let records = vec![wire(&held, 0)];
    let sent = Command::Send(link, Records { records }.into());
    assert_eq!(fixture.commands(), [sent]);
}

#[test]
fn strangers_come_at_a_bounded_rate_but_a_peer_that_speaks_of_itself_is_looked_at() {
    let mut fixture = Fixture::new();
    let link = fixture.link(2);
    for _ in 0..STRANGERS {
        let (now, every) = (fixture.now(), Micros::from_millis(1_000));
        let strangers = &mut fixture.net.sync.admission.strangers;
        assert!(strangers.take(1, STRANGERS, every, now));
    }
    let stranger = record_of(&fixture, 3, 1, &[]);
    say(&mut fixture, link, &stranger);
    assert_eq!(fixture.commands(), []);
    assert_eq!(fixture.counted("records_of_strangers"), 1);
    let handshake = fixture.connect(4);
    fixture.forget();
    let own = record_of(&fixture, 4, 1, &[]);
    say(&mut fixture, handshake, &own);
    assert!(fixture.commands().iter().all(is_verify));
    assert_eq!(fixture.net.sync.checking(), 1);
    fixture.wait_ms(1_000);
    say(&mut fixture, link, &stranger);
    assert_eq!(fixture.net.sync.checking(), 2, "one more in a second");
}

/// What may be looked at of peers outside the view is used up.
fn use_up_outside(fixture: &mut Fixture) {
    let now = fixture.now();
    let outside = &mut fixture.net.sync.admission.outside;
    assert!(outside.take(OUTSIDE_KIB, OUTSIDE_KIB, Micros(31_250), now));
}

#[test]
fn a_peer_that_is_vouched_for_by_both_ends_is_looked_at_whatever_else_comes() {
    let mut fixture = Fixture::new();
    let link = fixture.neighbour(2, |record| record.links = links_to(&[ME, 3]));
    use_up_outside(&mut fixture);
    for (number, links, standing) in [
        (3, &[2][..], Standing::Inside),
        (3, &[4], Standing::Outside),
        (4, &[2], Standing::Outside),
        (2, &[], Standing::Linked),
    ] {
        let record = record_of(&fixture, number, 9, links);
        let is = fixture.net.standing_of(&fixture.core, &record);
        assert_eq!(is, standing, "{number} {links:?}");
        let before = fixture.net.sync.checking();
        say(&mut fixture, link, &record);
        let is_checked = fixture.net.sync.checking() > before;
        assert_eq!(is_checked, standing != Standing::Outside);
    }
    assert_eq!(fixture.counted("records_of_strangers"), 2);
}

#[test]
fn a_record_that_was_refused_is_asked_for_when_somebody_inside_states_a_link_to_its_peer() {
    let mut fixture = Fixture::new();
    let link = fixture.neighbour(2, |_| ());
    use_up_outside(&mut fixture);
    let refused = record_of(&fixture, 3, 1, &[2]);
    say(&mut fixture, link, &refused);
    assert_eq!(fixture.net.sync.checking(), 0);
    let vouches = record_of(&fixture, 2, 9, &[ME, 3]);
    tell(&mut fixture, link, &vouches);
    fixture.forget();
    let pull_ms = fixture.core.config.database.pull_ms;
    after_ms(&mut fixture, pull_ms);
    let prefixes = vec![peer(3).prefix()];
    assert_eq!(fixture.commands(), [asked(link, prefixes)]);
    // It comes, and is looked at though nothing else is.
    say(&mut fixture, link, &refused);
    assert_eq!(fixture.net.sync.checking(), 1);
}

/// A page of names that the other end of `link` holds.
fn page(fixture: &mut Fixture, link: LinkId, names: Vec<RecordName>, until: Option<u64>) {
    let page = BucketRecords {
        buckets: (0..=255).collect(),
        names,
        from: 0,
        until,
    };
    fixture.net.on_bucket_records(&mut fixture.core, link, page);
}

#[test]
fn of_what_is_lacking_a_window_is_asked_for_and_more_when_half_of_it_has_come() {
    let mut fixture = Fixture::new();
    let (link, other) = (fixture.link(2), fixture.link(3));
    fixture.net.reconcile(&mut fixture.core, link);
    fixture.forget();
    let names = invented(1, WINDOW + 10);
    page(&mut fixture, link, names.clone(), None);
    let prefixes: Vec<u64> = names.iter().map(|name| name.0).collect();
    let own = fixture.net.database.get(peer(ME)).expect("its own").name();
    assert!(
        fixture
            .net
            .database
            .get(peer(ME))
            .is_some_and(|own| own.record.links.is_empty())
    );
    let first = asked(link, prefixes[..WINDOW].to_vec());
    assert_eq!(fixture.commands(), [first], "{own:?} has no links");
    // Another neighbour is not asked for the same.
    fixture.net.reconcile(&mut fixture.core, other);
    fixture.forget();
    page(&mut fixture, other, names, None);
    assert_eq!(fixture.commands(), []);
    for prefix in &prefixes[..WINDOW / 2] {
        assert!(fixture.net.note_answer(&fixture.core, link, *prefix));
        assert_eq!(fixture.commands(), []);
    }
    fixture.net.go_on_asking(&mut fixture.core, link);
    let rest = asked(link, prefixes[WINDOW..].to_vec());
    assert_eq!(fixture.commands(), [rest]);
}

#[test]
fn without_an_answer_what_waits_is_asked_for_and_the_comparison_goes_on() {
    let mut fixture = Fixture::new();
    let link = fixture.link(2);
    fixture.net.reconcile(&mut fixture.core, link);
    let names = invented(1, WINDOW + 1);
    page(&mut fixture, link, names, Some(10_000));
    fixture.forget();
    after_ms(&mut fixture, ANSWER_MS - 1);
    assert_eq!(fixture.commands(), []);
    after_ms(&mut fixture, 1);
    let last = WINDOW as u64 + 1;
    assert_eq!(fixture.commands(), [asked(link, vec![last])]);
    after_ms(&mut fixture, ANSWER_MS);
    let hashes = fixture.net.database.buckets().to_vec();
    let next = Buckets {
        hashes,
        from: 10_000,
    };
    assert_eq!(fixture.commands(), [Command::Send(link, next.into())]);
}

#[test]
fn what_the_other_end_lacks_of_a_page_is_announced_to_it() {
    let mut fixture = Fixture::new();
    let link = fixture.neighbour(2, |_| ());
    let own = fixture
        .net
        .database
        .get(peer(ME))
        .cloned()
        .expect("its own");
    let theirs = fixture.net.database.get(peer(2)).cloned().expect("held");
    fixture.net.reconcile(&mut fixture.core, link);
    fixture.forget();
    let (prefix, epoch, version) = theirs.name();
    let names = vec![own.name(), (prefix, epoch, version - 1)];
    page(&mut fixture, link, names, None);
    assert_eq!(fixture.commands(), [announced(link, &[&theirs])]);
}

#[test]
fn a_page_that_was_not_asked_for_is_counted_and_left() {
    let mut fixture = Fixture::new();
    let link = fixture.link(2);
    page(&mut fixture, link, invented(1, 3), None);
    fixture.net.reconcile(&mut fixture.core, link);
    fixture.forget();
    page(&mut fixture, link, Vec::new(), None);
    page(&mut fixture, link, invented(1, 3), None);
    assert_eq!(fixture.commands(), []);
    assert_eq!(fixture.counted("pages_unasked"), 2);
}

#[test]
fn a_question_is_answered_with_the_names_in_buckets_that_differ() {
    let mut fixture = Fixture::new();
    let link = fixture.neighbour(2, |_| ());
    let mut hashes = fixture.net.database.buckets().to_vec();
    let differs = peer(2).0[0];
    assert_ne!(peer(ME).0[0], differs);
    hashes[usize::from(differs)] ^= 1;
    let asked = Buckets { hashes, from: 0 };
    fixture.net.on_buckets(&mut fixture.core, link, asked);
    let held = fixture.net.database.get(peer(2)).expect("held");
    let page = BucketRecords {
        buckets: vec![differs],
        names: vec![held.name()],
        from: 0,
        until: None,
    };
    assert_eq!(fixture.commands(), [Command::Send(link, page.into())]);
    let hashes = vec![0; 255];
    let asked = Buckets { hashes, from: 0 };
    fixture.net.on_buckets(&mut fixture.core, link, asked);
    assert_eq!(fixture.commands(), ending(link, 2, LinkEnd::Malformed));
}

/// How often a comparison begins on a link in so long, while its other end tells the same other hash
/// every second.
fn comparisons(fixture: &mut Fixture, link: LinkId, seconds: u64) -> u64 {
    let before = fixture.counted("reconciliations");
    for _ in 0..seconds {
        fixture.net.compare_databases(&mut fixture.core, link, 77);
        fixture.wait_ms(1_000);
    }
    fixture.counted("reconciliations") - before
}

#[test]
fn ends_that_differ_are_compared_when_no_record_comes_any_more_and_ever_more_rarely() {
    let mut fixture = Fixture::new();
    let link = fixture.link(2);
    let unequal_ms = fixture.core.config.database.unequal_ms;
    fixture.net.compare_databases(&mut fixture.core, link, 77);
    fixture.wait_ms(unequal_ms - 1);
    fixture.net.compare_databases(&mut fixture.core, link, 77);
    assert_eq!(fixture.counted("reconciliations"), 0);
    fixture.wait_ms(1);
    fixture.net.compare_databases(&mut fixture.core, link, 77);
    assert_eq!(fixture.counted("reconciliations"), 1);
    // Pauses of 10, 20, 40, 80 and 160 s, and 160 s from then on.
    let reconcile_s = fixture.core.config.database.reconcile_ms / 1_000;
    let long_s = FUTILE_MAX * reconcile_s;
    assert_eq!(comparisons(&mut fixture, link, 10 + 20 + 40 + 80 + 160), 4);
    assert_eq!(comparisons(&mut fixture, link, 10 * long_s), 10);
}

#[test]
fn ends_that_are_equal_meanwhile_or_still_receive_are_not_compared() {
    let mut fixture = Fixture::new();
    let link = fixture.link(2);
    let unequal_ms = fixture.core.config.database.unequal_ms;
    let ours = fixture.net.database.hash();
    for theirs in [77, ours, 77] {
        fixture
            .net
            .compare_databases(&mut fixture.core, link, theirs);
        fixture.wait_ms(unequal_ms - 1);
    }
    assert_eq!(fixture.counted("reconciliations"), 0);
    for _ in 0..4 {
        fixture.net.sync.accepted = fixture.now();
        fixture.net.compare_databases(&mut fixture.core, link, 77);
        fixture.wait_ms(unequal_ms - 1);
    }
    assert_eq!(fixture.counted("reconciliations"), 0, "records come");
    fixture.wait_ms(unequal_ms);
    fixture.net.sync.accepted = fixture.now();
    fixture.net.compare_databases(&mut fixture.core, link, 77);
    assert_eq!(fixture.counted("reconciliations"), 1, "but not for ever");
}

#[test]
fn a_wrong_delta_costs_its_sender_that_way_and_nobody_else() {
    let mut fixture = Fixture::new();
    let (wrong, right) = (fixture.link(2), fixture.link(3));
    let long = |record: &mut Record| record.links = links_to(&(10..60).collect::<Vec<u8>>());
    let base = fixture.hold(4, long);
    fixture.forget();
    let next = fixture.record(4, |record| {
        long(record);
        record.version = 2;
    });
    let delta = RecordDelta::between(&base, &next, 0).expect("shorter");
    let mut other = delta.clone();
    other.hash ^= 1;
    let ask = [asked(wrong, vec![peer(4).prefix()])];
    for delta in [other, delta.clone()] {
        let deltas = vec![delta];
        fixture
            .net
            .on_record_deltas(&mut fixture.core, wrong, deltas);
        assert_eq!(fixture.commands(), ask);
    }
    let deltas = vec![delta];
    fixture
        .net
        .on_record_deltas(&mut fixture.core, right, deltas);
    assert!(fixture.commands().iter().all(is_verify));
    assert_eq!(fixture.net.sync.checking(), 1);
    assert_eq!(fixture.counted("records_by_delta"), 1);
}

#[test]
fn what_is_owed_to_a_slow_link_waits_until_that_has_written() {
    let mut fixture = Fixture::new();
    let link = fixture.link(2);
    let links = links_to(&(3..=250).collect::<Vec<u8>>());
    let numbers = 3..=70;
    for number in numbers.clone() {
        fixture.hold(number, |record| {
            record.links.clone_from(&links);
            record.links.retain(|link| link.peer != peer(number));
        });
    }
    fixture.forget();
    let prefixes: Vec<u64> = numbers.map(|number| peer(number).prefix()).collect();
    let many = prefixes.len();
    fixture
        .net
        .on_record_pull(&mut fixture.core, link, &prefixes);
    let owed = |fixture: &Fixture| fixture.net.links[&link].records_owed.len();
    assert!(owed(&fixture) > 0, "it has no room for all");
    let mut come = BTreeSet::new();
    for _ in 0..20 {
        for frame in fixture.frames_to(link) {
            let Frame::Records(Records { records }) = frame else {
                panic!("{frame:?}");
            };
            for record in records {
                assert!(come.insert(record.signed), "it came before");
            }
        }
        fixture.write(link);
    }
    assert_eq!((come.len(), owed(&fixture)), (many, 0));
}
