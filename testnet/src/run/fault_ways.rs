//! Faults of the network: ways that are cut, long, lossy or narrow, connections that end.

use super::Run;
use super::fault::ActiveFault;
use super::setup::bytes_per_s;
use crate::scenario::{Fault, FaultKind, Share};
use crate::sim::{Bandwidth, Loss, NodeState, Way, either};
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
        if sides.iter().filter(|side| !side.is_empty()).count() > 1 {
            active.nodes = sides.concat();
        } else {
            // All are on one side.
            active.nodes.clear();
        }
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

    /// The ways and lines of a fault's nodes, as all faults that are active make them.
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
                let line = *self.lines.entry(node).or_insert(before);
                let active = active.filter(|active| active.fault.kind == kind);
                let faults: Vec<&Fault> = active.map(|active| &active.fault).collect();
                let line = Bandwidth {
                    up: squeezed(line.up, &faults, |fault| fault.up_mbit),
                    down: squeezed(line.down, &faults, |fault| fault.down_mbit),
                };
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

    /// How many lines a fault makes narrow: a share of what has no limit has none either.
    pub(super) fn narrowed(&self, active: &ActiveFault) -> usize {
        let fault = &active.fault;
        let says = fault.up_mbit.is_some() || fault.down_mbit.is_some();
        let limited = |node: usize| self.world.bandwidth(node) != Bandwidth::UNLIMITED;
        let nodes = active.nodes.iter();
        nodes.filter(|&&node| says || limited(node)).count()
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
        self.links_broken += chosen.len();
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
        let is_first = self.history[active.entry].from == self.world.now();
        if active.cut && active.fault.again == Some(true) && !is_first {
            let count = active.fault.links.unwrap_or(1);
            active.pairs = self.pairs_of_neighbours(&active.nodes, count);
            self.history[active.entry].hit += active.pairs.len();
        }
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
        self.links_broken += links.len();
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

/// Adds a fault to those that a way has: delays add up, shares are of what the others leave.
fn spoil(way: &mut Way, fault: &Fault) {
    let share = fault.share.map_or(0, Share::ppm);
    let jitter = fault.jitter.map_or(Micros(0), |jitter| jitter.0);
    match fault.kind {
        FaultKind::Latency => {
            way.delay = way.delay + fault.delay.map_or(Micros(0), |delay| delay.0);
            way.jitter = way.jitter + jitter;
        }
        FaultKind::Loss => {
            let run = fault.run.unwrap_or(1.0);
            let loss = Loss::on(way).or(Loss {
                share_ppm: share,
                again_ppm: ((1.0 - 1.0 / run) * 1e6) as u32,
            });
            (way.loss_ppm, way.loss_again_ppm) = (loss.share_ppm, loss.again_ppm);
        }
        FaultKind::Corrupt => way.altered_ppm = either(way.altered_ppm, share),
        FaultKind::Duplicate => way.twice_ppm = either(way.twice_ppm, share),
        _ => {
            way.late_ppm = either(way.late_ppm, share);
            way.late = way.late.max(jitter);
        }
    }
}

/// What faults leave of one direction of a line: the least that one of them says, or what there
/// was, by the factors of the others.
fn squeezed(
    line: Option<u64>,
    faults: &[&Fault],
    mbit: impl Fn(&Fault) -> Option<f64>,
) -> Option<u64> {
    let said = faults.iter().filter_map(|fault| mbit(fault));
    let line = said.map(bytes_per_s).min().or(line)?;
    let factors = faults.iter().filter(|fault| mbit(fault).is_none());
    let factor: f64 = factors.filter_map(|fault| fault.factor).product();
    Some(((line as f64 * factor) as u64).max(1))
}

#[cfg(test)]
mod tests {
    use super::{spoil, squeezed};
    use crate::scenario::Fault;
    use crate::sim::Way;
    use hedgerow_protocol::Micros;

    fn faults(text: &str) -> Vec<Fault> {
        #[derive(serde::Deserialize)]
        struct All {
            fault: Vec<Fault>,
        }
        toml::from_str::<All>(text).expect("faults").fault
    }

    #[test]
    fn what_spoils_a_way_adds_up_whatever_came_first() {
        let mut all = faults(
            "fault = [
                { kind = \"latency\", delay = \"10ms\", jitter = \"1ms\" },
                { kind = \"latency\", delay = \"20ms\", jitter = \"2ms\" },
                { kind = \"loss\", share = 0.5, run = 2 },
                { kind = \"loss\", share = 0.25, run = 5 },
                { kind = \"corrupt\", share = 0.5 },
                { kind = \"corrupt\", share = 0.5 },
                { kind = \"duplicate\", share = 1.0 },
                { kind = \"duplicate\", share = 0.1 },
                { kind = \"reorder\", share = 0.2, jitter = \"9ms\" },
                { kind = \"reorder\", share = 0.5, jitter = \"5ms\" },
            ]",
        );
        let spoilt = |all: &[Fault]| {
            let mut way = Way::default();
            for fault in all {
                spoil(&mut way, fault);
            }
            way
        };
        let way = spoilt(&all);
        let expected = Way {
            delay: Micros::from_millis(30),
            jitter: Micros::from_millis(3),
            loss_ppm: 625_000,
            // Twice as many losses are in runs of 2 as in runs of 5.
            loss_again_ppm: 600_000,
            altered_ppm: 750_000,
            twice_ppm: 1_000_000,
            late_ppm: 600_000,
            late: Micros::from_millis(9),
        };
        assert_eq!(way, expected);
        all.reverse();
        assert_eq!(spoilt(&all), expected);
    }

    #[test]
    fn the_narrowest_line_holds_and_factors_multiply() {
        let all = faults(
            "fault = [
                { kind = \"bandwidth\", up_mbit = 8 },
                { kind = \"bandwidth\", up_mbit = 80, factor = 0.1 },
                { kind = \"bandwidth\", factor = 0.5 },
            ]",
        );
        let all: Vec<&Fault> = all.iter().collect();
        let up = |faults: &[&Fault]| squeezed(Some(2_000_000), faults, |fault| fault.up_mbit);
        let down = squeezed(Some(2_000_000), &all, |fault| fault.down_mbit);
        assert_eq!((up(&all), down), (Some(500_000), Some(100_000)));
        assert_eq!(up(&all[..1]), Some(1_000_000));
        assert_eq!(up(&all[1..2]), Some(10_000_000));
        assert_eq!(up(&[]), Some(2_000_000));
        assert_eq!(squeezed(None, &all[2..], |_| None), None);
    }
}
