//! A run is decided by its seed.

use crate::support::{GROUP, settled};
use hedgerow_protocol::{Event, JoinOptions, Micros, PublishOptions};
use hedgerow_testnet::hostile::mask;
use hedgerow_testnet::scenario::Behaviour;
use hedgerow_testnet::sim::{Bandwidth, Latency, Random, Sim, TraceHash, Way};

fn eventful(seed: u64) -> (TraceHash, u64) {
    let mut sim = settled(12, seed);
    sim.set_network(|network| network.loss_ppm = 10_000);
    let mut random = Random::new(seed, "events");
    for tick in 0..30_usize {
        let running: Vec<usize> = sim.alive().into_iter().filter(|&node| node != 3).collect();
        sim.publish(
            running[random.index(running.len())],
            GROUP,
            format!("{tick}"),
        );
        match tick {
            5 => sim.crash(7),
            8 => sim.partition(&[vec![0, 1, 2, 3], vec![4, 5, 6, 8, 9, 10, 11]]),
            12 => sim.pause(3),
            18 => sim.heal(),
            20 => sim.resume(3),
            22 => sim.restart(7),
            25 => sim.kill(9),
            _ => {}
        }
        sim.run_for(500);
    }
    sim.run_for(10_000);
    (sim.trace_hash(), sim.happened())
}

#[test]
fn the_same_seed_gives_the_same_trace_hash() {
    let first = eventful(1);
    assert_eq!(first, eventful(1));
    assert_ne!(first.0, eventful(2).0);
}

const MEMBERS: usize = 30;

/// Thin lines, lies, and whatever can go wrong: all that decides what a peer is told next.
fn troubled(threads: usize) -> Sim {
    let mut sim = Sim::builder()
        .nodes(MEMBERS)
        .seed(11)
        .latency(Latency::uniform_ms(2, 30))
        .jitter_ms(3)
        .loss_ppm(5_000)
        .idle_from(0)
        .build();
    sim.set_threads(threads);
    let hostile = [
        (3, Behaviour::Delay),
        (4, Behaviour::BadSignature),
        (5, Behaviour::RecordFlood),
        (6, Behaviour::Oversized),
        (7, Behaviour::Equivocate),
    ];
    for (node, behaviour) in hostile {
        sim.set_mask(node, move |keypair, seed| {
            mask(behaviour, keypair, seed).expect("it does not behave")
        });
    }
    // Both ends of the network find out that one of them is not who it says.
    sim.copy_identity(9, 10);
    for node in 0..MEMBERS {
        if node % 4 == 1 {
            sim.set_bandwidth(node, Bandwidth::kbit(400, 800));
        }
        sim.start_node(node);
    }
    for node in 0..MEMBERS {
        sim.join(node, GROUP);
    }
    sim.run_for(3_000);
    sim
}

/// One thing that goes wrong or is done at a time.
fn trouble(sim: &mut Sim, tick: usize) {
    let link_of = |sim: &Sim, node: usize| sim.engine(node).links().first().map(|link| link.link);
    match tick {
        2 => sim.crash(8),
        4 => sim.partition(&[(0..12).collect(), (12..MEMBERS).collect()]),
        6 => sim.pause(14),
        7 => sim.set_deaf(15, true),
        9 => sim.heal(),
        10 => sim.resume(14),
        11 => sim.set_deaf(15, false),
        12 => sim.kill(16),
        13 => sim.restart(8),
        14 => {
            if let Some(link) = link_of(sim, 17) {
                sim.reset_link(17, link);
            }
            if let Some(link) = link_of(sim, 18) {
                sim.half_open(18, link);
            }
        }
        15 => sim.shutdown(19),
        16 => sim.jump_clock(20, 90_000),
        17 => sim.leave(21, GROUP),
        18 => sim.set_bandwidth(22, Bandwidth::kbit(200, 200)),
        19 => sim.set_way(
            23,
            Way {
                delay: Micros::from_millis(40),
                late_ppm: 100_000,
                late: Micros::from_millis(20),
                ..Way::default()
            },
        ),
        20 => sim.join_with(21, GROUP, JoinOptions::default()),
        _ => {}
    }
}

#[test]
fn a_run_is_the_same_with_any_number_of_threads() {
    let run = |threads| {
        let mut sim = troubled(threads);
        let mut random = Random::new(11, "publishers");
        for tick in 0..24 {
            trouble(&mut sim, tick);
            for size in [20, 3_000, 600_000] {
                let node = 24 + random.index(MEMBERS - 24);
                let payload = vec![tick as u8; if tick % 8 == 0 { size } else { size.min(3_000) }];
                // Refused or not: the same each time.
                let _ = sim.try_publish(node, GROUP, payload.into(), PublishOptions::default());
                sim.run_for(57);
            }
            sim.run_for(200);
        }
        sim.run_for(15_000);
        let is_refused = |event: &Event| matches!(event, Event::IdentityInUse { .. });
        assert!([9, 10].iter().any(|&node| sim.events(node).any(is_refused)));
        (sim.trace_hash(), sim.happened(), sim.called_ahead())
    };
    let (trace, happened, ahead) = run(1);
    assert_eq!(ahead, 0, "one thread calls each in its turn");
    for threads in [2, 4] {
        let (other, events, ahead) = run(threads);
        assert_eq!((other, events), (trace, happened), "{threads} threads");
        assert!(ahead * 2 > happened, "{ahead} of {happened} calls");
    }
}
