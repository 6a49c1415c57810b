//! Runs a scenario in the simulated world.
//!
//! [`run`] builds a [`Sim`], lets peers warm up, publishes and injects faults by an agenda in
//! virtual time, heals, waits, and judges. Everything here is decided by the scenario and its
//! seed, so a run repeats exactly.

mod cast;
mod fault;
mod fault_nodes;
mod fault_ways;
mod figures;
mod judge;
mod liveness;
mod roles;
mod safety;
mod sample;
mod setup;
mod workload;

pub use cast::{Cast, CastGroup};

use crate::results::{Failure, Results, Tick};
use crate::scenario::{Backend, FaultKind, Scenario};
use crate::sim::Sim;
use fault::ActiveFault;
use hedgerow_protocol::Micros;
use sample::{Mark, Samples};
use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;
use workload::Publishing;

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Virtual time.
    pub now: Micros,
    /// Virtual time at the end.
    pub end: Micros,
    /// Whether this is the run without faults.
    pub baseline: bool,
}

/// What a run gives.
#[derive(Debug)]
pub struct Outcome {
    /// The figures and the verdict.
    pub results: Results,
    /// How it went, second by second.
    pub ticks: Vec<Tick>,
}

/// Why a scenario cannot be run in this world.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The world is not there.
    #[error("the {0} world cannot run scenarios yet; use --backend sim")]
    Backend(&'static str),
    /// The world cannot do something that the scenario asks for.
    #[error("the sim world cannot do this: {0}")]
    Cannot(String),
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
    /// A node starts (again).
    Start { node: usize, wiped: bool },
}

/// One occurrence of a fault.
#[derive(Clone, Copy, Debug)]
struct Occurrence {
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
    sim: Sim,
    agenda: BTreeMap<(Micros, u64), Task>,
    tasks: u64,
    /// Moment 0, the moment of healing, the end.
    zero: Micros,
    heal: Micros,
    end: Micros,
    workloads: Vec<Publishing>,
    active: BTreeMap<u64, ActiveFault>,
    begun: u64,
    history: Vec<Occurrence>,
    samples: Samples,
    /// What happened by given moments, for figures of windows.
    marks: BTreeMap<Micros, Mark>,
    random: crate::sim::Random,
}

/// Runs a scenario; if an assert needs it, without faults before.
pub fn run(scenario: &Scenario, mut progress: impl FnMut(Progress)) -> Result<Outcome, RunError> {
    match scenario.file.scenario.backend {
        Backend::Sim => {}
        Backend::Process => return Err(RunError::Backend("process")),
        Backend::Netns => return Err(RunError::Backend("netns")),
    }
    fault::can(scenario)?;
    let began = Instant::now();
    let needs_baseline = |assert: &crate::scenario::Assert| assert.relative_to.is_some();
    let mut calm = scenario.clone();
    calm.file.fault.clear();
    let baseline = if scenario.file.assert.iter().any(needs_baseline) {
        let mut run = Run::new(&calm);
        run.follow(scenario);
        match caught(|| run.play(true, &mut progress)) {
            Ok(()) => Some(run),
            Err(what) => return Ok(crashed(run, &what, began)),
        }
    } else {
        None
    };
    let mut run = Run::new(scenario);
    if let Err(what) = caught(|| run.play(false, &mut progress)) {
        return Ok(crashed(run, &what, began));
    }
    Ok(run.judge(baseline.as_ref(), began))
}

/// Turns a panic into words: a bug in a peer must not take the results away.
fn caught(play: impl FnOnce()) -> Result<(), String> {
    let said = |panic: Box<dyn Any + Send>| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_else(|| "a panic without words".to_owned())
    };
    catch_unwind(AssertUnwindSafe(play)).map_err(said)
}

fn crashed(run: Run<'_>, what: &str, began: Instant) -> Outcome {
    let at = run.sim.now();
    let mut outcome = run.judge(None, began);
    outcome.results.passed = false;
    outcome.results.failure = Some(Failure::Crash);
    outcome
        .results
        .findings
        .insert(0, format!("crash at {at}: {what}"));
    outcome
}

impl Run<'_> {
    fn task(&mut self, at: Micros, task: Task) {
        self.tasks += 1;
        self.agenda
            .insert((at.max(self.sim.now()), self.tasks), task);
    }

    /// Lets everything happen.
    fn play(&mut self, baseline: bool, progress: &mut dyn FnMut(Progress)) {
        while let Some(((at, _), task)) = self.agenda.pop_first() {
            if at > self.end {
                break;
            }
            self.sim.run_to(at);
            self.act(task);
            if matches!(task, Task::Sample) {
                let end = self.end;
                progress(Progress {
                    now: at,
                    end,
                    baseline,
                });
            }
        }
        self.sim.run_to(self.end);
        self.finish_sampling();
    }

    fn act(&mut self, task: Task) {
        match task {
            Task::Sample => self.sample(),
            Task::Mark => self.mark(),
            Task::Publish(workload) => self.publish(workload),
            Task::Begin { fault, occurrence } => self.begin_fault(fault, occurrence),
            Task::End { active } => self.end_fault(active),
            Task::Continue { active } => self.continue_fault(active),
            Task::Start { node, wiped } => self.start_node(node, wiped),
        }
    }
}
