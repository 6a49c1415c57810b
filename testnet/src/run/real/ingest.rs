//! What comes in from peers, and how it is booked.

use super::Real;
use super::node::{Metrics, State};
use super::poll::TICK;
use crate::process::{Api, Heard, Peer, ProcessError, Received};
use crate::run::workload::workload_of;
use bytes::Bytes;
use hedgerow_protocol::{
    Arrival, Delivery, Event, GroupName, Headers, MessageId, Micros, PeerKey, SettingsPatch,
};
use std::time::Instant;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{interval, sleep_until};

/// News booked before the clock is looked at again.
const BOOKED_AT_ONCE: usize = 256;

/// Something that happened at a node's peer, in one of its lives.
pub(super) enum News {
    /// A process is up, or will never be.
    Up {
        node: usize,
        life: u64,
        result: Result<Box<Peer>, ProcessError>,
    },
    /// A line of a group's stream.
    Heard {
        node: usize,
        life: u64,
        group: GroupName,
        what: Heard,
    },
    /// A group's stream has ended.
    Closed {
        node: usize,
        life: u64,
        group: GroupName,
        why: String,
    },
    /// A publication was taken, or was not.
    Posted {
        node: usize,
        life: u64,
        number: u64,
        result: Result<MessageId, ProcessError>,
    },
    /// An answer to a look.
    Seen {
        node: usize,
        life: u64,
        metrics: Result<Box<Metrics>, ProcessError>,
    },
}

/// A publication on its way.
#[derive(Clone, Debug)]
pub(super) struct Post {
    node: usize,
    at: Micros,
    group: GroupName,
    payload: Bytes,
    /// Whether it came out of some peer although its publisher did not answer so far.
    has_come: bool,
}

/// The signals that end a run.
pub(super) struct Signals([Signal; 3]);

impl Signals {
    /// Must be called inside the runtime.
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    async fn any(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// Joins a group and passes on what its stream tells, until it ends. While it is deaf it reads
/// nothing.
pub(super) async fn listen(
    (api, mut deaf): (&Api, watch::Receiver<bool>),
    node: usize,
    life: u64,
    group: &GroupName,
    settings: SettingsPatch,
    sender: &mpsc::UnboundedSender<News>,
) -> Result<(), ProcessError> {
    let stream = api.join(group.as_str(), &query(&settings)).await;
    let mut stream = match stream {
        // What settings a group has by now wins over the scenario's.
        Err(ProcessError::Refused { why, .. }) if why.contains("settings_differ") => {
            api.join(group.as_str(), "").await?
        }
        other => other?,
    };
    while deaf.wait_for(|deaf| !deaf).await.is_ok() {
        let Some(what) = stream.next().await? else {
            break;
        };
        let group = group.clone();
        let news = News::Heard {
            node,
            life,
            group,
            what,
        };
        if sender.send(news).is_err() {
            break;
        }
    }
    Ok(())
}

/// Settings as the API's query has them.
fn query(settings: &SettingsPatch) -> String {
    let order = settings.order.map(|order| match order {
        hedgerow_protocol::Order::Fifo => "fifo".to_owned(),
        hedgerow_protocol::Order::Unordered => "unordered".to_owned(),
    });
    let pairs = [
        ("redundancy", settings.redundancy.map(|k| k.to_string())),
        ("order", order),
        (
            "retention_bytes",
            settings.retention_bytes.map(|bytes| bytes.to_string()),
        ),
        (
            "retention",
            settings.retention_ms.map(|ms| format!("{ms}ms")),
        ),
    ];
    let given = pairs.into_iter();
    let words = given.filter_map(|(key, value)| Some(format!("{key}={}", value?)));
    words.collect::<Vec<_>>().join("&")
}

/// The number that workloads write at the head of every payload.
fn number_of(payload: &[u8]) -> Option<u64> {
    let head = payload.get(..8)?.try_into().ok()?;
    Some(u64::from_be_bytes(head))
}

impl Real {
    /// Books what comes until the instant, or until `done`; not `done` before anything came is
    /// asked as well.
    pub(super) async fn pump(
        &mut self,
        until: Option<Instant>,
        mut done: impl FnMut(&mut Self) -> bool,
    ) {
        let mut tick = interval(TICK);
        tick.reset();
        // Tasks get a turn even when there is no time to wait for.
        tokio::task::yield_now().await;
        loop {
            for _ in 0..BOOKED_AT_ONCE {
                let Ok(news) = self.news.try_recv() else {
                    break;
                };
                self.book(news);
            }
            if self.last_tick.elapsed() >= TICK {
                self.last_tick = Instant::now();
                self.on_tick();
            }
            if self.interrupted || done(self) || until.is_some_and(|until| Instant::now() >= until)
            {
                return;
            }
            let end = async {
                match until {
                    Some(until) => sleep_until(until.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.signals.any() => self.interrupted = true,
                Some(news) = self.news.recv() => self.book(news),
                _ = tick.tick() => {}
                () = end => {}
            }
        }
    }

    fn is_current(&self, node: usize, life: u64) -> bool {
        self.nodes[node].life == life
    }

    fn book(&mut self, news: News) {
        match news {
            News::Up { node, life, result } if self.is_current(node, life) => {
                self.on_up(node, result);
            }
            News::Heard {
                node,
                life,
                group,
                what,
            } if self.is_current(node, life) => self.on_heard(node, group, what),
            News::Closed {
                node,
                life,
                group,
                why,
            } if self.is_current(node, life) => self.on_closed(node, &group, &why),
            News::Posted {
                node,
                life,
                number,
                result,
            } => {
                if self.is_current(node, life) {
                    self.nodes[node].posts = self.nodes[node].posts.saturating_sub(1);
                }
                match result {
                    Ok(id) => self.on_posted(number, id),
                    // One whose publisher died over it, or that came too late or was too busy to
                    // answer, stays among those on their way: some may have got it.
                    Err(error) => self.on_not_posted(node, life, &error),
                }
            }
            News::Seen {
                node,
                life,
                metrics,
            } => self.on_seen(node, life, metrics),
            // Of a life that has ended. A process that came up too late dies with its news.
            News::Up { .. } | News::Heard { .. } | News::Closed { .. } => {}
        }
    }

    fn on_heard(&mut self, node: usize, group: GroupName, what: Heard) {
        match what {
            Heard::Message(message) => self.on_message(node, group, message),
            Heard::Joined => {
                self.nodes[node].joining.remove(&group);
                let event = Event::Joined {
                    group,
                    from_neighbour: true,
                };
                self.journal.event(self.clock.real(), node, event);
            }
            Heard::Gap {
                origin,
                epoch,
                from,
                to,
            } => {
                let Ok(origin) = origin.parse() else { return };
                let event = Event::Gap {
                    group,
                    origin,
                    epoch,
                    from,
                    to,
                };
                self.journal.event(self.clock.real(), node, event);
            }
            Heard::Lagged { messages } => {
                let what =
                    format!("node {node}: {messages} messages of {group} were read too late");
                self.trouble(what);
            }
            Heard::Other(_) => {}
        }
    }

    fn on_message(&mut self, node: usize, group: GroupName, message: Received) {
        let Ok(origin) = message.origin.parse::<PeerKey>() else {
            self.trouble(format!("node {node}: {:?} is no peer", message.origin));
            return;
        };
        let id = MessageId {
            origin,
            epoch: message.epoch,
            seq: message.seq,
        };
        let payload = Bytes::from(message.payload);
        // It may come back before its publisher is answered, or although that never is.
        if let Some(post) = number_of(&payload).and_then(|number| self.posts.get_mut(&number))
            && (post.payload == payload && post.group == group)
            && self.nodes[post.node].key == origin
        {
            post.has_come = true;
            let post = post.clone();
            self.journal
                .published(post.at, post.node, &post.group, id, post.payload);
        }
        let arrival = match (origin == self.nodes[node].key, message.pulled) {
            (true, _) => Arrival::Local,
            (false, true) => Arrival::Pulled,
            (false, false) => Arrival::Pushed,
        };
        let delivery = Delivery {
            group,
            id,
            published_at: message.published_at,
            payload,
            headers: Headers::default(),
            hops: message.hops,
            arrival,
        };
        let at = self.clock.of(message.at);
        self.journal.delivered(at, node, &delivery);
    }

    /// The streams of a process that ends, end; any other has no reason to.
    fn on_closed(&mut self, node: usize, group: &GroupName, why: &str) {
        let at = &mut self.nodes[node];
        let known = at.streams.remove(group).is_some();
        at.joining.remove(group);
        let runs = at.state == State::Running && at.peer.as_ref().is_some_and(Peer::is_alive);
        if known && runs {
            self.trouble(format!("node {node}: the stream of {group}: {why}"));
        }
    }

    /// Hands a message to a node's peer.
    pub(super) fn post(&mut self, node: usize, group: GroupName, payload: Bytes) {
        let Some(number) = number_of(&payload) else {
            return;
        };
        let at = self.clock.real();
        let here = &mut self.nodes[node];
        let Some(peer) = &here.peer else { return };
        here.posts += 1;
        let (api, life, sender) = (peer.api(), here.life, self.sender.clone());
        let post = Post {
            node,
            at,
            group: group.clone(),
            payload: payload.clone(),
            has_come: false,
        };
        self.posts.insert(number, post);
        self.runtime.spawn(async move {
            let result = api.publish(group.as_str(), payload).await;
            let _ = sender.send(News::Posted {
                node,
                life,
                number,
                result,
            });
        });
    }

    /// A peer that runs, and has room, has no reason to refuse a message.
    fn on_not_posted(&mut self, node: usize, life: u64, error: &ProcessError) {
        let runs = self.is_current(node, life) && self.nodes[node].state == State::Running;
        // What is true of one is true of thousands.
        if runs && error.is_refusal() && self.refusing.insert(node) {
            self.trouble(format!("node {node} refused a message: {error}"));
        }
    }

    /// Messages of a workload that peers were given, and that neither they nor others know.
    pub(super) fn lost_posts(&self, workload: usize) -> u64 {
        let posts = self.posts.iter();
        let lost =
            posts.filter(|(number, post)| workload_of(**number) == workload && !post.has_come);
        lost.count() as u64
    }

    /// A message has its name.
    fn on_posted(&mut self, number: u64, id: MessageId) {
        if let Some(post) = self.posts.remove(&number) {
            self.journal
                .published(post.at, post.node, &post.group, id, post.payload);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_become_a_query() {
        let settings = SettingsPatch {
            redundancy: Some(2),
            order: Some(hedgerow_protocol::Order::Unordered),
            retention_bytes: None,
            retention_ms: Some(1_500),
        };
        assert_eq!(
            query(&settings),
            "redundancy=2&order=unordered&retention=1500ms"
        );
        assert_eq!(query(&SettingsPatch::default()), "");
    }

    #[test]
    fn a_payload_has_its_number_at_its_head() {
        let mut payload = 7u64.to_be_bytes().to_vec();
        payload.extend(b"....");
        assert_eq!(number_of(&payload), Some(7));
        assert_eq!(number_of(b"short"), None);
    }
}
