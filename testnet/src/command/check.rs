//! `hedgerow-testnet check FILE`: whether a scenario can be run.

use super::{Source, print, shown, wrong};
use std::process::ExitCode;

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: Source,
    /// Print what is to be run, defaults and changes included, as TOML
    #[arg(long)]
    show: bool,
}

pub(crate) fn check(arguments: &Arguments) -> ExitCode {
    let scenario = match arguments.source.load(&[]) {
        Ok(scenario) => scenario,
        Err(error) => return wrong(&error),
    };
    if let Err(error) = hedgerow_testnet::run::check(&scenario) {
        return super::refused(&error);
    }
    if arguments.show {
        return match toml::to_string(&scenario.file) {
            Ok(text) => print(&text),
            Err(error) => wrong(&error),
        };
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
