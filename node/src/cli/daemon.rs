//! A peer with its API, in this process.

use super::Context;
use super::args::ConfigArgs;
use super::descriptors;
use super::error::CliError;
use crate::Node;
use crate::api::{Api, Server, Shutdown, await_end};
use crate::config::{Effective, Flag, Origin, Sources, load};
use hedgerow_protocol::JoinOptions;

/// The settings in force with these flags.
pub(super) fn settings(
    context: &Context,
    args: &ConfigArgs,
    more: Vec<Flag>,
) -> Result<Effective, CliError> {
    let sources = Sources {
        file: args.config.clone(),
        default_file: Some(context.paths.config_file()),
        environment: std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        flags: args.flags().into_iter().chain(more).collect(),
    };
    let effective = load(&sources)?;
    for warning in &effective.warnings {
        context.output.notice(warning);
    }
    Ok(effective)
}

/// A running peer.
pub(super) struct Daemon {
    pub(super) node: Node,
    pub(super) api: Api,
    server: Server,
}

impl Daemon {
    /// Starts a peer with these settings, joins its groups and serves its API.
    pub(super) async fn start(
        context: &Context,
        args: &ConfigArgs,
        effective: Effective,
    ) -> Result<Self, CliError> {
        descriptors::raise();
        let settings = &effective.settings;
        let node = Node::builder()
            .data_dir(context.paths.data_dir())
            .new_identity(args.new_identity)
            .forget_groups(args.forget_groups)
            .engine(settings.engine())
            .transport(settings.transport())
            .delivery(settings.delivery.clone())
            .connect(&settings.connect)
            .spawn()
            .await?;
        match Self::serve(context, effective, &node).await {
            Ok((api, server)) => Ok(Self { node, api, server }),
            Err(error) => {
                node.shutdown().await;
                Err(error)
            }
        }
    }

    async fn serve(
        context: &Context,
        effective: Effective,
        node: &Node,
    ) -> Result<(Api, Server), CliError> {
        let groups = effective.settings.join.clone();
        // What a flag says once is meant to last; what the file says, the file says again.
        let keep = matches!(effective.origins.get("join"), Some(Origin::Flag(_)));
        let (api, socket) = Api::bind(node.clone(), effective, &context.paths)?;
        for group in &groups {
            api.hold(group, JoinOptions::default(), keep).await?;
        }
        let server = Server::start(socket, &api);
        Ok((api, server))
    }

    /// Where its end is asked for.
    pub(super) fn shutdown(&self) -> Shutdown {
        self.api.shutdown()
    }

    /// Leaves in good order; whether neighbours confirmed that they hold what was published.
    pub(super) async fn stop(mut self) -> bool {
        self.server.hide();
        self.shutdown().request();
        let events = self.node.events();
        let (confirmed, ()) = tokio::join!(await_end(&self.node, events), self.node.shutdown());
        self.server.stop().await;
        confirmed
    }
}
