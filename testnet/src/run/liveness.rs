//! What is required when the quiet time ends: everything due is there, views are one, no link
//! is known to one end only.

use super::Run;
use super::world::World;
use crate::check;
use crate::journal::Change;
use hedgerow_protocol::Micros;

/// Losses named in words.
const NAMED_MAX: usize = 8;
/// How long links that only one end knows may be handshakes under way, and views may differ, ms.
const SETTLING_MS: u64 = 10_000;

impl Run<'_> {
    /// What is missing, in words; nothing when the network is as it should be.
    pub(super) fn liveness(&mut self) -> Vec<String> {
        let mut findings = self.undelivered();
        let honest = self.cast.honest();
        let alive: Vec<usize> = self
            .world
            .alive()
            .into_iter()
            .filter(|&node| honest[node])
            .collect();
        if honest.iter().all(|honest| *honest) {
            // Records are refreshed all the time, so views differ for moments: one at which they
            // were all equal is enough.
            let views = |world: &dyn World| check::views(&world.snapshots(&alive));
            let were_one = self.samples.one_view_at.iter().any(|at| *at > self.heal);
            if !were_one && !self.until(100, |world| views(world).is_clean()) {
                findings.push(format!("views: {}", views(self.world.as_ref())));
            }
            let leaks = |world: &dyn World| {
                let snapshots = world.snapshots(&alive);
                let known: Vec<usize> = snapshots.iter().map(|at| at.node).collect();
                check::links(&snapshots, &world.wires(&known))
            };
            if !self.until(500, |world| leaks(world).is_clean()) {
                findings.push(format!("links: {}", leaks(self.world.as_ref())));
            }
        }
        findings
    }

    /// Lets time pass until `condition` holds, looking every `every_ms`; gives whether it does.
    fn until(&mut self, every_ms: u64, condition: impl Fn(&dyn World) -> bool) -> bool {
        let limit = self.world.now() + Micros::from_millis(SETTLING_MS);
        loop {
            self.world.refresh();
            if condition(self.world.as_ref()) {
                return true;
            }
            if self.world.now() >= limit || self.world.interrupted() {
                return false;
            }
            let next = self.world.now() + Micros::from_millis(every_ms);
            self.world.run_to(limit.min(next));
        }
    }

    /// Messages that are due to somebody who lacks them although somebody else who lives has
    /// them. What died with everyone who had it is lost to all and no fault of the network.
    fn undelivered(&self) -> Vec<String> {
        let journal = self.world.journal();
        let honest = self.cast.honest();
        let since: Vec<Option<Micros>> = (0..self.world.len())
            .map(|node| self.alive_since(node))
            .collect();
        // Who has what: a bit a node, as far as it is its present life that got it.
        let mut holders = vec![0u32; journal.messages.len()];
        for (node, entries) in journal.nodes.iter().enumerate() {
            let Some(since) = since[node].filter(|_| honest[node]) else {
                continue;
            };
            for receipt in entries
                .receipts
                .iter()
                .filter(|receipt| receipt.at >= since)
            {
                holders[receipt.message as usize] += 1;
            }
        }
        for (index, message) in journal.messages.iter().enumerate() {
            if let Some(published) = message.published
                && since[published.node].is_some_and(|since| since <= published.at)
            {
                holders[index] += 1;
            }
        }
        let mut findings = Vec::new();
        let mut missing = 0u64;
        for (node, entries) in journal.nodes.iter().enumerate() {
            if !honest[node] || !self.world.is_alive(node) {
                continue;
            }
            let mut got = vec![false; journal.messages.len()];
            for receipt in &entries.receipts {
                got[receipt.message as usize] = true;
            }
            for group in &self.cast.groups {
                let Some(membership) = journal.memberships(node, &group.name).pop() else {
                    continue;
                };
                if membership.until.is_some() {
                    continue;
                }
                for (index, message) in journal.messages.iter().enumerate() {
                    let Some(published) = message.published else {
                        continue;
                    };
                    let due = message.group == group.name && published.at >= membership.from;
                    if due && !got[index] && holders[index] > 0 && honest[published.node] {
                        missing += 1;
                        if findings.len() < NAMED_MAX {
                            let (id, from) = (message.id, published.node);
                            findings.push(format!(
                                "node {node} lacks {id} of node {from} in {}",
                                group.name
                            ));
                        }
                    }
                }
            }
        }
        if missing > 0 {
            findings.insert(0, format!("{missing} deliveries are missing"));
        }
        findings
    }

    /// Since when a node's peer has run without a break.
    fn alive_since(&self, node: usize) -> Option<Micros> {
        if !self.world.is_alive(node) {
            return None;
        }
        let changes = &self.world.journal().nodes[node].changes;
        let started = changes
            .iter()
            .rev()
            .find(|(_, change)| *change == Change::Started);
        started.map(|(at, _)| *at)
    }
}
