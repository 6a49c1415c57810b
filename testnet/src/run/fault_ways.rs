//! Faults of the network: ways that are cut, long, lossy or narrow, connections that end.

use super::Run;
use super::fault::ActiveFault;
use super::setup::bytes_per_s;
use crate::scenario::{Fault, FaultKind, Share};
use crate::sim::{Bandwidth, NodeState};
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
        if let Some(delay) = fault.delay {
            self.world.slow_between(Some((&sides, delay.0)));
        } else if fault.one_way == Some(true) {
            let others: Vec<usize> = sides[1..].concat();
            self.world.cut_one_way(&sides[0], &others);
        } else {
            self.world.partition(&sides);
        }
    }

    pub(super) fn spoil_ways(&mut self, active: &mut ActiveFault) {
        let fault = &active.fault;
        let share = fault.share.map_or(0, Share::ppm);
        let jitter = fault.jitter.map_or(Micros(0), |jitter| jitter.0);
        for &node in &active.nodes {
            let before = self.world.way(node);
            let mut way = before;
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
            self.world.set_way(node, way);
            active.ways.push((node, before));
        }
    }

    pub(super) fn squeeze(&mut self, active: &mut ActiveFault) {
        let fault = &active.fault;
        for &node in &active.nodes {
            let before = self.world.bandwidth(node);
            let narrow = |line: Option<u64>, mbit: Option<f64>| match (mbit, fault.factor) {
                (Some(mbit), _) => Some(bytes_per_s(mbit)),
                (None, Some(factor)) => line.map(|line| ((line as f64 * factor) as u64).max(1)),
                (None, None) => line,
            };
            let line = Bandwidth {
                up: narrow(before.up, fault.up_mbit),
                down: narrow(before.down, fault.down_mbit),
            };
            self.world.set_bandwidth(node, line);
            active.lines.push((node, before));
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
        for &(a, b) in &active.pairs {
            self.world.cut_pair(a, b, active.cut);
            if active.cut {
                self.reset_between(a, b);
            }
        }
        let period = active.fault.period?.0;
        Some(self.world.now() + Micros(period.0 / 2))
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
