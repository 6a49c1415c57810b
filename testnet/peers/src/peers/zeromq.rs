//! Two ZeroMQ sockets (the crate `zeromq`, PUSH and PULL over TCP): neither signed nor encrypted.

use crate::peer::{Inbox, Options, Peer, Publisher, Reach};
use crate::seen::Seen;
use anyhow::{Context, Result};
use bytes::Bytes;
use futures::FutureExt;
use zeromq::{PullSocket, PushSocket, Socket, SocketRecv, SocketSend};

/// Messages taken out of a socket at once.
const BATCH: usize = 256;

/// Who is first binds and is sent to; the other connects.
pub struct ZeromqPeer {
    push: Option<PushSocket>,
    pull: Option<PullSocket>,
    address: String,
}

pub struct ZeromqPublisher(Option<PushSocket>);

pub struct ZeromqInbox(Option<PullSocket>);

impl Peer for ZeromqPeer {
    type Publisher = ZeromqPublisher;
    type Inbox = ZeromqInbox;
    const FINDS_LINKS: bool = true;

    async fn start(options: &Options) -> Result<Self> {
        if let Some(address) = options.bootstrap.first() {
            let mut push = PushSocket::new();
            push.connect(address).await?;
            return Ok(Self {
                push: Some(push),
                pull: None,
                address: address.clone(),
            });
        }
        let mut pull = PullSocket::new();
        let address = pull.bind("tcp://127.0.0.1:0").await?.to_string();
        Ok(Self {
            push: None,
            pull: Some(pull),
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

    fn split(self) -> (ZeromqPublisher, ZeromqInbox) {
        (ZeromqPublisher(self.push), ZeromqInbox(self.pull))
    }
}

impl Publisher for ZeromqPublisher {
    async fn publish(&mut self, payload: Bytes) -> Result<()> {
        let push = self.0.as_mut().context("this end is sent to")?;
        Ok(push.send(payload.into()).await?)
    }
}

impl Inbox for ZeromqInbox {
    async fn receive(&mut self, seen: &mut Seen) -> Result<()> {
        let pull = self.0.as_mut().context("this end sends")?;
        let mut message = pull.recv().await?;
        for _ in 1..BATCH {
            seen.note(message.get(0).map(Bytes::as_ref).unwrap_or_default());
            match pull.recv().now_or_never() {
                Some(next) => message = next?,
                None => return Ok(()),
            }
        }
        seen.note(message.get(0).map(Bytes::as_ref).unwrap_or_default());
        Ok(())
    }
}
