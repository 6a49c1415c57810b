//! One measurement: some peers of one program, a load on them, and what came of it.

use crate::peer::{Inbox, Peer, Publisher};
use crate::peers::{gossipsub, hedgerow, iroh_gossip, nats, stream, tcp, zeromq};
use crate::seen::{Progress, Seen, now_ns, payload};
use crate::{stand, usage};
use anyhow::Result;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::Instant;

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Program {
    Hedgerow,
    GossipsubSigned,
    GossipsubAnonymous,
    IrohGossip,
    Stream,
    Tcp,
    Nats,
    Zeromq,
}

/// How many peers, and what is connected with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Two processes: this one publishes.
    PairOrigin,
    /// Two processes: this one is told.
    PairReceiver,
    /// A line in one process.
    Chain(usize),
    /// So many peers in one process, linked as the program does it.
    Overlay(usize),
    /// One idle peer, and in another process those it has links to.
    Centre,
    /// Those.
    Around(usize),
}

impl Spec {
    /// Peers in one process.
    pub fn peers(&self) -> usize {
        match self.shape {
            Shape::PairOrigin | Shape::PairReceiver | Shape::Centre => 1,
            Shape::Chain(count) | Shape::Overlay(count) | Shape::Around(count) => count,
        }
    }

    /// Peers that are handed messages.
    pub fn receivers(&self) -> usize {
        match self.shape {
            Shape::Chain(count) | Shape::Overlay(count) if self.origins == 1 => count - 1,
            _ => self.peers(),
        }
    }
}

/// What is asked of the origins.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Load {
    /// Nothing.
    Idle,
    /// Publish until the peer makes wait.
    Busy,
    /// So many messages of an origin under way at most.
    Window(u64),
    /// So many messages a second of an origin, whatever becomes of them.
    Rate(f64),
}

/// One measurement to make.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    pub program: Program,
    pub shape: Shape,
    pub message_bytes: usize,
    pub load: Load,
    pub origins: usize,
    /// How long is measured.
    pub seconds: f64,
    /// The other process's peer.
    pub connect: Option<String>,
    /// Where the origin's process is told what was delivered.
    pub tell: Option<SocketAddr>,
}

/// What a process says when its peers stand.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Standing {
    pub address: String,
}

/// What was measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Length of the window, seconds.
    pub seconds: f64,
    /// In it: messages handed to subscribers other than their origin.
    pub delivered: u64,
    /// In it: CPU time of this process, microseconds.
    pub cpu_us: u64,
    /// In it: bytes on the loopback interface.
    pub wire_bytes: u64,
    /// Over all: messages published, and deliveries of them.
    pub published: u64,
    pub delivered_in_all: u64,
    /// Deliveries that were due in all.
    pub due_in_all: u64,
    /// p50, p99, p99.9 of the deliveries' latencies, microseconds.
    pub latency_us: Option<[u64; 3]>,
    /// With a window of 1: median time from publication to the last receiver, microseconds.
    pub spread_us: Option<u64>,
    /// Private memory at the end, KiB.
    pub private_kib: u64,
    /// Cores used by all peers before anything was published, once they were calm.
    pub idle_cores: Option<f64>,
    /// Links of a peer then, mean.
    pub links: Option<f64>,
}

/// Before anything is measured under load.
const WARM_UP: Duration = Duration::from_millis(700);
/// No delivery for so long: what is under way is lost.
const PATIENCE: Duration = Duration::from_secs(2);
/// A receiver in another process tells so many times in a window of its origin.
const TELLS_PER_WINDOW: u64 = 16;

/// Makes one measurement and prints what came of it.
pub fn run(spec: &Spec) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match spec.program {
            Program::Hedgerow => measure::<hedgerow::HedgerowPeer>(spec).await,
            Program::GossipsubSigned => measure::<gossipsub::SignedGossipsub>(spec).await,
            Program::GossipsubAnonymous => measure::<gossipsub::AnonymousGossipsub>(spec).await,
            Program::IrohGossip => measure::<iroh_gossip::IrohPeer>(spec).await,
            Program::Stream => measure::<stream::StreamPeer>(spec).await,
            Program::Tcp => measure::<tcp::TcpPeer>(spec).await,
            Program::Nats => measure::<nats::NatsPeer>(spec).await,
            Program::Zeromq => measure::<zeromq::ZeromqPeer>(spec).await,
        }
    })
}

async fn measure<P: Peer>(spec: &Spec) -> Result<()> {
    let (peers, rest) = stand::build::<P>(spec).await?;
    let progress = Progress::new(spec.origins.max(1));
    let told = match spec.shape {
        Shape::PairOrigin => match spec.tell {
            Some(address) => Some(UdpSocket::bind(address).await?),
            None => None,
        },
        _ => None,
    };
    let standing = Standing {
        address: peers.first().map(Peer::address).unwrap_or_default(),
    };
    println!("{}", serde_json::to_string(&standing)?);
    if let Some(told) = told {
        tokio::spawn(be_told(told, progress.clone()));
    }
    let mut outcome = match spec.shape {
        Shape::Centre | Shape::Around(_) => idle(peers, spec).await?,
        Shape::PairReceiver => receive(peers, spec, &progress).await?,
        _ if spec.load == Load::Idle => idle(peers, spec).await?,
        _ => publish(peers, spec, &progress).await?,
    };
    (outcome.idle_cores, outcome.links) = (rest.cores, rest.links);
    println!("{}", serde_json::to_string(&outcome)?);
    if matches!(spec.shape, Shape::PairOrigin | Shape::Around(_)) {
        // The other process has not had enough yet; whoever started this one ends it.
        std::future::pending::<()>().await;
    }
    // Peers are not closed in order: it would only take time.
    std::process::exit(0);
}

/// Takes what a receiver in another process tells.
async fn be_told(socket: UdpSocket, progress: Arc<Progress>) {
    let mut buffer = [0; 8];
    while let Ok(8) = socket.recv(&mut buffer).await {
        let total = u64::from_le_bytes(buffer);
        let more = total.saturating_sub(progress.delivered(0));
        progress.note_delivered(0, more);
    }
}

/// Who is to be told how many came, and after how many more.
struct Tell {
    socket: UdpSocket,
    progress: Arc<Progress>,
    every: u64,
}

fn spawn_inbox<I: Inbox>(mut inbox: I, mut seen: Seen, tell: Option<Tell>) {
    tokio::spawn(async move {
        let mut told = 0;
        loop {
            if let Err(error) = inbox.receive(&mut seen).await {
                // Where the other process is ended first, that is how it shows.
                return eprintln!("inbox: {error:#}");
            }
            seen.tell();
            if let Some(tell) = &tell {
                let total = tell.progress.delivered(0);
                if total >= told + tell.every {
                    told = total;
                    // Nobody may listen any more.
                    let _ = tell.socket.send(&total.to_le_bytes()).await;
                }
            }
        }
    });
}

/// The receiving process of a pair: its window begins soon after the first message.
async fn receive<P: Peer>(peers: Vec<P>, spec: &Spec, progress: &Arc<Progress>) -> Result<Outcome> {
    let mut publishers = Vec::new();
    for peer in peers {
        let (publisher, inbox) = peer.split();
        publishers.push(publisher);
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        if let Some(address) = spec.tell {
            socket.connect(address).await?;
        }
        let every = match spec.load {
            Load::Window(most) => (most / TELLS_PER_WINDOW).max(1),
            _ => 1,
        };
        let tell = (spec.tell.is_some() || spec.load != Load::Busy).then(|| Tell {
            socket,
            progress: progress.clone(),
            every,
        });
        let seen = Seen::new(
            progress.clone(),
            None,
            matches!(spec.load, Load::Rate(_)),
            false,
        );
        spawn_inbox(inbox, seen, tell);
    }
    anyhow::ensure!(
        progress.wait(0, 1, Duration::from_secs(60)).await,
        "nothing came within a minute"
    );
    window(spec, progress, 1).await
}

/// All other shapes: publishers and receivers.
async fn publish<P: Peer>(peers: Vec<P>, spec: &Spec, progress: &Arc<Progress>) -> Result<Outcome> {
    let receivers = match spec.shape {
        Shape::PairOrigin => 1,
        _ => peers.len() as u64 - 1,
    };
    let with_latency = matches!(spec.load, Load::Rate(_));
    let exact = matches!(spec.load, Load::Window(_));
    let mut publishers = Vec::new();
    let step = (peers.len() / spec.origins).max(1);
    for (index, peer) in peers.into_iter().enumerate() {
        let (publisher, inbox) = peer.split();
        let origin = (index % step == 0 && index / step < spec.origins).then_some(index / step);
        if spec.shape == Shape::PairOrigin {
            // Nobody is interested here; dropped, it could end the peer.
            std::mem::forget(inbox);
        } else {
            let seen = Seen::new(progress.clone(), origin, with_latency, exact);
            spawn_inbox(inbox, seen, None);
        }
        publishers.push((publisher, origin));
    }
    let until = Instant::now() + WARM_UP + Duration::from_secs_f64(spec.seconds);
    let mut tasks = Vec::new();
    for (publisher, origin) in publishers {
        if let Some(origin) = origin {
            let (spec, progress) = (spec.clone(), progress.clone());
            tasks.push(tokio::spawn(drive(
                publisher, origin, spec, progress, receivers, until,
            )));
        } else {
            // Dropped, it would end its peer.
            std::mem::forget(publisher);
        }
    }
    let mut outcome = window(spec, progress, receivers).await?;
    if spec.shape == Shape::PairOrigin {
        return Ok(outcome);
    }
    let mut spreads = Vec::new();
    for task in tasks {
        spreads.extend(task.await??);
    }
    // What is under way may still come.
    for origin in 0..spec.origins {
        let due = progress.published(origin) * receivers;
        progress.wait(origin, due, PATIENCE).await;
    }
    progress.recording.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(50)).await;
    outcome.published = progress.published_by_all();
    outcome.due_in_all = outcome.published * receivers;
    outcome.delivered_in_all = progress.delivered_of_all();
    if with_latency {
        let latency = progress.latency();
        outcome.latency_us = Some([0.5, 0.99, 0.999].map(|q| latency.value_at_quantile(q)));
    }
    spreads.sort_unstable();
    outcome.spread_us = spreads.get(spreads.len() / 2).copied();
    Ok(outcome)
}

/// Messages of an origin that all receivers have. Another process tells only how many it has.
fn complete(progress: &Progress, origin: usize, receivers: u64) -> u64 {
    if receivers == 1 {
        progress.delivered(origin)
    } else {
        progress.complete(origin)
    }
}

/// Waits until so many are; `false` when nothing moved for `patience`.
async fn wait_for(
    progress: &Progress,
    origin: usize,
    due: u64,
    receivers: u64,
    patience: Duration,
) -> bool {
    if receivers == 1 {
        progress.wait(origin, due, patience).await
    } else {
        progress.wait_complete(origin, due, patience).await
    }
}

/// Publishes for an origin; with a window of 1, how long each message took to all.
async fn drive<T: Publisher>(
    mut publisher: T,
    origin: usize,
    spec: Spec,
    progress: Arc<Progress>,
    receivers: u64,
    until: Instant,
) -> Result<Vec<u64>> {
    let mut spreads = Vec::new();
    // Given up for lost.
    let mut lost = 0;
    let begin = Instant::now();
    let again: Bytes = payload(spec.message_bytes, now_ns(), origin, 0);
    for number in 0.. {
        // In a pair the origin goes on until it is ended: the receiver measures.
        if Instant::now() >= until && spec.shape != Shape::PairOrigin {
            break;
        }
        let stamp = match spec.load {
            Load::Idle => break,
            Load::Busy => None,
            Load::Window(most) => {
                let due = (number + 1_u64).saturating_sub(most + lost);
                if !wait_for(&progress, origin, due, receivers, PATIENCE).await {
                    lost += due - complete(&progress, origin, receivers);
                }
                progress.expect(origin, number, receivers);
                Some(now_ns())
            }
            Load::Rate(rate) => Some(wait_turn(begin, number, rate).await),
        };
        let message = match stamp {
            None => again.clone(),
            Some(stamp) => payload(spec.message_bytes, stamp, origin, number),
        };
        let started = Instant::now();
        publisher.publish(message).await?;
        progress.note_published(origin);
        if spec.load == Load::Window(1) {
            publisher.flush().await?;
            let due = number + 1 - lost;
            if wait_for(&progress, origin, due, receivers, Duration::from_secs(20)).await {
                spreads.push(started.elapsed().as_micros() as u64);
            } else {
                lost += due - complete(&progress, origin, receivers);
                spreads.push(20_000_000);
            }
        }
    }
    publisher.flush().await?;
    std::mem::forget(publisher);
    Ok(spreads)
}

/// Waits for the time of message `number`; from when its latency counts.
async fn wait_turn(begin: Instant, number: u64, rate: f64) -> u64 {
    let due = begin + Duration::from_secs_f64(number as f64 / rate);
    let now = Instant::now();
    if now < due {
        tokio::time::sleep_until(due).await;
        // The timer's own grain is not the program's delay.
        return now_ns();
    }
    // Kept waiting by the program: counted from when it should have been published.
    now_ns() - (now - due).as_nanos() as u64
}

/// Warms up, then measures.
async fn window(spec: &Spec, progress: &Arc<Progress>, receivers: u64) -> Result<Outcome> {
    tokio::time::sleep(WARM_UP).await;
    progress.recording.store(true, Ordering::Relaxed);
    let (begin, cpu) = (Instant::now(), usage::cpu_us());
    let (delivered, wire) = (progress.delivered_of_all(), usage::loopback_bytes());
    tokio::time::sleep(Duration::from_secs_f64(spec.seconds)).await;
    let _ = receivers;
    Ok(Outcome {
        seconds: begin.elapsed().as_secs_f64(),
        delivered: progress.delivered_of_all() - delivered,
        cpu_us: usage::cpu_us() - cpu,
        wire_bytes: usage::loopback_bytes()
            .zip(wire)
            .map_or(0, |(now, before)| now - before),
        private_kib: usage::private_kib()?,
        published: progress.published_by_all(),
        ..Outcome::default()
    })
}

/// Nothing is published.
async fn idle<P: Peer>(peers: Vec<P>, spec: &Spec) -> Result<Outcome> {
    let mut halves = Vec::new();
    for peer in peers {
        halves.push(peer.split());
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (begin, cpu) = (Instant::now(), usage::cpu_us());
    tokio::time::sleep(Duration::from_secs_f64(spec.seconds)).await;
    let outcome = Outcome {
        seconds: begin.elapsed().as_secs_f64(),
        cpu_us: usage::cpu_us() - cpu,
        private_kib: usage::private_kib()?,
        ..Outcome::default()
    };
    std::mem::forget(halves);
    Ok(outcome)
}
