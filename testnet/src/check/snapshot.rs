//! One peer at one moment.

use hedgerow_protocol::status::{GroupStatus, LinkStatus, Status};
use hedgerow_protocol::{Config, Engine};

/// What a peer says about itself.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Its node.
    pub node: usize,
    /// The peer at a glance.
    pub status: Status,
    /// Its links.
    pub links: Vec<LinkStatus>,
    /// Its groups.
    pub groups: Vec<GroupStatus>,
    /// The limits it was given.
    pub config: Config,
}

impl Snapshot {
    /// Asks an engine.
    pub fn of(node: usize, engine: &Engine, config: &Config) -> Self {
        Self {
            node,
            status: engine.status(),
            links: engine.links(),
            groups: engine.groups(),
            config: config.clone(),
        }
    }
}
