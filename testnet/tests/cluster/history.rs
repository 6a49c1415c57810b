//! Late joiners get as much of the past as they ask for.

use crate::support::{GROUP, assert_clean, assert_once, texts, wait, with_history};
use hedgerow_protocol::History;
use hedgerow_testnet::sim::Sim;

fn seven_with_a_past(seed: u64, messages: usize) -> Sim {
    let mut sim = Sim::builder().nodes(20).idle_from(7).seed(seed).build();
    crate::support::join_all(&mut sim, 0..7);
    crate::support::wait_joined(&mut sim);
    crate::support::wait_view(&mut sim, 30_000);
    for number in 0..messages {
        sim.publish(number % 3, GROUP, format!("old {number}"));
        sim.run_for(200);
    }
    sim.run_for(3_000);
    sim
}

#[test]
fn thirteen_peers_join_with_last_and_get_what_was_published_before() {
    for seed in 1..=2 {
        let mut sim = seven_with_a_past(seed, 1);
        let id = sim.journal().messages[0].id;
        for node in 7..20 {
            sim.start_node(node);
            sim.join_with(node, GROUP, with_history(History::Last(1)));
        }
        let nodes: Vec<usize> = (0..20).collect();
        crate::support::wait_for(&mut sim, id, &nodes, 10_000);
        sim.run_for(5_000);
        assert_once(&sim, id, nodes);
        assert_clean(&mut sim);
    }
}

#[test]
fn last_counts_messages_of_all_origins_by_time_of_publication() {
    let mut sim = seven_with_a_past(3, 10);
    sim.start_node(12);
    sim.join_with(12, GROUP, with_history(History::Last(4)));
    wait(&mut sim, 10_000, "history", |sim| {
        sim.deliveries(12).count() >= 4
    });
    sim.run_for(5_000);
    let mut got = texts(&sim, 12);
    got.sort();
    assert_eq!(got, ["old 6", "old 7", "old 8", "old 9"]);
    assert_clean(&mut sim);
}

#[test]
fn since_counts_from_the_join_backwards() {
    let mut sim = seven_with_a_past(4, 10);
    sim.run_for(7_000);
    sim.publish(1, GROUP, "recent");
    sim.run_for(1_000);
    sim.start_node(9);
    sim.join_with(9, GROUP, with_history(History::SinceMs(5_000)));
    wait(&mut sim, 10_000, "history", |sim| {
        sim.deliveries(9).count() >= 1
    });
    sim.run_for(5_000);
    assert_eq!(texts(&sim, 9), ["recent"]);
    assert_clean(&mut sim);
}

#[test]
fn a_plain_join_starts_now() {
    let mut sim = seven_with_a_past(5, 5);
    sim.start_node(9);
    sim.join(9, GROUP);
    crate::support::wait_joined(&mut sim);
    sim.run_for(5_000);
    assert!(texts(&sim, 9).is_empty(), "{:?}", texts(&sim, 9));
    sim.publish(0, GROUP, "new");
    crate::support::assert_all_delivered(&mut sim, 5_000);
    assert_eq!(texts(&sim, 9), ["new"]);
}

#[test]
fn a_peer_that_came_later_gets_the_broadcasts_of_before() {
    let mut sim = Sim::builder().nodes(6).idle_from(5).seed(6).build();
    for node in 0..5 {
        sim.join(node, "broadcast");
    }
    crate::support::wait_view(&mut sim, 30_000);
    sim.run_for(4_000);
    for number in 0..6 {
        sim.publish(number % 3, "broadcast", format!("old {number}"));
        sim.run_for(300);
    }
    sim.start_node(5);
    crate::support::wait_view(&mut sim, 30_000);
    sim.run_for(5_000);
    sim.publish(1, "broadcast", "heard, not listened to");
    sim.run_for(1_000);
    sim.join_with(5, "broadcast", with_history(History::Last(3)));
    sim.run_for(3_000);
    sim.publish(2, "broadcast", "new");
    sim.run_for(3_000);
    let mut got = texts(&sim, 5);
    got.sort();
    assert_eq!(got, ["heard, not listened to", "new", "old 4", "old 5"]);
    assert_clean(&mut sim);
}

#[test]
fn a_sender_that_joins_gets_as_much_of_the_past_as_it_asks_for() {
    let mut sim = seven_with_a_past(7, 4);
    sim.start_node(8);
    sim.publish(8, GROUP, "my own");
    sim.run_for(5_000);
    sim.publish(0, GROUP, "latest");
    sim.run_for(1_000);
    sim.join_with(8, GROUP, with_history(History::Last(4)));
    sim.run_for(5_000);
    let mut got = texts(&sim, 8);
    got.sort();
    assert_eq!(got, ["latest", "my own", "old 2", "old 3"]);
    sim.publish(1, GROUP, "new");
    crate::support::assert_all_delivered(&mut sim, 5_000);
    assert_clean(&mut sim);
}

#[test]
fn last_reaches_back_over_eight_lives_of_a_publisher() {
    let mut sim = seven_with_a_past(8, 1);
    for life in 0..8 {
        sim.publish(5, GROUP, format!("life {life}"));
        sim.run_for(2_000);
        sim.kill(5);
        sim.restart(5);
        sim.run_for(3_000);
    }
    sim.start_node(12);
    sim.join_with(12, GROUP, with_history(History::Last(8)));
    wait(&mut sim, 10_000, "history", |sim| {
        sim.deliveries(12).count() >= 8
    });
    sim.run_for(5_000);
    let mut got = texts(&sim, 12);
    got.sort();
    let lives: Vec<String> = (0..8).map(|life| format!("life {life}")).collect();
    assert_eq!(got, lives);
    assert_clean(&mut sim);
}
