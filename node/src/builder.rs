//! What a node is started with.

use crate::driver::{Driver, Parts};
use crate::node::Shared;
use crate::publish_queue::PublishQueues;
use crate::store::{Lost, Store};
use crate::transport::{self, LinkLimits, Transport};
use crate::{DeliveryConfig, Multiaddr, Node, NodeError, TransportConfig};
use hedgerow_protocol::{Config, Keypair, NetworkName};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, watch};
use tracing::Instrument;

/// Calls waiting for the node's task, at most; more wait in their callers.
const COMMANDS: usize = 64;
/// What a link has written is reported when it is one part in so many of what may be unsent.
const REPORTS: usize = 16;

/// Describes a peer; [`NodeBuilder::spawn`] starts it. Everything has a default: a peer with a
/// new identity, in memory only, that listens nowhere and finds nobody by itself.
#[derive(Clone, Debug, Default)]
pub struct NodeBuilder {
    identity: Option<Keypair>,
    data_dir: Option<PathBuf>,
    lost: Lost,
    engine: Config,
    transport: TransportConfig,
    delivery: DeliveryConfig,
    connect: Vec<Multiaddr>,
}

impl NodeBuilder {
    /// Keeps identity, epoch, peers and kept groups in this directory, which is created and
    /// locked: one process, one directory.
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(path.into());
        self
    }

    /// Takes a new identity where the data directory has lost its key. Without this such a
    /// directory is refused: the key may only not be mounted. A key that is there stays.
    pub fn new_identity(mut self, new: bool) -> Self {
        self.lost.new_identity = new;
        self
    }

    /// Forgets the kept groups where the data directory has lost them, or holds them damaged.
    /// Without this such a directory is refused. Groups that can be read stay.
    pub fn forget_groups(mut self, forget: bool) -> Self {
        self.lost.forget_groups = forget;
        self
    }

    /// Uses this identity instead of the stored or a new one; it is not stored.
    pub fn identity(mut self, identity: Keypair) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Everything about the protocol; see [`Config`]. Replaces what [`NodeBuilder::network`]
    /// set before.
    pub fn engine(mut self, config: Config) -> Self {
        self.engine = config;
        self
    }

    /// Everything about listening and connections. Replaces what [`NodeBuilder::listen`] and
    /// [`NodeBuilder::mdns`] set before.
    pub fn transport(mut self, config: TransportConfig) -> Self {
        self.transport = config;
        self
    }

    /// How much is kept for local subscribers and publishers.
    pub fn delivery(mut self, config: DeliveryConfig) -> Self {
        self.delivery = config;
        self
    }

    /// The network to belong to.
    pub fn network(mut self, network: NetworkName) -> Self {
        self.engine.network = network;
        self
    }

    /// Listens on one more address; port 0 takes a free one.
    pub fn listen(mut self, address: Multiaddr) -> Self {
        self.transport.listen.push(address);
        self
    }

    /// Addresses of peers to begin with, besides `bootstrap` of the engine's configuration.
    pub fn connect(mut self, addresses: &[Multiaddr]) -> Self {
        self.connect.extend_from_slice(addresses);
        self
    }

    /// Finds peers on the local network by multicast DNS.
    pub fn mdns(mut self, on: bool) -> Self {
        self.transport.mdns = on;
        self
    }

    /// Starts the peer on the current tokio runtime. Returns once it listens on all addresses
    /// and has rejoined the groups that it was told to keep.
    ///
    /// # Panics
    /// Outside a tokio runtime with time and I/O enabled.
    pub async fn spawn(self) -> Result<Node, NodeError> {
        let Self {
            identity,
            data_dir,
            lost,
            mut engine,
            transport,
            delivery,
            connect,
        } = self;
        for address in &connect {
            engine.bootstrap.push(transport::to_address(address)?);
        }
        engine.check()?;
        #[cfg(feature = "wire-next")]
        {
            engine.wire_next = true;
        }

        let opened = data_dir.clone();
        let store = tokio::task::spawn_blocking(move || match opened {
            Some(path) => Store::open(&path, identity, lost),
            None => Store::in_memory(identity),
        })
        .await
        .map_err(|error| NodeError::Setup(error.to_string()))??;
        let store = Arc::new(store);

        let identity = store.identity().clone();
        let peer = identity.peer();
        let network = engine.network.clone();
        let links = LinkLimits {
            read_bytes: transport.read_bytes,
            backpressure_bytes_per_s: transport.backpressure_bytes_per_s,
            report_bytes: (engine.flow.unsent_bytes / REPORTS).max(1),
            close: Duration::from_millis(transport.close_ms),
        };
        // Everything that this peer's tasks have to say names it.
        let span = tracing::info_span!("peer", %peer);
        let transport = Transport::start(&identity, &engine, &transport)
            .instrument(span.clone())
            .await?;
        engine.addresses = transport.addresses();

        let (commands, command_inbox) = mpsc::channel(COMMANDS);
        let (ended_tell, ended) = watch::channel(false);
        let shared = Shared {
            peer,
            network,
            data_dir,
            message_bytes_max: engine.groups.message_bytes_max,
            commands,
            events: broadcast::Sender::new(delivery.events_max.max(1)),
            publish_queues: Arc::new(PublishQueues::new(delivery.clone())),
            listening: transport.listening(),
            ended,
        };
        let parts = Parts {
            engine,
            delivery,
            links,
            store,
            transport,
            commands: command_inbox,
            events: shared.events.clone(),
            publish_queues: shared.publish_queues.clone(),
            ended: ended_tell,
        };
        let _entered = span.enter();
        Driver::start(identity, parts)?;
        Ok(Node {
            shared: Arc::new(shared),
        })
    }
}
