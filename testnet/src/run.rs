//! Runs a scenario in the world it asks for.
//!
//! [`run`] builds a `World`, lets peers warm up, publishes and injects faults by an agenda in
//! its time, heals, waits, and judges. Everything here is decided by the scenario and its seed, so
//! a run repeats exactly, as far as the world does. [`Ability`] says which world can do what.

mod ability;
mod breaches;
mod cast;
mod crash;
mod fault;
mod fault_nodes;
mod fault_ways;
mod figures;
mod hostile;
mod judge;
mod liveness;
mod memory;
mod picture;
#[cfg(feature = "process")]
mod real;
mod roles;
mod safety;
mod sample;
mod sessions;
mod setup;
mod simulated;
mod workload;
mod world;

pub use ability::{Ability, check, worlds_in_markdown};
pub use cast::{Cast, CastGroup};

use crate::results::{Moment, Picture, Results, Tick, When};
use crate::scenario::{FaultKind, Scenario};
use crate::sim::Bandwidth;
use fault::ActiveFault;
use hedgerow_protocol::Micros;
use liveness::Looks;
use sample::{Mark, Samples};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;
use workload::Publishing;
use world::World;

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Virtual time.
    pub now: Micros,
    /// Virtual time at the end.
    pub end: Micros,
    /// Whether this is the run without faults.
    pub baseline: bool,
    /// How many peers of how many are up, while the run waits for them to begin.
    pub starting: Option<(usize, usize)>,
}

/// What a run gives.
#[derive(Debug)]
pub struct Outcome {
    /// The figures and the verdict.
    pub results: Results,
    /// How it went, second by second.
    pub ticks: Vec<Tick>,
    /// What it looked like.
    pub picture: Picture,
}

/// Why a scenario cannot be run in this world.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The world cannot do something that the scenario asks for.
    #[error("the {world} world cannot do this: {what}")]
    Cannot {
        /// Which world.
        world: &'static str,
        /// What it cannot do.
        what: String,
    },
    /// The world cannot be set up on this machine.
    #[error("no {world} world here: {why}")]
    Missing {
        /// Which world.
        world: &'static str,
        /// What is missing.
        why: String,
    },
    /// Somebody wanted the run to end.
    #[error("interrupted")]
    Interrupted,
}

/// What is due in a run.
#[derive(Clone, Copy, Debug)]
enum Task {
    /// Look at everything.
    Sample,
    /// A workload's next messages.
    Publish(usize),
    /// A fault's n-th occurrence begins.
    Begin { fault: usize, occurrence: u64 },
    /// One that lasts ends.
    End { active: u64 },
    /// One that lasts goes on: churn, flapping links.
    Continue { active: u64 },
    /// Note what everybody has counted.
    Mark,
    /// Look at the overlay.
    Picture(When),
    /// Look whether views are one and links known to both ends.
    Settled,
    /// Everybody goes on as after a long life.
    WarmStart,
    /// A node starts (again).
    Start { node: usize, wiped: bool },
}

/// One occurrence of a fault.
#[derive(Clone, Copy, Debug)]
struct Occurrence {
    /// Which of the scenario's.
    fault: usize,
    kind: FaultKind,
    from: Micros,
    to: Micros,
    /// Whether it ends before everything is healed.
    passes: bool,
    /// Nodes, pairs or links that it hit.
    hit: usize,
}

/// A run under way.
pub(crate) struct Run<'a> {
    scenario: &'a Scenario,
    cast: Cast,
    world: Box<dyn World>,
    agenda: BTreeMap<(Micros, u64), Task>,
    tasks: u64,
    /// Moment 0, the moment of healing, the end.
    zero: Micros,
    heal: Micros,
    end: Micros,
    workloads: Vec<Publishing>,
    active: BTreeMap<u64, ActiveFault>,
    /// Lines as they were before any fault, by node.
    lines: BTreeMap<usize, Bandwidth>,
    begun: u64,
    history: Vec<Occurrence>,
    /// By node: which part of the network it was in right after the last crash, where there was one.
    parts: Option<Vec<usize>>,
    /// Links that were up when a fault of links ended them.
    links_broken: usize,
    samples: Samples,
    looks: Looks,
    moments: Vec<Moment>,
    /// What happened by given moments, for figures of windows.
    marks: BTreeMap<Micros, Mark>,
    random: crate::sim::Random,
}

/// How a scenario is run; what comes of it in the simulator does not depend on it.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// Where peers' logs are left, if they write any.
    pub logs: Option<&'a Path>,
    /// The program that every second peer runs, in worlds with real processes; all others run the
    /// `hedgerow` that is found.
    pub other_binary: Option<&'a Path>,
    /// Threads that call simulated peers, 1 or more.
    pub threads: usize,
}

impl Default for Options<'_> {
    /// No logs, one thread.
    fn default() -> Self {
        Self {
            logs: None,
            other_binary: None,
            threads: 1,
        }
    }
}

/// Runs a scenario; if an assert needs it, without faults before. A panic, wherever it comes from, is
/// a crash in the results.
pub fn run(
    scenario: &Scenario,
    options: Options<'_>,
    mut progress: impl FnMut(Progress),
) -> Result<Outcome, RunError> {
    crash::guarded(scenario, || run_and_judge(scenario, options, &mut progress))
}

fn run_and_judge(
    scenario: &Scenario,
    options: Options<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Outcome, RunError> {
    ability::check(scenario)?;
    let needs_baseline = |assert: &crate::scenario::Assert| assert.relative_to.is_some();
    let mut calm = scenario.clone();
    calm.file.fault.clear();
    let baseline = if scenario.file.assert.iter().any(needs_baseline) {
        let unlogged = Options {
            logs: None,
            ..options
        };
        let began = Instant::now();
        let mut run = Run::new(&calm, unlogged)?;
        run.follow(scenario);
        if let Err(what) = crash::caught(|| run.play(true, progress)) {
            return Ok(crash::judged(run, &what, began));
        }
        if run.world.interrupted() {
            return Err(RunError::Interrupted);
        }
        run.world.end();
        Some(run)
    } else {
        None
    };
    // What the run takes is that of this one alone.
    let began = Instant::now();
    memory::forget_peak();
    let mut run = Run::new(scenario, options)?;
    if let Err(what) = crash::caught(|| run.play(false, progress)) {
        return Ok(crash::judged(run, &what, began));
    }
    if run.world.interrupted() {
        return Err(RunError::Interrupted);
    }
    Ok(run.judge(baseline.as_ref(), began))
}

impl Run<'_> {
    fn task(&mut self, at: Micros, task: Task) {
        self.tasks += 1;
        self.agenda
            .insert((at.max(self.world.now()), self.tasks), task);
    }

    /// Lets everything happen.
    fn play(&mut self, baseline: bool, progress: &mut dyn FnMut(Progress)) {
        let mut up = false;
        while let Some(((at, _), task)) = self.agenda.pop_first() {
            if at > self.end {
                break;
            }
            let is_start = matches!(task, Task::Sample | Task::Start { .. } | Task::WarmStart);
            if (at > Micros(0) || !is_start) && !std::mem::replace(&mut up, true) {
                let end = self.end;
                self.world.all_up(&mut |is, of| {
                    progress(Progress {
                        now: Micros(0),
                        end,
                        baseline,
                        starting: Some((is, of)),
                    });
                });
            }
            self.world.run_to(at);
            if self.world.interrupted() {
                return;
            }
            self.act(task);
            if matches!(task, Task::Sample) {
                let end = self.end;
                progress(Progress {
                    now: at,
                    end,
                    baseline,
                    starting: None,
                });
            }
        }
        self.world.run_to(self.end);
        self.finish_publishing();
        self.finish_sampling();
        self.look_whether_settled();
        self.look(When::After);
    }

    fn act(&mut self, task: Task) {
        match task {
            Task::Sample => self.sample(),
            Task::Mark => self.mark(),
            Task::Picture(when) => self.look(when),
            Task::Publish(workload) => self.publish(workload),
            Task::Begin { fault, occurrence } => self.begin_fault(fault, occurrence),
            Task::End { active } => self.end_fault(active),
            Task::Continue { active } => self.continue_fault(active),
            Task::Settled => self.look_whether_settled(),
            Task::WarmStart => self.warm_start(),
            Task::Start { node, wiped } => self.start_node(node, wiped),
        }
    }
}
