//! Faults of nodes: they stop, start, leave, come and go.

use super::fault::ActiveFault;
use super::{Run, Task};
use crate::scenario::{Fault, FaultKind, Share};
use crate::sim::{NodeState, Random};
use hedgerow_protocol::Micros;

/// How long a restarted process is gone when nothing is said.
const RESTART: Micros = Micros::from_millis(1_000);

impl Run<'_> {
    pub(super) fn stop_nodes(&mut self, active: &mut ActiveFault) {
        active.nodes.retain(|&node| self.world.is_alive(node));
        let now = self.world.now();
        let kind = active.fault.kind;
        let nodes = active.nodes.clone();
        for &node in &nodes {
            match kind {
                FaultKind::Crash => self.world.crash(node),
                FaultKind::Term => self.term(node),
                _ => self.world.kill(node),
            }
        }
        let back = match (kind, active.fault.lasts) {
            (FaultKind::Restart, None) => Some(RESTART),
            (_, lasts) => lasts.map(|lasts| lasts.0),
        };
        if let Some(after) = back {
            let wiped = active.fault.wipe.unwrap_or(false);
            for node in nodes {
                self.task(now + after, Task::Start { node, wiped });
            }
        }
    }

    fn term(&mut self, node: usize) {
        if self.world.state(node) == NodeState::Running {
            self.world.shutdown(node);
        } else {
            self.world.kill(node);
        }
    }

    pub(super) fn start_nodes(&mut self, active: &mut ActiveFault) {
        active.nodes.retain(|&node| !self.world.is_alive(node));
        let now = self.world.now();
        let within = active.fault.within.map_or(0, |within| within.0.0);
        let mut last = now;
        for node in active.nodes.clone() {
            let after = if within == 0 {
                0
            } else {
                self.random.below(within)
            };
            last = last.max(now + Micros(after));
            self.task(now + Micros(after), Task::Start { node, wiped: false });
        }
        self.history[active.entry].to = last;
        self.history[active.entry].passes = true;
        self.task(last, Task::Mark);
    }

    pub(super) fn membership(&mut self, fault: &Fault, node: usize, join: bool) {
        let Some(kind) = &fault.group else { return };
        if self.world.state(node) != NodeState::Running {
            return;
        }
        let groups: Vec<usize> = (0..self.cast.groups.len())
            .filter(|&at| {
                self.cast.groups[at].kind == *kind || self.cast.groups[at].name.as_str() == kind
            })
            .collect();
        for at in groups {
            let name = self.cast.groups[at].name.clone();
            let member = self.world.is_member(node, &name);
            if join && !member {
                self.join(node, at);
            } else if !join && member {
                self.world.leave(node, name.as_str());
            }
        }
    }

    /// Churn without a target spares whoever publishes: what dies with its origin is nobody's.
    pub(super) fn spare_publishers(&self, active: &mut ActiveFault) {
        if active.fault.target.is_none() {
            let publishes = |node: &usize| self.cast.all_publishers().any(|other| other == *node);
            active.nodes.retain(|node| !publishes(node));
        }
    }

    /// One node goes, one comes; gives when the next do.
    pub(super) fn churn(&mut self, active: &ActiveFault) -> Option<Micros> {
        let fault = &active.fault;
        let alive: Vec<usize> = active
            .nodes
            .iter()
            .copied()
            .filter(|&node| self.world.state(node) == NodeState::Running)
            .collect();
        let gone: Vec<usize> = active
            .nodes
            .iter()
            .copied()
            .filter(|&node| !self.world.is_alive(node))
            .collect();
        let all = active.nodes.len() as f64;
        let leave = match fault.session {
            Some(session) => alive.len() as f64 / (session.0.0 as f64 / 1e6).max(1e-3),
            None => fault.leave.map_or(0.0, |leave| leave.0) * all,
        };
        // Without a rate of their own as many come as go.
        let join = fault.join.map_or(leave, |join| join.0 * all);
        let total = leave + join;
        if total <= 0.0 {
            return None;
        }
        let pick = |random: &mut Random, nodes: &[usize]| {
            (!nodes.is_empty()).then(|| nodes[random.index(nodes.len())])
        };
        if self.random.chance_ppm((leave / total * 1e6) as u32) {
            if let Some(node) = pick(&mut self.random, &alive) {
                if self
                    .random
                    .chance_ppm(fault.crash.map_or(500_000, Share::ppm))
                {
                    self.world.crash(node);
                } else {
                    self.world.shutdown(node);
                }
            }
        } else if let Some(node) = pick(&mut self.random, &gone) {
            self.start_node(node, fault.wipe.unwrap_or(false));
        }
        // Exponential waits make the whole a Poisson process.
        let uniform = (self.random.below(1 << 32) as f64 + 1.0) / (1u64 << 32) as f64;
        Some(self.world.now() + Micros((-logarithm(uniform) / total * 1e6) as u64))
    }
}

/// The natural logarithm of something in (0, 1], by + - * / alone: the standard library's differs
/// between machines in the last bits, and a recorded seed must replay on all of them.
fn logarithm(x: f64) -> f64 {
    // x = m * 2^-e with m in (0.5, 1]; ln x = ln m - e ln 2; ln m = 2 artanh((m - 1) / (m + 1)).
    let (mut m, mut e) = (x, 0.0);
    while m <= 0.5 {
        m *= 2.0;
        e += 1.0;
    }
    let t = (m - 1.0) / (m + 1.0);
    let (mut term, mut sum, mut n) = (t, 0.0, 1.0);
    while n < 30.0 {
        sum += term / n;
        term *= t * t;
        n += 2.0;
    }
    2.0 * sum - e * std::f64::consts::LN_2
}

#[cfg(test)]
mod tests {
    #[test]
    #[allow(clippy::disallowed_methods, reason = "compares with the library's")]
    fn the_logarithm_is_one() {
        for x in [1e-9, 0.001, 0.3, 0.5, 0.75, 1.0_f64] {
            assert!((super::logarithm(x) - x.ln()).abs() < 1e-9, "{x}");
        }
    }
}
