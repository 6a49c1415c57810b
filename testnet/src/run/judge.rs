//! From figures to verdicts.

use super::figures::DueRule;
use super::{Outcome, Run};
use crate::results::{Failure, Results, Verdict, number_at};
use crate::scenario::{Assert, Op, Scenario};
use std::time::Instant;

impl Run<'_> {
    pub(super) fn judge(self, baseline: Option<&Self>, began: Instant) -> Outcome {
        let safety = self.safety();
        let liveness = self.liveness();
        let mut results = self.figures();
        let file = &self.scenario.file;
        results.asserts = file
            .assert
            .iter()
            .map(|assert| self.verdict(assert, baseline, &results))
            .collect();
        let failed = results
            .asserts
            .iter()
            .any(|verdict| !verdict.passed && !verdict.goal);
        results.failure = if !safety.is_empty() {
            Some(Failure::Safety)
        } else if !liveness.is_empty() {
            Some(Failure::Liveness)
        } else {
            failed.then_some(Failure::Assert)
        };
        results.passed = results.failure.is_none();
        results.findings = safety.into_iter().chain(liveness).collect();
        results.wall_s = began.elapsed().as_secs_f64();
        // Real time and memory are known last; asserts on them are judged again.
        for (assert, verdict) in file.assert.iter().zip(&mut results.asserts) {
            if matches!(assert.metric.as_str(), "wall_s") {
                verdict.observed = Some(results.wall_s);
                verdict.passed = assert.op.holds(results.wall_s, assert.value);
            }
        }
        if results.failure.is_none()
            && results
                .asserts
                .iter()
                .any(|verdict| !verdict.passed && !verdict.goal)
        {
            results.failure = Some(Failure::Assert);
            results.passed = false;
        }
        let troubles: Vec<String> = (self.world.troubles().into_iter())
            .chain(self.refusals())
            .collect();
        if !troubles.is_empty() {
            results.passed = false;
            results.failure = Some(Failure::Crash);
            results.findings.splice(0..0, troubles);
        }
        Outcome {
            results,
            picture: self.picture(),
            ticks: self.samples.ticks,
        }
    }

    fn verdict(&self, assert: &Assert, baseline: Option<&Self>, results: &Results) -> Verdict {
        let here = self.observed(assert, results);
        let observed = match (assert.relative_to, baseline) {
            (None, _) => here,
            (Some(_), Some(baseline)) => {
                let calm = baseline.observed(assert, &baseline.figures());
                here.zip(calm)
                    .filter(|(_, calm)| *calm != 0.0)
                    .map(|(here, calm)| here / calm)
            }
            (Some(_), None) => None,
        };
        Verdict {
            observed,
            passed: observed.is_some_and(|observed| assert.op.holds(observed, assert.value)),
            ..unmeasured(self.scenario, assert)
        }
    }

    fn observed(&self, assert: &Assert, results: &Results) -> Option<f64> {
        let metric = assert.metric.as_str();
        let Some(group) = group_of(self.scenario, assert) else {
            let mut of_window = results.clone();
            if assert.metric.is_of_a_window() {
                (of_window.control, of_window.traffic) = self.traffic(assert.window)?;
            }
            let number = number_at(&of_window, metric);
            // What nobody counted never happened.
            return number.or_else(|| assert.metric.is_counted().then_some(0.0));
        };
        let everybody: Vec<usize> = (0..self.cast.len()).collect();
        let honest = self.cast.honest();
        let nodes = match &assert.nodes {
            None => honest,
            Some(selector) => self.cast.select_mask(selector, &everybody),
        };
        // Of several groups the worst counts.
        let due = DueRule {
            within: assert.within.map(|within| within.0),
            survived: assert.survived.map(|survived| survived.0),
        };
        let values = self.cast.groups_of(&group).map(|group| {
            self.group(&group.name, assert.window, &nodes, due)
                .get(metric)
        });
        let mut worst: Option<f64> = None;
        for value in values {
            let value = value?;
            let worse = worst.is_none_or(|worst| match assert.op {
                Op::AtMost | Op::Below => value > worst,
                Op::Equal => !assert.op.holds(value, assert.value),
                _ => value < worst,
            });
            if worse {
                worst = Some(value);
            }
        }
        worst
    }
}

/// The verdict on an assert where there is nothing that it could be measured by.
pub(super) fn unmeasured(scenario: &Scenario, assert: &Assert) -> Verdict {
    Verdict {
        metric: assert.metric.clone(),
        group: group_of(scenario, assert),
        window: assert.window,
        nodes: assert.nodes.as_ref().map(ToString::to_string),
        op: assert.op,
        value: assert.value,
        within: assert.within,
        survived: assert.survived,
        relative_to: assert.relative_to,
        observed: None,
        passed: false,
        goal: assert.goal,
        reference: assert.reference,
        source: assert.source.clone(),
    }
}

/// The group that an assert means, by default the one that has a workload.
fn group_of(scenario: &Scenario, assert: &Assert) -> Option<String> {
    if assert.group.is_some() || !assert.metric.is_of_a_group() {
        return assert.group.clone();
    }
    let workload = scenario.file.workload.first()?;
    Some(workload.group.clone())
}
