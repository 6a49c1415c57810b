//! A message is its name, not its content.

use crate::support::{GROUP, assert_all_delivered, settled, texts};

#[test]
fn two_equal_payloads_are_two_messages() {
    let mut sim = settled(8, 1);
    sim.publish(2, GROUP, "same");
    sim.publish(2, GROUP, "same");
    sim.publish(5, GROUP, "same");
    assert_all_delivered(&mut sim, 5_000);
    for node in 0..8 {
        assert_eq!(texts(&sim, node), ["same", "same", "same"], "node {node}");
    }
}

#[test]
fn an_empty_payload_is_a_message() {
    let mut sim = settled(4, 1);
    sim.publish(0, GROUP, "");
    assert_all_delivered(&mut sim, 5_000);
    assert!((0..4).all(|node| texts(&sim, node) == [""]));
}
