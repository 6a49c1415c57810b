//! Joining and leaving: what is refused, what neighbours are told, and what stays.

use crate::base::message::{
    Arrival, GroupSettings, HISTORY_LAST_MAX, History, JoinError, JoinOptions, SettingsPatch,
};
use crate::base::name::{GroupId, GroupName};
use crate::base::status::Role;
use crate::core::Stopping;
use crate::core::config::Config;
use crate::multicast::fixture::{ME, ORIGIN, OWN_EPOCH, Peer, held, key, news, sign};
use crate::multicast::{BaselineState, Multicast};
use crate::wire::frame::{Digest, Frame, Subscribe};
use std::slice::from_ref;
use std::sync::Arc;

fn name(text: &str) -> GroupName {
    GroupName::new(text).expect("valid")
}

fn join(peer: &mut Peer, group: GroupName, options: JoinOptions) -> Result<(), JoinError> {
    peer.call(|groups, cx| groups.join_group(cx, group, options))
}

fn with_history(history: History) -> JoinOptions {
    JoinOptions {
        history,
        ..JoinOptions::default()
    }
}

fn with_redundancy(redundancy: u8) -> JoinOptions {
    JoinOptions {
        settings: SettingsPatch {
            redundancy: Some(redundancy),
            ..SettingsPatch::default()
        },
        ..JoinOptions::default()
    }
}

/// This peer has published a message, which is held.
fn publish(peer: &mut Peer) {
    let mut header = peer.header(ME, 1);
    header.epoch = OWN_EPOCH;
    let bundle = Arc::new(sign(ME, header));
    peer.call(|groups, cx| groups.accept_bundle(cx, &bundle, 0, Arrival::Local, None));
}

#[test]
fn a_join_that_is_refused_changes_nothing() {
    let mut config = Config::default();
    config.groups.groups_max = 0;
    let mut peer = Peer::member_with(config);
    let link = peer.neighbour(2);
    peer.net.take_adverts_changed();
    let count = HISTORY_LAST_MAX + 1;
    let too_long = JoinError::HistoryTooLong {
        count,
        max: HISTORY_LAST_MAX,
    };
    for (options, error) in [
        (JoinOptions::default(), JoinError::TooManyGroups { max: 0 }),
        (with_history(History::Last(count)), too_long),
        (with_redundancy(99), JoinError::SettingsInvalid),
    ] {
        assert_eq!(join(&mut peer, name("other"), options), Err(error));
    }
    peer.core.stopping = Some(Stopping::Stopped);
    let stopped = join(&mut peer, name("other"), JoinOptions::default());
    assert_eq!(stopped, Err(JoinError::Stopped));
    assert_eq!(peer.multicast.groups.len(), 1);
    assert_eq!(peer.heard(link), []);
    assert!(!peer.net.take_adverts_changed());
}

#[test]
fn explicit_settings_create_a_group_and_must_equal_what_it_has() {
    let mut peer = Peer::new(Config::default());
    join(&mut peer, news(), with_redundancy(2)).expect("creates it");
    let settings = &peer.group().settings;
    assert_eq!((settings.version, settings.explicit), (1, true));
    assert_eq!(settings.values.redundancy, 2);
    let current = GroupSettings {
        redundancy: 2,
        ..GroupSettings::default()
    };
    let differs = join(&mut peer, news(), with_redundancy(3));
    assert_eq!(differs, Err(JoinError::SettingsDiffer { current }));
    assert_eq!(join(&mut peer, news(), with_redundancy(2)), Ok(()));
    assert_eq!(join(&mut peer, news(), JoinOptions::default()), Ok(()));
}

#[test]
fn a_joiner_asks_every_neighbour_where_to_begin() {
    let mut peer = Peer::new(Config::default());
    let links = [2, 3].map(|number| peer.neighbour(number));
    let history = History::Last(3);
    join(&mut peer, news(), with_history(history)).expect("joins");
    let question = Frame::from(Subscribe {
        baseline: true,
        history,
        ..Peer::subscribe(1)
    });
    for link in links {
        assert_eq!(peer.heard(link), from_ref(&question));
    }
    assert!(peer.net.take_adverts_changed());
    // Whoever comes meanwhile is asked as well.
    let late = peer.link(4);
    peer.call(|groups, cx| groups.on_link_up_for_groups(cx, late));
    assert_eq!(peer.heard(late), [question]);
}

#[test]
fn a_member_that_joins_again_is_given_the_past_again_and_asks_nobody() {
    let mut peer = Peer::member();
    let link = peer.subscriber(2);
    let all = peer.messages_with(ORIGIN, 3, |header| header.published_at -= 100 - header.seq);
    for bundle in &all {
        peer.push(link, bundle);
    }
    assert_eq!(peer.seqs(), [1, 2, 3]);
    peer.heard(link);
    join(&mut peer, news(), with_history(History::Last(2))).expect("joins");
    assert_eq!(peer.seqs(), [2, 3]);
    assert_eq!(peer.heard(link), []);
    join(&mut peer, news(), JoinOptions::default()).expect("joins");
    assert_eq!(peer.seqs(), []);
}

#[test]
fn a_member_that_has_published_nothing_leaves_no_trace() {
    let mut peer = Peer::member();
    let link = peer.subscriber(2);
    let first = peer.messages(ORIGIN, 1).remove(0);
    peer.push(link, &first);
    peer.heard(link);
    peer.net.take_adverts_changed();
    let left = peer.call(|groups, cx| groups.leave_group(cx, &news()));
    assert_eq!(left, Ok(()));
    assert!(peer.multicast.groups.is_empty());
    assert_eq!(peer.heard(link), [Frame::from(Peer::subscribe(0))]);
    assert_eq!(
        (peer.multicast.held_bytes, peer.multicast.retained_bytes),
        (0, 0)
    );
    assert!(peer.net.take_adverts_changed());
    let again = peer.call(|groups, cx| groups.leave_group(cx, &news()));
    assert_eq!(again, Err(JoinError::NotMember(news())));
}

#[test]
fn what_a_peer_has_published_stays_when_it_leaves_and_what_others_have_does_not() {
    let mut peer = Peer::member();
    let link = peer.subscriber(2);
    let first = peer.messages(ORIGIN, 1).remove(0);
    peer.push(link, &first);
    publish(&mut peer);
    peer.tell(link, vec![held(ORIGIN + 1, 1, 1, &[])]);
    peer.heard(link);
    let left = peer.call(|groups, cx| groups.leave_group(cx, &news()));
    assert_eq!(left, Ok(()));
    let group = peer.group();
    assert_eq!((group.role, group.delivering), (Role::Relay, false));
    assert!(matches!(group.baseline, BaselineState::None));
    let logs: Vec<_> = group.logs.keys().copied().collect();
    assert_eq!(logs, [(key(ME).peer(), OWN_EPOCH)]);
    assert!(group.sought.is_empty());
    assert_eq!(peer.heard(link), [Frame::from(Peer::subscribe(3))]);
}

#[test]
fn everybody_carries_broadcast_joined_or_not() {
    let mut peer = Peer::new(Config::default());
    peer.call(Multicast::open_broadcast);
    let broadcast = GroupName::broadcast();
    let id = GroupId::new(&peer.core.config.network, &broadcast);
    let leave = |peer: &mut Peer| peer.call(|groups, cx| groups.leave_group(cx, &broadcast));
    assert_eq!(
        leave(&mut peer),
        Err(JoinError::NotMember(broadcast.clone()))
    );
    join(&mut peer, broadcast.clone(), JoinOptions::default()).expect("joins");
    assert!(peer.multicast.groups[&id].delivering);
    assert_eq!(leave(&mut peer), Ok(()));
    let group = &peer.multicast.groups[&id];
    assert_eq!((group.role, group.delivering), (Role::Member, false));
}

#[test]
fn a_neighbour_that_comes_into_the_group_is_told_all_once() {
    let mut peer = Peer::member();
    let (link, other) = (peer.subscriber(2), peer.neighbour(3));
    let first = peer.messages(ORIGIN, 1).remove(0);
    peer.push(link, &first);
    let digest = Frame::from(Digest {
        group: peer.id,
        ask: false,
        entries: vec![held(ORIGIN, 1, 1, &[])],
    });
    peer.say(other, Peer::subscribe(2));
    assert_eq!(peer.heard(other), from_ref(&digest));
    peer.say(other, Peer::subscribe(1));
    assert_eq!(peer.heard(other), [], "it only has another role");
    peer.say(
        other,
        Subscribe {
            baseline: true,
            ..Peer::subscribe(1)
        },
    );
    let heard = peer.heard(other);
    assert!(matches!(heard[0], Frame::Baseline(_)));
    assert_eq!(heard[1..], [digest]);
}

#[test]
fn a_neighbour_that_leaves_or_has_a_role_of_a_later_version_is_not_in_the_group() {
    for role in [0, 9] {
        let mut peer = Peer::member();
        let link = peer.subscriber(2);
        peer.tell(link, vec![held(ORIGIN, 1, 1, &[])]);
        peer.say(link, Peer::subscribe(role));
        assert!(peer.multicast.remotes.get(link, peer.id).is_none());
        let links = peer.look(|groups, cx| groups.group_links(cx, peer.id).count());
        assert_eq!(links, 0);
    }
}

#[test]
fn a_neighbour_is_remembered_in_so_many_groups_and_no_more() {
    let mut peer = Peer::member();
    let link = peer.subscriber(2);
    for number in 1..1_030 {
        peer.say(
            link,
            Subscribe {
                group: name(&format!("group-{number}")),
                ..Peer::subscribe(1)
            },
        );
    }
    assert_eq!(peer.multicast.remotes.of(link).count(), 1_024);
    assert_eq!(peer.counted("subscriptions_refused"), 6);
    // One group that it leaves makes room for another.
    peer.say(link, Peer::subscribe(0));
    peer.say(
        link,
        Subscribe {
            group: name("another"),
            ..Peer::subscribe(1)
        },
    );
    assert_eq!(peer.counted("subscriptions_refused"), 6);
}

#[test]
fn a_relay_learns_the_name_of_its_group_from_a_neighbour() {
    let mut peer = Peer::member();
    peer.group_mut().name = None;
    peer.group_mut().role = Role::Relay;
    peer.subscriber(2);
    assert_eq!(peer.group().name, Some(news()));
}

#[test]
fn whoever_comes_may_hold_what_is_missing() {
    let mut peer = Peer::member();
    let link = peer.subscriber(2);
    let (nine, ten) = (peer.messages(9, 2), peer.messages(10, 1));
    peer.push(link, &nine[1]);
    peer.push(link, &ten[0]);
    let began = peer.core.now.mono;
    peer.wait_ms(5_000);
    peer.neighbour(3);
    assert_eq!(peer.log(9).progress, peer.core.now.mono);
    assert_eq!(peer.log(10).progress, began, "it lacks nothing");
    assert_eq!(peer.log(10).held().first(), Some(1));
}

#[test]
fn a_relay_is_closed_once_nothing_is_held_of_its_group() {
    let mut peer = Peer::member();
    let link = peer.subscriber(2);
    peer.group_mut().role = Role::Relay;
    let first = peer.messages(ORIGIN, 1).remove(0);
    peer.push(link, &first);
    peer.heard(link);
    let id = peer.id;
    peer.call(|groups, cx| groups.close_idle_relay(cx, id));
    assert_eq!(peer.heard(link), []);
    peer.log_mut(ORIGIN).evict(1);
    peer.call(|groups, cx| groups.close_idle_relay(cx, id));
    assert_eq!(peer.heard(link), [Frame::from(Peer::subscribe(0))]);
    assert!(peer.multicast.groups.is_empty());
}
