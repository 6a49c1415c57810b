//! Group settings: the highest version, then the smallest hash, wins everywhere.

use crate::engine::Engine;
use crate::identity::PeerKey;
use crate::io::Event;
use crate::message::{GroupSettings, JoinError, SettingsPatch};
use crate::name::{GroupId, GroupName};
use crate::status::Role;
use crate::time::Time;
use crate::wire::record::settings_to_wire;

/// Versions do not jump further: nobody can put settings out of everybody's reach.
const JUMP_MAX: u64 = 1 << 16;

/// Settings and how they came about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// 0 are the defaults, 1 an explicit creation, one more for every change.
    pub(crate) version: u64,
    pub(crate) values: GroupSettings,
    /// Whether this peer asked for these values.
    pub(crate) explicit: bool,
}

impl Settings {
    fn hash(&self) -> [u8; 32] {
        let (redundancy, order, bytes, ms) = settings_to_wire(self.values);
        let mut hasher = blake3::Hasher::new_derive_key("hedgerow group settings v1");
        hasher.update(&[redundancy, order]);
        hasher.update(&bytes.to_be_bytes());
        hasher.update(&ms.to_be_bytes());
        *hasher.finalize().as_bytes()
    }

    /// Whether `other` wins against these.
    pub(crate) fn loses_to(&self, other: &Self) -> bool {
        if other.version == self.version {
            return other.values != self.values && other.hash() < self.hash();
        }
        other.version > self.version && other.version - self.version <= JUMP_MAX
    }
}

impl Engine {
    /// The settings that win among all records that state any for `name`.
    pub(crate) fn settings_in_records(&self, name: &GroupName) -> Settings {
        let mut best = Settings::default();
        for record in self.database.records().filter(|record| !record.record.left) {
            let Some(group) = record.record.group(name) else {
                continue;
            };
            let (version, values) = group.settings();
            let other = Settings {
                version,
                values,
                explicit: false,
            };
            if best.loses_to(&other) {
                best = other;
            }
        }
        best
    }

    /// A record may state better settings of groups that this peer is in, and names relays need.
    pub(crate) fn on_record_for_groups(&mut self, peer: PeerKey) {
        let Some(record) = self.database.get(peer).cloned() else {
            return;
        };
        for stated in &record.record.groups {
            let id = GroupId::new(&self.config.network, &stated.name);
            let Some(group) = self.groups.get_mut(&id) else {
                continue;
            };
            if group.name.is_none() {
                group.name = Some(stated.name.clone());
            }
            let (version, values) = stated.settings();
            let other = Settings {
                version,
                values,
                explicit: false,
            };
            if group.settings.loses_to(&other) {
                self.adopt_settings(id, other);
            }
        }
    }

    pub(crate) fn adopt_settings(&mut self, id: GroupId, settings: Settings) {
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        let lost = group.settings.explicit && group.settings.values != settings.values;
        group.settings = settings;
        tracing::info!(group = ?group.name, ?settings, lost, "group settings");
        if let Some(name) = group.name.clone() {
            self.event(Event::Settings {
                group: name,
                settings: settings.values,
                lost,
            });
        }
        self.consider_record();
        self.deliver(id);
    }

    /// Changes a group's settings for everybody; this peer must be a member. Live: nothing that
    /// is under way is lost.
    pub fn set_group(
        &mut self,
        now: Time,
        group: &GroupName,
        patch: SettingsPatch,
    ) -> Result<(), JoinError> {
        self.advance(now);
        if self.stopping.is_some() {
            return Err(JoinError::Stopped);
        }
        let id = GroupId::new(&self.config.network, group);
        let known = self
            .groups
            .get(&id)
            .filter(|known| known.role == Role::Member);
        let Some(known) = known else {
            return Err(JoinError::NotMember(group.clone()));
        };
        let values = patch
            .apply(known.settings.values)
            .ok_or(JoinError::SettingsInvalid)?;
        if values != known.settings.values {
            let version = known.settings.version + 1;
            self.adopt_settings(
                id,
                Settings {
                    version,
                    values,
                    explicit: true,
                },
            );
            if let Some(known) = self.groups.get_mut(&id) {
                known.settings.explicit = true;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(version: u64, redundancy: u8) -> Settings {
        let values = GroupSettings {
            redundancy,
            ..GroupSettings::default()
        };
        Settings {
            version,
            values,
            explicit: false,
        }
    }

    #[test]
    fn of_two_different_settings_exactly_one_wins() {
        for (a, b) in [
            (settings(1, 2), settings(1, 3)),
            (settings(1, 2), settings(2, 1)),
        ] {
            assert_ne!(a.loses_to(&b), b.loses_to(&a));
        }
        assert!(settings(1, 2).loses_to(&settings(2, 3)));
        assert!(!settings(1, 2).loses_to(&settings(1, 2)));
    }

    #[test]
    fn a_version_out_of_reach_is_not_believed() {
        assert!(settings(1, 2).loses_to(&settings(1 + JUMP_MAX, 3)));
        assert!(!settings(1, 2).loses_to(&settings(2 + JUMP_MAX, 3)));
    }
}
