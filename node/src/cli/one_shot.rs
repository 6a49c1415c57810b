//! A peer of the command's own, for as long as the command lasts.

use super::Context;
use super::args::ConfigArgs;
use super::daemon::{self, Daemon};
use super::error::CliError;

/// A peer started for one command, if none was running.
pub(super) struct OneShot(Option<Daemon>);

impl OneShot {
    /// Finds the running peer, or starts one if the call says whom to connect to.
    pub(super) async fn find_or_start(
        context: &Context,
        args: &ConfigArgs,
    ) -> Result<Self, CliError> {
        if args.connect.is_empty() {
            return Ok(Self(None));
        }
        if context.client.is_peer_running().await? {
            context
                .output
                .notice("a peer is running here; it is used, and --connect ignored");
            return Ok(Self(None));
        }
        let effective = daemon::settings(context, args, Vec::new())?;
        Ok(Self(Some(Daemon::start(context, args, effective).await?)))
    }

    /// Whether it was started here.
    pub(super) fn is_own(&self) -> bool {
        self.0.is_some()
    }

    /// Ends it if it was started here; whether neighbours confirmed that they hold what it
    /// published (nothing is to be confirmed of a peer that goes on).
    pub(super) async fn stop(self) -> bool {
        match self.0 {
            Some(daemon) => daemon.stop().await,
            None => true,
        }
    }
}
