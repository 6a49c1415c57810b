//! What was asked for and is denied; and whoever denies what it has claimed is not believed.

use super::{IGNORE_MS, RANGES_PER_PULL};
use crate::base::interface::LinkId;
use crate::base::name::GroupId;
use crate::base::ranges::RangeSet;
use crate::multicast::{Cx, Multicast};
use crate::wire::frame::{NotHeld, Wanted};

/// Claims that a neighbour broke, by denying what its digests say that it has settled, before
/// its announcements are not believed: no honest peer does, but a log may go and come back.
const BROKEN_CLAIMS_MAX: u8 = 3;

impl Multicast {
    pub(crate) fn on_not_held(&mut self, cx: &mut Cx<'_>, from: LinkId, not_held: NotHeld) {
        let id = not_held.group;
        let Wanted {
            origin,
            epoch,
            ranges,
        } = not_held.wanted;
        let key = (origin, epoch);
        // An answer to a pull, which asks for no more ranges.
        let ranges = ranges.front(RANGES_PER_PULL);
        let ignore = cx.core.in_ms(IGNORE_MS);
        let now = cx.core.now.mono;
        let Some(remote) = self.remote_mut(from, id) else {
            return;
        };
        let mut ignored = false;
        if not_held.gone {
            remote.note_missing(key, &ranges);
        } else {
            if remote.has_claimed(key, &ranges) && !remote.is_ignored(now) {
                remote.broken_claims += 1;
                ignored = remote.broken_claims >= BROKEN_CLAIMS_MAX;
            }
            if let Some(log) = remote.logs.get_mut(&key) {
                for &(first, last) in ranges.as_slice() {
                    log.known.remove(first, last);
                }
            }
            if ignored {
                remote.broken_claims = 0;
                remote.ignored_until = Some(ignore);
            }
        }
        let Some(log) = self
            .groups
            .get_mut(&id)
            .and_then(|group| group.log_or_sought_mut(key))
        else {
            return;
        };
        for range in log.missing.ranges_mut() {
            if range.asked.is_some_and(|(link, _)| link == from)
                && !ranges.within(range.from, range.to).is_empty()
            {
                range.asked = None;
            }
        }
        if ignored {
            self.disbelieve(cx, id);
        }
        self.schedule_repair(cx, id, cx.core.now.mono);
    }

    /// A neighbour's digests are not believed any more: what only they speak of is not missing.
    /// What signed bundles prove to exist stays.
    fn disbelieve(&mut self, cx: &mut Cx<'_>, id: GroupId) {
        cx.core.count("announcers_ignored");
        let now = cx.core.now.mono;
        let believed: Vec<LinkId> = self
            .group_links(cx.as_ref(), id)
            .map(|(_, link)| link)
            .filter(|link| {
                let remote = self.remotes.get(*link, id);
                remote.is_some_and(|remote| !remote.is_ignored(now))
            })
            .collect();
        let (remotes, groups) = (&self.remotes, &mut self.groups);
        let Some(group) = groups.get_mut(&id) else {
            return;
        };
        for (key, log) in &mut group.logs {
            let unproven = log.proven + 1;
            let mut doubtful = RangeSet::new();
            for range in log
                .missing
                .ranges()
                .iter()
                .filter(|range| range.to >= unproven)
            {
                doubtful.insert(range.from.max(unproven), range.to);
            }
            if doubtful.is_empty() {
                continue;
            }
            let theirs = believed
                .iter()
                .filter_map(|link| remotes.get(*link, id)?.logs.get(key));
            for log in theirs {
                doubtful = doubtful.minus(&log.known);
            }
            for &(from, to) in doubtful.as_slice() {
                log.missing.remove(from, to);
            }
        }
    }
}
