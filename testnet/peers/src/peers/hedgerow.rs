//! Hedgerow through its library facade.

use crate::peer::{Inbox, Options, Peer, Publisher, Reach};
use crate::seen::Seen;
use anyhow::{Context, Result};
use bytes::Bytes;
use futures::SinkExt;
use hedgerow::{Config, Group, GroupName, JoinOptions, Node, Subscription, TransportConfig};

/// Messages taken out of a subscription at once.
const BATCH: usize = 256;

pub struct HedgerowPeer {
    node: Option<Node>,
    group: Option<(Group, Subscription)>,
}

pub struct HedgerowPublisher(Group);

pub struct HedgerowInbox {
    _node: Node,
    subscription: Subscription,
    batch: Vec<Result<hedgerow::Delivery, hedgerow::Gap>>,
}

impl Peer for HedgerowPeer {
    type Publisher = HedgerowPublisher;
    type Inbox = HedgerowInbox;
    const FINDS_LINKS: bool = true;

    async fn start(options: &Options) -> Result<Self> {
        let mut transport = TransportConfig::default();
        if options.listen {
            transport.listen.push("/ip4/127.0.0.1/tcp/0".parse()?);
        }
        if let Some(max) = options.incoming_max {
            transport.incoming_max = max;
        }
        let mut engine = Config::default();
        engine.links.degree = options.links.unwrap_or(engine.links.degree);
        let bootstrap: Result<Vec<_>, _> = options.bootstrap.iter().map(|it| it.parse()).collect();
        let builder = Node::builder().engine(engine).transport(transport);
        let builder = builder.connect(&bootstrap?);
        let node = builder.spawn().await?;
        Ok(Self {
            node: Some(node),
            group: None,
        })
    }

    fn address(&self) -> String {
        let addresses = self
            .node
            .as_ref()
            .map(Node::listen_addresses)
            .unwrap_or_default();
        addresses
            .first()
            .map(ToString::to_string)
            .unwrap_or_default()
    }

    async fn join(&mut self, _addresses: &[String]) -> Result<()> {
        let node = self.node.as_ref().context("started")?;
        let name = GroupName::new("bench")?;
        let publisher = node.join(&name, JoinOptions::default()).await?;
        let (_, subscription) = node
            .join(&name, JoinOptions::default())
            .await?
            .into_subscription();
        self.group = Some((publisher, subscription));
        Ok(())
    }

    async fn reach(&mut self) -> Result<Reach> {
        let node = self.node.as_ref().context("started")?;
        let status = node.status().await?;
        let mut known = status.view_peers;
        if let Some((group, _)) = &self.group {
            known = known.min(group.members().await?.len());
            if !tokio::time::timeout(std::time::Duration::from_secs(5), group.joined()).await? {
                known = 0;
            }
        }
        Ok(Reach {
            neighbours: status.links,
            known: Some(known),
        })
    }

    fn split(mut self) -> (HedgerowPublisher, HedgerowInbox) {
        let node = self.node.take().expect("started");
        let (group, subscription) = self.group.take().expect("connected");
        let inbox = HedgerowInbox {
            _node: node,
            subscription,
            batch: Vec::new(),
        };
        (HedgerowPublisher(group), inbox)
    }
}

impl Publisher for HedgerowPublisher {
    async fn publish(&mut self, payload: Bytes) -> Result<()> {
        Ok(self.0.feed(payload).await?)
    }
}

impl Inbox for HedgerowInbox {
    async fn receive(&mut self, seen: &mut Seen) -> Result<()> {
        if self.subscription.recv_many(&mut self.batch, BATCH).await == 0 {
            anyhow::bail!("the group has ended");
        }
        for item in self.batch.drain(..) {
            match item {
                Ok(delivery) => seen.note(&delivery.payload),
                Err(gap) => eprintln!("hedgerow: {gap}"),
            }
        }
        Ok(())
    }
}
