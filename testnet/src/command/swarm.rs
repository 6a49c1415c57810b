//! `hedgerow-testnet swarm`: scenarios drawn from seeds, one from each.

use super::run::{self, Quiet};
use super::sweep::{Seeds, smallest, why};
use super::{print, shown, wrong};
use crate::terminal::{Align, counted, table};
use anyhow::Context as _;
use hedgerow_testnet::results::{Failure, Results};
use hedgerow_testnet::run::{Options, RunError, run as play};
use hedgerow_testnet::scenario::{Behaviour, Overrides, Scenario};
use hedgerow_testnet::swarm;
use indicatif::ProgressBar;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Failing scenarios that are made smaller; the others are written as they were drawn.
const SHRUNK_MAX: usize = 3;

const EXAMPLES: &str = "\
Each seed is one scenario: a network, groups, workloads, faults and hostile peers. Safety is judged \
all the time, liveness after the healing.

Examples:
  hedgerow-testnet swarm                          seeds 1 to 50
  hedgerow-testnet swarm --seeds 1..500 --json    for programs
  hedgerow-testnet swarm --seeds 1..500 --budget 45s --out failing
  hedgerow-testnet swarm --seed 17                one seed
  hedgerow-testnet swarm --seed 17 --print        show what it draws

Exit codes: 0 all runs were clean, 1 one failed, 2 the call is wrong.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Which seeds, both ends included
    #[arg(long, value_name = "FROM..TO", default_value = "1..50")]
    seeds: Seeds,
    /// Only this seed
    #[arg(long, value_name = "SEED", conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Begin no run after this time; what was not run fails nothing
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    budget: Option<Duration>,
    /// Change a key of every scenario that is drawn
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Runs at once
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,
    /// Where failing scenarios go
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Write failing scenarios as they were drawn
    #[arg(long)]
    no_shrink: bool,
    /// Print the scenario that the seed draws, and run nothing
    #[arg(long, requires = "seed", conflicts_with = "json")]
    print: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// One run, and where its scenario was written if it failed.
struct Ran {
    seed: u64,
    scenario: Scenario,
    results: Results,
    file: Option<PathBuf>,
}

pub(crate) fn swarm(arguments: &Arguments) -> ExitCode {
    if let (true, Some(seed)) = (arguments.print, arguments.seed) {
        return match scenario(arguments, seed) {
            Ok(scenario) => print(&written(arguments, &scenario)),
            Err(what) => wrong(&what),
        };
    }
    let Seeds { from, to } = match arguments.seed {
        Some(seed) => Seeds {
            from: seed,
            to: seed,
        },
        None => arguments.seeds,
    };
    let began = Instant::now();
    let bar = run::bar();
    bar.set_length(to - from + 1);
    let quiet = Quiet::new();
    let ran = run_seeds(arguments, &(from..=to), began, &bar);
    drop(quiet);
    bar.finish_and_clear();
    let mut ran = match ran {
        Ok(ran) => ran,
        Err(Stopped::Refused(what)) => return wrong(&what),
        Err(Stopped::Run(error)) => return super::refused(&error),
        Err(Stopped::Write(error)) => return wrong(&format!("{error:#}")),
    };
    if !arguments.no_shrink
        && let Err(stopped) = shrink_first(arguments, &mut ran)
    {
        return match stopped {
            Stopped::Run(error) => super::refused(&error),
            Stopped::Write(error) => wrong(&format!("{error:#}")),
            Stopped::Refused(what) => wrong(&what),
        };
    }
    let left = to - from + 1 - ran.len() as u64;
    let text = if arguments.json {
        format!("{:#}\n", in_json(&ran, left, began))
    } else {
        summary(&ran, left, began)
    };
    let printed = print(&text);
    if ran.iter().all(|one| one.results.passed) {
        printed
    } else {
        ExitCode::FAILURE
    }
}

/// Why not all was run.
enum Stopped {
    Refused(String),
    Run(RunError),
    Write(anyhow::Error),
}

/// Runs seeds until all are done or the budget is spent, so many at a time; each thread runs one at
/// least. Gives them in their order.
fn run_seeds(
    arguments: &Arguments,
    seeds: &RangeInclusive<u64>,
    began: Instant,
    bar: &ProgressBar,
) -> Result<Vec<Ran>, Stopped> {
    let next = AtomicU64::new(*seeds.start());
    let state: Mutex<(Vec<Ran>, Option<Stopped>)> = Mutex::new((Vec::new(), None));
    let work = || {
        let mut is_first = true;
        loop {
            let spent = arguments.budget.is_some_and(|most| began.elapsed() >= most);
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if !seeds.contains(&seed) || (spent && !is_first) {
                return;
            }
            is_first = false;
            let ran = run_one(arguments, seed, bar);
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            match ran {
                Ok(ran) => state.0.push(ran),
                Err(stopped) => {
                    state.1.get_or_insert(stopped);
                }
            }
            if state.1.is_some() {
                return;
            }
            bar.inc(1);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs {
            scope.spawn(work);
        }
    });
    let (mut ran, stopped) = state.into_inner().unwrap_or_else(PoisonError::into_inner);
    ran.sort_by_key(|one| one.seed);
    stopped.map_or(Ok(ran), Err)
}

/// Runs one seed. One that fails is written down and told at once.
fn run_one(arguments: &Arguments, seed: u64, bar: &ProgressBar) -> Result<Ran, Stopped> {
    let scenario = scenario(arguments, seed).map_err(Stopped::Refused)?;
    let outcome = play(&scenario, Options::default(), |_| {}).map_err(Stopped::Run)?;
    let mut ran = Ran {
        seed,
        scenario,
        results: outcome.results,
        file: None,
    };
    if !ran.results.passed {
        let path = arguments.out.join(format!("swarm-{seed}.toml"));
        write(&path, &written(arguments, &ran.scenario)).map_err(Stopped::Write)?;
        let line = format!(
            "seed {seed} FAILED {}: {}",
            why(&ran.results),
            replay(&path)
        );
        bar.suspend(|| eprintln!("{line}"));
        ran.file = Some(path);
    }
    Ok(ran)
}

/// What a seed draws, changed as the call says.
fn scenario(arguments: &Arguments, seed: u64) -> Result<Scenario, String> {
    let overrides = Overrides {
        ci: false,
        set: arguments.set.clone(),
    };
    swarm::scenario(seed, &overrides).map_err(|error| format!("seed {seed}: {error}"))
}

/// As it was drawn, or with the changes in it.
fn written(arguments: &Arguments, scenario: &Scenario) -> String {
    if arguments.set.is_empty() {
        swarm::text(scenario.file.scenario.seed)
    } else {
        toml::to_string(&scenario.file).unwrap_or_default()
    }
}

/// Makes the first failing scenarios smaller, and writes them beside those that were drawn.
fn shrink_first(arguments: &Arguments, ran: &mut [Ran]) -> Result<(), Stopped> {
    let failed = ran.iter_mut().filter(|one| !one.results.passed);
    for one in failed.take(SHRUNK_MAX) {
        eprintln!("Making the scenario of seed {} smaller ...", one.seed);
        let small = smallest(&one.scenario, &one.results).map_err(Stopped::Run)?;
        let path = arguments.out.join(format!("swarm-{}-small.toml", one.seed));
        let text = toml::to_string(&small.file).unwrap_or_default();
        write(&path, &text).map_err(Stopped::Write)?;
        eprintln!(
            "Still fails with {}, {}, {}: {}",
            counted(small.nodes(), "node"),
            counted(small.file.fault.len(), "fault"),
            counted(small.file.workload.len(), "workload"),
            replay(&path)
        );
        one.file = Some(path);
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir)
        .and_then(|()| std::fs::write(path, text))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The command that runs a written scenario again.
fn replay(path: &Path) -> String {
    let path = shown(path);
    // Only a word with a zero byte cannot be quoted, and no argument has one.
    let path = shlex::try_quote(&path).unwrap_or_else(|_| path.as_str().into());
    format!("hedgerow-testnet run {path}")
}

/// The kinds of failures, the worst first.
const FAILURES: [(Failure, &str); 4] = [
    (Failure::Crash, "crash"),
    (Failure::Safety, "safety"),
    (Failure::Liveness, "liveness"),
    (Failure::Assert, "assert"),
];

fn failures(ran: &[Ran], failure: Failure) -> usize {
    let failed = ran
        .iter()
        .filter(|one| one.results.failure == Some(failure));
    failed.count()
}

/// Times of runs, in order, s.
fn times(ran: &[Ran]) -> Vec<f64> {
    let mut times: Vec<f64> = ran.iter().map(|one| one.results.wall_s).collect();
    times.sort_by(f64::total_cmp);
    times
}

/// What failed in a table, and a line about all.
fn summary(ran: &[Ran], left: u64, began: Instant) -> String {
    let mut text = String::new();
    let failed: Vec<&Ran> = ran.iter().filter(|one| !one.results.passed).collect();
    if !failed.is_empty() {
        let head = [
            ("SEED", Align::Right),
            ("FAILURE", Align::Left),
            ("NODES", Align::Right),
            ("FAULTS", Align::Right),
            ("REPLAY", Align::Left),
            ("FOUND", Align::Left),
        ];
        let rows: Vec<Vec<String>> = failed.iter().map(|one| row(one)).collect();
        text.push_str(&table(&head, &rows));
    }
    let clean = ran.len() - failed.len();
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "swarm: {clean} of {} clean",
        counted(ran.len(), "seed")
    );
    for (failure, name) in FAILURES {
        let count = failures(ran, failure);
        if count > 0 {
            let _ = write!(text, ", {count} {name}");
        }
    }
    if left > 0 {
        let _ = write!(text, ", {left} not run: the budget is spent");
    }
    let times = times(ran);
    let _ = writeln!(
        text,
        "; {:.0} s, a run took {:.1} s (median), {:.1} s (most)",
        began.elapsed().as_secs_f64(),
        times.get(times.len() / 2).copied().unwrap_or_default(),
        times.last().copied().unwrap_or_default(),
    );
    text
}

fn row(one: &Ran) -> Vec<String> {
    let results = &one.results;
    let name = FAILURES
        .into_iter()
        .find(|(it, _)| results.failure == Some(*it));
    vec![
        one.seed.to_string(),
        name.map_or_else(String::new, |(_, name)| name.to_owned()),
        results.nodes.to_string(),
        one.scenario.file.fault.len().to_string(),
        one.file.as_deref().map(replay).unwrap_or_default(),
        why(results),
    ]
}

fn in_json(ran: &[Ran], left: u64, began: Instant) -> Value {
    let runs = ran.iter().map(|one| {
        let file = &one.scenario.file;
        let faults = file.fault.iter().map(|fault| fault.kind.as_str());
        let hostile = file.nodes.iter().map(|class| class.behaviour);
        let hostile = hostile.filter(|kind| *kind != Behaviour::Honest);
        json!({
            "seed": one.seed,
            "passed": one.results.passed,
            "failure": one.results.failure,
            "found": if one.results.passed { None } else { Some(why(&one.results)) },
            "nodes": one.results.nodes,
            "faults": faults.collect::<Vec<_>>(),
            "hostile": hostile.collect::<Vec<_>>(),
            "trace_hash": one.results.trace_hash,
            "virtual_s": one.results.virtual_s,
            "wall_s": one.results.wall_s,
            "replay": one.file.as_deref().map(replay),
        })
    });
    let failures: serde_json::Map<String, Value> = FAILURES
        .into_iter()
        .map(|(failure, name)| (name.to_owned(), failures(ran, failure).into()))
        .collect();
    json!({
        "passed": ran.iter().all(|one| one.results.passed),
        "seeds": ran.len(),
        "not_run": left,
        "failures": failures,
        "wall_s": began.elapsed().as_secs_f64(),
        "runs": runs.collect::<Vec<_>>(),
    })
}
