//! What most tests do: join, wait, judge.

use hedgerow_protocol::status::GroupStatus;
use hedgerow_protocol::{GroupName, History, JoinOptions, MessageId, Micros, SettingsPatch};
use hedgerow_testnet::check;
use hedgerow_testnet::sim::{Sim, StartGraph};
use std::collections::BTreeSet;

pub(crate) const GROUP: &str = "news";

/// `nodes` peers that know two earlier ones each.
pub(crate) fn network(nodes: usize, seed: u64) -> Sim {
    let start = StartGraph::Random { contacts: 2 };
    Sim::builder()
        .nodes(nodes)
        .seed(seed)
        .start_graph(start)
        .build()
}

/// `nodes` peers that have all joined [`GROUP`] and see each other.
pub(crate) fn settled(nodes: usize, seed: u64) -> Sim {
    let mut sim = network(nodes, seed);
    join_all(&mut sim, 0..nodes);
    wait_joined(&mut sim);
    wait_view(&mut sim, 30_000);
    sim
}

/// Starts peers that have all joined [`GROUP`] and go on as after a long life with each other.
pub(crate) fn start_warm(sim: &mut Sim, nodes: usize) {
    let all: Vec<usize> = (0..nodes).collect();
    for &node in &all {
        sim.start_alone(node);
    }
    join_all(sim, 0..nodes);
    sim.warm_up(&all);
}

/// What the engines at these nodes counted under a name, together.
pub(crate) fn counted(sim: &Sim, nodes: impl IntoIterator<Item = usize>, name: &str) -> u64 {
    let count = |node| sim.engine(node).counters().values.get(name).copied();
    nodes.into_iter().filter_map(count).sum()
}

/// What [`GROUP`] is to a node, if it still knows it.
pub(crate) fn group_status(sim: &Sim, node: usize) -> Option<GroupStatus> {
    let is_it = |name: &GroupName| name.as_str() == GROUP;
    let mut groups = sim.engine(node).groups().into_iter();
    groups.find(|known| known.group.as_ref().is_some_and(is_it))
}

pub(crate) fn join_all(sim: &mut Sim, nodes: impl IntoIterator<Item = usize>) {
    for node in nodes {
        sim.join(node, GROUP);
    }
}

/// Waits until everyone who was asked to join has, and gives how long it took.
pub(crate) fn wait_joined(sim: &mut Sim) -> Micros {
    wait(sim, 10_000, "joined", |sim| {
        let group = GroupName::new(GROUP).expect("valid");
        sim.alive().iter().all(|&node| {
            let changes = &sim.journal().nodes[node].changes;
            let asked = changes.iter().any(|(_, change)| {
                *change == hedgerow_testnet::journal::Change::Join(group.clone())
            });
            !asked || sim.has_joined(node, GROUP)
        })
    })
}

/// Waits until all peers that run have the same view of all of them.
pub(crate) fn wait_view(sim: &mut Sim, limit_ms: u64) -> Micros {
    wait(sim, limit_ms, "one view", |sim| {
        check::views(&sim.snapshots(&sim.alive())).is_clean()
    })
}

/// Waits until `condition` holds and gives how long it took.
pub(crate) fn wait(
    sim: &mut Sim,
    limit_ms: u64,
    what: &str,
    condition: impl Fn(&Sim) -> bool,
) -> Micros {
    let start = sim.now();
    assert!(
        sim.run_until(limit_ms, condition),
        "{what}: not within {limit_ms} ms, {sim:?}"
    );
    sim.now().since(start)
}

/// Waits until everything due is delivered and gives how long it took.
pub(crate) fn wait_delivered(sim: &mut Sim, limit_ms: u64) -> Micros {
    let start = sim.now();
    let limit = start + Micros::from_millis(limit_ms);
    loop {
        let delivery = check::delivery(sim.journal());
        assert!(delivery.expected > 0, "nothing was due to anyone, {sim:?}");
        if delivery.findings.is_clean() {
            return sim.now().since(start);
        }
        assert!(
            sim.now() < limit,
            "after {limit_ms} ms, {sim:?}: {}",
            delivery.findings
        );
        sim.run_for(50);
    }
}

/// Everything due is delivered within `limit_ms`, and nothing twice, out of order or lost, also
/// when some more time has passed; and every peer is sound.
pub(crate) fn assert_all_delivered(sim: &mut Sim, limit_ms: u64) {
    wait_delivered(sim, limit_ms);
    sim.run_for(3_000);
    assert_clean(sim);
}

/// Nothing due is missing now, nothing came twice, out of order or was lost; peers are sound.
pub(crate) fn assert_clean(sim: &mut Sim) {
    let delivery = check::delivery(sim.journal()).findings;
    assert!(delivery.is_clean(), "delivery, {sim:?}: {delivery}");
    let duplicates = check::duplicates(sim.journal());
    assert!(duplicates.is_clean(), "duplicates, {sim:?}: {duplicates}");
    let order = check::order(sim.journal(), &[]);
    assert!(order.is_clean(), "order, {sim:?}: {order}");
    let gaps = check::gaps(sim.journal());
    assert!(gaps.is_clean(), "gaps, {sim:?}: {gaps}");
    assert_sound(sim);
}

/// Memory is bounded, no link leaks, and all peers come to see each other.
pub(crate) fn assert_sound(sim: &mut Sim) {
    wait_view(sim, 30_000);
    for snapshot in sim.snapshots(&sim.alive()) {
        let bounds = check::bounds(&snapshot);
        assert!(bounds.is_clean(), "bounds, {sim:?}: {bounds}");
    }
    let leaks = |sim: &Sim| {
        let alive = sim.alive();
        check::links(&sim.snapshots(&alive), &sim.wires(&alive), &BTreeSet::new())
    };
    let clean = sim.run_until(30_000, |sim| leaks(sim).is_clean());
    assert!(clean, "links, {sim:?}: {}", leaks(sim));
}

/// All of `nodes` got `id` exactly once.
pub(crate) fn assert_once(sim: &Sim, id: MessageId, nodes: impl IntoIterator<Item = usize>) {
    for node in nodes {
        assert_eq!(
            sim.times_delivered(node, id),
            1,
            "node {node}, {id}, {sim:?}"
        );
    }
}

/// Waits until all of `nodes` got `id`.
pub(crate) fn wait_for(sim: &mut Sim, id: MessageId, nodes: &[usize], limit_ms: u64) -> Micros {
    wait(sim, limit_ms, &format!("{id} at {nodes:?}"), |sim| {
        nodes.iter().all(|&node| sim.times_delivered(node, id) > 0)
    })
}

/// Messages of [`GROUP`] that a node's application got, as text, in order.
pub(crate) fn texts(sim: &Sim, node: usize) -> Vec<String> {
    sim.deliveries(node)
        .map(|(_, message)| String::from_utf8_lossy(&message.payload).into_owned())
        .collect()
}

pub(crate) fn with_redundancy(redundancy: u8) -> JoinOptions {
    JoinOptions {
        settings: redundancy_patch(redundancy),
        history: History::None,
    }
}

pub(crate) fn redundancy_patch(redundancy: u8) -> SettingsPatch {
    SettingsPatch {
        redundancy: Some(redundancy),
        ..SettingsPatch::default()
    }
}

pub(crate) fn with_history(history: History) -> JoinOptions {
    JoinOptions {
        history,
        ..JoinOptions::default()
    }
}
