//! `hedgerow-testnet sweep SCENARIO`: many seeds and variations of one scenario.

use super::{Source, print, run, shown, wrong};
use crate::terminal::{Align, table};
use hedgerow_testnet::results::Results;
use hedgerow_testnet::scenario::Scenario;
use hedgerow_testnet::sweep::{run_all, shrink};
use std::fmt::Write as _;
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
struct Seeds {
    from: u64,
    to: u64,
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
    let seeds = arguments.seeds.from..=arguments.seeds.to;
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
    std::panic::set_hook(Box::new(|_| {}));
    let results = run_all(&scenarios, usize::from(arguments.jobs), || bar.inc(1));
    bar.finish_and_clear();
    let results = match results.into_iter().collect::<Result<Vec<_>, _>>() {
        Ok(results) => results,
        Err(error) => return super::refused(&error),
    };
    let each = seeds.count();
    let first_failure = results.iter().position(|results| !results.passed);
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
    let Some(failure) = first_failure else {
        return printed;
    };
    if !arguments.no_shrink
        && let Err(error) = show_smallest(arguments, &scenarios[failure])
    {
        return wrong(&format!("{error:#}"));
    }
    ExitCode::FAILURE
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
    values.get(values.len().checked_sub(1)? / 2).copied()
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

fn summary(arguments: &Arguments, variants: &[Variant]) -> String {
    let mut head = vec![("VARIANT", Align::Left), ("PASSED", Align::Right)];
    head.extend(COLUMNS.map(|(title, _)| (title, Align::Right)));
    let rows: Vec<Vec<String>> = variants
        .iter()
        .map(|variant| {
            let passed = variant.runs.iter().filter(|run| run.passed).count();
            let name = match variant.changes.join(" ") {
                name if name.is_empty() => "as it is".to_owned(),
                name => name,
            };
            let mut row = vec![name, format!("{passed} of {}", variant.runs.len())];
            row.extend(COLUMNS.map(|(_, metric)| {
                let median = median(&variant.runs, |run| of_group(run, metric));
                median.map_or("-".to_owned(), run::number)
            }));
            row
        })
        .collect();
    let mut text = table(&head, &rows);
    for variant in variants {
        for failed in variant.runs.iter().filter(|run| !run.passed) {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "FAILED ({:?}): {}",
                failed.failure,
                replay(arguments, variant, failed)
            );
        }
    }
    text
}

/// The command that repeats one run.
fn replay(arguments: &Arguments, variant: &Variant, results: &Results) -> String {
    let mut line = format!(
        "hedgerow-testnet run {} --seed {}",
        shown(&arguments.source.scenario),
        results.seed
    );
    if arguments.source.ci {
        line.push_str(" --ci");
    }
    for set in arguments.source.set.iter().chain(&variant.changes) {
        let _ = write!(line, " --set '{set}'");
    }
    line
}

fn json(variants: &[Variant]) -> serde_json::Value {
    let variants = variants
        .iter()
        .map(|variant| serde_json::json!({ "changes": variant.changes, "runs": variant.runs }));
    variants.collect()
}

fn show_smallest(arguments: &Arguments, scenario: &Scenario) -> anyhow::Result<()> {
    use anyhow::Context as _;
    eprintln!("Making the first failing run smaller ...");
    let Some(failure) = hedgerow_testnet::run::run(scenario, |_| {})?
        .results
        .failure
    else {
        return Ok(());
    };
    let small = shrink(scenario, failure, SHRINK_RUNS);
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
