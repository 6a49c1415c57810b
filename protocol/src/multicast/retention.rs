//! What is kept for pulls and late joiners, and when it goes: by bytes, by time, over all groups.

use super::LogKey;
use crate::base::message::GroupSettings;
use crate::base::name::GroupId;
use crate::base::status::Role;
use crate::base::time::Micros;
use crate::multicast::{Cx, Multicast};
use std::collections::{BTreeSet, VecDeque};

/// How often retention by time is looked at, ms.
const ROUND_MS: u64 = 5_000;
/// A peer keeps its own messages for so long whatever the settings say, ms, up to the size of the largest
/// message. A peer that has just begun to publish is in nobody's tree yet: others hear of its messages
/// and pull them.
const OWN_MS: u64 = 5_000;

/// An entry that is kept.
#[derive(Debug)]
pub(crate) struct Kept {
    since: Micros,
    key: LogKey,
    seq: u64,
    weight: usize,
}

/// The entries of a group that the application has been given, in that order. What it has not
/// been given is bounded per log.
#[derive(Debug, Default)]
pub(crate) struct Retention {
    others: VecDeque<Kept>,
    /// What this peer has published in its present life.
    own: VecDeque<Kept>,
    own_bytes: usize,
    pub(super) bytes: usize,
    looked: Micros,
}

/// The limits that an eviction keeps to.
#[derive(Clone, Copy, Debug)]
struct Limits {
    now: Micros,
    /// For how long entries are kept.
    keep: Micros,
    /// Bytes that young entries of this peer may take in any case.
    own_bytes: usize,
}

impl Retention {
    pub(crate) fn push(&mut self, kept: Kept, is_own: bool) {
        self.bytes += kept.weight;
        if is_own {
            self.own_bytes += kept.weight;
            self.own.push_back(kept);
        } else {
            self.others.push_back(kept);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.others.len() + self.own.len()
    }

    /// Logs are gone; returns what of them was retained, in bytes.
    pub(crate) fn forget(&mut self, keys: &BTreeSet<LogKey>) -> usize {
        let before = self.bytes;
        let sum = |entries: &VecDeque<Kept>| entries.iter().map(|kept| kept.weight).sum::<usize>();
        for entries in [&mut self.others, &mut self.own] {
            entries.retain(|kept| !keys.contains(&kept.key));
        }
        self.own_bytes = sum(&self.own);
        self.bytes = sum(&self.others) + self.own_bytes;
        before - self.bytes
    }

    /// Takes the oldest entry out that is over age or, with `is_over`, any that may go.
    fn take_oldest(&mut self, is_over: bool, limits: Limits) -> Option<Kept> {
        let Limits {
            now,
            keep,
            own_bytes,
        } = limits;
        let may_go = |kept: &&Kept| is_over || now.since(kept.since) > keep;
        let stays = |kept: &&Kept| {
            self.own_bytes <= own_bytes && now.since(kept.since) < Micros::from_millis(OWN_MS)
        };
        let other = self.others.front().filter(may_go);
        let own = self.own.front().filter(|kept| may_go(kept) && !stays(kept));
        let is_own = match (other, own) {
            (Some(other), Some(own)) => own.since < other.since,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        let taken = if is_own {
            self.own.pop_front()
        } else {
            other?;
            self.others.pop_front()
        }?;
        self.bytes -= taken.weight;
        if is_own {
            self.own_bytes -= taken.weight;
        }
        Some(taken)
    }

    /// When to look again; `idles`: also with nothing kept, for the group may have to close.
    pub(crate) fn due(&self, settings: &GroupSettings, idles: bool) -> Option<Micros> {
        let round = self.looked + Micros::from_millis(ROUND_MS);
        let keep = Micros::from_millis(settings.retention_ms);
        let own = self.own.front().map(|own| {
            let spared = own.since + Micros::from_millis(OWN_MS);
            if self.bytes as u64 > settings.retention_bytes {
                spared
            } else {
                spared.max(own.since + keep)
            }
        });
        let other = self.others.front().map(|other| other.since + keep);
        match own.into_iter().chain(other).min() {
            Some(ends) => Some(ends.max(round)),
            None => idles.then_some(round),
        }
    }
}

impl Multicast {
    pub(crate) fn on_retention_timeout(&mut self, cx: &mut Cx<'_>, id: GroupId) {
        let now = cx.core.now.mono;
        if let Some(group) = self.groups.get_mut(&id) {
            group.retention.looked = now;
        }
        self.trim_retention(cx, id);
        self.retire_idle_sender(cx, id);
        self.close_idle_relay(cx, id);
    }

    /// A sender of which nothing is kept any more is none; it is one again when it publishes. Who was cut
    /// off learns from it what it has missed, for as long as from any other log.
    fn retire_idle_sender(&mut self, cx: &mut Cx<'_>, id: GroupId) {
        let (me, now) = (cx.core.me, cx.core.now.mono);
        let idle = self.groups.get(&id).is_some_and(|group| {
            let mut own = group.logs.range((me, 0)..=(me, u64::MAX));
            let known = Micros::from_millis(group.idle_ms());
            let has_more = group.own.has_unreleased()
                || own.any(|(_, log)| {
                    let is_known = !group.leaving && !log.is_unused();
                    !log.held().is_empty() || is_known && now.since(log.progress) < known
                });
            group.role == Role::Sender && !has_more
        });
        if idle {
            self.retire(cx, id);
        }
    }

    /// What a log has handed over is retained for others from now on.
    pub(crate) fn retain(&mut self, cx: &mut Cx<'_>, id: GroupId, key: LogKey) {
        let now = cx.core.now.mono;
        let is_own = key == (cx.core.me, cx.net.epoch());
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        let Some(log) = group.logs.get_mut(&key) else {
            return;
        };
        for (seq, weight) in log.take_passed() {
            let kept = Kept {
                since: now,
                key,
                seq,
                weight,
            };
            group.retention.push(kept, is_own);
            self.retained_bytes += weight;
        }
    }

    /// Bytes received ahead of what could be handed over, over all groups.
    pub(crate) fn ahead_bytes(&self) -> usize {
        self.held_bytes - self.retained_bytes
    }

    /// Evicts what is over a group's limits, oldest first, then what is over the peer's.
    pub(crate) fn trim_retention(&mut self, cx: &mut Cx<'_>, id: GroupId) {
        self.trim_group(cx, id, 0);
        let total = cx.core.config.memory().retained;
        while self.retained_bytes > total {
            let over = self.retained_bytes - total;
            let largest = (self.groups.iter())
                .filter(|(_, group)| group.retention.bytes > 0)
                .max_by_key(|(_, group)| group.retention.bytes);
            let Some(largest) = largest.map(|(id, _)| *id) else {
                break;
            };
            self.trim_group(cx, largest, over);
        }
    }

    /// Evicts from one group: what its own limits ask for, and at least `surplus` bytes.
    fn trim_group(&mut self, cx: &mut Cx<'_>, id: GroupId, surplus: usize) {
        let now = cx.core.now.mono;
        // A peer that is short of memory does not spare its own messages either.
        let spares_own = surplus == 0;
        let own_bytes = if spares_own {
            cx.core.config.message_weight_max()
        } else {
            0
        };
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        let values = group.settings.values;
        let bytes_max = usize::try_from(values.retention_bytes).unwrap_or(usize::MAX);
        let limits = Limits {
            now,
            keep: Micros::from_millis(values.retention_ms),
            own_bytes,
        };
        let mut surplus = surplus.max(group.retention.bytes.saturating_sub(bytes_max));
        let mut evicted = 0;
        while let Some(oldest) = group.retention.take_oldest(surplus > 0, limits) {
            self.retained_bytes -= oldest.weight;
            surplus = surplus.saturating_sub(oldest.weight);
            if let Some(log) = group.logs.get_mut(&oldest.key) {
                self.held_bytes -= log.evict(oldest.seq);
                evicted += 1;
            }
        }
        if evicted > 0 {
            cx.core.count_many(counter!("entries_evicted"), evicted);
        }
    }
}
