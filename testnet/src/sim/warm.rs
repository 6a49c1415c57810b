//! Peers that begin in the middle of a life: linked as their own choices would have linked them,
//! with databases that hold everybody. What a cold start computes anew each time, for as long as
//! a minute, comes from the model of the choice instead.

use super::connection::EndState;
use super::dial::address_of;
use super::parallel_choice::Threads;
use super::peer::Peer;
use super::random::Random;
use super::swarm::Sim;
use super::world::World;
use hedgerow_protocol::wire::SignedRecord;
use hedgerow_protocol::{
    Engine, LinkConfig, LinkId, Micros, PeerKey, WarmChoice, WarmDatabase, WarmLink,
};
use hedgerow_topology::model::{Effort, Model, ModelLink, Newcomer};
use hedgerow_topology::{Coordinate, Limits};
use std::sync::Arc;

/// With more peers than this they do not look for links that shorten their paths before they rest:
/// each such look takes a tree.
const PATHS_PEERS_MAX: usize = 2_500;
/// The mesh of so many is taken when it is quiet; of more, after the fewer rounds the more there
/// are.
const QUIET_PEERS: usize = 300;
const ROUNDS_PEERS: usize = 8_000;
const ROUNDS_MIN: usize = 4;
/// Rounds in which coordinates come to rest, and in which links do, at most: the last ones concern
/// a few peers each.
const REST_ROUNDS: usize = 10;
const REST_ROUNDS_LINKS: usize = 50;

/// What a peer begins with.
struct Begin {
    node: usize,
    coordinate: Coordinate,
    links: Vec<WarmLink>,
    choice: WarmChoice,
}

/// All are taken to be configured as the first one is.
fn effort(peers: usize, links: &LinkConfig) -> Effort {
    let quiet = peers <= QUIET_PEERS;
    let all = Effort::default();
    Effort {
        degree: links.degree,
        limits: Limits {
            accepted: links.accept_max,
            max_links: links.links_max,
        },
        passes: if quiet { all.passes } else { 1 },
        rounds_max: if quiet {
            all.rounds_max
        } else {
            (ROUNDS_PEERS / peers).max(ROUNDS_MIN)
        },
        paths: peers <= PATHS_PEERS_MAX,
    }
}

impl Sim {
    /// Lets the peers at these nodes, which have just been started alone and have joined their
    /// groups, go on as after a long life with each other. Each must have a key of its own and no
    /// mask.
    pub fn warm_up(&mut self, nodes: &[usize]) {
        self.warm_up_among(nodes, &[], &[]);
    }

    /// The same among peers that do not run, of which there are only `records`. Each node, in the
    /// order given, states links to those in `stated` besides its own.
    pub fn warm_up_among(
        &mut self,
        nodes: &[usize],
        records: &[Arc<SignedRecord>],
        stated: &[Vec<PeerKey>],
    ) {
        for (&node, peers) in nodes.iter().zip(stated) {
            self.world
                .call(node, |player, _| player.state_links(peers.clone()));
        }
        let mut order = nodes.to_vec();
        order.sort_by_key(|&node| self.world.key(node));
        if order.is_empty() {
            return;
        }
        for begin in self.begins(&order) {
            self.world.call(begin.node, |player, now| {
                player.begin_with_links(now, begin.coordinate, &begin.links, &begin.choice);
            });
        }
        let engines = order.iter().map(|&node| self.engine(node));
        let Some(mut database) = WarmDatabase::of(engines) else {
            return;
        };
        assert!(database.add(records.iter().cloned()), "no room for them");
        for &node in &order {
            self.world.call(node, |player, now| {
                player.begin_with_database(now, &database);
            });
        }
    }

    /// Links between the nodes, which are ascending by key, and where each finds itself to be.
    fn begins(&mut self, order: &[usize]) -> Vec<Begin> {
        let newcomers: Vec<Newcomer> = order
            .iter()
            .map(|&node| Newcomer {
                ring: self.world.key(node).ring_position(),
                seed: Engine::choice_seed(self.engine_seed(node)),
            })
            .collect();
        let effort = effort(order.len(), &self.config(order[0]).links);
        // As `World::delay` says it before anything is wrong, and for several threads.
        let (seed, latency) = (self.seed(), &self.world.network.latency);
        let ways: Vec<Micros> = order
            .iter()
            .map(|&node| self.world.nodes[node].way.delay)
            .collect();
        let rtt_us = |a: usize, b: usize| {
            let one_way = latency.delay(seed, order[a], order[b]) + ways[a] + ways[b];
            2 * one_way.0 as u32
        };
        let mut random = Random::new(self.seed(), "warm start");
        let lookers = Threads(self.world.threads());
        let mut model = Model::new(&newcomers, effort, rtt_us, || random.bits());
        model.settle(&lookers);
        model.rest(REST_ROUNDS, REST_ROUNDS_LINKS, &lookers);
        let keys: Vec<PeerKey> = order.iter().map(|&node| self.world.key(node)).collect();
        let mut begins: Vec<Begin> = order
            .iter()
            .enumerate()
            .map(|(at, &node)| Begin {
                node,
                coordinate: model.coordinate(at),
                links: Vec::new(),
                choice: WarmChoice {
                    measured: model
                        .measured(at)
                        .map(|(other, rtt_us)| (keys[other], rtt_us))
                        .collect(),
                    cooling: model.cooled(at).map(|other| keys[other]).collect(),
                },
            })
            .collect();
        let links: Vec<_> = model
            .pairs()
            .into_iter()
            .filter_map(|(low, high)| {
                let (one, other) = (model.link(low, high)?, model.link(high, low)?);
                Some((low, high, one, other))
            })
            .collect();
        drop(model);
        for (low, high, one, other) in links {
            let (dialler, listener) = if one.own_dial {
                (low, high)
            } else {
                (high, low)
            };
            let ids = self.world.connect(order[dialler], order[listener]);
            for (at, far, link) in [(dialler, listener, ids.0), (listener, dialler, ids.1)] {
                let (mine, theirs) = if at == low {
                    (one, other)
                } else {
                    (other, one)
                };
                let warm = self.warm_link((order[at], link), order[far], mine, theirs);
                begins[at].links.push(warm);
            }
        }
        begins
    }

    /// What the end of a link at a node begins with.
    fn warm_link(
        &self,
        (node, link): (usize, LinkId),
        far: usize,
        mine: ModelLink,
        theirs: ModelLink,
    ) -> WarmLink {
        WarmLink {
            link,
            peer: self.world.key(far),
            epoch: self.engine(far).epoch(),
            address: mine.own_dial.then(|| address_of(far)),
            dialled: mine.own_dial,
            rtt_us: 2 * self.world.delay(node, far).0,
            mine: mine.mine,
            theirs: theirs.mine,
        }
    }
}

impl<P: Peer> World<P> {
    /// A connection that has stood for long; gives the links of both ends.
    fn connect(&mut self, dialler: usize, listener: usize) -> (LinkId, LinkId) {
        let near = self.nodes[dialler].link_number();
        let far = self.nodes[listener].link_number();
        let end = self.connections.insert(dialler, near, listener);
        if let Some(other) = self.connections.get(end.other()) {
            other.link = far;
            other.state = EndState::Open;
        }
        self.nodes[dialler].links.push((near, end));
        self.nodes[listener].links.push((far, end.other()));
        (near, far)
    }
}
