//! One measurement: some peers of one program, a load on them, and what came of it.

use crate::load::{PATIENCE, WARM_UP, drive, window};
use crate::peer::{Inbox, Peer};
use crate::peers::{gossipsub, hedgerow, iroh_gossip, nats, stream, tcp, zeromq};
use crate::seen::{Count, Progress, Seen};
use crate::spec::{Load, Outcome, Program, Said, Shape, Spec, Standing};
use crate::{stand, usage};
use anyhow::Result;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::Instant;

/// A receiver in another process tells so many times in a window of its origin.
const TELLS_PER_WINDOW: u64 = 16;

/// Makes one measurement and prints what came of it, or why nothing did.
pub fn run(spec: &Spec) -> Result<()> {
    let result = run_all(spec);
    if let Err(error) = &result {
        let error = format!("{error:#}");
        println!("{}", serde_json::to_string(&Said::<()>::Failed { error })?);
    }
    result
}

fn run_all(spec: &Spec) -> Result<()> {
    // Never by program: what a runtime gives would be taken for what a program does.
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all().build()?.block_on(async {
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
    let with_latency = matches!(spec.load, Load::Rate(_));
    let mut publishers = Vec::new();
    for peer in peers {
        let (publisher, inbox) = peer.split();
        publishers.push(publisher);
        let tell = match (spec.tell, spec.load) {
            (Some(address), Load::Window(most)) => Some(Tell {
                socket: connect(address).await?,
                progress: progress.clone(),
                every: (most / TELLS_PER_WINDOW).max(1),
            }),
            _ => None,
        };
        let seen = Seen::new(progress.clone(), None, with_latency, false);
        spawn_inbox(inbox, seen, tell);
    }
    anyhow::ensure!(
        progress
            .wait(0, Count::Delivered, 1, Duration::from_secs(60))
            .await,
        "nothing came within a minute"
    );
    let mut outcome = window(spec, progress).await?;
    if with_latency {
        // The origin has stopped: all has come when nothing comes any more.
        progress.wait(0, Count::Delivered, u64::MAX, PATIENCE).await;
        outcome.delivered_in_all = progress.delivered_of_all();
        note_latency(&mut outcome, progress);
    }
    Ok(outcome)
}

async fn connect(address: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind("127.0.0.1:0").await?;
    socket.connect(address).await?;
    Ok(socket)
}

fn note_latency(outcome: &mut Outcome, progress: &Progress) {
    progress.recording.store(false, Ordering::Relaxed);
    outcome.latencies = Some(progress.latencies());
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
    let mut outcome = window(spec, progress).await?;
    for task in tasks {
        // Where the other process measures, it goes on, unless it could not.
        if spec.shape != Shape::PairOrigin || with_latency || task.is_finished() {
            task.await??;
        }
    }
    outcome.published = progress.published_by_all();
    outcome.spread_us = progress.spread_us();
    if spec.shape == Shape::PairOrigin {
        return Ok(outcome);
    }
    // What is under way may still come.
    for origin in 0..spec.origins {
        let due = progress.published(origin) * receivers;
        progress.wait(origin, Count::Delivered, due, PATIENCE).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    outcome.due_in_all = outcome.published * receivers;
    outcome.delivered_in_all = progress.delivered_of_all();
    if with_latency {
        note_latency(&mut outcome, progress);
    }
    Ok(outcome)
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
