//! rust-libp2p's gossipsub: as it comes, messages signed and checked by everybody (strict), or
//! without any names and signatures (anonymous).

use crate::peer::{Inbox, Options, Peer, Publisher, Reach};
use crate::seen::Seen;
use anyhow::{Context, Result};
use bytes::Bytes;
use futures::StreamExt;
use libp2p::gossipsub::{
    Behaviour, ConfigBuilder, Event, IdentTopic, MessageAuthenticity, MessageId, PublishError,
    ValidationMode,
};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, Swarm, SwarmBuilder, noise, tcp, yamux};
use std::hash::{DefaultHasher, Hash, Hasher};
use tokio::sync::{mpsc, oneshot};

/// Signed, and checked by every receiver.
pub type SignedGossipsub = Gossipsub<true>;
/// Neither signed nor checked.
pub type AnonymousGossipsub = Gossipsub<false>;

enum Request {
    Dial(Multiaddr),
    Publish(Bytes, oneshot::Sender<Result<(), PublishError>>),
    Mesh(oneshot::Sender<usize>),
}

pub struct Gossipsub<const SIGNED: bool> {
    address: Multiaddr,
    requests: mpsc::Sender<Request>,
    inbox: mpsc::UnboundedReceiver<Vec<u8>>,
}

pub struct GossipsubPublisher(mpsc::Sender<Request>);

pub struct GossipsubInbox {
    _requests: mpsc::Sender<Request>,
    messages: mpsc::UnboundedReceiver<Vec<u8>>,
}

fn topic() -> IdentTopic {
    IdentTopic::new("bench")
}

fn behaviour(signed: bool, key: &libp2p::identity::Keypair, largest: usize) -> Result<Behaviour> {
    let mut config = ConfigBuilder::default();
    config.max_transmit_size((2 * largest).max(64 << 10));
    let authenticity = if signed {
        config.validation_mode(ValidationMode::Strict);
        MessageAuthenticity::Signed(key.clone())
    } else {
        config.validation_mode(ValidationMode::Anonymous);
        config.message_id_fn(|message| {
            let mut hasher = DefaultHasher::new();
            message.data.hash(&mut hasher);
            MessageId::from(hasher.finish().to_be_bytes().to_vec())
        });
        MessageAuthenticity::Anonymous
    };
    Behaviour::new(authenticity, config.build()?).map_err(anyhow::Error::msg)
}

async fn run(
    mut swarm: Swarm<Behaviour>,
    mut requests: mpsc::Receiver<Request>,
    messages: mpsc::UnboundedSender<Vec<u8>>,
) {
    loop {
        tokio::select! {
            request = requests.recv() => match request {
                None => return,
                Some(Request::Dial(address)) => {
                    if let Err(error) = swarm.dial(address) {
                        eprintln!("gossipsub: {error}");
                    }
                }
                Some(Request::Publish(payload, reply)) => {
                    let result = swarm.behaviour_mut().publish(topic(), payload);
                    let _ = reply.send(result.map(|_| ()));
                }
                Some(Request::Mesh(reply)) => {
                    let _ = reply.send(swarm.behaviour().mesh_peers(&topic().hash()).count());
                }
            },
            event = swarm.select_next_some() => {
                if let SwarmEvent::Behaviour(Event::Message { message, .. }) = event {
                    let _ = messages.send(message.data);
                }
            }
        }
    }
}

impl<const SIGNED: bool> Peer for Gossipsub<SIGNED> {
    type Publisher = GossipsubPublisher;
    type Inbox = GossipsubInbox;
    const FINDS_LINKS: bool = false;

    async fn start(options: &Options) -> Result<Self> {
        let largest = options.message_bytes;
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(
                tcp::Config::default().nodelay(true),
                noise::Config::new,
                yamux::Config::default,
            )?
            .with_behaviour(|key| behaviour(SIGNED, key, largest).map_err(Into::into))?
            .with_swarm_config(|config| {
                config.with_idle_connection_timeout(std::time::Duration::from_secs(3600))
            })
            .build();
        swarm.behaviour_mut().subscribe(&topic())?;
        swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address;
            }
        };
        let (requests, request_inbox) = mpsc::channel(64);
        let (messages, inbox) = mpsc::unbounded_channel();
        tokio::spawn(run(swarm, request_inbox, messages));
        Ok(Self {
            address,
            requests,
            inbox,
        })
    }

    fn address(&self) -> String {
        self.address.to_string()
    }

    async fn join(&mut self, addresses: &[String]) -> Result<()> {
        for address in addresses {
            self.requests.send(Request::Dial(address.parse()?)).await?;
        }
        Ok(())
    }

    async fn reach(&mut self) -> Result<Reach> {
        let (reply, mesh) = oneshot::channel();
        self.requests.send(Request::Mesh(reply)).await?;
        Ok(Reach {
            neighbours: mesh.await?,
            known: None,
        })
    }

    fn split(self) -> (GossipsubPublisher, GossipsubInbox) {
        let inbox = GossipsubInbox {
            _requests: self.requests.clone(),
            messages: self.inbox,
        };
        (GossipsubPublisher(self.requests), inbox)
    }
}

impl Publisher for GossipsubPublisher {
    async fn publish(&mut self, payload: Bytes) -> Result<()> {
        loop {
            let (reply, answer) = oneshot::channel();
            self.0
                .send(Request::Publish(payload.clone(), reply))
                .await?;
            match answer.await? {
                Ok(()) => return Ok(()),
                Err(PublishError::AllQueuesFull(_)) => {
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Inbox for GossipsubInbox {
    async fn receive(&mut self, seen: &mut Seen) -> Result<()> {
        let message = self.messages.recv().await.context("the swarm has ended")?;
        seen.note(&message);
        while let Ok(message) = self.messages.try_recv() {
            seen.note(&message);
        }
        Ok(())
    }
}
