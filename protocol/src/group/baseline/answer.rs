//! The answer to a joiner: what is settled here, with proof, and the past that it asked for.

use super::super::LogKey;
use super::super::log::{ListClock, OriginLog};
use super::LISTED_MAX;
use crate::engine::Engine;
use crate::io::LinkId;
use crate::message::History;
use crate::name::GroupId;
use crate::status::Role;
use crate::time::Micros;
use crate::wire::frame::{Baseline, BaselineOrigin};
use std::collections::BTreeMap;

/// Origins in one frame: with a header of some 250 B each, well below the largest frame.
const ORIGINS_PER_FRAME: usize = 256;

/// One message of the past: time of publication, log, seq.
type Listed = (u64, LogKey, u64);

/// What a joiner asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    history: History,
    /// Only what has been published for longer than this is not due, ms; 0: all that is settled.
    older_ms: u64,
    clock: ListClock,
}

/// A question that could not be answered when it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    at: Micros,
    history: History,
    older_ms: u64,
}

impl Engine {
    pub(super) fn baseline_question(&self, history: History, older_ms: u64) -> Question {
        Question {
            history,
            older_ms,
            clock: self.list_clock(),
        }
    }

    /// The clocks by which entries are listed.
    pub(crate) fn list_clock(&self) -> ListClock {
        ListClock {
            now: self.now.mono,
            network_ms: self.network_ms(),
        }
    }

    /// Tells a joiner where to begin, if this peer has itself begun; else once it has.
    pub(crate) fn answer_baseline(
        &mut self,
        to: LinkId,
        id: GroupId,
        history: History,
        older_ms: u64,
    ) {
        let at = self.now.mono;
        let question = self.baseline_question(history, older_ms);
        let Some(group) = self.groups.get(&id) else {
            return;
        };
        if group.role == Role::Relay {
            return;
        }
        if !group.baseline.is_taken() {
            if let Some(remote) = self.remote_mut(to, id) {
                remote.asked = Some(Asked {
                    at,
                    history,
                    older_ms,
                });
            }
            return;
        }
        let alone = group.baseline.is_alone();
        let origins = origins(&group.logs, question);
        for mut frame in frames(id, origins) {
            frame.older_ms = older_ms;
            frame.alone = alone;
            self.send(to, frame);
        }
    }

    /// Answers what a neighbour asked before this peer could answer.
    pub(super) fn answer_waiting(&mut self, to: LinkId, id: GroupId) {
        let asked = self
            .remote_mut(to, id)
            .and_then(|remote| remote.asked.take());
        if let Some(asked) = asked {
            let waited_ms = self.now.mono.since(asked.at).as_millis();
            let older_ms = match asked.older_ms {
                0 => 0,
                older_ms => older_ms.saturating_add(waited_ms),
            };
            self.answer_baseline(to, id, asked.history, older_ms);
        }
    }
}

/// What is settled and what of the past is held, by origin. To a question for what is older, those
/// that hold nothing older are left out: they begin at 1.
pub(super) fn origins(
    logs: &BTreeMap<LogKey, OriginLog>,
    question: Question,
) -> Vec<BaselineOrigin> {
    let Question {
        history,
        older_ms,
        clock,
    } = question;
    let mut past = past_of(logs, history, clock);
    let all = logs.iter().map(|(key, log)| {
        let settled = match older_ms {
            0 => log.settled(),
            ms => log.settled_before(Micros::from_millis(ms), clock.now),
        };
        BaselineOrigin {
            origin: key.0,
            epoch: key.1,
            settled,
            proof: log.head(),
            age_ms: log.age_of(settled, clock.now).as_millis(),
            past: past.remove(key).unwrap_or_default(),
        }
    });
    all.filter(|origin| older_ms == 0 || origin.settled > 0 || !origin.past.is_empty())
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
                older_ms: 0,
                alone: false,
                origins: std::mem::take(&mut batch),
                last: false,
            });
            listed = 0;
        }
    }
    frames.push(Baseline {
        group,
        older_ms: 0,
        alone: false,
        origins: batch,
        last: true,
    });
    frames
}

/// The messages of the past that `history` asks for, by origin: seq and time of publication.
fn past_of(
    logs: &BTreeMap<LogKey, OriginLog>,
    history: History,
    clock: ListClock,
) -> BTreeMap<LogKey, Vec<(u64, u64)>> {
    let (count, within_ms) = match history {
        History::None => return BTreeMap::new(),
        History::Last(count) => (usize::try_from(count).unwrap_or(usize::MAX), u64::MAX),
        History::SinceMs(ms) => (usize::MAX, ms),
    };
    let count = count.min(LISTED_MAX);
    let mut listed: Vec<Listed> = Vec::new();
    for (key, log) in logs {
        list(*key, log, (count, within_ms), clock, &mut listed);
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

/// The newest messages of a log, at most so many, published within so many ms.
fn list(
    key: LogKey,
    log: &OriginLog,
    (count, within_ms): (usize, u64),
    clock: ListClock,
    listed: &mut Vec<Listed>,
) {
    let mut messages = 0;
    for entry in log.entries().rev() {
        let header = &entry.bundle.header;
        if header.fragment.is_some_and(|fragment| fragment.index > 0) {
            continue;
        }
        let by = log.published_by(entry);
        for index in (0..header.lengths.len()).rev() {
            let published_at = header.published_at(index);
            if messages >= count || !log.is_within(entry, published_at, within_ms, clock) {
                return;
            }
            let at = clock.listed_at(published_at, by);
            listed.push((at, key, header.seq + index as u64));
            messages += 1;
        }
    }
}
