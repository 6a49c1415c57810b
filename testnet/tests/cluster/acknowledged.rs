//! A publisher can ask who has its message.

use crate::support::{GROUP, settled, wait};
use hedgerow_protocol::{Event, MessageId, PublishOptions};
use hedgerow_testnet::sim::Sim;

fn publish(sim: &mut Sim, node: usize) -> MessageId {
    let options = PublishOptions { acknowledge: true };
    sim.try_publish(node, GROUP, "got it?".into(), options)
        .expect("accepted")
}

fn answer(sim: &Sim, node: usize, of: MessageId) -> Option<Event> {
    let found = |event: &&Event| matches!(event, Event::Acknowledged { id, .. } if *id == of);
    sim.events(node).find(found).cloned()
}

#[test]
fn an_acknowledged_message_is_done_when_all_members_have_it() {
    let mut sim = settled(15, 1);
    let id = publish(&mut sim, 4);
    wait(&mut sim, 5_000, "acknowledged", |sim| {
        answer(sim, 4, id).is_some()
    });
    match answer(&sim, 4, id) {
        Some(Event::Acknowledged {
            have,
            of,
            missing,
            timed_out,
            ..
        }) => {
            // The publisher is a member: whether it counts itself, it counts on both sides.
            assert_eq!(have, of);
            assert!((14..=15).contains(&of), "{of} members");
            assert!(missing.is_empty() && !timed_out);
        }
        other => panic!("{other:?}"),
    }
    for node in 0..15 {
        assert_eq!(sim.times_delivered(node, id), 1, "told only when it was so");
    }
}

#[test]
fn members_that_vanish_are_named() {
    let mut sim = settled(15, 2);
    sim.crash(9);
    sim.crash(2);
    let id = publish(&mut sim, 4);
    wait(&mut sim, 20_000, "acknowledged", |sim| {
        answer(sim, 4, id).is_some()
    });
    match answer(&sim, 4, id) {
        Some(Event::Acknowledged {
            have,
            of,
            mut missing,
            ..
        }) => {
            let mut gone = vec![sim.key(9), sim.key(2)];
            gone.sort_unstable();
            missing.sort_unstable();
            assert_eq!(missing, gone);
            assert_eq!(have + 2, of);
        }
        other => panic!("{other:?}"),
    }
}
