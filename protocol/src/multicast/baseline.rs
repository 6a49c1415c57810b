//! The joiner's baseline: after which entry of each origin messages are due.
//!
//! A joined neighbour's word decides: what it had settled is not due, everything after is, and
//! origins it did not know begin at 1. It proves each settled point by a header that the origin
//! signed, so that no neighbour can make up a past and thereby withhold what is still to come.
//!
//! With nobody there in time the joiner goes on alone: everything that comes is due, unless a
//! neighbour tells that it is older than the join. Neighbours measure that on their own monotonic
//! clocks: what has lain at one of them for longer than the joiner has waited was published
//! before. No wall clock has a say, so a wrong one makes nobody miss anything. docs/design/time.md

mod answer;
mod proof;

pub(crate) use answer::Asked;
pub(crate) use proof::ProofChecks;

use super::LogKey;
use crate::base::identity::PeerKey;
use crate::base::interface::{Event, LinkId};
use crate::base::message::{HISTORY_LAST_MAX, History};
use crate::base::name::GroupId;
use crate::base::time::Micros;
use crate::multicast::{Cx, Multicast};
use crate::wire::frame::{Baseline, SignedHeader};
use std::collections::{BTreeMap, BTreeSet};

/// Messages of the past that one neighbour lists.
const LISTED_MAX: usize = HISTORY_LAST_MAX as usize;
/// Origins taken from all answers.
const ORIGINS_MAX: usize = 65_536;
/// With the past asked for, further neighbours' answers are waited for so long, ms.
const GATHER_MS: u64 = 300;
/// So many answers that know of older messages are enough for a member that joined alone: then it
/// has met the group.
const ANSWERS_MAX: u8 = 4;

/// How far finding the baseline has come.
#[derive(Debug, Default)]
pub(crate) enum BaselineState {
    /// Not asked for: a relay.
    #[default]
    None,
    /// Asked for.
    Waiting(Waiting),
    /// Nobody who knew the group answered: everything is due that is not known to be older than
    /// the join.
    Alone(Alone),
    /// Decided.
    Taken,
}

/// A baseline being asked for.
#[derive(Debug)]
pub(crate) struct Waiting {
    until: Micros,
    began: Micros,
    history: History,
    gathered: Gathered,
    /// When the first whole answer came, with the past asked for.
    answered: Option<Micros>,
    /// Who has answered.
    answers: BTreeSet<LinkId>,
    /// Whether one of them had met the group.
    informed: bool,
    /// Whether the logs are here already, and only the past is asked for.
    recalls: bool,
}

/// A member that joined where nobody knew the group.
#[derive(Debug)]
pub(crate) struct Alone {
    /// When it asked to join, less some slack: what was published before is not due.
    since: Micros,
    /// When it was told that it has joined: what was published from then on is due.
    joined: Micros,
    /// Neighbours are asked until then: later, nobody retains anything older than the join.
    until: Micros,
    /// The past that it asked for, until somebody has answered.
    history: History,
    /// Whether it has asked for any.
    wants_past: bool,
    gathered: Gathered,
    /// Answers that knew of something older.
    answers: u8,
}

/// Answers so far.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    settled: BTreeMap<LogKey, Base>,
    /// What proves it.
    proofs: BTreeMap<LogKey, SignedHeader>,
    /// (published at, origin and epoch, seq) of messages of the past.
    past: BTreeSet<(u64, LogKey, u64)>,
}

/// Where one origin's messages begin to be due.
#[derive(Clone, Copy, Debug)]
struct Base {
    seq: u64,
    /// What the neighbour had settled, and when that had been published at the latest.
    settled: u64,
    came: Micros,
}

impl Gathered {
    fn take(&mut self, frame: Baseline, now: Micros) {
        for origin in frame.origins {
            let key = (origin.origin, origin.epoch);
            if self.settled.len() >= ORIGINS_MAX && !self.settled.contains_key(&key) {
                continue;
            }
            let base = Base {
                seq: origin.settled,
                settled: origin.settled,
                came: now - Micros::from_millis(origin.age_ms),
            };
            // The first answer counts; later ones only add to the past.
            self.settled.entry(key).or_insert(base);
            if let Some(proof) = origin.proof {
                self.proofs.entry(key).or_insert(proof);
            }
            for (seq, published_at) in origin.past {
                self.past.insert((published_at, key, seq));
                if self.past.len() > 4 * LISTED_MAX {
                    // The oldest; nobody asks for so many.
                    self.past.pop_first();
                }
            }
        }
    }

    /// After which entry each origin is due.
    fn bases(&self, history: History) -> BTreeMap<LogKey, Base> {
        let mut bases = self.settled.clone();
        let count = match history {
            History::None => 0,
            History::Last(count) => usize::try_from(count).unwrap_or(usize::MAX),
            History::SinceMs(_) => usize::MAX,
        };
        for &(_, key, seq) in self.past.iter().rev().take(count) {
            // Only what is proven can be lowered: the rest begins at 1 anyway.
            if let Some(base) = bases.get_mut(&key) {
                base.seq = base.seq.min(seq.saturating_sub(1));
            }
        }
        bases
    }
}

impl BaselineState {
    pub(crate) fn is_taken(&self) -> bool {
        matches!(self, Self::Taken | Self::Alone(_))
    }

    /// Whether neighbours are still asked.
    pub(crate) fn is_waiting(&self, now: Micros) -> bool {
        match self {
            Self::Waiting(_) => true,
            Self::Alone(alone) => alone.until > now,
            _ => false,
        }
    }

    /// The past that neighbours are asked for.
    pub(crate) fn history(&self, now: Micros) -> History {
        match self {
            Self::Waiting(waiting) => waiting.history,
            Self::Alone(alone) => match alone.history {
                History::SinceMs(ms) => {
                    let waited = now.since(alone.joined).as_millis();
                    History::SinceMs(ms.saturating_add(waited))
                }
                history => history,
            },
            _ => History::None,
        }
    }

    /// How old what is not due must be, ms, where age decides; else 0.
    pub(crate) fn older_ms(&self, now: Micros) -> u64 {
        match self {
            Self::Alone(alone) => now.since(alone.since).as_millis().max(1),
            _ => 0,
        }
    }

    /// Whether this peer joined where nobody knew the group, and has not met it since.
    fn is_alone(&self) -> bool {
        matches!(self, Self::Alone(_))
    }

    pub(crate) fn forget(&mut self) {
        *self = Self::None;
    }

    pub(crate) fn due(&self) -> Option<Micros> {
        match self {
            Self::Waiting(waiting) => Some(waiting.until),
            _ => None,
        }
    }
}

impl Multicast {
    pub(crate) fn begin_baseline(&mut self, cx: &mut Cx<'_>, id: GroupId, history: History) {
        let until = cx.core.in_ms(cx.core.config.groups.baseline_ms);
        let began = cx.core.now.mono;
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        group.baseline = BaselineState::Waiting(Waiting {
            until,
            began,
            history,
            gathered: Gathered::default(),
            answered: None,
            answers: BTreeSet::new(),
            informed: false,
            recalls: false,
        });
        cx.core.wake_at(until);
    }

    /// Begins anew with the logs that are here, of which nothing has been handed over: this
    /// peer's own past counts as the first answer, neighbours add what it does not hold.
    pub(crate) fn begin_recall(&mut self, cx: &mut Cx<'_>, id: GroupId, history: History) {
        self.begin_baseline(cx, id, history);
        let now = cx.core.now.mono;
        let question = Self::baseline_question(cx.as_ref(), history, 0);
        let alone = self.group_links(cx.as_ref(), id).next().is_none();
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        let origins = answer::origins(&group.logs, question);
        if let BaselineState::Waiting(waiting) = &mut group.baseline {
            waiting.recalls = true;
            waiting.informed = true;
            waiting.answered = Some(now);
            let frame = Baseline {
                group: id,
                older_ms: 0,
                alone: false,
                origins,
                last: true,
            };
            waiting.gathered.take(frame, now);
        }
        if alone {
            self.take_baseline(cx, id, true);
        }
    }

    /// A neighbour's answer, its proofs checked.
    fn on_proven_baseline(&mut self, cx: &mut Cx<'_>, from: LinkId, frame: Baseline) {
        let now = cx.core.now.mono;
        let gather = cx.core.in_ms(GATHER_MS);
        let id = frame.group;
        let asked = self.group_links(cx.as_ref(), id).count();
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        match &mut group.baseline {
            BaselineState::Waiting(waiting) => {
                let (last, alone) = (frame.last, frame.alone);
                waiting.gathered.take(frame, now);
                if !last {
                    return;
                }
                waiting.informed |= !alone;
                waiting.answers.insert(from);
                waiting.answered.get_or_insert(now);
                if waiting.history != History::None && waiting.answers.len() < asked {
                    // Others may hold more of the past.
                    waiting.until = waiting.until.min(gather);
                    cx.core.wake_at(gather);
                    return;
                }
                self.take_baseline(cx, id, true);
            }
            BaselineState::Alone(alone) => {
                // What it calls old must have been old when this member joined: an answer that was
                // long on its way, or was given to the question before, is asked for again.
                if now - Micros::from_millis(frame.older_ms) > alone.joined {
                    cx.core.count(counter!("baselines_late"));
                    if !frame.origins.is_empty() && frame.last {
                        self.tell_neighbour(cx, from, id);
                    }
                    return;
                }
                self.take_ages(cx, id, frame);
            }
            BaselineState::None | BaselineState::Taken => {}
        }
    }

    pub(crate) fn on_baseline_timeout(&mut self, cx: &mut Cx<'_>, id: GroupId) {
        let Some(group) = self.groups.get(&id) else {
            return;
        };
        if let BaselineState::Waiting(waiting) = &group.baseline {
            let answered = waiting.answered.is_some();
            self.take_baseline(cx, id, answered);
        }
    }

    fn take_baseline(&mut self, cx: &mut Cx<'_>, id: GroupId, answered: bool) {
        let slack = Micros::from_millis(cx.core.config.groups.baseline_slack_ms);
        let now = cx.core.now.mono;
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        let BaselineState::Waiting(waiting) = std::mem::take(&mut group.baseline) else {
            return;
        };
        group.baseline = if waiting.informed {
            BaselineState::Taken
        } else {
            let retention = Micros::from_millis(group.settings.values.retention_ms);
            BaselineState::Alone(Alone {
                since: waiting.began - slack,
                joined: now,
                until: now + retention,
                history: waiting.history,
                wants_past: waiting.history != History::None,
                gathered: Gathered::default(),
                answers: 0,
            })
        };
        if answered {
            let bases = waiting.gathered.bases(waiting.history);
            if waiting.recalls {
                for (key, base) in &bases {
                    self.reopen(cx, id, *key, base.seq);
                }
            }
            self.apply_bases(cx, id, bases, waiting.gathered.proofs);
        }
        self.baseline_reached(cx, id, answered);
    }

    /// A neighbour tells a member that joined alone what is older than the join.
    fn take_ages(&mut self, cx: &mut Cx<'_>, id: GroupId, frame: Baseline) {
        let now = cx.core.now.mono;
        let last = frame.last;
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        let BaselineState::Alone(alone) = &mut group.baseline else {
            return;
        };
        alone.gathered.take(frame, now);
        if !last {
            return;
        }
        let gathered = std::mem::take(&mut alone.gathered);
        let history = std::mem::take(&mut alone.history);
        // The past that was asked for lies below what further answers call old.
        let spares_logs = alone.wants_past && history == History::None;
        alone.answers += u8::from(!gathered.settled.is_empty());
        if alone.answers >= ANSWERS_MAX {
            group.baseline = BaselineState::Taken;
        }
        let mut bases = gathered.bases(history);
        bases.retain(|key, base| match group.logs.get(key) {
            Some(_) if spares_logs => false,
            Some(log) => {
                // Nothing that was pushed is old: it was on its way when it came.
                let pushed = log.first_pushed().unwrap_or(u64::MAX);
                base.seq = base.seq.min(pushed - 1);
                true
            }
            None => true,
        });
        self.apply_bases(cx, id, bases, gathered.proofs);
        self.deliver(cx, id);
        self.schedule_repair(cx, id, now);
    }

    fn apply_bases(
        &mut self,
        cx: &mut Cx<'_>,
        id: GroupId,
        bases: BTreeMap<LogKey, Base>,
        mut proofs: BTreeMap<LogKey, SignedHeader>,
    ) {
        let own = (cx.core.me, cx.net.epoch());
        let now = cx.core.now.mono;
        let mut skipped = 0;
        for (key, base) in bases {
            if key == own {
                continue;
            }
            let proof = proofs.remove(&key);
            let group = self.groups.get(&id);
            if proof.is_none() && !group.is_some_and(|group| group.logs.contains_key(&key)) {
                // A neighbour's word alone makes no log; without one, all of it is due anyway.
                continue;
            }
            if let Some(log) = self.log_mut(cx, id, key) {
                if log.next() <= base.seq {
                    skipped += log.held().within(log.next(), base.seq).len();
                }
                log.rebase(base.seq);
                log.note_published(base.settled, base.came);
                if let Some(proof) = proof {
                    log.note_head(&proof);
                }
                log.progress = now;
                if base.seq > 0 {
                    self.log_changed(cx, id, key);
                }
                self.note_claims(cx, id, key);
            }
        }
        cx.core
            .count_many(counter!("messages_before_join"), skipped);
    }

    /// Entries after `base` are to be handed over (again), and pulled where they are not held.
    fn reopen(&mut self, cx: &mut Cx<'_>, id: GroupId, key: LogKey, base: u64) {
        let now = cx.core.now.mono;
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        let Some(log) = group.logs.get_mut(&key) else {
            return;
        };
        self.retained_bytes -= group.retention.forget(&[key].into());
        log.reopen(base, now);
        self.retain(cx, id, key);
        self.log_changed(cx, id, key);
        self.schedule_repair(cx, id, now);
    }

    /// Messages are due from now on.
    pub(crate) fn baseline_reached(&mut self, cx: &mut Cx<'_>, id: GroupId, from_neighbour: bool) {
        let now = cx.core.now.mono;
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        group.joined = Some(now);
        if group.delivering
            && let Some(name) = group.name.clone()
        {
            cx.core.event(Event::Joined {
                group: name,
                from_neighbour,
            });
        }
        self.deliver(cx, id);
        self.schedule_repair(cx, id, cx.core.now.mono);
        // Neighbours that asked meanwhile could not be answered. What is held is announced to all.
        let links: Vec<(PeerKey, LinkId)> = self.group_links(cx.as_ref(), id).collect();
        for (_, link) in links {
            self.answer_waiting(cx, link, id);
            self.send_full_digest(cx, link, id, false);
        }
    }
}

#[cfg(test)]
mod tests;
