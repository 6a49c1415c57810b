//! Whose settings win, and when.

use super::*;
use crate::base::identity::Keypair;
use crate::base::interface::Action;
use crate::base::message::JoinOptions;
use crate::base::time::Time;
use crate::core::config::Config;
use crate::multicast::Group;
use crate::overlay::Overlay;
use crate::overlay::cache::SharedCache;
use crate::wire::record::{GroupExt, RecordExt};
use crate::wire::{Record, SignedRecord};

fn settings(version: u64, redundancy: u8) -> Settings {
    let values = GroupSettings {
        redundancy,
        ..GroupSettings::default()
    };
    Settings {
        version,
        values,
        explicit: false,
        beyond: None,
    }
}

#[test]
fn of_two_different_settings_exactly_one_wins() {
    for (a, b) in [
        (settings(1, 2), settings(1, 3)),
        (settings(1, 2), settings(2, 1)),
    ] {
        assert_ne!(a.loses_to(&b), b.loses_to(&a));
    }
    assert!(settings(1, 2).loses_to(&settings(2, 3)));
    assert!(!settings(1, 2).loses_to(&settings(1, 2)));
}

#[test]
fn a_member_may_change_settings_a_few_times_at_once_and_then_once_a_minute() {
    let mut changes = Changes::default();
    let (peer, now) = (PeerKey([1; 32]), Micros::from_millis(1_000));
    for _ in 0..BY_MEMBER.at_once {
        assert_eq!(changes.may_change(peer, now), now);
        changes.note(peer, now);
    }
    let next = now + Micros::from_millis(BY_MEMBER.every_ms);
    assert_eq!(changes.may_change(peer, now), next);
    assert_eq!(changes.may_change(PeerKey([2; 32]), now), now);
    assert_eq!(changes.may_change(peer, next), next);
    changes.note(peer, next);
    let after = next + Micros::from_millis(BY_MEMBER.every_ms);
    assert_eq!(changes.may_change(peer, next), after);
}

#[test]
fn only_a_member_states_settings_and_everybody_is_in_broadcast() {
    let stated = |name: &str, role| RecordGroup {
        name: GroupName::new(name).expect("a name"),
        role,
        settings_version: 65_536,
        settings: Some(settings(1, 8).values.into()),
        ext: GroupExt::default(),
    };
    let now = Time {
        mono: Micros(1),
        wall_ms: 1,
    };
    let keypair = Keypair::from_secret([1; 32]);
    let core = Core::new(keypair, Config::default(), [1; 32], now);
    let is_heard = |name, role| {
        let stated = stated(name, role);
        let id = GroupId::new(&core.config.network, &stated.name);
        assert_eq!(stated_settings(&stated).values.redundancy, 8);
        may_state(&core, PeerKey([2; 32]), id, &stated) == Decision::Allowed
    };
    assert!(!is_heard("news", 0));
    assert!(!is_heard("news", 2));
    assert!(is_heard("news", 1));
    assert!(is_heard("broadcast", 0));
}

const WALL_MS: u64 = 1_700_000_000_000;

/// A member of `news`, and records that others state.
struct Fixture {
    core: Core,
    net: Overlay,
    multicast: Multicast,
}

fn news() -> GroupName {
    GroupName::new("news").expect("a name")
}

impl Fixture {
    fn new() -> Self {
        let now = Time {
            mono: Micros(1_000_000),
            wall_ms: WALL_MS,
        };
        let keypair = Keypair::from_secret([1; 32]);
        let mut core = Core::new(keypair, Config::default(), [1; 32], now);
        let net = Overlay::new(&mut core, SharedCache::default(), 1);
        let mut fixture = Self {
            core,
            net,
            multicast: Multicast::default(),
        };
        fixture.join();
        fixture
    }

    fn join(&mut self) {
        let options = JoinOptions::default();
        let joined = self.call(|multicast, cx| multicast.join_group(cx, news(), options));
        joined.expect("joins");
    }

    fn call<T>(&mut self, what: impl FnOnce(&mut Multicast, &mut Cx<'_>) -> T) -> T {
        let mut cx = Cx {
            core: &mut self.core,
            net: &mut self.net,
        };
        what(&mut self.multicast, &mut cx)
    }

    /// A record of this peer comes that states these settings.
    fn states(&mut self, number: u8, role: u8, settings_version: u64, wire: &WireSettings) {
        let keypair = Keypair::from_secret([number; 32]);
        let peer = keypair.peer();
        let version = self.net.record(peer).map_or(0, |held| held.order().1) + 1;
        let group = RecordGroup {
            name: news(),
            role,
            settings_version,
            settings: Some(wire.clone()),
            ext: GroupExt::default(),
        };
        let record = Record {
            network: self.core.network_hash,
            peer,
            epoch: 1,
            version,
            left: false,
            algorithm: 1,
            capabilities: 0,
            capacity: 8,
            coordinate: [0.0, 0.0, 0.0, 1.0, 1.0],
            addresses: Vec::new(),
            groups: vec![group],
            links: Vec::new(),
            ext: RecordExt::default(),
        };
        let record = Arc::new(SignedRecord::sign(record, &keypair));
        let now = self.core.now.mono;
        assert!(self.net.put(record, now));
        self.call(|multicast, cx| multicast.on_record_for_groups(cx, peer));
    }

    fn wait_ms(&mut self, ms: u64) {
        self.core.now.mono = self.core.in_ms(ms);
        self.core.now.wall_ms += ms;
        let now = self.core.now.mono;
        let id = self.id();
        if self.group().changes.due().is_some_and(|due| due <= now) {
            self.call(|multicast, cx| multicast.on_settings_timeout(cx, id));
        }
    }

    fn id(&self) -> GroupId {
        GroupId::new(&self.core.config.network, &news())
    }

    fn group(&self) -> &Group {
        &self.multicast.groups[&self.id()]
    }

    /// Version and redundancy.
    fn holds(&self) -> (u64, u8) {
        let settings = &self.group().settings;
        (settings.version, settings.values.redundancy)
    }

    /// What the application was told since it was last asked for.
    fn told(&mut self) -> Vec<Event> {
        let events = self
            .core
            .actions
            .drain(..)
            .filter_map(|action| match action {
                Action::Event(event) => Some(event),
                _ => None,
            });
        events.collect()
    }

    fn counted(&self, name: &str) -> u64 {
        let counters = self.core.counts.told();
        counters.values.get(name).copied().unwrap_or(0)
    }
}

fn stated(redundancy: u8) -> WireSettings {
    settings(1, redundancy).values.into()
}

fn patch(redundancy: u8) -> SettingsPatch {
    SettingsPatch {
        redundancy: Some(redundancy),
        ..SettingsPatch::default()
    }
}

#[test]
fn the_last_change_of_a_member_wins_and_the_application_is_told() {
    let mut fixture = Fixture::new();
    fixture.told();
    fixture.states(2, 1, WALL_MS, &stated(5));
    assert_eq!(fixture.holds(), (WALL_MS, 5));
    let is_told = |event: &Event| matches!(event, Event::Settings { settings, lost: false, .. } if settings.redundancy == 5);
    assert!(fixture.told().iter().any(is_told));
    fixture.states(3, 1, WALL_MS - 1, &stated(6));
    assert_eq!(fixture.holds(), (WALL_MS, 5), "an older change");
    fixture.states(4, 2, WALL_MS + 1, &stated(7));
    assert_eq!(fixture.holds(), (WALL_MS, 5), "a sender");
    assert!(fixture.told().is_empty());
    // What this peer asks for wins, and loses to what comes later.
    fixture
        .call(|multicast, cx| multicast.change_settings(cx, &news(), patch(3)))
        .expect("a member");
    assert_eq!(fixture.holds(), (WALL_MS + 1, 3));
    fixture.told();
    fixture.states(2, 1, WALL_MS + 2, &stated(4));
    assert_eq!(fixture.holds(), (WALL_MS + 2, 4));
    let is_lost = |event: &Event| matches!(event, Event::Settings { lost: true, .. });
    assert!(fixture.told().iter().any(is_lost));
}

#[test]
fn a_change_of_nothing_makes_no_version() {
    let mut fixture = Fixture::new();
    fixture.states(2, 1, WALL_MS, &stated(5));
    fixture
        .call(|multicast, cx| multicast.change_settings(cx, &news(), patch(5)))
        .expect("a member");
    assert_eq!(fixture.holds(), (WALL_MS, 5));
    let invalid = fixture.call(|multicast, cx| multicast.change_settings(cx, &news(), patch(0)));
    assert_eq!(invalid, Err(JoinError::SettingsInvalid));
    assert_eq!(fixture.holds(), (WALL_MS, 5));
}

#[test]
fn a_version_ahead_of_time_waits_until_time_has_come_so_far() {
    let mut fixture = Fixture::new();
    let latest_ms = fixture.net.latest_ms(&fixture.core);
    fixture.states(2, 1, latest_ms + 5_000, &stated(5));
    assert_eq!(fixture.holds().0, 0);
    assert_eq!(fixture.counted("settings_damped"), 1);
    // Nor does a peer that joins meanwhile take it.
    let cx = CxRef {
        core: &fixture.core,
        net: &fixture.net,
    };
    assert_eq!(
        Multicast::settings_in_records(cx, &news()),
        Settings::default()
    );
    fixture.wait_ms(4_999);
    assert_eq!(fixture.holds().0, 0);
    fixture.wait_ms(1);
    assert_eq!(fixture.holds(), (latest_ms + 5_000, 5));
}

#[test]
fn the_fifth_change_of_a_member_in_a_minute_waits_and_another_member_does_not() {
    let mut fixture = Fixture::new();
    for change in 1..=5 {
        fixture.states(2, 1, WALL_MS + change, &stated(change as u8));
    }
    assert_eq!(fixture.holds(), (WALL_MS + 4, 4));
    assert_eq!(fixture.counted("settings_damped"), 1);
    fixture.wait_ms(59_999);
    assert_eq!(fixture.holds(), (WALL_MS + 4, 4));
    fixture.wait_ms(1);
    assert_eq!(fixture.holds(), (WALL_MS + 5, 5));
    fixture.states(3, 1, WALL_MS + 6, &stated(6));
    assert_eq!(fixture.holds(), (WALL_MS + 6, 6));
}

#[test]
fn a_member_leaves_a_group_with_a_setting_that_it_does_not_know() {
    let mut fixture = Fixture::new();
    fixture.told();
    let later = WireSettings {
        order: 9,
        ..stated(5)
    };
    fixture.states(2, 1, WALL_MS, &later);
    let is_told = |event: &Event| matches!(event, Event::SettingUnsupported { setting, .. } if setting == "order");
    assert!(fixture.told().iter().any(is_told));
    assert_eq!(fixture.counted("groups_unsupported"), 1);
    let id = fixture.id();
    let group = fixture.multicast.groups.get(&id);
    assert!(group.is_none_or(|group| group.role != Role::Member));
    let joined =
        fixture.call(|multicast, cx| multicast.join_group(cx, news(), JoinOptions::default()));
    assert!(matches!(joined, Err(JoinError::Unsupported { setting }) if setting == "order"));
}

#[test]
fn a_peer_that_joins_takes_the_best_that_members_state() {
    let mut fixture = Fixture::new();
    fixture
        .call(|multicast, cx| multicast.leave_group(cx, &news()))
        .expect("leaves");
    fixture.states(2, 1, WALL_MS + 1, &stated(5));
    fixture.states(3, 1, WALL_MS + 2, &stated(6));
    fixture.states(4, 2, WALL_MS + 3, &stated(7));
    fixture.join();
    assert_eq!(fixture.holds(), (WALL_MS + 2, 6));
}
