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
        cx.core.count(counter!("announcers_ignored"));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Micros;
    use crate::multicast::fixture::{ORIGIN, Peer, held, log_key, ranges, wanted};

    /// A member that holds 1 and 3 and has been told by two neighbours of up to 10, and up to 5.
    fn told() -> (Peer, [LinkId; 2]) {
        let mut peer = Peer::member();
        let links = [peer.subscriber(2), peer.subscriber(3)];
        let all = peer.messages(ORIGIN, 3);
        peer.push(links[0], &all[0]);
        peer.push(links[0], &all[2]);
        peer.tell(links[0], vec![held(ORIGIN, 1, 10, &[])]);
        peer.tell(links[1], vec![held(ORIGIN, 1, 5, &[])]);
        (peer, links)
    }

    fn missing(peer: &Peer) -> Vec<(u64, u64)> {
        let ranges = peer.log(ORIGIN).missing.ranges().iter();
        ranges.map(|range| (range.from, range.to)).collect()
    }

    fn is_ignored(peer: &Peer, link: LinkId) -> bool {
        let remote = peer.multicast.remotes.get(link, peer.id);
        remote.is_some_and(|remote| remote.is_ignored(peer.core.now.mono))
    }

    #[test]
    fn a_denial_frees_what_was_asked_of_that_neighbour_and_nothing_else() {
        let (mut peer, [link, other]) = told();
        let at = peer.core.now.mono;
        for (range, asked) in peer
            .log_mut(ORIGIN)
            .missing
            .ranges_mut()
            .iter_mut()
            .zip([link, other])
        {
            range.asked = Some((asked, at));
        }
        peer.group_mut().repair_due = None;
        peer.deny(link, wanted(ORIGIN, &[(2, 10)]), true);
        let asked: Vec<_> = peer
            .log(ORIGIN)
            .missing
            .ranges()
            .iter()
            .map(|range| range.asked)
            .collect();
        assert_eq!(asked, [None, Some((other, at))]);
        let soon = at + Micros::from_millis(20);
        assert_eq!(peer.group().repair_due, Some(soon), "another is asked soon");
    }

    #[test]
    fn what_a_neighbour_does_not_hold_yet_it_is_asked_for_when_it_tells_of_it_again() {
        let (mut peer, [link, _]) = told();
        peer.tell(link, vec![held(ORIGIN, 1, 3, &[(12, 12)])]);
        peer.deny(link, wanted(ORIGIN, &[(12, 12)]), false);
        let can_serve = |peer: &Peer| {
            let remote = peer.multicast.remotes.get(link, peer.id);
            let log = &remote.expect("a member").logs[&log_key(ORIGIN)];
            log.can_serve(11, 12)
        };
        assert_eq!(can_serve(&peer), ranges(&[]));
        peer.tell(link, vec![held(ORIGIN, 1, 3, &[(12, 12)])]);
        assert_eq!(can_serve(&peer), ranges(&[(12, 12)]));
        // What it has let go never comes back.
        peer.deny(link, wanted(ORIGIN, &[(12, 12)]), true);
        peer.tell(link, vec![held(ORIGIN, 1, 3, &[(12, 12)])]);
        assert_eq!(can_serve(&peer), ranges(&[]));
    }

    #[test]
    fn who_denies_three_times_what_it_claims_to_have_settled_is_not_believed() {
        let (mut peer, [link, other]) = told();
        assert_eq!(missing(&peer), [(2, 2), (4, 10)]);
        for broken in 1..=BROKEN_CLAIMS_MAX {
            assert!(!is_ignored(&peer, link), "after {}", broken - 1);
            peer.deny(link, wanted(ORIGIN, &[(6, 6)]), false);
        }
        assert!(is_ignored(&peer, link) && !is_ignored(&peer, other));
        assert_eq!(peer.counted("announcers_ignored"), 1);
        // Of what only digests speak, what the other one tells of stays; and what a bundle proves.
        assert_eq!(missing(&peer), [(2, 2), (4, 5)]);
        peer.wait_ms(IGNORE_MS);
        assert!(!is_ignored(&peer, link), "for a while");
    }

    #[test]
    fn who_denies_what_it_has_let_go_or_never_claimed_breaks_no_claim() {
        for (ranges, gone) in [((6, 6), true), ((11, 11), false)] {
            let (mut peer, [link, _]) = told();
            for _ in 0..2 * BROKEN_CLAIMS_MAX {
                peer.deny(link, wanted(ORIGIN, &[ranges]), gone);
            }
            assert!(!is_ignored(&peer, link), "{ranges:?}");
        }
    }

    #[test]
    fn the_denial_of_a_neighbour_that_is_not_in_the_group_means_nothing() {
        let (mut peer, _) = told();
        let stranger = peer.neighbour(4);
        peer.group_mut().repair_due = None;
        peer.deny(stranger, wanted(ORIGIN, &[(2, 10)]), true);
        assert_eq!(peer.group().repair_due, None);
        assert!(peer.multicast.remotes.get(stranger, peer.id).is_none());
    }
}
