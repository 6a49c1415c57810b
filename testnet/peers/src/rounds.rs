//! Rounds of runs: the programs take turns, and what came of it is told.

use crate::cases::{self, Case};
use crate::goals;
use crate::metric::Metric;
use crate::report::{self, Failure, Report, Runs, name};
use crate::spec::{Outcome, Program, Spec};
use crate::{peers, runner, table};
use anyhow::{Context, Result};
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

/// What is judged rests on so many rounds.
const COMPARE_RUNS_MIN: u16 = 3;

/// Which runs are made, and where the figures go.
#[derive(clap::Args)]
pub struct Measure {
    /// Runs of each program, of which the median counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub runs: u16,
    /// Only these cases.
    #[arg(long)]
    pub case: Vec<String>,
    /// Only these programs.
    #[arg(long)]
    pub program: Vec<Program>,
    /// Seconds measured in each run, instead of the case's own.
    #[arg(long)]
    pub seconds: Option<f64>,
    /// Writes all figures and the table of goals here, and `-` to standard output.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// Measures the cases of a command and prints them. Whether all goals among them are reached, or
/// the command has none.
pub fn run(command: &str, measure: &Measure) -> Result<bool> {
    let compare = command == "compare";
    anyhow::ensure!(
        !compare || measure.runs >= COMPARE_RUNS_MIN,
        "compare makes {COMPARE_RUNS_MIN} runs at least (--runs): a median of fewer is none; the \
         other commands make trial runs"
    );
    let cases = cases(command, measure);
    anyhow::ensure!(!cases.is_empty(), "there is no such case");
    let nats = peers::nats::is_installed();
    if !nats {
        eprintln!("nats-server is not installed: NATS is left out");
    }
    let programs = |case: &Case| {
        let mut programs = programs(case, compare, measure);
        programs.retain(|&program| nats || program != Program::Nats);
        programs
    };
    let started = Instant::now();
    let mut rounds = Rounds::default();
    for case in &cases {
        rounds.measure(case, programs(case), measure);
    }
    eprintln!(
        "measured in {:.1} min",
        started.elapsed().as_secs_f64() / 60.0
    );
    let rows: Vec<_> = goals::rows()
        .into_iter()
        .filter(|row| cases.iter().any(|case| case.name == row.case))
        .collect();
    let report = report::report(&rounds.runs, &rows, rounds.failed);
    // Tables are for who reads standard output, where nobody wants JSON there.
    let json_only = measure
        .json
        .as_ref()
        .is_some_and(|path| path.as_os_str() == "-");
    let out: &mut dyn Write = match json_only {
        true => &mut std::io::stderr(),
        false => &mut std::io::stdout(),
    };
    if !compare {
        for case in &cases {
            table::write_case(out, &rounds.runs, case, &programs(case))?;
        }
    }
    table::write_goals(out, &report)?;
    if let Some(path) = &measure.json {
        write_json(&report, path)?;
    }
    Ok(report.passed || !compare)
}

fn write_json(report: &Report, path: &std::path::Path) -> Result<()> {
    let json = serde_json::to_string_pretty(report)?;
    if path.as_os_str() == "-" {
        println!("{json}");
        return Ok(());
    }
    std::fs::write(path, json).with_context(|| path.display().to_string())
}

/// The cases that a command shows.
fn cases(command: &str, measure: &Measure) -> Vec<Case> {
    let is_shown = |case: &Case| match command {
        "compare" => !case.programs.is_empty(),
        _ => case.commands.contains(&command),
    };
    let is_asked =
        |case: &Case| measure.case.is_empty() || measure.case.iter().any(|it| it == case.name);
    cases::cases()
        .into_iter()
        .filter(|case| is_shown(case) && is_asked(case))
        .collect()
}

fn programs(case: &Case, compare: bool, measure: &Measure) -> Vec<Program> {
    let mut programs = case.programs.to_vec();
    if !compare {
        let others = case.others.iter();
        programs.extend(others.filter(|other| !case.programs.contains(other)));
    }
    programs.retain(|program| measure.program.is_empty() || measure.program.contains(program));
    programs
}

/// What came of the runs up to now.
#[derive(Default)]
struct Rounds {
    runs: Runs,
    failed: Vec<Failure>,
}

impl Rounds {
    /// Makes all rounds of a case.
    fn measure(&mut self, case: &Case, mut programs: Vec<Program>, measure: &Measure) {
        let total = usize::from(measure.runs);
        for round in 1..=total {
            for &program in &programs {
                let mut spec = case.spec(program);
                spec.seconds = measure.seconds.unwrap_or(spec.seconds);
                let begin = Instant::now();
                let outcome = self.run(case, &spec, round);
                eprintln!(
                    "{} {} {round}/{total} ({:.0} s): {}",
                    case.name,
                    name(program),
                    begin.elapsed().as_secs_f64(),
                    brief(case, &spec, outcome.as_ref())
                );
                self.runs
                    .entry((case.name, name(program)))
                    .or_default()
                    .push((spec, outcome));
            }
            // Nobody is always first.
            let first = 1.min(programs.len());
            programs.rotate_left(first);
        }
    }

    /// Makes a run. Ours must not fail; others may once, because there would be no ratio. A second
    /// one that hung would take too long.
    fn run(&mut self, case: &Case, spec: &Spec, round: usize) -> Option<Outcome> {
        for is_last in [false, true] {
            let error = match runner::run(spec) {
                Ok(outcome) => return Some(outcome),
                Err(error) => error,
            };
            let repeated =
                !is_last && spec.program != Program::Hedgerow && !error.is::<runner::Hung>();
            let failure = Failure {
                case: case.name,
                program: name(spec.program),
                round,
                error: format!("{error:#}"),
                repeated,
            };
            eprintln!("{} {}: {}", failure.case, failure.program, failure.error);
            self.failed.push(failure);
            if !repeated {
                return None;
            }
        }
        None
    }
}

fn brief(case: &Case, spec: &Spec, outcome: Option<&Outcome>) -> String {
    let Some(outcome) = outcome else {
        return "failed".to_owned();
    };
    let figures = Metric::shown(case).into_iter().filter_map(|metric| {
        let value = metric.of(spec, outcome)?;
        Some(format!("{} {}", table::number(Some(value)), metric.unit()))
    });
    figures.collect::<Vec<_>>().join(", ")
}
