//! The answer to a joiner: what is settled here, with proof, and the past that it asked for.

use super::super::LogKey;
use super::super::log::OriginLog;
use super::LISTED_MAX;
use crate::engine::Engine;
use crate::io::LinkId;
use crate::message::History;
use crate::name::GroupId;
use crate::status::Role;
use crate::wire::frame::{Baseline, BaselineOrigin};
use std::collections::BTreeMap;

/// Origins in one frame: with a header of some 250 B each, well below the largest frame.
const ORIGINS_PER_FRAME: usize = 256;

/// One message of the past: time of publication, log, seq.
type Listed = (u64, LogKey, u64);

impl Engine {
    /// Tells a joiner where to begin, if this peer has itself begun.
    pub(crate) fn answer_baseline(&mut self, to: LinkId, id: GroupId, history: History) {
        let Some(group) = self.groups.get(&id) else {
            return;
        };
        if group.role == Role::Relay || !group.baseline.is_taken() {
            return;
        }
        let origins = origins(&group.logs, history, self.now.wall_ms);
        for frame in frames(id, origins) {
            self.send(to, frame);
        }
    }
}

/// What is settled and what of the past is held, by origin.
pub(super) fn origins(
    logs: &BTreeMap<LogKey, OriginLog>,
    history: History,
    wall_ms: u64,
) -> Vec<BaselineOrigin> {
    let mut past = past_of(logs, history, wall_ms);
    logs.iter()
        .map(|(key, log)| BaselineOrigin {
            origin: key.0,
            epoch: key.1,
            settled: log.settled(),
            proof: log.head(),
            past: past.remove(key).unwrap_or_default(),
            complete: reaches_back(log, history, wall_ms),
        })
        .collect()
}

fn frames(group: GroupId, origins: Vec<BaselineOrigin>) -> Vec<Baseline> {
    let mut frames: Vec<Baseline> = Vec::new();
    let (mut batch, mut listed) = (Vec::new(), 0);
    for origin in origins {
        listed += origin.past.len();
        batch.push(origin);
        if batch.len() >= ORIGINS_PER_FRAME || listed >= LISTED_MAX / 2 {
            frames.push(Baseline {
                group,
                origins: std::mem::take(&mut batch),
                last: false,
            });
            listed = 0;
        }
    }
    frames.push(Baseline {
        group,
        origins: batch,
        last: true,
    });
    frames
}

/// Whether what is held of a log reaches back as far as `history`: everything it asks for is
/// listed.
fn reaches_back(log: &OriginLog, history: History, wall_ms: u64) -> bool {
    let History::SinceMs(ms) = history else {
        return true;
    };
    let from_wall_ms = wall_ms.saturating_sub(ms);
    match log.entries().next() {
        Some(oldest) => {
            let header = &oldest.bundle.header;
            header.seq == 1 || header.published_at < from_wall_ms
        }
        None => (log.head_published_at()).is_none_or(|published_at| published_at < from_wall_ms),
    }
}

/// The messages of the past that `history` asks for, by origin: seq and time of publication.
fn past_of(
    logs: &BTreeMap<LogKey, OriginLog>,
    history: History,
    wall_ms: u64,
) -> BTreeMap<LogKey, Vec<(u64, u64)>> {
    let (count, from_wall_ms) = match history {
        History::None => return BTreeMap::new(),
        History::Last(count) => (usize::try_from(count).unwrap_or(usize::MAX), 0),
        History::SinceMs(ms) => (usize::MAX, wall_ms.saturating_sub(ms)),
    };
    let count = count.min(LISTED_MAX);
    let mut listed: Vec<Listed> = Vec::new();
    for (key, log) in logs {
        list(*key, log, count, from_wall_ms, &mut listed);
    }
    listed.sort_unstable_by(|a, b| b.cmp(a));
    let mut past: BTreeMap<LogKey, Vec<(u64, u64)>> = BTreeMap::new();
    if matches!(history, History::SinceMs(_)) {
        // Only where each origin begins matters.
        for (published_at, key, seq) in listed {
            past.insert(key, vec![(seq, published_at)]);
        }
    } else {
        for (published_at, key, seq) in listed.into_iter().take(count) {
            past.entry(key).or_default().push((seq, published_at));
        }
    }
    past
}

/// The newest messages of a log, at most `count`, published since `from_wall_ms`.
fn list(key: LogKey, log: &OriginLog, count: usize, from_wall_ms: u64, listed: &mut Vec<Listed>) {
    let mut messages = 0;
    for entry in log.entries().rev() {
        let header = &entry.bundle.header;
        if header.fragment.is_some_and(|fragment| fragment.index > 0) {
            continue;
        }
        for index in (0..header.lengths.len()).rev() {
            let published_at = header.published_at(index);
            if messages >= count || published_at < from_wall_ms {
                return;
            }
            listed.push((published_at, key, header.seq + index as u64));
            messages += 1;
        }
    }
}
