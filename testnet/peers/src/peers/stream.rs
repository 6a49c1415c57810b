//! Two peers over one libp2p stream (TCP, Noise, Yamux), 64 KiB a write: the ceiling for whoever
//! uses libp2p as it comes.

use super::tcp::{Counter, WRITE_BYTES};
use crate::peer::{Inbox, Options, Peer, Publisher, Reach};
use crate::seen::Seen;
use anyhow::{Context, Result};
use bytes::Bytes;
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder, noise, tcp, yamux};
use libp2p_stream::{Behaviour, Control, IncomingStreams};

const PROTOCOL: StreamProtocol = StreamProtocol::new("/hedgerow-peers/raw");

pub struct StreamPeer {
    control: Control,
    incoming: IncomingStreams,
    address: Multiaddr,
    dial: tokio::sync::mpsc::Sender<Multiaddr>,
    stream: Option<Stream>,
    message_bytes: usize,
}

pub struct StreamPublisher {
    stream: Option<Stream>,
    buffer: Vec<u8>,
}

pub struct StreamInbox {
    incoming: IncomingStreams,
    stream: Option<Stream>,
    counter: Counter,
}

async fn listen(swarm: &mut Swarm<Behaviour>) -> Result<Multiaddr> {
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            return Ok(address
                .with_p2p(*swarm.local_peer_id())
                .unwrap_or_else(|address| address));
        }
    }
}

impl Peer for StreamPeer {
    type Publisher = StreamPublisher;
    type Inbox = StreamInbox;
    const FINDS_LINKS: bool = false;

    async fn start(options: &Options) -> Result<Self> {
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(
                tcp::Config::default().nodelay(true),
                noise::Config::new,
                yamux::Config::default,
            )?
            .with_behaviour(|_| Behaviour::new())?
            .with_swarm_config(|config| {
                config.with_idle_connection_timeout(std::time::Duration::from_secs(3600))
            })
            .build();
        let mut control = swarm.behaviour().new_control();
        let incoming = control.accept(PROTOCOL)?;
        let address = listen(&mut swarm).await?;
        let (dial, mut dials) = tokio::sync::mpsc::channel::<Multiaddr>(8);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    Some(address) = dials.recv() => {
                        if let Err(error) = swarm.dial(address) {
                            eprintln!("stream: {error}");
                        }
                    }
                    _ = swarm.select_next_some() => {}
                }
            }
        });
        let message_bytes = options.message_bytes;
        Ok(Self {
            control,
            incoming,
            address,
            dial,
            stream: None,
            message_bytes,
        })
    }

    fn address(&self) -> String {
        self.address.to_string()
    }

    async fn join(&mut self, addresses: &[String]) -> Result<()> {
        let Some(address) = addresses.first() else {
            return Ok(());
        };
        let address: Multiaddr = address.parse()?;
        let peer = address.iter().find_map(|part| match part {
            libp2p::multiaddr::Protocol::P2p(peer) => Some(peer),
            _ => None,
        });
        let peer: PeerId = peer.context("an address with a peer's name")?;
        self.dial.send(address).await?;
        for _ in 0..200 {
            if let Ok(stream) = self.control.open_stream(peer, PROTOCOL).await {
                self.stream = Some(stream);
                return Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        anyhow::bail!("no stream to {peer}")
    }

    async fn reach(&mut self) -> Result<Reach> {
        Ok(Reach {
            neighbours: 1,
            known: None,
        })
    }

    fn split(self) -> (StreamPublisher, StreamInbox) {
        let buffer = Vec::with_capacity(WRITE_BYTES);
        let publisher = StreamPublisher {
            stream: self.stream,
            buffer,
        };
        let counter = Counter::new(self.message_bytes);
        (
            publisher,
            StreamInbox {
                incoming: self.incoming,
                stream: None,
                counter,
            },
        )
    }
}

impl Publisher for StreamPublisher {
    const HOLDS_BACK: bool = true;

    async fn publish(&mut self, payload: Bytes) -> Result<()> {
        let stream = self.stream.as_mut().context("not connected")?;
        if self.buffer.len() + payload.len() > WRITE_BYTES {
            stream.write_all(&self.buffer).await?;
            self.buffer.clear();
        }
        if payload.len() >= WRITE_BYTES {
            // It fills a write alone: a ceiling copies nothing that need not be copied.
            stream.write_all(&payload).await?;
        } else {
            self.buffer.extend_from_slice(&payload);
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        let stream = self.stream.as_mut().context("not connected")?;
        stream.write_all(&self.buffer).await?;
        self.buffer.clear();
        Ok(stream.flush().await?)
    }
}

impl Inbox for StreamInbox {
    async fn receive(&mut self, seen: &mut Seen) -> Result<()> {
        if self.stream.is_none() {
            self.stream = self.incoming.next().await.map(|(_, stream)| stream);
        }
        let stream = self.stream.as_mut().context("no stream came")?;
        let count = stream.read(&mut self.counter.buffer).await?;
        anyhow::ensure!(count > 0, "the other end has closed");
        self.counter.note(count, seen);
        Ok(())
    }
}
