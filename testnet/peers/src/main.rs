//! Hedgerow beside what its users have now: the same cases, the same machine, the same minutes.

mod cases;
mod cell;
mod peer;
mod peers;
mod report;
mod runner;
mod seen;
mod stand;
mod usage;

use anyhow::{Context, Result};
use cases::{Case, Metric};
use cell::Program;
use clap::{Parser, Subcommand};
use report::{Runs, name};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

#[derive(Parser)]
#[command(about = "Measures Hedgerow beside other programs", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Holds all goals against what is measured side by side; exit code 1 if one is missed.
    Compare(Measure),
    /// Two peers, and a chain of five.
    Throughput(Measure),
    /// Twenty peers at a fixed rate.
    Latency(Measure),
    /// Twenty and a hundred peers, one origin and ten.
    Fanout(Measure),
    /// 5 MiB to twenty peers.
    Large(Measure),
    /// Idle peers.
    Memory(Measure),
    /// One measurement in this process, for the other commands.
    #[command(hide = true)]
    Cell {
        /// What to do, JSON.
        spec: String,
    },
}

#[derive(clap::Args)]
struct Measure {
    /// Runs of each program, of which the median counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Only these cases.
    #[arg(long)]
    case: Vec<String>,
    /// Only these programs.
    #[arg(long)]
    program: Vec<Program>,
    /// Seconds measured in each run, instead of the case's own.
    #[arg(long)]
    seconds: Option<f64>,
    /// Writes the table of goals here, and `-` to standard output.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Cell { spec } => serde_json::from_str(&spec)
            .context("what to measure")
            .and_then(|spec| cell::run(&spec).map(|()| true)),
        Command::Compare(measure) => run("compare", &measure),
        Command::Throughput(measure) => run("throughput", &measure),
        Command::Latency(measure) => run("latency", &measure),
        Command::Fanout(measure) => run("fanout", &measure),
        Command::Large(measure) => run("large", &measure),
        Command::Memory(measure) => run("memory", &measure),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

/// Measures the cases of a command and prints them. Whether all goals among them are reached.
fn run(command: &str, measure: &Measure) -> Result<bool> {
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
                let mut spec = case.spec(program);
                spec.seconds = measure.seconds.unwrap_or(spec.seconds);
                let begin = Instant::now();
                let outcome = runner::run(&spec).or_else(|error| {
                    // Ours must not fail; without the others there would be no ratio.
                    if program == Program::Hedgerow {
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
    if !compare {
        for case in &cases {
            let programs = programs(case);
            report::print_case(&runs, case.name, &programs, &Metric::shown(case));
        }
    }
    let rows: Vec<_> = cases::rows()
        .into_iter()
        .filter(|row| cases.iter().any(|case| case.name == row.case))
        .collect();
    let report = report::report(&runs, &rows);
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

fn brief(case: &Case, spec: &cell::Spec, outcome: &Result<cell::Outcome>) -> String {
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
