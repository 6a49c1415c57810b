//! Churn: nodes go and come, at rates or after sessions of drawn lengths.

use super::Run;
use super::fault::ActiveFault;
use crate::scenario::{Fault, Lengths, Share};
use crate::sim::{NodeState, Random};
use hedgerow_protocol::Micros;
use std::collections::BTreeMap;

/// Sessions under way, where their lengths are drawn.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions {
    /// By node: when it goes.
    ends: BTreeMap<usize, Micros>,
    /// When the next node comes.
    next_join: Option<Micros>,
    /// Whether those that are there have been given ends.
    begun: bool,
}

impl Run<'_> {
    /// Some nodes go, some come; gives when the next do.
    pub(super) fn churn(&mut self, active: &mut ActiveFault) -> Option<Micros> {
        match (active.fault.session, active.fault.lengths) {
            (Some(mean), Some(lengths @ (Lengths::Weibull | Lengths::Fixed))) => {
                self.churn_by_sessions(active, mean.0, lengths)
            }
            _ => self.churn_by_rates(active),
        }
    }

    /// A Poisson process of going and coming, one at a time. Sessions are exponential then.
    fn churn_by_rates(&mut self, active: &ActiveFault) -> Option<Micros> {
        let fault = &active.fault;
        let (alive, gone) = (self.running(active), self.gone(active));
        let all = active.nodes.len() as f64;
        let leave = match fault.session {
            Some(session) => alive.len() as f64 / seconds(session.0),
            None => fault.leave.map_or(0.0, |leave| leave.0) * all,
        };
        // Without a rate of their own as many come as go.
        let join = fault.join.map_or(leave, |join| join.0 * all);
        let total = leave + join;
        if total <= 0.0 {
            return None;
        }
        if self.random.chance_ppm((leave / total * 1e6) as u32) {
            if let Some(node) = pick(&mut self.random, &alive) {
                self.go(fault, node);
            }
        } else if let Some(node) = pick(&mut self.random, &gone) {
            self.start_node(node, fault.wipe.unwrap_or(false));
        }
        Some(self.world.now() + wait(&mut self.random, total))
    }

    /// Every session has a length, drawn when it begins.
    fn churn_by_sessions(
        &mut self,
        active: &mut ActiveFault,
        mean: Micros,
        lengths: Lengths,
    ) -> Option<Micros> {
        let now = self.world.now();
        let begun = std::mem::replace(&mut active.sessions.begun, true);
        for node in self.running(active) {
            if active.sessions.ends.contains_key(&node) {
                continue;
            }
            let mut length = length(&mut self.random, mean, lengths);
            if !begun {
                // Those that are there when the churn begins are somewhere in theirs.
                length = Micros(self.random.below(length.0.max(1)));
            }
            active.sessions.ends.insert(node, now + length);
        }
        let due = |end: &Micros| *end <= now;
        let ended: Vec<usize> = (active.sessions.ends.iter())
            .filter(|(_, end)| due(end))
            .map(|(node, _)| *node)
            .collect();
        for node in ended {
            active.sessions.ends.remove(&node);
            if self.world.state(node) == NodeState::Running {
                self.go(&active.fault, node);
            }
        }
        let (all, alive) = (active.nodes.len() as f64, self.running(active).len() as f64);
        let rate = match active.fault.join {
            Some(join) => join.0 * all,
            // As many come as go.
            None => alive.max(1.0) / seconds(mean),
        };
        if active.sessions.next_join.is_some_and(|at| at <= now) {
            active.sessions.next_join = None;
            let gone = self.gone(active);
            if let Some(node) = pick(&mut self.random, &gone) {
                self.start_node(node, active.fault.wipe.unwrap_or(false));
                let length = length(&mut self.random, mean, lengths);
                active.sessions.ends.insert(node, now + length);
            }
        }
        if active.sessions.next_join.is_none() && rate > 0.0 {
            active.sessions.next_join = Some(now + wait(&mut self.random, rate));
        }
        let ends = active.sessions.ends.values().copied();
        ends.chain(active.sessions.next_join).min()
    }

    fn running(&self, active: &ActiveFault) -> Vec<usize> {
        let nodes = active.nodes.iter().copied();
        nodes
            .filter(|&node| self.world.state(node) == NodeState::Running)
            .collect()
    }

    fn gone(&self, active: &ActiveFault) -> Vec<usize> {
        let nodes = active.nodes.iter().copied();
        nodes.filter(|&node| !self.world.is_alive(node)).collect()
    }

    /// A node crashes or leaves in good order.
    fn go(&mut self, fault: &Fault, node: usize) {
        let share = fault.crash.map_or(500_000, Share::ppm);
        if self.random.chance_ppm(share) {
            self.world.crash(node);
        } else {
            self.world.shutdown(node);
        }
    }
}

fn pick(random: &mut Random, nodes: &[usize]) -> Option<usize> {
    (!nodes.is_empty()).then(|| nodes[random.index(nodes.len())])
}

fn seconds(span: Micros) -> f64 {
    (span.0 as f64 / 1e6).max(1e-3)
}

/// Until the next event of a Poisson process with so many a second.
fn wait(random: &mut Random, rate: f64) -> Micros {
    Micros((-logarithm(uniform(random)) / rate * 1e6) as u64)
}

/// The length of a session.
fn length(random: &mut Random, mean: Micros, lengths: Lengths) -> Micros {
    let mean_us = mean.0 as f64;
    let us = match lengths {
        Lengths::Fixed => mean_us,
        Lengths::Exponential => -logarithm(uniform(random)) * mean_us,
        Lengths::Weibull => {
            // Of shape 1/2, whose mean is twice its scale.
            let ln = logarithm(uniform(random));
            ln * ln * mean_us / 2.0
        }
    };
    Micros(us as u64)
}

/// In (0, 1].
fn uniform(random: &mut Random) -> f64 {
    (random.below(1 << 32) as f64 + 1.0) / (1u64 << 32) as f64
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
    use super::{length, logarithm};
    use crate::scenario::Lengths;
    use crate::sim::Random;
    use hedgerow_protocol::Micros;

    #[test]
    fn sessions_have_the_mean_and_the_shape() {
        let mean = Micros::from_millis(30_000);
        let draw = |lengths| {
            let mut random = Random::new(1, "sessions");
            let mut all: Vec<u64> = (0..20_000)
                .map(|_| length(&mut random, mean, lengths).0)
                .collect();
            all.sort_unstable();
            let sum: u64 = all.iter().sum();
            let median = all[all.len() / 2] as f64 / mean.0 as f64;
            (sum as f64 / all.len() as f64 / mean.0 as f64, median)
        };
        assert_eq!(draw(Lengths::Fixed), (1.0, 1.0));
        // Medians: ln 2, and its square by half.
        for (lengths, expected) in [(Lengths::Exponential, 0.693), (Lengths::Weibull, 0.240)] {
            let (of_mean, median) = draw(lengths);
            assert!((of_mean - 1.0).abs() < 0.05, "{lengths:?}: {of_mean}");
            assert!((median - expected).abs() < 0.02, "{lengths:?}: {median}");
        }
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "compares with the library's")]
    fn the_logarithm_is_one() {
        for x in [1e-9, 0.001, 0.3, 0.5, 0.75, 1.0_f64] {
            assert!((logarithm(x) - x.ln()).abs() < 1e-9, "{x}");
        }
    }
}
