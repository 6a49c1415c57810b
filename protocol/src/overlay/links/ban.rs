//! Peers that have proven not to keep the rules: neither dialled nor admitted for a while.
//!
//! A dropped link alone costs such a peer nothing, for it dials again, and an honest one never
//! sends what cannot be read or what its origin did not sign. The time doubles with every relapse,
//! and what a peer did is forgotten after it has kept the rules for as long as it was banned.

use crate::base::identity::PeerKey;
use crate::base::time::Micros;
use crate::core::Core;
use crate::core::config::LinkConfig;
use crate::overlay::Overlay;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug)]
struct Ban {
    until: Micros,
    lasts: Micros,
}

impl Ban {
    fn forgotten_at(self) -> Micros {
        self.until + self.lasts
    }
}

/// Who is banned, and who was not long ago.
#[derive(Debug, Default)]
pub(crate) struct BanList {
    peers: BTreeMap<PeerKey, Ban>,
}

impl BanList {
    pub(crate) fn contains(&self, peer: PeerKey, now: Micros) -> bool {
        self.peers.get(&peer).is_some_and(|ban| now < ban.until)
    }

    /// How many are banned now.
    pub(crate) fn count(&self, now: Micros) -> usize {
        let banned = self.peers.values().filter(|ban| now < ban.until);
        banned.count()
    }

    /// Bans a peer from now on; gives for how long.
    ///
    /// Keys cost nothing: at the bound a first offence displaces only peers whose ban is over, of those
    /// whoever was banned for the shortest time. `None`: all bans are in force, and this one is not
    /// kept.
    fn add(&mut self, peer: PeerKey, now: Micros, config: &LinkConfig) -> Option<Micros> {
        self.peers.retain(|_, ban| now < ban.forgotten_at());
        let lasts = self.peers.get(&peer).map_or_else(
            || Micros::from_millis(config.ban_min_ms),
            |ban| {
                let most = Micros::from_millis(config.ban_max_ms);
                ban.lasts.times(2).min(most)
            },
        );
        if self.peers.len() >= config.bans_max && !self.peers.contains_key(&peer) {
            let over = self.peers.iter().filter(|(_, ban)| ban.until <= now);
            let least = over.min_by_key(|(_, ban)| (ban.lasts, ban.until));
            let least = least.map(|(peer, _)| *peer)?;
            self.peers.remove(&least);
        }
        let until = now + lasts;
        self.peers.insert(peer, Ban { until, lasts });
        Some(lasts)
    }
}

impl Overlay {
    /// A peer has proven that it does not keep the rules.
    pub(crate) fn ban(&mut self, core: &mut Core, peer: PeerKey) {
        if self.is_banned(core, peer) {
            // Another connection of the same offence.
            return;
        }
        let Some(lasts) = self.bans.add(peer, core.now.mono, &core.config.links) else {
            return core.count(counter!("bans_without_room"));
        };
        core.count(counter!("peers_banned"));
        tracing::warn!(%peer, seconds = lasts.as_millis() / 1_000, "banned");
    }

    pub(crate) fn is_banned(&self, core: &Core, peer: PeerKey) -> bool {
        self.bans.contains(peer, core.now.mono)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> LinkConfig {
        LinkConfig {
            ban_min_ms: 1_000,
            ban_max_ms: 5_000,
            bans_max: 2,
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
    fn relapses_are_banned_for_longer_up_to_the_most() {
        let mut banned = BanList::default();
        let mut now = at(0);
        for lasts in [1_000, 2_000, 4_000, 5_000, 5_000].map(at) {
            assert_eq!(banned.add(peer(1), now, &config()), Some(lasts));
            assert!(banned.contains(peer(1), now));
            now = now + lasts;
            assert!(!banned.contains(peer(1), now), "it may come back");
        }
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let mut banned = BanList::default();
        banned.add(peer(1), at(0), &config());
        assert_eq!(banned.add(peer(1), at(1_500), &config()), Some(at(2_000)));
        assert_eq!(banned.add(peer(1), at(5_500), &config()), Some(at(1_000)));
    }

    /// Whoever is offended by one throwaway key after another remembers the first offenders.
    #[test]
    fn at_the_bound_throwaway_keys_displace_no_ban_in_force() {
        let mut banned = BanList::default();
        for number in 1..=2 {
            assert!(banned.add(peer(number), at(0), &config()).is_some());
        }
        for number in 3..=100 {
            assert_eq!(banned.add(peer(number), at(10), &config()), None);
        }
        let kept = (1..=100).filter(|number| banned.contains(peer(*number), at(10)));
        assert_eq!(kept.collect::<Vec<_>>(), [1, 2]);
        assert_eq!(banned.count(at(10)), 2);
    }

    #[test]
    fn at_the_bound_the_shortest_ban_that_is_over_makes_room() {
        let mut banned = BanList::default();
        banned.add(peer(1), at(0), &config());
        // It relapses, and is banned until 3,000.
        assert_eq!(banned.add(peer(1), at(1_000), &config()), Some(at(2_000)));
        // Banned until 2,800, and remembered for as long again.
        banned.add(peer(2), at(1_800), &config());
        assert!(banned.add(peer(3), at(3_500), &config()).is_some());
        // The relapsed one is still known: it is banned for the third time.
        assert_eq!(banned.add(peer(1), at(3_600), &config()), Some(at(4_000)));
        assert!(banned.contains(peer(3), at(3_600)));
    }
}
