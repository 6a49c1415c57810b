//! How many children this peer says it can feed: fewer while its uplink stays full.
//!
//! Only small messages count: a large one fills any line, has a tree of its own and lets them
//! pass. What is stated moves every tree, so it falls by halves after the uplink has been full
//! for a while, rises again only after a longer one, and after each rise that came too early the
//! next takes twice as long.

use super::{Link, Priority};
use crate::config::LinkConfig;
use crate::engine::Engine;
use crate::group::Group;
use crate::io::LinkId;
use crate::time::Micros;
use hedgerow_topology::Class;

/// Nothing is stated below this (or what is configured): of peers that feed only one each, no
/// tree can be made.
const FLOOR: u16 = 2;
/// How often the queues are looked at, ms.
const LOOK_MS: u64 = 500;
/// A link to which something was pushed within so long is fed, ms.
const FED_MS: u64 = 5_000;
/// A link on which pushed messages have waited without a pause for so long is behind, ms.
const BEHIND_MS: u64 = 1_000;
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
    /// How long it must be free before the next rise, in multiples of the first wait.
    wait: u64,
    last_rise: Option<Micros>,
}

/// What a look at the queues has found.
#[derive(Clone, Copy, Debug)]
struct Found {
    /// Links that are fed, and those of them that are behind.
    fed: usize,
    behind: usize,
    /// The most children that this peer feeds in one tree.
    children: u16,
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
            wait: 1,
            last_rise: None,
        }
    }

    pub(crate) fn due(&self) -> Option<Micros> {
        self.look
    }

    /// What the record is to say from now on.
    fn judge(&mut self, now: Micros, found: Found, config: &LinkConfig) -> u16 {
        if found.is_full() {
            self.free_since = None;
            let since = *self.full_since.get_or_insert(now);
            if now.since(since) >= Micros::from_millis(config.capacity_full_ms) {
                self.fall(now, found.children, config);
            }
        } else {
            self.full_since = None;
            let since = *self.free_since.get_or_insert(now);
            if now.since(since) >= self.wait_for(config) {
                self.rise(now, config);
            }
        }
        let idle = found.behind == 0 && self.stated == config.capacity;
        self.look = (!idle).then(|| now + Micros::from_millis(LOOK_MS));
        self.stated
    }

    fn wait_for(&self, config: &LinkConfig) -> Micros {
        Micros::from_millis(config.capacity_free_ms).times(self.wait)
    }

    fn fall(&mut self, now: Micros, children: u16, config: &LinkConfig) {
        let stated = (children / 2).max(FLOOR.min(config.capacity));
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
        self.stated = self.stated.saturating_mul(2).min(config.capacity);
        self.free_since = Some(now);
        self.last_rise = Some(now);
    }
}

impl Engine {
    /// What was pushed waits on a link, or no longer does.
    pub(crate) fn note_backlog(&mut self, id: LinkId) {
        let now = self.now.mono;
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if !link.queue.waits(Priority::Data) {
            link.behind_since = None;
            return;
        }
        link.behind_since.get_or_insert(now);
        if self.uplink.look.is_none() {
            let look = self.in_ms(LOOK_MS);
            self.uplink.look = Some(look);
            self.wake_at(look);
        }
    }

    pub(crate) fn on_uplink_timeout(&mut self) {
        let now = self.now.mono;
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
                .filter_map(|link| link.behind_since)
                .filter(|since| now.since(*since) >= behind)
                .count(),
            children: 0,
        };
        if found.is_full() {
            found.children = self.most_children();
        }
        let before = self.own.capacity;
        let capacity = self.uplink.judge(now, found, &self.config.links);
        if capacity == before {
            return;
        }
        self.own.capacity = capacity;
        self.count(if capacity < before {
            "capacity_lowered"
        } else {
            "capacity_raised"
        });
        tracing::info!(before, capacity, behind = found.behind, "capacity restated");
        self.consider_record();
    }

    /// The most children that this peer has in the trees of origins whose messages flow.
    fn most_children(&self) -> u16 {
        let flowing = |group: &Group| -> Vec<_> { group.flowing(self.now.mono, FED_MS).collect() };
        let most = self
            .groups
            .iter()
            .flat_map(|(id, group)| flowing(group).into_iter().map(move |origin| (*id, origin)))
            .filter_map(|(id, origin)| self.route(id, origin, Class::Normal))
            .map(|route| route.children().count())
            .max();
        most.map_or(0, |most| u16::try_from(most).unwrap_or(u16::MAX))
    }
}

impl Link {
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
    };
    const FREE: Found = Found {
        fed: 6,
        behind: 0,
        children: 5,
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
