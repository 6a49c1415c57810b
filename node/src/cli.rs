//! The command line: arguments in, API calls out, tables and lines back.
//!
//! stdout is data, stderr is talk. Every command but `run` is a client of the local API; where
//! `join` and `pub` start a peer of their own, they too speak to it through its socket.

mod args;
mod client;
mod config;
mod daemon;
mod descriptors;
mod doctor;
mod error;
mod group;
mod hangup;
mod input;
mod join;
mod logging;
mod one_shot;
mod output;
mod overlay;
mod ping;
mod publish;
mod run;
mod safe;
mod show;
mod signals;
mod table;
mod trace;

use crate::config::Paths;
use args::{Cli, Command, ConfigCommand, GroupCommand};
use clap::{CommandFactory, Parser};
use client::Client;
use error::CliError;
use output::Output;
use std::process::ExitCode;

/// What every command gets.
struct Context {
    paths: Paths,
    client: Client,
    output: Output,
}

/// Runs the program: parses the arguments of this process, does what they say, returns the exit
/// code (0 ok, 1 failure, 2 usage, 3 no running peer, 4 partial, 124 timeout).
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output::new(cli.json);
    match start(cli, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn start(cli: Cli, output: &Output) -> Result<(), CliError> {
    let serves = matches!(cli.command, Command::Run(_));
    logging::init(cli.verbose, serves)?;
    let paths = Paths::new(cli.data_dir)?;
    let context = Context {
        client: Client::new(&paths),
        paths,
        output: output.clone(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::io("cannot start threads", error))?;
    let result = runtime.block_on(dispatch(&context, cli.command));
    // A read of stdin that is under way cannot be cancelled and must not be waited for.
    runtime.shutdown_background();
    result
}

async fn dispatch(context: &Context, command: Command) -> Result<(), CliError> {
    match command {
        Command::Run(args) => run::run(context, args).await,
        Command::Join(args) => join::join(context, args).await,
        Command::Pub(args) => publish::publish(context, args.group, args.publish).await,
        Command::Broadcast(args) => {
            publish::publish(context, hedgerow_protocol::GroupName::broadcast(), args).await
        }
        Command::Leave { group } => group::leave(context, &group).await,
        Command::Group(GroupCommand::Set { group, settings }) => {
            group::set(context, &group, settings).await
        }
        Command::Groups => group::list(context).await,
        Command::Members { group } => group::members(context, &group).await,
        Command::Links => show::links(context).await,
        Command::Status => show::status(context).await,
        Command::Metrics => show::metrics(context).await,
        Command::Id => show::id(context).await,
        Command::Events => show::events(context).await,
        Command::Connect { addresses } => show::connect(context, &addresses).await,
        Command::Doctor => doctor::doctor(context).await,
        Command::Shutdown => show::shutdown(context).await,
        Command::Overlay(args) => overlay::overlay(context, args).await,
        Command::Trace(args) => trace::trace(context, args).await,
        Command::Ping(args) => ping::ping(context, args).await,
        Command::Config(ConfigCommand::Show(args)) => config::show(context, args).await,
        Command::Config(ConfigCommand::Check { file }) => config::check(context, &file),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "hedgerow", &mut script);
            context.output.bytes(&script)
        }
    }
}

#[cfg(test)]
mod tests;
