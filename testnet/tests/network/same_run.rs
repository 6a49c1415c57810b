//! A run is the same each time, on any machine, with any number of threads, even one that breaks.

use crate::net::{Net, key, ms};
use hedgerow_protocol::{Action, BatchId, Input, LinkId, Namespace, Time};
use hedgerow_testnet::sim::{Bandwidth, Costs, Latency, NetworkModel, Peer, TraceHash, World};

fn busy_run(seed: u64, threads: usize) -> TraceHash {
    let mut net = Net::new(6, seed, |network| {
        network.latency = Latency::uniform_ms(5, 80);
        network.jitter = ms(10);
        network.loss_ppm = 20_000;
    });
    net.world.set_threads(threads);
    for node in 0..6 {
        net.world.set_bandwidth(node, Bandwidth::mbit(1, 2));
    }
    let links: Vec<LinkId> = (1..6).map(|node| net.connect(0, node).0).collect();
    for round in 0..20 {
        for &link in &links {
            net.send(0, link, vec![round; 10_000]);
        }
        match round {
            5 => net.world.partition(&[vec![0, 1, 2], vec![3, 4, 5]]),
            8 => net.world.pause(1),
            10 => net.world.heal(),
            12 => net.world.resume(1),
            15 => net.world.crash(5),
            _ => {}
        }
        net.world.run_for(200);
    }
    net.world.run_for(60_000);
    net.world.trace_hash()
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    assert_eq!(busy_run(1, 1), busy_run(1, 1));
    assert_eq!(busy_run(1, 1), busy_run(1, 3));
    assert_ne!(busy_run(1, 1), busy_run(2, 1));
    // On any machine. It changes with the network model only, and then on purpose.
    assert_eq!(
        busy_run(1, 1).to_string(),
        "5cd9b8e15ab7ec710e322b95581b1923"
    );
}

/// A peer whose first timeout is its last.
struct Fragile(Time);

impl Peer for Fragile {
    fn handle_input(&mut self, _: Time, _: Input) {}
    fn handle_timeout(&mut self, _: Time) {
        panic!("it broke");
    }
    fn poll_action(&mut self) -> Option<Action> {
        None
    }
    fn poll_timeout(&self) -> Option<Time> {
        Some(self.0)
    }
}

/// Runs eight peers on three threads, made when they begin, until one panics and says `what`.
fn breaks<P: Peer>(what: &str, peer: impl Fn(usize, Time) -> P) {
    let mut world = World::new(1, NetworkModel::default(), Costs::default());
    world.set_threads(3);
    for node in 0..8 {
        world.add_node(Bandwidth::UNLIMITED, 0);
        let began = world.time(node);
        world.start(node, key(node), peer(node, began));
    }
    let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.run_for(20)));
    let said = run.expect_err("a peer panics");
    assert_eq!(said.downcast_ref::<&str>(), Some(&what));
    // Nothing is lost that a report could want to look at.
    assert!((0..8).all(|node| world.peer(node).is_some()));
}

/// So many ms after `began`.
fn due(began: Time, after: u64) -> Time {
    Time {
        mono: began.mono + ms(after),
        ..began
    }
}

#[test]
fn a_panic_on_any_thread_comes_out_where_the_world_is_run() {
    breaks("it broke", |_, began| Fragile(due(began, 10)));
}

/// A peer with one timeout; where it stores something then, it breaks as soon as that is done.
struct Storing {
    due: Option<Time>,
    stores: bool,
    asks: bool,
}

impl Peer for Storing {
    fn handle_input(&mut self, _: Time, _: Input) {
        panic!("it is full");
    }
    fn handle_timeout(&mut self, _: Time) {
        self.due = None;
        self.asks = self.stores;
    }
    fn poll_action(&mut self) -> Option<Action> {
        std::mem::take(&mut self.asks).then_some(Action::Store {
            batch: BatchId(1),
            namespace: Namespace::Overlay,
            ops: Vec::new(),
        })
    }
    fn poll_timeout(&self) -> Option<Time> {
        self.due
    }
}

#[test]
fn a_panic_in_its_turn_leaves_no_peer_with_another_thread() {
    // What was stored at 10 ms is known before the others' time has come, which is seen then.
    breaks("it is full", |node, began| Storing {
        due: Some(due(began, if node == 0 { 10 } else { 13 })),
        stores: node == 0,
        asks: false,
    });
}
