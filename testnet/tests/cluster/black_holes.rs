//! Parents that keep what they should forward lose their children; slow ones do not.

use crate::support::{GROUP, assert_clean, join_all, wait_delivered, wait_joined, wait_view};
use bytes::Bytes;
use hedgerow_protocol::status::LinkFaults;
use hedgerow_protocol::wire::{Bundle, Frame, FrameDecoder};
use hedgerow_protocol::{Action, Engine, GroupName, Input, Micros, Time};
use hedgerow_testnet::sim::{Bandwidth, Mask, NodeState, Random, Sim};
use std::collections::VecDeque;

const NODES: usize = 20;
/// How often what is old is pushed, ms.
const REPLAY_MS: u64 = 500;

/// Does all that a peer should, but pushes nothing of others.
struct BlackHole {
    /// Whether it pushes the first that it kept to everybody, again and again.
    replays: bool,
    old: Option<[Bytes; 2]>,
}

impl Mask for BlackHole {
    fn action(
        &mut self,
        now: Time,
        engine: &mut Engine,
        action: Action,
        out: &mut VecDeque<Action>,
    ) {
        match action {
            Action::Send { link, chunks } if is_push_of_another(engine, &chunks) => {
                let bytes = chunks.iter().map(Bytes::len).sum();
                engine.handle_input(now, Input::Sent { link, bytes });
                self.old.get_or_insert(chunks);
            }
            action => out.push_back(action),
        }
    }

    fn timeout(
        &mut self,
        now: Time,
        engine: &mut Engine,
        out: &mut VecDeque<Action>,
    ) -> Option<Time> {
        if let Some(chunks) = self.old.as_ref().filter(|_| self.replays) {
            let links = engine.links().into_iter().filter(|link| link.up);
            out.extend(links.map(|link| Action::Send {
                link: link.link,
                chunks: chunks.clone(),
            }));
        }
        self.replays.then(|| Time {
            mono: now.mono + Micros::from_millis(REPLAY_MS),
            wall_ms: now.wall_ms + REPLAY_MS,
        })
    }
}

fn is_push_of_another(engine: &Engine, chunks: &[Bytes; 2]) -> bool {
    let mut decoder = FrameDecoder::new(1 << 20);
    for chunk in chunks {
        decoder.push(chunk.clone());
    }
    let Ok(Some(raw)) = decoder.next_frame() else {
        return false;
    };
    let Ok(Some(Frame::Bundle(frame, payload))) = Frame::decode(raw) else {
        return false;
    };
    Bundle::decode(frame.signed, frame.signature, payload)
        .is_ok_and(|bundle| !frame.pulled && bundle.header.origin != engine.peer())
}

fn network(seed: u64, loss_ppm: u32) -> Sim {
    let mut sim = Sim::builder()
        .nodes(NODES)
        .seed(seed)
        .bandwidth(Bandwidth::mbit(20, 20))
        .loss_ppm(loss_ppm)
        .build();
    join_all(&mut sim, 0..NODES);
    wait_joined(&mut sim);
    wait_view(&mut sim, 30_000);
    sim.run_for(10_000);
    sim
}

/// Children of `node` in the trees of all others.
fn children(sim: &Sim, node: usize) -> usize {
    let group = GroupName::new(GROUP).expect("valid");
    let key = sim.key(node);
    let origins = sim.alive().into_iter().filter(|&origin| origin != node);
    let fed = origins.map(|origin| {
        let overlay = sim.engine(origin).overlay(&group, None).expect("overlay");
        let children = overlay.nodes.iter();
        children.filter(|n| n.parents.first() == Some(&key)).count()
    });
    fed.sum()
}

/// First receipts by pull at all peers but `hole`.
fn repaired(sim: &Sim, hole: usize) -> u64 {
    let others = sim.alive().into_iter().filter(|&node| node != hole);
    let groups = others.flat_map(|node| sim.engine(node).groups());
    groups.map(|group| group.repaired).sum()
}

fn counted(sim: &Sim, name: &str) -> u64 {
    let counters = sim
        .alive()
        .into_iter()
        .map(|node| sim.engine(node).counters());
    counters
        .map(|counters| counters.values.get(name).copied().unwrap_or(0))
        .sum()
}

/// Everybody but `silent` publishes twice a second for so long.
fn chat(sim: &mut Sim, silent: usize, seconds: u64) {
    for second in 0..seconds * 2 {
        for node in (0..NODES).filter(|&node| node != silent) {
            sim.publish_patiently(node, GROUP, format!("{second} {node}"), 1_000);
        }
        sim.run_for(500);
    }
}

/// The peer with the most children becomes a black hole, and loses them.
fn loses_its_children(replays: bool) {
    let mut sim = network(3, 0);
    let hole = (0..NODES)
        .max_by_key(|&node| children(&sim, node))
        .expect("peers");
    sim.kill(hole);
    sim.set_mask(hole, move |_, _| {
        let old = None;
        Box::new(BlackHole { replays, old })
    });
    sim.restart(hole);
    sim.join(hole, GROUP);
    wait_joined(&mut sim);
    wait_view(&mut sim, 30_000);
    sim.run_for(10_000);
    let before = children(&sim, hole);
    assert!(before >= 10, "node {hole} feeds {before} in all trees");

    chat(&mut sim, hole, 10);
    let pulled_first = repaired(&sim, hole);
    chat(&mut sim, hole, 40);
    let pulled = repaired(&sim, hole);
    chat(&mut sim, hole, 10);
    let pulled_last = repaired(&sim, hole) - pulled;
    assert!(pulled_first > 0, "what it kept was pulled");
    assert!(
        pulled_last * 20 <= pulled_first,
        "pulled in 10 s: {pulled_first} first, {pulled_last} after 50 s"
    );
    assert!(children(&sim, hole) * 5 <= before);
    assert!(counted(&sim, "parent_faults") > 0 && counted(&sim, "parents_raised") > 0);
    let charged = |node: usize| {
        let links = sim.engine(node).links();
        links
            .iter()
            .any(|link| link.faults != LinkFaults::default() && link.peer == sim.key(hole))
    };
    assert!(
        (0..NODES).any(|node| node != hole && charged(node)),
        "shown"
    );
    let innocent = (0..NODES).filter(|&node| node != hole).any(|node| {
        let links = sim.engine(node).links();
        links
            .iter()
            .any(|link| link.faults.raised > 0 && link.peer != sim.key(hole))
    });
    assert!(!innocent, "only the one that forwards nothing");
    wait_delivered(&mut sim, 10_000);
    sim.run_for(3_000);
    assert_clean(&mut sim);
}

#[test]
fn a_parent_that_forwards_nothing_loses_its_children() {
    loses_its_children(false);
}

#[test]
fn what_it_pushes_again_and_again_is_not_forwarding() {
    loses_its_children(true);
}

#[test]
fn honest_peers_under_loss_and_load_are_never_dropped() {
    for seed in [1, 2] {
        let mut sim = network(seed, 20_000);
        let mut random = Random::new(seed, "load");
        sim.set_bandwidth(5, Bandwidth::mbit(1, 1));
        for round in 0..120_u32 {
            for number in 0..4 {
                let node = random.index(NODES);
                if sim.state(node) == NodeState::Running {
                    let large = number == 0 && round % 10 == 0;
                    let size = if large {
                        300_000
                    } else {
                        100 << random.index(6)
                    };
                    sim.publish_patiently(node, GROUP, vec![round as u8; size], 20_000);
                }
            }
            match round {
                30 => sim.crash(9),
                50 => sim.pause(7),
                58 => sim.resume(7),
                70 => sim.restart(9),
                _ => {}
            }
            if round == 70 {
                sim.join(9, GROUP);
            }
            sim.run_for(500);
        }
        assert!(counted(&sim, "pulls") > 0, "a network that loses packets");
        for what in ["parents_raised", "parents_dropped"] {
            assert_eq!(counted(&sim, what), 0, "{what}, seed {seed}");
        }
        wait_delivered(&mut sim, 120_000);
        sim.run_for(3_000);
        assert_clean(&mut sim);
    }
}
