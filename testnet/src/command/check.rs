//! `hedgerow-testnet check FILE`: whether a scenario can be run.

use super::{LoadError, Source, print, shown, wrong};
use hedgerow_testnet::scenario::{Scenario, ScenarioError};
use serde_json::{Value, json};
use std::process::ExitCode;

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: Source,
    /// Print what is to be run, defaults and changes included, as TOML
    #[arg(long, conflicts_with = "json")]
    show: bool,
    /// Print JSON: whether it can be run, and what is wrong where
    #[arg(long)]
    json: bool,
}

pub(crate) fn check(arguments: &Arguments) -> ExitCode {
    let scenario = match arguments.source.load(&[]) {
        Ok(scenario) => scenario,
        Err(error) => {
            tell(arguments, || place_of(&error));
            return wrong(&error);
        }
    };
    if let Err(error) = hedgerow_testnet::run::check(&scenario) {
        tell(
            arguments,
            || json!({ "valid": false, "what": error.to_string() }),
        );
        return super::refused(&error);
    }
    if arguments.show {
        return match toml::to_string(&scenario.file) {
            Ok(text) => print(&text),
            Err(error) => wrong(&error),
        };
    }
    if arguments.json {
        return print(&format!("{:#}\n", figures(&scenario)));
    }
    let file = &scenario.file;
    print(&format!(
        "{}: {} nodes, {} workloads, {} faults, {} asserts\n",
        shown(&arguments.source.scenario),
        scenario.nodes(),
        file.workload.len(),
        file.fault.len(),
        file.assert.len(),
    ))
}

/// Prints what is wrong, where JSON is wanted; the words go to stderr in any case.
fn tell(arguments: &Arguments, what: impl FnOnce() -> Value) {
    if arguments.json {
        print(&format!("{:#}\n", what()));
    }
}

fn figures(scenario: &Scenario) -> Value {
    let file = &scenario.file;
    json!({
        "valid": true,
        "scenario": file.scenario.name,
        "backend": file.scenario.backend.as_str(),
        "seed": file.scenario.seed,
        "nodes": scenario.nodes(),
        "workloads": file.workload.len(),
        "faults": file.fault.len(),
        "asserts": file.assert.len(),
    })
}

fn place_of(error: &LoadError) -> Value {
    match error {
        LoadError::Wrong(ScenarioError::File {
            path,
            line,
            column,
            what,
        }) => json!({
            "valid": false,
            "file": path.display().to_string(),
            "line": line,
            "column": column,
            "what": what,
        }),
        LoadError::Wrong(ScenarioError::Override { given, what }) => {
            json!({ "valid": false, "set": given, "what": what })
        }
        LoadError::Wrong(_) | LoadError::NeitherFileNorShipped { .. } => {
            json!({ "valid": false, "what": error.to_string() })
        }
    }
}
