//! `hedgerow run`: a peer in the foreground.

use super::Context;
use super::args::RunArgs;
use super::daemon::{self, Daemon};
use super::error::CliError;
use super::signals::Signals;
use crate::config::Flag;
use crate::{Event, Events};
use futures::StreamExt;

pub(super) async fn run(context: &Context, args: RunArgs) -> Result<(), CliError> {
    let mut flags = Vec::new();
    if !args.join.is_empty() {
        let groups = args.join.iter().map(ToString::to_string).collect();
        flags.push(Flag::list("--join", "join", groups));
    }
    let effective = daemon::settings(context, &args.config, flags)?;
    let mut signals = Signals::new()?;
    let daemon = Daemon::start(context, &args.config, effective).await?;
    let mut events = daemon.node.events();
    let shutdown = daemon.shutdown();
    match context.output.value(&daemon.api.identity()) {
        // A peer does not need a reader of its one line.
        Ok(()) | Err(CliError::BrokenPipe) => {}
        Err(error) => {
            daemon.stop().await;
            return Err(error);
        }
    }
    tokio::select! {
        () = signals.next() => tracing::info!("a signal asks for the end"),
        () = shutdown.requested() => tracing::info!("the API asks for the end"),
        why = ended(&daemon, &mut events) => {
            daemon.stop().await;
            return Err(CliError::Ended(why));
        }
    }
    let node = daemon.node.clone();
    tokio::select! {
        confirmed = daemon.stop() => tracing::info!(confirmed, "left the network"),
        () = signals.next() => {
            node.abort().await;
            return Err(CliError::Ended("interrupted while leaving".to_owned()));
        }
    }
    Ok(())
}

/// Waits until the peer ends by itself; why it did.
async fn ended(daemon: &Daemon, events: &mut Events) -> String {
    let mut identity_in_use = false;
    loop {
        tokio::select! {
            biased;
            Some(event) = events.next() => identity_in_use |= event == Ok(Event::IdentityInUse),
            () = daemon.node.ended() => break,
        }
    }
    if identity_in_use {
        "another running peer uses this identity; give every peer a data directory of its own, \
         and never copy one"
            .to_owned()
    } else {
        "the peer stopped by itself; its log says why".to_owned()
    }
}
