//! Frames for one peer find it, around relays that keep them.

use crate::support::{counted, settled, wait};
use bytes::Bytes;
use hedgerow_protocol::wire::{Frame, FrameDecoder};
use hedgerow_protocol::{Action, Engine, Event, Input, PeerKey, Time};
use hedgerow_testnet::sim::{Mask, Sim};
use std::collections::VecDeque;

const NODES: usize = 30;

/// Does all that a peer should, but passes on nothing that others send to one peer.
struct Swallower;

impl Mask for Swallower {
    fn action(
        &mut self,
        now: Time,
        engine: &mut Engine,
        action: Action,
        out: &mut VecDeque<Action>,
    ) {
        match action {
            Action::Send { link, chunks } if is_routed_for_another(engine, &chunks) => {
                let bytes = chunks.iter().map(Bytes::len).sum();
                engine.handle_input(now, Input::Sent { link, bytes });
            }
            action => out.push_back(action),
        }
    }

    fn timeout(&mut self, _: Time, _: &mut Engine, _: &mut VecDeque<Action>) -> Option<Time> {
        None
    }
}

fn is_routed_for_another(engine: &Engine, chunks: &[Bytes; 2]) -> bool {
    let mut decoder = FrameDecoder::new(1 << 20);
    for chunk in chunks {
        decoder.push(chunk.clone());
    }
    let Ok(Some(raw)) = decoder.next_frame() else {
        return false;
    };
    matches!(Frame::decode(raw), Ok(Some(Frame::Routed(routed))) if routed.from != engine.peer())
}

fn ping(sim: &mut Sim, node: usize, to: usize) -> u64 {
    let peer = sim.key(to);
    sim.call(node, |engine, now| engine.ping(now, peer))
        .expect("runs")
        .expect("in the view")
}

/// How long the answer to a ping took, microseconds, and how many links it crossed.
fn pong(sim: &Sim, node: usize, of: u64) -> Option<(u64, u8)> {
    sim.events(node).find_map(|event| match event {
        Event::Pong {
            ping,
            round_trip_us,
            hops,
            ..
        } if *ping == of => Some((*round_trip_us, *hops)),
        _ => None,
    })
}

fn is_lost(sim: &Sim, node: usize, of: u64) -> bool {
    sim.events(node)
        .any(|event| matches!(event, Event::PingLost { ping, .. } if *ping == of))
}

/// A peer that is no neighbour.
fn far(sim: &Sim, node: usize) -> usize {
    let neighbours = sim.neighbours(node);
    let others = (1..NODES).map(|step| (node + step) % NODES);
    let mut far = others.filter(|other| !neighbours.contains(other));
    far.next().expect("not all are linked")
}

#[test]
fn everybody_reaches_a_far_peer_at_the_first_try() {
    let mut sim = settled(NODES, 1);
    let pings: Vec<(usize, u64)> = (0..NODES)
        .map(|node| {
            let to = far(&sim, node);
            (node, ping(&mut sim, node, to))
        })
        .collect();
    wait(&mut sim, 900, "answered", |sim| {
        pings
            .iter()
            .all(|&(node, of)| pong(sim, node, of).is_some())
    });
    for (node, of) in pings {
        let (_, hops) = pong(&sim, node, of).expect("answered");
        assert!((2..=NODES as u8).contains(&hops), "{node}: {hops} hops");
    }
    assert_eq!(counted(&sim, 0..NODES, "echoes_repeated"), 0);
    assert_eq!(counted(&sim, 0..NODES, "routed_sent"), 2 * NODES as u64);
    assert_eq!(
        counted(&sim, 0..NODES, "routed_delivered"),
        2 * NODES as u64
    );
    assert_eq!(counted(&sim, 0..NODES, "routed_expired"), 0);
}

#[test]
fn a_relay_that_keeps_frames_is_passed_by_after_two_resends() {
    let mut sim = settled(NODES, 2);
    let to = far(&sim, 4);
    let before: Vec<u64> = (0..NODES)
        .map(|node| counted(&sim, [node], "routed_forwarded"))
        .collect();
    let first = ping(&mut sim, 4, to);
    wait(&mut sim, 900, "answered", |sim| {
        pong(sim, 4, first).is_some()
    });
    let relay = (0..NODES)
        .find(|&node| counted(&sim, [node], "routed_forwarded") > before[node])
        .expect("somebody passed it on");

    sim.kill(relay);
    sim.set_mask(relay, |_, _| Box::new(Swallower));
    sim.restart(relay);
    sim.join(relay, crate::support::GROUP);
    crate::support::wait_view(&mut sim, 30_000);
    // Links settle anew, and the path with them: those who are looked for now lead over the relay.
    sim.run_for(10_000);
    let resent = |sim: &Sim| counted(sim, 0..NODES, "echoes_repeated");
    let mut passed_by = 0;
    for node in (0..NODES).filter(|&node| node != relay) {
        for to in (0..NODES).filter(|&to| to != relay && to != node) {
            let before = resent(&sim);
            let of = ping(&mut sim, node, to);
            wait(&mut sim, 8_500, "answered", |sim| {
                pong(sim, node, of).is_some()
            });
            let again = resent(&sim) - before;
            assert!(again == 0 || again >= 3, "{again} times again");
            assert!(again <= 4, "{again} times again, {node} to {to}");
            passed_by += u32::from(again >= 3);
        }
        if passed_by >= 5 {
            break;
        }
    }
    assert!(passed_by >= 5, "it is on some paths: {passed_by}");
}

#[test]
fn a_crashed_peer_is_told_as_lost() {
    let mut sim = settled(NODES, 3);
    let to = far(&sim, 4);
    sim.crash(to);
    let of = ping(&mut sim, 4, to);
    let took = wait(&mut sim, 12_000, "lost", |sim| is_lost(sim, 4, of));
    assert!(took.as_millis() >= 7_000, "not before it was tried again");
    assert_eq!(pong(&sim, 4, of), None);
    // By now no view shows it.
    let peer: PeerKey = sim.key(to);
    let refused = sim.call(4, |engine, now| engine.ping(now, peer));
    assert!(refused.expect("runs").is_err());
}
