//! What can be configured, with the defaults.

use crate::{DeliveryConfig, Multiaddr, TransportConfig};
use hedgerow_protocol::{
    ConfigError, DatabaseConfig, FlowConfig, GroupConfig, GroupName, LimitConfig, LinkConfig,
    NetworkName, ShutdownConfig,
};
use serde::{Deserialize, Serialize};

/// Everything a running peer goes by, as it stands in the configuration file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Which network to belong to; peers of different networks do not link.
    pub network: NetworkName,
    /// Where to listen. By default every interface, a port the system chooses, TCP and QUIC.
    pub listen: Vec<Multiaddr>,
    /// Addresses at which others can reach this peer, when they differ from those it listens
    /// on (behind a forwarded port, say).
    pub announce: Vec<Multiaddr>,
    /// Peers to dial at the start and whenever no link is left.
    pub connect: Vec<Multiaddr>,
    /// Whether to find peers on the local network by multicast DNS.
    pub mdns: bool,
    /// Groups to be a member of as long as the peer runs.
    pub join: Vec<GroupName>,
    /// Bytes that all tables together may hold: records, messages retained, ahead of delivery and not
    /// read yet, frames that wait for links, checks under way. 768 MiB: two groups that
    /// each carry one of the largest messages retain both, put both together, and let both be read.
    pub memory_max: usize,
    /// The local API.
    pub api: ApiSettings,
    /// How connections are bounded. Where to listen and multicast DNS stand above.
    pub transport: TransportConfig,
    /// What is kept for local subscribers and publishers.
    pub delivery: DeliveryConfig,
    /// Links and whom to connect to.
    pub links: LinkConfig,
    /// What strangers may use.
    pub limits: LimitConfig,
    /// Records and the view.
    pub database: DatabaseConfig,
    /// Leaving the network.
    pub shutdown: ShutdownConfig,
    /// Logs, retention and repair.
    pub groups: GroupConfig,
    /// Queues.
    pub flow: FlowConfig,
}

impl Default for Settings {
    fn default() -> Self {
        let address = |text: &str| text.parse().expect("a constant address");
        Self {
            network: NetworkName::default(),
            listen: vec![
                address("/ip4/0.0.0.0/tcp/0"),
                address("/ip4/0.0.0.0/udp/0/quic-v1"),
            ],
            announce: Vec::new(),
            connect: Vec::new(),
            mdns: true,
            join: Vec::new(),
            memory_max: hedgerow_protocol::Config::default().memory_max,
            api: ApiSettings::default(),
            transport: TransportConfig::default(),
            delivery: DeliveryConfig::default(),
            links: LinkConfig::default(),
            limits: LimitConfig::default(),
            database: DatabaseConfig::default(),
            shutdown: ShutdownConfig::default(),
            groups: GroupConfig::default(),
            flow: FlowConfig::default(),
        }
    }
}

/// Limits of the local API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiSettings {
    /// The largest JSON body of a request, bytes; 64 KiB is far above any that makes sense.
    /// Messages have a limit of their own, `groups.message_bytes_max`.
    pub body_bytes_max: usize,
    /// How long a request's head, and a body of JSON, may take to come, ms. Uploads may pause: a
    /// log that is followed has hours without a line. 30 s: a person who types it by hand.
    pub request_ms: u64,
    /// Streams (subscriptions, uploads, events, traces) open at once; each holds a few buffers,
    /// an upload one message. Fewer where the limit of open files leaves fewer.
    pub streams_max: usize,
    /// Payload bytes that subscriptions may hold of large messages while their clients read them,
    /// each message counted once. Beyond it the stream that has not moved for longest is cut off.
    /// 128 MiB: two of the largest messages.
    pub stream_bytes_max: usize,
    /// Acknowledged publications of one upload that may be under way at once; more wait. 256: the
    /// engine follows 1,024 a group, whoever publishes.
    pub acknowledging_max: usize,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            body_bytes_max: 64 << 10,
            request_ms: 30_000,
            streams_max: 1_024,
            stream_bytes_max: 128 << 20,
            acknowledging_max: 256,
        }
    }
}

impl Settings {
    /// The engine's part. What the driver knows better (its own addresses, the last epoch)
    /// is left at the default.
    pub fn engine(&self) -> hedgerow_protocol::Config {
        hedgerow_protocol::Config {
            network: self.network.clone(),
            memory_max: self.memory_max,
            links: self.links.clone(),
            limits: self.limits.clone(),
            database: self.database.clone(),
            shutdown: self.shutdown.clone(),
            groups: self.groups.clone(),
            flow: self.flow.clone(),
            ..hedgerow_protocol::Config::default()
        }
    }

    /// The transport's part.
    pub fn transport(&self) -> TransportConfig {
        TransportConfig {
            listen: self.listen.clone(),
            external: self.announce.clone(),
            mdns: self.mdns,
            ..self.transport.clone()
        }
    }

    /// Whether all values can work together; the first that cannot otherwise.
    pub fn check(&self) -> Result<(), ConfigError> {
        let error = |key, value: usize| ConfigError {
            key,
            value: value.to_string(),
            why: "at least 1",
        };
        if self.api.streams_max == 0 {
            return Err(error("api.streams_max", 0));
        }
        if self.api.request_ms == 0 {
            return Err(error("api.request_ms", 0));
        }
        if self.api.acknowledging_max == 0 {
            return Err(error("api.acknowledging_max", 0));
        }
        if self.transport.backpressure_bytes_per_s == 0 {
            return Err(error("transport.backpressure_bytes_per_s", 0));
        }
        self.engine().check()
    }
}
