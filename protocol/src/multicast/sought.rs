//! Logs that only digests speak of. Digests carry no signature, so what they name may be made up:
//! it is pulled as what a log lacks is, and the first bundle that its origin signed makes the log.
//! Until then nothing here is told to anybody, and what nobody can serve is forgotten.

use super::{Group, LogKey, OriginLog};
use crate::base::interface::LinkId;
use crate::base::name::GroupId;
use crate::base::ranges::RangeSet;
use crate::multicast::{Cx, CxRef, Multicast};
use std::ops::Bound;

/// Logs sought at once because one neighbour named them: some 150 KiB, and 2,000 real ones are
/// found in a few round trips and waits.
const SOUGHT_MAX: usize = 256;
/// Names of one neighbour that are looked through in a round.
const LOOKED_MAX: usize = 1_024;
/// Names remembered of what a neighbour holds and this peer has no log of.
const NAMES_MAX: usize = 4_096;

/// A log that is sought.
#[derive(Debug)]
pub(crate) struct Sought {
    pub(super) log: OriginLog,
    /// The neighbour that named it first.
    by: LinkId,
}

impl Group {
    /// The log of `key`, or what is sought of it.
    pub(super) fn log_or_sought(&self, key: LogKey) -> Option<&OriginLog> {
        let sought = || Some(&self.sought.get(&key)?.log);
        self.logs.get(&key).or_else(sought)
    }

    pub(super) fn log_or_sought_mut(&mut self, key: LogKey) -> Option<&mut OriginLog> {
        match self.logs.get_mut(&key) {
            Some(log) => Some(log),
            None => Some(&mut self.sought.get_mut(&key)?.log),
        }
    }
}

impl Multicast {
    /// Seeks a log that a neighbour holds and nothing signed has told of; `false` where enough is
    /// sought that it named.
    pub(super) fn seek(&mut self, cx: &mut Cx<'_>, from: LinkId, id: GroupId, key: LogKey) -> bool {
        let now = cx.core.now.mono;
        let waits = (self.remotes.get(from, id)).is_some_and(|remote| remote.unsought.is_some());
        let Some(group) = self.groups.get_mut(&id) else {
            return false;
        };
        if group.sought.contains_key(&key) {
            return true;
        }
        let named = group.sought.values().filter(|sought| sought.by == from);
        if waits || named.count() >= SOUGHT_MAX {
            cx.core.count(counter!("origins_put_off"));
            if let Some(remote) = self.remote_mut(from, id) {
                // Again from the start, for this one may lie before what is being looked at.
                remote.unsought = Some(None);
            }
            return false;
        }
        let log = OriginLog::new(group.past.high(key), now);
        let sought = Sought { log, by: from };
        group.sought.insert(key, sought);
        true
    }

    /// Seeks more of what neighbours have named, where there is room again.
    pub(super) fn seek_more(&mut self, cx: &mut Cx<'_>, id: GroupId, links: &[LinkId]) {
        for link in links {
            self.seek_more_of(cx, id, *link);
        }
    }

    /// Whether a neighbour has named what has not been looked at yet.
    pub(super) fn has_more_to_seek(&self, id: GroupId, links: &[LinkId]) -> bool {
        let waits = |link: &LinkId| {
            let remote = self.remotes.get(*link, id)?;
            remote.unsought
        };
        links.iter().any(|link| waits(link).is_some())
    }

    fn seek_more_of(&mut self, cx: &mut Cx<'_>, id: GroupId, link: LinkId) {
        let now = cx.core.now.mono;
        let Some(remote) = self.remote_mut(link, id) else {
            return;
        };
        let Some(after) = remote.unsought.take() else {
            return;
        };
        if remote.is_ignored(now) {
            return;
        }
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let names: Vec<LogKey> = (remote.logs.range((start, Bound::Unbounded)))
            .map(|(key, _)| *key)
            .take(LOOKED_MAX)
            .collect();
        let is_all = names.len() < LOOKED_MAX;
        let mut looked = after;
        for key in names {
            if !self.note_held_by(cx, link, id, key) {
                if let Some(remote) = self.remote_mut(link, id) {
                    remote.unsought = Some(looked);
                }
                return;
            }
            looked = Some(key);
        }
        if !is_all && let Some(remote) = self.remote_mut(link, id) {
            remote.unsought = Some(looked);
        }
    }

    /// Seeks what a neighbour has told to hold of a log that is not here; `false` where that must
    /// wait.
    fn note_held_by(&mut self, cx: &mut Cx<'_>, link: LinkId, id: GroupId, key: LogKey) -> bool {
        let now = cx.core.now.mono;
        let window = cx.core.config.groups.window;
        let Some(group) = self.groups.get(&id) else {
            return true;
        };
        if group.log_or_sought(key).is_some() || Self::is_cut_off(cx.as_ref(), key) {
            return true;
        }
        let past = group.past.high(key);
        let remote = self.remotes.get(link, id);
        let offer = remote.and_then(|remote| {
            let serves = (remote.logs.get(&key)?).can_serve(past + 1, u64::MAX);
            let stated = remote.stated.get(&key).copied().unwrap_or(0);
            // What it has let go it can still prove.
            let is_gone = serves.is_empty() && stated > past;
            Some(if is_gone {
                RangeSet::of(past + 1, stated)
            } else {
                serves
            })
        });
        let Some(first) = offer.as_ref().and_then(RangeSet::first) else {
            return true;
        };
        if !self.seek(cx, link, id, key) {
            return false;
        }
        let offer = offer
            .unwrap_or_default()
            .within(first, first.saturating_add(window - 1));
        if let Some(log) = self
            .groups
            .get_mut(&id)
            .and_then(|group| group.log_or_sought_mut(key))
        {
            log.missing.add(&offer, now);
        }
        true
    }

    /// Forgets what is sought and no neighbour that is believed can serve or has settled.
    pub(super) fn end_vain_searches(&mut self, cx: CxRef<'_>, id: GroupId, links: &[LinkId]) {
        let now = cx.core.now.mono;
        let (remotes, groups) = (&self.remotes, &mut self.groups);
        let Some(group) = groups.get_mut(&id) else {
            return;
        };
        group.sought.retain(|key, sought| {
            links.iter().any(|link| {
                let remote = remotes.get(*link, id);
                remote
                    .filter(|remote| !remote.is_ignored(now))
                    .and_then(|remote| Some((remote, remote.logs.get(key)?)))
                    .is_some_and(|(remote, theirs)| {
                        sought.log.missing.ranges().iter().any(|range| {
                            remote.has_settled(*key, range.from)
                                || !theirs.can_serve(range.from, range.to).is_empty()
                        })
                    })
            })
        });
    }

    /// What neighbours have told to hold of a log that has just been made is missing.
    pub(super) fn note_claims(&mut self, cx: &mut Cx<'_>, id: GroupId, key: LogKey) {
        let now = cx.core.now.mono;
        let window = cx.core.config.groups.window;
        let links: Vec<LinkId> = self
            .group_links(cx.as_ref(), id)
            .map(|(_, link)| link)
            .collect();
        let (remotes, groups) = (&self.remotes, &mut self.groups);
        let Some(log) = groups
            .get_mut(&id)
            .and_then(|group| group.logs.get_mut(&key))
        else {
            return;
        };
        let from = log.settled() + 1;
        let mut lacking = RangeSet::new();
        for link in links {
            let remote = remotes.get(link, id);
            let theirs = remote
                .filter(|remote| !remote.is_ignored(now))
                .and_then(|remote| remote.logs.get(&key));
            let Some(theirs) = theirs else { continue };
            for &(first, last) in theirs
                .known
                .within(from, from.saturating_add(window))
                .as_slice()
            {
                lacking.extend(&log.unsettled(first, last));
            }
        }
        if log.missing.add(&lacking, now) {
            self.schedule_repair(cx, id, now);
        }
    }

    /// Makes room for what a neighbour is about to name: what it holds and is neither here nor
    /// sought is forgotten once there is much of it. What is real is named again.
    pub(super) fn make_room_for_names(&mut self, cx: &mut Cx<'_>, link: LinkId, id: GroupId) {
        let (remotes, groups) = (&mut self.remotes, &self.groups);
        let Some(group) = groups.get(&id) else {
            return;
        };
        let Some(remote) = remotes.get_mut(link, id) else {
            return;
        };
        if remote.logs.len() < group.logs.len() + NAMES_MAX {
            return;
        }
        let before = remote.logs.len();
        (remote.logs).retain(|key, _| group.log_or_sought(*key).is_some());
        let forgotten = before - remote.logs.len();
        let logs = &remote.logs;
        remote.stated.retain(|key, _| logs.contains_key(key));
        cx.core
            .count_many(counter!("names_forgotten"), forgotten as u64);
    }
}
