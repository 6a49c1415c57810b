//! Clients of one NATS server on loopback: a broker, its messages neither signed nor encrypted.
//! Needs `nats-server` in the path.

use crate::peer::{Inbox, Options, Peer, Publisher, Reach};
use crate::seen::Seen;
use crate::usage;
use anyhow::{Context, Result};
use async_nats::{Client, Subscriber};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Says the server's id, and ends it when this process has ended, however that came about.
const KEEPER: &str = r#""$@" >/dev/null 2>&1 & echo $!; read -r _; kill $!"#;
/// Messages taken out of a subscription at once.
const BATCH: usize = 256;
const SUBJECT: &str = "bench";

pub struct NatsPeer {
    client: Client,
    subscriber: Subscriber,
    address: String,
}

pub struct NatsPublisher(Client);

pub struct NatsInbox {
    _client: Client,
    subscriber: Subscriber,
}

/// Whether there is a server to be started.
pub fn is_installed() -> bool {
    let version = Command::new("nats-server")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    version.is_ok_and(|status| status.success())
}

fn start_server() -> Result<String> {
    let port = std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port();
    let mut keeper = Command::new("sh")
        .args(["-c", KEEPER, "sh", "nats-server", "--addr", "127.0.0.1"])
        .args(["--port", &port.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("nats-server")?;
    let mut line = String::new();
    BufReader::new(keeper.stdout.take().context("its output")?).read_line(&mut line)?;
    usage::count_also(line.trim().parse().context("the server's process")?);
    // Its input stays open as long as this process lives.
    std::mem::forget(keeper);
    Ok(format!("127.0.0.1:{port}"))
}

impl Peer for NatsPeer {
    type Publisher = NatsPublisher;
    type Inbox = NatsInbox;
    /// All meet at the server, which comes with the first.
    const FINDS_LINKS: bool = true;

    async fn start(options: &Options) -> Result<Self> {
        let address = match options.bootstrap.first() {
            Some(address) => address.clone(),
            None => start_server()?,
        };
        let mut tries = 0..100;
        let client = loop {
            match async_nats::connect(&address).await {
                Ok(client) => break client,
                Err(error) if tries.next().is_none() => return Err(error.into()),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        };
        let subscriber = client.subscribe(SUBJECT).await?;
        client.flush().await?;
        Ok(Self {
            client,
            subscriber,
            address,
        })
    }

    fn address(&self) -> String {
        self.address.clone()
    }

    async fn join(&mut self, _addresses: &[String]) -> Result<()> {
        Ok(())
    }

    async fn reach(&mut self) -> Result<Reach> {
        Ok(Reach {
            neighbours: 1,
            known: None,
        })
    }

    fn split(self) -> (NatsPublisher, NatsInbox) {
        let inbox = NatsInbox {
            _client: self.client.clone(),
            subscriber: self.subscriber,
        };
        (NatsPublisher(self.client), inbox)
    }
}

impl Publisher for NatsPublisher {
    async fn publish(&mut self, payload: Bytes) -> Result<()> {
        Ok(self.0.publish(SUBJECT, payload).await?)
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(self.0.flush().await?)
    }
}

impl Inbox for NatsInbox {
    async fn receive(&mut self, seen: &mut Seen) -> Result<()> {
        let message = self.subscriber.next().await;
        seen.note(&message.context("the server has gone")?.payload);
        for _ in 1..BATCH {
            let Some(Some(message)) = self.subscriber.next().now_or_never() else {
                break;
            };
            seen.note(&message.payload);
        }
        Ok(())
    }
}
