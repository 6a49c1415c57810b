//! The mesh as its peers would build it: everybody knows the members, nobody knows a round-trip
//! time that no link of its own has measured, every choice is local.
//!
//! Time goes in rounds of about half a minute (one swap each), in which every peer considers its
//! links three times. What is left out: loss, messages, delays of the control traffic, views that
//! differ by more than half a round.

use std::collections::{BTreeMap, BTreeSet};

use hedgerow_topology::petgraph::graph::NodeIndex;
use hedgerow_topology::{
    Admission, Candidate, Coordinate, Cuts, Limits, LinkGraph, LinkUse, PeerNode, Reason,
    Situation, Want, admit, confirms_ring, is_closable, link_weight_us, shed, wants,
};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::matrix::Matrix;

/// Children that a peer feeds.
const CAPACITY: u16 = 12;
/// Links that a peer aims at.
const DEGREE: usize = 8;
/// Coordinate samples a round on every link.
const SAMPLES: usize = 10;
/// Links that one peer may dial in a round.
const DIALS: usize = 8;
/// Times a round that every peer considers its links.
const PASSES: usize = 3;
/// Dials for a search ([`Reason::is_search`]) that a newcomer has, and the rounds until it gets a
/// further one (10 min).
const SEARCH_BUDGET: usize = 32;
const SEARCH_REFILL_ROUNDS: usize = 20;
/// A round is quiet when it opens and closes fewer than one in so many links; the mesh is, after
/// two such rounds. (It never stops looking: coordinates keep shifting a little.)
const QUIET_SHARE: usize = 100;
const QUIET_ROUNDS: usize = 2;
/// Rounds after which it is taken as it is.
const ROUNDS_MAX: usize = 100;

struct Link {
    mine: Option<Reason>,
    own_dial: bool,
}

struct Peer {
    ring: u64,
    seed: u64,
    coordinate: Coordinate,
    /// What its record says.
    stated: Coordinate,
    links: BTreeMap<usize, Link>,
    measured: BTreeMap<usize, u32>,
    search_budget: usize,
    /// After a refusal or a link that was not wanted: the round from which to look again, and the
    /// wait after the next one.
    cooling: BTreeMap<usize, (usize, usize)>,
}

pub(crate) struct Model<'a> {
    matrix: &'a Matrix,
    peers: Vec<Peer>,
    rng: ChaCha8Rng,
    round: usize,
}

impl<'a> Model<'a> {
    pub(crate) fn new(matrix: &'a Matrix, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let peers = (0..matrix.peers())
            .map(|_| Peer {
                ring: rng.random(),
                seed: rng.random(),
                coordinate: Coordinate::origin(),
                stated: Coordinate::origin(),
                links: BTreeMap::new(),
                measured: BTreeMap::new(),
                search_budget: SEARCH_BUDGET,
                cooling: BTreeMap::new(),
            })
            .collect();
        Self {
            matrix,
            peers,
            rng,
            round: 0,
        }
    }

    /// Runs rounds until the mesh is quiet; returns how many it took to get there.
    pub(crate) fn settle(&mut self) -> usize {
        let mut quiet = 0;
        while quiet < QUIET_ROUNDS && self.round < ROUNDS_MAX {
            let before = self.links();
            self.run_round();
            let now = self.links();
            let changes = before.symmetric_difference(&now).count();
            quiet = if changes <= now.len() / QUIET_SHARE {
                quiet + 1
            } else {
                0
            };
        }
        self.round - quiet
    }

    fn run_round(&mut self) {
        self.round += 1;
        if self.round.is_multiple_of(SEARCH_REFILL_ROUNDS) {
            for peer in &mut self.peers {
                peer.search_budget += 1;
            }
        }
        self.sample_coordinates();
        let mut order: Vec<usize> = (0..self.peers.len()).collect();
        order.shuffle(&mut self.rng);
        let view = self.graph();
        let cuts = Cuts::of(&view);
        let mut may_swap = vec![true; self.peers.len()];
        for _ in 0..PASSES {
            for &me in &order {
                self.choose(me, &view, &cuts, &mut may_swap[me]);
                self.close_unwanted(me, &cuts);
            }
        }
    }

    fn links(&self) -> BTreeSet<(usize, usize)> {
        let peers = self.peers.iter().enumerate();
        let upwards = |(me, peer): (usize, &'_ Peer)| -> Vec<(usize, usize)> {
            peer.links
                .range(me + 1..)
                .map(|(&other, _)| (me, other))
                .collect()
        };
        peers.flat_map(upwards).collect()
    }

    fn sample_coordinates(&mut self) {
        for _ in 0..SAMPLES {
            for me in 0..self.peers.len() {
                let neighbours: Vec<usize> = self.peers[me].links.keys().copied().collect();
                for other in neighbours {
                    let rtt_ms = self.matrix.rtt_us(me, other) as f32 / 1_000.0;
                    let remote = self.peers[other].coordinate;
                    let nudge = self.rng.random();
                    self.peers[me].coordinate.update(&remote, rtt_ms, nudge);
                }
            }
        }
        for peer in &mut self.peers {
            if peer.coordinate.has_moved(&peer.stated) {
                peer.stated = peer.coordinate;
            }
        }
    }

    fn candidates(&self, me: usize) -> Vec<Candidate> {
        let mine = &self.peers[me];
        let candidate = |(index, peer): (usize, &Peer)| Candidate {
            ring: peer.ring,
            coordinate: peer.stated,
            linked: mine
                .links
                .contains_key(&index)
                .then(|| self.matrix.rtt_us(me, index)),
            measured: mine.measured.get(&index).copied(),
            wants_me: peer.links.get(&me).is_some_and(|link| link.mine.is_some()),
            reachable: true,
            cooling: mine
                .cooling
                .get(&index)
                .is_some_and(|&(until, _)| self.round < until),
            full: false,
            busy: peer.links.len() >= DEGREE,
            in_view: true,
        };
        self.peers.iter().enumerate().map(candidate).collect()
    }

    fn choose(&mut self, me: usize, view: &LinkGraph, cuts: &Cuts, may_swap: &mut bool) {
        let candidates = self.candidates(me);
        let situation = Situation {
            me,
            candidates: &candidates,
            graph: Some(view),
            cuts: Some(cuts),
            degree: DEGREE,
            random_seed: self.peers[me].seed,
        };
        let chosen = wants(&situation);
        for link in self.peers[me].links.values_mut() {
            link.mine = None;
        }
        let mut dials = DIALS;
        for want in chosen {
            if let Some(link) = self.peers[me].links.get_mut(&want.peer) {
                link.mine = Some(want.reason);
            } else if dials > 0 && self.may_dial(me, &want, cuts, *may_swap) {
                dials -= 1;
                *may_swap &= want.swap_for.is_none();
                self.peers[me].search_budget -= usize::from(want.reason.is_search());
                self.dial(me, want.peer, want.reason);
            }
        }
    }

    fn may_dial(&self, me: usize, want: &Want, cuts: &Cuts, may_swap: bool) -> bool {
        if want.reason.is_search() && self.peers[me].search_budget == 0 {
            return false;
        }
        if want.swap_for.is_some() {
            return may_swap;
        }
        let verdict = admit(
            &self.link_uses(me, cuts),
            want.reason,
            true,
            Limits::default(),
        );
        verdict != Admission::Refuse
    }

    fn close_unwanted(&mut self, me: usize, cuts: &Cuts) {
        for link in self.link_uses(me, cuts) {
            if is_closable(&link) {
                self.close(me, link.peer);
            }
        }
        // A swap or a ring link may have taken it one over.
        while self.peers[me].links.len() > Limits::default().accepted {
            let uses = self.link_uses(me, cuts);
            let Some(index) = shed(&uses) else { return };
            self.close(me, uses[index].peer);
        }
    }

    fn link_uses(&self, me: usize, cuts: &Cuts) -> Vec<LinkUse> {
        let links = self.peers[me].links.iter();
        let link_use = |(&other, link): (&usize, &Link)| LinkUse {
            peer: other,
            mine: link.mine,
            theirs: self.peers[other].links.get(&me).and_then(|link| link.mine),
            is_bridge: cuts.is_bridge(NodeIndex::new(me), NodeIndex::new(other)),
            own_dial: link.own_dial,
            rtt_us: self.matrix.rtt_us(me, other),
        };
        links.map(link_use).collect()
    }

    fn dial(&mut self, me: usize, other: usize, reason: Reason) {
        let rtt = self.matrix.rtt_us(me, other);
        self.peers[me].measured.insert(other, rtt);
        let candidates = self.candidates(other);
        let theirs = Situation {
            me: other,
            candidates: &candidates,
            graph: None,
            cuts: None,
            degree: DEGREE,
            random_seed: 0,
        };
        let confirmed = confirms_ring(&theirs, me) || reason == Reason::Repair;
        let uses = self.link_uses(other, &Cuts::default());
        match admit(&uses, reason, confirmed, Limits::default()) {
            Admission::Accept => {}
            Admission::AcceptAndShed(index) => self.close(other, uses[index].peer),
            Admission::Refuse => {
                self.cool(me, other);
                return;
            }
        }
        self.peers[other].measured.insert(me, rtt);
        self.peers[me].links.insert(
            other,
            Link {
                mine: Some(reason),
                own_dial: true,
            },
        );
        self.peers[other].links.insert(
            me,
            Link {
                mine: None,
                own_dial: false,
            },
        );
    }

    /// A refusal, or a link that turned out to be unwanted: no search for a while, twice as long
    /// each time.
    fn cool(&mut self, me: usize, other: usize) {
        let (_, wait) = self.peers[me]
            .cooling
            .get(&other)
            .copied()
            .unwrap_or((0, 1));
        self.peers[me]
            .cooling
            .insert(other, (self.round + 1 + wait, wait * 2));
    }

    fn close(&mut self, me: usize, other: usize) {
        self.peers[me].links.remove(&other);
        self.peers[other].links.remove(&me);
        self.cool(me, other);
        self.cool(other, me);
    }

    /// The view: all links, weighted by what they measure.
    pub(crate) fn graph(&self) -> LinkGraph {
        let mut graph = LinkGraph::default();
        for _ in &self.peers {
            graph.add_node(PeerNode { capacity: CAPACITY });
        }
        for (me, peer) in self.peers.iter().enumerate() {
            for (&other, _) in peer.links.range(me + 1..) {
                let rtt = self.matrix.rtt_us(me, other);
                let weight = link_weight_us(rtt, self.matrix.rtt_us(other, me));
                graph.add_edge(NodeIndex::new(me), NodeIndex::new(other), weight);
            }
        }
        graph
    }

    /// Neighbours on the ring that have no link to each other.
    pub(crate) fn ring_links_missing(&self) -> usize {
        let mut order: Vec<usize> = (0..self.peers.len()).collect();
        order.sort_by_key(|&peer| self.peers[peer].ring);
        let next = order.iter().cycle().skip(1);
        let pairs = order.iter().zip(next);
        pairs
            .filter(|&(me, next)| me != next && !self.peers[*me].links.contains_key(next))
            .count()
    }

    /// Median relative error of the coordinates' estimates, over all pairs.
    pub(crate) fn coordinate_error_median(&self) -> f64 {
        let mut errors = Vec::new();
        for a in 0..self.peers.len() {
            for b in a + 1..self.peers.len() {
                let rtt_ms = f64::from(self.matrix.rtt_us(a, b)) / 1_000.0;
                let estimate = f64::from(
                    self.peers[a]
                        .coordinate
                        .distance_ms(&self.peers[b].coordinate),
                );
                errors.push((estimate - rtt_ms).abs() / rtt_ms);
            }
        }
        errors.sort_unstable_by(f64::total_cmp);
        errors.get(errors.len() / 2).copied().unwrap_or(0.0)
    }
}
