//! Peers that have proven not to keep the rules: neither dialled nor admitted for a while.
//!
//! A dropped link alone costs such a peer nothing, for it dials again, and an honest one never
//! sends what cannot be read or what its origin did not sign. The time doubles with every relapse,
//! and what a peer did is forgotten after it has kept the rules for as long as it was shunned.

use crate::base::identity::PeerKey;
use crate::base::time::Micros;
use crate::core::Core;
use crate::core::config::LinkConfig;
use crate::overlay::Overlay;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug)]
struct Shun {
    until: Micros,
    lasts: Micros,
}

impl Shun {
    fn forgotten_at(self) -> Micros {
        self.until + self.lasts
    }
}

/// Who is shunned, and who was not long ago.
#[derive(Debug, Default)]
pub(crate) struct Shunned {
    peers: BTreeMap<PeerKey, Shun>,
}

impl Shunned {
    pub(crate) fn contains(&self, peer: PeerKey, now: Micros) -> bool {
        self.peers.get(&peer).is_some_and(|shun| now < shun.until)
    }

    /// How many are shunned now.
    pub(crate) fn count(&self, now: Micros) -> usize {
        let shunned = self.peers.values().filter(|shun| now < shun.until);
        shunned.count()
    }

    /// Bans a peer from now on; gives for how long.
    ///
    /// Keys cost nothing: at the bound a first offence displaces only peers whose ban is over, of those
    /// whoever was banned for the shortest time. `None`: all bans are in force, and this one is not
    /// kept.
    fn add(&mut self, peer: PeerKey, now: Micros, config: &LinkConfig) -> Option<Micros> {
        self.peers.retain(|_, shun| now < shun.forgotten_at());
        let lasts = self.peers.get(&peer).map_or_else(
            || Micros::from_millis(config.shun_min_ms),
            |shun| {
                let most = Micros::from_millis(config.shun_max_ms);
                shun.lasts.times(2).min(most)
            },
        );
        if self.peers.len() >= config.shunned_max && !self.peers.contains_key(&peer) {
            let over = self.peers.iter().filter(|(_, shun)| shun.until <= now);
            let least = over.min_by_key(|(_, shun)| (shun.lasts, shun.until));
            let least = least.map(|(peer, _)| *peer)?;
            self.peers.remove(&least);
        }
        let until = now + lasts;
        self.peers.insert(peer, Shun { until, lasts });
        Some(lasts)
    }
}

impl Overlay {
    /// A peer has proven that it does not keep the rules.
    pub(crate) fn shun(&mut self, core: &mut Core, peer: PeerKey) {
        if self.is_shunned(core, peer) {
            // Another connection of the same offence.
            return;
        }
        let Some(lasts) = self.shunned.add(peer, core.now.mono, &core.config.links) else {
            return core.count("bans_without_room");
        };
        core.count("peers_shunned");
        tracing::warn!(%peer, seconds = lasts.as_millis() / 1_000, "shunned");
    }

    pub(crate) fn is_shunned(&self, core: &Core, peer: PeerKey) -> bool {
        self.shunned.contains(peer, core.now.mono)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> LinkConfig {
        LinkConfig {
            shun_min_ms: 1_000,
            shun_max_ms: 5_000,
            shunned_max: 2,
            ..LinkConfig::default()
        }
    }

    fn peer(number: u8) -> PeerKey {
        PeerKey([number; 32])
    }

    fn at(ms: u64) -> Micros {
        Micros::from_millis(ms)
    }

    #[test]
    fn relapses_are_shunned_for_longer_up_to_the_most() {
        let mut shunned = Shunned::default();
        let mut now = at(0);
        for lasts in [1_000, 2_000, 4_000, 5_000, 5_000].map(at) {
            assert_eq!(shunned.add(peer(1), now, &config()), Some(lasts));
            assert!(shunned.contains(peer(1), now));
            now = now + lasts;
            assert!(!shunned.contains(peer(1), now), "it may come back");
        }
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let mut shunned = Shunned::default();
        shunned.add(peer(1), at(0), &config());
        assert_eq!(shunned.add(peer(1), at(1_500), &config()), Some(at(2_000)));
        assert_eq!(shunned.add(peer(1), at(5_500), &config()), Some(at(1_000)));
    }

    /// Whoever is offended by one throwaway key after another remembers the first offenders.
    #[test]
    fn at_the_bound_throwaway_keys_displace_no_ban_in_force() {
        let mut shunned = Shunned::default();
        for number in 1..=2 {
            assert!(shunned.add(peer(number), at(0), &config()).is_some());
        }
        for number in 3..=100 {
            assert_eq!(shunned.add(peer(number), at(10), &config()), None);
        }
        let kept = (1..=100).filter(|number| shunned.contains(peer(*number), at(10)));
        assert_eq!(kept.collect::<Vec<_>>(), [1, 2]);
        assert_eq!(shunned.count(at(10)), 2);
    }

    #[test]
    fn at_the_bound_the_shortest_ban_that_is_over_makes_room() {
        let mut shunned = Shunned::default();
        shunned.add(peer(1), at(0), &config());
        // It relapses, and is banned until 3,000.
        assert_eq!(shunned.add(peer(1), at(1_000), &config()), Some(at(2_000)));
        // Banned until 2,800, and remembered for as long again.
        shunned.add(peer(2), at(1_800), &config());
        assert!(shunned.add(peer(3), at(3_500), &config()).is_some());
        // The relapsed one is still known: it is banned for the third time.
        assert_eq!(shunned.add(peer(1), at(3_600), &config()), Some(at(4_000)));
        assert!(shunned.contains(peer(3), at(3_600)));
    }
}
