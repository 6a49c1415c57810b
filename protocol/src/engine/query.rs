//! What an operator can ask. Nothing here changes anything.

use super::Engine;
use crate::base::identity::PeerKey;
use crate::base::message::{JoinError, JoinOptions};
use crate::base::name::{Address, GroupId, GroupName};
use crate::base::status::{
    Counters, GroupStatus, LinkStatus, MemberState, MemberStatus, OverlayNode, OverlayStatus, Role,
    Status,
};
use crate::wire::{RecordGroup, SignedRecord};
use hedgerow_topology::Class;
use hedgerow_topology::petgraph::visit::EdgeRef;
use std::collections::BTreeSet;

impl Engine {
    /// This peer's epoch.
    pub fn epoch(&self) -> u64 {
        self.net.epoch()
    }

    /// Peers known for so long that places are kept for them.
    pub fn long_known(&self) -> Vec<PeerKey> {
        self.net.long_known(&self.core)
    }

    /// Counters since the start.
    pub fn counters(&self) -> Counters {
        let mut counters = self.core.counts.told();
        counters.values.extend(self.net.table_counts());
        counters
    }

    /// A glance.
    pub fn status(&self) -> Status {
        let mut status = self.net.status(&self.core);
        self.multicast.add_to(&mut status);
        status
    }

    /// All links, by connection.
    pub fn links(&self) -> Vec<LinkStatus> {
        let mut links: Vec<LinkStatus> = self.net.link_statuses(&self.core).collect();
        for link in &mut links {
            link.faults = self.multicast.faults_of(link.peer);
        }
        links
    }

    /// Whether [`Engine::join`] would be accepted now.
    pub fn check_join(&self, group: &GroupName, options: &JoinOptions) -> Result<(), JoinError> {
        let settings = self.multicast.check_join(cx_ref!(self), group, options);
        settings.map(drop)
    }

    /// All groups, by name.
    pub fn groups(&self) -> Vec<GroupStatus> {
        let mut groups: Vec<GroupStatus> = self.multicast.group_statuses(cx_ref!(self)).collect();
        groups.sort_by(|a, b| a.group.cmp(&b.group));
        groups
    }

    /// A group that this peer is in or carries; `None` for others.
    pub fn group(&self, name: &GroupName) -> Option<GroupStatus> {
        let id = GroupId::new(&self.core.config.network, name);
        // A group that this peer only carries may still be without its name.
        self.multicast
            .group_status(cx_ref!(self), id)
            .filter(|status| status.group.as_ref() == Some(name))
    }

    /// A group's members and senders (see `role`), by key; of `broadcast`: all peers known.
    pub fn members(&self, group: &GroupName) -> Vec<MemberStatus> {
        self.net
            .records()
            .filter(|record| !record.record.left)
            .filter_map(|record| {
                let peer = record.record.peer;
                let role = if group.is_broadcast() {
                    Some(Role::Member)
                } else {
                    record.record.group(group).and_then(RecordGroup::role)
                };
                let live = self.net.is_in_view(peer);
                let state = if live {
                    MemberState::Live
                } else {
                    MemberState::Unreachable
                };
                let is_self = peer == self.core.me;
                role.map(|role| MemberStatus {
                    peer,
                    is_self,
                    state,
                    role,
                })
            })
            .collect()
    }

    /// How many other members of a group are known, in the view or linked.
    pub fn other_members(&self, group: &GroupName) -> usize {
        let id = GroupId::new(&self.core.config.network, group);
        self.multicast.other_members_of(cx_ref!(self), id).len()
    }

    /// The names of groups that known peers are members of.
    pub fn group_names(&self) -> BTreeSet<GroupName> {
        self.net
            .records()
            .flat_map(|record| &record.record.groups)
            .filter(|group| group.role() == Some(Role::Member))
            .map(|group| group.name.clone())
            .collect()
    }

    /// The overlay that carries `origin`'s messages in `group`, by default this peer's own;
    /// `None` when the origin is not in it.
    pub fn overlay(&self, group: &GroupName, origin: Option<PeerKey>) -> Option<OverlayStatus> {
        let id = GroupId::new(&self.core.config.network, group);
        let graph = self.net.group_graph(id, group)?;
        let origin = origin.unwrap_or(self.core.me);
        let redundancy = self.multicast.redundancy(cx_ref!(self), id, group);
        let mesh = graph.route(
            self.net.cache(),
            graph.index(origin)?,
            Class::Normal,
            redundancy,
        );
        let tree = mesh.tree();
        let nodes = graph
            .graph
            .node_indices()
            .filter(|node| tree.contains(*node))
            .map(|node| OverlayNode {
                peer: graph.key(node),
                relay: graph.roles[node.index()].is_none(),
                parents: mesh
                    .parents(node)
                    .iter()
                    .map(|parent| graph.key(*parent))
                    .collect(),
                depth: tree.depth(node).unwrap_or(0),
                delay_us: tree.delay_us(node).unwrap_or(0),
            })
            .collect();
        let links = graph
            .graph
            .edge_references()
            .map(|edge| {
                (
                    graph.key(edge.source()),
                    graph.key(edge.target()),
                    *edge.weight(),
                )
            })
            .collect();
        Some(OverlayStatus {
            group: group.clone(),
            origin,
            redundancy,
            nodes,
            links,
        })
    }

    /// This peer's record as it states it now. `None`: it has stated none yet.
    pub fn own_record(&self) -> Option<&SignedRecord> {
        self.net.record(self.core.me).map(AsRef::as_ref)
    }

    /// Where known peers can be dialled, those in the view first: what a driver remembers for
    /// the next start.
    pub fn known_addresses(&self, most: usize) -> Vec<(PeerKey, Vec<Address>)> {
        let mut known: Vec<(bool, PeerKey, Vec<Address>)> = self
            .net
            .records()
            .filter(|record| !record.record.left && record.record.peer != self.core.me)
            .filter(|record| !record.record.addresses.is_empty())
            .map(|record| {
                let peer = record.record.peer;
                (
                    !self.net.is_in_view(peer),
                    peer,
                    record.record.addresses.clone(),
                )
            })
            .collect();
        known.sort_unstable_by_key(|(outside, peer, _)| (*outside, *peer));
        known
            .into_iter()
            .take(most)
            .map(|(_, peer, addresses)| (peer, addresses))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::identity::Keypair;
    use crate::base::message::{History, SettingsPatch};
    use crate::base::time::{Micros, Time};
    use crate::core::config::Config;

    fn name(name: &str) -> GroupName {
        GroupName::new(name).expect("valid")
    }

    fn now() -> Time {
        Time {
            mono: Micros::from_millis(1),
            wall_ms: 1_700_000_000_000,
        }
    }

    fn engine() -> Engine {
        let mut config = Config::default();
        config.groups.groups_max = 2;
        Engine::new(Keypair::from_secret([1; 32]), config, [0; 32], now())
    }

    fn redundancy(redundancy: u8) -> JoinOptions {
        JoinOptions {
            settings: SettingsPatch {
                redundancy: Some(redundancy),
                ..SettingsPatch::default()
            },
            history: History::None,
        }
    }

    #[test]
    fn one_group_is_told_as_all_are() {
        let mut engine = engine();
        let joined = engine.join(now(), name("news"), redundancy(3));
        joined.expect("joins");
        let all = engine.groups();
        assert_eq!(all.len(), 2);
        for status in all {
            let group = status.group.clone().expect("has a name");
            assert_eq!(engine.group(&group), Some(status));
        }
        assert_eq!(engine.group(&name("sport")), None);
    }

    #[test]
    fn a_join_is_checked_as_it_is_made_and_changes_nothing() {
        let mut engine = engine();
        let history = |count| JoinOptions {
            history: History::Last(count),
            ..JoinOptions::default()
        };
        for (group, options) in [
            ("news", redundancy(3)),
            ("news", redundancy(3)),
            ("news", redundancy(2)),
            ("news", history(u64::MAX)),
            ("sport", redundancy(0)),
            ("sport", history(1)),
            ("talk", JoinOptions::default()),
        ] {
            let group = name(group);
            let before = engine.groups();
            let checked = engine.check_join(&group, &options);
            assert_eq!(engine.groups(), before);
            assert_eq!(checked, engine.join(now(), group, options), "{options:?}");
        }
        assert_eq!(engine.groups().len(), 3);
        engine.shutdown(now());
        let checked = engine.check_join(&name("news"), &JoinOptions::default());
        assert_eq!(checked, Err(JoinError::Stopped));
    }
}
