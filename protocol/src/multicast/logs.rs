//! Which logs a group keeps. Only what an origin has signed makes one, so a log is evidence that
//! its origin has published; and at each limit something gives way in a fixed order.
//!
//! - An origin has up to [`LIVES_MAX`] lives (epochs) with a log; the oldest gives way.
//! - A group has logs of up to `groups.origins_max` others. At the limit, logs go that hold nothing;
//!   then those of strangers, the newest first; then older lives. Long-known origins stay.
//! - The log of a life that is over goes when nothing has come for twice `retention_ms`, at least a minute.
//!
//! A log that goes leaves behind how far it had come ([`PastLogs`](super::past::PastLogs)).

use super::{LogKey, OriginLog};
use crate::base::identity::PeerKey;
use crate::base::name::GroupId;
use crate::base::time::Micros;
use crate::multicast::{Cx, CxRef, Multicast, MulticastEvent};
use std::collections::BTreeSet;

/// Lives of one origin with a log in a group. A job that runs every 5 s has 60 within the default
/// retention of five minutes.
pub(crate) const LIVES_MAX: usize = 64;
/// What a log takes besides its messages, bytes: itself, and what some eight neighbours hold of it.
const LOG_BYTES: usize = 2 << 10;
/// What it takes to remember how far a log had come, bytes.
const PAST_BYTES: usize = 160;
/// Logs that a group has room for however many others have.
const LOGS_MIN: usize = 64;
/// At the limit of origins, room is made for one in so many at once: it takes a look at all logs.
const ROOM_SHARE: usize = 64;
/// Logs that are over are looked for no more often than this, ms.
const ROUND_MS: u64 = 5_000;

/// Chooses logs that give way.
type Victims = fn(&Multicast, CxRef<'_>, GroupId) -> Vec<LogKey>;

impl Multicast {
    /// The log of `key`, made when there is room. Only for what its origin has signed.
    ///
    /// For what is published here there is always room: the publisher has been told that it goes
    /// out, so this one log more may be held, and it goes only when its epoch has ended.
    pub(crate) fn log_mut(
        &mut self,
        cx: &mut Cx<'_>,
        id: GroupId,
        key: LogKey,
    ) -> Option<&mut OriginLog> {
        if !self.groups.get(&id)?.logs.contains_key(&key) {
            self.make_log(cx, id, key)?;
        }
        self.groups.get_mut(&id)?.logs.get_mut(&key)
    }

    fn make_log(&mut self, cx: &mut Cx<'_>, id: GroupId, key: LogKey) -> Option<()> {
        let now = cx.core.now.mono;
        if key != (cx.core.me, cx.net.epoch()) {
            #[cfg(feature = "planted")]
            if !self.keep_two_lives(cx, id, key) {
                return None;
            }
            if !self.make_room_for_life(cx, id, key) {
                cx.core.count(counter!("epochs_too_old"));
                return None;
            }
            if !self.make_room_for_origin(cx, id) {
                cx.core.count(counter!("origins_refused"));
                return None;
            }
        }
        let group = self.groups.get_mut(&id)?;
        let mut log = match group.sought.remove(&key) {
            Some(sought) => sought.log,
            None => OriginLog::new(0, now),
        };
        log.rebase(group.past.take(key));
        log.made = now;
        group.logs.insert(key, log);
        group.hash = None;
        self.look_for_logs_that_are_over(cx, id);
        Some(())
    }

    /// Makes room among the lives of an origin; `false` where all that are kept are newer.
    fn make_room_for_life(&mut self, cx: &mut Cx<'_>, id: GroupId, key: LogKey) -> bool {
        let own = (cx.core.me, cx.net.epoch());
        let Some(group) = self.groups.get(&id) else {
            return false;
        };
        // A life that is ahead of time is less worth than any other: see `overlay/records/epoch`.
        let worth = |life: LogKey| (!cx.net.is_ahead_of_time(cx.core, life.1), life.1);
        let lives = (group.logs.range((key.0, 0)..=(key.0, u64::MAX)))
            .map(|(life, _)| *life)
            .filter(|life| *life != own);
        if lives.clone().count() < LIVES_MAX {
            return true;
        }
        let Some(oldest) = lives.min_by_key(|life| worth(*life)) else {
            return true;
        };
        if worth(key) < worth(oldest) {
            return false;
        }
        self.displace_logs(cx, id, &[oldest]);
        true
    }

    /// Makes room for one more origin; `false` where all logs are of peers in reach and in use.
    fn make_room_for_origin(&mut self, cx: &mut Cx<'_>, id: GroupId) -> bool {
        let own = (cx.core.me, cx.net.epoch());
        let max = self.logs_max(cx.as_ref(), id);
        let has_room = |all: &Self| {
            let group = all.groups.get(&id);
            group.is_some_and(|group| {
                group.logs.len() < max + usize::from(group.logs.contains_key(&own))
            })
        };
        if has_room(self) {
            return true;
        }
        let share = (max / ROOM_SHARE).max(1);
        let mut idle = self.idle_logs(cx.as_ref(), id);
        idle.truncate(share);
        self.shelve_logs(cx.as_ref(), id, &idle);
        let in_turn: [Victims; 2] = [Self::strangers_logs, Self::older_lives];
        for victims in in_turn {
            if has_room(self) {
                break;
            }
            let mut victims = victims(self, cx.as_ref(), id);
            victims.truncate(share);
            self.displace_logs(cx, id, &victims);
        }
        has_room(self)
    }

    /// Logs of others that a group has room for now: all logs of all groups take at most a quarter
    /// of what is set aside for messages that are kept.
    fn logs_max(&self, cx: CxRef<'_>, id: GroupId) -> usize {
        let max = cx.core.config.groups.origins_max;
        let all: usize = self.groups.values().map(|group| group.logs.len()).sum();
        let here = self.groups.get(&id).map_or(0, |group| group.logs.len());
        if all < cx.core.config.memory().retained / 4 / LOG_BYTES {
            max
        } else {
            max.min(here.max(LOGS_MIN))
        }
    }

    /// Logs that hold nothing and lack nothing; those whose life is over first, the longest
    /// unused first.
    fn idle_logs(&self, cx: CxRef<'_>, id: GroupId) -> Vec<LogKey> {
        let mut idle: Vec<(bool, Micros, LogKey)> = (self.others_logs(cx, id))
            .filter(|(_, log)| log.is_idle())
            .map(|(key, log)| (!Self::has_ended(cx, key), log.progress, key))
            .collect();
        idle.sort_unstable();
        idle.into_iter().map(|(_, _, key)| key).collect()
    }

    /// Logs of strangers, the newest first.
    fn strangers_logs(&self, cx: CxRef<'_>, id: GroupId) -> Vec<LogKey> {
        let mut strangers: Vec<(Micros, LogKey)> = (self.others_logs(cx, id))
            .filter(|(key, _)| Self::is_stranger(cx, key.0))
            .map(|(key, log)| (log.made, key))
            .collect();
        strangers.sort_unstable_by(|a, b| b.cmp(a));
        strangers.into_iter().map(|(_, key)| key).collect()
    }

    /// Logs of lives that a later one with a log has followed, the oldest first.
    fn older_lives(&self, cx: CxRef<'_>, id: GroupId) -> Vec<LogKey> {
        let keys: Vec<(LogKey, Micros)> = (self.others_logs(cx, id))
            .map(|(key, log)| (key, log.made))
            .collect();
        let mut older: Vec<(Micros, LogKey)> = (keys.windows(2))
            .filter(|pair| pair[0].0.0 == pair[1].0.0)
            .map(|pair| (pair[0].1, pair[0].0))
            .collect();
        older.sort_unstable();
        older.into_iter().map(|(_, key)| key).collect()
    }

    fn others_logs(
        &self,
        cx: CxRef<'_>,
        id: GroupId,
    ) -> impl Iterator<Item = (LogKey, &OriginLog)> {
        let own = (cx.core.me, cx.net.epoch());
        let logs = self.groups.get(&id).into_iter();
        logs.flat_map(|group| &group.logs)
            .map(|(key, log)| (*key, log))
            .filter(move |(key, _)| *key != own)
    }

    /// Whether nothing but its messages tells of a peer: anybody can make up such keys.
    fn is_stranger(cx: CxRef<'_>, peer: PeerKey) -> bool {
        peer != cx.core.me && !Self::is_near(cx, peer)
    }

    /// Logs with something in them give way: what a member still waits for is told as gaps.
    fn displace_logs(&mut self, cx: &mut Cx<'_>, id: GroupId, keys: &[LogKey]) {
        for key in keys {
            cx.core.count(counter!("logs_displaced"));
            self.end_log(cx, id, *key);
        }
        self.shelve_logs(cx.as_ref(), id, keys);
    }

    /// Forgets logs, but not how far they had come.
    pub(super) fn shelve_logs(&mut self, cx: CxRef<'_>, id: GroupId, keys: &[LogKey]) {
        let most = self.past_max(cx);
        for key in keys {
            let is_stranger = Self::is_stranger(cx, key.0);
            if let Some(group) = self.groups.get_mut(&id)
                && let Some(log) = group.logs.get(key)
            {
                (group.past).insert(*key, log.high(), is_stranger, most);
            }
        }
        self.drop_logs(id, keys);
    }

    /// Logs of each kind that a group remembers when they are gone: all groups together take at
    /// most an eighth of what is set aside for messages that are kept. What is forgotten while
    /// neighbours still hold it would be delivered again.
    pub(super) fn past_max(&self, cx: CxRef<'_>) -> usize {
        cx.core.config.memory().retained / 16 / PAST_BYTES / self.groups.len().max(1)
    }

    /// Forgets logs.
    pub(crate) fn drop_logs(&mut self, id: GroupId, keys: &[LogKey]) {
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        let mut retained = BTreeSet::new();
        for key in keys {
            if let Some(log) = group.logs.remove(key) {
                self.held_bytes -= log.weight;
                group.unannounced.remove(key);

                self.events.push_back(MulticastEvent::LogClosed {
                    group: id,
                    key: *key,
                });
                group.hash = None;
                if !log.held().is_empty() {
                    retained.insert(*key);
                }
            }
        }
        if !retained.is_empty() {
            self.retained_bytes -= group.retention.forget(&retained);
        }
    }

    /// Looks for logs that are over once the youngest can be.
    fn look_for_logs_that_are_over(&mut self, cx: &mut Cx<'_>, id: GroupId) {
        let Some(group) = self.groups.get(&id) else {
            return;
        };
        if group.logs_due.is_some() {
            return;
        }
        let due = cx.core.in_ms(group.idle_ms().max(ROUND_MS));
        if let Some(group) = self.groups.get_mut(&id) {
            group.logs_due = Some(due);
            cx.core.wake_at(due);
        }
    }

    /// Lets go of the logs whose life is over and of which nothing is left.
    pub(super) fn on_logs_timeout(&mut self, cx: &mut Cx<'_>, id: GroupId) {
        let now = cx.core.now.mono;
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        group.logs_due = None;
        let idle = Micros::from_millis(group.idle_ms());
        let over: Vec<LogKey> = (self.others_logs(cx.as_ref(), id))
            .filter(|(_, log)| log.is_idle() && now.since(log.progress) >= idle)
            .map(|(key, _)| key)
            .filter(|key| Self::has_ended(cx.as_ref(), *key))
            .collect();
        self.shelve_logs(cx.as_ref(), id, &over);
        if self.others_logs(cx.as_ref(), id).next().is_some() {
            self.look_for_logs_that_are_over(cx, id);
        }
    }
}
