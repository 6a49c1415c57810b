//! The world: nodes, what joins them, and what happens next.

use super::access::Bandwidth;
use super::checks::Checks;
use super::connection::{Connections, EndRef};
use super::dial::Dials;
use super::latency::Latency;
use super::lookahead::Claims;
use super::node::{Node, NodeState, Traffic};
use super::partition::Sides;
use super::peer::{Peer, Tally};
use super::queue::EventQueue;
use super::random::Random;
use super::trace::{Kind, Trace, TraceHash};
use super::workers::Workers;
use crate::journal::{Change, Journal};
use hedgerow_protocol::{
    BatchId, Engine, Input, Micros, Namespace, PeerKey, StoreOp, Stored, Time, VerifyId,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

/// How the network behaves between access lines.
#[derive(Clone, Debug)]
pub struct NetworkModel {
    /// One-way delays.
    pub latency: Latency,
    /// Up to so much is added to a delay, anew for every segment. Streams stay ordered.
    pub jitter: Micros,
    /// How many of a million packets get lost.
    pub loss_ppm: u32,
    /// What a socket holds for a receiver that does not read, bytes. 256 KiB: the order of
    /// Linux's defaults.
    pub socket_bytes: usize,
    /// Time after which a dial that nobody answers fails, if it may take so long.
    pub dial_timeout: Micros,
    /// How long a closed connection may take to write what was sent.
    pub linger: Micros,
}

impl Default for NetworkModel {
    fn default() -> Self {
        Self {
            latency: Latency::uniform_ms(5, 80),
            jitter: Micros(0),
            loss_ppm: 0,
            socket_bytes: 256 << 10,
            dial_timeout: Micros::from_millis(20_000),
            linger: Micros::from_millis(5_000),
        }
    }
}

/// What a node's own work takes.
#[derive(Clone, Copy, Debug)]
pub struct Costs {
    /// From asking for a signature check to the answer: an ed25519 verification and a thread.
    pub verify: Micros,
    /// From asking to store something to the answer: an fsync.
    pub store: Micros,
}

impl Default for Costs {
    fn default() -> Self {
        Self {
            verify: Micros(60),
            store: Micros(2_000),
        }
    }
}

/// What will happen.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A peer's deadline.
    Timeout { node: u32 },
    /// An access line has carried its segment.
    Uplink { node: u32, line: u32 },
    /// See `Uplink`.
    Downlink { node: u32, line: u32 },
    /// The first segment in flight arrives at the receiver's access line.
    Arrive { end: EndRef },
    /// The window of a full stream opens.
    Wake { end: EndRef },
    /// What was cut off is sent again.
    Resend { end: EndRef },
    /// This end hears that the other is gone.
    Reset { end: EndRef },
    /// A closed end gives up writing.
    Linger { end: EndRef },
    /// The last packet of a handshake reaches the end that was dialled.
    Accept { end: EndRef },
    /// A dial goes on.
    Dial { dial: u32 },
    /// The signatures that one call of a peer asked about are checked.
    Verified {
        node: u32,
        incarnation: u32,
        answers: Vec<Answer>,
    },
    /// A write ends.
    Stored {
        node: u32,
        incarnation: u32,
        write: Box<Write>,
    },
}

/// What is being stored. It takes place as a whole when it ends: a process that dies before has stored
/// nothing of it.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) batch: BatchId,
    pub(crate) namespace: Namespace,
    /// `None` where the disk was full.
    pub(crate) ops: Option<Vec<StoreOp>>,
}

/// What became of a signature check.
pub(crate) type Answer = (VerifyId, bool);

/// The answers as a peer hears them.
pub(crate) fn verified(answers: Vec<Answer>) -> impl Iterator<Item = Input> {
    let answers = answers.into_iter();
    answers.map(|(id, valid)| Input::Verified { id, valid })
}

/// Nodes with peers, the network between them, and virtual time.
#[derive(Debug)]
pub struct World<P> {
    pub(crate) now: Micros,
    pub(crate) queue: EventQueue<Happening>,
    pub(crate) nodes: Vec<Node<P>>,
    pub(crate) connections: Connections,
    pub(crate) dials: Dials,
    pub(crate) network: NetworkModel,
    pub(crate) costs: Costs,
    /// One-way cuts: from the first set of nodes to the second, by node.
    pub(crate) cuts: Vec<(Vec<bool>, Vec<bool>)>,
    /// Single ways that are cut in both directions: lower node, higher node.
    pub(crate) cut_pairs: BTreeSet<(usize, usize)>,
    /// Partitions that hold now: all of them must let two nodes reach each other.
    pub(crate) partitions: Vec<Sides>,
    /// What ways between nodes of different sides take more, all together.
    pub(crate) slow: Vec<(Sides, Micros)>,
    pub(crate) seed: u64,
    pub(crate) random: Random,
    pub(crate) trace: Trace,
    pub(crate) journal: Journal,
    /// The node that last ran a peer: looked up, never iterated.
    pub(crate) by_key: HashMap<PeerKey, usize>,
    pub(crate) checks: Arc<Checks>,
    /// Ends that were sent to while a peer's actions were drained.
    pub(crate) touched: Vec<EndRef>,
    /// Answers to what the present call of a peer has asked to be checked.
    pub(crate) answers: Vec<Answer>,
    /// Threads that call peers, if more than one does.
    pub(crate) workers: Option<Workers<P>>,
    pub(crate) claims: Claims,
    /// Whether the old fault is active that [`World::tally`] had.
    #[cfg(feature = "planted")]
    pub(crate) forgets_left_groups: bool,
    happened: u64,
}

impl<P: Peer> World<P> {
    /// An empty world.
    pub fn new(seed: u64, network: NetworkModel, costs: Costs) -> Self {
        Self {
            now: Micros(0),
            queue: EventQueue::default(),
            nodes: Vec::new(),
            connections: Connections::default(),
            dials: Dials::default(),
            network,
            costs,
            cuts: Vec::new(),
            cut_pairs: BTreeSet::new(),
            partitions: Vec::new(),
            slow: Vec::new(),
            seed,
            random: Random::new(seed, "network"),
            trace: Trace::new(),
            journal: Journal::default(),
            by_key: HashMap::new(),
            checks: Arc::default(),
            touched: Vec::new(),
            answers: Vec::new(),
            workers: None,
            claims: Claims::default(),
            #[cfg(feature = "planted")]
            forgets_left_groups: false,
            happened: 0,
        }
    }

    /// Adds a place for a peer; gives its number. `wall_offset_ms`: how far its clock is off.
    pub fn add_node(&mut self, bandwidth: Bandwidth, wall_offset_ms: i64) -> usize {
        // No two monotonic clocks start together.
        let hour_us = 3_600_000_000;
        let mono_offset = Micros(self.random.below(hour_us));
        self.nodes
            .push(Node::new(bandwidth, mono_offset, wall_offset_ms));
        self.journal.add_node();
        self.nodes.len() - 1
    }

    /// Lets a node's connections come from the address of another, as behind one router.
    pub fn share_address(&mut self, node: usize, with: usize) {
        self.nodes[node].host = Some(with);
    }

    /// Nodes, with and without a running peer.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are no nodes.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Virtual time.
    pub fn now(&self) -> Micros {
        self.now
    }

    /// The clocks of a node.
    pub fn time(&self, node: usize) -> Time {
        self.nodes[node].clock.time(self.now)
    }

    /// The moment at which a node's monotonic clock shows `mono`.
    pub fn virtual_time(&self, node: usize, mono: Micros) -> Micros {
        mono.since(self.nodes[node].clock.mono_offset)
    }

    /// Events so far.
    pub fn happened(&self) -> u64 {
        self.happened
    }

    /// The hash of everything that happened so far.
    pub fn trace_hash(&self) -> TraceHash {
        self.trace.hash()
    }

    /// What happened, for checks.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// How a node is.
    pub fn state(&self, node: usize) -> NodeState {
        self.nodes[node].state
    }

    /// Whether a peer runs there, suspended or not.
    pub fn is_alive(&self, node: usize) -> bool {
        matches!(
            self.nodes[node].state,
            NodeState::Running | NodeState::Paused
        )
    }

    /// Nodes with a peer, suspended or not.
    pub fn alive(&self) -> Vec<usize> {
        (0..self.nodes.len())
            .filter(|&node| self.is_alive(node))
            .collect()
    }

    /// The peer of a node, if one runs.
    pub fn peer(&self, node: usize) -> Option<&P> {
        self.nodes[node].peer.as_deref()
    }

    /// The identity at a node.
    pub fn key(&self, node: usize) -> PeerKey {
        self.nodes[node].key
    }

    /// The node of a peer; the last one where it was started.
    pub fn node_of(&self, peer: PeerKey) -> Option<usize> {
        self.by_key.get(&peer).copied()
    }

    /// What crossed a node's access line.
    pub fn traffic(&self, node: usize) -> Traffic {
        self.nodes[node].traffic
    }

    /// What a node's peers counted, over all their lives. It never shrinks; what a peer counts in a
    /// group between two calls, and forgets with the group, is left out.
    pub fn tally(&mut self, node: usize) -> Tally {
        let at = &mut self.nodes[node];
        if let Some(peer) = &at.peer {
            #[cfg(feature = "planted")]
            if self.forgets_left_groups {
                return at.counted.forgetful_sum(&peer.tally());
            }
            at.counted.see(peer.tally());
        }
        at.counted.sum()
    }

    /// The counters of a node's peers, over all their lives.
    pub fn counters(&self, node: usize) -> BTreeMap<&'static str, u64> {
        let at = &self.nodes[node];
        let mut counters = at.counters.clone();
        for (name, value) in at.peer.iter().flat_map(|peer| peer.counted()) {
            *counters.entry(name).or_default() += value;
        }
        counters
    }

    /// What is in a node's store.
    pub fn stored(&self, node: usize) -> &Stored {
        &self.nodes[node].stored
    }

    /// The epoch in a node's store.
    pub fn last_epoch(&self, node: usize) -> u64 {
        Engine::last_epoch(self.stored(node))
    }

    /// Whether a node's peer can store nothing.
    pub fn is_disk_full(&self, node: usize) -> bool {
        self.nodes[node].disk_full
    }

    /// Connections that a node's peer has, as the transport sees it: the other node of each.
    pub fn connections(&self, node: usize) -> Vec<usize> {
        let ends = self.nodes[node].links.iter().map(|&(_, end)| end.other());
        ends.filter_map(|end| Some(self.connections.peek(end)?.node))
            .collect()
    }

    /// One-way delay between two nodes, without jitter and waiting.
    pub fn delay(&self, a: usize, b: usize) -> Micros {
        let mut delay = self.direct(a, b) + self.nodes[a].way.delay + self.nodes[b].way.delay;
        for (_, more) in self.slow.iter().filter(|(sides, _)| sides.are_apart(a, b)) {
            delay = delay + *more;
        }
        delay
    }

    /// The same as it is while nothing is wrong.
    pub fn direct(&self, a: usize, b: usize) -> Micros {
        self.network.latency.delay(self.seed, a, b)
    }

    /// Starts `peer` at a node where none runs.
    pub fn start(&mut self, node: usize, key: PeerKey, peer: P) {
        let at = &mut self.nodes[node];
        assert!(at.peer.is_none(), "node {node} already runs a peer");
        at.key = key;
        self.by_key.insert(key, node);
        let at = &mut self.nodes[node];
        at.peer = Some(Box::new(peer));
        at.state = NodeState::Running;
        at.incarnation += 1;
        at.timer = None;
        self.trace.add(self.now, Kind::Start, node, &key.0);
        self.journal.change(self.now, node, Change::Started);
        self.settle(node);
    }

    /// Lets everything happen that is due by `limit`, and sets the time to that.
    ///
    /// Should that end in a panic, all peers are there to be looked at, called as far ahead as the
    /// threads had come; time, trace and journal are those of the event.
    pub(crate) fn pass(&mut self, limit: Micros) {
        let ran = catch_unwind(AssertUnwindSafe(|| while self.step(limit) {}));
        if let Err(panic) = ran {
            self.fetch_all();
            resume_unwind(panic);
        }
    }

    /// Lets the next event happen if it is due by `limit`; otherwise sets the time to `limit`
    /// and gives `false`.
    ///
    /// To be called until then: peers may have been told already what comes by `limit`.
    fn step(&mut self, limit: Micros) -> bool {
        self.look_ahead(limit);
        let Some((at, happening)) = self.queue.pop_until(limit) else {
            self.fetch_all();
            self.now = self.now.max(limit);
            return false;
        };
        debug_assert!(at >= self.now, "time never goes back");
        self.now = at;
        self.happened += 1;
        match happening {
            Happening::Timeout { node } => self.on_timeout(node as usize),
            Happening::Uplink { node, line } => self.on_uplink(node as usize, line),
            Happening::Downlink { node, line } => self.on_downlink(node as usize, line),
            Happening::Arrive { end } => self.on_arrive(end),
            Happening::Wake { end } => self.on_wake(end),
            Happening::Resend { end } => self.on_resend(end),
            Happening::Reset { end } => self.on_reset(end),
            Happening::Linger { end } => self.on_linger(end),
            Happening::Accept { end } => self.on_accept(end),
            Happening::Dial { dial } => self.on_dial(dial),
            Happening::Verified {
                node,
                incarnation,
                answers,
            } => {
                if self.nodes[node as usize].incarnation == incarnation {
                    self.feed_all(node as usize, verified(answers));
                }
            }
            Happening::Stored {
                node,
                incarnation,
                write,
            } => {
                if self.nodes[node as usize].incarnation == incarnation {
                    self.on_written(node as usize, *write);
                }
            }
        }
        true
    }

    /// Lets `ms` of virtual time pass.
    pub fn run_for(&mut self, ms: u64) {
        let limit = self.now + Micros::from_millis(ms);
        self.pass(limit);
    }
}
