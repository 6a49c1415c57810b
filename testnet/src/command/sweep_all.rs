//! `hedgerow-testnet sweep-all`: many seeds of every scenario, at the gate's size.

use super::children::{End, Job, Ran, run_all};
use super::sweep::Seeds;
use super::{print, run, shipped, wrong};
use crate::terminal::{Align, counted, table};
use hedgerow_testnet::scenario::{Overrides, Scenario};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Which seeds, both ends included
    #[arg(long, value_name = "FROM..TO", default_value = "1..10")]
    seeds: Seeds,
    /// One seed instead: the BLAKE3 hash of TEXT, by default of the tree that is checked out here
    #[arg(long, value_name = "TEXT", num_args = 0..=1, conflicts_with = "seeds")]
    #[allow(clippy::option_option)] // Whether it is given, and with what.
    seed_from_tree: Option<Option<String>>,
    /// Only these scenarios
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    only: Vec<String>,
    /// Begin no more runs after so long, such as 120s
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    budget: Option<Duration>,
    /// Remembers when each scenario was run last; those that were not run for longest come first
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Runs at once
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// What is known of one scenario.
#[derive(Clone, Debug, Default, serde::Serialize)]
struct Row {
    scenario: String,
    runs: usize,
    failed: usize,
    /// Runs in which nothing failed but that this machine took too long.
    slow: usize,
    /// Why it cannot be run here.
    #[serde(skip_serializing_if = "Option::is_none")]
    unavailable: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_failure: Option<FirstFailure>,
    /// The longest run.
    wall_s_max: f64,
    peak_rss_mib_max: f64,
}

#[derive(Clone, Debug, serde::Serialize)]
struct FirstFailure {
    seed: u64,
    why: String,
    replay: String,
}

pub(crate) fn sweep_all(arguments: &Arguments) -> ExitCode {
    let seeds: Vec<u64> = match &arguments.seed_from_tree {
        None => arguments.seeds.all().collect(),
        Some(text) => match text.clone().map_or_else(tree, Ok) {
            Ok(text) => vec![seed_of(&text)],
            Err(error) => return wrong(&error),
        },
    };
    let mut scenarios = match scenarios(&arguments.only) {
        Ok(scenarios) => scenarios,
        Err(error) => return wrong(&error),
    };
    let seen = arguments.state.as_deref().map(seen).unwrap_or_default();
    // Where nobody has written down what was run when, every tree begins with others.
    let lot = |name: &str| arguments.seed_from_tree.as_ref().map(|_| lot(&seeds, name));
    scenarios.sort_by_key(|(name, _)| (seen.get(name).copied(), lot(name)));
    let jobs = jobs(&scenarios, &seeds);
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    let began = Instant::now();
    let until = arguments.budget.map(|budget| began + budget);
    let bar = run::bar();
    bar.set_length(jobs.len() as u64);
    let mut ended = 0;
    run_all(&jobs, usize::from(arguments.jobs), until, |ran| {
        let job = &jobs[ran.job];
        let row = rows.entry(job.scenario.as_str()).or_default();
        row.add(job, &ran);
        ended += 1;
        bar.inc(1);
        bar.set_message(job.scenario.clone());
        if let (Some(why), true) = (ran.end.failure(), bar.is_hidden()) {
            eprintln!("FAILED {why}: {}", job.replay());
        }
    });
    bar.finish_and_clear();
    if let Some(path) = &arguments.state
        && let Err(error) = remember(path, seen, rows.keys().copied())
    {
        return wrong(&format!("cannot write {}: {error}", path.display()));
    }
    let rows: Vec<Row> = rows.into_values().collect();
    let took = began.elapsed();
    let text = if arguments.json {
        let value = serde_json::json!({
            "seeds": seeds,
            "runs": ended,
            "of": jobs.len(),
            "failed": rows.iter().map(|row| row.failed).sum::<usize>(),
            "wall_s": took.as_secs_f64(),
            "scenarios": rows,
        });
        format!("{value}\n")
    } else {
        summary(&rows, ended, jobs.len(), took)
    };
    let printed = print(&text);
    if rows.iter().any(|row| row.failed > 0) {
        return ExitCode::FAILURE;
    }
    printed
}

/// All shipped scenarios, or some, at the gate's size.
pub(super) fn scenarios(only: &[String]) -> Result<Vec<(String, Scenario)>, String> {
    let overrides = Overrides {
        ci: true,
        set: Vec::new(),
    };
    let names: Vec<&str> = match only {
        [] => shipped::names().collect(),
        only => only.iter().map(String::as_str).collect(),
    };
    let load = |name: &str| {
        let Some(text) = shipped::text(name) else {
            let nearest = shipped::nearest(name);
            return Err(format!(
                "there is no scenario {name}; the nearest is `{nearest}`"
            ));
        };
        let scenario = Scenario::parse(text, Path::new(name), &overrides);
        let scenario = scenario.map_err(|error| error.to_string())?;
        Ok((name.to_owned(), scenario))
    };
    names.into_iter().map(load).collect()
}

/// Every scenario with the first seed, then with the next: a budget cuts seeds, not scenarios.
fn jobs(scenarios: &[(String, Scenario)], seeds: &[u64]) -> Vec<Job> {
    let of_seed = |seed: u64| {
        scenarios.iter().map(move |(name, scenario)| Job {
            scenario: name.clone(),
            backend: scenario.file.scenario.backend.as_str(),
            seed,
            options: vec!["--ci".to_owned()],
        })
    };
    seeds.iter().copied().flat_map(of_seed).collect()
}

/// A seed that is short enough to be typed.
fn seed_of(text: &str) -> u64 {
    let hash = blake3::hash(text.trim().as_bytes());
    let (first, _) = hash.as_bytes().split_at(4);
    first
        .iter()
        .fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

/// A scenario's place among those that have not been run.
fn lot(seeds: &[u64], name: &str) -> [u8; 32] {
    *blake3::hash(format!("{seeds:?} {name}").as_bytes()).as_bytes()
}

/// The hash of the tree that is checked out.
fn tree() -> Result<String, String> {
    let output = std::process::Command::new("git")
        .args(["rev-parse", "HEAD^{tree}"])
        .output()
        .map_err(|error| format!("cannot ask git for the tree: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("cannot ask git for the tree: {}", said.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// When each scenario was run last, in seconds since 1970; nothing where nobody has written it down.
fn seen(path: &Path) -> BTreeMap<String, u64> {
    let text = std::fs::read(path).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

fn remember<'a>(
    path: &Path,
    mut seen: BTreeMap<String, u64>,
    names: impl Iterator<Item = &'a str>,
) -> std::io::Result<()> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_secs());
    seen.extend(names.map(|name| (name.to_owned(), now)));
    std::fs::write(path, serde_json::to_vec_pretty(&seen)?)
}

impl Row {
    fn add(&mut self, job: &Job, ran: &Ran) {
        self.scenario.clone_from(&job.scenario);
        match &ran.end {
            End::Judged(results) => {
                self.wall_s_max = self.wall_s_max.max(results.wall_s);
                self.peak_rss_mib_max = self.peak_rss_mib_max.max(results.peak_rss_mib);
            }
            End::Unavailable(why) => {
                self.unavailable = Some(why.clone());
                return;
            }
            End::Broken(_) => {}
        }
        self.runs += 1;
        self.slow += usize::from(ran.end.is_slow());
        let Some(why) = ran.end.failure() else { return };
        self.failed += 1;
        // Runs end in any order.
        if self
            .first_failure
            .as_ref()
            .is_none_or(|first| job.seed < first.seed)
        {
            self.first_failure = Some(FirstFailure {
                seed: job.seed,
                why,
                replay: job.replay(),
            });
        }
    }

    fn said(&self) -> String {
        match (&self.unavailable, &self.first_failure) {
            (Some(why), _) => format!("not here: {why}"),
            (_, Some(first)) => first.replay.clone(),
            _ if self.slow > 0 => format!("slow machine: {} of {}", self.slow, self.runs),
            _ => String::new(),
        }
    }
}

fn summary(rows: &[Row], runs: usize, of: usize, took: Duration) -> String {
    let head = [
        ("SCENARIO", Align::Left),
        ("RUNS", Align::Right),
        ("FAILED", Align::Right),
        ("WALL S", Align::Right),
        ("PEAK MIB", Align::Right),
        ("FIRST FAILURE", Align::Left),
    ];
    let cells = |row: &Row| {
        vec![
            row.scenario.clone(),
            row.runs.to_string(),
            row.failed.to_string(),
            format!("{:.1}", row.wall_s_max),
            format!("{:.0}", row.peak_rss_mib_max),
            row.said(),
        ]
    };
    let cells: Vec<Vec<String>> = rows.iter().map(cells).collect();
    let failed: usize = rows.iter().map(|row| row.failed).sum();
    let mut text = table(&head, &cells);
    for first in rows.iter().filter_map(|row| row.first_failure.as_ref()) {
        let _ = writeln!(text, "FAILED {}: {}", first.why, first.replay);
    }
    let runs = counted(runs, "run");
    let took_s = took.as_secs_f64();
    let _ = writeln!(text, "{runs} of {of}, {failed} failed, {took_s:.0} s");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_has_its_turn_before_the_next_seed() {
        let scenarios = scenarios(&["burst".to_owned(), "scale".to_owned()]).expect("shipped");
        let order: Vec<_> = jobs(&scenarios, &[7, 8])
            .into_iter()
            .map(|job| (job.scenario, job.seed))
            .collect();
        let named = |name: &str, seed| (name.to_owned(), seed);
        let expected = [("burst", 7), ("scale", 7), ("burst", 8), ("scale", 8)];
        assert_eq!(order, expected.map(|(name, seed)| named(name, seed)));
    }

    #[test]
    fn a_tree_has_one_seed_and_another_tree_another() {
        assert_eq!(seed_of("abc\n"), seed_of("abc"));
        assert_ne!(seed_of("abc"), seed_of("abd"));
        assert!(u32::try_from(seed_of("abc")).is_ok());
    }

    #[test]
    fn an_unknown_scenario_is_refused_with_the_nearest() {
        let error = scenarios(&["brust".to_owned()]).expect_err("no such scenario");
        assert!(error.contains("`burst`"), "{error}");
    }

    #[test]
    fn what_was_run_is_remembered() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("seen.json");
        assert!(seen(&path).is_empty());
        remember(&path, seen(&path), ["burst"].into_iter()).expect("written");
        remember(&path, seen(&path), ["scale"].into_iter()).expect("written");
        assert_eq!(seen(&path).len(), 2);
    }
}
