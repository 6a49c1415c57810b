//! No clock decides what is delivered: not the publisher's, not the subscriber's, not one that jumps.

use crate::support::{
    GROUP, assert_all_delivered, assert_clean, counted, join_all, texts, wait, wait_delivered,
    wait_for, wait_joined, wait_view, with_history,
};
use hedgerow_protocol::{AckResult, Event, History, PublishOptions};
use hedgerow_testnet::sim::{Sim, StartGraph};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Nobody runs yet.
fn idle(nodes: usize, seed: u64) -> Sim {
    let chain = StartGraph::Chain;
    Sim::builder()
        .nodes(nodes)
        .idle_from(0)
        .seed(seed)
        .start_graph(chain)
        .build()
}

#[test]
fn a_publisher_whose_clock_is_wrong_reaches_the_first_member_of_its_group() {
    for (member_ms, publisher_ms) in [
        (0, -HOUR_MS),
        (HOUR_MS, 0),
        (0, HOUR_MS),
        (-DAY_MS, DAY_MS),
        (0, -6_000),
    ] {
        let mut sim = idle(2, 1);
        sim.jump_clock(0, member_ms);
        sim.jump_clock(1, publisher_ms);
        sim.start_node(0);
        sim.join(0, GROUP);
        wait(&mut sim, 5_000, "joined", |sim| sim.has_joined(0, GROUP));
        sim.run_for(2_000);
        // At once, before there is a link: the member has to pull it.
        sim.start_node(1);
        let acknowledge = PublishOptions {
            acknowledge: true,
            ..PublishOptions::default()
        };
        let mut ids = vec![sim.publish(1, GROUP, "first")];
        for number in 0..20 {
            sim.run_for(250);
            let id = sim.try_publish(1, GROUP, format!("{number}").into(), acknowledge.clone());
            ids.push(id.expect("is taken"));
        }
        assert_all_delivered(&mut sim, 10_000);
        for id in ids {
            assert_eq!(
                sim.times_delivered(0, id),
                1,
                "clocks {member_ms}, {publisher_ms}"
            );
        }
        for event in sim.events(1) {
            if let Event::Acknowledged {
                result: AckResult { have, of, .. },
                ..
            } = event
            {
                assert_eq!(have, of, "all of them have it");
            }
        }
    }
}

#[test]
fn twelve_that_start_together_with_clocks_that_differ_lose_nothing() {
    for seed in 1..=3 {
        let mut sim = Sim::builder()
            .nodes(12)
            .seed(seed)
            .clock_skew_ms(60_000)
            .loss_ppm(20_000)
            .build();
        join_all(&mut sim, 0..12);
        for tick in 0..300_usize {
            sim.publish(tick % 12, GROUP, format!("{tick}"));
            sim.run_for(100);
        }
        assert_all_delivered(&mut sim, 20_000);
    }
}

#[test]
fn clocks_that_jump_back_and_lives_that_follow_lose_nothing() {
    for seed in 1..=2 {
        let mut sim = Sim::builder()
            .nodes(8)
            .seed(seed)
            .clock_skew_ms(60_000)
            .loss_ppm(20_000)
            .build();
        join_all(&mut sim, 0..8);
        wait_joined(&mut sim);
        wait_view(&mut sim, 30_000);
        for round in 0..6_usize {
            let node = round % 4;
            sim.jump_clock(node, -40_000 - 10_000 * round as i64);
            for tick in 0..10_usize {
                sim.publish([node, 4 + node][tick % 2], GROUP, format!("{round} {tick}"));
                sim.run_for(100);
            }
            wait_delivered(&mut sim, 10_000);
            sim.run_for(1_000);
            sim.kill(node);
            sim.restart(node);
            sim.join(node, GROUP);
            sim.publish(4 + node, GROUP, format!("{round}, while {node} comes back"));
            sim.run_for(3_000);
        }
        assert_all_delivered(&mut sim, 20_000);
    }
}

#[test]
fn a_member_that_joined_alone_gets_all_since_then_and_nothing_from_before() {
    for (seed, member_ms) in [(1, 0), (2, HOUR_MS), (3, -HOUR_MS)] {
        let mut sim = Sim::builder().nodes(8).idle_from(7).seed(seed).build();
        sim.jump_clock(7, member_ms);
        join_all(&mut sim, 0..7);
        wait_joined(&mut sim);
        wait_view(&mut sim, 30_000);
        let publish = |sim: &mut Sim, what: &str, count: usize| {
            for number in 0..count {
                sim.publish(number % 3, GROUP, format!("{what} {number}"));
                sim.run_for(100);
            }
        };
        publish(&mut sim, "old", 30);
        sim.run_for(5_000);
        sim.partition(&[(0..7).collect(), vec![7]]);
        sim.start_node(7);
        sim.join(7, GROUP);
        wait(&mut sim, 5_000, "joined alone", |sim| {
            sim.has_joined(7, GROUP)
        });
        publish(&mut sim, "new", 30);
        // Longer than any filter by a clock would have held.
        sim.run_for(35_000);
        sim.heal();
        publish(&mut sim, "newer", 10);
        wait_delivered(&mut sim, 30_000);
        sim.run_for(10_000);
        let got = texts(&sim, 7);
        let old = got.iter().filter(|text| text.starts_with("old")).count();
        assert_eq!((got.len(), old), (40, 0), "{sim:?} {got:?}");
        assert_clean(&mut sim);
    }
}

#[test]
fn two_that_joined_alone_together_get_nothing_from_before_either() {
    let mut sim = Sim::builder().nodes(9).idle_from(7).seed(4).build();
    join_all(&mut sim, 0..7);
    wait_joined(&mut sim);
    wait_view(&mut sim, 30_000);
    for number in 0..10 {
        sim.publish(number % 3, GROUP, format!("old {number}"));
        sim.run_for(100);
    }
    sim.run_for(5_000);
    sim.partition(&[(0..7).collect(), vec![7, 8]]);
    for node in [7, 8] {
        sim.start_node(node);
        sim.join(node, GROUP);
    }
    wait(&mut sim, 5_000, "joined", |sim| {
        sim.has_joined(7, GROUP) && sim.has_joined(8, GROUP)
    });
    sim.publish(8, GROUP, "among themselves");
    sim.publish(1, GROUP, "meanwhile");
    sim.run_for(3_000);
    sim.heal();
    wait_delivered(&mut sim, 30_000);
    sim.run_for(10_000);
    for node in [7, 8] {
        let mut got = texts(&sim, node);
        got.sort();
        assert_eq!(got, ["among themselves", "meanwhile"], "node {node}");
    }
    assert_clean(&mut sim);
}

#[test]
fn a_clock_far_ahead_is_not_the_last_for_ever() {
    let mut sim = Sim::builder().nodes(8).idle_from(0).seed(3).build();
    sim.jump_clock(2, 3_650 * DAY_MS);
    for node in 0..7 {
        sim.start_node(node);
    }
    join_all(&mut sim, 0..7);
    wait_joined(&mut sim);
    wait_view(&mut sim, 30_000);
    sim.try_set_group(0, GROUP, retain_an_hour())
        .expect("a member");
    sim.publish(2, GROUP, "from the future");
    sim.run_for(660_000);
    for number in 0..3 {
        sim.publish(number % 2, GROUP, format!("{number}"));
        sim.run_for(500);
    }
    sim.run_for(3_000);
    sim.start_node(7);
    sim.join_with(7, GROUP, with_history(History::Last(3)));
    sim.run_for(10_000);
    let mut got = texts(&sim, 7);
    got.sort();
    assert_eq!(got, ["0", "1", "2"]);
    assert_clean(&mut sim);
}

fn retain_an_hour() -> hedgerow_protocol::SettingsPatch {
    hedgerow_protocol::SettingsPatch {
        retention_ms: Some(3_600_000),
        ..Default::default()
    }
}

#[test]
fn a_wrong_clock_is_told_of_and_changes_nothing_else() {
    let mut sim = Sim::builder().nodes(6).idle_from(0).seed(5).build();
    sim.jump_clock(4, -2 * HOUR_MS);
    for node in 0..6 {
        sim.start_node(node);
    }
    join_all(&mut sim, 0..6);
    wait_joined(&mut sim);
    wait_view(&mut sim, 30_000);
    sim.run_for(15_000);
    let told = |sim: &Sim, node: usize| {
        let is_it = |event: &&Event| matches!(event, Event::ClockOff { .. });
        sim.events(node).filter(is_it).count()
    };
    assert_eq!(
        (0..6).map(|node| told(&sim, node)).collect::<Vec<_>>(),
        [0, 0, 0, 0, 1, 0]
    );
    let off_ms = sim.engine(4).status().clock_off_ms;
    assert!((off_ms + 2 * HOUR_MS).abs() < 2_000, "{off_ms}");
    for node in 0..6 {
        sim.publish(node, GROUP, format!("of {node}"));
    }
    assert_all_delivered(&mut sim, 5_000);
    sim.jump_clock(4, 2 * HOUR_MS);
    sim.run_for(3_000);
    assert!(sim.engine(4).status().clock_off_ms.abs() < 1_000);
}

#[test]
fn whoever_comes_back_with_its_clock_ahead_is_seen_and_heard_at_once() {
    for hours in [1, 24 * 365, 24 * 365 * 100] {
        let mut sim = crate::support::settled(8, 6);
        sim.kill(3);
        sim.run_for(1_000);
        sim.jump_clock(3, hours * HOUR_MS);
        sim.restart(3);
        sim.join(3, GROUP);
        sim.run_for(5_000);
        sim.publish(3, GROUP, "back");
        sim.publish(1, GROUP, "welcome");
        assert_all_delivered(&mut sim, 20_000);
        // Its epoch is bounded, so its next life with a right clock is believed as well.
        let stored = sim.last_epoch(3);
        assert!(
            stored < sim.time(0).wall_ms + 30 * DAY_MS as u64,
            "{stored}"
        );
        sim.kill(3);
        sim.jump_clock(3, -hours * HOUR_MS);
        sim.restart(3);
        sim.join(3, GROUP);
        sim.run_for(5_000);
        sim.publish(3, GROUP, "back again");
        assert_all_delivered(&mut sim, 20_000);
    }
}

#[test]
fn peers_whose_clocks_differ_by_hours_come_to_one_view() {
    for (seed, skew_ms) in [
        (21, HOUR_MS),
        (22, HOUR_MS),
        (23, 10 * HOUR_MS),
        (24, 10 * DAY_MS),
    ] {
        let mut sim = Sim::builder()
            .nodes(8)
            .seed(seed)
            .clock_skew_ms(skew_ms as u64)
            .build();
        join_all(&mut sim, 0..8);
        wait_joined(&mut sim);
        wait_view(&mut sim, 30_000);
        // Once network time is settled nothing changes that.
        for number in 0..40_usize {
            sim.publish(number % 8, GROUP, format!("{number}"));
            sim.run_for(500);
        }
        assert_all_delivered(&mut sim, 10_000);
    }
}

#[test]
fn a_life_that_dies_before_it_is_stored_is_not_lived_twice() {
    let mut sim = crate::support::settled(5, 7);
    // Its clock stands still far behind: only what is stored tells lives apart.
    sim.jump_clock(2, -DAY_MS);
    let others = [0, 1, 3, 4];
    let mut ids = Vec::new();
    for life in 0..4 {
        sim.kill(2);
        sim.set_disk_full(2, true);
        sim.restart(2);
        sim.join(2, GROUP);
        // Whatever it says in this life is in vain, for it cannot be stored.
        let id = sim.publish(2, GROUP, format!("unheard {life}"));
        sim.run_for(4_000);
        assert!(
            others
                .iter()
                .all(|&node| !sim.neighbours(node).contains(&2))
        );
        assert!(
            others
                .iter()
                .all(|&node| sim.times_delivered(node, id) == 0)
        );
        sim.kill(2);
        sim.set_disk_full(2, false);
        sim.restart(2);
        sim.join(2, GROUP);
        sim.run_for(4_000);
        let id = sim.publish(2, GROUP, format!("heard {life}"));
        // Whoever waited in vain for its hello dials it again after a pause.
        wait_for(&mut sim, id, &others, 60_000);
        ids.push(id);
    }
    for id in ids {
        let times = others.map(|node| sim.times_delivered(node, id));
        assert_eq!(times, [1; 4], "{id}");
    }
    assert_eq!(counted(&sim, 0..5, "origins_cut_off"), 0);
}
