//! Rounds of runs: the programs take turns, and what came of it is told.

use crate::cases::{self, Case};
use crate::goals;
use crate::metric::Metric;
use crate::report::{self, Runs, name};
use crate::spec::{Outcome, Program, Runtime, Spec};
use crate::{peers, runner};
use anyhow::{Context, Result};
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
    /// What the tasks of all programs run on, ours and others' alike.
    #[arg(long, value_enum, default_value_t)]
    pub runtime: Runtime,
    /// Writes the table of goals here, and `-` to standard output.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// Measures the cases of a command and prints them. Whether all goals among them are reached.
pub fn run(command: &str, measure: &Measure) -> Result<bool> {
    let compare = command == "compare";
    let cases: Vec<Case> = cases::cases()
        .into_iter()
        .filter(|case| {
            if compare {
                !case.programs.is_empty()
            } else {
                case.commands.contains(&command)
            }
        })
        .filter(|case| measure.case.is_empty() || measure.case.iter().any(|name| name == case.name))
        .collect();
    anyhow::ensure!(!cases.is_empty(), "there is no such case");
    anyhow::ensure!(
        !compare || measure.runs >= COMPARE_RUNS_MIN,
        "compare makes {COMPARE_RUNS_MIN} runs at least (--runs): a median of fewer is none; the \
         other commands make trial runs"
    );
    let started = Instant::now();
    let mut runs = Runs::new();
    let total = usize::from(measure.runs);
    let nats = peers::nats::is_installed();
    if !nats {
        eprintln!("nats-server is not installed: NATS is left out");
    }
    let programs = |case: &Case| {
        let mut programs = programs(case, compare, measure);
        programs.retain(|&program| nats || program != Program::Nats);
        programs
    };
    for case in &cases {
        let mut programs = programs(case);
        for round in 0..total {
            // Nobody is always first.
            if round > 0 {
                programs.rotate_left(1);
            }
            for &program in &programs {
                let mut spec = case.spec(program, measure.runtime);
                spec.seconds = measure.seconds.unwrap_or(spec.seconds);
                let begin = Instant::now();
                let outcome = runner::run(&spec).or_else(|error| {
                    // Ours must not fail; without the others there would be no ratio. A second
                    // one that hung would take too long.
                    if program == Program::Hedgerow || error.is::<runner::Hung>() {
                        return Err(error);
                    }
                    eprintln!("{} {}: {error:#}; once more", case.name, name(program));
                    runner::run(&spec)
                });
                eprintln!(
                    "{} {} {}/{total} ({:.0} s): {}",
                    case.name,
                    name(program),
                    round + 1,
                    begin.elapsed().as_secs_f64(),
                    brief(case, &spec, &outcome)
                );
                runs.entry((case.name, name(program)))
                    .or_default()
                    .push((spec, outcome.ok()));
            }
        }
    }
    println!("runtime of all programs: {}", measure.runtime);
    if !compare {
        for case in &cases {
            let programs = programs(case);
            report::print_case(&runs, case.name, &programs, &Metric::shown(case));
        }
    }
    let rows: Vec<_> = goals::rows()
        .into_iter()
        .filter(|row| cases.iter().any(|case| case.name == row.case))
        .collect();
    let report = report::report(&runs, &rows, measure.runtime);
    eprintln!(
        "measured in {:.1} min",
        started.elapsed().as_secs_f64() / 60.0
    );
    if let Some(path) = &measure.json {
        let json = serde_json::to_string_pretty(&report)?;
        if path.as_os_str() == "-" {
            println!("{json}");
            return Ok(report.passed);
        }
        std::fs::write(path, json).with_context(|| path.display().to_string())?;
    }
    println!();
    report::print(&report);
    Ok(report.passed || !compare)
}

fn programs(case: &Case, compare: bool, measure: &Measure) -> Vec<Program> {
    let mut programs = case.programs.to_vec();
    if !compare {
        programs.extend(
            case.others
                .iter()
                .filter(|other| !case.programs.contains(other)),
        );
    }
    programs.retain(|program| measure.program.is_empty() || measure.program.contains(program));
    programs
}

fn brief(case: &Case, spec: &Spec, outcome: &Result<Outcome>) -> String {
    match outcome {
        Err(error) => format!("failed: {error:#}"),
        Ok(outcome) => {
            let figures = Metric::shown(case).into_iter().filter_map(|metric| {
                let value = metric.of(spec, outcome)?;
                Some(format!("{} {}", report::number(Some(value)), metric.unit()))
            });
            figures.collect::<Vec<_>>().join(", ")
        }
    }
}
