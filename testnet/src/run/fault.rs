//! Faults: how each kind begins, goes on and ends.

use super::sessions::Sessions;
use super::{Occurrence, Run, Task};
use crate::scenario::{Fault, FaultKind, Selector};
use crate::sim::NodeState;

/// Stands for all faults that last.
pub(super) const ALL: u64 = u64::MAX;

/// A fault that lasts.
#[derive(Clone, Debug)]
pub(super) struct ActiveFault {
    pub(super) fault: Fault,
    pub(super) nodes: Vec<usize>,
    /// What does not reach each other, or only slowly.
    pub(super) sides: Vec<Vec<usize>>,
    /// Pairs whose way comes and goes, and whether it is cut now.
    pub(super) pairs: Vec<(usize, usize)>,
    pub(super) cut: bool,
    /// Who goes when, and when somebody comes, where sessions have lengths of their own.
    pub(super) sessions: Sessions,
    /// Where its entry in the history is.
    pub(super) entry: usize,
}

impl Run<'_> {
    pub(super) fn begin_fault(&mut self, index: usize, occurrence: u64) {
        let now = self.world.now();
        let fault = self.scenario.file.fault[index].clone();
        if let Some(every) = fault.every {
            let until = fault.until.map_or(self.heal, |until| self.zero + until.0);
            let next = now + every.0;
            // What begins in the instant of healing would not be healed.
            if next <= until && next < self.heal {
                let occurrence = occurrence + 1;
                self.task(
                    next,
                    Task::Begin {
                        fault: index,
                        occurrence,
                    },
                );
            }
        }
        let nodes = match &fault.target {
            Some(target) => self.chosen(target, occurrence),
            None => (0..self.cast.len()).collect(),
        };
        let length = fault.length();
        let to = length.map_or(self.heal, |length| (now + length).min(self.heal));
        let entry = self.history.len();
        if self.history.is_empty() {
            self.mark();
        }
        self.history.push(Occurrence {
            fault: index,
            kind: fault.kind,
            from: now,
            to,
            passes: length.is_some(),
            hit: 0,
        });
        let mut active = ActiveFault {
            fault,
            nodes,
            sides: Vec::new(),
            pairs: Vec::new(),
            cut: false,
            sessions: Sessions::default(),
            entry,
        };
        self.inflict(&mut active, occurrence);
        if active.fault.kind == FaultKind::Crash {
            self.parts = Some(self.parts_now());
        }
        self.history[entry].hit = match active.fault.kind {
            FaultKind::Flap => active.pairs.len(),
            FaultKind::Bandwidth => self.narrowed(&active),
            _ => active.nodes.len(),
        };
        self.begun += 1;
        let id = self.begun;
        let goes_on = matches!(active.fault.kind, FaultKind::Churn | FaultKind::Flap);
        self.active.insert(id, active);
        self.renew(id);
        // Those that start nodes end with the last of them.
        let to = self.history[entry].to;
        self.task(to, Task::End { active: id });
        if goes_on {
            self.task(now, Task::Continue { active: id });
        }
    }

    /// The nodes that a target means now. Those that do not fit a fault are left out by it.
    pub(super) fn chosen(&self, target: &Selector, occurrence: u64) -> Vec<usize> {
        let everybody: Vec<usize> = (0..self.cast.len()).collect();
        self.cast
            .select(target, &everybody, occurrence, &|role| self.with_role(role))
    }

    /// What a reader of the results must know: of the world, which messages were never published, and
    /// which faults hit nobody at all.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = self.world.notes();
        notes.extend(self.untaken());
        for (index, fault) in self.scenario.file.fault.iter().enumerate() {
            let mut of = self.history.iter().filter(|one| one.fault == index);
            if of.clone().next().is_some() && of.all(|one| one.hit == 0) {
                let kind = fault.kind.as_str();
                notes.push(format!("fault[{index}], {kind}, has hit nobody"));
            }
        }
        notes
    }

    fn inflict(&mut self, active: &mut ActiveFault, occurrence: u64) {
        let fault = active.fault.clone();
        match fault.kind {
            FaultKind::Crash | FaultKind::Kill | FaultKind::Term | FaultKind::Restart => {
                self.stop_nodes(active);
            }
            FaultKind::Pause => {
                active.nodes.retain(|&node| self.world.is_alive(node));
                self.on_each(active, |run, node| run.world.pause(node));
            }
            FaultKind::SlowReader => {
                self.on_each(active, |run, node| run.world.set_deaf(node, true));
            }
            FaultKind::DiskFull => {
                self.on_each(active, |run, node| run.world.set_disk_full(node, true));
            }
            FaultKind::Start => self.start_nodes(active),
            FaultKind::Leave | FaultKind::Join => {
                let runs = |node| self.world.state(node) == NodeState::Running;
                active.nodes.retain(|&node| runs(node));
                let join = fault.kind == FaultKind::Join;
                self.on_each(active, |run, node| run.membership(&fault, node, join));
            }
            FaultKind::Churn => self.spare_publishers(active),
            FaultKind::Partition => self.part(&fault, occurrence, active),
            // What is so is the sum of all that are active: see `renew`.
            FaultKind::Latency
            | FaultKind::Loss
            | FaultKind::Duplicate
            | FaultKind::Reorder
            | FaultKind::Corrupt
            | FaultKind::Bandwidth => {}
            FaultKind::Reset | FaultKind::HalfOpen => self.break_links(active),
            FaultKind::Flap => {
                active.pairs = self.pairs_of_neighbours(&active.nodes, fault.links.unwrap_or(1));
            }
            FaultKind::Clock => {
                let by = jump(&fault);
                self.on_each(active, |run, node| run.world.jump_clock(node, by));
            }
        }
    }

    fn on_each(&mut self, active: &ActiveFault, act: impl Fn(&mut Self, usize)) {
        for &node in &active.nodes {
            act(self, node);
        }
    }

    /// The same for nodes that no other fault of this kind, in this group, holds now.
    fn on_each_freed(&mut self, ended: &ActiveFault, act: impl Fn(&mut Self, usize)) {
        for &node in &ended.nodes {
            let holds = |other: &ActiveFault| {
                other.fault.kind == ended.fault.kind
                    && other.fault.group == ended.fault.group
                    && other.nodes.contains(&node)
            };
            if !self.active.values().any(holds) {
                act(self, node);
            }
        }
    }

    pub(super) fn continue_fault(&mut self, id: u64) {
        let Some(mut active) = self.active.remove(&id) else {
            return;
        };
        let next = match active.fault.kind {
            FaultKind::Flap => self.flap(&mut active),
            _ => self.churn(&mut active),
        };
        self.active.insert(id, active);
        if let Some(next) = next {
            self.task(next, Task::Continue { active: id });
        }
    }

    pub(super) fn end_fault(&mut self, id: u64) {
        if id == ALL {
            let all: Vec<u64> = self.active.keys().copied().collect();
            for id in all {
                self.end_fault(id);
            }
            self.world.heal();
            self.world.slow_between(None);
            return;
        }
        let Some(active) = self.active.remove(&id) else {
            return;
        };
        if self.active.is_empty() {
            self.mark();
        }
        match active.fault.kind {
            FaultKind::Pause => self.on_each_freed(&active, |run, node| run.world.resume(node)),
            FaultKind::SlowReader => {
                self.on_each_freed(&active, |run, node| run.world.set_deaf(node, false));
            }
            FaultKind::DiskFull => {
                self.on_each_freed(&active, |run, node| run.world.set_disk_full(node, false));
            }
            FaultKind::Leave if active.fault.lasts.is_some() => {
                self.on_each_freed(&active, |run, node| {
                    run.membership(&active.fault, node, true);
                });
            }
            FaultKind::Join if active.fault.lasts.is_some() => {
                self.on_each_freed(&active, |run, node| {
                    run.membership(&active.fault, node, false);
                });
            }
            FaultKind::Partition => self.mend(&active),
            FaultKind::Clock if active.fault.lasts.is_some() => {
                let by = jump(&active.fault);
                self.on_each(&active, |run, node| run.world.jump_clock(node, -by));
            }
            _ => {}
        }
        self.renew_ways(&active);
        self.join_pairs(&active);
    }
}

/// How far a clock jumps, ms.
fn jump(fault: &Fault) -> i64 {
    let ahead = fault.ahead.map_or(0, |ahead| ahead.0.as_millis() as i64);
    let back = fault.back.map_or(0, |back| back.0.as_millis() as i64);
    ahead - back
}
