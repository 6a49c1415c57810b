//! The answer to a joiner: what is settled here, with proof, and the past that it asked for.

use super::super::LogKey;
use super::super::log::OriginLog;
use super::LISTED_MAX;
use crate::engine::Engine;
use crate::io::LinkId;
use crate::message::History;
use crate::name::GroupId;
use crate::status::Role;
use crate::wire::BundleHeader;
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
    match history {
        History::None => BTreeMap::new(),
        History::Last(count) => {
            let count = usize::try_from(count).unwrap_or(usize::MAX).min(LISTED_MAX);
            last(logs, count)
        }
        History::SinceMs(ms) => {
            let from_wall_ms = wall_ms.saturating_sub(ms);
            // Only where each origin begins matters, however much follows.
            let first = |log| first_since(log, from_wall_ms).map(|first| vec![first]);
            let firsts = logs
                .iter()
                .filter_map(|(key, log)| Some((*key, first(log)?)));
            firsts.collect()
        }
    }
}

/// The last `count` messages of all logs, by origin.
fn last(logs: &BTreeMap<LogKey, OriginLog>, count: usize) -> BTreeMap<LogKey, Vec<(u64, u64)>> {
    let mut listed: Vec<Listed> = Vec::new();
    for (key, log) in logs {
        let newest = messages(log).take(count);
        listed.extend(newest.map(|(seq, published_at)| (published_at, *key, seq)));
    }
    listed.sort_unstable_by(|a, b| b.cmp(a));
    let mut past: BTreeMap<LogKey, Vec<(u64, u64)>> = BTreeMap::new();
    for (published_at, key, seq) in listed.into_iter().take(count) {
        past.entry(key).or_default().push((seq, published_at));
    }
    past
}

/// The first message that was published since `from_wall_ms` and all after it.
fn first_since(log: &OriginLog, from_wall_ms: u64) -> Option<(u64, u64)> {
    (messages(log))
        .take_while(|(_, published_at)| *published_at >= from_wall_ms)
        .last()
}

/// The messages held of a log, the newest first: seq and time of publication.
fn messages(log: &OriginLog) -> impl Iterator<Item = (u64, u64)> + '_ {
    let is_begin = |header: &BundleHeader| header.fragment.is_none_or(|piece| piece.index == 0);
    (log.entries().rev())
        .map(|entry| &entry.bundle.header)
        .filter(move |header| is_begin(header))
        .flat_map(|header| {
            let indices = (0..header.lengths.len()).rev();
            indices.map(|index| (header.seq + index as u64, header.published_at(index)))
        })
}
