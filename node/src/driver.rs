//! The task around the engine: it waits, hands in what happened, and does what comes out.
//!
//! Whatever the engine has to be told arrives through a bounded channel, and nothing the engine
//! asks for is waited for here: a slow link, disk, subscriber or caller costs only itself.

mod actions;
mod calls;
mod clock;
mod publish;
mod verify;

use crate::delivery::Rings;
use crate::publish_queue::{CloseOnDrop, PublishQueue, PublishQueues};
use crate::replies::{Pong, ProbeAnswer};
use crate::store::Store;
use crate::transport::{LinkEvent, LinkHandle, LinkLimits, Request, Transport, TransportEvent};
use crate::{DeliveryConfig, NodeError};
use bytes::Bytes;
use clock::Clock;
use hedgerow_protocol::{
    AckResult, BatchId, Config, Engine, Event, GroupName, Input, Keypair, LinkId, MessageId,
    SharedCache, StoreError, VerifyId,
};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::Instrument;
use verify::Verifier;

/// What a handle wants done between two steps of the engine.
pub(crate) type Command = Box<dyn FnOnce(&mut Driver) + Send>;

/// Events of links waiting for the engine: at most so many reads of `transport.read_bytes`. Few,
/// for a heartbeat waits behind them while signature checks hold everything up.
const LINK_EVENTS: usize = 16;
/// Taken in before anything else gets a turn.
const LINK_EVENTS_BATCH: usize = 8;
/// Links are read while less than this share of the checks that the engine allows is under way:
/// what a batch of reads brings must still find room, or it would be dropped and pulled again.
const READ_BELOW_SHARE: usize = 4;
/// Finished work waiting for the engine.
const DONE: usize = 64;
/// How often old deliveries are dropped.
const SWEEP: Duration = Duration::from_secs(5);
/// How often known peers are stored, in sweeps. In the beginning they are stored more often (after
/// 1, 2, 4 and 8): a young peer that is killed must find back when its bootstrap has died too.
const SWEEPS_PER_SAVE: u32 = 12;
/// Peers remembered for the next start.
const PEERS_SAVED: usize = 256;
/// Given to the engine beyond its own limit for leaving.
const LEAVE_SLACK: Duration = Duration::from_millis(300);

/// What the driver is made of.
pub(crate) struct Parts {
    pub(crate) engine: Config,
    pub(crate) delivery: DeliveryConfig,
    pub(crate) links: LinkLimits,
    pub(crate) store: Arc<Store>,
    pub(crate) transport: Transport,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) publish_queues: Arc<PublishQueues>,
    pub(crate) ended: watch::Sender<bool>,
}

/// Work that was done elsewhere.
#[derive(Debug)]
enum Done {
    Verified(Vec<(VerifyId, bool)>),
    Stored(BatchId, Result<(), StoreError>),
}

/// Where the driver listens.
struct Inboxes {
    commands: mpsc::Receiver<Command>,
    links: mpsc::Receiver<(LinkId, LinkEvent)>,
    done: mpsc::Receiver<Done>,
}

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// The engine says goodbye, until this instant at most.
    Leaving(Instant),
    /// All is said.
    Stopped,
    /// Nothing is to be said.
    Aborted,
}

/// What the node itself counts.
#[derive(Debug, Default)]
struct Tally {
    dials: u64,
    dials_failed: u64,
    links: u64,
    delivered: u64,
    gaps: u64,
    probe_answers_dropped: u64,
    discovered: u64,
    sent_bytes: u64,
    control_frames: u64,
    control_bytes: u64,
}

impl Tally {
    /// Counts a frame: its header, and the payload it carries, which control frames do not.
    fn count_sent(&mut self, chunks: &[Bytes; 2]) {
        self.sent_bytes += (chunks[0].len() + chunks[1].len()) as u64;
        if chunks[1].is_empty() {
            self.control_frames += 1;
            self.control_bytes += chunks[0].len() as u64;
        }
    }
}

/// The engine's driver.
pub(crate) struct Driver {
    /// Large: on the heap, so that the task's future is not.
    engine: Box<Engine>,
    clock: Clock,
    store: Arc<Store>,
    transport: Transport,
    link_limits: LinkLimits,
    leave_limit: Duration,
    links: HashMap<LinkId, LinkHandle>,
    link_tasks: JoinSet<()>,
    link_next: u64,
    link_events: mpsc::Sender<(LinkId, LinkEvent)>,
    verifier: Verifier,
    /// Links are not read while so many checks or more are under way.
    read_below: usize,
    done: mpsc::Sender<Done>,
    rings: Rings,
    /// Groups joined for their messages.
    members: HashSet<GroupName>,
    publish_queues: Arc<PublishQueues>,
    /// Publish queues whose group the engine is too busy for.
    blocked: HashMap<GroupName, Arc<PublishQueue>>,
    acknowledging: HashMap<(GroupName, MessageId), oneshot::Sender<AckResult>>,
    probes: HashMap<u64, mpsc::Sender<ProbeAnswer>>,
    pings: HashMap<u64, oneshot::Sender<Option<Pong>>>,
    events: broadcast::Sender<Event>,
    phase: Phase,
    tally: Tally,
    sweeps: u32,
}

impl Driver {
    /// Starts the task.
    pub(crate) fn start(identity: Keypair, parts: Parts) -> Result<(), NodeError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)
            .map_err(|error| NodeError::Setup(format!("no randomness: {error}")))?;
        let clock = Clock::new();
        let leave_limit = Duration::from_millis(parts.engine.shutdown.timeout_ms) + LEAVE_SLACK;
        let read_below = (parts.engine.flow.verifying_max / READ_BELOW_SHARE).max(1);
        let delivery_bytes = parts.engine.memory().delivery;
        let (stored, cache) = (parts.store.stored(), SharedCache::default());
        let engine = Engine::restored(identity, parts.engine, seed, clock.now(), &stored, cache);
        let (link_events, links) = mpsc::channel(LINK_EVENTS);
        let (done, done_inbox) = mpsc::channel(DONE);
        let inboxes = Inboxes {
            commands: parts.commands,
            links,
            done: done_inbox,
        };
        let mut driver = Self {
            engine: Box::new(engine),
            clock,
            store: parts.store,
            transport: parts.transport,
            link_limits: parts.links,
            leave_limit,
            links: HashMap::new(),
            link_tasks: JoinSet::new(),
            link_next: 0,
            link_events,
            verifier: Verifier::new(done.clone()),
            read_below,
            done,
            rings: Rings::new(parts.delivery, delivery_bytes),
            members: HashSet::new(),
            publish_queues: parts.publish_queues,
            blocked: HashMap::new(),
            acknowledging: HashMap::new(),
            probes: HashMap::new(),
            pings: HashMap::new(),
            events: parts.events,
            phase: Phase::Running,
            tally: Tally::default(),
            sweeps: 0,
        };
        driver.rejoin();
        let ended = parts.ended;
        let closes = CloseOnDrop(driver.publish_queues.clone());
        tokio::spawn(
            async move {
                let _closes = closes;
                driver.run(inboxes).await;
                ended.send_replace(true);
            }
            .in_current_span(),
        );
        Ok(())
    }

    async fn run(mut self, mut inboxes: Inboxes) {
        let remembered = self.store.peer_addresses();
        if !remembered.is_empty() {
            self.discovered(remembered);
        }
        let mut batch = Vec::with_capacity(LINK_EVENTS_BATCH);
        let mut next_sweep = Instant::now() + SWEEP;
        let timer = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(timer);
        // The last handle is gone: nobody is left to ask for anything.
        let mut orphaned = false;
        loop {
            self.perform();
            if matches!(self.phase, Phase::Stopped | Phase::Aborted) {
                break;
            }
            let deadline = self.deadline(next_sweep).into();
            if timer.deadline() != deadline {
                timer.as_mut().reset(deadline);
            }
            tokio::select! {
                command = inboxes.commands.recv(), if !orphaned => {
                    if let Some(command) = command {
                        command(&mut self);
                    } else {
                        orphaned = true;
                        self.begin_shutdown();
                    }
                }
                // Not read, a link fills up, and whoever publishes faster than signatures can be
                // checked here is told to wait.
                _ = inboxes.links.recv_many(&mut batch, LINK_EVENTS_BATCH),
                    if self.verifier.under_way() < self.read_below => {
                    for (link, event) in batch.drain(..) {
                        self.on_link_event(link, event);
                    }
                }
                event = self.transport.events.recv() => {
                    if let Some(event) = event {
                        self.on_transport_event(event);
                    } else {
                        tracing::error!("the transport has ended; stopping");
                        self.phase = Phase::Aborted;
                    }
                }
                Some(done) = inboxes.done.recv() => self.on_done(done),
                () = self.publish_queues.work() => self.publish(),
                () = &mut timer => {
                    next_sweep = self.on_timer(next_sweep);
                }
            }
        }
        self.finish(inboxes).await;
    }

    /// The next time at which something is due here.
    fn deadline(&self, next_sweep: Instant) -> Instant {
        let engine = self
            .engine
            .poll_timeout()
            .map(|time| self.clock.instant(time));
        let leaving = match self.phase {
            Phase::Leaving(until) => Some(until),
            _ => None,
        };
        [engine, leaving]
            .into_iter()
            .flatten()
            .fold(next_sweep, Instant::min)
    }

    /// Links tell of themselves when they have written much. Timers judge by what is written, so
    /// they have to know all.
    fn report_written(&mut self) {
        for (&link, handle) in &self.links {
            let bytes = handle.take_sent();
            if bytes > 0 {
                let written = Input::Sent { link, bytes };
                self.engine.handle_input(self.clock.now(), written);
            }
        }
    }

    fn on_timer(&mut self, next_sweep: Instant) -> Instant {
        self.report_written();
        self.engine.handle_timeout(self.clock.now());
        let now = Instant::now();
        if let Phase::Leaving(until) = self.phase
            && now >= until
        {
            tracing::warn!("left without confirmation: the engine did not end in time");
            self.phase = Phase::Stopped;
        }
        if now < next_sweep {
            return next_sweep;
        }
        let members = &self.members;
        self.rings.sweep(now, |group| members.contains(group));
        self.probes.retain(|_, answers| !answers.is_closed());
        self.acknowledging.retain(|_, result| !result.is_closed());
        while self.link_tasks.try_join_next().is_some() {}
        let known = self.engine.long_known();
        if !known.is_empty() {
            // What a full queue misses comes with the next sweep.
            let _ = self.transport.requests.try_send(Request::Known(known));
        }
        self.sweeps += 1;
        if self.sweeps.is_power_of_two() || self.sweeps.is_multiple_of(SWEEPS_PER_SAVE) {
            self.save_peers();
        }
        now + SWEEP
    }

    fn on_link_event(&mut self, link: LinkId, event: LinkEvent) {
        // The engine has closed it: what still comes from it is nobody's.
        let Some(handle) = self.links.get(&link) else {
            return;
        };
        let input = match event {
            LinkEvent::Bytes(bytes) => Input::Bytes { link, bytes },
            LinkEvent::Sent => Input::Sent {
                link,
                bytes: handle.take_sent(),
            },
            LinkEvent::Lost => {
                self.links.remove(&link);
                Input::LinkLost { link }
            }
        };
        self.input(input);
    }

    fn on_transport_event(&mut self, event: TransportEvent) {
        let input = match event {
            TransportEvent::Linked {
                connection,
                peer,
                dial,
                address,
                stream,
            } => {
                let link = LinkId(self.link_next);
                self.link_next += 1;
                self.tally.links += 1;
                let events = self.link_events.clone();
                let (handle, task) = LinkHandle::new(link, stream, self.link_limits, events);
                let requests = self.transport.requests.clone();
                let task = async move {
                    task.await;
                    // The swarm may have stopped.
                    let _ = requests.send(Request::Close(connection)).await;
                };
                self.link_tasks.spawn(task.in_current_span());
                self.links.insert(link, handle);
                tracing::debug!(link = link.0, neighbour = %peer, "connection stands");
                Input::Linked {
                    link,
                    peer,
                    dial,
                    address,
                }
            }
            TransportEvent::DialFailed { dial } => {
                self.tally.dials_failed += 1;
                Input::DialFailed { dial }
            }
            TransportEvent::Addresses(addresses) => {
                tracing::info!(?addresses, "reachable at");
                Input::Addresses(addresses)
            }
            TransportEvent::Discovered(addresses) => {
                self.tally.discovered += addresses.len() as u64;
                Input::Discovered(addresses)
            }
        };
        self.input(input);
    }

    fn on_done(&mut self, done: Done) {
        match done {
            Done::Verified(results) => {
                self.verifier.on_done(results.len());
                for (id, valid) in results {
                    self.input(Input::Verified { id, valid });
                }
            }
            Done::Stored(batch, result) => self.input(Input::Stored { batch, result }),
        }
    }

    /// Hands something to the engine and does what comes out.
    fn input(&mut self, input: Input) {
        self.engine.handle_input(self.clock.now(), input);
        self.perform();
    }

    /// Ends everything in order; an aborted peer's links just drop.
    async fn finish(mut self, inboxes: Inboxes) {
        let Inboxes {
            commands,
            mut links,
            done,
        } = inboxes;
        drop((commands, done));
        self.publish_queues.close();
        self.rings.close_all();
        if self.phase == Phase::Aborted {
            self.link_tasks.shutdown().await;
        } else {
            self.links.drain().for_each(|(_, link)| link.close());
            let parting = async { while self.link_tasks.join_next().await.is_some() {} };
            let unread = async { while links.recv().await.is_some() {} };
            let limit = self.link_limits.close;
            tokio::select! {
                _ = tokio::time::timeout(limit, parting) => {}
                () = unread => {}
            }
            self.link_tasks.shutdown().await;
            let peers = self.engine.known_addresses(PEERS_SAVED);
            let store = self.store.clone();
            let saved = tokio::task::spawn_blocking(move || store.save_peers(peers)).await;
            if let Ok(Err(error)) = saved {
                tracing::warn!(%error, "known peers are not stored");
            }
        }
        self.transport.stop().await;
        tracing::info!("stopped");
        // The data directory is released with the last of the store; what else may hold it, a
        // write under way, is waited for.
        release(self.store).await;
    }
}

/// Waits until nobody else holds the store, then drops it.
async fn release(mut store: Arc<Store>) {
    while let Err(shared) = Arc::try_unwrap(store) {
        store = shared;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[cfg(test)]
mod tests;
