//! Leaving a group ends deliveries; joining it again begins them anew.

use crate::support::{GROUP, assert_all_delivered, assert_clean, settled, texts, wait_joined};

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
