//! What is kept for pulls and late joiners, and when it goes: by bytes, by time, over all groups.

use super::LogKey;
use crate::engine::Engine;
use crate::message::GroupSettings;
use crate::name::GroupId;
use crate::time::Micros;
use std::collections::VecDeque;

/// How often retention by time is looked at, ms.
const ROUND_MS: u64 = 5_000;

#[derive(Debug)]
struct Kept {
    since: Micros,
    key: LogKey,
    seq: u64,
    weight: usize,
}

/// The entries of a group in the order in which they came.
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

    /// A log is gone.
    pub(crate) fn forget(&mut self, key: LogKey) {
        self.kept.retain(|kept| kept.key != key);
        self.bytes = self.kept.iter().map(|kept| kept.weight).sum();
    }

    pub(crate) fn due(&self, settings: &GroupSettings) -> Option<Micros> {
        let oldest = self.kept.front()?;
        let ends = oldest.since + Micros::from_millis(settings.retention_ms);
        Some(ends.max(self.looked + Micros::from_millis(ROUND_MS)))
    }
}

impl Engine {
    pub(crate) fn on_retention_timeout(&mut self, id: GroupId) {
        let now = self.now.mono;
        if let Some(group) = self.groups.get_mut(&id) {
            group.retention.looked = now;
        }
        self.trim_retention(id);
        self.close_idle_relay(id);
    }

    /// Evicts what is over the group's limits, oldest first, then what is over the peer's.
    /// What has not been handed over stays: it is bounded elsewhere.
    pub(crate) fn trim_retention(&mut self, id: GroupId) {
        self.trim_group(id, 0);
        let total = self.config.groups.retention_total_bytes;
        if self.retained > total {
            let over = self.retained - total;
            let largest = self
                .groups
                .iter()
                .max_by_key(|(_, group)| group.retention.bytes);
            if let Some(largest) = largest.map(|(id, _)| *id) {
                self.trim_group(largest, over);
            }
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
        let mut stuck = VecDeque::new();
        while let Some(oldest) = group.retention.kept.front() {
            if surplus == 0 && now.since(oldest.since) <= keep {
                break;
            }
            let Some(oldest) = group.retention.kept.pop_front() else {
                break;
            };
            let Some(log) = group.logs.get_mut(&oldest.key) else {
                continue;
            };
            if !log.is_evictable(oldest.seq) {
                stuck.push_back(oldest);
                if stuck.len() > 64 {
                    break;
                }
                continue;
            }
            let weight = log.evict(oldest.seq);
            group.retention.bytes = group.retention.bytes.saturating_sub(oldest.weight);
            self.retained = self.retained.saturating_sub(weight);
            surplus = surplus.saturating_sub(oldest.weight);
            evicted += 1;
        }
        while let Some(kept) = stuck.pop_back() {
            group.retention.kept.push_front(kept);
        }
        if evicted > 0 {
            self.count_many("entries_evicted", evicted);
        }
    }
}
