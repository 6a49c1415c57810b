//! Worlds of real `hedgerow` processes: on loopback, or each in a network namespace.
//!
//! [`Real`] owns one `hedgerow run` a node and talks to it through its API alone. A runtime of one
//! thread carries all talk; what comes in is news in a queue, booked into the journal whenever the
//! agenda lets time pass. Peers die with the value, with the thread that made it, and so with the
//! program, however that ends.

mod clock;
#[cfg(target_os = "linux")]
mod hosts;
mod life;
mod look;
mod news;
mod node;
mod place;
mod sockets;

use super::world::World;
use super::{Cast, RunError, setup};
use crate::check::{Snapshot, Wire};
use crate::journal::{Change, Journal};
use crate::process::{Place, ProcessError, find_binary};
use crate::scenario::{Backend, Scenario};
use crate::sim::{Bandwidth, Latency, NodeState, Tally, Traffic, Way};
use crate::switch::{Switch, Which};
use bytes::Bytes;
use clock::Clock;
use hedgerow_protocol::status::OverlayStatus;
use hedgerow_protocol::{
    BROADCAST, GroupName, JoinError, JoinOptions, LinkId, Micros, PeerKey, PublishError,
};
use news::News;
use node::{Node, State};
use place::Places;
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, mpsc};

/// Publications of one peer that it has not taken yet; with more, its publisher is told to wait.
const POSTS_MAX: usize = 64;

/// Real peers.
pub(super) struct Real {
    runtime: Rc<Runtime>,
    backend: Backend,
    seed: u64,
    binary: PathBuf,
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
    signals: news::Signals,
    /// Publications that no answer has named yet, by the number in their payload.
    posts: HashMap<u64, news::Post>,
    /// So many peers start at once.
    starting: Arc<Semaphore>,
    /// So many are asked at once.
    asking: Arc<Semaphore>,
    /// Answers that a look at all peers still waits for, and looks so far.
    looking: usize,
    last_tick: Instant,
    ticks: u64,
    peak_rss_mib: f64,
    hears_broadcast: bool,
    interrupted: bool,
    troubles: Vec<String>,
    /// Last, so that it goes when nobody uses it any more.
    dir: TempDir,
}

/// The world of a scenario that runs real processes.
pub(super) fn world(scenario: &Scenario, cast: &Cast) -> Result<Box<dyn World>, RunError> {
    let backend = scenario.file.scenario.backend;
    let missing = |why: String| RunError::Missing {
        world: backend.as_str(),
        why,
    };
    let broken = |error: std::io::Error| missing(error.to_string());
    let binary = find_binary("hedgerow").map_err(|error| missing(error.to_string()))?;
    // Before there are threads: an unprivileged user's namespaces need a process of one.
    let places = Places::new(scenario, cast).map_err(missing)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(broken)?;
    let dir = tempfile::Builder::new()
        .prefix("hedgerow-testnet-")
        .tempdir()
        .map_err(broken)?;
    let seed = scenario.file.scenario.seed;
    let nodes = node::all(scenario, cast, dir.path(), &places);
    let by_key = nodes.iter().enumerate();
    let by_key = by_key.map(|(node, at)| (at.key, node)).collect();
    let mut journal = Journal::default();
    for _ in &nodes {
        journal.add_node();
    }
    let (sender, news) = mpsc::unbounded_channel();
    let signals = runtime.block_on(async { news::Signals::new() });
    let workloads = &scenario.file.workload;
    Ok(Box::new(Real {
        runtime: Rc::new(runtime),
        backend,
        seed,
        binary,
        // Runs beside each other on one machine shall not meet.
        network: format!("testnet-{}", std::process::id()),
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
        starting: Arc::new(Semaphore::new(life::STARTING_MAX)),
        asking: Arc::new(Semaphore::new(look::ASKING_MAX)),
        looking: 0,
        last_tick: Instant::now(),
        ticks: 0,
        peak_rss_mib: 0.0,
        hears_broadcast: workloads.iter().any(|one| one.group == BROADCAST),
        interrupted: false,
        troubles: Vec::new(),
        dir,
    }))
}

impl Real {
    /// The way to run peers of a node.
    fn place(&self, node: usize) -> Arc<dyn Place> {
        self.places.of(node)
    }

    /// Looks at what stands between the nodes, or changes it; nothing where that is not ours.
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

    fn signal(
        &mut self,
        node: usize,
        signal: impl Fn(&crate::process::Peer) -> Result<(), ProcessError>,
    ) {
        let Some(peer) = &self.nodes[node].peer else {
            return;
        };
        if let Err(error) = signal(peer) {
            self.trouble(format!("node {node}: {error}"));
        }
    }
}

impl World for Real {
    fn now(&self) -> Micros {
        self.clock.now()
    }

    fn run_to(&mut self, at: Micros) {
        let runtime = Rc::clone(&self.runtime);
        let until = self.clock.instant(at);
        runtime.block_on(self.pump(Some(until), |_| false));
        self.clock.advance(at);
    }

    fn all_up(&mut self, told: &mut dyn FnMut(usize, usize)) {
        let runtime = Rc::clone(&self.runtime);
        let counted = |world: &Self| {
            let begun = world.nodes.iter().filter(|at| at.state != State::Idle);
            let up = world.nodes.iter().filter(|at| at.is_up());
            (up.count(), begun.count())
        };
        runtime.block_on(self.pump(None, |world| {
            let (up, of) = counted(world);
            told(up, of);
            up == of
        }));
        self.clock.begin();
    }

    fn end(&mut self) {
        self.kill_all();
    }

    fn refresh(&mut self) {
        let runtime = Rc::clone(&self.runtime);
        runtime.block_on(self.look_now());
    }

    fn interrupted(&self) -> bool {
        self.interrupted
    }

    fn troubles(&self) -> Vec<String> {
        self.troubles.clone()
    }

    fn len(&self) -> usize {
        self.nodes.len()
    }

    fn state(&self, node: usize) -> NodeState {
        match self.nodes[node].state {
            State::Idle => NodeState::Idle,
            State::Starting | State::Running | State::Leaving => NodeState::Running,
            State::Paused => NodeState::Paused,
            State::Down => NodeState::Down,
        }
    }

    fn key(&self, node: usize) -> PeerKey {
        self.nodes[node].key
    }

    fn node_of(&self, peer: PeerKey) -> Option<usize> {
        self.by_key.get(&peer).copied()
    }

    fn direct(&self, a: usize, b: usize) -> Option<Micros> {
        (self.backend == Backend::Netns).then(|| self.latency.delay(self.seed, a, b))
    }

    fn journal(&self) -> &Journal {
        &self.journal
    }

    fn snapshots(&self, nodes: &[usize]) -> Vec<Snapshot> {
        let known = nodes
            .iter()
            .filter_map(|&node| self.nodes[node].snapshot(node));
        known.collect()
    }

    fn wires(&self, nodes: &[usize]) -> Vec<Wire> {
        sockets::wires(&self.nodes, nodes)
    }

    fn traffic(&self, node: usize) -> Traffic {
        self.nodes[node].traffic()
    }

    fn tally(&self, node: usize) -> Tally {
        self.nodes[node].tally()
    }

    fn peak_rss_mib(&self) -> f64 {
        self.peak_rss_mib
    }

    fn links(&self, node: usize) -> Vec<(LinkId, PeerKey)> {
        let links = self.nodes[node].seen.iter().flat_map(|seen| &seen.links);
        let up = links.filter(|link| link.up);
        up.map(|link| (link.link, link.peer)).collect()
    }

    fn overlay(&self, origin: usize, group: &GroupName) -> Option<OverlayStatus> {
        self.runtime
            .block_on(look::overlay(&self.nodes[origin], group))
    }

    fn is_member(&self, node: usize, group: &GroupName) -> bool {
        self.nodes[node].streams.contains_key(group)
    }

    fn start(&mut self, node: usize, wiped: bool) {
        self.start_peer(node, wiped);
    }

    fn kill(&mut self, node: usize) {
        self.kill_peer(node, State::Idle);
    }

    fn crash(&mut self, node: usize) {
        // Nothing leaves the host any more when the system takes the process's sockets down.
        self.silence(node, true);
        self.kill_peer(node, State::Down);
    }

    fn shutdown(&mut self, node: usize) {
        if self.nodes[node].state != State::Running {
            self.kill(node);
            return;
        }
        self.change(node, Change::Shutdown);
        self.nodes[node].state = State::Leaving;
        self.signal(node, crate::process::Peer::terminate);
    }

    fn pause(&mut self, node: usize) {
        if self.nodes[node].state == State::Running {
            self.nodes[node].state = State::Paused;
            self.signal(node, crate::process::Peer::pause);
            self.change(node, Change::Paused);
        }
    }

    fn resume(&mut self, node: usize) {
        if self.nodes[node].state == State::Paused {
            self.nodes[node].state = State::Running;
            self.signal(node, crate::process::Peer::resume);
            self.change(node, Change::Resumed);
        }
    }

    fn join(&mut self, node: usize, group: &str, options: JoinOptions) -> Result<(), JoinError> {
        let group = GroupName::new(group)?;
        self.change(node, Change::Join(group.clone()));
        self.join_group(node, group, options.settings);
        Ok(())
    }

    fn leave(&mut self, node: usize, group: &str) {
        let Ok(group) = GroupName::new(group) else {
            return;
        };
        let at = &mut self.nodes[node];
        if let Some(reader) = at.streams.remove(&group) {
            reader.abort();
        }
        at.joins.remove(&group);
        at.joining.remove(&group);
        self.change(node, Change::Leave(group));
    }

    fn publish(&mut self, node: usize, group: &str, payload: Bytes) -> Result<(), PublishError> {
        let at = &self.nodes[node];
        let (State::Running, Ok(group)) = (at.state, GroupName::new(group)) else {
            return Err(PublishError::Stopped);
        };
        if at.posts >= POSTS_MAX {
            return Err(PublishError::Busy);
        }
        self.post(node, group, payload);
        Ok(())
    }

    fn partition(&mut self, sets: &[Vec<usize>]) {
        self.with_switch(|switch, _| switch.partition(sets));
    }

    fn cut_one_way(&mut self, from: &[usize], to: &[usize]) {
        self.with_switch(|switch, _| switch.cut_one_way(from, to));
    }

    fn cut_pair(&mut self, a: usize, b: usize, cut: bool) {
        self.with_switch(|switch, _| switch.cut_pair(a, b, cut));
    }

    fn slow_between(&mut self, sets: Option<(&[Vec<usize>], Micros)>) {
        self.with_switch(|switch, _| switch.slow_between(sets));
    }

    fn heal(&mut self) {
        self.with_switch(|switch, _| switch.heal());
    }

    fn way(&self, node: usize) -> Way {
        self.with_switch(|switch, _| switch.way(node))
            .unwrap_or_default()
    }

    fn set_way(&mut self, node: usize, way: Way) {
        self.with_switch(|switch, _| switch.set_way(node, way));
    }

    fn bandwidth(&self, node: usize) -> Bandwidth {
        self.with_switch(|switch, _| switch.bandwidth(node))
            .unwrap_or_default()
    }

    fn set_bandwidth(&mut self, node: usize, bandwidth: Bandwidth) {
        self.with_switch(|switch, _| switch.set_bandwidth(node, bandwidth));
    }

    fn reset_link(&mut self, node: usize, link: LinkId) {
        if let Some(other) = self.other_end(node, link) {
            self.with_switch(|switch, now| switch.reset(now, node, other, Which::Both));
        }
    }

    fn half_open(&mut self, node: usize, link: LinkId) {
        if let Some(other) = self.other_end(node, link) {
            self.with_switch(|switch, now| switch.reset(now, node, other, Which::Only(node)));
        }
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        self.kill_all();
    }
}
