//! Looks at everything from time to time: the timeline, memory, views, limits.

use super::Run;
use crate::check;
use crate::results::Tick;
use crate::sim::Tally;
use hedgerow_protocol::Micros;
use std::collections::BTreeSet;

/// What was seen so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples {
    pub(super) ticks: Vec<Tick>,
    last: Totals,
    /// Limits that were passed, in words.
    pub(super) bounds: Vec<String>,
    pub(super) retained_max: usize,
    pub(super) queued_max: usize,
    pub(super) records_max: usize,
    /// Moments at which all views had everybody who lives in them, and nobody else.
    pub(super) complete_at: Vec<Micros>,
}

/// Sums over all nodes.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    published: u64,
    delivered: u64,
    copies: u64,
    firsts: u64,
    repaired: u64,
    control_frames: u64,
    control_bytes: u64,
    bytes: u64,
}

/// What every node counted by some moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Mark {
    pub(super) tallies: Vec<Tally>,
    pub(super) control_bytes: u64,
    pub(super) control_frames: u64,
    pub(super) bytes: u64,
    /// Seconds that nodes lived so far, all together.
    pub(super) node_s: f64,
}

/// Limits named in words before the rest is only counted.
const BOUNDS_MAX: usize = 8;

impl Run<'_> {
    pub(super) fn sample(&mut self) {
        let now = self.world.now();
        let alive = self.world.alive();
        let mut views = BTreeSet::new();
        let (mut retained_max, mut queued_max) = (0, 0);
        let honest = self.cast.honest();
        let judged = alive.iter().filter(|&&node| honest[node]).count();
        let mut snapshots = self.world.snapshots(&alive);
        for snapshot in &snapshots {
            let status = &snapshot.status;
            if honest[snapshot.node] {
                views.insert(status.view_hash);
                let bounds = check::bounds(snapshot);
                if !bounds.is_clean() && self.samples.bounds.len() < BOUNDS_MAX {
                    self.samples.bounds.push(format!("at {now}: {bounds}"));
                }
            }
            retained_max = retained_max.max(status.retained_bytes);
            queued_max = queued_max.max(status.queued_bytes);
            self.samples.records_max = self.samples.records_max.max(status.records);
        }
        snapshots.retain(|snapshot| honest[snapshot.node]);
        // A view that still has the dead in it is none of those that live. Hostile peers may be in
        // it or not.
        let all_told = snapshots.len() == judged;
        let nobody_else = honest.iter().any(|honest| !honest)
            || (snapshots.iter()).all(|snapshot| snapshot.status.view_peers == judged);
        if all_told && nobody_else && self.peers_of(&snapshots).is_clean() {
            self.samples.complete_at.push(now);
        }
        let totals = self.totals();
        let samples = &mut self.samples;
        samples.retained_max = samples.retained_max.max(retained_max);
        samples.queued_max = samples.queued_max.max(queued_max);
        let last = std::mem::replace(&mut samples.last, totals);
        let tick = Tick {
            at_s: (now.0 as f64 - self.zero.0 as f64) / 1e6,
            alive: alive.len(),
            views: views.len(),
            faults: self.active.len(),
            published: totals.published - last.published,
            delivered: totals.delivered - last.delivered,
            copies: totals.copies - last.copies,
            firsts: totals.firsts - last.firsts,
            repaired: totals.repaired - last.repaired,
            control_frames: totals.control_frames - last.control_frames,
            control_bytes: totals.control_bytes - last.control_bytes,
            bytes: totals.bytes - last.bytes,
            retained_max,
            queued_max,
        };
        // Moment 0 and the healing may fall on a second: one tick is enough.
        if samples
            .ticks
            .last()
            .is_none_or(|before| before.at_s < tick.at_s)
        {
            samples.ticks.push(tick);
        }
        if now == self.zero || now == self.heal {
            self.mark();
        }
    }

    fn totals(&mut self) -> Totals {
        let journal = self.world.journal();
        let mut totals = Totals {
            published: journal
                .messages
                .iter()
                .filter(|message| message.published.is_some())
                .count() as u64,
            delivered: journal
                .nodes
                .iter()
                .map(|node| node.receipts.len() as u64)
                .sum(),
            ..Totals::default()
        };
        for node in 0..self.world.len() {
            let traffic = self.world.traffic(node);
            totals.control_frames += traffic.control_frames;
            totals.control_bytes += traffic.control_bytes;
            totals.bytes += traffic.bytes_sent;
            for copies in self.world.tally(node).groups.values() {
                totals.copies += copies.copies;
                totals.firsts += copies.firsts;
                totals.repaired += copies.repaired;
            }
        }
        totals
    }

    /// Notes what every node has counted by now.
    pub(super) fn mark(&mut self) {
        let now = self.world.now();
        if self.marks.contains_key(&now) {
            return;
        }
        let mut mark = Mark::default();
        for node in 0..self.world.len() {
            let traffic = self.world.traffic(node);
            mark.control_frames += traffic.control_frames;
            mark.control_bytes += traffic.control_bytes;
            mark.bytes += traffic.bytes_sent;
            mark.tallies.push(self.world.tally(node));
        }
        mark.node_s = self.node_seconds(now);
        self.marks.insert(now, mark);
    }

    /// Seconds that nodes lived until `now`, all together, by the ticks.
    fn node_seconds(&self, now: Micros) -> f64 {
        let ticks = &self.samples.ticks;
        let at_s = (now.0 as f64 - self.zero.0 as f64) / 1e6;
        let ends = ticks.iter().skip(1).map(|tick| tick.at_s).chain([at_s]);
        let spans = ticks.iter().zip(ends);
        spans
            .map(|(tick, end)| tick.alive as f64 * (end - tick.at_s).max(0.0))
            .sum()
    }

    pub(super) fn finish_sampling(&mut self) {
        self.world.refresh();
        self.sample();
        self.mark();
    }
}
