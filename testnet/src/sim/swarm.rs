//! Many engines in a world: what tests and scenarios use.

use super::access::Bandwidth;
use super::builder::SimBuilder;
use super::dial::address_of;
use super::node::NodeState;
use super::random::Random;
use super::sim_peer::{Mask, Offence, SimPeer};
use super::world::World;
use crate::check::{Snapshot, Wire};
use crate::journal::{Change, Message, Receipt};
use bytes::Bytes;
use hedgerow_protocol::{
    Address, Config, Engine, Event, GroupName, JoinError, JoinOptions, Keypair, MessageId, Micros,
    PublishError, PublishOptions, Published, SettingsPatch, SharedCache,
};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// A simulation of engines. Faults, time and looks at the network are those of [`World`].
pub struct Sim {
    pub(super) world: World<SimPeer>,
    config: Config,
    /// Records, graphs and trees are equal at most engines: computed once.
    cache: SharedCache,
    places: Vec<Place>,
    scripts: BTreeMap<(Micros, u64), Script>,
    scripted: u64,
}

type Script = Box<dyn FnOnce(&mut Sim)>;
/// Makes the mask of a node's peer, at every start, from its key and a seed.
type MakeMask = Box<dyn Fn(Keypair, [u8; 32]) -> Box<dyn Mask>>;

/// What outlives a process at a node.
struct Place {
    /// The engine's settings, where they are not everybody's.
    config: Option<Config>,
    mask: Option<MakeMask>,
    /// Whose key the peer has.
    identity: usize,
    contacts: Vec<usize>,
    /// Addresses that the last process would have remembered.
    remembered: Vec<Address>,
    starts: u64,
}

/// A memory for all engines that does not grow with the square of the network: a graph or a tree
/// holds something for every node, about 150 bytes.
fn memo_for(nodes: usize) -> SharedCache {
    let nodes = nodes.max(1);
    // Up to some thousand nodes all can have their own, a gigabyte or two of them.
    let links = (16 << 20) / nodes;
    let graphs = (1 << 20) / nodes;
    let routes = (4 << 20) / nodes;
    SharedCache::new(
        1 << 16,
        64,
        links.clamp(64, 1 << 14),
        graphs.clamp(64, 4_096),
        routes.clamp(256, 1 << 16),
    )
}

/// How often conditions are looked at.
const LOOK_EVERY: Micros = Micros::from_millis(10);
/// Addresses that a node remembers between two lives.
const REMEMBERED_MAX: usize = 64;

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seed, nodes, now) = (self.world.seed, self.world.len(), self.world.now());
        write!(f, "Sim(seed {seed}, {nodes} nodes, {now})")
    }
}

impl Deref for Sim {
    type Target = World<SimPeer>;
    fn deref(&self) -> &Self::Target {
        &self.world
    }
}

impl DerefMut for Sim {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.world
    }
}

impl Sim {
    /// How a simulation begins.
    pub fn builder() -> SimBuilder {
        SimBuilder::new()
    }

    /// An empty simulation that will have about so many nodes.
    pub(crate) fn new(world: World<SimPeer>, config: Config, nodes: usize) -> Self {
        Self {
            world,
            config,
            cache: memo_for(nodes),
            places: Vec::new(),
            scripts: BTreeMap::new(),
            scripted: 0,
        }
    }

    /// Adds a node that knows `contacts`; gives its number. It is not started.
    pub fn add_node(&mut self, bandwidth: Bandwidth, off_ms: i64, contacts: Vec<usize>) -> usize {
        self.places.push(Place {
            config: None,
            mask: None,
            identity: self.places.len(),
            contacts,
            remembered: Vec::new(),
            starts: 0,
        });
        self.world.add_node(bandwidth, off_ms)
    }

    /// Gives a node settings of its own, from its next start on.
    pub fn set_config(&mut self, node: usize, config: Config) {
        self.places[node].config = Some(config);
    }

    /// Puts a mask on a node's peer, from its next start on.
    pub fn set_mask(
        &mut self,
        node: usize,
        make: impl Fn(Keypair, [u8; 32]) -> Box<dyn Mask> + 'static,
    ) {
        self.places[node].mask = Some(Box::new(make));
    }

    /// Gives a node the key of another, from its next start on.
    pub fn copy_identity(&mut self, node: usize, of: usize) {
        self.places[node].identity = of;
    }

    /// The key of a node's peer: who knows it can sign in its name.
    pub fn keypair(&self, node: usize) -> Keypair {
        let identity = self.places[node].identity as u64;
        Keypair::from_secret(Random::key(self.world.seed, "identity", identity))
    }

    /// Whether a node's peer behaves and nobody else has its key.
    pub fn is_itself(&self, node: usize) -> bool {
        let has_its_key = |(_, place): &(usize, &Place)| place.identity == node;
        let with_key = self.places.iter().enumerate().filter(has_its_key);
        self.places[node].mask.is_none() && with_key.map(|(at, _)| at).eq([node])
    }

    /// The engine's settings at a node.
    pub fn config(&self, node: usize) -> &Config {
        self.places[node].config.as_ref().unwrap_or(&self.config)
    }

    /// The seed that decides this run.
    pub fn seed(&self) -> u64 {
        self.world.seed
    }

    /// Starts a peer at a node where none runs: always with the same key, with what
    /// the last one there stored, and the addresses that it knew.
    pub fn start_node(&mut self, node: usize) {
        let contacts = self.places[node].contacts.clone();
        self.start_with(node, &contacts);
    }

    /// The same for one that needs nobody's address, see [`Sim::warm_up`].
    pub fn start_alone(&mut self, node: usize) {
        self.start_with(node, &[]);
    }

    fn start_with(&mut self, node: usize, contacts: &[usize]) {
        let seed = self.world.seed;
        let mut config = self.config(node).clone();
        let place = &mut self.places[node];
        let keypair = Keypair::from_secret(Random::key(seed, "identity", place.identity as u64));
        place.starts += 1;
        config.addresses = vec![address_of(node)];
        config
            .bootstrap
            .extend(contacts.iter().map(|&contact| address_of(contact)));
        config.bootstrap.append(&mut place.remembered.clone());
        let rng_seed = self.engine_seed(node);
        let key = keypair.peer();
        let now = self.world.time(node);
        let place = &self.places[node];
        let secret = Random::key(seed, "identity", place.identity as u64);
        let (stored, cache) = (self.world.stored(node), self.cache.clone());
        let engine = Engine::restored(keypair, config, rng_seed, now, stored, cache);
        let player = match &place.mask {
            None => SimPeer::honest(engine),
            Some(make) => {
                let mask = make(
                    Keypair::from_secret(secret),
                    Random::key(seed, "mask", node as u64),
                );
                SimPeer::masked(engine, mask, now)
            }
        };
        self.world.start(node, key, player);
    }

    /// What decides the random choices of the peer that was last started at a node.
    pub(super) fn engine_seed(&self, node: usize) -> [u8; 32] {
        let starts = self.places[node].starts;
        Random::key(self.world.seed, "engine", (node as u64) << 20 | starts)
    }

    /// Kills the process, see [`World::kill`].
    pub fn kill(&mut self, node: usize) {
        self.remember(node);
        self.world.kill(node);
    }

    /// Silences the host, see [`World::crash`].
    pub fn crash(&mut self, node: usize) {
        self.remember(node);
        self.world.crash(node);
    }

    /// Starts a peer again that was killed, crashed or left, with what it stored.
    pub fn restart(&mut self, node: usize) {
        self.start_node(node);
    }

    /// Starts a peer again with the same key and nothing else: what it stored is lost.
    pub fn restart_wiped(&mut self, node: usize) {
        self.places[node].remembered.clear();
        self.world.wipe(node);
        self.start_node(node);
    }

    /// Fills a node's disk, or makes room, see [`World::set_disk_full`].
    pub fn set_disk_full(&mut self, node: usize, full: bool) {
        if full {
            // What was stored until now stays.
            self.remember(node);
        }
        self.world.set_disk_full(node, full);
    }

    /// What a driver stores from time to time: addresses of peers that were useful.
    fn remember(&mut self, node: usize) {
        if self.world.is_disk_full(node) {
            return;
        }
        if let Some(engine) = self.world.peer(node) {
            let known = engine.known_addresses(REMEMBERED_MAX);
            self.places[node].remembered = known
                .into_iter()
                .flat_map(|(_, addresses)| addresses)
                .collect();
        }
    }

    /// What a node's peer has sent that proves it hostile.
    pub fn offences(&self, node: usize) -> Vec<Offence> {
        let peer = self.world.peer(node).into_iter();
        peer.flat_map(SimPeer::offences)
            .map(|offence| Offence {
                at: self.world.virtual_time(node, offence.at),
                ..offence.clone()
            })
            .collect()
    }

    /// The engine at a node where one runs.
    pub fn engine(&self, node: usize) -> &Engine {
        self.world
            .peer(node)
            .unwrap_or_else(|| panic!("no peer runs at node {node}, {self:?}"))
    }

    /// Runs `script` when virtual time reaches `at`, after everything else of that instant.
    pub fn at(&mut self, at: Micros, script: impl FnOnce(&mut Sim) + 'static) {
        self.scripted += 1;
        self.scripts
            .insert((at.max(self.world.now()), self.scripted), Box::new(script));
    }

    /// Lets time pass until `limit`.
    pub fn run_to(&mut self, limit: Micros) {
        while let Some(entry) = self.scripts.first_entry()
            && entry.key().0 <= limit
        {
            let ((at, _), script) = entry.remove_entry();
            self.world.pass(at);
            script(self);
        }
        self.world.pass(limit);
    }

    /// Lets `ms` of virtual time pass.
    pub fn run_for(&mut self, ms: u64) {
        self.run_to(self.world.now() + Micros::from_millis(ms));
    }

    /// Lets time pass until `condition` holds, `limit_ms` at most; gives whether it does. Looks
    /// every 10 ms.
    pub fn run_until(&mut self, limit_ms: u64, condition: impl Fn(&Sim) -> bool) -> bool {
        let limit = self.world.now() + Micros::from_millis(limit_ms);
        loop {
            if condition(self) {
                return true;
            }
            if self.world.now() >= limit {
                return false;
            }
            self.run_to(limit.min(self.world.now() + LOOK_EVERY));
        }
    }

    /// The same, looking every `every_ms`: for conditions that take long to look at.
    pub fn run_until_every(
        &mut self,
        limit_ms: u64,
        every_ms: u64,
        condition: impl Fn(&Sim) -> bool,
    ) -> bool {
        let limit = self.world.now() + Micros::from_millis(limit_ms);
        loop {
            if condition(self) {
                return true;
            }
            if self.world.now() >= limit {
                return false;
            }
            self.run_to(limit.min(self.world.now() + Micros::from_millis(every_ms)));
        }
    }

    /// Joins a group.
    pub fn try_join(
        &mut self,
        node: usize,
        group: &str,
        options: JoinOptions,
    ) -> Result<(), JoinError> {
        let group = GroupName::new(group)?;
        self.world
            .journal
            .change(self.world.now, node, Change::Join(group.clone()));
        self.apply(node, |engine, now| engine.join(now, group, options))
    }

    /// Joins a group with default options, from now on.
    pub fn join(&mut self, node: usize, group: &str) {
        self.join_with(node, group, JoinOptions::default());
    }

    /// Joins a group; the options must be acceptable.
    pub fn join_with(&mut self, node: usize, group: &str, options: JoinOptions) {
        self.try_join(node, group, options)
            .unwrap_or_else(|error| panic!("node {node} joins {group}: {error}, {self:?}"));
    }

    /// Leaves a group.
    pub fn try_leave(&mut self, node: usize, group: &str) -> Result<(), JoinError> {
        let group = GroupName::new(group)?;
        // The engine may forget the group, and what it has counted there.
        let _ = self.world.tally(node);
        self.world
            .journal
            .change(self.world.now, node, Change::Leave(group.clone()));
        self.apply(node, |engine, now| engine.leave(now, &group))
    }

    /// Leaves a group of which the node is a member.
    pub fn leave(&mut self, node: usize, group: &str) {
        self.try_leave(node, group)
            .unwrap_or_else(|error| panic!("node {node} leaves {group}: {error}, {self:?}"));
    }

    /// Changes a group's settings.
    pub fn try_set_group(
        &mut self,
        node: usize,
        group: &str,
        patch: SettingsPatch,
    ) -> Result<(), JoinError> {
        let group = GroupName::new(group)?;
        self.apply(node, |engine, now| engine.set_group(now, &group, patch))
    }

    /// Leaves the network; the process ends when the engine says so.
    pub fn shutdown(&mut self, node: usize) {
        self.remember(node);
        self.world
            .journal
            .change(self.world.now, node, Change::Shutdown);
        self.apply(node, Engine::shutdown);
    }

    /// Publishes, if the engine takes it.
    pub fn try_publish(
        &mut self,
        node: usize,
        group: &str,
        payload: Bytes,
        options: PublishOptions,
    ) -> Result<MessageId, PublishError> {
        let group = name(group);
        let published = self.world.call_undrained(node, |engine, now| {
            engine.publish(now, &group, payload.clone(), options)
        });
        let published = published.unwrap_or_else(|| panic!("node {node} runs, {self:?}"));
        if let Ok(id) = published {
            let now = self.world.now;
            self.world.journal.published(now, node, &group, id, payload);
        }
        self.world.settle(node);
        published
    }

    /// Publishes a message that must be taken.
    pub fn publish(&mut self, node: usize, group: &str, payload: impl Into<Bytes>) -> MessageId {
        self.try_publish(node, group, payload.into(), PublishOptions::default())
            .unwrap_or_else(|error| panic!("node {node} publishes: {error}, {self:?}"))
    }

    /// Publishes messages together; gives how many were taken.
    pub fn publish_many(
        &mut self,
        node: usize,
        group: &str,
        payloads: &[Bytes],
    ) -> Result<usize, PublishError> {
        let group = name(group);
        let published = self.world.call_undrained(node, |engine, now| {
            engine.publish_many(now, &group, payloads)
        });
        let published = published.unwrap_or_else(|| panic!("node {node} runs, {self:?}"));
        if let Ok(Published { first, count }) = published {
            let now = self.world.now;
            for (seq, payload) in (first.seq..).zip(&payloads[..count]) {
                let id = MessageId { seq, ..first };
                self.world
                    .journal
                    .published(now, node, &group, id, payload.clone());
            }
        }
        self.world.settle(node);
        published.map(|published| published.count)
    }

    /// Publishes, waiting up to `limit_ms` while the engine is busy.
    pub fn publish_patiently(
        &mut self,
        node: usize,
        group: &str,
        payload: impl Into<Bytes>,
        limit_ms: u64,
    ) -> MessageId {
        let payload = payload.into();
        let limit = self.world.now() + Micros::from_millis(limit_ms);
        loop {
            let options = PublishOptions::default();
            match self.try_publish(node, group, payload.clone(), options) {
                Ok(id) => return id,
                Err(PublishError::Busy) if self.world.now() < limit => self.run_for(1),
                Err(error) => panic!("node {node} publishes: {error}, {self:?}"),
            }
        }
    }

    fn apply<R>(
        &mut self,
        node: usize,
        call: impl FnOnce(&mut Engine, hedgerow_protocol::Time) -> R,
    ) -> R {
        assert_eq!(
            self.world.state(node),
            NodeState::Running,
            "node {node}, {self:?}"
        );
        self.world
            .call(node, |player, now| call(&mut *player, now))
            .unwrap_or_else(|| panic!("node {node} runs, {self:?}"))
    }

    /// What a node's application got, in order.
    pub fn deliveries(&self, node: usize) -> impl Iterator<Item = (&Receipt, &Message)> {
        let journal = self.world.journal();
        journal.nodes[node]
            .receipts
            .iter()
            .map(|receipt| (receipt, journal.message(receipt)))
    }

    /// How often a node's application got a message.
    pub fn times_delivered(&self, node: usize, id: MessageId) -> usize {
        self.deliveries(node)
            .filter(|(_, message)| message.id == id)
            .count()
    }

    /// What a node's engine told.
    pub fn events(&self, node: usize) -> impl Iterator<Item = &Event> {
        self.world.journal().nodes[node]
            .events
            .iter()
            .map(|(_, event)| event)
    }

    /// Whether a node has been told since its last start that it has joined `group`.
    pub fn has_joined(&self, node: usize, group: &str) -> bool {
        let group = name(group);
        self.world
            .journal()
            .memberships(node, &group)
            .last()
            .is_some_and(|m| m.until.is_none())
    }

    /// Nodes to which this one's engine has a link that is up.
    pub fn neighbours(&self, node: usize) -> Vec<usize> {
        let links = self.engine(node).links();
        let up = links.iter().filter(|link| link.up);
        up.filter_map(|link| self.world.node_of(link.peer))
            .collect()
    }

    /// What the peers at these nodes say about themselves.
    pub fn snapshots(&self, nodes: &[usize]) -> Vec<Snapshot> {
        nodes
            .iter()
            .map(|&node| Snapshot::of(node, self.engine(node), self.config(node)))
            .collect()
    }

    /// The connections at these nodes.
    pub fn wires(&self, nodes: &[usize]) -> Vec<Wire> {
        let peers = |node| {
            self.world
                .connections(node)
                .into_iter()
                .map(|at| self.world.key(at))
        };
        nodes
            .iter()
            .map(|&node| Wire {
                peers: peers(node).collect(),
            })
            .collect()
    }
}

fn name(group: &str) -> GroupName {
    GroupName::new(group).unwrap_or_else(|error| panic!("{group:?}: {error}"))
}
