//! What an operator can ask. Nothing here changes anything.

use super::Engine;
use crate::identity::PeerKey;
use crate::links::reason_name;
use crate::name::{Address, GroupId, GroupName};
use crate::status::{
    GroupStatus, LinkStatus, MemberState, MemberStatus, OverlayNode, OverlayStatus, Role, Status,
};
use crate::wire::{RecordGroup, SignedRecord};
use hedgerow_topology::Class;
use hedgerow_topology::petgraph::visit::EdgeRef;
use std::collections::BTreeSet;

impl Engine {
    /// A glance.
    pub fn status(&self) -> Status {
        Status {
            peer: self.me,
            network: self.config.network.clone(),
            epoch: self.own.epoch,
            version: self.own.version,
            addresses: self.own.addresses.clone(),
            links: self.up.len(),
            connecting: self.connecting(),
            shunned: self.shunned.count(self.now.mono),
            capacity: self.own.capacity,
            records: self.database.len(),
            record_bytes: self.database.bytes(),
            view_peers: self.view.peers,
            view_hash: self.view.hash,
            algorithm: self.view.algorithm().0,
            algorithm_unsupported: self.view.algorithm().1,
            groups: self.groups.len(),
            retained_bytes: self.retained_bytes,
            ahead_bytes: self.ahead_bytes(),
            queued_bytes: self.links.values().map(|link| link.queue.total()).sum(),
            verifying: self.verifying.len() + self.sync.checking(),
            clock_off_ms: self.clock_off_ms(),
            stopping: self.stopping.is_some(),
            identity_conflicts: self.twins.conflicts(self.now.mono),
        }
    }

    /// All links, by connection.
    pub fn links(&self) -> Vec<LinkStatus> {
        let now = self.now.mono;
        self.links
            .values()
            .map(|link| LinkStatus {
                link: link.id,
                peer: link.peer,
                address: link.address.clone(),
                dialled: link.dialled,
                up: link.is_up(),
                rtt_us: link.rtt.smoothed_us(),
                stated_rtt_us: link
                    .rtt
                    .stated_us()
                    .map(|rtt_us| self.stated_rtt_us(link.peer, rtt_us).into()),
                up_ms: if link.is_up() {
                    now.since(link.up_since).as_millis()
                } else {
                    0
                },
                wanted: link.wants.map(reason_name).into_iter().collect(),
                wanted_by_peer: link.their_wants.is_some(),
                queued: link.queue.queued(),
                bytes: link.bytes,
                bundles: link.bundles,
                lazy: link.lazy,
                charges: self.charges.against(link.peer).into(),
            })
            .collect()
    }

    /// All groups, by name.
    pub fn groups(&self) -> Vec<GroupStatus> {
        let mut groups: Vec<GroupStatus> = self
            .groups
            .iter()
            .map(|(id, group)| GroupStatus {
                group: group.name.clone(),
                role: group.role,
                settings: group.settings.values,
                settings_version: group.settings.version,
                joined: group.delivering && group.baseline.is_taken(),
                members: self.members_in_view(*id),
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
            .collect();
        groups.sort_by(|a, b| a.group.cmp(&b.group));
        groups
    }

    /// A group's members and senders (see `role`), by key; of `broadcast`: all peers known.
    pub fn members(&self, group: &GroupName) -> Vec<MemberStatus> {
        self.database
            .records()
            .filter(|record| !record.record.left)
            .filter_map(|record| {
                let peer = record.record.peer;
                let role = if group.is_broadcast() {
                    Some(Role::Member)
                } else {
                    record.record.group(group).and_then(RecordGroup::role)
                };
                let live = self.view.contains(peer);
                let state = if live {
                    MemberState::Live
                } else {
                    MemberState::Unreachable
                };
                let is_self = peer == self.me;
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
        let id = GroupId::new(&self.config.network, group);
        self.other_members_of(id).len()
    }

    /// The names of groups that known peers are members of.
    pub fn group_names(&self) -> BTreeSet<GroupName> {
        self.database
            .records()
            .flat_map(|record| &record.record.groups)
            .filter(|group| group.role() == Some(Role::Member))
            .map(|group| group.name.clone())
            .collect()
    }

    /// The overlay that carries `origin`'s messages in `group`, by default this peer's own;
    /// `None` when the origin is not in it.
    pub fn overlay(&self, group: &GroupName, origin: Option<PeerKey>) -> Option<OverlayStatus> {
        let id = GroupId::new(&self.config.network, group);
        let snapshot = self.view.snapshot()?;
        let graph =
            crate::database::group_graph(&self.memo, snapshot, self.view.component, id, group);
        let settings = match self.groups.get(&id) {
            Some(group) => group.settings.clone(),
            None => self.settings_in_records(group),
        };
        let origin = origin.unwrap_or(self.me);
        let redundancy = settings.values.redundancy;
        let mesh = graph.route(&self.memo, graph.index(origin)?, Class::Normal, redundancy);
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
        self.database.get(self.me).map(AsRef::as_ref)
    }

    /// Where known peers can be dialled, those in the view first: what a driver remembers for
    /// the next start.
    pub fn known_addresses(&self, most: usize) -> Vec<(PeerKey, Vec<Address>)> {
        let mut known: Vec<(bool, PeerKey, Vec<Address>)> = self
            .database
            .records()
            .filter(|record| !record.record.left && record.record.peer != self.me)
            .filter(|record| !record.record.addresses.is_empty())
            .map(|record| {
                let peer = record.record.peer;
                (
                    !self.view.contains(peer),
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
