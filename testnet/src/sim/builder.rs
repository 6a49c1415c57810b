//! How a simulation is set up.

use super::access::Bandwidth;
use super::latency::Latency;
use super::random::Random;
use super::start::StartGraph;
use super::swarm::Sim;
use super::world::{Costs, NetworkModel, World};
use hedgerow_protocol::{Config, Micros};

/// Sets up a [`Sim`]. Whatever is not said has a default that looks like the Internet: 5 to 80 ms
/// one way, unlimited lines, no loss.
#[derive(Clone, Debug)]
pub struct SimBuilder {
    seed: u64,
    nodes: usize,
    idle_from: usize,
    start: StartGraph,
    start_within_ms: u64,
    bandwidth: Bandwidth,
    clock_skew_ms: u64,
    network: NetworkModel,
    costs: Costs,
    config: Config,
}

impl SimBuilder {
    pub(crate) fn new() -> Self {
        Self {
            seed: 0,
            nodes: 0,
            idle_from: usize::MAX,
            start: StartGraph::Random { contacts: 2 },
            start_within_ms: 0,
            bandwidth: Bandwidth::UNLIMITED,
            clock_skew_ms: 0,
            network: NetworkModel::default(),
            costs: Costs::default(),
            config: Config::default(),
        }
    }

    /// Decides everything random.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How many nodes.
    pub fn nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes;
        self
    }

    /// Nodes from this number on are not started; see [`Sim::start_node`].
    pub fn idle_from(mut self, node: usize) -> Self {
        self.idle_from = node;
        self
    }

    /// Whom peers know when they start.
    pub fn start_graph(mut self, start: StartGraph) -> Self {
        self.start = start;
        self
    }

    /// Peers start at random times within so long; all at once by default.
    pub fn start_within_ms(mut self, ms: u64) -> Self {
        self.start_within_ms = ms;
        self
    }

    /// How far apart nodes are.
    pub fn latency(mut self, latency: Latency) -> Self {
        self.network.latency = latency;
        self
    }

    /// Adds up to so much to every delay.
    pub fn jitter_ms(mut self, ms: u64) -> Self {
        self.network.jitter = Micros::from_millis(ms);
        self
    }

    /// The same, in microseconds.
    pub fn jitter_us(mut self, us: u64) -> Self {
        self.network.jitter = Micros(us);
        self
    }

    /// So many of a million packets get lost.
    pub fn loss_ppm(mut self, ppm: u32) -> Self {
        self.network.loss_ppm = ppm;
        self
    }

    /// Every node's access line; [`World::set_bandwidth`] changes single ones.
    pub fn bandwidth(mut self, bandwidth: Bandwidth) -> Self {
        self.bandwidth = bandwidth;
        self
    }

    /// Wall clocks are off by up to so much either way.
    pub fn clock_skew_ms(mut self, ms: u64) -> Self {
        self.clock_skew_ms = ms;
        self
    }

    /// What a node's own work takes.
    pub fn costs(mut self, costs: Costs) -> Self {
        self.costs = costs;
        self
    }

    /// Changes every engine's configuration.
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// The simulation at virtual time 0, with all peers that start at once started.
    pub fn build(self) -> Sim {
        self.config.check().expect("a configuration that can work");
        let mut random = Random::new(self.seed, "builder");
        let contacts = self.start.contacts(self.seed, self.nodes);
        let world = World::new(self.seed, self.network, self.costs);
        let mut sim = Sim::new(world, self.config, self.nodes);
        let skew = self.clock_skew_ms;
        for contacts in contacts {
            let off_ms = random.between(0, 2 * skew) as i64 - skew as i64;
            sim.add_node(self.bandwidth, off_ms, contacts);
        }
        for node in 0..self.nodes.min(self.idle_from) {
            if self.start_within_ms == 0 {
                sim.start_node(node);
            } else {
                let at = Micros(random.below(self.start_within_ms * 1_000));
                sim.at(at, move |sim| sim.start_node(node));
            }
        }
        sim
    }
}
