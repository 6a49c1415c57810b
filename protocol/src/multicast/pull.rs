//! Repair: what is missing is pulled from whoever has it; what nobody has is a gap.

mod denied;
mod serve;

use super::missing::MissingRange;
use super::remote::RemoteLog;
use super::{LogKey, OriginLog};
use crate::base::identity::PeerKey;
use crate::base::interface::LinkId;
use crate::base::name::GroupId;
use crate::base::ranges::RangeSet;
use crate::base::time::Micros;
use crate::multicast::{Cx, CxRef, Multicast};
use crate::wire::frame::{Digest, Pull, Wanted};
use hedgerow_topology::Class;
use std::collections::BTreeMap;

/// Ranges in one pull, and pulls per round and log.
pub(super) const RANGES_PER_PULL: usize = 256;
/// The wait before a first pull lies within these, microseconds.
const GRACE_US: (u64, u64) = (30_000, 500_000);
/// How often missing things are looked at, ms.
const ROUND_MS: u64 = 20;
/// Missing ranges that one such look is for. A round that looked at more of them is followed by a
/// rest as many times as long, so that repair takes a bounded share of a core however many holes an
/// origin leaves in its log.
const LOOKS_PER_ROUND: u64 = 1_024;
/// What all neighbours deny is not given up sooner, ms, nor while its origin has been out of the
/// view for less: whoever has just come, or has just lost links, does not know who else is there.
pub(super) const DENIED_MS: u64 = 5_000;
/// How often digests are asked for while nobody is known to hold what is missing, ms.
const ASK_MS: u64 = 1_000;
/// A flow of pushed entries that pauses longer has stopped, ms.
const FLOW_MS: u64 = 2_000;
/// After everybody was asked in vain, the rest before they are asked again, ms.
const REST_MS: u64 = 3_000;
/// Pulls in a row that come to nothing before a neighbour's announcements are not believed.
const FAILURES_MAX: u8 = 6;
/// And for how long, ms.
const IGNORE_MS: u64 = 30_000;

/// What a round decides to ask of each link.
type Asks = BTreeMap<LinkId, Vec<Wanted>>;

/// A neighbour that holds something of a log.
struct Source<'a> {
    link: LinkId,
    log: &'a RemoteLog,
    rtt: u64,
}

/// A parent in the tree of an origin, for large messages where those come.
#[derive(Debug)]
struct Feeder {
    link: LinkId,
    /// From the origin to here.
    takes: Micros,
}

/// The lost entries of a log.
#[derive(Debug, Default)]
struct Lost {
    /// Nobody holds it any more, or it has been missing for too long.
    given_up: RangeSet,
    /// Up to here all neighbours deny what comes next.
    denied_until: Option<u64>,
}

impl Multicast {
    pub(crate) fn schedule_repair(&mut self, cx: &mut Cx<'_>, id: GroupId, at: Micros) {
        let at = at + Micros::from_millis(ROUND_MS);
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        let at = at.max(group.repair_rests_until);
        let due = group.repair_due.map_or(at, |due| due.min(at));
        group.repair_due = Some(due);
        cx.core.wake_at(due);
    }

    /// How long something noticed missing is given to come by itself.
    fn grace(&self, id: GroupId) -> Micros {
        let lateness = self.groups.get(&id).map_or(0, |group| group.lateness_us);
        Micros((lateness * 2).clamp(GRACE_US.0, GRACE_US.1))
    }

    /// One round: fails what was not answered, asks for what is due, gives up what is lost.
    pub(crate) fn repair(&mut self, cx: &mut Cx<'_>, id: GroupId) {
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        group.repair_due = None;
        if matches!(group.baseline, super::BaselineState::Waiting(_)) {
            return;
        }
        if self.proof_checks.is_about(id) {
            // Soon it is known what of that is older than the join.
            return self.schedule_repair(cx, id, cx.core.now.mono);
        }
        let keys: Vec<LogKey> = group
            .logs
            .iter()
            .filter(|(_, log)| !log.missing.is_none())
            .map(|(key, _)| *key)
            .collect();
        let links: Vec<LinkId> = self
            .group_links(cx.as_ref(), id)
            .map(|(_, link)| link)
            .collect();
        self.seek_more(cx, id, &links);
        let sought: Vec<LogKey> = (self.groups.get(&id))
            .map(|group| group.sought.keys().copied().collect())
            .unwrap_or_default();
        if keys.is_empty() && sought.is_empty() {
            if self.has_more_to_seek(id, &links) {
                self.schedule_repair(cx, id, cx.core.now.mono);
            }
            return;
        }
        let mut looks = 0;
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        for key in &keys {
            if let Some(log) = group.logs.get_mut(key) {
                if log.missing.take_incomplete() {
                    let holes = log.unsettled(log.settled() + 1, log.high());
                    log.missing.add(&holes, cx.core.now.mono);
                }
                looks += log.missing.ranges().len() as u64;
            }
        }
        let rest = Micros::from_millis(ROUND_MS).times(looks / LOOKS_PER_ROUND);
        group.repair_rests_until = cx.core.now.mono + rest;
        cx.core.count_many(counter!("repair_looks"), looks);
        let mut asks = Asks::new();
        let mut unclaimed = false;
        for key in keys.iter().chain(&sought) {
            self.fail_late_pulls(cx, id, *key);
            unclaimed |= self.ask_for(cx, id, *key, &links, &mut asks);
            self.give_up_lost(cx, id, *key, &links);
        }
        for (link, wanted) in &asks {
            for wanted in wanted {
                self.question_parent(cx, id, wanted, *link);
            }
        }
        for (link, wanted) in asks {
            for wanted in wanted.chunks(64) {
                cx.core.count(counter!("pulls"));
                cx.net.send(
                    cx.core,
                    link,
                    Pull {
                        group: id,
                        wanted: wanted.to_vec(),
                    },
                );
            }
        }
        if unclaimed {
            self.ask_digests(cx, id, &links);
        }
        self.end_vain_searches(cx.as_ref(), id, &links);
        if !keys.is_empty() {
            self.deliver(cx, id);
        }
        let left = self.has_more_to_seek(id, &links)
            || self.groups.get(&id).is_some_and(|group| {
                !group.sought.is_empty() || group.logs.values().any(|log| !log.missing.is_none())
            });
        if left {
            self.schedule_repair(cx, id, cx.core.now.mono);
        }
    }

    /// Pulls that were not answered in time count against whoever was asked.
    fn fail_late_pulls(&mut self, cx: &mut Cx<'_>, id: GroupId, key: LogKey) {
        let now = cx.core.now.mono;
        let patience = Micros::from_millis(cx.core.config.groups.pull_timeout_ms);
        let mut failed: Vec<LinkId> = Vec::new();
        {
            let (net, groups) = (&*cx.net, &mut self.groups);
            let Some(log) = groups
                .get_mut(&id)
                .and_then(|group| group.log_or_sought_mut(key))
            else {
                return;
            };
            for range in log.missing.ranges_mut() {
                let Some((asked, at)) = range.asked else {
                    continue;
                };
                let late = match net.link(asked).filter(|link| link.is_up()) {
                    None => true,
                    Some(link) => {
                        let rtt = Micros(link.rtt_us().unwrap_or(0) * 2);
                        // A link on which bulk still flows is slow, not silent.
                        now.since(at.max(link.bulk_heard())) > patience + rtt
                    }
                };
                if late {
                    range.failed(asked);
                    range.asked = None;
                    if !failed.contains(&asked) {
                        failed.push(asked);
                    }
                }
            }
        }
        let ignore = cx.core.in_ms(IGNORE_MS);
        for link in failed {
            cx.core.count(counter!("pulls_unanswered"));
            if let Some(link) = cx.net.link_mut(link) {
                link.halve_pull_budget();
            }
            let Some(remote) = self.remote_mut(link, id) else {
                continue;
            };
            remote.failures = remote.failures.saturating_add(1);
            if remote.failures >= FAILURES_MAX {
                remote.failures = 0;
                remote.ignored_until = Some(ignore);
                cx.core.count(counter!("announcers_ignored"));
            }
        }
    }

    /// Finds somebody to ask for each range that is due. Says whether nobody was known for one.
    fn ask_for(
        &mut self,
        cx: &mut Cx<'_>,
        id: GroupId,
        key: LogKey,
        links: &[LinkId],
        asks: &mut Asks,
    ) -> bool {
        let now = cx.core.now.mono;
        let grace = self.grace(id);
        let ranges = (self.groups.get(&id))
            .and_then(|group| group.log_or_sought(key))
            .map_or(&[][..], |log| log.missing.ranges());
        let is_due =
            |range: &MissingRange| range.asked.is_none() && now.since(range.since) >= grace;
        if !ranges.iter().any(is_due) {
            return false;
        }
        let feeder = self.feeder(cx.as_ref(), id, key);
        let attempts = cx.core.config.groups.pull_attempts;
        let mut budgets: BTreeMap<LinkId, u64> = BTreeMap::new();
        let (net, remotes, groups) = (&*cx.net, &self.remotes, &mut self.groups);
        let Some(log) = groups
            .get_mut(&id)
            .and_then(|group| group.log_or_sought_mut(key))
        else {
            return false;
        };
        for link in links {
            let Some(state) = net.link(*link) else {
                continue;
            };
            let under_way: u64 = in_flight(log, *link);
            let budget = log.entries_for(state.pull_budget());
            budgets.insert(*link, budget.saturating_sub(under_way));
        }
        // Looked up once for all ranges of the log.
        let sources: Vec<Source<'_>> = links
            .iter()
            .filter_map(|link| {
                let state = net.link(*link)?;
                let remote = remotes.get(*link, id).filter(|it| !it.is_ignored(now))?;
                Some(Source {
                    link: *link,
                    log: remote.logs.get(&key)?,
                    rtt: state.rtt_us().unwrap_or(u64::MAX),
                })
            })
            .collect();
        let fed = feeder
            .as_ref()
            .and_then(|feeder| remotes.get(feeder.link, id)?.logs.get(&key));
        let flow = Micros::from_millis(FLOW_MS);
        let mut unclaimed = false;
        let mut asked = 0;
        let mut index = 0;
        while index < log.missing.ranges().len() && asked < RANGES_PER_PULL {
            let range = &log.missing.ranges()[index];
            let (from, to) = (range.from, range.to);
            if !is_due(range) {
                index += 1;
                continue;
            }
            if let Some(feeder) = &feeder
                && now.since(range.since) < grace + feeder.takes
                && !fed.is_some_and(|log| log.known.contains(from))
            {
                index += 1;
                continue;
            }
            if let Some(end) = log.inflight.expected_through(from, log.proven, now, flow) {
                log.missing.split(index, end);
                index += 1;
                continue;
            }
            let best = sources
                .iter()
                .filter_map(|source| {
                    let tries = range.tries_of(source.link);
                    if tries >= attempts {
                        return None;
                    }
                    let offer = source.log.can_serve(from, to);
                    let first = offer.as_slice().first().copied()?;
                    let room = budgets.get(&source.link).copied().unwrap_or(0);
                    Some((room == 0, tries, first.0, source.rtt, source.link, first))
                })
                .min();
            let Some((full, _, _, _, link, (offer_from, offer_to))) = best else {
                unclaimed = true;
                let range = &mut log.missing.ranges_mut()[index];
                if !range.tries.is_empty() {
                    // All who have it were asked in vain, so often: they may have been slow. Once
                    // more after a rest, until time says that it is lost.
                    range.tries.clear();
                    range.since = now + Micros::from_millis(REST_MS);
                }
                index += 1;
                continue;
            };
            if full {
                index += 1;
                continue;
            }
            if offer_from > from {
                // The front of the range is nobody's; look at the rest on its own.
                log.missing.split(index, offer_from - 1);
                unclaimed = true;
                index += 1;
                continue;
            }
            let room = budgets.get(&link).copied().unwrap_or(1).max(1);
            let end = offer_to.min(to).min(from.saturating_add(room - 1));
            log.missing.split(index, end);
            log.missing.ranges_mut()[index].asked = Some((link, now));
            budgets.insert(link, room.saturating_sub(end - from + 1));
            let wanted = asks.entry(link).or_default();
            match wanted
                .last_mut()
                .filter(|last| (last.origin, last.epoch) == key)
            {
                Some(last) => last.ranges.insert(from, end),
                None => wanted.push(Wanted {
                    origin: key.0,
                    epoch: key.1,
                    ranges: RangeSet::of(from, end),
                }),
            }
            asked += 1;
            index += 1;
        }
        unclaimed
    }

    /// Who pushes an origin's messages here, and how long they take. Of large messages others, the
    /// origin among them, may have a piece long before: asking them for what this one cannot have
    /// pushed yet would fill the uplinks that everything comes over.
    fn feeder(&self, cx: CxRef<'_>, id: GroupId, key: LogKey) -> Option<Feeder> {
        let group = self.groups.get(&id)?;
        // Of an origin that nothing has come from yet nobody knows what it sends.
        let is_unknown = group.logs.get(&key).is_none_or(OriginLog::is_unused);
        let class = if group.carries_bulk || is_unknown {
            Class::Bulk
        } else {
            Class::Normal
        };
        let route = self.route(cx, id, key.0, class)?;
        let link = cx.net.link_to(route.parents().next()?)?;
        // Each hop reads a piece whole before it passes it on.
        let takes = Micros(route.delay_us?).times(2);
        Some(Feeder { link, takes })
    }

    /// Asks all neighbours what they hold: nobody known has what is missing.
    pub(super) fn ask_digests(&mut self, cx: &mut Cx<'_>, id: GroupId, links: &[LinkId]) {
        let now = cx.core.now.mono;
        let pause = Micros::from_millis(ASK_MS);
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        if now.since(group.asked_digests) < pause {
            return;
        }
        group.asked_digests = now;
        for link in links {
            cx.net.send(
                cx.core,
                *link,
                Digest {
                    group: id,
                    ask: true,
                    entries: Vec::new(),
                },
            );
        }
    }

    /// Gives up what nobody holds any more. Only what a signed bundle proves to exist is a gap;
    /// what was merely announced is forgotten, and what is older than the join is not due.
    fn give_up_lost(&mut self, cx: &mut Cx<'_>, id: GroupId, key: LogKey, links: &[LinkId]) {
        let Lost {
            given_up: mut lost,
            denied_until,
        } = self.lost_of(cx.as_ref(), id, key, links);
        let log = |engine: &Self| {
            let log = (engine.groups.get(&id)).and_then(|group| group.log_or_sought(key));
            log.map(|log| (log.proven, log.is_unread()))
        };
        let Some((proven, is_unread)) = log(self) else {
            return;
        };
        let last = lost.last().unwrap_or(0);
        if last > proven {
            if self.inquire(cx, id, key, last, links) {
                lost.remove(proven + 1, u64::MAX);
            }
        } else if is_unread
            && let Some(until) = denied_until.filter(|until| *until <= proven)
            && self.inquire(cx, id, key, until, links)
        {
            lost.remove(0, until);
        }
        if lost.is_empty() {
            return;
        }
        let Some(log) = (self.groups.get_mut(&id)).and_then(|group| group.log_or_sought_mut(key))
        else {
            return;
        };
        for &(from, to) in lost.as_slice() {
            log.give_up(from, to.min(proven));
            log.missing.remove(from, to);
        }
        let empty = log.high() == 0 && log.held().is_empty() && log.missing.is_empty();
        cx.core.count(counter!("ranges_given_up"));
        let is_known = (self.groups.get(&id)).is_some_and(|group| group.logs.contains_key(&key));
        if !is_known {
            // Nothing signed has come of it: the search ends, and nothing is told of it.
        } else if empty {
            self.drop_logs(id, &[key]);
        } else {
            self.log_changed(cx, id, key);
        }
    }

    /// Finds the entries of a log that no neighbour holds any more, or that have been missing for too long.
    fn lost_of(&self, cx: CxRef<'_>, id: GroupId, key: LogKey, links: &[LinkId]) -> Lost {
        let now = cx.core.now.mono;
        let patience = Micros::from_millis(cx.core.config.groups.gap_timeout_ms);
        let denied_for = Micros::from_millis(DENIED_MS);
        let origin_may_hold = Self::may_still_be_asked(cx, key, links);
        let mut lost = Lost::default();
        let log = (self.groups.get(&id)).and_then(|group| group.log_or_sought(key));
        let Some(log) = log.filter(|_| !links.is_empty()) else {
            return lost;
        };
        let theirs = |link: &LinkId| {
            let remote = self.remotes.get(*link, id)?;
            remote.logs.get(&key)
        };
        let remotes: Vec<&RemoteLog> = links.iter().filter_map(theirs).collect();
        // `false`: some neighbour has not said what it holds.
        let all_have_told = remotes.len() == links.len();
        for range in log.missing.ranges() {
            let can_serve = |log: &&RemoteLog| !log.can_serve(range.from, range.to).is_empty();
            // An entry that somebody can serve is on its way while more of the log comes.
            let since = if remotes.iter().any(can_serve) {
                log.progress.max(range.since)
            } else {
                range.since
            };
            if now.since(since) > patience {
                lost.given_up.insert(range.from, range.to);
            } else if all_have_told && now.since(range.since) >= denied_for {
                let denied = denied_by_all(range, &remotes);
                if range.from == log.settled() + 1 && denied.contains(range.from) {
                    lost.denied_until = denied.as_slice().first().map(|&(_, to)| to);
                }
                if !origin_may_hold {
                    lost.given_up.extend(&denied);
                }
            }
        }
        lost
    }

    /// Whether the origin is in reach, or may be again, and has denied nothing yet: it is not among
    /// `links`, those of the group. A link on which it has not spoken of the group counts. One that has
    /// vanished without a word may be behind a partition, and hold what nobody here does.
    fn may_still_be_asked(cx: CxRef<'_>, key: LogKey, links: &[LinkId]) -> bool {
        let origin = key.0;
        let link = cx.net.link_to(origin);
        let record = cx.net.record(origin);
        let is_known = record.is_some_and(|record| !record.record.left);
        let may_return = is_known && !Self::has_later_life(cx, key);
        origin != cx.core.me
            && (Self::is_near(cx, origin) || may_return)
            && link.is_none_or(|link| !links.contains(&link))
    }

    /// Whether a peer is in reach, or was a moment ago.
    pub(super) fn is_near(cx: CxRef<'_>, peer: PeerKey) -> bool {
        let lost = cx.net.lost_at(peer);
        let denied_for = Micros::from_millis(DENIED_MS);
        cx.net.is_linked(peer)
            || cx.net.is_in_view(peer)
            || lost.is_some_and(|at| cx.core.now.mono.since(at) < denied_for)
    }

    pub(crate) fn on_link_down_for_groups(&mut self, cx: &mut Cx<'_>, link: LinkId) {
        let now = cx.core.now.mono;
        let mut touched = Vec::new();
        for (id, group) in &mut self.groups {
            let sought = (group.sought.values_mut()).map(|sought| &mut sought.log);
            for log in group.logs.values_mut().chain(sought) {
                for range in log.missing.ranges_mut() {
                    if range.asked.is_some_and(|(asked, _)| asked == link) {
                        range.asked = None;
                        touched.push(*id);
                    }
                }
            }
        }
        for id in touched {
            self.schedule_repair(cx, id, now);
        }
        if !self.busy.is_empty() {
            self.wake_publishers(cx);
        }
    }
}

fn in_flight(log: &OriginLog, link: LinkId) -> u64 {
    log.missing
        .ranges()
        .iter()
        .filter(|range| range.asked.is_some_and(|(asked, _)| asked == link))
        .map(|range| range.to - range.from + 1)
        .sum()
}

/// The part of a range that no neighbour holds any more.
fn denied_by_all(range: &MissingRange, remotes: &[&RemoteLog]) -> RangeSet {
    let mut gone = RangeSet::of(range.from, range.to);
    for theirs in remotes {
        let mut denied = theirs.gone.within(range.from, range.to);
        // What lies below its floor it has settled and let go.
        if theirs.floor > range.from {
            denied.insert(range.from, range.to.min(theirs.floor - 1));
        }
        gone = intersection(&gone, &denied);
        if gone.is_empty() {
            break;
        }
    }
    gone
}

fn intersection(a: &RangeSet, b: &RangeSet) -> RangeSet {
    let mut both = RangeSet::new();
    for &(from, to) in a.as_slice() {
        both.extend(&b.within(from, to));
    }
    both
}

#[cfg(test)]
mod tests;
