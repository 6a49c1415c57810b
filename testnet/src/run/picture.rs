//! Looks at the overlay before, during and after the first fault, for whoever reads the report.

use super::{Run, Task};
use crate::journal::Change;
use crate::measure::{Scope, distributions};
use crate::results::{Curves, Moment, Picture, When, histogram, places, quantiles};
use hedgerow_protocol::{BROADCAST, GroupName, Micros};

/// A fault shows so long after it began, if it lasts that long.
const SHOWS_AFTER: Micros = Micros::from_millis(5_000);
/// Groups whose curves are drawn: those with most deliveries.
const CURVES_MAX: usize = 6;

impl Run<'_> {
    /// Plans when to look; before faults are planned, so that the first look comes first.
    pub(super) fn plan_pictures(&mut self) {
        let faults = &self.scenario.file.fault;
        let first = faults.iter().min_by_key(|fault| fault.at.0);
        let Some(first) = first else {
            return self.task(self.zero, Task::Picture(When::Before));
        };
        let from = self.zero + first.at.0;
        let lasts = first
            .lasts
            .map_or(self.heal.since(from), |lasts| lasts.0)
            .min(self.heal.since(from));
        self.task(from, Task::Picture(When::Before));
        let shows = SHOWS_AFTER.min(Micros(lasts.0 / 2));
        self.task(from + shows, Task::Picture(When::During));
    }

    /// Notes how the overlay is now.
    pub(super) fn look(&mut self, when: When) {
        let running = self.world.alive();
        let mut links = Vec::new();
        let mut degrees = Vec::with_capacity(running.len());
        for &node in &running {
            let others = self.world.neighbours(node);
            degrees.push(others.len());
            let known = |other: &usize| {
                node < *other
                    && self.world.is_alive(*other)
                    && self.world.neighbours(*other).contains(&node)
            };
            links.extend(others.into_iter().filter(known).map(|other| [node, other]));
        }
        let ran = |node: &usize| {
            let mut changes = self.world.journal().nodes[*node].changes.iter();
            changes.any(|(_, change)| *change == Change::Started)
        };
        let gone = (0..self.world.len())
            .filter(|node| !self.world.is_alive(*node))
            .filter(ran)
            .collect();
        let group = self.pictured_group();
        let honest = self.cast.honest();
        let origin = self
            .cast
            .all_publishers()
            .chain(running.iter().copied())
            .find(|&node| honest[node] && self.world.is_alive(node));
        let (mut feeds, mut depths) = (Vec::new(), Vec::new());
        let overlay = origin.and_then(|origin| self.world.overlay(origin, &group));
        for fed in overlay.iter().flat_map(|overlay| &overlay.nodes) {
            depths.push(fed.depth as usize);
            let child = self.world.node_of(fed.peer);
            let parents = fed.parents.iter().map(|peer| self.world.node_of(*peer));
            let pairs = parents.filter_map(|parent| Some([parent?, child?]));
            feeds.extend(pairs);
        }
        let at_s = (self.world.now().0 as f64 - self.zero.0 as f64) / 1e6;
        self.moments.push(Moment {
            when,
            at_s,
            running,
            gone,
            links,
            origin,
            group: group.as_str().to_owned(),
            feeds,
            degrees: histogram(degrees),
            depths: histogram(depths),
        });
    }

    /// The group whose overlay is shown: the first one that messages are published in.
    fn pictured_group(&self) -> GroupName {
        let workload = self.scenario.file.workload.first();
        let kind = workload.map_or(BROADCAST, |workload| &workload.group);
        let mut groups = self.cast.groups_of(kind);
        let first = groups.next().map(|group| group.name.clone());
        first.unwrap_or_else(|| self.cast.groups[0].name.clone())
    }

    /// Everything there is to draw.
    pub(super) fn picture(&self) -> Picture {
        let honest = self.cast.honest();
        let mut curves: Vec<(usize, Curves)> = Vec::new();
        for group in &self.cast.groups {
            let scope = Scope {
                group: &group.name,
                published: self.zero..self.end + Micros(1),
                within: None,
                survived: None,
                parts: None,
                nodes: Some(&honest),
            };
            let direct = |a, b| self.world.direct(a, b).unwrap_or_default();
            let mut times = distributions(self.world.journal(), &scope, direct);
            if times.latency.is_empty() {
                continue;
            }
            if self.world.direct(0, 0).is_none() {
                // Without a direct delay there is nothing to compare with.
                (times.direct, times.stretch) = (Vec::new(), Vec::new());
            }
            let ms = |time: Micros| time.0 as f64 / 1e3;
            let of_group = Curves {
                group: group.name.as_str().to_owned(),
                latency_ms: quantiles(&times.latency, ms),
                direct_ms: quantiles(&times.direct, ms),
                stretch: quantiles(&times.stretch, |ratio| ratio),
                repair_ms: quantiles(&times.repair, ms),
            };
            curves.push((times.latency.len(), of_group));
        }
        curves.sort_by_key(|(deliveries, _)| std::cmp::Reverse(*deliveries));
        curves.truncate(CURVES_MAX);
        Picture {
            places: places(self.world.len(), |a, b| {
                // Where delays are not known, all peers are as far apart.
                self.world.direct(a, b).map_or(1.0, |delay| delay.0 as f32)
            }),
            hostile: (0..honest.len()).filter(|node| !honest[*node]).collect(),
            moments: self.moments.clone(),
            curves: curves.into_iter().map(|(_, curves)| curves).collect(),
        }
    }
}
