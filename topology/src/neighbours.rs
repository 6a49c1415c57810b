//! Whom a peer wants links to.
//!
//! Everybody knows the members, so the choice is local and informed: the ring connects, the near
//! links and the shells of growing rank shorten, the random ones keep the mesh an expander, and
//! what room is left goes to whoever lowers the estimated paths most. Any live link in a shell
//! satisfies that shell, whoever dialled it: that is what keeps the degree down, because half of
//! what a peer wants others have brought to it already.
//!
//! Pure: the link manager of the protocol and the offline model of `examples/planetlab.rs` call
//! the same functions. What they want is an answer to *now*; ask again when the situation has
//! changed. Links that exist enter the answer before links that would have to be dialled, so that
//! asking again changes nothing while nothing changes.

mod estimate;
mod limits;
mod near;
mod path;
mod ranking;
mod repair;
mod ring;

use estimate::Estimates;
use ranking::Ranking;
use serde::{Deserialize, Serialize};

pub use limits::{Admission, Limits, LinkUse, admit, is_closable, shed};
pub use ring::{Side, confirms_ring, ring_walk};

use crate::coordinate::Coordinate;
use crate::cuts::Cuts;
use crate::graph::LinkGraph;

/// A swap has to gain 20 %: the new one may cost at most 5/6 of the old one. Estimates err by
/// 10 to 20 %, so less would trade links for noise.
const SWAP_NUMERATOR: u64 = 5;
const SWAP_DENOMINATOR: u64 = 6;

/// A live link to one of the first by lot, of those that have room, is a random link: to the first
/// one, and one more for every so many peers, but no further than the last.
const LOTS_HELD_PEERS: usize = 100;
const LOTS_HELD_MAX: usize = 4;

/// What a peer knows of another peer that it could have a link to.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools)] // Independent facts, set by name from independent sources.
pub struct Candidate {
    /// Position on the ring: a hash of the key.
    pub ring: u64,
    /// Where the peer says it lies.
    pub coordinate: Coordinate,
    /// Round-trip time in microseconds of my live link to it.
    pub linked: Option<u32>,
    /// Round-trip time in microseconds that an earlier link or dial has measured; better than the
    /// coordinates' estimate, and without it a peer that only looked near would be dialled again
    /// and again.
    pub measured: Option<u32>,
    /// The peer says that it wants the live link to me.
    pub wants_me: bool,
    /// Worth a dial. False while backing off after failed dials.
    pub reachable: bool,
    /// A link to it was refused, or closed for want of interest, not long ago. Nobody searches
    /// there again until the wait (doubling each time) is over; the ring and repairs still dial.
    pub cooling: bool,
    /// It says itself that it has no room but for ring links: a search or a lot would be refused.
    pub full: bool,
    /// It has as many links as it aims at: for one more it drops another, whose other end then
    /// has room and dials a third.
    pub busy: bool,
    /// False when lost less than 2 min ago: counts for the ring only, so that the ring closes
    /// over a mass crash and not on every fragment.
    pub in_view: bool,
}

impl Default for Candidate {
    /// A peer in the view that nothing else is known of.
    fn default() -> Self {
        Self {
            ring: 0,
            coordinate: Coordinate::origin(),
            linked: None,
            measured: None,
            wants_me: false,
            reachable: true,
            cooling: false,
            full: false,
            busy: false,
            in_view: true,
        }
    }
}

impl Candidate {
    fn is_usable(&self) -> bool {
        self.linked.is_some() || self.reachable
    }

    /// Whether a search may dial it.
    fn is_open(&self) -> bool {
        self.in_view && self.linked.is_none() && self.reachable && !self.cooling && !self.full
    }
}

/// All that the choice depends on.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// My place among the candidates.
    pub me: usize,
    /// All members and I, sorted by key.
    pub candidates: &'a [Candidate],
    /// The view, with the same indices. Without it there is neither [`Reason::Path`] nor
    /// [`Reason::Repair`].
    pub graph: Option<&'a LinkGraph>,
    /// The view's cuts, the same for everybody who holds it; found anew when not given.
    pub cuts: Option<&'a Cuts>,
    /// Links that a peer aims at over all groups; 8 by default.
    pub degree: usize,
    /// Chooses the random links. Different for every peer, changing rarely or never.
    pub random_seed: u64,
}

impl Situation<'_> {
    /// The view, if there is one that fits.
    fn view(&self) -> Option<&LinkGraph> {
        self.graph
            .filter(|graph| graph.node_count() == self.candidates.len())
    }
}

/// Why a link is wanted; each end tells the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reason {
    /// The next peer up the ring that answers.
    RingSuccessor,
    /// The next peer down the ring that answers.
    RingPredecessor,
    /// It mends an articulation point of the view, or keeps one from appearing.
    Repair,
    /// The nearest member.
    Nearest,
    /// One in this shell of growing rank, 0 the innermost.
    Shell(u8),
    /// Drawn by lot: against eclipse, and to keep the mesh an expander.
    Random(u8),
    /// It lowers the estimated paths from me.
    Path,
}

impl Reason {
    /// Whether the link is one of the ring, which alone connects a group: never shed, never
    /// refused by a peer whose database confirms it.
    pub fn is_ring(self) -> bool {
        matches!(self, Self::RingSuccessor | Self::RingPredecessor)
    }

    /// Whether a dial for this reason is part of a search that may go on for as long as estimates
    /// shift a little. Such dials need a budget that refills slowly (the model of the examples: 32,
    /// then one every 10 min), the others are few by themselves.
    pub fn is_search(self) -> bool {
        matches!(self, Self::Nearest | Self::Shell(_) | Self::Path)
    }
}

/// A link that a peer wants: keep it if it lives, dial it if it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// Index of the candidate.
    pub peer: usize,
    /// Why; the strongest reason if there are several.
    pub reason: Reason,
    /// The live link that this one is to take the place of. That one stays wanted, by a [`Want`]
    /// of its own, until this one lives (make before break). At most one such dial per 30 s.
    pub swap_for: Option<usize>,
}

/// A situation with estimates of how far everybody is, which all choices share.
pub struct Considered<'a> {
    situation: &'a Situation<'a>,
    /// `None` where `me` is nobody.
    estimates: Option<Estimates>,
}

impl std::fmt::Debug for Considered<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (me, peers) = (self.situation.me, self.situation.candidates.len());
        write!(f, "Considered({me} of {peers})")
    }
}

impl<'a> Considered<'a> {
    /// Estimates how far everybody is.
    pub fn new(situation: &'a Situation<'a>) -> Self {
        let is_somebody = situation.me < situation.candidates.len();
        Self {
            situation,
            estimates: is_somebody.then(|| Estimates::new(situation)),
        }
    }

    /// Whom the peer wants links to, strongest reason first; every peer at most once. Two of the
    /// ring, about six more, and as many repairs as articulation points need.
    pub fn wants(&self) -> Vec<Want> {
        let (situation, Some(estimates)) = (self.situation, &self.estimates) else {
            return Vec::new();
        };
        let mut choice = Choice::new(situation);
        let ranking = Ranking::new(situation, estimates, |_| true);
        ring::choose(situation, |_| true, &mut choice);
        near::choose_nearest(estimates, &ranking, &mut choice);
        near::choose_shells(situation, &ranking, &mut choice);
        choose_random(situation, &mut choice);
        path::choose(situation, estimates, &mut choice);
        if let Some(graph) = situation.view() {
            repair::choose(situation, graph, &mut choice);
        }
        choice.finish()
    }

    /// Whom the peer wants links to for a further group: ring and nearest only, preferring links
    /// that exist. `members` holds a flag per candidate; missing ones are no members.
    pub fn group_wants(&self, members: &[bool]) -> Vec<Want> {
        let (situation, Some(estimates)) = (self.situation, &self.estimates) else {
            return Vec::new();
        };
        let is_member = |peer: usize| members.get(peer).copied().unwrap_or(false);
        let mut choice = Choice::new(situation);
        ring::choose(situation, is_member, &mut choice);
        let ranking = Ranking::new(situation, estimates, is_member);
        near::choose_near_enough(situation, &ranking, &mut choice);
        choice.finish()
    }
}

/// [`Considered::wants`] of a situation that nothing else is asked of.
pub fn wants(situation: &Situation<'_>) -> Vec<Want> {
    Considered::new(situation).wants()
}

/// [`Considered::group_wants`] of a situation that nothing else is asked of.
pub fn group_wants(situation: &Situation<'_>, members: &[bool]) -> Vec<Want> {
    Considered::new(situation).group_wants(members)
}

/// Wants collected so far.
struct Choice {
    wants: Vec<Want>,
    is_wanted: Vec<bool>,
}

impl Choice {
    fn new(situation: &Situation<'_>) -> Self {
        let mut is_wanted = vec![false; situation.candidates.len()];
        if let Some(me) = is_wanted.get_mut(situation.me) {
            // Nobody wants a link to itself.
            *me = true;
        }
        Self {
            wants: Vec::new(),
            is_wanted,
        }
    }

    fn is_wanted(&self, peer: usize) -> bool {
        self.is_wanted[peer]
    }

    fn add(&mut self, peer: usize, reason: Reason, swap_for: Option<usize>) {
        if !self.is_wanted[peer] {
            self.is_wanted[peer] = true;
            self.wants.push(Want {
                peer,
                reason,
                swap_for,
            });
        } else if let Some(want) = self.wants.iter_mut().find(|want| want.peer == peer) {
            want.reason = want.reason.min(reason);
        }
    }

    fn finish(mut self) -> Vec<Want> {
        self.wants.sort_by_key(|want| (want.reason, want.peer));
        self.wants
    }
}

/// One own random link for every eight of the degree: as everybody draws, each peer is drawn as
/// often as it draws, which makes two of eight.
fn choose_random(situation: &Situation<'_>, choice: &mut Choice) {
    let draws = situation.degree.div_ceil(8).min(8) as u8;
    let lots_held = (1 + situation.candidates.len() / LOTS_HELD_PEERS).min(LOTS_HELD_MAX);
    for draw in 0..draws {
        // The lowest of a hash per candidate: others may come and go without changing the lot.
        let lot = |candidate: &Candidate| {
            mix(situation.random_seed ^ mix(candidate.ring ^ u64::from(draw)))
        };
        let others = |accept: fn(&Candidate) -> bool| {
            let all = situation.candidates.iter().enumerate();
            all.filter(move |&(peer, candidate)| {
                peer != situation.me && candidate.in_view && accept(candidate)
            })
            .map(|(peer, candidate)| (lot(candidate), peer))
        };
        let is_usable = |candidate: &Candidate| candidate.is_usable() && !candidate.full;
        let held = others(|candidate| candidate.linked.is_some()).min();
        // In large networks, whoever was full when the lot fell may have room now: that moves no
        // link.
        let held = held.filter(|&(lot, _)| {
            let before = others(is_usable).filter(|&(other, _)| other < lot);
            before.take(lots_held).count() < lots_held
        });
        if let Some((_, peer)) = held.or_else(|| others(is_usable).min()) {
            choice.add(peer, Reason::Random(draw), None);
        }
    }
}

/// A bijection that scatters: the finaliser of `SplitMix64` (Steele, Lea, Flood, OOPSLA 2014).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}
