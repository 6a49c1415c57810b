//! A publisher can ask who has its message.

use crate::support::{GROUP, settled, wait};
use hedgerow_protocol::{AckResult, Event, GroupName, MessageId, PublishOptions};
use hedgerow_testnet::sim::{NodeState, Sim};

fn publish(sim: &mut Sim, node: usize) -> MessageId {
    let options = PublishOptions {
        acknowledge: true,
        ..PublishOptions::default()
    };
    sim.try_publish(node, GROUP, "got it?".into(), options)
        .expect("accepted")
}

fn answer(sim: &Sim, node: usize, of: MessageId) -> Option<Event> {
    let found = |event: &&Event| matches!(event, Event::Acknowledged { result: AckResult { id, .. }, .. } if *id == of);
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
            result:
                AckResult {
                    have,
                    of,
                    missing,
                    timed_out,
                    ..
                },
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
            result:
                AckResult {
                    have,
                    of,
                    mut missing,
                    ..
                },
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

/// Waits for the answer; it adds up, and names nobody but those who `may` be missing. Whoever it
/// does not name has the message.
fn assert_truthful(sim: &mut Sim, origin: usize, id: MessageId, may: &[usize], limit_ms: u64) {
    wait(sim, limit_ms, "acknowledged", |sim| {
        answer(sim, origin, id).is_some()
    });
    let Some(Event::Acknowledged {
        result:
            AckResult {
                have,
                of,
                missing,
                timed_out,
                ..
            },
        ..
    }) = answer(sim, origin, id)
    else {
        panic!("no answer, {sim:?}");
    };
    assert!(!timed_out, "{sim:?}");
    assert_eq!(have + missing.len(), of, "{sim:?}");
    let named: Vec<usize> = missing
        .iter()
        .filter_map(|&peer| sim.node_of(peer))
        .collect();
    assert_eq!(named.len(), missing.len());
    assert!(
        named.iter().all(|node| may.contains(node)),
        "missing {named:?}, who may be: {may:?}, {sim:?}"
    );
    for node in (0..sim.len()).filter(|node| *node != origin && !named.contains(node)) {
        // An application that left and joined again is another one: its neighbours may not have had
        // the message yet, so that it was still to come.
        let most = if may.contains(&node) { 2 } else { 1 };
        let times = sim.times_delivered(node, id);
        assert!((1..=most).contains(&times), "node {node}: {times}, {sim:?}");
    }
}

#[test]
fn members_that_leave_at_the_same_moment_are_named_or_have_it() {
    for seed in 1..=4 {
        for late_ms in [0, 10, 40, 120] {
            let mut sim = settled(10, seed);
            let id = publish(&mut sim, 4);
            sim.run_for(late_ms);
            sim.shutdown(7);
            sim.shutdown(2);
            assert_truthful(&mut sim, 4, id, &[2, 7], 5_000);
        }
    }
}

#[test]
fn members_that_die_while_acknowledgements_are_under_way_are_named_or_have_it() {
    for seed in 1..=4 {
        for late_ms in [0, 10, 40, 120] {
            let mut sim = settled(10, seed);
            let id = publish(&mut sim, 4);
            sim.run_for(late_ms);
            sim.crash(7);
            sim.kill(2);
            assert_truthful(&mut sim, 4, id, &[2, 7], 20_000);
        }
    }
}

#[test]
fn a_member_that_leaves_the_group_is_not_waited_for() {
    for late_ms in [0, 10, 40, 120] {
        let mut sim = settled(10, 3);
        let id = publish(&mut sim, 4);
        sim.run_for(late_ms);
        sim.leave(7, GROUP);
        sim.leave(2, GROUP);
        assert_truthful(&mut sim, 4, id, &[2, 7], 5_000);
    }
}

#[test]
fn a_member_that_comes_back_too_late_for_a_message_is_not_said_to_have_it() {
    for late_ms in [0, 5, 10, 20, 40] {
        let mut sim = settled(10, 3);
        let id = publish(&mut sim, 4);
        sim.run_for(late_ms);
        sim.leave(7, GROUP);
        sim.kill(2);
        sim.run_for(5);
        sim.join(7, GROUP);
        sim.restart(2);
        sim.join(2, GROUP);
        assert_truthful(&mut sim, 4, id, &[2, 7], 20_000);
    }
}

#[test]
fn whoever_leaves_once_all_have_acknowledged_has_been_confirmed() {
    for seed in 1..=4 {
        for nodes in [2, 3, 6] {
            let mut sim = settled(nodes, seed);
            let ids: Vec<_> = (0..nodes).map(|node| publish(&mut sim, node)).collect();
            wait(&mut sim, 5_000, "acknowledged", |sim| {
                (0..nodes).all(|node| answer(sim, node, ids[node]).is_some())
            });
            for node in 0..nodes {
                sim.shutdown(node);
            }
            wait(&mut sim, 5_000, "stopped", |sim| {
                (0..nodes).all(|node| sim.state(node) == NodeState::Idle)
            });
            for node in 0..nodes {
                let stopped = sim.events(node).find_map(|event| match event {
                    Event::Stopped { confirmed } => Some(*confirmed),
                    _ => None,
                });
                assert_eq!(stopped, Some(true), "node {node} of {nodes}, {sim:?}");
            }
        }
    }
}

#[test]
fn what_all_have_acknowledged_is_confirmed_though_they_die_while_its_origin_leaves() {
    let mut sim = settled(3, 1);
    let id = publish(&mut sim, 0);
    wait(&mut sim, 5_000, "acknowledged", |sim| {
        answer(sim, 0, id).is_some()
    });
    sim.kill(1);
    sim.kill(2);
    sim.run_for(500);
    sim.shutdown(0);
    sim.run_for(5_000);
    let confirmed = |event: &Event| matches!(event, Event::Stopped { confirmed: true });
    assert!(sim.events(0).any(confirmed), "{sim:?}");
}

/// Its links flap, so nobody states them, and its view and those of others leave it out.
#[test]
fn a_linked_member_counts_though_it_was_restarted_again_and_again() {
    for nodes in [2, 3] {
        let mut sim = settled(nodes, 1);
        for _ in 0..10 {
            sim.kill(1);
            sim.run_for(200);
            sim.restart(1);
            sim.join(1, GROUP);
            sim.run_for(600);
        }
        wait(&mut sim, 5_000, "linked", |sim| {
            (0..nodes).all(|node| {
                let links = sim.engine(node).links();
                links.iter().filter(|link| link.up).count() == nodes - 1
            })
        });
        sim.run_for(3_000);
        assert!(sim.engine(1).status().view_peers < nodes, "{sim:?}");
        for origin in 0..nodes {
            let id = publish(&mut sim, origin);
            wait(&mut sim, 5_000, "acknowledged", |sim| {
                answer(sim, origin, id).is_some()
            });
            let Some(Event::Acknowledged {
                result: AckResult {
                    have, of, holders, ..
                },
                ..
            }) = answer(&sim, origin, id)
            else {
                panic!("no answer, {sim:?}");
            };
            let mut others: Vec<_> = (0..nodes).filter(|node| *node != origin).collect();
            others.sort_unstable_by_key(|node| sim.key(*node));
            let others: Vec<_> = others.into_iter().map(|node| sim.key(node)).collect();
            assert_eq!((have, of), (nodes - 1, nodes - 1), "{origin}, {sim:?}");
            assert_eq!(holders, others);
            let group = GroupName::new(GROUP).expect("valid");
            assert_eq!(sim.engine(origin).other_members(&group), nodes - 1);
        }
    }
}

#[test]
fn nobody_is_not_everybody() {
    let mut sim = settled(1, 1);
    let id = publish(&mut sim, 0);
    wait(&mut sim, 5_000, "answered", |sim| {
        answer(sim, 0, id).is_some()
    });
    let counted = match answer(&sim, 0, id) {
        Some(Event::Acknowledged {
            result: AckResult {
                have, of, holders, ..
            },
            ..
        }) => (have, of, holders.len()),
        other => panic!("{other:?}"),
    };
    assert_eq!(counted, (0, 0, 0));
}
