//! A publisher need not subscribe.

use crate::support::{GROUP, assert_all_delivered, assert_once, join_all, network, wait_joined};

#[test]
fn a_peer_that_only_publishes_is_heard_and_hears_nothing() {
    for seed in 1..=2 {
        let mut sim = network(12, seed);
        join_all(&mut sim, 0..11);
        wait_joined(&mut sim);
        crate::support::wait_view(&mut sim, 30_000);
        let sent: Vec<_> = (0..10)
            .map(|number| sim.publish(11, GROUP, format!("hear me {number}")))
            .collect();
        sim.publish(4, GROUP, "from a member");
        assert_all_delivered(&mut sim, 5_000);
        for id in sent {
            assert_once(&sim, id, 0..11);
        }
        assert_eq!(sim.deliveries(11).count(), 0, "a sender hears nothing");
        sim.join(11, GROUP);
        wait_joined(&mut sim);
        let id = sim.publish(0, GROUP, "now you hear");
        assert_all_delivered(&mut sim, 5_000);
        assert_once(&sim, id, 0..12);
    }
}
