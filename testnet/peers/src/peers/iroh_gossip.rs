//! iroh-gossip (Plumtree on HyParView) on iroh's QUIC, without relays. Its messages carry no
//! signatures.

use crate::peer::{Inbox, Options, Peer, Publisher, Reach};
use crate::seen::Seen;
use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use iroh::address_lookup::memory::MemoryLookup;
use iroh::endpoint::{BeforeConnectOutcome, EndpointHooks, presets};
use iroh::protocol::Router;
use iroh::{Endpoint, EndpointAddr, EndpointId, RelayMode};
use iroh_gossip::api::{ApiError, Event, GossipReceiver, GossipSender};
use iroh_gossip::net::Gossip;
use iroh_gossip::{ALPN, TopicId};
use std::net::SocketAddr;
use std::sync::LazyLock;

/// Messages taken out of a topic at once.
const BATCH: usize = 256;

/// Where all endpoints of this process find each other.
static LOOKUP: LazyLock<MemoryLookup> = LazyLock::new(MemoryLookup::new);

pub struct IrohPeer {
    router: Router,
    gossip: Gossip,
    address: SocketAddr,
    bootstrap: Vec<String>,
    topic: Option<(GossipSender, GossipReceiver)>,
}

pub struct IrohPublisher(GossipSender);

pub struct IrohInbox {
    _router: Router,
    receiver: GossipReceiver,
}

/// Its membership protocol looks for more neighbours as long as it has fewer than five, so a line
/// is held where connections are made: only to these.
#[derive(Debug)]
struct OnlyThose(Vec<EndpointId>);

impl EndpointHooks for OnlyThose {
    async fn before_connect(&self, remote: &EndpointAddr, _alpn: &[u8]) -> BeforeConnectOutcome {
        if self.0.contains(&remote.id) {
            BeforeConnectOutcome::Accept
        } else {
            BeforeConnectOutcome::Reject
        }
    }
}

fn parse(address: &str) -> Result<(EndpointId, SocketAddr)> {
    let (id, address) = address.split_once('@').context("id@address")?;
    Ok((id.parse().map_err(error)?, address.parse()?))
}

fn error(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("iroh: {error:#}")
}

impl Peer for IrohPeer {
    type Publisher = IrohPublisher;
    type Inbox = IrohInbox;
    const FINDS_LINKS: bool = true;

    async fn start(options: &Options) -> Result<Self> {
        let mut builder = Endpoint::builder(presets::Minimal);
        if options.incoming_max.is_some() {
            let told = options.bootstrap.iter().map(|it| Ok(parse(it)?.0));
            builder = builder.hooks(OnlyThose(told.collect::<Result<_>>()?));
        }
        let endpoint = builder
            .relay_mode(RelayMode::Disabled)
            .clear_ip_transports()
            .bind_addr("127.0.0.1:0")
            .map_err(error)?
            .address_lookup(LOOKUP.clone())
            .bind()
            .await
            .map_err(error)?;
        let address = *endpoint.bound_sockets().first().context("a socket")?;
        LOOKUP.add_endpoint_info(EndpointAddr::new(endpoint.id()).with_ip_addr(address));
        let largest = (2 * options.message_bytes).max(4096);
        let gossip = Gossip::builder()
            .max_message_size(largest)
            .spawn(endpoint.clone());
        let router = Router::builder(endpoint)
            .accept(ALPN, gossip.clone())
            .spawn();
        let bootstrap = options.bootstrap.clone();
        Ok(Self {
            router,
            gossip,
            address,
            bootstrap,
            topic: None,
        })
    }

    fn address(&self) -> String {
        format!("{}@{}", self.router.endpoint().id(), self.address)
    }

    async fn join(&mut self, _addresses: &[String]) -> Result<()> {
        let mut bootstrap: Vec<EndpointId> = Vec::new();
        for address in &self.bootstrap {
            let (id, address) = parse(address)?;
            LOOKUP.add_endpoint_info(EndpointAddr::new(id).with_ip_addr(address));
            bootstrap.push(id);
        }
        let topic = self
            .gossip
            .subscribe(TopicId::from_bytes([7; 32]), bootstrap)
            .await;
        self.topic = Some(topic.map_err(error)?.split());
        Ok(())
    }

    async fn reach(&mut self) -> Result<Reach> {
        let (_, receiver) = self.topic.as_mut().context("connected")?;
        // Neighbours come as events, and nothing else does before anybody publishes.
        while let Ok(Some(event)) =
            tokio::time::timeout(std::time::Duration::from_millis(1), receiver.next()).await
        {
            event.map_err(error)?;
        }
        Ok(Reach {
            neighbours: receiver.neighbors().count(),
            known: None,
        })
    }

    fn split(mut self) -> (IrohPublisher, IrohInbox) {
        let (sender, receiver) = self.topic.take().expect("connected");
        (
            IrohPublisher(sender),
            IrohInbox {
                _router: self.router,
                receiver,
            },
        )
    }
}

impl Publisher for IrohPublisher {
    async fn publish(&mut self, payload: Bytes) -> Result<()> {
        self.0.broadcast(payload).await.map_err(error)
    }
}

impl Inbox for IrohInbox {
    async fn receive(&mut self, seen: &mut Seen) -> Result<()> {
        let mut note = |event: Option<Result<Event, ApiError>>| {
            match event.context("the topic has ended")?.map_err(error)? {
                Event::Received(message) => seen.note(&message.content),
                Event::Lagged => eprintln!("iroh: the receiver lagged"),
                Event::NeighborUp(_) | Event::NeighborDown(_) => {}
            }
            anyhow::Ok(())
        };
        note(self.receiver.next().await)?;
        for _ in 1..BATCH {
            let Some(event) = self.receiver.next().now_or_never() else {
                break;
            };
            note(event)?;
        }
        Ok(())
    }
}
