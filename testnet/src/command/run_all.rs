//! `hedgerow-testnet run-all`: every scenario once, with the seed that its file names.

use super::children::{End, Job, run_all as run_children};
use super::{print, run, sweep_all, wrong};
use crate::terminal::counted;
use hedgerow_testnet::scenario::Scenario;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Run them at the gate's size
    #[arg(long, required = true)]
    ci: bool,
    /// Runs at once
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,
    /// Only these scenarios
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    only: Vec<String>,
    /// Where each leaves its results and page, in a directory of its name
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Run these again on two threads afterwards: they must be the same runs
    #[arg(long, value_name = "NAME,..", value_delimiter = ',', requires = "out")]
    replay: Vec<String>,
}

pub(crate) fn run_all(arguments: &Arguments) -> ExitCode {
    let mut scenarios = match sweep_all::scenarios(&arguments.only) {
        Ok(scenarios) => scenarios,
        Err(error) => return wrong(&error),
    };
    // The longest first, so that none is left alone at the end.
    scenarios.sort_by_key(|(_, scenario)| std::cmp::Reverse(node_seconds(scenario)));
    let jobs: Vec<Job> = scenarios.iter().map(|one| job(arguments, one)).collect();
    let bar = run::bar();
    bar.set_length(jobs.len() as u64);
    let began = Instant::now();
    let (mut failed, mut notes) = (Vec::new(), Vec::new());
    run_children(&jobs, usize::from(arguments.jobs), None, |ran| {
        let job = &jobs[ran.job];
        let text = match &ran.end {
            End::Judged(results) => run::summary(results),
            End::Unavailable(why) => format!("{}: not here: {why}\n", job.scenario),
            End::Broken(why) => format!("{}: FAILED ({why})\n", job.scenario),
        };
        let took = ran.took.as_secs_f64();
        bar.suspend(|| print(&format!("{text}({took:.1} s)\n\n")));
        if ran.end.is_slow() {
            notes.push(format!("{} took {took:.0} s: a slow machine", job.scenario));
        }
        if let Some(why) = ran.end.failure() {
            bar.suspend(|| eprintln!("FAILED {why}: {}", job.replay()));
            failed.push(format!("FAILED {why}: {}", job.replay()));
        }
        bar.inc(1);
    });
    bar.finish_and_clear();
    failed.extend(
        arguments
            .replay
            .iter()
            .filter_map(|name| differs(arguments, name)),
    );
    let took = began.elapsed().as_secs_f64();
    let scenarios = counted(jobs.len(), "scenario");
    let mut text = format!("{scenarios}, {} failed, {took:.0} s\n", failed.len());
    for line in notes.iter().chain(&failed) {
        text.push_str(line);
        text.push('\n');
    }
    let printed = print(&text);
    if failed.is_empty() {
        printed
    } else {
        ExitCode::FAILURE
    }
}

/// About how long a scenario takes: seconds that its nodes live, all together.
fn node_seconds(scenario: &Scenario) -> u64 {
    let run = &scenario.file.scenario;
    let ms = run.warmup.0 + run.duration.0 + run.quiet.0;
    scenario.nodes() as u64 * (ms.as_millis() / 1_000)
}

fn job(arguments: &Arguments, (name, scenario): &(String, Scenario)) -> Job {
    let mut options = vec!["--ci".to_owned()];
    if let Some(out) = &arguments.out {
        options.push("--out".to_owned());
        options.push(out.join(name).display().to_string());
    }
    Job {
        scenario: name.clone(),
        backend: scenario.file.scenario.backend.as_str(),
        seed: scenario.file.scenario.seed,
        options,
    }
}

/// Runs again on two threads what has left its results; says what is wrong if that is another run.
fn differs(arguments: &Arguments, name: &str) -> Option<String> {
    let dir = arguments.out.as_ref()?.join(name);
    let program = std::env::current_exe().ok()?;
    let replay = Command::new(program)
        .arg("replay")
        .arg(&dir)
        .args(["--threads", "2", "--json"])
        .output();
    let same = replay.as_ref().is_ok_and(|output| output.status.success());
    let line = format!("hedgerow-testnet replay {} --threads 2", dir.display());
    (!same).then(|| format!("FAILED (two threads, another run): {line}"))
}
