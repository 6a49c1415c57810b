//! Large messages that end in their middle, because their origin did: they become gaps, and what
//! is held of them is kept no longer than other messages.

use super::LogKey;
use super::log::OriginLog;
use crate::engine::Engine;
use crate::name::GroupId;
use crate::time::Micros;

impl Engine {
    /// A log of the group holds what cannot be handed over yet.
    pub(super) fn look_for_unfinished(&mut self, id: GroupId) {
        let next = self.in_ms(self.config.groups.gap_timeout_ms);
        if let Some(group) = self.groups.get_mut(&id)
            && group.unfinished_due.is_none()
        {
            group.unfinished_due = Some(next);
            self.wake_at(next);
        }
    }

    /// One round: ends the logs of which no more will come.
    pub(super) fn end_unfinished(&mut self, id: GroupId) {
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        group.unfinished_due = None;
        let waiting = group.logs.iter().filter(|(_, log)| log.ahead_bytes > 0);
        let keys: Vec<LogKey> = waiting.map(|(key, _)| *key).collect();
        if keys.is_empty() {
            return;
        }
        for key in keys {
            if self.is_over(id, key) {
                self.end_log(id, key);
            }
        }
        self.trim_retention(id);
        self.look_for_unfinished(id);
    }

    /// Whether the rest of what a log has begun is not to be had: nobody in reach is known to have
    /// it, its origin is gone or lives on without it, and nothing has come for so long that whoever
    /// else had it has let it go, or that its memory is needed.
    fn is_over(&self, id: GroupId, key: LogKey) -> bool {
        let Some(group) = self.groups.get(&id) else {
            return false;
        };
        let Some(log) = group.logs.get(&key) else {
            return false;
        };
        let gap_ms = self.config.groups.gap_timeout_ms;
        let patience_ms = if self.is_out_of_room() {
            gap_ms
        } else {
            gap_ms.max(group.settings.values.retention_ms)
        };
        let has_rested = self.now.mono.since(log.progress) >= Micros::from_millis(patience_ms);
        // Who has no links does not know who else is there.
        has_rested && log.missing.is_empty() && !self.up.is_empty() && self.has_ended(key)
    }

    /// Whether the origin is out of reach, or in a later life.
    fn has_ended(&self, (origin, epoch): LogKey) -> bool {
        let record = self.database.get(origin);
        let is_later = record.is_some_and(|record| record.record.epoch > epoch);
        let is_near = self.up.contains_key(&origin) || self.view.contains(origin);
        origin != self.me && (is_later || !is_near)
    }

    /// Nothing more of a log will come: what a member still waits for is told as gaps.
    pub(super) fn end_log(&mut self, id: GroupId, key: LogKey) {
        let Some(log) = self.log_of(id, key) else {
            return;
        };
        let (from, to) = (log.settled() + 1, log.proven);
        log.give_up(from, to);
        self.take_ready(id, key);
        let now = self.now.mono;
        let Some(group) = self.groups.get(&id).filter(|group| group.is_delivering()) else {
            return;
        };
        let Some(name) = group.name.clone() else {
            return;
        };
        let due_from_ms = group.baseline.due_from_wall_ms(now);
        let Some(log) = self.log_of(id, key) else {
            return;
        };
        let begun = log.entry(log.next());
        let is_due = begun.is_none_or(|entry| entry.bundle.header.published_at(0) >= due_from_ms);
        let Some(gap) = log.take_unfinished() else {
            return;
        };
        self.count("messages_unfinished");
        self.retain(id, key);
        if is_due {
            let (origin, epoch) = key;
            self.hand_over(&name, id, origin, epoch, gap);
        }
    }

    fn log_of(&mut self, id: GroupId, key: LogKey) -> Option<&mut OriginLog> {
        self.groups.get_mut(&id)?.logs.get_mut(&key)
    }
}
