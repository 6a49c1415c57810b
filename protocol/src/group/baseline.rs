//! The joiner's baseline: after which entry of each origin messages are due.
//!
//! A joined neighbour's word decides: what it had settled is not due, everything after is, and
//! origins it did not know begin at 1. It proves each settled point by a header that the origin
//! signed, so that no neighbour can make up a past and thereby withhold what is still to come. With nobody there in time, the clock decides: what was
//! published no earlier than a moment before the join. The first neighbour met later is then
//! asked from where that is, so that nobody pulls an old group's whole past only to drop it.

mod answer;
mod proof;

pub(crate) use proof::Proving;

use super::LogKey;
use crate::engine::Engine;
use crate::identity::PeerKey;
use crate::io::{Event, LinkId};
use crate::message::{HISTORY_LAST_MAX, History};
use crate::name::GroupId;
use crate::time::Micros;
use crate::wire::frame::{Baseline, SignedHeader};
use std::collections::{BTreeMap, BTreeSet};

/// Messages of the past that one neighbour lists.
const LISTED_MAX: usize = HISTORY_LAST_MAX as usize;
/// Origins taken from all answers.
const ORIGINS_MAX: usize = 65_536;
/// A clock filters for so long after the join, ms.
const FILTER_MS: u64 = 30_000;
/// With the past asked for, further neighbours' answers are waited for so long, ms.
const GATHER_MS: u64 = 300;

/// How far finding the baseline has come.
#[derive(Debug, Default)]
pub(crate) enum Baselining {
    /// Not asked for: a relay.
    #[default]
    None,
    /// Asked for.
    Waiting(Waiting),
    /// Decided by the clock: what was published from then on, ms since the Unix epoch, is due.
    ByClock {
        filter: ClockFilter,
        last: Option<u64>,
        gathered: Gathered,
    },
    /// Decided. A clock that decided first still holds for a while.
    Taken { filter: Option<ClockFilter> },
}

/// What a clock lets in: the past of origins met soon after the join is told from what is due by
/// its time of publication. Later, an origin's wrong clock must not silence it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClockFilter {
    /// What was published before, ms since the Unix epoch, is not due.
    from_wall_ms: u64,
    /// The same on the monotonic clock, as far as that reaches back.
    from: Micros,
    /// When it ends.
    until: Micros,
}

/// A baseline being asked for.
#[derive(Debug)]
pub(crate) struct Waiting {
    until: Micros,
    joined: Micros,
    joined_wall_ms: u64,
    history: History,
    gathered: Gathered,
    /// When the first whole answer came, with the past asked for.
    answered: Option<Micros>,
    /// Who has answered.
    answers: BTreeSet<LinkId>,
    /// Whether the logs are here already, and only the past is asked for.
    recalls: bool,
}

/// Answers so far.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    settled: BTreeMap<LogKey, u64>,
    /// What proves it.
    proofs: BTreeMap<LogKey, SignedHeader>,
    /// Origins of which somebody could not tell how far back the past reaches.
    incomplete: BTreeSet<LogKey>,
    /// (published at, origin and epoch, seq) of messages of the past.
    past: BTreeSet<(u64, LogKey, u64)>,
}

impl Gathered {
    fn take(&mut self, frame: Baseline) {
        for origin in frame.origins {
            let key = (origin.origin, origin.epoch);
            if self.settled.len() >= ORIGINS_MAX && !self.settled.contains_key(&key) {
                continue;
            }
            // The first answer counts; later ones only add to the past.
            self.settled.entry(key).or_insert(origin.settled);
            if !origin.complete {
                self.incomplete.insert(key);
            }
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
    fn bases(&self, history: History) -> BTreeMap<LogKey, u64> {
        let mut bases = self.settled.clone();
        let count = match history {
            History::None => 0,
            History::Last(count) => usize::try_from(count).unwrap_or(usize::MAX),
            History::SinceMs(_) => usize::MAX,
        };
        for &(_, key, seq) in self.past.iter().rev().take(count) {
            // Only what is proven can be lowered: the rest begins at 1 anyway.
            if let Some(base) = bases.get_mut(&key) {
                *base = (*base).min(seq.saturating_sub(1));
            }
        }
        bases
    }

    /// The same where everything since a moment is due: what nobody can tell begins at 1.
    fn bases_since(&self) -> BTreeMap<LogKey, u64> {
        let mut bases = self.bases(History::SinceMs(0));
        for key in &self.incomplete {
            bases.insert(*key, 0);
        }
        bases
    }
}

impl Baselining {
    pub(crate) fn is_taken(&self) -> bool {
        matches!(self, Self::Taken { .. } | Self::ByClock { .. })
    }

    /// Whether neighbours are still asked. After a clock has decided they are for a while only:
    /// later, whatever a neighbour holds has been due.
    pub(crate) fn is_waiting(&self, now: Micros) -> bool {
        match self {
            Self::Waiting(_) => true,
            Self::ByClock { filter, .. } => filter.until > now,
            _ => false,
        }
    }

    /// What neighbours are asked for.
    pub(crate) fn history(&self, now: Micros) -> History {
        match self {
            Self::Waiting(waiting) => waiting.history,
            Self::ByClock {
                last: Some(count), ..
            } => History::Last(*count),
            Self::ByClock { filter, .. } => History::SinceMs(now.since(filter.from).as_millis()),
            _ => History::None,
        }
    }

    /// What was published before this, ms since the Unix epoch, is not due.
    pub(crate) fn due_from_wall_ms(&self, now: Micros) -> u64 {
        let filter = match self {
            Self::ByClock { filter, .. } => Some(*filter),
            Self::Taken { filter } => *filter,
            _ => None,
        };
        filter
            .filter(|filter| filter.until > now)
            .map_or(0, |filter| filter.from_wall_ms)
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

impl Engine {
    pub(crate) fn begin_baseline(&mut self, id: GroupId, history: History) {
        let until = self.in_ms(self.config.groups.baseline_ms);
        let (joined, joined_wall_ms) = (self.now.mono, self.now.wall_ms);
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        group.baseline = Baselining::Waiting(Waiting {
            until,
            joined,
            joined_wall_ms,
            history,
            gathered: Gathered::default(),
            answered: None,
            answers: BTreeSet::new(),
            recalls: false,
        });
        self.wake_at(until);
    }

    /// Begins anew with the logs that are here, of which nothing has been handed over: this
    /// peer's own past counts as the first answer, neighbours add what it does not hold.
    pub(crate) fn begin_recall(&mut self, id: GroupId, history: History) {
        self.begin_baseline(id, history);
        let now = self.now;
        let alone = self.group_links(id).next().is_none();
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        let origins = answer::origins(&group.logs, history, now.wall_ms);
        if let Baselining::Waiting(waiting) = &mut group.baseline {
            waiting.recalls = true;
            waiting.answered = Some(now.mono);
            waiting.gathered.take(Baseline {
                group: id,
                origins,
                last: true,
            });
        }
        if alone {
            self.take_baseline(id, true);
        }
    }

    /// A neighbour's answer, its proofs checked.
    fn on_proven_baseline(&mut self, from: LinkId, frame: Baseline) {
        let now = self.now.mono;
        let gather = self.in_ms(GATHER_MS);
        let id = frame.group;
        let last = frame.last;
        let asked = self.group_links(id).count();
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        match &mut group.baseline {
            Baselining::Waiting(waiting) => {
                waiting.gathered.take(frame);
                if !last {
                    return;
                }
                waiting.answers.insert(from);
                waiting.answered.get_or_insert(now);
                if waiting.history != History::None && waiting.answers.len() < asked {
                    // Others may hold more of the past.
                    waiting.until = waiting.until.min(gather);
                    self.wake_at(gather);
                    return;
                }
                self.take_baseline(id, true);
            }
            Baselining::ByClock { gathered, .. } => {
                gathered.take(frame);
                if last {
                    self.upgrade_baseline(id);
                }
            }
            _ => {}
        }
    }

    pub(crate) fn on_baseline_timeout(&mut self, id: GroupId) {
        let Some(group) = self.groups.get(&id) else {
            return;
        };
        if let Baselining::Waiting(waiting) = &group.baseline {
            let answered = waiting.answered.is_some();
            self.take_baseline(id, answered);
        }
    }

    fn take_baseline(&mut self, id: GroupId, answered: bool) {
        let slack_ms = self.config.groups.baseline_slack_ms;
        let now = self.now.mono;
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        let Baselining::Waiting(waiting) = std::mem::take(&mut group.baseline) else {
            return;
        };
        if answered {
            group.baseline = Baselining::Taken { filter: None };
            let bases = waiting.gathered.bases(waiting.history);
            if waiting.recalls {
                for (key, base) in &bases {
                    self.reopen(id, *key, *base);
                }
            }
            self.apply_bases(id, bases, waiting.gathered.proofs, false);
        } else {
            let since_ms = match waiting.history {
                History::SinceMs(ms) => ms.max(slack_ms),
                _ => slack_ms,
            };
            group.baseline = Baselining::ByClock {
                filter: ClockFilter {
                    from_wall_ms: waiting.joined_wall_ms.saturating_sub(since_ms),
                    from: waiting.joined.since(Micros::from_millis(since_ms)),
                    until: now + Micros::from_millis(FILTER_MS),
                },
                last: match waiting.history {
                    History::Last(count) => Some(count),
                    _ => None,
                },
                gathered: Gathered::default(),
            };
        }
        self.baseline_reached(id);
    }

    /// The first neighbour after the clock decided says from where its origins are due.
    fn upgrade_baseline(&mut self, id: GroupId) {
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        let Baselining::ByClock {
            filter,
            last,
            gathered,
        } = std::mem::take(&mut group.baseline)
        else {
            return;
        };
        // The last so many of the past were asked for: the clock must not drop them again.
        let filter = last.is_none().then_some(filter);
        let bases = match last {
            Some(count) => gathered.bases(History::Last(count)),
            None => gathered.bases_since(),
        };
        group.baseline = Baselining::Taken { filter };
        self.apply_bases(id, bases, gathered.proofs, true);
        self.deliver(id);
    }

    fn apply_bases(
        &mut self,
        id: GroupId,
        bases: BTreeMap<LogKey, u64>,
        mut proofs: BTreeMap<LogKey, SignedHeader>,
        only_untouched: bool,
    ) {
        let own = (self.me, self.own.epoch);
        for (key, base) in bases {
            if key == own {
                continue;
            }
            if only_untouched
                && let Some(log) = self.groups.get(&id).and_then(|group| group.logs.get(&key))
                && (!log.held().is_empty() || log.settled() > 0)
            {
                continue;
            }
            let now = self.now.mono;
            let proof = proofs.remove(&key);
            let group = self.groups.get(&id);
            if proof.is_none() && !group.is_some_and(|group| group.logs.contains_key(&key)) {
                // A neighbour's word alone makes no log; without one, all of it is due anyway.
                continue;
            }
            if let Some(log) = self.log_mut(id, key) {
                log.rebase(base);
                if let Some(proof) = proof {
                    log.note_head(&proof);
                }
                log.progress = now;
                let group_changed = base > 0;
                if group_changed {
                    self.log_changed(id, key);
                }
                self.note_claims(id, key);
            }
        }
    }

    /// Entries after `base` are to be handed over (again), and pulled where they are not held.
    fn reopen(&mut self, id: GroupId, key: LogKey, base: u64) {
        let now = self.now.mono;
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        let Some(log) = group.logs.get_mut(&key) else {
            return;
        };
        self.retained_bytes -= group.retention.forget(&[key].into());
        log.reopen(base, now);
        self.retain(id, key);
        self.log_changed(id, key);
        self.schedule_repair(id, now);
    }

    /// Messages are due from now on.
    pub(crate) fn baseline_reached(&mut self, id: GroupId) {
        let Some(group) = self.groups.get(&id) else {
            return;
        };
        let from_neighbour = matches!(group.baseline, Baselining::Taken { .. });
        if group.delivering
            && let Some(name) = group.name.clone()
        {
            self.event(Event::Joined {
                group: name,
                from_neighbour,
            });
        }
        self.deliver(id);
        self.schedule_repair(id, self.now.mono);
        // Neighbours that asked meanwhile could not be answered; they ask again, or their own
        // clock decides. What is held is announced to all.
        let links: Vec<(PeerKey, LinkId)> = self.group_links(id).collect();
        for (_, link) in links {
            self.send_full_digest(link, id, false);
        }
    }
}
