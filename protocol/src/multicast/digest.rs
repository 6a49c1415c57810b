//! Digests: who holds what, told on links that did not carry the payload, and in full when
//! hashes differ or a link is new.

use super::flow_of;
use super::remote::RemoteGroup;
use super::{Group, LogKey, OriginLog};
use crate::base::interface::LinkId;
use crate::base::name::GroupId;
use crate::base::ranges::RangeSet;
use crate::base::time::Micros;
use crate::multicast::{Cx, CxRef, Multicast};
use crate::wire::bundle::SEQ_MAX;
use crate::wire::frame::{Digest, DigestEntry};
use std::collections::BTreeMap;

/// A log hash is good for so long, ms: what it covers changes with time alone.
const HASH_KEPT_MS: u64 = 1_000;
/// Origins in one frame.
const ENTRIES_PER_FRAME: usize = 1_024;
/// Ranges told of one origin, and of all in one digest, roughly: the more origins, the fewer of
/// each, but a few of each. A full digest must stay a small part of a link's control queue.
const RANGES_TOLD: usize = 256;
const RANGES_TOLD_TOTAL: usize = 16_384;
const RANGES_TOLD_MIN: usize = 4;
/// While messages flow, a link carries a digest once in so many rounds.
const FLOWING_ROUNDS: u64 = 3;
/// Heartbeats in a row whose hash differs before a full digest goes out.
const UNEQUAL_MAX: u8 = 2;

impl Group {
    /// What is told of a log beside so many others.
    fn entry(&self, key: LogKey, logs: usize) -> Option<DigestEntry> {
        let most = (RANGES_TOLD_TOTAL / logs.max(1)).clamp(RANGES_TOLD_MIN, RANGES_TOLD);
        let log = self.logs.get(&key)?;
        let above: Vec<(u64, u64)> = log.above().as_slice().iter().take(most).copied().collect();
        Some(DigestEntry {
            origin: key.0,
            epoch: key.1,
            floor: log.floor(),
            settled: log.settled(),
            above: RangeSet::try_from(above).unwrap_or_default(),
        })
    }

    /// These neighbours are told in the next round. To send can end a link, and that lets more be
    /// published: what has changed since is for everybody.
    fn put_off(&mut self, left: BTreeMap<LogKey, Vec<LinkId>>) {
        for (key, links) in left {
            (self.unannounced.entry(key)).or_insert(PendingAnnouncement::Only(links));
        }
    }

    /// A hash of the logs that matter still: equal contents, equal hashes. A log of which nothing
    /// is held, and of which nothing has come for [`Group::known_ms`], does not count: peers forget such
    /// logs at different times.
    fn log_hash(&mut self, now: Micros) -> u64 {
        if let Some((hash, taken)) = self.hash
            && now.since(taken) < Micros::from_millis(HASH_KEPT_MS)
        {
            return hash;
        }
        let kept = Micros::from_millis(self.known_ms());
        let matters = |log: &OriginLog| {
            let is_recent = || now.since(log.progress) < kept && log.age_of(log.high(), now) < kept;
            log.high() > 0 && (!log.held().is_empty() || is_recent())
        };
        let mut hasher = blake3::Hasher::new();
        for ((origin, epoch), log) in self.logs.iter().filter(|(_, log)| matters(log)) {
            hasher.update(&origin.0);
            hasher.update(&epoch.to_be_bytes());
            hasher.update(&log.settled().to_be_bytes());
            for (from, to) in log.above().as_slice() {
                hasher.update(&from.to_be_bytes());
                hasher.update(&to.to_be_bytes());
            }
            hasher.update(&[0xff]);
        }
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        let hash = u64::from_be_bytes(bytes);
        self.hash = Some((hash, now));
        hash
    }
}

/// Who is still to be told of what has changed in a log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PendingAnnouncement {
    /// Everybody to whom it is news.
    All,
    /// The neighbours that were left out of earlier rounds. Those who were told need not say that
    /// they have it, so nothing else would end it.
    Only(Vec<LinkId>),
}

impl PendingAnnouncement {
    fn includes(&self, link: LinkId) -> bool {
        match self {
            Self::All => true,
            Self::Only(links) => links.contains(&link),
        }
    }
}

/// A log with something to tell.
struct Fresh<'a> {
    key: LogKey,
    pending: &'a PendingAnnouncement,
    entry: DigestEntry,
    held: &'a RangeSet,
    high: u64,
    /// What is told in this round; what is above stays for the next.
    settled: u64,
}

impl<'a> Fresh<'a> {
    fn of(
        group: &'a Group,
        (key, pending): (LogKey, &'a PendingAnnouncement),
        before: &BTreeMap<LogKey, u64>,
        logs: usize,
    ) -> Option<Self> {
        let log = group.logs.get(&key)?;
        Some(Self {
            key,
            pending,
            entry: group.entry(key, logs)?,
            held: log.held(),
            high: log.high(),
            settled: before.get(&key).copied().unwrap_or(u64::MAX),
        })
    }

    /// Whether something up to `limit` is held that a neighbour is not known to have.
    fn is_news_to(&self, theirs: Option<&RangeSet>, limit: u64) -> bool {
        self.held.as_slice().iter().any(|&(from, to)| {
            let to = to.min(limit);
            from <= to && theirs.is_none_or(|theirs| !theirs.covers(from, to))
        })
    }
}

/// What the neighbour on `link` is told of. Where it is left out for a later round, it is put down
/// among those who are, log by log.
fn what_to_tell(
    fresh: &[Fresh<'_>],
    (link, remote): (LinkId, &RemoteGroup),
    rests: bool,
    left: &mut BTreeMap<LogKey, Vec<LinkId>>,
) -> Vec<DigestEntry> {
    let mut news = Vec::new();
    for log in fresh.iter().filter(|log| log.pending.includes(link)) {
        // What it has is no news to it.
        let theirs = remote.logs.get(&log.key).map(|theirs| &theirs.known);
        if !rests && log.is_news_to(theirs, log.settled) {
            news.push(log.entry.clone());
        } else if (rests || log.settled < log.high) && log.is_news_to(theirs, u64::MAX) {
            left.entry(log.key).or_default().push(link);
        }
    }
    news
}

impl Multicast {
    /// Tells each neighbour what it does not know of recent changes.
    ///
    /// While messages of an origin keep flowing, the very latest are left to the next round: by
    /// then most neighbours have told that they have them too. So of two neighbours that get the
    /// same from elsewhere only one tells the other; and that only once in [`FLOWING_ROUNDS`]
    /// rounds, each link at a time of its own: who misses something has several neighbours, and
    /// the first of them that tells is enough.
    pub(crate) fn announce(&mut self, cx: &mut Cx<'_>, id: GroupId) {
        let now = cx.core.now.mono;
        let pause = Micros::from_millis(cx.core.config.groups.announce_ms);
        let next = now + pause;
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        group.announce_due = None;
        let changed = std::mem::take(&mut group.unannounced);
        let high = |key: &LogKey| Some((*key, group.logs.get(key)?.high()));
        let highs = changed.keys().filter_map(high).collect();
        let (at, mut before) = std::mem::replace(&mut group.announced, (now, highs));
        if now.since(at) >= pause + pause {
            // Nothing flowed: what is new now is told now.
            before.clear();
        }
        // Half a round less: rounds come a little sooner or later.
        let rest = if before.is_empty() {
            Micros(0)
        } else {
            Micros(pause.0 * FLOWING_ROUNDS - pause.0 / 2)
        };
        let since = self.same_graph_since(cx.as_ref(), id);
        let Some(group) = self.groups.get(&id) else {
            return;
        };
        let fresh: Vec<Fresh<'_>> = changed
            .iter()
            .filter_map(|(key, pending)| Fresh::of(group, (*key, pending), &before, changed.len()))
            .collect();
        let mut left = BTreeMap::new();
        let mut told = Vec::new();
        for (_, link) in self.group_links(cx.as_ref(), id) {
            let Some(remote) = self.remotes.get(link, id) else {
                continue;
            };
            // While trees differ, messages fall between them.
            let equal =
                since.is_some_and(|since| Self::trees_agreed_since(cx.as_ref(), link, since, now));
            let rests = equal && remote.told.is_some_and(|told| now.since(told) < rest);
            let news = what_to_tell(&fresh, (link, remote), rests, &mut left);
            if !news.is_empty() {
                told.push((link, news));
            }
        }
        for (link, news) in told {
            if let Some(remote) = self.remote_mut(link, id) {
                remote.told = Some(now);
            }
            Self::send_digest(cx, link, id, news, false);
        }
        if left.is_empty() {
            return;
        }
        if let Some(group) = self.groups.get_mut(&id) {
            group.put_off(left);
            group.announce_due.get_or_insert(next);
            cx.core.wake_at(next);
        }
    }

    fn send_digest(cx: &mut Cx<'_>, to: LinkId, id: GroupId, entries: Vec<DigestEntry>, ask: bool) {
        for (index, chunk) in entries.chunks(ENTRIES_PER_FRAME).enumerate() {
            let ask = ask && index == 0;
            cx.net.send(
                cx.core,
                to,
                Digest {
                    group: id,
                    ask,
                    entries: chunk.to_vec(),
                },
            );
        }
        if entries.is_empty() && ask {
            cx.net.send(
                cx.core,
                to,
                Digest {
                    group: id,
                    ask,
                    entries,
                },
            );
        }
    }

    /// Tells a neighbour everything.
    pub(crate) fn send_full_digest(&mut self, cx: &mut Cx<'_>, to: LinkId, id: GroupId, ask: bool) {
        let now = cx.core.now.mono;
        let Some(group) = self.groups.get(&id) else {
            return;
        };
        let entries: Vec<DigestEntry> = group
            .logs
            .keys()
            .filter_map(|key| group.entry(*key, group.logs.len()))
            .collect();
        if let Some(remote) = self.remote_mut(to, id) {
            remote.digested = Some(now);
            remote.unequal = 0;
        }
        Self::send_digest(cx, to, id, entries, ask);
    }

    pub(crate) fn on_digest(&mut self, cx: &mut Cx<'_>, from: LinkId, digest: Digest) {
        let id = digest.group;
        let now = cx.core.now.mono;
        if !self.groups.contains_key(&id) {
            // Should this peer join, everything is told anew.
            return cx.core.count(counter!("digests_of_other_groups"));
        }
        if digest.ask {
            self.answer_digest(cx, from, id);
        }
        let equal = self.trees_agreed_at(cx.as_ref(), from, id, now);
        self.make_room_for_names(cx, from, id);
        let Some(remote) = self.remote_mut(from, id) else {
            return;
        };
        let ignored = remote.is_ignored(now);
        if !ignored {
            remote.told = Some(now);
        }
        for entry in &digest.entries {
            if entry.settled < SEQ_MAX && entry.above.last().unwrap_or(0) < SEQ_MAX {
                remote.states(entry, equal);
            }
        }
        for entry in &digest.entries {
            if entry.settled < SEQ_MAX {
                let flow = flow_of(id, entry.origin);
                cx.net.note_settled(from, flow, entry.epoch, entry.settled);
            }
        }
        if !ignored {
            for entry in digest.entries {
                self.note_missing(cx, from, id, &entry);
            }
        }
    }

    fn answer_digest(&mut self, cx: &mut Cx<'_>, to: LinkId, id: GroupId) {
        let now = cx.core.now.mono;
        let pause = Micros::from_millis(cx.core.config.groups.announce_ms);
        let Some(remote) = self.remote_mut(to, id) else {
            return;
        };
        if remote.digested.is_none_or(|last| now.since(last) >= pause) {
            self.send_full_digest(cx, to, id, false);
        }
    }

    /// A neighbour has what this peer lacks.
    fn note_missing(&mut self, cx: &mut Cx<'_>, from: LinkId, id: GroupId, entry: &DigestEntry) {
        let now = cx.core.now.mono;
        let key = (entry.origin, entry.epoch);
        let own = key == (cx.core.me, cx.net.epoch());
        if own || Self::is_cut_off(cx.as_ref(), key) {
            return;
        }
        let Some(group) = self.groups.get(&id) else {
            return;
        };
        let relay = group.role == crate::base::status::Role::Relay;
        let known = group.logs.get(&key);
        // A relay pulls nothing of origins that nobody has given it.
        if relay && known.is_none() {
            return;
        }
        let high = entry.above.last().unwrap_or(0).max(entry.settled);
        let settled = known.map_or_else(|| group.past.high(key), OriginLog::settled);
        if high <= settled || known.is_some_and(|log| log.is_settled(1, high)) {
            return;
        }
        if known.is_none() {
            // What is held there can be had; what was let go can be proven.
            if !self.seek(cx, from, id, key) {
                return;
            }
        }
        let theirs = self.within_window(cx.as_ref(), id, entry, settled);
        let log = (self.groups.get_mut(&id)).and_then(|group| group.log_or_sought_mut(key));
        let Some(log) = log else {
            return;
        };
        let mut lacking = RangeSet::new();
        for &(from, to) in theirs.as_slice() {
            lacking.extend(&log.unsettled(from, to));
        }
        if log.missing.add(&lacking, now) {
            self.schedule_repair(cx, id, now);
        }
    }

    /// The part of an entry that can be taken in: up to the window after what is settled here; or, where
    /// nobody can serve any of that, after the first entry that is held there.
    fn within_window(
        &self,
        cx: CxRef<'_>,
        id: GroupId,
        entry: &DigestEntry,
        settled: u64,
    ) -> RangeSet {
        let window = cx.core.config.groups.window;
        let mut first = 1;
        let mut limit = settled.saturating_add(window);
        if entry.floor > limit {
            let key = (entry.origin, entry.epoch);
            let can_be_had = self.first_to_be_had(cx, id, key, settled);
            if can_be_had.is_some_and(|seq| seq > limit) {
                first = entry.floor;
                limit = entry.floor.saturating_add(window - 1);
            }
        }
        let mut theirs = entry.above.within(first, limit);
        theirs.insert(first, entry.settled.min(limit));
        theirs
    }

    /// The log hashes of the groups that a neighbour shares.
    pub(crate) fn log_hashes_for(&mut self, cx: CxRef<'_>, link: LinkId) -> Vec<(GroupId, u64)> {
        let now = cx.core.now.mono;
        let shared: Vec<GroupId> = (self.remotes.of(link))
            .filter(|(_, remote)| remote.role.is_some())
            .map(|(id, _)| id)
            .collect();
        shared
            .into_iter()
            .filter_map(|id| {
                let group = self.groups.get_mut(&id)?;
                let ready = !matches!(group.baseline, super::BaselineState::Waiting(_));
                ready.then(|| (id, group.log_hash(now)))
            })
            .collect()
    }

    /// Hashes that differ twice in a row, and whatever differs after a pause, bring a full
    /// digest: a lost last announcement is not a lost message.
    pub(crate) fn compare_logs(
        &mut self,
        cx: &mut Cx<'_>,
        from: LinkId,
        hashes: &[(GroupId, u64)],
    ) {
        let now = cx.core.now.mono;
        let pause = Micros::from_millis(cx.core.config.groups.digest_ms);
        for &(id, theirs) in hashes {
            let Some(group) = self.groups.get_mut(&id) else {
                continue;
            };
            let equal = group.log_hash(now) == theirs;
            let Some(remote) = self.remote_mut(from, id) else {
                continue;
            };
            if equal {
                remote.unequal = 0;
                continue;
            }
            remote.unequal = remote.unequal.saturating_add(1);
            let rested = remote.digested.is_none_or(|last| now.since(last) >= pause);
            if remote.unequal >= UNEQUAL_MAX && rested {
                cx.core.count(counter!("digests_for_unequal_hashes"));
                self.send_full_digest(cx, from, id, true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::identity::PeerKey;
    use crate::base::name::{GroupName, NetworkName};
    use crate::base::status::Role;

    #[test]
    fn what_changed_while_some_were_told_is_for_everybody() {
        let network = NetworkName::new("net").expect("a name");
        let id = GroupId::new(&network, &GroupName::new("news").expect("a name"));
        let mut group = Group::new(id, None, Role::Member, 0);
        let key = |origin| (PeerKey([origin; 32]), 1);
        group.unannounced.insert(key(1), PendingAnnouncement::All);
        let left = |origin| (key(origin), vec![LinkId(7)]);
        group.put_off([left(1), left(2)].into());
        assert_eq!(group.unannounced[&key(1)], PendingAnnouncement::All);
        assert_eq!(
            group.unannounced[&key(2)],
            PendingAnnouncement::Only(vec![LinkId(7)])
        );
        assert!(!group.unannounced[&key(2)].includes(LinkId(8)));
    }
}
