//! A few engines on a simulated network that misbehaves: whatever happened, once it is healed
//! everything due arrives, once and in order.

use arbitrary::{Result, Unstructured};
use hedgerow_testnet::check;
use hedgerow_testnet::sim::{Latency, NodeState, Sim, StartGraph};

const GROUP: &str = "news";
const STEPS_MAX: usize = 40;

/// Runs the operations in `data`, then heals the network and judges it.
pub fn network(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let Ok((nodes, seed)) = input
        .int_in_range(2..=4)
        .and_then(|n| Ok((n, input.arbitrary::<u8>()?)))
    else {
        return;
    };
    let mut sim = Sim::builder()
        .nodes(nodes)
        .seed(u64::from(seed))
        .latency(Latency::uniform_ms(1, 40))
        .start_graph(StartGraph::Chain)
        .build();
    for _ in 0..STEPS_MAX {
        if input.is_empty() || step(&mut sim, &mut input).is_err() {
            break;
        }
    }
    judge(&mut sim);
}

fn step(sim: &mut Sim, input: &mut Unstructured<'_>) -> Result<()> {
    let node = input.choose_index(sim.len())?;
    let runs = sim.state(node) == NodeState::Running;
    let what = input.int_in_range(0..=9)?;
    tell(|| {
        let names = [
            "wait",
            "wait",
            "publish",
            "publish",
            "join",
            "leave",
            "reset a link",
            "pause/resume",
            "partition after",
            "heal",
        ];
        format!("{} node {node} (runs: {runs}): {}", sim.now(), names[what])
    });
    match what {
        0 | 1 => sim.run_for(input.int_in_range(0..=3_000)?),
        2 | 3 if runs => {
            let bytes = if input.ratio(1, 8)? {
                100_000
            } else {
                input.int_in_range(0..=300)?
            };
            let options = hedgerow_protocol::PublishOptions::default();
            // Busy is an answer.
            let _ = sim.try_publish(node, GROUP, vec![bytes as u8; bytes].into(), options);
        }
        4 if runs && !is_member(sim, node) => sim.join(node, GROUP),
        5 if runs && is_member(sim, node) => sim.leave(node, GROUP),
        6 if runs => {
            let links = sim.engine(node).links();
            if !links.is_empty() {
                let link = links[input.choose_index(links.len())?].link;
                sim.reset_link(node, link);
            }
        }
        7 => match sim.state(node) {
            NodeState::Running => sim.pause(node),
            NodeState::Paused => sim.resume(node),
            _ => {}
        },
        8 => {
            let (here, there) = (0..sim.len()).partition(|&other| other <= node);
            sim.partition(&[here, there]);
        }
        9 => sim.heal(),
        _ => {}
    }
    Ok(())
}

/// With `HEDGEROW_FUZZ_STORY` set, says what is being done: to read a crash.
fn tell(what: impl FnOnce() -> String) {
    if std::env::var_os("HEDGEROW_FUZZ_STORY").is_some() {
        eprintln!("{}", what());
    }
}

/// What was published, and what engines told.
fn story(sim: &Sim) -> String {
    let mut lines = Vec::new();
    for message in &sim.journal().messages {
        if let Some(published) = message.published {
            lines.push(format!(
                "{} node {} published {}",
                published.at, published.node, message.id
            ));
        }
    }
    for (node, entries) in sim.journal().nodes.iter().enumerate() {
        for (at, event) in &entries.events {
            lines.push(format!("{at} node {node} told {event:?}"));
        }
        for receipt in &entries.receipts {
            let id = sim.journal().message(receipt).id;
            lines.push(format!(
                "{} node {node} got {id} {:?}",
                receipt.at, receipt.arrival
            ));
        }
    }
    for node in sim.alive() {
        let engine = sim.engine(node);
        for group in engine.groups() {
            lines.push(format!("node {node} has {group:?}"));
        }
        for link in engine.links() {
            lines.push(format!("node {node} is linked: {link:?}"));
        }
        lines.push(format!("node {node} counted {:?}", engine.counters()));
    }
    lines.join("\n")
}

fn is_member(sim: &Sim, node: usize) -> bool {
    use hedgerow_testnet::journal::Change;
    let changes = &sim.journal().nodes[node].changes;
    let last = changes.iter().rev().find_map(|(_, change)| match change {
        Change::Join(_) => Some(true),
        Change::Leave(_) => Some(false),
        _ => None,
    });
    last == Some(true)
}

fn judge(sim: &mut Sim) {
    sim.heal();
    for node in 0..sim.len() {
        sim.resume(node);
    }
    let calm = sim.run_until(60_000, |sim| {
        check::views(&sim.snapshots(&sim.alive())).is_clean()
            && check::delivery(sim.journal()).findings.is_clean()
    });
    tell(|| story(sim));
    let delivery = check::delivery(sim.journal()).findings;
    assert!(delivery.is_clean(), "{delivery}");
    assert!(
        calm,
        "views: {}",
        check::views(&sim.snapshots(&sim.alive()))
    );
    for findings in [
        check::duplicates(sim.journal()),
        check::order(sim.journal(), &[]),
        check::gaps(sim.journal()),
    ] {
        assert!(findings.is_clean(), "{findings}");
    }
    for snapshot in sim.snapshots(&sim.alive()) {
        let bounds = check::bounds(&snapshot);
        assert!(bounds.is_clean(), "{bounds}");
    }
}
