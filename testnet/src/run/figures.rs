//! From what happened to figures.

use super::Run;
use super::breaches::Breaches;
use super::roles::link_graph;
use crate::journal::Receipt;
use crate::measure::{Scope, measure};
use crate::results::{
    Control, Convergence, FaultTime, GroupResult, Memory, OverlayShape, Results, TrafficResult,
};
use crate::scenario::Window;
use hedgerow_protocol::status::COUNTERS;
use hedgerow_protocol::{GroupName, Micros};
use hedgerow_topology::Cuts;
use hedgerow_topology::metrics::{diameter_hops, shape_of};
use std::collections::BTreeMap;
use std::ops::Range;

/// Peers up to which the diameter is looked for.
const DIAMETER_MAX: usize = 3_000;

/// What of a group is due, and how soon; by default all, to members that stay, whenever.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DueRule {
    /// What came later than this after its publication did not come.
    pub(super) within: Option<Micros>,
    /// Due to all who stayed for this long after the publication (see [`Scope::survived`]).
    pub(super) survived: Option<Micros>,
}

impl Run<'_> {
    /// When a window begins and ends.
    fn window(&self, window: Window) -> Range<Micros> {
        let first = self
            .history
            .iter()
            .map(|one| one.from)
            .min()
            .unwrap_or(self.zero);
        let last = self
            .history
            .iter()
            .map(|one| one.to)
            .max()
            .unwrap_or(self.zero);
        match window {
            Window::All => self.zero..self.end + Micros(1),
            Window::Fault => first..last + Micros(1),
            Window::After => last..self.end + Micros(1),
            Window::Quiet => self.heal..self.end + Micros(1),
        }
    }

    /// What came wrong in a window: whatever comes after the end still does.
    fn breaches(&self, name: &GroupName, window: Window, nodes: &[bool]) -> Breaches {
        let range = self.window(window);
        let is_in = |at: Micros| match window {
            Window::All => true,
            Window::Fault => range.contains(&at),
            Window::After | Window::Quiet => at >= range.start,
        };
        let (journal, unordered) = (self.world.journal(), self.cast.unordered());
        let is_foreign = |receipt: &Receipt| self.is_foreign(receipt);
        Breaches::of(journal, name, nodes, &unordered, is_in, is_foreign)
    }

    /// One group's figures in a window at some nodes.
    pub(super) fn group(
        &self,
        name: &GroupName,
        window: Window,
        nodes: &[bool],
        due: DueRule,
    ) -> GroupResult {
        let journal = self.world.journal();
        let scope = Scope {
            group: name,
            published: self.window(window),
            nodes: Some(nodes),
            within: due.within,
            survived: due.survived,
            parts: self.parts.as_deref(),
        };
        let direct = |a, b| self.world.direct(a, b).unwrap_or_default();
        let mut measures = measure(journal, &scope, direct);
        if self.world.direct(0, 0).is_none() {
            // Without a direct delay there is nothing to compare with.
            (measures.stretch_mean, measures.stretch_last) = (0.0, 0.0);
            measures.rdp_median = 0.0;
        }
        let mut result = GroupResult {
            published: measures.published,
            expected: measures.expected,
            delivered: measures.delivered,
            delivery_ratio: ratio(measures.delivered, measures.expected),
            delivery_ratio_joined: (measures.joined > 0)
                .then(|| ratio(measures.joined_delivered, measures.joined)),
            reach: ratio(measures.reached, measures.expected),
            received: measures.latency.count,
            ldh_max: measures.ldh_max,
            ldh_mean: measures.ldh_mean,
            latency_ms: measures.latency.into(),
            stretch_mean: measures.stretch_mean,
            stretch_last: measures.stretch_last,
            rdp_median: measures.rdp_median,
            repaired: measures.repaired,
            repair_ms: measures.repair.into(),
            ..GroupResult::default()
        };
        let breaches = self.breaches(name, window, nodes);
        result.app_duplicates = breaches.duplicates;
        result.order_violations = breaches.disorder;
        (result.foreign, result.gaps) = (breaches.foreign, breaches.gaps);
        let (copies, firsts) = self.copies(name, window, nodes);
        result.payload_copies = copies;
        result.rmr = (firsts > 0).then(|| copies as f64 / firsts as f64 - 1.0);
        result.settled_ms = self.settled_ms(name, nodes);
        result
    }

    /// Payload copies, and first ones, from one mark to another.
    fn copies(&self, name: &GroupName, window: Window, nodes: &[bool]) -> (u64, u64) {
        let range = self.window(window);
        let sum = |at: Micros| {
            // The mark at or before the moment: windows begin and end at marks.
            let mark = self.marks.range(..=at).next_back().map(|(_, mark)| mark);
            let mut sum = (0, 0);
            for (node, tally) in mark.iter().flat_map(|mark| mark.tallies.iter().enumerate()) {
                if let Some(copies) = tally.groups.get(name).filter(|_| nodes[node]) {
                    sum = (sum.0 + copies.copies, sum.1 + copies.firsts);
                }
            }
            sum
        };
        let (from, to) = (sum(range.start), sum(range.end));
        (to.0 - from.0, to.1 - from.1)
    }

    /// From the last fault's end to the last delivery of what was published before.
    fn settled_ms(&self, name: &GroupName, nodes: &[bool]) -> Option<f64> {
        let ends = self.history.iter().map(|one| one.to).max()?;
        let scope = Scope {
            group: name,
            published: self.zero..ends,
            nodes: Some(nodes),
            within: None,
            survived: None,
            parts: None,
        };
        let measures = measure(self.world.journal(), &scope, |_, _| Micros(1));
        let late = measures.last_at.since(ends);
        (measures.latency.count > 0).then_some(late.0 as f64 / 1e3)
    }

    pub(super) fn figures(&self) -> Results {
        let file = &self.scenario.file;
        let honest = self.cast.honest();
        let groups = self.cast.groups.iter().map(|group| {
            let figures = self.group(&group.name, Window::All, &honest, DueRule::default());
            (group.name.as_str().to_owned(), figures)
        });
        let groups: BTreeMap<String, GroupResult> = groups
            .filter(|(name, figures)| {
                figures.published > 0
                    || file.group.iter().any(|group| name.starts_with(&group.name))
            })
            .collect();
        let alive = self.world.alive();
        let graph = link_graph(self.world.as_ref(), &alive);
        let shape = shape_of(&graph);
        let overlay = OverlayShape {
            degree_mean: shape.degree_mean,
            degree_max: shape.degree_max,
            diameter_hops: (alive.len() <= DIAMETER_MAX).then(|| diameter_hops(&graph)),
            articulation_points: Cuts::of(&graph).articulation_points().len(),
            links_broken: self.links_broken,
        };
        let faults = self.history.iter().map(|one| FaultTime {
            kind: one.kind,
            from_s: one.from.since(self.zero).0 as f64 / 1e6,
            to_s: one.to.since(self.zero).0 as f64 / 1e6,
            hit: one.hit,
        });
        let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
        let (control, traffic) = self.traffic(Window::All).unwrap_or_default();
        Results {
            schema: crate::results::SCHEMA,
            scenario: file.scenario.name.clone(),
            backend: file.scenario.backend.as_str().to_owned(),
            seed: file.scenario.seed,
            nodes: self.cast.len(),
            passed: false,
            failure: None,
            trace_hash: self.world.trace_hash(),
            asserts: Vec::new(),
            groups,
            control,
            overlay,
            traffic,
            convergence: Convergence {
                view_ms: self.view_ms(),
            },
            memory: Memory {
                retained_mib_max: mib(self.samples.retained_max),
                queued_mib_max: mib(self.samples.queued_max),
                records_max: self.samples.records_max,
            },
            hostile: self.hostile(),
            counted: self.counted(),
            findings: Vec::new(),
            notes: self.notes(),
            faults: faults.collect(),
            replay: String::new(),
            events: self.world.happened(),
            virtual_s: self.end.0 as f64 / 1e6,
            wall_s: 0.0,
            peak_rss_mib: self.world.peak_rss_mib(),
        }
    }

    /// What was sent in a window; nothing where nobody lived in it.
    pub(super) fn traffic(&self, window: Window) -> Option<(Control, TrafficResult)> {
        let range = self.window(window);
        let mark = |at: Micros| self.marks.range(..=at).next_back().map(|(_, mark)| mark);
        let (from, to) = (mark(range.start)?, mark(range.end)?);
        let node_s = to.node_s - from.node_s;
        if node_s <= 0.0 {
            return None;
        }
        let records = |mark: &super::Mark| {
            mark.tallies
                .iter()
                .map(|tally| tally.record_frames)
                .sum::<u64>()
        };
        let control = Control {
            bytes_per_node_s: (to.control_bytes - from.control_bytes) as f64 / node_s,
            frames_per_node_s: (to.control_frames - from.control_frames) as f64 / node_s,
            record_frames_per_node_s: (records(to) - records(from)) as f64 / node_s,
        };
        let payload: u64 = self
            .cast
            .groups
            .iter()
            .map(|group| {
                let scope = Scope {
                    group: &group.name,
                    published: range.clone(),
                    nodes: None,
                    within: None,
                    survived: None,
                    parts: None,
                };
                measure(self.world.journal(), &scope, |_, _| Micros(1)).payload_bytes
            })
            .sum();
        let bytes = to.bytes - from.bytes;
        let traffic = TrafficResult {
            bytes_per_node_s: bytes as f64 / node_s,
            wire_amplification: (payload > 0).then(|| ratio(bytes, payload)),
        };
        Some((control, traffic))
    }

    /// From the last fault's end (its beginning, if only the healing ends it) until the views of
    /// all had everybody who lives in them, and nobody else.
    fn view_ms(&self) -> Option<f64> {
        let from = self
            .history
            .iter()
            .map(|one| if one.passes { one.to } else { one.from });
        let from = from.max().unwrap_or(self.zero);
        let at = self.samples.complete_at.iter().find(|at| **at > from)?;
        Some(at.since(from).0 as f64 / 1e3)
    }

    /// The counters of all peers that behave.
    fn counted(&self) -> BTreeMap<String, u64> {
        let honest = self.cast.honest();
        let mut sums: BTreeMap<String, u64> = BTreeMap::new();
        for node in (0..honest.len()).filter(|&node| honest[node]) {
            for (name, value) in self.world.counters(node) {
                if COUNTERS.contains(&name.as_str()) {
                    *sums.entry(name).or_default() += value;
                }
            }
        }
        sums
    }
}

pub(super) fn ratio(part: u64, of: u64) -> f64 {
    if of == 0 {
        0.0
    } else {
        part as f64 / of as f64
    }
}
