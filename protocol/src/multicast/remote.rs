//! What a neighbour is and holds in a group, as far as frames have told.

use super::{Asked, LogKey};
use crate::base::interface::LinkId;
use crate::base::name::GroupId;
use crate::base::ranges::RangeSet;
use crate::base::status::Role;
use crate::base::time::Micros;
use crate::wire::frame::DigestEntry;
use std::collections::BTreeMap;

/// Logs remembered per neighbour and group: those that this peer has (`groups.origins_max`), and
/// names that its digests bring.
const LOGS_MAX: usize = 20_480;
/// Ranges remembered of a single log; a neighbour with more holes is taken to hold less.
const RANGES_MAX: usize = 1_024;
/// Ranges remembered of all logs of a group, roughly: the more logs, the fewer of each.
const RANGES_TOTAL: usize = 16_384;
/// But so many of each.
const RANGES_MIN: usize = 4;

/// One log at a neighbour.
#[derive(Clone, Debug, Default)]
pub(crate) struct RemoteLog {
    /// The lowest entry it can serve.
    pub(super) floor: u64,
    /// What it has: stated, sent by it, or sent to it.
    pub(super) known: RangeSet,
    /// What it has said it does not hold, and never will.
    pub(super) gone: RangeSet,
    /// What it has from here on came to it while trees were equal: its children were due to get
    /// it.
    pub(super) owed_from: u64,
}

impl RemoteLog {
    /// What it can be asked for.
    pub(crate) fn can_serve(&self, from: u64, to: u64) -> RangeSet {
        self.known
            .within(from.max(self.floor), to)
            .minus(&self.gone)
    }
}

/// Keeps a set small: the lowest ranges go first, for what they say is old.
fn bound(ranges: &mut RangeSet, most: usize) {
    let surplus = ranges.range_count().saturating_sub(most);
    if let Some(&(_, end)) = surplus
        .checked_sub(1)
        .and_then(|last| ranges.as_slice().get(last))
    {
        ranges.remove(0, end);
    }
}

/// Groups remembered per neighbour.
const GROUPS_MAX: usize = 1_024;

/// What neighbours are and hold, by link and group.
#[derive(Debug, Default)]
pub(crate) struct Remotes(BTreeMap<LinkId, BTreeMap<GroupId, RemoteGroup>>);

impl Remotes {
    /// What the other end of a link is in a group, if it has said so.
    pub(crate) fn get(&self, link: LinkId, group: GroupId) -> Option<&RemoteGroup> {
        self.0.get(&link)?.get(&group)
    }

    /// The same, to change it.
    pub(crate) fn get_mut(&mut self, link: LinkId, group: GroupId) -> Option<&mut RemoteGroup> {
        self.0.get_mut(&link)?.get_mut(&group)
    }

    /// The same, made where it is missing; `None` where too many groups of it are remembered.
    pub(crate) fn get_or_add(&mut self, link: LinkId, group: GroupId) -> Option<&mut RemoteGroup> {
        let groups = self.0.entry(link).or_default();
        if groups.len() >= GROUPS_MAX && !groups.contains_key(&group) {
            return None;
        }
        Some(groups.entry(group).or_default())
    }

    /// The other end has left a group.
    pub(crate) fn remove(&mut self, link: LinkId, group: GroupId) {
        if let Some(groups) = self.0.get_mut(&link) {
            groups.remove(&group);
        }
    }

    /// The link has ended.
    pub(crate) fn forget(&mut self, link: LinkId) {
        self.0.remove(&link);
    }

    /// What the other end of a link is in its groups.
    pub(crate) fn of(&self, link: LinkId) -> impl Iterator<Item = (GroupId, &RemoteGroup)> {
        let groups = self.0.get(&link).into_iter().flatten();
        groups.map(|(group, remote)| (*group, remote))
    }
}

/// A neighbour in a group.
#[derive(Debug, Default)]
pub(crate) struct RemoteGroup {
    /// What it is; `None` once it has left.
    pub(super) role: Option<Role>,
    pub(super) logs: BTreeMap<LogKey, RemoteLog>,
    /// Up to where it has stated in digests to have settled each log: not what was merely
    /// sent to it.
    pub(super) stated: BTreeMap<LogKey, u64>,
    /// After which log to look on for what it holds and this peer has neither got nor sought;
    /// `Some(None)`: from the first.
    #[allow(clippy::option_option)] // Whether to look on, and from where.
    pub(super) unsought: Option<Option<LogKey>>,
    /// When it was last told that there is no room for an origin, and when it last said so.
    pub(super) refused: [Option<Micros>; 2],
    /// When either end last told the other what is new.
    pub(super) told: Option<Micros>,
    /// When it last got a full digest.
    pub(super) digested: Option<Micros>,
    /// Heartbeats in a row whose log hash differed.
    pub(super) unequal: u8,
    /// Announced and not served: its announcements are not believed until then.
    pub(super) ignored_until: Option<Micros>,
    /// Pulls in a row that came to nothing.
    pub(super) failures: u8,
    /// Pulls of what it has stated to hold that it denied.
    pub(super) broken_claims: u8,
    /// What it asked as a joiner and has had no answer to.
    pub(super) asked: Option<Asked>,
}

impl RemoteGroup {
    fn ranges_max(&self) -> usize {
        (RANGES_TOTAL / self.logs.len().max(1)).clamp(RANGES_MIN, RANGES_MAX)
    }

    /// The log `key`, made when there is room.
    pub(crate) fn log(&mut self, key: LogKey) -> Option<&mut RemoteLog> {
        if self.logs.len() >= LOGS_MAX && !self.logs.contains_key(&key) {
            return None;
        }
        Some(self.logs.entry(key).or_default())
    }

    /// It has these entries.
    pub(crate) fn has(&mut self, key: LogKey, from: u64, to: u64) {
        let most = self.ranges_max();
        if let Some(log) = self.log(key) {
            log.known.insert(from, to);
            bound(&mut log.known, most);
        }
    }

    /// It does not hold these, and never will.
    pub(crate) fn note_missing(&mut self, key: LogKey, ranges: &RangeSet) {
        let most = self.ranges_max();
        if let Some(log) = self.logs.get_mut(&key) {
            log.gone.extend(ranges);
            bound(&mut log.gone, most);
        }
    }

    /// It states what it has, while trees have been `equal` for long or not.
    pub(crate) fn states(&mut self, entry: &DigestEntry, equal: bool) {
        let key = (entry.origin, entry.epoch);
        let most = self.ranges_max();
        let Some(log) = self.log(key) else { return };
        log.floor = entry.floor;
        let settled = entry.settled;
        if entry.settled > 0 {
            log.known.insert(1, entry.settled);
        }
        for &(from, to) in entry.above.as_slice().iter().take(RANGES_MAX) {
            log.known.insert(from, to);
        }
        bound(&mut log.known, most);
        if !equal {
            log.owed_from = log.known.last().map_or(0, |last| last + 1);
        }
        self.stated.insert(key, settled);
    }

    /// Whether it has stated in a digest to have settled some of these.
    pub(crate) fn has_claimed(&self, key: LogKey, ranges: &RangeSet) -> bool {
        let settled = self.stated.get(&key).copied().unwrap_or(0);
        ranges.first().is_some_and(|first| first <= settled)
    }

    /// Whether it has all of `from..=to`.
    pub(crate) fn covers(&self, key: LogKey, from: u64, to: u64) -> bool {
        self.logs
            .get(&key)
            .is_some_and(|log| log.known.covers(from, to))
    }

    /// Whether it has stated that it needs nothing of the log up to `seq`.
    pub(crate) fn has_settled(&self, key: LogKey, seq: u64) -> bool {
        self.stated.get(&key).is_some_and(|settled| *settled >= seq)
    }

    pub(crate) fn is_ignored(&self, now: Micros) -> bool {
        self.ignored_until.is_some_and(|until| until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::identity::PeerKey;

    #[test]
    fn a_neighbour_with_many_logs_full_of_holes_costs_little() {
        let mut remote = RemoteGroup::default();
        let holes: Vec<(u64, u64)> = (1..=RANGES_MAX as u64).map(|at| (3 * at, 3 * at)).collect();
        for number in 0..LOGS_MAX as u64 + 10 {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&number.to_be_bytes());
            let above = RangeSet::try_from(holes.clone()).expect("ascending");
            let entry = DigestEntry {
                origin: PeerKey(key),
                epoch: 1,
                floor: 1,
                settled: 0,
                above,
            };
            remote.states(&entry, true);
        }
        assert_eq!(remote.logs.len(), LOGS_MAX);
        let ranges: usize = remote
            .logs
            .values()
            .map(|log| log.known.range_count())
            .sum();
        assert!(ranges < 12 * RANGES_TOTAL, "{ranges}");
    }
}
