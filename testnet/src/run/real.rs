//! Worlds of real `hedgerow` processes: on loopback, or each in a network namespace.
//!
//! [`Real`] owns one `hedgerow run` a node and talks to it through its API alone. A runtime of one
//! thread carries all talk; what comes in is news in a queue, booked into the journal whenever the
//! agenda lets time pass. Peers die with the value, with the thread that made it, and so with the
//! program, however that ends.

mod clock;
#[cfg(target_os = "linux")]
mod hosts;
mod ingest;
mod life;
mod node;
mod place;
mod poll;
mod scratch;
mod sockets;
mod warm;
mod world;

use super::world::World;
use super::{Cast, Options, RunError, setup};
use crate::journal::{Change, Journal};
use crate::process::{Peer, Place, ProcessError, find_binary};
use crate::scenario::{Backend, Scenario};
use crate::sim::Latency;
use crate::switch::Switch;
use clock::Clock;
use hedgerow_protocol::{LinkId, Micros, PeerKey};
use ingest::News;
use node::Node;
use place::Places;
use scratch::Scratch;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, mpsc};

/// Real peers.
pub(super) struct Real {
    runtime: Rc<Runtime>,
    backend: Backend,
    seed: u64,
    /// What even and odd nodes run.
    binaries: [PathBuf; 2],
    network: String,
    latency: Latency,
    places: Places,
    nodes: Vec<Node>,
    // Looked up, never iterated.
    by_key: HashMap<PeerKey, usize>,
    journal: Journal,
    clock: Clock,
    sender: mpsc::UnboundedSender<News>,
    news: mpsc::UnboundedReceiver<News>,
    signals: ingest::Signals,
    /// Publications that no answer has named yet, by the number in their payload.
    posts: HashMap<u64, ingest::Post>,
    /// Nodes whose peers have refused a message for good, which is told once.
    refusing: BTreeSet<usize>,
    /// So many peers start at once.
    starting: Arc<Semaphore>,
    /// So many are asked at once.
    asking: Arc<Semaphore>,
    /// Answers that a look at all peers still waits for, and looks so far.
    looking: usize,
    last_tick: Instant,
    ticks: u64,
    peak_rss_mib: f64,
    interrupted: bool,
    /// Whether the scenario wants peers to begin as after a long life.
    is_to_settle: bool,
    notes: Vec<String>,
    troubles: Vec<String>,
    logs: PathBuf,
    /// Last, so that it goes when nobody uses it any more.
    _dir: Scratch,
}

/// Worlds made so far in this process.
static RUNS: AtomicU64 = AtomicU64::new(0);

/// The world of a scenario that runs real processes.
pub(super) fn world(
    scenario: &Scenario,
    cast: &Cast,
    options: Options<'_>,
) -> Result<Box<dyn World>, RunError> {
    let backend = scenario.file.scenario.backend;
    let missing = |why: String| RunError::Missing {
        world: backend.as_str(),
        why,
    };
    let broken = |error: std::io::Error| missing(error.to_string());
    let binary = find_binary("hedgerow").map_err(|error| missing(error.to_string()))?;
    let other = (options.other_binary).map_or_else(|| binary.clone(), Path::to_owned);
    // Before there are threads: an unprivileged user's namespaces need a process of one.
    let places = Places::new(scenario, cast).map_err(missing)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(broken)?;
    let dir = Scratch::new().map_err(broken)?;
    let seed = scenario.file.scenario.seed;
    let nodes = node::all(scenario, cast, dir.path(), &places);
    let by_key = nodes.iter().enumerate();
    let by_key = by_key.map(|(node, at)| (at.key, node)).collect();
    let mut journal = Journal::default();
    for _ in &nodes {
        journal.add_node();
    }
    let logs = options.logs;
    let (sender, news) = mpsc::unbounded_channel();
    let signals = runtime.block_on(async { ingest::Signals::new() });
    Ok(Box::new(Real {
        runtime: Rc::new(runtime),
        backend,
        seed,
        binaries: [binary, other],
        // Runs beside each other on one machine shall not meet.
        network: format!(
            "testnet-{}-{}",
            std::process::id(),
            RUNS.fetch_add(1, Relaxed)
        ),
        latency: setup::latency(scenario),
        places,
        nodes,
        by_key,
        journal,
        clock: Clock::new(),
        sender,
        news,
        signals: signals.map_err(broken)?,
        posts: HashMap::new(),
        refusing: BTreeSet::new(),
        starting: Arc::new(Semaphore::new(life::STARTING_MAX)),
        asking: Arc::new(Semaphore::new(poll::ASKING_MAX)),
        looking: 0,
        last_tick: Instant::now(),
        ticks: 0,
        peak_rss_mib: 0.0,
        interrupted: false,
        is_to_settle: false,
        notes: Vec::new(),
        troubles: Vec::new(),
        logs: logs.map_or_else(|| dir.path().join("logs"), Path::to_owned),
        _dir: dir,
    }))
}

impl Real {
    /// The way to run peers of a node.
    fn place(&self, node: usize) -> Arc<dyn Place> {
        self.places.of(node)
    }

    /// Nothing stands between nodes on loopback, and there are no hosts.
    #[cfg(not(target_os = "linux"))]
    #[expect(clippy::unused_self, reason = "as where there is a switch")]
    fn with_switch<R>(&self, _act: impl FnOnce(&mut Switch, Micros) -> R) -> Option<R> {
        None
    }

    /// Looks at what stands between the nodes, or changes it; nothing where that is not ours.
    #[cfg(target_os = "linux")]
    fn with_switch<R>(&self, act: impl FnOnce(&mut Switch, Micros) -> R) -> Option<R> {
        let hosts = self.places.hosts()?;
        Some(hosts.with_switch(act))
    }

    /// Cuts a node's host off, or lets it back in.
    fn silence(&self, node: usize, silent: bool) {
        self.with_switch(|switch, _| switch.silence(node, silent));
    }

    /// The node at the other end of a link.
    fn other_end(&self, node: usize, link: LinkId) -> Option<usize> {
        let links = self.links(node).into_iter();
        let (_, peer) = links.into_iter().find(|(known, _)| *known == link)?;
        self.node_of(peer)
    }

    fn trouble(&mut self, what: String) {
        self.troubles.push(what);
    }

    fn change(&mut self, node: usize, change: Change) {
        self.journal.change(self.clock.real(), node, change);
    }

    fn signal(&mut self, node: usize, signal: impl Fn(&Peer) -> Result<(), ProcessError>) {
        let Some(peer) = &self.nodes[node].peer else {
            return;
        };
        if let Err(error) = signal(peer) {
            self.trouble(format!("node {node}: {error}"));
        }
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        self.kill_all();
    }
}
