//! Many runs of one scenario, and the smallest scenario that still fails.

use crate::results::{Failure, Results};
use crate::run::{Options, RunError, run};
use crate::scenario::{Assert, Backend, File, Overrides, Scenario, Size, Span};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Runs scenarios, so many at a time; gives the results in their order. `done` is called after
/// each. When somebody wants it to end, and after `until`, no more are begun; those give nothing.
///
/// One at a time they run on the caller's thread: where users may make namespaces, only a process
/// of one thread may.
pub fn run_all(
    scenarios: &[Scenario],
    jobs: usize,
    until: Option<Instant>,
    done: impl Fn() + Sync,
) -> Vec<Option<Result<Results, RunError>>> {
    let queue: Mutex<VecDeque<usize>> = Mutex::new((0..scenarios.len()).collect());
    let none: Vec<_> = scenarios.iter().map(|_| None).collect();
    let results = Mutex::new(none);
    let work = || {
        while until.is_none_or(|until| Instant::now() < until) {
            let next = queue
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front();
            let Some(index) = next else { return };
            let result =
                run(&scenarios[index], Options::default(), |_| {}).map(|outcome| outcome.results);
            if matches!(result, Err(RunError::Interrupted)) {
                queue.lock().unwrap_or_else(PoisonError::into_inner).clear();
            }
            let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
            results[index] = Some(result);
            drop(results);
            done();
        }
    };
    match jobs.min(scenarios.len()) {
        0 | 1 => work(),
        jobs => std::thread::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn(work);
            }
        }),
    }
    results.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Whether runs of it must not be beside others of this process: an assert is about what the
/// simulator itself takes, time or memory.
pub fn runs_alone(scenario: &Scenario) -> bool {
    let simulated = scenario.file.scenario.backend == Backend::Sim;
    let of_the_simulator = |assert: &Assert| assert.metric.is_of_the_simulator();
    simulated && scenario.file.assert.iter().any(of_the_simulator)
}

/// The smallest scenario found that fails as these results of `scenario` do, in at most `runs`
/// runs: with fewer faults, nodes and messages, and less time for them. Nothing if they passed.
///
/// # Errors
///
/// [`RunError::Interrupted`] when somebody wants it to end. Others only show that a candidate does
/// not fail in that way.
pub fn shrink(
    scenario: &Scenario,
    results: &Results,
    runs: usize,
) -> Result<Option<Scenario>, RunError> {
    let Some(wanted) = Failing::of(results) else {
        return Ok(None);
    };
    let fails = |scenario: &Scenario| match run(scenario, Options::default(), |_| {}) {
        Ok(outcome) => Ok(wanted.is_seen_in(&outcome.results)),
        Err(RunError::Interrupted) => Err(RunError::Interrupted),
        Err(_) => Ok(false),
    };
    shrink_while(scenario, runs, fails).map(Some)
}

/// How a run fails: a smaller one that fails in another way shows something else.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Failing {
    failure: Failure,
    /// The asserts that do not hold, in the order of the file, and whether there was anything to
    /// measure.
    asserts: Vec<(usize, bool)>,
}

impl Failing {
    fn of(results: &Results) -> Option<Self> {
        let failed = results.asserts.iter().enumerate();
        let failed = failed.filter(|(_, verdict)| !verdict.passed && !verdict.goal);
        Some(Self {
            failure: results.failure?,
            asserts: failed
                .map(|(at, verdict)| (at, verdict.observed.is_some()))
                .collect(),
        })
    }

    /// Whether a run of the scenario made smaller fails in this way, in one point at least.
    fn is_seen_in(&self, results: &Results) -> bool {
        Self::of(results).is_some_and(|other| {
            let shared = other.asserts.iter().any(|one| self.asserts.contains(one));
            other.failure == self.failure && (self.failure != Failure::Assert || shared)
        })
    }
}

fn shrink_while(
    scenario: &Scenario,
    mut runs: usize,
    fails: impl Fn(&Scenario) -> Result<bool, RunError>,
) -> Result<Scenario, RunError> {
    let mut best = scenario.clone();
    'smaller: loop {
        for candidate in smaller(&best.file) {
            // Some make no sense any more, such as targets without nodes.
            let Some(candidate) = reread(&candidate) else {
                continue;
            };
            if runs == 0 {
                return Ok(best);
            }
            runs -= 1;
            if fails(&candidate)? {
                best = candidate;
                continue 'smaller;
            }
        }
        return Ok(best);
    }
}

fn reread(file: &File) -> Option<Scenario> {
    let text = toml::to_string(file).ok()?;
    Scenario::parse(&text, Path::new("shrunk.toml"), &Overrides::default()).ok()
}

/// Everything one step smaller, the largest steps first.
fn smaller(file: &File) -> Vec<File> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut File)| {
        let mut candidate = file.clone();
        change(&mut candidate);
        if candidate != *file {
            all.push(candidate);
        }
    };
    for at in 0..file.nodes.len() {
        with(&|file| {
            let count = &mut file.nodes[at].count;
            *count = count.div_ceil(2).max(2).min(*count);
        });
    }
    for at in 0..file.fault.len() {
        with(&|file| {
            file.fault.remove(at);
        });
    }
    for at in 0..file.workload.len() {
        if file.workload.len() > 1 {
            with(&|file| {
                file.workload.remove(at);
            });
        }
        with(&|file| {
            let workload = &mut file.workload[at];
            workload.rate = workload.rate.map(|rate| (rate / 2.0).max(1.0).min(rate));
            workload.burst = workload.burst.map(|burst| burst.div_ceil(2));
            workload.total = workload.total.map(|total| total.div_ceil(2));
        });
        with(&|file| {
            let size = &mut file.workload[at].size;
            *size = Size((size.0 / 2).max(8));
        });
    }
    let halved = |span: Span| match span.0.as_millis() {
        0..=1_000 => span,
        ms => Span::millis(ms / 2),
    };
    // Not the warm-up: a network that has not come together yet fails for that alone.
    with(&|file| {
        let before = file.scenario.duration;
        let after = halved(before);
        file.scenario.duration = after;
        // A fault that would not begin any more comes as long before the end as it did.
        for fault in file.fault.iter_mut().filter(|fault| fault.at >= after) {
            fault.at = Span(fault.at.0.since(before.0.since(after.0)));
        }
    });
    for at in 0..file.group.len() {
        with(&|file| {
            file.group[at].copies = file.group[at].copies.map(|copies| copies.div_ceil(2));
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[scenario]\nduration = \"8s\"\n[[nodes]]\nid = \"a\"\ncount = 64\n\
        [[workload]]\nrate = 16\n\
        [[fault]]\nkind = \"crash\"\ntarget = \"a[3]\"\n\
        [[fault]]\nkind = \"pause\"\ntarget = \"a[1]\"\nfor = \"1s\"\n";

    fn scenario() -> Scenario {
        Scenario::parse(TEXT, Path::new("t.toml"), &Overrides::default()).expect("valid")
    }

    #[test]
    fn what_is_not_needed_to_fail_is_taken_away() {
        let needs = |scenario: &Scenario| {
            let crash = crate::scenario::FaultKind::Crash;
            let crashes = scenario.file.fault.iter().any(|fault| fault.kind == crash);
            Ok(scenario.nodes() >= 10 && crashes)
        };
        let small = shrink_while(&scenario(), 1_000, needs).expect("not interrupted");
        assert_eq!(small.nodes(), 16, "8 would not fail any more");
        assert_eq!(small.file.fault.len(), 1);
        assert_eq!(small.file.workload[0].rate, Some(1.0));
        assert!(small.file.scenario.duration < Span::seconds(2));
    }

    #[test]
    fn a_fault_that_is_needed_begins_however_short_the_run_becomes() {
        let text = TEXT.replace("target = \"a[3]\"", "target = \"a[3]\"\nat = \"7s\"");
        let overrides = Overrides::default();
        let late = Scenario::parse(&text, Path::new("t.toml"), &overrides).expect("valid");
        let crash = crate::scenario::FaultKind::Crash;
        let needs = |scenario: &Scenario| {
            let mut faults = scenario.file.fault.iter();
            let duration = scenario.file.scenario.duration;
            Ok(faults.any(|fault| fault.kind == crash && fault.at < duration))
        };
        let small = shrink_while(&late, 1_000, needs).expect("not interrupted");
        assert_eq!(small.file.scenario.duration, Span::seconds(1));
        assert_eq!(small.file.fault[0].at, Span::millis(0));
    }

    #[test]
    fn shrinking_ends_with_its_budget() {
        let nodes = |runs| shrink_while(&scenario(), runs, |_| Ok(true)).map(|it| it.nodes());
        assert_eq!(nodes(0), Ok(64));
        assert_eq!(nodes(1), Ok(32));
    }

    #[test]
    fn shrinking_ends_when_somebody_wants_it_to() {
        let begun = std::cell::Cell::new(0);
        let interrupted = shrink_while(&scenario(), 1_000, |_| {
            begun.set(begun.get() + 1);
            Err(RunError::Interrupted)
        });
        assert_eq!(interrupted.err(), Some(RunError::Interrupted));
        assert_eq!(begun.get(), 1, "no other was begun");
    }

    #[test]
    fn what_is_said_of_the_simulator_is_measured_alone() {
        let with = |assert: &str| {
            let text = format!("{TEXT}[[assert]]\n{assert}\nop = \"<=\"\nvalue = 1\n");
            Scenario::parse(&text, Path::new("t.toml"), &Overrides::default()).expect("valid")
        };
        assert!(runs_alone(&with("metric = \"wall_s\"")));
        assert!(runs_alone(&with("metric = \"peak_rss_mib\"")));
        assert!(!runs_alone(&with("metric = \"overlay.degree_max\"")));
    }
}
