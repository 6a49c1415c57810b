//! Leaving a group ends deliveries; joining it again begins them anew.

use crate::support::{
    GROUP, assert_all_delivered, assert_clean, group_status, network, settled, texts, wait_joined,
    wait_view,
};
use hedgerow_protocol::{History, JoinOptions, SettingsPatch};
use hedgerow_testnet::sim::Sim;

#[test]
fn after_leaving_nothing_arrives_and_after_rejoining_all_does() {
    for seed in 1..=2 {
        let mut sim = settled(12, seed);
        sim.publish(0, GROUP, "before");
        assert_all_delivered(&mut sim, 5_000);
        sim.leave(5, GROUP);
        sim.publish(0, GROUP, "meanwhile");
        sim.run_for(5_000);
        assert_eq!(texts(&sim, 5), ["before"]);
        assert_clean(&mut sim);
        sim.join(5, GROUP);
        wait_joined(&mut sim);
        sim.publish(0, GROUP, "after");
        assert_all_delivered(&mut sim, 5_000);
        assert_eq!(texts(&sim, 5), ["before", "after"]);
    }
}

#[test]
fn what_was_on_its_way_when_a_member_left_is_not_delivered() {
    let mut sim = settled(12, 3);
    for number in 0..20 {
        sim.publish(number % 5, GROUP, format!("{number}"));
    }
    sim.leave(9, GROUP);
    let had = sim.deliveries(9).count();
    sim.run_for(10_000);
    assert_eq!(sim.deliveries(9).count(), had);
    assert_clean(&mut sim);
}

#[test]
fn what_was_published_in_the_instant_before_rejoining_is_not_due() {
    let mut sim = settled(3, 1);
    sim.leave(0, GROUP);
    sim.publish(0, GROUP, "as a sender");
    sim.run_for(5_000);
    sim.publish(0, GROUP, "in the same instant");
    sim.join(0, GROUP);
    sim.publish(0, GROUP, "as a member");
    assert_all_delivered(&mut sim, 5_000);
    let said = texts(&sim, 0);
    assert_eq!(said.last().map(String::as_str), Some("as a member"));
    assert_clean(&mut sim);
}

#[test]
fn seqs_go_on_after_a_group_was_left_and_forgotten() {
    let mut sim = network(4, 1);
    for node in 0..4 {
        let settings = SettingsPatch {
            retention_ms: Some(2_000),
            ..SettingsPatch::default()
        };
        let history = History::None;
        sim.join_with(node, GROUP, JoinOptions { settings, history });
        wait_joined(&mut sim);
    }
    let first = sim.publish(0, GROUP, "first");
    assert_all_delivered(&mut sim, 5_000);
    sim.leave(0, GROUP);
    let forgotten = |sim: &Sim| group_status(sim, 0).is_none();
    assert!(sim.run_until(60_000, forgotten), "still kept");
    sim.join(0, GROUP);
    wait_joined(&mut sim);
    let second = sim.publish(0, GROUP, "second");
    assert_eq!(second.seq, first.seq + 1);
    assert_all_delivered(&mut sim, 5_000);
    assert_clean(&mut sim);
}

#[test]
fn a_group_that_was_left_is_forgotten_and_its_past_is_there_at_once_when_rejoined() {
    let mut sim = settled(6, 4);
    for text in ["one", "two", "three"] {
        sim.publish(0, GROUP, text);
    }
    assert_all_delivered(&mut sim, 5_000);
    for round in 0..3 {
        sim.leave(3, GROUP);
        let kept = group_status(&sim, 3);
        assert!(kept.is_none(), "nothing was published here");
        sim.run_for(500);
        let had = sim.deliveries(3).count();
        let history = History::Last(1);
        let settings = SettingsPatch::default();
        sim.join_with(3, GROUP, JoinOptions { settings, history });
        let got = sim.run_until(1_500, |sim| sim.deliveries(3).count() > had);
        assert!(got, "round {round}: the last message comes at once");
    }
}

#[test]
fn whoever_published_once_is_not_a_sender_for_ever() {
    let mut sim = network(3, 2);
    wait_view(&mut sim, 30_000);
    let settings = SettingsPatch {
        retention_ms: Some(10_000),
        ..SettingsPatch::default()
    };
    let history = History::None;
    sim.join_with(1, GROUP, JoinOptions { settings, history });
    wait_joined(&mut sim);
    sim.publish(0, GROUP, "once");
    assert_all_delivered(&mut sim, 5_000);
    let knows = |sim: &Sim| group_status(sim, 0).is_some();
    assert!(knows(&sim));
    assert!(sim.run_until(60_000, |sim| !knows(sim)), "still a sender");
    let again = sim.publish(0, GROUP, "twice");
    assert_eq!(again.seq, 2);
    assert_all_delivered(&mut sim, 5_000);
}
