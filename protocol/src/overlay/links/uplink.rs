//! How many children this peer says it can feed: fewer while its uplink stays full, none while its
//! line is many times too slow, in or out.
//!
//! Only small messages count: a large one fills any line, has a tree of its own and lets them
//! pass. What is stated moves every tree, so it falls by halves after the uplink has been full
//! for a while, rises again only after a longer one, and after each rise that came too early the
//! next takes twice as long.

use super::{Link, Priority};
use crate::base::identity::PeerKey;
use crate::base::interface::LinkId;
use crate::base::time::Micros;
use crate::core::Core;
use crate::core::config::LinkConfig;
use crate::overlay::Overlay;
use crate::overlay::links::OverlayEvent;

/// Nothing but 0 is stated below this (or what is configured): of peers that feed only one each,
/// no tree can be made.
const FLOOR: u16 = 2;
/// Whoever cannot feed more than so many is better a leaf.
const LEAF: u16 = 1;
/// How often the queues are looked at, ms.
const LOOK_MS: u64 = 500;
/// A link to which something was pushed within so long is fed, ms.
pub(crate) const FED_MS: u64 = 5_000;
/// A link on which pushed messages have waited without a pause for so long is behind, ms.
const BEHIND_MS: u64 = 1_000;
/// Round trips that take so much longer than they can are late, microseconds.
const LATE_US: u64 = 250_000;
/// The longest wait before a rise, in multiples of the first.
const WAIT_MAX: u64 = 32;

/// What is stated, and how long the uplink has been full, or not.
#[derive(Debug)]
pub(crate) struct Uplink {
    stated: u16,
    /// When the queues are looked at next; `None`: nothing waits, and nothing is to rise.
    look: Option<Micros>,
    full_since: Option<Micros>,
    free_since: Option<Micros>,
    /// Bytes pushed by the last look, and bytes that waited then.
    seen: (u64, usize),
    /// How long it must be free before the next rise, in multiples of the first wait.
    wait: u64,
    last_rise: Option<Micros>,
    /// What was stated before a late line made this peer a leaf.
    before_late: Option<u16>,
    /// What the last look has found, while it is not known how many children are fed.
    found: Option<Found>,
}

/// What a look at the queues has found.
#[derive(Clone, Copy, Debug)]
struct Found {
    /// Links that are fed, and those of them that are behind.
    fed: usize,
    behind: usize,
    /// The most children that this peer feeds in one tree.
    children: u16,
    /// What is late on most links, if anything.
    late: Late,
    /// Whether what is pushed leaves without delay, so that a late line is late inwards: feeding
    /// fewer would not help those that are fed.
    leaves_at_once: bool,
    /// How many links the line could feed, by what it took of what was pushed since the last look.
    fits: u16,
}

/// Why round trips on most links take much longer than they can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Late {
    /// They do not.
    No,
    /// The access line of this peer, either way, is what they have in common.
    Own,
    /// Those that are late lead to peers that say themselves that they can feed nobody; others are not.
    Others,
}

impl Found {
    /// One link alone that is behind is its other end's doing.
    fn is_full(self) -> bool {
        self.behind >= 2 && self.behind * 2 >= self.fed
    }
}

impl Uplink {
    pub(crate) fn new(config: &LinkConfig) -> Self {
        Self {
            stated: config.capacity,
            look: None,
            full_since: None,
            free_since: None,
            seen: (0, 0),
            wait: 1,
            last_rise: None,
            before_late: None,
            found: None,
        }
    }

    pub(crate) fn due(&self) -> Option<Micros> {
        self.look
    }

    /// How many of `fed` links the line could have fed, now that so many bytes have been pushed in
    /// all and so many wait.
    fn fits(&mut self, fed: usize, pushed: u64, waiting: usize) -> u16 {
        let (pushed_before, waited) = std::mem::replace(&mut self.seen, (pushed, waiting));
        let more = pushed.saturating_sub(pushed_before);
        if more == 0 {
            return u16::MAX;
        }
        let taken = (more + waited as u64)
            .saturating_sub(waiting as u64)
            .min(more);
        u16::try_from(fed as u64 * taken / more).unwrap_or(u16::MAX)
    }

    /// What the record is to say from now on.
    fn judge(&mut self, now: Micros, found: Found, config: &LinkConfig) -> u16 {
        if found.late == Late::Others
            && let Some(before) = self.before_late.take()
        {
            // What was late was not this line.
            self.stated = self.stated.max(before);
            self.full_since = None;
        }
        let is_late = found.late == Late::Own;
        if is_late || found.is_full() {
            self.free_since = None;
            let since = *self.full_since.get_or_insert(now);
            let late_in = is_late && found.leaves_at_once;
            let is_leaf = late_in || found.fits <= LEAF;
            let patience_ms = match (late_in, is_leaf) {
                // One more heartbeat of each link must say so.
                (true, _) => config.heartbeat_ms,
                // A line that is many times too slow needs no second thought.
                (_, true) => LOOK_MS.min(config.capacity_full_ms),
                _ => config.capacity_full_ms,
            };
            if now.since(since) >= Micros::from_millis(patience_ms) {
                let halved = (found.children / 2).max(FLOOR.min(config.capacity));
                if late_in {
                    self.before_late.get_or_insert(self.stated);
                }
                self.fall(now, if is_leaf { 0 } else { halved }, config);
            }
        } else {
            self.full_since = None;
            let since = *self.free_since.get_or_insert(now);
            if now.since(since) >= self.wait_for(config) {
                self.rise(now, config);
            }
        }
        let idle = found.behind == 0 && found.late == Late::No && self.stated == config.capacity;
        self.look = (!idle).then(|| now + Micros::from_millis(LOOK_MS));
        self.stated
    }

    fn wait_for(&self, config: &LinkConfig) -> Micros {
        Micros::from_millis(config.capacity_free_ms).times(self.wait)
    }

    fn fall(&mut self, now: Micros, stated: u16, config: &LinkConfig) {
        if stated >= self.stated {
            return;
        }
        self.stated = stated;
        // What waits for former children has to go before it can be seen to have helped.
        self.full_since = Some(now + Micros::from_millis(config.capacity_full_ms));
        let too_early = self
            .last_rise
            .is_some_and(|rise| now.since(rise) < self.wait_for(config));
        self.wait = if too_early {
            (self.wait * 2).min(WAIT_MAX)
        } else {
            1
        };
    }

    fn rise(&mut self, now: Micros, config: &LinkConfig) {
        if self.stated >= config.capacity {
            return;
        }
        self.stated = self
            .stated
            .saturating_mul(2)
            .max(FLOOR)
            .min(config.capacity);
        self.free_since = Some(now);
        self.last_rise = Some(now);
        self.before_late = None;
    }
}

impl Overlay {
    /// What was pushed waits on a link, here or in its transport, or no longer does.
    pub(crate) fn note_backlog(&mut self, core: &mut Core, id: LinkId) {
        let now = core.now.mono;
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if link
            .unwritten
            .is_none_or(|(end, _)| link.queue.has_written(end))
        {
            link.unwritten = link.queue.unwritten_data().map(|end| (end, now));
        }
        if !link.queue.waits(Priority::Data) {
            link.behind_since = None;
            return;
        }
        link.behind_since.get_or_insert(now);
        self.look_soon(core);
    }

    /// Transports take a lot before anything waits here, and a slow line is long at it.
    pub(crate) fn note_slow_transports(&mut self, core: &mut Core) {
        let now = core.now.mono;
        let some = Micros::from_millis(LOOK_MS);
        let mut links = self.up.values().filter_map(|id| self.links.get(id));
        if self.uplink.look.is_none()
            && (links.any(|link| link.is_behind(now, some)) || self.lateness() == Late::Own)
        {
            self.look_soon(core);
        }
    }

    fn lateness(&self) -> Late {
        let links = || self.up.values().filter_map(|id| self.links.get(id));
        let is_late = |link: &Link| link.rtt.late_us() >= LATE_US;
        let late = links().filter(|link| is_late(link)).count();
        if late < 2 || late * 2 < self.up.len() {
            return Late::No;
        }
        // Where one's own line is late, so is every link.
        let others = || links().filter(|link| !self.is_leaf(link.peer));
        let (all, late) = (
            others().count(),
            others().filter(|link| is_late(link)).count(),
        );
        if late * 2 < all {
            Late::Others
        } else {
            Late::Own
        }
    }

    /// Whether a peer says that it can feed nobody.
    fn is_leaf(&self, peer: PeerKey) -> bool {
        let record = self.database.get(peer);
        record.is_some_and(|record| record.record.capacity == 0)
    }

    fn look_soon(&mut self, core: &mut Core) {
        if self.uplink.look.is_none() {
            self.uplink.seen = self.pushed_and_waiting();
            let look = core.in_ms(LOOK_MS);
            self.uplink.look = Some(look);
            core.wake_at(look);
        }
    }

    pub(crate) fn on_uplink_timeout(&mut self, core: &mut Core) {
        let now = core.now.mono;
        if self.uplink.look.is_none_or(|look| look > now) {
            return;
        }
        let fed: Vec<&Link> = self
            .up
            .values()
            .filter_map(|id| self.links.get(id))
            .filter(|link| link.is_fed(now))
            .collect();
        let behind = Micros::from_millis(BEHIND_MS);
        let mut found = Found {
            fed: fed.len(),
            behind: fed
                .iter()
                .filter(|link| link.is_behind(now, behind))
                .count(),
            children: 0,
            late: self.lateness(),
            leaves_at_once: {
                let late = Micros(LATE_US);
                let held_up = fed.iter().filter(|link| link.is_behind(now, late)).count();
                held_up < 2 || held_up * 2 < fed.len()
            },
            fits: u16::MAX,
        };
        let (pushed, waiting) = self.pushed_and_waiting();
        found.fits = self.uplink.fits(found.fed, pushed, waiting);
        if found.is_full() {
            self.uplink.found = Some(found);
            return self.happened(OverlayEvent::UplinkFull);
        }
        self.restate_capacity(core, found);
    }

    /// Goes on with a look at a full uplink, by which so many children are fed.
    pub(crate) fn judge_uplink(&mut self, core: &mut Core, children: u16) {
        if let Some(found) = self.uplink.found.take() {
            self.restate_capacity(core, Found { children, ..found });
        }
    }

    fn restate_capacity(&mut self, core: &mut Core, found: Found) {
        let now = core.now.mono;
        let before = self.own.capacity;
        let capacity = self.uplink.judge(now, found, &core.config.links);
        if capacity == before {
            return;
        }
        self.own.capacity = capacity;
        core.count(if capacity < before {
            counter!("capacity_lowered")
        } else {
            counter!("capacity_raised")
        });
        tracing::info!(before, capacity, behind = found.behind, "capacity restated");
        self.consider_record(core);
    }

    /// Bytes of small messages pushed on all links so far, and those of them that wait.
    fn pushed_and_waiting(&self) -> (u64, usize) {
        let links = self.up.values().filter_map(|id| self.links.get(id));
        links.fold((0, 0), |(pushed, waiting), link| {
            let waits = link.queue.bytes_in(Priority::Data) + link.queue.unsent();
            (pushed + link.pushed_bytes, waiting + waits)
        })
    }
}

impl Link {
    /// Whether something pushed has waited here for so long, or in the transport.
    fn is_behind(&self, now: Micros, least: Micros) -> bool {
        let in_transport = self.unwritten.map(|(_, since)| since);
        let mut waiting = [self.behind_since, in_transport].into_iter().flatten();
        waiting.any(|since| now.since(since) >= least)
    }

    fn is_fed(&self, now: Micros) -> bool {
        self.pushed_at
            .is_some_and(|at| now.since(at) < Micros::from_millis(FED_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: Found = Found {
        fed: 6,
        behind: 5,
        children: 5,
        late: Late::No,
        leaves_at_once: false,
        fits: 3,
    };
    const FREE: Found = Found {
        fed: 6,
        behind: 0,
        children: 5,
        late: Late::No,
        leaves_at_once: true,
        fits: u16::MAX,
    };

    /// Looks twice a second for `seconds`; gives each new value and when it came, in s.
    fn run(
        uplink: &mut Uplink,
        from_s: u64,
        seconds: u64,
        found: impl Fn(u16) -> Found,
    ) -> Vec<(u64, u16)> {
        let config = LinkConfig::default();
        let mut changes = Vec::new();
        for step in 0..seconds * 2 {
            let now = Micros::from_millis(from_s * 1_000 + step * LOOK_MS);
            let before = uplink.stated;
            let after = uplink.judge(now, found(before), &config);
            if after != before {
                changes.push((now.as_millis() / 1_000, after));
            }
        }
        changes
    }

    fn uplink() -> Uplink {
        Uplink::new(&LinkConfig::default())
    }

    #[test]
    fn a_moment_of_fullness_changes_nothing() {
        let mut uplink = uplink();
        assert_eq!(run(&mut uplink, 0, 2, |_| FULL), []);
        assert_eq!(run(&mut uplink, 2, 100, |_| FREE), []);
        assert_eq!(uplink.due(), None, "nothing left to look at");
    }

    #[test]
    fn it_falls_by_halves_to_the_floor_and_rises_when_free() {
        let mut uplink = uplink();
        let children = |stated: u16| Found {
            children: stated.min(9),
            ..FULL
        };
        assert_eq!(run(&mut uplink, 0, 60, children), [(2, 4), (6, 2)]);
        let rises = run(&mut uplink, 60, 120, |_| FREE);
        assert_eq!(rises, [(90, 4), (120, 8), (150, 12)]);
    }

    #[test]
    fn a_line_that_can_feed_nobody_makes_a_leaf_at_once() {
        let mut uplink = uplink();
        let slow = |stated| Found {
            fits: if stated == 0 { u16::MAX } else { 1 },
            ..FULL
        };
        assert_eq!(run(&mut uplink, 0, 10, slow), [(0, 0)]);
        let rises = run(&mut uplink, 10, 120, |_| FREE);
        assert_eq!(rises, [(40, 2), (70, 4), (100, 8)]);
    }

    #[test]
    fn a_late_line_makes_a_leaf_when_more_than_one_heartbeat_says_so() {
        let mut uplink = uplink();
        let late = |_| Found {
            late: Late::Own,
            ..FREE
        };
        assert_eq!(run(&mut uplink, 0, 1, late), [], "not yet");
        assert_eq!(run(&mut uplink, 1, 10, |_| FREE), []);
        assert_eq!(run(&mut uplink, 11, 4, late), [(12, 0)]);
    }

    #[test]
    fn who_fell_for_what_others_are_late_with_rises_at_once() {
        let mut uplink = uplink();
        let late = |late: Late| move |_| Found { late, ..FREE };
        assert_eq!(run(&mut uplink, 0, 3, late(Late::Own)), [(1, 0)]);
        assert_eq!(run(&mut uplink, 3, 20, late(Late::Others)), [(3, 12)]);
        // A line that is late in truth is not forgiven by a rise of long ago.
        assert_eq!(run(&mut uplink, 23, 3, late(Late::Own)), [(24, 0)]);
        assert_eq!(run(&mut uplink, 26, 40, late(Late::No)), [(56, 2)]);
        assert_eq!(run(&mut uplink, 66, 3, late(Late::Others)), []);
    }

    #[test]
    fn what_fits_is_what_the_line_took() {
        let mut uplink = uplink();
        assert_eq!(uplink.fits(8, 80_000, 70_000), 1);
        assert_eq!(uplink.fits(8, 160_000, 110_000), 4);
        assert_eq!(uplink.fits(8, 240_000, 0), 8, "what waited has gone too");
        assert_eq!(uplink.fits(8, 240_000, 0), u16::MAX, "nothing pushed");
    }

    #[test]
    fn one_slow_child_is_its_own_affair() {
        let mut uplink = uplink();
        let one = |_| Found { behind: 1, ..FULL };
        assert_eq!(run(&mut uplink, 0, 60, one), []);
    }

    #[test]
    fn rises_that_come_too_early_come_ever_more_rarely() {
        let mut uplink = uplink();
        // Four children are too many, two are not.
        let load = |stated: u16| if stated >= 4 { FULL } else { FREE };
        let changes = run(&mut uplink, 0, 1_800, load);
        assert!(changes.len() <= 13, "in half an hour: {changes:?}");
        let gaps: Vec<u64> = changes.windows(2).map(|w| w[1].0 - w[0].0).collect();
        assert!(gaps.iter().any(|&gap| gap >= 400), "{changes:?}");
    }

    #[test]
    fn what_is_configured_below_the_floor_stays() {
        let config = LinkConfig {
            capacity: 1,
            ..LinkConfig::default()
        };
        let mut uplink = Uplink::new(&config);
        for second in 0..60 {
            assert_eq!(
                uplink.judge(Micros::from_millis(second * 1_000), FULL, &config),
                1
            );
        }
    }
}
