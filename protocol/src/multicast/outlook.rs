//! What patterns and the engine may ask of groups.

use super::{LogKey, MulticastEvent};
use crate::base::identity::PeerKey;
use crate::base::interface::LinkId;
use crate::base::name::{GroupId, GroupName};
use crate::base::ranges::RangeSet;
use crate::base::status::{GroupStatus, LinkFaults, Role, Status};
use crate::base::time::Micros;
#[cfg(feature = "warm")]
use crate::multicast::Cx;
use crate::multicast::{CxRef, Multicast};
use std::collections::BTreeSet;

impl Multicast {
    /// Whether this peer is anything in a group.
    pub(crate) fn has_group(&self, id: GroupId) -> bool {
        self.groups.contains_key(&id)
    }

    /// What this peer is in a group.
    pub(crate) fn role(&self, id: GroupId) -> Option<Role> {
        self.groups.get(&id).map(|group| group.role)
    }

    pub(crate) fn is_member(&self, id: GroupId) -> bool {
        self.role(id) == Some(Role::Member)
    }

    /// A group's name, where it is known.
    pub(crate) fn name(&self, id: GroupId) -> Option<&GroupName> {
        self.groups.get(&id)?.name.as_ref()
    }

    pub(crate) fn has_log(&self, id: GroupId, key: LogKey) -> bool {
        let group = self.groups.get(&id);
        group.is_some_and(|group| group.logs.contains_key(&key))
    }

    /// Up to which entry a log was handed over, and what of that is lost.
    pub(crate) fn handed_over(&self, id: GroupId, key: LogKey) -> Option<(u64, RangeSet)> {
        let log = self.groups.get(&id)?.logs.get(&key)?;
        Some((log.next() - 1, log.lost()))
    }

    /// Whether [`super::MulticastEvent::HandedOver`] is to be told of a group.
    pub(crate) fn watch(&mut self, id: GroupId, is_watched: bool) {
        if is_watched {
            self.watched.insert(id);
        } else {
            self.watched.remove(&id);
        }
    }

    /// The members of a group but this peer: those in the view, and linked ones. A link whose peer
    /// has flapped is in nobody's record for up to `links.flap_max_ms`, and carries messages all
    /// the same.
    pub(crate) fn other_members_of(&self, cx: CxRef<'_>, id: GroupId) -> BTreeSet<PeerKey> {
        let graph = self.group_graph(cx, id);
        let in_view = graph.iter().flat_map(|graph| graph.members());
        let mut members: BTreeSet<PeerKey> = in_view.chain(self.linked_members(cx, id)).collect();
        members.remove(&cx.core.me);
        members
    }

    pub(crate) fn linked_members<'a>(
        &'a self,
        cx: CxRef<'a>,
        id: GroupId,
    ) -> impl Iterator<Item = PeerKey> + 'a {
        cx.net.neighbours().filter_map(move |(peer, link)| {
            let role = self.remotes.get(link, id)?.role;
            (role == Some(Role::Member)).then_some(peer)
        })
    }
}

/// What the engine asks and does for groups.
impl Multicast {
    /// What has happened first and was not told yet.
    pub(crate) fn next_event(&mut self) -> Option<MulticastEvent> {
        self.events.pop_front()
    }

    /// A connection is over, and what its peer had said of groups.
    pub(crate) fn on_link_ended(&mut self, link: LinkId) {
        self.remotes.forget(link);
    }

    /// When the next of the timers of groups is due.
    pub(crate) fn due(&self) -> Option<Micros> {
        let due = [
            self.batches_due(),
            self.groups_due(),
            self.parent_faults.due(),
        ];
        due.into_iter().flatten().min()
    }

    /// Adds what is to be said of groups to a glance at the overlay.
    pub(crate) fn add_to(&self, status: &mut Status) {
        status.groups = self.groups.len();
        status.retained_bytes = self.retained_bytes;
        status.ahead_bytes = self.ahead_bytes();
        status.verifying += self.checks.len();
    }

    /// What a neighbour kept as a parent.
    pub(crate) fn faults_of(&self, peer: PeerKey) -> LinkFaults {
        self.parent_faults.against(peer)
    }

    /// The redundancy of a group, as this peer uses it or, where it is not in it, would.
    pub(crate) fn redundancy(&self, cx: CxRef<'_>, id: GroupId, name: &GroupName) -> u8 {
        let settings = match self.groups.get(&id) {
            Some(group) => group.settings.values,
            None => Self::settings_in_records(cx, name).values,
        };
        settings.redundancy
    }

    /// All groups, by id.
    pub(crate) fn group_statuses<'a>(
        &'a self,
        cx: CxRef<'a>,
    ) -> impl Iterator<Item = GroupStatus> + 'a {
        let ids = self.groups.keys();
        ids.filter_map(move |id| self.group_status(cx, *id))
    }

    pub(crate) fn group_status(&self, cx: CxRef<'_>, id: GroupId) -> Option<GroupStatus> {
        let group = self.groups.get(&id)?;
        Some(GroupStatus {
            group: group.name.clone(),
            role: group.role,
            settings: group.settings.values,
            settings_version: group.settings.version,
            joined: group.delivering && group.baseline.is_taken(),
            members: self.members_in_view(cx, id),
            origins: group.logs.len(),
            retained_bytes: group.retention.bytes,
            retained: group.retention.len(),
            missing: group.logs.values().map(|log| log.missing.len()).sum(),
            published: group.stats.published,
            copies: group.stats.copies,
            firsts: group.stats.firsts,
            repaired: group.stats.repaired,
            delivered: group.stats.delivered,
            gaps: group.stats.gaps,
        })
    }

    /// Takes the best settings that records state of each group, as after a long life.
    #[cfg(feature = "warm")]
    pub(crate) fn adopt_all_settings(&mut self, cx: &mut Cx<'_>) {
        let groups = self.groups.iter();
        let names: Vec<(GroupId, GroupName)> = groups
            .filter_map(|(id, group)| Some((*id, group.name.clone()?)))
            .collect();
        for (id, name) in names {
            let best = Self::settings_in_records(cx.as_ref(), &name);
            let group = self.groups.get(&id);
            if group.is_some_and(|group| group.settings.loses_to(&best)) {
                self.adopt_settings(cx, id, best);
            }
        }
    }
}
