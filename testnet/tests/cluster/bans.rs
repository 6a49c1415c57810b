//! Whoever sends what no honest peer sends is dropped, and does not get back in by dialling again
//! before its time is over.

use crate::support::{GROUP, counted, join_all, wait_joined};
use hedgerow_protocol::{Action, Engine, LinkEnd, Micros, Time};
use hedgerow_testnet::hostile::mask;
use hedgerow_testnet::scenario::Behaviour;
use hedgerow_testnet::sim::{Mask, Sim};
use std::collections::VecDeque;

const NODES: usize = 12;
const OFFENDER: usize = 4;
const BAN_MS: u64 = 30_000;
/// Until when the offender sends what cannot be read, ms.
const OFFENDS_MS: u64 = 15_000;

/// Sends garbage to every neighbour, once a second, so many times.
struct Garbage {
    waves: u64,
}

impl Mask for Garbage {
    fn action(&mut self, _: Time, _: &mut Engine, action: Action, out: &mut VecDeque<Action>) {
        out.push_back(action);
    }

    fn timeout(
        &mut self,
        now: Time,
        engine: &mut Engine,
        out: &mut VecDeque<Action>,
    ) -> Option<Time> {
        for link in engine.links().into_iter().filter(|link| link.up) {
            out.push_back(Action::Send {
                link: link.link,
                chunks: [vec![0xff; 64].into(), Vec::new().into()],
            });
        }
        self.waves -= 1;
        (self.waves > 0).then_some(Time {
            mono: now.mono + Micros::from_millis(1_000),
            wall_ms: now.wall_ms + 1_000,
        })
    }
}

fn network() -> Sim {
    let mut sim = Sim::builder()
        .nodes(NODES)
        .seed(11)
        .idle_from(0)
        .configure(|config| config.links.ban_min_ms = BAN_MS)
        .build();
    sim.set_mask(OFFENDER, |_, _| {
        Box::new(Garbage {
            waves: OFFENDS_MS / 1_000,
        })
    });
    for node in 0..NODES {
        sim.start_node(node);
    }
    join_all(&mut sim, 0..NODES);
    sim
}

fn honest() -> impl Iterator<Item = usize> {
    (0..NODES).filter(|&node| node != OFFENDER)
}

#[test]
fn an_offender_that_dials_again_is_refused_until_its_time_is_over() {
    let mut sim = network();
    sim.run_for(OFFENDS_MS);
    let offended: u64 = honest()
        .map(|node| sim.engine(node).counters().link_ends)
        .map(|ends| ends.get(&LinkEnd::Malformed).copied().unwrap_or(0))
        .sum();
    let banning = honest().filter(|&node| sim.engine(node).status().banned > 0);
    let banning = banning.count() as u64;
    assert!(banning > 0, "nobody was offended");
    assert_eq!(offended, banning, "nobody is offended twice");
    assert_eq!(counted(&sim, honest(), "peers_banned"), banning);
    assert!(
        counted(&sim, honest(), "links_banned") > 0,
        "it has tried to come back"
    );
    let linked = honest().any(|node| sim.neighbours(node).contains(&OFFENDER));
    assert!(!linked, "it got in again");

    // It behaves from now on, and is let in once nobody remembers a reason not to.
    let back = sim.run_until(2 * BAN_MS, |sim| {
        honest().any(|node| sim.neighbours(node).contains(&OFFENDER))
    });
    assert!(back, "it is never forgiven, {sim:?}");
    wait_joined(&mut sim);
    let id = sim.publish(0, GROUP, "to all of them");
    let all = sim.run_until(20_000, |sim| {
        (0..NODES).all(|node| sim.times_delivered(node, id) == 1)
    });
    assert!(all, "{sim:?}");
}

#[test]
fn who_forges_is_found_out_though_it_passes_nothing_on() {
    let mut sim = Sim::builder().nodes(3).seed(11).idle_from(0).build();
    let (publisher, other, forger) = (0, 1, 2);
    sim.set_mask(forger, |keypair, seed| {
        mask(Behaviour::ForgedOrigin, keypair, seed).expect("it does not behave")
    });
    for node in [publisher, other, forger] {
        sim.start_node(node);
    }
    join_all(&mut sim, [publisher, other, forger]);
    wait_joined(&mut sim);
    sim.publish(publisher, GROUP, "all have it from its origin");
    sim.run_for(5_000);
    assert!(counted(&sim, [other], "bundles_forged") > 0);
    assert!(sim.engine(other).status().banned > 0);
}
