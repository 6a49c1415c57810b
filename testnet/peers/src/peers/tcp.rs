//! Two peers over a plain TCP connection, 64 KiB a write: what the kernel can do.

use crate::peer::{Inbox, Options, Peer, Publisher, Reach};
use crate::seen::Seen;
use anyhow::{Context, Result};
use bytes::Bytes;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub const WRITE_BYTES: usize = 64 << 10;

pub struct TcpPeer {
    listener: Option<TcpListener>,
    stream: Option<TcpStream>,
    address: SocketAddr,
    message_bytes: usize,
}

pub struct TcpPublisher {
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

pub struct TcpInbox {
    listener: Option<TcpListener>,
    stream: Option<TcpStream>,
    counter: Counter,
}

/// Counts messages of one size in a stream of bytes.
pub struct Counter {
    pub buffer: Vec<u8>,
    message_bytes: usize,
    partial: usize,
}

impl Counter {
    pub fn new(message_bytes: usize) -> Self {
        Self {
            buffer: vec![0; WRITE_BYTES],
            message_bytes,
            partial: 0,
        }
    }

    pub fn note(&mut self, bytes: usize, seen: &mut Seen) {
        self.partial += bytes;
        seen.note_many((self.partial / self.message_bytes) as u64);
        self.partial %= self.message_bytes;
    }
}

impl Peer for TcpPeer {
    type Publisher = TcpPublisher;
    type Inbox = TcpInbox;
    const FINDS_LINKS: bool = false;

    async fn start(options: &Options) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let message_bytes = options.message_bytes;
        Ok(Self {
            listener: Some(listener),
            stream: None,
            address,
            message_bytes,
        })
    }

    fn address(&self) -> String {
        self.address.to_string()
    }

    async fn join(&mut self, addresses: &[String]) -> Result<()> {
        if let Some(address) = addresses.first() {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            self.stream = Some(stream);
        }
        Ok(())
    }

    async fn reach(&mut self) -> Result<Reach> {
        Ok(Reach {
            neighbours: 1,
            known: None,
        })
    }

    fn split(self) -> (TcpPublisher, TcpInbox) {
        let buffer = Vec::with_capacity(WRITE_BYTES);
        let publisher = TcpPublisher {
            stream: self.stream,
            buffer,
        };
        let counter = Counter::new(self.message_bytes);
        (
            publisher,
            TcpInbox {
                listener: self.listener,
                stream: None,
                counter,
            },
        )
    }
}

impl Publisher for TcpPublisher {
    const HOLDS_BACK: bool = true;

    async fn publish(&mut self, payload: Bytes) -> Result<()> {
        if self.buffer.len() + payload.len() > WRITE_BYTES {
            self.flush().await?;
        }
        if payload.len() >= WRITE_BYTES {
            // It fills a write alone: a ceiling copies nothing that need not be copied.
            let stream = self.stream.as_mut().context("not connected")?;
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
        Ok(())
    }
}

impl Inbox for TcpInbox {
    async fn receive(&mut self, seen: &mut Seen) -> Result<()> {
        if self.stream.is_none() {
            let listener = self.listener.take().context("accepts one")?;
            self.stream = Some(listener.accept().await?.0);
        }
        let stream = self.stream.as_mut().context("accepted")?;
        let count = stream.read(&mut self.counter.buffer).await?;
        anyhow::ensure!(count > 0, "the other end has closed");
        self.counter.note(count, seen);
        Ok(())
    }
}
