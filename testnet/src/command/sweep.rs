//! `hedgerow-testnet sweep SCENARIO`: many seeds and variations of one scenario.

use super::run::Quiet;
use super::{Source, print, run, wrong};
use crate::terminal::{Align, table};
use hedgerow_testnet::results::{Failure, Results, Verdict};
use hedgerow_testnet::run::RunError;
use hedgerow_testnet::scenario::{Scenario, Window};
use hedgerow_testnet::sweep::{run_all, runs_alone, shrink};
use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

/// Runs spent on making a failing scenario smaller.
const SHRINK_RUNS: usize = 60;

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: Source,
    /// Which seeds, both ends included
    #[arg(long, value_name = "FROM..TO", default_value = "1..10")]
    seeds: Seeds,
    /// Run with each of several values of a key; several keys make all combinations
    #[arg(long, value_name = "KEY=A,B")]
    vary: Vec<String>,
    /// Runs at once
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,
    /// Where the smallest scenario that fails goes
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Show failing runs as they are
    #[arg(long)]
    no_shrink: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Seeds {
    from: u64,
    to: u64,
}

impl Seeds {
    pub(super) fn all(self) -> RangeInclusive<u64> {
        self.from..=self.to
    }
}

impl FromStr for Seeds {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is no seed"));
        let (from, to) = (number(from)?, number(to)?);
        if from > to || to - from >= 100_000 {
            return Err(format!("{text:?} is no range of at most 100000 seeds"));
        }
        Ok(Self { from, to })
    }
}

/// One combination of values, its runs in the order of seeds.
struct Variant {
    changes: Vec<String>,
    runs: Vec<Results>,
}

pub(crate) fn sweep(arguments: &Arguments) -> ExitCode {
    let combinations = match combinations(&arguments.vary) {
        Ok(combinations) => combinations,
        Err(error) => return wrong(&error),
    };
    let seeds = arguments.seeds.all();
    let mut scenarios = Vec::new();
    for changes in &combinations {
        for seed in seeds.clone() {
            let mut more = changes.clone();
            more.push(format!("scenario.seed={seed}"));
            match arguments.source.load(&more) {
                Ok(scenario) => scenarios.push(scenario),
                Err(error) => return wrong(&error),
            }
        }
    }
    let bar = run::bar();
    bar.set_length(scenarios.len() as u64);
    let mut jobs = usize::from(arguments.jobs);
    if jobs > 1 && scenarios.iter().any(runs_alone) {
        eprintln!("One run at a time: an assert is about the simulator's own time or memory.");
        jobs = 1;
    }
    let quiet = Quiet::new();
    let results = run_all(&scenarios, jobs, None, || bar.inc(1));
    drop(quiet);
    bar.finish_and_clear();
    // Without a limit of time all are run.
    let results = results.into_iter().flatten();
    let results = match results.collect::<Result<Vec<_>, _>>() {
        Ok(results) => results,
        Err(error) => return super::refused(&error),
    };
    let each = seeds.count();
    let first_failure = results.iter().position(|results| !results.passed);
    let first_failure = first_failure.map(|at| (at, results[at].clone()));
    let mut results = results.into_iter();
    let variants: Vec<Variant> = combinations
        .into_iter()
        .map(|changes| Variant {
            changes,
            runs: results.by_ref().take(each).collect(),
        })
        .collect();
    let text = if arguments.json {
        format!("{}\n", json(&variants))
    } else {
        summary(arguments, &variants)
    };
    let printed = print(&text);
    let Some((at, failing)) = first_failure else {
        return printed;
    };
    if arguments.no_shrink {
        return ExitCode::FAILURE;
    }
    eprintln!("Making the first failing run smaller ...");
    match smallest(&scenarios[at], &failing) {
        Ok(small) => match show(arguments, &small) {
            Ok(()) => ExitCode::FAILURE,
            Err(error) => wrong(&format!("{error:#}")),
        },
        Err(error) => super::refused(&error),
    }
}

/// All combinations of the values of all keys, as overrides.
fn combinations(vary: &[String]) -> Result<Vec<Vec<String>>, String> {
    let mut all = vec![Vec::new()];
    for given in vary {
        let (key, values) = given
            .split_once('=')
            .ok_or_else(|| format!("--vary {given}: it is written KEY=A,B"))?;
        let values = values.split(',').map(|value| format!("{key}={value}"));
        let values: Vec<String> = values.collect();
        all = all
            .iter()
            .flat_map(|changes: &Vec<String>| {
                values.iter().map(|value| {
                    let mut changes = changes.clone();
                    changes.push(value.clone());
                    changes
                })
            })
            .collect();
    }
    Ok(all)
}

/// The median of what the runs' groups give, over the runs.
fn median(runs: &[Results], of: impl Fn(&Results) -> Option<f64>) -> Option<f64> {
    let mut values: Vec<f64> = runs.iter().filter_map(of).collect();
    values.sort_by(f64::total_cmp);
    middle(&values)
}

/// The median of values in ascending order: of an even number, the mean of the two in the middle.
fn middle(values: &[f64]) -> Option<f64> {
    let (low, high) = (values.len().checked_sub(1)? / 2, values.len() / 2);
    // Equal ones stay as they are: their mean would be rounded.
    let (low, high) = (values[low], values[high]);
    Some(low + (high - low) / 2.0)
}

/// Columns of the table: title and what it shows.
const COLUMNS: [(&str, &str); 6] = [
    ("DELIVERY", "delivery_ratio"),
    ("RMR", "rmr"),
    ("P50 MS", "latency_ms.p50"),
    ("P99 MS", "latency_ms.p99"),
    ("MAX MS", "latency_ms.max"),
    ("STRETCH", "stretch_mean"),
];

/// The worst group counts where there are several: the one with the lowest delivery ratio.
fn of_group(results: &Results, metric: &str) -> Option<f64> {
    let ratio = |group: &hedgerow_testnet::results::GroupResult| group.delivery_ratio;
    let published = results.groups.values().filter(|group| group.published > 0);
    let worst = published.min_by(|a, b| ratio(a).total_cmp(&ratio(b)))?;
    worst.get(metric)
}

/// Asserts that speak of what no other column shows.
fn more_columns(variants: &[Variant]) -> Vec<(usize, &Verdict)> {
    let first = variants.first().and_then(|variant| variant.runs.first());
    let asserts = first
        .into_iter()
        .flat_map(|run| run.asserts.iter().enumerate());
    let shown = |verdict: &Verdict| {
        let whole = verdict.within.is_none() && verdict.relative_to.is_none();
        let everywhere = verdict.nodes.is_none() && verdict.window == Window::All;
        let known = COLUMNS
            .iter()
            .any(|(_, metric)| *metric == verdict.metric.as_str());
        known && whole && everywhere
    };
    let mut more: Vec<(usize, &Verdict)> = Vec::new();
    for (at, verdict) in asserts.filter(|(_, verdict)| !shown(verdict)) {
        let title = column_title(verdict);
        if more.iter().all(|(_, other)| column_title(other) != title) {
            more.push((at, verdict));
        }
    }
    more
}

fn column_title(verdict: &Verdict) -> String {
    let mut title = verdict.metric.as_str().to_uppercase().replace('_', " ");
    if let Some(within) = verdict.within {
        let _ = write!(title, " WITHIN {within}");
    }
    if let Some(nodes) = &verdict.nodes {
        let _ = write!(title, " AT {nodes}");
    }
    if verdict.window != Window::All {
        let _ = write!(title, " ({:?})", verdict.window);
    }
    if verdict.relative_to.is_some() {
        title.push_str(" OF BASELINE");
    }
    title
}

fn summary(arguments: &Arguments, variants: &[Variant]) -> String {
    let mut head = vec![("VARIANT", Align::Left), ("PASSED", Align::Right)];
    head.extend(COLUMNS.map(|(title, _)| (title, Align::Right)));
    let more = more_columns(variants);
    let titles: Vec<String> = (more.iter())
        .map(|(_, verdict)| column_title(verdict))
        .collect();
    head.extend(titles.iter().map(|title| (title.as_str(), Align::Right)));
    let more: Vec<usize> = more.into_iter().map(|(at, _)| at).collect();
    let rows: Vec<Vec<String>> = variants
        .iter()
        .map(|variant| {
            let passed = variant.runs.iter().filter(|run| run.passed).count();
            let name = match variant.changes.join(" ") {
                name if name.is_empty() => "as it is".to_owned(),
                name => name,
            };
            let mut row = vec![name, format!("{passed} of {}", variant.runs.len())];
            let shown = |median: Option<f64>| median.map_or("-".to_owned(), run::number);
            row.extend(
                COLUMNS
                    .map(|(_, metric)| shown(median(&variant.runs, |run| of_group(run, metric)))),
            );
            row.extend(
                more.iter()
                    .map(|&at| shown(median(&variant.runs, |run| run.asserts.get(at)?.observed))),
            );
            row
        })
        .collect();
    let mut text = table(&head, &rows);
    for variant in variants {
        for failed in variant.runs.iter().filter(|run| !run.passed) {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "FAILED {}: {}",
                why(failed),
                replay(arguments, variant, failed)
            );
        }
    }
    text
}

/// What failed, in a few words.
pub(super) fn why(results: &Results) -> String {
    let failed = |verdict: &&Verdict| !verdict.passed && !verdict.goal;
    match results.failure {
        Some(Failure::Assert) => {
            let failed: Vec<String> = (results.asserts.iter().filter(failed))
                .map(|verdict| {
                    let observed = verdict.observed.map_or("nothing".to_owned(), run::number);
                    let bound = verdict.bound(run::number);
                    format!("({} {bound}: it is {observed})", verdict.metric)
                })
                .collect();
            failed.join(" ")
        }
        failure => {
            let word = failure.map(|failure| format!("{failure:?}").to_lowercase());
            let finding = results
                .findings
                .first()
                .and_then(|text| text.lines().next());
            let finding = finding.unwrap_or_default();
            format!("({}: {finding})", word.unwrap_or_default())
        }
    }
}

/// The command that repeats one run.
fn replay(arguments: &Arguments, variant: &Variant, results: &Results) -> String {
    let changes = variant.changes.iter();
    let changes: Vec<String> = changes
        .flat_map(|change| ["--set".to_owned(), change.clone()])
        .collect();
    arguments.source.replay(results.seed, &changes)
}

fn json(variants: &[Variant]) -> serde_json::Value {
    let variants = variants
        .iter()
        .map(|variant| serde_json::json!({ "changes": variant.changes, "runs": variant.runs }));
    variants.collect()
}

/// The smallest scenario that fails as this one did.
pub(super) fn smallest(scenario: &Scenario, failing: &Results) -> Result<Scenario, RunError> {
    let _quiet = Quiet::new();
    let small = shrink(scenario, failing, SHRINK_RUNS)?;
    Ok(small.unwrap_or_else(|| scenario.clone()))
}

/// Writes it down and says where.
fn show(arguments: &Arguments, small: &Scenario) -> anyhow::Result<()> {
    use anyhow::Context as _;
    let seed = small.file.scenario.seed;
    let path = arguments
        .out
        .join(format!("{}-{seed}-small.toml", small.file.scenario.name));
    std::fs::create_dir_all(&arguments.out)
        .and_then(|()| std::fs::write(&path, toml::to_string(&small.file).unwrap_or_default()))
        .with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!(
        "Still fails with {} nodes, {} faults, {} workloads: hedgerow-testnet run {}",
        small.nodes(),
        small.file.fault.len(),
        small.file.workload.len(),
        path.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::middle;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        assert_eq!(middle(&[]), None);
        assert_eq!(middle(&[3.0]), Some(3.0));
        assert_eq!(middle(&[1.0, 2.0]), Some(1.5));
        assert_eq!(middle(&[1.0, 2.0, 4.0]), Some(2.0));
        assert_eq!(middle(&[1.0, 2.0, 4.0, 100.0]), Some(3.0));
    }
}
