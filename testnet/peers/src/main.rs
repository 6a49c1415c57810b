//! Hedgerow beside what its users have now: the same cases, the same machine, the same minutes.

mod cases;
mod cell;
mod goals;
mod latency;
mod load;
mod metric;
mod peer;
mod peers;
mod report;
mod rounds;
mod runner;
mod seen;
mod spec;
mod stand;
mod table;
mod usage;

use anyhow::Context;
use clap::{Parser, Subcommand};
use rounds::{Measure, run};
use std::process::ExitCode;

#[derive(Parser)]
#[command(about = "Measures Hedgerow beside other programs", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Holds all goals against what is measured side by side; exit code 1 if one is missed.
    Compare(Measure),
    /// Two peers, and a chain of five.
    Throughput(Measure),
    /// Twenty peers at a fixed rate.
    Latency(Measure),
    /// Twenty and a hundred peers, one origin and ten.
    Fanout(Measure),
    /// 5 MiB to twenty peers.
    Large(Measure),
    /// Idle peers.
    Memory(Measure),
    /// One measurement in this process, for the other commands.
    #[command(hide = true)]
    Cell {
        /// What to do, JSON.
        spec: String,
    },
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Cell { spec } => serde_json::from_str(&spec)
            .context("what to measure")
            .and_then(|spec| cell::run(&spec))
            .map(|()| true),
        Command::Compare(measure) => run("compare", &measure),
        Command::Throughput(measure) => run("throughput", &measure),
        Command::Latency(measure) => run("latency", &measure),
        Command::Fanout(measure) => run("fanout", &measure),
        Command::Large(measure) => run("large", &measure),
        Command::Memory(measure) => run("memory", &measure),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}
