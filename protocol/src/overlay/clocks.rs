//! Network time: what the clocks around this peer show.
//!
//! Any clock may be wrong, a neighbour's as well as this peer's own, so no clock decides whether a
//! peer or a message is let in. Clocks order what is listed and bound what may be claimed; the
//! bound is the median of the neighbours' clocks, which few wrong ones do not move. docs/design/time.md
//! says what depends on it.

use crate::base::interface::{Event, LinkId};
use crate::base::time::Micros;
use crate::core::Core;
use crate::overlay::Overlay;

/// A time further ahead of network time than this is not believed, ms; and a local clock that is
/// off by more is told of. Clocks set by NTP differ by milliseconds and those set by hand by a few
/// minutes, so an honest peer rarely meets it.
pub(crate) const AHEAD_MS: u64 = 600_000;

/// Network time is settled once so many neighbours have told their clocks, or one has been linked
/// for so long, ms: the first neighbour that a peer meets may be the one that is wrong.
const CLOCKS: usize = 3;
const CLOCK_MS: u64 = 10_000;

/// A neighbour's clock as its last heartbeat told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeardClock {
    wall_ms: u64,
    heard: Micros,
}

impl HeardClock {
    pub(crate) fn new(wall_ms: u64, heard: Micros) -> Self {
        Self { wall_ms, heard }
    }

    /// What it shows now, if it has not jumped since.
    fn shows(self, now: Micros) -> u64 {
        let since = now.since(self.heard).as_millis();
        self.wall_ms.saturating_add(since)
    }
}

/// The median of what clocks show; of the two in the middle the one nearer to the local clock.
/// `None`: there are none.
fn median(mut clocks: Vec<u64>, local_ms: u64) -> Option<u64> {
    clocks.sort_unstable();
    let upper = *clocks.get(clocks.len() / 2)?;
    if clocks.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = clocks[clocks.len() / 2 - 1];
    let is_nearer = lower.abs_diff(local_ms) <= upper.abs_diff(local_ms);
    Some(if is_nearer { lower } else { upper })
}

/// What this peer has found out about clocks.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    /// The application was told that the local clock is off.
    told: bool,
}

impl Overlay {
    /// Network time, ms since the Unix epoch: the median of the neighbours' clocks, or the local
    /// clock where no neighbour has told its own.
    pub(crate) fn network_ms(&self, core: &Core) -> u64 {
        self.neighbours_ms(core).unwrap_or(core.now.wall_ms)
    }

    /// The median of the neighbours' clocks.
    pub(crate) fn neighbours_ms(&self, core: &Core) -> Option<u64> {
        let now = core.now.mono;
        let links = self.up.values().filter_map(|link| self.links.get(link));
        let clocks = links.filter_map(|link| Some(link.clock?.shows(now)));
        median(clocks.collect(), core.now.wall_ms)
    }

    /// Whether few wrong clocks do not decide it any more.
    pub(crate) fn is_network_time_settled(&self, core: &Core) -> bool {
        let now = core.now.mono;
        let links = self.up.values().filter_map(|link| self.links.get(link));
        let clocks: Vec<Micros> = links
            .filter(|link| link.clock.is_some())
            .map(|link| link.up_since)
            .collect();
        let settled = Micros::from_millis(CLOCK_MS);
        clocks.len() >= CLOCKS || clocks.iter().any(|since| now.since(*since) >= settled)
    }

    /// The latest time that is believed, ms since the Unix epoch.
    pub(crate) fn latest_ms(&self, core: &Core) -> u64 {
        self.network_ms(core).saturating_add(AHEAD_MS)
    }

    /// How far the local clock is ahead of network time, ms; negative: behind.
    pub(crate) fn clock_off_ms(&self, core: &Core) -> i64 {
        let (local, network) = (core.now.wall_ms, self.network_ms(core));
        let off = i64::try_from(local.abs_diff(network)).unwrap_or(i64::MAX);
        if local < network { -off } else { off }
    }

    /// A heartbeat has told what a neighbour's clock shows.
    pub(crate) fn on_clock(&mut self, core: &mut Core, from: LinkId, wall_ms: u64) {
        let clock = HeardClock::new(wall_ms, core.now.mono);
        if let Some(link) = self.links.get_mut(&from) {
            link.clock = Some(clock);
        }
        let off_ms = self.clock_off_ms(core);
        let is_off = off_ms.unsigned_abs() > AHEAD_MS;
        if self.clocks.told {
            // Told again only after it was right meanwhile, not each time that it crosses the line.
            self.clocks.told = off_ms.unsigned_abs() > AHEAD_MS / 2;
        } else if is_off && self.is_network_time_settled(core) {
            self.clocks.told = true;
            core.event(Event::ClockOff { off_ms });
        }
        self.on_network_time_for_epoch(core);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wrong_clock_of_three_does_not_move_the_median() {
        assert_eq!(median(vec![], 5), None);
        assert_eq!(median(vec![7], 5), Some(7));
        assert_eq!(median(vec![0, 1_000, 1_010], 5), Some(1_000));
        assert_eq!(median(vec![u64::MAX, 1_000, 1_010], 5), Some(1_010));
    }

    #[test]
    fn of_two_clocks_the_one_nearer_to_the_local_clock_counts() {
        assert_eq!(median(vec![1_000, 5_000], 1_500), Some(1_000));
        assert_eq!(median(vec![1_000, 5_000], 4_500), Some(5_000));
        assert_eq!(median(vec![0, 1_000, 5_000, u64::MAX], 9_000), Some(5_000));
    }

    #[test]
    fn a_clock_goes_on_after_it_was_heard() {
        let clock = HeardClock::new(1_000, Micros::from_millis(50));
        assert_eq!(clock.shows(Micros::from_millis(80)), 1_030);
        assert_eq!(
            HeardClock::new(u64::MAX, Micros(0)).shows(Micros(1 << 40)),
            u64::MAX
        );
    }
}
