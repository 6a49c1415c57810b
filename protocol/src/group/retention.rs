//! What is kept for pulls and late joiners, and when it goes: by bytes, by time, over all groups.

use super::LogKey;
use crate::engine::Engine;
use crate::message::GroupSettings;
use crate::name::GroupId;
use crate::status::Role;
use crate::time::Micros;
use std::collections::{BTreeSet, VecDeque};

/// How often retention by time is looked at, ms.
const ROUND_MS: u64 = 5_000;

#[derive(Debug)]
struct Kept {
    since: Micros,
    key: LogKey,
    seq: u64,
    weight: usize,
}

/// The entries of a group that the application has been given, in that order. What it has not
/// been given is bounded per log.
#[derive(Debug, Default)]
pub(crate) struct Retention {
    kept: VecDeque<Kept>,
    pub(crate) bytes: usize,
    looked: Micros,
}

impl Retention {
    pub(crate) fn push(&mut self, since: Micros, key: LogKey, seq: u64, weight: usize) {
        self.kept.push_back(Kept {
            since,
            key,
            seq,
            weight,
        });
        self.bytes += weight;
    }

    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Logs are gone; returns what of them was retained, in bytes.
    pub(crate) fn forget(&mut self, keys: &BTreeSet<LogKey>) -> usize {
        let before = self.bytes;
        self.kept.retain(|kept| !keys.contains(&kept.key));
        self.bytes = self.kept.iter().map(|kept| kept.weight).sum();
        before - self.bytes
    }

    /// When to look again; `idles`: also with nothing kept, for the group may have to close.
    pub(crate) fn due(&self, settings: &GroupSettings, idles: bool) -> Option<Micros> {
        let round = self.looked + Micros::from_millis(ROUND_MS);
        match self.kept.front() {
            Some(oldest) => {
                let ends = oldest.since + Micros::from_millis(settings.retention_ms);
                Some(ends.max(round))
            }
            None => idles.then_some(round),
        }
    }
}

impl Engine {
    pub(crate) fn on_retention_timeout(&mut self, id: GroupId) {
        let now = self.now.mono;
        if let Some(group) = self.groups.get_mut(&id) {
            group.retention.looked = now;
        }
        self.trim_retention(id);
        self.retire_idle_sender(id);
        self.close_idle_relay(id);
    }

    /// A sender of which nothing is kept any more is none; it is one again when it publishes.
    fn retire_idle_sender(&mut self, id: GroupId) {
        let me = self.me;
        let idle = self.groups.get(&id).is_some_and(|group| {
            let mut own = group.logs.range((me, 0)..=(me, u64::MAX));
            let has_more = group.own.has_outbox() || own.any(|(_, log)| !log.held().is_empty());
            group.role == Role::Sender && !has_more
        });
        if idle {
            self.retire(id);
        }
    }

    /// What a log has handed over is retained for others from now on.
    pub(crate) fn retain(&mut self, id: GroupId, key: LogKey) {
        let now = self.now.mono;
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        let Some(log) = group.logs.get_mut(&key) else {
            return;
        };
        for (seq, weight) in log.take_passed() {
            group.retention.push(now, key, seq, weight);
            self.retained_bytes += weight;
        }
    }

    /// Bytes received ahead of what could be handed over, over all groups.
    pub(crate) fn ahead_bytes(&self) -> usize {
        self.held_bytes - self.retained_bytes
    }

    /// Evicts what is over a group's limits, oldest first, then what is over the peer's.
    pub(crate) fn trim_retention(&mut self, id: GroupId) {
        self.trim_group(id, 0);
        let total = self.config.memory().retained;
        while self.retained_bytes > total {
            let over = self.retained_bytes - total;
            let largest = (self.groups.iter())
                .filter(|(_, group)| group.retention.bytes > 0)
                .max_by_key(|(_, group)| group.retention.bytes);
            let Some(largest) = largest.map(|(id, _)| *id) else {
                break;
            };
            self.trim_group(largest, over);
        }
    }

    /// Evicts from one group: what its own limits ask for, and at least `surplus` bytes.
    fn trim_group(&mut self, id: GroupId, surplus: usize) {
        let now = self.now.mono;
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        let values = group.settings.values;
        let bytes_max = usize::try_from(values.retention_bytes).unwrap_or(usize::MAX);
        let keep = Micros::from_millis(values.retention_ms);
        let mut surplus = surplus.max(group.retention.bytes.saturating_sub(bytes_max));
        let mut evicted = 0;
        while let Some(oldest) = group.retention.kept.front() {
            if surplus == 0 && now.since(oldest.since) <= keep {
                break;
            }
            let Some(oldest) = group.retention.kept.pop_front() else {
                break;
            };
            group.retention.bytes -= oldest.weight;
            self.retained_bytes -= oldest.weight;
            surplus = surplus.saturating_sub(oldest.weight);
            if let Some(log) = group.logs.get_mut(&oldest.key) {
                self.held_bytes -= log.evict(oldest.seq);
                evicted += 1;
            }
        }
        if evicted > 0 {
            self.count_many("entries_evicted", evicted);
        }
    }
}
