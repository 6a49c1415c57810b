//! Listens at all peers at once and books what comes.

use super::ledger::{Ledger, Subscriber};
use anyhow::{Context as _, bail};
use hedgerow_testnet::process::{Api, Heard, MessageStream, ProcessError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout_at;

/// Something heard at a subscriber; `None` when the stream has ended.
struct News {
    at: Subscriber,
    what: Result<Option<Heard>, ProcessError>,
}

/// The ledger and the streams that fill it.
pub(crate) struct Collector {
    pub(crate) ledger: Ledger,
    sender: mpsc::UnboundedSender<News>,
    receiver: mpsc::UnboundedReceiver<News>,
    /// Readers end with the collector, and the streams they read with them.
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

    /// Joins a group at a subscriber's peer, as `query` says, and listens to it.
    pub(crate) async fn listen(
        &mut self,
        at: Subscriber,
        api: &Api,
        group: &str,
        query: &str,
    ) -> anyhow::Result<()> {
        let stream = api.join(group, query).await?;
        self.readers.spawn(read(at, stream, self.sender.clone()));
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
            let Ok(news) = timeout_at(deadline.into(), self.receiver.recv()).await else {
                return Ok(false);
            };
            heard_last = Instant::now();
            self.book(news.context("the collector holds a sender itself")?)?;
            for _ in 0..256 {
                let Ok(news) = self.receiver.try_recv() else {
                    break;
                };
                self.book(news)?;
            }
        }
        Ok(true)
    }

    /// Books what comes for a while.
    pub(crate) async fn pause(&mut self, pause: Duration) -> anyhow::Result<()> {
        self.until(pause, pause, |_| false).await.map(drop)
    }

    fn book(&mut self, news: News) -> anyhow::Result<()> {
        let name = || format!("peer {}", news.at.peer + 1);
        let counts = self.ledger.counts(news.at);
        match news.what {
            Ok(Some(Heard::Message(message))) => self.ledger.receive(news.at, &message),
            // The streams of a killed peer break, as they must.
            _ if !counts => {}
            Ok(Some(Heard::Gap {
                origin, from, to, ..
            })) => {
                let lost = format!("{}: messages {from} to {to} of {origin} are lost", name());
                self.ledger.complaints.push(lost);
            }
            Ok(Some(Heard::Lagged { messages })) => {
                let lost = format!("{}: {messages} messages were read too late", name());
                self.ledger.complaints.push(lost);
            }
            Ok(Some(Heard::Joined | Heard::Other(_))) => {}
            Ok(None) => bail!("{} ended its stream", name()),
            Err(error) => bail!("{}: {error}", name()),
        }
        Ok(())
    }
}

async fn read(at: Subscriber, mut stream: MessageStream, sender: mpsc::UnboundedSender<News>) {
    loop {
        let what = stream.next().await;
        let over = !matches!(what, Ok(Some(_)));
        if sender.send(News { at, what }).is_err() || over {
            return;
        }
    }
}
