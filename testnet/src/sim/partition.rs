//! Ways that are cut, and what happens to bytes on them: they wait until the sender's timer tries
//! again after the way has healed.

use super::connection::{End, EndRef};
use super::peer::Peer;
use super::trace::Kind;
use super::transport::{RTO_MAX, RTO_MIN};
use super::world::{Happening, World};
use hedgerow_protocol::Micros;

impl<P: Peer> World<P> {
    /// Cuts the network into sets of nodes that reach each other only within. A node in no set
    /// reaches all and is reached by all. Takes the place of an earlier partition.
    pub fn partition(&mut self, sets: &[Vec<usize>]) {
        for node in &mut self.nodes {
            node.side = None;
        }
        for (side, set) in sets.iter().enumerate() {
            for &node in set {
                self.nodes[node].side = Some(side as u32);
                self.note_fault(node, "partition");
            }
        }
        self.reconnect();
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

    /// Makes ways between nodes of different sets longer; `None` ends it.
    pub fn slow_between(&mut self, sets: Option<(&[Vec<usize>], Micros)>) {
        self.slow = sets.map(|(sets, more)| {
            let mut sides = vec![None; self.nodes.len()];
            for (side, set) in sets.iter().enumerate() {
                for &node in set {
                    sides[node] = Some(side as u32);
                }
            }
            (sides, more)
        });
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
        for node in &mut self.nodes {
            node.side = None;
        }
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
        let apart = match (self.nodes[from].side, self.nodes[to].side) {
            (Some(a), Some(b)) => a != b,
            _ => false,
        };
        if !self.cut_pairs.is_empty() && self.cut_pairs.contains(&(from.min(to), from.max(to))) {
            return true;
        }
        let in_set = |set: &[bool], node: usize| set.get(node).copied().unwrap_or(false);
        apart
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
