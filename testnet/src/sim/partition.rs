//! Ways that are cut, and what happens to bytes on them: they wait until the sender's timer tries
//! again after the way has healed.

use super::connection::{End, EndRef};
use super::peer::Peer;
use super::trace::Kind;
use super::transport::{RTO_MAX, RTO_MIN};
use super::world::{Happening, World};
use hedgerow_protocol::Micros;

/// Sets of nodes that stand apart.
#[derive(Clone, Debug)]
pub(crate) struct Sides(Vec<Option<u32>>);

impl Sides {
    /// Which of the sets each of so many nodes is in; one in no set stands apart from nobody.
    pub(crate) fn new(nodes: usize, sets: &[Vec<usize>]) -> Self {
        let mut sides = vec![None; nodes];
        for (side, set) in (0..).zip(sets) {
            for &node in set {
                sides[node] = Some(side);
            }
        }
        Self(sides)
    }

    /// Whether two nodes are in different sets.
    pub(crate) fn are_apart(&self, a: usize, b: usize) -> bool {
        let side = |node: usize| self.0.get(node).copied().flatten();
        side(a).zip(side(b)).is_some_and(|(a, b)| a != b)
    }
}

impl<P: Peer> World<P> {
    /// Cuts the network into sets of nodes that reach each other only within. A node in no set
    /// reaches all and is reached by all. What earlier partitions cut stays cut.
    pub fn partition(&mut self, sets: &[Vec<usize>]) {
        self.partitions.push(Sides::new(self.nodes.len(), sets));
        for &node in sets.iter().flatten() {
            self.note_fault(node, "partition");
        }
    }

    /// Cuts all ways from `from` to `to`; the other direction stays.
    pub fn cut_one_way(&mut self, from: &[usize], to: &[usize]) {
        let set = |nodes: &[usize]| {
            let mut set = vec![false; self.nodes.len()];
            for &node in nodes {
                set[node] = true;
            }
            set
        };
        let cut = (set(from), set(to));
        self.cuts.push(cut);
        for &node in from {
            self.note_fault(node, "cut");
        }
    }

    /// Makes ways between nodes of different sets longer, beyond what they are already; `None` ends
    /// all of that.
    pub fn slow_between(&mut self, sets: Option<(&[Vec<usize>], Micros)>) {
        match sets {
            Some((sets, more)) => self.slow.push((Sides::new(self.nodes.len(), sets), more)),
            None => self.slow.clear(),
        }
        self.trace.add(self.now, Kind::Fault, 0, b"slow");
    }

    /// Cuts the way between two nodes in both directions, or opens it again.
    pub fn cut_pair(&mut self, a: usize, b: usize, cut: bool) {
        let pair = (a.min(b), a.max(b));
        self.note_fault(a, if cut { "cut pair" } else { "open pair" });
        if cut {
            self.cut_pairs.insert(pair);
        } else if self.cut_pairs.remove(&pair) {
            self.reconnect();
        }
    }

    /// Ends all partitions and cuts. What was sent meanwhile comes when senders try again.
    pub fn heal(&mut self) {
        self.partitions.clear();
        self.cuts.clear();
        self.cut_pairs.clear();
        self.trace.add(self.now, Kind::Fault, 0, b"heal");
        self.reconnect();
    }

    /// Schedules new attempts of whatever is stalled, where the way is free.
    fn reconnect(&mut self) {
        let waiting = |end: &End| !end.stalled.is_empty() || end.unreleased > 0;
        let ends: Vec<(EndRef, usize, Micros)> = self
            .connections
            .ends()
            .filter(|(_, end)| waiting(end))
            .map(|(name, end)| (name, end.node, end.stalled_since))
            .collect();
        for (end, node, since) in ends {
            self.release_held(end);
            let Some(other) = self.connections.get(end.other()).map(|other| other.node) else {
                continue;
            };
            let delay = self.delay(node, other);
            let due = self.next_retry(since, delay.times(2)) + delay;
            self.queue.push(due, Happening::Resend { end });
        }
    }

    /// Whether nothing gets from `from` to `to`.
    pub(crate) fn is_cut(&self, from: usize, to: usize) -> bool {
        if !self.cut_pairs.is_empty() && self.cut_pairs.contains(&(from.min(to), from.max(to))) {
            return true;
        }
        let in_set = |set: &[bool], node: usize| set.get(node).copied().unwrap_or(false);
        let apart = |sides: &Sides| sides.are_apart(from, to);
        self.partitions.iter().any(apart)
            || self
                .cuts
                .iter()
                .any(|(a, b)| in_set(a, from) && in_set(b, to))
    }

    /// Window that was held back by a cut reaches the sender once the way is free again.
    pub(crate) fn release_held(&mut self, end: EndRef) {
        let Some(receiver) = self.connections.get(end.other()).map(|other| other.node) else {
            return;
        };
        let Some(at) = self.connections.get(end) else {
            return;
        };
        let bytes = std::mem::take(&mut at.unreleased);
        if bytes > 0 {
            self.release(end, receiver, bytes);
        }
    }

    /// When a sender whose packets vanish since `since` tries again next: its timer doubles.
    pub(crate) fn next_retry(&self, since: Micros, round_trip: Micros) -> Micros {
        let mut wait = RTO_MIN.max(round_trip.times(2));
        let mut at = since + wait;
        while at <= self.now {
            wait = wait.times(2).min(RTO_MAX);
            at = at + wait;
        }
        at
    }

    pub(crate) fn on_resend(&mut self, end: EndRef) {
        let Some(other) = self.connections.get(end.other()).map(|other| other.node) else {
            return;
        };
        let Some(node) = self.connections.get(end).map(|at| at.node) else {
            return;
        };
        if self.is_cut(node, other) {
            return;
        }
        let Some(at) = self.connections.get(end) else {
            return;
        };
        let stalled = std::mem::take(&mut at.stalled);
        for segment in stalled {
            self.reach(end, segment);
        }
    }
}
