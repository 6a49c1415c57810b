//! `hedgerow-testnet swarm`: scenarios that are drawn from seeds.

use super::run::Quiet;
use super::sweep::{Seeds, smallest, why};
use super::{print, run, wrong};
use crate::terminal::counted;
use hedgerow_testnet::results::{Failure, Results};
use hedgerow_testnet::scenario::{Overrides, Scenario, ScenarioError};
use hedgerow_testnet::swarm::draw;
use hedgerow_testnet::sweep::run_all;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Which seeds, both ends included
    #[arg(long, value_name = "FROM..TO", default_value = "1..100")]
    seeds: Seeds,
    /// Begin no more runs after so long, such as 45s
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    budget: Option<Duration>,
    /// Change a key of every draw
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Runs at once
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,
    /// Where scenarios that fail go, and the smallest that fails as the first of them does
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Write failing scenarios as they were drawn only
    #[arg(long)]
    no_shrink: bool,
    /// Print JSON instead of lines
    #[arg(long)]
    json: bool,
}

pub(crate) fn swarm(arguments: &Arguments) -> ExitCode {
    let drawn = arguments
        .seeds
        .all()
        .map(|seed| scenario(seed, &arguments.set));
    let scenarios = match drawn.collect::<Result<Vec<Scenario>, _>>() {
        Ok(scenarios) => scenarios,
        Err(error) => return wrong(&error),
    };
    let bar = run::bar();
    bar.set_length(scenarios.len() as u64);
    let began = Instant::now();
    let until = arguments.budget.map(|budget| began + budget);
    let quiet = Quiet::new();
    let ran = run_all(&scenarios, usize::from(arguments.jobs), until, || {
        bar.inc(1)
    });
    drop(quiet);
    bar.finish_and_clear();
    let took = began.elapsed();
    let mut runs = Vec::new();
    for (scenario, result) in scenarios.iter().zip(ran) {
        match result {
            None => {}
            Some(Ok(results)) => runs.push((scenario, results)),
            Some(Err(error)) => return super::refused(&error),
        }
    }
    let failed: Vec<_> = runs.iter().filter(|(_, results)| !results.passed).collect();
    let text = if arguments.json {
        let failed = failed.iter().map(|(_, results)| {
            let (seed, failure) = (results.seed, results.failure);
            serde_json::json!({
                "seed": seed,
                "failure": failure,
                "why": why(results),
                "replay": replay(arguments, seed),
            })
        });
        let value = serde_json::json!({
            "runs": runs.len(),
            "of": scenarios.len(),
            "wall_s": took.as_secs_f64(),
            "failed": failed.collect::<Vec<_>>(),
        });
        format!("{value}\n")
    } else {
        let mut text = String::new();
        for (_, results) in &failed {
            let line = replay(arguments, results.seed);
            text.push_str(&format!("FAILED {}: {line}\n", why(results)));
        }
        let (ended, of) = (counted(runs.len(), "draw"), scenarios.len());
        let seconds = took.as_secs_f64();
        let failed = failed.len();
        text.push_str(&format!(
            "{ended} of {of}, {failed} failed, {seconds:.0} s\n"
        ));
        text
    };
    let printed = print(&text);
    if failed.is_empty() {
        return printed;
    }
    for (at, (scenario, results)) in failed.into_iter().enumerate() {
        if let Err(error) = keep(arguments, scenario, results, at == 0) {
            return wrong(&format!("{error:#}"));
        }
    }
    ExitCode::FAILURE
}

fn scenario(seed: u64, set: &[String]) -> Result<Scenario, ScenarioError> {
    let overrides = Overrides {
        ci: false,
        set: set.to_vec(),
    };
    let path = format!("swarm-{seed}.toml");
    Scenario::parse(&draw(seed), Path::new(&path), &overrides)
}

/// The command that draws and runs it again.
fn replay(arguments: &Arguments, seed: u64) -> String {
    let mut words = ["hedgerow-testnet", "swarm", "--seeds"]
        .map(str::to_owned)
        .to_vec();
    words.push(seed.to_string());
    let sets = arguments.set.iter();
    words.extend(sets.flat_map(|set| ["--set".to_owned(), set.clone()]));
    // Only a word with a zero byte cannot be quoted, and no argument has one.
    shlex::try_join(words.iter().map(String::as_str)).unwrap_or_default()
}

/// Writes down what failed, and of the first what is left of it when it is made smaller.
fn keep(
    arguments: &Arguments,
    scenario: &Scenario,
    results: &Results,
    is_first: bool,
) -> anyhow::Result<()> {
    let write = |scenario: &Scenario, more: &str| {
        let name = format!("{}{more}.toml", scenario.file.scenario.name);
        let path = arguments.out.join(name);
        let text = toml::to_string(&scenario.file)?;
        std::fs::create_dir_all(&arguments.out)?;
        std::fs::write(&path, text)?;
        anyhow::Ok(path)
    };
    let path = write(scenario, "")?;
    eprintln!("hedgerow-testnet run {}", path.display());
    if !is_first || arguments.no_shrink {
        return Ok(());
    }
    let what = match results.failure {
        Some(Failure::Crash) => "crash",
        Some(Failure::Safety) => "breach of safety",
        Some(Failure::Liveness) => "missing liveness",
        _ => "assert",
    };
    eprintln!("Making the first {what} smaller ...");
    match smallest(scenario, results) {
        Ok(small) => {
            let path = write(&small, "-small")?;
            let (nodes, faults) = (small.nodes(), small.file.fault.len());
            eprintln!(
                "Still fails with {nodes} nodes, {faults} faults: hedgerow-testnet run {}",
                path.display()
            );
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
