//! The commands about scenarios.

mod check;
mod children;
mod replay;
mod report;
mod run;
mod run_all;
mod shipped;
mod swarm;
mod sweep;
mod sweep_all;

pub(crate) use check::{Arguments as CheckArguments, check};
pub(crate) use replay::{Arguments as ReplayArguments, replay};
pub(crate) use report::{Arguments as ReportArguments, report};
pub(crate) use run::{Arguments as RunArguments, run};
pub(crate) use run_all::{Arguments as RunAllArguments, run_all};
pub(crate) use shipped::{Arguments as ListArguments, list};
pub(crate) use swarm::{Arguments as SwarmArguments, swarm};
pub(crate) use sweep::{Arguments as SweepArguments, sweep};
pub(crate) use sweep_all::{Arguments as SweepAllArguments, sweep_all};

use hedgerow_testnet::run::{RunError, worlds_in_markdown};
use hedgerow_testnet::scenario::{Overrides, Scenario, ScenarioError, keys_in_markdown};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Exit code for a scenario or a call that is wrong.
const WRONG: u8 = 2;

/// A scenario, and what is changed in it.
#[derive(clap::Args, Debug)]
pub(crate) struct Source {
    /// A scenario file, or the name of a shipped one (`hedgerow-testnet list`)
    #[arg(value_name = "SCENARIO")]
    scenario: PathBuf,
    /// Change a key; groups and nodes are addressed by name (group.news.overlay=mesh)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Apply the scenario's values for the gate, before --set
    #[arg(long)]
    ci: bool,
}

impl Source {
    fn load(&self, more: &[String]) -> Result<Scenario, LoadError> {
        let overrides = Overrides {
            ci: self.ci,
            set: self.set.iter().chain(more).cloned().collect(),
        };
        let name = self.scenario.to_str().unwrap_or_default();
        // A directory of that name holds the results of the last run, not the scenario.
        if self.scenario.is_file() || name.contains(['/', '.']) {
            return Ok(Scenario::load(&self.scenario, &overrides)?);
        }
        let Some(text) = shipped::text(name) else {
            return Err(LoadError::NeitherFileNorShipped {
                name: name.to_owned(),
                nearest: shipped::nearest(name),
            });
        };
        let path = self.scenario.with_extension("toml");
        Ok(Scenario::parse(text, &path, &overrides)?)
    }

    /// The command that runs this again with a seed, as a shell takes it.
    fn replay(&self, seed: u64, more: &[String]) -> String {
        let mut words = vec!["hedgerow-testnet".to_owned(), "run".to_owned()];
        words.extend([shown(&self.scenario), "--seed".to_owned(), seed.to_string()]);
        words.extend(self.ci.then(|| "--ci".to_owned()));
        let sets = self.set.iter();
        words.extend(sets.flat_map(|set| ["--set".to_owned(), set.clone()]));
        words.extend_from_slice(more);
        // Only a word with a zero byte cannot be quoted, and no argument has one.
        shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "))
    }
}

/// Why there is no scenario.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(transparent)]
    Wrong(#[from] ScenarioError),
    #[error(
        "{name} is no file, and no scenario of this name comes with the program; the nearest is \
         `{nearest}` (`hedgerow-testnet list` shows all)"
    )]
    NeitherFileNorShipped { name: String, nearest: &'static str },
}

/// Says what is wrong with a scenario or a call.
fn wrong(what: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("hedgerow-testnet: {what}");
    ExitCode::from(WRONG)
}

/// Says why a scenario did not run to its end.
fn refused(error: &RunError) -> ExitCode {
    match error {
        RunError::Interrupted => ExitCode::from(crate::INTERRUPTED),
        RunError::Cannot { .. } | RunError::Missing { .. } => wrong(error),
    }
}

/// Prints to stdout; nobody reading is no failure.
fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => wrong(&error),
        _ => ExitCode::SUCCESS,
    }
}

/// `hedgerow-testnet keys`
pub(crate) fn keys() -> ExitCode {
    print(&format!("{}\n{}", keys_in_markdown(), worlds_in_markdown()))
}

/// A path for people.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
