//! `hedgerow-testnet run SCENARIO`.

use super::{Source, print, wrong};
use crate::terminal::{Align, table};
use hedgerow_testnet::report::page;
use hedgerow_testnet::results::Results;
use hedgerow_testnet::run::{self, Options, Outcome, Progress, RunError};
use hedgerow_testnet::scenario::{Backend, Scenario};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What was run, beside its results.
pub(super) const SCENARIO: &str = "scenario.toml";
/// Unless told, no more threads: what one event tells is short, and more would wait for each other.
const THREADS_MAX: usize = 4;
/// What real peers said, beside that.
const LOGS: &str = "logs";

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: Source,
    /// Which world: sim, process or netns
    #[arg(long, value_name = "WORLD")]
    backend: Option<String>,
    /// Decide everything random by another number
    #[arg(long)]
    seed: Option<u64>,
    /// Where results go; an earlier run there is overwritten
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Let every second peer run this `hedgerow`, in worlds with real processes: two versions together
    #[arg(long, value_name = "PROGRAM")]
    other_binary: Option<PathBuf>,
    #[command(flatten)]
    threads: Threads,
    /// Print results.json instead of the verdicts
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args, Clone, Copy, Debug)]
pub(super) struct Threads {
    /// Threads of the simulator; the results do not depend on it [default: one a processor, at most 4]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
}

impl Threads {
    /// How to run with so many, and otherwise as by default.
    pub(super) fn options(self) -> Options<'static> {
        Options {
            threads: self.count(),
            ..Options::default()
        }
    }

    fn count(self) -> usize {
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        let default = || processors().min(THREADS_MAX);
        self.threads.map_or_else(default, usize::from)
    }
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let backend = arguments
        .backend
        .iter()
        .map(|world| format!("scenario.backend={world}"));
    let seed = arguments
        .seed
        .iter()
        .map(|seed| format!("scenario.seed={seed}"));
    let more: Vec<String> = backend.chain(seed).collect();
    let scenario = match arguments.source.load(&more) {
        Ok(scenario) => scenario,
        Err(error) => return wrong(&error),
    };
    if arguments.other_binary.is_some() && scenario.file.scenario.backend == Backend::Sim {
        return wrong(&"--other-binary: the simulator runs no programs; add --backend process");
    }
    let logs = arguments.out.as_ref().map(|dir| dir.join(LOGS));
    let options = Options {
        logs: logs.as_deref(),
        other_binary: arguments.other_binary.as_deref(),
        ..arguments.threads.options()
    };
    let mut outcome = match play(&scenario, options) {
        Ok(outcome) => outcome,
        Err(error) => return super::refused(&error),
    };
    let world = arguments.backend.iter();
    let mut world: Vec<String> = world
        .flat_map(|world| ["--backend".to_owned(), world.clone()])
        .collect();
    if let Some(program) = &arguments.other_binary {
        world.extend(["--other-binary".to_owned(), program.display().to_string()]);
    }
    let seed = scenario.file.scenario.seed;
    outcome.results.replay = arguments.source.replay(seed, &world);
    if let Some(dir) = &arguments.out
        && let Err(error) = write(dir, &scenario, &outcome)
    {
        return wrong(&format!("cannot write to {}: {error}", dir.display()));
    }
    tell(&outcome.results, arguments.json)
}

/// Runs a scenario, with a bar where there is a terminal.
pub(super) fn play(scenario: &Scenario, options: Options<'_>) -> Result<Outcome, RunError> {
    let bar = bar();
    let quiet = Quiet::new();
    let outcome = run::run(scenario, options, |progress| show(&bar, progress));
    drop(quiet);
    bar.finish_and_clear();
    outcome
}

/// While it is there, panics print nothing: what they say stands in the results.
pub(super) struct Quiet(());

impl Quiet {
    pub(super) fn new() -> Self {
        std::panic::set_hook(Box::new(|_| {}));
        Self(())
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // A thread that panics cannot change what is done about it.
        if !std::thread::panicking() {
            let _ = std::panic::take_hook();
        }
    }
}

/// Writes the results, and beside them what was run, changes included.
fn write(dir: &Path, scenario: &Scenario, outcome: &Outcome) -> anyhow::Result<()> {
    let (results, ticks, picture) = (&outcome.results, &outcome.ticks, &outcome.picture);
    results.write(dir, ticks, picture)?;
    std::fs::write(dir.join(super::report::PAGE), page(results, ticks, picture))?;
    std::fs::write(dir.join(SCENARIO), toml::to_string(&scenario.file)?)?;
    Ok(())
}

/// Prints what a run gave.
pub(super) fn tell(results: &Results, json: bool) -> ExitCode {
    let text = if json {
        match serde_json::to_string_pretty(results) {
            Ok(text) => text + "\n",
            Err(error) => return wrong(&error),
        }
    } else {
        summary(results)
    };
    let printed = print(&text);
    for line in results.notes.iter().chain(&results.findings) {
        eprintln!("{line}");
    }
    if results.passed {
        return printed;
    }
    eprintln!("To run it again: {}", results.replay);
    ExitCode::FAILURE
}

pub(super) fn bar() -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(1), target);
    let style = ProgressStyle::with_template("{prefix}{wide_bar} {msg} {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn show(bar: &ProgressBar, progress: Progress) {
    if let Some((up, of)) = progress.starting {
        bar.set_length(of as u64);
        bar.set_position(up as u64);
        bar.set_message(format!("{up} of {of} peers are up"));
        return;
    }
    if progress.baseline {
        bar.set_prefix("baseline ");
    } else {
        bar.set_prefix("");
    }
    bar.set_length(progress.end.as_millis());
    bar.set_position(progress.now.as_millis());
    let (now, end) = (
        progress.now.as_millis() / 1_000,
        progress.end.as_millis() / 1_000,
    );
    bar.set_message(format!("{now} of {end} s"));
}

/// The verdicts for people.
pub(super) fn summary(results: &Results) -> String {
    let verdict = match results.failure {
        None => "passed".to_owned(),
        Some(failure) => format!("FAILED ({failure:?})")
            .to_lowercase()
            .replace("failed", "FAILED"),
    };
    let short = match results.short() {
        0 => String::new(),
        count => format!(", {count} goals SHORT"),
    };
    let (virtual_s, wall_s) = (results.virtual_s, results.wall_s);
    let took = match results.backend.as_str() {
        "sim" => format!("{virtual_s:.0} s simulated in {wall_s:.1} s"),
        world => format!("{virtual_s:.0} s in the {world} world, {wall_s:.1} s in all"),
    };
    let mut text = format!(
        "{}: {verdict}{short}; {} nodes, seed {}, {took}, {:.0} MiB\n",
        results.scenario, results.nodes, results.seed, results.peak_rss_mib,
    );
    let mut rows: Vec<Vec<String>> = results
        .asserts
        .iter()
        .map(|verdict| {
            let word = match (verdict.passed, verdict.goal) {
                (true, _) => "ok",
                (false, true) => "SHORT",
                (false, false) => "FAILED",
            };
            vec![
                word.to_owned(),
                verdict.group.clone().unwrap_or_default(),
                verdict.metric.to_string(),
                format!("{:?}", verdict.window).to_lowercase(),
                verdict.observed.map_or("nothing".to_owned(), number),
                verdict.bound(number),
                verdict.others(number),
            ]
        })
        .collect();
    let mut head = vec![
        ("", Align::Left),
        ("GROUP", Align::Left),
        ("METRIC", Align::Left),
        ("WINDOW", Align::Left),
        ("OBSERVED", Align::Right),
        ("MUST BE", Align::Left),
        ("OTHERS", Align::Left),
    ];
    if results
        .asserts
        .iter()
        .all(|verdict| verdict.reference.is_none())
    {
        head.pop();
        for row in &mut rows {
            row.pop();
        }
    }
    if !rows.is_empty() {
        text.push_str(&table(&head, &rows));
    }
    for (name, group) in &results.groups {
        let figure = |metric: &str, digits: usize| {
            let value = group.get(metric);
            value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{name}: {} published, {} of {} delivered, rmr {}, p50 {} ms, p99 {} ms, max {} ms, stretch {}, ldh {}, {} repaired",
            group.published,
            group.delivered,
            group.expected,
            figure("rmr", 3),
            figure("latency_ms.p50", 0),
            figure("latency_ms.p99", 0),
            figure("latency_ms.max", 0),
            figure("stretch_mean", 2),
            figure("ldh_mean", 1),
            group.repaired,
        );
    }
    let _ = writeln!(
        text,
        "control {:.0} B/s a node, degree {:.1} mean {} max, diameter {}",
        results.control.bytes_per_node_s,
        results.overlay.degree_mean,
        results.overlay.degree_max,
        (results.overlay.diameter_hops).map_or("-".to_owned(), |hops| hops.to_string()),
    );
    text
}

/// A number without needless digits.
pub(super) fn number(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
