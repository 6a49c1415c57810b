//! Listens at all peers at once and books what comes.

use super::ledger::{Ledger, Subscriber};
use anyhow::{Context as _, bail};
use hedgerow_testnet::process::{Cli, MessageStream, ProcessError, Received};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout_at;

/// Something heard at a subscriber.
struct Heard {
    at: Subscriber,
    what: Result<Received, ProcessError>,
}

/// The ledger and the streams that fill it.
pub(crate) struct Collector {
    pub(crate) ledger: Ledger,
    sender: mpsc::UnboundedSender<Heard>,
    receiver: mpsc::UnboundedReceiver<Heard>,
    /// Readers end with the collector, and the commands they read from with them.
    readers: JoinSet<()>,
}

impl Collector {
    pub(crate) fn new() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self {
            ledger: Ledger::default(),
            sender,
            receiver,
            readers: JoinSet::new(),
        }
    }

    /// Joins groups at a peer and listens to them; everything published there is due to it.
    pub(crate) fn listen(
        &mut self,
        at: Subscriber,
        cli: &Cli,
        groups: &[&str],
        more: &[&str],
    ) -> anyhow::Result<()> {
        self.ledger.subscribe(at);
        for group in groups {
            let stream = cli.join(group, more)?;
            self.readers.spawn(read(at, stream, self.sender.clone()));
        }
        Ok(())
    }

    /// Books what comes until `done`; `false` when nothing has come for `patience`, or when
    /// `limit` is over.
    pub(crate) async fn until(
        &mut self,
        limit: Duration,
        patience: Duration,
        done: impl Fn(&Ledger) -> bool,
    ) -> anyhow::Result<bool> {
        let end = Instant::now() + limit;
        let mut heard_last = Instant::now();
        while !done(&self.ledger) {
            let deadline = end.min(heard_last + patience);
            // A bounded number at a time, so that `done` is asked often, not once a message.
            let Ok(heard) = timeout_at(deadline.into(), self.receiver.recv()).await else {
                return Ok(false);
            };
            heard_last = Instant::now();
            self.book(heard.context("the collector holds a sender itself")?)?;
            for _ in 0..256 {
                let Ok(heard) = self.receiver.try_recv() else {
                    break;
                };
                self.book(heard)?;
            }
        }
        Ok(true)
    }

    /// Books what comes for a while.
    pub(crate) async fn pause(&mut self, pause: Duration) -> anyhow::Result<()> {
        self.until(pause, pause, |_| false).await.map(drop)
    }

    fn book(&mut self, heard: Heard) -> anyhow::Result<()> {
        match heard.what {
            Ok(message) => self.ledger.receive(heard.at, &message),
            // The stream of a killed peer breaks, as it must.
            Err(_) if !self.ledger.counts(heard.at) => {}
            Err(error) => bail!("listening at peer {}: {error}", heard.at.peer + 1),
        }
        Ok(())
    }
}

async fn read(at: Subscriber, mut stream: MessageStream, sender: mpsc::UnboundedSender<Heard>) {
    loop {
        let what = match stream.next().await {
            Ok(Some(message)) => Ok(message),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        let over = what.is_err();
        if sender.send(Heard { at, what }).is_err() || over {
            return;
        }
    }
}
