//! What is required within the quiet time: everything due is there, all are in their groups, views are
//! one, no link is known to one end only.

use super::{Run, Task};
use crate::check::{self, Findings, Judged, Keeps, Snapshot};
use crate::journal::Change;
use hedgerow_protocol::{GroupSettings, Micros, PeerKey};
use std::collections::BTreeSet;

/// The last part of the quiet time, half of it and not more, in which views and links must be found
/// right once, ms. Records are refreshed and handshakes made all the time, so that one look at which
/// all is well is enough.
const LAST_MS: u64 = 10_000;
/// How often is looked, ms; real peers have to be asked, each of them.
const EVERY_MS: u64 = 100;
const EVERY_REAL_MS: u64 = 1_000;

/// What the last looks found; nothing yet, or what was right once.
#[derive(Clone, Debug, Default)]
pub(super) struct Looks {
    views: Option<Findings>,
    links: Option<Findings>,
}

impl Run<'_> {
    /// Looks are due from half of the quiet time on, or later.
    pub(super) fn plan_looks(&mut self) {
        let quiet = self.end.since(self.heal);
        let last = Micros(quiet.0 / 2).min(Micros::from_millis(LAST_MS));
        let is_simulated = self.world.happened().is_some();
        let every = if is_simulated {
            EVERY_MS
        } else {
            EVERY_REAL_MS
        };
        let mut before = Micros(0);
        while before < last {
            self.task(Micros(self.end.0 - before.0), Task::Settled);
            before = before + Micros::from_millis(every);
        }
    }

    /// Looks at what was not right so far.
    pub(super) fn look_whether_settled(&mut self) {
        let clean = |found: &Option<Findings>| found.as_ref().is_some_and(Findings::is_clean);
        if clean(&self.looks.views) && clean(&self.looks.links) {
            return;
        }
        self.world.refresh();
        let honest = self.cast.honest();
        let alive = self.world.alive().into_iter();
        let judged: Vec<usize> = alive.filter(|&node| honest[node]).collect();
        let snapshots = self.world.snapshots(&judged);
        // What a peer said before it hung is no answer.
        let silent = check::silent(&judged, &snapshots, |node| self.world.answers(node));
        if !clean(&self.looks.views) {
            self.looks.views = Some(silent.clone().and(self.views_of(&snapshots)));
        }
        if !clean(&self.looks.links) {
            let known: Vec<usize> = snapshots.iter().map(|at| at.node).collect();
            let wires = self.world.wires(&known);
            let links = check::links(&snapshots, &wires, &self.strangers());
            self.looks.links = Some(silent.and(links));
        }
    }

    /// What is wrong with the views of peers that behave.
    pub(super) fn views_of(&self, snapshots: &[Snapshot]) -> Findings {
        let honest = self.cast.honest();
        if honest.iter().all(|honest| *honest) {
            return check::views(snapshots);
        }
        self.peers_of(snapshots)
    }

    /// Finds peers that views of honest peers lack, and peers that are gone and still in such a view.
    /// Links do not count.
    pub(super) fn peers_of(&self, snapshots: &[Snapshot]) -> Findings {
        let honest = self.cast.honest();
        let gone = (0..honest.len()).filter(|&node| honest[node] && !self.world.is_alive(node));
        let gone: BTreeSet<PeerKey> = gone.map(|node| self.world.key(node)).collect();
        // Whoever has copied the key of one that is gone may be there.
        let gone = gone.difference(&self.strangers()).copied().collect();
        check::sight(snapshots, &gone, |node| self.world.sees(node))
    }

    /// The keys of those that do not behave.
    fn strangers(&self) -> BTreeSet<PeerKey> {
        let honest = self.cast.honest();
        let hostile = (0..honest.len()).filter(|&node| !honest[node]);
        hostile.map(|node| self.world.key(node)).collect()
    }

    /// What is missing, in words; nothing when the network is as it should be.
    pub(super) fn liveness(&self) -> Vec<String> {
        let journal = self.world.journal();
        let judged = self.judged();
        let missing = check::undelivered(journal, &judged);
        let silent = check::silent_losses(journal, &judged);
        let unjoined = check::unjoined(journal, &judged);
        let mut findings = Vec::new();
        for (found, what) in [
            (missing, "deliveries are missing"),
            (silent, "messages were lost without a word"),
            (unjoined, "joins came to nothing"),
        ] {
            if !found.is_clean() {
                findings.push(format!("{} {what}", found.count));
                findings.extend(found.examples);
            }
        }
        for (found, what) in [(&self.looks.views, "views"), (&self.looks.links, "links")] {
            match found {
                None => findings.push(format!("{what}: the run ended before they were looked at")),
                Some(found) if !found.is_clean() => findings.push(format!("{what}: {found}")),
                Some(_) => {}
            }
        }
        findings
    }

    /// Those that behave.
    fn judged(&self) -> Judged {
        let origins = self.cast.honest();
        let since = |node| self.alive_since(node).filter(|_| origins[node]);
        let lives = (0..self.world.len()).map(since).collect();
        let defaults = GroupSettings::default();
        let limited = self.cast.groups.iter().filter_map(|group| {
            let settings = &group.options.settings;
            let limits = settings.retention_ms.is_some() || settings.retention_bytes.is_some();
            let time = settings.retention_ms.unwrap_or(defaults.retention_ms);
            let keeps = Keeps {
                time: Micros::from_millis(time),
                bytes: settings.retention_bytes.unwrap_or(defaults.retention_bytes),
            };
            limits.then(|| (group.name.clone(), keeps))
        });
        Judged {
            lives,
            origins,
            keeps: limited.collect(),
        }
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
