//! What groups do when time has come, and what the record says of them.

use super::{Cx, CxRef, Group, Multicast};
use crate::base::name::{GroupId, GroupName};
use crate::base::time::Micros;
use crate::wire::RecordGroup;

impl Multicast {
    /// The groups that the record is to state.
    pub(crate) fn stated_groups(&self, cx: CxRef<'_>) -> Vec<RecordGroup> {
        let groups = self.groups.values().filter_map(|group| {
            let settings = group.stated_settings();
            let role = group.stated_role();
            if role == 0 && settings.is_none() {
                return None;
            }
            Some(RecordGroup {
                name: group.name.clone()?,
                role,
                settings_version: group.settings.version,
                settings,
                ext: cx.core.group_ext(),
            })
        });
        groups.collect()
    }

    /// The groups that ask for links of their own.
    pub(crate) fn linked_groups(&self) -> Vec<GroupName> {
        let groups = self.groups.values().filter(|group| group.wants_links());
        groups.filter_map(|group| group.name.clone()).collect()
    }

    pub(crate) fn groups_due(&self) -> Option<Micros> {
        self.groups.values().filter_map(Group::due).min()
    }

    pub(crate) fn on_groups_timeout(&mut self, cx: &mut Cx<'_>) {
        let now = cx.core.now.mono;
        let due: Vec<GroupId> = self
            .groups
            .iter()
            .filter(|(_, group)| group.due().is_some_and(|due| due <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.on_group_timeout(cx, id);
        }
        self.wake_starved_publishers(cx);
    }

    fn on_group_timeout(&mut self, cx: &mut Cx<'_>, id: GroupId) {
        let now = cx.core.now.mono;
        let is_due = |due: Option<Micros>| due.is_some_and(|due| due <= now);
        let Some(group) = self.groups.get(&id) else {
            return;
        };
        let (announce, repair, abandoned, baseline, retention, logs, settings) = (
            is_due(group.announce_due),
            is_due(group.repair_due),
            is_due(group.abandoned_due),
            is_due(group.baseline.due()),
            is_due(group.retention_due()),
            is_due(group.logs_due),
            is_due(group.changes.due()),
        );
        if settings {
            self.on_settings_timeout(cx, id);
        }
        if baseline {
            self.on_baseline_timeout(cx, id);
        }
        if announce {
            self.announce(cx, id);
        }
        if repair {
            self.repair(cx, id);
        }
        if abandoned {
            self.expire_abandoned(cx, id);
        }
        if retention {
            self.on_retention_timeout(cx, id);
        }
        if logs {
            self.on_logs_timeout(cx, id);
        }
    }
}
