//! Faults of nodes: they stop, start, leave, come and go.

use super::fault::ActiveFault;
use super::{Run, Task};
use crate::scenario::{Fault, FaultKind};
use crate::sim::NodeState;
use hedgerow_protocol::Micros;

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
        if let Some(after) = active.fault.length() {
            let wiped = active.fault.wipe.unwrap_or(false);
            // Who would be gone for longer is back when all is healed.
            let at = (now + after).min(self.heal);
            for node in nodes {
                self.task(at, Task::Start { node, wiped });
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
        // Who is on its way out can be started, too: when it is gone.
        let world = &self.world;
        active
            .nodes
            .retain(|&node| !world.is_alive(node) || world.is_leaving(node));
        let now = self.world.now();
        let within = active.fault.within.map_or(0, |within| within.0.0);
        let mut last = now;
        for node in active.nodes.clone() {
            let after = if within == 0 {
                0
            } else {
                self.random.below(within)
            };
            let at = (now + Micros(after)).min(self.heal);
            last = last.max(at);
            self.task(at, Task::Start { node, wiped: false });
        }
        self.history[active.entry].to = last;
        self.history[active.entry].passes = true;
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
}
