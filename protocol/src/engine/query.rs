//! What an operator can ask. Nothing here changes anything.

use super::Engine;
use crate::base::identity::PeerKey;
use crate::base::name::{Address, GroupId, GroupName};
use crate::base::status::{
    BothWays, Counters, GroupStatus, LinkStatus, MemberState, MemberStatus, OverlayNode,
    OverlayStatus, QueuedBytes, Role, Status,
};
use crate::multicast::Multicast;
use crate::overlay::links::reason_name;
use crate::wire::{RecordGroup, SignedRecord};
use hedgerow_topology::Class;
use hedgerow_topology::petgraph::visit::EdgeRef;
use std::collections::BTreeSet;

impl Engine {
    /// Peers known for so long that places are kept for them.
    pub fn long_known(&self) -> Vec<PeerKey> {
        self.net.long_known(&self.core)
    }

    /// Counters since the start.
    pub fn counters(&self) -> Counters {
        let mut counters = self.core.counts.told();
        let tables = [
            ("records_evicted", self.net.database.evicted),
            ("records_expired", self.net.database.expired),
            ("records_damped_late", self.net.database.damped),
            ("candidates_evicted", self.net.candidates.evicted),
        ];
        counters.values.extend(tables);
        counters
    }

    /// A glance.
    pub fn status(&self) -> Status {
        Status {
            peer: self.core.me,
            network: self.core.config.network.clone(),
            epoch: self.net.own.epoch,
            version: self.net.own.version,
            addresses: self.net.own.addresses.clone(),
            links: self.net.up.len(),
            connecting: self.net.connecting(),
            banned: self.net.bans.count(self.core.now.mono),
            capacity: self.net.own.capacity,
            records: self.net.database.len(),
            record_bytes: self.net.database.bytes(),
            view_peers: self.net.view.peers,
            view_hash: self.net.view.hash,
            algorithm: self.net.view.algorithm().0,
            algorithm_unsupported: self.net.view.algorithm().1,
            groups: self.multicast.groups.len(),
            retained_bytes: self.multicast.retained_bytes,
            ahead_bytes: self.multicast.ahead_bytes(),
            queued_bytes: self.net.links.values().map(|link| link.queue.total()).sum(),
            verifying: self.multicast.checks.len() + self.net.sync.checking(),
            clock_off_ms: self.net.clock_off_ms(&self.core),
            stopping: self.core.stopping.is_some(),
            identity_conflicts: self.net.twins.conflicts(self.core.now.mono),
        }
    }

    /// All links, by connection.
    pub fn links(&self) -> Vec<LinkStatus> {
        let now = self.core.now.mono;
        self.net
            .links
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
                    .map(|rtt_us| self.net.stated_rtt_us(link.peer, rtt_us).into()),
                up_ms: if link.is_up() {
                    now.since(link.up_since).as_millis()
                } else {
                    0
                },
                wanted: link.wants.map(reason_name).into_iter().collect(),
                wanted_by_peer: link.their_wants.is_some(),
                queued: queued(link.queue.queued()),
                bytes: both_ways(link.bytes),
                bundles: both_ways(link.bundles),
                lazy: link.lazy,
                faults: self.multicast.parent_faults.against(link.peer),
            })
            .collect()
    }

    /// All groups, by name.
    pub fn groups(&self) -> Vec<GroupStatus> {
        let mut groups: Vec<GroupStatus> = self
            .multicast
            .groups
            .iter()
            .map(|(id, group)| GroupStatus {
                group: group.name.clone(),
                role: group.role,
                settings: group.settings.values,
                settings_version: group.settings.version,
                joined: group.delivering && group.baseline.is_taken(),
                members: self.multicast.members_in_view(cx_ref!(self), *id),
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
        self.net
            .database
            .records()
            .filter(|record| !record.record.left)
            .filter_map(|record| {
                let peer = record.record.peer;
                let role = if group.is_broadcast() {
                    Some(Role::Member)
                } else {
                    record.record.group(group).and_then(RecordGroup::role)
                };
                let live = self.net.view.contains(peer);
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
            .database
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
        let snapshot = self.net.view.snapshot()?;
        let graph = crate::overlay::records::group_graph(
            &self.net.cache,
            snapshot,
            self.net.view.component,
            id,
            group,
        );
        let settings = match self.multicast.groups.get(&id) {
            Some(group) => group.settings.clone(),
            None => Multicast::settings_in_records(cx_ref!(self), group),
        };
        let origin = origin.unwrap_or(self.core.me);
        let redundancy = settings.values.redundancy;
        let mesh = graph.route(
            &self.net.cache,
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
        self.net.database.get(self.core.me).map(AsRef::as_ref)
    }

    /// Where known peers can be dialled, those in the view first: what a driver remembers for
    /// the next start.
    pub fn known_addresses(&self, most: usize) -> Vec<(PeerKey, Vec<Address>)> {
        let mut known: Vec<(bool, PeerKey, Vec<Address>)> = self
            .net
            .database
            .records()
            .filter(|record| !record.record.left && record.record.peer != self.core.me)
            .filter(|record| !record.record.addresses.is_empty())
            .map(|record| {
                let peer = record.record.peer;
                (
                    !self.net.view.contains(peer),
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

fn queued([control, repair, data, bulk]: [usize; 4]) -> QueuedBytes {
    QueuedBytes {
        control,
        repair,
        data,
        bulk,
    }
}

fn both_ways([received, sent]: [u64; 2]) -> BothWays {
    BothWays { received, sent }
}
