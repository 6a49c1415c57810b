//! Whether configured values can work together.

use super::{Config, ConfigError};
use crate::wire::bundle::{BUNDLE_BYTES_MAX, HEADER_BYTES_MAX};

/// The longest time that can be set, ms: sums and products of times stay far from overflowing.
const LONGEST_MS: u64 = 366 * 86_400_000;

/// Fields of a configuration with their names.
macro_rules! named {
    ($config:expr, $($section:ident.$field:ident),* $(,)?) => {
        [$((concat!(stringify!($section), ".", stringify!($field)), $config.$section.$field)),*]
    };
}

/// Counts of a configuration with their names, and whether they are above zero.
macro_rules! present {
    ($config:expr, $($section:ident.$field:ident),* $(,)?) => {
        [$((
            concat!(stringify!($section), ".", stringify!($field)),
            $config.$section.$field > 0,
        )),*]
    };
}

/// A rule about a field: whether it holds, what its value must be.
macro_rules! rule {
    ($config:expr, $section:ident.$field:ident, $holds:expr, $why:expr $(,)?) => {
        (
            $holds,
            concat!(stringify!($section), ".", stringify!($field)),
            $config.$section.$field.to_string(),
            $why,
        )
    };
}

/// A rule: whether it holds, the key it is about, its value, what it must be.
type Rule = (bool, &'static str, String, &'static str);

impl Config {
    /// Whether all values can work together; the first that cannot otherwise.
    pub fn check(&self) -> Result<(), ConfigError> {
        for (key, value) in self.durations() {
            if !(1..=LONGEST_MS).contains(&value) {
                let (value, why) = (value.to_string(), "from 1 ms to 366 days");
                return Err(ConfigError { key, value, why });
            }
        }
        if let Some((key, _)) = self.counts().into_iter().find(|(_, is_some)| !is_some) {
            let (value, why) = ("0".to_owned(), "at least 1");
            return Err(ConfigError { key, value, why });
        }
        let mut rules = self.link_rules();
        rules.extend(self.size_rules());
        match rules.into_iter().find(|(holds, ..)| !holds) {
            Some((_, key, value, why)) => Err(ConfigError { key, value, why }),
            None => Ok(()),
        }
    }

    /// Everything in ms.
    fn durations(&self) -> [(&'static str, u64); 42] {
        named!(
            self,
            links.capacity_full_ms,
            links.capacity_free_ms,
            links.heartbeat_ms,
            links.silence_ms,
            links.stall_ms,
            links.dial_timeout_ms,
            links.dial_timeout_max_ms,
            links.backoff_min_ms,
            links.backoff_max_ms,
            links.handshake_ms,
            links.choose_ms,
            links.swap_ms,
            links.ring_memory_ms,
            links.rtt_window_ms,
            links.flap_ms,
            links.flap_max_ms,
            links.ban_min_ms,
            links.ban_max_ms,
            limits.known_ms,
            limits.hello_ms,
            database.reissue_ms,
            database.drift_ms,
            database.refresh_ms,
            database.tombstone_ms,
            database.pull_ms,
            database.unequal_ms,
            database.reconcile_ms,
            database.debounce_ms,
            database.stale_tree_ms,
            database.candidate_min_ms,
            database.candidate_max_ms,
            database.candidate_keep_ms,
            shutdown.timeout_ms,
            groups.announce_ms,
            groups.grace_ms,
            groups.pull_timeout_ms,
            groups.gap_timeout_ms,
            groups.digest_ms,
            groups.baseline_ms,
            groups.baseline_slack_ms,
            groups.orphan_ms,
            groups.acknowledge_ms,
        )
    }

    /// What nothing works without, and whether it is there.
    fn counts(&self) -> [(&'static str, bool); 14] {
        present!(
            self,
            links.capacity,
            links.dials_max,
            links.bans_max,
            limits.pending_per_address,
            limits.links_per_address,
            database.records_max,
            database.refreshes_kept,
            groups.groups_max,
            groups.origins_max,
            groups.message_bytes_max,
            groups.window,
            groups.pull_attempts,
            groups.pull_bytes,
            flow.verifying_max,
        )
    }

    fn link_rules(&self) -> Vec<Rule> {
        let links = &self.links;
        vec![
            rule!(
                self,
                links.degree,
                links.degree >= 2,
                "at least 2, for the ring"
            ),
            rule!(
                self,
                links.accept_max,
                links.accept_max >= links.degree,
                "at least links.degree"
            ),
            rule!(
                self,
                links.links_max,
                links.links_max >= links.accept_max,
                "at least links.accept_max"
            ),
            rule!(
                self,
                links.dial_timeout_max_ms,
                links.dial_timeout_max_ms >= links.dial_timeout_ms,
                "at least links.dial_timeout_ms"
            ),
            rule!(
                self,
                links.heartbeat_ms,
                links.heartbeat_ms >= 10,
                "at least 10 ms"
            ),
            rule!(
                self,
                links.silence_ms,
                links.silence_ms >= 2 * links.heartbeat_ms,
                "at least two heartbeats"
            ),
            rule!(
                self,
                database.refreshes_kept,
                self.database.refreshes_kept <= 1_000,
                "at most 1,000"
            ),
        ]
    }

    fn size_rules(&self) -> Vec<Rule> {
        let groups = &self.groups;
        vec![
            rule!(
                self,
                groups.fragment_bytes,
                (1 << 10..=BUNDLE_BYTES_MAX - HEADER_BYTES_MAX).contains(&groups.fragment_bytes),
                "1 KiB to 245,248 B: with its header, a bundle must fit into a frame"
            ),
            rule!(
                self,
                groups.message_bytes_max,
                groups.message_bytes_max / groups.fragment_bytes.max(1) <= 1 << 16,
                "at most 65,536 fragments"
            ),
            rule!(
                self,
                groups.ahead_bytes_max,
                groups.ahead_bytes_max >= groups.message_bytes_max,
                "at least groups.message_bytes_max, or the largest message never completes"
            ),
            (
                self.memory().ahead >= 2 * groups.message_bytes_max,
                "memory_max",
                self.memory_max.to_string(),
                "at least 8 times groups.message_bytes_max, or two large messages could block each other",
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ciborium::Value;

    #[test]
    fn the_defaults_hold() {
        Config::default().check().expect("defaults work");
    }

    #[test]
    fn a_value_out_of_range_is_named() {
        let mut config = Config::default();
        config.links.degree = 1;
        let error = config.check().expect_err("degree 1 makes no ring");
        assert_eq!(error.key, "links.degree");
        let mut config = Config::default();
        config.links.choose_ms = u64::MAX / 2;
        let error = config.check().expect_err("too long to reckon with");
        assert_eq!(error.key, "links.choose_ms");
        let mut config = Config::default();
        config.groups.window = 0;
        let error = config.check().expect_err("nothing could be received");
        assert_eq!(error.key, "groups.window");
    }

    #[test]
    fn every_duration_is_checked() {
        let value = Value::serialized(&Config::default()).expect("a map");
        let mut durations = Vec::new();
        for (section, fields) in value.as_map().expect("a map") {
            for (field, _) in fields.as_map().into_iter().flatten() {
                let name = format!(
                    "{}.{}",
                    section.as_text().unwrap_or_default(),
                    field.as_text().unwrap_or_default()
                );
                if name.ends_with("_ms") {
                    durations.push(name);
                }
            }
        }
        let checked = Config::default().durations().map(|(key, _)| key.to_owned());
        assert_eq!(durations, checked);
    }
}
