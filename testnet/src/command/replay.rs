//! `hedgerow-testnet replay DIR`: a run again, as it was.

use super::run::{SCENARIO, play, tell};
use super::wrong;
use hedgerow_testnet::scenario::{Overrides, Scenario};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Where a run wrote its results (`run --out DIR`)
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    threads: super::run::Threads,
    /// Print results.json instead of the verdicts
    #[arg(long)]
    json: bool,
}

/// Runs what a directory says was run, and compares the traces: exit 1 when they differ.
pub(crate) fn replay(arguments: &Arguments) -> ExitCode {
    let dir = &arguments.dir;
    let scenario = match Scenario::load(&dir.join(SCENARIO), &Overrides::default()) {
        Ok(scenario) => scenario,
        Err(error) => return wrong(&error),
    };
    let before = match recorded(&dir.join("results.json")) {
        Ok(hash) => hash,
        Err(error) => return wrong(&format!("{error:#}")),
    };
    let mut outcome = match play(&scenario, arguments.threads.options()) {
        Ok(outcome) => outcome,
        Err(error) => return super::refused(&error),
    };
    let shown = super::shown(dir);
    // As in `Source::replay`.
    let word = shlex::try_quote(&shown).unwrap_or_else(|_| shown.as_str().into());
    outcome.results.replay = format!("hedgerow-testnet replay {word}");
    let now = outcome.results.trace_hash.clone();
    let told = tell(&outcome.results, arguments.json);
    if now == before {
        match now {
            Some(hash) => eprintln!("the same run: trace {hash}"),
            None => eprintln!(
                "a {} run has no trace: the same was done, what came of it need not be the same",
                outcome.results.backend
            ),
        }
        return told;
    }
    let words = |hash: Option<String>| hash.unwrap_or_else(|| "none".to_owned());
    eprintln!(
        "not the same run: trace {} then, {} now",
        words(before),
        words(now)
    );
    ExitCode::FAILURE
}

/// The trace hash of a run's results.
fn recorded(path: &std::path::Path) -> anyhow::Result<Option<String>> {
    use anyhow::Context as _;
    let what = || format!("cannot read {}", path.display());
    let text = std::fs::read(path).with_context(what)?;
    let results: serde_json::Value = serde_json::from_slice(&text).with_context(what)?;
    Ok(results["trace_hash"].as_str().map(str::to_owned))
}
