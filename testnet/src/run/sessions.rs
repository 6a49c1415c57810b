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
    /// How many were there when the churn began.
    at_first: Option<usize>,
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
            // With nobody left, somebody still comes.
            Some(session) => alive.len().max(1) as f64 / seconds(session.0),
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
        let running = self.running(active);
        let is_first = active.sessions.at_first.is_none();
        let at_first = *active.sessions.at_first.get_or_insert(running.len());
        for node in running {
            if active.sessions.ends.contains_key(&node) {
                continue;
            }
            let left = if is_first {
                rest(&mut self.random, mean, lengths)
            } else {
                length(&mut self.random, mean, lengths)
            };
            active.sessions.ends.insert(node, now + left);
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
        let rate = match active.fault.join {
            Some(join) => join.0 * active.nodes.len() as f64,
            // As many come as go.
            None => at_first as f64 / seconds(mean),
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

/// What is left of a session that is met at some moment: long ones are met more often.
fn rest(random: &mut Random, mean: Micros, lengths: Lengths) -> Micros {
    let mean_us = mean.0 as f64;
    let us = match lengths {
        Lengths::Fixed => uniform(random) * mean_us,
        // It has no memory.
        Lengths::Exponential => return length(random, mean, lengths),
        Lengths::Weibull => {
            // Its density is exp(-sqrt(x / scale)) by the mean: the square of a gamma of shape 2.
            let ln = logarithm(uniform(random)) + logarithm(uniform(random));
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
    use super::{length, logarithm, rest};
    use crate::scenario::Lengths;
    use crate::sim::Random;
    use hedgerow_protocol::Micros;

    #[test]
    fn what_is_left_of_a_session_is_longer_where_lengths_differ_more() {
        let mean = Micros::from_millis(30_000);
        let of_mean = |lengths| {
            let mut random = Random::new(1, "sessions");
            let sum: u64 = (0..40_000)
                .map(|_| rest(&mut random, mean, lengths).0)
                .sum();
            sum as f64 / 40_000.0 / mean.0 as f64
        };
        // The second moment by twice the mean: 1/2, 1, and 24 / 4 / 2 = 3.
        for (lengths, expected) in [
            (Lengths::Fixed, 0.5),
            (Lengths::Exponential, 1.0),
            (Lengths::Weibull, 3.0),
        ] {
            let observed = of_mean(lengths);
            assert!(
                (observed / expected - 1.0).abs() < 0.06,
                "{lengths:?}: {observed}"
            );
        }
    }

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
