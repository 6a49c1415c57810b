//! `hedgerow-testnet`: many Hedgerow peers at once, on this machine.

mod command;
mod demo;
mod launch;
mod terminal;

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use tikv_jemallocator::Jemalloc;

/// The simulator's threads give back what others took, which the system's allocator makes wait.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Many Hedgerow peers at once: start them, watch them work, break them.
#[derive(Parser)]
#[command(name = "hedgerow-testnet", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start peers on loopback that run on by themselves; show or stop them
    Launch(launch::Arguments),
    /// Show the main job: two groups, real content, peers killed, nothing lost
    Demo(demo::Arguments),
    /// Run a scenario and judge it
    Run(command::RunArguments),
    /// Run again what a directory of results says was run, and compare
    Replay(command::ReplayArguments),
    /// Make a run's report.html again from its other files
    Report(command::ReportArguments),
    /// Run a scenario with many seeds and variations, and shrink what fails
    Sweep(command::SweepArguments),
    /// Run every scenario that comes with this program once, with its own seed
    RunAll(command::RunAllArguments),
    /// Run every scenario that comes with this program with many seeds, at the gate's size
    SweepAll(command::SweepAllArguments),
    /// Run scenarios that are drawn from seeds, and shrink what fails
    Swarm(command::SwarmArguments),
    /// Say whether a scenario file can be run
    Check(command::CheckArguments),
    /// List the scenarios that come with this program
    List(command::ListArguments),
    /// Print every key of a scenario file, and which world can do what
    Keys,
}

/// Exit code after Ctrl-C: 128 and the number of SIGINT, as shells have it.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let command = match Arguments::parse().command {
        // These need no peers, so no runtime; Ctrl-C just ends them.
        Command::Run(arguments) => return command::run(&arguments),
        Command::Replay(arguments) => return command::replay(&arguments),
        Command::Report(arguments) => return command::report(&arguments),
        Command::Sweep(arguments) => return command::sweep(&arguments),
        Command::RunAll(arguments) => return command::run_all(&arguments),
        Command::SweepAll(arguments) => return command::sweep_all(&arguments),
        Command::Swarm(arguments) => return command::swarm(&arguments),
        Command::Check(arguments) => return command::check(&arguments),
        Command::List(arguments) => return command::list(&arguments),
        Command::Keys => return command::keys(),
        command => command,
    };
    // One thread: the kernel ties peers to the thread that starts them.
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let result = runtime.block_on(async {
        tokio::select! {
            // Whatever is under way is dropped, and the peers it owns with it.
            () = interrupted() => Ok(ExitCode::from(INTERRUPTED)),
            result = run(command) => result,
        }
    });
    result.unwrap_or_else(|error| fail(&error))
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Launch(arguments) => launch::run(arguments).await,
        Command::Demo(arguments) => demo::run(arguments).await,
        Command::Run(_)
        | Command::Report(_)
        | Command::Sweep(_)
        | Command::RunAll(_)
        | Command::SweepAll(_)
        | Command::Swarm(_)
        | Command::Replay(_)
        | Command::Check(_)
        | Command::List(_)
        | Command::Keys => Ok(ExitCode::SUCCESS),
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("hedgerow-testnet: {error:#}");
    ExitCode::FAILURE
}

/// Ends when somebody wants this program to end.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let kinds = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ];
    let mut signals: Vec<_> = kinds
        .into_iter()
        .filter_map(|kind| signal(kind).ok())
        .collect();
    if signals.is_empty() {
        return std::future::pending().await;
    }
    futures::future::select_all(signals.iter_mut().map(|signal| Box::pin(signal.recv()))).await;
}
