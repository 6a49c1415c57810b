//! Group settings: the last change wins everywhere; of two at one time the smaller hash.
//!
//! A version is the network time of the change, ms since the Unix epoch. So versions do not run
//! away: one that is ahead of time waits until time has come so far, at everybody. Only members
//! have a say, and each of them once a minute. docs/design/time.md

use crate::access::{Decision, Reason, Resource, Subject, Verb};
use crate::base::identity::PeerKey;
use crate::base::interface::Event;
use crate::base::message::{GroupSettings, JoinError, SettingsPatch};
use crate::base::name::{GroupId, GroupName};
use crate::base::status::Role;
use crate::base::time::Micros;
use crate::core::Core;
use crate::multicast::{Cx, CxRef, Multicast};
use crate::wire::RecordGroup;
use crate::wire::record::WireSettings;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How often the record of one member may bring a change: four at once, for somebody who tries what
/// suits, then one a minute.
const BY_MEMBER: Allowance = Allowance {
    every_ms: 60_000,
    at_once: 4,
};
/// How often settings change at all, for members pass on what others have changed: enough for
/// sixteen that change them in one moment.
const BY_ALL: Allowance = Allowance {
    every_ms: 15_000,
    at_once: 16,
};
/// Members of which this is remembered. Beyond, changes of others wait.
const CHANGERS_MAX: usize = 1_024;

/// A token bucket.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    every_ms: u64,
    at_once: u64,
}

impl Allowance {
    /// When the next change may come, where the allowance is used up to `spent`.
    fn next(self, spent: Micros, now: Micros) -> Micros {
        let burst = Micros::from_millis(self.every_ms).times(self.at_once - 1);
        (spent - burst).max(now)
    }

    /// Up to when it is used after one more.
    fn after(self, spent: Micros, now: Micros) -> Micros {
        spent.max(now) + Micros::from_millis(self.every_ms)
    }
}

/// Settings and how they came about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// 0 are the defaults, 1 an explicit creation, else when they were changed: network time, ms
    /// since the Unix epoch.
    pub(super) version: u64,
    pub(super) values: GroupSettings,
    /// Whether this peer asked for these values.
    pub(super) explicit: bool,
    /// As they were stated, where this build does not understand all of it.
    pub(super) beyond: Option<Arc<WireSettings>>,
}

impl Settings {
    fn hash(&self) -> [u8; 32] {
        match &self.beyond {
            Some(stated) => stated.hash(),
            None => WireSettings::from(self.values).hash(),
        }
    }

    /// The first setting that this build does not understand.
    pub(crate) fn unsupported(&self) -> Option<&str> {
        self.beyond.as_ref()?.unsupported()
    }

    /// Whether `other` wins against these.
    pub(crate) fn loses_to(&self, other: &Self) -> bool {
        if other.version == self.version {
            let differ = other.values != self.values || other.beyond != self.beyond;
            return differ && other.hash() < self.hash();
        }
        other.version > self.version
    }
}

/// Changes that members bring: how often, and what waits.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Up to when the allowance of each member is used, and that of all.
    by_member: BTreeMap<PeerKey, Micros>,
    by_all: Micros,
    /// When to look again for what waits.
    due: Option<Micros>,
}

impl Changes {
    pub(crate) fn due(&self) -> Option<Micros> {
        self.due
    }

    /// When a change that `peer` brings may be taken: now, or later.
    fn may_change(&mut self, peer: PeerKey, now: Micros) -> Micros {
        self.by_member.retain(|_, spent| *spent > now);
        let spent = match self.by_member.get(&peer) {
            Some(spent) => *spent,
            None if self.by_member.len() < CHANGERS_MAX => now,
            None => now + Micros::from_millis(BY_MEMBER.every_ms * BY_MEMBER.at_once),
        };
        BY_MEMBER
            .next(spent, now)
            .max(BY_ALL.next(self.by_all, now))
    }

    fn note(&mut self, peer: PeerKey, now: Micros) {
        let spent = self.by_member.entry(peer).or_insert(now);
        *spent = BY_MEMBER.after(*spent, now);
        self.by_all = BY_ALL.after(self.by_all, now);
    }

    fn look_at(&mut self, at: Micros) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }
}

/// The settings that a record states, whoever states them.
fn stated_settings(stated: &RecordGroup) -> Settings {
    let Some((settings, values)) = stated.settings().and_then(|s| Some((s, s.known()?))) else {
        return Settings::default();
    };
    let beyond = settings.unsupported().map(|_| Arc::new(settings.clone()));
    Settings {
        version: stated.settings_version,
        values,
        explicit: false,
        beyond,
    }
}

/// Whether a peer, a member of the group or not, has a say in its settings.
fn may_change(core: &Core, peer: PeerKey, is_member: bool, id: GroupId) -> Decision {
    let subject = Subject::new(peer, core.me).member(is_member);
    (core.access).decide(subject, Verb::ChangeSettings, Resource::Group(id))
}

/// The same of a peer whose record says this of the group. Everybody is in `broadcast`.
fn may_state(core: &Core, peer: PeerKey, id: GroupId, stated: &RecordGroup) -> Decision {
    let is_member = stated.name.is_broadcast() || stated.role() == Some(Role::Member);
    may_change(core, peer, is_member, id)
}

impl Multicast {
    /// The settings that win among those that members state in their records, but for what is
    /// ahead of time.
    pub(crate) fn settings_in_records(cx: CxRef<'_>, name: &GroupName) -> Settings {
        let id = GroupId::new(&cx.core.config.network, name);
        let latest_ms = cx.net.latest_ms(cx.core);
        let mut best = Settings::default();
        for record in cx.net.records().filter(|record| !record.record.left) {
            let peer = record.record.peer;
            let stated = (record.record.group(name))
                .filter(|stated| may_state(cx.core, peer, id, stated) == Decision::Allowed)
                .map(stated_settings);
            if let Some(other) = stated.filter(|other| other.version <= latest_ms)
                && best.loses_to(&other)
            {
                best = other;
            }
        }
        best
    }

    /// A record may state better settings of groups that this peer is in, and names relays need.
    pub(crate) fn on_record_for_groups(&mut self, cx: &mut Cx<'_>, peer: PeerKey) {
        let Some(record) = cx.net.record(peer).cloned() else {
            return;
        };
        for stated in &record.record.groups {
            let id = GroupId::new(&cx.core.config.network, &stated.name);
            let Some(group) = self.groups.get_mut(&id) else {
                continue;
            };
            if group.name.is_none() {
                group.name = Some(stated.name.clone());
            }
            self.consider_settings(cx, id, peer, stated);
        }
    }

    /// Takes what a record states, or looks at it again when that may be done.
    fn consider_settings(
        &mut self,
        cx: &mut Cx<'_>,
        id: GroupId,
        peer: PeerKey,
        stated: &RecordGroup,
    ) {
        let now = cx.core.now.mono;
        let other = stated_settings(stated);
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        if !group.settings.loses_to(&other) {
            return;
        }
        match may_state(cx.core, peer, id, stated) {
            Decision::Allowed => {}
            // A sender states what it has from members.
            Decision::Denied(Reason::NotMember) => return,
            Decision::Denied(Reason::Entry) => {
                return cx.core.count(counter!("access_settings_refused"));
            }
        }
        // An explicit creation is no change.
        let is_change = other.version > 1;
        let at = if is_change {
            group.changes.may_change(peer, now)
        } else {
            now
        };
        let ahead_ms = other.version.saturating_sub(cx.net.latest_ms(cx.core));
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        let at = at.max(now + Micros::from_millis(ahead_ms));
        if at > now {
            group.changes.look_at(at);
            cx.core.wake_at(at);
            return cx.core.count(counter!("settings_damped"));
        }
        if is_change {
            group.changes.note(peer, now);
        }
        self.adopt_settings(cx, id, other);
    }

    /// Some settings had to wait.
    pub(crate) fn on_settings_timeout(&mut self, cx: &mut Cx<'_>, id: GroupId) {
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        group.changes.due = None;
        let Some(name) = group.name.clone() else {
            return;
        };
        let mut waiting: Vec<(PeerKey, RecordGroup)> = (cx.net.records())
            .filter(|record| !record.record.left && record.record.peer != cx.core.me)
            .filter_map(|record| {
                let stated = record.record.group(&name)?;
                Some((record.record.peer, stated.clone()))
            })
            .collect();
        // The last change first: those before it are none any more.
        waiting.sort_by_key(|(_, stated)| std::cmp::Reverse(stated.settings_version));
        for (peer, stated) in waiting {
            self.consider_settings(cx, id, peer, &stated);
        }
    }

    pub(crate) fn adopt_settings(&mut self, cx: &mut Cx<'_>, id: GroupId, settings: Settings) {
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        let lost = group.settings.explicit && group.settings.values != settings.values;
        tracing::info!(group = ?group.name, ?settings, lost, "group settings");
        let values = settings.values;
        let unsupported = settings.unsupported().map(str::to_owned);
        group.settings = settings;
        if let Some(name) = group.name.clone() {
            cx.core.event(Event::Settings {
                group: name,
                settings: values,
                lost,
            });
        }
        if let Some(setting) = unsupported {
            self.leave_unsupported(cx, id, setting);
        }
        cx.net.record_changed();
        self.deliver(cx, id);
    }

    /// A group that this peer is in has got a setting that this build does not understand: it goes on
    /// carrying the group for others, and is no member any more.
    fn leave_unsupported(&mut self, cx: &mut Cx<'_>, id: GroupId, setting: String) {
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        let was_in = group.role == Role::Sender || group.role == Role::Member && group.delivering;
        let Some(name) = group.name.clone().filter(|_| was_in) else {
            return;
        };
        tracing::error!(group = %name, setting, "a setting that this build does not know: left the group");
        group.delivering = false;
        group.leaving = true;
        if !group.is_broadcast() {
            self.retire(cx, id);
        }
        cx.core.count(counter!("groups_unsupported"));
        cx.core.event(Event::SettingUnsupported {
            group: name,
            setting,
        });
    }

    /// The first setting of a group that this build does not understand.
    pub(crate) fn unsupported_setting(
        &self,
        cx: CxRef<'_>,
        id: GroupId,
        name: &GroupName,
    ) -> Option<String> {
        match self.groups.get(&id) {
            Some(group) => group.settings.unsupported().map(str::to_owned),
            None => (Self::settings_in_records(cx, name).unsupported()).map(str::to_owned),
        }
    }

    pub(crate) fn change_settings(
        &mut self,
        cx: &mut Cx<'_>,
        group: &GroupName,
        patch: SettingsPatch,
    ) -> Result<(), JoinError> {
        if cx.core.stopping.is_some() {
            return Err(JoinError::Stopped);
        }
        let id = GroupId::new(&cx.core.config.network, group);
        let known = self.groups.get(&id);
        let is_member = known.is_some_and(|known| known.role == Role::Member);
        let decision = may_change(cx.core, cx.core.me, is_member, id);
        let Some(known) = known.filter(|_| decision == Decision::Allowed) else {
            cx.core.count(counter!("access_settings_refused"));
            return Err(JoinError::NotMember(group.clone()));
        };
        let values = patch
            .apply(known.settings.values)
            .ok_or(JoinError::SettingsInvalid)?;
        if values != known.settings.values {
            // Above what holds, should that come from a clock that is a little ahead.
            let version = cx
                .net
                .network_ms(cx.core)
                .max(known.settings.version.saturating_add(1));
            self.adopt_settings(
                cx,
                id,
                Settings {
                    version,
                    values,
                    explicit: true,
                    beyond: None,
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
mod tests;
