//! Large messages that end in their middle, because their origin did: they become gaps, and what
//! is held of them is retained as other messages are.

use super::log::OriginLog;
use super::pull::DENIED_MS;
use super::{Group, LogKey};
use crate::base::name::GroupId;
use crate::base::time::Micros;
use crate::multicast::{Cx, CxRef, Multicast};

impl Multicast {
    /// Looks in a while whether what a log of the group holds and cannot hand over will ever be whole.
    pub(super) fn look_for_abandoned(&mut self, cx: &mut Cx<'_>, id: GroupId) {
        let next = cx.core.in_ms(cx.core.config.groups.gap_timeout_ms);
        if let Some(group) = self.groups.get_mut(&id)
            && group.abandoned_due.is_none()
        {
            group.abandoned_due = Some(next);
            cx.core.wake_at(next);
        }
    }

    /// One round: ends the logs of which no more will come.
    pub(super) fn expire_abandoned(&mut self, cx: &mut Cx<'_>, id: GroupId) {
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        group.abandoned_due = None;
        let waiting = group.logs.iter().filter(|(_, log)| log.ahead_bytes > 0);
        let keys: Vec<LogKey> = waiting.map(|(key, _)| *key).collect();
        if keys.is_empty() {
            return;
        }
        for key in keys {
            if self.is_over(cx.as_ref(), id, key) {
                self.end_log(cx, id, key);
                self.log_changed(cx, id, key);
            }
        }
        self.deliver(cx, id);
        self.look_for_abandoned(cx, id);
    }

    /// Whether the rest of what a log has begun is not to be had: no neighbour can serve it, its
    /// origin is cut off, gone or lives on without it, or a neighbour has let it go; and nothing has
    /// come for twice as long as messages are kept, or a while where memory is needed.
    fn is_over(&self, cx: CxRef<'_>, id: GroupId, key: LogKey) -> bool {
        let Some(group) = self.groups.get(&id) else {
            return false;
        };
        let Some(log) = group.logs.get(&key) else {
            return false;
        };
        if key == (cx.core.me, cx.net.epoch()) {
            return false;
        }
        let gap_ms = cx.core.config.groups.gap_timeout_ms;
        let kept_ms = group.settings.values.retention_ms.saturating_mul(2);
        let is_needed = self.ahead_bytes() / 3 >= cx.core.config.ahead_bytes() / 4;
        let patience_ms = if is_needed {
            gap_ms
        } else {
            gap_ms.max(kept_ms)
        };
        if cx.core.now.mono.since(log.progress) < Micros::from_millis(patience_ms)
            || !Self::knows_its_neighbours(cx)
        {
            return false;
        }
        if Self::is_cut_off(cx, key) {
            return true;
        }
        let next = log.settled() + 1;
        let remotes = (self.group_links(cx, id))
            .filter_map(|(_, link)| self.remotes.get(link, id))
            .filter(|remote| !remote.is_ignored(cx.core.now.mono));
        let (mut can_be_had, mut is_let_go) = (false, false);
        for remote in remotes {
            let Some(theirs) = remote.logs.get(&key) else {
                continue;
            };
            let offer = theirs.can_serve(next, u64::MAX).minus(log.above());
            can_be_had |= !offer.is_empty();
            // What it never had it cannot have let go.
            let stated = remote.stated.get(&key).copied().unwrap_or(0);
            is_let_go |= theirs.floor > next && theirs.floor - 1 <= stated;
        }
        !can_be_had && (is_let_go || Self::has_ended(cx, key))
    }

    /// Who has no links, or new ones, does not know yet who else is there.
    fn knows_its_neighbours(cx: CxRef<'_>) -> bool {
        let settled = Micros::from_millis(DENIED_MS);
        let mut links = (cx.net.links_up()).filter_map(|link| cx.net.link(link));
        cx.net.has_links() && links.all(|link| cx.core.now.mono.since(link.up_since()) >= settled)
    }

    /// Whether the origin has been out of reach for a while, or is in a later life.
    pub(super) fn has_ended(cx: CxRef<'_>, key: LogKey) -> bool {
        Self::has_later_life(cx, key) || !Self::is_near(cx, key.0)
    }

    /// Whether the origin states, signed, that it is in a later life.
    pub(super) fn has_later_life(cx: CxRef<'_>, (origin, epoch): LogKey) -> bool {
        let record = cx.net.record(origin);
        record.is_some_and(|record| {
            let later = record.record.epoch;
            later > epoch && !cx.net.is_ahead_of_time(cx.core, later)
        })
    }

    /// Nothing more of a log will come: what a member still waits for is told as gaps.
    pub(super) fn end_log(&mut self, cx: &mut Cx<'_>, id: GroupId, key: LogKey) {
        let is_delivering = |group: &&Group| group.is_delivering();
        let Some(group) = self.groups.get(&id).filter(is_delivering) else {
            return;
        };
        let Some(name) = group.name.clone() else {
            return;
        };
        let Some(log) = self.log_of(id, key) else {
            return;
        };
        log.give_up(log.settled() + 1, log.proven);
        self.take_ready(cx, id, key);
        let Some(log) = self.log_of(id, key) else {
            return;
        };
        let Some(gap) = log.take_abandoned() else {
            return;
        };
        self.retain(cx, id, key);
        cx.core.count(counter!("messages_abandoned"));
        let (origin, epoch) = key;
        self.hand_over(cx, &name, id, origin, epoch, gap);
    }

    fn log_of(&mut self, id: GroupId, key: LogKey) -> Option<&mut OriginLog> {
        self.groups.get_mut(&id)?.logs.get_mut(&key)
    }
}
