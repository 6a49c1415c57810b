//! From a scenario to a simulation that is about to begin.

use super::liveness::Looks;
use super::sample::Samples;
use super::workload::Publishing;
use super::world::World;
use super::{Cast, CastGroup, Occurrence, Options, Run, RunError, Task};
use crate::hostile;
use crate::scenario::{Backend, Behaviour, FaultKind, Latency as LatencyKind, Scenario, Start};
use crate::sim::{Bandwidth, Latency, NodeState, Random, Sim, StartGraph};
use hedgerow_protocol::{BROADCAST, Micros};
use std::collections::BTreeMap;

/// How often everything is looked at.
pub(super) const SAMPLE_EVERY: Micros = Micros::from_millis(1_000);
/// A node that is to start and has not left yet is looked at again after so long.
const LEAVING_RETRY: Micros = Micros::from_millis(100);

impl<'a> Run<'a> {
    pub(super) fn new(scenario: &'a Scenario, options: Options<'_>) -> Result<Self, RunError> {
        let file = &scenario.file;
        let cast = Cast::new(scenario);
        let zero = file.scenario.warmup.0;
        let heal = zero + file.scenario.duration.0;
        let end = heal + file.scenario.quiet.0;
        let mut run = Self {
            world: world(scenario, &cast, options)?,
            workloads: Publishing::all(scenario, &cast, zero, heal),
            scenario,
            cast,
            agenda: BTreeMap::new(),
            tasks: 0,
            zero,
            heal,
            end,
            active: BTreeMap::new(),
            lines: BTreeMap::new(),
            begun: 0,
            history: Vec::new(),
            parts: None,
            links_broken: 0,
            samples: Samples::default(),
            looks: Looks::default(),
            moments: Vec::new(),
            marks: BTreeMap::new(),
            random: Random::new(file.scenario.seed, "scenario"),
        };
        run.plan();
        Ok(run)
    }

    fn plan(&mut self) {
        let spread = self.scenario.file.topology.start_within.0.0;
        if self.scenario.file.scenario.warm_start {
            self.task(Micros(0), Task::WarmStart);
        }
        for node in 0..self.cast.len() {
            if self.cast.started[node] && !self.begins_warm(node) {
                let at = if spread == 0 {
                    0
                } else {
                    self.random.below(spread)
                };
                self.task(Micros(at), Task::Start { node, wiped: false });
            }
        }
        self.plan_pictures();
        for (index, fault) in self.scenario.file.fault.iter().enumerate() {
            let begin = Task::Begin {
                fault: index,
                occurrence: 0,
            };
            self.task(self.zero + fault.at.0, begin);
        }
        for index in 0..self.workloads.len() {
            let at = self.workloads[index].next_at;
            self.task(at, Task::Publish(index));
        }
        let mut at = Micros(0);
        while at < self.end {
            self.task(at, Task::Sample);
            at = at + SAMPLE_EVERY;
        }
        self.task(self.zero, Task::Sample);
        self.task(self.end, Task::Sample);
        self.plan_looks();
        self.task(
            self.heal,
            Task::End {
                active: super::fault::ALL,
            },
        );
        for at in [self.zero, self.heal] {
            self.task(at, Task::Sample);
        }
    }

    /// Takes over when another scenario's faults would have begun and ended, so that windows of
    /// a run without faults are those of the run with them.
    pub(super) fn follow(&mut self, other: &Scenario) {
        for (index, fault) in other.file.fault.iter().enumerate() {
            let until = fault.until.map_or(self.heal, |until| self.zero + until.0);
            let mut from = self.zero + fault.at.0;
            loop {
                let length = match fault.kind {
                    // At random moments within that time: here until its end.
                    FaultKind::Start => Some(fault.within.unwrap_or_default().0),
                    _ => fault.length(),
                };
                let to = length.map_or(self.heal, |length| (from + length).min(self.heal));
                self.history.push(Occurrence {
                    fault: index,
                    kind: fault.kind,
                    from,
                    to,
                    passes: length.is_some(),
                    hit: 0,
                });
                self.task(from, Task::Mark);
                self.task(to, Task::Mark);
                let Some(every) = fault.every else { break };
                from = from + every.0;
                if from > until || from >= self.heal {
                    break;
                }
            }
        }
    }

    /// Starts all nodes that begin warm, in one instant.
    pub(super) fn warm_start(&mut self) {
        let nodes: Vec<usize> = (0..self.cast.len())
            .filter(|&node| self.begins_warm(node))
            .collect();
        for &node in &nodes {
            self.world.start_alone(node);
            self.join_groups(node);
        }
        self.world.warm_up(&nodes);
    }

    /// Honest ones do; others come to what these have made.
    fn begins_warm(&self, node: usize) -> bool {
        self.scenario.file.scenario.warm_start
            && self.cast.started[node]
            && self.cast.behaviours[node] == Behaviour::Honest
    }

    /// Starts a node, unless it runs, and lets its application join its groups. One that is still
    /// leaving is started when it has left, be that after the healing.
    pub(super) fn start_node(&mut self, node: usize, wiped: bool) {
        if self.world.is_leaving(node) {
            let again = self.world.now() + LEAVING_RETRY;
            self.task(again, Task::Start { node, wiped });
            return;
        }
        if matches!(
            self.world.state(node),
            NodeState::Running | NodeState::Paused
        ) {
            return;
        }
        self.world.start(node, wiped);
        self.join_groups(node);
    }

    fn join_groups(&mut self, node: usize) {
        for at in 0..self.cast.groups.len() {
            let group = &self.cast.groups[at];
            if group.members.binary_search(&node).is_ok() && self.is_heard(group) {
                self.join(node, at);
            }
        }
    }

    /// Every peer carries broadcast, but only who has joined it is handed anything: that is for
    /// scenarios that name it or publish in it.
    fn is_heard(&self, group: &CastGroup) -> bool {
        let file = &self.scenario.file;
        let named = file.group.iter().map(|group| &group.name);
        let used = file.workload.iter().map(|workload| &workload.group);
        !group.name.is_broadcast() || named.chain(used).any(|name| name == BROADCAST)
    }

    /// Joins; what settings a group has by now wins over the scenario's.
    pub(super) fn join(&mut self, node: usize, group: usize) {
        let group = &self.cast.groups[group];
        let name = group.name.as_str().to_owned();
        let mut options = group.options;
        if self.world.join(node, &name, options).is_err() {
            options.settings = hedgerow_protocol::SettingsPatch::default();
            // A refusal for another reason shows in the end: see `check::unjoined`.
            let _ = self.world.join(node, &name, options);
        }
    }
}

fn world(
    scenario: &Scenario,
    cast: &Cast,
    options: Options<'_>,
) -> Result<Box<dyn World>, RunError> {
    match scenario.file.scenario.backend {
        Backend::Sim => {
            let mut sim = simulated(scenario, cast);
            sim.set_threads(options.threads);
            Ok(Box::new(sim))
        }
        #[cfg(feature = "process")]
        Backend::Process | Backend::Netns => super::real::world(scenario, cast, options),
        #[cfg(not(feature = "process"))]
        Backend::Process | Backend::Netns => Err(RunError::Missing {
            world: scenario.file.scenario.backend.as_str(),
            why: "built without the `process` feature".to_owned(),
        }),
    }
}

/// Whom nodes know when they start.
pub(super) fn start_graph(scenario: &Scenario) -> StartGraph {
    match scenario.file.topology.start {
        Start::Random(contacts) => StartGraph::Random { contacts },
        Start::Hub => StartGraph::Hub,
        Start::Chain => StartGraph::Chain,
        Start::Ring => StartGraph::Ring,
        Start::None => StartGraph::None,
    }
}

fn simulated(scenario: &Scenario, cast: &Cast) -> Sim {
    let file = &scenario.file;
    let topology = &file.topology;
    let mut sim = Sim::builder()
        .seed(file.scenario.seed)
        .nodes(cast.len())
        .idle_from(0)
        .start_graph(start_graph(scenario))
        .latency(latency(scenario))
        .jitter_us(topology.jitter.0.0)
        .loss_ppm(topology.loss.ppm())
        .clock_skew_ms(topology.clock_skew.0.as_millis())
        .build();
    #[cfg(feature = "planted")]
    {
        let active = |config: &hedgerow_protocol::Config| {
            config.planted == hedgerow_protocol::Planted::ForgottenGroup
        };
        sim.forgets_left_groups = scenario.configs.iter().any(active);
    }
    // As many as are needed: see `ability::check`.
    let mut victims = cast.victims().into_iter();
    let publishers = cast.all_publishers().filter(|&node| cast.honest()[node]);
    let mut abused: Vec<usize> = publishers.collect();
    abused.dedup();
    let mut abused = abused.into_iter().cycle();
    let is_crowd = |behaviour: &Behaviour| *behaviour == Behaviour::OneAddress;
    let crowd = cast.behaviours.iter().position(is_crowd);
    for node in 0..cast.len() {
        let behaviour = cast.behaviours[node];
        match behaviour {
            Behaviour::Honest => {}
            Behaviour::CopiedKey => {
                if let Some(victim) = victims.next() {
                    sim.copy_identity(node, victim);
                }
            }
            Behaviour::EpochAbuse => {
                if let Some(victim) = abused.next() {
                    let victim = sim.keypair(victim);
                    sim.set_mask(node, move |_, _| hostile::epoch_abuse(victim.clone()));
                }
            }
            _ => sim.set_mask(node, move |keypair, seed| {
                hostile::mask(behaviour, keypair, seed).expect("it does not behave")
            }),
        }
        if let Some(first) = crowd.filter(|_| is_crowd(&behaviour)) {
            sim.share_address(node, first);
        }
    }
    for (index, (_, nodes)) in cast.classes.iter().enumerate() {
        let line = file.nodes[index].bandwidth.unwrap_or(topology.bandwidth);
        let bandwidth = bandwidth(line);
        for node in nodes.clone() {
            #[allow(unused_mut, reason = "only builds with `wire-next` change it")]
            let mut config = scenario.configs[index].clone();
            // One version among peers of another is what is to be seen.
            #[cfg(feature = "wire-next")]
            {
                config.wire_next &= node % 2 == 1;
            }
            sim.set_config(node, config);
            sim.set_bandwidth(node, bandwidth);
        }
    }
    sim
}

/// An access line.
pub(super) fn bandwidth(line: crate::scenario::Bandwidth) -> Bandwidth {
    Bandwidth {
        up: line.up_mbit.map(bytes_per_s),
        down: line.down_mbit.map(bytes_per_s),
    }
}

/// A line's speed.
pub(super) fn bytes_per_s(mbit: f64) -> u64 {
    ((mbit * 125_000.0) as u64).max(1)
}

/// How far apart nodes are.
pub(super) fn latency(scenario: &Scenario) -> Latency {
    let LatencyKind {
        constant,
        uniform,
        hop_count,
        ..
    } = scenario.file.topology.latency;
    if let Some(matrix) = &scenario.matrix {
        return Latency::Matrix(matrix.clone());
    }
    match (constant, uniform, hop_count) {
        (Some(delay), ..) => Latency::Constant(delay.0),
        (_, Some([min, max]), _) => Latency::Uniform {
            min: min.0,
            max: max.0,
        },
        (_, _, Some(true)) => Latency::hop_count(),
        _ => Latency::regions(),
    }
}
