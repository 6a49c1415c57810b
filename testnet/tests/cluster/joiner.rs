//! `joined` is a promise.

use crate::support::{
    GROUP, assert_all_delivered, assert_clean, join_all, wait, wait_joined, wait_view,
};
use hedgerow_testnet::sim::{Random, Sim, StartGraph};

#[test]
fn a_joiner_misses_nothing_published_after_joined() {
    for seed in 1..=2 {
        let mut sim = Sim::builder().nodes(20).idle_from(10).seed(seed).build();
        join_all(&mut sim, 0..10);
        wait_joined(&mut sim);
        wait_view(&mut sim, 30_000);
        let mut random = Random::new(seed, "joins");
        let mut next = 10;
        for tick in 0..1_500_usize {
            sim.publish([0, 4, 8][tick % 3], GROUP, format!("{tick}"));
            if next < 20 && random.below(100) == 0 {
                sim.start_node(next);
                sim.join(next, GROUP);
                next += 1;
            }
            sim.run_for(10);
        }
        assert!(next > 12, "some joined");
        assert_all_delivered(&mut sim, 10_000);
        for node in 10..next {
            assert!(
                sim.deliveries(node).count() > 0,
                "node {node} took part, {sim:?}"
            );
        }
    }
}

#[test]
fn clocks_that_differ_by_a_minute_lose_nothing() {
    for seed in 1..=2 {
        let mut sim = Sim::builder()
            .nodes(12)
            .idle_from(9)
            .seed(seed)
            .clock_skew_ms(60_000)
            .build();
        join_all(&mut sim, 0..9);
        wait_joined(&mut sim);
        wait_view(&mut sim, 30_000);
        for tick in 0..100 {
            sim.publish(tick % 9, GROUP, format!("{tick}"));
            if tick % 30 == 10 {
                let node = 9 + tick / 30;
                if node < 12 {
                    sim.start_node(node);
                    sim.join(node, GROUP);
                }
            }
            sim.run_for(100);
        }
        assert_all_delivered(&mut sim, 10_000);
    }
}

#[test]
fn a_member_of_the_network_joins_at_once() {
    let mut sim = crate::support::network(12, 3);
    join_all(&mut sim, 0..8);
    wait_joined(&mut sim);
    wait_view(&mut sim, 30_000);
    join_all(&mut sim, 8..12);
    let took = wait_joined(&mut sim);
    assert!(
        took.as_millis() < 2_500,
        "{took}: a joined neighbour answers before the clock"
    );
}

#[test]
fn a_member_that_slept_misses_nothing_because_its_neighbour_came_late_too() {
    let mut sim = Sim::builder()
        .nodes(4)
        .seed(1)
        .start_graph(StartGraph::Chain)
        .build();
    sim.publish(0, GROUP, "a sender from the start");
    sim.run_for(2_500);
    sim.join(3, GROUP);
    // Nobody who has joined is there: the clock decides.
    wait(&mut sim, 5_000, "joined", |sim| sim.has_joined(3, GROUP));
    sim.pause(3);
    sim.pause(0);
    sim.join(1, GROUP);
    for text in ["first", "second"] {
        sim.publish(1, GROUP, text);
        sim.run_for(3_000);
    }
    sim.leave(1, GROUP);
    sim.resume(0);
    sim.run_for(1_500);
    sim.resume(3);
    assert_all_delivered(&mut sim, 20_000);
    assert_clean(&mut sim);
}

#[test]
fn whoever_has_just_come_gives_up_nothing_that_others_still_hold() {
    let mut sim = Sim::builder()
        .nodes(4)
        .seed(5)
        .start_graph(StartGraph::Chain)
        .build();
    sim.join(3, GROUP);
    sim.join(1, GROUP);
    sim.pause(3);
    for text in ["first", "second", "third"] {
        sim.publish(1, GROUP, text);
        sim.run_for(2_000);
    }
    sim.join(2, GROUP);
    sim.run_for(5_000);
    // Of the log of node 1, node 2 has only what comes now.
    sim.publish(1, GROUP, "fourth");
    sim.run_for(2_000);
    sim.resume(3);
    assert_all_delivered(&mut sim, 20_000);
    sim.run_for(10_000);
    assert_clean(&mut sim);
}

#[test]
fn a_joiner_whose_links_never_last_joins_by_the_clock() {
    let mut sim = Sim::builder().nodes(12).idle_from(11).seed(4).build();
    for node in 0..11 {
        sim.join(node, "broadcast");
    }
    wait_view(&mut sim, 30_000);
    sim.start_node(11);
    sim.join(11, "broadcast");
    // No neighbour's answer ever arrives: the way back takes longer than a link lives.
    for _ in 0..100 {
        let links: Vec<_> = sim.engine(11).links().iter().map(|l| l.link).collect();
        for link in links {
            sim.reset_link(11, link);
        }
        sim.run_for(50);
    }
    assert!(sim.has_joined(11, "broadcast"), "{sim:?}");
    wait_view(&mut sim, 30_000);
}
