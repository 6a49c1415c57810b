//! `hedgerow run`: a peer in the foreground.

use super::Context;
use super::args::RunArgs;
use super::daemon::{self, Daemon};
use super::error::CliError;
use super::signals::Signals;
use crate::config::Flag;
use crate::{Event, Events};
use futures::StreamExt;
use hedgerow_protocol::Address;

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
    let mut in_use = None;
    loop {
        tokio::select! {
            biased;
            Some(event) = events.next() => {
                if let Ok(Event::IdentityInUse { peer, other, .. }) = event {
                    in_use = Some((peer, other));
                }
            }
            () = daemon.node.ended() => break,
        }
    }
    let Some((peer, other)) = in_use else {
        return "the peer stopped by itself; its log says why".to_owned();
    };
    let directory = daemon
        .node
        .data_dir()
        .map_or_else(String::new, |directory| {
            format!(" (data directory {})", directory.display())
        });
    let places: Vec<&str> = other.addresses.iter().map(Address::as_str).collect();
    let at = if places.is_empty() {
        String::new()
    } else {
        format!(" at {}", places.join(", "))
    };
    format!(
        "two running peers use this identity, {peer}{directory}; the other one started later, in \
         epoch {}{at}, so this one stopped. Give one of them its own: --data-dir DIR, or \
         --new-identity",
        other.epoch
    )
}
