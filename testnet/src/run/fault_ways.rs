//! Faults of the network: ways that are cut, long, lossy or narrow, connections that end.

use super::Run;
use super::fault::ActiveFault;
use super::setup::bytes_per_s;
use crate::scenario::{Fault, FaultKind, Share};
use crate::sim::{Bandwidth, NodeState, Way};
use hedgerow_protocol::{LinkId, Micros};

impl Run<'_> {
    pub(super) fn part(&mut self, fault: &Fault, occurrence: u64, active: &mut ActiveFault) {
        let sets = fault.sets.clone().unwrap_or_default();
        let mut sides: Vec<Vec<usize>> = Vec::new();
        let mut taken = vec![false; self.cast.len()];
        let bridge = fault
            .bridge
            .as_ref()
            .map(|bridge| self.chosen(bridge, occurrence));
        for node in bridge.into_iter().flatten() {
            taken[node] = true;
        }
        for set in &sets {
            let chosen = match set.as_str() {
                "rest" => (0..self.cast.len()).collect(),
                _ => self.chosen(set, occurrence),
            };
            let side: Vec<usize> = chosen
                .into_iter()
                .filter(|&node| !std::mem::replace(&mut taken[node], true))
                .collect();
            sides.push(side);
        }
        active.nodes = sides.concat();
        active.sides = sides;
    }

    /// Makes so what a fault that has just become active says of ways and lines.
    pub(super) fn renew(&mut self, id: u64) {
        let Some(active) = self.active.get(&id).cloned() else {
            return;
        };
        self.renew_ways(&active);
        if active.fault.kind == FaultKind::Partition {
            self.cut_off(&active);
        }
    }

    fn cut_off(&mut self, active: &ActiveFault) {
        let ActiveFault { fault, sides, .. } = active;
        if let Some(delay) = fault.delay {
            self.world.slow_between(Some((sides, delay.0)));
        } else if fault.one_way == Some(true) {
            let others: Vec<usize> = sides[1..].concat();
            self.world.cut_one_way(&sides[0], &others);
        } else {
            self.world.partition(sides);
        }
    }

    /// A partition has ended: what is cut or slow for another reason stays so.
    pub(super) fn mend(&mut self, ended: &ActiveFault) {
        let slow = ended.fault.delay.is_some();
        if slow {
            self.world.slow_between(None);
        } else {
            self.world.heal();
        }
        let others: Vec<ActiveFault> = self.active.values().cloned().collect();
        for other in others {
            match other.fault.kind {
                FaultKind::Partition if other.fault.delay.is_some() == slow => {
                    self.cut_off(&other);
                }
                FaultKind::Flap if other.cut && !slow => {
                    for &(a, b) in &other.pairs {
                        self.world.cut_pair(a, b, true);
                    }
                }
                _ => {}
            }
        }
    }

    /// The ways and lines of a fault's nodes, as all faults that are active make them, in the order
    /// in which they began.
    pub(super) fn renew_ways(&mut self, changed: &ActiveFault) {
        let kind = changed.fault.kind;
        if !is_of_ways(kind) && kind != FaultKind::Bandwidth {
            return;
        }
        let on = |active: &&ActiveFault, node| active.nodes.contains(&node);
        for &node in &changed.nodes {
            let active = self.active.values().filter(|active| on(active, node));
            if kind == FaultKind::Bandwidth {
                let before = self.world.bandwidth(node);
                let mut line = *self.lines.entry(node).or_insert(before);
                for active in active.filter(|active| active.fault.kind == kind) {
                    squeeze(&mut line, &active.fault);
                }
                self.world.set_bandwidth(node, line);
            } else {
                let mut way = Way::default();
                for active in active.filter(|active| is_of_ways(active.fault.kind)) {
                    spoil(&mut way, &active.fault);
                }
                self.world.set_way(node, way);
            }
        }
    }

    pub(super) fn break_links(&mut self, active: &mut ActiveFault) {
        let mut links: Vec<(usize, LinkId)> = Vec::new();
        for &node in &active.nodes {
            if self.world.state(node) == NodeState::Running {
                let up = self.world.links(node).into_iter();
                links.extend(up.map(|(link, _)| (node, link)));
            }
        }
        let count = active.fault.links.unwrap_or(1);
        let chosen = self.random.sample(links.len(), count);
        active.nodes = chosen.iter().map(|&at| links[at].0).collect();
        for at in chosen {
            let (node, link) = links[at];
            if active.fault.kind == FaultKind::Reset {
                self.world.reset_link(node, link);
            } else {
                self.world.half_open(node, link);
            }
        }
    }

    pub(super) fn pairs_of_neighbours(
        &mut self,
        nodes: &[usize],
        count: usize,
    ) -> Vec<(usize, usize)> {
        let mut pairs = Vec::new();
        for &node in nodes {
            if self.world.state(node) == NodeState::Running {
                let others = self.world.neighbours(node).into_iter();
                pairs.extend(
                    others
                        .filter(|&other| node < other)
                        .map(|other| (node, other)),
                );
            }
        }
        let chosen = self.random.sample(pairs.len(), count);
        chosen.into_iter().map(|at| pairs[at]).collect()
    }

    /// Ways go or come back; half a period later it is the other.
    pub(super) fn flap(&mut self, active: &mut ActiveFault) -> Option<Micros> {
        active.cut = !active.cut;
        if active.cut {
            for &(a, b) in &active.pairs {
                self.world.cut_pair(a, b, true);
                self.reset_between(a, b);
            }
        } else {
            self.join_pairs(active);
        }
        let period = active.fault.period?.0;
        Some(self.world.now() + Micros(period.0 / 2))
    }

    /// Opens the ways between pairs, but for those that another fault has cut now.
    pub(super) fn join_pairs(&mut self, active: &ActiveFault) {
        for &(a, b) in &active.pairs {
            let cut = |other: &ActiveFault| other.cut && other.pairs.contains(&(a, b));
            if !self.active.values().any(cut) {
                self.world.cut_pair(a, b, false);
            }
        }
    }

    /// Ends the connections between two nodes at both ends, as a cable that is pulled does.
    fn reset_between(&mut self, a: usize, b: usize) {
        if !self.world.is_alive(a) || !self.world.is_alive(b) {
            return;
        }
        let other = self.world.key(b);
        let links = self.world.links(a).into_iter();
        let links: Vec<LinkId> = links
            .filter(|(_, peer)| *peer == other)
            .map(|(link, _)| link)
            .collect();
        for link in links {
            self.world.reset_link(a, link);
        }
    }
}

fn is_of_ways(kind: FaultKind) -> bool {
    matches!(
        kind,
        FaultKind::Latency
            | FaultKind::Loss
            | FaultKind::Duplicate
            | FaultKind::Reorder
            | FaultKind::Corrupt
    )
}

fn spoil(way: &mut Way, fault: &Fault) {
    let share = fault.share.map_or(0, Share::ppm);
    let jitter = fault.jitter.map_or(Micros(0), |jitter| jitter.0);
    match fault.kind {
        FaultKind::Latency => {
            way.delay = fault.delay.map_or(Micros(0), |delay| delay.0);
            way.jitter = jitter;
        }
        FaultKind::Loss => {
            way.loss_ppm = share;
            let run = fault.run.unwrap_or(1.0).max(1.0);
            way.loss_again_ppm = ((1.0 - 1.0 / run) * 1e6) as u32;
        }
        FaultKind::Corrupt => way.altered_ppm = share,
        FaultKind::Duplicate => way.twice_ppm = share,
        _ => {
            way.late_ppm = share;
            way.late = jitter;
        }
    }
}

fn squeeze(line: &mut Bandwidth, fault: &Fault) {
    let narrow = |line: Option<u64>, mbit: Option<f64>| match (mbit, fault.factor) {
        (Some(mbit), _) => Some(bytes_per_s(mbit)),
        (None, Some(factor)) => line.map(|line| ((line as f64 * factor) as u64).max(1)),
        (None, None) => line,
    };
    *line = Bandwidth {
        up: narrow(line.up, fault.up_mbit),
        down: narrow(line.down, fault.down_mbit),
    };
}
