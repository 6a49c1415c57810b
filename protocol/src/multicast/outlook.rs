//! What patterns may ask of groups.

use super::LogKey;
use crate::base::identity::PeerKey;
use crate::base::name::{GroupId, GroupName};
use crate::base::ranges::RangeSet;
use crate::base::status::Role;
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
        cx.net.up.iter().filter_map(move |(peer, link)| {
            let role = self.remotes.get(*link, id)?.role;
            (role == Some(Role::Member)).then_some(*peer)
        })
    }
}
