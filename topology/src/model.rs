//! The mesh as its peers would build it: everybody knows the members, nobody knows a round-trip
//! time that no link of its own has measured, every choice is local. For studies of the choice,
//! and for simulations that begin after a long life.
//!
//! Time goes in rounds of about half a minute (one swap each), in which every peer considers its
//! links three times. What is left out: loss, messages, delays of the control traffic, views that
//! differ by more than half a round.

mod links;

use std::collections::{BTreeMap, BTreeSet};

use petgraph::graph::NodeIndex;

use crate::coordinate::Coordinate;
use crate::cuts::Cuts;
use crate::graph::{LinkGraph, PeerNode, link_weight_us};
use crate::neighbours::{Candidate, Limits, Reason, Situation, Want, wants};

/// Children that a peer feeds, in the model's view of itself.
const CAPACITY: u16 = 12;
/// Coordinate samples a round on every link.
const SAMPLES: usize = 10;
/// Links that one peer may dial in a round.
const DIALS: usize = 8;
/// Dials for a search ([`Reason::is_search`]) that a newcomer has, and the rounds until it gets a
/// further one (10 min).
const SEARCH_BUDGET: usize = 32;
const SEARCH_REFILL_ROUNDS: usize = 20;
/// A round is quiet when it opens and closes fewer than one in so many links; the mesh is, after
/// two such rounds. (It never stops looking: coordinates keep shifting a little.)
const QUIET_SHARE: usize = 100;
const QUIET_ROUNDS: usize = 2;

/// In large networks one peer in so many looks at the same moment as others: what those are about
/// it does not see.
const TOGETHER_SHARE: usize = 64;

/// Makes looks of peers that do not depend on each other.
pub trait Lookers {
    /// What each of `peers` sees, in their order.
    fn all<T: Send>(&self, peers: &[usize], look: impl Fn(usize) -> T + Sync) -> Vec<T>;
}

/// One look after the other.
#[derive(Clone, Copy, Debug)]
pub struct InTurn;

impl Lookers for InTurn {
    fn all<T: Send>(&self, peers: &[usize], look: impl Fn(usize) -> T + Sync) -> Vec<T> {
        peers.iter().map(|&peer| look(peer)).collect()
    }
}

/// What tells peers apart before they have links.
#[derive(Clone, Copy, Debug)]
pub struct Newcomer {
    /// Its place on the ring.
    pub ring: u64,
    /// Chooses its random links, see [`Situation::random_seed`].
    pub seed: u64,
}

/// How much work the model does.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Links that a peer aims at.
    pub degree: usize,
    /// When it takes no more links but those of the ring, and when none.
    pub limits: Limits,
    /// Times a round that every peer considers its links.
    pub passes: usize,
    /// Rounds after which the mesh is taken as it is.
    pub rounds_max: usize,
    /// Whether peers look for links that shorten their paths and mend cuts, which takes a tree
    /// for every look.
    pub paths: bool,
}

impl Default for Effort {
    fn default() -> Self {
        Self {
            degree: 8,
            limits: Limits::default(),
            passes: 3,
            rounds_max: 100,
            paths: true,
        }
    }
}

/// A link of the model, from one of its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelLink {
    /// Why this end wants it.
    pub mine: Option<Reason>,
    /// Whether this end dialled it.
    pub own_dial: bool,
}

struct Peer {
    newcomer: Newcomer,
    coordinate: Coordinate,
    /// The middle of where its springs pull it.
    steady: Coordinate,
    links: BTreeMap<usize, ModelLink>,
    measured: BTreeMap<usize, u32>,
    search_budget: usize,
    /// After a refusal or a link that was not wanted: the round from which to look again, and the
    /// wait after the next one.
    cooling: BTreeMap<usize, (usize, usize)>,
}

/// Peers, in ascending order of key, and their links.
///
/// `rtt_us` gives the round-trip time of two of them in microseconds, the same both ways;
/// `random` gives seeded bits.
pub struct Model<R, N> {
    rtt_us: R,
    random: N,
    effort: Effort,
    peers: Vec<Peer>,
    /// What everybody knows of each peer.
    known: Vec<Candidate>,
    /// Who has other links since this was cleared, or links that the other end wants or does not
    /// want since then.
    concerned: BTreeSet<usize>,
    round: usize,
}

impl<R, N> std::fmt::Debug for Model<R, N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (peers, round) = (self.peers.len(), self.round);
        write!(f, "Model({peers} peers, round {round})")
    }
}

impl<R: Fn(usize, usize) -> u32 + Sync, N: FnMut() -> u64 + Sync> Model<R, N> {
    /// Peers without links.
    pub fn new(newcomers: &[Newcomer], effort: Effort, rtt_us: R, random: N) -> Self {
        let known = newcomers.iter().map(|newcomer| Candidate {
            ring: newcomer.ring,
            ..Candidate::default()
        });
        let peers = newcomers
            .iter()
            .map(|&newcomer| Peer {
                newcomer,
                coordinate: Coordinate::origin(),
                steady: Coordinate::origin(),
                links: BTreeMap::new(),
                measured: BTreeMap::new(),
                search_budget: SEARCH_BUDGET,
                cooling: BTreeMap::new(),
            })
            .collect();
        Self {
            rtt_us,
            random,
            effort,
            peers,
            known: known.collect(),
            concerned: BTreeSet::new(),
            round: 0,
        }
    }

    /// Runs rounds until the mesh is quiet; returns how many it took to get there. The same
    /// whoever makes the looks.
    pub fn settle(&mut self, lookers: &impl Lookers) -> usize {
        let mut quiet = 0;
        while quiet < QUIET_ROUNDS && self.round < self.effort.rounds_max {
            let before = self.pairs();
            self.run_round(lookers);
            let now = self.pairs();
            let changes = before.symmetric_difference(&now).count();
            quiet = if changes <= now.len() / QUIET_SHARE {
                quiet + 1
            } else {
                0
            };
        }
        self.round - quiet
    }

    fn run_round(&mut self, lookers: &impl Lookers) {
        self.round += 1;
        if self.round.is_multiple_of(SEARCH_REFILL_ROUNDS) {
            for peer in &mut self.peers {
                peer.search_budget += 1;
            }
        }
        self.sample_coordinates();
        let order = self.shuffled();
        let view = self.graph();
        let cuts = Cuts::of(&view);
        let mut may_swap = vec![true; self.peers.len()];
        for _ in 0..self.effort.passes {
            self.choose_in(&order, &view, &cuts, lookers, |model, me, chosen| {
                model.apply(me, chosen, &cuts, &mut may_swap[me]);
                model.close_unwanted(me, &cuts);
            });
        }
    }

    /// Lets all peers choose, some together, and does with what each wants what `then` says.
    fn choose_in(
        &mut self,
        order: &[usize],
        view: &LinkGraph,
        cuts: &Cuts,
        lookers: &impl Lookers,
        mut then: impl FnMut(&mut Self, usize, Vec<Want>),
    ) {
        let together = (self.peers.len() / TOGETHER_SHARE).max(1);
        for some in order.chunks(together) {
            let chosen = lookers.all(some, |me| self.wants_of(me, view, cuts));
            for (&me, chosen) in some.iter().zip(chosen) {
                then(self, me, chosen);
            }
        }
    }

    /// All peers in an order by lot (Fisher and Yates).
    fn shuffled(&mut self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.peers.len()).collect();
        for last in (1..order.len()).rev() {
            let other = ((self.random)() % (last as u64 + 1)) as usize;
            order.swap(last, other);
        }
        order
    }

    /// The links, each as (lower, higher).
    pub fn pairs(&self) -> BTreeSet<(usize, usize)> {
        let peers = self.peers.iter().enumerate();
        peers
            .flat_map(|(me, peer)| {
                let upwards = peer.links.range(me + 1..);
                upwards.map(move |(&other, _)| (me, other))
            })
            .collect()
    }

    /// The link from `me` to `other`, if there is one.
    pub fn link(&self, me: usize, other: usize) -> Option<ModelLink> {
        self.peers[me].links.get(&other).copied()
    }

    /// Where a peer has found itself to be, shaken out.
    pub fn coordinate(&self, peer: usize) -> Coordinate {
        self.peers[peer].steady
    }

    /// Round-trip times that a peer has measured, of links that it has or had.
    pub fn measured(&self, peer: usize) -> impl Iterator<Item = (usize, u32)> + '_ {
        let measured = self.peers[peer].measured.iter();
        measured.map(|(&other, &rtt_us)| (other, rtt_us))
    }

    /// Peers that refused a peer, or with whom it had a link that nobody wanted.
    pub fn cooled(&self, peer: usize) -> impl Iterator<Item = usize> + '_ {
        self.peers[peer].cooling.keys().copied()
    }

    /// Lets so many rounds go by in which nobody dials, so that coordinates come to rest; and then
    /// up to `links` in which nobody searches, until no link comes or goes and nobody changes its
    /// mind: links that nobody wants any more close, which makes room for random ones. Budgets for
    /// searches are used up then. Whatever the effort, all have looked at their paths in the end.
    pub fn rest(&mut self, coordinates: usize, links: usize, lookers: &impl Lookers) {
        for _ in 0..coordinates {
            self.sample_coordinates();
        }
        for peer in &mut self.peers {
            peer.search_budget = 0;
        }
        if !self.effort.paths {
            self.rest_links(links, lookers);
            self.effort.paths = true;
        }
        self.rest_links(links, lookers);
    }

    /// All look at their links, and then again and again those whom others' choices concern.
    fn rest_links(&mut self, rounds: usize, lookers: &impl Lookers) {
        let mut order = self.shuffled();
        for _ in 0..rounds {
            self.concerned.clear();
            let view = self.graph();
            let cuts = Cuts::of(&view);
            self.choose_in(&order, &view, &cuts, lookers, |model, me, chosen| {
                model.apply(me, chosen, &cuts, &mut false);
            });
            for me in 0..self.peers.len() {
                self.close_unwanted(me, &cuts);
            }
            if self.concerned.is_empty() {
                return;
            }
            order = self.concerned.iter().copied().collect();
        }
    }

    fn sample_coordinates(&mut self) {
        for _ in 0..SAMPLES {
            for me in 0..self.peers.len() {
                let neighbours: Vec<usize> = self.peers[me].links.keys().copied().collect();
                for other in neighbours {
                    let rtt_ms = (self.rtt_us)(me, other) as f32 / 1_000.0;
                    let remote = self.peers[other].coordinate;
                    let nudge = (self.random)();
                    let peer = &mut self.peers[me];
                    peer.coordinate.update(&remote, rtt_ms, nudge);
                    peer.coordinate.steady(&mut peer.steady);
                }
            }
        }
        for (peer, known) in self.peers.iter().zip(&mut self.known) {
            if peer.steady.has_moved(&known.coordinate) {
                known.coordinate = peer.steady;
            }
        }
    }

    fn candidates(&self, me: usize) -> Vec<Candidate> {
        let mine = &self.peers[me];
        let mut candidates = self.known.clone();
        for (&other, &rtt) in &mine.measured {
            candidates[other].measured = Some(rtt);
        }
        for (&other, &(until, _)) in &mine.cooling {
            candidates[other].cooling = self.round < until;
        }
        for &other in mine.links.keys() {
            candidates[other].linked = Some((self.rtt_us)(me, other));
            candidates[other].full = false;
            let back = self.peers[other].links.get(&me);
            candidates[other].wants_me = back.is_some_and(|link| link.mine.is_some());
        }
        candidates
    }

    fn wants_of(&self, me: usize, view: &LinkGraph, cuts: &Cuts) -> Vec<Want> {
        let candidates = self.candidates(me);
        wants(&Situation {
            me,
            candidates: &candidates,
            graph: self.effort.paths.then_some(view),
            cuts: Some(cuts),
            degree: self.effort.degree,
            random_seed: self.peers[me].newcomer.seed,
        })
    }

    /// The view: all links, weighted by what they measure.
    pub fn graph(&self) -> LinkGraph {
        let mut graph = LinkGraph::default();
        for _ in &self.peers {
            graph.add_node(PeerNode { capacity: CAPACITY });
        }
        for (me, other) in self.pairs() {
            let weight = link_weight_us((self.rtt_us)(me, other), (self.rtt_us)(other, me));
            graph.add_edge(NodeIndex::new(me), NodeIndex::new(other), weight);
        }
        graph
    }

    /// Neighbours on the ring that have no link to each other.
    pub fn ring_links_missing(&self) -> usize {
        let mut order: Vec<usize> = (0..self.peers.len()).collect();
        order.sort_by_key(|&peer| self.peers[peer].newcomer.ring);
        let next = order.iter().cycle().skip(1);
        let pairs = order.iter().zip(next);
        pairs
            .filter(|&(me, next)| me != next && self.link(*me, *next).is_none())
            .count()
    }

    /// Median relative error of the coordinates' estimates, over all pairs.
    pub fn coordinate_error_median(&self) -> f64 {
        let mut errors = Vec::new();
        for (a, one) in self.peers.iter().enumerate() {
            for (b, other) in self.peers.iter().enumerate().skip(a + 1) {
                let rtt_ms = f64::from((self.rtt_us)(a, b)) / 1_000.0;
                let estimate = f64::from(one.coordinate.distance_ms(&other.coordinate));
                errors.push((estimate - rtt_ms).abs() / rtt_ms);
            }
        }
        errors.sort_unstable_by(f64::total_cmp);
        errors.get(errors.len() / 2).copied().unwrap_or(0.0)
    }
}
